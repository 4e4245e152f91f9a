# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that node_exporter's textfile collector reads, and a copy of it in the run directory.

Its directory belongs to another user as a rule, so nothing is read there: what the next sweep goes
on from is the copy. That has the boot in its first line, the directory in its second, then the very
text; one that is torn, or of another boot, counts as none.
"""

from __future__ import annotations

import os
import time

from .errors import CannotSweep
from .files import NEW, locked, write
from .paths import METRICS_COPY

NAME = "zombie_reaper.prom"
# Debian's first
DIRECTORIES = (
    "/var/lib/prometheus/node-exporter",
    "/var/lib/node_exporter/textfile_collector",
    "/var/lib/node_exporter",
)
LAST_SWEEP, PIDS_USED, SUCCESS = (
    "zombie_reaper_last_sweep_timestamp_seconds",
    "zombie_reaper_pids_used",
    "zombie_reaper_last_sweep_success",
)
PART = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def kept(run: str, procfs) -> tuple:
    """(directory, text) of what was written last, in this boot; (None, ``""``) where nothing
    was.
    """
    try:
        with open(os.path.join(run, METRICS_COPY), encoding="utf-8") as file:
            boot_id, directory, text = file.read().split("\n", 2)
    except (OSError, ValueError):
        return None, ""
    return (directory, text) if boot_id == _boot_id(procfs) and text.endswith("\n") else (None, "")


def publish(run: str, procfs, directory: str, text: str) -> None:
    """Write the copy, then the file. The lock is held. ``OSError`` where that fails; ``filename``
    of it says which.
    """
    copy = os.path.join(run, METRICS_COPY)
    write(copy, "\n".join((_boot_id(procfs), directory, text)))
    try:
        dir_fd = _opened(directory)
        try:
            write(NAME, text, 0o644, dir_fd)
        finally:
            os.close(dir_fd)
    except OSError as error:
        error.filename = os.path.join(directory, NAME)
        raise


def remove(run: str, directory: str) -> None:
    """Take back what :func:`publish` wrote: the values of yesterday would be told for ever. The
    lock is held.
    """
    for path in (
        os.path.join(run, METRICS_COPY),
        os.path.join(directory, NAME),
        os.path.join(directory, NAME + NEW),
    ):
        try:
            os.unlink(path)
        except OSError:
            pass


def with_values(text: str, values: dict) -> str:
    """The text with these values in place of those of the same series. values: ``{series: value}``,
    both as they are written.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines):
        series = line.rpartition(" ")[0]
        if series in values:
            lines[number] = f"{series} {values[series]}"
    return "\n".join(lines)


def looked(run: str, procfs, tasks: int) -> bool:
    """Have the metrics tell of a look at this moment that found nothing new; False where that
    cannot be done, and a whole sweep has to.

    tasks: of the whole machine. It has to as well where the last sweep could not be done: only a
    sweep can put that right.
    """
    try:
        with locked(run, wait=0):
            directory, text = kept(run, procfs)
            if f"\n{SUCCESS} 1\n" not in text:
                return False
            publish(
                run,
                procfs,
                directory,
                with_values(text, {LAST_SWEEP: f"{time.time():.3f}", PIDS_USED: tasks}),
            )
    except (OSError, CannotSweep):
        return False
    return True


def _boot_id(procfs) -> str:
    return procfs.read_text("sys/kernel/random/boot_id").strip()


def _opened(directory: str) -> int:
    """Descriptor of the directory, to which no symbolic link leads: its owner could point one
    elsewhere at any moment.
    """
    dir_fd = os.open("/", PART)
    for name in filter(None, directory.split("/")):
        try:
            below = os.open(name, PART, dir_fd=dir_fd)
        finally:
            os.close(dir_fd)
        dir_fd = below
    return dir_fd
