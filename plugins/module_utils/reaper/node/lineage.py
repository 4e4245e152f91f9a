# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anybody may still ask for the exit status of a zombie: its parent may, unless another
process started it.

A process is given another parent only when its own ends (forget_original_parent() of
kernel/exit.c). One whose present parent did not start it is an
orphan: the program that knew it has gone, and to collect it takes nothing from anybody. Only
evidence that cannot be wrong makes an orphan; whatever is in doubt may be waited for. All of it is
what the kernel keeps, and no tenant can forge it:

- A child starts after its parent did. What started before it was started by another process. Start
  times count from boot and are set at fork; exec keeps them, and a thread that calls execve(2)
  takes over that of the first one (de_thread() of fs/exec.c).
- A child inherits the session of whoever forks it, and setsid(2) makes a session of one's own PID.
  So a zombie in a session that is neither its own PID nor its parent's was forked by another
  process, or before its parent called setsid(2). The latter cannot be where the parent leads no
  session, nor where it was a leader before it ran any program: runc (libcontainer/nsenter/nsexec.c)
  and crun (since 0.15) call setsid(2) for PID 1 of a container before they execute its program.
- It was seen before as a zombie of another parent.
- Its parent runs a program that never waits, and is at what that program does.

The order of a ``children`` list proves nothing: a thread that exits hands its children to another
thread's list.

What was cloned with CLONE_PARENT has a parent that did not start it either. Container runtimes
alone do that, and they are never touched.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from . import inits, workloads

ORPHAN, MAY_BE_WAITED_FOR = "orphan", "may_be_waited_for"

NOBODY_ELSE = "nothing shows that another process started it, so its parent may still wait for it"

# Program -> the system calls in which it does what it is for. None of these programs ever waits for
# a child: one that it has was forked by the program that executed it (``sh -c 'job & exec sleep
# 1000'``), or was given to it.
NEVER_WAIT = {
    "sleep": ("nanosleep", "clock_nanosleep", "pause"),
    "tail": ("nanosleep", "clock_nanosleep", "read", "poll", "ppoll", "select", "pselect6"),
    "cat": ("read", "splice", "copy_file_range"),
}
# Where distributions put them: a program of that name elsewhere is somebody's own
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


class Parent(
    namedtuple(
        "Parent",
        ("pid", "start_ticks", "session", "led_from_start", "never_waits"),
        defaults=(False, None),
    )
):
    """What counts of a parent. It has to be read after its zombies: a session changes once in the
    life of a process, and then its children's do.

    led_from_start: bool, it led its session before it ran any program. never_waits: str, name of
    the program that never waits, or None.
    """

    __slots__ = ()


def claim(zombie, parent: Parent, has_moved: bool = False) -> tuple:
    """(:data:`ORPHAN` or :data:`MAY_BE_WAITED_FOR`, why in a few words).

    zombie: has ``pid``, ``start_ticks`` and ``session`` of :class:`.procfs.Stat`. has_moved:
    whether it was seen with another parent before.
    """
    if zombie.start_ticks < parent.start_ticks:
        return ORPHAN, "it started before its parent did"
    if _was_forked_elsewhere(zombie, parent):
        return ORPHAN, "it is in another session than its parent, which it did not begin"
    if has_moved:
        return ORPHAN, "it had another parent before"
    if parent.never_waits:
        return ORPHAN, f"{parent.never_waits} never waits for a child"
    return MAY_BE_WAITED_FOR, NOBODY_ELSE


def _was_forked_elsewhere(zombie, parent) -> bool:
    if zombie.session < 0 or parent.session < 0 or zombie.session in (zombie.pid, parent.session):
        return False
    return parent.session != parent.pid or parent.led_from_start


def led_from_start(procfs, container_id: str | None, stat, status) -> bool:
    """Whether it led its session before it ran any program: PID 1 of a container, whose parent is a
    process of the node itself.
    """
    if stat.session != stat.pid or status.ns_pid[-1] != 1 or status.in_own_pid_namespace:
        return False
    above = procfs.stat(stat.ppid) if stat.ppid else None
    return above is not None and was_made_by_a_runtime(procfs, container_id, stat.pid, above)


def was_made_by_a_runtime(procfs, container_id: str | None, pid: int, parent) -> bool:
    """Whether an OCI runtime started that process of a container: its parent is in no cgroup of
    that container, which no tenant can leave.

    parent: :class:`.procfs.Stat`, None where it is outside all that is seen.
    """
    if container_id is None or container_of(procfs, pid) != container_id:
        return False
    return parent is None or container_of(procfs, parent.pid) != container_id


def container_of(procfs, pid: int) -> str | None:
    """Id of the container that a process is in, by its cgroup; None for one of the node itself."""
    return workloads.locate(
        procfs.cgroup(pid), procfs.cgroup(os.getpid()), None, True, {}
    ).container_id


def never_waits(procfs, stat, status, executable, command_line) -> str | None:
    """Name of the program of :data:`NEVER_WAIT` that this process runs and is at; None for all
    others, and where the kernel does not show that.

    Anything unusual about it is a reason to believe that it is another program: threads, a handler
    for SIGCHLD, a tracer.
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
