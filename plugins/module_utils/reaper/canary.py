# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a PID 1 an orphan, and see whether it collects it.

The one place in the engine that starts processes; no sweep comes here, only an audit that was asked
to probe. Three are started for each canary: one that joins the PID namespace (setns(2),
CLONE_NEWPID: that is, its children are in it), its child, and of that the canary. The child exits,
so the kernel gives the canary to the namespace's PID 1 (pid_namespaces(7)); then the canary exits.

A tenant sees two processes for a moment. They are copies of this one, so before they are there: all
files closed, an empty root directory, a user that nobody is, no capability, a session of their own
(sched(7), autogroups), the network namespace of that PID 1 (everybody may read /proc/PID/net), and
undumpable (prctl(2), PR_SET_DUMPABLE): so nobody without CAP_SYS_PTRACE can look into them; where
somebody might have it, the audit sends none. A tenant may stop or kill them: then this process
kills what is there after :data:`PROCESS_TIMEOUT`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import namedtuple

from .kernel.pidfd import is_there, open_descriptors, open_pidfd, raise_descriptor_limit, send

CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000  # include/uapi/linux/sched.h
PR_SET_DUMPABLE, PR_SET_NAME = 4, 15  # include/uapi/linux/prctl.h
NAME = b"zr-canary"
# a UID and GID that is given to nobody, so that neither limits nor signals of a user are shared
NOBODY = 2147483646

DESCRIPTORS = 2  # that stay open for each until all have exited
INIT_TIMEOUT = 6.5  # seconds that an init gets: runsvdir looks every 5 s, supervisord every second
QUIET = (
    INIT_TIMEOUT + 0.5
    # seconds for which a PID 1 that has children is looked at first: one that looks after them more
    # often is seen to run
)
# seconds after the last canary was collected, in which a PID 1 that ends because of it does so
SETTLES = 1.0
PROCESS_TIMEOUT = 2.0  # seconds for each process to start or end
# seconds for sending all of them, which a tenant can make slow; less than a sweep waits for the
# lock
MAX_SECONDS = 15.0


class Fate(namedtuple("Fate", ("collected", "seconds", "detail", "left"))):
    """What became of a canary.

    collected: bool, None where none could be sent. seconds: float, how long that took, None unless
    it was collected.
    detail: str, a few words for people. left: (pid, start_ticks) of the zombie that is still there,
    or None.
    """

    __slots__ = ()


class _Unfit(Exception):
    """No canary can be sent there. The message says why."""


class Canary(namedtuple("Canary", ("init_pid", "stat", "pidfd", "goes"))):
    """One that the init has adopted, alive until the descriptor ``goes`` is closed. stat:
    :class:`.procfs.Stat`.
    """

    __slots__ = ()


def release(procfs, inits, note) -> tuple:
    """Send each of these inits, (pid, start_ticks), an orphan that does not exit yet.

    note: called with the :class:`.procfs.Stat` of each canary while it cannot become a zombie of
    theirs yet; where it raises ``OSError``, none is sent. This process may be killed at any time,
    and no sweep is to blame anybody for what that leaves. Returns (list of :class:`Canary`, ``{pid:
    Fate}`` of those that none could be sent to). :func:`daemon` has to follow.
    """
    canaries, fates = [], {}
    raise_descriptor_limit(DESCRIPTORS * len(inits))
    deadline = time.monotonic() + MAX_SECONDS
    for pid, start_ticks in inits:
        if time.monotonic() > deadline:
            fates[pid] = Fate(None, None, "no canary was sent: those before it took too long", None)
            continue
        try:
            canaries.append(_release(procfs, pid, start_ticks, note))
        except _Unfit as unfit:
            fates[pid] = Fate(None, None, str(unfit), None)
        except OSError as error:
            fates[pid] = Fate(None, None, f"no canary could be sent: {error.strerror}", None)
    return canaries, fates


def wait_for_fates(canaries) -> dict:
    """Let them exit, all at once, and see which of them are collected: ``{pid of the init: Fate}``.
    Closes their descriptors.

    One that has not exited after :data:`PROCESS_TIMEOUT` was stopped by a tenant, and is killed.
    """
    fates = {}
    began = time.monotonic()
    all_exit = False
    for each in canaries:
        os.close(each.goes)
    while len(fates) < len(canaries) and time.monotonic() - began < INIT_TIMEOUT:
        if not all_exit and time.monotonic() - began > PROCESS_TIMEOUT:
            all_exit = True
            for each in canaries:
                send(each.pidfd, "SIGKILL")  # to a zombie that means nothing
        for each in canaries:
            if each.init_pid not in fates and not is_there(each.pidfd):
                seconds = time.monotonic() - began
                fates[each.init_pid] = Fate(
                    True, seconds, f"it collected an orphan after {seconds:.2f} s", None
                )
        time.sleep(0.005)
    for each in canaries:
        os.close(each.pidfd)
        fates.setdefault(
            each.init_pid,
            Fate(
                False,
                None,
                f"it did not collect an orphan within {INIT_TIMEOUT:.1f} s",
                (each.stat.pid, each.stat.start_ticks),
            ),
        )
    return fates


def _release(procfs, init_pid, start_ticks, note) -> Canary:
    import ctypes

    libc = ctypes.CDLL(None)
    with (
        contextlib.ExitStack() as in_vain,
        contextlib.ExitStack() as opened,
        contextlib.ExitStack() as until_sent,
    ):
        namespaces = {}
        for kind, flag in (("net", CLONE_NEWNET), ("pid", CLONE_NEWPID)):
            namespaces[flag] = procfs.open_namespace(init_pid, kind)
            opened.callback(os.close, namespaces[flag])
        stat = procfs.stat(init_pid)
        if stat is None or stat.start_ticks != start_ticks:
            raise _Unfit("it has ended")
        # both read until the other end is closed, or written to
        (mother_waits, mother_goes), (canary_waits, canary_goes) = (os.pipe(), os.pipe())
        opened.callback(os.close, mother_waits)
        opened.callback(os.close, canary_waits)
        until_sent.callback(os.close, canary_goes)
        joined = os.fork()
        if joined == 0:
            _join_and_fork(libc, namespaces, mother_waits, canary_waits, procfs.empty_directory)
        in_vain.callback(_kill_session, procfs, joined)
        mother = is_noted = None
        try:
            mother = _only_child(procfs, joined)
            canary = _only_child(procfs, mother.pid)
            pidfd = open_pidfd(procfs, canary)
            if pidfd is None:
                raise _Unfit("the canary has ended before its time")
            until_sent.callback(os.close, pidfd)
            note(canary)
            is_noted = os.write(mother_goes, b".")
        finally:
            os.close(mother_goes)
            if not is_noted:
                until_sent.close()  # the canary exits, and its mother collects it
            _see_end(procfs, joined, mother)
        now = procfs.stat(canary.pid)
        if now is None or now.ppid != init_pid:
            raise _Unfit("it was not given the orphan: another process adopts them here")
        until_sent.pop_all()
        in_vain.pop_all()
        return Canary(init_pid, canary, pidfd, canary_goes)


def _join_and_fork(libc, namespaces, mother_waits, canary_waits, empty_directory) -> None:
    """In the process that was forked: start mother and canary in these namespaces (flag to
    descriptor), as nobody; never returns.
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
            os.setresuid(NOBODY, NOBODY, NOBODY)  # and with that no capability (capabilities(7))
            # it is that already, but not where fs.suid_dumpable is 1
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


def _only_child(procfs, pid):
    """:class:`.procfs.Stat` of the child of a process, once it has one."""
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


def _see_end(procfs, joined, mother) -> None:
    """Wait for the process that joined the namespace, which waits for the mother. A tenant may have
    stopped that one: then both are killed.
    """
    deadline = time.monotonic() + PROCESS_TIMEOUT
    # SIGCHLD is ignored in this process: the kernel has waited
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(joined, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                for stat in (mother, procfs.stat(joined)):
                    pidfd = open_pidfd(procfs, stat) if stat else None
                    if pidfd is not None:
                        send(pidfd, "SIGKILL")
                        os.close(pidfd)
            time.sleep(0.001)


def _kill_session(procfs, leader) -> None:
    """Kill what is left of the session of the process that joined: a canary that was not found
    before a tenant had killed its mother.
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
