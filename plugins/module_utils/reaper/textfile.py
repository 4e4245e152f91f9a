# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that node_exporter's textfile collector reads, and a copy of it in the run folder.

Its directory belongs to another user as a rule, so nothing is read there: what the next sweep goes on from is the copy. That has the boot in
its first line, the directory in its second, then the very text; one that is torn, or of another boot, counts as none.
"""

from __future__ import annotations

import os
import time
from collections import namedtuple

from .files import NEW, CannotSweep, locked, write

NAME, COPY = "zombie_reaper.prom", "metrics"
DIRECTORIES = ("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter/textfile_collector", "/var/lib/node_exporter")  # Debian's first
LAST_SWEEP, PIDS_USED, SUCCESS = (
    "zombie_reaper_last_sweep_timestamp_seconds", "zombie_reaper_pids_used", "zombie_reaper_last_sweep_success")
PART = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Kept(namedtuple("Kept", ("directory", "text"))):
    """What was written last: where to, and the text."""

    __slots__ = ()


def kept(run: str, procfs) -> Kept | None:
    """The :class:`Kept` of this boot, or None."""
    try:
        with open(os.path.join(run, COPY), encoding="utf-8") as file:
            boot_id, directory, text = file.read().split("\n", 2)
    except (OSError, ValueError):
        return None
    return Kept(directory, text) if boot_id == _boot_id(procfs) and text.endswith("\n") else None


def publish(run: str, procfs, directory: str, text: str) -> None:
    """Write the copy, then the file. The lock is held. ``OSError`` where that fails; ``filename`` of it says which."""
    copy = os.path.join(run, COPY)
    write(copy, "\n".join((_boot_id(procfs), directory, text)))
    try:
        folder = _opened(directory)
        try:
            write(NAME, text, 0o644, folder)
        finally:
            os.close(folder)
    except OSError as error:
        error.filename = os.path.join(directory, NAME)
        raise


def remove(run: str, directory: str) -> None:
    """Take back what :func:`publish` wrote: the values of yesterday would be told for ever. The lock is held."""
    for path in (os.path.join(run, COPY), os.path.join(directory, NAME), os.path.join(directory, NAME + NEW)):
        try:
            os.unlink(path)
        except OSError:
            pass


def with_values(text: str, values: dict) -> str:
    """The text with these values in place of those of the same series. values: ``{series: value}``, both as they are written."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        series = line.rpartition(" ")[0]
        if series in values:
            lines[number] = "%s %s" % (series, values[series])
    return "\n".join(lines)


def looked(run: str, procfs, tasks: int) -> bool:
    """Have the metrics, where there are any, tell of a look at this moment that found nothing new; False where that needs a whole sweep.

    tasks: of the whole machine. It is so too where the last sweep could not be done, which only a sweep can put right.
    """
    if not os.path.exists(os.path.join(run, COPY)):
        return True
    try:
        with locked(run, wait=0):
            before = kept(run, procfs)
            if before is None or "\n%s 1\n" % SUCCESS not in before.text:
                return False
            publish(run, procfs, before.directory, with_values(before.text, {LAST_SWEEP: "%.3f" % time.time(), PIDS_USED: tasks}))
    except (OSError, CannotSweep):
        return False
    return True


def _boot_id(procfs) -> str:
    return procfs.read_text("sys/kernel/random/boot_id").strip()


def _opened(directory: str) -> int:
    """Descriptor of the directory, to which no symbolic link leads: its owner could point one elsewhere at any moment."""
    folder = os.open("/", PART)
    for name in filter(None, directory.split("/")):
        try:
            below = os.open(name, PART, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder
