# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many processes the node may have, how many it has, and how soon there will be no room.

Sources: proc_sys_kernel(5), proc_loadavg(5). ``kernel.pid_max`` belongs to the PID namespace since Linux 6.14
(commit 7863dcc72d0f), to the whole machine before.
"""

from __future__ import annotations

import os
from collections import namedtuple

SHORTEST = 60.0  # seconds between two looks that a growth is told from
SYSCTLS = {"pid_max": "sys/kernel/pid_max", "threads_max": "sys/kernel/threads-max"}


class Limits(namedtuple("Limits", ("pid_max", "threads_max", "tasks", "limit", "usage"))):
    """The process table of the node.

    pid_max, threads_max: int, the two limits. limit: int, the smaller one, which binds.
    tasks: int, threads alive and zombies together, on the whole machine.
    usage: float, tasks / limit.
    """

    __slots__ = ()


class Forecast(namedtuple("Forecast", ("growth_per_hour", "seconds_to_full"))):
    """How fast a number of tasks grows, and when it meets its limit if it goes on like that; floats, None where that is not known.

    seconds_to_full is None too where it does not grow or has no limit.
    """

    __slots__ = ()


def forecast(count: int, limit: int | None, earlier, now: float) -> Forecast:
    """earlier: (seconds, count) of a former look, on the clock of ``now`` (seconds), or None."""
    if earlier is None or now - earlier[0] < SHORTEST:
        return Forecast(None, None)
    growth = (count - earlier[1]) / (now - earlier[0])
    return Forecast(3600 * growth, max(0, limit - count) / growth if growth > 0 and limit is not None else None)


def read(procfs) -> Limits:
    """The present :class:`Limits`; ``OSError`` where the kernel does not show them."""
    pid_max = int(procfs.read_text(SYSCTLS["pid_max"]))
    threads_max = int(procfs.read_text(SYSCTLS["threads_max"]))
    tasks = int(procfs.read_text("loadavg").split()[3].partition("/")[2])
    limit = min(pid_max, threads_max)
    return Limits(pid_max, threads_max, tasks, limit, tasks / limit)


def settable(procfs, name: str) -> bool:
    """Whether this process may write the limit. name: ``pid_max`` or ``threads_max``.

    False in most containers, where ``/proc/sys`` is mounted read-only.
    """
    return os.access("%s/%s" % (procfs.root, SYSCTLS[name]), os.W_OK)


def bound_by(limits: Limits) -> str:
    """Name of the limit that is reached first: ``pid_max`` or ``threads-max``."""
    return "pid_max" if limits.pid_max <= limits.threads_max else "threads-max"


def pid_max_ceiling() -> int:
    """The highest ``kernel.pid_max`` that this kernel takes: PID_MAX_LIMIT of include/linux/threads.h."""
    return 4194304 if os.uname().machine.endswith(("64", "64le", "s390x")) else 32768
