# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every container of the node: what its PID 1 is, whether that collects orphans, and what would
help against its zombies. One that collects none will leak, or does already.

An audit ends and stops nothing. Asked to probe, it sends a canary to each PID 1 of which nothing is
known for sure, unless that PID 1 might take the canary for a child of its own
(:func:`.inits.misled_by_an_orphan`). If a canary is not collected, ``reap`` has it collected. If a
PID 1 has ended meanwhile, the audit says so.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from . import canary, policy, report
from .errors import CannotSweep
from .files import locked
from .kernel import cgroups
from .kernel.procfs import PF_KTHREAD, ProcFS
from .node import cures, inits, observe, workloads
from .node.inits import Evidence
from .options import Options
from .preflight import check_node
from .record import Record
from .remedies.reap import reap
from .state import Memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from .kernel.cgroups import Pids
    from .kernel.limits import Forecast
    from .kernel.procfs import CgroupLine, Stat, Thread
    from .node.cures import Kept
    from .node.observe import Observer, Offender, Zombie
    from .node.workloads import Process, Workload
    from .paths import Paths
    from .state import OfProcesses

    # What tells a container from others: ("cgroup", its id, UID of its pod), or
    # ("namespace", inode number of its PID namespace, "")
    Key = tuple[str, str, str]

# include/uapi/linux/capability.h
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON = 1 << 19, 1 << 21, 1 << 38
MAX_CONTAINERS = 5000


class Container(Record):
    """One container."""

    init: Offender | None  # its PID 1, without zombies; None where it was not found
    workload: Workload
    evidence: tuple[Evidence, ...]
    seconds: float | None  # that a canary took to be collected; None where none was
    zombies: int  # of parents in this container
    pids: Pids | None
    forecast: Forecast
    # the smallest limit of PIDs of its own cgroup and its pod's; None where there is none
    pid_limit: int | None = None
    harm: str | None = None  # what a canary may have done to its PID 1
    # zombies of its programs that reached min_age, orphans and others: of PID 1, of all others
    of_init: tuple[int, int] = (0, 0)
    of_others: tuple[int, int] = (0, 0)

    @property
    def kept(self) -> Kept:
        """What there is to cure."""
        return cures.Kept(
            left_to_init=self.of_init[0],
            of_init=self.of_init[1],
            left_to_others=self.of_others[0],
            of_others=self.of_others[1],
            init_collects=inits.collects_orphans(self.evidence),
            swept=any(each.by == "sweeps" for each in self.evidence),
        )

    @property
    def place(self) -> str:
        """Where it runs, as :mod:`.cures` distinguishes places."""
        return cures.place_of(self.workload.kubernetes, self.workload.runtime)

    @property
    def verdict(self) -> str:
        """``reaps``, ``leaks`` or ``unknown``."""
        return inits.conclude(self.evidence)

    @property
    def is_in_unlimited_pod(self) -> bool:
        """Whether nothing but the limits of the node keeps its pod from taking all PIDs."""
        known = self.workload.pod_uid is not None and self.pids is not None
        return known and self.pid_limit is None


class Audit(Record):
    """What an audit found."""

    containers: tuple[Container, ...]  # those that leak first
    left: int  # canaries that are zombies now
    warnings: tuple[str, ...]


def audit(options: Options, paths: Paths, probe: bool = False) -> Audit:
    """Look at every container. Raises :class:`.errors.CannotSweep`.

    options: they say who gets no canary, and from which age a zombie counts.
    """
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    memory = Memory(paths.run, procfs)
    memory.load(required=False)
    observer = observe.Observer(procfs, paths, memory.history(), time.monotonic())
    living, zombies = _processes(procfs)
    observer.inits.set_all(
        {
            process.pid_namespace: process.stat.pid
            for process in living.values()
            if process.status.ns_pid[-1] == 1 and process.pid_namespace is not None
        }
    )
    own_lines = observer.locator.own_lines
    members: dict[Key, list[Process]] = {}
    keys: dict[int, Key] = {}
    for pid, process in living.items():
        key = _container_of(process, own_lines)
        if key:
            keys[pid] = key
            members.setdefault(key, []).append(process)
    held: dict[int, list[Stat]] = {}
    for stat in zombies:
        held.setdefault(stat.ppid, []).append(stat)
    in_namespace = Counter(process.pid_namespace for process in living.values())
    containers = []
    for key, processes in sorted(members.items())[:MAX_CONTAINERS]:
        kept = sum(len(stats) for ppid, stats in held.items() if keys.get(ppid) == key)
        container = _container(observer, processes, kept, held, options)
        if kept or not (
            container.workload.sandbox or _is_pause_sandbox(procfs, processes, in_namespace, key)
        ):
            containers.append(container)
    left = 0
    warnings: tuple[str, ...] = ()
    if probe:
        fates, harmed, warnings = _probe(observer, memory, containers, living, options)
        left = _collect_again(observer, fates, options)
        containers = [_with_fate(container, fates, harmed) for container in containers]
    containers.sort(
        key=lambda each: (
            (inits.LEAKS, inits.UNKNOWN, inits.REAPS).index(each.verdict),
            -each.zombies,
        )
    )
    if len(members) > MAX_CONTAINERS:
        warnings += (f"only {MAX_CONTAINERS} of {len(members)} containers are shown",)
    return Audit(tuple(containers), left, warnings)


def as_dict(done: Audit) -> dict[str, Any]:
    """The schema of ``init_audit`` and ``--audit --json``. All text in it is printable and
    bounded.
    """
    verdicts = [container.verdict for container in done.containers]
    unlimited = _unlimited_pods(done)
    return {
        "schema": report.SCHEMA,
        "containers": [_as_dict(container) for container in done.containers],
        "unlimited_pods": unlimited[: report.MAX_LINES],
        "counts": {
            "containers": len(verdicts),
            **{word: verdicts.count(word) for word in (inits.REAPS, inits.LEAKS, inits.UNKNOWN)},
            "zombies": sum(container.zombies for container in done.containers),
            "canaries_left": done.left,
            "harmed": sum(1 for container in done.containers if container.harm),
            "unlimited_pods": len(unlimited),
        },
        "summary": as_lines(done),
        "warnings": (
            [_harm_in_words(_as_dict(container)) for container in done.containers if container.harm]
            + [report.printable(warning) for warning in done.warnings]
        ),
    }


def as_lines(done: Audit) -> list[str]:
    """The audit for people: what it may have harmed, one line of totals, then a table."""
    entries = [_as_dict(container) for container in done.containers]
    harmed = [f"warning: {_harm_in_words(entry)}" for entry in entries if entry["harm"]]
    verdicts = Counter(entry["verdict"] for entry in entries)
    lines = harmed + [
        f"{report.plural(len(entries), 'container')} on this node:"
        f" {verdicts[inits.REAPS]} collect orphans, {verdicts[inits.LEAKS]} leak,"
        f" {verdicts[inits.UNKNOWN]} unknown"
    ]
    if entries:
        lines += _table(entries[: report.MAX_LINES])
    if len(entries) > report.MAX_LINES:
        more = report.plural(len(entries) - report.MAX_LINES, "more container")
        lines.append(f"and {more}")
    lines += cures.legend([entry["cures"] for entry in entries])
    unlimited = _unlimited_pods(done)
    if unlimited:
        names = ", ".join(
            f"{pod['namespace']}/{pod['pod']}" if pod["pod"] else pod["pod_uid"]
            for pod in unlimited[: report.MAX_LINES]
        )
        rest = len(unlimited) - report.MAX_LINES
        lines.append(
            f"{report.plural(len(unlimited), 'pod')} without a PID limit (podPidsLimit of the"
            f" kubelet sets one): {names}{f' and {rest} more' if rest > 0 else ''}"
        )
    if done.left:
        lines.append(f"canaries left behind as zombies: {done.left}")
    return lines + [f"warning: {report.printable(warning)}" for warning in done.warnings]


def _unlimited_pods(done: Audit) -> list[dict[str, Any]]:
    """The pods of which a container has no limit of PIDs, by name."""
    pods = {
        container.workload.pod_uid: report.as_workload(container.workload)
        for container in done.containers
        if container.is_in_unlimited_pod
    }
    keys = ("namespace", "pod", "pod_uid")
    found = [{key: workload[key] for key in keys} for workload in pods.values()]
    return sorted(found, key=lambda pod: [pod[key] or "" for key in keys])


def _table(entries: Sequence[dict[str, Any]]) -> list[str]:
    rows = [("verdict", "zombies", "pids", "PID 1", "container", "what helps")]
    rows += [
        (
            entry["verdict"],
            str(entry["zombies"]),
            _share(entry["pids"]),
            _init_in_words(entry["init"]),
            report.container_in_words(entry["workload"]),
            cures.label(entry["cures"]) or "-",
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    # the last column needs no padding
    last_column = ["why", *map(_why, entries)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), last])
        for row, last in zip(rows, last_column)
    ]


def _processes(procfs: ProcFS) -> tuple[dict[int, Process], list[Stat]]:
    """All living processes by PID, and all zombies, in one pass over the process table."""
    living: dict[int, Process] = {}
    zombies = []
    for pid in procfs.pids():
        stat = procfs.stat(pid)
        if stat is None or stat.flags & PF_KTHREAD:
            continue
        if stat.state == "Z":
            zombies.append(stat)
            continue
        status = procfs.status(pid)
        if status:
            living[pid] = workloads.Process(
                stat=stat,
                status=status,
                cgroup_lines=procfs.cgroup(pid),
                pid_namespace=procfs.pid_namespace(pid),
            )
    return living, zombies


def _container_of(process: Process, own_lines: tuple[CgroupLine, ...]) -> Key | None:
    """What tells its container from others; None on the host."""
    found = workloads.locate(process, own_lines, {})
    if found.kind == "host":
        return None
    if found.container_id or found.pod_uid:
        return "cgroup", found.container_id or "", found.pod_uid or ""
    return "namespace", str(process.pid_namespace), ""


def _is_pause_sandbox(
    procfs: ProcFS,
    processes: Sequence[Process],
    in_namespace: Mapping[int | None, int],
    key: Key,
) -> bool:
    """Whether there is nothing but the pause program, which keeps the namespaces of a pod and runs
    nobody's program.

    If containers share its PID namespace, it is their init and is shown. in_namespace: number of
    processes by PID namespace.
    """
    kind, _container_id, pod_uid = key
    if (
        kind != "cgroup"
        or not pod_uid
        or len(processes) != 1
        or in_namespace[processes[0].pid_namespace] != 1
    ):
        return False
    (process,) = processes
    return (
        process.status.ns_pid[-1] == 1
        and os.path.basename(procfs.executable(process.stat.pid) or b"") == b"pause"
    )


def _outermost(processes: Sequence[Process]) -> Process:
    """PID 1 of a container is that of its outermost PID namespace: a tenant may have made more of
    them below.
    """
    return min(processes, key=lambda process: (len(process.status.ns_pid), process.stat.pid))


def _container(
    observer: Observer,
    processes: Sequence[Process],
    zombies: int,
    held: Mapping[int, Sequence[Stat]],
    options: Options,
) -> Container:
    process = _outermost(processes)
    init_pid = observer.inits.of(process.stat, process.status, process.pid_namespace)
    workload = observer.locator.of(process, observer.inits.outermost(init_pid))
    pids = observer.pids(process.cgroup_lines)
    init: Offender | None = None
    evidence: tuple[Evidence, ...] = ()
    if process.status.in_own_pid_namespace:
        evidence = (
            Evidence(
                "name",
                inits.UNKNOWN,
                "it shares the node's PID namespace: its shim or the node's PID 1 adopts its"
                " orphans",
            ),
        )
    elif init_pid:
        init = observer.offender(init_pid)
    if init:
        kept = [zombie for zombie in observer.zombies(held.get(init.pid, ())) if not zombie.canary]
        evidence = _by_zombies(kept, options) + inits.look_at(
            observer.procfs, init.pid, init.status
        )
        if init.collected_ago is not None:
            ago = report.duration_in_words(init.collected_ago)
            evidence += (
                Evidence("sweeps", inits.LEAKS, f"a sweep collected zombies from it {ago} ago"),
            )
        if init.init_reaps is not None:
            did = "collected" if init.init_reaps else "did not collect"
            evidence += (
                Evidence(
                    "canary",
                    inits.REAPS if init.init_reaps else inits.LEAKS,
                    f"it {did} the canary of an earlier audit",
                ),
            )
    return Container(
        init=init,
        workload=workload,
        evidence=evidence,
        seconds=None,
        zombies=zombies,
        pids=pids,
        forecast=observer.forecast(pids),
        pid_limit=_pid_limit(observer, process, workload),
        of_init=_by_claim(observer, init and [init.pid], held, options),
        of_others=_by_claim(
            observer,
            [each.stat.pid for each in processes if init is None or each.stat.pid != init.pid],
            held,
            options,
        ),
    )


def _by_claim(
    observer: Observer,
    parents: Iterable[int] | None,
    held: Mapping[int, Sequence[Stat]],
    options: Options,
) -> tuple[int, int]:
    """How many of the zombies of these parents that reached min_age are orphans, and how many are
    not known to be.
    """
    orphans = others = 0
    for pid in parents or ():
        zombies = observer.zombies(held.get(pid, ()))
        parent = observer.offender(pid, _due(zombies, options)) if zombies else None
        if parent:
            orphans += parent.orphans
            others += parent.zombie_count - parent.orphans
    return orphans, others


def _pid_limit(observer: Observer, process: Process, workload: Workload) -> int | None:
    level = workloads.level_with_pids(process.cgroup_lines, observer.locator.own_lines)
    if level is None:
        return None
    controllers, path = level
    top = workloads.level_of_pod(path, workload.pod_uid) if workload.pod_uid else None
    return cgroups.limit(observer.paths.cgroup, controllers, path, top or path)


def _by_zombies(kept: Sequence[Zombie], options: Options) -> tuple[Evidence, ...]:
    due = _due(kept, options)
    if due:
        oldest = report.duration_in_words(max(zombie.age for zombie in due))
        first = "the first seen" if len(due) > 1 else "first seen"
        detail = f"it keeps {report.plural(len(due), 'zombie')}, {first} {oldest} ago"
        return (Evidence("zombies", inits.LEAKS, detail),)
    if kept:
        detail = f"it holds {report.plural(len(kept), 'zombie')}, none as old as min_age"
        return (Evidence("zombies", inits.UNKNOWN, detail),)
    return ()


def _due(zombies: Sequence[Zombie], options: Options) -> list[Zombie]:
    """Those that count against their parent."""
    return [
        zombie
        for zombie in zombies
        if zombie.age >= options.min_age
        and zombie.num_threads <= 1
        and not zombie.tracer_pid
        and not zombie.canary
    ]


def _probe(
    observer: Observer,
    memory: Memory,
    containers: Sequence[Container],
    living: Mapping[int, Process],
    options: Options,
) -> tuple[dict[int, canary.Fate], dict[int, str], tuple[str, ...]]:
    """Send canaries, and see what becomes of them.

    Returns, by PID of each PID 1, the fate of its canary, which also says why none was sent; by
    PID, the harm that it may have done; and warnings.
    """
    fates: dict[int, canary.Fate] = {}
    fit: list[tuple[int, int]] = []
    inits_of = {
        container.init.pid: (container.init, container.evidence)
        for container in containers
        if container.init
    }
    before = {
        pid: observer.procfs.threads(pid, inits.MAX_THREADS)
        for pid in inits_of
        if _children(observer.procfs, pid, living)
    }
    if before:
        time.sleep(canary.QUIET)
    for pid, (init, evidence) in inits_of.items():
        why = (
            _not_to_be_probed(init, living, observer, options)
            or _known_already(evidence)
            or _misled(observer.procfs, init, evidence, before.get(pid, ()), living)
        )
        if why:
            fates[pid] = canary.not_sent(f"not probed: {why}")
        else:
            fit.append((pid, init.start_ticks))

    def note(stat: Stat) -> None:
        memory.left_canaries.note(stat.pid, stat.start_ticks, time.monotonic())
        memory.left_canaries.save()

    run = observer.paths.run
    with locked(run):
        memory.load(required=True)
        memory.left_canaries.forget_ended()
        canaries, unfit = canary.release(observer.procfs, fit, note)
    probed = canary.wait_for_fates(canaries)
    harmed: dict[int, str] = {}
    if any(fate.collected for fate in probed.values()):
        time.sleep(canary.SETTLES)
    for pid, start_ticks in fit:
        fate = probed.get(pid)
        if fate is None:
            continue
        now = observer.offender(pid)
        # A PID 1 that is exiting kills and collects all that is in its namespace, the canary too
        # (zap_pid_ns_processes() of kernel/pid_namespace.c)
        if now is None or now.start_ticks != start_ticks or observer.procfs.is_exiting(pid):
            probed[pid] = fate._replace(
                collected=None, seconds=None, detail="it ended during the probe"
            )
            harmed[pid] = "it ended while it was being probed; the canary may have made it end"
        elif now.suspended and not fate.collected:
            probed[pid] = fate._replace(
                collected=None, detail="it was stopped or paused during the probe"
            )
        else:
            memory.canaries.note(pid, start_ticks, 1.0 if fate.collected else 0.0)
    try:
        with locked(run):
            warnings = _saved(memory.canaries)
    except CannotSweep as error:
        warnings = (f"what the canaries showed was not saved: {error}",)
    return {**fates, **unfit, **probed}, harmed, warnings


def _known_already(evidence: Sequence[Evidence]) -> str | None:
    """No canary is sent to confirm what is known: it could do nothing but harm."""
    return "there is enough evidence without a canary" if inits.is_sure(evidence) else None


def _misled(
    procfs: ProcFS,
    init: Offender,
    evidence: Sequence[Evidence],
    before: Sequence[Thread],
    living: Mapping[int, Process],
) -> str | None:
    """:func:`.inits.misled_by_an_orphan`, with what its threads do now. before: what they did a
    while ago.
    """
    name = inits.program(init.executable, init.command_line)
    now = procfs.threads(init.pid, inits.MAX_THREADS)
    return inits.misled_by_an_orphan(
        name, evidence, before, now, _children(procfs, init.pid, living)
    )


def _children(procfs: ProcFS, pid: int, living: Mapping[int, Process]) -> bool:
    """Whether any of its children lives: of any thread when the audit began, or of its first thread
    now.
    """
    if any(process.stat.ppid == pid for process in living.values()):
        return True
    stats = map(procfs.stat, procfs.children(pid))
    return any(stat and stat.state != "Z" for stat in stats)


def _not_to_be_probed(
    init: Offender, living: Mapping[int, Process], observer: Observer, options: Options
) -> str | None:
    """Why this PID 1 gets no canary, whatever it does with orphans; None where it may get one."""
    alone = policy.spared(init, options, policy.compiled(options))
    if alone:
        return alone.explanation
    if init.suspended:
        return "it is stopped or paused"
    if init.status.tracer_pid:
        return "it is being traced, so a canary that it leaves could not be collected"
    own = observer.procfs.user_namespace(os.getpid())
    for pid, process in living.items():
        if (
            process.pid_namespace == init.workload.pid_namespace
            and observer.procfs.user_namespace(pid) == own
            and process.status.capabilities & (CAP_SYS_PTRACE | CAP_PERFMON)
            and not process.status.capabilities & CAP_SYS_ADMIN
        ):
            return (
                "a process there may look into others (CAP_SYS_PTRACE, CAP_PERFMON), so the"
                " canary too"
            )
    return None


def _saved(times: OfProcesses) -> tuple[str, ...]:
    """Save them; the warning where that fails."""
    try:
        times.save()
    except OSError as error:
        return (f"{times.path} cannot be written: {error.strerror}",)
    return ()


def _with_fate(
    container: Container, fates: Mapping[int, canary.Fate], harmed: Mapping[int, str]
) -> Container:
    if container.init is None or container.init.pid not in fates:
        return container
    fate = fates[container.init.pid]
    verdict = {True: inits.REAPS, False: inits.LEAKS, None: inits.UNKNOWN}[fate.collected]
    before = tuple(
        each for each in container.evidence if each.by != "canary" or fate.collected is None
    )
    return container._replace(
        seconds=fate.seconds,
        evidence=before + (Evidence("canary", verdict, fate.detail),),
        harm=harmed.get(container.init.pid),
    )


def _collect_again(observer: Observer, fates: Mapping[int, canary.Fate], options: Options) -> int:
    """Have the canaries collected that were not, unless the operator does without reap. Returns how
    many are left.
    """
    left: dict[int, Zombie] = {}
    for init_pid, fate in fates.items():
        if fate.left:
            pid, start_ticks = fate.left
            left[init_pid] = observe.Zombie(
                pid=pid,
                start_ticks=start_ticks,
                ppid=init_pid,
                comm=canary.NAME,
                num_threads=1,
                tracer_pid=0,
                age=0.0,
                canary=True,
            )
    if "reap" in options.remedies:
        offenders = [observer.offender(pid, (zombie,)) for pid, zombie in left.items()]
        reap(observer.procfs, [offender for offender in offenders if offender])
    return sum(
        1 for zombie in left.values() if observe.parent_now(observer.procfs, zombie) is not None
    )


def _as_dict(container: Container) -> dict[str, Any]:
    return {
        "workload": report.as_workload(container.workload),
        "init": container.init and _init_as_dict(container.init),
        "verdict": container.verdict,
        "evidence": [
            {"by": each.by, "verdict": each.verdict, "detail": report.printable(each.detail)}
            for each in container.evidence
        ],
        "seconds": None if container.seconds is None else round(container.seconds, 3),
        "harm": container.harm,
        "cures": list(cures.cures(container.kept, container.place)),
        "advice": cures.in_words(container.kept, container.place) or None,
        "zombies": container.zombies,
        "pids": report.as_pids(container.pids, container.forecast),
        "pid_limit": container.pid_limit,
    }


def _init_as_dict(init: Offender) -> dict[str, Any]:
    return {
        "pid": init.pid,
        "name": report.printable(init.comm),
        "executable": report.printable(init.executable),
        "command_line": report.printable((init.command_line or b"").replace(b"\0", b" ").strip()),
        "uid": init.status.uid,
    }


def _harm_in_words(entry: Mapping[str, Any]) -> str:
    return (
        f"PID 1 ({_init_in_words(entry['init'])}) {report.place(entry['workload'])}:"
        f" {entry['harm']}"
    )


def _share(pids: Mapping[str, Any] | None) -> str:
    return "-" if pids is None else f"{pids['current']} of {pids['max'] or 'any'}"


def _init_in_words(init: Mapping[str, Any] | None) -> str:
    return "not found" if init is None else f"{init['pid']} {init['name']}"


def _why(entry: Mapping[str, Any]) -> str:
    """The strongest evidence for the verdict; all evidence where nothing is known."""
    relevant = [each for each in entry["evidence"] if each["verdict"] == entry["verdict"]]
    by_strength = sorted(
        relevant or entry["evidence"], key=lambda each: inits.STRONGEST_FIRST.index(each["by"])
    )
    if entry["verdict"] != inits.UNKNOWN:
        by_strength = by_strength[:1]
    return "; ".join(each["detail"] for each in by_strength)
