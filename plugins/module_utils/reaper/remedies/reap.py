# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a living parent collect its zombies itself: it is stopped for a few milliseconds, calls
waitid(2) for each of them, and goes on.

Nothing is ended. What the parent can notice: a later wait for such a child fails with ECHILD, and a
few system calls return EINTR. :mod:`..kernel.ptrace` stops the parent and puts it back. This file
decides which parents and which zombies this is done for, and for how long at a time.

- The call is waitid(P_PID, PID, NULL, WEXITED|WNOHANG|__WALL, NULL), with the PID in the parent's
  own PID namespace. It asks for the zombies that are due and never for "any child": a status that
  the parent is about to collect is not taken from it. (wait4(2) would return the PID, waitid
  returns 0. Should the sweep be killed during the call, the parent takes our result for that of its
  own call, and 0 does the least harm.)
- Each zombie is held by a pidfd, which shows, once the parent has stopped, that the zombie is still
  there. So its PID cannot have passed to a child that died a moment ago, however full the process
  table is.
- Any thread may wait for the children of the whole process (waitid(2), unless it uses
  __WNOTHREAD). The first thread does, or another one if that has exited or cannot run now.
- A parent is stopped for at most :data:`MAX_STOP` at a time, of which :data:`COLLECT_FOR` is used.
  It then runs for at least as long before it is stopped again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import deque
from itertools import islice

from ..kernel.affinity import beside
from ..kernel.pidfd import is_there, open_pidfd, slices
from ..kernel.procfs import SECCOMP_STRICT
from ..kernel.ptrace import AddressSpace, Ended, Interrupted, Refused, Tracee, architecture
from ..kernel.tracing import node_refusal
from ..node.observe import parent_now
from . import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..kernel.procfs import ProcFS
    from ..node.observe import Offender, Zombie

    Held = tuple[Zombie, int, int]  # with its pidfd, and its PID in the parent's PID namespace

MAX_STOP = 0.020  # seconds for which a parent is stopped at a time
# of that, seconds in which a further call is begun; the rest is a reserve for a busy node
COLLECT_FOR = 0.4 * MAX_STOP
MAX_BATCH = 256  # zombies in one stop; each takes a descriptor
MAX_SECONDS_PER_PARENT = 15.0
MAX_SECONDS = 60.0  # for all parents together; what is left then waits for the next sweep
MAX_TRIES = 20  # in a row without progress
MAX_TRIES_IF_LASTING = 4  # the same, for refusals that rarely pass by themselves
MAX_THREAD_SEARCH = 0.05  # seconds to look for another thread that can run
# A process in the middle of execve(2) is refused with one of these
IN_EXECVE = ("not_permitted", "no_instruction", "traced")
NO_SYSTEM_CALL = "no_system_call"
P_PID = 1  # include/uapi/linux/wait.h
WEXITED_WNOHANG_WALL = 0x40000005


def reap(
    procfs: ProcFS, offenders: Sequence[Offender], stop_requested: Sequence[int] = ()
) -> list[Outcome]:
    """Have the offenders collect their zombies, in turns, until done or out of time. Returns one
    outcome for each offender.

    stop_requested: a list that signal handlers may fill. Once it is not empty, the batch in hand is
    finished and no other is begun.
    """
    refusal = node_refusal(procfs)
    if refusal:
        return [
            Outcome(
                pid=offender.pid,
                start_ticks=offender.start_ticks,
                remedy="reap",
                result="refused",
                cleared=0,
                detail=f"{refusal.word}: {refusal}",
                seconds=0.0,
                refusal=refusal.word,
            )
            for offender in offenders
        ]
    deadline = time.monotonic() + MAX_SECONDS
    jobs = [_Job(procfs, offender) for offender in offenders]
    waiting = deque(jobs)
    try:
        with _first_in_line():
            while waiting and time.monotonic() < deadline and not stop_requested:
                job = waiting.popleft()
                job.batch()
                if job.result is None:
                    waiting.append(job)
    finally:
        _let_go_of([job.late for job in jobs if job.late])
    return [job.outcome() for job in jobs]


class _Job:
    """One parent: what is still to be collected, and how it went so far."""

    def __init__(self, procfs: ProcFS, offender: Offender) -> None:
        self.procfs = procfs
        self.offender = offender
        self.space = AddressSpace()
        self.todo: deque[Zombie] = deque(offender.zombies)
        self.collected = 0
        self.refused_by_kernel = 0  # zombies that waitid(2) did not collect
        self.calculating: set[int] = set()  # TIDs of threads that were seen to make no system call
        self.tries_with_calculation = 0
        self.at_a_time = 64  # zombies in the next batch
        self.tries = 0  # without progress
        self.stops = 0
        self.not_before = 0.0  # on CLOCK_MONOTONIC; until then the parent is left to run
        self.longest_stop = 0.0  # seconds
        self.seconds = 0.0
        self.result: str | None = None  # as in Outcome; None while there is more to do
        self.refusal: str | None = None
        self.late: Tracee | None = None  # still to be released
        self.detail = ""

    def batch(self) -> None:
        """Stop the parent once, and have it collect as many zombies as there is time for."""
        began = time.monotonic()
        try:
            if self.tries:
                time.sleep(max(0.0, self.not_before - time.monotonic()))
            tid = self._thread_that_can_run()
            self.space.look(self.procfs, tid, architecture())
            with contextlib.ExitStack() as held:
                zombies = self._hold(held)
                if zombies:
                    time.sleep(max(0.0, self.not_before - time.monotonic()))
                    held.enter_context(beside(self.procfs, tid))
                    with _undisturbed():
                        self._stop_and_collect(tid, zombies)
        except Refused as refused:
            self._refuse(refused)
        except Ended:
            if self._has_ended():
                self._finish("gone", "")
            else:
                self._finish("unfinished", "it called execve(2) meanwhile")
        except Interrupted:
            self._another_try(
                MAX_TRIES, "unfinished", "it was repeatedly stopped, frozen or out of CPU time"
            )
        except OSError as error:
            own_fault = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
            self._finish(
                "unfinished" if own_fault else "failed",
                f"the sweep cannot go on: {error.strerror}",
            )
        self.seconds += time.monotonic() - began
        if self.late and self.result is None:
            self._finish(
                "unfinished", "it did not stop again in time; it is released as soon as it does"
            )
        if self.result is None and not self.todo:
            self._finish_all_tried()
        elif self.result is None and self.seconds > MAX_SECONDS_PER_PARENT:
            self._finish("unfinished", f"too many to collect in {MAX_SECONDS_PER_PARENT:g} s")

    def outcome(self) -> Outcome:
        """How it went, also where it was not finished."""
        result, detail = self.result, self.detail
        if result is None:
            result = "unfinished"
            detail = "the sweep was asked to end, or ran out of time"
        if self.collected and result == "gone":
            result = "partly_cleared"
        elif self.collected and result == "refused":
            result = "unfinished"
        return Outcome(
            pid=self.offender.pid,
            start_ticks=self.offender.start_ticks,
            remedy="reap",
            result=result,
            cleared=self.collected,
            detail=detail,
            seconds=self.seconds,
            refusal=self.refusal,
            max_stop_ms=round(1000 * self.longest_stop, 3) if self.longest_stop else None,
        )

    def _thread_that_can_run(self) -> int:
        """TID of one of the parent's threads: the first one, if that can be used and does not only
        calculate. Raises :class:`.Refused` if none can. No thread is touched.
        """
        pid = self.offender.pid
        stat = self.procfs.stat(pid)
        if stat is None or stat.start_ticks != self.offender.start_ticks:
            raise Ended
        reason: Refused | None = None
        until = time.monotonic() + MAX_THREAD_SEARCH
        tids = self.procfs.thread_ids(pid)
        for tid in sorted(tids, key=self.calculating.__contains__):
            if reason and time.monotonic() > until:
                break
            try:
                if self._is_fit(tid):
                    return tid
            except Refused as refused:
                reason = reason or refused
        if reason is None and self._has_ended():
            raise Ended
        raise reason or Interrupted  # all are exiting, as in the middle of an execve

    def _is_fit(self, tid: int) -> bool:
        """False if the thread has exited. Raises :class:`.Refused` if ``/proc`` shows that it
        cannot be used.
        """
        stat = self.procfs.thread(self.offender.pid, tid)
        if stat is None or stat.state in "ZX":
            return False
        if stat.state == "T":
            raise Refused("stopped", "it is stopped by a signal")
        if stat.state == "D":
            raise Refused("uninterruptible", "it is in uninterruptible sleep")
        status = self.procfs.status(tid)
        if status is None:
            return False
        if status.tracer_pid:
            raise Refused("traced", f"it is traced already, by PID {status.tracer_pid}")
        if status.seccomp == SECCOMP_STRICT:
            raise Refused(
                "seccomp_strict", "seccomp allows it hardly any system calls (Seccomp: 1)"
            )
        self._require_no_supervisor(tid)
        return True

    def _require_no_supervisor(self, tid: int) -> None:
        """A call that another process makes for it begins again when it is interrupted, and that
        process may have made it already.
        """
        if self.procfs.waits_for_a_supervisor(tid):
            raise Refused(
                "busy", "it waits for the supervisor of its seccomp filter to answer a system call"
            )

    def _hold(self, held: contextlib.ExitStack) -> list[Held]:
        """The next zombies that are still there; ``held`` closes their pidfds."""
        level = len(self.offender.status.ns_pid) - 1
        zombies = []
        for zombie in next(slices(list(islice(self.todo, self.at_a_time))), ()):
            self.todo.popleft()
            pidfd = open_pidfd(self.procfs, zombie)
            if pidfd is not None:
                held.callback(os.close, pidfd)
                ns_pid = self.procfs.ns_pid_of(pidfd)
                # otherwise somebody else has its PID now
                if len(ns_pid) > level and parent_now(self.procfs, zombie) == self.offender.pid:
                    zombies.append((zombie, pidfd, ns_pid[level]))
        return zombies

    def _stop_and_collect(self, tid: int, zombies: list[Held]) -> None:
        tracee = Tracee(self.procfs, tid, architecture(), self.space)
        try:
            self._require_no_supervisor(tid)  # a stop is not far now
            tracee.seize()
        except Refused:
            self.todo.extendleft(zombie for zombie, _pidfd, _number in reversed(zombies))
            raise
        self.late = tracee  # whatever fails, until it is known to have been released
        done, is_the_parent = 0, False
        try:
            # Now that it is seized, nobody else can get its PID
            is_the_parent = (
                not self._has_ended() and self.procfs.thread(self.offender.pid, tid) is not None
            )
            self._stop(tracee)
            try:
                tracee.prepare()
            except Refused as refused:
                if refused.word == NO_SYSTEM_CALL:
                    self.calculating.add(tid)
                raise
            while (
                is_the_parent
                and done < len(zombies)
                and (not done or time.monotonic() - tracee.stopped_since < COLLECT_FOR)
            ):
                _zombie, pidfd, number = zombies[done]
                if is_there(pidfd):
                    tracee.call(tracee.arch.waitid, P_PID, number, 0, WEXITED_WNOHANG_WALL, 0)
                    if not is_there(pidfd):
                        self.collected += 1
                    else:
                        self.refused_by_kernel += 1
                done += 1
                self.tries = 0
        finally:
            self.todo.extendleft(zombie for zombie, _pidfd, _number in reversed(zombies[done:]))
            self.at_a_time = min(MAX_BATCH, 16 + done)
            if tracee.release():
                self.late = None
            if tracee.stopped_since:
                stop = time.monotonic() - tracee.stopped_since
                self.longest_stop = max(self.longest_stop, stop)
                self.stops += 1
                self.not_before = time.monotonic() + stop
        if not is_the_parent:
            raise Ended
        status = self.procfs.status(tid)
        if not tracee.intact or not self.late and status and status.tracer_pid == os.getpid():
            self._finish(
                "failed",
                "its registers or signal mask are not what they were before, or it is still traced",
            )

    def _stop(self, tracee: Tracee) -> None:
        pid = self.offender.pid
        try:
            if tracee.stop():
                return
        except Ended:
            if tracee.tid != pid:
                status = self.procfs.status(pid)
                if status and status.tracer_pid == os.getpid() and not tracee.follow_execve(pid):
                    self.late = tracee
            raise
        raise Refused("not_stopping", "it did not stop in time; it is released as soon as it does")

    def _has_ended(self) -> bool:
        """Whether all threads of the parent have exited, or another process has its PID now."""
        stat = self.procfs.stat(self.offender.pid)
        return (
            stat is None
            or stat.start_ticks != self.offender.start_ticks
            or stat.state == "Z"
            and stat.num_threads <= 1
        )

    def _refuse(self, refused: Refused) -> None:
        word = refused.word
        if word == NO_SYSTEM_CALL:
            self.tries_with_calculation += 1
            if 2 * self.tries_with_calculation < MAX_TRIES:
                word = "busy"  # a few tries say little about a program
        explanation = f"{word}: {refused}"
        if word in ("busy", "uninterruptible", NO_SYSTEM_CALL):
            self._another_try(MAX_TRIES, "refused", explanation)
        elif word in IN_EXECVE:
            self._another_try(MAX_TRIES_IF_LASTING, "refused", explanation)
        else:
            self._finish("refused", explanation)
        if self.result:
            self.refusal = word

    def _another_try(self, most: int, result: str, detail: str) -> None:
        """Try again a little later; after ``most`` tries without progress, finish with this
        result.
        """
        self.tries += 1
        self.not_before = max(self.not_before, time.monotonic() + 0.001 * self.tries)
        if self.tries >= most:
            self._finish(result, detail)

    def _finish_all_tried(self) -> None:
        left = self.refused_by_kernel
        if left:
            self._finish(
                "partly_cleared" if self.collected else "no_effect",
                f"waitid(2) does not collect {left} of them",
            )
            return
        how_often = f" at most, {self.stops} times" if self.stops > 1 else ""
        self._finish(
            "cleared" if self.collected else "gone",
            f"stopped for {1000 * self.longest_stop:.1f} ms{how_often}",
        )

    def _finish(self, result: str, detail: str) -> None:
        self.result, self.detail = result, detail


@contextlib.contextmanager
def _first_in_line() -> Iterator[None]:
    """Give this process the CPU before others (nice(2)): while it waits for the CPU, a parent may
    be stopped.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):  # it may lack CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back all signals but SIGKILL, so that they do not end this process. SIGCHLD must not be
    ignored meanwhile: see :class:`..kernel.ptrace.Tracee`.
    """
    import signal

    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _LetGo:
    """A handler of SIGCHLD that releases tracees of all sweeps of this process that had not stopped
    in time, the moment they do.

    They go on with the registers that they have. When this process ends, the kernel releases them
    too.
    """

    def __init__(self) -> None:
        self.tracees: list[Tracee] = []
        self.is_at_work = False
        self.again = False

    def __call__(self, _number: int | None = None, _frame: object = None) -> None:
        """Release those that have stopped. That stops a tracee once more, which raises SIGCHLD: a
        second call inside the first must not release it too.
        """
        self.again = True
        # In this order no signal is lost, whichever two of these steps it comes between
        while self.again and not self.is_at_work:
            self.again = False
            self.is_at_work = True
            try:
                self.tracees = [each for each in self.tracees if not each.release_if_stopped()]
            finally:
                self.is_at_work = False


def _let_go_of(tracees: Sequence[Tracee]) -> None:
    """Release tracees that have not stopped in time, now or later. Tracees of earlier sweeps are
    released too: another wait may have taken their SIGCHLD.
    """
    import signal

    installed = signal.getsignal(signal.SIGCHLD)
    if isinstance(installed, _LetGo):
        handler = installed
    elif tracees:
        handler = _LetGo()
        signal.signal(signal.SIGCHLD, handler)
    else:
        return
    handler.tracees += tracees
    handler()
