"""The command as the schedule calls it, on a node where nothing is wrong, and then something is."""

from __future__ import annotations

import json

import pytest
from rig.node import ENGINE, PYTHON, wait_until

from ansible_collections.provider.fleet.plugins.module_utils.reaper import cgroups
from ansible_collections.provider.fleet.plugins.module_utils.reaper.procfs import ProcFS

COMMAND = """
import sys
sys.path.append(%r)
import reaper
reaper.RUN, reaper.CONFIG = %r, %r
import reaper.textfile
reaper.textfile.DIRECTORIES = ()
from reaper.command import main
sys.argv[1:] = []
status = main()
print("imported", *sorted({"reaper.agent", "json", "re"} & set(sys.modules)))
sys.exit(status)
"""
AGAIN = "0 zombies on this node; nothing else is new since the sweep "


@pytest.fixture
def scheduled(node, tmp_path):
    """Calls it, and returns (exit status, lines of its output)."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"remedies": []}), encoding="utf-8")
    run = node.run_folder

    def call():
        done = node.run(PYTHON, "-IS", "-c", COMMAND % (str(ENGINE), str(run), str(config)))
        return done.returncode, done.stdout.splitlines(), done.stderr
    call.config, call.last, call.note = config, run / "last.json", run / "quiet"
    return call


@pytest.fixture
def no_zombie():
    """The ledger is of the whole machine, which others may have zombies on for a while."""
    ledger = cgroups.Ledger("/sys/fs/cgroup", ProcFS())
    try:
        wait_until(lambda: ledger.zombies() == 0, 30)
    except AssertionError:
        pytest.skip("other processes of this machine hold zombies: %s" % ledger.zombies())


def quiet_again(scheduled):
    """A whole sweep and one that ends at once; another process of the machine may be a zombie just then, so not at once."""
    return wait_until(lambda: scheduled()[1][0].startswith(AGAIN), 30)


def test_the_second_of_two_ends_at_once_and_imports_nothing(scheduled, no_zombie):
    status, lines, _errors = scheduled()
    assert (status, lines[0], lines[-1]) == (0, "0 zombies on this node; 0 cleared, 0 left", "imported json re reaper.agent")
    assert quiet_again(scheduled)
    before = scheduled.last.stat()
    wait_until(lambda: scheduled()[1][1:] == ["imported"], 30)
    assert scheduled.last.stat() == before, "what it says is still so"


@pytest.fixture
def told(scheduled, tmp_path):
    """The file of metrics that it writes."""
    (tmp_path / "out").mkdir()
    scheduled.config.write_text(json.dumps({"remedies": [], "textfile_directory": str(tmp_path / "out")}), encoding="utf-8")
    return tmp_path / "out/zombie_reaper.prom"


def values(told) -> dict:
    return dict(line.rpartition(" ")[::2] for line in told.read_text(encoding="utf-8").splitlines())


def test_one_that_ends_at_once_tells_that_it_has_looked(scheduled, told, no_zombie):
    scheduled()
    assert quiet_again(scheduled)
    whole = values(told)
    inode = told.stat().st_ino
    wait_until(lambda: scheduled()[1][1:] == ["imported"], 30)
    again = values(told)
    last_sweep = "zombie_reaper_last_sweep_timestamp_seconds"
    assert float(again[last_sweep]) > float(whole[last_sweep])
    assert {name for name in whole if whole[name] != again[name]} <= {last_sweep, "zombie_reaper_pids_used"}
    assert told.stat().st_ino != inode, "by a rename"
    assert [path.name for path in told.parent.iterdir()] == [told.name]


def test_one_that_cannot_tell_it_is_a_whole_sweep(scheduled, told, no_zombie):
    scheduled()
    assert quiet_again(scheduled)
    told.unlink()
    told.parent.rmdir()
    for _time in range(2):
        _status, lines, _errors = scheduled()
        assert not lines[0].startswith(AGAIN)
        assert "warning: %s cannot be written: No such file or directory" % told in lines
    told.parent.mkdir()
    assert quiet_again(scheduled)
    assert told.exists()


def test_whatever_is_new_is_looked_at_by_a_whole_sweep(node, scheduled, no_zombie):
    assert quiet_again(scheduled)
    parent = node.program("zombie()\nready()\nforever()")
    assert scheduled()[1][0] == "1 zombie on this node; 0 cleared, 1 left"
    assert json.loads(scheduled.last.read_text(encoding="utf-8"))["zombies"]["count"] == 1
    assert scheduled()[1][0] == "1 zombie on this node; 0 cleared, 1 left", "nothing was noted while there is one"
    parent.stop()
    assert quiet_again(scheduled)
    scheduled.config.write_text('{"min_age": -1}', encoding="utf-8")
    status, lines, errors = scheduled()
    assert (status, lines, errors.count("\n")) == (2, ["imported json re reaper.agent"], 1) and "min_age: -1 is not allowed" in errors
    scheduled.config.write_text('{"min_age": 5}', encoding="utf-8")
    assert scheduled()[1][0].endswith("0 left")
    assert quiet_again(scheduled)


def test_a_sweep_by_hand_in_between_is_something_new(node, scheduled, no_zombie):
    """It may have found what the schedule would, with other options."""
    assert quiet_again(scheduled)
    assert node.agent("--min-age", "5").returncode == 0
    assert not scheduled()[1][0].startswith(AGAIN)


def test_after_a_sweep_that_could_not_note_anything_the_next_looks_for_itself(node, scheduled, no_zombie, tmp_path):
    scheduled.note.mkdir(parents=True)
    for _time in range(2):
        status, lines, _errors = scheduled()
        assert status == 0 and not lines[0].startswith(AGAIN)
