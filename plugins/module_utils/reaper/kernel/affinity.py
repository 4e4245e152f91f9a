# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which CPUs this thread may run (sched_setaffinity(2)). No other process's are ever changed."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .procfs import ProcFS


@contextlib.contextmanager
def beside(procfs: ProcFS, tid: int) -> Iterator[None]:
    """Run on the CPU on which a thread last ran, and afterwards where this thread ran before.

    Two threads that wait for each other in turns take longest where each has to wake another CPU.
    Where this thread may not run on that CPU, nothing is changed; nor where a real-time task may
    have that CPU for itself, since this thread would wait there for ever.
    """
    before = os.sched_getaffinity(0)
    cpu = procfs.last_cpu(tid)
    moved = False
    try:
        # cannot be where that CPU, or all others, have just been taken from this thread's cpuset
        with contextlib.suppress(OSError):
            if cpu in before and len(before) > 1 and not procfs.real_time_may_take_a_cpu():
                os.sched_setaffinity(0, (cpu,))
                moved = True
        yield
    finally:
        if moved:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, before)
