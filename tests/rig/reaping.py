"""The remedy reap at close quarters: programs that make it hard for it, and a driver that steps in at a moment of one's choice.

The driver runs the engine's own `reap()` in a node, without the policy, which would leave some parents alone before.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from rig.node import ENGINE, PYTHON, wait_until

SOURCES = Path(__file__).parent / "hostile"
THIRTY_TWO_BIT = ["-m32", "-nostdlib", "-ffreestanding", "-fno-pic", "-fno-stack-protector"]  # needs no 32-bit libc

# Answers as long as it works; the lines before it end in the program's own sleep, loop or call.
ANSWERS = """
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"well\\n"))
"""

DRIVER = """
import json, os, signal, sys, time
sys.path.append(sys.argv[1])
from reaper import observe, procfs, ptrace, sweep
from reaper.remedies import reap as remedy
PID, proc = int(sys.argv[2]), procfs.ProcFS()
def offender():
    seen = observe.snapshot(proc, sweep.Paths(), observe.NOTHING, 0.0)
    return next((one for one in seen.offenders if one.pid == PID), None)
def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
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
    def _to_stop_at_call(self):
        at("calling")
        super()._to_stop_at_call()
    def call(self, *words):
        result = super().call(*words)
        at("called")
        return result
    def release(self):
        at("releasing")
        super().release()
        at("released")
remedy.Tracee = Watched
def once(then):
    outcome = remedy.reap(proc, [then])[0]
    print(json.dumps(outcome._asdict()), flush=True)
"""
MOMENTS = ("seizing", "seized", "stopped", "prepared", "calling", "called", "releasing", "released")


def built(folder, source, *flags) -> str:
    """Path of the program made from a C file of rig/hostile."""
    program = folder / "-".join([source, *(flag.strip("-") for flag in flags[-1:])])
    subprocess.run(
        ["gcc", "-O1", "-static", "-pthread", "-mavx", "-mno-red-zone", *flags, "-o", program, SOURCES / (source + ".c")], check=True)
    return str(program)


def container_of(node, *command, zombies=1, environment=()):
    """A container whose PID 1 is that command, which prints ``ready``, and which has been given zombies before it began."""
    return node.container("for _ in range(%d): zombie()\nos.environ.update(%r)\nos.execv(%r, %r)" % (
        zombies, dict(environment), command[0], list(command)))


def driver_command(node, program, code="once(offender())", engine=ENGINE) -> list:
    return [PYTHON, "-IS", "-c", DRIVER + code, str(engine), str(program.pids[1])]


def reap_directly(node, program, code="once(offender())", before=()):
    """What the remedy itself says of that parent, with other code around it; its last line is an outcome. before: command."""
    done = node.run(*before, *driver_command(node, program, code))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def step_of(entry, remedy="reap") -> dict:
    return next(step for step in entry["steps"] if step["remedy"] == remedy)


def status_of(program) -> dict:
    """/proc/PID/status, and the start time as psutil reads it."""
    text = Path("/proc/%d/status" % program.process.pid).read_text(encoding="utf-8", errors="replace")
    return {**dict(line.split(":\t", 1) for line in text.splitlines()), "start": program.process.create_time()}


SAME = ("start", "Pid", "Threads", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "Seccomp", "NoNewPrivs")


class Untouched:
    """with Untouched(program): afterwards it is the same process, neither traced nor stopped, its signals as they were."""

    def __init__(self, program, *but_for):
        self.program = program
        self.names = [name for name in SAME if name not in but_for]

    def __enter__(self):
        self.before = status_of(self.program)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            after = wait_until(self.settled)
            assert {name: after[name] for name in self.names} == {name: self.before[name] for name in self.names}

    def settled(self):
        """Its status once it is free; the kernel takes a moment to wake it."""
        status = status_of(self.program)
        return status if status["TracerPid"] == "0" and status["State"][0] in "RSD" else None


def answer(program) -> str:
    """The line that it prints when asked by SIGUSR1, whatever it was doing."""
    os.kill(program.process.pid, signal.SIGUSR1)
    return said(program)


def said(program) -> str:
    """Its next line."""
    os.set_blocking(program.popen.stdout.fileno(), False)
    return wait_until(program.popen.stdout.readline).decode().strip()


def says_nothing(program) -> bool:
    os.set_blocking(program.popen.stdout.fileno(), False)
    return not program.popen.stdout.readline()
