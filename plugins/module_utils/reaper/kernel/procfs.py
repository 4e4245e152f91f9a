# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process as the kernel shows it in ``/proc/PID``. Nothing else in the engine opens that
directory.

Sources: proc(5), proc_pid_stat(5), proc_pid_status(5), cgroups(7), pid_namespaces(7).

A process may vanish between any two reads; that is normal, and every reader then returns ``None``.
Even root may be refused the links of another process (``exe``, ``ns/pid``: ptrace(2), access mode
checking); those are ``None`` too.

Whatever a process chose itself (its name, its arguments, the name of its executable) remains
``bytes`` until :mod:`.report` makes it printable.
"""

from __future__ import annotations

import errno
import os
import sys

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import FileIO

AT_SYSINFO_EHDR = 33  # include/uapi/linux/auxvec.h: the vDSO
PF_EXITING = 0x00000004  # include/linux/sched.h: it is exiting or has exited
PF_KTHREAD = 0x00200000  # include/linux/sched.h: a kernel thread
SECCOMP_STRICT, SECCOMP_FILTER = 1, 2  # seccomp(2)
# the 22 fields used here end long before; a full line has at most about 1100 bytes
STAT_BYTES = 1024
# 0.7 MB of it may come before other fields: a process may be in 65536 groups
STATUS_BYTES = 1 << 20
MAPS_BYTES = 8 << 20  # 65,530 mappings, the default of vm.max_map_count, take 6 MB
MOUNTS_BYTES = 1 << 20
# in a namespace with a thousand services, a pod has 350 KB of variables for them
ENVIRON_BYTES = 1 << 20
VALUE_BYTES = 256
CHILDREN_BYTES = 4096
RUNNING: tuple[int, ...] = ()  # in place of a system call


class Stat(Record):
    """The fields of ``/proc/PID/stat`` that the engine uses (proc_pid_stat(5))."""

    pid: int  # field 1; seen from the /proc that was read, like all PIDs here
    comm: bytes  # field 2; at most 15 bytes (kernel threads: 64), chosen by the process itself
    state: str  # field 3; one letter, Z for a zombie (ps adds more letters: Zs, Z+, ZN)
    ppid: int  # field 4; 0: the parent is outside the PID namespace
    flags: int  # field 9; PF_* of include/linux/sched.h
    num_threads: int  # field 20; of a zombie, more than 1: its leader exited, other threads live on
    start_ticks: int  # field 22; clock ticks after boot. Together with pid it is unique for ever
    session: int = 0  # field 6; PID of its session leader (setsid(2)), 0: outside the PID namespace


class Status(Record):
    """The fields of ``/proc/PID/status`` that the engine uses (proc_pid_status(5)).

    In signal masks bit N-1 stands for signal N, in capabilities bit N for capability N.
    """

    uid: int  # Uid, first number: the real one, seen from the reader's user namespace
    tracer_pid: int  # TracerPid; 0: nobody traces it
    # NSpid (Linux 4.1): its PID in the reader's PID namespace first, in its own last. A single
    # number means that they are the same: whatever a /proc shows is in its namespace or below
    ns_pid: tuple[int, ...]
    blocked: int  # SigBlk, of the thread that was read; a PID names the first one
    ignored: int  # SigIgn
    caught: int  # SigCgt
    seccomp: int  # Seccomp (seccomp(2)); 0: none, or the kernel was built without it
    # CapPrm and CapBnd: what it has or may still obtain in its user namespace (capabilities(7))
    capabilities: int = 0
    pending: int = 0  # SigPnd and ShdPnd: sent to that thread or its process, not yet taken

    @property
    def in_own_pid_namespace(self) -> bool:
        """Whether it is in the PID namespace of the ``/proc`` it was read from."""
        return len(self.ns_pid) == 1


class Thread(Record):
    """How one thread deals with signals, and what it is waiting for."""

    tid: int  # /proc/PID/task/TID
    blocked: int  # field 32 of stat: mask of the signals up to 31
    caught: int  # field 34 of stat: likewise
    runs: int | None  # field 3 of schedstat: how often it got a CPU; None: not counted
    # syscall: (number, argument, ...), or RUNNING; None: not shown, or those of a 32-bit program
    system_call: tuple[int, ...] | None


class CgroupLine(Record):
    """One line of ``/proc/PID/cgroup`` (cgroups(7))."""

    controllers: str  # field 2: "" for cgroup v2, else for example "pids" or "name=systemd"
    path: str  # field 3: absolute in the reader's cgroup namespace, without a final " (deleted)"


class Mapping(Record):
    """One line of ``/proc/PID/maps`` (proc_pid_maps(5))."""

    start: int  # field 1: its first address
    name: bytes  # field 6: a path, or [vdso] and the like for memory that the kernel provides
    is_file: bool  # fields 4 and 5: anonymous memory has device 00:00 and inode 0


class Rights(Record):
    """What this process may do."""

    capabilities: int  # CapEff of /proc/self/status: bit N stands for capability N
    seccomp: int  # Seccomp of /proc/self/status, as in Status
    in_first_user_namespace: bool  # by /proc/self/uid_map


def parse_stat(data: bytes) -> Stat:
    """Parse ``/proc/PID/stat``; raises ``ValueError`` when it is malformed.

    The second field is the name in parentheses. It may contain spaces, parentheses and newlines, so
    fields are counted from the last ``)``: no later field can contain one.
    """
    opening, closing = data.find(b" ("), data.rfind(b") ")
    if opening < 0 or closing < opening + 2:
        raise ValueError(f"not a /proc/PID/stat line: {data[:80]!r}")
    rest = data[closing + 2 :].split(None, 20)
    if len(rest) < 20:
        raise ValueError(f"a /proc/PID/stat line with only {len(rest) + 2} fields: {data[:80]!r}")
    return Stat(
        pid=int(data[:opening]),
        comm=data[opening + 2 : closing],
        state=rest[0].decode("ascii"),
        ppid=int(rest[1]),
        flags=int(rest[6]),
        num_threads=int(rest[17]),
        start_ticks=int(rest[19]),
        session=int(rest[3]),
    )


def parse_status(data: bytes) -> Status:
    """Parse ``/proc/PID/status``; raises ``ValueError`` when a field is missing or empty.

    The first line is the name, in which the kernel escapes newlines. It is skipped, so no name can
    pose as a field.
    """
    fields: dict[bytes, bytes] = {}
    for line in data.split(b"\n")[1:]:
        key, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(key, value)
    try:
        status = Status(
            uid=int(fields[b"Uid"].split()[0]),
            tracer_pid=int(fields[b"TracerPid"]),
            ns_pid=tuple(int(pid) for pid in fields[b"NSpid"].split()),
            blocked=int(fields[b"SigBlk"], 16),
            ignored=int(fields[b"SigIgn"], 16),
            caught=int(fields[b"SigCgt"], 16),
            seccomp=int(fields.get(b"Seccomp", 0)),
            capabilities=int(fields.get(b"CapPrm", b"0"), 16)
            | int(fields.get(b"CapBnd", b"0"), 16),
            pending=int(fields.get(b"SigPnd", b"0"), 16) | int(fields.get(b"ShdPnd", b"0"), 16),
        )
    except KeyError as missing:
        raise ValueError(f"/proc/PID/status has no field {missing.args[0].decode()}") from None
    except IndexError:
        raise ValueError("/proc/PID/status has an empty field Uid") from None
    if not status.ns_pid:
        raise ValueError("/proc/PID/status has an empty field NSpid")
    return status


def parse_cgroup(data: bytes) -> tuple[CgroupLine, ...]:
    """Parse ``/proc/PID/cgroup``; the cgroup v2 line, if there is one, comes first.

    The kernel allows no newlines in names of cgroups, so a line is a line. Malformed lines are left
    out.
    """
    lines = []
    for line in data.split(b"\n"):
        parts = line.split(b":", 2)
        if len(parts) == 3 and parts[0].isdigit():
            path = parts[2].decode("utf-8", "surrogateescape")
            if path.endswith(" (deleted)"):
                path = path[: -len(" (deleted)")]
            lines.append(CgroupLine(parts[1].decode("utf-8", "surrogateescape"), path))
    return tuple(sorted(lines, key=lambda line: line.controllers != ""))


def _words(file: FileIO) -> Iterator[bytes]:
    """Yield the words of a file with a space after each word, reading a part of it at a time."""
    rest = b""
    while True:
        try:
            data = file.read(CHILDREN_BYTES)
        except ProcessLookupError:
            return
        if not data:
            return
        *words, rest = (rest + data).split(b" ")
        yield from words


class ProcFS:
    """Reads one ``/proc``. root: its path, which is another one in tests."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def _read(self, pid: int, name: str, max_bytes: int = 65536) -> bytes | None:
        try:
            fd = os.open(f"{self.root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None
        try:
            return os.read(fd, max_bytes)
        except ProcessLookupError:
            return None
        finally:
            os.close(fd)

    def pids(self) -> list[int]:
        """All PIDs in the process table, in no particular order."""
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def zombies(self) -> Iterator[Stat]:
        """Yields every zombie, found in one pass over the process table that reads nothing but
        ``stat``, in the order of their PIDs.

        Flat on purpose: the loop runs for each process of the node, and one more call in it would
        take a third longer. It keeps nothing: a list of a million names would take 60 MB.
        """
        root = self.root
        with os.scandir(root) as entries:
            for entry in entries:
                name = entry.name
                if not name.isdigit():
                    continue
                try:
                    fd = os.open(f"{root}/{name}/stat", os.O_RDONLY)
                except (FileNotFoundError, ProcessLookupError):
                    continue
                try:
                    data = os.read(fd, STAT_BYTES)
                except ProcessLookupError:
                    continue
                finally:
                    os.close(fd)
                after_name = data.rfind(b") ") + 2
                if data[after_name : after_name + 1] == b"Z":
                    yield parse_stat(data)

    def stat(self, pid: int) -> Stat | None:
        """``/proc/PID/stat`` of one process."""
        data = self._read(pid, "stat", STAT_BYTES)
        return parse_stat(data) if data else None

    def wait_status(self, pid: int) -> int | None:
        """The status that wait(2) will return for a zombie (``exit_code`` of proc_pid_stat(5)).

        None when it is not a zombie, or when this process may not see the status: the kernel shows
        0 then. It makes the same check for ``ns/pid`` (ptrace(2), PTRACE_MODE_READ_FSCREDS;
        do_task_stat() of fs/proc/array.c).
        """
        if self.pid_namespace(pid) is None:
            return None
        data = self._read(pid, "stat", 2 * STAT_BYTES) or b""
        fields = data[data.rfind(b") ") + 2 :].split()
        return int(fields[49]) if fields[:1] == [b"Z"] and len(fields) >= 50 else None

    def last_cpu(self, tid: int) -> int | None:
        """The CPU on which a thread runs or last ran (``processor`` of proc_pid_stat(5)); None when
        it has gone.
        """
        data = self._read(tid, "stat", 2 * STAT_BYTES) or b""
        fields = data[data.rfind(b") ") + 2 :].split()
        return int(fields[36]) if len(fields) > 36 else None

    def status(self, pid: int) -> Status | None:
        """``/proc/PID/status`` of one process."""
        data = self._read(pid, "status", STATUS_BYTES)
        return parse_status(data) if data else None

    def cgroup(self, pid: int) -> tuple[CgroupLine, ...]:
        """``/proc/PID/cgroup`` of one process; empty when it has gone or the kernel has no cgroups.

        Also empty for a path longer than PATH_MAX, which some kernels refuse to show, and which a
        tenant with cgroups of its own can create.
        """
        try:
            return parse_cgroup(self._read(pid, "cgroup") or b"")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return ()

    def command_line(self, pid: int, max_bytes: int = 4096) -> bytes | None:
        """The beginning of its arguments, separated by NUL; empty for zombies and kernel threads.

        Read in one call, without touching more of the process's memory: a tenant may make it as
        long as it likes.
        """
        return self._read(pid, "cmdline", max_bytes)

    def executable(self, pid: int) -> bytes | None:
        """Path of the file it executes, in its own mount namespace; None for kernel threads and
        zombies.

        Also None for a path longer than the page that the kernel has for it (ENAMETOOLONG), which
        anybody can arrange.
        """
        try:
            path = os.readlink(os.fsencode(f"{self.root}/{pid}/exe"))
        except OSError:
            return None
        return path[: -len(b" (deleted)")] if path.endswith(b" (deleted)") else path

    def is_exiting(self, pid: int) -> bool:
        """Whether all its threads are exiting or have exited (PF_EXITING); True when it has gone.

        A PID 1 kills and collects its whole namespace when its last thread exits, not when its
        first one does (find_child_reaper() of kernel/exit.c).
        """
        return all(stat.flags & PF_EXITING for stat in self.stats_of_threads(pid))

    def stats_of_threads(self, pid: int) -> Iterator[Stat]:
        """Yield the ``stat`` of each of its threads as it is read; nothing when it has gone."""
        try:
            names = os.listdir(f"{self.root}/{pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return
        for name in names:
            data = self._read(pid, f"task/{name}/stat", STAT_BYTES)
            if data:
                yield parse_stat(data)

    def pid_namespace(self, pid: int) -> int | None:
        """Inode number of its PID namespace (namespaces(7)); works for zombies too."""
        return self._namespace(pid, "pid")

    def user_namespace(self, pid: int) -> int | None:
        """Inode number of its user namespace (namespaces(7)); works for zombies too."""
        return self._namespace(pid, "user")

    def _namespace(self, pid: int, kind: str) -> int | None:
        try:
            return os.stat(f"{self.root}/{pid}/ns/{kind}").st_ino
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None

    def open_namespace(self, pid: int, kind: str) -> int:
        """A descriptor of its namespace of that kind (``"pid"``, ``"net"``), for setns(2); raises
        ``OSError`` when that is refused or the process has gone.

        Tries each thread: a first thread that has exited is still in its PID namespace, but in no
        other one.
        """
        directory = f"{self.root}/{pid}/task"
        for thread in (str(pid), *os.listdir(directory)):
            try:
                return os.open(f"{directory}/{thread}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def environment(self, pid: int, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """``{name: value}`` of these variables only; values are cut to :data:`VALUE_BYTES`.

        They are as at its start, unless the process overwrote them (proc_pid_environ(5)). Empty
        when they cannot be read.
        """
        try:
            data = b"\0" + (self._read(pid, "environ", ENVIRON_BYTES) or b"")
        except OSError:
            return {}
        found = {}
        for name in names:  # search instead of parsing: there may be a million others
            before = b"\0" + name + b"="
            at = data.find(before)
            if at >= 0:
                start = at + len(before)
                found[name] = data[start : start + VALUE_BYTES].partition(b"\0")[0]
        return found

    def children(self, pid: int) -> list[int]:
        """PIDs of the children of its first thread, including zombies (proc_pid_task(5)). Without
        CONFIG_PROC_CHILDREN, found by looking at all processes.
        """
        data = self._read(pid, f"task/{pid}/children")
        if data is not None:
            return [int(child) for child in data.split()]
        stats = (self.stat(each) for each in self.pids())
        return [stat.pid for stat in stats if stat and stat.ppid == pid]

    def zombie_children(
        self,
        pid: int,
        most: int,
        on_zombie: Callable[[Stat], object] = lambda stat: None,
        on_wasted_look: Callable[[], object] = lambda: None,
    ) -> tuple[int, bool]:
        """(number of zombies among the children of all its threads, whether there may be more than
        ``most``).

        The oldest children come first; of a long list only as much is read as is needed.
        on_zombie: called with each. on_wasted_look: called for each thread and for each child that
        is not a zombie; an exception that it raises ends the search.
        Raises ``OSError`` without CONFIG_PROC_CHILDREN.
        """
        found = 0
        try:
            threads = os.listdir(f"{self.root}/{pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return found, False
        for thread in threads:
            on_wasted_look()
            try:
                # unbuffered: of a long list, _words() reads as much as is needed
                file = open(f"{self.root}/{pid}/task/{thread}/children", "rb", buffering=0)
            except FileNotFoundError:
                if os.path.exists(f"{self.root}/{pid}/task/{thread}/stat"):
                    raise
                continue
            with file:
                for child in _words(file):
                    if found == most:
                        return found, True
                    stat = self.stat(int(child))
                    if stat and stat.state == "Z" and stat.ppid == pid:
                        on_zombie(stat)
                        found += 1
                    else:
                        on_wasted_look()
        return found, False

    def system_call(self, pid: int) -> tuple[int, ...] | None:
        """(number, argument, ...) of the system call that it sleeps in (proc_pid_syscall(5)); None
        when it is running or the kernel does not show the call.
        """
        try:
            words = (self._read(pid, "syscall", 256) or b"").split()
            return tuple(int(word, 0) for word in words[:7]) if len(words) == 9 else None
        except (OSError, ValueError):
            return None

    def threads(self, pid: int, most: int) -> list[Thread]:
        """The first ``most`` of its threads; empty when it has gone.

        The signal masks come from ``stat`` (proc_pid_stat(5)), because a process in many groups can
        make ``status`` slow to read. For ``schedstat`` see Documentation/scheduler/sched-stats.rst;
        it needs CONFIG_SCHED_INFO.
        """
        try:
            tids = [int(name) for name in os.listdir(f"{self.root}/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            return []
        found = []
        for tid in sorted(tids)[:most]:
            stat = self._read(pid, f"task/{tid}/stat", STAT_BYTES) or b""
            fields = stat.rpartition(b") ")[2].split()
            if len(fields) > 31:
                runs = (self._read(pid, f"task/{tid}/schedstat", 256) or b"").split()
                found.append(
                    Thread(
                        tid=tid,
                        blocked=int(fields[29]),
                        caught=int(fields[31]),
                        runs=int(runs[2]) if len(runs) == 3 else None,
                        system_call=self._system_call_of_thread(pid, tid),
                    )
                )
        return found

    def _system_call_of_thread(self, pid: int, tid: int) -> tuple[int, ...] | None:
        """A 32-bit program, whose system calls have other numbers, is recognized by its stack: all
        its memory is below 4 GB.
        """
        try:
            words = (self._read(pid, f"task/{tid}/syscall", 256) or b"").split()
            if words == [b"running"]:
                return RUNNING
            return (
                tuple(int(word, 0) for word in words[:7])
                if len(words) == 9 and int(words[7], 0) >> 32
                else None
            )
        except (OSError, ValueError):
            return None

    def mounts(self, pid: int) -> dict[bytes, bytes]:
        """``{mount point: file system type}`` of its mount namespace, below its root directory
        (proc_pid_mountinfo(5)).

        Empty when it has gone, or when its mounts do not fit into :data:`MOUNTS_BYTES`.
        """
        found, data = {}, b""
        try:
            with open(f"{self.root}/{pid}/mountinfo", "rb") as file:
                data = file.read(MOUNTS_BYTES)
        except OSError:
            pass
        if len(data) == MOUNTS_BYTES:
            return {}
        for line in data.splitlines():
            fields, _separator, kind = line.partition(b" - ")
            # of several at the same place, the last one covers the others
            found[fields.split(b" ")[4]] = kind.split(b" ")[0]
        return found

    def ns_pid_of(self, pidfd: int) -> tuple[int, ...]:
        """The PIDs of the process of a pidfd, like ``ns_pid`` of :class:`Status`, at a sixth of the
        cost; empty when it was waited for.

        ``/proc/self/fdinfo`` shows them since Linux 5.5 (proc_pid_fdinfo(5)).
        """
        fd = os.open(f"{self.root}/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fdinfo = os.read(fd, 4096)
        finally:
            os.close(fd)
        _before, found, numbers = fdinfo.partition(b"\nNSpid:")
        if not found:
            status = self.status(int(fdinfo.partition(b"\nPid:")[2].split()[0]))
            return status.ns_pid if status else ()
        ns_pid = tuple(int(pid) for pid in numbers.split(b"\n")[0].split())
        return ns_pid if ns_pid[0] > 0 else ()

    def vdso_address(self, pid: int) -> int | None:
        """Where the vDSO of a 64-bit process begins, from its auxiliary vector (getauxval(3)); None
        when it has none.
        """
        vector = self._read(pid, "auxv") or b""
        for at in range(0, len(vector) - 15, 16):
            if int.from_bytes(vector[at : at + 8], sys.byteorder) == AT_SYSINFO_EHDR:
                return int.from_bytes(vector[at + 8 : at + 16], sys.byteorder) or None
        return None

    def memory(self, pid: int, address: int, size: int) -> bytes | None:
        """At most ``size`` bytes of its memory: fewer if a mapping ends there, None if nothing is
        mapped.
        """
        try:
            fd = os.open(f"{self.root}/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        try:
            return os.pread(fd, size, address)
        except (OSError, OverflowError):
            # nothing is mapped there, or no process has such an address
            return None
        finally:
            os.close(fd)

    def mapping(self, pid: int, address: int) -> Mapping | None:
        """The mapping that contains an address of its memory; None if nothing is mapped there, or
        it comes after :data:`MAPS_BYTES` of the list. Takes milliseconds.
        """
        seen = 0
        maps = f"{self.root}/{pid}/maps"
        try:
            with open(maps, "rb", buffering=CHILDREN_BYTES) as file:
                for line in file:  # one at a time: the node may be out of memory
                    seen += len(line)
                    fields = line.split(None, 5)
                    if seen > MAPS_BYTES or len(fields) < 5:
                        break
                    start, _dash, end = fields[0].partition(b"-")
                    if int(start, 16) <= address < int(end, 16):
                        return Mapping(
                            start=int(start, 16),
                            name=fields[5].rstrip(b"\n") if len(fields) == 6 else b"",
                            is_file=fields[3] != b"00:00" or fields[4] != b"0",
                        )
        except OSError:
            pass
        return None

    def waits_for_a_page(self, pid: int) -> bool:
        """Whether a thread that was running its own code now waits for a page: it is in
        uninterruptible sleep, and not frozen (cgroup v1).

        Also False when proc_pid_wchan(5) does not show where it sleeps.
        """
        stat = self.stat(pid)
        where = self._read(pid, "wchan", 256) or b"0"
        return (
            stat is not None
            and stat.state == "D"
            and where != b"0"
            and b"refrigerator" not in where
        )

    def waits_for_a_supervisor(self, pid: int) -> bool:
        """Whether a thread is in a system call that its seccomp filter has left to another process
        (seccomp_unotify(2)): seccomp sleeps for nothing else.

        Also False when proc_pid_wchan(5) does not show where it sleeps.
        """
        return b"seccomp" in (self._read(pid, "wchan", 256) or b"")

    def thread(self, pid: int, tid: int) -> Stat | None:
        """``stat`` of one thread of a process; None when the process has no thread of that TID."""
        data = self._read(pid, f"task/{tid}/stat", STAT_BYTES)
        return parse_stat(data) if data else None

    def cpu_seconds(self, tid: int) -> float:
        """CPU time that a thread has used so far, by ``schedstat``
        (Documentation/scheduler/sched-stats.rst); 0 where that is not counted.
        """
        words = (self._read(tid, "schedstat", 256) or b"").split()
        return int(words[0]) / 1e9 if words else 0.0

    def thread_ids(self, pid: int) -> list[int]:
        """The TIDs of its threads, beginning with its first thread; empty when it has gone."""
        try:
            return sorted(
                (int(name) for name in os.listdir(f"{self.root}/{pid}/task")),
                key=lambda tid: tid != pid,
            )
        except (FileNotFoundError, ProcessLookupError):
            return []

    @property
    def empty_directory(self) -> str:
        """Path of a root directory for a process that is about to give up its rights: it cannot
        open anything in it then.
        """
        return f"{self.root}/self/fdinfo"

    def own_rights(self) -> Rights:
        """What this process may do. The first user namespace is recognized by mapping every UID to
        itself (user_namespaces(7)), which others hardly ever do.
        """
        lines = self.read_text("self/status").splitlines()[1:]
        fields = dict(line.split(":", 1) for line in lines)
        try:
            in_first = self.read_text("self/uid_map").split() == ["0", "0", "4294967295"]
        except OSError:  # a kernel without user namespaces
            in_first = True
        return Rights(
            capabilities=int(fields["CapEff"], 16),
            seccomp=int(fields.get("Seccomp", "0")),
            in_first_user_namespace=in_first,
        )

    def yama_scope(self) -> str | None:
        """``kernel.yama.ptrace_scope``: ``"0"`` to ``"3"``, or None without Yama."""
        try:
            return self.read_text("sys/kernel/yama/ptrace_scope").strip()
        except OSError:
            return None

    def real_time_may_take_a_cpu(self) -> bool:
        """Whether nothing keeps real-time tasks from taking all the time of a CPU
        (``kernel.sched_rt_runtime_us`` is -1, see sched(7)). A kernel without CONFIG_SYSCTL does.
        """
        try:
            return self.read_text("sys/kernel/sched_rt_runtime_us").strip() == "-1"
        except OSError:
            return False

    def read_text(self, name: str) -> str:
        """The content of a kernel file outside ``/proc/PID``, such as ``sys/kernel/pid_max``;
        raises ``OSError``.
        """
        with open(f"{self.root}/{name}", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
