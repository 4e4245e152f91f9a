# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes named by a pidfd, and the file descriptors that takes.

A pidfd (pidfd_open(2), Linux 5.3) is accepted only if PID and start time still match after it was
opened. So a signal reaches that very process or nobody, however fast PIDs are reused.
"""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol, TypeVar

    from .procfs import ProcFS

    Item = TypeVar("Item")

    class Process(Protocol):
        """A process as a look at the node saw it: an offender, a zombie, a stat line."""

        @property
        def pid(self) -> int: ...
        @property
        def start_ticks(self) -> int: ...


SPARE_DESCRIPTORS = 32


def open_pidfd(procfs: ProcFS, process: Process) -> int | None:
    """A pidfd of this process, or None when it has ended.

    The start time is compared after the pidfd was opened. The process was alive when it was seen
    and, if it still has this PID now, was alive in between: so the pidfd is its own.
    Raises ``OSError`` when there are no more descriptors.
    """
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    is_the_same = False
    try:
        stat = procfs.stat(process.pid)
        is_the_same = stat is not None and stat.start_ticks == process.start_ticks
    finally:
        if not is_the_same:
            os.close(pidfd)
    return pidfd if is_the_same else None


def open_to_signal(procfs: ProcFS, process: Process) -> int | None:
    """Like :func:`open_pidfd`, but also raises ``OSError`` when this process may not signal the
    other one (kill(2)): it belongs to another user, and CAP_KILL is missing.
    """
    pidfd = open_pidfd(procfs, process)
    if pidfd is None:
        return None
    try:
        if is_there(pidfd):
            return pidfd
    except OSError:
        os.close(pidfd)
        raise
    os.close(pidfd)
    return None


def send(pidfd: int, name: str) -> bool:
    """Send the signal of that name (signal(7)) to the process; False when it has ended."""
    import signal  # takes 3 ms, which a sweep with nothing to do saves

    try:
        signal.pidfd_send_signal(pidfd, signal.Signals[name])
    except ProcessLookupError:
        return False
    return True


def is_there(pidfd: int) -> bool:
    """Whether the process is still in the process table: alive, or a zombie that nobody has waited
    for.
    """
    import signal

    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def slices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in slices small enough to open a descriptor for each item. Raises this
    process's limit first, as far as it may.
    """
    size = max(1, raise_descriptor_limit(len(items)) - len(open_descriptors()) - SPARE_DESCRIPTORS)
    for start in range(0, len(items), size):
        yield items[start : start + size]


def open_descriptors() -> list[int]:
    """This process's file descriptors. The list includes the one that it was read from, which is
    closed again.
    """
    return [int(fd) for fd in os.listdir("/proc/self/fd")]


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit of open files towards the hard one if there is no room for ``wanted``
    more; return the soft limit that holds then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + 4 * SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    raised = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
