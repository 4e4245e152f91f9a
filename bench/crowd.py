"""Many processes in a PID namespace of their own, which all end with its PID 1; and programs run
among them.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENGINE = HERE.parent / "plugins/module_utils"

# Each is the PID 1 of a namespace. It says when its processes are there and then stays.
LIVING = """
import os, signal, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        signal.pause()
os.write(1, b"ready\\n")
signal.pause()
"""
ZOMBIES = """
import os, signal, sys
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
os.write(1, b"ready\\n")
signal.pause()
"""
STUBBORN_PARENTS = """
import os, signal, sys, time
there, here = os.pipe()
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.write(here, b"x")
        signal.pause()
for _ in range(int(sys.argv[1])):
    os.read(there, 1)
os.write(1, b"ready\\n")
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.02)
"""


@functools.cache
def compiled() -> Path:
    """The program crowd.c, which is removed when this process ends."""
    directory = tempfile.TemporaryDirectory(prefix="zr-")
    atexit.register(directory.cleanup)
    program = Path(directory.name, "crowd")
    subprocess.run(
        [
            "gcc",
            "-O2",
            "-static",  # and not stripped: gdb looks for waitpid
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            program,
            HERE / "crowd.c",
        ],
        check=True,
    )
    return program


def crowd(code, count):
    """The processes that a program in Python makes, see :func:`crowd_of`."""
    return crowd_of([sys.executable, "-IS", "-c", code, count])


@contextmanager
def crowd_of(command, cgroups=()):
    """Yields a function that runs a program, with arguments, among the processes and returns the
    JSON that it prints.

    command: the PID 1 of the namespace, with its arguments. cgroups: directories of those that it and
    all its processes are in.
    """
    # Ctrl-C is for this process alone; where that is killed all the same, these end too
    popen = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"',
            "sh",
            *map(str, cgroups),
            "--",
            *map(str, command),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # unshare complains when its init is killed
        start_new_session=True,
    )
    try:
        if popen.stdout.readline() != b"ready\n":
            raise RuntimeError(
                f"the processes could not be made: {' '.join(map(str, command[-4:]))}"
            )
        [init] = children_of(popen)

        def run(program, *arguments):
            entered = [
                "nsenter",
                "--target",
                str(init),
                "--pid",
                "--mount",
                sys.executable,
                program,
                ENGINE,
                *arguments,
            ]
            # its complaints are kept: one that is killed with the namespace after Ctrl-C may have
            # some
            done = subprocess.run(
                [str(word) for word in entered],
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
            )
            if done.returncode:
                raise RuntimeError(f"{program} failed: {done.stderr}")
            return json.loads(done.stdout)

        yield run
    finally:
        for pid in children_of(popen) or [popen.pid]:
            # of an init: the kernel ends all others with it, and unshare waits for that
            os.kill(pid, signal.SIGKILL)
        popen.wait()
        popen.stdout.close()


def children_of(popen) -> list:
    """PIDs. psutil would read the whole table for them, a million entries."""
    with open(f"/proc/{popen.pid}/task/{popen.pid}/children", encoding="utf-8") as file:
        return [int(pid) for pid in file.read().split()]
