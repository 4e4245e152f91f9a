# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGCHLD to a parent: the kernel's own reminder that a child has exited, once more.

It cures handlers that wait once for each signal: several children that exit together raise one SIGCHLD (signal(7):
standard signals do not queue), so such a handler is left with zombies for ever. To a parent without a handler SIGCHLD
means nothing: its default is to be ignored.
"""

from __future__ import annotations

import os
import time

from .. import observe
from . import Outcome, open_pidfd, send, slices

PAUSES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # seconds to wait for an effect, until a parent is given up
LONGEST = 5.0  # seconds for all parents together; what is left by then waits for the next sweep


def nudge(procfs, offenders) -> list:
    """Send SIGCHLD to every offender, again and again while the number of its zombies falls; all parents at once.

    Returns one :class:`.Outcome` for each.
    """
    began = time.monotonic()
    outcomes = []
    for some in slices(offenders):
        outcomes += _nudge_slice(procfs, some, began)
    return outcomes


def _nudge_slice(procfs, offenders, began) -> list:
    outcomes, at_work = {}, []
    for offender in offenders:
        try:
            pidfd = open_pidfd(procfs, offender)
        except OSError as error:
            outcomes[offender.pid] = _outcome(offender, "failed", 0, "no descriptor for it: %s" % error.strerror, began)
            continue
        if pidfd is None:
            outcomes[offender.pid] = _outcome(offender, "gone", 0, "", began)
        else:
            at_work.append(_Nudged(offender, pidfd))
    try:
        active = at_work
        while active and time.monotonic() - began < LONGEST:
            for parent in active:
                parent.signal()
            time.sleep(min(PAUSES[parent.in_vain] for parent in active))
            for parent in active:
                parent.count(procfs)
            active = [parent for parent in active if parent.left and parent.in_vain < len(PAUSES)]
    finally:
        for parent in at_work:
            os.close(parent.pidfd)
    for parent in at_work:
        cleared = len(parent.offender.zombies) - parent.left
        result = "no_effect" if not cleared else "partly_cleared" if parent.left else "cleared"
        outcomes[parent.offender.pid] = _outcome(parent.offender, result, cleared, "SIGCHLD sent %d times" % parent.sent, began)
    return [outcomes[offender.pid] for offender in offenders]


class _Nudged:
    """One parent at work: how often it was signalled, how many zombies it has left, how often in a row in vain."""

    def __init__(self, offender, pidfd) -> None:
        self.offender = offender
        self.pidfd = pidfd
        self.sent = self.in_vain = 0
        self.left = len(offender.zombies)

    def signal(self) -> None:
        if send(self.pidfd, "SIGCHLD"):  # else it has ended; counting will tell
            self.sent += 1

    def count(self, procfs) -> None:
        left = sum(1 for zombie in observe.still_zombies(procfs, self.offender))
        self.in_vain = 0 if left < self.left else self.in_vain + 1
        self.left = left


def _outcome(offender, result, cleared, detail, began) -> Outcome:
    return Outcome(offender.pid, offender.start_ticks, "nudge", result, cleared, detail, time.monotonic() - began)
