# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process as the kernel shows it below ``/proc/PID``. Nothing else in the engine opens that
directory.

Sources: proc(5), proc_pid_stat(5), proc_pid_status(5), cgroups(7), pid_namespaces(7).

A process may vanish between any two reads; that is normal. Every reader here returns ``None`` then.
Even root may be refused the links of another process (``exe``, ``ns/pid``: ptrace(2), access mode
checking); these are ``None`` too.

Whatever a process chose itself (its name, its arguments, the name of its executable) is kept as
``bytes`` until :mod:`.report` makes it printable.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import namedtuple

AT_SYSINFO_EHDR = 33  # include/uapi/linux/auxvec.h: the vDSO
PF_EXITING = 0x00000004  # include/linux/sched.h: it is about to end, or has ended
PF_KTHREAD = 0x00200000  # include/linux/sched.h: a kernel thread
STAT_BYTES = (
    1024  # the 22 fields used here end long before; a full line has at most about 1100 bytes
)
MAPS_BYTES = 8 << 20  # 65,530 mappings, the default of vm.max_map_count, take 6 MB
MOUNTS_BYTES = 1 << 20
# a pod of a namespace with a thousand services has 350 KB of them in its environment
ENVIRON_BYTES = 1 << 20
VALUE_BYTES = 256
RUNNING = ()  # instead of a system call
CHILDREN_BYTES = 4096
# a process may be in 65536 groups, which take 0.7 MB and stand before other fields
STATUS_BYTES = 1 << 20


class Stat(
    namedtuple(
        "Stat",
        ("pid", "comm", "state", "ppid", "flags", "num_threads", "start_ticks", "session"),
        defaults=(0,),
    )
):
    """The fields of ``/proc/PID/stat`` that the engine uses.

    pid, ppid: int, as seen from the ``/proc`` that was read; ppid 0 is a parent outside its PID
    namespace.
    comm: bytes, at most 15 (64 for kernel threads), chosen by the process itself.
    state: one letter; ``Z`` for a zombie. ``ps`` shows ``Zs``, ``Z+`` or ``ZN`` for the same state.
    flags: int, ``PF_*`` of include/linux/sched.h.
    num_threads: int; above 1 on a zombie means that its leader has exited and other threads live
    on.
    start_ticks: int, clock ticks after boot. With pid it names one process for ever.
    session: int, PID of the leader of its session (setsid(2)); 0 where that is outside the PID
    namespace of the ``/proc`` that was read.
    """

    __slots__ = ()


SECCOMP_STRICT, SECCOMP_FILTER = 1, 2  # seccomp(2)


class Status(
    namedtuple(
        "Status",
        (
            "uid",
            "tracer_pid",
            "ns_pid",
            "blocked",
            "ignored",
            "caught",
            "seccomp",
            "capabilities",
            "pending",
        ),
        defaults=(0, 0),
    )
):
    """The fields of ``/proc/PID/status`` that the engine uses.

    uid: int, the real user ID as seen from the reader's user namespace.
    tracer_pid: int, 0 when nobody traces it.
    ns_pid: tuple of int, its PID in the reader's PID namespace first, in its own last (Linux 4.1).
    One number means that both are the same namespace: what is visible in a ``/proc`` is in its
    namespace or in one below.
    blocked, ignored, caught: int, signal masks; bit N-1 stands for signal N.
    seccomp: int, 0 none, 1 strict, 2 filter (seccomp(2)); 0 where the kernel was built without it.
    capabilities: int, those it has or could come to have in its user namespace (capabilities(7));
    bit N stands for capability N.
    pending: int, signals that it or its first thread has been sent and not yet taken; a mask as
    blocked.
    """

    __slots__ = ()

    @property
    def in_own_pid_namespace(self) -> bool:
        """Whether it is in the PID namespace of the ``/proc`` it was read from."""
        return len(self.ns_pid) == 1


class Thread(namedtuple("Thread", ("tid", "blocked", "caught", "runs", "system_call"))):
    """What tells how one thread of a process deals with signals and what it is waiting for.

    blocked, caught: int, signal masks of the signals up to 31. runs: int, how often it was given a
    CPU, None where the kernel does not count that.
    system_call: as :meth:`ProcFS.system_call` returns it; :data:`RUNNING` where it runs, None where
    that is not told, or its numbers are those of 32-bit programs.
    """

    __slots__ = ()


class CgroupLine(namedtuple("CgroupLine", ("controllers", "path"))):
    """One line of ``/proc/PID/cgroup``.

    controllers: str, ``""`` on the cgroup v2 line, else for example ``"pids"`` or
    ``"name=systemd"``.
    path: str, absolute in the reader's cgroup namespace, without the ``" (deleted)"`` of a removed
    cgroup.
    """

    __slots__ = ()


def parse_stat(data: bytes) -> Stat:
    """``/proc/PID/stat`` as :class:`Stat`; ``ValueError`` when it is not one.

    The second field is the name in parentheses and may hold blanks, parentheses and newlines, so
    the fields are counted from the last ``)``: no later field can contain one.
    """
    opening, closing = data.find(b" ("), data.rfind(b") ")
    if opening < 0 or closing < opening + 2:
        raise ValueError(f"not a /proc/PID/stat line: {data[:80]!r}")
    rest = data[closing + 2 :].split(None, 20)
    if len(rest) < 20:
        raise ValueError(f"a /proc/PID/stat line of only {len(rest) + 2} fields: {data[:80]!r}")
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
    """``/proc/PID/status`` as :class:`Status`; ``ValueError`` when a field is missing or empty.

    The first line is the name, in which the kernel escapes newlines; it is passed over, so no name
    can pose as a field.
    """
    fields = {}
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


def parse_cgroup(data: bytes) -> tuple:
    """``/proc/PID/cgroup`` as a tuple of :class:`CgroupLine`, the cgroup v2 line first where there
    is one.

    The kernel refuses newlines in names of cgroups, so a line is a line. Lines that do not parse
    are left out.
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


def _words(file):
    """Yields the words of a file that ends each with a blank, a part of it at a time."""
    rest = b""
    while True:
        try:
            data = file.read1(CHILDREN_BYTES)
        except ProcessLookupError:
            return
        if not data:
            return
        *words, rest = (rest + data).split(b" ")
        yield from words


class Mapping(namedtuple("Mapping", ("start", "name", "is_file"))):
    """One line of ``/proc/PID/maps`` (proc_pid_maps(5)).

    start: int, its first address. name: bytes, a path, or ``[vdso]`` and the like for memory of the
    kernel's making. is_file: bool, whether it shows a file, from whatever file system; anonymous
    memory has device 00:00 and inode 0.
    """

    __slots__ = ()


class Rights(namedtuple("Rights", ("capabilities", "seccomp", "in_first_user_namespace"))):
    """What this process may do. capabilities: int, effective ones, bit N stands for capability N.
    seccomp: int, as in :class:`Status`.
    """

    __slots__ = ()


class ProcFS:
    """Reads one ``/proc``. root: its path, another one in tests."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def _read(self, pid: int, name: str, most: int = 65536) -> bytes | None:
        try:
            fd = os.open(f"{self.root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None
        try:
            return os.read(fd, most)
        except ProcessLookupError:
            return None
        finally:
            os.close(fd)

    def pids(self) -> list:
        """All PIDs (int) in the table, in no particular order."""
        return [int(name) for name in os.listdir(self.root) if name.isdigit()]

    def zombies(self) -> list:
        """:class:`Stat` of every zombie: one pass over the table, nothing but ``stat`` is read.

        Flat on purpose: it runs once for each process on the node, and a call more for each would
        cost a third.
        """
        root, found = self.root, []
        for name in os.listdir(root):
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
                found.append(parse_stat(data))
        return found

    def stat(self, pid: int) -> Stat | None:
        """:class:`Stat` of one process."""
        data = self._read(pid, "stat", STAT_BYTES)
        return parse_stat(data) if data else None

    def wait_status(self, pid: int) -> int | None:
        """The status that wait(2) will give for a zombie (``exit_code`` of proc_pid_stat(5)).

        None where it is no zombie, and where this process may not see it: the kernel shows 0 then.
        It asks the same question for ``ns/pid`` (ptrace(2), PTRACE_MODE_READ_FSCREDS;
        do_task_stat() of fs/proc/array.c).
        """
        if self.pid_namespace(pid) is None:
            return None
        data = self._read(pid, "stat", 2 * STAT_BYTES) or b""
        fields = data[data.rfind(b") ") + 2 :].split()
        return int(fields[49]) if fields[:1] == [b"Z"] and len(fields) >= 50 else None

    def status(self, pid: int) -> Status | None:
        """:class:`Status` of one process."""
        data = self._read(pid, "status", STATUS_BYTES)
        return parse_status(data) if data else None

    def cgroup(self, pid: int) -> tuple:
        """:class:`CgroupLine` tuples of one process; empty when it is gone or the kernel has no
        cgroups.

        Empty too when some kernels refuse to show a path longer than PATH_MAX, which a tenant with
        cgroups of its own can make.
        """
        try:
            return parse_cgroup(self._read(pid, "cgroup") or b"")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return ()

    def command_line(self, pid: int, most: int = 4096) -> bytes | None:
        """The first ``most`` bytes of its arguments, separated by NUL; empty for zombies and kernel
        threads.

        Read in one call without mapping the process's memory further: a tenant may set it to any
        length.
        """
        return self._read(pid, "cmdline", most)

    def executable(self, pid: int) -> bytes | None:
        """Path of the file it executes, as in its own mount namespace; ``None`` for kernel threads
        and zombies.

        ``None`` too for a path longer than the page that the kernel has for it (ENAMETOOLONG),
        which anybody can arrange.
        """
        try:
            path = os.readlink(b"%s/%d/exe" % (os.fsencode(self.root), pid))
        except OSError:
            return None
        return path[: -len(b" (deleted)")] if path.endswith(b" (deleted)") else path

    def is_exiting(self, pid: int) -> bool:
        """Whether all its threads are exiting or have exited (PF_EXITING); also when it has gone.

        A PID 1 kills and collects its whole namespace once its last thread exits
        (find_child_reaper() of kernel/exit.c), not with its first one.
        """
        return all(stat.flags & PF_EXITING for stat in self.stats_of_threads(pid))

    def stats_of_threads(self, pid: int):
        """Yields the :class:`Stat` of each of its threads, as it is read; none when it has gone."""
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

    def _namespace(self, pid, kind) -> int | None:
        try:
            return os.stat(f"{self.root}/{pid}/ns/{kind}").st_ino
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None

    def open_namespace(self, pid: int, kind: str) -> int:
        """A descriptor of its namespace of that kind (``"pid"``, ``"net"``), for setns(2);
        ``OSError`` where that is refused or it has gone.

        A first thread that has exited is in the PID namespace still, and in no other; the other
        threads are.
        """
        directory = f"{self.root}/{pid}/task"
        for thread in (str(pid), *os.listdir(directory)):
            try:
                return os.open(f"{directory}/{thread}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def environment(self, pid: int, names) -> dict:
        """``{name: value}``, bytes, of those variables alone; a value longer than
        :data:`VALUE_BYTES` is cut.

        As it began, unless the process wrote over it (proc_pid_environ(5)). Empty where it cannot
        be read.
        """
        try:
            data = b"\0" + (self._read(pid, "environ", ENVIRON_BYTES) or b"")
        except OSError:
            return {}
        found = {}
        for name in names:  # searched for, as there may be a million others
            before = b"\0" + name + b"="
            at = data.find(before)
            if at >= 0:
                found[name] = data[at + len(before) : at + len(before) + VALUE_BYTES].partition(
                    b"\0"
                )[0]
        return found

    def children(self, pid: int) -> list:
        """PIDs of the children of its first thread, zombies too (proc_pid_task(5)); all PIDs are
        searched without CONFIG_PROC_CHILDREN.
        """
        data = self._read(pid, f"task/{pid}/children")
        if data is not None:
            return [int(child) for child in data.split()]
        stats = (self.stat(each) for each in self.pids())
        return [stat.pid for stat in stats if stat and stat.ppid == pid]

    def zombie_children(self, pid: int, most: int, in_vain=lambda: None) -> tuple:
        """(:class:`Stat` of each zombie among the children of all its threads, whether there may be
        more than ``most``).

        The oldest children come first; of a long list only as much is read as is needed. in_vain:
        called for each thread and for each child that is no zombie; what it raises ends the look.
        Raises ``OSError`` without CONFIG_PROC_CHILDREN.
        """
        found = []
        try:
            threads = os.listdir(f"{self.root}/{pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return found, False
        for thread in threads:
            in_vain()
            try:
                file = open(
                    f"{self.root}/{pid}/task/{thread}/children",
                    "rb",
                    buffering=CHILDREN_BYTES,
                )
            except FileNotFoundError:
                if os.path.exists(f"{self.root}/{pid}/task/{thread}/stat"):
                    raise
                continue
            with file:
                for child in _words(file):
                    if len(found) == most:
                        return found, True
                    stat = self.stat(int(child))
                    if stat and stat.state == "Z" and stat.ppid == pid:
                        found.append(stat)
                    else:
                        in_vain()
        return found, False

    def system_call(self, pid: int) -> tuple | None:
        """(number, argument, ...) of the system call that it sleeps in (proc_pid_syscall(5)); None
        where it runs or that is not told.
        """
        try:
            words = (self._read(pid, "syscall", 256) or b"").split()
            return tuple(int(word, 0) for word in words[:7]) if len(words) == 9 else None
        except (OSError, ValueError):
            return None

    def threads(self, pid: int, most: int) -> list:
        """:class:`Thread` of each of its threads, the first ``most`` of them; empty when it has
        gone.

        Signal masks are fields 32 and 34 of ``stat`` (proc_pid_stat(5)): ``status`` can be made
        slow to read by whoever is in many groups. The last field of ``schedstat`` counts runs
        (Documentation/scheduler/sched-stats.rst; CONFIG_SCHED_INFO).
        """
        try:
            tids = [int(name) for name in os.listdir(f"{self.root}/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            return []
        found = []
        for tid in sorted(tids)[:most]:
            fields = (
                (self._read(pid, f"task/{tid}/stat", STAT_BYTES) or b"")
                .rpartition(b") ")[2]
                .split()
            )
            if len(fields) > 31:
                runs = (self._read(pid, f"task/{tid}/schedstat", 256) or b"").split()
                call = self._system_call_of_thread(pid, tid)
                found.append(
                    Thread(
                        tid,
                        int(fields[29]),
                        int(fields[31]),
                        int(runs[2]) if len(runs) == 3 else None,
                        call,
                    )
                )
        return found

    def _system_call_of_thread(self, pid, tid) -> tuple | None:
        """Its stack tells 32-bit programs, whose system calls have other numbers: all their memory
        is below 4 GB.
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

    def mounts(self, pid: int) -> dict:
        """``{mount point: file system type}``, both bytes, of its mount namespace below its root
        (proc_pid_mountinfo(5)).

        Empty when it has gone, or has more mounts than fit into :data:`MOUNTS_BYTES`.
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
            # a later one at the same place covers the former
            found[fields.split(b" ")[4]] = kind.split(b" ")[0]
        return found

    def ns_pid_of(self, pidfd: int) -> tuple:
        """PIDs of the process of a pidfd, as ``ns_pid`` of :class:`Status`, at a sixth of its cost;
        empty when it was waited for.

        ``/proc/self/fdinfo`` tells them since Linux 5.5 (proc_pid_fdinfo(5)).
        """
        fd = os.open(f"{self.root}/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            told = os.read(fd, 4096)
        finally:
            os.close(fd)
        _before, found, numbers = told.partition(b"\nNSpid:")
        if not found:
            status = self.status(int(told.partition(b"\nPid:")[2].split()[0]))
            return status.ns_pid if status else ()
        ns_pid = tuple(int(pid) for pid in numbers.split(b"\n")[0].split())
        return ns_pid if ns_pid[0] > 0 else ()

    def vdso_address(self, pid: int) -> int | None:
        """Where its vDSO begins, from its auxiliary vector (getauxval(3)); of a 64-bit process.
        None where it has none.
        """
        vector = self._read(pid, "auxv") or b""
        for at in range(0, len(vector) - 15, 16):
            if int.from_bytes(vector[at : at + 8], sys.byteorder) == AT_SYSINFO_EHDR:
                return int.from_bytes(vector[at + 8 : at + 16], sys.byteorder) or None
        return None

    def memory(self, pid: int, address: int, size: int) -> bytes | None:
        """At most ``size`` bytes of its memory; fewer where a mapping ends, None where there is
        none.
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
        """The :class:`Mapping` that an address of its memory lies in; None where nothing is mapped,
        or beyond :data:`MAPS_BYTES`. Takes milliseconds.
        """
        seen = 0
        try:
            with open(
                f"{self.root}/{pid}/maps", "rb", buffering=CHILDREN_BYTES
            ) as file:  # a line at a time, for a node without memory
                for line in file:
                    seen += len(line)
                    fields = line.split(None, 5)
                    if seen > MAPS_BYTES or len(fields) < 5:
                        break
                    start, _dash, end = fields[0].partition(b"-")
                    if int(start, 16) <= address < int(end, 16):
                        is_file = fields[3] != b"00:00" or fields[4] != b"0"
                        return Mapping(
                            int(start, 16),
                            fields[5].rstrip(b"\n") if len(fields) == 6 else b"",
                            is_file,
                        )
        except OSError:
            pass
        return None

    def waits_for_a_page(self, pid: int) -> bool:
        """Whether a thread that was running its own code is in uninterruptible sleep and not frozen
        (cgroup v1): then it waits for a page.

        False too where proc_pid_wchan(5) does not tell.
        """
        stat = self.stat(pid)
        where = self._read(pid, "wchan", 256) or b"0"
        return (
            stat is not None
            and stat.state == "D"
            and where != b"0"
            and b"refrigerator" not in where
        )

    def thread(self, pid: int, tid: int) -> Stat | None:
        """:class:`Stat` of one thread of a process; None when it has none of that TID."""
        data = self._read(pid, f"task/{tid}/stat", STAT_BYTES)
        return parse_stat(data) if data else None

    def thread_ids(self, pid: int) -> list:
        """TIDs of its threads, the first one first; empty when it has gone."""
        try:
            return sorted(
                (int(name) for name in os.listdir(f"{self.root}/{pid}/task")),
                key=lambda tid: tid != pid,
            )
        except (FileNotFoundError, ProcessLookupError):
            return []

    @property
    def empty_directory(self) -> str:
        """Path of a directory that a process which is about to lose its rights can take as its
        root: nothing in it can be opened then.
        """
        return f"{self.root}/self/fdinfo"

    def own_rights(self) -> Rights:
        """:class:`Rights` of this process. The first user namespace maps every UID to itself
        (user_namespaces(7)); others hardly ever do.
        """
        lines = self.read_text("self/status").splitlines()[1:]
        fields = dict(line.split(":", 1) for line in lines)
        try:
            in_first = self.read_text("self/uid_map").split() == ["0", "0", "4294967295"]
        except OSError:  # a kernel without user namespaces
            in_first = True
        return Rights(int(fields["CapEff"], 16), int(fields.get("Seccomp", "0")), in_first)

    def yama_scope(self) -> str | None:
        """``kernel.yama.ptrace_scope``, ``"0"`` to ``"3"``; None without Yama."""
        try:
            return self.read_text("sys/kernel/yama/ptrace_scope").strip()
        except OSError:
            return None

    def read_text(self, name: str) -> str:
        """A file of the kernel outside ``/proc/PID``, such as ``sys/kernel/pid_max``; raises
        ``OSError``.
        """
        with open(f"{self.root}/{name}", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
