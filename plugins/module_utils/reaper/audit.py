# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every container of the node: what its PID 1 is, and whether it collects orphans. Those that
do not will leak, or do already.

Ends and stops nothing. Asked to probe, it sends a canary to each PID 1 of which nothing is known
for sure and that cannot take it for a child of its own (:func:`.inits.misled_by_an_orphan`), has
one that is not collected collected by ``reap``, and says so where a PID 1 has ended meanwhile.
"""

from __future__ import annotations

import os
import time
from collections import Counter, namedtuple

from . import canary, policy, report
from .errors import CannotSweep
from .files import locked
from .kernel.procfs import PF_KTHREAD, ProcFS
from .node import inits, observe, workloads
from .node.inits import Evidence
from .options import Options
from .preflight import check_node
from .remedies.reap import reap
from .state import Memory

# include/uapi/linux/capability.h
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON = (1 << 19, 1 << 21, 1 << 38)
MAX_CONTAINERS = 5000


class Container(
    namedtuple(
        "Container",
        ("init", "workload", "evidence", "seconds", "zombies", "pids", "forecast", "harm"),
        defaults=(None,),
    )
):
    """One container.

    init: :class:`.observe.Offender` of its PID 1, without zombies; None where it was not found.
    workload: :class:`.workloads.Workload`. evidence: tuple of :class:`.inits.Evidence`.
    seconds: float, in which a canary was collected, else None. zombies: int, of parents in this
    container.
    pids, forecast: as in :class:`.observe.Offender`. harm: str, what a canary may have done to its
    PID 1; None where it is as before.
    """

    __slots__ = ()

    @property
    def verdict(self) -> str:
        """``reaps``, ``leaks`` or ``unknown``."""
        return inits.conclude(self.evidence)


class Audit(namedtuple("Audit", ("containers", "left", "warnings"))):
    """containers: tuple of :class:`Container`, those that leak first. left: int, canaries that are
    zombies now. warnings: tuple of str.
    """

    __slots__ = ()


class _Process(namedtuple("_Process", ("stat", "status", "lines", "pid_namespace"))):
    __slots__ = ()


def audit(options: Options, paths, probe: bool = False) -> Audit:
    """Look at every container. options: whom a canary is not sent to, and from which age on a
    zombie counts.

    paths: :class:`.paths.Paths`. Raises :class:`.errors.CannotSweep`.
    """
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    memory = Memory(paths.run, procfs)
    memory.load(required=False)
    observer = observe.Observer(procfs, paths, memory.history(), time.monotonic())
    living, zombies = _processes(procfs)
    for process in living.values():
        if process.status.ns_pid[-1] == 1:
            observer.inits.known[process.pid_namespace] = process.stat.pid
    observer.inits.searched = True
    own_lines = observer.locator.own_lines
    members, keys = {}, {}
    for pid, process in living.items():
        key = _container_of(process, own_lines)
        if key:
            keys[pid] = key
            members.setdefault(key, []).append(process)
    held = {}
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
    left, warnings = 0, ()
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
        warnings += (f"only {MAX_CONTAINERS} of {len(members)} containers are told",)
    return Audit(tuple(containers), left, warnings)


def as_dict(done: Audit) -> dict:
    """The schema of ``init_audit`` and ``--audit --json``; every text in it is printable and
    bounded.
    """
    verdicts = [container.verdict for container in done.containers]
    return {
        "schema": report.SCHEMA,
        "containers": [_as_dict(container) for container in done.containers],
        "counts": {
            "containers": len(verdicts),
            **{word: verdicts.count(word) for word in (inits.REAPS, inits.LEAKS, inits.UNKNOWN)},
            "zombies": sum(container.zombies for container in done.containers),
            "canaries_left": done.left,
            "harmed": sum(1 for container in done.containers if container.harm),
        },
        "summary": as_lines(done),
        "warnings": (
            [_harm_in_words(_as_dict(container)) for container in done.containers if container.harm]
            + [report.printable(warning) for warning in done.warnings]
        ),
    }


def as_lines(done: Audit) -> list:
    """The audit for people: what it may have harmed, one line of totals, then a table."""
    entries = [_as_dict(container) for container in done.containers]
    harmed = ["warning: " + _harm_in_words(entry) for entry in entries if entry["harm"]]
    counted = [
        sum(1 for entry in entries if entry["verdict"] == word)
        for word in (inits.REAPS, inits.LEAKS, inits.UNKNOWN)
    ]
    lines = harmed + [
        "%s on this node: %d collect orphans, %d leak, %d unknown"
        % (report.plural(len(entries), "container"), *counted)
    ]
    rows = [("verdict", "zombies", "pids", "PID 1", "container")] if entries else []
    rows += [
        (
            entry["verdict"],
            str(entry["zombies"]),
            _share(entry["pids"]),
            _init_in_words(entry["init"]),
            report.place(entry["workload"])[len("in container ") :],
        )
        for entry in entries[: report.MAX_LINES]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    for place, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths))
        lines.append("%s  %s" % (line, "why" if place == 0 else _why(entries[place - 1])))
    if len(entries) > report.MAX_LINES:
        lines.append("and %s" % report.plural(len(entries) - report.MAX_LINES, "more container"))
    if done.left:
        lines.append(f"canaries that could not be collected again: {done.left}")
    return lines + [f"warning: {report.printable(warning)}" for warning in done.warnings]


def _processes(procfs) -> tuple:
    """({pid: _Process} of all that live, list of Stat of all zombies), one pass over the table."""
    living, zombies = {}, []
    for pid in procfs.pids():
        stat = procfs.stat(pid)
        if stat is None or stat.flags & PF_KTHREAD:
            continue
        if stat.state == "Z":
            zombies.append(stat)
            continue
        status = procfs.status(pid)
        if status:
            living[pid] = _Process(stat, status, procfs.cgroup(pid), procfs.pid_namespace(pid))
    return living, zombies


def _container_of(process, own_lines) -> tuple | None:
    """What tells its container from others; None on the host."""
    found = workloads.locate(
        process.lines, own_lines, process.pid_namespace, process.status.in_own_pid_namespace, {}
    )
    if found.kind == "host":
        return None
    if found.container_id or found.pod_uid:
        return "cgroup", found.container_id or "", found.pod_uid or ""
    return "namespace", str(process.pid_namespace), ""


def _is_pause_sandbox(procfs, processes, in_namespace, key) -> bool:
    """Whether all there is is the pause program that keeps the namespaces of a pod, which nobody's
    program runs in.

    Where containers share its PID namespace it is their init, and is told. in_namespace: number of
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


def _outermost(processes):
    """PID 1 of a container is that of its outermost PID namespace; a tenant may have made more of
    them below.
    """
    return min(processes, key=lambda process: (len(process.status.ns_pid), process.stat.pid))


def _container(observer, processes, zombies, held, options) -> Container:
    stat, status, lines, pid_namespace = _outermost(processes)
    init_pid = observer.inits.of(stat, status, pid_namespace)
    workload = observer.locator.of(
        stat, status, lines, pid_namespace, observer.inits.outermost(init_pid)
    )
    pids = observer.pids(lines)
    if status.in_own_pid_namespace:
        init, evidence = (
            None,
            (
                Evidence(
                    "name",
                    inits.UNKNOWN,
                    "it shares the PID namespace of the node: its shim or PID 1 of the node gets"
                    " orphans",
                ),
            ),
        )
    else:
        init, evidence = observer.offender(init_pid) if init_pid else None, ()
    if init:
        kept = observer.zombies(held.get(init.pid, ()))
        evidence = _by_zombies(
            [zombie for zombie in kept if not zombie.canary], options
        ) + inits.look_at(observer.procfs, init.pid, init.status)
        if init.collected_ago is not None:
            ago = report.duration_in_words(init.collected_ago)
            evidence += (
                Evidence("sweeps", inits.LEAKS, f"a sweep collected zombies from it {ago} ago"),
            )
        if init.init_reaps is not None:
            evidence += (
                Evidence(
                    "canary",
                    inits.REAPS if init.init_reaps else inits.LEAKS,
                    "it %s the canary of an earlier audit"
                    % ("collected" if init.init_reaps else "did not collect"),
                ),
            )
    return Container(init, workload, evidence, None, zombies, pids, observer.forecast(pids))


def _by_zombies(kept, options) -> tuple:
    due = [
        zombie
        for zombie in kept
        if zombie.age >= options.min_age and zombie.num_threads <= 1 and not zombie.tracer_pid
    ]
    if due:
        return (
            Evidence(
                "zombies",
                inits.LEAKS,
                f"it keeps {report.plural(len(due), 'zombie')}, the oldest seen for"
                f" {report.duration_in_words(max(zombie.age for zombie in due))}",
            ),
        )
    return (
        (
            Evidence(
                "zombies",
                inits.UNKNOWN,
                f"it holds {report.plural(len(kept), 'zombie')}, none of min_age",
            ),
        )
        if kept
        else ()
    )


def _probe(observer, memory, containers, living, options) -> tuple:
    """(``{pid: canary.Fate}`` of every PID 1 there is, ``{pid: str}`` of those that it may have
    harmed, warnings).

    Of those that are left alone the fate says why.
    """
    fates, fit = {}, []
    by_init = {container.init.pid: container for container in containers if container.init}
    before = {
        pid: observer.procfs.threads(pid, inits.MAX_THREADS)
        for pid in by_init
        if _children(observer.procfs, pid, living)
    }
    if before:
        time.sleep(canary.QUIET)
    for pid, container in by_init.items():
        why = (
            _not_to_be_probed(container.init, living, observer, options)
            or _told_already(container)
            or _misled(observer.procfs, container, before.get(pid, ()), living)
        )
        if why:
            fates[pid] = canary.Fate(None, None, "not probed: " + why, None)
        else:
            fit.append((pid, container.init.start_ticks))

    def note(stat):
        memory.left_canaries.note(stat.pid, stat.start_ticks, time.monotonic())
        memory.left_canaries.save()

    run = observer.paths.run
    with locked(run):
        memory.load(required=True)
        memory.left_canaries.forget_ended()
        canaries, unfit = canary.release(observer.procfs, fit, note)
    told, harmed = canary.wait_for_fates(canaries), {}
    if any(fate.collected for fate in told.values()):
        time.sleep(canary.SETTLES)
    for pid, start_ticks in fit:
        fate = told.get(pid)
        if fate is None:
            continue
        now = observer.offender(pid)
        # One that is exiting kills and collects what is in its namespace, the canary too
        # (zap_pid_ns_processes() of kernel/pid_namespace.c)
        if now is None or now.start_ticks != start_ticks or observer.procfs.is_exiting(pid):
            told[pid] = fate._replace(collected=None, seconds=None, detail="it has ended meanwhile")
            harmed[pid] = "it has ended while it was probed; the canary may have made it end"
        elif now.suspended and not fate.collected:
            told[pid] = fate._replace(collected=None, detail="it was stopped or paused meanwhile")
        else:
            memory.canaries.note(pid, start_ticks, float(fate.collected))
    try:
        with locked(run):
            warnings = _saved(memory.canaries)
    except CannotSweep as error:
        warnings = (f"what the canaries showed is not remembered: {error}",)
    return {**fates, **unfit, **told}, harmed, warnings


def _told_already(container) -> str | None:
    """A canary is not sent to confirm what is known: it could do nothing but harm."""
    return "there is evidence enough without" if inits.is_sure(container.evidence) else None


def _misled(procfs, container, before, living) -> str | None:
    """As :func:`.inits.misled_by_an_orphan`, of what its threads do now; before: what they did a
    while ago.
    """
    pid = container.init.pid
    name = inits.program(container.init.executable, container.init.command_line)
    now = procfs.threads(pid, inits.MAX_THREADS)
    return inits.misled_by_an_orphan(
        name, container.evidence, before, now, _children(procfs, pid, living)
    )


def _children(procfs, pid, living) -> bool:
    """Whether any child of it lives: those of all threads when the audit began, of its first thread
    those of now too.
    """
    if any(process.stat.ppid == pid for process in living.values()):
        return True
    stats = map(procfs.stat, procfs.children(pid))
    return any(stat and stat.state != "Z" for stat in stats)


def _not_to_be_probed(init, living, observer, options) -> str | None:
    """Why this PID 1 gets no canary, whatever it does with orphans; None where it may get one."""
    alone = policy.spared(init, options, policy.compiled(options))
    if alone:
        return alone[1].replace("the parent", "it")
    if init.suspended:
        return "it is stopped or paused"
    if init.status.tracer_pid:
        return "it is being traced, so a canary that it leaves could not be collected again"
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


def _saved(times) -> tuple:
    try:
        times.save()
    except OSError as error:
        return (f"{times.path} cannot be written: {error.strerror}",)
    return ()


def _with_fate(container, fates, harmed) -> Container:
    fate = fates.get(container.init.pid) if container.init else None
    if fate is None:
        return container
    verdict = {True: inits.REAPS, False: inits.LEAKS, None: inits.UNKNOWN}[fate.collected]
    before = tuple(
        each for each in container.evidence if each.by != "canary" or fate.collected is None
    )
    return container._replace(
        seconds=fate.seconds,
        evidence=before + (Evidence("canary", verdict, fate.detail),),
        harm=harmed.get(container.init.pid),
    )


def _collect_again(observer, fates, options) -> int:
    """Have the canaries collected that were not, unless the operator does without reap; how many
    are left.
    """
    left = {
        pid: observe.Zombie(*fate.left, pid, canary.NAME, 1, 0, 0.0, True)
        for pid, fate in fates.items()
        if fate.left
    }
    if "reap" in options.remedies:
        offenders = [observer.offender(pid, (zombie,)) for pid, zombie in left.items()]
        reap(observer.procfs, [offender for offender in offenders if offender])
    return sum(
        1 for zombie in left.values() if observe.parent_now(observer.procfs, zombie) is not None
    )


def _as_dict(container) -> dict:
    init = container.init
    return {
        "workload": report.as_workload(container.workload),
        "init": (
            init
            and {
                "pid": init.pid,
                "name": report.printable(init.comm),
                "executable": report.printable(init.executable),
                "command_line": report.printable(
                    (init.command_line or b"").replace(b"\0", b" ").strip()
                ),
                "uid": init.status.uid,
            }
        ),
        "verdict": container.verdict,
        "evidence": [
            {"by": each.by, "verdict": each.verdict, "detail": report.printable(each.detail)}
            for each in container.evidence
        ],
        "seconds": None if container.seconds is None else round(container.seconds, 3),
        "harm": container.harm,
        "zombies": container.zombies,
        "pids": report.as_pids(container.pids, container.forecast),
    }


def _harm_in_words(entry) -> str:
    return (
        f"PID 1 ({_init_in_words(entry['init'])}) {report.place(entry['workload'])}:"
        f" {entry['harm']}"
    )


def _share(pids) -> str:
    return "-" if pids is None else f"{pids['current']} of {pids['max'] or 'any'}"


def _init_in_words(init) -> str:
    return "not found" if init is None else f"{init['pid']} {init['name']}"


def _why(entry) -> str:
    """The evidence that the verdict rests on; where there is none, all of it."""
    telling = [each for each in entry["evidence"] if each["verdict"] == entry["verdict"]] or entry[
        "evidence"
    ]
    by_strength = sorted(telling, key=lambda each: inits.STRONGEST_FIRST.index(each["by"]))
    return "; ".join(
        each["detail"]
        for each in (by_strength if entry["verdict"] == inits.UNKNOWN else by_strength[:1])
    )
