"""Each reason for which reap refuses: it says so in a word, leaves the parent as it was, and the
next remedy has its turn.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rig.kernel import VERSION
from rig.node import VFORK, is_alive, offender_of, wait_until
from rig.reaping import (
    ANSWERS,
    BEFORE_5_13,
    THIRTY_TWO_BIT,
    Untouched,
    agent_that,
    answer,
    built,
    container_of,
    reap_directly,
    status_of,
    step_of,
)
from rig.system_calls import IS_X86_64, NUMBERS

# a thread gets no CPU time: how long that is waited for
SHORT_TRIES = "ptrace.MAX_CALCULATION, ptrace.STOP_TIMEOUT = 0.02, 1.0; reap.MAX_TRIES = 4"
NO_CPU_TIME = "from reaper.kernel import procfs; procfs.ProcFS.cpu_seconds = lambda *_: 0.0"
SLEEPS = ANSWERS + "zombie()\nready()\nforever()"
WITHOUT_SYS_ADMIN = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
WITHOUT_SYS_PTRACE = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]

STRICT = """
zombie()
here, there = os.pipe()
ready()
ctypes.CDLL(None).prctl(22, 1)  # PR_SET_SECCOMP, SECCOMP_MODE_STRICT: read, write, exit and sigreturn are left
os.read(here, 1)
"""
# prctl(2): PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON; the selector allows every call
OWN_DISPATCH = (
    ANSWERS
    + """
selector = ctypes.c_char(b"\\0")
assert ctypes.CDLL(None).prctl(59, 1, 0, 0, ctypes.byref(selector)) == 0
zombie()
ready()
forever()
"""
)
# seccomp(2): SECCOMP_RET_KILL_PROCESS for waitid, SECCOMP_RET_ALLOW for all others
FILTERED = (
    ANSWERS
    + """
import struct
code = (0x20, 0, 0, 0), (0x15, 0, 1, WAITID), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000)
lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(lines))
libc = ctypes.CDLL(None)
signal.signal(signal.SIGUSR2, lambda *_: libc.waitid(0, 0, None, 5))
zombie()
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
ready()
forever()
"""
).replace("WAITID", str(NUMBERS["waitid"]))


X86_64_ONLY = pytest.mark.skipif(not IS_X86_64, reason="the program has instructions of x86-64")


def assert_refused(node, program, word):
    """Refused and as it was before; then, with the whole ladder, refused again and ended by the
    next remedy.
    """
    with Untouched(program):
        entry = offender_of(node.sweep(remedies="reap"), program)
        assert (step_of(entry)["result"], step_of(entry)["refusal"]) == ("refused", word)
        assert (entry["outcome"], entry["cleared"]) == ("not_cleared", 0)
        assert step_of(entry)["detail"].startswith(word + ": ")
    steps = offender_of(node.sweep(), program)["steps"]
    assert [step["remedy"] for step in steps] == ["reap", "nudge", "terminate"]
    assert steps[-1]["result"] == "parent_ended"


@X86_64_ONLY
def test_a_32_bit_program_that_calculates(node, tmp_path):
    """Where its vDSO has an instruction for our call is not known. Asleep in a call that restarts
    it is collected (test_reap_leaves_no_trace.py).
    """
    program = container_of(node, built(tmp_path, "thirty_two_bit", *THIRTY_TWO_BIT, "-DBUSY"))
    assert_refused(node, program, "32_bit")


def test_seccomp_strict(node):
    program = node.container(STRICT)
    wait_until(lambda: status_of(program)["Seccomp"] == "1")
    assert_refused(node, program, "seccomp_strict")


@X86_64_ONLY
def test_no_instruction_that_enters_the_kernel(node, tmp_path):
    """It has unmapped its vDSO and calculates. Had it slept in a call, the instruction of that call
    would do.
    """
    program = container_of(node, built(tmp_path, "no_vdso"))
    assert_refused(node, program, "no_instruction")


def test_a_program_that_makes_no_system_call(node):
    """Where only a thread that makes one can be used. It calculates in every try, so it will in the
    next sweep too.
    """
    node.code = agent_that(BEFORE_5_13)
    program = node.container(ANSWERS + "zombie()\nready()\nwhile True: pass")
    assert_refused(node, program, "no_system_call")


def test_a_program_that_makes_no_system_call_for_lack_of_cpu_time(node):
    """It is none that calculates, and nothing harder follows."""
    node.code = agent_that(BEFORE_5_13, NO_CPU_TIME, SHORT_TRIES)
    program = node.container(ANSWERS + "zombie()\nready()\nwhile True: pass")
    with Untouched(program):
        entry = offender_of(node.sweep(), program)
        assert [(step["remedy"], step["refusal"]) for step in entry["steps"]] == [("reap", "busy")]


def test_another_thread_collects_where_the_first_one_calculates(node):
    program = node.container(
        ANSWERS
        + """
threading.Thread(target=forever).start()
zombie()
ready()
while True: pass
"""
    )
    node.code = agent_that(BEFORE_5_13)
    with Untouched(program):
        assert offender_of(node.sweep(remedies="reap"), program)["outcome"] == "cleared"
    assert answer(program) == "well"


@pytest.mark.skipif(VERSION < (6, 4), reason="the kernel does not show it before 6.4")
def test_a_program_that_dispatches_its_system_calls_itself(node):
    program = node.container(OWN_DISPATCH)
    assert_refused(node, program, "syscall_user_dispatch")


@contextmanager
def running_in(node, *command):
    """A command beside the tests, in the node; ended afterwards."""
    with subprocess.Popen(
        [*node.enter, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as popen:
        (child,) = wait_until(lambda: psutil.Process(popen.pid).children())
        try:
            yield
        finally:
            child.terminate()
            popen.wait()


def has_come_under_a_tracer(program, before) -> str:
    """PID of the tracer, once that has stopped it and let it sleep on: to stop and to sleep are two
    switches to another process.
    """
    status = status_of(program)
    switches = int(status["voluntary_ctxt_switches"]) - int(before["voluntary_ctxt_switches"])
    return (
        status["TracerPid"]
        if status["TracerPid"] != "0" and status["State"][0] == "S" and switches >= 2
        else ""
    )


@pytest.mark.parametrize("tracer", ["strace", "gdb"])
def test_a_parent_that_is_traced(node, tracer):
    """It lives on under its tracer, and after it; then it is collected."""
    program = node.container(SLEEPS)
    at_rest = wait_until(lambda: (status := status_of(program))["State"][0] == "S" and status)
    command = (
        ["strace", "-o", "/dev/null", "-p"]
        if tracer == "strace"
        else ["gdb", "--batch", "-nx", "-ex", "continue", "-p"]
    )
    with running_in(node, *command, str(program.pids[1])):
        held_by = wait_until(lambda: has_come_under_a_tracer(program, at_rest))
        step = step_of(offender_of(node.sweep(remedies="reap"), program))
        assert (step["result"], step["refusal"]) == ("refused", "traced")
        assert (status_of(program)["TracerPid"], status_of(program)["State"][0]) == (held_by, "S")
    wait_until(lambda: status_of(program)["TracerPid"] == "0")
    with Untouched(program):
        assert offender_of(node.sweep(remedies="reap"), program)["outcome"] == "cleared"
    assert answer(program) == "well"


def test_a_parent_halted_in_a_debugger(node):
    """State t: the policy leaves it alone already; asked directly, the remedy does too."""
    program = node.container(SLEEPS)
    with running_in(
        node,
        "gdb",
        "--batch",
        "-nx",
        "-ex",
        "python import time; time.sleep(3600)",
        "-p",
        str(program.pids[1]),
    ):
        wait_until(lambda: status_of(program)["State"][0] == "t")
        assert offender_of(node.sweep(), program)["reason"] == "parent_stopped"
        assert reap_directly(node, program)["refusal"] == "traced"
    wait_until(lambda: status_of(program)["TracerPid"] == "0")
    assert answer(program) == "well"


def test_a_parent_that_is_stopped(node):
    program = node.container(SLEEPS)
    program.process.suspend()
    wait_until(lambda: status_of(program)["State"][0] == "T")
    assert offender_of(node.sweep(), program)["reason"] == "parent_stopped"
    outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["refusal"], outcome["max_stop_ms"]) == (
        "refused",
        "stopped",
        None,
    )
    assert (status_of(program)["State"][0], status_of(program)["TracerPid"]) == ("T", "0")
    program.process.resume()
    assert answer(program) == "well"


def test_a_parent_in_uninterruptible_sleep(node, tmp_path):
    """The policy leaves it alone already; asked directly, the remedy does too."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = node.container(VFORK % str(fifo))
    (parent,) = program.process.children()
    pid = wait_until(
        lambda: [
            entry["pid"]
            for entry in node.sweep()["offenders"]
            if entry["reason"] == "parent_uninterruptible"
        ]
    )[0]
    outcome = reap_directly(
        node, program, f"PID, ptrace.STOP_TIMEOUT = {pid}, 0.25\nonce(offender())"
    )
    assert (outcome["result"], outcome["refusal"], outcome["max_stop_ms"]) == (
        "refused",
        "uninterruptible",
        None,
    )
    assert is_alive(parent)


def test_a_seccomp_filter_that_kills_is_set_aside_and_back_in_force(node):
    program = node.container(FILTERED)
    with Untouched(program):
        entry = offender_of(node.sweep(remedies="reap"), program)
        assert (entry["outcome"], entry["remedy"]) == ("cleared", "reap")
    assert answer(program) == "well"
    os.kill(program.process.pid, signal.SIGUSR2)  # now it calls waitid itself
    assert program.ends()


def test_a_seccomp_filter_that_cannot_be_set_aside(node):
    """PTRACE_O_SUSPEND_SECCOMP takes CAP_SYS_ADMIN, which this sweep does not have."""
    program = node.container(FILTERED)
    with Untouched(program):
        outcome = reap_directly(node, program, before=WITHOUT_SYS_ADMIN)
        assert (outcome["result"], outcome["refusal"], outcome["cleared"]) == (
            "refused",
            "seccomp_filter",
            0,
        )
    assert answer(program) == "well"
    plain = node.container(SLEEPS)
    assert reap_directly(node, plain, before=WITHOUT_SYS_ADMIN)["result"] == "cleared"
    assert answer(plain) == "well"


def test_the_sweep_has_a_filter_of_its_own(node):
    """As an agent run by a service with SystemCallFilter= has: then no other filter can be set
    aside.
    """
    program = node.container(FILTERED)
    code = (
        FILTERED.split("import struct")[1].split("signal.signal")[0]
        + """
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
once(offender())
"""
    )
    with Untouched(program):
        outcome = reap_directly(
            node, program, "import ctypes, struct" + code.replace("0x80000000", "0x7fff0000")
        )
        assert outcome["refusal"] == "seccomp_filter"
    assert answer(program) == "well"


def test_without_cap_sys_ptrace(node):
    """The kernel refuses, as the parent has capabilities that the sweep has not."""
    program = node.container(SLEEPS)
    with Untouched(program):
        outcome = reap_directly(node, program, before=WITHOUT_SYS_PTRACE)
        assert (outcome["result"], outcome["refusal"]) == ("refused", "not_permitted")
        assert "CAP_SYS_PTRACE" in outcome["detail"]
        done = node.run(
            *WITHOUT_SYS_PTRACE,
            *node.agent_command("--json", "--min-age", "0", "--remedies", "reap"),
        )
        assert (done.returncode, done.stderr) == (0, "")
        result = json.loads(done.stdout)
        entry = offender_of(result, program)
        assert (entry["outcome"], entry["reason"], result["reap_refusal"]) == (
            "left_alone",
            "reap_impossible",
            "not_permitted",
        )
        assert (
            "reap is impossible on this node: the sweep lacks CAP_SYS_PTRACE" in result["warnings"]
        )
    assert answer(program) == "well"


def test_yama_that_lets_nobody_trace(node, tmp_path):
    """This machine's kernel has no Yama, and where there is one, 3 cannot be taken back before the
    next boot. So the refusal is the kernel's for want of CAP_SYS_PTRACE, and the file that tells
    why is one in a directory that otherwise leads to the real /proc.
    """
    program = node.container(SLEEPS)
    root = tmp_path / "proc"
    (root / "sys/kernel/yama").mkdir(parents=True)
    (root / "sys/kernel/yama/ptrace_scope").write_text("3\n")
    (root / str(program.pids[1])).symlink_to(f"/proc/{program.pids[1]}")
    for child in program.zombies():
        number = next(
            int(line.split()[2])
            for line in Path(f"/proc/{child}/status").read_text().splitlines()
            if line.startswith("NSpid")
        )
        (root / str(number)).symlink_to(f"/proc/{number}")
    (root / "self").symlink_to("/proc/self")
    code = f"then = offender()\nproc = procfs.ProcFS({str(root)!r})\nonce(then)"
    outcome = reap_directly(node, program, code, before=WITHOUT_SYS_PTRACE)
    assert (outcome["result"], outcome["refusal"]) == ("refused", "yama")
    assert answer(program) == "well"


def test_another_architecture(node):
    """Told by uname(2), which the driver answers itself: there is no other machine here."""
    program = node.container(SLEEPS)
    code = (
        "import types\nos.uname = lambda:"
        " types.SimpleNamespace(machine='riscv64')\nonce(offender())"
    )
    with Untouched(program):
        outcome = reap_directly(node, program, code)
    assert (outcome["result"], outcome["refusal"], outcome["max_stop_ms"]) == (
        "refused",
        "architecture",
        None,
    )
    assert "riscv64" in outcome["detail"]


def test_zombies_that_a_tracer_holds(node):
    """waitid(2) does not collect them. That is no reason for anything harder, and the next sweep does
    not ask again.
    """
    program = node.container(
        ANSWERS
        + """
here, there = os.pipe()
child = os.fork()
if child == 0:
    os.read(here, 1)
    os._exit(0)
if os.fork() == 0:
    ctypes.CDLL(None).ptrace(0x4206, child, None, None)  # PTRACE_SEIZE
    os.write(there, b"x")
    forever()
while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
"""
    )
    assert [step["remedy"] for step in offender_of(node.sweep(), program)["steps"]] == ["reap"]
    assert offender_of(node.sweep(), program)["reason"] == "traced"
    with Untouched(program):
        outcome = reap_directly(node, program)
    assert (outcome["result"], outcome["detail"]) == (
        "no_effect",
        "waitid(2) does not collect 1 of them",
    )
    assert answer(program) == "well"


def test_a_zombie_that_its_parent_traces(node):
    """PTRACE_TRACEME in the child: parent and tracer are one. The policy leaves it alone, asked
    directly it is collected.
    """
    program = node.container(
        ANSWERS + "zombie(lambda: ctypes.CDLL(None).ptrace(0, 0, None, None))\nready()\nforever()"
    )
    entry = offender_of(node.sweep(remedies="reap"), program)
    if entry["outcome"] == "left_alone":
        assert entry["reason"] == "traced"
        with Untouched(program):
            assert reap_directly(node, program)["result"] == "cleared"
    assert program.zombies() == []
    assert answer(program) == "well"


# Whenever it is looked at it is in a restartable sequence: 8 bytes are read for nothing else
IN_A_SEQUENCE = (
    "ptrace.Tracee._memory = lambda self, *where, real=ptrace.Tracee._memory: b'in a seq' if"
    " where[1] == 8 else real(self, *where)"
)


@X86_64_ONLY
@pytest.mark.skipif(VERSION < (5, 13), reason="the kernel does not show the sequence before 5.13")
def test_a_refusal_that_may_pass_is_followed_by_nothing_harder(node, tmp_path):
    """It is hardly ever outside of its restartable sequence, and never as far as the sweep sees:
    "busy" each of many times, and perhaps not in the next sweep.
    """
    program = container_of(
        node,
        built(tmp_path, "rseq_loop"),
        "1",
        "0",
        environment={"GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
    )
    node.code = agent_that(IN_A_SEQUENCE)
    with Untouched(program):
        entry = offender_of(node.sweep(), program)
        assert [(step["remedy"], step["refusal"]) for step in entry["steps"]] == [("reap", "busy")]
    assert entry["outcome"] == "not_cleared"
