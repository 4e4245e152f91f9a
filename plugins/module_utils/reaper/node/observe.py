# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One snapshot of the node: zombies, their parents, what these belong to, the limits. Changes
nothing.
"""

from __future__ import annotations

import os
from collections import namedtuple
from itertools import islice

from ..kernel import cgroups, limits
from . import lineage, workloads, zombies
from .inits import Inits

TRACERS_LOOKED_UP = 50  # in one look, of zombies that a sweep asked for in vain
TRACER_UNKNOWN = -1
# of a parent whose first one is stopped or in uninterruptible sleep: one that can run is enough
THREADS_LOOKED_AT = 64


class Zombie(
    namedtuple(
        "Zombie",
        (
            "pid",
            "start_ticks",
            "ppid",
            "comm",
            "num_threads",
            "tracer_pid",
            "age",
            "canary",
            "session",
            "claim",
            "evidence",
            "known_for",
        ),
        defaults=(False, 0, lineage.MAY_BE_WAITED_FOR, "", None),
    )
):
    """A process that has exited and was not waited for.

    age: float, seconds since it was first seen as a zombie of this very parent. The kernel keeps no
    time of death, so this is a lower bound. known_for: float, seconds since it was first seen as a
    zombie, whoever held it; None is the same as age.
    tracer_pid: int, None where it was not looked up: that is done only for a few of those that a
    sweep could not have collected, since a tenant can make each look cost 18 ms (65,536
    supplementary groups stand in ``/proc/PID/status``); for the rest :data:`TRACER_UNKNOWN`.
    canary: bool, an audit left it there. claim, evidence: of :func:`.lineage.claim`. Others as in
    :class:`.procfs.Stat`.
    """

    __slots__ = ()

    @property
    def is_orphan(self) -> bool:
        """Whether nobody will ever ask for its status."""
        return self.claim == lineage.ORPHAN


class Offender(
    namedtuple(
        "Offender",
        (
            "pid",
            "start_ticks",
            "comm",
            "state",
            "flags",
            "executable",
            "command_line",
            "status",
            "workload",
            "frozen",
            "is_ancestor",
            "init_pid",
            "init_reaps",
            "pids",
            "forecast",
            "ended_ago",
            "collected_ago",
            "zombies",
            "more",
        ),
        defaults=(0,),
    )
):
    """A parent together with its zombies.

    status: :class:`.procfs.Status`. workload: :class:`.workloads.Workload`. zombies: tuple of
    :class:`Zombie`.
    more: int, further zombies of it that were counted and not looked at one by one.
    executable, command_line: bytes or None. state: of the first thread that can run, or else of the
    first one.
    frozen: bool, its cgroup is frozen (``docker pause``). is_ancestor: bool, the sweep itself or
    one of its ancestors.
    ended_ago: float, seconds since a sweep last ended a parent of the same workload, None where
    none is known.
    collected_ago: float, seconds since it last collected zombies in a sweep, None where it never
    did.
    init_pid: int, PID 1 of its PID namespace as this node counts, None where it was not found. It
    adopts the zombies when the parent ends, unless a subreaper (which ``/proc`` does not show)
    stands in between.
    init_reaps: bool, whether that init collected the canary of an audit; None where none was sent
    to it.
    pids: :class:`.cgroups.Pids` of its container or pod, or None. forecast:
    :class:`.limits.Forecast` of that.
    """

    __slots__ = ()

    @property
    def suspended(self) -> bool:
        """Whether somebody keeps it from running: its cgroup is frozen, or it is stopped by a
        signal or a debugger.
        """
        return self.frozen or self.state in ("T", "t")

    @property
    def zombie_count(self) -> int:
        """Zombies that it holds."""
        return len(self.zombies) + self.more

    @property
    def orphans(self) -> int:
        """How many of its zombies nobody will ask for."""
        return sum(zombie.is_orphan for zombie in self.zombies)

    @property
    def leaking_per_hour(self) -> float | None:
        """Zombies it has made since it last collected some in a sweep, per hour; None where it has
        made none or never did.
        """
        if not self.collected_ago:
            return None
        made = sum(1 for zombie in self.zombies if zombie.age < self.collected_ago)
        return 3600 * made / self.collected_ago if made else None


class Snapshot(
    namedtuple(
        "Snapshot",
        ("offenders", "without_parent", "limits", "forecast", "found_by", "refusal"),
        defaults=(limits.Forecast(None, None), zombies.SCAN, None),
    )
):
    """The node at one moment.

    offenders: tuple of :class:`Offender`, most zombies first. limits: :class:`.limits.Limits`.
    forecast: :class:`.limits.Forecast` of them.
    found_by: str, how the zombies were found, see :mod:`.zombies`. refusal: (word, sentence) why
    ``reap`` cannot be used on this node at all, or None.
    without_parent: tuple of :class:`Zombie` whose parent lies outside the sweep's PID namespace
    (ppid 0) or has just ended.
    """

    __slots__ = ()


class History(
    namedtuple(
        "History",
        (
            "first_seen",
            "ended",
            "collected",
            "canaries",
            "left_canaries",
            "sizes",
            "uncollected",
            "moved",
            "kept",
        ),
        defaults=(frozenset(), {}, {}),
    )
):
    """What earlier sweeps and audits noted, in seconds on CLOCK_MONOTONIC; an observation changes
    nothing of it.

    first_seen: ``{(pid, start_ticks, ppid): seconds}`` of zombies.
    moved: ``{(pid, start_ticks): seconds}`` of zombies that had another parent before, and when
    they were first seen. kept: the same of zombies whose parent was held up, so that their age
    began anew.
    ended: ``{(workload identity,): seconds}``, when a parent of that workload was last ended.
    collected: ``{(pid, start_ticks): seconds}``, when that parent last collected zombies in a
    sweep.
    canaries: ``{(pid, start_ticks): bool}``, whether that init collected its last canary.
    left_canaries: ``{(pid, start_ticks), ...}`` of canaries that became zombies for good.
    uncollected: ``{(pid, start_ticks), ...}`` of zombies that their parent's own waitid(2) did not
    give in an earlier sweep.
    sizes: ``{(NODE or path of a cgroup,): (seconds, tasks, seconds, tasks)}``, how many tasks there
    were at two moments.
    """

    __slots__ = ()


NODE = "node"  # its key in the sizes; the path of a cgroup begins with a slash
NOTHING = History({}, {}, {}, {}, set(), {})


def snapshot(procfs, paths, history: History, now: float, ledger=None, refusal=None) -> Snapshot:
    """Look at the whole node once.

    procfs: :class:`.procfs.ProcFS`. paths: has ``cgroup`` (``/sys/fs/cgroup``) and what
    :class:`.workloads.Locator` reads.
    now: seconds on CLOCK_MONOTONIC. ledger: :class:`.cgroups.Ledger` of a resident process.
    refusal: of :func:`.tracing.node_refusal`. Raises ``OSError`` where ``/proc`` itself cannot be
    read.
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
            # Read after it: where its PID was used again meanwhile, they have another parent by
            # now, all of them
            if offender and parent_now(procfs, held[0]) == ppid:
                found.append(offender._replace(more=everything.more.get(ppid, 0)))
            else:
                without_parent += tuple(held)
    found.sort(key=lambda offender: (-offender.zombie_count, offender.pid))
    table = limits.read(procfs)
    return Snapshot(
        tuple(found),
        without_parent,
        table,
        limits.forecast(table.tasks, table.limit, history.sizes.get((NODE,)), now),
        everything.found_by,
        refusal,
    )


def parent_now(procfs, zombie) -> int | None:
    """PID of the present parent of that very zombie; None when it is no zombie any more. It changes
    when a parent ends.
    """
    stat = procfs.stat(zombie.pid)
    return (
        stat.ppid if stat and stat.state == "Z" and stat.start_ticks == zombie.start_ticks else None
    )


def still_zombies(procfs, offender):
    """Yields those of the offender's zombies that are still zombies, each with its present parent's
    PID in ``ppid``.

    Lazy: one read for each zombie asked for.
    """
    for zombie in offender.zombies:
        ppid = parent_now(procfs, zombie)
        if ppid is not None:
            yield zombie._replace(ppid=ppid)


def members(procfs, pid_namespace: int):
    """Yields (PID, executable, command line) of each process in a PID namespace; the whole table is
    read for it.
    """
    for pid in procfs.pids():
        if procfs.pid_namespace(pid) == pid_namespace:
            yield pid, procfs.executable(pid), procfs.command_line(pid)


class Observer:
    """Reads zombies and processes; what is the same for all of them is read once. The arguments are
    those of :func:`snapshot`.
    """

    def __init__(self, procfs, paths, history, now) -> None:
        self.procfs = procfs
        self.paths = paths
        self.history = history
        self.now = now
        self.ancestors = _ancestors(procfs)
        self.inits = Inits(procfs)
        self.locator = workloads.Locator(procfs, paths)
        self.pids_of_paths = {}
        self.tracers_looked_up = 0

    def zombies(self, stats) -> list:
        """:class:`Zombie` tuples of the children of one parent, whose claim is not known yet."""
        found = []
        for stat in stats:
            key = stat.pid, stat.start_ticks
            age = self._since(self.history.first_seen.get((*key, stat.ppid), self.now))
            tracer_pid = self._tracer(stat.pid) if key in self.history.uncollected else None
            found.append(
                Zombie(
                    stat.pid,
                    stat.start_ticks,
                    stat.ppid,
                    stat.comm,
                    stat.num_threads,
                    tracer_pid,
                    age,
                    key in self.history.left_canaries,
                    stat.session,
                    known_for=self._known_for(key),
                )
            )
        return found

    def _known_for(self, key) -> float | None:
        seen = [times[key] for times in (self.history.moved, self.history.kept) if key in times]
        return self._since(min(seen)) if seen else None

    def _tracer(self, pid) -> int | None:
        """PID of the tracer of a zombie; beyond :data:`TRACERS_LOOKED_UP` it is taken to have
        one.
        """
        self.tracers_looked_up += 1
        if self.tracers_looked_up > TRACERS_LOOKED_UP:
            return TRACER_UNKNOWN
        status = self.procfs.status(pid)
        return status.tracer_pid if status else None

    def offender(self, pid, zombies=()) -> Offender | None:
        """A process as it is now, with those zombies; None when it has gone (its zombies then
        belong to somebody else already).
        """
        stat, status = self.procfs.stat(pid), self.procfs.status(pid)
        # for a moment of an execve(2) by another thread it has none
        if stat is None or status is None or stat.session < 0:
            return None
        lines = self.procfs.cgroup(pid)
        pid_namespace = self.procfs.pid_namespace(pid)
        init_pid = self.inits.of(stat, status, pid_namespace)
        init = self.procfs.stat(init_pid) if init_pid else None
        executable, command_line = self.procfs.executable(pid), self.procfs.command_line(pid)
        workload = self.locator.of(
            stat, status, lines, pid_namespace, self.inits.outermost(init_pid)
        )
        pids = self.pids(lines)
        forecast = self.forecast(pids)
        zombies = self._with_claims(zombies, stat, status, workload, executable, command_line)
        ended = self.history.ended.get((workload.identity,))
        collected = self.history.collected.get((pid, stat.start_ticks))
        again = self.procfs.stat(pid)
        if again is None or again.start_ticks != stat.start_ticks:
            return None
        return Offender(
            pid,
            stat.start_ticks,
            stat.comm,
            self._state(stat),
            stat.flags,
            executable,
            command_line,
            status,
            workload,
            cgroups.is_frozen(self.paths.cgroup, lines),
            pid in self.ancestors,
            init_pid,
            self.history.canaries.get((init.pid, init.start_ticks)) if init else None,
            pids,
            forecast,
            None if ended is None else self._since(ended),
            None if collected is None else self._since(collected),
            zombies,
        )

    def _with_claims(self, held, stat, status, workload, executable, command_line) -> tuple:
        """The zombies of a process, each with whether it may still ask for them. It was read after
        they were (:class:`.lineage.Parent`).
        """
        if not held:
            return ()
        held = list(held)
        parent = lineage.Parent(
            stat.pid,
            stat.start_ticks,
            stat.session,
            lineage.led_from_start(self.procfs, workload.container_id, stat, status),
            lineage.never_waits(self.procfs, stat, status, executable, command_line),
        )
        # in place, as there may be 50,000 of them, and no memory left
        for place, zombie in enumerate(held):
            claim, evidence = lineage.claim(
                zombie, parent, (zombie.pid, zombie.start_ticks) in self.history.moved
            )
            held[place] = zombie._replace(claim=claim, evidence=evidence)
        return tuple(held)

    def _state(self, stat) -> str:
        """The state of its first thread, or of another one where that cannot run: vfork(2) and a
        debugger hold up one of them only.
        """
        if stat.state not in ("D", "T", "t") or stat.num_threads <= 1:
            return stat.state
        states = (
            thread.state
            for thread in islice(self.procfs.stats_of_threads(stat.pid), THREADS_LOOKED_AT)
        )
        return next((state for state in states if state in ("R", "S")), stat.state)

    def pids(self, lines) -> cgroups.Pids | None:
        """Of all cgroups that a process with these cgroup lines is in, the one of whose limit most
        is taken.
        """
        level = workloads.level_with_pids(lines, self.locator.own_lines)
        if level is None:
            return None
        controllers, own = level
        path = next(line.path for line in lines if line.controllers == controllers)
        if path not in self.pids_of_paths:
            self.pids_of_paths[path] = cgroups.pids(self.paths.cgroup, controllers, path, own)
        return self.pids_of_paths[path]

    def forecast(self, pids) -> limits.Forecast:
        """Of a cgroup that has these pids now."""
        if pids is None:
            return limits.Forecast(None, None)
        return limits.forecast(
            pids.current, pids.max, self.history.sizes.get((pids.cgroup,)), self.now
        )

    def _since(self, then) -> float:
        return max(0.0, self.now - then)


def _ancestors(procfs) -> set:
    """PIDs of the sweep itself and of every process above it: the ssh or cron session that started
    it.
    """
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = procfs.stat(pid)
        pid = stat.ppid if stat else 0
    return found
