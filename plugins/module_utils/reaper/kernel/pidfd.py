# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes named by a pidfd, and the descriptors that takes.

A pidfd (pidfd_open(2), Linux 5.3) is opened while PID and start time still match: a signal reaches
that very process or nobody, however fast PIDs are used again.
"""

from __future__ import annotations

import os
import resource

SPARE_DESCRIPTORS = 32


def open_pidfd(procfs, offender) -> int | None:
    """A pidfd of the offender, or None when that process has ended.

    The start time is compared after the pidfd was opened. The process seen in the snapshot was
    alive before and, if it still has this PID now, was so in between: the descriptor is its own.
    ``OSError`` when descriptors run out.
    """
    try:
        pidfd = os.pidfd_open(offender.pid)
    except ProcessLookupError:
        return None
    is_the_offender = False
    try:
        stat = procfs.stat(offender.pid)
        is_the_offender = stat is not None and stat.start_ticks == offender.start_ticks
    finally:
        if not is_the_offender:
            os.close(pidfd)
    return pidfd if is_the_offender else None


def open_to_signal(procfs, offender) -> int | None:
    """As :func:`open_pidfd`; ``OSError`` too where this process may not signal it (kill(2)): it
    belongs to another user, and CAP_KILL is missing.
    """
    pidfd = open_pidfd(procfs, offender)
    try:
        if pidfd is None or is_there(pidfd):
            return pidfd
    except OSError:
        os.close(pidfd)
        raise
    os.close(pidfd)
    return None


def send(pidfd: int, name: str) -> bool:
    """Send the signal of that name (signal(7)) to the process of a pidfd; False when it has
    ended.
    """
    import signal  # 3 ms of start-up that a sweep with nothing to do does without

    try:
        signal.pidfd_send_signal(pidfd, signal.Signals[name])
    except ProcessLookupError:
        return False
    return True


def is_there(pidfd: int) -> bool:
    """Whether the process of a pidfd is still in the table: alive, or a zombie that nobody has
    waited for.
    """
    import signal

    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    return True


def slices(offenders):
    """Yields the offenders in slices that there are enough descriptors for, after raising this
    process's limit as far as it may.
    """
    size = max(
        1, raise_descriptor_limit(len(offenders)) - len(open_descriptors()) - SPARE_DESCRIPTORS
    )
    for start in range(0, len(offenders), size):
        yield offenders[start : start + size]


def open_descriptors() -> list:
    """This process's file descriptors; the one that the list was read from, closed by now, is among
    them.
    """
    return [int(fd) for fd in os.listdir("/proc/self/fd")]


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit of open files towards the hard one if more than it has room for are
    wanted; returns what it is then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + 4 * SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    raised = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
