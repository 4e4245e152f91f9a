# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many processes the node may have, how many it has, and how soon there will be no room.

Sources: proc_sys_kernel(5), proc_loadavg(5). ``kernel.pid_max`` belongs to the PID namespace since
Linux 6.14 (commit 7863dcc72d0f), to the whole machine before.
"""

from __future__ import annotations

import os
from collections import namedtuple

# seconds between the two former looks: a burst of a minute says nothing about the next hour
SHORTEST = 1800.0
BETWEEN = 60.0  # seconds from the last of them until now
# of the limit that must be taken for it to be said when it is full: growth on an empty node will
# hardly go on like that
MIN_SHARE = 0.1
SYSCTLS = {"pid_max": "sys/kernel/pid_max", "threads_max": "sys/kernel/threads-max"}


class Limits(namedtuple("Limits", ("pid_max", "threads_max", "tasks", "limit"))):
    """The process table of the node.

    pid_max, threads_max: int, the two limits. limit: int, the smaller one, which binds.
    tasks: int, threads alive and zombies together, on the whole machine.
    """

    __slots__ = ()

    @property
    def usage(self) -> float:
        """The share of the limit that is taken."""
        return self.tasks / self.limit


class Forecast(namedtuple("Forecast", ("growth_per_hour", "seconds_to_full"))):
    """How fast a number of tasks grows, and when it meets its limit at this rate.

    Both are floats, and None where that is not known. seconds_to_full is None too where it does not
    grow, has no limit, or has taken less than :data:`MIN_SHARE` of it.
    """

    __slots__ = ()


def forecast(count: int, limit: int | None, earlier, now: float) -> Forecast:
    """earlier: (seconds, count, seconds, count) of two former looks, the older one first, on the
    clock of ``now`` (seconds), or None.

    The rate is the lower one of those before and after the look in between: a burst grows in one of
    them only.
    """
    if earlier is None:
        return Forecast(None, None)
    then, before, later, count_later = earlier
    if later - then < SHORTEST or now - later < BETWEEN:
        return Forecast(None, None)
    growth = min((count_later - before) / (later - then), (count - count_later) / (now - later))
    is_known = growth > 0 and limit is not None and count >= MIN_SHARE * limit
    return Forecast(3600 * growth, max(0, limit - count) / growth if is_known else None)


def read(procfs) -> Limits:
    """The present :class:`Limits`; ``OSError`` where the kernel does not show them."""
    pid_max = int(procfs.read_text(SYSCTLS["pid_max"]))
    threads_max = int(procfs.read_text(SYSCTLS["threads_max"]))
    tasks = int(procfs.read_text("loadavg").split()[3].partition("/")[2])
    return Limits(pid_max, threads_max, tasks, min(pid_max, threads_max))


def settable(procfs, name: str) -> bool:
    """Whether this process may write the limit. name: ``pid_max`` or ``threads_max``.

    False in most containers, where ``/proc/sys`` is mounted read-only.
    """
    return os.access(f"{procfs.root}/{SYSCTLS[name]}", os.W_OK)


def bound_by(limits: Limits) -> str:
    """Name of the limit that is reached first: ``pid_max`` or ``threads-max``."""
    return "pid_max" if limits.pid_max <= limits.threads_max else "threads-max"


def pid_max_ceiling() -> int:
    """The highest ``kernel.pid_max`` that this kernel takes: PID_MAX_LIMIT of
    include/linux/threads.h.
    """
    return 4194304 if os.uname().machine.endswith(("64", "64le", "s390x")) else 32768
