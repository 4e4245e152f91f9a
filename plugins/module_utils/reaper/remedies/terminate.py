# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last remedy: end the parent. Its zombies then go to their adopter; if it was PID 1, they go
with its PID namespace.

A parent that is ended has to look failed. Many programs exit with status 0 on SIGTERM, and whoever
waits for them takes their work for done: Kubernetes marks a Job as Complete, ``restart:
on-failure`` does not start it again, a script goes on to its next line; to systemd even death by
SIGTERM is a clean exit. Whether a waiter passes the status on cannot be seen from outside (tini, a
shell, any launcher). So every program whose status somebody can ask for gets SIGKILL at once, which
container runtimes report as 137. Only a program that its present parent did not start, such as a
daemon, gets SIGTERM first, and SIGKILL after ``grace``.

All of them share one deadline. There is no thread and no process per parent, but one poll(2) over
pidfds. A pidfd becomes readable when its process exits (pidfd_open(2)), after the children of that
process were given to their adopter.
"""

from __future__ import annotations

import os
import re
import select
import time

from ..kernel.pidfd import open_to_signal, send, slices
from ..node import inits, lineage, observe
from . import Outcome, termination_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..kernel.procfs import ProcFS, Stat
    from ..node.observe import Offender

    Ending = tuple[str, str, float]  # result and detail of an Outcome, and when, on CLOCK_MONOTONIC

# seconds that a process may take to die of SIGKILL; longer means uninterruptible sleep
AFTER_SIGKILL = 3.0
SIGTERM_BIT = 1 << 14  # signal 15 in the masks of /proc/PID/status

# These keep track of a daemon that they adopted, and of its status (systemd.service(5),
# Type=forking)
WATCH_DAEMONS = r"systemd|init"
# These end when the program that they started does, with its status
END_WITH_THEIR_CHILD = r"tini(-static)?|docker-init|dumb-init|catatonit|podman-init"


def terminate(
    procfs: ProcFS,
    offenders: Sequence[Offender],
    in_use: Sequence[str],
    grace: float,
    kubelet: str = "/var/lib/kubelet",
) -> list[Outcome]:
    """End every offender that still holds one of its zombies: all at once, or in slices if there
    are too few descriptors for that.

    in_use: of each offender, of which process IDs how many are in use, in words that its owner may
    see. grace: seconds between SIGTERM and SIGKILL. kubelet: the kubelet's root directory, which
    has the termination logs. Returns one outcome for each offender, in the order given.
    """
    outcomes: list[Outcome] = []
    words = {offender.pid: each for offender, each in zip(offenders, in_use)}
    for some in slices(offenders):
        outcomes += _terminate_slice(procfs, some, words, grace, kubelet)
    return outcomes


def gets_sigterm(procfs: ProcFS, offender: Offender) -> bool:
    """Whether it gets SIGTERM before SIGKILL: nobody can ask for its status, so an exit with 0
    would deceive nobody.
    """
    if offender.status.ns_pid[-1] == 1:
        return False
    stat = procfs.stat(offender.pid)
    parent = procfs.stat(stat.ppid) if stat and stat.ppid else None
    if stat is None or parent is None or not _was_adopted(procfs, stat, parent, offender):
        return False
    name = inits.program(procfs.executable(parent.pid), procfs.command_line(parent.pid))
    return name is not None and not re.fullmatch(WATCH_DAEMONS, name)


def ignores_sigterm(offender: Offender) -> bool:
    """Whether SIGTERM is known to have no effect.

    PID 1 of a namespace receives only signals that it has a handler for, even from the namespaces
    above its own (pid_namespaces(7)). Other processes may ignore or block SIGTERM.
    """
    if offender.status.ns_pid[-1] == 1:
        return not offender.status.caught & SIGTERM_BIT
    return bool((offender.status.ignored | offender.status.blocked) & SIGTERM_BIT)


def ends_container(procfs: ProcFS, offender: Offender) -> str | None:
    """Why its container ends with it, in one sentence. None where nothing shows that it does; it
    may still end.
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
            return None  # exec started it there: the container's first program is PID 1
        return (
            "The container runtime started it: its container ends with it, unless it was started"
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
            f"PID {parent.pid} ({name}) was started to run it, and ends when it does: its container"
            " ends too."
        )
    return None


def _is_first(procfs: ProcFS, offender: Offender, stat: Stat) -> bool:
    """Whether the process with this stat is the first program of the offender's container."""
    status = procfs.status(stat.pid)
    if status and status.ns_pid[-1] == 1:
        return stat.pid == offender.init_pid and not status.in_own_pid_namespace
    return lineage.was_made_by_a_runtime(
        procfs,
        offender.workload.container_id,
        stat.pid,
        procfs.stat(stat.ppid) if stat.ppid else None,
    )


def _was_adopted(procfs: ProcFS, stat: Stat, parent: Stat, offender: Offender) -> bool:
    """Whether its present parent did not start it (:mod:`..node.lineage`)."""
    status = procfs.status(parent.pid)
    led_from_start = status is not None and lineage.led_from_start(
        procfs, offender.workload.container_id, parent, status
    )
    present_parent = lineage.Parent(
        pid=parent.pid,
        start_ticks=parent.start_ticks,
        session=parent.session,
        led_from_start=led_from_start,
    )
    claim, _evidence = lineage.claim(stat, present_parent)
    return claim == lineage.ORPHAN


def _oldest_child(procfs: ProcFS, pid: int) -> int | None:
    """PID of the child that it has had longest: an init that ends with its child starts that one
    before it adopts anybody.
    """
    children = [
        stat
        for stat in map(procfs.stat, procfs.children(pid))
        if stat and stat.ppid == pid and stat.state != "Z"
    ]
    return min(children, key=lambda stat: (stat.start_ticks, stat.pid)).pid if children else None


def _terminate_slice(
    procfs: ProcFS,
    offenders: Sequence[Offender],
    in_use: Mapping[int, str],
    grace: float,
    kubelet: str,
) -> list[Outcome]:
    began = time.monotonic()
    results: dict[int, Ending] = {}
    logged: set[int] = set()  # PIDs whose termination log has the message
    # by pidfd: those that get SIGTERM first, and those that get SIGKILL at once
    asked: dict[int, Offender] = {}
    killed: dict[int, Offender] = {}
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
                    "it collected its zombies itself",
                    time.monotonic(),
                )
                os.close(pidfd)
                del killed[pidfd]
        for pidfd, offender in (*asked.items(), *killed.items()):
            if termination_log.append_message(kubelet, offender, in_use[offender.pid]):
                logged.add(offender.pid)
            # if it has ended already, poll shows that
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
        _outcome(offender, began, offender.pid in logged, *results[offender.pid])
        for offender in offenders
    ]


def _wait(
    alive: dict[int, Offender], deadline: float, results: dict[int, Ending], how: str
) -> None:
    """Wait until all have exited, or until the deadline. Those that have exited are taken out of
    ``alive``, and their pidfds are closed.
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


def _outcome(
    offender: Offender, began: float, logged: bool, result: str, detail: str, ended: float
) -> Outcome:
    if detail == "ended by SIGKILL" and ignores_sigterm(offender):
        detail += "; SIGTERM has no effect on it"
    if logged:
        detail += "; its termination log says why"
    return Outcome(
        pid=offender.pid,
        start_ticks=offender.start_ticks,
        remedy="terminate",
        result=result,
        cleared=0,
        detail=detail,
        seconds=ended - began,
    )
