# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that node_exporter's textfile collector reads, and a copy of it in the run directory.

The collector's directory usually belongs to another user, so nothing is read from it: each sweep
continues from the copy. The copy holds the boot ID in its first line, the directory in its second,
then the text itself. A copy that is torn, or from another boot, is ignored.
"""

from __future__ import annotations

import os
import stat
import time

from .errors import CannotSweep
from .files import NEW, locked, write
from .paths import METRICS_COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kernel.procfs import ProcFS

NAME = "zombie_reaper.prom"
# Debian's comes first
DIRECTORIES = (
    "/var/lib/prometheus/node-exporter",
    "/var/lib/node_exporter/textfile_collector",
    "/var/lib/node_exporter",
)
NO_DIRECTORY = "no directory"  # none of these exists
LAST_SWEEP = "zombie_reaper_last_sweep_timestamp_seconds"
PIDS_USED = "zombie_reaper_pids_used"
SUCCESS = "zombie_reaper_last_sweep_success"
PART = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC  # flags for one part of a path
MAX_LINKS = 40  # in one path, as in the kernel (MAXSYMLINKS of include/linux/namei.h)


def kept(run: str, procfs: ProcFS) -> tuple[str | None, str]:
    """(directory, text) of the last write in this boot; (None, ``""``) when there was none."""
    try:
        with open(os.path.join(run, METRICS_COPY), encoding="utf-8") as file:
            boot_id, directory, text = file.read().split("\n", 2)
    except (OSError, ValueError):
        return None, ""
    return (directory, text) if boot_id == _boot_id(procfs) and text.endswith("\n") else (None, "")


def publish(run: str, procfs: ProcFS, directory: str, text: str) -> None:
    """Write the copy, then the file. The caller holds the lock.

    Raises ``OSError`` when that fails; its ``filename`` says which of the two it was.
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
    """Remove what :func:`publish` wrote; otherwise node_exporter would serve stale values for ever.
    The caller holds the lock.
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


def with_values(text: str, values: Mapping[str, object]) -> str:
    """The text with new values for some of its series.

    values: ``{series: value}``. The series is written as in the text; the value is formatted by
    ``str``.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines):
        series = line.rpartition(" ")[0]
        if series in values:
            lines[number] = f"{series} {values[series]}"
    return "\n".join(lines)


def update_after_idle_look(run: str, procfs: ProcFS, tasks: int) -> bool:
    """Update the metrics after an idle look, one that found nothing new.

    False when that is impossible and a whole sweep has to run instead. That includes the case that
    the last sweep failed: only a sweep can put that right.
    tasks: how many the whole machine has.
    """
    try:
        with locked(run, wait=0):
            directory, text = kept(run, procfs)
            if directory is None or f"\n{SUCCESS} 1\n" not in text:
                return False
            values = {LAST_SWEEP: f"{time.time():.3f}", PIDS_USED: tasks}
            publish(run, procfs, directory, with_values(text, values))
    except (OSError, CannotSweep):
        return False
    return True


def _boot_id(procfs: ProcFS) -> str:
    return procfs.read_text("sys/kernel/random/boot_id").strip()


def _opened(directory: str) -> int:
    """A descriptor of the directory.

    The owner of a part of the path could point it elsewhere at any moment. So a symbolic link is
    followed only if it belongs to root, and so do all directories before it, and nobody else may
    write there: /var/run is such a link.
    """
    parts = _parts(directory)
    links = 0
    root_alone = True  # may write to all directories so far
    dir_fd = os.open("/", PART)
    while True:
        info = os.fstat(dir_fd)
        root_alone = root_alone and info.st_uid == 0 and not info.st_mode & 0o022
        if not parts:
            return dir_fd
        try:
            below = os.open(parts[0], PART, dir_fd=dir_fd)
            try:
                target = _target(below) if root_alone and links < MAX_LINKS else None
                if target is None:  # only a directory can be opened as "."
                    new_fd, parts = os.open(".", PART, dir_fd=below), parts[1:]
                else:
                    links += 1
                    new_fd = os.open("/" if target.startswith("/") else ".", PART, dir_fd=dir_fd)
                    parts = _parts(target) + parts[1:]
            finally:
                os.close(below)
        finally:
            os.close(dir_fd)
        dir_fd = new_fd


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _target(fd: int) -> str | None:
    """Where a symbolic link of root's leads; None if it is anything else."""
    info = os.fstat(fd)
    if not stat.S_ISLNK(info.st_mode) or info.st_uid != 0:
        return None
    return os.readlink("", dir_fd=fd)
