"""One test for each row of the table of faults in docs/comparison.md that this version answers.

Where it can be shown, the script that this project replaces is run on the same processes, so each
test is seen to notice the fault.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
from pathlib import Path

import psutil
import pytest
from rig.agents import REMINDED_UNTIL_CURED, UNTIL_SETTLED, WITHOUT_SETTLING, later, lines, sweep
from rig.kernel import PID_MAX_OF_A_NAMESPACE
from rig.node import (
    AGENT,
    ENGINE,
    OLD_SCRIPT,
    PRELUDE,
    PYTHON,
    Node,
    is_alive,
    left_in_node,
    ns_pids,
    offender_of,
    wait_until,
)

LEAK = """
for _ in range(3):
    zombie()
ready()
forever()
"""

# A handler that waits once for each signal. Children that exit together raise one SIGCHLD, so
# zombies stay.
WAITS_ONCE_FOR_EACH_SIGNAL = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
for _ in range(20):
    zombie()
signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
ready()
forever()
"""

IGNORES_SIGTERM = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


def test_row_1_a_container_that_a_reminder_cures_is_not_ended(node):
    init = node.container(WAITS_ONCE_FOR_EACH_SIGNAL)
    wait_until(lambda: len(init.zombies()) == 19)
    result = sweep(node, REMINDED_UNTIL_CURED, remedies="nudge,reap,terminate")
    assert init.alive
    assert init.zombies() == []
    entry = offender_of(result, init)
    assert (entry["outcome"], entry["remedy"], entry["cleared"]) == ("cleared", "nudge", 19)
    assert result["changed"]
    assert result["counts"]["cleared_by"] == {"nudge": 19, "reap": 0, "terminate": 0}


def test_row_1_a_container_that_never_waits_lives_on_without_its_zombies(node):
    """By the default ladder: the same process as before, and it does not even notice."""
    init = node.container(LEAK)
    assert len(init.zombies()) == 3
    result = node.sweep()
    assert init.alive, "psutil compares the start time"
    assert init.zombies() == []
    entry = offender_of(result, init)
    assert (entry["outcome"], entry["remedy"], entry["cleared"]) == ("cleared", "reap", 3)
    assert [step["remedy"] for step in entry["steps"]] == ["reap"]
    assert result["counts"]["parents_ended"] == 0
    # it is woken in a moment
    wait_until(
        lambda: init.process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    )
    assert "TracerPid:\t0\n" in Path(f"/proc/{init.process.pid}/status").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "code", [LEAK, WAITS_ONCE_FOR_EACH_SIGNAL], ids=["never_waits", "a_reminder_cures"]
)
def test_row_1_the_script_ends_either_container_without_a_word(node, code):
    init = node.container(code)
    assert node.old_script().stdout == ""
    assert init.ends()


def test_row_1_the_script_of_today_ends_it_too(node, tmp_path):
    init = node.container_of_containerd(LEAK)
    said = node.todays_script(tmp_path).stdout
    assert [line.split()[2] for line in said.splitlines()] == ["SIGCHLD", "SIGTERM", "SIGKILL"]
    assert init.ends()


def test_row_1_without_terminate_nothing_is_ever_ended(node):
    init = node.container(LEAK)
    result = node.sweep(remedies="nudge")
    assert init.alive
    assert len(init.zombies()) == 3
    assert offender_of(result, init)["outcome"] == "not_cleared"
    assert not result["changed"]


STATES = {"Zs": "zombie(os.setsid)", "ZN": "zombie(lambda: os.nice(5))"}
NAMES = [
    b"npm start",
    b"a) Z 1 (b",
    b") S 1 1 1",
    b"\xff\xfe\xfd",
    b"new\nline",
    b"((((",
    b"15 bytes of any",
]


@pytest.mark.parametrize("state", STATES)
def test_row_2_every_kind_of_zombie_is_seen(node, state):
    init = node.container(STATES[state] + "\nready()\nforever()")
    shown = node.run("ps", "-eo", "stat").stdout.split()
    assert any(stat[0] == "Z" and state[1] in stat for stat in shown), (
        "ps shows an N too if the tests run under nice"
    )
    node.old_script()
    assert init.alive, "the script sees only those that ps shows as plain Z"
    assert node.sweep()["counts"]["cleared"] == 1
    assert init.alive and init.zombies() == []


def test_row_2_a_zombie_of_the_foreground_is_seen(node):
    init = node.container("""
import pty, fcntl, termios
master, slave = pty.openpty()
os.setsid()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
zombie()
ready()
forever()
""")
    assert any(
        stat.startswith("Z") and "+" in stat
        for stat in node.run("ps", "-eo", "stat").stdout.split()
    )
    assert node.sweep()["counts"]["cleared"] == 1
    assert init.alive and init.zombies() == []


# As where cgroups do not account for all zombies
BY_SCAN = "from reaper.node import zombies; zombies._among_children = lambda *_: None"


@pytest.mark.parametrize(
    "way, does", [("children", ()), ("scan", (BY_SCAN,))], ids=["children", "scan"]
)
@pytest.mark.parametrize("name", NAMES)
def test_row_2_names_do_not_confuse(node, name, way, does):
    """Whichever way they are found."""
    rename = f"lambda: open('/proc/self/comm', 'wb').write({name!r})"
    init = node.container(
        f"zombie({rename})\nopen('/proc/self/comm', 'wb').write({name!r})\nready()\nforever()"
    )
    result = sweep(node, *does)
    assert result["found_by"] == way
    assert result["zombies"]["count"] == 1
    assert left_in_node(result) == []
    assert result["counts"]["cleared"] == 1
    shown = result["offenders"][0]["name"]
    assert shown.isprintable() and len(shown) >= len(name)
    assert init.alive and init.zombies() == []


def test_row_2_a_blank_in_its_name_hides_a_zombie_from_the_script_of_today(node, tmp_path):
    rename = "lambda: open('/proc/self/comm', 'wb').write(b'npm start')"
    init = node.container_of_containerd(f"zombie({rename})\nready()\nforever()")
    assert node.todays_script(tmp_path).stdout == ""
    assert node.sweep()["counts"]["cleared"] == 1
    assert init.alive and init.zombies() == []


# Its zombie comes before that one in the order of names, in which a shell lists /proc.
ZOMBIE_BEFORE = """
while str(pid := zombie()) > %r:
    os.waitpid(pid, 0)
ready()
forever()
"""


def test_row_2_a_zombie_of_the_host_hides_all_others_from_the_script_of_today(node, tmp_path):
    init = node.container_of_containerd(LEAK)
    first = min(str(ns_pids(pid)[-2]) for pid in init.zombies())
    daemon = node.program(ZOMBIE_BEFORE % first)
    assert "is not below a containerd-shim" in node.todays_script(tmp_path).stdout
    assert len(init.zombies()) == 3
    assert node.sweep()["counts"]["cleared"] == 3
    assert init.alive and daemon.alive and init.zombies() == []


def test_row_2_without_containerd_the_script_of_today_does_nothing(node, tmp_path):
    init = node.container(LEAK)
    assert "is not below a containerd-shim" in node.todays_script(tmp_path).stdout
    assert node.sweep()["counts"]["cleared"] == 3
    assert init.alive


# A look at its children is due now and then; here it comes with SIGUSR1.
REAPS_NOW_AND_THEN = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
children = [zombie()]
ready()
while True:
    signal.sigwait([signal.SIGUSR1])
    for child in children:
        os.waitpid(child, 0)
    children = [zombie(), zombie()]
"""
# Arguments: path of the engine, directory of the state, PID of the supervisor. Its clock is an hour
# ahead with each sweep.
HUNDRED_SWEEPS = """
import json, os, signal, sys, time
sys.path.append(sys.argv[1])
from reaper import report, sweep
from reaper.options import validate
from reaper.paths import Paths
from reaper.kernel import procfs
supervisor, proc, options, paths = int(sys.argv[3]), procfs.ProcFS(), validate({"min_age": 1800, "pressure": 0}), Paths(run=sys.argv[2])
def zombies():
    return {(zombie.pid, zombie.start_ticks) for zombie in proc.zombies() if zombie.ppid == supervisor}
for _ in range(100):
    before = zombies()
    os.kill(supervisor, signal.SIGUSR1)
    while len(zombies() - before) < 2 or zombies() & before:
        time.sleep(0.001)
    done = report.as_dict(sweep.sweep(options, paths))
    print(json.dumps([done["changed"], done["counts"]["zombies"], [entry["reason"] for entry in done["offenders"]]]))
    if done["changed"]:
        break
    time.monotonic = lambda real=time.monotonic: real() + 3600
"""


def test_row_3_a_supervisor_that_reaps_now_and_then_survives_100_sweeps(node):
    """At each of them it has zombies, and none of them for longer than min_age."""
    supervisor = node.container(REAPS_NOW_AND_THEN)
    done = node.run(
        PYTHON,
        "-IS",
        "-c",
        HUNDRED_SWEEPS,
        str(ENGINE),
        str(node.run_directory),
        str(supervisor.pids[1]),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [False, 2, ["too_young"]]
    ] * 100
    assert supervisor.alive


def test_row_3_the_script_ends_that_supervisor_at_its_first_run(node):
    supervisor = node.container(REAPS_NOW_AND_THEN)
    node.old_script()
    assert supervisor.ends()


def test_row_3_the_script_of_today_ends_it_half_a_minute_later(node, tmp_path):
    """It looks a second time, but asks only whether the zombie is still there."""
    supervisor = node.container_of_containerd(REAPS_NOW_AND_THEN)
    node.todays_script(tmp_path)
    assert supervisor.ends()


@pytest.mark.parametrize(
    "remedies, ends", [("nudge,reap,terminate", False), ("nudge,terminate", True)]
)
def test_row_3_what_stays_is_acted_on_when_it_is_old_enough(node, remedies, ends):
    init = node.container(LEAK)
    first = node.sweep(min_age=3600, remedies=remedies)
    assert offender_of(first, init)["reason"] == "too_young"
    assert init.alive
    assert len(init.zombies()) == 3
    assert sweep(node, later(hours=2), min_age=3600, remedies=remedies)["counts"]["cleared"] == 3
    assert init.alive != ends


# One parent ends at SIGTERM, its PID is then given to a bystander; another one makes sure that
# SIGKILL is still to come.
PARENT_WHOSE_PID_IS_USED_AGAIN = """
pid = 0
while pid < 310:  # the kernel gives PIDs below 300 only once
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: it adopts both, so nobody may ask for their status, and SIGTERM comes first
here, there = os.pipe()
def daemon(handler):
    if os.fork() == 0:
        os.setsid()
        maker = os.getpid()
        if os.fork() == 0:
            while os.getppid() == maker:
                time.sleep(0.01)
            signal.signal(signal.SIGTERM, handler)
            zombie()
            os.write(there, b"%d\\n" % os.getpid())
            forever()
        os._exit(0)
    os.wait()
    return int(os.read(here, 10))
parent = daemon(lambda *_: os._exit(0))
daemon(signal.SIG_IGN)
ready()
os.waitpid(parent, 0)
while True:
    bystander = os.fork()
    if bystander == 0:
        if os.getpid() == parent:
            open("/proc/self/comm", "w").write("bystander")
            forever()
        os._exit(0)
    while bystander == parent:  # it goes on, and collects what those have left to it
        for child in map(int, open("/proc/self/task/%d/children" % os.getpid()).read().split()):
            if child != bystander:
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    os.waitpid(bystander, 0)
"""


# Between SIGTERM and SIGKILL, from when one parent has ended until its PID has been used again.
UNTIL_THE_PID_IS_USED_AGAIN = lines("""
import time
from reaper.remedies import terminate
def wait(alive, deadline, results, how, real=terminate._wait):
    while how == "ended by SIGTERM" and len(alive) == 2:
        real(alive, time.monotonic() + 0.1, results, how)
    while how == "ended by SIGTERM" and not bystanders():
        time.sleep(0.01)
    real(alive, deadline, results, how)
def bystanders():
    from reaper.kernel.procfs import ProcFS
    return [stat for stat in map(ProcFS("/proc").stat, ProcFS("/proc").pids()) if stat and stat.comm == b"bystander"]
terminate._wait = wait
""")
# The same for the script: what it calls instead of sleep(1)
SLEEP_UNTIL_THE_PID_IS_USED_AGAIN = """#!/bin/sh
until grep -qx bystander /proc/[0-9]*/comm 2>/dev/null; do :; done
"""


@pytest.mark.parametrize("tool", ["sweep", "script"])
def test_row_4_a_pid_used_again_between_sigterm_and_sigkill_is_not_killed(node, tmp_path, tool):
    if not PID_MAX_OF_A_NAMESPACE:
        pytest.skip(
            "kernel.pid_max belongs to the whole machine before Linux 6.14: a PID cannot be forced"
            " to be used again"
        )
    assert node.run("sh", "-c", "echo 400 >/proc/sys/kernel/pid_max").returncode == 0
    program = node.program(PARENT_WHOSE_PID_IS_USED_AGAIN)

    def bystander():
        return next(child for child in program.process.children() if child.name() == "bystander")

    if tool == "script":
        (tmp_path / "sleep").write_text(SLEEP_UNTIL_THE_PID_IS_USED_AGAIN)
        (tmp_path / "sleep").chmod(0o755)
        node.run("env", f"PATH={tmp_path}:{os.environ['PATH']}", "bash", str(OLD_SCRIPT))
        wait_until(lambda: not is_alive(bystander()))
        return
    result = sweep(node, UNTIL_THE_PID_IS_USED_AGAIN, scope="all", remedies="nudge,terminate")
    assert is_alive(bystander())
    assert result["counts"]["parents_ended"] == 2
    details = sorted(
        step["detail"]
        for entry in result["offenders"]
        for step in entry["steps"]
        if step["remedy"] == "terminate"
    )
    assert details == ["ended by SIGKILL; SIGTERM has no effect on it", "ended by SIGTERM"]


# Daemons, as only they get SIGTERM first
THOUSAND_PARENTS = """
here, there = os.pipe()
if os.fork() == 0:
    os.setsid()
    maker = os.getpid()
    for _ in range(1000):
        if os.fork() == 0:
            while os.getppid() == maker:
                time.sleep(0.1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            zombie()
            os.write(there, b"x")
            forever()
    os._exit(0)
os.wait()
for _ in range(1000):
    os.read(here, 1)
ready()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""


# Notes at each wait for parents to end how many are waited for.
WAITS_NOTED = """
from reaper.remedies import terminate
def wait(alive, *words, real=terminate._wait):
    if alive:
        with open(%r, "a") as noted:
            noted.write("%%d\\n" %% len(alive))
    real(alive, *words)
terminate._wait = wait
"""


def test_row_5_a_thousand_parents_that_ignore_sigterm_share_one_deadline(node, tmp_path):
    """After SIGTERM all of them are waited for at once, and after SIGKILL again."""
    init = node.container(THOUSAND_PARENTS)
    noted = tmp_path / "noted"
    result = sweep(
        node, UNTIL_SETTLED, lines(WAITS_NOTED % str(noted)), grace=0.3, remedies="terminate"
    )
    assert result["counts"]["parents_ended"] == 1000
    assert result["counts"]["cleared"] == 1000
    assert left_in_node(result) == []
    assert init.alive
    assert init.process.children() == []
    steps = [step for entry in result["offenders"] for step in entry["steps"]]
    assert all("SIGTERM has no effect on it" in step["detail"] for step in steps)
    assert noted.read_text().split() == ["1000", "1000"]


# Whichever has the lock goes on only when the other one has been seen to wait for it.
ACTS_WHEN_ANOTHER_ONE_WAITS = """
import os, time, types
from reaper import files, sweep
def sleep(seconds):
    open(%(waits)r, "w").close()
    time.sleep(seconds)
def nudge(*words, real=sweep.nudge):
    while not os.path.exists(%(waits)r):
        time.sleep(0.01)
    return real(*words)
files.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
sweep.nudge = nudge
"""


@pytest.mark.parametrize("remedies", ["reap", "terminate"])
def test_row_5_two_sweeps_at_once_take_turns(node, tmp_path, remedies):
    """The second one waits for the lock, finds nothing left and does nothing twice."""
    node.container(IGNORES_SIGTERM + LEAK)
    together = lines(ACTS_WHEN_ANOTHER_ONE_WAITS % {"waits": str(tmp_path / "waits")})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(
            pool.map(lambda _: sweep(node, together, remedies="nudge," + remedies), range(2))
        )
    assert sorted(result["counts"]["cleared"] for result in results) == [0, 3]
    assert sorted(result["changed"] for result in results) == [False, True]


def test_row_5_a_sweep_that_waits_too_long_for_the_lock_says_busy_and_does_nothing(node):
    init = node.container(LEAK)
    node.run_directory.mkdir()
    holder = node.program(
        """
import fcntl
lock = open(%r, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
ready()
forever()
"""
        % str(node.run_directory / "lock")
    )
    code = AGENT.replace(
        "from reaper.cli", "from reaper import files; files.LOCK_WAIT = 1; from reaper.cli"
    )
    done = node.run(*node.agent_command("--min-age", "0", code=code))
    assert done.returncode == 75
    assert "another process has held" in done.stderr
    assert init.alive
    assert len(init.zombies()) == 3
    holder.stop()
    assert node.agent("--min-age", "0").returncode == 0


def test_row_6_a_daemon_of_the_host_whose_child_has_exited_is_left_alone(node):
    daemon = node.program(LEAK)
    result = node.sweep()
    assert daemon.alive
    assert len(daemon.zombies()) == 3
    assert offender_of(result, daemon)["reason"] == "host_process"
    node.old_script()
    assert daemon.ends(), "the script was expected to end it"


MIDDLE = 'open("/proc/self/comm", "w").write("middle"); zombie(); ready(); forever()'
# An init that keeps zombies, and below it a parent that keeps some more.
INIT_AND_PARENT_KEEP_ZOMBIES = """
zombie()
if os.fork() == 0:
    %s
forever()
"""


def middle_of(init):
    return next(child for child in init.process.children() if child.name() == "middle")


def test_row_7_a_kill_that_would_only_move_the_zombies_is_not_done(node):
    middle_s_own_program = (
        f'os.execv(sys.executable, [sys.executable, "-IS", "-c", {PRELUDE + MIDDLE!r}])'
    )
    init = node.container("# spare me\n" + INIT_AND_PARENT_KEEP_ZOMBIES % middle_s_own_program)
    middle = middle_of(init)
    result = node.sweep(protect="spare me", remedies="nudge,terminate")
    entry = next(entry for entry in result["offenders"] if entry["name"] == "middle")
    assert middle.is_running() and init.alive
    assert entry["reason"] == "adopter_does_not_reap"
    assert f"PID {offender_of(result, init)['pid']}" in entry["explanation"]
    assert entry["remedies"] == ["nudge"]
    node.old_script()
    wait_until(lambda: not is_alive(middle))  # the script ends it, in vain


def test_row_7_where_the_init_has_to_end_its_children_are_not_ended_one_by_one(node):
    init = node.container(INIT_AND_PARENT_KEEP_ZOMBIES % MIDDLE)
    result = node.sweep(remedies="nudge,terminate")
    entry = next(entry for entry in result["offenders"] if entry["name"] == "middle")
    assert entry["reason"] == "ends_with_init"
    assert result["counts"]["parents_ended"] == 1
    assert not init.alive
    assert left_in_node(result, init) == []


def test_row_7_by_default_both_collect_their_own_and_nothing_moves(node):
    init = node.container(INIT_AND_PARENT_KEEP_ZOMBIES % MIDDLE)
    middle = middle_of(init)
    result = node.sweep()
    assert [entry["outcome"] for entry in result["offenders"]] == ["cleared", "cleared"]
    assert [entry["adopted_by"] for entry in result["offenders"]] == [[], []]
    assert init.alive and is_alive(middle)
    assert left_in_node(result) == []


# Only the middle one keeps zombies; the init adopts them and does not wait either.
INIT_THAT_WILL_NOT_WAIT = (
    """
if os.fork() == 0:
    %s
forever()
"""
    % MIDDLE
)


def test_row_7_zombies_that_moved_are_followed_in_the_same_run(node):
    init = node.container(INIT_THAT_WILL_NOT_WAIT)
    result = sweep(node, WITHOUT_SETTLING, flags=["--wait"], min_age=1, remedies="nudge,terminate")
    assert result["counts"]["parents_ended"] == 2
    assert left_in_node(result, init) == []
    assert not init.alive


def test_row_7_an_adopter_gets_its_own_min_age(node):
    """A scheduled sweep does not wait: it says who has the zombies now, and the next one judges
    that parent afresh.
    """
    init = node.container(INIT_THAT_WILL_NOT_WAIT)
    node.sweep(min_age=3600, remedies="nudge,terminate")
    result = sweep(node, later(hours=2), WITHOUT_SETTLING, min_age=3600, remedies="nudge,terminate")
    moved = next(entry for entry in result["offenders"] if entry["name"] == "middle")
    assert moved["outcome"] == "moved"
    assert moved["adopted_by"] == [offender_of(result, init)["pid"]]
    assert init.alive
    assert offender_of(result, init)["reason"] == "too_young"


@pytest.mark.parametrize("remedies", ["reap", "terminate"])
def test_row_9_a_sweep_starts_no_process_and_no_thread(node, remedies):
    node.container(LEAK)
    hook = """
import sys
seen = set()
sys.addaudithook(lambda event, _: seen.add(event))
sys.path.append(%r)
from reaper import sweep
from reaper.options import validate
from reaper.paths import Paths
done = sweep.sweep(validate({"min_age": 0, "grace": 0.3, "pressure": 0, "remedies": ["nudge", %r]}), Paths(run=%r))
assert done.after.offenders == ()
for event in ("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "subprocess.Popen", "_thread.start_new_thread"):
    assert event not in seen, event
print("none")
"""
    done = node.run(PYTHON, "-IS", "-c", hook % (str(ENGINE), remedies, str(node.run_directory)))
    assert done.stdout == "none\n", done.stderr


def test_row_10_a_dry_run_says_exactly_what_a_run_then_does(node):
    containers = [node.container(LEAK), node.container(WAITS_ONCE_FOR_EACH_SIGNAL)]
    wait_until(lambda: len(containers[1].zombies()) == 19)
    daemon = node.program(LEAK)
    dry = node.sweep("--check")
    assert all(container.alive for container in containers)
    assert [len(program.zombies()) for program in (*containers, daemon)] == [3, 19, 3]
    assert not node.run_directory.exists(), "a dry run writes nothing"
    assert dry["check_mode"] and dry["changed"]
    wet = node.sweep()
    planned = {(entry["pid"], entry["verdict"], entry["reason"]) for entry in dry["offenders"]}
    assert planned == {
        (entry["pid"], entry["verdict"], entry["reason"]) for entry in wet["offenders"]
    }
    for before, after in zip(
        sorted(dry["offenders"], key=lambda e: e["pid"]),
        sorted(wet["offenders"], key=lambda e: e["pid"]),
    ):
        tried = [step["remedy"] for step in after["steps"]]
        assert before["remedies"][: len(tried)] == tried
        assert (before["outcome"] == "would_act") == bool(tried)
    assert wet["changed"]
    assert daemon.alive
    assert [len(program.zombies()) for program in (*containers, daemon)] == [0, 0, 3]


def test_row_10_a_second_run_changes_nothing(node):
    node.container(LEAK)
    assert node.sweep()["changed"]
    assert not node.sweep()["changed"]


def test_row_10_every_sweep_leaves_a_record(node):
    node.container(LEAK)
    result = node.sweep()
    assert json.loads((node.run_directory / "last.json").read_text(encoding="utf-8")) == result
    lines = node.agent().stdout.splitlines()
    assert lines[0] == "0 zombies on this node"
    assert lines[1].startswith("process table: ")


def test_a_node_survives_its_own_rig(tmp_path):
    """The rig itself: nothing is left of a node that was stopped."""
    rigged = Node(tmp_path)
    container = rigged.container(LEAK)
    rigged.stop()
    assert container.ends() and rigged.init.ends()


@pytest.mark.parametrize(
    "remedies, ends", [("nudge,reap,terminate", False), ("nudge,terminate", True)]
)
def test_row_8_a_process_that_is_already_there_clears_a_full_table(node, tmp_path, remedies, ends):
    """Nothing can be started any more; what was started before becomes the sweep and frees the node
    (docs/operations.md).
    """
    if not PID_MAX_OF_A_NAMESPACE:
        pytest.skip("kernel.pid_max belongs to the whole machine before Linux 6.14")
    assert node.run("sh", "-c", "echo 400 >/proc/sys/kernel/pid_max").returncode == 0
    told, report = tmp_path / "told", tmp_path / "report"
    sweeping = node.program(
        """
ready()
while not os.path.exists(%r):
    time.sleep(0.05)
os.dup2(os.open(%r, os.O_WRONLY | os.O_CREAT), 1)
os.execv(sys.executable, %r)
"""
        % (str(told), str(report), node.agent_command("--min-age", "0", "--remedies", remedies))
    )
    init = node.container("""
try:
    while True:
        zombie()
except OSError:
    ready()
forever()
""")
    refused = node.run("bash", str(OLD_SCRIPT))
    assert refused.returncode != 0, "the table is not full: the script could run"
    assert init.alive
    told.touch()
    assert sweeping.ends(60)
    assert (" 1 parent ended" in report.read_text(encoding="utf-8")) == ends
    assert init.alive != ends
    assert init.zombies() == []
    assert node.run("true").returncode == 0
