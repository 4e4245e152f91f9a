"""Where zombies come from, and those that nobody can collect; every one is real, and psutil is the
witness.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from rig.agents import REMINDED_UNTIL_CURED, later, lines, sweep
from rig.node import VFORK, is_alive, offender_of, wait_until
from rig.reaping import DAEMON, WAITS_FOR_ALL, said

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
    seen = [psutil.Process(pid) for pid in init.zombies()]
    assert len(seen) == 50
    result = node.sweep(remedies="nudge," + remedy)
    assert result["zombies"]["count"] == 50
    assert result["counts"]["cleared_by"] == {"nudge": 0, remedy: 50}
    assert init.alive != ends
    assert not any(zombie.is_running() for zombie in seen), "psutil compares the start time"


# It says so when SIGTERM comes, and exits with 0
GOODBYE = """
def goodbye(*_):
    open(%r, "w").write("goodbye")
    os._exit(0)
signal.signal(signal.SIGTERM, goodbye)
"""
LEAK = "zombie()\nready()\nforever()\n"


def test_sigterm_without_effect_is_said(node):
    node.container(
        DAEMON
        + """
def run():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    zombie()
    ready()
    forever()
daemon(run)
"""
        + WAITS_FOR_ALL
    )
    (entry,) = node.sweep(remedies="terminate")["offenders"]
    assert entry["steps"][0]["detail"] == "ended by SIGKILL; SIGTERM has no effect on it"


def test_a_program_for_whose_status_nobody_can_ask_gets_sigterm_and_its_grace(node, tmp_path):
    told = tmp_path / "told"
    init = node.container(
        DAEMON
        + GOODBYE % str(told)
        + """
def run():
    zombie()
    ready()
    forever()
daemon(run)
"""
        + WAITS_FOR_ALL
    )
    (entry,) = node.sweep(grace=60, remedies="terminate")["offenders"]
    assert entry["steps"][0]["detail"] == "ended by SIGTERM"
    assert told.read_text() == "goodbye"
    assert init.alive


@pytest.mark.parametrize(
    "code",
    [
        "%s" + LEAK,
        "if os.fork():\n    while True: os.wait()\n%s" + LEAK,
        "if os.fork():\n    os.setsid()\n    while True: os.wait()\n%s" + LEAK,
        "if os.fork():\n    while True: os.wait()\nos.setsid()\n%s" + LEAK,
    ],
    ids=[
        "PID 1",
        "a child",
        "a child of one that leads a session since then",
        "a child that made a session",
    ],
)
def test_a_program_for_whose_status_somebody_can_ask_never_exits_with_0(node, tmp_path, code):
    """Whoever waits for it would take its work for done."""
    told = tmp_path / "told"
    node.container(code % (GOODBYE % str(told)))
    (entry,) = [
        entry for entry in node.sweep(grace=60, remedies="terminate")["offenders"] if entry["steps"]
    ]
    assert entry["steps"][0]["detail"] == "ended by SIGKILL at once, so that it counts as failed"
    assert not told.exists()


def test_orphans_adopted_by_an_init_that_does_not_wait(node):
    """Each orphan exits after its parent has; the init of the container inherits it and never
    waits.
    """
    init = node.container("""
here, there = os.pipe()
for _ in range(5):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            while os.getppid() != 1:
                time.sleep(0.01)
            os.write(there, b"%5d" % os.getpid())
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
    os.waitid(os.P_PID, int(os.read(here, 5)), os.WEXITED | os.WNOWAIT)
ready()
forever()
""")
    assert len(init.zombies()) == 5
    assert node.sweep()["counts"]["cleared"] == 5
    assert init.alive and init.zombies() == []


def test_a_service_that_fails_again_and_again(node):
    """One more zombie each time, in the middle of sweeps: old ones count, young ones do not. The
    last sweep is two hours later.
    """
    init = node.container("""
zombie()
ready()
while True:
    zombie()
    time.sleep(0.25)
""")

    def one_more_than(entry):
        wait_until(lambda: len(init.zombies()) > entry["zombies"])

    first = offender_of(node.sweep(min_age=3600), init)
    assert first["reason"] == "too_young"
    one_more_than(first)
    second = offender_of(node.sweep(min_age=3600, min_zombies=3), init)
    assert second["zombies"] > first["zombies"]
    one_more_than(second)
    last = offender_of(sweep(node, later(hours=2), flags=["--check"], min_age=3600), init)
    assert last["verdict"] == "act"
    assert 0 < last["due"] < last["zombies"]
    assert init.alive


def test_children_of_a_thread(node):
    init = node.container("""
thread = threading.Thread(target=zombie)
thread.start()
thread.join()
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
    exit_thread()
while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
""")
    assert any(
        stat[0] == "Z" and "l" in stat for stat in node.run("ps", "-eo", "stat").stdout.split()
    )
    result = node.sweep()
    assert (offender_of(result, init)["reason"], result["changed"]) == (
        "leader_dead_threads_alive",
        False,
    )
    assert init.alive


def test_a_zombie_held_by_a_tracer(node):
    """The parent cannot collect it, however well it waits, until the tracer has (ptrace(2))."""
    init = node.container("""
here, there = os.pipe()
child = os.fork()
if child == 0:
    os.read(here, 1)
    os._exit(0)
if os.fork() == 0:
    PTRACE_SEIZE = 0x4206
    ctypes.CDLL(None).ptrace(PTRACE_SEIZE, child, None, None)
    os.write(there, b"x")
    forever()
while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
""")
    entry = offender_of(node.sweep(), init)
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [
        ("reap", "no_effect")
    ], "nothing harder follows"
    result = node.sweep()
    assert (offender_of(result, init)["reason"], result["changed"]) == ("traced", False), (
        "it is not asked for again"
    )
    assert init.alive


def test_a_parent_that_is_stopped(node):
    init = node.container(INIT_WITH_A_LEAKING_CHILD)
    (parent,) = init.process.children()
    parent.suspend()
    wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
    result = node.sweep()
    assert ([entry["reason"] for entry in result["offenders"]], result["changed"]) == (
        ["parent_stopped"],
        False,
    )
    assert parent.status() == psutil.STATUS_STOPPED
    parent.resume()
    wait_until(lambda: parent.status() != psutil.STATUS_STOPPED)
    assert node.sweep()["counts"]["cleared"] == 1
    assert is_alive(parent)


def test_time_in_which_a_parent_was_held_up_does_not_count(node):
    """Stopped for longer than min_age and just resumed: it has not had the time to wait that
    everybody gets.
    """
    init = node.container(INIT_WITH_A_LEAKING_CHILD)
    (parent,) = init.process.children()
    parent.suspend()
    wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
    node.sweep(min_age=3600)
    sweep(node, later(hours=2), min_age=3600)
    parent.resume()
    wait_until(lambda: parent.status() != psutil.STATUS_STOPPED)
    (entry,) = sweep(node, later(hours=2), min_age=3600)["offenders"]
    assert entry["reason"] == "too_young"
    assert is_alive(parent)
    assert sweep(node, later(hours=4), min_age=3600)["counts"]["cleared"] == 1


def test_a_parent_in_uninterruptible_sleep(node, tmp_path):
    """In vfork(2)."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    init = node.container(VFORK % str(fifo))
    (parent,) = init.process.children()
    result = node.sweep()
    assert ([entry["reason"] for entry in result["offenders"]], result["changed"]) == (
        ["parent_uninterruptible"],
        False,
    )
    assert is_alive(parent)


# version, where it is mounted, what is written to which file, and where it is told that all in it
# has come to rest
FREEZERS = [
    (
        "v1",
        Path("/sys/fs/cgroup/freezer"),
        "freezer.state",
        "FROZEN",
        "THAWED",
        ("freezer.state", "FROZEN"),
    ),
    (
        "v2",
        Path("/sys/fs/cgroup/unified"),
        "cgroup.freeze",
        "1",
        "0",
        ("cgroup.events", "frozen 1"),
    ),
    ("v2", Path("/sys/fs/cgroup"), "cgroup.freeze", "1", "0", ("cgroup.events", "frozen 1")),
]


@pytest.mark.all_cgroups
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_parent_that_is_paused(node, version):
    """docker pause freezes the cgroup: the parent can collect nothing, and that is not its
    fault.
    """
    mounted = [
        freezer[1:]
        for freezer in FREEZERS
        if freezer[0] == version and (freezer[1] / "cgroup.procs").exists()
    ]
    if not mounted:
        pytest.skip(f"this machine has no cgroup {version} freezer")
    root, name, frozen, thawed, (told, at_rest) = mounted[0]
    init = node.container("zombie()\nready()\nforever()")
    cgroup = root / (f"zombie-reaper-test-paused-{os.getpid()}")
    cgroup.mkdir()
    try:
        (cgroup / "cgroup.procs").write_text(str(init.process.pid))
        (cgroup / name).write_text(frozen)
        wait_until(lambda: at_rest in (cgroup / told).read_text().splitlines())
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
    """Zombies come and go hundreds of times a second while it sweeps; nothing of that is an
    error.
    """
    node.container("""
ready()
while True:
    os.waitpid(zombie(), 0)
""")
    for _sweep in range(20):
        result = node.sweep(min_age=3600)
        assert result["warnings"] == []
        assert not result["changed"]


HOSTILE = b"\x1b[2J\x1b]0;owned\x07 \xff\xfe ) Z 1 \xe2\x80\xae{{ 1/0 }}\n"


def test_hostile_names_and_arguments_stay_harmless(node):
    init = node.container(
        """
name = %r
open("/proc/self/comm", "wb").write(name[:15])
if len(sys.argv) < 3:
    os.execv(sys.executable, [sys.executable, "-IS", "-c", sys.orig_argv[3], name.replace(b"\\0", b""), b"x" * 65536])
open("/proc/self/comm", "wb").write(name[:15])
zombie(lambda: open("/proc/self/comm", "wb").write(name[:15]))
ready()
forever()
"""
        % HOSTILE
    )
    dry = node.agent("--min-age", "0", "--check")
    assert all(line.isprintable() for line in dry.stdout.splitlines())
    assert len(dry.stdout) < 2000
    result = node.sweep()
    entry = offender_of(result, init)
    assert all(value.isprintable() for value in (entry["name"], entry["command_line"]))
    assert len(entry["command_line"]) < 300
    assert result["counts"]["cleared"] == 1


def test_a_healthy_container_is_never_touched(node):
    """It always has exited children, each of them waited for in time: before the next sweep, which
    is two hours later.
    """
    init = node.container("""
children = []
def others(*_):
    for child in children:
        os.waitpid(child, 0)
    children[:] = [zombie() for _ in range(5)]
    os.write(1, b"others\\n")
signal.signal(signal.SIGUSR1, others)
ready()
forever()
""")
    for number in range(10):
        init.process.send_signal(signal.SIGUSR1)
        assert said(init) == "others"
        result = sweep(node, later(hours=2 * number), min_age=3600)
        assert (result["zombies"]["count"], result["changed"]) == (5, False)
        assert len(init.zombies()) == 5
    assert init.alive


NUDGE_FIRST = "nudge,reap,terminate"
TIME_IS_UP_WHEN_ONE_HAS_HELPED = lines("""
from reaper.remedies import nudge
def count(self, procfs, real=nudge._Nudged.count):
    helped = real(self, procfs)
    if helped:
        nudge.MAX_SECONDS = 0
    return helped
nudge._Nudged.count = count
""")


def test_a_parent_that_a_reminder_is_curing_is_not_ended_when_time_is_up(node):
    """One zombie goes with each reminder; when time is up some are left, which is no reason for
    anything harder.
    """
    init = node.container("""
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
for _ in range(100):
    zombie()
signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
ready()
forever()
""")
    entry = offender_of(
        sweep(node, REMINDED_UNTIL_CURED, TIME_IS_UP_WHEN_ONE_HAS_HELPED, remedies=NUDGE_FIRST),
        init,
    )
    assert entry["outcome"] == "partly_cleared"
    assert [step["result"] for step in entry["steps"]] == ["unfinished"]
    assert init.alive
    assert 0 < len(init.zombies()) < 99


@pytest.mark.parametrize(
    "remedy, call",
    [
        ("nudge", r"pidfd_open\((\d+)"),
        ("reap", r"ptrace\(PTRACE_SEIZE, (\d+)"),
        ("terminate", r"pidfd_open\((\d+)"),
    ],
)
def test_whoever_holds_most_is_first(node, tmp_path, remedy, call):
    """So a node that is full can start something after the first of them, not the last."""
    parents = [
        node.container(f"for _ in range({count}): zombie()\nready()\nforever()")
        for count in (2, 30, 1, 9)
    ]
    log = tmp_path / "calls"
    done = node.run(
        "strace",
        "-o",
        log,
        "-e",
        "trace=ptrace,pidfd_open",
        *node.agent_command("--json", "--min-age", "0", "--grace", "0", "--remedies", remedy),
    )
    assert done.returncode == 0, done.stderr
    here = [parents[place].pids[1] for place in (1, 3, 0, 2)]
    order = [
        int(pid) for pid in re.findall(call, log.read_text(encoding="utf-8")) if int(pid) in here
    ]
    assert list(dict.fromkeys(order)) == here
    assert [
        entry["pid"] for entry in json.loads(done.stdout)["offenders"] if entry["pid"] in here
    ] == here


# It makes another zombie when it is reminded of the one it has; that comes of age while reap takes
# two hours
ANOTHER_AT_A_REMINDER = """
def another(*_):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    zombie()
zombie()
signal.signal(signal.SIGCHLD, another)
ready()
forever()
"""
REAP_TAKES_ITS_TIME = lines("""
import time
from reaper import sweep
def nudge(procfs, found, real=sweep.nudge):
    outcomes = real(procfs, found)
    while len(list(procfs.zombies())) < 2:
        time.sleep(0.01)
    return outcomes
def reap(*words, real=sweep.reap):
    outcomes = real(*words)
    time.monotonic = lambda now=time.monotonic: now() + 7200
    return outcomes
sweep.nudge, sweep.reap = nudge, reap
""")


def test_nobody_is_ended_for_a_zombie_that_nothing_gentler_was_tried_on(node):
    parent = node.container(ANOTHER_AT_A_REMINDER)
    node.sweep(min_age=3600)
    entry = offender_of(
        sweep(node, later(hours=2), REAP_TAKES_ITS_TIME, min_age=3600, remedies=NUDGE_FIRST), parent
    )
    assert parent.alive
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [
        ("nudge", "no_effect"),
        ("reap", "cleared"),
    ]
    assert (entry["outcome"], entry["cleared"], len(parent.zombies())) == ("cleared", 1, 1)


# Its child holds a zombie too, and ends before reap could come to it: that zombie moves to this
# one, on which reap was tried only for its own
AND_A_CHILD_THAT_HOLDS_ONE = """
zombie()
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""
THE_CHILD_ENDS_AT_REAP = lines("""
import os, time
from reaper.node import observe
from reaper import sweep
def reap(procfs, found, asked, real=sweep.reap):
    (child,) = [each for each in found if each.pid != each.init_pid]
    os.kill(child.pid, 9)
    while any(zombie.ppid == child.pid for zombie in observe.still_zombies(procfs, child)) or procfs.stat(child.pid).state != "Z":
        time.sleep(0.01)
    return real(procfs, found, asked)
sweep.reap = reap
""")


def test_nobody_is_ended_for_a_zombie_that_it_inherited_meanwhile(node):
    init = node.container(AND_A_CHILD_THAT_HOLDS_ONE)
    entry = offender_of(sweep(node, THE_CHILD_ENDS_AT_REAP, remedies=NUDGE_FIRST), init)
    assert init.alive
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [
        ("nudge", "no_effect"),
        ("reap", "cleared"),
    ]
    assert len(init.zombies()) == 2  # the child and what it held


def test_who_would_end_with_a_pid_1_is_protected_too(node):
    init = node.container("""
if os.fork() == 0:
    os.execv("/bin/sleep", ["sleep", "7777"])
while b"sleep" not in open("/proc/%d/cmdline" % 2, "rb").read():
    time.sleep(0.01)
zombie()
ready()
forever()
""")
    entry = offender_of(
        node.sweep("--protect", "^sleep 7777$", "--check", remedies="nudge,terminate"), init
    )
    assert (entry["reason"], entry["remedies"]) == ("protected", ["nudge"])
    assert "would end with it, and matches protect: ^sleep 7777$" in entry["explanation"]
    assert offender_of(
        node.sweep("--protect", "^sleep 8888$", "--check", remedies="nudge,terminate"), init
    )["remedies"] == ["nudge", "terminate"]
