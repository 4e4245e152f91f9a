# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One snapshot of the node: zombies, their parents, the workloads of these, the limits. Changes
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice

from ..kernel import cgroups, limits
from ..kernel.limits import Forecast, Limits
from ..record import Record
from . import lineage, workloads, zombies
from .inits import Inits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import CgroupLine, ProcFS, Stat, Status
    from ..paths import Paths

TRACERS_LOOKED_UP = 50  # in one snapshot, of zombies that an earlier sweep could not collect
TRACER_UNKNOWN = -1
# of a parent whose first thread is stopped or in uninterruptible sleep: one that can run is enough
THREADS_LOOKED_AT = 64


class Zombie(Record):
    """A process that has exited and was not waited for."""

    pid: int
    start_ticks: int  # clock ticks after boot
    ppid: int
    comm: bytes
    num_threads: int  # above 1: its first thread has exited, and others live on
    # Looked up only for a few zombies that a sweep could not collect, else None; TRACER_UNKNOWN
    # beyond these. A tenant can make each look-up cost 18 ms: 65,536 supplementary groups come
    # first in /proc/PID/status.
    tracer_pid: int | None
    # seconds since a sweep first saw it as a zombie of this very parent: a lower bound, since the
    # kernel keeps no time of death
    age: float
    canary: bool = False  # whether an audit left it there
    session: int = 0
    claim: str = lineage.MAY_BE_WAITED_FOR  # lineage.ORPHAN or MAY_BE_WAITED_FOR
    evidence: str = ""  # the reason for that, in a few words
    known_for: float | None = None  # like age, whoever was its parent; None: the same as age

    @property
    def is_orphan(self) -> bool:
        """Whether nobody will ever ask for its status."""
        return self.claim == lineage.ORPHAN


class Offender(Record):
    """A parent together with its zombies."""

    pid: int
    start_ticks: int  # clock ticks after boot
    comm: bytes
    state: str  # of the first thread that can run, or else of the first one
    flags: int  # PF_* of include/linux/sched.h
    executable: bytes | None
    command_line: bytes | None
    status: Status
    workload: workloads.Workload
    frozen: bool  # whether its cgroup is frozen (docker pause)
    is_ancestor: bool  # whether it is the sweep itself or one of its ancestors
    # PID 1 of its PID namespace, by its PID on this node; None if not found. It adopts the zombies
    # when the parent ends, unless there is a subreaper, which /proc does not show.
    init_pid: int | None
    init_reaps: bool | None  # whether that collected an audit's canary; None if it got none
    pids: cgroups.Pids | None  # tasks of its container or pod
    forecast: Forecast  # of these
    ended_ago: float | None  # seconds since a sweep last ended a parent of the same workload
    collected_ago: float | None  # seconds since it last collected zombies in a sweep
    zombies: tuple[Zombie, ...]
    more: int = 0  # further zombies of it, which were counted and not read one by one

    @property
    def suspended(self) -> bool:
        """Whether something keeps it from running: its cgroup is frozen, or a signal or a debugger
        has stopped it.
        """
        return self.frozen or self.state in ("T", "t")

    @property
    def zombie_count(self) -> int:
        """How many zombies it holds."""
        return len(self.zombies) + self.more

    @property
    def orphans(self) -> int:
        """How many of its zombies nobody will ask for."""
        return sum(zombie.is_orphan for zombie in self.zombies)

    @property
    def leaking_per_hour(self) -> float | None:
        """Zombies per hour that it has made since it last collected some in a sweep; None if it has
        made or collected none.
        """
        if not self.collected_ago:
            return None
        made = sum(1 for zombie in self.zombies if zombie.age < self.collected_ago)
        return 3600 * made / self.collected_ago if made else None


class Snapshot(Record):
    """The node at one moment."""

    offenders: tuple[Offender, ...]  # most zombies first
    # whose parent is outside the sweep's PID namespace (ppid 0), or has just ended
    without_parent: tuple[Zombie, ...]
    limits: Limits
    forecast: Forecast = Forecast()  # of these
    found_by: str = zombies.SCAN  # see zombies.py
    refusal: tuple[str, str] | None = None  # (word, sentence) why reap is impossible on this node


class History(Record):
    """What earlier sweeps and audits noted. Times are in seconds on CLOCK_MONOTONIC. A process is
    (pid, start_ticks).
    """

    first_seen: Mapping[tuple[int, int, int], float] = {}  # (pid, start_ticks, ppid) of zombies
    # (workload identity,) -> when a sweep last ended a parent of that workload
    ended: Mapping[tuple[str], float] = {}
    collected: Mapping[tuple[int, int], float] = {}  # when a parent last collected in a sweep
    canaries: Mapping[tuple[int, int], bool] = {}  # whether an init collected its last canary
    left_canaries: Set[tuple[int, int]] = frozenset()  # canaries that stayed zombies
    # (NODE or path of a cgroup,) -> (time, tasks, later time, tasks)
    sizes: Mapping[tuple[str], tuple[float, float, float, float]] = {}
    # zombies that their parent's own waitid(2) did not find in an earlier sweep
    uncollected: Set[tuple[int, int]] = frozenset()
    # when zombies were first seen that had another parent before
    moved: Mapping[tuple[int, int], float] = {}
    # when zombies were first seen whose age began anew, since their parent could not run
    kept: Mapping[tuple[int, int], float] = {}


NODE = "node"  # its key in History.sizes; the path of a cgroup begins with a slash


def snapshot(
    procfs: ProcFS,
    paths: Paths,
    history: History,
    now: float,
    ledger: cgroups.Ledger | None = None,
    refusal: tuple[str, str] | None = None,
    most: int | None = None,
) -> Snapshot:
    """Look at the whole node once. Raises ``OSError`` if ``/proc`` itself cannot be read.

    now: seconds on CLOCK_MONOTONIC. ledger: the one that the daemon keeps. refusal: from
    :func:`.tracing.node_refusal`. most: as in :func:`.zombies.find`.
    """
    found = zombies.find(procfs, ledger or cgroups.Ledger(paths.cgroup, procfs), most)
    by_parent: dict[int, list[Stat]] = {}
    for stat in found.stats:
        by_parent.setdefault(stat.ppid, []).append(stat)
    found.stats.clear()  # so that what has been read of a zombie goes once it is in a Zombie
    offenders: list[Offender] = []
    without_parent: tuple[Zombie, ...] = ()
    if by_parent:
        observer = Observer(procfs, paths, history, now)
        for ppid in list(by_parent):
            held = observer.zombies(by_parent.pop(ppid))
            offender = observer.offender(ppid, held)
            # Read after the offender: if its PID was reused meanwhile, all of them have another
            # parent by now
            if offender and parent_now(procfs, held[0]) == ppid:
                offenders.append(offender._replace(more=found.more.get(ppid, 0)))
            else:
                without_parent += tuple(held)
    offenders.sort(key=lambda offender: (-offender.zombie_count, offender.pid))
    table = limits.read(procfs)
    return Snapshot(
        offenders=tuple(offenders),
        without_parent=without_parent,
        limits=table,
        forecast=limits.forecast(table.tasks, table.limit, history.sizes.get((NODE,)), now),
        found_by=found.found_by,
        refusal=refusal,
    )


def parent_now(procfs: ProcFS, zombie: Zombie) -> int | None:
    """PID of the present parent of that very zombie; None if it is no longer a zombie. It gets
    another parent when its own ends.
    """
    stat = procfs.stat(zombie.pid)
    if stat and stat.state == "Z" and stat.start_ticks == zombie.start_ticks:
        return stat.ppid
    return None


def still_zombies(procfs: ProcFS, offender: Offender) -> Iterator[Zombie]:
    """Yields those of the offender's zombies that are still zombies, each with the PID of its
    present parent. Lazy: each zombie is read when it is asked for.
    """
    for zombie in offender.zombies:
        ppid = parent_now(procfs, zombie)
        if ppid is not None:
            yield zombie._replace(ppid=ppid)


def members(
    procfs: ProcFS, pid_namespace: int | None
) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Yields (PID, executable, command line) of each process in a PID namespace; if that could not
    be read, of each process whose namespace cannot be read either. Reads the whole process table.
    """
    for pid in procfs.pids():
        if procfs.pid_namespace(pid) == pid_namespace:
            yield pid, procfs.executable(pid), procfs.command_line(pid)


class Observer:
    """Reads zombies and processes. What they have in common is read once. The arguments are those
    of :func:`snapshot`.
    """

    def __init__(self, procfs: ProcFS, paths: Paths, history: History, now: float) -> None:
        self.procfs = procfs
        self.paths = paths
        self.history = history
        self.now = now
        self.ancestors = _ancestors(procfs)
        self.inits = Inits(procfs)
        self.locator = workloads.Locator(procfs, paths)
        self.pids_of_paths: dict[str, cgroups.Pids | None] = {}
        self.tracers_looked_up = 0

    def zombies(self, stats: Sequence[Stat]) -> list[Zombie]:
        """The zombies of one parent. Whether they are orphans is not known yet."""
        found = []
        for stat in stats:
            key = stat.pid, stat.start_ticks
            age = self._since(self.history.first_seen.get((*key, stat.ppid), self.now))
            tracer_pid = self._tracer(stat.pid) if key in self.history.uncollected else None
            found.append(
                Zombie(
                    pid=stat.pid,
                    start_ticks=stat.start_ticks,
                    ppid=stat.ppid,
                    comm=stat.comm,
                    num_threads=stat.num_threads,
                    tracer_pid=tracer_pid,
                    age=age,
                    canary=key in self.history.left_canaries,
                    session=stat.session,
                    known_for=self._known_for(key),
                )
            )
        return found

    def _known_for(self, key: tuple[int, int]) -> float | None:
        seen = [times[key] for times in (self.history.moved, self.history.kept) if key in times]
        return self._since(min(seen)) if seen else None

    def _tracer(self, pid: int) -> int | None:
        """PID of a zombie's tracer, 0 if it has none. Beyond :data:`TRACERS_LOOKED_UP` it is
        assumed to have one.
        """
        self.tracers_looked_up += 1
        if self.tracers_looked_up > TRACERS_LOOKED_UP:
            return TRACER_UNKNOWN
        status = self.procfs.status(pid)
        return status.tracer_pid if status else None

    def offender(self, pid: int, zombies: Sequence[Zombie] = ()) -> Offender | None:
        """A process as it is now, with those zombies; None if it is gone, and its zombies already
        belong to another parent.
        """
        stat, status = self.procfs.stat(pid), self.procfs.status(pid)
        # there is no session for a moment while another thread calls execve(2)
        if stat is None or status is None or stat.session < 0:
            return None
        process = workloads.Process(
            stat=stat,
            status=status,
            cgroup_lines=self.procfs.cgroup(pid),
            pid_namespace=self.procfs.pid_namespace(pid),
        )
        init_pid = self.inits.of(stat, status, process.pid_namespace)
        init = self.procfs.stat(init_pid) if init_pid else None
        executable, command_line = self.procfs.executable(pid), self.procfs.command_line(pid)
        workload = self.locator.of(process, self.inits.outermost(init_pid))
        pids = self.pids(process.cgroup_lines)
        forecast = self.forecast(pids)
        if zombies:
            parent = lineage.Parent(
                pid=stat.pid,
                start_ticks=stat.start_ticks,
                session=stat.session,
                led_from_start=lineage.led_from_start(
                    self.procfs, workload.container_id, stat, status
                ),
                never_waits=lineage.never_waits(
                    self.procfs, stat, status, executable, command_line
                ),
            )
            zombies = self._with_claims(zombies, parent)
        ended = self.history.ended.get((workload.identity,)) if workload.identity else None
        collected = self.history.collected.get((pid, stat.start_ticks))
        again = self.procfs.stat(pid)
        if again is None or again.start_ticks != stat.start_ticks:
            return None
        return Offender(
            pid=pid,
            start_ticks=stat.start_ticks,
            comm=stat.comm,
            state=self._state(stat),
            flags=stat.flags,
            executable=executable,
            command_line=command_line,
            status=status,
            workload=workload,
            frozen=cgroups.is_frozen(self.paths.cgroup, process.cgroup_lines),
            is_ancestor=pid in self.ancestors,
            init_pid=init_pid,
            init_reaps=(self.history.canaries.get((init.pid, init.start_ticks)) if init else None),
            pids=pids,
            forecast=forecast,
            ended_ago=None if ended is None else self._since(ended),
            collected_ago=None if collected is None else self._since(collected),
            zombies=tuple(zombies),
        )

    def _with_claims(self, held: Sequence[Zombie], parent: lineage.Parent) -> list[Zombie]:
        """The zombies of a parent that was read after them, each with whether it may still ask for
        them.
        """
        # in place, as there may be 50,000 of them, and no memory left
        zombies = list(held)
        for place, zombie in enumerate(zombies):
            claim, evidence = lineage.claim(
                zombie, parent, (zombie.pid, zombie.start_ticks) in self.history.moved
            )
            zombies[place] = zombie._replace(claim=claim, evidence=evidence)
        return zombies

    def _state(self, stat: Stat) -> str:
        """The state of its first thread, or of another one that can run if the first cannot:
        vfork(2) and a debugger hold up only one of them.
        """
        if stat.state not in ("D", "T", "t") or stat.num_threads <= 1:
            return stat.state
        states = (
            thread.state
            for thread in islice(self.procfs.stats_of_threads(stat.pid), THREADS_LOOKED_AT)
        )
        return next((state for state in states if state in ("R", "S")), stat.state)

    def pids(self, lines: Sequence[CgroupLine]) -> cgroups.Pids | None:
        """Of all cgroups that a process with these cgroup lines is in, the tasks of the one that is
        closest to its limit.
        """
        level = workloads.level_with_pids(lines, self.locator.own_lines)
        if level is None:
            return None
        controllers, own = level
        path = next(line.path for line in lines if line.controllers == controllers)
        if path not in self.pids_of_paths:
            self.pids_of_paths[path] = cgroups.pids(self.paths.cgroup, controllers, path, own)
        return self.pids_of_paths[path]

    def forecast(self, pids: cgroups.Pids | None) -> Forecast:
        """The forecast for that cgroup."""
        if pids is None:
            return Forecast()
        return limits.forecast(
            pids.current, pids.max, self.history.sizes.get((pids.cgroup,)), self.now
        )

    def _since(self, then: float) -> float:
        return max(0.0, self.now - then)


def _ancestors(procfs: ProcFS) -> set[int]:
    """PIDs of the sweep itself and of every process above it: the ssh or cron session that started
    it.
    """
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = procfs.stat(pid)
        pid = stat.ppid if stat else 0
    return found
