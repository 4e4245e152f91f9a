"""Something happens to the parent, or to the sweep, in the middle of being collected: at each
moment once, and at random often.

No exception, nobody left traced, nobody stopped who was not told to stop, and nobody else's exit
status taken.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import psutil
import pytest
from rig.kernel import PID_MAX_OF_A_NAMESPACE, VERSION
from rig.node import is_alive, wait_until
from rig.reaping import (
    ANSWERS,
    BY_ITSELF,
    MOMENTS,
    ONCE,
    Untouched,
    answer,
    built,
    container_of,
    driver_command,
    reap_directly,
    said,
    said_so_far,
    says_nothing,
    sleeps_or_has_ended,
    status_of,
)
from rig.slowness import scaled
from rig.system_calls import IS_X86_64, NUMBERS

READ, PAUSE = NUMBERS["read"], NUMBERS["pause"]
SLEEPING = NUMBERS["clock_nanosleep"], NUMBERS["select"]  # before Python 3.11 the latter
FORTY = ANSWERS + "for _ in range(40): zombie()\n"
SLEEPS = FORTY + "ready()\nforever()"
ONCE_AT = ONCE + "once(offender())\n"
WAYS = {"sleeps": SLEEPS, "calculates": FORTY + "ready()\nwhile True: pass"}
DONE = ("cleared", "partly_cleared", "unfinished", "refused", "gone")


def disturbed_at(node, program, moment, code):
    return reap_directly(node, program, ONCE_AT % (moment, code))


def is_free(program):
    status = status_of(program)
    return status["TracerPid"] == "0" and status["State"][0] in "RS"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_is_not_lost(node, moment, way):
    """SIGSTOP: it is stopped in the end, really and by nobody's trace; SIGCONT resumes it, and the
    rest can be collected.
    """
    program = node.container(WAYS[way])
    with Untouched(program):
        assert disturbed_at(node, program, moment, "os.kill(PID, signal.SIGSTOP)")["result"] in DONE
        stopped = wait_until(
            lambda: (
                (status := status_of(program))["State"][0] in ("TS" if way == "sleeps" else "T")
                and status
            )
        )
        assert (stopped["State"][0], stopped["TracerPid"]) == ("T", "0")
        program.process.resume()
    assert answer(program) == "well"
    if program.zombies():
        can = way == "sleeps" or IS_X86_64 and VERSION >= (5, 13)
        assert reap_directly(node, program)["result"] == ("cleared" if can else "refused")
        assert program.zombies() == [] or not can
    assert answer(program) == "well"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_and_its_end(node, moment):
    """Both while it is held: it goes on."""
    program = node.container(SLEEPS)
    with Untouched(program):
        disturbed_at(
            node, program, moment, "os.kill(PID, signal.SIGSTOP); os.kill(PID, signal.SIGCONT)"
        )
    assert answer(program) == "well"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill(node, moment):
    """It is gone from the table while the sweep goes on: a tracer that does not wait for it would
    keep it there.
    """
    program = node.container(SLEEPS)
    code = (
        ONCE_AT % (moment, "os.kill(PID, signal.SIGKILL)")
        + """
until(lambda: (stat := proc.stat(PID)) is None or stat.state == "Z")
status = proc.status(PID)
assert status is None or status.tracer_pid == 0, "it has ended, and is kept by its tracer"
until(lambda: proc.stat(PID) is None)
"""
    )
    assert reap_directly(node, program, code)["result"] in DONE
    assert program.ends()


@pytest.mark.parametrize("moment", MOMENTS)
def test_its_own_handler_runs_afterwards(node, moment):
    """SIGTERM that it handles: once, and after what was collected."""
    program = node.container(
        "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'term\\n'))\n" + SLEEPS
    )
    with Untouched(program):
        assert (
            disturbed_at(node, program, moment, "os.kill(PID, signal.SIGTERM)")["result"]
            == "cleared"
        )
    assert sleeps_or_has_ended(program, *SLEEPING)
    assert said_so_far(program) == ["term"]
    assert answer(program) == "well"
    assert says_nothing(program)


PAUSES = (
    ANSWERS
    + """
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"term\\n"))
for _ in range(40): zombie()
ready()
while True:
    signal.pause()
    os.write(1, b"paused\\n")
"""
)
WAYS_IN = {"this": "", "by_itself": BY_ITSELF + "\n"}


@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_the_call_that_it_was_sent_to_end(node, moment, way_in):
    """pause(2) returns when a handler has run, whatever the sweep was doing when the signal came."""
    program = node.container(PAUSES)
    assert sleeps_or_has_ended(program, PAUSE)
    code = WAYS_IN[way_in] + ONCE_AT % (moment, "os.kill(PID, signal.SIGTERM)")
    with Untouched(program):
        assert reap_directly(node, program, code)["result"] == "cleared"
    assert said(program) == "term"
    assert said(program) == "paused"
    assert sleeps_or_has_ended(program, PAUSE)
    assert says_nothing(program)


@pytest.mark.parametrize("moment", MOMENTS)
def test_execve_of_another_thread(node, tmp_path, moment):
    """The first thread, the one that is held, ends; the other one takes its PID."""
    go = tmp_path / "go"
    program = node.container(
        """
def replace():
    while not os.path.exists(%r):
        time.sleep(0.001)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", "import os, signal, time\\n" + %r])
threading.Thread(target=replace).start()
for _ in range(40): zombie()
ready()
forever()
"""
        % (str(go), ANSWERS + "os.write(1, b'again\\n')\nwhile True: time.sleep(60)")
    )
    outcome = disturbed_at(
        node,
        program,
        moment,
        f"before = proc.command_line(PID); open({str(go)!r}, 'w').close(); until(lambda:"
        " proc.command_line(PID) not in (before, b''))",
    )
    assert outcome["result"] in DONE
    assert said(program) == "again"
    wait_until(lambda: is_free(program))
    assert answer(program) == "well"
    if program.zombies():
        assert reap_directly(node, program)["result"] == "cleared"


# So many tries that it is not a matter of how long an execve takes on a busy machine
ROUNDS = """
remedy.MAX_TRIES = remedy.MAX_TRIES_IF_LASTING = 10000
rounds = cleared = 0
def reap(*words, real=remedy.reap):
    global cleared
    outcomes = real(*words)
    cleared += outcomes[0].result == "cleared"
    return outcomes
remedy.reap = reap
while rounds < 300 or cleared <= 100:
    then = offender()
    if then:
        rounds += 1
        once(then)
"""


@pytest.mark.parametrize("mode", ["alone", "thread"])
def test_execve_again_and_again(node, tmp_path, mode):
    """A new program each few milliseconds, called by its only thread or by its second: 300 rounds
    in between, or more until 100 of them had all it held collected. In the middle of that it may
    look like one whose leader is dead or whose memory is gone, and no such word may bring the next
    remedy upon it.
    """
    program = container_of(node, built(tmp_path, "execs"), mode)
    start = program.process.create_time()
    outcomes = outcomes_of(driver(node, program, ROUNDS))
    assert len(outcomes) >= 300
    assert {outcome["result"] for outcome in outcomes} <= {
        "cleared",
        "partly_cleared",
        "unfinished",
        "gone",
    }
    assert {outcome["refusal"] for outcome in outcomes} == {None}
    assert sum(outcome["result"] == "cleared" for outcome in outcomes) > 100
    wait_until(
        lambda: status_of(program)["TracerPid"] == "0" and status_of(program)["State"][0] != "t"
    )
    wait_until(lambda: program.alive)  # while its second thread takes over, the first is a zombie
    assert program.process.create_time() == start


def driver(node, program, code, stdin=subprocess.DEVNULL):
    """The driver, running."""
    return subprocess.Popen(
        [*node.enter, *driver_command(node, program, code)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcomes_of(popen) -> list:
    """What it prints until its end."""
    out, errors = popen.communicate(timeout=scaled(240))
    assert (popen.returncode, errors) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


THREE_AT_A_TIME = """
then = offender()
for place in range(0, 900, 3):
    sys.stdin.read(1)
    once(then._replace(zombies=then.zombies[place:place + 3]))
"""


def test_stopped_and_resumed_again_and_again(node):
    """SIGSTOP and SIGCONT at random moments of 300 rounds, none of which begins before its own
    SIGSTOP is on its way; the last SIGSTOP holds, and what was left is collected later.
    """
    program = node.container(SLEEPS.replace("40", "903"))
    with Untouched(program):
        popen = driver(node, program, THREE_AT_A_TIME, stdin=subprocess.PIPE)
        for _round in range(300):
            popen.stdin.write(".")
            popen.stdin.flush()
            time.sleep(random.random() / 200)
            program.process.suspend()
            time.sleep(random.random() / 1000)
            program.process.resume()
        program.process.suspend()
        outcomes = outcomes_of(popen)
        assert len(outcomes) == 300
        assert {outcome["result"] for outcome in outcomes} <= set(DONE)
        wait_until(lambda: status_of(program)["State"][0] == "T")
        program.process.resume()
    assert answer(program) == "well"
    assert reap_directly(node, program)["result"] == "cleared"
    assert program.zombies() == []


PARENTS = """
for _ in range(60):
    if os.fork() == 0:
        for _ in range(20):
            zombie()
        forever()
while sum(open("/proc/%s/stat" % name).read().rpartition(")")[2].split()[0] == "Z" for name in os.listdir("/proc") if name.isdigit()) < 1200:
    time.sleep(0.05)
ready()
while True:
    time.sleep(0.001)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
"""


def test_parents_killed_at_random(node):
    """60 parents, all collected in turns, one at a time; half of them are killed meanwhile. The
    other half is well.
    """
    init = node.container(PARENTS)
    parents = init.process.children()
    assert len(parents) == 60
    victims, others = parents[::2], parents[1::2]
    code = """
seen = observe.snapshot(proc, Paths(), observe.History(), 0.0)
print("go", flush=True)
for outcome in remedy.reap(proc, [one for one in seen.offenders if len(one.zombies) >= 20]):
    print(json.dumps(outcome._asdict()))
"""
    popen = driver(node, init, code)
    assert popen.stdout.readline() == "go\n"
    for victim in victims:
        victim.kill()
        time.sleep(random.random() / 1000)
    results = [outcome["result"] for outcome in outcomes_of(popen)]
    assert len(results) == 60
    assert set(results) <= set(DONE)
    assert results.count("cleared") >= len(others)
    for other in others:
        wait_until(lambda other=other: other.status() == psutil.STATUS_SLEEPING)
        assert other.children() == []


LATE = (
    ANSWERS
    + """
def vfork(*_):
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 9, %r, os.O_RDONLY, 0)])
signal.signal(signal.SIGUSR2, vfork)
zombie()
ready()
forever()
"""
)
IN_A_MOMENT = "ptrace.STOP_TIMEOUT = 0.25\n"
INTO_VFORK = 'os.kill(PID, signal.SIGUSR2); until(lambda: state() == "D")'


@pytest.mark.parametrize("driver_stays", [True, False])
def test_a_parent_that_does_not_stop_in_time(node, tmp_path, driver_stays):
    """It goes into vfork(2) just before it is seized. It is let go when it comes out of it, or when
    the sweep ends.
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = node.container(LATE % str(fifo))
    out_of_it = """
assert proc.status(PID).tracer_pid == os.getpid()
os.close(os.open(%r, os.O_WRONLY))
until(lambda: proc.status(PID).tracer_pid == 0)
until(lambda: state() == "S")
os.kill(PID, signal.SIGUSR1)
""" % str(fifo)
    outcome = reap_directly(
        node,
        program,
        IN_A_MOMENT + ONCE_AT % ("seizing", INTO_VFORK) + (out_of_it if driver_stays else ""),
    )
    assert (outcome["result"], outcome["refusal"]) == ("refused", "not_stopping")
    if not driver_stays:
        wait_until(lambda: status_of(program)["TracerPid"] == "0")
        assert status_of(program)["State"][0] == "D"
        with open(fifo, "wb"):
            pass
        os.kill(program.process.pid, signal.SIGUSR1)
    assert said(program) == "well"
    wait_until(lambda: is_free(program))
    assert reap_directly(node, program)["result"] == "cleared"


@pytest.mark.parametrize("moment", ["stopped", "prepared", "called", "releasing"])
def test_a_signal_that_ends_the_sweep_waits(node, moment):
    """Any but SIGKILL: it ends when it has put everything back, and not before."""
    program = node.container(SLEEPS)
    with Untouched(program):
        done = node.run(
            *driver_command(
                node, program, ONCE_AT % (moment, "os.kill(os.getpid(), signal.SIGUSR1)")
            )
        )
        assert done.stdout == ""
        assert done.returncode in (-signal.SIGUSR1, 128 + signal.SIGUSR1)
    assert answer(program) == "well"
    assert len(program.zombies()) < 40 or moment != "called"


AT_FIRST_SIGHT = """
then, seen = offender(), []
def first_sight(name, real):
    def reader(*words):
        found = real(*words)
        if PID in words and name in %r and name not in seen:
            seen.append(name)
            return found._replace(**%r)
        return found
    setattr(proc, name, reader)
for name in ("thread", "status"):
    first_sight(name, getattr(proc, name))
once(then)
"""
MADE_UP = {
    "Z": ("thread", {"state": "Z"}),
    "D": ("thread", {"state": "D"}),
    "tracer": ("status", {"tracer_pid": 1}),
}


@pytest.mark.parametrize("sight", MADE_UP)
def test_what_looks_like_a_refusal_for_a_moment_is_asked_again(node, sight):
    """As in the middle of an execve by another thread, or of a read from disk, which are met by
    chance only (above): here the first look is a made-up one.
    """
    program = node.container(SLEEPS)
    with Untouched(program):
        outcome = reap_directly(node, program, AT_FIRST_SIGHT % MADE_UP[sight])
    assert (outcome["result"], outcome["refusal"]) == ("cleared", None)


READS = (
    ANSWERS
    + """
there, here = os.pipe()
zombie()
ready()
assert os.read(there, 1)
"""
)
IN_THE_MIDDLE_OF_A_CALL = """
times = []
def at(moment):
    if moment == "calling":
        times.append(moment)
        if len(times) == 2:  # its own call has been exchanged for ours
            os.kill(os.getpid(), signal.SIGUSR1)
once(offender())
"""


def test_a_signal_that_ends_the_sweep_waits_until_the_parent_has_its_own_call_back(node):
    """Else its read(2) would return our result: 0, the end of the file."""
    program = node.container(READS)
    with Untouched(program):
        done = node.run(*driver_command(node, program, IN_THE_MIDDLE_OF_A_CALL))
        assert done.returncode in (-signal.SIGUSR1, 128 + signal.SIGUSR1)
        assert sleeps_or_has_ended(program, READ), "its read(2) has returned"
    assert answer(program) == "well"


SLOW = """
def at(moment):
    if moment == "called":
        time.sleep(0.004)
once(offender())
"""


def test_slow_calls_are_shared_out_over_many_stops(node):
    """Each takes 4 ms; no call is begun after 8 ms, so at most 3 fit into one stop."""
    program = node.container(SLEEPS)
    with Untouched(program):
        outcome = reap_directly(node, program, SLOW)
    assert (outcome["result"], outcome["cleared"]) == ("cleared", 40)
    assert stops_of(outcome) >= 40 // 3


def test_many_zombies_are_shared_out_over_many_stops(node):
    program = node.container(
        ANSWERS
        + """
children = [os.fork() or os._exit(3) for _ in range(2000)]
for child in children:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
ready()
forever()
"""
    )
    with Untouched(program):
        outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["cleared"]) == ("cleared", 2000)
    assert stops_of(outcome) >= 2000 // 256
    assert answer(program) == "well"


def stops_of(outcome) -> int:
    assert outcome["detail"].endswith(" times"), outcome["detail"]
    return int(outcome["detail"].split()[-2])


def small_pid_max(node):
    """PIDs of the node are used again after 400; kernel.pid_max of a namespace came with Linux
    6.14.
    """
    if not PID_MAX_OF_A_NAMESPACE:
        pytest.skip(
            "kernel.pid_max belongs to the whole machine before Linux 6.14: a PID cannot be forced"
            " to be used again"
        )
    assert node.run("sh", "-c", "echo 400 >/proc/sys/kernel/pid_max").returncode == 0


def until_asleep_after(path) -> str:
    """Code that waits for that file, and for the process to be asleep: the first try to stop it
    succeeds, and there is no second one.
    """
    return f"until(lambda: os.path.exists({str(path)!r}) and state() == 'S')"


WAITS_AND_FORKS = (
    ANSWERS
    + """
def collect_and_fork(*_):
    os.waitpid(old, 0)
    new = 0
    while new != old:
        if new:
            os.waitpid(new, 0)
        new = os.fork()
        if new == 0:
            os._exit(7)
    os.waitid(os.P_PID, new, os.WEXITED | os.WNOWAIT)
    os.write(1, b"again\\n")
    open(%r, "w").close()
signal.signal(signal.SIGUSR2, collect_and_fork)
signal.signal(signal.SIGHUP, lambda *_: os.write(1, b"status %%d\\n" %% os.waitstatus_to_exitcode(os.waitpid(old, 0)[1])))
old = zombie()
while old < 300:  # the kernel keeps those below for itself when PIDs are used again
    os.waitpid(old, 0)
    old = zombie()
ready()
forever()
"""
)


def test_a_child_that_got_the_pid_of_a_zombie_keeps_its_status(node, tmp_path):
    """After the zombie was looked up and before the parent is stopped, the parent waits for it and
    has another child of that PID.
    """
    small_pid_max(node)
    again = tmp_path / "again"
    program = node.program(WAITS_AND_FORKS % str(again))
    disturb = f"os.kill(PID, signal.SIGUSR2)\n    {until_asleep_after(again)}"
    with Untouched(program):
        outcome = disturbed_at(node, program, "seizing", disturb)
    assert (outcome["result"], outcome["cleared"]) == ("gone", 0)
    assert said(program) == "again"
    program.process.send_signal(signal.SIGHUP)
    assert said(program) == "status 7"


SUCCESSOR = """
import ctypes
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: it adopts the zombies of its children
def parent():
    zombie()
    os.write(1, b"ready\\n")
    forever()
while os.waitpid(zombie(), 0)[0] < 300:  # the kernel keeps those below for itself when PIDs are used again
    pass
old = os.fork()
if old == 0:
    parent()
def replace(*_):
    os.kill(old, 9)
    os.waitpid(old, 0)
    new = 0
    while new != old:
        if new:
            os.kill(new, 9)
            os.waitpid(new, 0)
        new = os.fork()
        if new == 0:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            forever()
    open(%r, "w").close()
signal.signal(signal.SIGUSR2, replace)
forever()
"""


def test_a_process_that_got_the_pid_of_the_parent_is_asked_for_nothing(node, tmp_path):
    """The parent ends after it was looked up, and another process has its PID before it is
    seized.
    """
    small_pid_max(node)
    replaced = tmp_path / "replaced"
    guardian = node.program(SUCCESSOR % str(replaced))
    (parent,) = guardian.process.children()
    pid = next(
        entry["pid"]
        for entry in node.sweep("--check", scope="all")["offenders"]
        if entry["due"] and entry["pid"] != guardian.pids[1]
    )
    code = f"PID = {pid}\n" + ONCE_AT % (
        "seizing",
        f"os.kill({guardian.pids[1]}, signal.SIGUSR2)\n    {until_asleep_after(replaced)}",
    )
    outcome = reap_directly(node, guardian, code)
    assert (outcome["result"], outcome["detail"]) == ("gone", "")
    assert not is_alive(parent)
    successor = next(
        child for child in guardian.process.children() if child.status() != psutil.STATUS_ZOMBIE
    )
    wait_until(lambda: successor.status() == psutil.STATUS_SLEEPING)
