# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of a PID namespace: which process it is, and whether it collects the orphans it is given.

A parent that ends leaves its children to PID 1 of its namespace (pid_namespaces(7)). An init waits
for them; most programs do not. The evidence, strongest first: zombies that it keeps; zombies that
sweeps had to collect from it; a canary (:mod:`.canary`); SIGCHLD being ignored; one of its threads
sleeping in a wait for any child right now; its name. The tenant chooses the name, so it counts only
if signals and system call match that program, and only if there is no stronger evidence. A SIGCHLD
handler proves nothing: Ruby has one and leaks.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence

from ..record import Record
from .init_names import BUILT_TO_ADOPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import ProcFS, Stat, Status, Thread

REAPS, LEAKS, UNKNOWN = "reaps", "leaks", "unknown"
STRONGEST_FIRST = ("zombies", "sweeps", "canary", "signals", "waiting", "name")
SURE = ("zombies", "sweeps", "signals", "waiting")  # a canary would add nothing to these

SIGCHLD_BIT = 1 << 16  # signal 17 in the masks of /proc/PID/status
CALLS: dict[str, dict[str, int]] = {
    # arch/x86/entry/syscalls/syscall_64.tbl
    "x86_64": {"poll": 7, "wait4": 61, "rt_sigtimedwait": 128, "waitid": 247},
    # include/uapi/asm-generic/unistd.h; poll(3) calls ppoll there
    "aarch64": {"poll": 73, "wait4": 260, "rt_sigtimedwait": 137, "waitid": 95},
}
P_ALL = 0  # include/uapi/linux/wait.h
MAX_WORDS = 10  # of a command line, in which an interpreter's script is looked for
MAX_THREADS = 1000  # read at about 100 us each
LOOKS = 3  # at a program that runs, and so does not show how it waits
BETWEEN_LOOKS = 0.005  # seconds
# The Go runtime catches these in every program: of the signals up to 31 all but SIGHUP and SIGINT,
# which may be ignored, SIGKILL, SIGSTOP and those of job control
# (src/runtime/sigtab_linux_generic.go)
GO_CATCHES = 0x7FFFFFFF & ~(0b11 | 1 << 8 | 0b11111 << 17)
WEXITED, WNOWAIT, WNOTHREAD, WCLONE = 0x4, 0x1000000, 0x20000000, 0x80000000


class Evidence(Record):
    """What one observation of a PID 1 says about it."""

    by: str  # one of STRONGEST_FIRST
    verdict: str  # REAPS, LEAKS or UNKNOWN
    detail: str  # a few words for people


# Program -> (what it does with orphans, traits of its SIGCHLD or its system call, one of which it
# has if it really is that program)
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    r"tini(-static)?|docker-init": (REAPS, ("rt_sigtimedwait",)),
    r"dumb-init|supervisord|openrc-init|bash|pause|nginx": (REAPS, ("caught",)),
    r"catatonit|podman-init|s6-svscan|runsvdir|systemd": (REAPS, ("blocked",)),
    # sysvinit catches it; busybox blocks it, but while it waits for signals
    r"init": (REAPS, ("caught", "blocked", "rt_sigtimedwait")),
    r"runit(-init)?": (REAPS, ("poll",)),  # not when it has halted
    # a copy of tini or catatonit, given by prevention/
    r"zombie-reaper-init": (REAPS, ("rt_sigtimedwait", "blocked")),
    # of phusion's baseimage-docker, a script in Python
    r"my_init": (REAPS, ("waits for any child",)),
    r"sleep|tail|cat": (LEAKS, ("neither caught nor blocked",)),
}
# These catch SIGCHLD whatever their script or configuration says, so the handler does not show what
# they wait for
ALWAYS_CATCH_SIGCHLD = r"(ba|da|a|)sh|ruby[0-9.]*|sshd"
INTERPRETERS = r"python[0-9.]*|busybox"  # their arguments name the program


class Inits:
    """Finds PID 1 of PID namespaces, by its PID on this node."""

    def __init__(self, procfs: ProcFS) -> None:
        self.procfs = procfs
        self.known: dict[int, int] = {}  # inode number of a PID namespace -> its PID 1
        self.outermost_of: dict[int, int | None] = {}
        self.searched = False

    def set_all(self, init_pids: Mapping[int, int]) -> None:
        """Take PID 1 of every PID namespace from a pass over the whole table, so that none is
        searched for.
        """
        self.known = dict(init_pids)
        self.searched = True

    def of(self, stat: Stat, status: Status, pid_namespace: int | None) -> int | None:
        """PID 1 of the namespace that a process is in.

        Its ancestors are read first. They lead elsewhere if it was put into its namespace from
        outside (``docker exec``). Then the whole table is searched, once for all namespaces,
        however many a tenant makes.
        """
        if status.in_own_pid_namespace:
            return 1
        if pid_namespace is None:
            return None
        if pid_namespace not in self.known:
            init_pid = self._among_ancestors(stat, status, pid_namespace)
            if init_pid is not None:
                self.known[pid_namespace] = init_pid
        return self.of_namespace(pid_namespace)

    def of_namespace(self, pid_namespace: int) -> int | None:
        """PID 1 of the namespace with this inode number. While PID 1 is exiting, it is still found
        here.
        """
        if pid_namespace not in self.known and not self.searched:
            self.searched = True
            self._search()
        return self.known.get(pid_namespace)

    def outermost(self, init_pid: int | None) -> int | None:
        """Of the nested PID namespaces that a PID 1 is in, PID 1 of the one right below the
        sweep's: a tenant may have made the others.
        """
        passed: list[int] = []
        while init_pid is not None and init_pid not in self.outermost_of:
            passed.append(init_pid)
            init_pid = self._one_level_out(init_pid)
            if init_pid == passed[-1]:
                break
        found = None if init_pid is None else self.outermost_of.get(init_pid, init_pid)
        self.outermost_of.update(dict.fromkeys(passed, found))
        return found

    def _one_level_out(self, init_pid: int) -> int | None:
        """PID 1 of the namespace that its parent is in, or itself if that is the sweep's own."""
        stat, status = self.procfs.stat(init_pid), self.procfs.status(init_pid)
        if stat is None or status is None or len(status.ns_pid) <= 2:
            return init_pid
        above, its_status = self.procfs.stat(stat.ppid), self.procfs.status(stat.ppid)
        if above is None or its_status is None or len(its_status.ns_pid) >= len(status.ns_pid):
            return None
        return self.of(above, its_status, self.procfs.pid_namespace(above.pid))

    def _among_ancestors(
        self, stat: Stat | None, status: Status | None, pid_namespace: int
    ) -> int | None:
        """PID 1 if it is the process itself, or an ancestor that is reached without leaving the
        namespace.
        """
        while stat and status and status.ns_pid[-1] != 1:
            ppid = stat.ppid
            if self.procfs.pid_namespace(ppid) != pid_namespace:
                return None
            stat, status = self.procfs.stat(ppid), self.procfs.status(ppid)
        return stat.pid if stat and status else None

    def _search(self) -> None:
        for pid in self.procfs.pids():
            status = self.procfs.status(pid)
            if status and status.ns_pid[-1] == 1:
                namespace = self.procfs.pid_namespace(pid)
                if namespace is not None:
                    self.known[namespace] = pid


def conclude(evidence: Sequence[Evidence]) -> str:
    """The verdict of the strongest evidence that has one."""
    for by in STRONGEST_FIRST:
        for each in evidence:
            if each.by == by and each.verdict != UNKNOWN:
                return each.verdict
    return UNKNOWN


def collects_orphans(evidence: Sequence[Evidence]) -> bool | None:
    """Whether a PID 1 collects orphans, as far as that shows. What it keeps or kept does not show
    it: that may be children which it started itself.
    """
    about_orphans = [each for each in evidence if each.by not in ("zombies", "sweeps")]
    return {REAPS: True, LEAKS: False}.get(conclude(about_orphans))


def look_at(procfs: ProcFS, pid: int, status: Status) -> tuple[Evidence, ...]:
    """The evidence in a PID 1's signals, in what its threads are waiting for, and in its name."""
    executable, command_line = procfs.executable(pid), procfs.command_line(pid)
    for look in range(LOOKS):
        if look:
            time.sleep(BETWEEN_LOOKS)
            status = procfs.status(pid) or status
        call = procfs.system_call(pid)
        named = by_name(executable, command_line, status, call)
        if call or named.verdict != UNKNOWN or not is_known(program(executable, command_line)):
            break
    waiting = by_waiting(call)
    if waiting.verdict == UNKNOWN:
        others = (by_waiting(thread.system_call) for thread in procfs.threads(pid, MAX_THREADS))
        waiting = next((evidence for evidence in others if evidence.verdict != UNKNOWN), waiting)
    return by_signals(status), waiting, named


def is_sure(evidence: Iterable[Evidence]) -> bool:
    """Whether a canary would add nothing to this evidence."""
    return any(each.by in SURE and each.verdict != UNKNOWN for each in evidence)


def misled_by_an_orphan(
    name: str | None,
    evidence: Iterable[Evidence],
    before: Sequence[Thread],
    now: Sequence[Thread],
    has_children: bool,
) -> str | None:
    """Why this PID 1 might mistake the end of an orphan for the end of its own work, and exit; None
    if it cannot, or is made for orphans.

    A program that was not written as an init notices a canary only by SIGCHLD, or by a wait for any
    child. Process managers exit when a child does, and nothing distinguishes them from programs
    that do not. So a program that SIGCHLD wakes gets no canary, unless SIGCHLD is known to wake it
    always and it has no child that it could be waiting for. A program that SIGCHLD does not wake
    has to look for itself, which it cannot do while it does not run.

    name: from :func:`program`. before, now: all its threads, some time apart. has_children: whether
    any child of it is alive.
    """
    # a canary is nothing new to it
    if name in BUILT_TO_ADOPT and any(
        each.by == "name" and each.verdict == REAPS for each in evidence
    ):
        return None
    if len(now) >= MAX_THREADS or not now:
        return "not all of its threads could be read"
    if os.uname().machine not in CALLS or any(thread.system_call is None for thread in now):
        return "what it waits for cannot be seen"
    if any(by_waiting(thread.system_call).verdict == REAPS for thread in now):
        return "it is waiting for any child"
    # The first thread adopts orphans. If it neither catches nor blocks SIGCHLD, the signal is lost,
    # whatever other threads block (do_notify_parent(), sig_ignored() of kernel/signal.c). During
    # sigwaitinfo(2), the signals it waits for show as not blocked (do_sigtimedwait())
    adopts = now[0]
    if (adopts.caught | adopts.blocked) & SIGCHLD_BIT or _name_of_call(
        adopts.system_call
    ) == "rt_sigtimedwait":
        if has_children:
            return (
                "it has children and gets SIGCHLD when one ends, so it might mistake an orphan for"
                " one of them"
            )
        always_catches = re.fullmatch(ALWAYS_CATCH_SIGCHLD, name or "")
        if always_catches or adopts.caught & GO_CATCHES == GO_CATCHES:
            return None
        return "it gets SIGCHLD when a child ends, and might exit then"
    if has_children and _may_have_run(before, now):
        return (
            "it has children and may be looking after them, so it might mistake an orphan for one"
            " of them"
        )
    return None


def _may_have_run(before: Sequence[Thread], now: Sequence[Thread]) -> bool:
    """Whether any thread ran in between, came or went; also if the kernel does not count runs."""
    runs = {thread.tid: thread.runs for thread in now}
    return None in runs.values() or runs != {thread.tid: thread.runs for thread in before}


def by_signals(status: Status) -> Evidence:
    """If SIGCHLD is ignored, the kernel collects its children as they exit, adopted ones too
    (wait(2), NOTES).
    """
    return Evidence(
        by="signals",
        verdict=REAPS if status.ignored & SIGCHLD_BIT else UNKNOWN,
        detail="SIGCHLD is " + " and ".join(_traits(status)),
    )


def by_waiting(call: tuple[int, ...] | None) -> Evidence:
    """call: from :meth:`.procfs.ProcFS.system_call`; counts for 64-bit processes on an architecture
    of :data:`CALLS`.
    """
    waits, name = False, _name_of_call(call)
    if call and name:
        first, _second, third, fourth = call[1:5]
        if name == "wait4":
            waits = first & 0xFFFFFFFF == 0xFFFFFFFF and not third & (WNOTHREAD | WCLONE)
        elif name == "waitid":
            waits = (
                first == P_ALL
                and bool(fourth & WEXITED)
                and not fourth & (WNOWAIT | WNOTHREAD | WCLONE)
            )
    return Evidence(
        by="waiting",
        verdict=REAPS if waits else UNKNOWN,
        detail="it is waiting for any child" if waits else "it is not waiting for any child",
    )


def by_name(
    executable: bytes | None,
    command_line: bytes | None,
    status: Status,
    call: tuple[int, ...] | None,
) -> Evidence:
    """The name counts only together with the traits of that program."""
    name = program(executable, command_line)
    if name:
        traits = {*_traits(status), _name_of_call(call)}
        if by_waiting(call).verdict == REAPS:
            traits.add("waits for any child")
        for pattern, (verdict, of_that_program) in PROGRAMS.items():
            if re.fullmatch(pattern, name):
                if traits & set(of_that_program):
                    return Evidence("name", verdict, f"it is called {name}")
                return Evidence(
                    "name", UNKNOWN, f"it is called {name}, but does not handle signals like {name}"
                )
    return Evidence("name", UNKNOWN, "its name is unknown")


def is_known(name: str | None) -> bool:
    """Whether it is in :data:`PROGRAMS`."""
    return any(re.fullmatch(pattern, name or "") for pattern in PROGRAMS)


def program(executable: bytes | None, command_line: bytes | None) -> str | None:
    """Name of the program that a process runs: that of its executable, or of what an interpreter or
    busybox runs.
    """
    name = os.path.basename(executable or b"").decode("utf-8", "replace")
    if re.fullmatch(INTERPRETERS, name):
        name = _run_by(name, (command_line or b"").split(b"\0")[:MAX_WORDS]) or name
    return name or None


def _run_by(interpreter: str, words: Sequence[bytes]) -> str | None:
    """Name of the script or applet that these words of a command line name; None if none does.

    Python's options come before its script (``python3 -u /sbin/my_init``), each in one word, but
    for the arguments of -W and -X. After -c or -m there is none.
    """
    names = [os.path.basename(word).decode("utf-8", "replace") for word in words]
    if names and re.fullmatch(INTERPRETERS, names[0]):
        del names[0]
        while interpreter != "busybox" and names and names[0].startswith("-"):
            if re.match("-[a-zA-Z]*[cm]", names[0]):
                return None
            del names[: 2 if names[0].endswith(("W", "X")) else 1]
    return names[0] if names and not re.fullmatch(INTERPRETERS, names[0]) else None


def _name_of_call(call: tuple[int, ...] | None) -> str | None:
    """Its key in :data:`CALLS`; None for all other system calls."""
    if not call:
        return None
    numbers = CALLS.get(os.uname().machine, {})
    return next((name for name, number in numbers.items() if number == call[0]), None)


def _traits(status: Status) -> tuple[str, ...]:
    masks = (("ignored", status.ignored), ("caught", status.caught), ("blocked", status.blocked))
    return tuple(word for word, mask in masks if mask & SIGCHLD_BIT) or (
        "neither caught nor blocked",
    )
