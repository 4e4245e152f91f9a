# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find all zombies on the node with as few reads as possible.

There are three ways, the cheapest first: the ledger (:class:`..kernel.cgroups.Ledger`) alone shows
that there are none; the children of the processes in those cgroups that hold zombies are read; the
whole process table is read once. The second way counts only if it finds as many zombies as the
ledger shows, so it misses none.
"""

from __future__ import annotations

import itertools

from ..kernel import cgroups
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import ProcFS, Stat

LEDGER, CHILDREN, SCAN = "ledger", "children", "scan"
# reads of threads and living children, at about 15 us each, of which a tenant may have any number
MAX_IN_VAIN = 20000
# zombies of one parent that are read one by one, at about 20 us each; more than a sweep can collect
MAX_LISTED = 50000


class Found(Record):
    """The zombies on the node."""

    stats: list[Stat]
    more: dict[int, int]  # PID of a parent -> its zombies beyond MAX_LISTED, which are only counted
    found_by: str  # LEDGER, CHILDREN or SCAN


class _TooManyReads(Exception):
    pass


def find(procfs: ProcFS, ledger: cgroups.Ledger) -> Found:
    """Every zombie whose parent is visible; if the whole table was read, the others too."""
    count = ledger.zombies()
    if count is not None and count <= 0:
        return Found([], {}, LEDGER)
    found = _among_children(procfs, ledger, count) if count else None
    return found or _in_the_table(procfs)


def _in_the_table(procfs: ProcFS) -> Found:
    stats: list[Stat] = []
    listed: dict[int, int] = {}
    more: dict[int, int] = {}
    for stat in procfs.zombies():
        listed[stat.ppid] = listed.get(stat.ppid, 0) + 1
        if listed[stat.ppid] <= MAX_LISTED:
            stats.append(stat)
        else:
            more[stat.ppid] = listed[stat.ppid] - MAX_LISTED
    return Found(stats, more, SCAN)


def _among_children(procfs: ProcFS, ledger: cgroups.Ledger, count: int) -> Found | None:
    """None if that does not account for all ``count`` zombies, or takes too many reads."""
    stats: list[Stat] = []
    more: dict[int, int] = {}
    unseen, reads = count, itertools.count(1)

    def in_vain() -> None:
        if next(reads) > MAX_IN_VAIN:
            raise _TooManyReads

    try:
        for directories, number in ledger.holding() or ():
            here, longest = 0, None
            for pid in itertools.chain.from_iterable(map(cgroups.processes, directories)):
                children, may_be_more = procfs.zombie_children(pid, MAX_LISTED, in_vain)
                stats += children
                here += len(children)
                if may_be_more and longest is None:
                    longest = pid
            if longest is not None and number > here:
                more[longest] = number - here
                here = number
            unseen -= here
    except OSError:  # the kernel was built without CONFIG_PROC_CHILDREN
        return None
    except _TooManyReads:
        return None
    return Found(stats, more, CHILDREN) if unseen <= 0 else None
