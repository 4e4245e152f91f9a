# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cgroups show: whether a process is frozen, how many tasks its cgroups may have, and how many
zombies the node has.

The kernel counts a zombie as a task, but no cgroup lists it: ``cgroup_exit()`` takes it off the
list, ``cgroup_release()`` only runs when it is waited for (Linux 5.2, commit b636fd38dc40). So
whatever is counted but not listed is a zombie. That is the ledger; it reads no process.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst and
cgroup-v1/pids.rst of the kernel. Supports version 1, version 2, and both side by side ("hybrid",
with version 2 in ``unified``).
"""

from __future__ import annotations

import errno
import os
import resource

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .procfs import CgroupLine, ProcFS

# (directory below the root, name of the file that lists a cgroup's tasks)
HIERARCHIES = (("", "cgroup.threads"), ("/unified", "cgroup.threads"), ("/pids", "tasks"))
PIDS_FIRST = (HIERARCHIES[2], HIERARCHIES[0])  # those that count tasks, or may
MAX_LOOKS = 3  # at the ledger, as long as new tasks appear during each
# levels of cgroups that are checked for a limit: a tenant may nest them as deep as a path is long
MAX_DEPTH = 64
REMOVED = (errno.ENOENT, errno.ENODEV)  # the cgroup of this file was removed
READ_BYTES = 1 << 16  # of a list of tasks at a time
# A read that returned less reached the end: unless it has a single line, the kernel fills at least
# a page (seq_file)
FULL_READ_BYTES = 4000


class Ledger:
    """Counts the zombies of the whole machine: all tasks (proc_loadavg(5)) minus those that its
    cgroups list.

    One hierarchy is enough, whatever its version and controllers, because every task is in one of
    its cgroups. If only a part of it is visible (the node is a container), the ledger counts the
    zombies of that part, provided the kernel counts its tasks: only a cgroup below the root has a
    ``pids.current``. If it does not, everything outside that part counts as a zombie, so the result
    is never too low.

    keep: leave the lists open between two counts, for the daemon; each count then takes one read
    per cgroup. Only for version 2: an open ``tasks`` of version 1 shows the same content until
    nobody has read it for a second (cgroup_pidlist_start() of kernel/cgroup/cgroup-v1.c).
    """

    def __init__(self, root: str, procfs: ProcFS, keep: bool = False) -> None:
        self.procfs = procfs
        self.counted, self.list_of_counted = _hierarchy(root, PIDS_FIRST)
        is_part = self.counted is not None and _number(self.counted, "pids.current") is not None
        # the visible part of the hierarchy; None when the whole of it is visible
        self.part = self.counted if is_part else None
        self.directory, self.list_name = (
            (self.counted, self.list_of_counted) if is_part else _hierarchy(root)
        )
        self.keep = keep and self.list_name == "cgroup.threads"
        self.descriptors: list[int] = []  # of the lists that are kept open
        self.cgroup_stat: str | None = None  # cgroup.stat of the top when they were opened

    def zombies(self) -> int | None:
        """None when they cannot be counted. Tasks that begin and end meanwhile make the number too
        high, not too low.

        Whatever is listed was either counted before or got its PID since. PIDs are assigned in
        order, so the last PID limits how many are new. That covers the PID namespace of this
        process and those below it, which on a node is everything. The number is too low by one if a
        task got its PID before the first of these reads, was not yet counted by the second, and
        another task was waited for while the lists were read.
        """
        if self.directory is None:
            return None
        counts = []
        try:
            for _look in range(MAX_LOOKS):
                tasks, last_pid = self._to_be_listed()
                listed = self._listed()
                tasks_now, last_pid_now = self._to_be_listed()
                new = last_pid_now - last_pid
                if new >= 0:  # else PIDs have wrapped around
                    # a task may have got its PID before and be counted only now
                    new = max(new, tasks_now - tasks)
                    counts.append(tasks + new - listed)
                    if not new or counts[-1] <= 0:
                        break
        except OSError:  # a list may not be opened, or there is no descriptor for it
            self.close()
            return None
        return min(counts, default=None)

    def holding(self) -> list[tuple[list[str], int]] | None:
        """(directories, number of zombies) of each cgroup that holds any, most zombies first; None
        when no cgroup counts its tasks.

        A cgroup in which the pids controller is not enabled (a delegated subtree, or one that a
        tenant made) counts together with the nearest one above that has it, so there may be several
        directories. A zombie whose cgroup was removed counts for the one above.
        """
        if self.counted is None:
            return None
        try:
            found, waiting = [], [(self.counted, self._to_be_listed()[0])]
            while waiting:
                directory, tasks = waiting.pop()
                uncounted, counted, todo = [], [], [directory]
                while todo:
                    uncounted.append(todo.pop())
                    for child in subdirectories(uncounted[-1]):
                        number = _number(child, "pids.current")
                        if number is None:
                            todo.append(child)
                        else:
                            counted.append((child, number))
                if directory == self.counted and len(uncounted) > 1 and not counted:
                    return None
                listed = sum(_lines_of(fd) for fd in _opened(uncounted, self.list_of_counted))
                zombies = tasks - sum(number for _child, number in counted) - listed
                if zombies > 0:
                    found.append((uncounted, zombies))
                waiting += counted
        except OSError:
            return None
        return sorted(found, key=lambda each: -each[1])

    def tasks(self) -> tuple[int, int]:
        """(number of all tasks of the machine, last PID that was assigned): proc_loadavg(5)."""
        words = self.procfs.read_text("loadavg").split()
        return int(words[3].partition("/")[2]), int(words[4])

    def _to_be_listed(self) -> tuple[int, int]:
        """(number of tasks that the lists should have, last PID assigned before they were counted).

        They are read in that order because a task gets its PID a moment before it is counted and
        listed (copy_process() of kernel/fork.c).
        """
        last_pid = self.tasks()[1]
        if self.part is None:
            return self.tasks()[0], last_pid
        with open(self.part + "/pids.current", encoding="ascii") as file:
            return int(file.read()), last_pid

    def close(self) -> None:
        """Close the lists that are kept open."""
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors, self.cgroup_stat = [], None

    def _listed(self) -> int:
        if self.keep and self._all_are_open():
            try:
                return sum(_lines(fd) for fd in self.descriptors)
            except OSError:  # ENODEV: one of them was removed
                self.close()
        return sum(_lines_of(fd) for fd in self._open_each())

    def _all_are_open(self) -> bool:
        """Reopen the lists when cgroups have come or gone; False if that would take more than half
        of the descriptors that this process may have.
        """
        now = _read(self.directory, "cgroup.stat") if self.directory else None
        if now is None or now != self.cgroup_stat:
            self.close()
            for fd in self._open_each():
                self.descriptors.append(fd)
                if len(self.descriptors) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
                    self.close()
                    return False
            self.cgroup_stat = now
        return True

    def _open_each(self) -> Iterator[int]:
        """Yield a descriptor of each cgroup's list."""
        directories = [self.directory] if self.directory else []
        while directories:
            directory = directories.pop()
            for fd in _opened([directory], self.list_name):
                yield fd
                directories += subdirectories(directory)


class Pids(Record):
    """Tasks (threads and zombies) in the cgroup that reaches its limit first."""

    current: int  # pids.current
    max: int | None  # pids.max; None: no limit
    cgroup: str  # its path in the hierarchy


def is_frozen(root: str, lines: Iterable[CgroupLine]) -> bool:
    """Whether the cgroup freezer has paused a process, or is about to: v2 ``cgroup.freeze``, v1
    ``freezer.state``.

    ``cgroup.events`` says ``frozen 1`` only when the last task has stopped, and one in
    uninterruptible sleep can delay that while all others stand still. So ``cgroup.freeze`` of the
    cgroup and of those above it counts too.

    root: ``/sys/fs/cgroup``. lines: the process's ``/proc/PID/cgroup``.
    """
    for line in lines:
        if line.controllers == "":
            if _any(root, line, line.path, "cgroup.events", "frozen 1"):
                return True
            if any(_any(root, line, level, "cgroup.freeze", "1") for level in _levels(line.path)):
                return True
        elif "freezer" in line.controllers.split(","):
            # FROZEN, or FREEZING on the way there; what is above is included
            if _any(root, line, line.path, "freezer.state", "FR"):
                return True
    return False


def _any(root: str, line: CgroupLine, path: str, name: str, sign: str) -> bool:
    """Whether this file of that cgroup contains the sign."""
    return any(
        sign in (_read(directory, name) or "")
        for directory in _directories(root, line.controllers, path)
    )


def _levels(path: str) -> Iterator[str]:
    """The paths of a cgroup and of those above it, without the root's, from the deepest on."""
    parts = path.split("/")[:MAX_DEPTH]
    for length in range(len(parts), 1, -1):
        yield "/".join(parts[:length])


def pids(root: str, controllers: str, path: str, own: str | None = None) -> Pids | None:
    """:class:`Pids` of a cgroup and those above it: the level whose limit is used up most. None
    when the kernel does not count them.

    controllers, path: as in :class:`.procfs.CgroupLine`. own: the path to return if no level has a
    limit; ``path`` by default.
    """
    found: dict[str, Pids] = {}
    for level in _levels(path):
        for directory in _directories(root, controllers, level):
            current, most = _read(directory, "pids.current"), _read(directory, "pids.max")
            if current and most:
                limit = None if most.strip() == "max" else int(most)
                found[level] = Pids(int(current), limit, level)
                break
    limited = [each for each in found.values() if each.max is not None]
    if limited:
        return max(limited, key=lambda each: each.current / each.max if each.max else 1.0)
    return found.get(own or path) or next(iter(found.values()), None)


def limit(root: str, controllers: str, path: str, top: str) -> int | None:
    """The smallest ``pids.max`` of a cgroup and of those above it, up to ``top``; None where there
    is none.
    """
    found = []
    while path.startswith(top) and path:
        for directory in _directories(root, controllers, path):
            most = (_read(directory, "pids.max") or "").strip()
            if most.isdecimal():
                found.append(int(most))
        path = path.rpartition("/")[0]
    return min(found, default=None)


def subdirectories(directory: str) -> list[str]:
    """Paths of the cgroups directly below one. A directory without any is not listed: its link
    count shows that (kernfs keeps it as stat(2) describes for any directory).
    """
    try:
        if os.stat(directory).st_nlink == 2:
            return []
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def processes(directory: str) -> list[int]:
    """PIDs of the living processes in a cgroup, as seen from the sweep's PID namespace; processes
    outside it are left out.
    """
    return [int(pid) for pid in (_read(directory, "cgroup.procs") or "").split() if pid != "0"]


def _hierarchy(
    root: str, candidates: Iterable[tuple[str, str]] = HIERARCHIES
) -> tuple[str | None, str]:
    """(directory, name of the list of tasks) of the first candidate that is mounted; (None, ``""``)
    if none is.
    """
    for directory, name in candidates:
        if os.path.exists(root + directory + "/" + name):
            return root + directory, name
    return None, ""


def _opened(directories: Iterable[str], name: str) -> Iterator[int]:
    """Yield a descriptor of this file in each of the directories. Cgroups that were removed
    meanwhile are skipped: they have no tasks.
    """
    for directory in directories:
        try:
            fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in REMOVED:
                raise
        else:
            yield fd


def _lines_of(fd: int) -> int:
    """The number of lines in a file, which is then closed; 0 when its cgroup was removed
    meanwhile.
    """
    try:
        return _lines(fd)
    except OSError:
        return 0
    finally:
        os.close(fd)


def _lines(fd: int) -> int:
    """The number of lines in a file, from its beginning; raises ``OSError`` when its cgroup was
    removed.
    """
    count, at = 0, 0
    while True:
        try:
            data = os.pread(fd, READ_BYTES, at)
        except OSError as error:
            if error.errno in REMOVED and not at:
                raise
            return count
        count += data.count(b"\n")
        at += len(data)
        if len(data) < FULL_READ_BYTES:
            return count


def _directories(root: str, controllers: str, path: str) -> tuple[str, ...]:
    """Where a cgroup may be mounted, one for each layout that nodes have; nowhere if it is outside
    the sweep's cgroup namespace.
    """
    if ".." in path.split("/"):
        return ()
    if controllers == "":
        return (root + path, root + "/unified" + path)
    singles = [each for each in controllers.split(",") if each != controllers]
    return tuple(f"{root}/{each}{path}" for each in (controllers, *singles))


def _number(directory: str, name: str) -> int | None:
    text = _read(directory, name)
    return int(text) if text else None


def _read(directory: str, name: str) -> str | None:
    try:
        with open(directory + "/" + name, encoding="utf-8") as file:
            return file.read()
    except OSError:  # the node has the other layout, or the cgroup has gone with its process
        return None
