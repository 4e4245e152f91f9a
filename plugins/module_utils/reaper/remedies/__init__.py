# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to an offender, gentlest first. Each remedy takes offenders and returns outcomes.

A process is named by a pidfd (pidfd_open(2), Linux 5.3) that was opened while PID and start time still matched: a
signal reaches that very process or nobody, however fast PIDs are used again.
"""

from __future__ import annotations

import os
from collections import namedtuple


class Outcome(namedtuple("Outcome", ("pid", "start_ticks", "remedy", "result", "cleared", "detail", "seconds"))):
    """What one remedy did to one offender.

    result: ``"cleared"`` (none of its zombies is left), ``"partly_cleared"``, ``"no_effect"``, ``"parent_ended"`` (terminate:
    the parent is gone; where its zombies went is for the sweep to find out), ``"survived"`` (not even SIGKILL ended it
    in time), ``"gone"`` (it had ended, or collected its zombies, before anything was done), ``"failed"`` (see detail).
    cleared: int, zombies that the remedy itself saw go; after ``parent_ended`` the sweep counts, when adopters had time to wait.
    detail: str, one sentence or empty. seconds: float.
    """

    __slots__ = ()


def open_pidfd(procfs, offender) -> int | None:
    """A pidfd of the offender, or None when that process has ended.

    The start time is compared after the pidfd was opened. The process seen in the snapshot was alive before and,
    if it still has this PID now, was so in between: the descriptor is its own. ``OSError`` when descriptors run out.
    """
    try:
        pidfd = os.pidfd_open(offender.pid)
    except ProcessLookupError:
        return None
    stat = procfs.stat(offender.pid)
    if stat is None or stat.start_ticks != offender.start_ticks:
        os.close(pidfd)
        return None
    return pidfd
