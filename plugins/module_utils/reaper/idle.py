# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a scheduled sweep may end before it begins: the previous one found no zombies, the cgroup
ledger shows none now, and nothing else has changed.

On most nodes that is every sweep but one in :data:`TRUSTED` seconds. Importing all that a sweep
needs costs several times the CPU of this look, and more than the ``ps`` of a script; so this file
imports next to nothing.
"""

from __future__ import annotations

import os
import time

from .kernel import cgroups
from .paths import IDLE_NOTE, LAST_REPORT, METRICS_COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel.limits import Limits
    from .kernel.procfs import ProcFS

TRUSTED = 600.0  # seconds that a note is valid; then a whole sweep writes a new last.json
GROWN = 0.01  # of the limit that binds: a whole sweep runs when there are so many more tasks
# arguments of a call by cron or by the timer
SCHEDULED: tuple[list[str], ...] = ([], ["--syslog"])


def stamp(path: str) -> str:
    """A text that changes whenever a file is written or replaced; ``-`` when it cannot be read by
    stat(2).
    """
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_dev}:{found.st_ino}:{found.st_ctime_ns}:{found.st_size}"


def note(run: str, config_stamp: str, limits: Limits, procfs: ProcFS) -> str:
    """The text to note after a whole scheduled sweep that found nothing.

    config_stamp: :func:`stamp` of this sweep's configuration file, taken before it was read.
    limits: as they were at the end of the sweep.
    """
    words = [
        procfs.read_text("sys/kernel/random/boot_id").strip(),
        str(int(time.monotonic())),
        str(int(limits.tasks + GROWN * limits.limit)),
        config_stamp,
        stamp(os.path.join(run, LAST_REPORT)),
    ]
    return " ".join(words) + "\n"


def idle_for(run: str, config: str, cgroup_root: str, procfs: ProcFS) -> float | None:
    """Seconds since the sweep that left the note, if nothing has changed and there is no zombie;
    None when a whole sweep has to run.

    If the node has metrics, they are updated.
    config: path of the configuration. It is not read: the stamp shows that it is still the file
    that the sweep read.
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

            return ago if textfile.update_after_idle_look(run, procfs, tasks) else None
        return ago
    except (OSError, ValueError):
        return None
