"""Tenants that try to turn the tracer against the node: to get around a seccomp filter, or to hold
the sweep up. And threads, of which any will do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter

import pytest
from rig.agents import lines
from rig.kernel import VERSION
from rig.node import AGENT, offender_of, wait_until
from rig.reaping import (
    ANSWERS,
    AS_LONG_AS_IT_TAKES,
    THIRTY_TWO_BIT,
    Untouched,
    answer,
    built,
    container_of,
    driver_command,
    outcomes_in,
    reap_directly,
    said,
    says_nothing,
    sleeps_or_has_ended,
    status_of,
    step_of,
)
from rig.system_calls import IS_X86_64, NUMBERS

PAUSE, PAUSE_OF_32_BIT = NUMBERS["pause"], 29
X86_64_ONLY = pytest.mark.skipif(not IS_X86_64, reason="the program has instructions of x86-64")
WITHOUT_GLIBC_S_RSEQ = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}

SWEEPS = 200
AGAIN_AND_AGAIN = (
    """
then = offender()
for zombie in then.zombies[:%d]:
    once(then._replace(zombies=(zombie,)))
"""
    % SWEEPS
)


@X86_64_ONLY
@pytest.mark.parametrize(
    "place, forbidden",
    [
        ("own", "mkdir"),
        ("restarts", "mkdir"),
        ("restarts", "io_uring"),
        ("vdso", "mkdir"),
        ("vdso", "io_uring"),
        ("int80", "mkdir"),
    ],
)
def test_no_forbidden_call_ever_gets_through(node, tmp_path, place, forbidden):
    """Its own filter forbids the call, and another thread changes the code that the sweep has it
    run. It comes to the forbidden call, and that is left out, or to ours.
    """
    made = tmp_path / "made"
    program = container_of(
        node, built(tmp_path, "escapes"), place, forbidden, str(made), zombies=SWEEPS + 1
    )
    outcomes = outcomes_in(node.run(*driver_command(node, program, AGAIN_AND_AGAIN)))
    assert len(outcomes) == SWEEPS
    assert {outcome["result"] for outcome in outcomes} <= {"cleared", "refused", "unfinished"}
    assert {outcome["refusal"] for outcome in outcomes} <= {None, "disturbed", "busy"}
    assert not made.exists()
    assert answer(program) == "well"
    assert says_nothing(program)
    print(Counter(outcome["refusal"] or outcome["result"] for outcome in outcomes))


# It waits as long as usual for the program, and for any other as long as that takes on a busy machine
PATIENT_WITH_OTHERS = """
from reaper.kernel import ptrace
usual, seize, release = ptrace.STOP_TIMEOUT, ptrace.Tracee.seize, ptrace.Tracee.release
def seize_patiently(self):
    with open(f"/proc/{self.tid}/comm") as comm:
        if comm.read() != "unanswered\\n":
            ptrace.STOP_TIMEOUT = ptrace.ENTRY_TIMEOUT = 60.0
    seize(self)
def release_and_hurry(self):
    released = release(self)
    ptrace.STOP_TIMEOUT = usual
    return released
ptrace.Tracee.seize, ptrace.Tracee.release = seize_patiently, release_and_hurry
"""


def test_a_page_that_is_never_served_holds_nobody_up(node, tmp_path):
    """The code that the parent waits in lies in a file system of its own, whose server has stopped
    answering. The sweep goes on to others and ends. When the page comes the parent waits on in the
    same call, and can be collected.
    """
    directory = tmp_path / "served"
    directory.mkdir()
    program = container_of(node, built(tmp_path, "unanswered"), str(directory))
    other = node.container("zombie()\nready()\nforever()")
    code = AGENT.replace("from reaper.cli", f"{lines(PATIENT_WITH_OTHERS)}; from reaper.cli")
    command = node.agent_command("--json", "--min-age", "0", "--remedies", "reap", code=code)
    result = json.loads(node.run(*command, timeout=AS_LONG_AS_IT_TAKES).stdout)
    step = step_of(offender_of(result, program))
    assert (step["result"], step["refusal"]) == ("refused", "not_stopping")
    assert offender_of(result, other)["outcome"] == "cleared"
    wait_until(lambda: status_of(program)["TracerPid"] == "0")
    for child in program.process.children():
        child.send_signal(signal.SIGUSR2)
    with Untouched(program):
        assert answer(program) == "well"
    assert sleeps_or_has_ended(program, PAUSE)
    assert reap_directly(node, program)["result"] == "cleared"
    assert answer(program) == "well"


def test_a_sweep_ends_when_asked_to_where_a_page_is_never_served(node, tmp_path):
    """SIGTERM while the parent is seized and does not stop. The parent is let go, and is none the
    worse for it.
    """
    directory = tmp_path / "served"
    directory.mkdir()
    program = container_of(node, built(tmp_path, "unanswered"), str(directory))
    slow = AGENT.replace(
        "from reaper.cli",
        "from reaper.kernel import ptrace; ptrace.STOP_TIMEOUT = 5.0; from reaper.cli",
    )
    command = node.agent_command("--json", "--min-age", "0", "--remedies", "reap", code=slow)
    sweep = subprocess.Popen([*node.enter, *command], stdout=subprocess.PIPE, text=True)
    tracer = wait_until(lambda: int(status_of(program)["TracerPid"]))
    os.kill(tracer, signal.SIGTERM)
    report, _errors = sweep.communicate(timeout=AS_LONG_AS_IT_TAKES)
    assert (sweep.returncode, json.loads(report)["ended_early"]) == (3, True)
    wait_until(lambda: status_of(program)["TracerPid"] == "0")
    for child in program.process.children():
        child.send_signal(signal.SIGUSR2)
    with Untouched(program):
        assert answer(program) == "well"
    assert reap_directly(node, program)["result"] == "cleared"


@X86_64_ONLY
@pytest.mark.skipif(VERSION < (5, 13), reason="nothing is asked before 5.13")
def test_a_file_is_not_asked_about_restartable_sequences(node, tmp_path):
    """It might be served by the tenant. Such a program has to be in a system call."""
    program = container_of(
        node,
        built(tmp_path, "rseq_loop", "-DIN_A_FILE"),
        "300",
        "300000",
        environment=WITHOUT_GLIBC_S_RSEQ,
    )
    # on a busy machine it may still be in the write(2) by which it said that it is ready
    wait_until(lambda: program.process.cpu_times().user > 0.1)
    with Untouched(program):
        outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["refusal"]) == ("refused", "busy")
    assert "only a mapped file" in outcome["detail"]
    assert answer(program) == "well"


LEADER_DEAD = """
def other():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    ready()
    while True:
        if os.read(here, 1) == b"?":
            os.write(1, b"well\\n")
here = os.open(%r, os.O_RDWR)
zombie()
zombie()
threading.Thread(target=other).start()
exit_thread()  # exit(2) of this thread alone
"""


def test_another_thread_collects_where_the_first_has_exited(node, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = node.container(LEADER_DEAD % str(fifo))
    before = status_of(program)
    assert before["State"][0] == "Z"
    outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["cleared"]) == ("cleared", 2)
    after = status_of(program)
    assert [after[name] for name in ("start", "Threads", "TracerPid", "State")] == [
        before[name] for name in ("start", "Threads", "TracerPid", "State")
    ]
    fifo.write_bytes(b"?")
    assert said(program) == "well"


FIRST_IN_VFORK = """
def other():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "D":
        time.sleep(0.01)
    ready()
    time.sleep(1000)
zombie()
threading.Thread(target=other).start()
libc, actions, pid, words = ctypes.CDLL(None), ctypes.create_string_buffer(256), ctypes.c_int(), (ctypes.c_char_p * 2)(b"true")
libc.posix_spawn_file_actions_init(actions)
libc.posix_spawn_file_actions_addopen(actions, 9, %r, os.O_RDONLY, 0)
libc.posix_spawn(ctypes.byref(pid), b"/bin/true", actions, None, words, None)  # os.posix_spawn() would hold up all threads of Python
os.write(1, b"well\\n")
forever()
"""


def test_another_thread_collects_where_the_first_is_in_vfork(node, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = node.container(FIRST_IN_VFORK % os.fsencode(fifo))
    assert status_of(program)["State"][0] == "D"
    assert reap_directly(node, program)["result"] == "cleared"
    fifo.write_bytes(b"")
    assert said(program) == "well"


@pytest.mark.parametrize("moment", ["seizing", "seized"])
def test_a_thread_that_calls_execve_before_it_is_stopped(node, tmp_path, moment):
    """The first one has exited. The other one is chosen, and then goes by the PID of the first: it
    is found there, and let go.
    """
    go = tmp_path / "go"
    program = node.container(
        """
def other():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    ready()
    while not os.path.exists(%r):
        time.sleep(0.001)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", "import os, signal, time\\n" + %r])
zombie()
threading.Thread(target=other).start()
exit_thread()
"""
        % (str(go), ANSWERS + "os.write(1, b'again\\n')\nwhile True: time.sleep(60)")
    )
    code = """
def at(moment):
    if moment == %r and not os.path.exists(%r):
        open(%r, "w").close()
        until(lambda: state() != "Z" and proc.status(PID).caught >> 9 & 1)
once(offender())
until(lambda: proc.status(PID).tracer_pid == 0)
""" % (moment, str(go), str(go))
    assert reap_directly(node, program, code)["result"] in ("unfinished", "cleared")
    assert said(program) == "again"
    assert answer(program) == "well"
    if program.zombies():
        assert reap_directly(node, program)["result"] == "cleared"


@X86_64_ONLY
def test_a_32_bit_program_that_sleeps(node, tmp_path):
    """It has registers, numbers and an instruction of its own, and never notices."""
    program = container_of(node, built(tmp_path, "thirty_two_bit", *THIRTY_TWO_BIT), zombies=40)
    with Untouched(program):
        outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["cleared"]) == ("cleared", 40)
    assert sleeps_or_has_ended(program, PAUSE_OF_32_BIT)
    assert says_nothing(program)


def test_a_call_that_a_supervisor_makes_is_not_begun_twice(node, tmp_path):
    """An interrupted one begins again, so the supervisor would be told of it once more, when it may
    have made it already.
    """
    program = container_of(node, built(tmp_path, "supervised"))
    with Untouched(program):
        outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["refusal"]) == ("refused", "busy")
    for child in program.process.children():
        child.send_signal(signal.SIGUSR2)
    assert said(program) == "done"
    assert sleeps_or_has_ended(program, PAUSE)
    assert reap_directly(node, program)["result"] == "cleared"
    assert answer(program) == "well"
    assert says_nothing(program)
