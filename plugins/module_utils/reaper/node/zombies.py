# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find all zombies of the node with as few reads as it takes.

Three ways, the cheaper first: none, by the ledger alone; among the children of the processes in
those cgroups that hold some; one pass over the whole table. The second counts only where it found
as many as the ledger says there are, so nothing is missed by it.
"""

from __future__ import annotations

import itertools
from collections import namedtuple

from ..kernel import cgroups

LEDGER, CHILDREN, SCAN = "ledger", "children", "scan"
# looks among children that find no zombie, at some 15 us each; a tenant may have any number of
# threads and of living children
MAX_IN_VAIN = 20000
# zombies of one parent that are looked at one by one, at some 20 us each; more than a sweep can
# have collected
MAX_LISTED = 50000


class Found(namedtuple("Found", ("stats", "more", "found_by"))):
    """stats: list of :class:`.procfs.Stat`. more: ``{parent: number}`` of zombies beyond
    :data:`MAX_LISTED`, counted only. found_by: which of the three.
    """

    __slots__ = ()


def find(procfs, ledger: cgroups.Ledger) -> Found:
    """Every zombie whose parent is in sight, and those whose parent is not where the table was
    read.
    """
    count = ledger.zombies()
    if count is not None and count <= 0:
        return Found([], {}, LEDGER)
    found = _among_children(procfs, ledger, count) if count else None
    return found or _in_the_table(procfs)


def _in_the_table(procfs) -> Found:
    """Of each parent the first ones of the table."""
    stats, listed, more = [], {}, {}
    for stat in procfs.zombies():
        listed[stat.ppid] = listed.get(stat.ppid, 0) + 1
        if listed[stat.ppid] <= MAX_LISTED:
            stats.append(stat)
        else:
            more[stat.ppid] = listed[stat.ppid] - MAX_LISTED
    return Found(stats, more, SCAN)


def _among_children(procfs, ledger, count) -> Found | None:
    """None where that does not account for all of them, or takes too many looks."""
    stats, more, unseen, looks = [], {}, count, itertools.count(1)

    def in_vain():
        if next(looks) > MAX_IN_VAIN:
            raise TimeoutError("there are too many threads and living children to look at")

    try:
        for directory, number in ledger.holding() or ():
            here, longest = 0, None
            for pid in cgroups.processes(directory):
                children, may_be_more = procfs.zombie_children(pid, MAX_LISTED, in_vain)
                stats += children
                here += len(children)
                if may_be_more and longest is None:
                    longest = pid
            if longest is not None and number > here:
                more[longest] = number - here
                here = number
            unseen -= here
    except OSError:  # no CONFIG_PROC_CHILDREN, or TimeoutError
        return None
    return Found(stats, more, CHILDREN) if unseen <= 0 else None
