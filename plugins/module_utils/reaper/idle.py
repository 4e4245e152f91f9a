# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a scheduled sweep may end before it begins: the previous one found no zombies, the
kernel's stacks or the cgroup ledger show none now, and nothing else has changed.

On most nodes that is every sweep but one in :data:`TRUSTED` seconds. Importing all that a sweep
needs costs several times the CPU of this look, and more than the ``ps`` of a script; so of the
standard library this file imports only what Python itself has imported by then, and the ledger only
where the stacks are not sure.
"""

from __future__ import annotations

import os
import time

from .kernel import stacks
from .paths import IDLE_NOTE, LAST_REPORT, METRICS_COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel.limits import Limits

TRUSTED = 600.0  # seconds that a note is valid; then a whole sweep writes a new last.json
GROWN = 0.01  # of the limit that binds: a whole sweep runs when there are so many more tasks
BOOT_ID = "/sys/kernel/random/boot_id"  # in procfs
NOT_CALIBRATED = "-"
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


def note(
    run: str,
    config_stamp: str,
    limits: Limits,
    proc: str,
    calibration: stacks.Calibration | None,
) -> str:
    """The text to note after a whole scheduled sweep that found nothing.

    config_stamp: :func:`stamp` of this sweep's configuration file, taken before it was read.
    limits: as they were at the end of the sweep. proc: where procfs is mounted. calibration: None
    if zombies cannot be counted by stacks.
    """
    words = [
        stacks.read(proc + BOOT_ID).strip(),
        str(int(time.monotonic())),
        str(int(limits.tasks + GROWN * limits.limit)),
        ":".join(map(str, calibration)) if calibration else NOT_CALIBRATED,
        config_stamp,
        stamp(os.path.join(run, LAST_REPORT)),
    ]
    return " ".join(words) + "\n"


def idle_for(run: str, config: str, cgroup_root: str, proc: str) -> float | None:
    """Seconds since the sweep that left the note, if nothing has changed and there is no zombie;
    None when a whole sweep has to run.

    If the node has metrics, they are updated.
    config: path of the configuration. It is not read: the stamp shows that it is still the file
    that the sweep read.
    """
    try:
        words = stacks.read(os.path.join(run, IDLE_NOTE)).split()
        boot_id, then, most_tasks, calibration, *stamps = words
        ago = time.monotonic() - float(then)
        if not 0 <= ago <= TRUSTED or stamps != [
            stamp(config),
            stamp(os.path.join(run, LAST_REPORT)),
        ]:
            return None
        if boot_id != stacks.read(proc + BOOT_ID).strip():
            return None
        tasks = stacks.number_of_tasks(proc)
        if tasks > int(most_tasks) or not _shows_none(calibration, cgroup_root, proc):
            return None
        if os.path.exists(os.path.join(run, METRICS_COPY)):
            from . import textfile
            from .kernel.procfs import ProcFS

            return ago if textfile.update_after_idle_look(run, ProcFS(proc), tasks) else None
        return ago
    except (OSError, ValueError):
        return None


def _shows_none(calibration: str, cgroup_root: str, proc: str) -> bool:
    """Whether there is no zombie. The ledger decides unless the stacks are sure."""
    if calibration != NOT_CALIBRATED:
        stack_kb, cpus, most_tasks = calibration.split(":")
        known = stacks.Calibration(int(stack_kb), int(cpus), int(most_tasks))
        if stacks.look(stacks.Counters(proc), known) == 0:
            return True
    from .kernel import cgroups
    from .kernel.procfs import ProcFS

    count = cgroups.Ledger(cgroup_root, ProcFS(proc)).zombies()
    return count is not None and count <= 0
