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
from collections import deque

from .. import observe
from . import Outcome, open_to_signal, send, slices

PAUSES = 0.005, 0.1  # seconds between two reminders: the shortest while they help, the longest when they do not
PATIENCE = 0.4  # seconds without effect until a parent is given up
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
            pidfd = open_to_signal(procfs, offender)
        except OSError as error:
            outcomes[offender.pid] = _outcome(offender, "failed", 0, "it cannot be signalled: %s" % error.strerror, began)
            continue
        if pidfd is None:
            outcomes[offender.pid] = _outcome(offender, "gone", 0, "", began)
        else:
            at_work.append(_Nudged(offender, pidfd))
    try:
        active, pause = at_work, PAUSES[0]
        while active and time.monotonic() - began < LONGEST:
            for parent in active:
                parent.signal()
            time.sleep(pause)
            helped = [parent.count(procfs) for parent in active]
            pause = PAUSES[0] if any(helped) else min(2 * pause, PAUSES[1])
            active = [parent for parent in active if parent.left and time.monotonic() - parent.helped_at < PATIENCE]
    finally:
        for parent in at_work:
            os.close(parent.pidfd)
    for parent in at_work:
        cleared = len(parent.offender.zombies) - len(parent.left)
        result = "cleared" if not parent.left else "unfinished" if parent in active else "partly_cleared" if cleared else "no_effect"
        outcomes[parent.offender.pid] = _outcome(parent.offender, result, cleared, "SIGCHLD sent %d times" % parent.sent, began)
    return [outcomes[offender.pid] for offender in offenders]


class _Nudged:
    """One parent at work: how often it was signalled, which zombies it has left, when that last helped."""

    def __init__(self, offender, pidfd) -> None:
        self.offender = offender
        self.pidfd = pidfd
        self.sent = 0
        self.helped_at = time.monotonic()
        self.left = deque(offender.zombies)

    def signal(self) -> None:
        if send(self.pidfd, "SIGCHLD"):  # else it has ended; counting will tell
            self.sent += 1

    def count(self, procfs) -> bool:
        """Count what is left; whether it has become less.

        wait(2) takes the oldest child first, so where it helps the head of the list goes and the rest need not be read.
        """
        before = len(self.left)
        while self.left and observe.parent_now(procfs, self.left[0]) is None:
            self.left.popleft()
        if len(self.left) == before:
            self.left = deque(zombie for zombie in self.left if observe.parent_now(procfs, zombie) is not None)
        if len(self.left) == before:
            return False
        self.helped_at = time.monotonic()
        return True


def _outcome(offender, result, cleared, detail, began) -> Outcome:
    return Outcome(offender.pid, offender.start_ticks, "nudge", result, cleared, detail, time.monotonic() - began)
