# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a PID 1 an orphan, and see whether it collects it.

The one place in the engine that starts processes; no sweep comes here, only an audit that was asked to probe. Three are started for
each canary: one that joins the PID namespace (setns(2), CLONE_NEWPID: that is, its children are in it), its child, and of that the
canary. The child exits, so the kernel gives the canary to the namespace's PID 1 (pid_namespaces(7)); then the canary exits.

A tenant sees two processes for a moment. They are copies of this one, so before they are there: all files closed, an empty root
folder, a user that nobody is, no capability. That makes them undumpable (prctl(2), PR_SET_DUMPABLE), so nobody without
CAP_SYS_PTRACE can look into them; where somebody might have it, the audit sends none.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import namedtuple

from .remedies import is_there, open_descriptors, open_pidfd, send

CLONE_NEWPID = 0x20000000  # include/uapi/linux/sched.h
PR_SET_NAME = 15  # include/uapi/linux/prctl.h
NAME = b"zr-canary"
NOBODY = 2147483646  # a UID and GID that is given to nobody, so that neither limits nor signals of a user are shared

PATIENCE = 6.5  # seconds that an init gets: runsvdir looks every 5 s, supervisord every second
MOMENT = 2.0  # seconds for each process to start or end


class Fate(namedtuple("Fate", ("collected", "seconds", "detail", "left"))):
    """What became of a canary.

    collected: bool, None where none could be sent. seconds: float, how long that took, None unless it was collected.
    detail: str, a few words for people. left: (pid, start_ticks) of the zombie that is still there, or None.
    """

    __slots__ = ()


class _Unfit(Exception):
    """No canary can be sent there. The message says why."""


class Canary(namedtuple("Canary", ("init_pid", "stat", "pidfd", "goes"))):
    """One that the init has adopted, alive until the descriptor ``goes`` is closed. stat: :class:`.procfs.Stat`."""

    __slots__ = ()


def release(procfs, inits) -> tuple:
    """Send each of these inits, (pid, start_ticks), an orphan that does not exit yet.

    Returns (list of :class:`Canary`, ``{pid: Fate}`` of those that none could be sent to). :func:`watch` has to follow.
    """
    canaries, fates = [], {}
    for pid, start_ticks in inits:
        try:
            canaries.append(_release(procfs, pid, start_ticks))
        except _Unfit as unfit:
            fates[pid] = Fate(None, None, str(unfit), None)
        except OSError as error:
            fates[pid] = Fate(None, None, "no canary could be sent: %s" % error.strerror, None)
    return canaries, fates


def watch(canaries) -> dict:
    """Let them exit, all at once, and see which of them are collected: ``{pid of the init: Fate}``. Closes their descriptors."""
    fates = {}
    began = time.monotonic()
    for each in canaries:
        os.close(each.goes)
    while len(fates) < len(canaries) and time.monotonic() - began < PATIENCE:
        for each in canaries:
            if each.init_pid not in fates and not is_there(each.pidfd):
                seconds = time.monotonic() - began
                fates[each.init_pid] = Fate(True, seconds, "it collected an orphan after %.2f s" % seconds, None)
        time.sleep(0.005)
    for each in canaries:
        os.close(each.pidfd)
        fates.setdefault(each.init_pid, Fate(
            False, None, "it did not collect an orphan within %.1f s" % PATIENCE, (each.stat.pid, each.stat.start_ticks)))
    return fates


def _release(procfs, init_pid, start_ticks) -> Canary:
    import ctypes

    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as opened, contextlib.ExitStack() as until_sent:
        namespace = procfs.open_pid_namespace(init_pid)
        opened.callback(os.close, namespace)
        stat = procfs.stat(init_pid)
        if stat is None or stat.start_ticks != start_ticks:
            raise _Unfit("it has ended")
        (mother_waits, mother_goes), (canary_waits, canary_goes) = os.pipe(), os.pipe()  # both read until the other end is closed
        opened.callback(os.close, mother_waits)
        opened.callback(os.close, canary_waits)
        until_sent.callback(os.close, canary_goes)
        joined = os.fork()
        if joined == 0:
            _join_and_fork(libc, namespace, mother_waits, canary_waits, procfs.empty_folder)
        mother = None
        try:
            mother = _only_child(procfs, joined)
            canary = _only_child(procfs, mother.pid)
            pidfd = open_pidfd(procfs, canary)
            if pidfd is None:
                raise _Unfit("the canary has ended before its time")
            until_sent.callback(os.close, pidfd)
        finally:
            os.close(mother_goes)
            _see_end(procfs, joined, mother)
        now = procfs.stat(canary.pid)
        if now is None or now.ppid != init_pid:
            raise _Unfit("it was not given the orphan: another process adopts them here")
        until_sent.pop_all()
        return Canary(init_pid, canary, pidfd, canary_goes)


def _join_and_fork(libc, namespace, mother_waits, canary_waits, empty_folder) -> None:
    """In the process that was forked: start mother and canary in that namespace, as nobody; never returns."""
    try:
        for fd in set(open_descriptors()) - {namespace, mother_waits, canary_waits}:
            with contextlib.suppress(OSError):
                os.close(fd)
        if libc.setns(namespace, CLONE_NEWPID) == 0:
            os.close(namespace)
            libc.prctl(PR_SET_NAME, NAME)
            os.chroot(empty_folder)
            os.chdir("/")
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)  # and with that no capability (capabilities(7))
            mother = os.fork()
            if mother == 0:
                os.read(canary_waits if os.fork() == 0 else mother_waits, 1)
            else:
                os.waitpid(mother, 0)
    finally:
        os._exit(0)


def _only_child(procfs, pid):
    """:class:`.procfs.Stat` of the child of a process, once it has one."""
    deadline = time.monotonic() + MOMENT
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


def _see_end(procfs, joined, mother) -> None:
    """Wait for the process that joined the namespace, which waits for the mother. A tenant may have stopped that one: then both are killed."""
    deadline = time.monotonic() + MOMENT
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored in this process: the kernel has waited
        while os.waitpid(joined, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                for stat in (mother, procfs.stat(joined)):
                    pidfd = open_pidfd(procfs, stat) if stat else None
                    if pidfd is not None:
                        send(pidfd, "SIGKILL")
                        os.close(pidfd)
            time.sleep(0.001)
