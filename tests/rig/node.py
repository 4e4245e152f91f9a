"""A node of its own for a test: a PID namespace with its own /proc and its own PID 1.

The sweep runs inside and sees nothing of the machine around it, so no test can touch a process that
it did not start. What the sweep calls a container is a PID namespace below that. Both end with
their PID 1, and that with the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from rig.slowness import scaled
from rig.system_calls import NUMBERS

CHECKOUT = Path(__file__).parents[2]
# tests/mutations name another one
ENGINE = Path(os.environ.get("REAPER_ENGINE", CHECKOUT / "plugins/module_utils"))
PYTHON = os.environ.get("REAPER_PYTHON", sys.executable)
OLD_SCRIPT = CHECKOUT / "bench/kill_zombie_parents.sh"
TODAYS_SCRIPT = CHECKOUT / "bench/kill_zombie_parents_today.sh"
GRACE = min(scaled(0.3), 10.0)  # seconds; whoever does nothing uses them up
NO_OPTIONS = CHECKOUT / "tests/rig/no_options.json"  # a configuration that sets none
# takes a command, in a mount namespace of its own
OWN_FILES = [PYTHON, "-IS", str(CHECKOUT / "tools/own_files.py")]
AGENT = (
    "import sys; sys.path.append(sys.argv.pop(1)); from reaper.cli import main; sys.exit(main())"
)

# What the programs below may use. ready() tells the test to go on; zombie() returns when its child
# is one, or was: a sweep may be faster. exit_thread() ends the thread alone that calls it.
PRELUDE = """
import ctypes, os, signal, sys, threading, time
def zombie(before_exit=lambda: None):
    pid = os.fork()
    if pid == 0:
        before_exit()
        os._exit(3)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        pass
    return pid
def ready():
    os.write(1, b"ready\\n")
def forever():
    while True:
        time.sleep(60)
def exit_thread():
    ctypes.CDLL(None).syscall(NUMBER_OF_EXIT, 0)
""".replace("NUMBER_OF_EXIT", str(NUMBERS["exit"]))

# Runs the command that follows as its child.
SHIM = """
import os, sys
open("/proc/self/comm", "w").write("containerd-shim")
if os.fork() == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
os.wait()
"""

REAPING_INIT = """
ready()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.02)
"""

# The path of the FIFO goes in. posix_spawn(3) waits in vfork(2) until its child has executed; the
# child waits for a FIFO that nobody opens
VFORK = """
parent = os.fork()
if parent == 0:
    zombie()
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 9, %r, os.O_RDONLY, 0)])
    forever()
while open("/proc/%%d/stat" %% parent).read().rpartition(")")[2].split()[0] != "D":
    time.sleep(0.01)
ready()
os.wait()
"""


def wait_until(condition, seconds=60.0):
    """What condition() returns once that is true; fails the test when it never is."""
    deadline = time.monotonic() + scaled(seconds)
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {scaled(seconds)} s: {condition!r}")


def is_alive(process) -> bool:
    """Whether that very process (psutil compares the start time) still runs, as anything but a
    zombie.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Program:
    """A program that a test started, and the process it became."""

    def __init__(self, command, code=None, depth=0):
        if code is not None:
            command = [*command, PYTHON, "-IS", "-c", PRELUDE + code]
        self.popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        line = self.popen.stdout.readline()
        assert line == b"ready\n", f"the program did not get ready: {line!r}"
        process = psutil.Process(self.popen.pid)
        for _level in range(depth):
            process = process.children()[0]
        self.process = process
        self.pids = ns_pids(process.pid)  # kept, to find it in a result after it has ended

    @property
    def alive(self) -> bool:
        return is_alive(self.process)

    def ends(self, seconds=60.0) -> bool:
        """Whether it ends; a signal that was sent may take a moment."""
        deadline = time.monotonic() + scaled(seconds)
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive

    def zombies(self) -> list:
        """PIDs of its zombies, as psutil sees them."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.process.children():
                with contextlib.suppress(psutil.NoSuchProcess):  # it was collected at this moment
                    if child.status() == psutil.STATUS_ZOMBIE:
                        found.append(child.pid)
        return found

    def stop(self):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself between the two
            if self.process.is_running():
                self.process.kill()
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()


# A test of what a remedy does need not fill the table first. Flags that come later win.
LIKE_THE_SCRIPT = ("--pressure", "0", "--max-parents", "0")


class Node:
    """A PID namespace that plays the node, with files of its own. init: code of its PID 1, which
    collects orphans unless told otherwise.

    cgroup: a :class:`rig.own_cgroup.OwnCgroup` that counts tasks. All of the node is in it, and no
    other is in sight there, so the ledger is of this node and not of the machine.
    """

    def __init__(self, directory, init=REAPING_INIT, cgroup=None):
        self.run_directory = directory / "run"
        self.programs = []
        # ends with this process, even if that is killed, and takes all that is in the node along
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        command += [*(cgroup.hiding_others if cgroup else []), *OWN_FILES]
        self.init = Program(command, init, depth=1)
        self.enter = ["nsenter", "--target", str(self.init.process.pid), "--pid", "--mount"]
        if cgroup:
            self.enter += cgroup.entering_from_there

    def program(self, code, before=()) -> Program:
        """A process of the node itself, running Python code. before: words before its command."""
        return self._started(Program([*self.enter, *before], code, depth=1))

    def container(self, code, before=()) -> Program:
        """A container of the node: a PID namespace whose PID 1 runs Python code. before: words
        before its command.
        """
        inner = [*self.enter, *before, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return self._started(Program(inner, code, depth=2))

    def container_of_containerd(self, code) -> Program:
        """A container below a process that is called ``containerd-shim``."""
        inner = [*self.enter, PYTHON, "-IS", "-c", SHIM]
        inner += ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return self._started(Program(inner, code, depth=3))

    def command(self, *command) -> Program:
        """A process of the node that runs a command which prints ``ready``."""
        return self._started(Program([*self.enter, *command], depth=1))

    def _started(self, program):
        self.programs.append(program)
        return program

    def run(self, *command, **kwargs):
        """Run a command in the node to its end."""
        kwargs = {"capture_output": True, "text": True, "timeout": 120, **kwargs}
        kwargs["timeout"] = scaled(kwargs["timeout"])
        return subprocess.run([*self.enter, *command], check=False, **kwargs)

    def agent_command(self, *flags, config=NO_OPTIONS, code=AGENT) -> list:
        """The agent, as its installed command would run it, but with state of its own, and without
        metrics unless the flags say otherwise.
        """
        return [
            PYTHON,
            "-IS",
            "-c",
            code,
            str(ENGINE),
            "--run",
            str(self.run_directory),
            "--config",
            str(config),
            "--textfile-directory",
            "off",
            *LIKE_THE_SCRIPT,
            *flags,
        ]

    def agent(self, *flags, config=NO_OPTIONS, **kwargs):
        """Run the agent in the node."""
        return self.run(*self.agent_command(*flags, config=config), **kwargs)

    def sweep(self, *flags, **options) -> dict:
        """One sweep; its result. min_age and grace are short unless given, so that a test need not
        wait.
        """
        options = {"min_age": 0, "grace": GRACE, **options}
        for name, value in options.items():
            flags += ("--" + name.replace("_", "-"), str(value))
        if "--check" in flags:  # the statuses of a plugin would say that there are zombies
            flags += ("--exit-zero",)
        done = self.agent("--json", *flags)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return json.loads(done.stdout)

    def old_script(self):
        """Run the script that this project replaces, to see that the test would notice its
        fault.
        """
        return self.run("bash", str(OLD_SCRIPT))

    def todays_script(self, without_sleep):
        """The same for the script that playbooks for Akash providers install today.

        without_sleep: a directory for a ``sleep`` that returns at once, where no time matters.
        """
        (without_sleep / "sleep").write_text("#!/bin/sh\n")
        (without_sleep / "sleep").chmod(0o755)
        path = f"PATH={without_sleep}:{os.environ['PATH']}"
        return self.run("env", path, "bash", str(TODAYS_SCRIPT))

    def stop(self):
        for program in self.programs:
            program.stop()
        self.init.stop()


def left_in_node(result, *ended) -> list:
    """Zombies left, but for those whose parent is of this rig: nsenter, outside the node, and
    unshare, which waits for PID 1 of the containers that ended.
    """
    waited_for = {program.pids[1] for program in ended}
    return [
        zombie
        for zombie in result["zombies"]["list"]
        if zombie["ppid"] != 0 and zombie["pid"] not in waited_for
    ]


def offender_of(result, program) -> dict:
    """The entry of one parent in a result; PIDs there count as the node counts."""
    return next(entry for entry in result["offenders"] if entry["pid"] == program.pids[1])


def old_pythons() -> list:
    """(path, (major, minor)) of each interpreter before Python 3.9 that pyenv has on this
    machine.
    """
    found = []
    for path in sorted(Path("/root").glob(".pyenv/versions/*/bin/python")):
        done = subprocess.run(
            [path, "-c", "import sys; print('%d %d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
        )
        version = tuple(int(number) for number in done.stdout.split())
        if version < (3, 9):
            found.append((path, version))
    return found


def ns_pids(pid) -> list:
    """Its PIDs in the namespaces from the machine's down to its own."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return [
        int(number)
        for line in status.splitlines()
        if line.startswith("NSpid:")
        for number in line.split()[1:]
    ]
