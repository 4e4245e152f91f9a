# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of a PID namespace: which process it is, and whether it collects the orphans that it is
given.

A parent that ends leaves its children to PID 1 of its namespace (pid_namespaces(7)). An init waits
for them; most programs do not. What tells, from the strongest to the weakest: zombies that it
keeps, zombies that sweeps had to collect from it, a canary (:mod:`.canary`), SIGCHLD being ignored,
a wait for any child that one of its threads sleeps in now, its name. A name is the tenant's to
choose, so it is believed only where signals and system call are those of that program, and only
where nothing stronger is known. That SIGCHLD is caught tells nothing: Ruby catches it and leaks.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

REAPS, LEAKS, UNKNOWN = "reaps", "leaks", "unknown"
STRONGEST_FIRST = ("zombies", "sweeps", "canary", "signals", "waiting", "name")
SURE = ("zombies", "sweeps", "signals", "waiting")  # a canary would add nothing

SIGCHLD_BIT = 1 << 16  # of signal 17 in the masks of /proc/PID/status
CALLS = {
    # arch/x86/entry/syscalls/syscall_64.tbl
    "x86_64": {"poll": 7, "wait4": 61, "rt_sigtimedwait": 128, "waitid": 247},
    # include/uapi/asm-generic/unistd.h; poll(3) calls ppoll there
    "aarch64": {"poll": 73, "wait4": 260, "rt_sigtimedwait": 137, "waitid": 95},
}
P_ALL = 0  # include/uapi/linux/wait.h
MAX_THREADS = 1000  # that are looked at, at about 100 us each
# What the Go runtime catches in any program: of the signals up to 31 all but SIGHUP and SIGINT,
# which may be ignored, SIGKILL, SIGSTOP, and those of job control
# (src/runtime/sigtab_linux_generic.go)
GO_CATCHES = 0x7FFFFFFF & ~(0b11 | 1 << 8 | 0b11111 << 17)
WEXITED, WNOWAIT, WNOTHREAD, WCLONE = 0x4, 0x1000000, 0x20000000, 0x80000000


class Evidence(namedtuple("Evidence", ("by", "verdict", "detail"))):
    """by: one of :data:`STRONGEST_FIRST`. verdict: :data:`REAPS`, :data:`LEAKS` or :data:`UNKNOWN`.
    detail: str, a few words for people.
    """

    __slots__ = ()


# Program -> (what it does with orphans, what its SIGCHLD or its system call is like where it really
# is that program)
PROGRAMS = {
    r"tini(-static)?|docker-init": (REAPS, ("rt_sigtimedwait",)),
    r"dumb-init|supervisord|openrc-init|bash|pause|nginx": (REAPS, ("caught",)),
    r"catatonit|podman-init|s6-svscan|runsvdir|systemd": (REAPS, ("blocked",)),
    r"init": (REAPS, ("caught", "blocked")),  # sysvinit catches it, busybox blocks it
    r"runit(-init)?": (REAPS, ("poll",)),  # not when it has halted
    r"sleep|tail|cat": (LEAKS, ("neither caught nor blocked",)),
}
# Written to be given orphans, so a canary is nothing new to them. bash is not (a script may trap
# CHLD), and anybody may call a program init
BUILT_TO_ADOPT = (
    r"tini(-static)?|docker-init|dumb-init|supervisord|openrc-init|pause|catatonit|podman-init"
    r"|s6-svscan|runsvdir|systemd|runit(-init)?"
)
# These catch SIGCHLD whatever the script or the configuration says, so that they do says nothing of
# what they wait for
CATCH_IT_ANYWAY = r"(ba|da|a|)sh|ruby[0-9.]*|sshd"
RUNS_A_SCRIPT = r"python[0-9.]*|busybox"  # the program is what their arguments say


class Inits:
    """Finds PID 1 of a PID namespace, as this node counts."""

    def __init__(self, procfs) -> None:
        self.procfs = procfs
        self.known = {}
        self.outermost_of = {}
        self.searched = False

    def of(self, stat, status, pid_namespace) -> int | None:
        """Up the line of parents first. A process put into its namespace from outside (``docker
        exec``) has a line that leads elsewhere; then the whole table is searched, once for all
        namespaces, however many a tenant makes.
        """
        if status.in_own_pid_namespace:
            return 1
        if pid_namespace is None:
            return None
        if pid_namespace not in self.known:
            while stat and status and status.ns_pid[-1] != 1:
                if self.procfs.pid_namespace(stat.ppid) != pid_namespace:
                    break
                stat, status = self.procfs.stat(stat.ppid), self.procfs.status(stat.ppid)
            if stat and status and status.ns_pid[-1] == 1:
                self.known[pid_namespace] = stat.pid
        return self.of_namespace(pid_namespace)

    def of_namespace(self, pid_namespace: int) -> int | None:
        """Of the PID namespace with this inode number; one that exits has it as long as it has not
        exited.
        """
        if pid_namespace not in self.known and not self.searched:
            self.searched = True
            self._search()
        return self.known.get(pid_namespace)

    def outermost(self, init_pid: int | None) -> int | None:
        """Of the PID namespaces that one is in, PID 1 of the one just below the sweep's: a tenant
        may have made the others.
        """
        passed = []
        while init_pid is not None and init_pid not in self.outermost_of:
            passed.append(init_pid)
            init_pid = self._one_level_out(init_pid)
            if init_pid == passed[-1]:
                break
        found = self.outermost_of.get(init_pid, init_pid)
        self.outermost_of.update(dict.fromkeys(passed, found))
        return found

    def _one_level_out(self, init_pid) -> int | None:
        """PID 1 of the namespace that its parent is in; itself where that is the sweep's own."""
        stat, status = self.procfs.stat(init_pid), self.procfs.status(init_pid)
        if stat is None or status is None or len(status.ns_pid) <= 2:
            return init_pid
        above, its_status = self.procfs.stat(stat.ppid), self.procfs.status(stat.ppid)
        if above is None or its_status is None or len(its_status.ns_pid) >= len(status.ns_pid):
            return None
        return self.of(above, its_status, self.procfs.pid_namespace(above.pid))

    def _search(self) -> None:
        for pid in self.procfs.pids():
            status = self.procfs.status(pid)
            if status and status.ns_pid[-1] == 1:
                self.known[self.procfs.pid_namespace(pid)] = pid


def conclude(evidence) -> str:
    """The verdict of the strongest evidence that has one."""
    for by in STRONGEST_FIRST:
        for each in evidence:
            if each.by == by and each.verdict != UNKNOWN:
                return each.verdict
    return UNKNOWN


def look_at(procfs, pid: int, status) -> tuple:
    """:class:`Evidence` of a PID 1 by its signals, by what its threads wait for, by its name.
    status: its :class:`.procfs.Status`.
    """
    call = procfs.system_call(pid)
    executable, command_line = procfs.executable(pid), procfs.command_line(pid)
    waiting = by_waiting(call)
    if waiting.verdict == UNKNOWN:
        others = (by_waiting(thread.system_call) for thread in procfs.threads(pid, MAX_THREADS))
        waiting = next((evidence for evidence in others if evidence.verdict != UNKNOWN), waiting)
    return by_signals(status), waiting, by_name(executable, command_line, status, call)


def is_sure(evidence) -> bool:
    """Whether it leaves nothing that a canary could tell."""
    return any(each.by in SURE and each.verdict != UNKNOWN for each in evidence)


def misled_by_an_orphan(name, evidence, before, now, has_children: bool) -> str | None:
    """Why this PID 1 might take the end of an orphan for the end of its own work, and end; None
    where it cannot, or is made for orphans.

    A program that was not written as an init learns of a canary only by SIGCHLD, or by a wait for
    any child. Process managers end when a child does, and nothing tells them from those that do
    not. So one that SIGCHLD wakes is left alone, unless it is known to be woken by it always and
    has no child that it could wait for. One that is not woken has to look by itself, which one that
    does not run for a while does not.

    name: as :func:`program` returns it. evidence: what is known of it. before, now:
    :class:`.procfs.Thread` of all its threads, some time apart.
    has_children: whether any child of it lives.
    """
    if re.fullmatch(BUILT_TO_ADOPT, name or "") and any(
        each.by == "name" and each.verdict == REAPS for each in evidence
    ):
        return None
    if len(now) >= MAX_THREADS or not now:
        return "its threads could not all be looked at"
    if os.uname().machine not in CALLS or any(thread.system_call is None for thread in now):
        return "what it waits for cannot be seen"
    if any(by_waiting(thread.system_call).verdict == REAPS for thread in now):
        return "it waits for any child now"
    # The first thread adopts orphans; where it neither catches nor blocks SIGCHLD, that is lost,
    # whatever others block (do_notify_parent(), sig_ignored() of kernel/signal.c). While it sleeps
    # in sigwaitinfo(2), what it waits for shows as not blocked (do_sigtimedwait())
    adopts = now[0]
    if (adopts.caught | adopts.blocked) & SIGCHLD_BIT or _name_of_call(
        adopts.system_call
    ) == "rt_sigtimedwait":
        if has_children:
            return (
                "it has children and is told when one ends (SIGCHLD), so it might take an orphan"
                " for one of them"
            )
        if re.fullmatch(CATCH_IT_ANYWAY, name or "") or adopts.caught & GO_CATCHES == GO_CATCHES:
            return None
        return "it is told when a child ends (SIGCHLD), and might end itself then"
    if has_children and _runs(before) != _runs(now):
        return (
            "it has children and may be looking after them, so it might take an orphan for one of"
            " them"
        )
    return None


def _runs(threads) -> object:
    """What is the same as long as none of them runs; equal to nothing where that is not counted."""
    runs = {thread.tid: thread.runs for thread in threads}
    return object() if None in runs.values() else runs


def by_signals(status) -> Evidence:
    """SIGCHLD ignored: its children are collected by the kernel as they exit, adopted ones too
    (wait(2), NOTES).
    """
    return Evidence(
        "signals",
        REAPS if status.ignored & SIGCHLD_BIT else UNKNOWN,
        "SIGCHLD is " + " and ".join(_traits(status)),
    )


def by_waiting(call) -> Evidence:
    """call: as :meth:`.procfs.ProcFS.system_call` returns it, of a 64-bit process on an
    architecture of :data:`CALLS`.
    """
    waits, name = False, _name_of_call(call)
    if name:
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
        "waiting",
        REAPS if waits else UNKNOWN,
        "it waits for any child now" if waits else "it does not wait for any child now",
    )


def by_name(executable: bytes | None, command_line: bytes | None, status, call) -> Evidence:
    """executable, command_line: as :mod:`.procfs` returns them. The name counts only with the
    traits of that program.
    """
    name = program(executable, command_line)
    traits = (*_traits(status), _name_of_call(call))
    for pattern, (verdict, of_that_program) in PROGRAMS.items():
        if name and re.fullmatch(pattern, name):
            if set(traits) & set(of_that_program):
                return Evidence("name", verdict, f"it is called {name}")
            return Evidence(
                "name", UNKNOWN, f"it is called {name}, but does not handle signals as that does"
            )
    return Evidence("name", UNKNOWN, "it has no name that is known")


def program(executable: bytes | None, command_line: bytes | None) -> str | None:
    """Name of the program that a process runs: its executable, or what an interpreter or busybox
    was started as.
    """
    name = os.path.basename(executable or b"").decode("utf-8", "replace")
    if re.fullmatch(RUNS_A_SCRIPT, name):
        words = [
            os.path.basename(word).decode("utf-8", "replace")
            for word in (command_line or b"").split(b"\0")[:2]
        ]
        name = next(
            (word for word in words if word and not re.fullmatch(RUNS_A_SCRIPT, word)), name
        )
    return name or None


def _name_of_call(call) -> str | None:
    """Its key in :data:`CALLS`; None for all others."""
    return next(
        (
            name
            for name, number in CALLS.get(os.uname().machine, {}).items()
            if call and call[0] == number
        ),
        None,
    )


def _traits(status) -> tuple:
    masks = (("ignored", status.ignored), ("caught", status.caught), ("blocked", status.blocked))
    return tuple(word for word, mask in masks if mask & SIGCHLD_BIT) or (
        "neither caught nor blocked",
    )
