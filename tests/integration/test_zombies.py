"""Where zombies come from, and those that nobody can collect; every one is real, and psutil is the witness."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import psutil
import pytest
from rig.node import AGENT, VFORK, is_alive, offender_of, wait_until

INIT_WITH_A_LEAKING_CHILD = """
child = os.fork()
if child == 0:
    zombie()
    ready()
    forever()
os.wait()
"""


@pytest.mark.parametrize("remedy, ends", [("reap", False), ("terminate", True)])
def test_the_classic_producer(node, remedy, ends):
    init = node.container("for _ in range(50): zombie()\nready()\nforever()")
    seen = sorted(init.zombies())
    assert len(seen) == 50
    result = node.sweep(remedies="nudge," + remedy)
    assert result["zombies"]["count"] == 50
    assert result["counts"]["cleared_by"] == {"nudge": 0, remedy: 50}
    assert init.alive != ends
    assert not any(psutil.pid_exists(pid) for pid in seen)


def test_sigterm_without_effect_is_said(node):
    init = node.container("zombie()\nready()\nforever()")
    (_nudge, step) = offender_of(node.sweep(remedies="nudge,terminate"), init)["steps"]
    assert step["detail"] == "ended by SIGKILL; SIGTERM has no effect on it (PID 1 without a handler)"


def test_a_handler_for_sigterm_gets_its_grace(node, tmp_path):
    said = tmp_path / "said"
    init = node.container("""
def goodbye(*_):
    open(%r, "w").write("goodbye")
    os._exit(0)
signal.signal(signal.SIGTERM, goodbye)
zombie()
ready()
forever()
""" % str(said))
    (_nudge, step) = offender_of(node.sweep(grace=5, remedies="nudge,terminate"), init)["steps"]
    assert step["detail"] == "ended by SIGTERM"
    assert said.read_text() == "goodbye"


def test_orphans_adopted_by_an_init_that_does_not_wait(node):
    """Each orphan exits after its parent has; the init of the container inherits it and never waits."""
    init = node.container("""
for _ in range(5):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            time.sleep(0.2)
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
time.sleep(0.5)
ready()
forever()
""")
    assert len(init.zombies()) == 5
    assert node.sweep()["counts"]["cleared"] == 5
    assert init.alive and init.zombies() == []


def test_a_service_that_fails_again_and_again(node):
    """One more zombie each time, in the middle of sweeps: old ones count, young ones do not."""
    init = node.container("""
zombie()
ready()
while True:
    zombie()
    time.sleep(0.25)
""")
    first = offender_of(node.sweep(min_age=3), init)
    assert first["reason"] == "too_young"
    time.sleep(1)
    later = offender_of(node.sweep(min_age=3, min_zombies=3), init)
    assert later["zombies"] > first["zombies"]
    time.sleep(2.2)
    last = offender_of(node.sweep("--check", min_age=3), init)
    assert last["verdict"] == "act"
    assert 0 < last["ripe"] < last["zombies"]
    assert init.alive


def test_children_of_a_thread(node):
    init = node.container("""
threading.Thread(target=zombie).start()
time.sleep(0.3)
ready()
forever()
""")
    assert len(init.zombies()) == 1
    assert node.sweep()["counts"]["cleared"] == 1
    assert init.alive and init.zombies() == []


def test_a_leader_that_is_dead_while_threads_live(node):
    """State Zl: no zombie yet in the sense of wait(2). Neither it nor its parent is to blame."""
    init = node.container("""
child = os.fork()
if child == 0:
    threading.Thread(target=forever).start()
    ctypes.CDLL(None).syscall(60, 0)
while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
""")
    assert any(stat[0] == "Z" and "l" in stat for stat in node.run("ps", "-eo", "stat").stdout.split())
    result = node.sweep()
    assert (offender_of(result, init)["reason"], result["changed"]) == ("leader_dead_threads_alive", False)
    assert init.alive


def test_a_zombie_held_by_a_tracer(node):
    """The parent cannot collect it, however well it waits, until the tracer has (ptrace(2))."""
    init = node.container("""
child = os.fork()
if child == 0:
    time.sleep(0.5)
    os._exit(0)
if os.fork() == 0:
    PTRACE_SEIZE = 0x4206
    ctypes.CDLL(None).ptrace(PTRACE_SEIZE, child, None, None)
    forever()
while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
""")
    result = node.sweep()
    assert (offender_of(result, init)["reason"], result["changed"]) == ("traced", False)
    assert init.alive


def test_a_parent_that_is_stopped(node):
    init = node.container(INIT_WITH_A_LEAKING_CHILD)
    (parent,) = init.process.children()
    parent.suspend()
    wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
    result = node.sweep()
    assert ([entry["reason"] for entry in result["offenders"]], result["changed"]) == (["parent_stopped"], False)
    assert parent.status() == psutil.STATUS_STOPPED
    parent.resume()
    assert node.sweep()["counts"]["cleared"] == 1
    assert is_alive(parent)


def test_time_in_which_a_parent_was_held_up_does_not_count(node):
    """Stopped for longer than min_age and just resumed: it has not had the time to wait that everybody gets."""
    init = node.container(INIT_WITH_A_LEAKING_CHILD)
    (parent,) = init.process.children()
    parent.suspend()
    wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
    node.sweep(min_age=2)
    time.sleep(2.1)
    node.sweep(min_age=2)
    parent.resume()
    wait_until(lambda: parent.status() != psutil.STATUS_STOPPED)
    (entry,) = node.sweep(min_age=2)["offenders"]
    assert entry["reason"] == "too_young"
    assert is_alive(parent)
    time.sleep(2.1)
    assert node.sweep(min_age=2)["counts"]["cleared"] == 1


def test_a_parent_in_uninterruptible_sleep(node, tmp_path):
    """In vfork(2)."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    init = node.container(VFORK % str(fifo))
    (parent,) = init.process.children()
    result = node.sweep()
    assert ([entry["reason"] for entry in result["offenders"]], result["changed"]) == (["parent_uninterruptible"], False)
    assert is_alive(parent)


FREEZERS = [
    ("v1", Path("/sys/fs/cgroup/freezer"), "freezer.state", "FROZEN", "THAWED"),
    ("v2", Path("/sys/fs/cgroup/unified"), "cgroup.freeze", "1", "0"),
    ("v2", Path("/sys/fs/cgroup"), "cgroup.freeze", "1", "0"),
]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_parent_that_is_paused(node, version):
    """docker pause freezes the cgroup: the parent can collect nothing, and that is not its fault."""
    mounted = [freezer[1:] for freezer in FREEZERS if freezer[0] == version and (freezer[1] / "cgroup.procs").exists()]
    if not mounted:
        pytest.skip("this machine has no cgroup %s freezer" % version)
    root, name, frozen, thawed = mounted[0]
    init = node.container("zombie()\nready()\nforever()")
    cgroup = root / ("zombie-reaper-test-%d" % os.getpid())
    cgroup.mkdir()
    try:
        (cgroup / "cgroup.procs").write_text(str(init.process.pid))
        (cgroup / name).write_text(frozen)
        time.sleep(0.2)
        result = node.sweep()
        assert (offender_of(result, init)["reason"], result["changed"]) == ("parent_frozen", False)
        (cgroup / name).write_text(thawed)
        assert init.alive
    finally:
        (cgroup / name).write_text(thawed)
        init.stop()
        wait_until(lambda: not (cgroup / "cgroup.procs").read_text())
        cgroup.rmdir()


def test_a_process_that_vanishes_while_it_is_looked_at_is_normal(node):
    """Zombies come and go hundreds of times a second while it sweeps; nothing of that is an error."""
    node.container("""
ready()
while True:
    os.waitpid(zombie(), 0)
""")
    for _sweep in range(20):
        result = node.sweep(min_age=60)
        assert result["warnings"] == []
        assert not result["changed"]


HOSTILE = b"\x1b[2J\x1b]0;owned\x07 \xff\xfe ) Z 1 \xe2\x80\xae{{ 1/0 }}\n"


def test_hostile_names_and_arguments_stay_harmless(node):
    init = node.container("""
name = %r
open("/proc/self/comm", "wb").write(name[:15])
if len(sys.argv) < 3:
    os.execv(sys.executable, [sys.executable, "-IS", "-c", sys.orig_argv[3], name.replace(b"\\0", b""), b"x" * 65536])
open("/proc/self/comm", "wb").write(name[:15])
zombie(lambda: open("/proc/self/comm", "wb").write(name[:15]))
ready()
forever()
""" % HOSTILE)
    dry = node.agent("--min-age", "0", "--check")
    assert all(line.isprintable() for line in dry.stdout.splitlines())
    assert len(dry.stdout) < 2000
    result = node.sweep()
    entry = offender_of(result, init)
    assert all(value.isprintable() for value in (entry["name"], entry["command_line"]))
    assert len(entry["command_line"]) < 300
    assert result["counts"]["cleared"] == 1


def test_a_healthy_container_is_never_touched(node):
    """Short-lived children, all waited for a little later; whatever the moment, none of them is old enough."""
    init = node.container("""
ready()
while True:
    children = [zombie() for _ in range(5)]
    time.sleep(0.3)
    for child in children:
        os.waitpid(child, 0)
""")
    for _sweep in range(20):
        assert not node.sweep(min_age=2)["changed"]
    assert init.alive


def test_a_parent_that_a_reminder_is_curing_is_not_ended_when_time_is_up(node):
    """One of 3,000 zombies goes with each reminder: more than one sweep has time for, and no reason for anything harder."""
    init = node.container("""
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
for _ in range(3000):
    zombie()
def wait_once(*_):
    os.waitpid(-1, os.WNOHANG)
    time.sleep(0.005)
signal.signal(signal.SIGCHLD, wait_once)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
ready()
forever()
""")
    entry = offender_of(node.sweep(), init)
    assert entry["outcome"] == "partly_cleared"
    assert [step["result"] for step in entry["steps"]] == ["unfinished"]
    assert init.alive
    assert len(init.zombies()) < 2999


@pytest.mark.parametrize("remedy, call", [("nudge", r"pidfd_open\((\d+)"), ("reap", r"ptrace\(PTRACE_SEIZE, (\d+)"), ("terminate", r"pidfd_open\((\d+)")])
def test_whoever_holds_most_is_first(node, tmp_path, remedy, call):
    """So a node that is full can start something after the first of them, not the last."""
    parents = [node.container("for _ in range(%d): zombie()\nready()\nforever()" % count) for count in (2, 30, 1, 9)]
    log = tmp_path / "calls"
    done = node.run("strace", "-o", log, "-e", "trace=ptrace,pidfd_open", *node.agent_command(
        "--json", "--min-age", "0", "--grace", "0", "--remedies", remedy))
    assert done.returncode == 0, done.stderr
    here = [parents[place].pids[1] for place in (1, 3, 0, 2)]
    order = [int(pid) for pid in re.findall(call, log.read_text(encoding="utf-8")) if int(pid) in here]
    assert list(dict.fromkeys(order)) == here
    assert [entry["pid"] for entry in json.loads(done.stdout)["offenders"] if entry["pid"] in here] == here


# It makes another zombie when it is reminded of the one it has; that comes of age while reap takes its time
ANOTHER_AT_A_REMINDER = """
def another(*_):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    zombie()
zombie()
signal.signal(signal.SIGCHLD, another)
ready()
forever()
"""
REAP_TAKES_ITS_TIME = AGENT.replace("from reaper.agent", "import time; from reaper import sweep; real = sweep.reap; "
                                    "sweep.reap = lambda *words: (real(*words), time.sleep(4))[0]; from reaper.agent")


def test_nobody_is_ended_for_a_zombie_that_nothing_gentler_was_tried_on(node):
    parent = node.container(ANOTHER_AT_A_REMINDER)
    done = node.run(*node.agent_command("--json", "--wait", "--min-age", "3", "--grace", "0", code=REAP_TAKES_ITS_TIME))
    assert (done.returncode, done.stderr) == (0, "")
    entry = offender_of(json.loads(done.stdout), parent)
    assert parent.alive
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [("nudge", "no_effect"), ("reap", "cleared")]
    assert (entry["outcome"], entry["cleared"], len(parent.zombies())) == ("cleared", 1, 1)


# Its child holds a zombie too, and ends before reap could come to it: that zombie moves to this one, on which reap was tried only for its own
AND_A_CHILD_THAT_HOLDS_ONE = """
zombie()
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""
THE_CHILD_ENDS_AT_REAP = AGENT.replace(
    "from reaper.agent", "import os, time; from reaper import sweep; real = sweep.reap; "
    "sweep.reap = lambda procfs, found, asked: ([os.kill(o.pid, 9) for o in found if o.pid != o.init_pid], time.sleep(0.3), real(procfs, found, asked))[2]; "
    "from reaper.agent")


def test_nobody_is_ended_for_a_zombie_that_it_inherited_meanwhile(node):
    init = node.container(AND_A_CHILD_THAT_HOLDS_ONE)
    done = node.run(*node.agent_command("--json", "--wait", "--min-age", "0", "--grace", "0", code=THE_CHILD_ENDS_AT_REAP))
    assert (done.returncode, done.stderr) == (0, "")
    entry = offender_of(json.loads(done.stdout), init)
    assert init.alive
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [("nudge", "no_effect"), ("reap", "cleared")]
    assert len(init.zombies()) == 2  # the child and what it held
