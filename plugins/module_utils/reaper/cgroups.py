# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgroups say: whether a process is paused, how many tasks it and its neighbours may be, and how many zombies there are on the node.

A zombie is a task for the kernel's counters, but no cgroup lists it (``cgroup_exit()`` takes it off the list, ``cgroup_release()`` comes when it is
waited for; Linux 5.2, commit b636fd38dc40). So what is counted and not listed is a zombie: that is the ledger. No process is read for it.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst and cgroup-v1/pids.rst of the kernel.
Version 1, version 2, and both side by side ("hybrid", version 2 in ``unified``).
"""

from __future__ import annotations

import errno
import os
from collections import namedtuple

MOST_BYTES = 1 << 16  # of a list of tasks at a time
WHOLE = 4000  # bytes; a read that gave fewer came to the end: the kernel fills at least a page but for one line (seq_file)


class Ledger:
    """The number of zombies on the whole machine: all tasks (proc_loadavg(5)) less those that are listed in its cgroups.

    One hierarchy is enough, of whatever version and with whatever controller, since every task is in one of its cgroups. Where only a part
    of the hierarchy is visible (a node that is a container), all that is not visible counts as zombies, so the answer is never too low.

    keep: whether descriptors stay open between two counts, for a resident process; then a count is one read for each cgroup.
    """

    def __init__(self, root: str, procfs, keep: bool = False) -> None:
        self.procfs = procfs
        self.keep = keep
        self.folder, self.list_name = _hierarchy(root)
        self.descriptors, self.number = [], None

    def zombies(self) -> int | None:
        """None where that cannot be told. Tasks that begin and end meanwhile may make it a little too high, not too low."""
        if self.folder is None:
            return None
        try:
            before = self._all()
            listed = self._listed()
            return max(before, self._all()) - listed
        except OSError:  # a list that may not be read: cgroup.threads of a "domain invalid" cgroup (cgroup-v2.rst, Threads)
            self.close()
            return None

    def holding(self) -> list | None:
        """(folder, number of zombies) of each cgroup that holds some, those with most first; None where cgroups do not count tasks.

        Of a zombie whose cgroup was removed the one above is told.
        """
        if self.folder is None:
            return None
        found, waiting = [], [(self.folder, self._all())]
        try:
            while waiting:
                folder, tasks = waiting.pop()
                below = [(each, _number(each, "pids.current")) for each in subfolders(folder)]
                below = [(each, number) for each, number in below if number is not None or os.path.exists(each)]
                with open("%s/%s" % (folder, self.list_name), "rb") as file:
                    zombies = tasks - sum(number for _each, number in below) - _lines(file.fileno())
                if zombies > 0:
                    found.append((folder, zombies))
                waiting += below
        except (OSError, TypeError):  # no pids.current below: that controller is not turned on there
            return None
        return sorted(found, key=lambda each: -each[1])

    def close(self) -> None:
        """Close what is kept open."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors, self.number = [], None

    def _all(self) -> int:
        return int(self.procfs.read_text("loadavg").split()[3].partition("/")[2])

    def _listed(self) -> int:
        if not self.keep:
            return sum(_lines_of(fd) for fd in self._open_each())
        number = self._number_of_cgroups()
        try:
            if self.number is None or self.number != number:
                raise _Changed
            return sum(_lines(fd) for fd in self.descriptors)
        except (_Changed, OSError):  # ENODEV: one of them was removed
            self.close()
            self.descriptors.extend(self._open_each())
            self.number = number
            return sum(_lines(fd) for fd in self.descriptors)

    def _open_each(self):
        """Yields a descriptor of the list of each cgroup. Those that are removed meanwhile have no tasks."""
        folders = [self.folder]
        while folders:
            folder = folders.pop()
            try:
                fd = os.open("%s/%s" % (folder, self.list_name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            yield fd
            folders += subfolders(folder)

    def _number_of_cgroups(self):
        """Of this hierarchy; when it has changed there are new ones. None where it is not told: then all are looked for each time."""
        if self.list_name == "tasks":
            lines = self.procfs.read_text("cgroups").splitlines()
            return next((line.split()[2] for line in lines if line.startswith("pids\t")), None)
        return _read(self.folder, "cgroup.stat")


class _Changed(Exception):
    pass


class Pids(namedtuple("Pids", ("current", "max", "cgroup"))):
    """Tasks (threads and zombies) in the cgroup whose limit is reached first.

    current: int. max: int, None for no limit. cgroup: str, its path in the hierarchy.
    """

    __slots__ = ()


def is_frozen(root: str, lines) -> bool:
    """Whether a process is paused by the cgroup freezer: v2 ``cgroup.freeze``, v1 ``freezer.state``.

    root: ``/sys/fs/cgroup``. lines: :class:`.procfs.CgroupLine` tuples of the process.
    """
    for line in lines:
        if line.controllers == "":
            names, sign = ("cgroup.events",), "frozen 1"
        elif "freezer" in line.controllers.split(","):
            names, sign = ("freezer.state",), "FR"  # FROZEN, or FREEZING on the way there
        else:
            continue
        if any(sign in (_read(folder, name) or "") for folder in _folders(root, line.controllers, line.path) for name in names):
            return True
    return False


def pids(root: str, controllers: str, path: str) -> Pids | None:
    """:class:`Pids` of a cgroup and those above it; None where the kernel does not count.

    controllers, path: as in :class:`.procfs.CgroupLine`. Of all levels the one with the least room is told; where none has a
    limit, the cgroup itself.
    """
    found, parts = [], path.split("/")
    for length in range(len(parts), 1, -1):
        level = "/".join(parts[:length])
        for folder in _folders(root, controllers, level):
            current, most = _read(folder, "pids.current"), _read(folder, "pids.max")
            if current and most:
                found.append(Pids(int(current), None if most.strip() == "max" else int(most), level))
                break
    limited = [each for each in found if each.max is not None]
    return min(limited, key=lambda each: each.max - each.current) if limited else found[0] if found else None


def subfolders(folder: str) -> list:
    """Paths of the cgroups right below one. A folder without any is not listed: its link count tells (kernfs, as stat(2) of any folder)."""
    try:
        if os.stat(folder).st_nlink == 2:
            return []
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _hierarchy(root) -> tuple:
    """(folder, name of the list of tasks) of one that is mounted here; (None, None) where there is none."""
    for folder, name in ((root + "/pids", "tasks"), (root, "cgroup.threads"), (root + "/unified", "cgroup.threads")):
        if os.path.exists(folder + "/" + name):
            return folder, name
    return None, None


def _lines_of(fd) -> int:
    """Lines of a file, which is closed then."""
    try:
        return _lines(fd)
    finally:
        os.close(fd)


def _lines(fd) -> int:
    """Lines of a file, from its beginning."""
    count, at = 0, 0
    while True:
        try:
            data = os.pread(fd, MOST_BYTES, at)
        except OSError as error:
            if error.errno == errno.ENODEV and not at:
                raise
            return count
        count += data.count(b"\n")
        at += len(data)
        if len(data) < WHOLE:
            return count


def _folders(root, controllers, path):
    """Where a cgroup may be mounted: the layout of this node is one of them. None outside the sweep's cgroup namespace."""
    if ".." in path.split("/"):
        return ()
    if controllers == "":
        return (root + path, root + "/unified" + path)
    return (root + "/" + controllers + path,) + tuple(root + "/" + each + path for each in controllers.split(",") if each != controllers)


def processes(folder: str) -> list:
    """PIDs of the living processes in a cgroup, as the sweep's PID namespace counts; those outside it are left out."""
    return [int(pid) for pid in (_read(folder, "cgroup.procs") or "").split() if pid != "0"]


def _number(folder, name) -> int | None:
    text = _read(folder, name)
    return int(text) if text else None


def _read(folder, name) -> str | None:
    try:
        with open(folder + "/" + name, encoding="utf-8") as file:
            return file.read()
    except OSError:  # the other layout, or the cgroup went away with its process
        return None
