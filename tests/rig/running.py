"""A program that holds zombies, in a container, with the way to see that it is the same as before
and still does its work.

It is started by a process that has made zombies and then becomes that program (``sh -c '(exit 3) &
exec PROGRAM'``). Its directory is its working directory; its standard input is the FIFO ``in`` there,
its output the file ``out``.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import socket
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from rig.node import wait_until
from rig.slowness import scaled
from rig.system_calls import NUMBERS

ZOMBIES = 2
# milliseconds that whatever ends by itself lasts: time.sleep in programs.py, the calls timed_... of
# blocked.c
SLEEP = 10000
CLONE_NEWNET = 0x40000000

# Does what sh -c '(exit 3) & (exit 4) & exec PROGRAM' does, but they are zombies for sure before
# PROGRAM can have a handler for SIGCHLD, and a shell would collect them itself while it made sure.
# Arguments: the signal that their end raises, PROGRAM. Zombies that raised none (as of clone(2))
# are only seen by a wait with __WALL or __WCLONE: they stay with a parent that waits for any child.
HOLD_ZOMBIES = """
import ctypes, os, signal, sys
for status in 3, 4:
    pid = ctypes.CDLL(None).syscall(%d, int(sys.argv[1]), 0, 0, 0, 0)
    if pid == 0:
        os._exit(status)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | 0x40000000)
for ignored_by_python in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored_by_python, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
""" % NUMBERS["clone"]


class Program(
    namedtuple(
        "Program",
        (
            "name",
            "command",
            "works",
            "ready",
            "before",
            "files",
            "threads_may_start",
            "unseen",
            "begins_when_told",
        ),
        defaults=(None, "", {}, False, False, None),
    )
):
    """command: shell words, each program in its own directory. works(running): fails the test where it
    does not do its work.

    ready(running): whether it has come to rest; unless given, when it has said ``ready``. before:
    shell commands to run first.
    files: name to text. threads_may_start: by itself at any time. unseen: its zombies raised no
    SIGCHLD.
    begins_when_told: for those that end by themselves or cost much: they begin when a line comes;
    has_begun(running) tells when.
    """

    __slots__ = ()

    def lay_out(self, directory):
        """Its directory, with the script that starts it."""
        directory.mkdir()
        directory.chmod(0o777)
        for name, text in self.files.items():
            (directory / name).write_text(text)
        os.mkfifo(directory / "in")
        (directory / "start").write_text(
            "cd /w/%s\nexec <>in >out 2>&1\n%s\necho $$ >pid\nexec /usr/bin/python3 -IS -c %s %d"
            " %s\n"
            % (
                self.name,
                self.before,
                shlex.quote(HOLD_ZOMBIES),
                0 if self.unseen else signal.SIGCHLD,
                self.command,
            )
        )


Seen = namedtuple("Seen", ("started", "executable", "threads", "blocked"))


class Running:
    """A program that runs in a container, seen from the test. process: psutil's."""

    def __init__(self, program, directory, container):
        self.program = program
        self.directory = directory
        self.container = container
        self.process = None
        self.began = 0.0  # CLOCK_MONOTONIC, or a little later
        self.head_start = 0  # milliseconds between that and the sweep, or a little less

    def pid_in_container(self) -> int:
        return int(
            wait_until(
                lambda: (
                    (self.directory / "pid").exists()
                    and (self.directory / "pid").read_text().strip()
                )
            )
        )

    def begin(self):
        if self.program.begins_when_told:
            self.say("begin")
            wait_until(lambda: self.program.begins_when_told(self))
            self.began = time.monotonic()

    def get_ready(self):
        """Wait until it has come to rest."""
        try:
            wait_until(
                lambda: self.program.ready(self) if self.program.ready else "ready\n" in self.out,
                seconds=180,
            )
        except AssertionError as error:
            raise AssertionError(
                f"{self.program.name} is not ready: {self.out!r}, in system call"
                f" {self.system_call()}"
            ) from error

    @property
    def out(self) -> str:
        return (self.directory / "out").read_text(errors="replace")

    def say(self, line):
        with open(self.directory / "in", "wb", buffering=0) as fifo:
            fifo.write(line.encode() + b"\n")

    def status(self, field) -> str:
        return dict(line.split(":\t", 1) for line in self.proc("status").splitlines())[
            field
        ].strip()

    def seen(self) -> Seen:
        """What must not change."""
        return Seen(
            self.process.create_time(), self.process.exe(), self.threads(), self.status("SigBlk")
        )

    def threads(self) -> frozenset:
        return frozenset(os.listdir(f"/proc/{self.process.pid}/task"))

    def system_call(self) -> int:
        """Number of the system call that it sleeps in, -1 where it is in none."""
        word = self.proc("syscall").split()[0]
        return -1 if word == "running" else int(word)

    def zombies(self) -> list:
        return [
            child.pid for child in self.process.children() if child.status() == psutil.STATUS_ZOMBIE
        ]

    def unix(self, name="socket"):
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(scaled(60))
        connected.connect(str(self.directory / name))
        return connected

    def tcp(self, port):
        """A socket belongs to the network namespace in which it was made, and that is a property of
        the thread.
        """

        def connect():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.process.pid}/ns/net", "rb") as namespace:
                assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(
                    ctypes.get_errno()
                )
            return socket.create_connection(("127.0.0.1", port), timeout=scaled(60))

        with ThreadPoolExecutor(1) as executor:
            return executor.submit(connect).result()

    def proc(self, name) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()


def ask(connected, request, until) -> bytes:
    """What a server answers; closes the connection once that contains ``until``."""
    answer = b""
    with connected:
        connected.sendall(request)
        while until not in answer:
            piece = connected.recv(65536)
            assert piece, f"it closed the connection after {answer!r}"
            answer += piece
    return answer


def tried(question) -> bool:
    """Whether a server can be asked yet."""
    try:
        question()
    except (OSError, AssertionError):
        return False
    return True


def answers(running):
    running.say("a line")
    wait_until(lambda: "answer a line\n" in running.out)
