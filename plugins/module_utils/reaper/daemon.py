# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as a resident process: it looks at the ledger every few seconds, and sweeps when there
are zombies.

It is there already when the process table is full, and needs no process, thread or new program for
anything it does then. Its memory is locked (mlockall(2)), and the modules that a sweep needs are
loaded before it says that it is ready (sd_notify(3)).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import signal
import time
from collections import namedtuple

from . import report
from .errors import Busy, CannotSweep, OptionError
from .files import locked, write
from .kernel import cgroups
from .kernel.procfs import ProcFS
from .paths import DAEMON_LOCK, DAEMON_STATUS
from .preflight import check_node
from .state import Memory
from .sweep import Resident, sweep

MCL_CURRENT, MCL_FUTURE = 1, 2  # include/uapi/asm-generic/mman.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)
MADV_POPULATE_WRITE = 23  # madvise(2), Linux 5.14
# bytes kept for what a sweep needs: about 1 KB for each zombie, some 300 KB for itself
RESERVE_BYTES = 8 << 20
# bytes given back where the kernel refuses memory for what it does itself, such as opening files
SPARE_BYTES = 1 << 20
SWEEP_EVERY = (
    60.0  # seconds between two sweeps, whatever they cost, so that last.json is never older
)
MAX_CPU_SHARE = (
    0.05  # of its time that it spends on sweeps where zombies stay that nothing can be done about
)
LOCK_TIMEOUT = 1.0  # seconds for which it may be held by one that only asks who watches
NOTIFY_WAIT = 1.0  # seconds for systemd to take a message; it may be stuck on a node that is full


class Status(
    namedtuple(
        "Status",
        ("pid", "since", "interval", "sweeps", "cleared", "last_sweep", "configuration_error"),
    )
):
    """What ``--status`` tells. since, last_sweep: seconds since the epoch; last_sweep None before
    the first.

    sweeps: int. cleared: int, zombies. configuration_error: str, why the options of before are
    still in force, or None.
    """

    __slots__ = ()


def run(load, paths, interval: float, log) -> None:
    """Look every ``interval`` seconds until SIGTERM or SIGINT comes.

    load: a function that returns (:class:`.options.Options`, ``textfiles`` of
    :class:`.paths.Paths`) and raises :class:`.errors.OptionError`; called now and at each SIGHUP.
    log: a function that takes one line. Raises :class:`.errors.CannotSweep`, :class:`.errors.Busy`
    where another process watches, and :class:`.errors.OptionError`, before it has begun.
    """
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    options, textfiles = load()
    with contextlib.ExitStack() as until_done:
        until_done.enter_context(locked(paths.run, DAEMON_LOCK, wait=LOCK_TIMEOUT))
        signals = until_done.enter_context(_signals())
        notify = _notifier(until_done)
        daemon = _Daemon(options, paths._replace(textfiles=textfiles), procfs, interval, log)
        until_done.callback(daemon.ledger.close)
        daemon.get_ready()
        notify(f"READY=1\nSTATUS=looking every {interval:g} s")
        while True:
            numbers = _wait(signals, interval)
            if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                break
            if signal.SIGHUP in numbers:
                notify(f"RELOADING=1\nMONOTONIC_USEC={int(1e6 * time.monotonic())}")
                daemon.reload(load)
                notify("READY=1")
            daemon.tick()
            notify(f"WATCHDOG=1\nSTATUS={daemon.said}")
        notify("STOPPING=1")


def status(run: str) -> Status | None:
    """What the resident process of this node last told about itself; None where there is none."""
    if not os.path.exists(os.path.join(run, DAEMON_LOCK)):
        return None
    with contextlib.suppress(Busy), locked(run, DAEMON_LOCK, wait=0):
        return None
    import json

    try:
        with open(os.path.join(run, DAEMON_STATUS), encoding="utf-8") as file:
            return Status(**json.load(file))
    except (OSError, ValueError, TypeError):
        return Status(None, None, None, None, None, None, None)  # it has just begun


class _Daemon:
    """options, and what is kept from tick to tick."""

    def __init__(self, options, paths, procfs, interval, log) -> None:
        self.options = options
        self.paths = paths
        self.procfs = procfs
        self.say = log
        self.ledger = cgroups.Ledger(paths.cgroup, procfs, keep=True)
        self.memory = Memory(paths.run, procfs)
        self.told = Status(os.getpid(), time.time(), interval, 0, 0, None, None)
        self.said = f"looking every {interval:g} s"
        self.news = [], ()
        self.not_before = self.next_one = 0.0

    def log(self, line) -> None:
        """Whoever reads what it says may have gone, or the disk be full: that must not end it."""
        with contextlib.suppress(OSError):
            self.say(line)

    def get_ready(self) -> None:
        """Load what a sweep may need, while there is memory, and lock it."""
        import base64  # noqa: F401 - a lease is compared with a hash
        import ctypes
        import encodings.ascii  # noqa: F401 - what earlier sweeps noted is read with it
        import gc
        import hashlib  # noqa: F401
        import json  # noqa: F401
        import syslog  # noqa: F401

        with contextlib.suppress(CannotSweep):
            sweep(self.options, self.paths, check_mode=True)
        libc = ctypes.CDLL(None)
        libc.mlockall(MCL_CURRENT | MCL_FUTURE)  # it may lack the right to; then it does without
        self.reserve = _reserved(libc)
        self.spare = _spare()
        gc.freeze()
        self._write_status()

    def reload(self, load) -> None:
        """Take new options; keep those of before where they are wrong."""
        try:
            self.options, textfiles = load()
        except OptionError as error:
            self.told = self.told._replace(configuration_error=report.printable(str(error), 1000))
            self.log(
                "the new configuration is invalid; still using the previous one:"
                f" {self.told.configuration_error}"
            )
        else:
            self.paths = self.paths._replace(textfiles=textfiles)
            self.told = self.told._replace(configuration_error=None)
            self.log("the configuration was read again")
        self.not_before = 0.0
        self._write_status()

    def tick(self) -> None:
        """Look at the ledger; sweep where it shows something, unless that was done just now, cost
        much and helped nobody.
        """
        now, used = time.monotonic(), time.process_time()
        count = self.ledger.zombies()
        if now < self.next_one and (count is not None and count <= 0 or now < self.not_before):
            return
        done = self._sweep()
        took = time.monotonic() - now
        tried = done and any(result.outcomes for result in done.results)
        # on a busy node a look takes long, and costs no more
        costs = took if tried else time.process_time() - used
        self.not_before = (
            0.0 if done and report.changed(done) else now + took + costs / MAX_CPU_SHARE
        )
        self.next_one = now + SWEEP_EVERY

    def _sweep(self):
        """The report of a sweep, or None. One that fails is begun again with what is kept for a
        node without memory.
        """
        if self.spare is None:
            self.spare = _spare()
        try:
            return self._sweep_once()
        except Busy as error:
            self.log(f"error: {error}")
            return None
        except (CannotSweep, OSError, MemoryError, ImportError):
            if self.spare is not None:
                self.spare.close()
        try:
            return self._sweep_once()
        except CannotSweep as error:
            self.log(f"error: {error}")
        except OSError as error:
            self.log(f"error: {error.filename or 'the node'}: {error.strerror}")
        except (MemoryError, ImportError):
            self.log("error: out of memory")
        finally:
            self.spare = _spare()
        return None

    def _sweep_once(self):
        with contextlib.ExitStack() as until_noted:
            done = sweep(
                self.options,
                self.paths,
                until_reported=until_noted,
                resident=Resident(self.memory, self.ledger),
            )
            self._note(done)
            return done

    def _note(self, done) -> None:
        lines = report.as_lines(done)
        news = (
            sorted((result.verdict.offender.pid, result.verdict.reason) for result in done.results),
            done.warnings,
        )
        if report.changed(done) or news != self.news:
            for line in lines:
                self.log(line)
        self.news = news
        self.said = lines[0]
        counts = report.as_dict(done)["counts"]
        self.told = self.told._replace(
            sweeps=self.told.sweeps + 1,
            cleared=self.told.cleared + counts["cleared"],
            last_sweep=time.time(),
        )
        self._write_status()

    def _write_status(self) -> None:
        import json

        # the report says it where /run is full
        with contextlib.suppress(OSError, CannotSweep), locked(self.paths.run):
            write(
                os.path.join(self.paths.run, DAEMON_STATUS), json.dumps(self.told._asdict()) + "\n"
            )


def _reserved(libc) -> list:
    """Take :data:`RESERVE_BYTES` bytes from the kernel, and give them back no further than to the
    allocators of Python and the C library.

    These return memory to the kernel in arenas without any object (Objects/obmalloc.c of Python),
    and at the end of the heap. Of the objects made here one in 100 KB is kept, so no arena is
    without; and the heap is told not to shrink.
    """
    with contextlib.suppress(AttributeError):  # not every C library has it
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 8 * RESERVE_BYTES)
    large = [bytes(1 << 20), bytes(1 << 20)]  # as long as any read
    small = [bytes(400) for _number in range(RESERVE_BYTES // 448)]
    del large
    return small[::200]


def _spare():
    """Memory that goes back to the kernel when it is closed; None where there is none to be had.

    Shared, with nobody: what is private the kernel joins with its neighbours, and then it needs
    memory to take it out again (munmap(2), ENOMEM).
    """
    try:
        spare = mmap.mmap(-1, SPARE_BYTES)
    except OSError:
        return None
    try:
        spare.madvise(MADV_POPULATE_WRITE)
    except OSError as error:
        # a kernel that does not know this; there it is present anyway if it is locked
        if error.errno != errno.EINVAL:
            spare.close()
            return None
    return spare


@contextlib.contextmanager
def _signals():
    """A descriptor from which the numbers of SIGTERM, SIGINT and SIGHUP can be read, those too that
    came during a sweep.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _wait(signals, seconds) -> bytes:
    """The signals that came, at the latest after so many seconds."""
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    return os.read(signals, 4096) if poll.poll(1000 * seconds) else b""


def _notifier(until_done):
    """A function that tells systemd (sd_notify(3)), where that started this process. Its socket is
    there before memory is short.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return lambda state: None
    import socket

    connection = until_done.enter_context(
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    )
    connection.settimeout(NOTIFY_WAIT)

    def notify(state) -> None:
        with contextlib.suppress(OSError):
            # else poll(2) cannot tell when there is room
            connection.connect("\0" + address[1:] if address.startswith("@") else address)
            connection.send(state.encode("utf-8", "replace"))

    return notify
