"""The history of the reports: versions, transactions, age, other processes, damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_history
from rig import fleet as rig
from rig.fleet import AT, HOUR

DAY = 24 * HOUR


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.sqlite"


def add(path, *looks, at=AT, keep_days=400, **hosts):
    hosts = {**{f"node{place}": result for place, result in enumerate(looks)}, **hosts}
    with fleet_history.History(str(path)) as history:
        fleet = rig.fleet_of(hosts, at=at)
        history.add(fleet, at, keep_days)
        return history.trends(fleet, at)


def rows(path, query):
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def of(tenant, zombies):
    return rig.offender(zombies, workload=rig.workload(namespace=tenant))


def cleared(tenant, zombies, at, ended=False):
    return rig.sweep(
        rig.acted(zombies, ended=ended, workload=rig.workload(namespace=tenant)), at=at
    )


def test_a_trend_of_each_node_and_of_all(path):
    add(path, at=AT - 4 * HOUR, a=rig.look(of("shop", 4), usage=0.2), b=rig.look(of("game", 1)))
    add(path, at=AT - 2 * HOUR, a=rig.look(of("shop", 6), usage=0.5), b=rig.UNREACHABLE)
    trends = add(path, a=rig.look(usage=0.3), b=rig.look(of("game", 3)))
    assert (trends.runs, trends.since, trends.until) == (3, AT - 4 * HOUR, AT)
    assert [(zombies, usage) for _place, zombies, usage in trends.nodes["a"]] == [
        (4, 0.2),
        (6, 0.5),
        (0, 0.3),
    ]
    assert [zombies for _place, zombies, _usage in trends.nodes["b"]] == [1, 3]
    assert [(zombies, usage) for _place, zombies, usage in trends.fleet] == [
        (5, 0.2),
        (7, 0.5),
        (3, 0.3),
    ], "one not looked at counts as before"
    places = [place for place, _zombies, _usage in trends.nodes["a"]]
    assert places[0] == 0 and places[-1] == 1 and abs(places[1] - 0.5) < 0.02


def test_trends_are_those_of_the_nodes_in_the_report(path):
    """With --limit, or where a node has been taken away, the headline counts no others either."""
    both = {"a": rig.look(of("shop", 4)), "b": rig.look(of("game", 9))}
    add(path, at=AT - 4 * HOUR, b=rig.look(of("game", 9)))
    add(path, at=AT - 2 * HOUR, **both)
    trends = add(path, a=rig.look(of("shop", 5)))
    assert set(trends.nodes) == {"a"} and (trends.runs, trends.since) == (2, AT - 2 * HOUR)
    assert [point.zombies for point in trends.fleet] == [4, 5]
    assert [(row["tenant"], row["leaked"]) for row in trends.tenants] == [("shop", 5)]
    assert [point.zombies for point in add(path, at=AT + HOUR, **both).fleet][-1] == 13


def test_a_trend_is_bounded_and_keeps_the_most(path):
    for hour in range(200):
        trends = add(path, a=rig.look(of("shop", 77 if hour == 150 else 1)), at=AT + hour * HOUR)
    points = trends.nodes["a"]
    assert len(points) <= fleet_history.POINTS
    assert max(zombies for _place, zombies, _usage in points) == 77
    assert all(0 <= place <= 1 for place, _zombies, _usage in points)


def test_what_a_tenant_leaked_is_what_came_and_what_was_cleared(path):
    add(path, a=rig.look(of("shop", 10)), at=AT - 5 * HOUR)  # 10 made
    add(path, a=rig.look(of("shop", 12)), at=AT - 4 * HOUR)  # 2 more
    swept = cleared("shop", 12, AT - 3.5 * HOUR)
    add(path, a=rig.look(last_sweep=swept), at=AT - 3 * HOUR)  # all cleared, none made
    # one made; the same sweep counts once
    add(path, a=rig.look(of("shop", 1), last_sweep=swept), at=AT - 2 * HOUR)
    swept = cleared("shop", 5, AT - 1.5 * HOUR, ended=True)
    trends = add(path, a=rig.look(of("shop", 1), last_sweep=swept))  # 5 made, at least
    assert trends.tenants == [
        {"tenant": "shop", "leaked": 18, "cleared": 17, "ended": 1, "hosts": 1}
    ]


def test_those_that_leaked_most_come_first_and_older_ones_are_left_out(path):
    add(path, a=rig.look(of("old", 99)), at=AT - 31 * DAY)
    add(
        path,
        a=rig.look(of("old", 99), of("shop", 2)),
        b=rig.look(of("shop", 3), of("game", 9)),
        at=AT - DAY,
    )
    trends = add(path, a=rig.look(of("old", 99)), b=rig.UNREACHABLE)
    assert [(row["tenant"], row["leaked"], row["hosts"]) for row in trends.tenants] == [
        ("game", 9, 1),
        ("shop", 5, 2),
    ]


def test_runs_are_pruned_by_age_with_all_that_is_theirs(path):
    add(path, rig.look(of("shop", 1)), at=AT - 3 * DAY)
    add(path, rig.look(of("shop", 1)), at=AT - DAY)
    add(path, rig.look(of("shop", 1)), keep_days=2)
    assert rows(path, "SELECT at FROM runs") == [(AT - DAY,), (AT,)]
    assert (
        rows(path, "SELECT COUNT(*) FROM nodes")
        == rows(path, "SELECT COUNT(*) FROM tenants")
        == [(2,)]
    )


def test_of_each_node_few_tenants_are_kept(path):
    add(path, rig.look(*[of(f"tenant{number}", number + 1) for number in range(50)]))
    assert rows(path, "SELECT COUNT(*), MIN(zombies) FROM tenants") == [
        (fleet_history.MAX_TENANTS, 31)
    ]


def test_a_run_of_100_nodes_with_20_tenants_each_takes_less_than_a_tenth_of_a_megabyte(path):
    """As docs/report.md says. The second run is measured, since the first makes the file."""
    sizes = []
    for run in range(2):
        hosts = {
            f"node{node}": rig.look(*(of(f"tenant-{node}-{each}", 3) for each in range(20)))
            for node in range(100)
        }
        add(path, at=AT + run * HOUR, **hosts)
        sizes.append(path.stat().st_size)
    assert 0 < sizes[1] - sizes[0] < 100_000


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_runs(path, monkeypatch):
    add(path, rig.look(of("shop", 4)), at=AT - HOUR)
    assert rows(path, "PRAGMA user_version") == [(len(fleet_history.MIGRATIONS),)]
    monkeypatch.setattr(
        fleet_history,
        "MIGRATIONS",
        fleet_history.MIGRATIONS + (("ALTER TABLE runs ADD COLUMN note TEXT",),),
    )
    trends = add(path, rig.look(of("shop", 5)))
    assert trends.runs == 2
    assert rows(path, "PRAGMA user_version") == [(len(fleet_history.MIGRATIONS),)]
    assert rows(path, "SELECT note FROM runs") == [(None,), (None,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    add(path, rig.look())
    before = path.read_bytes()
    monkeypatch.setattr(
        fleet_history,
        "MIGRATIONS",
        fleet_history.MIGRATIONS + (("ALTER TABLE runs ADD COLUMN note TEXT", "NONSENSE"),),
    )
    with pytest.raises(fleet_history.HistoryError):
        add(path, rig.look())
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_alone(path):
    add(path, rig.look())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    refused(path, "newer version of this collection", "99")


def test_a_database_of_another_program_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (data)")
    connection.commit()
    connection.close()
    refused(path, "another program")


def test_a_damaged_file_is_refused(path):
    path.write_bytes(b"this was a database once" * 99)
    refused(path, "damaged or not an SQLite database")
    path.unlink()
    for number in range(30):
        add(path, *[rig.look(of("shop", 1))] * 30, at=AT + number)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xaa" * (len(whole) - 4096))
    refused(path, "damaged or not an SQLite database")


def refused(path, *words):
    """The one sentence has these words and the path, and the file is left byte for byte."""
    before = path.read_bytes()
    with pytest.raises(fleet_history.HistoryError) as told:
        add(path, rig.look())
    for word in (str(path), *words):
        assert word in str(told.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_run_is_added_whole_or_not_at_all(path):
    add(path, rig.look())
    broken = rig.fleet_of({"a": rig.look(), "b": rig.look()}, at=AT)
    broken["nodes"][1]["host"] = "a"
    with fleet_history.History(str(path)) as history, pytest.raises(fleet_history.HistoryError):
        history.add(broken, AT, 400)
    assert (
        rows(path, "SELECT COUNT(*) FROM runs")
        == rows(path, "SELECT COUNT(*) FROM nodes")
        == [(1,)]
    )


def test_checking_makes_no_file_and_sees_what_would_be_refused(path):
    add(path, rig.look())
    before = path.read_bytes()
    with fleet_history.History(str(path), read_only=True) as history:
        history.check()
    assert path.read_bytes() == before
    path.write_bytes(b"x" * 4096)
    with (
        fleet_history.History(str(path), read_only=True) as history,
        pytest.raises(fleet_history.HistoryError),
    ):
        history.check()


def test_a_run_that_waits_too_long_says_so(path, monkeypatch):
    monkeypatch.setattr(fleet_history, "LOCK_WAIT", 0.1)
    add(path, rig.look())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(fleet_history.HistoryError, match="locked by another process"):
        add(path, rig.look())
    other.execute("COMMIT")
    other.close()
    assert add(path, rig.look()).runs == 2


ADDS = """
import sys
sys.path[:0] = sys.argv[1:3]
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_history
from rig import fleet as rig
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    with fleet_history.History(sys.argv[3]) as history:
        history.add(rig.fleet_of({"a": rig.look(rig.offender())}), rig.AT + number, 400)
"""


def test_runs_at_the_same_time_are_all_added(root, path):
    """The file is not there yet, so all of them want to make it."""
    command = [
        sys.executable,
        "-c",
        ADDS,
        str(root / ".cache/collections"),
        str(root / "tests"),
        str(path),
    ]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _number in range(4)
    ]
    try:
        for process in running:
            assert process.stdout.readline() == "ready\n"
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(timeout=120) for process in running] == [0] * 4
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    assert (
        rows(path, "SELECT COUNT(*) FROM runs")
        == rows(path, "SELECT COUNT(*) FROM nodes")
        == [(80,)]
    )
