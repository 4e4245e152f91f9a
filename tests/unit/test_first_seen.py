"""When zombies were first seen, kept from sweep to sweep: a file that cannot be trusted or written
must do no harm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    files,
    state,
    sweep,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import Busy, CannotSweep
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import Options
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import container_process, node, zombie

BOOT_ID = procfs.ProcFS().read_text("sys/kernel/random/boot_id").strip()
KEY = (7, 1007, 50)
AGENT = (
    "import sys; sys.path.append(sys.argv.pop(1)); from reaper.cli import main; sys.exit(main())"
)


def loaded(directory, text=None):
    """The times that a sweep reads when its file holds this text."""
    if text is not None:
        (directory / "first_seen").write_bytes(text if isinstance(text, bytes) else text.encode())
    first_seen = state.FirstSeen(str(directory), procfs.ProcFS())
    first_seen.load(required=True)
    return first_seen.times


def test_times_come_back(tmp_path):
    first_seen = state.FirstSeen(str(tmp_path), procfs.ProcFS())
    first_seen.note(node(container_process(zombies=(zombie(7), zombie(8)))), 12.5)
    first_seen.note(node(container_process(zombies=(zombie(7), zombie(9)))), 99.0)
    first_seen.save()
    assert loaded(tmp_path) == {KEY: 12.5, (9, 1009, 50): 99.0}, "8 has gone, 9 is new"


def test_zombie_of_another_parent_is_seen_anew_and_the_former_one_is_remembered(tmp_path):
    first_seen = state.FirstSeen(str(tmp_path), procfs.ProcFS())
    first_seen.note(node(container_process(zombies=(zombie(7),))), 12.5)
    moved, _kept = first_seen.note(node(container_process(40, zombies=(zombie(7, 40),))), 99.0)
    assert (first_seen.times, moved) == ({(7, 1007, 40): 99.0}, {(7, 1007): 12.5})
    assert first_seen.note(node(), 100.0) == ({}, {}) and first_seen.times == {}, "it has gone"


def test_what_a_stopped_parent_holds_begins_anew_and_is_known_all_the_same(tmp_path):
    """Another sweep of the same node, which looks in between, changes nothing of that."""
    memory = state.Memory(str(tmp_path), procfs.ProcFS())
    parent = container_process(zombies=(zombie(7),))
    memory.note_seen(node(parent), 12.5)
    memory.save()
    memory.note_seen(node(parent._replace(state="T")), 99.0)
    memory.load(required=True)
    assert (memory.first_seen.times, memory.kept.times, memory.moved.times) == (
        {(7, 1007, 50): 99.0},
        {(7, 1007): 12.5},
        {},
    )
    memory.note_seen(node(parent), 100.0)
    assert memory.first_seen.times == {(7, 1007, 50): 99.0}


def test_no_file_is_no_times(tmp_path):
    assert loaded(tmp_path) == {}
    assert loaded(tmp_path / "no directory") == {}


GOOD = BOOT_ID + "\n7 1007 50 12.500\n8 1008 50 99.000\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        BOOT_ID,
        BOOT_ID + "\n",
        "7 1007 50 12.5\n",
        b"\xff\xfe",
        b"\0" * 4096,
        GOOD.replace(BOOT_ID, "0" * 36),
        GOOD.replace(BOOT_ID, BOOT_ID + " "),
        GOOD + "7 1007\n",
        GOOD + "a b c d\n",
        GOOD + "\n",
        GOOD + "1 2 3 4 5\n",
        BOOT_ID + "\n7 1007 50 nan\n",
        BOOT_ID + "\n7 1007 50 -inf\n",
        BOOT_ID + "\n7 1007 50 -1\n",
        "{}",
        GOOD * 2,
    ],
)
def test_file_that_is_not_ours_of_this_boot_is_ignored(tmp_path, text):
    assert loaded(tmp_path, text) == {}


def test_torn_file_never_makes_a_zombie_older(tmp_path):
    whole = loaded(tmp_path, GOOD)
    assert whole == {KEY: 12.5, (8, 1008, 50): 99.0}
    for end in range(len(GOOD)):
        for key, seen in loaded(tmp_path, GOOD[:end]).items():
            assert whole[key] == seen


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: (BOOT_ID + "\n" + text + "\n").encode())
)
def test_any_file_is_read_or_ignored(tmp_path_factory, data):
    loaded(tmp_path_factory.getbasetemp(), data)


def test_directory_in_its_place_is_said_in_one_sentence(tmp_path):
    (tmp_path / "first_seen").mkdir()
    with pytest.raises(CannotSweep, match="first_seen cannot be read: Is a directory"):
        loaded(tmp_path)
    state.FirstSeen(str(tmp_path), procfs.ProcFS()).load(required=False)


def test_times_that_did_not_change_are_not_written_again(tmp_path):
    first_seen = state.FirstSeen(str(tmp_path), procfs.ProcFS())
    first_seen.note(node(container_process(zombies=(zombie(7),))), 12.5)
    first_seen.save()
    os.unlink(tmp_path / "first_seen")
    first_seen.save()
    assert not (tmp_path / "first_seen").exists()


def report_only(root, run, *before):
    """A sweep of this machine that may do nothing to anybody, by the command, after the shell code
    ``before``.
    """
    command = [
        sys.executable,
        "-IS",
        "-c",
        AGENT,
        str(root / "plugins/module_utils"),
        "--config",
        str(root / "tests/rig/no_options.json"),
        "--run",
        str(run),
        "--remedies",
        "",
        "--textfile-directory",
        "off",
        "--json",
    ]
    shell = "set -e; " + "; ".join(before) + '; exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, "sh", *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def real_zombies():
    """So that there is something to note. More than are being forked on the machine at any moment:
    the ledger may miss as many as that.
    """
    pids = []
    for _number in range(20):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        pids.append(pid)
    yield
    for pid in pids:
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "why, before",
    [
        ("File too large", ["ulimit -f 0"]),
        (
            "No space left on device",
            [
                "mount -t tmpfs -o size=64k none {run}",
                "cat /dev/zero >{run}/fill 2>/dev/null || true",
            ],
        ),
    ],
)
def test_directory_that_is_full_is_a_warning(tmp_path, root, real_zombies, why, before):
    done = report_only(root, tmp_path, *[line.format(run=tmp_path) for line in before])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == [f"{tmp_path} cannot be written: {why}"]
    assert [name for name in os.listdir(tmp_path) if name.endswith(".new")] == []


def test_directory_that_is_read_only_is_a_warning_where_nothing_was_to_be_done(tmp_path, root):
    done = report_only(root, tmp_path, f"mount -t tmpfs -o ro none {tmp_path}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == [
        f"{tmp_path} cannot be written: the lock {tmp_path}/lock cannot be opened:"
        " Read-only file system"
    ]


def test_lock_that_cannot_be_had_is_said_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotSweep, match="file/lock cannot be opened: File exists"),
        files.locked(str(tmp_path / "file")),
    ):
        pass
    monkeypatch.setattr(files, "LOCK_WAIT", 0)
    with (
        files.locked(str(tmp_path)),
        pytest.raises(Busy, match="nothing was done"),
        files.locked(str(tmp_path)),
    ):
        pass
    with files.locked(str(tmp_path)):
        pass


def test_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(CannotSweep, match="lock cannot be opened"),
        files.locked(str(tmp_path)),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_check_mode_writes_nothing(tmp_path, root, real_zombies):
    sweep.sweep(Options(remedies=()), Paths(run=str(tmp_path / "run")), check_mode=True)
    assert not (tmp_path / "run").exists()


def test_state_is_for_root_only(tmp_path, root, real_zombies):
    done = report_only(root, tmp_path / "run", "umask 0")
    assert done.returncode == 0, done.stderr
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in [tmp_path / "run", *(tmp_path / "run").iterdir()]
    }
    assert modes.pop("run") == 0o700
    # others too, where a parent of somebody else's on this machine is suspended
    assert modes.keys() >= {"lock", "first_seen", "last.json", "sizes"}
    assert set(modes.values()) == {0o600}
    assert json.loads((tmp_path / "run/last.json").read_text())["schema"] == 1
