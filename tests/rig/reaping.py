"""The remedy reap at close quarters: programs that make it hard for it, and a driver that steps in
at a moment of one's choice.

The driver runs the engine's own `reap()` in a node, without the policy, which would leave some
parents alone before.

How long the engine waits for others, for a parent to stop or a canary to start, is a matter of how
busy the machine is. Here it waits as long as it takes, unless a test is about just that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from rig.node import AGENT, ENGINE, NO_OPTIONS, PYTHON, Node, is_alive, wait_until
from rig.slowness import scaled
from rig.system_calls import IS_X86_64

SOURCES = Path(__file__).parent / "hostile"
# needs no 32-bit libc
THIRTY_TWO_BIT = ["-m32", "-nostdlib", "-ffreestanding", "-fno-pic", "-fno-stack-protector"]

# Answers as long as it works; the lines before it end in the program's own sleep, loop or call.
ANSWERS = """
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"well\\n"))
"""

# A program that its PID 1, or who else is the nearest subreaper (prctl(2)), did not start
DAEMON = """
def daemon(run):
    if os.fork() == 0:
        os.setsid()
        maker = os.getpid()
        if os.fork() == 0:
            while os.getppid() == maker:
                time.sleep(0.01)
            run()
        os._exit(0)
    os.wait()
"""
WAITS_FOR_ALL = """
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.02)
"""

# The engine gets whatever time a busy machine takes. What ends a wait is what it waits for; these
# numbers only guard against hanging.
PATIENTLY = "; ".join(
    (
        "from reaper import canary, files; from reaper.kernel import ptrace",
        "from reaper.remedies import nudge, reap, terminate",
        "ptrace.STOP_TIMEOUT = ptrace.ENTRY_TIMEOUT = terminate.AFTER_SIGKILL ="
        f" canary.PROCESS_TIMEOUT = files.LOCK_WAIT = {scaled(60.0)}",
        "reap.MAX_SECONDS_PER_PARENT = reap.MAX_SECONDS = nudge.MAX_SECONDS = canary.MAX_SECONDS ="
        f" {scaled(600.0)}",
    )
)


# With a moment, and what is done when that is reached for the first time; for reap_directly()
ONCE = """
done = False
def at(moment):
    global done
    if moment == %r and not done:
        done = True
        disturb()
def disturb():
    %s
"""

# What reap does where the kernel does not show whether a running thread is in a restartable sequence
# (before Linux 5.13). On aarch64 it never asks
BEFORE_5_13 = (
    "ptrace.Tracee._supports = lambda self, request, config, real=ptrace.Tracee._supports: request"
    " != ptrace.PTRACE_GET_RSEQ_CONFIGURATION and real(self, request, config)"
)
# What reap does on aarch64, with a thread that is in a call as well. On x86-64 it has other ways
BY_ITSELF = "ptrace.Tracee._choose_entry = lambda self: False"


def agent_that(*does) -> str:
    """Code of a patient agent that does this before it begins. does: lines of Python."""
    return AGENT.replace("from reaper.cli", "; ".join((PATIENTLY, *does, "from reaper.cli")))


class PatientNode(Node):
    """A node whose agent is patient."""

    code = agent_that()

    def agent_command(self, *flags, config=NO_OPTIONS, code=None) -> list:
        return super().agent_command(*flags, config=config, code=code or self.code)

    def run(self, *command, **kwargs):
        return super().run(*command, **{"timeout": 300, **kwargs})


# tests/mutations wait for what never comes
AS_LONG_AS_IT_TAKES = scaled(10 if "REAPER_ENGINE" in os.environ else 60)
DRIVER = (
    """
import json, os, signal, sys, time
sys.path.append(sys.argv[1])
"""
    + PATIENTLY
    + """
from reaper.node import observe
from reaper.kernel import procfs, ptrace
from reaper.paths import Paths
from reaper.remedies import reap as remedy
PID, proc = int(sys.argv[2]), procfs.ProcFS()
def offender():
    seen = observe.snapshot(proc, Paths(), observe.History(), 0.0)
    return next((one for one in seen.offenders if one.pid == PID), None)
def until(condition):
    deadline = time.monotonic() + %d
    while not condition():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.005)
def state():
    return proc.stat(PID).state
def at(moment):
    pass
class Watched(ptrace.Tracee):
    def seize(self):
        at("seizing")
        super().seize()
        at("seized")
    def stop(self):
        stopped = super().stop()
        at("stopped")
        return stopped
    def prepare(self):
        super().prepare()
        at("prepared")
    def _run_to_entry(self):
        at("calling")
        super()._run_to_entry()
    def _run_to_exit(self):
        at("calling")
        super()._run_to_exit()
    def call(self, *words):
        result = super().call(*words)
        at("called")
        return result
    def release(self):
        at("releasing")
        released = super().release()
        at("released")
        return released
remedy.Tracee = Watched
def once(then):
    outcome = remedy.reap(proc, [then])[0]
    print(json.dumps(outcome._asdict()), flush=True)
"""
    % AS_LONG_AS_IT_TAKES
)
MOMENTS = ("seizing", "seized", "stopped", "prepared", "calling", "called", "releasing", "released")


def built(directory, source, *flags) -> str:
    """Path of the program made from a C file of rig/hostile."""
    program = directory / "-".join([source, *(flag.strip("-") for flag in flags[-1:])])
    subprocess.run(
        [
            "gcc",
            "-O1",
            "-static",
            "-pthread",
            *(["-mavx", "-mno-red-zone"] if IS_X86_64 else []),
            *flags,
            "-o",
            program,
            SOURCES / (source + ".c"),
        ],
        check=True,
    )
    return str(program)


def container_of(node, *command, zombies=1, environment=()):
    """A container whose PID 1 is that command, which prints ``ready``, and which has been given
    zombies before it began.
    """
    return node.container(
        f"for _ in range({zombies}):"
        f" zombie()\nos.environ.update({dict(environment)!r})\nos.execv({command[0]!r},"
        f" {list(command)!r})"
    )


def driver_command(node, program, code="once(offender())", engine=ENGINE) -> list:
    return [PYTHON, "-IS", "-c", DRIVER + code, str(engine), str(program.pids[1])]


def reap_directly(node, program, code="once(offender())", before=()):
    """What the remedy itself says of that parent, with other code around it; its last line is an
    outcome. before: command.
    """
    done = node.run(*before, *driver_command(node, program, code))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def outcomes_in(done) -> list:
    """The outcomes that a driver has printed."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def step_of(entry, remedy="reap") -> dict:
    return next(step for step in entry["steps"] if step["remedy"] == remedy)


def status_of(program) -> dict:
    """/proc/PID/status, and the start time as psutil reads it."""
    text = Path(f"/proc/{program.process.pid}/status").read_text(encoding="utf-8", errors="replace")
    return {
        **dict(line.split(":\t", 1) for line in text.splitlines()),
        "start": program.process.create_time(),
    }


SAME = (
    "start",
    "Pid",
    "Threads",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "SigPnd",
    "ShdPnd",
    "Seccomp",
    "NoNewPrivs",
)


class Untouched:
    """with Untouched(program): afterwards it is the same process, neither traced nor stopped, its
    signals as they were.

    The kernel takes a moment to wake it, and it takes one itself to handle what came meanwhile: so
    it is looked at until that is so.
    """

    def __init__(self, program, *but_for):
        self.program = program
        self.names = [name for name in SAME if name not in but_for]

    def __enter__(self):
        self.before = status_of(self.program)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            try:
                wait_until(
                    lambda: self.what_matters(self.settled()) == self.what_matters(self.before)
                )
            except AssertionError:
                assert self.what_matters(self.settled()) == self.what_matters(self.before)

    def settled(self):
        """Its status once it is free."""
        status = status_of(self.program)
        return status if status["TracerPid"] == "0" and status["State"][0] in "RSD" else {}

    def what_matters(self, status) -> dict:
        return {name: status.get(name) for name in self.names}


def answer(program) -> str:
    """The line that it prints when asked by SIGUSR1, whatever it was doing."""
    os.kill(program.process.pid, signal.SIGUSR1)
    return said(program)


def said(program) -> str:
    """Its next line."""
    os.set_blocking(program.popen.stdout.fileno(), False)
    return wait_until(program.popen.stdout.readline).decode().strip()


def said_so_far(program) -> list:
    """All lines that have not been read yet. What it says before it answers, or before it sleeps
    again, is there once it has done so.
    """
    os.set_blocking(program.popen.stdout.fileno(), False)
    return (program.popen.stdout.read() or b"").decode().splitlines()


def says_nothing(program) -> bool:
    return said_so_far(program) == []


def system_call(program) -> int:
    """Number of the system call that it sleeps in; -1 when it is in none, or has ended."""
    try:
        words = Path(f"/proc/{program.process.pid}/syscall").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(words[0]) if words and words[0].isdecimal() else -1


def sleeps_or_has_ended(program, *calls) -> bool:
    """Once it sleeps in one of these system calls, or has ended: whether it still lives. What it
    does when it is woken is done by then.
    """
    wait_until(lambda: system_call(program) in calls or not program.alive)
    return is_alive(program.process)
