"""The ledger's arithmetic, on files made by hand: which hierarchy it reads, long lists, and what it
says when it cannot know.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups

# what is counted there
LAYOUTS = {
    "v2": (".", "cgroup.threads"),
    "v1": ("pids", "tasks"),
    "hybrid": ("unified", "cgroup.threads"),
}


class Loads:
    """A ``/proc`` of which only loadavg can be read: the next of these (tasks, last PID) each time,
    the last one again and again.
    """

    def __init__(self, *loads):
        self.loads = list(loads)

    def read_text(self, name):
        assert name == "loadavg"
        tasks, last_pid = self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]
        return f"0.00 0.01 0.05 1/{tasks} {last_pid}\n"


def tasks(directory, path, number, first=1):
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{first + each}\n" for each in range(number)), encoding="ascii")


@pytest.fixture(params=[False, True], ids=["once", "keep"])
def keep(request):
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_counted_and_not_listed_is_a_zombie(tmp_path, layout, keep):
    top, name = LAYOUTS[layout]
    for number, directory in enumerate((".", "a", "a/b")):
        tasks(tmp_path, f"{top}/{directory}/{name}", 10**number)
    if layout == "hybrid":
        tasks(tmp_path, "pids/tasks", 5)
    ledger = cgroups.Ledger(str(tmp_path), Loads((118, 500)), keep)
    assert ledger.zombies() == 7
    assert ledger.zombies() == 7
    ledger.close()


def test_of_two_hierarchies_that_of_version_2_is_read_since_its_lists_can_stay_open(tmp_path):
    tasks(tmp_path, "pids/tasks", 5)
    assert cgroups.Ledger(str(tmp_path), Loads((9, 1)), keep=True).keep is False
    tasks(tmp_path, "unified/cgroup.threads", 6)
    assert cgroups.Ledger(str(tmp_path), Loads((9, 1)), keep=True).keep is True


@pytest.mark.parametrize("number", [0, 1, 585, 586, 10000, 14000, 100000])
@pytest.mark.parametrize("first", [1, 10000, 4000000])
def test_a_list_of_any_length_is_read_to_its_end(tmp_path, number, first, keep):
    tasks(tmp_path, "cgroup.threads", number, first)
    ledger = cgroups.Ledger(str(tmp_path), Loads((number + 3, 1)), keep)
    assert ledger.zombies() == 3
    ledger.close()


def test_without_cgroups_it_cannot_be_told(tmp_path, keep):
    ledger = cgroups.Ledger(str(tmp_path), Loads((9, 1)), keep)
    assert ledger.zombies() is None
    assert ledger.holding() is None


def test_a_list_that_cannot_be_opened_is_not_taken_for_an_empty_one(tmp_path, monkeypatch, keep):
    tasks(tmp_path, "cgroup.threads", 5)
    tasks(tmp_path, "a/cgroup.threads", 5)
    really = os.open

    def refuse(path, *arguments):
        if path.endswith("a/cgroup.threads"):
            raise PermissionError(13, "Permission denied")
        return really(path, *arguments)

    monkeypatch.setattr(cgroups.os, "open", refuse)
    ledger = cgroups.Ledger(str(tmp_path), Loads((10, 1)), keep)
    before = os.listdir("/proc/self/fd")
    assert ledger.zombies() is None
    assert os.listdir("/proc/self/fd") == before


def test_loadavg_that_cannot_be_read_is_none(tmp_path, keep):
    class Refuses:
        def read_text(self, name):
            raise OSError(12, "Cannot allocate memory")

    tasks(tmp_path, "cgroup.threads", 5)
    ledger = cgroups.Ledger(str(tmp_path), Refuses(), keep)
    assert ledger.zombies() is None


def test_where_cgroups_are_too_many_to_stay_open_each_is_opened_when_it_is_read(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = os.listdir("/proc/self/fd")
    most = 2 * (max(map(int, before)) + 20)  # half of them are free
    many = most // 2 + 10
    for number in range(many):
        tasks(tmp_path, f"{number}/cgroup.threads", 2)
    tasks(tmp_path, "cgroup.threads", 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        ledger = cgroups.Ledger(str(tmp_path), Loads((2 * many + 5, 1)), keep=True)
        assert (ledger.zombies(), ledger.zombies()) == (3, 3)
        assert len(os.listdir("/proc/self/fd")) == len(before)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# One zombie, 5 others. Meanwhile one of those that are listed ends, and a new one is listed: the
# number of all tasks is as before
@pytest.mark.parametrize(
    "loads, said",
    [
        ([(6, 100)], 1),  # nothing happened
        # a look at which something began, and an idle one
        ([(5, 100), (5, 101), (6, 101), (6, 101)], 1),
        ([(5, 100), (5, 101)] * 3, 1),  # it is not taken for none, however often that happens
        ([(5, 100), (4, 101)] * 3, 1),  # nor where one more has ended since
        # each look has its bound; the lowest is right
        ([(9, 100), (9, 160), (8, 160), (8, 165), (7, 165), (7, 170)], 7),
        # PIDs began again from the lowest: that look tells nothing
        ([(6, 32767), (6, 301), (6, 301)], 1),
        ([(6, 32767), (6, 301)] * 3, None),
        ([(5, 100), (6, 100)] * 3, 1),  # one had its PID before, and is counted after it was listed
    ],
)
def test_what_begins_and_ends_meanwhile_never_hides_a_zombie(tmp_path, loads, said):
    tasks(tmp_path, "cgroup.threads", 5)
    assert cgroups.Ledger(str(tmp_path), Loads(*twice(loads))).zombies() == said


def twice(loads) -> list:
    """The last PID is read first, and the tasks are counted then."""
    return [load for load in loads for _read in range(2)]


def test_the_last_pid_is_read_before_the_tasks_are_counted(tmp_path):
    """One zombie, 5 others, one of which has its PID and is counted a moment later; then another
    one ends, that is not listed any more.
    """
    tasks(tmp_path, "cgroup.threads", 5)
    assert cgroups.Ledger(str(tmp_path), Loads((5, 100), (6, 100), (5, 100))).zombies() == 1


def test_a_task_that_ends_between_the_two_numbers_makes_it_too_high_and_not_too_low(tmp_path):
    """So all tasks have to be counted first, and what is listed then."""
    tasks(tmp_path, "cgroup.threads", 5)

    class OneEnds(Loads):
        def read_text(self, name):
            tasks(tmp_path, "cgroup.threads", 4)
            return super().read_text(name)

    assert cgroups.Ledger(str(tmp_path), OneEnds((5, 100))).zombies() == 1


@pytest.fixture
def kept(tmp_path):
    """A ledger of 3 cgroups with 2 tasks each, whose lists are open; there is 1 zombie."""
    for path in (".", "a", "b"):
        tasks(tmp_path, path + "/cgroup.threads", 2)
    (tmp_path / "cgroup.stat").write_text("nr_descendants 2\nnr_dying_descendants 0\n")
    ledger = cgroups.Ledger(str(tmp_path), Loads((7, 1)), keep=True)
    assert ledger.zombies() == 1 and len(ledger.descriptors) == 3
    yield ledger
    ledger.close()


def test_lists_that_are_open_are_not_opened_again(kept, monkeypatch):
    monkeypatch.setattr(cgroups.os, "open", None)
    assert kept.zombies() == 1


def test_a_cgroup_that_is_new_is_seen(kept, tmp_path):
    tasks(tmp_path, "c/cgroup.threads", 1)
    (tmp_path / "cgroup.stat").write_text("nr_descendants 3\nnr_dying_descendants 0\n")
    assert kept.zombies() == 0


def test_a_cgroup_that_is_removed_while_its_list_is_open_leaves_the_others_as_they_are(
    kept, tmp_path, monkeypatch
):
    """The kernel gives no list of it any more; its tasks were moved to another cgroup before."""
    removed, really = kept.descriptors[1], os.pread
    inode = os.fstat(removed).st_ino
    gone = next(
        path for path in ("a", "b") if (tmp_path / path / "cgroup.threads").stat().st_ino == inode
    )
    (tmp_path / gone / "cgroup.threads").unlink()
    (tmp_path / gone).rmdir()
    tasks(tmp_path, "cgroup.threads", 4)

    def pread(fd, *arguments):
        if os.fstat(fd).st_ino == inode:
            raise OSError(errno.ENODEV, "No such device")
        return really(fd, *arguments)

    monkeypatch.setattr(cgroups.os, "pread", pread)
    before = [fd for fd in kept.descriptors if fd != removed]
    assert kept.zombies() == 1
    for fd in before:
        with pytest.raises(OSError):
            os.fstat(fd)


def test_holding_tells_the_cgroups_from_the_fullest_down(tmp_path):
    tasks(tmp_path, "pids/tasks", 10)
    for name, listed, current in (
        ("a", 1, 1 + 5 + 2 + 1),
        ("a/b", 2, 2 + 1),
        ("c", 1, 1 + 7),
        ("d", 3, 3),
    ):
        tasks(tmp_path, f"pids/{name}/tasks", listed)
        (tmp_path / "pids" / name / "pids.current").write_text(f"{current}\n")
    ledger = cgroups.Ledger(str(tmp_path), Loads((10 + 9 + 8 + 3 + 2, 1)))
    root = str(tmp_path / "pids")
    assert ledger.holding() == [
        ([root + "/c"], 7),
        ([root + "/a"], 5),
        ([root], 2),
        ([root + "/a/b"], 1),
    ]


def test_holding_is_none_where_the_controller_is_not_turned_on_below(tmp_path):
    tasks(tmp_path, "cgroup.threads", 1)
    tasks(tmp_path, "a/cgroup.threads", 1)
    assert cgroups.Ledger(str(tmp_path), Loads((5, 1))).holding() is None


def test_a_cgroup_that_does_not_count_its_tasks_counts_with_the_one_above_that_does(tmp_path):
    # as systemd-udevd.service/udev of systemd 252 and later, delegated subtrees, and a tenant's
    tasks(tmp_path, "cgroup.threads", 3)
    tasks(tmp_path, "e/cgroup.threads", 2)  # one zombie, below the root
    tasks(tmp_path, "a/cgroup.threads", 1)
    tasks(tmp_path, "a/x/cgroup.threads", 1)
    tasks(tmp_path, "a/x/y/cgroup.threads", 2)
    tasks(tmp_path, "a/x/y/z/cgroup.threads", 1)
    part(tmp_path, "a/x/y/z", 1 + 2)
    part(tmp_path, "a", (1 + 1 + 2) + 4 + (1 + 2))
    root = str(tmp_path)
    ledger = cgroups.Ledger(root, Loads((3 + 2 + 1 + 11, 1)))
    assert ledger.holding() == [
        ([root + "/a", root + "/a/x", root + "/a/x/y"], 4),
        ([root + "/a/x/y/z"], 2),
        ([root, root + "/e"], 1),
    ]


def test_a_cgroup_that_is_removed_while_they_are_counted_has_no_tasks(tmp_path, monkeypatch):
    tasks(tmp_path, "cgroup.threads", 1)
    tasks(tmp_path, "a/cgroup.threads", 0)
    tasks(tmp_path, "b/cgroup.threads", 2)
    part(tmp_path, "a", 0)
    part(tmp_path, "b", 3)
    really = os.open

    def removed(path, *arguments):
        if path.endswith("/a/cgroup.threads"):
            raise OSError(errno.ENODEV, "No such device")
        return really(path, *arguments)

    monkeypatch.setattr(cgroups.os, "open", removed)
    assert cgroups.Ledger(str(tmp_path), Loads((4, 1))).holding() == [([str(tmp_path / "b")], 1)]


# Where only a part of the hierarchy is in sight


def part(directory, path, number):
    """The kernel counts so many tasks in the cgroup at the top, which it does of none but those
    below the root.
    """
    (directory / path).mkdir(parents=True, exist_ok=True)
    (directory / path / "pids.current").write_text(f"{number}\n", encoding="ascii")


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_of_a_part_its_own_tasks_count_and_not_those_of_the_machine(tmp_path, layout, keep):
    top, name = LAYOUTS[layout]
    for number, directory in enumerate((".", "a", "a/b")):
        tasks(tmp_path, f"{top}/{directory}/{name}", 10**number)
    part(tmp_path, top, 118)
    if layout == "v1":
        # the other hierarchy is in sight as a whole
        tasks(tmp_path, "unified/cgroup.threads", 4000)
    ledger = cgroups.Ledger(str(tmp_path), Loads((5000, 500)), keep)
    assert [ledger.zombies(), ledger.zombies()] == [7, 7]
    assert ledger.keep is (keep and layout == "v2")
    assert ledger.tasks() == (5000, 500), "what is told of the machine stays so"
    ledger.close()


def test_holding_of_a_part_begins_with_what_it_counts_itself(tmp_path):
    tasks(tmp_path, "pids/tasks", 10)
    tasks(tmp_path, "pids/a/tasks", 1)
    part(tmp_path, "pids", 10 + 2 + 1 + 3)
    part(tmp_path, "pids/a", 1 + 3)
    root = str(tmp_path / "pids")
    assert cgroups.Ledger(str(tmp_path), Loads((5000, 1))).holding() == [
        ([root + "/a"], 3),
        ([root], 2),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cgroup_below_that_counts_makes_no_part_of_the_machine(tmp_path, layout, keep):
    top, name = LAYOUTS[layout]
    tasks(tmp_path, f"{top}/{name}", 5)
    tasks(tmp_path, f"{top}/a/{name}", 5)
    part(tmp_path, f"{top}/a", 6)
    ledger = cgroups.Ledger(str(tmp_path), Loads((13, 1)), keep)
    assert ledger.zombies() == 3
    ledger.close()


def test_a_part_whose_count_cannot_be_read_any_more_is_not_told_as_the_machine(tmp_path):
    tasks(tmp_path, "pids/tasks", 5)
    part(tmp_path, "pids", 6)
    ledger = cgroups.Ledger(str(tmp_path), Loads((5000, 1)))
    assert ledger.zombies() == 1
    (tmp_path / "pids/pids.current").unlink()
    assert (ledger.zombies(), ledger.holding()) == (None, None)


class Meanwhile(Loads):
    """When loadavg is first read, so many are counted and listed from then on."""

    def __init__(self, directory, counted, listed, *loads):
        super().__init__(*loads)
        self.directory, self.numbers = directory, (counted, listed)

    def read_text(self, name):
        if self.numbers:
            counted, listed = self.numbers
            part(self.directory, "pids", counted)
            tasks(self.directory, "pids/tasks", listed)
            self.numbers = None
        return super().read_text(name)


class OneEndsWhenListed(cgroups.Ledger):
    """One of its tasks ends, and is waited for, as soon as they were listed."""

    def _listed(self):
        listed = super()._listed()
        part(Path(self.counted).parent, "pids", listed)
        return listed


@pytest.mark.parametrize("counted, listed", [(7, 6), (5, 4)], ids=["begins", "ends"])
def test_the_tasks_of_a_part_are_counted_after_the_last_pid_and_before_they_are_listed(
    tmp_path, counted, listed
):
    """One zombie, 5 others. One that begins just before that PID is told, and one that ends:
    neither hides the zombie.
    """
    tasks(tmp_path, "pids/tasks", 5)
    part(tmp_path, "pids", 6)
    assert (
        OneEndsWhenListed(
            str(tmp_path), Meanwhile(tmp_path, counted, listed, (5000, 101))
        ).zombies()
        == 1
    )
