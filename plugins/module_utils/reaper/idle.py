# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a scheduled sweep may end before it begins: the one before found no zombie, the ledger
shows none now, and nothing else is new.

On most nodes that is every sweep but one in :data:`TRUSTED` seconds. To import all that a sweep
needs costs several times the CPU of this look, more than the ``ps`` of a script; so this file
imports next to nothing.
"""

from __future__ import annotations

import os
import time

from .kernel import cgroups
from .paths import IDLE_NOTE, LAST_REPORT, METRICS_COPY

TRUSTED = 600.0  # seconds; after that a whole sweep looks again, and writes a new last.json
GROWN = 0.01  # of the limit that binds; with so many tasks more than then a whole sweep looks again
SCHEDULED = [], ["--syslog"]  # the arguments of a call by cron or the timer


def stamp(path: str) -> str:
    """What changes whenever a file is written or replaced; ``-`` where it cannot be seen."""
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_dev}:{found.st_ino}:{found.st_ctime_ns}:{found.st_size}"


def note(run: str, config_stamp: str, limits, procfs) -> str:
    """The text to note after a whole scheduled sweep that found nothing.

    config_stamp: of the configuration that this sweep had, taken before it was read. limits:
    :class:`.limits.Limits` at its end.
    """
    words = [
        procfs.read_text("sys/kernel/random/boot_id").strip(),
        str(int(time.monotonic())),
        str(int(limits.tasks + GROWN * limits.limit)),
        config_stamp,
        stamp(os.path.join(run, LAST_REPORT)),
    ]
    return " ".join(words) + "\n"


def idle_for(run: str, config: str, cgroup_root: str, procfs) -> float | None:
    """Seconds since the sweep that noted it, where all is as it was then and there is no zombie;
    None where a whole sweep has to look.

    The metrics, where there are any, then tell of this look.
    config: path of the configuration, which is not read: it is the very file which that sweep read.
    """
    try:
        with open(os.path.join(run, IDLE_NOTE), encoding="ascii") as file:
            boot_id, then, most_tasks, *stamps = file.read().split()
        ago = time.monotonic() - float(then)
        if not 0 <= ago <= TRUSTED or stamps != [
            stamp(config),
            stamp(os.path.join(run, LAST_REPORT)),
        ]:
            return None
        if boot_id != procfs.read_text("sys/kernel/random/boot_id").strip():
            return None
        ledger = cgroups.Ledger(cgroup_root, procfs)
        count = ledger.zombies()
        tasks = ledger.tasks()[0]
        if count is None or count > 0 or tasks > int(most_tasks):
            return None
        if os.path.exists(os.path.join(run, METRICS_COPY)):
            from . import textfile

            return ago if textfile.looked(run, procfs, tasks) else None
        return ago
    except (OSError, ValueError):
        return None
