# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last remedy: end the parent. Its zombies go to whoever adopts them, or with the namespace if it was PID 1 there.

SIGTERM to all, one deadline for all, SIGKILL to those left. No thread and no process per parent: one poll(2) over pidfds,
which become readable when their process exits (pidfd_open(2)), after its children were given to their adopter.
"""

from __future__ import annotations

import os
import select
import time

from .. import observe
from . import Outcome, open_to_signal, send, slices, termination_log

AFTER_SIGKILL = 3.0  # seconds a process may take to die of SIGKILL; longer means uninterruptible sleep
SIGTERM_BIT = 1 << 14  # of signal 15 in the masks of /proc/PID/status


def terminate(procfs, offenders, grace: float) -> list:
    """End every offender that still holds one of its zombies; all at once, in slices where descriptors are short.

    grace: seconds between SIGTERM and SIGKILL. Returns one :class:`.Outcome` for each, in the order given.
    """
    outcomes = []
    for some in slices(offenders):
        outcomes += _terminate_slice(procfs, some, grace)
    return outcomes


def ignores_sigterm(offender) -> bool:
    """Whether SIGTERM is known to have no effect.

    PID 1 of a namespace gets only signals that it has a handler for, from its parents' namespaces too (pid_namespaces(7));
    others may ignore or block it.
    """
    if offender.status.ns_pid[-1] == 1:
        return not offender.status.caught & SIGTERM_BIT
    return bool((offender.status.ignored | offender.status.blocked) & SIGTERM_BIT)


def _terminate_slice(procfs, offenders, grace) -> list:
    began = time.monotonic()
    results, told = {}, set()
    alive = {}
    try:
        for offender in offenders:
            try:
                pidfd = open_to_signal(procfs, offender)
            except OSError as error:
                results[offender.pid] = ("failed", "it cannot be signalled: %s" % error.strerror, began)
                continue
            if pidfd is None:
                results[offender.pid] = ("gone", "", began)
            else:
                alive[pidfd] = offender
        for pidfd, offender in list(alive.items()):
            if next(observe.still_zombies(procfs, offender), None) is None:
                results[offender.pid] = ("gone", "it has collected its zombies itself", time.monotonic())
                os.close(pidfd)
                del alive[pidfd]
            else:
                if termination_log.tell(procfs, offender, pidfd):
                    told.add(offender.pid)
                send(pidfd, "SIGTERM")  # where it has ended, poll tells
        _wait(alive, began + grace, results, "ended by SIGTERM")
        for pidfd in alive:
            send(pidfd, "SIGKILL")
        _wait(alive, time.monotonic() + AFTER_SIGKILL, results, "ended by SIGKILL")
        for offender in alive.values():
            results[offender.pid] = ("survived", "SIGKILL is pending: it is in uninterruptible sleep", time.monotonic())
    finally:
        for pidfd in alive:
            os.close(pidfd)
    return [_outcome(offender, began, offender.pid in told, *results[offender.pid]) for offender in offenders]


def _wait(alive, deadline, results, how) -> None:
    """Until all have exited or the deadline; takes those that exited out of ``alive`` and closes their pidfds."""
    poll = select.poll()
    for pidfd in alive:
        poll.register(pidfd, select.POLLIN)
    while alive:
        left = deadline - time.monotonic()
        for pidfd, _event in poll.poll(max(0.0, left) * 1000):
            poll.unregister(pidfd)
            os.close(pidfd)
            results[alive.pop(pidfd).pid] = ("parent_ended", how, time.monotonic())
        if left <= 0:
            return


def _outcome(offender, began, told, result, detail, ended) -> Outcome:
    if result in ("parent_ended", "survived") and ignores_sigterm(offender):
        detail += "; SIGTERM has no effect on it%s" % (
            " (PID 1 without a handler)" if offender.status.ns_pid[-1] == 1 else "")
    if told:
        detail += "; its termination log says why"
    return Outcome(offender.pid, offender.start_ticks, "terminate", result, 0, detail, ended - began)
