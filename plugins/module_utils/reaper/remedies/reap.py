# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a living parent collect its zombies itself: it is stopped for milliseconds, runs waitid(2)
for each, and goes on.

Nothing ends. What the parent can notice: waiting for that child later gives ECHILD, and a few
system calls return EINTR. How it is stopped and put back is in :mod:`..ptrace`. Here: whom this may
be done to, for which zombies, how long at a time.

- waitid(P_PID, PID, NULL, WEXITED|WNOHANG|__WALL, NULL), with the PID as the parent's own PID
  namespace counts, for the zombies that are due and never for "any child": a status that the parent
  is about to collect is not taken from it. (wait4(2) would return the PID, waitid 0: the mildest
  result for the parent's own call, should the sweep be killed right then.)
- Each of them is held by a pidfd, and with the parent stopped that pidfd tells that it is still
  there. So its PID cannot have passed on to a child that died a moment ago, however full the table
  is.
- Any thread may wait for the children of the whole process (waitid(2), but for __WNOTHREAD). Its
  first thread does, or another one where that has exited or cannot run now.
- A parent is stopped for at most :data:`MAX_STOP` at a time, of which :data:`COLLECT_FOR` are used,
  and runs at least as long before it is stopped again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import deque
from itertools import islice

from ..kernel.pidfd import is_there, open_pidfd, slices
from ..kernel.procfs import SECCOMP_STRICT
from ..kernel.ptrace import AddressSpace, Ended, Interrupted, Refused, Tracee, architecture
from ..kernel.tracing import node_refusal
from ..node.observe import parent_now
from . import Outcome

MAX_STOP = 0.020  # seconds for which a parent is stopped at a time
# of which a further call is begun in these; the rest is reserve for a node that is busy
COLLECT_FOR = 0.4 * MAX_STOP
MAX_BATCH = 256  # zombies for one stop; each takes a descriptor
MAX_SECONDS_PER_PARENT = 15.0  # seconds for one parent
MAX_SECONDS = (
    60.0  # seconds for all parents together; what is left by then waits for the next sweep
)
MAX_TRIES = 20  # that came to nothing until a parent is given up
MAX_TRIES_IF_LASTING = 4  # for refusals that are hardly ever a matter of the moment
MAX_THREAD_SEARCH = 0.05  # seconds in which further threads are looked at for one that can run
# for that moment any process looks like one of these
IN_EXECVE = ("not_permitted", "no_instruction", "traced")
P_PID = 1  # include/uapi/linux/wait.h
WEXITED_WNOHANG_WALL = 0x40000005


def reap(procfs, offenders, stop_requested=()) -> list:
    """Have every offender collect its zombies, in turns, until done or out of time. Returns one
    :class:`.Outcome` for each.

    stop_requested: a list; once something is in it the batch at work is finished and no other
    begun.
    """
    refusal = node_refusal(procfs)
    if refusal:
        detail = f"{refusal.word}: {refusal}"
        return [
            Outcome(each.pid, each.start_ticks, "reap", "refused", 0, detail, 0.0, refusal.word)
            for each in offenders
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
    """One parent: what is still to be collected, and what came of it so far. result: None until it
    is known.
    """

    def __init__(self, procfs, offender) -> None:
        self.procfs = procfs
        self.offender = offender
        self.space = AddressSpace()
        self.todo = deque(offender.zombies)
        self.collected = 0
        self.refused_by_kernel = 0
        self.at_a_time = 64
        self.tries = self.stops = 0
        self.not_before = 0.0
        self.longest_stop = 0.0
        self.seconds = 0.0
        self.result = self.refusal = self.late = None
        self.detail = ""

    def batch(self) -> None:
        """Stop the parent once and collect as many as the time allows."""
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
                    with _undisturbed():
                        self._stop_and_collect(tid, zombies)
        except Refused as refused:
            self._refuse(refused)
        except Ended:
            if self._has_ended():
                self._finish("gone", "")
            else:
                self._finish("unfinished", "it has called execve(2) meanwhile")
        except Interrupted:
            self._another_try(
                MAX_TRIES, "unfinished", "it was stopped, frozen or out of CPU time again and again"
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
                "unfinished", "it did not stop again in time; it is let go as soon as it does"
            )
        if self.result is None and not self.todo:
            left = self.refused_by_kernel
            self._finish(
                (
                    "gone"
                    if not left and not self.collected
                    else (
                        "cleared"
                        if not left
                        else "partly_cleared"
                        if self.collected
                        else "no_effect"
                    )
                ),
                (
                    f"waitid(2) does not give {left} of them"
                    if left
                    else "stopped for %.1f ms%s"
                    % (
                        1000 * self.longest_stop,
                        f" at most, {self.stops} times" if self.stops > 1 else "",
                    )
                ),
            )
        elif self.result is None and self.seconds > MAX_SECONDS_PER_PARENT:
            self._finish("unfinished", f"more of them than fit into {MAX_SECONDS_PER_PARENT:g} s")

    def outcome(self) -> Outcome:
        """What came of it. Where it was not finished, that is said too."""
        if self.result is None:
            self._finish("unfinished", "the sweep was asked to end or out of time")
        if self.collected and self.result in ("gone", "refused"):
            self.result = "partly_cleared" if self.result == "gone" else "unfinished"
        offender = self.offender
        return Outcome(
            offender.pid,
            offender.start_ticks,
            "reap",
            self.result,
            self.collected,
            self.detail,
            self.seconds,
            self.refusal,
            round(1000 * self.longest_stop, 3) if self.longest_stop else None,
        )

    def _thread_that_can_run(self) -> int:
        """TID of one of the parent's threads, the first one if that is fit. Raises
        :class:`.Refused` where none is, without touching them.
        """
        pid = self.offender.pid
        stat = self.procfs.stat(pid)
        if stat is None or stat.start_ticks != self.offender.start_ticks:
            raise Ended
        reason, until = None, time.monotonic() + MAX_THREAD_SEARCH
        for tid in self.procfs.thread_ids(pid):
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

    def _is_fit(self, tid) -> bool:
        """Whether a thread has not exited. Raises :class:`.Refused` where ``/proc`` tells that it
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
            raise Refused("seccomp_strict", "seccomp allows it hardly any system call (Seccomp: 1)")
        return True

    def _hold(self, held) -> list:
        """The next zombies that are still there, as (pidfd, PID in the parent's PID namespace);
        held: closes the pidfds.
        """
        level = len(self.offender.status.ns_pid) - 1
        zombies = []
        for zombie in next(slices(list(islice(self.todo, self.at_a_time))), ()):
            self.todo.popleft()
            pidfd = open_pidfd(self.procfs, zombie)
            if pidfd is not None:
                held.callback(os.close, pidfd)
                ns_pid = self.procfs.ns_pid_of(pidfd)
                # else its PID is used again, by somebody else
                if len(ns_pid) > level and parent_now(self.procfs, zombie) == self.offender.pid:
                    zombies.append((zombie, pidfd, ns_pid[level]))
        return zombies

    def _stop_and_collect(self, tid, zombies) -> None:
        tracee = Tracee(self.procfs, tid, architecture(), self.space)
        try:
            tracee.seize()
        except Refused:
            self.todo.extendleft(zombie for zombie, _pidfd, _number in reversed(zombies))
            raise
        self.late = tracee  # until it is known to have been released, whatever fails
        done, is_the_parent = 0, False
        try:
            # It is seized, so its PID cannot pass on any more
            is_the_parent = (
                not self._has_ended() and self.procfs.thread(self.offender.pid, tid) is not None
            )
            self._stop(tracee)
            tracee.prepare()
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
                "its registers or signal mask are not what they were, or it is still traced",
            )

    def _stop(self, tracee) -> None:
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
        raise Refused("not_stopping", "it did not stop in time; it is let go as soon as it does")

    def _has_ended(self) -> bool:
        """Whether all its threads have, or it is another process by now."""
        stat = self.procfs.stat(self.offender.pid)
        return (
            stat is None
            or stat.start_ticks != self.offender.start_ticks
            or stat.state == "Z"
            and stat.num_threads <= 1
        )

    def _refuse(self, refused) -> None:
        explanation = f"{refused.word}: {refused}"
        if refused.word in ("busy", "uninterruptible"):
            self._another_try(MAX_TRIES, "refused", explanation)
        elif refused.word in IN_EXECVE:
            self._another_try(MAX_TRIES_IF_LASTING, "refused", explanation)
        else:
            self._finish("refused", explanation)
        if self.result:
            self.refusal = refused.word

    def _another_try(self, most, result, detail) -> None:
        """At a later moment, or that result when there were that many of them without any
        progress.
        """
        self.tries += 1
        self.not_before = max(self.not_before, time.monotonic() + 0.001 * self.tries)
        if self.tries >= most:
            self._finish(result, detail)

    def _finish(self, result, detail) -> None:
        self.result, self.detail = result, detail


@contextlib.contextmanager
def _first_in_line():
    """This process gets the CPU before others meanwhile (nice(2)): as long as it waits for that, a
    parent may stand stopped.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):  # it may lack CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def _undisturbed():
    """No signal ends this process meanwhile, but SIGKILL; those that come wait. SIGCHLD has to come
    at all: see Tracee.
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
    """A handler of SIGCHLD that releases tracees that had not stopped in time, the moment they do.
    tracees: those of all sweeps of this process.

    Their registers are the ones that they go on with; the kernel releases them too when this
    process ends.
    """

    def __init__(self) -> None:
        self.tracees, self.is_at_work, self.again = [], False, False

    def __call__(self, _number=None, _frame=None) -> None:
        """Releasing stops a tracee once more, which raises SIGCHLD: one that is being released is
        not to be released by a second call inside of the first.
        """
        self.again = True
        # In this order no signal is lost, between whichever two of these steps it comes
        while self.again and not self.is_at_work:
            self.again = False
            self.is_at_work = True
            try:
                self.tracees = [each for each in self.tracees if not each.release_if_stopped()]
            finally:
                self.is_at_work = False


def _let_go_of(tracees) -> None:
    """Release those that have not stopped in time, now or later, and those of earlier sweeps whose
    SIGCHLD was taken by another wait.
    """
    import signal

    handler = signal.getsignal(signal.SIGCHLD)
    if not isinstance(handler, _LetGo):
        if not tracees:
            return
        handler = _LetGo()
        signal.signal(signal.SIGCHLD, handler)
    handler.tracees += tracees
    handler()
