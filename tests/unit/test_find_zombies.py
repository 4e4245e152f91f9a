"""Which of the three ways to find zombies is taken, and what is told where one parent has more than
are looked at.
"""

from __future__ import annotations

import collections
import tracemalloc

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import zombies


def zombie(pid, ppid):
    return procfs.Stat(
        *({"pid": pid, "ppid": ppid, "state": "Z"}.get(name, 0) for name in procfs.Stat._fields)
    )


class Node:
    """children: ``{parent: number of its zombies}``. cgroup_of: ``{parent: (directory, of how many
    zombies)}``.
    """

    def __init__(self, directory, count, held, children, has_children_files=True):
        self.count, self.held, self.children, self.has_children_files = (
            count,
            held,
            children,
            has_children_files,
        )
        self.root = str(directory)
        self.scans = self.living = self.looked_at = 0
        for name, (_number, parents) in held.items():
            (directory / name).mkdir()
            (directory / name / "cgroup.procs").write_text(
                "".join(f"{pid}\n" for pid in parents), encoding="ascii"
            )
        self.every = {
            pid: [zombie(1000000 * pid + each, pid) for each in range(number)]
            for pid, number in children.items()
        }

    # the ledger
    def zombies_counted(self):
        return self.count

    def holding(self):
        return (
            None
            if self.held is None
            else [
                ([f"{self.root}/{name}"], number) for name, (number, _parents) in self.held.items()
            ]
        )

    # /proc
    def zombie_children(self, pid, most, on_zombie, in_vain):
        if not self.has_children_files:
            raise FileNotFoundError(2, "No such file or directory")
        for _living in range(self.living):
            in_vain()
        children = self.every.get(pid, [])
        for each in children[:most]:
            self.looked_at += 1
            on_zombie(each)
        return len(children[:most]), len(children) > most

    def zombies(self):
        self.scans += 1
        return [each for children in self.every.values() for each in children]


def found(node, most=None):
    class Ledger:
        zombies = staticmethod(node.zombies_counted)
        holding = staticmethod(node.holding)

    return zombies.find(node, Ledger, most)


def test_a_ledger_that_shows_nothing_is_all_that_is_read(tmp_path):
    node = Node(tmp_path, 0, {"a": (0, [7])}, {})
    assert found(node) == zombies.Found([], {}, "ledger")
    assert node.scans == 0


def test_children_that_account_for_all_are_enough(tmp_path):
    node = Node(tmp_path, 5, {"a": (3, [7, 8]), "b": (2, [9])}, {7: 1, 8: 2, 9: 2})
    result = found(node)
    assert (result.found_by, result.more, len(result.stats), node.scans) == ("children", {}, 5, 0)


@pytest.mark.parametrize(
    "count, held, children",
    [
        (5, {"a": (3, [7])}, {7: 3, 8: 2}),  # a parent in a cgroup without a zombie
        # the ledger knows of one more, perhaps outside of this PID namespace
        (4, {"a": (3, [7])}, {7: 3}),
        (3, {}, {7: 3}),  # no cgroup counts
        (None, {"a": (3, [7])}, {7: 3}),  # the ledger cannot tell
    ],
)
def test_whatever_is_not_accounted_for_is_looked_for_in_the_whole_table(
    tmp_path, count, held, children
):
    node = Node(tmp_path, count, held, children)
    result = found(node)
    assert (result.found_by, result.more, len(result.stats), node.scans) == (
        "scan",
        {},
        sum(children.values()),
        1,
    )


def test_without_lists_of_children_the_table_is_read(tmp_path):
    assert (
        found(Node(tmp_path, 3, {"a": (3, [7])}, {7: 3}, has_children_files=False)).found_by
        == "scan"
    )


def test_where_no_controller_counts_the_table_is_read(tmp_path):
    node = Node(tmp_path, 3, {}, {7: 3})
    node.held = None
    assert found(node).found_by == "scan"


MOST = zombies.MAX_LISTED


def test_of_a_parent_with_very_many_the_rest_is_counted_and_not_looked_at(tmp_path):
    node = Node(
        tmp_path, MOST + 12, {"a": (MOST + 10, [7, 8]), "b": (2, [9])}, {7: MOST + 7, 8: 3, 9: 2}
    )
    result = found(node)
    assert (result.found_by, node.scans) == ("children", 0)
    assert len(result.stats) == node.looked_at == MOST + 5
    assert result.more == {7: 7}


def test_the_rest_is_no_more_than_its_cgroup_holds(tmp_path, monkeypatch):
    """Children that are in another cgroup were seen, and are not counted twice."""
    monkeypatch.setattr(zombies, "MAX_LISTED", 3)
    result = found(Node(tmp_path, 3, {"a": (3, [7])}, {7: 5}))
    assert (len(result.stats), result.more) == (3, {})


def test_processes_of_a_cgroup_outside_this_pid_namespace_are_left_out(tmp_path):
    (tmp_path / "cgroup.procs").write_text("0\n7\n0\n", encoding="ascii")
    assert cgroups.processes(str(tmp_path)) == [7]


@pytest.mark.parametrize(
    "living, way",
    [(zombies.MAX_IN_VAIN // 2, "children"), (zombies.MAX_IN_VAIN // 2 + 1, "scan")],
)
def test_a_tenant_with_many_living_children_does_not_make_a_look_long(tmp_path, living, way):
    node = Node(tmp_path, 3, {"a": (3, [7, 8])}, {7: 1, 8: 2})
    node.living = living
    result = found(node)
    assert (result.found_by, len(result.stats)) == (way, 3)


def test_of_one_parent_no_more_are_listed_in_a_scan_either(tmp_path, monkeypatch):
    monkeypatch.setattr(zombies, "MAX_LISTED", 2)
    result = found(Node(tmp_path, None, {}, {7: 5, 8: 2}))
    assert (len(result.stats), result.more, result.found_by) == (4, {7: 3}, "scan")


class Million(Node):
    """So many of 1,000 parents, each made as it is read."""

    parents, each = range(2, 1002), 1000

    def zombies(self):
        for number in range(self.each):
            for ppid in self.parents:
                yield zombie(1000000 * ppid + number, ppid)

    def zombie_children(self, pid, most, on_zombie, in_vain):
        for number in range(self.each):
            on_zombie(zombie(1000000 * pid + number, pid))
        return self.each, False


@pytest.mark.parametrize(
    "way, each",
    [("scan", 50), ("children", 50), pytest.param("scan", 1000, marks=pytest.mark.full)],
)
def test_of_a_million_each_parent_keeps_some_and_all_are_counted(tmp_path, monkeypatch, way, each):
    """And they take no more memory than those that are kept."""
    monkeypatch.setattr(Million, "each", each)
    million = len(Million.parents) * Million.each
    held = {"a": (million, Million.parents)} if way == "children" else {}
    node = Million(tmp_path, million, held, {})
    tracemalloc.start()
    try:
        result = found(node, 10000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.found_by == way
    kept = collections.Counter(stat.ppid for stat in result.stats)
    assert set(kept) == set(Million.parents)
    assert 5000 < len(result.stats) <= 10000
    assert all(kept[ppid] + result.more[ppid] == Million.each for ppid in Million.parents)
    assert most < 10 << 20


def test_a_few_parents_with_many_do_not_take_the_place_of_others(tmp_path):
    result = found(Node(tmp_path, None, {}, {7: 1000, 8: 3, 9: 1}), 100)
    kept = collections.Counter(stat.ppid for stat in result.stats)
    assert (kept[8], kept[9], result.more[7]) == (3, 1, 1000 - kept[7])
    assert kept[7] > 40


def test_of_more_zombies_the_same_ones_are_kept(tmp_path):
    """A zombie that a sweep does not list has no age in the next one."""
    kept = []
    for number, name in ((1000, "a"), (1300, "b")):
        (tmp_path / name).mkdir()
        result = found(Node(tmp_path / name, None, {}, {7: number, 8: number}), 100)
        kept.append({stat.pid for stat in result.stats})
    assert kept[1] <= kept[0]


def test_with_more_parents_than_places_each_keeps_one(tmp_path):
    result = found(Node(tmp_path, None, {}, dict.fromkeys(range(2, 22), 3)), 10)
    assert (len(result.stats), sum(result.more.values())) == (20, 40)
