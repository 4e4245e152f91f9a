# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon: a process that counts zombies every few seconds, by the kernel's stacks or by the
ledger, and sweeps when there are some.

It already runs when the process table is full, and needs no further process, thread or program for
what it does then. Its memory is locked (mlockall(2)), and the modules that a sweep needs are loaded
before it reports that it is ready (sd_notify(3)).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import signal
import time

from . import report
from .errors import Busy, CannotSweep, OptionError
from .files import locked, write
from .kernel import cgroups, stacks
from .kernel.procfs import ProcFS
from .options import OFF
from .paths import DAEMON_LOCK, DAEMON_STATUS
from .preflight import check_node, needs_root
from .record import Record
from .state import Memory
from .sweep import Reused, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ctypes import CDLL

    from .options import Options
    from .paths import Paths

    Load = Callable[[], "tuple[Options, Paths]"]

MCL_CURRENT, MCL_FUTURE = 1, 2  # include/uapi/asm-generic/mman.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt(3)
MADV_POPULATE_WRITE = 23  # madvise(2), Linux 5.14
# kept for sweeps: about 1 KB for each zombie, and some 300 KB for the sweep itself
RESERVE_BYTES = 8 << 20
# given back when the kernel has no memory for its own work, such as opening files
SPARE_BYTES = 1 << 20
# that a sweep lists; it counts the rest. With 1,000 parents, less than 40 MB are locked in all
MAX_ZOMBIES = 10000
SWEEP_EVERY = 60.0  # seconds between sweeps, whatever they cost: last.json is never older
# of its time, for sweeps that leave zombies which nothing can be done about
MAX_CPU_SHARE = 0.05
LOCK_TIMEOUT = 1.0  # seconds; --status takes the lock for a moment
NOTIFY_WAIT = 1.0  # seconds for systemd to take a message; it may hang on a node that is full


class Status(Record):
    """What ``--status`` shows. All fields are None until the daemon has written its status."""

    pid: int | None = None
    since: float | None = None  # seconds since the epoch
    interval: float | None = None  # seconds
    sweeps: int | None = None
    cleared: int | None = None  # zombies
    last_sweep: float | None = None  # seconds since the epoch; None before the first
    # why the previous configuration is still in force; None if it is not
    configuration_error: str | None = None
    # why zombies are not counted by the kernel's stacks, which costs less; None if they are
    no_stack_count: str | None = None


def run(load: Load, paths: Paths, interval: float, log: Callable[[str], None]) -> None:
    """Look every ``interval`` seconds until SIGTERM or SIGINT comes.

    load: returns the options and the paths, with where metrics and Events go; called at the start
    and at each SIGHUP. log: takes one line.
    Raises :class:`.errors.OptionError`, :class:`.errors.CannotSweep`, and :class:`.errors.Busy` if
    another daemon runs on this node; all of them before the first look.
    """
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    options, paths = load()
    with contextlib.ExitStack() as until_done:
        until_done.enter_context(locked(paths.run, DAEMON_LOCK, wait=LOCK_TIMEOUT))
        signals = until_done.enter_context(_signals())
        notify = _notifier(until_done)
        daemon = _Daemon(options, paths, procfs, interval, log)
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
            notify(f"WATCHDOG=1\nSTATUS={daemon.summary}")
        notify("STOPPING=1")


def status(run: str) -> Status | None:
    """The status that the daemon of this node wrote last; None if no daemon runs.

    Raises :class:`.errors.CannotSweep` where only root may know.
    """
    try:
        os.stat(os.path.join(run, DAEMON_LOCK))
    except PermissionError:
        raise needs_root("see whether a daemon runs") from None
    except OSError:
        return None
    with contextlib.suppress(Busy), locked(run, DAEMON_LOCK, wait=0):
        return None
    import json

    try:
        with open(os.path.join(run, DAEMON_STATUS), encoding="utf-8") as file:
            return Status(**json.load(file))
    except (OSError, ValueError, TypeError):
        return Status()  # it has just started


class _Daemon:
    """The options, and what is kept from one look to the next."""

    def __init__(
        self,
        options: Options,
        paths: Paths,
        procfs: ProcFS,
        interval: float,
        write_line: Callable[[str], None],
    ) -> None:
        self.options = options
        self.paths = paths
        self.procfs = procfs
        self.write_line = write_line
        self.ledger = cgroups.Ledger(paths.cgroup, procfs, keep=True)
        self.stacks = stacks.Look(procfs, self.ledger)
        self.memory = Memory(paths.run, procfs)
        self.reserve: list[bytes] = []
        self.spare: mmap.mmap | None = None
        self.interval = interval
        self.since = time.time()
        self.sweeps = self.cleared = 0
        self.last_sweep: float | None = None
        self.configuration_error: str | None = None
        self.summary = f"looking every {interval:g} s"
        # (PID, reason) of the parents and the warnings of the last sweep; if they are the same
        # again, and nothing was done, nothing is logged
        self.last_findings: tuple[list[tuple[int, str]], tuple[str, ...]] = [], ()
        # on the monotonic clock: when sweeps may follow each other again, when one must come
        self.not_before = self.due_at = 0.0

    @property
    def status(self) -> Status:
        """What ``--status`` is to show now."""
        return Status(
            pid=os.getpid(),
            since=self.since,
            interval=self.interval,
            sweeps=self.sweeps,
            cleared=self.cleared,
            last_sweep=self.last_sweep,
            configuration_error=self.configuration_error,
            no_stack_count=self._no_stack_count,
        )

    @property
    def _no_stack_count(self) -> str | None:
        return report.printable(self.stacks.why_not, 300) if self.stacks.why_not else None

    def log(self, line: str) -> None:
        """Log a line. The reader may have gone or the disk be full: that must not end the
        daemon.
        """
        with contextlib.suppress(OSError):
            self.write_line(line)

    def get_ready(self) -> None:
        """Load whatever a sweep may need while there is memory, and lock it."""
        import base64  # noqa: F401 - for the same
        import ctypes
        import encodings.ascii  # noqa: F401 - to read the state files
        import gc
        import json  # noqa: F401
        import syslog  # noqa: F401

        from . import (
            reasons,  # noqa: F401 - to know whether a refusal will pass
            sha2,  # noqa: F401 - to compare a lease with a hash
        )

        if self.paths.kubernetes_events != OFF:
            from .kubernetes_events import prepare

            prepare()
        memory = Memory(self.paths.run, self.procfs)  # its own is for what it has swept
        with contextlib.suppress(CannotSweep):
            sweep(
                self.options,
                self.paths,
                check_mode=True,
                reused=Reused(memory, most_zombies=MAX_ZOMBIES),
            )
        self._check_stacks()
        libc = ctypes.CDLL(None)
        libc.mlockall(MCL_CURRENT | MCL_FUTURE)  # fails without CAP_IPC_LOCK; then it does without
        self.reserve = _reserved(libc)
        self.spare = _spare()
        gc.freeze()
        self._write_status()

    def reload(self, load: Load) -> None:
        """Take the new options, or keep the previous ones if those are invalid."""
        try:
            self.options, self.paths = load()
        except OptionError as error:
            self.configuration_error = report.printable(str(error), 1000)
            self.log(
                "the new configuration is invalid; still using the previous one:"
                f" {self.configuration_error}"
            )
        else:
            self.configuration_error = None
            self.log("the configuration was reloaded")
        self.not_before = 0.0
        self._write_status()

    def tick(self) -> None:
        """Count the zombies, and sweep if there are any; but not yet if the last sweep was costly
        and changed nothing.
        """
        now, used = time.monotonic(), time.process_time()
        if now >= self.due_at:
            self._check_stacks()
        elif now < self.not_before or self._shows_none():
            return
        done = self._sweep()
        took = time.monotonic() - now
        tried = done and any(result.outcomes for result in done.results)
        # on a busy node a sweep takes longer, but no more CPU; waiting for a remedy uses none
        costs = took if tried else time.process_time() - used
        self.not_before = (
            0.0 if done and report.changed(done) else now + took + costs / MAX_CPU_SHARE
        )
        self.due_at = now + SWEEP_EVERY

    def _shows_none(self) -> bool:
        """Whether there is no zombie. The ledger decides unless the stacks are sure."""
        with self._stacks_switched_off_is_logged():
            if self.stacks.shows_none():
                return True
        count = self.ledger.zombies()
        return count is not None and count <= 0

    def _check_stacks(self) -> None:
        """Have the ledger check what the stacks show."""
        with self._stacks_switched_off_is_logged():
            self.stacks.check()

    @contextlib.contextmanager
    def _stacks_switched_off_is_logged(self) -> Iterator[None]:
        """Log why, if the stacks were used until now. If they never were, --status shows why."""
        was_used = self.stacks.why_not is None
        yield
        if was_used and self.stacks.is_off:
            self.log(f"zombies are counted by cgroups only from now on: {self._no_stack_count}")

    def _sweep(self) -> report.Report | None:
        """Sweep; None if that fails. It is tried a second time with the spare memory given back."""
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

    def _sweep_once(self) -> report.Report:
        with contextlib.ExitStack() as until_noted:
            done = sweep(
                self.options,
                self.paths,
                until_reported=until_noted,
                reused=Reused(self.memory, self.ledger, MAX_ZOMBIES),
            )
            self._note(done)
            return done

    def _note(self, done: report.Report) -> None:
        lines = report.as_lines(done)
        findings = (
            sorted((result.verdict.offender.pid, result.verdict.reason) for result in done.results),
            done.warnings,
        )
        if report.changed(done) or findings != self.last_findings:
            for line in lines:
                self.log(line)
        self.last_findings = findings
        self.summary = lines[0]
        self.sweeps += 1
        self.cleared += report.totals(done)["cleared"]
        self.last_sweep = time.time()
        self._write_status()

    def _write_status(self) -> None:
        import json

        # if /run is full, the report of the next sweep says so
        with contextlib.suppress(OSError, CannotSweep), locked(self.paths.run):
            write(
                os.path.join(self.paths.run, DAEMON_STATUS),
                json.dumps(self.status._asdict()) + "\n",
            )


def _reserved(libc: CDLL) -> list[bytes]:
    """Take :data:`RESERVE_BYTES` from the kernel and release them to the allocators of Python and
    the C library only. Returns what has to be kept for that.

    Python returns an arena to the kernel once it holds no object (Objects/obmalloc.c), the C
    library returns the end of the heap. So one object in about 100 KB is kept, which leaves no
    arena empty, and the heap is set not to shrink.
    """
    with contextlib.suppress(AttributeError):  # not every C library has mallopt
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 8 * RESERVE_BYTES)
    large = [bytes(1 << 20), bytes(1 << 20)]  # as large as any read
    small = [bytes(400) for _number in range(RESERVE_BYTES // 448)]
    del large
    return small[::200]


def _spare() -> mmap.mmap | None:
    """Memory that goes back to the kernel when it is closed; None if there is none to be had.

    The mapping is shared, though with nobody: the kernel merges private ones with their neighbours,
    and then needs memory to split them again (munmap(2), ENOMEM).
    """
    try:
        spare = mmap.mmap(-1, SPARE_BYTES)
    except OSError:
        return None
    try:
        spare.madvise(MADV_POPULATE_WRITE)
    except OSError as error:
        # EINVAL: an older kernel; there locked memory is present anyway
        if error.errno != errno.EINVAL:
            spare.close()
            return None
    return spare


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of SIGTERM, SIGINT and SIGHUP can be read, also of those
    that came during a sweep.
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


def _wait(signals: int, seconds: float) -> bytes:
    """Wait at most that many seconds for signals; returns their numbers."""
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    return os.read(signals, 4096) if poll.poll(1000 * seconds) else b""


def _notifier(until_done: contextlib.ExitStack) -> Callable[[str], None]:
    """A function that notifies systemd (sd_notify(3)) if it started this process. The socket is
    opened now, before memory is short.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return lambda state: None
    import socket

    connection = until_done.enter_context(
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    )
    connection.settimeout(NOTIFY_WAIT)

    def notify(state: str) -> None:
        with contextlib.suppress(OSError):
            # unless it is connected, poll(2) cannot see when there is room
            connection.connect("\0" + address[1:] if address.startswith("@") else address)
            connection.send(state.encode("utf-8", "replace"))

    return notify
