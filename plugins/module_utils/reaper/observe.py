# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One snapshot of the node: zombies, their parents, what these belong to, the limits. Changes nothing."""

from __future__ import annotations

import os
from collections import namedtuple

from . import cgroups, limits, workloads, zombies
from .inits import Inits

# Zombies of one parent whose tracer is looked up, at about 20 us each. A parent with more than this has
# plenty that nobody traces, or is being debugged on a scale that nothing here should interfere with.
TRACERS_LOOKED_UP = 1000


class Zombie(namedtuple("Zombie", ("pid", "start_ticks", "ppid", "comm", "num_threads", "tracer_pid", "age", "canary"), defaults=(False,))):
    """A process that has exited and was not waited for.

    age: float, seconds since it was first seen as a zombie of this very parent. The kernel keeps no time of death,
    so this is a lower bound. tracer_pid: int, None where it was not looked up. canary: bool, an audit left it there.
    Others as in :class:`.procfs.Stat`.
    """

    __slots__ = ()


class Offender(
    namedtuple(
        "Offender",
        ("pid", "start_ticks", "comm", "state", "flags", "executable", "command_line", "status", "workload",
         "frozen", "is_ancestor", "init_pid", "init_reaps", "pids", "forecast", "ended_ago", "collected_ago", "zombies", "more"),
        defaults=(0,),
    )
):
    """A parent together with its zombies.

    status: :class:`.procfs.Status`. workload: :class:`.workloads.Workload`. zombies: tuple of :class:`Zombie`.
    more: int, further zombies of it that were counted and not looked at one by one.
    executable, command_line: bytes or None.
    frozen: bool, its cgroup is frozen (``docker pause``). is_ancestor: bool, the sweep itself or one of its ancestors.
    ended_ago: float, seconds since a sweep last ended a parent of the same workload, None where none is known.
    collected_ago: float, seconds since it last collected zombies in a sweep, None where it never did.
    init_pid: int, PID 1 of its PID namespace as this node counts, None where it was not found. It adopts
    the zombies when the parent ends, unless a subreaper (which ``/proc`` does not show) stands in between.
    init_reaps: bool, whether that init collected the canary of an audit; None where none was sent to it.
    pids: :class:`.cgroups.Pids` of its container or pod, or None. forecast: :class:`.limits.Forecast` of that.
    """

    __slots__ = ()

    @property
    def held_up(self) -> bool:
        """Whether somebody keeps it from running: its cgroup is frozen, or it is stopped by a signal or a debugger."""
        return self.frozen or self.state in ("T", "t")

    @property
    def zombie_count(self) -> int:
        """Zombies that it holds."""
        return len(self.zombies) + self.more

    @property
    def leaking_per_hour(self) -> float | None:
        """Zombies it has made since it last collected some in a sweep, per hour; None where it has made none or never did."""
        if not self.collected_ago:
            return None
        made = sum(1 for zombie in self.zombies if zombie.age < self.collected_ago)
        return 3600 * made / self.collected_ago if made else None


class Snapshot(
    namedtuple("Snapshot", ("offenders", "without_parent", "limits", "forecast", "way"), defaults=(limits.Forecast(None, None), zombies.SCAN))
):
    """The node at one moment.

    offenders: tuple of :class:`Offender`, most zombies first. limits: :class:`.limits.Limits`. forecast: :class:`.limits.Forecast` of them.
    way: str, how the zombies were found, see :mod:`.zombies`.
    without_parent: tuple of :class:`Zombie` whose parent lies outside the sweep's PID namespace (ppid 0) or has just ended.
    """

    __slots__ = ()


class History(namedtuple("History", ("first_seen", "ended", "collected", "canaries", "left_canaries", "sizes"))):
    """What earlier sweeps and audits noted, in seconds on CLOCK_MONOTONIC; an observation changes nothing of it.

    first_seen: ``{(pid, start_ticks, ppid): seconds}`` of zombies.
    ended: ``{(workload identity,): seconds}``, when a parent of that workload was last ended.
    collected: ``{(pid, start_ticks): seconds}``, when that parent last collected zombies in a sweep.
    canaries: ``{(pid, start_ticks): bool}``, whether that init collected its last canary.
    left_canaries: ``{(pid, start_ticks), ...}`` of canaries that became zombies for good.
    sizes: ``{(NODE or path of a cgroup,): (seconds, tasks)}``, how many tasks there were some time ago.
    """

    __slots__ = ()


NODE = "node"  # its key in the sizes; the path of a cgroup begins with a slash
NOTHING = History({}, {}, {}, {}, set(), {})


def snapshot(procfs, paths, history: History, now: float, ledger=None) -> Snapshot:
    """Look at the whole node once.

    procfs: :class:`.procfs.ProcFS`. paths: has ``cgroup`` (``/sys/fs/cgroup``) and what :class:`.workloads.Locator` reads.
    now: seconds on CLOCK_MONOTONIC. ledger: :class:`.cgroups.Ledger` of a resident process. Raises ``OSError`` where ``/proc`` itself cannot be read.
    """
    everything = zombies.find(procfs, ledger or cgroups.Ledger(paths.cgroup, procfs))
    by_parent = {}
    for stat in everything.stats:
        by_parent.setdefault(stat.ppid, []).append(stat)
    found, without_parent = [], ()
    if by_parent:
        observer = Observer(procfs, paths, history, now)
        for ppid, stats in by_parent.items():
            held = observer.zombies(stats)
            offender = observer.offender(ppid, held)
            if offender:
                found.append(offender._replace(more=everything.more.get(ppid, 0)))
            else:
                without_parent += held
    found.sort(key=lambda offender: (-offender.zombie_count, offender.pid))
    table = limits.read(procfs)
    return Snapshot(tuple(found), without_parent, table, limits.forecast(table.tasks, table.limit, history.sizes.get((NODE,)), now), everything.way)


def parent_now(procfs, zombie) -> int | None:
    """PID of the present parent of that very zombie; None when it is no zombie any more. It changes when a parent ends."""
    stat = procfs.stat(zombie.pid)
    return stat.ppid if stat and stat.state == "Z" and stat.start_ticks == zombie.start_ticks else None


def still_zombies(procfs, offender):
    """Yields those of the offender's zombies that are still zombies, each with its present parent's PID in ``ppid``.

    Lazy: one read for each zombie asked for.
    """
    for zombie in offender.zombies:
        ppid = parent_now(procfs, zombie)
        if ppid is not None:
            yield zombie._replace(ppid=ppid)


class Observer:
    """Reads zombies and processes; what is the same for all of them is read once. The arguments are those of :func:`snapshot`."""

    def __init__(self, procfs, paths, history, now) -> None:
        self.procfs = procfs
        self.paths = paths
        self.history = history
        self.now = now
        self.ancestors = _ancestors(procfs)
        self.inits = Inits(procfs)
        self.locator = workloads.Locator(procfs, paths)
        self.pids_of_levels = {}

    def zombies(self, stats) -> tuple:
        """:class:`Zombie` tuples of the children of one parent."""
        found = []
        for place, stat in enumerate(stats):
            status = self.procfs.status(stat.pid) if place < TRACERS_LOOKED_UP else None
            tracer_pid = status.tracer_pid if status else None
            age = self._since(self.history.first_seen.get((stat.pid, stat.start_ticks, stat.ppid), self.now))
            canary = (stat.pid, stat.start_ticks) in self.history.left_canaries
            found.append(Zombie(stat.pid, stat.start_ticks, stat.ppid, stat.comm, stat.num_threads, tracer_pid, age, canary))
        return tuple(found)

    def offender(self, pid, zombies=()) -> Offender | None:
        """A process as it is now, with those zombies; None when it has gone (its zombies then belong to somebody else already)."""
        stat, status = self.procfs.stat(pid), self.procfs.status(pid)
        if stat is None or status is None:
            return None
        lines = self.procfs.cgroup(pid)
        pid_namespace = self.procfs.pid_namespace(pid)
        init_pid = self.inits.of(stat, status, pid_namespace)
        init = self.procfs.stat(init_pid) if init_pid else None
        executable, command_line = self.procfs.executable(pid), self.procfs.command_line(pid)
        workload = self.locator.of(stat, status, lines, pid_namespace, self.inits.outermost(init_pid))
        pids = self.pids(lines)
        forecast = self.forecast(pids)
        ended = self.history.ended.get((workload.identity,))
        collected = self.history.collected.get((pid, stat.start_ticks))
        again = self.procfs.stat(pid)
        if again is None or again.start_ticks != stat.start_ticks:
            return None
        return Offender(
            pid, stat.start_ticks, stat.comm, stat.state, stat.flags, executable, command_line, status, workload,
            cgroups.is_frozen(self.paths.cgroup, lines), pid in self.ancestors, init_pid,
            self.history.canaries.get((init.pid, init.start_ticks)) if init else None, pids, forecast,
            None if ended is None else self._since(ended), None if collected is None else self._since(collected), zombies,
        )

    def pids(self, lines) -> cgroups.Pids | None:
        """Of the container or pod that a process with these cgroup lines is in."""
        level = workloads.level_with_pids(lines, self.locator.own_lines)
        if level not in self.pids_of_levels:
            self.pids_of_levels[level] = cgroups.pids(self.paths.cgroup, *level) if level else None
        return self.pids_of_levels[level]

    def forecast(self, pids) -> limits.Forecast:
        """Of a cgroup that has these pids now."""
        if pids is None:
            return limits.Forecast(None, None)
        return limits.forecast(pids.current, pids.max, self.history.sizes.get((pids.cgroup,)), self.now)

    def _since(self, then) -> float:
        return max(0.0, self.now - then)


def _ancestors(procfs) -> set:
    """PIDs of the sweep itself and of every process above it: the ssh or cron session that started it."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = procfs.stat(pid)
        pid = stat.ppid if stat else 0
    return found
