# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgroups say: whether a process is paused, how many tasks it and its neighbours may be, and
how many zombies there are on the node.

A zombie is a task for the kernel's counters, but no cgroup lists it (``cgroup_exit()`` takes it off
the list, ``cgroup_release()`` comes when it is waited for; Linux 5.2, commit b636fd38dc40). So what
is counted and not listed is a zombie: that is the ledger. No process is read for it.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst and
cgroup-v1/pids.rst of the kernel. Version 1, version 2, and both side by side ("hybrid", version 2
in ``unified``).
"""

from __future__ import annotations

import errno
import os
import resource
from collections import namedtuple

# below the root: directory, name of its list of tasks
HIERARCHIES = (("", "cgroup.threads"), ("/unified", "cgroup.threads"), ("/pids", "tasks"))
PIDS_FIRST = (HIERARCHIES[2], HIERARCHIES[0])  # that count tasks, or may
LOOKS = 3  # at the ledger, while there are new tasks in each
# levels of cgroups that are asked for their limits: a tenant may make them as deep as a path is
# long
DEEPEST = 64
REMOVED = (errno.ENOENT, errno.ENODEV)
MAX_BYTES = 1 << 16  # of a list of tasks at a time
# bytes; a read that gave fewer came to the end: the kernel fills at least a page but for one line
# (seq_file)
WHOLE = 4000


class Ledger:
    """The number of zombies on the whole machine: all tasks (proc_loadavg(5)) less those that are
    listed in its cgroups.

    One hierarchy is enough, of whatever version and with whatever controller, since every task is
    in one of its cgroups. Where only a part of it is visible (a node that is a container), the
    zombies are those of that part, if the kernel counts its tasks: only a cgroup below the root has
    a ``pids.current``. Where it does not, all that is not visible counts as zombies, so the answer
    is never too low.

    keep: whether descriptors stay open between two counts, for a resident process; then a count is
    one read for each cgroup. Only of version 2: a ``tasks`` that stays open is told as it was until
    nobody has read it for a second (cgroup_pidlist_start() of kernel/cgroup/cgroup-v1.c).
    """

    def __init__(self, root: str, procfs, keep: bool = False) -> None:
        self.procfs = procfs
        self.counted, self.list_of_counted = _hierarchy(root, PIDS_FIRST)
        self.is_part = (
            self.counted is not None and _number(self.counted, "pids.current") is not None
        )
        self.directory, self.list_name = (
            (self.counted, self.list_of_counted) if self.is_part else _hierarchy(root)
        )
        self.keep = keep and self.list_name == "cgroup.threads"
        self.descriptors, self.number = [], None

    def zombies(self) -> int | None:
        """None where that cannot be told. Tasks that begin and end meanwhile make it too high, not
        too low.

        What is listed was counted before, or got a PID since then, and PIDs are given in order: so
        at most that many are new. That is known of the PID namespace of this process and those
        below it, which on a node is all. It is too low by one where a task had its PID before the
        first of these reads, was not counted in the second, and another one was waited for while
        the lists were read.
        """
        if self.directory is None:
            return None
        counts = []
        try:
            for _look in range(LOOKS):
                tasks, last_pid = self._to_be_listed()
                listed = self._listed()
                tasks_now, last_pid_now = self._to_be_listed()
                new = last_pid_now - last_pid
                if new >= 0:  # else they began from the lowest again
                    # it may have had its PID, and be counted only now
                    new = max(new, tasks_now - tasks)
                    counts.append(tasks + new - listed)
                    if not new or counts[-1] <= 0:
                        break
        except OSError:  # a list that may not be opened, or no descriptor for it
            self.close()
            return None
        return min(counts, default=None)

    def holding(self) -> list | None:
        """(directory, number of zombies) of each cgroup that holds some, those with most first;
        None where cgroups do not count tasks.

        Of a zombie whose cgroup was removed the one above is told.
        """
        if self.counted is None:
            return None
        try:
            found, waiting = [], [(self.counted, self._to_be_listed()[0])]
            while waiting:
                directory, tasks = waiting.pop()
                below = [
                    (each, _number(each, "pids.current")) for each in subdirectories(directory)
                ]
                below = [
                    (each, number)
                    for each, number in below
                    if number is not None or os.path.exists(each)
                ]
                with open(f"{directory}/{self.list_of_counted}", "rb") as file:
                    zombies = tasks - sum(number for _each, number in below) - _lines(file.fileno())
                if zombies > 0:
                    found.append((directory, zombies))
                waiting += below
        except (OSError, TypeError):
            # no pids.current below: that controller is not turned on there
            return None
        return sorted(found, key=lambda each: -each[1])

    def tasks(self) -> tuple:
        """(number of all tasks of the machine, last PID that was given)."""
        words = self.procfs.read_text("loadavg").split()
        return int(words[3].partition("/")[2]), int(words[4])

    def _to_be_listed(self) -> tuple:
        """(number of tasks that the lists should have, last PID that was given before they were
        counted).

        In that order, since a task has its PID a moment before it is counted, and is listed then
        (copy_process() of kernel/fork.c).
        """
        last_pid = self.tasks()[1]
        if not self.is_part:
            return self.tasks()[0], last_pid
        with open(self.counted + "/pids.current", encoding="ascii") as file:
            return int(file.read()), last_pid

    def close(self) -> None:
        """Close what is kept open."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors, self.number = [], None

    def _listed(self) -> int:
        if self.keep and self._all_are_open():
            try:
                return sum(_lines(fd) for fd in self.descriptors)
            except OSError:  # ENODEV: one of them was removed
                self.close()
        return sum(_lines_of(fd) for fd in self._open_each())

    def _all_are_open(self) -> bool:
        """Open them where cgroups have come or gone; False where they would take more than half of
        the descriptors that there may be.
        """
        number = _read(self.directory, "cgroup.stat")
        if number is None or number != self.number:
            self.close()
            for fd in self._open_each():
                self.descriptors.append(fd)
                if len(self.descriptors) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
                    self.close()
                    return False
            self.number = number
        return True

    def _open_each(self):
        """Yields a descriptor of the list of each cgroup. Those that are removed meanwhile have no
        tasks.
        """
        directories = [self.directory]
        while directories:
            directory = directories.pop()
            try:
                fd = os.open(f"{directory}/{self.list_name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in REMOVED:
                    raise
            else:
                yield fd
                directories += subdirectories(directory)


class Pids(namedtuple("Pids", ("current", "max", "cgroup"))):
    """Tasks (threads and zombies) in the cgroup whose limit is reached first.

    current: int. max: int, None for no limit. cgroup: str, its path in the hierarchy.
    """

    __slots__ = ()


def is_frozen(root: str, lines) -> bool:
    """Whether a process is paused by the cgroup freezer: v2 ``cgroup.freeze``, v1
    ``freezer.state``.

    root: ``/sys/fs/cgroup``. lines: :class:`.procfs.CgroupLine` tuples of the process.
    """
    for line in lines:
        if line.controllers == "":
            names, sign = ("cgroup.events",), "frozen 1"
        elif "freezer" in line.controllers.split(","):
            names, sign = ("freezer.state",), "FR"  # FROZEN, or FREEZING on the way there
        else:
            continue
        if any(
            sign in (_read(directory, name) or "")
            for directory in _directories(root, line.controllers, line.path)
            for name in names
        ):
            return True
    return False


def pids(root: str, controllers: str, path: str, own: str | None = None) -> Pids | None:
    """:class:`Pids` of a cgroup and those above it; None where the kernel does not count.

    controllers, path: as in :class:`.procfs.CgroupLine`. own: the path to tell of where no level
    has a limit; ``path`` unless it says otherwise. Of all levels the one of whose limit most is
    taken is told.
    """
    found, parts = {}, path.split("/")[:DEEPEST]
    for length in range(len(parts), 1, -1):
        level = "/".join(parts[:length])
        for directory in _directories(root, controllers, level):
            current, most = _read(directory, "pids.current"), _read(directory, "pids.max")
            if current and most:
                found[level] = Pids(
                    int(current), None if most.strip() == "max" else int(most), level
                )
                break
    limited = [each for each in found.values() if each.max is not None]
    if limited:
        return max(limited, key=lambda each: each.current / each.max if each.max else 1.0)
    return found.get(own or path) or next(iter(found.values()), None)


def subdirectories(directory: str) -> list:
    """Paths of the cgroups right below one. A directory without any is not listed: its link count
    tells (kernfs, as stat(2) of any directory).
    """
    try:
        if os.stat(directory).st_nlink == 2:
            return []
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _hierarchy(root, names=HIERARCHIES) -> tuple:
    """(directory, name of the list of tasks) of the first that is mounted here; (None, None) where
    there is none.
    """
    for directory, name in names:
        if os.path.exists(root + directory + "/" + name):
            return root + directory, name
    return None, None


def _lines_of(fd) -> int:
    """Lines of a file, which is closed then; none when its cgroup was removed meanwhile."""
    try:
        return _lines(fd)
    except OSError:
        return 0
    finally:
        os.close(fd)


def _lines(fd) -> int:
    """Lines of a file, from its beginning; ``OSError`` when its cgroup was removed."""
    count, at = 0, 0
    while True:
        try:
            data = os.pread(fd, MAX_BYTES, at)
        except OSError as error:
            if error.errno in REMOVED and not at:
                raise
            return count
        count += data.count(b"\n")
        at += len(data)
        if len(data) < WHOLE:
            return count


def _directories(root, controllers, path):
    """Where a cgroup may be mounted: the layout of this node is one of them. None outside the
    sweep's cgroup namespace.
    """
    if ".." in path.split("/"):
        return ()
    if controllers == "":
        return (root + path, root + "/unified" + path)
    return (root + "/" + controllers + path,) + tuple(
        root + "/" + each + path for each in controllers.split(",") if each != controllers
    )


def processes(directory: str) -> list:
    """PIDs of the living processes in a cgroup, as the sweep's PID namespace counts; those outside
    it are left out.
    """
    return [int(pid) for pid in (_read(directory, "cgroup.procs") or "").split() if pid != "0"]


def _number(directory, name) -> int | None:
    text = _read(directory, name)
    return int(text) if text else None


def _read(directory, name) -> str | None:
    try:
        with open(directory + "/" + name, encoding="utf-8") as file:
            return file.read()
    except OSError:  # the other layout, or the cgroup went away with its process
        return None
