"""Whether anybody may still ask for a zombie: the rules by hand, and random trees of real processes
of which it is known who forked whom.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import lineage
from rig.node import ENGINE, wait_until
from rig.reaping import built

PARENT = lineage.Parent(50, 500, 40)  # leads no session
LEADER = lineage.Parent(50, 500, 50)
FROM_START = lineage.Parent(50, 500, 50, led_from_start=True)


def zombie(start_ticks=600, session=40, pid=100):
    return procfs.Stat(pid, b"x", "Z", 50, 0, 1, start_ticks, session)


@pytest.mark.parametrize(
    "child, parent, has_moved, is_orphan",
    [
        (zombie(), PARENT, False, False),
        (zombie(start_ticks=499), PARENT, False, True),  # before its parent
        (zombie(start_ticks=500), PARENT, False, False),  # in the same tick
        (zombie(session=41), PARENT, False, True),  # of another session, and its parent leads none
        (zombie(session=100), PARENT, False, False),  # it called setsid(2) itself
        (zombie(session=40), LEADER, False, False),  # forked before its parent called setsid(2)
        (zombie(session=50), LEADER, False, False),
        (zombie(session=40), FROM_START, False, True),
        (zombie(session=100), FROM_START, False, False),
        (zombie(session=50), FROM_START, False, False),
        (zombie(session=-1), PARENT, False, False),  # it was being waited for
        # another thread of it was in an execve(2)
        (zombie(session=40), PARENT._replace(session=-1), False, False),
        (zombie(), PARENT, True, True),
        (zombie(), PARENT._replace(never_waits="sleep"), False, True),
    ],
)
def test_claim(child, parent, has_moved, is_orphan):
    claim, why = lineage.claim(child, parent, has_moved)
    assert claim == ("orphan" if is_orphan else "may_be_waited_for")
    assert why and (why == lineage.NOBODY_ELSE) != is_orphan


@pytest.mark.parametrize(
    "command, expected",
    [
        (["sleep", "1000"], "sleep"),
        (["tail", "-f", "/dev/null"], "tail"),
        (["cat"], "cat"),
        (["sh", "-c", "read line"], None),
        ([sys.executable, "-c", "input()"], None),
        (["busybox", "sleep", "1000"], "sleep"),
        (["busybox", "sh", "-c", "read line"], None),
    ],
)
def test_programs_that_never_wait(command, expected):
    proc = procfs.ProcFS()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as running:
        try:
            wait_until(
                lambda: (
                    os.readlink(f"/proc/{running.pid}/exe") != os.readlink("/proc/self/exe")
                    or command[0] == sys.executable
                )
            )
            wait_until(
                lambda: proc.stat(running.pid).state == "S" and proc.system_call(running.pid)
            )
            told = [proc.executable(running.pid), proc.command_line(running.pid)]
            if expected:
                wait_until(
                    lambda: (
                        lineage.never_waits(
                            proc, proc.stat(running.pid), proc.status(running.pid), *told
                        )
                        == expected
                    )
                )
            else:
                assert (
                    lineage.never_waits(
                        proc, proc.stat(running.pid), proc.status(running.pid), *told
                    )
                    is None
                )
            assert (
                lineage.never_waits(
                    proc,
                    proc.stat(running.pid)._replace(num_threads=2),
                    proc.status(running.pid),
                    *told,
                )
                is None
            )
            caught = proc.status(running.pid)._replace(caught=1 << 16)
            assert lineage.never_waits(proc, proc.stat(running.pid), caught, *told) is None, (
                "it handles SIGCHLD"
            )
            elsewhere = [b"/opt/sleep", told[1]]
            assert (
                lineage.never_waits(
                    proc, proc.stat(running.pid), proc.status(running.pid), *elsewhere
                )
                is None
            )
        finally:
            running.kill()


# As PID 1 of a namespace: one tree after the other, each looked at when it has grown.
TREES = """
import json, os, signal, sys
sys.path.append(sys.argv[1])
from reaper.node import lineage
from reaper.kernel import procfs
PROC = procfs.ProcFS()
def grown(number):
    there, here = os.pipe()
    if os.fork() == 0:
        os.dup2(here, 3)
        os.execv(sys.argv[2], [sys.argv[2], str(number)])
    os.close(here)
    with open(there) as told:
        forked_by = dict(tuple(map(int, line.split())) for line in told)  # until all have closed it
    while True:
        stats = {stat.pid: stat for stat in map(PROC.stat, PROC.pids()) if stat and stat.pid != 1}
        if all(stat.state in "SZ" for stat in stats.values()):
            return forked_by, stats
wrong, seen, orphans = [], 0, 0
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    forked_by, stats = grown(number)
    for pid, zombie in stats.items():
        if zombie.state == "Z" and pid in forked_by:
            parent = PROC.stat(PROC.stat(pid).ppid)  # after the zombie, as an observation does
            claim, why = lineage.claim(zombie, lineage.Parent(parent.pid, parent.start_ticks, parent.session))
            seen += 1
            orphans += claim == lineage.ORPHAN
            if claim == lineage.ORPHAN and forked_by[pid] == parent.pid:
                wrong.append((number, pid, why))
    os.kill(-1, signal.SIGKILL)  # of PID 1: all but itself
    try:
        while os.wait():
            pass
    except ChildProcessError:
        pass
print(json.dumps([wrong, seen, orphans]))
"""


@pytest.fixture
def tree(tmp_path):
    """Path of rig/hostile/tree.c, compiled; for each test, so that they need not share a worker."""
    return built(tmp_path, "tree")


def grown(tree, first, last) -> list:
    """[(tree, PID, why) of own children that were called orphans, number of zombies, number of
    orphans among them].
    """
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        sys.executable,
        "-IS",
        "-c",
        TREES,
        ENGINE,
        tree,
        str(first),
        str(last),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_child_of_its_own_is_ever_called_an_orphan(tree):
    wrong, seen, orphans = grown(tree, 0, 300)
    assert not wrong
    assert seen > 300 and orphans > 30, "the trees are worth looking at"


@pytest.mark.full
@pytest.mark.parametrize("part", range(5))
def test_nor_in_10000_trees(tree, part):
    wrong, seen, orphans = grown(tree, 300 + 2000 * part, 300 + 2000 * (part + 1))
    assert not wrong
    assert seen > 2000 and orphans > 200
