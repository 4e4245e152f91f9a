# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send SIGCHLD to a parent: the kernel's own reminder that a child has exited, once more.

That cures handlers that wait only once for each signal. Several children that exit together raise
one SIGCHLD (signal(7): standard signals do not queue), so such a handler is left with zombies for
ever. SIGCHLD means nothing to a parent without a handler: its default is to be ignored.

A handler may wait without WNOHANG, and for the very child that the signal names
(``waitpid(info->si_pid, ...)``). So each signal names a zombie that can be collected, with its true
status, and none is sent unless there is one:

- A plain signal will not do. From another PID namespace it arrives with ``si_pid`` 0
  (send_signal_locked() of kernel/signal.c), and ``waitpid(0)`` waits for any child of the process
  group, perhaps for ever.
- A siginfo of our own would lose its ``si_pid`` on the way too, in every layout in which the kernel
  knows that field (has_si_pid_and_uid(), Linux 5.3). In the layout of a timer the same bytes hold
  the timer's number, which is kept (siginfo_layout(); include/uapi/asm-generic/siginfo.h). So
  ``si_code`` is SI_TIMER: a handler that checks that first does nothing.
- No signal is sent while SIGCHLD is pending: either the handler is about to run anyway, or SIGCHLD
  is blocked.
- The next signal is sent only after a zombie has gone. So at most one signal has no effect, and
  there are never more signals than zombies.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from itertools import islice

from ..kernel.pidfd import open_pidfd, open_to_signal, slices
from ..node import observe
from . import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..kernel.procfs import ProcFS
    from ..node.observe import Offender, Zombie

    Sender = Callable[[int, bytes], bool]  # takes pidfd and siginfo; False: the process has ended

# seconds between two looks: the first while signals help, up to the second when they do not
PAUSES = (0.005, 0.1)
# zombies to look at for one that a signal can name; a tenant can make each look cost 18 ms
MAX_NAMED = 50
GIVE_UP_AFTER = 0.4  # seconds without effect
MAX_SECONDS = 5.0  # for all parents together; what is left then waits for the next sweep

SIGCHLD = 17
SIGCHLD_BIT = 1 << SIGCHLD - 1
SI_TIMER = -2
PIDFD_SEND_SIGNAL = 424
# there the system call has another number, or the fields of siginfo another order
UNSUPPORTED = ("alpha", "mips")
SIGINFO_BYTES = 128


def nudge(procfs: ProcFS, offenders: Sequence[Offender]) -> list[Outcome]:
    """Send SIGCHLD to every offender for as long as the number of its zombies falls; all parents at
    once.

    Returns one outcome for each offender.
    """
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for some in slices(offenders):
        outcomes += _nudge_slice(procfs, some, began)
    return outcomes


def siginfo(pid: int, wait_status: int) -> bytes:
    """What a handler gets: SIGCHLD about this child. pid: in the parent's PID namespace.
    wait_status: as wait(2) gives it.

    ``struct siginfo``: si_signo, si_errno, si_code; then, aligned as a pointer, what handlers read
    as si_pid, si_uid (of root), si_status.
    """
    # the signal that ended it, or the argument of exit(3): do_notify_parent()
    status = wait_status & 0x7F or wait_status >> 8 & 0xFF
    return (
        struct.pack("@iii0P", SIGCHLD, 0, SI_TIMER) + struct.pack("@iii", pid, 0, status)
    ).ljust(SIGINFO_BYTES, b"\0")


def _nudge_slice(procfs: ProcFS, offenders: Sequence[Offender], began: float) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    at_work: list[_Nudged] = []
    send = _sender()
    for offender in offenders:
        try:
            pidfd = open_to_signal(procfs, offender)
        except OSError as error:
            outcomes[offender.pid] = _outcome(
                offender, "failed", 0, f"it cannot be signalled: {error.strerror}", began
            )
            continue
        if pidfd is None:
            outcomes[offender.pid] = _outcome(offender, "gone", 0, "", began)
        else:
            at_work.append(_Nudged(offender, pidfd, send))
    try:
        active, pause = at_work, PAUSES[0]
        while active and time.monotonic() - began < MAX_SECONDS:
            for parent in active:
                parent.remind(procfs)
            time.sleep(pause)
            helped = [parent.count(procfs) for parent in active]
            pause = PAUSES[0] if any(helped) else min(2 * pause, PAUSES[1])
            active = [
                parent
                for parent in active
                if parent.left and time.monotonic() - parent.helped_at < GIVE_UP_AFTER
            ]
    finally:
        for parent in at_work:
            os.close(parent.pidfd)
    for parent in at_work:
        cleared = len(parent.offender.zombies) - len(parent.left)
        if not parent.left:
            result = "cleared"
        elif parent in active:
            result = "unfinished"
        elif cleared:
            result = "partly_cleared"
        else:
            result = "no_effect"
        outcomes[parent.offender.pid] = _outcome(
            parent.offender, result, cleared, parent.detail(), began
        )
    return [outcomes[offender.pid] for offender in offenders]


def _sender() -> Sender | None:
    """A function that sends SIGCHLD with a siginfo to the process of a pidfd; None on a processor
    where that is not supported.
    """
    if os.uname().machine.startswith(UNSUPPORTED):
        return None
    import ctypes  # costs 7 ms, which a sweep with nothing to do is spared

    # signal.pidfd_send_signal() takes no siginfo
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    system_call.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    system_call.restype = ctypes.c_long
    return lambda pidfd, info: system_call(PIDFD_SEND_SIGNAL, pidfd, SIGCHLD, info, 0) == 0


class _Nudged:
    """One parent that is being reminded."""

    def __init__(self, offender: Offender, pidfd: int, send: Sender | None) -> None:
        self.offender = offender
        self.pidfd = pidfd
        self.send = send
        self.sent = 0  # signals
        self.may_send = True  # a zombie has gone since the last signal
        self.why_not: str | None = None  # why no signal was sent in the last turn
        self.helped_at = time.monotonic()  # when a zombie last went
        self.left: deque[Zombie] = deque(offender.zombies)

    def remind(self, procfs: ProcFS) -> None:
        """Send the next signal if it is due and there is no reason not to; otherwise note the
        reason.
        """
        if not self.may_send:
            return
        if self.send is None:
            self.why_not = "this processor is not supported"
            return
        self.why_not = self._reason_not_to(procfs)
        if self.why_not is None:
            info = self._about_a_zombie(procfs)
            if info is None:
                self.why_not = "none of its zombies can be named in the signal"
            elif self.send(self.pidfd, info):  # else it has ended, as counting will show
                self.sent += 1
                self.may_send = False

    def _reason_not_to(self, procfs: ProcFS) -> str | None:
        # It may be another process's status, if this one has just ended. Then the pidfd leads
        # nowhere
        status = procfs.status(self.offender.pid)
        if status and status.pending & SIGCHLD_BIT:
            return "SIGCHLD is pending already"
        # it may be read from a signalfd(2) then, which would show no PID
        return "SIGCHLD is blocked" if status and status.blocked & SIGCHLD_BIT else None

    def _about_a_zombie(self, procfs: ProcFS) -> bytes | None:
        """The siginfo that names the first zombie left that a wait can collect now; None where
        there is none, or none that can be seen.

        A zombie with living threads or with a tracer is passed over: a wait for it would block
        (wait_consider_task() of kernel/exit.c). Neither can come later, as nobody attaches to a
        zombie, so what the snapshot showed still holds.
        """
        level = len(self.offender.status.ns_pid) - 1
        for zombie in islice(self.left, MAX_NAMED):
            if zombie.num_threads > 1 or self._is_traced(procfs, zombie):
                continue
            pidfd = open_pidfd(procfs, zombie)
            if pidfd is None:
                continue
            try:
                ns_pid, wait_status = procfs.ns_pid_of(pidfd), procfs.wait_status(zombie.pid)
            finally:
                os.close(pidfd)
            # Checked last: then all of this was read of that very zombie, and it is still this
            # parent's
            if (
                len(ns_pid) > level
                and wait_status is not None
                and observe.parent_now(procfs, zombie) == self.offender.pid
            ):
                return siginfo(ns_pid[level], wait_status)
        return None

    @staticmethod
    def _is_traced(procfs: ProcFS, zombie: Zombie) -> bool:
        if zombie.tracer_pid is not None:
            return zombie.tracer_pid != 0
        status = procfs.status(zombie.pid)
        return status is None or status.tracer_pid != 0

    def count(self, procfs: ProcFS) -> bool:
        """Count the zombies that are left; returns whether there are fewer than before.

        wait(2) takes the oldest child first. So where a signal helps, the head of the list goes,
        and the rest need not be read.
        """
        before = len(self.left)
        while self.left and observe.parent_now(procfs, self.left[0]) is None:
            self.left.popleft()
        if len(self.left) == before:
            self.left = deque(
                zombie for zombie in self.left if observe.parent_now(procfs, zombie) is not None
            )
        if len(self.left) == before:
            return False
        self.helped_at = time.monotonic()
        self.may_send = True
        return True

    def detail(self) -> str:
        """What was done, for people."""
        times = {0: "not sent", 1: "sent once"}.get(self.sent, f"sent {self.sent} times")
        if self.left and self.why_not:
            return f"SIGCHLD {times}: {self.why_not}"
        return f"SIGCHLD {times}"


def _outcome(offender: Offender, result: str, cleared: int, detail: str, began: float) -> Outcome:
    return Outcome(
        pid=offender.pid,
        start_ticks=offender.start_ticks,
        remedy="nudge",
        result=result,
        cleared=cleared,
        detail=detail,
        seconds=time.monotonic() - began,
    )
