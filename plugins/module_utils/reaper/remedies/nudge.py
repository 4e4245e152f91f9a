# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGCHLD to a parent: the kernel's own reminder that a child has exited, once more.

It cures handlers that wait once for each signal: several children that exit together raise one
SIGCHLD (signal(7): standard signals do not queue), so such a handler is left with zombies for ever.
To a parent without a handler SIGCHLD means nothing: its default is to be ignored.

A handler may wait without WNOHANG, and for the very child that the signal names
(``waitpid(info->si_pid, ...)``). So each signal names a zombie that can be collected, with its true
status, and none is sent unless there is one:

- A plain signal will not do. From another PID namespace it arrives with ``si_pid`` 0
  (send_signal_locked() of kernel/signal.c), and ``waitpid(0)`` waits for any child of the process
  group, perhaps for ever.
- A siginfo of our own loses its ``si_pid`` on the way too, in every layout in which the kernel
  knows that field (has_si_pid_and_uid(), Linux 5.3). In that of a timer the same bytes are the
  timer's number, which stays (siginfo_layout(); include/uapi/asm-generic/siginfo.h). So ``si_code``
  is
  SI_TIMER: a handler that looks at it first does nothing.
- Never while SIGCHLD is pending: the handler is about to run anyway, or SIGCHLD is blocked.
- The next one only when a zombie has gone after the last: at most one signal is without effect, and
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

# seconds between two looks: the shortest while reminders help, the longest when they do not
PAUSES = (0.005, 0.1)
# zombies that are looked at for one that can be named; a tenant can make each look cost 18 ms
MAX_NAMED = 50
GIVE_UP_AFTER = 0.4  # seconds without effect until a parent is given up
MAX_SECONDS = 5.0  # seconds for all parents together; what is left by then waits for the next sweep

SIGCHLD = 17
SIGCHLD_BIT = 1 << SIGCHLD - 1
SI_TIMER = -2
PIDFD_SEND_SIGNAL = 424
OTHERWISE = ("alpha", "mips")  # there that system call has another number, or siginfo another order
SIGINFO_BYTES = 128


def nudge(procfs, offenders) -> list:
    """Send SIGCHLD to every offender, again and again while the number of its zombies falls; all
    parents at once.

    Returns one :class:`.Outcome` for each.
    """
    began = time.monotonic()
    outcomes = []
    for some in slices(offenders):
        outcomes += _nudge_slice(procfs, some, began)
    return outcomes


def siginfo(pid: int, wait_status: int) -> bytes:
    """What a handler gets: SIGCHLD about that child. pid: as the parent's PID namespace counts.
    wait_status: as wait(2) gives it.

    ``struct siginfo``: si_signo, si_errno, si_code; then, aligned as a pointer, what handlers know
    as si_pid, si_uid (of root), si_status.
    """
    # the signal that ended it, or what it gave to exit(3): do_notify_parent()
    status = wait_status & 0x7F or wait_status >> 8 & 0xFF
    return (
        struct.pack("@iii0P", SIGCHLD, 0, SI_TIMER) + struct.pack("@iii", pid, 0, status)
    ).ljust(SIGINFO_BYTES, b"\0")


def _nudge_slice(procfs, offenders, began) -> list:
    outcomes, at_work = {}, []
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
        result = (
            "cleared"
            if not parent.left
            else "unfinished"
            if parent in active
            else "partly_cleared"
            if cleared
            else "no_effect"
        )
        outcomes[parent.offender.pid] = _outcome(
            parent.offender, result, cleared, parent.told(), began
        )
    return [outcomes[offender.pid] for offender in offenders]


def _sender():
    """A function that sends SIGCHLD with a siginfo to the process of a pidfd, unless that has
    ended; None on a machine where that is not done.
    """
    if os.uname().machine.startswith(OTHERWISE):
        return None
    import ctypes  # 7 ms of start-up that a sweep with nothing to do does without

    system_call = ctypes.CDLL(
        None, use_errno=True
    ).syscall  # signal.pidfd_send_signal() takes no siginfo
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
    """One parent at work: how often it was signalled, which zombies it has left, when that last
    helped.
    """

    def __init__(self, offender, pidfd, send) -> None:
        self.offender = offender
        self.pidfd = pidfd
        self.send = send
        self.sent = 0
        self.may_send = True
        self.why_not = None
        self.helped_at = time.monotonic()
        self.left = deque(offender.zombies)

    def remind(self, procfs) -> None:
        """Send the next signal, if it is due and nothing speaks against it; else say why not."""
        if not self.may_send:
            return
        self.why_not = self._reason_not_to(procfs)
        if self.why_not is None:
            info = self._about_a_zombie(procfs)
            if info is None:
                self.why_not = "none of its zombies can be named to it"
            elif self.send(self.pidfd, info):  # else it has ended; counting will tell
                self.sent += 1
                self.may_send = False

    def _reason_not_to(self, procfs) -> str | None:
        if self.send is None:
            return "it is not done on this processor"
        # of another process if this one has just ended: then the pidfd leads nowhere
        status = procfs.status(self.offender.pid)
        if status and status.pending & SIGCHLD_BIT:
            return "SIGCHLD is pending already"
        # signalfd(2) would tell it of no PID
        return "SIGCHLD is blocked" if status and status.blocked & SIGCHLD_BIT else None

    def _about_a_zombie(self, procfs) -> bytes | None:
        """The siginfo that names the first of those left that a wait can collect now; None where
        there is none, or it cannot be seen.

        Not with threads that live on, nor with a tracer: a wait for it would block
        (wait_consider_task() of kernel/exit.c). Both can only become better, as nobody attaches to
        a zombie; so what was seen in the snapshot holds.
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
            # Last, so that all was read of that very zombie, and it is still this parent's
            if (
                len(ns_pid) > level
                and wait_status is not None
                and observe.parent_now(procfs, zombie) == self.offender.pid
            ):
                return siginfo(ns_pid[level], wait_status)
        return None

    @staticmethod
    def _is_traced(procfs, zombie) -> bool:
        if zombie.tracer_pid is not None:
            return zombie.tracer_pid != 0
        status = procfs.status(zombie.pid)
        return status is None or status.tracer_pid != 0

    def count(self, procfs) -> bool:
        """Count what is left; whether it has become less.

        wait(2) takes the oldest child first, so where it helps the head of the list goes and the
        rest need not be read.
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

    def told(self) -> str:
        """What was done, for people."""
        times = {0: "not sent", 1: "sent once"}.get(self.sent, f"sent {self.sent} times")
        return "SIGCHLD %s%s" % (times, f": {self.why_not}" if self.left and self.why_not else "")


def _outcome(offender, result, cleared, detail, began) -> Outcome:
    return Outcome(
        offender.pid,
        offender.start_ticks,
        "nudge",
        result,
        cleared,
        detail,
        time.monotonic() - began,
    )
