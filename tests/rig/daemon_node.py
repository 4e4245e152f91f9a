"""A daemon in a node, and all that it says: to systemd, in its status file, on standard
output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time

import psutil

from rig.node import NO_OPTIONS, wait_until
from rig.slowness import scaled
from rig.system_calls import NUMBERS

POLL = NUMBERS["poll"]


class Daemon:
    """``zombie-reaper --daemon`` in a node. before: words before its command. messages: (seconds on
    CLOCK_MONOTONIC, what it told systemd).

    listens: whether what it tells is read; else the socket is full from the beginning.
    """

    number = 0

    def __init__(
        self, node, directory, *flags, before=(), config=NO_OPTIONS, interval=1, listens=True
    ):
        self.node = node
        self.interval = interval
        Daemon.number += 1
        self.messages = []
        self.told = threading.Condition()
        self.address = str(directory / (f"notify{Daemon.number}"))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        if listens:
            threading.Thread(target=self._listen, daemon=True).start()
        else:
            self._fill_up()
        self.said = directory / (f"said{Daemon.number}")
        with open(self.said, "wb") as said:
            self.popen = subprocess.Popen(
                [
                    *node.enter,
                    *before,
                    *node.agent_command(
                        "--daemon", "--interval", str(interval), *flags, config=config
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NOTIFY_SOCKET": self.address},
            )
        self.process = None
        if listens:
            wait_until(lambda: self.sent("READY=1") or self.popen.poll() is not None)
            assert self.popen.poll() is None, self.text()
            self.find()

    def find(self) -> psutil.Process:
        """The agent itself, the one child of nsenter."""
        with open(
            f"/proc/{self.popen.pid}/task/{self.popen.pid}/children", encoding="ascii"
        ) as children:
            self.process = psutil.Process(int(children.read()))
        return self.process

    def _fill_up(self):
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending,
            contextlib.suppress(BlockingIOError),
        ):
            while True:
                sending.sendto(b"x", self.address)

    def _listen(self):
        while True:
            try:
                data = self.socket.recv(4096)
            except OSError:
                return
            if not data:  # this test has ended it
                return
            with self.told:
                self.messages.append((time.monotonic(), data.decode()))
                self.told.notify_all()

    def sent(self, text) -> int:
        """How many messages have had that line."""
        return sum(text in message.split("\n") for _when, message in list(self.messages))

    def ticks(self, since=0.0, until=float("inf")) -> int:
        """How many looks it has finished in that time: it tells the watchdog after each."""
        return sum(
            since < when <= until and message.startswith("WATCHDOG=1")
            for when, message in list(self.messages)
        )

    def mark(self) -> int:
        """How many messages it has sent so far, also of those that have not been read yet."""
        text = f"MARK {len(self.messages)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.sendto(text.encode(), self.address)
        wait_until(lambda: self.sent(text))
        return next(
            place for place, (_when, message) in enumerate(self.messages) if message == text
        )

    def ticks_after(self, place) -> int:
        """How many looks it has finished since :meth:`mark` returned that."""
        return sum(message.startswith("WATCHDOG=1") for _when, message in self.messages[place:])

    def after_ticks(self, number) -> None:
        """Returns when it has looked that many times more."""
        wanted = self.ticks() + number
        wait_until(lambda: self.ticks() >= wanted or self.popen.poll() is not None, 60)
        assert self.popen.poll() is None, "it has ended: " + self.text()

    def status(self):
        """Its status file; None before there is one."""
        try:
            return json.loads((self.node.run_directory / "daemon.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def text(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    def signal(self, number) -> None:
        self.process.send_signal(number)

    def polls(self) -> float | None:
        """Seconds of the poll(2) that it sleeps in; None where it is in none."""
        with open(f"/proc/{self.process.pid}/syscall", encoding="ascii") as file:
            number, *arguments = file.read().split()
        return int(arguments[2], 16) / 1000 if number == str(POLL) else None

    def is_at_rest(self) -> bool:
        """Whether it waits for its next look, and nothing else."""
        return self.polls() == self.interval

    def at_rest(self, look):
        """What look() returns while it waits for its next look, throughout: between two looks it
        sleeps but once.
        """

        def looked():
            sleeps = self.process.num_ctx_switches().voluntary
            if self.is_at_rest():
                value = look()
                if self.is_at_rest() and self.process.num_ctx_switches().voluntary == sleeps:
                    return [value]
            return None

        return wait_until(looked)[0]

    def open_files(self) -> list:
        """Of one moment, but for those of cgroups, which others make and remove."""
        directory, found = f"/proc/{self.process.pid}/fd", []
        for fd in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"{directory}/{fd}"))
        return sorted(name for name in found if "/cgroup" not in name)

    def takes(self, number) -> None:
        """Send it a signal while it waits for a parent to end, and return when it has taken note
        and waits on.
        """
        self.signal(number)
        wait_until(
            lambda: (
                self.popen.poll() is not None
                or not self._is_pending(number)
                and (self.polls() or 0) > self.interval
            )
        )
        assert self.popen.poll() is None, "it has ended: " + self.text()

    def _is_pending(self, number) -> bool:
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return any(int(fields[name], 16) >> number - 1 & 1 for name in ("SigPnd", "ShdPnd"))

    def suspend(self) -> None:
        """Stop it, until :meth:`resume`. nsenter does as its child does."""
        self.process.suspend()
        wait_until(lambda: psutil.Process(self.popen.pid).status() == psutil.STATUS_STOPPED, 60)

    def suspend_at_rest(self) -> None:
        """The same while it waits for its next look: when it goes on, it looks at what is there
        then.
        """
        while True:
            self.suspend()
            if self.is_at_rest():
                return
            self.resume()
            wait_until(self.is_at_rest)

    def resume(self) -> None:
        self.process.resume()
        self.popen.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Ask it to end; its exit status."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        return self.popen.wait(scaled(60))

    def stop(self):
        """Whatever state it is in; more than once too."""
        if self.popen.poll() is None:
            if self.process:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ends at this moment
                    self.process.kill()
            self.popen.kill()
        self.popen.wait()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
