# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last remedy: end the parent. Its zombies go to whoever adopts them, or with the namespace if
it was PID 1 there.

What is ended has to look failed. Many programs exit with status 0 on SIGTERM, and who waits for
them takes their work for done: a Job of Kubernetes is marked
Complete, ``restart: on-failure`` does not start it again, a script goes on to its next line; to
systemd even death by SIGTERM is a clean exit. Who passes a status on cannot be seen from outside
(tini, a shell, any launcher), so each program whose status somebody can ask for gets SIGKILL at
once: 137 with container runtimes. Only a program that its present parent did not start, such as a
daemon, gets SIGTERM, and SIGKILL after ``grace``.

One deadline for all of them. No thread and no process per parent: one poll(2) over pidfds, which
become readable when their process exits (pidfd_open(2)), after its children were given to their
adopter.
"""

from __future__ import annotations

import os
import re
import select
import time

from ..kernel.pidfd import open_to_signal, send, slices
from ..node import inits, lineage, observe
from . import Outcome, termination_log

AFTER_SIGKILL = (
    3.0  # seconds a process may take to die of SIGKILL; longer means uninterruptible sleep
)
SIGTERM_BIT = 1 << 14  # of signal 15 in the masks of /proc/PID/status

# they track a daemon that they adopted, and its status (systemd.service(5), Type=forking)
WATCH_DAEMONS = r"systemd|init"
END_WITH_THEIR_CHILD = (  # and with its status
    r"tini(-static)?|docker-init|dumb-init|catatonit|podman-init"
)


def terminate(procfs, offenders, grace: float, kubelet: str = "/var/lib/kubelet") -> list:
    """End every offender that still holds one of its zombies; all at once, in slices where
    descriptors are short.

    grace: seconds between SIGTERM and SIGKILL. kubelet: its root directory, below which are the
    termination logs. Returns one :class:`.Outcome` for each, in the order given.
    """
    outcomes = []
    for some in slices(offenders):
        outcomes += _terminate_slice(procfs, some, grace, kubelet)
    return outcomes


def gets_sigterm(procfs, offender) -> bool:
    """Whether SIGTERM comes before SIGKILL: nobody can ask for its status, so that it may exit with
    0 deceives nobody.
    """
    if offender.status.ns_pid[-1] == 1:
        return False
    stat = procfs.stat(offender.pid)
    parent = procfs.stat(stat.ppid) if stat and stat.ppid else None
    if parent is None or not _was_adopted(procfs, stat, parent, offender):
        return False
    name = inits.program(procfs.executable(parent.pid), procfs.command_line(parent.pid))
    return bool(name) and not re.fullmatch(WATCH_DAEMONS, name)


def ignores_sigterm(offender) -> bool:
    """Whether SIGTERM is known to have no effect.

    PID 1 of a namespace gets only signals that it has a handler for, from its parents' namespaces
    too (pid_namespaces(7)); others may ignore or block it.
    """
    if offender.status.ns_pid[-1] == 1:
        return not offender.status.caught & SIGTERM_BIT
    return bool((offender.status.ignored | offender.status.blocked) & SIGTERM_BIT)


def ends_container(procfs, offender) -> str | None:
    """A sentence on why its container ends with it; None where that is not to be seen, which does
    not mean that it goes on.
    """
    if offender.workload.kind != "container":
        return None
    if offender.status.ns_pid[-1] == 1:
        return "It is PID 1 of its PID namespace: its container ends with it."
    stat = procfs.stat(offender.pid)
    parent = procfs.stat(stat.ppid) if stat and stat.ppid else None
    if lineage.was_made_by_a_runtime(procfs, offender.workload.container_id, offender.pid, parent):
        if (
            offender.init_pid
            and lineage.container_of(procfs, offender.init_pid) == offender.workload.container_id
        ):
            return None  # put in there by exec: the first program is PID 1
        return (
            "The container runtime started it: its container ends with it, unless it was put in"
            " there by exec."
        )
    if parent is None or not _is_first(procfs, offender, parent):
        return None
    name = inits.program(procfs.executable(parent.pid), procfs.command_line(parent.pid))
    if (
        name
        and re.fullmatch(END_WITH_THEIR_CHILD, name)
        and _oldest_child(procfs, parent.pid) == offender.pid
    ):
        return (
            f"It is the program for which PID {parent.pid} ({name}) was started, which"
            " ends when that does: its"
            " container ends too."
        )
    return None


def _is_first(procfs, offender, stat) -> bool:
    """Whether that process of :class:`.procfs.Stat` is the first program of the offender's
    container.
    """
    status = procfs.status(stat.pid)
    if status and status.ns_pid[-1] == 1:
        return stat.pid == offender.init_pid and not status.in_own_pid_namespace
    return lineage.was_made_by_a_runtime(
        procfs,
        offender.workload.container_id,
        stat.pid,
        procfs.stat(stat.ppid) if stat.ppid else None,
    )


def _was_adopted(procfs, stat, parent, offender) -> bool:
    """Whether its present parent did not start it (:mod:`..lineage`)."""
    status = procfs.status(parent.pid)
    led_from_start = status is not None and lineage.led_from_start(
        procfs, offender.workload.container_id, parent, status
    )
    return (
        lineage.claim(
            stat, lineage.Parent(parent.pid, parent.start_ticks, parent.session, led_from_start)
        )[0]
        == lineage.ORPHAN
    )


def _oldest_child(procfs, pid) -> int | None:
    """An init that ends with its child starts it before it adopts anybody."""
    children = [
        stat
        for stat in map(procfs.stat, procfs.children(pid))
        if stat and stat.ppid == pid and stat.state != "Z"
    ]
    return min(children, key=lambda stat: (stat.start_ticks, stat.pid)).pid if children else None


def _terminate_slice(procfs, offenders, grace, kubelet) -> list:
    began = time.monotonic()
    results, told = {}, set()
    asked, killed = {}, {}  # by SIGTERM first, by SIGKILL at once
    try:
        for offender in offenders:
            try:
                pidfd = open_to_signal(procfs, offender)
            except OSError as error:
                results[offender.pid] = (
                    "failed",
                    f"it cannot be signalled: {error.strerror}",
                    began,
                )
                continue
            if pidfd is None:
                results[offender.pid] = ("gone", "", began)
                continue
            try:
                holds_any = any(
                    zombie.ppid == offender.pid
                    for zombie in observe.still_zombies(procfs, offender)
                )
                (asked if holds_any and gets_sigterm(procfs, offender) else killed)[pidfd] = (
                    offender
                )
            except BaseException:
                os.close(pidfd)
                raise
            if not holds_any:
                results[offender.pid] = (
                    "gone",
                    "it has collected its zombies itself",
                    time.monotonic(),
                )
                os.close(pidfd)
                del killed[pidfd]
        for pidfd, offender in (*asked.items(), *killed.items()):
            if termination_log.tell(kubelet, offender):
                told.add(offender.pid)
            # where it has ended, poll tells
            send(pidfd, "SIGTERM" if pidfd in asked else "SIGKILL")
        _wait(
            killed,
            time.monotonic() + AFTER_SIGKILL,
            results,
            "ended by SIGKILL at once, so that it counts as failed",
        )
        _wait(asked, began + grace, results, "ended by SIGTERM")
        for pidfd in asked:
            send(pidfd, "SIGKILL")
        _wait(asked, time.monotonic() + AFTER_SIGKILL, results, "ended by SIGKILL")
        for offender in (*asked.values(), *killed.values()):
            results[offender.pid] = (
                "survived",
                "SIGKILL is pending: it is in uninterruptible sleep",
                time.monotonic(),
            )
    finally:
        for pidfd in (*asked, *killed):
            os.close(pidfd)
    return [
        _outcome(offender, began, offender.pid in told, *results[offender.pid])
        for offender in offenders
    ]


def _wait(alive, deadline, results, how) -> None:
    """Until all have exited or the deadline; takes those that exited out of ``alive`` and closes
    their pidfds.
    """
    poll = select.poll()
    for pidfd in alive:
        poll.register(pidfd, select.POLLIN)
    while alive:
        left = deadline - time.monotonic()
        for pidfd, _event in poll.poll(max(0.0, left) * 1000):
            poll.unregister(pidfd)
            os.close(pidfd)
            results[alive.pop(pidfd).pid] = ("parent_ended", how, time.monotonic())
        if left <= 0:
            return


def _outcome(offender, began, told, result, detail, ended) -> Outcome:
    if detail == "ended by SIGKILL" and ignores_sigterm(offender):
        detail += "; SIGTERM has no effect on it"
    if told:
        detail += "; its termination log says why"
    return Outcome(
        offender.pid, offender.start_ticks, "terminate", result, 0, detail, ended - began
    )
