# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that decides what is done to whom.

:func:`judge` reads nothing: the same snapshot and options always give the same verdicts, each with
its reason.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from . import pressure
from .kernel.procfs import PF_KTHREAD
from .options import Options

MIN_ZOMBIE_SHARE = (
    0.1  # of the limit of a cgroup; where they take less, it is the living that fill it
)
SETTLED = 5.0  # seconds after which an adopter that waits has collected; supervisord needs up to 2
# seconds; more than ``tolerate`` zombies of one parent that are all older than that are a leak
TOLERATED_FOR = 3600
# that an adopter is given at once: the most that was measured, 0.35 s in which nothing could fork
# (bench/run, "The storm")
MAX_ORPHANS = 300000

# The executables of what runs the work of others: container runtimes, their shims, monitors and
# helpers, the kubelet in its various distributions, and the daemons of Nomad, Slurm and other batch
# systems, of LXC, Apptainer, Mesos and ssh. To end one of them ends, or orphans, what is below it.
# Not compiled here: that takes 2 ms, and a sweep that finds nothing asks for none of them.
INFRASTRUCTURE = (
    r"(docker-)?containerd(-shim.*|-rootless.*|-stargz-grpc)?|dockerd(-rootless.*)?|cri-dockerd|docker-(init|proxy|runc)|runc|crun|runsc|youki"
    r"|buildkitd|buildkit-.*|rootlesskit(-.*)?|slirp4netns|pasta(\.avx2)?|vpnkit|fuse-overlayfs|netavark|aardvark-dns|nvidia-container-.*"
    r"|conmon|conmonrs|crio|podman|buildah|kata-.*|containerd-kata.*|virtiofsd|firecracker|jailer"
    r"|lxc-.*|lxcfs|lxd(-.*)?|incusd|incus-agent|apptainer|singularity|starter(-suid)?|garden|gdn|guardian"
    r"|kubelet|kubelite|hyperkube|k3s.*|k0s|rke2.*|nomad|slurmd|slurmstepd|slurmctld|pbs_mom|condor_(master|startd|starter|procd)|mesos-.*"
    r"|sshd(-.*)?|dropbear"
)
SYSTEMD = r"systemd(-.*)?|init"


class Verdict(
    namedtuple("Verdict", ("offender", "due", "remedies", "reason", "explanation", "room"))
):
    """What is to be done to one offender.

    due: tuple of the zombies that a remedy is for, or that are old enough where none is tried.
    remedies: tuple of str, what may be tried, in order; empty to leave it alone. reason: str, one
    of the words below, for machines. explanation: str, one sentence for people. room:
    :class:`.pressure.Room`.

    ``act``, or why not, or not everything: ``host_init``, ``kernel_thread``, ``sweep_or_ancestor``,
    ``runtime``, ``systemd``, ``unknown_executable``, ``host_service``, ``host_process``,
    ``protected``, ``protected_namespace``, ``namespace_unknown``, ``own_canary``,
    ``leader_dead_threads_alive``, ``traced``, ``too_few``, ``too_young``, ``may_be_waited_for``,
    ``only_reap``, ``reap_impossible``, ``older_first``, ``parent_uninterruptible``,
    ``parent_stopped``, ``parent_frozen``, ``report_only``, ``cooldown``, ``too_many_orphans``,
    ``ends_with_init``, ``adopter_does_not_reap``, ``max_parents``.
    """

    __slots__ = ()


def judge(snapshot, options: Options, already_terminated: int = 0, tried=frozenset()) -> tuple:
    """One :class:`Verdict` for each offender of the snapshot, in its order (most zombies first).

    already_terminated: int, parents terminated earlier in this sweep; they count towards
    ``max_parents``.
    tried: (pid, start_ticks) of zombies that a remedy of this sweep was for in vain; others may
    have to make room in their place.
    """
    protect = compiled(options)
    verdicts = tuple(
        _judge_alone(offender, snapshot, options, protect) for offender in snapshot.offenders
    )
    return _cap(
        _drop_futile_terminate(_no_more_than_needed(verdicts, options, tried), options),
        options,
        already_terminated,
    )


def compiled(options: Options) -> list:
    """The patterns of ``protect``, for :func:`spared`."""
    return [re.compile(pattern) for pattern in options.protect]


def spared(offender, options: Options, protect) -> tuple | None:
    """Who is left alone for what it is, whatever it holds: (reason, explanation), or None. protect:
    of :func:`compiled`.
    """
    workload = offender.workload
    denied = never_touched(offender)
    if denied:
        return denied
    if options.scope == "containers" and workload.service:
        return "host_service", f"the parent belongs to the host's service {workload.service}"
    if options.scope == "containers" and workload.kind == "host":
        return "host_process", "the parent is a process of the host and the scope is containers"
    pattern = matching(offender.executable, offender.command_line, protect)
    if pattern:
        return "protected", f"the parent matches protect: {pattern}"
    pattern = protecting(workload.namespace, options)
    if pattern:
        return (
            "protected_namespace",
            f"its pod {workload.pod} is in the namespace {workload.namespace}"
            f" (protect_namespaces: {pattern})",
        )
    if (
        (workload.pod_uid or workload.kubernetes)
        and workload.namespace is None
        and options.protect_namespaces
    ):
        return (
            "namespace_unknown",
            "the namespace of its pod%s is not known (neither a directory in /var/log/pods nor a"
            " link in /var/log/containers), so it may be one of protect_namespaces"
            % (" " + workload.pod_uid if workload.pod_uid else ""),
        )
    return None


def protecting(namespace: str | None, options: Options) -> str | None:
    """The first pattern of ``protect_namespaces`` that this namespace matches; ``*`` stands for any
    text, no other character for anything but itself.
    """
    for pattern in options.protect_namespaces if namespace else ():
        if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), namespace):
            return pattern
    return None


def matching(executable: bytes | None, command_line: bytes | None, protect) -> str | None:
    """The first pattern of ``protect`` that a process matches, by its executable or its command
    line. protect: of :func:`compiled`.
    """
    texts = [
        text.decode("utf-8", "surrogateescape")
        for text in (executable, _words(command_line))
        if text
    ]
    return next(
        (pattern.pattern for pattern in protect if any(pattern.search(text) for text in texts)),
        None,
    )


def spare_for(verdict: Verdict, pid: int, pattern: str) -> Verdict:
    """The verdict on a PID 1 with which a process would end that ``protect`` names."""
    return verdict._replace(
        remedies=without_terminate(verdict.remedies),
        reason="protected",
        explanation=f"PID {pid} would end with it, and matches protect: {pattern}",
    )


def never_touched(offender) -> tuple | None:
    """The deny list that no option can lift: (reason, explanation), or None.

    Rests on what no tenant can set: PID, kernel flags, PID namespace. A name of an executable
    counts only in the sweep's own PID namespace; the same name inside a container means nothing.
    """
    if offender.pid == 1:
        return "host_init", "the parent is PID 1 of this node"
    if offender.flags & PF_KTHREAD:
        return "kernel_thread", "the parent is a kernel thread"
    if offender.is_ancestor:
        return (
            "sweep_or_ancestor",
            "the parent is this sweep or started it (its ssh, cron or shell session)",
        )
    if not offender.status.in_own_pid_namespace:
        return None
    if not offender.executable:
        return (
            "unknown_executable",
            "the executable of this host process cannot be read, so it may be one that must live",
        )
    name = os.path.basename(offender.executable).decode("utf-8", "replace")
    if re.fullmatch(INFRASTRUCTURE, name):
        return (
            "runtime",
            "the parent runs the work of others: a container runtime, its shim, the kubelet, a"
            f" batch system, ssh ({name})",
        )
    if re.fullmatch(SYSTEMD, name):
        return "systemd", f"the parent belongs to systemd ({name})"
    return None


def _judge_alone(offender, snapshot, options, protect) -> Verdict:
    """The verdict on one offender without regard to the others."""
    room = _where_zombies_take_room(
        pressure.of(snapshot, offender, options.pressure), snapshot, options
    )
    full = room.level == pressure.FULL
    countable = [zombie for zombie in offender.zombies if _collectable(zombie, full)]
    due = tuple(zombie for zombie in countable if _age(zombie, full) >= options.min_age)

    def verdict(reason, explanation, remedies=(), zombies=due):
        return Verdict(offender, zombies, remedies, reason, explanation, room)

    alone = spared(offender, options, protect)
    if alone:
        return verdict(*alone)
    if all(zombie.canary for zombie in offender.zombies):
        return verdict(
            "own_canary", "all it holds is the canary of an audit, which is no fault of its own"
        )
    if not countable:
        return verdict(*_held_by_others(offender))
    suspended = None if full else _suspended(offender)
    if suspended:
        return verdict(*suspended)
    if len(countable) < options.min_zombies and not full:
        return verdict("too_few", f"fewer than min_zombies: {options.min_zombies}")
    if not options.remedies:
        return verdict("report_only", "remedies is empty: nothing is done, only reported")
    if not room.is_short:
        return _where_there_is_room(verdict, offender, countable, due, snapshot, options, room)
    if len(due) < (1 if full else options.min_zombies):
        return verdict(
            "too_young",
            f"seen as a zombie for {max(_age(zombie, full) for zombie in countable):.0f} s"
            f" so far, less than min_age: {options.min_age}; the parent may yet wait"
            " for it",
        )
    remedies = tuple(
        remedy for remedy in options.remedies if remedy != "reap" or not snapshot.refusal
    )
    if not remedies:
        return verdict(
            "reap_impossible", f"only reap is among the remedies, and {snapshot.refusal[1]}"
        )
    less = (
        None
        if _is_full_node(room) or "terminate" not in options.remedies
        else _not_to_be_ended(offender, options, room)
    )
    if less:
        return verdict(*less, without_terminate(remedies))
    return verdict(
        "act",
        f"{len(due)} held for {min(_age(zombie, full) for zombie in due):.0f} s or longer",
        remedies,
    )


def _where_zombies_take_room(room, snapshot, options) -> pressure.Room:
    """Room, where it is living processes that take up a cgroup: no status that is given up for a
    few zombies there would gain any.

    That harms nobody but its owner. On a node every single one counts.
    """
    if not room.is_short or not options.pressure or room.where == pressure.NODE:
        return room
    zombies = sum(
        each.zombie_count
        for each in snapshot.offenders
        if each.pids and each.pids.cgroup == room.where
    )
    if zombies >= MIN_ZOMBIE_SHARE * room.limit:
        return room
    of_node = pressure.of_node(snapshot, options.pressure)
    return of_node if of_node.is_short else room._replace(level=pressure.ROOM)


def _held_by_others(offender) -> tuple:
    """Why its parent could collect none of its zombies: (reason, explanation)."""
    if any(zombie.num_threads > 1 for zombie in offender.zombies):
        return (
            "leader_dead_threads_alive",
            "the leader has exited but threads of it live on: nobody can collect it yet",
        )
    # the rest are canaries
    tracer = next(zombie.tracer_pid for zombie in offender.zombies if zombie.tracer_pid)
    return "traced", "held by its tracer, %s, and not by its parent" % (
        f"PID {tracer}" if tracer > 0 else "which was not looked up"
    )


def _suspended(offender) -> tuple | None:
    """Why the parent cannot do anything just now: (reason, explanation), or None."""
    if offender.frozen:
        return (
            "parent_frozen",
            "the parent's container is paused: it cannot collect anything before it goes on",
        )
    if offender.suspended:
        return (
            "parent_stopped",
            "the parent is stopped (by a signal or a debugger) and cannot collect anything",
        )
    if offender.state == "D":
        return (
            "parent_uninterruptible",
            "the parent is in uninterruptible sleep: no signal reaches it now",
        )
    return None


def _where_there_is_room(
    verdict, offender, countable, old_enough, snapshot, options, room
) -> Verdict:
    """Nothing is signalled or ended. Collected are only zombies that nobody will ask for, and what
    has become far too much.
    """
    due = tuple(zombie for zombie in old_enough if zombie.is_orphan) + _leaked(
        offender, old_enough, options
    )
    if not due and any(zombie.is_orphan for zombie in countable):
        return verdict(
            "too_young",
            "nobody will ask for the orphans, but the first of them was seen"
            f" {max(zombie.age for zombie in countable if zombie.is_orphan):.0f} s ago,"
            " less than"
            f" min_age: {options.min_age}",
        )
    if not due:
        return verdict(
            "may_be_waited_for",
            "its parent may still ask for %s, and there is room (%s taken): no harm is done"
            % ("it" if len(countable) == 1 else "them", in_words(room)),
        )
    if len(due) < options.min_zombies:
        return verdict(
            "too_few",
            f"fewer than min_zombies: {options.min_zombies} are to be collected while"
            " there is room",
            zombies=due,
        )
    if "reap" not in options.remedies:
        return verdict(
            "only_reap",
            f"there is room ({in_words(room)} taken), so only reap may be tried, and it is"
            " not among the remedies",
            zombies=due,
        )
    if snapshot.refusal:
        return verdict(
            "reap_impossible",
            f"there is room ({in_words(room)} taken), so only reap may be tried, and"
            f" {snapshot.refusal[1]}",
            zombies=due,
        )
    what = (
        f"{len(due)} that nobody will ask for"
        if all(zombie.is_orphan for zombie in due)
        else (
            f"{len(due)}, most of them old: more than tolerate: {options.tolerate} are"
            f" older than {TOLERATED_FOR} s"
        )
    )
    return verdict("act", what, ("reap",), due)


def _leaked(offender, old_enough, options) -> tuple:
    """The oldest of those that may be waited for, as far as more than ``tolerate`` of them are
    older than an hour.
    """
    old = sorted(
        (zombie for zombie in old_enough if not zombie.is_orphan and zombie.age >= TOLERATED_FOR),
        key=lambda zombie: -zombie.age,
    )
    return tuple(old[: max(0, len(old) - options.tolerate)])


def _not_to_be_ended(offender, options, room) -> tuple | None:
    """Why no signal may end it in this sweep, though there is hardly any room: (reason,
    explanation), or None.
    """
    if offender.ended_ago is not None and offender.ended_ago < options.cooldown:
        return (
            "cooldown",
            f"a parent of this workload was ended {offender.ended_ago:.0f} s ago, less"
            f" than cooldown: {options.cooldown}",
        )
    if (
        offender.zombie_count > MAX_ORPHANS
        and room.level != pressure.FULL
        and offender.pid != offender.init_pid
    ):
        return (
            "too_many_orphans",
            f"its end would give {offender.zombie_count} zombies to one adopter at once,"
            f" more than {MAX_ORPHANS}, and nothing could"
            f" start for about {offender.zombie_count / 1e6:.1f} s; there is room left to"
            " have it collect them, or to end its"
            " whole container",
        )
    return None


def in_words(room) -> str:
    """How much is taken, of what."""
    return "%.1f %% of %s" % (
        100 * room.share,
        "the process table" if room.where == pressure.NODE else "the PIDs of its cgroup",
    )


def _collectable(zombie, full=False) -> bool:
    """Whether it counts, and its parent could collect it: no canary, no tracer holds it, and no
    thread of it lives on.

    What its own parent traces that one can collect as well; it is a debugger at work, unless the
    table is full.
    """
    if zombie.num_threads > 1 or zombie.canary:
        return False
    return not zombie.tracer_pid or full and zombie.tracer_pid == zombie.ppid


def _age(zombie, full) -> float:
    """Seconds for which it has been seen. Those count too for which another parent held it, or
    handing it on would make it young: of an orphan once its adopter has had time to collect it, and
    of any in a full table.
    """
    counts_with_all = full or zombie.is_orphan and zombie.age >= SETTLED
    return max(zombie.age, zombie.known_for or 0.0) if counts_with_all else zombie.age


def _no_more_than_needed(verdicts, options, tried):
    """Where room is short, of the zombies that may be waited for only as many as make room, the
    oldest first, whoever holds them.

    Those of parents that hold more than ``tolerate`` come before: no program need give up a status
    for what another one leaks.
    """
    keep, places, made = set(), {}, 0
    for verdict in verdicts:
        if verdict.remedies and verdict.room.is_short:
            places.setdefault(verdict.room.where, []).append(verdict)
    # what goes in cgroups goes from the node
    for of_one_place in sorted(
        places.values(), key=lambda verdicts: verdicts[0].room.where == pressure.NODE
    ):
        needed = of_one_place[0].room.too_many(options.pressure) - (
            made if of_one_place[0].room.where == pressure.NODE else 0
        )
        if needed >= sum(len(verdict.due) for verdict in of_one_place):
            keep.add(of_one_place[0].room.where)  # all of them
            made += sum(len(verdict.due) for verdict in of_one_place)
            continue
        made += max(0, needed)
        leaking = {
            verdict.offender.pid
            for verdict in of_one_place
            if verdict.offender.zombie_count > options.tolerate
        }
        zombies = sorted(
            (zombie for verdict in of_one_place for zombie in verdict.due),
            key=lambda zombie: (not zombie.is_orphan, zombie.ppid not in leaking, -zombie.age),
        )
        for zombie in zombies:
            key = zombie.pid, zombie.start_ticks
            if zombie.is_orphan or needed > 0 or key in tried:
                keep.add(key)
                needed -= key not in tried
    for verdict in verdicts:
        if verdict.remedies and verdict.room.is_short:
            due = verdict.due
            if verdict.room.where not in keep:
                due = tuple(zombie for zombie in due if (zombie.pid, zombie.start_ticks) in keep)
            if not due:
                yield verdict._replace(
                    remedies=(),
                    reason="older_first",
                    explanation=(
                        "its zombies may still be waited for, and older ones are enough to make"
                        " room"
                    ),
                )
                continue
            verdict = verdict._replace(
                due=due,
                explanation=(
                    verdict.explanation
                    if due is verdict.due
                    else (
                        f"{len(due)} of the oldest, to make room"
                        if verdict.reason == "act"
                        else verdict.explanation
                    )
                ),
            )
        yield verdict


def _drop_futile_terminate(verdicts, options):
    """Take ``terminate`` from those whose end would only move their zombies to an init that does
    not reap.

    It does not where it has held zombies for min_age and longer: then either its own end clears the
    namespace, or nothing does. Or where it did not collect the canary of an audit: then its zombies
    are for ``reap``, once it has them.
    """
    verdicts = tuple(verdicts)
    by_pid = {verdict.offender.pid: verdict for verdict in verdicts}
    for verdict in verdicts:
        init = by_pid.get(verdict.offender.init_pid)
        keeps_some = init is not None and any(
            _collectable(zombie) and zombie.age >= options.min_age
            for zombie in init.offender.zombies
        )
        leaks = keeps_some or verdict.offender.init_reaps is False
        if (
            "terminate" not in verdict.remedies
            or verdict.offender.pid == verdict.offender.init_pid
            or not leaks
            or (verdict.room.level == pressure.FULL and not keeps_some)
        ):
            yield verdict
            continue
        remedies = without_terminate(verdict.remedies)
        if not keeps_some:
            yield _for_an_adopter_that_leaks(verdict, remedies)
            continue
        if "terminate" in init.remedies:
            yield verdict._replace(
                remedies=remedies,
                reason="ends_with_init",
                explanation=(
                    f"its PID namespace ends with its init, PID {init.offender.pid}, which"
                    " keeps zombies itself"
                ),
            )
        else:
            yield verdict._replace(
                remedies=remedies,
                reason="adopter_does_not_reap",
                explanation=(
                    f"its zombies would only move to PID {init.offender.pid}, which keeps"
                    " those it has and is left"
                    f" alone ({init.reason})"
                ),
            )


def _for_an_adopter_that_leaks(verdict, gentler) -> Verdict:
    adopter = (
        f"PID {verdict.offender.init_pid}, the init of its PID namespace, which did not"
        " collect the canary of an audit"
    )
    if "reap" in gentler:
        return verdict._replace(
            explanation=(
                f"{verdict.explanation}; if it is ended, its zombies go to {adopter}: reap is"
                " then for that one"
            )
        )
    return verdict._replace(
        remedies=gentler,
        reason="adopter_does_not_reap",
        explanation=(
            f"its zombies would only move to {adopter}; reap among the remedies would"
            " help, or the end of"
            " that container"
        ),
    )


def _cap(verdicts, options, already_terminated) -> tuple:
    """Take ``terminate`` from those beyond ``max_parents``, worst first, and from all but one
    container of a workload, so that its replicas do not end together; and tell those that were to
    end with one of them. A full node knows no such limits; a full cgroup harms its owner only.
    """
    capped, spared_for, containers = [], {}, {}
    for verdict in verdicts:
        if "terminate" in verdict.remedies and not _is_full_node(verdict.room):
            workload = verdict.offender.workload
            if (
                workload.container_id
                and containers.setdefault(workload.identity, workload.container_id)
                != workload.container_id
            ):
                why = (
                    "cooldown",
                    "another container of this workload comes first; of its replicas only one is"
                    f" ended within cooldown: {options.cooldown}",
                )
                spared_for[verdict.offender.pid] = why
            else:
                already_terminated += 1
                if options.max_parents and already_terminated > options.max_parents:
                    spared_for[verdict.offender.pid] = (
                        "max_parents",
                        "parents with more zombies come first in this sweep (max_parents:"
                        f" {options.max_parents})",
                    )
            verdict = _leave_for_later(verdict, spared_for.get(verdict.offender.pid))
        capped.append(verdict)
    return tuple(
        (
            _leave_for_later(verdict, spared_for.get(verdict.offender.init_pid))
            if verdict.reason == "ends_with_init"
            else verdict
        )
        for verdict in capped
    )


def _is_full_node(room) -> bool:
    return room.level == pressure.FULL and room.where == pressure.NODE


def _leave_for_later(verdict, why) -> Verdict:
    if why is None:
        return verdict
    return verdict._replace(
        remedies=without_terminate(verdict.remedies), reason=why[0], explanation=why[1]
    )


def without_terminate(remedies) -> tuple:
    """The gentler ones."""
    return tuple(remedy for remedy in remedies if remedy != "terminate")


def _words(command_line) -> bytes | None:
    return command_line.replace(b"\0", b" ").strip() if command_line else None
