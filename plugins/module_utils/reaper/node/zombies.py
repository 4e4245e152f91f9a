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
    more: dict[int, int]  # PID of a parent -> its zombies beyond these, which are only counted
    found_by: str  # LEDGER, CHILDREN or SCAN


class _TooManyReads(Exception):
    pass


class _Listed:
    """Keeps the first zombies of each parent, and counts the rest.

    most: of all parents together; None: no limit. Where there are more, each parent is left with
    half as many again and again, so that all keep some, always the same ones.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.of_each = MAX_LISTED
        self.kept: dict[int, list[Stat]] = {}
        self.more: dict[int, int] = {}
        self.number = 0

    def add(self, stat: Stat) -> None:
        """Keep or count one."""
        kept = self.kept.setdefault(stat.ppid, [])
        if len(kept) >= self.of_each:
            self.count(stat.ppid, 1)
            return
        kept.append(stat)
        self.number += 1
        if self.most is not None:
            while self.number > self.most and self.of_each > 1:
                self._halve()

    def count(self, ppid: int, number: int) -> None:
        """Of this parent there are so many more."""
        self.more[ppid] = self.more.get(ppid, 0) + number

    def found(self, way: str) -> Found:
        """All of them."""
        return Found(list(itertools.chain.from_iterable(self.kept.values())), self.more, way)

    def _halve(self) -> None:
        self.of_each //= 2
        for ppid, kept in self.kept.items():
            beyond = len(kept) - self.of_each
            if beyond > 0:
                del kept[self.of_each :]
                self.count(ppid, beyond)
                self.number -= beyond


def find(procfs: ProcFS, ledger: cgroups.Ledger, most: int | None = None) -> Found:
    """Every zombie whose parent is visible; if the whole table was read, the others too.

    most: how many are listed, as long as no parent has more than one; the rest is only counted.
    None: no limit but :data:`MAX_LISTED` for each parent.
    """
    count = ledger.zombies()
    if count is not None and count <= 0:
        return Found([], {}, LEDGER)
    found = _among_children(procfs, ledger, count, most) if count else None
    return found or _in_the_table(procfs, most)


def _in_the_table(procfs: ProcFS, most: int | None) -> Found:
    listed = _Listed(most)
    for stat in procfs.zombies():
        listed.add(stat)
    return listed.found(SCAN)


def _among_children(
    procfs: ProcFS, ledger: cgroups.Ledger, count: int, most: int | None
) -> Found | None:
    """None if that does not account for all ``count`` zombies, or takes too many reads."""
    listed = _Listed(most)
    unseen, reads = count, itertools.count(1)

    def in_vain() -> None:
        if next(reads) > MAX_IN_VAIN:
            raise _TooManyReads

    try:
        for directories, number in ledger.holding() or ():
            here, longest = 0, None
            for pid in itertools.chain.from_iterable(map(cgroups.processes, directories)):
                number_of_it, may_be_more = procfs.zombie_children(
                    pid, MAX_LISTED, listed.add, in_vain
                )
                here += number_of_it
                if may_be_more and longest is None:
                    longest = pid
            if longest is not None and number > here:
                listed.count(longest, number - here)
                here = number
            unseen -= here
    except OSError:  # the kernel was built without CONFIG_PROC_CHILDREN
        return None
    except _TooManyReads:
        return None
    return listed.found(CHILDREN) if unseen <= 0 else None
