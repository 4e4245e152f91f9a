# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many processes the node may have, how many it has, and when it will run out of room.

Sources: proc_sys_kernel(5), proc_loadavg(5). ``kernel.pid_max`` belongs to the PID namespace since
Linux 6.14 (commit 7863dcc72d0f), and to the whole machine before.
"""

from __future__ import annotations

import os

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .procfs import ProcFS

# seconds between the two earlier looks: a burst of a minute says nothing about the next hour
MIN_INTERVAL = 1800.0
MIN_SINCE_LAST = 60.0  # seconds between the later of them and now
# share of the limit below which no time to full is given: an almost empty node will hardly go on
# growing like that
MIN_SHARE = 0.1
SYSCTLS = {"pid_max": "sys/kernel/pid_max", "threads_max": "sys/kernel/threads-max"}


class Limits(Record):
    """The process table of the whole machine."""

    pid_max: int  # /proc/sys/kernel/pid_max
    threads_max: int  # /proc/sys/kernel/threads-max
    tasks: int  # /proc/loadavg, field 4: living threads and zombies together
    limit: int  # the smaller of pid_max and threads_max, which binds

    @property
    def usage(self) -> float:
        """The share of the limit that is taken."""
        return self.tasks / self.limit


class Forecast(Record):
    """How fast a number of tasks grows, and when it reaches its limit at this rate."""

    growth_per_hour: float | None = None  # None: not known
    # None: not known, no growth, no limit, or less than MIN_SHARE of the limit taken
    seconds_to_full: float | None = None


def forecast(
    count: int,
    limit: int | None,
    earlier: tuple[float, float, float, float] | None,
    now: float,
) -> Forecast:
    """Compute the rate from two earlier looks and this one.

    earlier: (seconds, count, seconds, count), the older look first, on the clock of ``now``.
    The rate is the lower of those before and after the look in the middle: a burst raises only one
    of them.
    """
    if earlier is None:
        return Forecast()
    then, before, later, count_later = earlier
    if later - then < MIN_INTERVAL or now - later < MIN_SINCE_LAST:
        return Forecast()
    growth = min((count_later - before) / (later - then), (count - count_later) / (now - later))
    if growth > 0 and limit is not None and count >= MIN_SHARE * limit:
        return Forecast(3600 * growth, max(0, limit - count) / growth)
    return Forecast(3600 * growth, None)


def read(procfs: ProcFS) -> Limits:
    """The present :class:`Limits`; raises ``OSError`` when the kernel does not show them."""
    pid_max = int(procfs.read_text(SYSCTLS["pid_max"]))
    threads_max = int(procfs.read_text(SYSCTLS["threads_max"]))
    return Limits(
        pid_max=pid_max,
        threads_max=threads_max,
        tasks=int(procfs.read_text("loadavg").split()[3].partition("/")[2]),
        limit=min(pid_max, threads_max),
    )


def settable(procfs: ProcFS, name: str) -> bool:
    """Whether this process may change the limit called ``pid_max`` or ``threads_max``.

    It may not in most containers, where ``/proc/sys`` is mounted read-only.
    """
    return os.access(f"{procfs.root}/{SYSCTLS[name]}", os.W_OK)


def bound_by(limits: Limits) -> str:
    """The limit that is reached first: ``pid_max`` or ``threads-max``."""
    return "pid_max" if limits.pid_max <= limits.threads_max else "threads-max"


def pid_max_ceiling() -> int:
    """The highest ``kernel.pid_max`` that this kernel accepts: PID_MAX_LIMIT of
    include/linux/threads.h.
    """
    return 4194304 if os.uname().machine.endswith(("64", "64le", "s390x")) else 32768
