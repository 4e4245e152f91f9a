# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a PID 1 an orphan, and see whether it collects it.

This is the one place in the engine that starts processes. No sweep comes here, only an audit that
was asked to probe. Each canary takes three processes: one that joins the PID namespace (setns(2),
CLONE_NEWPID: only its children are in it), its child (the mother), and the canary, a child of the
mother. The mother exits, so the kernel gives the canary to the namespace's PID 1
(pid_namespaces(7)); then the canary exits.

For a moment a tenant can see two processes, mother and canary. They are copies of this one, so
before they exist they lose what could be of use: all files are closed, the root directory is
empty, the user is one that nobody has, and there is no capability. They have a session of their own
(sched(7), autogroups) and the network namespace of that PID 1 (everybody may read /proc/PID/net),
and they are undumpable (prctl(2), PR_SET_DUMPABLE), so nobody without CAP_SYS_PTRACE can look into
them. Where somebody might have that capability, the audit sends no canary. A tenant may stop or
kill them; this process kills what is left of them after :data:`PROCESS_TIMEOUT`.
"""

from __future__ import annotations

import contextlib
import os
import time

from .kernel.pidfd import is_there, open_descriptors, open_pidfd, raise_descriptor_limit, send
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Sequence

    from .kernel.procfs import ProcFS, Stat

CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000  # include/uapi/linux/sched.h
PR_SET_DUMPABLE, PR_SET_NAME = 4, 15  # include/uapi/linux/prctl.h
NAME = b"zr-canary"
# a UID and GID that nobody has, so no user's limits or signals are shared
NOBODY = 2147483646

DESCRIPTORS = 2  # for each canary, open until all have exited
INIT_TIMEOUT = 6.5  # seconds that an init gets: runsvdir looks every 5 s, supervisord every second
# Seconds for which a PID 1 that has children is watched first. If it looks after them more often
# than this, it is seen to run
QUIET = INIT_TIMEOUT + 0.5
# Seconds after the last canary was collected. A PID 1 that ends because of its canary does so by
# then
SETTLES = 1.0
PROCESS_TIMEOUT = 2.0  # seconds for each process to start or end
# Seconds for sending all canaries, which a tenant can make slow. Less than a sweep waits for the
# lock
MAX_SECONDS = 15.0


class Fate(Record):
    """What became of a canary."""

    collected: bool | None  # None where none could be sent
    seconds: float | None  # until it was collected; None unless it was
    detail: str  # a few words for people
    left: tuple[int, int] | None  # (pid, start_ticks) of the zombie that is still there


class _Unfit(Exception):
    """No canary can be sent there. The message says why."""


class Canary(Record):
    """A canary that the init has adopted."""

    init_pid: int
    stat: Stat
    pidfd: int
    goes: int  # a descriptor; the canary lives until it is closed


def release(
    procfs: ProcFS, inits: Sequence[tuple[int, int]], note: Callable[[Stat], None]
) -> tuple[list[Canary], dict[int, Fate]]:
    """Send each of these inits, given as (pid, start_ticks), an orphan that does not exit yet.

    note: called with the stat of each canary before the canary can become a zombie of the init; if
    it raises ``OSError``, that canary is not sent. This process may be killed at any time, and no
    sweep is to blame anybody for what it then leaves.
    Returns the canaries, and by PID the fates of the inits that none could be sent to.
    :func:`wait_for_fates` has to follow.
    """
    canaries: list[Canary] = []
    fates: dict[int, Fate] = {}
    raise_descriptor_limit(DESCRIPTORS * len(inits))
    deadline = time.monotonic() + MAX_SECONDS
    for pid, start_ticks in inits:
        if time.monotonic() > deadline:
            fates[pid] = not_sent("no canary was sent: those before it took too long")
            continue
        try:
            canaries.append(_release(procfs, pid, start_ticks, note))
        except _Unfit as unfit:
            fates[pid] = not_sent(str(unfit))
        except OSError as error:
            fates[pid] = not_sent(f"no canary could be sent: {error.strerror}")
    return canaries, fates


def not_sent(why: str) -> Fate:
    """The fate of a canary that was not sent."""
    return Fate(collected=None, seconds=None, detail=why, left=None)


def wait_for_fates(canaries: Sequence[Canary]) -> dict[int, Fate]:
    """Let the canaries exit, all at once, and see which of them are collected. Returns their fates
    by PID of the init, and closes their descriptors.

    A canary that has not exited after :data:`PROCESS_TIMEOUT` was stopped by a tenant, and is
    killed.
    """
    fates: dict[int, Fate] = {}
    began = time.monotonic()
    all_exit = False
    for each in canaries:
        os.close(each.goes)
    while len(fates) < len(canaries) and time.monotonic() - began < INIT_TIMEOUT:
        if not all_exit and time.monotonic() - began > PROCESS_TIMEOUT:
            all_exit = True
            for each in canaries:
                send(each.pidfd, "SIGKILL")  # to a zombie it means nothing
        for each in canaries:
            if each.init_pid not in fates and not is_there(each.pidfd):
                seconds = time.monotonic() - began
                fates[each.init_pid] = Fate(
                    collected=True,
                    seconds=seconds,
                    detail=f"it collected an orphan after {seconds:.2f} s",
                    left=None,
                )
        time.sleep(0.005)
    for each in canaries:
        os.close(each.pidfd)
        fates.setdefault(
            each.init_pid,
            Fate(
                collected=False,
                seconds=None,
                detail=f"it did not collect an orphan within {INIT_TIMEOUT:.1f} s",
                left=(each.stat.pid, each.stat.start_ticks),
            ),
        )
    return fates


def _release(
    procfs: ProcFS, init_pid: int, start_ticks: int, note: Callable[[Stat], None]
) -> Canary:
    import ctypes

    libc = ctypes.CDLL(None)
    with (
        contextlib.ExitStack() as in_vain,
        contextlib.ExitStack() as opened,
        contextlib.ExitStack() as until_sent,
    ):
        namespaces: dict[int, int] = {}
        for kind, flag in (("net", CLONE_NEWNET), ("pid", CLONE_NEWPID)):
            namespaces[flag] = procfs.open_namespace(init_pid, kind)
            opened.callback(os.close, namespaces[flag])
        stat = procfs.stat(init_pid)
        if stat is None or stat.start_ticks != start_ticks:
            raise _Unfit("it has ended")
        # mother and canary each read until the other end is closed or written to
        (mother_waits, mother_goes), (canary_waits, canary_goes) = (os.pipe(), os.pipe())
        opened.callback(os.close, mother_waits)
        opened.callback(os.close, canary_waits)
        until_sent.callback(os.close, canary_goes)
        joined = os.fork()
        if joined == 0:
            _join_and_fork(libc, namespaces, mother_waits, canary_waits, procfs.empty_directory)
        in_vain.callback(_kill_session, procfs, joined)
        mother: Stat | None = None
        is_noted = False
        try:
            mother = _only_child(procfs, joined)
            canary = _only_child(procfs, mother.pid)
            pidfd = open_pidfd(procfs, canary)
            if pidfd is None:
                raise _Unfit("the canary ended too early")
            until_sent.callback(os.close, pidfd)
            note(canary)
            is_noted = os.write(mother_goes, b".") == 1
        finally:
            os.close(mother_goes)
            if not is_noted:
                until_sent.close()  # the canary exits, and its mother collects it
            _see_end(procfs, joined, mother)
        now = procfs.stat(canary.pid)
        if now is None or now.ppid != init_pid:
            raise _Unfit("it was not given the orphan: another process adopts orphans here")
        until_sent.pop_all()
        in_vain.pop_all()
        return Canary(init_pid=init_pid, stat=canary, pidfd=pidfd, goes=canary_goes)


def _join_and_fork(
    libc: ctypes.CDLL,
    namespaces: dict[int, int],
    mother_waits: int,
    canary_waits: int,
    empty_directory: str,
) -> None:
    """In the forked process: start mother and canary in these namespaces, as nobody. Never returns.

    namespaces: descriptors by CLONE_* flag.
    """
    try:
        for fd in set(open_descriptors()) - {*namespaces.values(), mother_waits, canary_waits}:
            with contextlib.suppress(OSError):
                os.close(fd)
        if all(libc.setns(fd, flag) == 0 for flag, fd in namespaces.items()):
            for fd in namespaces.values():
                os.close(fd)
            os.setsid()
            libc.prctl(PR_SET_NAME, NAME)
            os.chroot(empty_directory)
            os.chdir("/")
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)  # which drops all capabilities (capabilities(7))
            # it is undumpable already, unless fs.suid_dumpable is 1
            libc.prctl(PR_SET_DUMPABLE, 0)
            mother = os.fork()
            if mother:
                os.waitpid(mother, 0)
            else:
                canary = os.fork()
                if canary == 0:
                    os.read(canary_waits, 1)
                elif not os.read(mother_waits, 1):
                    # the audit has ended, or gives up, before the canary was noted
                    os.waitpid(canary, 0)
    finally:
        os._exit(0)


def _only_child(procfs: ProcFS, pid: int) -> Stat:
    """The stat of the child of a process, once it has one."""
    deadline = time.monotonic() + PROCESS_TIMEOUT
    while time.monotonic() < deadline:
        for child in procfs.children(pid):
            stat = procfs.stat(child)
            if stat and stat.ppid == pid:
                return stat
        stat = procfs.stat(pid)
        if stat is None or stat.state == "Z":
            break
        time.sleep(0.001)
    raise _Unfit("no process could be started in its PID namespace")


def _see_end(procfs: ProcFS, joined: int, mother: Stat | None) -> None:
    """Wait for the process that joined the namespace, which waits for the mother. A tenant may have
    stopped the mother: then both are killed.
    """
    deadline = time.monotonic() + PROCESS_TIMEOUT
    # ChildProcessError: SIGCHLD is ignored in this process, so the kernel has waited
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(joined, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                for stat in (mother, procfs.stat(joined)):
                    pidfd = open_pidfd(procfs, stat) if stat else None
                    if pidfd is not None:
                        send(pidfd, "SIGKILL")
                        os.close(pidfd)
            time.sleep(0.001)


def _kill_session(procfs: ProcFS, leader: int) -> None:
    """Kill what is left of the session of the process that joined: perhaps a canary that was not
    found because a tenant killed its mother.
    """
    for pid in procfs.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                pidfd = os.pidfd_open(pid)
                try:
                    status = procfs.status(pid)
                    if status and status.uid == NOBODY and os.getsid(pid) == leader:
                        send(pidfd, "SIGKILL")
                finally:
                    os.close(pidfd)
