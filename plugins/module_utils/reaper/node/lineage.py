# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anyone may still ask for the exit status of a zombie: its parent may, unless another
process started it.

A process is given another parent only when its own ends (forget_original_parent() of
kernel/exit.c). A zombie whose present parent did not start it is an orphan: the program that knew
it is gone, so collecting it takes nothing away from anyone. Only evidence that cannot be wrong
makes it one; in doubt, its parent may still wait for it. All evidence is what the kernel keeps, and
no tenant can forge it:

- A child starts after its parent did. If it started earlier, another process started it. Start
  times count from boot and are set by fork; exec keeps them, and a thread that calls execve(2)
  takes over the start time of the first thread (de_thread() of fs/exec.c).
- A child inherits the session of whoever forks it, and setsid(2) makes a session of one's own PID.
  So a zombie in a session that is neither its own PID nor its parent's was forked by another
  process, or before its parent called setsid(2). The latter is impossible if the parent leads no
  session, or if it led one before it ran any program: runc (libcontainer/nsenter/nsexec.c) and crun
  (since 0.15) call setsid(2) for PID 1 of a container before they execute its program.
- An earlier sweep saw it with another parent.
- Its parent runs a program that never waits, and is doing what that program does.

The order of a ``children`` list proves nothing: a thread that exits hands its children to another
thread's list.

A process that was cloned with CLONE_PARENT has a parent that did not start it either. Only
container runtimes do that, and they are never touched.
"""

from __future__ import annotations

import os
import re

from ..record import Record
from . import inits, workloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..kernel.procfs import ProcFS, Stat, Status

    class Child(Protocol):
        """A :class:`Stat`, or an :class:`.observe.Zombie`."""

        @property
        def pid(self) -> int: ...
        @property
        def start_ticks(self) -> int: ...
        @property
        def session(self) -> int: ...


ORPHAN, MAY_BE_WAITED_FOR = "orphan", "may_be_waited_for"

NOBODY_ELSE = "nothing shows that another process started it, so its parent may still wait for it"

# Program -> the system calls it makes to do its job. None of these programs ever waits for a child.
# If it has any, they were forked by the program that executed it (``sh -c 'job & exec sleep
# 1000'``), or given to it.
NEVER_WAIT = {
    "sleep": ("nanosleep", "clock_nanosleep", "pause"),
    "tail": ("nanosleep", "clock_nanosleep", "read", "poll", "ppoll", "select", "pselect6"),
    "cat": ("read", "splice", "copy_file_range"),
}
# Where distributions install them; a program with such a name elsewhere may be anything
STANDARD = re.compile(rb"/(usr/)?bin/(sleep|tail|cat|busybox|coreutils|toybox)")
SYSTEM_CALLS = {  # arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h
    "x86_64": {
        "read": 0,
        "poll": 7,
        "select": 23,
        "pause": 34,
        "nanosleep": 35,
        "clock_nanosleep": 230,
        "pselect6": 270,
        "ppoll": 271,
        "splice": 275,
        "copy_file_range": 326,
    },
    "aarch64": {
        "read": 63,
        "pselect6": 72,
        "ppoll": 73,
        "splice": 76,
        "nanosleep": 101,
        "clock_nanosleep": 115,
        "copy_file_range": 285,
    },
}


class Parent(Record):
    """What matters about a parent. Read it after its zombies: a process changes its session at most
    once in its life, and its later children inherit the new one.
    """

    pid: int
    start_ticks: int
    session: int  # PID of the leader; negative during an execve(2) by another thread
    led_from_start: bool = False  # it led its session before it ran any program
    never_waits: str | None = None  # name of its program, if that never waits


def claim(zombie: Child, parent: Parent, has_moved: bool = False) -> tuple[str, str]:
    """(:data:`ORPHAN` or :data:`MAY_BE_WAITED_FOR`, the reason in a few words).

    has_moved: whether an earlier sweep saw the zombie with another parent.
    """
    if zombie.start_ticks < parent.start_ticks:
        return ORPHAN, "the zombie started before its parent did"
    if _was_forked_elsewhere(zombie, parent):
        return ORPHAN, "the session of the zombie is neither its own nor its parent's"
    if has_moved:
        return ORPHAN, "the zombie had another parent before"
    if parent.never_waits:
        return ORPHAN, f"{parent.never_waits} never waits for a child"
    return MAY_BE_WAITED_FOR, NOBODY_ELSE


def _was_forked_elsewhere(zombie: Child, parent: Parent) -> bool:
    if zombie.session < 0 or parent.session < 0 or zombie.session in (zombie.pid, parent.session):
        return False
    return parent.session != parent.pid or parent.led_from_start


def led_from_start(procfs: ProcFS, container_id: str | None, stat: Stat, status: Status) -> bool:
    """Whether it led its session before it ran any program. PID 1 of a container did if its parent
    is a process of the node itself.
    """
    if stat.session != stat.pid or status.ns_pid[-1] != 1 or status.in_own_pid_namespace:
        return False
    above = procfs.stat(stat.ppid) if stat.ppid else None
    return above is not None and was_made_by_a_runtime(procfs, container_id, stat.pid, above)


def was_made_by_a_runtime(
    procfs: ProcFS, container_id: str | None, pid: int, parent: Stat | None
) -> bool:
    """Whether an OCI runtime started that process of a container. It did if the parent is in no
    cgroup of the container, since no tenant can leave these.

    parent: None if it is outside the sweep's PID namespace.
    """
    if container_id is None or container_of(procfs, pid) != container_id:
        return False
    return parent is None or container_of(procfs, parent.pid) != container_id


def container_of(procfs: ProcFS, pid: int) -> str | None:
    """Id of the container that a process is in, by its cgroup; None for one of the node itself."""
    return workloads.container_of(procfs.cgroup(pid), procfs.cgroup(os.getpid()))


def never_waits(
    procfs: ProcFS,
    stat: Stat,
    status: Status,
    executable: bytes | None,
    command_line: bytes | None,
) -> str | None:
    """Name of the program of :data:`NEVER_WAIT` that this process runs, if it is doing its job at
    the moment; else, or if the kernel does not show that, None.

    Anything unusual suggests that it is another program: several threads, a handler for SIGCHLD, a
    tracer.
    """
    if (
        not STANDARD.fullmatch(executable or b"")
        or stat.num_threads != 1
        or stat.state != "S"
        or status.tracer_pid
    ):
        return None
    if (status.caught | status.blocked | status.ignored) & inits.SIGCHLD_BIT:
        return None
    name = inits.program(executable, command_line)
    numbers = SYSTEM_CALLS.get(os.uname().machine, {})
    call = procfs.system_call(stat.pid)
    if (
        name in NEVER_WAIT
        and call
        and call[0] in [numbers.get(each, -1) for each in NEVER_WAIT[name]]
    ):
        return name
    return None
