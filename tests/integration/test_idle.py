"""The command as the schedule calls it, on a node where nothing is wrong, and then something is."""

from __future__ import annotations

import json
import time

import pytest
from rig.node import ENGINE, PYTHON, Node, wait_until
from rig.own_cgroup import own_cgroup

COMMAND = """
import sys
sys.path.append(%r)
from reaper import paths
run, config = %r, %r
paths.Paths.__new__.__defaults__ = paths.Paths(run=run)
paths.RUN, paths.CONFIG = run, config
import reaper.textfile
reaper.textfile.DIRECTORIES = ()
from reaper.command import main
sys.argv[1:] = []
status = main()
print("imported", *sorted({"reaper.cli", "json", "re"} & set(sys.modules)))
sys.exit(status)
"""
AGAIN = "0 zombies on this node; nothing has changed since the sweep "


TASKS = 300  # of the machine, as the node sees it


@pytest.fixture
def node(tmp_path):
    """One whose ledger is of itself, and that sees nothing of how many tasks come and go on the
    machine.
    """
    with own_cgroup("pids") as cgroup:
        rigged = Node(tmp_path, cgroup=cgroup)
        try:
            rigged.loadavg = tmp_path / "loadavg"
            machine_has(rigged, TASKS)
            assert (
                rigged.run("mount", "--bind", str(rigged.loadavg), "/proc/loadavg").returncode == 0
            )
            yield rigged
        finally:
            rigged.stop()


def machine_has(node, tasks):
    node.loadavg.write_text(f"0.00 0.00 0.00 1/{tasks} 500\n", encoding="ascii")


@pytest.fixture
def scheduled(node, tmp_path):
    """Calls it, and returns (exit status, lines of its output)."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"remedies": []}), encoding="utf-8")
    run = node.run_directory

    def call():
        done = node.run(PYTHON, "-IS", "-c", COMMAND % (str(ENGINE), str(run), str(config)))
        return done.returncode, done.stdout.splitlines(), done.stderr

    call.config, call.last, call.note = config, run / "last.json", run / "idle"
    return call


def idle_again(scheduled):
    """A whole sweep and one that ends at once; zombies of a parent that was ended may be there for
    a moment, so not at once.
    """
    return wait_until(lambda: scheduled()[1][0].startswith(AGAIN))


def test_the_second_of_two_ends_at_once_and_imports_nothing(scheduled):
    status, lines, _errors = scheduled()
    assert (status, lines[0], lines[-1]) == (
        0,
        "0 zombies on this node",
        "imported json re reaper.cli",
    )
    before = scheduled.last.stat()
    for _time in range(2):
        status, lines, _errors = scheduled()
        assert status == 0 and lines[0].startswith(AGAIN) and lines[1:] == ["imported"]
    assert scheduled.last.stat() == before, "what it says is still so"


def test_many_more_tasks_are_something_new(node, scheduled):
    """Although no zombie is among them."""
    limit = min(
        int(node.run("cat", "/proc/sys/kernel/" + name).stdout)
        for name in ("pid_max", "threads-max")
    )
    scheduled()
    for tasks, is_idle in ((TASKS + limit // 200, True), (TASKS + limit // 50, False)):
        machine_has(node, tasks)
        assert scheduled()[1][0].startswith(AGAIN) is is_idle


@pytest.fixture
def told(scheduled, tmp_path):
    """The file of metrics that it writes."""
    (tmp_path / "out").mkdir()
    scheduled.config.write_text(
        json.dumps({"remedies": [], "textfile_directory": str(tmp_path / "out")}), encoding="utf-8"
    )
    return tmp_path / "out/zombie_reaper.prom"


def values(told) -> dict:
    return dict(line.rpartition(" ")[::2] for line in told.read_text(encoding="utf-8").splitlines())


def test_one_that_ends_at_once_tells_that_it_has_looked(node, scheduled, told):
    last_sweep, pids_used = "zombie_reaper_last_sweep_timestamp_seconds", "zombie_reaper_pids_used"
    scheduled()
    whole, inode = values(told), told.stat().st_ino
    machine_has(node, TASKS + 1)
    wait_until(lambda: time.time() > float(whole[last_sweep]) + 0.001)  # it tells milliseconds
    assert scheduled()[1][1:] == ["imported"]
    again = values(told)
    assert float(again[last_sweep]) > float(whole[last_sweep])
    assert (whole[pids_used], again[pids_used]) == (str(TASKS), str(TASKS + 1))
    assert {name for name in whole if whole[name] != again[name]} == {last_sweep, pids_used}
    assert told.stat().st_ino != inode, "by a rename"
    assert [path.name for path in told.parent.iterdir()] == [told.name]


def test_one_that_cannot_tell_it_is_a_whole_sweep(scheduled, told):
    scheduled()
    assert scheduled()[1][0].startswith(AGAIN)
    told.unlink()
    told.parent.rmdir()
    for _time in range(2):
        _status, lines, _errors = scheduled()
        assert not lines[0].startswith(AGAIN)
        assert f"warning: {told} cannot be written: No such file or directory" in lines
    told.parent.mkdir()
    assert idle_again(scheduled)
    assert told.exists()


def test_whatever_is_new_is_looked_at_by_a_whole_sweep(node, scheduled):
    assert idle_again(scheduled)
    parent = node.program("zombie()\nready()\nforever()")
    assert scheduled()[1][0] == "1 zombie on this node; 0 cleared, 1 left"
    assert json.loads(scheduled.last.read_text(encoding="utf-8"))["zombies"]["count"] == 1
    assert scheduled()[1][0] == "1 zombie on this node; 0 cleared, 1 left", (
        "nothing was noted while there is one"
    )
    parent.stop()
    assert idle_again(scheduled)
    scheduled.config.write_text('{"min_age": -1}', encoding="utf-8")
    status, lines, errors = scheduled()
    assert (status, lines, errors.count("\n")) == (
        2,
        ["imported json re reaper.cli"],
        1,
    ) and "min_age: -1 is not allowed" in errors
    scheduled.config.write_text('{"min_age": 5}', encoding="utf-8")
    assert scheduled()[1][0] == "0 zombies on this node"
    assert idle_again(scheduled)


def test_a_sweep_by_hand_in_between_is_something_new(node, scheduled):
    """It may have found what the schedule would, with other options."""
    assert idle_again(scheduled)
    assert node.agent("--min-age", "5").returncode == 0
    assert not scheduled()[1][0].startswith(AGAIN)


def test_after_a_sweep_that_could_not_note_anything_the_next_looks_for_itself(
    node, scheduled, tmp_path
):
    scheduled.note.mkdir(parents=True)
    for _time in range(2):
        status, lines, _errors = scheduled()
        assert status == 0 and not lines[0].startswith(AGAIN)
