# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that decides what is done to which parent.

:func:`judge` reads nothing: the same snapshot and options always give the same verdicts. Each has
its reason, a word of :mod:`.reasons`, and an explanation in which "it" is the parent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator

from . import pressure
from .kernel.procfs import PF_KTHREAD
from .options import Options
from .pressure import Room
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .node.observe import Offender, Snapshot, Zombie

# of the limit of a cgroup; where zombies take less, it is living processes that fill it
MIN_ZOMBIE_SHARE = 0.1
# seconds after which an adopter that waits has collected; supervisord needs up to 2
SETTLED = 5.0
# seconds; more than ``tolerate`` zombies of one parent that are all older than that are a leak
TOLERATED_FOR = 3600
# that an adopter is given at once: the most that was measured, 0.35 s in which nothing could fork
# (bench/run, "The storm")
MAX_ORPHANS = 300000

# Executables that run the work of others: container runtimes with their shims, monitors and
# helpers, the kubelet in its various distributions, and the daemons of Nomad, Slurm and other batch
# systems, of LXC, Apptainer, Mesos and ssh. Ending one of them ends, or orphans, what is below it.
# Not compiled here: that takes 2 ms, and a sweep that finds nothing needs none of them.
INFRASTRUCTURE = (
    r"(docker-)?containerd(-shim.*|-rootless.*|-stargz-grpc)?|dockerd(-rootless.*)?|cri-dockerd|docker-(init|proxy|runc)|runc|crun|runsc|youki"
    r"|buildkitd|buildkit-.*|rootlesskit(-.*)?|slirp4netns|pasta(\.avx2)?|vpnkit|fuse-overlayfs|netavark|aardvark-dns|nvidia-container-.*"
    r"|conmon|conmonrs|crio|podman|buildah|kata-.*|containerd-kata.*|virtiofsd|firecracker|jailer"
    r"|lxc-.*|lxcfs|lxd(-.*)?|incusd|incus-agent|apptainer|singularity|starter(-suid)?|garden|gdn|guardian"
    r"|kubelet|kubelite|hyperkube|k3s.*|k0s|rke2.*|nomad|slurmd|slurmstepd|slurmctld|pbs_mom|condor_(master|startd|starter|procd)|mesos-.*"
    r"|sshd(-.*)?|dropbear"
)
SYSTEMD = r"systemd(-.*)?|init"


class Why(Record):
    """What a verdict rests on."""

    reason: str  # for machines, one of the words in reasons.REASONS
    explanation: str  # for people, one sentence


class Verdict(Record):
    """What is to be done to one offender."""

    offender: Offender
    due: tuple[Zombie, ...]  # that a remedy is for, or that are old enough where none is tried
    remedies: tuple[str, ...]  # what may be tried, in order; empty to leave it alone
    reason: str  # as in Why; "act", or why nothing or not everything is done
    explanation: str  # as in Why
    room: Room
    due_in: float | None = None  # "too_young": seconds until it has enough zombies that are due

    def limited_to(self, remedies: tuple[str, ...], why: Why) -> Verdict:
        """The same with fewer remedies."""
        return self._replace(remedies=remedies, reason=why.reason, explanation=why.explanation)


def judge(
    snapshot: Snapshot,
    options: Options,
    already_terminated: int = 0,
    tried: Collection[tuple[int, int]] = frozenset(),
) -> tuple[Verdict, ...]:
    """One verdict for each offender of the snapshot, in its order (most zombies first).

    already_terminated: parents terminated earlier in this sweep; they count towards
    ``max_parents``. tried: (pid, start_ticks) of zombies that a remedy of this sweep failed to
    clear; others may have to make room in their place.
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


def compiled(options: Options) -> list[re.Pattern[str]]:
    """The patterns of ``protect``, for :func:`spared` and :func:`matching`."""
    return [re.compile(pattern) for pattern in options.protect]


def spared(
    offender: Offender, options: Options, protect: Collection[re.Pattern[str]]
) -> Why | None:
    """Why it is left alone for what it is, whatever it holds. protect: from :func:`compiled`."""
    workload = offender.workload
    denied = never_touched(offender)
    if denied:
        return denied
    if options.scope == "containers" and workload.service:
        return Why("host_service", f"it belongs to the host's service {workload.service}")
    if options.scope == "containers" and workload.kind == "host":
        return Why("host_process", "it is a process of the host and the scope is containers")
    pattern = matching(offender.executable, offender.command_line, protect)
    if pattern:
        return Why("protected", f"it matches protect: {pattern}")
    pattern = protecting(workload.namespace, options)
    if pattern:
        return Why(
            "protected_namespace",
            f"its pod {workload.pod} is in the namespace {workload.namespace}"
            f" (protect_namespaces: {pattern})",
        )
    if (
        (workload.pod_uid or workload.kubernetes)
        and workload.namespace is None
        and options.protect_namespaces
    ):
        pod = f"its pod {workload.pod_uid}" if workload.pod_uid else "its pod"
        return Why(
            "namespace_unknown",
            f"the namespace of {pod} is not known (neither a directory in /var/log/pods nor a link"
            " in /var/log/containers), so it may be one of protect_namespaces",
        )
    return None


def protecting(namespace: str | None, options: Options) -> str | None:
    """The first pattern of ``protect_namespaces`` that this namespace matches; ``*`` stands for any
    text, every other character for itself.
    """
    if not namespace:
        return None
    for pattern in options.protect_namespaces:
        if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), namespace):
            return pattern
    return None


def matching(
    executable: bytes | None, command_line: bytes | None, protect: Collection[re.Pattern[str]]
) -> str | None:
    """The first pattern of ``protect`` that a process matches, by its executable or its command
    line. protect: from :func:`compiled`.
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
    """The verdict on a PID 1 with which a process would end that ``protect`` matches."""
    return verdict.limited_to(
        without_terminate(verdict.remedies),
        Why("protected", f"PID {pid} would end with it, and matches protect: {pattern}"),
    )


def never_touched(offender: Offender) -> Why | None:
    """Why it is on the deny list, which no option can lift.

    The list rests on what no tenant can set: PID, kernel flags, PID namespace. The name of an
    executable counts only in the sweep's own PID namespace; inside a container it means nothing.
    """
    if offender.pid == 1:
        return Why("host_init", "it is PID 1 of this node")
    if offender.flags & PF_KTHREAD:
        return Why("kernel_thread", "it is a kernel thread")
    if offender.is_ancestor:
        return Why(
            "sweep_or_ancestor",
            "it is this sweep or started it (its ssh, cron or shell session)",
        )
    if not offender.status.in_own_pid_namespace:
        return None
    if not offender.executable:
        return Why(
            "unknown_executable",
            "it is a process of the host whose executable cannot be read, so the node may depend on"
            " it",
        )
    name = os.path.basename(offender.executable).decode("utf-8", "replace")
    if re.fullmatch(INFRASTRUCTURE, name):
        return Why(
            "runtime",
            "it runs the work of others, as container runtimes, their shims, the kubelet, batch"
            f" systems and ssh do ({name})",
        )
    if re.fullmatch(SYSTEMD, name):
        return Why("systemd", f"it belongs to systemd ({name})")
    return None


class _Case(Record):
    """One offender, and what its verdict rests on."""

    offender: Offender
    snapshot: Snapshot
    options: Options
    room: Room
    countable: tuple[Zombie, ...]  # that it could collect
    old_enough: tuple[Zombie, ...]  # of these, min_age and older

    def verdict(
        self,
        why: Why,
        remedies: tuple[str, ...] = (),
        due: tuple[Zombie, ...] | None = None,
    ) -> Verdict:
        """due: of the zombies that are old enough, those that the verdict is about; None for all
        of them.
        """
        return Verdict(
            offender=self.offender,
            due=self.old_enough if due is None else due,
            remedies=remedies,
            reason=why.reason,
            explanation=why.explanation,
            room=self.room,
        )

    def too_young(self, explanation: str, age: float) -> Verdict:
        """age: seconds for which the zombie has been seen with which there are enough."""
        due_in = max(0.0, self.options.min_age - age)
        why = Why("too_young", f"{explanation}; due in {due_in:.0f} s")
        return self.verdict(why)._replace(due_in=due_in)


def _judge_alone(
    offender: Offender,
    snapshot: Snapshot,
    options: Options,
    protect: Collection[re.Pattern[str]],
) -> Verdict:
    """The verdict on one offender without regard to the others."""
    room = _where_zombies_take_room(
        pressure.of(snapshot, offender, options.pressure), snapshot, options
    )
    full = room.level == pressure.FULL
    countable = tuple(zombie for zombie in offender.zombies if _collectable(zombie, full))
    due = tuple(zombie for zombie in countable if _age(zombie, full) >= options.min_age)
    case = _Case(
        offender=offender,
        snapshot=snapshot,
        options=options,
        room=room,
        countable=countable,
        old_enough=due,
    )
    alone = spared(offender, options, protect)
    if alone:
        return case.verdict(alone)
    if all(zombie.canary for zombie in offender.zombies):
        return case.verdict(
            Why(
                "own_canary", "all it holds is the canary of an audit, which is no fault of its own"
            )
        )
    if not countable:
        return case.verdict(_held_by_others(offender))
    suspended = None if full else _suspended(offender)
    if suspended:
        return case.verdict(suspended)
    if len(countable) < options.min_zombies and not full:
        return case.verdict(Why("too_few", f"fewer than min_zombies: {options.min_zombies}"))
    if not options.remedies:
        return case.verdict(Why("report_only", "report only: no remedies are set"))
    if not room.is_short:
        return _where_there_is_room(case)
    if len(due) < (1 if full else options.min_zombies):
        count = f"only {len(due)}" if due else "none"
        ages = sorted((_age(zombie, full) for zombie in countable), reverse=True)
        return case.too_young(
            f"{count} of its zombies reached min_age: {options.min_age} s (the first of them was"
            f" seen {int(ages[0])} s ago); it may yet wait for them",
            ages[0 if full else max(options.min_zombies, 1) - 1],
        )
    remedies = tuple(
        remedy for remedy in options.remedies if remedy != "reap" or not snapshot.refusal
    )
    if snapshot.refusal and not remedies:
        return case.verdict(
            Why("reap_impossible", f"only reap is among the remedies, and {snapshot.refusal[1]}")
        )
    less = (
        None
        if _is_full_node(room) or "terminate" not in options.remedies
        else _not_to_be_ended(offender, options, room)
    )
    if less:
        return case.verdict(less, without_terminate(remedies))
    youngest = min(_age(zombie, full) for zombie in due)
    return case.verdict(Why("act", f"{len(due)} held for {int(youngest)} s or longer"), remedies)


def _where_zombies_take_room(room: Room, snapshot: Snapshot, options: Options) -> Room:
    """Room, where it is living processes that fill a cgroup: giving up the statuses of a few
    zombies there would gain none.

    Such a cgroup harms nobody but its owner. On the node every single zombie counts.
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


def _held_by_others(offender: Offender) -> Why:
    """Why it could collect none of its zombies."""
    if any(zombie.num_threads > 1 for zombie in offender.zombies):
        return Why(
            "leader_dead_threads_alive",
            "its child's first thread has exited, but others live on: nobody can collect it yet",
        )
    # the rest are canaries
    tracer = next(zombie.tracer_pid for zombie in offender.zombies if zombie.tracer_pid)
    holder = f"PID {tracer}" if tracer > 0 else "which was not looked up"
    return Why("traced", f"its zombies are held by their tracer, {holder}")


def _suspended(offender: Offender) -> Why | None:
    """Why it cannot do anything just now."""
    if offender.frozen:
        return Why(
            "parent_frozen", "its container is paused: it cannot collect anything until it goes on"
        )
    if offender.suspended:
        return Why(
            "parent_stopped",
            "it is stopped (by a signal or a debugger) and cannot collect anything",
        )
    if offender.state == "D":
        return Why(
            "parent_uninterruptible",
            "it is in uninterruptible sleep: no signal reaches it now",
        )
    return None


def _where_there_is_room(case: _Case) -> Verdict:
    """The verdict where nobody is signalled or ended. Only zombies that nobody will ask for are
    collected, and those that have become far too many.
    """
    options, taken = case.options, in_words(case.room)
    due = tuple(zombie for zombie in case.old_enough if zombie.is_orphan) + _leaked(
        case.old_enough, options
    )
    if not due and any(zombie.is_orphan for zombie in case.countable):
        oldest = max(zombie.age for zombie in case.countable if zombie.is_orphan)
        return case.too_young(
            f"nobody will ask for its orphans, but the first of them was seen {int(oldest)} s"
            f" ago, less than min_age: {options.min_age}",
            oldest,
        )
    if not due:
        return case.verdict(
            Why(
                "may_be_waited_for",
                f"it may still ask for its zombies, and there is room ({taken} taken): no harm is"
                " done",
            )
        )
    if len(due) < options.min_zombies:
        return case.verdict(
            Why(
                "too_few",
                f"fewer than min_zombies: {options.min_zombies} are to be collected while there is"
                " room",
            ),
            due=due,
        )
    if "reap" not in options.remedies:
        return case.verdict(
            Why(
                "only_reap",
                f"there is room ({taken} taken), so only reap may be tried, and it is not among the"
                " remedies",
            ),
            due=due,
        )
    if case.snapshot.refusal:
        return case.verdict(
            Why(
                "reap_impossible",
                f"there is room ({taken} taken), so only reap may be tried, and"
                f" {case.snapshot.refusal[1]}",
            ),
            due=due,
        )
    what = f"{len(due)} that nobody will ask for"
    if not all(zombie.is_orphan for zombie in due):
        what = (
            f"{len(due)} to collect: more than tolerate: {options.tolerate} are older than"
            f" {TOLERATED_FOR} s"
        )
    return case.verdict(Why("act", what), ("reap",), due)


def _leaked(old_enough: tuple[Zombie, ...], options: Options) -> tuple[Zombie, ...]:
    """The oldest of those that may be waited for: as many as exceed ``tolerate`` among those older
    than an hour.
    """
    old = sorted(
        (zombie for zombie in old_enough if not zombie.is_orphan and zombie.age >= TOLERATED_FOR),
        key=lambda zombie: -zombie.age,
    )
    return tuple(old[: max(0, len(old) - options.tolerate)])


def _not_to_be_ended(offender: Offender, options: Options, room: Room) -> Why | None:
    """Why no signal may end it in this sweep, though there is hardly any room."""
    if offender.ended_ago is not None and offender.ended_ago < options.cooldown:
        return Why(
            "cooldown",
            f"a parent of this workload was ended {int(offender.ended_ago)} s ago, less than"
            f" cooldown: {options.cooldown}",
        )
    if (
        offender.zombie_count > MAX_ORPHANS
        and room.level != pressure.FULL
        and offender.pid != offender.init_pid
    ):
        return Why(
            "too_many_orphans",
            f"its end would give {offender.zombie_count} zombies to one adopter at once, more than"
            f" {MAX_ORPHANS}, and nothing could start for about {offender.zombie_count / 1e6:.1f}"
            " s; there is room left to have it collect them, or to end its whole container",
        )
    return None


def in_words(room: Room) -> str:
    """How much is taken, of what."""
    of_what = "the process table" if room.where == pressure.NODE else "the PIDs of its cgroup"
    return f"{100 * room.share:.1f}% of {of_what}"


def _collectable(zombie: Zombie, full: bool = False) -> bool:
    """Whether it counts, and its parent could collect it: it is no canary, no tracer holds it, and
    none of its threads lives on.

    A parent can also collect what it traces itself, but then it is a debugger at work: such zombies
    count in a full table only.
    """
    if zombie.num_threads > 1 or zombie.canary:
        return False
    return not zombie.tracer_pid or full and zombie.tracer_pid == zombie.ppid


def _age(zombie: Zombie, full: bool) -> float:
    """Seconds for which it has been seen. Time under another parent counts too, or handing a zombie
    on would make it young: for an orphan once its adopter has had time to collect it, and for any
    zombie in a full table.
    """
    counts_with_all = full or zombie.is_orphan and zombie.age >= SETTLED
    return max(zombie.age, zombie.known_for or 0.0) if counts_with_all else zombie.age


def _no_more_than_needed(
    verdicts: tuple[Verdict, ...], options: Options, tried: Collection[tuple[int, int]]
) -> Iterator[Verdict]:
    """Where room is short, of the zombies that may be waited for only as many as make room, the
    oldest first, whoever holds them.

    Zombies of parents that hold more than ``tolerate`` come before: no program need give up a
    status for what another one leaks.
    """
    acting: dict[str, list[Verdict]] = {}  # by where room is short
    for verdict in verdicts:
        if verdict.remedies and verdict.room.is_short:
            acting.setdefault(verdict.room.where, []).append(verdict)
    whole_places, zombies_kept, made = set(), set(), 0
    # the node last: what is collected in cgroups makes room there too
    for where in sorted(acting, key=lambda where: where == pressure.NODE):
        here = acting[where]
        due = [zombie for verdict in here for zombie in verdict.due]
        needed = here[0].room.too_many(options.pressure)
        if where == pressure.NODE:
            needed -= made
        if needed >= len(due):
            whole_places.add(where)
            made += len(due)
            continue
        made += max(0, needed)
        leaking = {
            verdict.offender.pid
            for verdict in here
            if verdict.offender.zombie_count > options.tolerate
        }
        due.sort(key=lambda zombie: (not zombie.is_orphan, zombie.ppid not in leaking, -zombie.age))
        for zombie in due:
            key = zombie.pid, zombie.start_ticks
            if zombie.is_orphan or needed > 0 or key in tried:
                zombies_kept.add(key)
                needed -= key not in tried
    for verdict in verdicts:
        room = verdict.room
        if not verdict.remedies or not room.is_short or room.where in whole_places:
            yield verdict
            continue
        kept = tuple(
            zombie for zombie in verdict.due if (zombie.pid, zombie.start_ticks) in zombies_kept
        )
        if not kept:
            yield verdict.limited_to(
                (),
                Why(
                    "older_first",
                    "its zombies may still be waited for, and older ones are enough to make room",
                ),
            )
        elif verdict.reason == "act":
            yield verdict._replace(due=kept, explanation=f"{len(kept)} of the oldest, to make room")
        else:
            yield verdict._replace(due=kept)


def _drop_futile_terminate(verdicts: Iterable[Verdict], options: Options) -> Iterator[Verdict]:
    """Take ``terminate`` from parents whose end would only move their zombies to an init that does
    not reap.

    That init does not reap if it has itself held zombies for ``min_age``: then either its own end
    clears the namespace, or nothing does. Or if it left the canary of an audit uncollected: then
    the zombies are for ``reap``, once it has them.
    """
    verdicts = tuple(verdicts)
    by_pid: dict[int | None, Verdict] = {verdict.offender.pid: verdict for verdict in verdicts}
    for verdict in verdicts:
        offender = verdict.offender
        init = by_pid.get(offender.init_pid)
        init_with_zombies = init if init and _keeps_some(init.offender, options) else None
        leaks = init_with_zombies is not None or offender.init_reaps is False
        if (
            "terminate" not in verdict.remedies
            or offender.pid == offender.init_pid
            or not leaks
            or (verdict.room.level == pressure.FULL and init_with_zombies is None)
        ):
            yield verdict
            continue
        remedies = without_terminate(verdict.remedies)
        if init_with_zombies is None:
            yield _for_an_adopter_that_leaks(verdict, remedies)
        elif "terminate" in init_with_zombies.remedies:
            yield verdict.limited_to(
                remedies,
                Why(
                    "ends_with_init",
                    f"its PID namespace ends with its init, PID {offender.init_pid}, which keeps"
                    " zombies itself",
                ),
            )
        else:
            yield verdict.limited_to(
                remedies,
                Why(
                    "adopter_does_not_reap",
                    f"its zombies would only move to PID {offender.init_pid}, which keeps those it"
                    f" has and is left alone ({init_with_zombies.reason})",
                ),
            )


def _keeps_some(init: Offender, options: Options) -> bool:
    """Whether it has held any zombie for ``min_age``."""
    return any(_collectable(zombie) and zombie.age >= options.min_age for zombie in init.zombies)


def _for_an_adopter_that_leaks(verdict: Verdict, gentler: tuple[str, ...]) -> Verdict:
    adopter = (
        f"PID {verdict.offender.init_pid}, the init of its PID namespace, which did not collect the"
        " canary of an audit"
    )
    if "reap" in gentler:
        return verdict._replace(
            explanation=(
                f"{verdict.explanation}; if it is ended, its zombies go to {adopter}: reap is then"
                " for that one"
            )
        )
    return verdict.limited_to(
        gentler,
        Why(
            "adopter_does_not_reap",
            f"its zombies would only move to {adopter}; reap among the remedies would help, or the"
            " end of that container",
        ),
    )


def _cap(
    verdicts: Iterable[Verdict], options: Options, already_terminated: int
) -> tuple[Verdict, ...]:
    """Take ``terminate`` from parents beyond ``max_parents``, those with fewest zombies, and from
    all but one container of a workload, so that its replicas do not end together. Parents that were
    to end with one of them get its reason.

    A full node knows no such limits; a full cgroup does, since it harms its owner only.
    """
    capped = []
    spared_for: dict[int | None, Why] = {}  # by PID of the parent
    containers: dict[object, str] = {}  # that may end, by identity of the workload
    for verdict in verdicts:
        if "terminate" in verdict.remedies and not _is_full_node(verdict.room):
            pid, workload = verdict.offender.pid, verdict.offender.workload
            if (
                workload.container_id
                and containers.setdefault(workload.identity, workload.container_id)
                != workload.container_id
            ):
                spared_for[pid] = Why(
                    "cooldown",
                    "another container of this workload comes first; of its replicas only one is"
                    f" ended within cooldown: {options.cooldown}",
                )
            else:
                already_terminated += 1
                if options.max_parents and already_terminated > options.max_parents:
                    spared_for[pid] = Why(
                        "max_parents",
                        "parents with more zombies come first in this sweep (max_parents:"
                        f" {options.max_parents})",
                    )
            verdict = _leave_for_later(verdict, spared_for.get(pid))
        capped.append(verdict)
    return tuple(
        (
            _leave_for_later(verdict, spared_for.get(verdict.offender.init_pid))
            if verdict.reason == "ends_with_init"
            else verdict
        )
        for verdict in capped
    )


def _is_full_node(room: Room) -> bool:
    return room.level == pressure.FULL and room.where == pressure.NODE


def _leave_for_later(verdict: Verdict, why: Why | None) -> Verdict:
    if why is None:
        return verdict
    return verdict.limited_to(without_terminate(verdict.remedies), why)


def without_terminate(remedies: tuple[str, ...]) -> tuple[str, ...]:
    """The gentler ones."""
    return tuple(remedy for remedy in remedies if remedy != "terminate")


def _words(command_line: bytes | None) -> bytes | None:
    return command_line.replace(b"\0", b" ").strip() if command_line else None
