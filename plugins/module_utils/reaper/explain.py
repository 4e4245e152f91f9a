# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sweep would do with one process, and why, in sentences. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping

from . import policy, pressure, report
from .errors import NoSuchProcess
from .kernel.procfs import ProcFS
from .node import cures, inits
from .node.observe import Observer
from .options import Options
from .remedies.terminate import ends_container, gets_sigterm, ignores_sigterm
from .state import Memory
from .sweep import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .node.observe import Offender
    from .paths import Paths
    from .policy import Verdict
    from .pressure import Room

MAX_EXPLANATION = 1000  # characters


def explain(pid: int, options: Options, paths: Paths) -> list[str]:
    """Printable sentences about this process.

    Raises :class:`NoSuchProcess`, and :class:`.errors.CannotSweep` as a sweep does.
    """
    procfs = ProcFS(paths.proc)
    done = sweep(options, paths, check_mode=True)
    verdicts = {result.verdict.offender.pid: result.verdict for result in done.results}
    memory = Memory(paths.run, procfs)
    memory.load(required=False)
    observer = Observer(procfs, paths, memory.history(), time.monotonic())
    stat = procfs.stat(pid)
    if stat is None:
        raise NoSuchProcess(f"there is no process {pid} on this node")
    if pid in verdicts:
        return _parent(verdicts[pid], verdicts, observer, options)
    if stat.state == "Z":
        is_a_zombie = (
            f"PID {pid} ({report.printable(stat.comm)}) is a zombie: it has exited, and its parent"
            " has not waited for it. Nothing can be done about it directly."
        )
        if stat.ppid in verdicts:
            return [
                is_a_zombie,
                "So this is about its parent:",
                *_parent(verdicts[stat.ppid], verdicts, observer, options),
            ]
        return [
            is_a_zombie,
            "Its parent is outside this PID namespace or has just ended, so nothing can be done"
            " here.",
        ]
    process = observer.offender(pid)
    if process is None:
        raise NoSuchProcess(f"process {pid} has just ended")
    return _who(process, verdicts, observer) + _without_zombies(process, options)


def _parent(
    verdict: Verdict, verdicts: Mapping[int, Verdict], observer: Observer, options: Options
) -> list[str]:
    offender = verdict.offender
    sentences = [
        *_who(offender, verdicts, observer),
        _zombies(verdict, options),
        *_claims(offender),
        _room(verdict.room),
    ]
    helps = _cures(offender, options)
    if helps and offender.workload.kind == "container" and verdict.reason != "may_be_waited_for":
        sentences.append(f"What helps: {helps}")
    why = report.printable(verdict.explanation, MAX_EXPLANATION)
    if not verdict.remedies:
        return [*sentences, f"A sweep now would leave it alone: {why} ({verdict.reason})."]
    due = f" ({why})" if verdict.reason == "act" else ""
    sentences.append(
        f"A sweep now would act on it{due}, one remedy after the other until no zombie is left:"
    )
    sentences += [
        f"  {place}. {name}: {_remedy(name, offender, options, observer.procfs)}"
        for place, name in enumerate(verdict.remedies, start=1)
    ]
    if verdict.reason != "act":
        sentences.append(f"It would go no further: {why} ({verdict.reason}).")
    return sentences


def _zombies(verdict: Verdict, options: Options) -> str:
    """How many zombies it holds, how old they are, and how many of them count."""
    offender = verdict.offender
    count = report.plural(offender.zombie_count, "zombie")
    oldest = report.duration_in_words(max(zombie.age for zombie in offender.zombies))
    if not verdict.due:
        due = "None of them counts"
    elif len(verdict.due) == len(offender.zombies):
        due = "All of them count"
    else:
        due = f"{len(verdict.due)} of them count"
    return (
        f"It holds {count}; the oldest was first seen {oldest} ago. {due} (min_age:"
        f" {options.min_age})."
    )


def _claims(offender: Offender) -> list[str]:
    """Whether anybody may still ask for its zombies, and how that is known."""
    sentences = []
    orphans = [zombie for zombie in offender.zombies if zombie.is_orphan]
    for evidence in sorted({zombie.evidence for zombie in orphans}):
        number = sum(zombie.evidence == evidence for zombie in orphans)
        count = str(number) if number > 1 else "one"
        sentences.append(f"Nobody will ask for {count} of them: {evidence}.")
    others = len(offender.zombies) - len(orphans)
    if others:
        count, them = ("One", "it") if others == 1 else (str(others), "them")
        sentences.append(
            f"{count} may still be waited for: nothing shows that another process started {them}."
        )
    return sentences


def _cures(offender: Offender, options: Options) -> str:
    """What would keep it from gathering those zombies that it has held for a while."""
    zombies = [
        zombie for zombie in offender.zombies if zombie.age >= options.min_age and not zombie.canary
    ]
    orphans = sum(zombie.is_orphan for zombie in zombies)
    return cures.in_words(
        cures.kept(
            orphans,
            len(zombies) - orphans,
            is_init=offender.pid == offender.init_pid,
            init_collects=offender.init_reaps,
        ),
        cures.place_of(offender.workload.kubernetes, offender.workload.runtime),
    )


def _room(room: Room) -> str:
    level = {
        pressure.ROOM: "There is room",
        pressure.PRESSURE: "Room is short",
        pressure.FULL: "There is hardly any room",
    }[room.level]
    return f"{level}: {policy.in_words(room)} is taken."


def _without_zombies(process: Offender, options: Options) -> list[str]:
    sentences = ["It holds no zombies, so a sweep does nothing to it."]
    alone = policy.spared(process, options, policy.compiled(options))
    if alone:
        why = report.printable(alone.explanation, MAX_EXPLANATION)
        return [
            *sentences,
            f"If it kept some, it would still be left alone: {why} ({alone.reason}).",
        ]
    if not options.remedies:
        return [*sentences, "If it kept some, a sweep would only report it: no remedies are set."]
    done = "leave them while there is room, since reap is not among the remedies"
    if "reap" in options.remedies:
        done = "collect them"
    return [
        *sentences,
        f"If it kept orphans for {options.min_age} s (min_age), a sweep would {done}. What it"
        " started itself it may keep while there is room.",
        f"Where room is short (pressure: {options.pressure:g}), a sweep would try"
        f" {', then '.join(options.remedies)}.",
    ]


def _who(process: Offender, verdicts: Mapping[int, Verdict], observer: Observer) -> list[str]:
    """Which process it is, where, and who is PID 1 there."""
    executable = report.printable(process.executable) or "an executable that cannot be read"
    sentences = [
        f"PID {process.pid} ({report.printable(process.comm)}) runs {executable} as UID"
        f" {process.status.uid} {report.place(report.as_workload(process.workload))}."
    ]
    if process.status.in_own_pid_namespace:
        return sentences
    if process.init_pid is None:
        return [*sentences, "PID 1 of its PID namespace was not found."]
    init = observer.offender(process.init_pid)
    who = "It is"
    if process.pid != process.init_pid:
        name = report.printable(init.comm) if init else "?"
        who = f"PID {process.init_pid} ({name}) is"
    reaps = _reaps(process, init, verdicts.get(process.init_pid), observer)
    return [
        *sentences,
        f"{who} PID 1 of its PID namespace{reaps}.",
    ]


def _reaps(
    process: Offender,
    init: Offender | None,
    verdict_on_init: Verdict | None,
    observer: Observer,
) -> str:
    """Whether the PID 1 of a process collects orphans, as the end of a sentence. init: that PID 1;
    None where it has just ended.
    """
    if verdict_on_init and verdict_on_init.due:
        return ", which keeps zombies"
    if process.init_reaps is not None:
        done = "collected" if process.init_reaps else "did not collect"
        return f", which {done} the canary of an audit"
    evidence = inits.look_at(observer.procfs, init.pid, init.status) if init else ()
    conclusion = inits.conclude(evidence)
    if conclusion == inits.UNKNOWN:
        return "; whether that collects orphans is not known"
    does = "collects" if conclusion == inits.REAPS else "does not collect"
    why = ", ".join(each.detail for each in evidence if each.verdict == conclusion)
    return f", which {does} orphans, it seems ({report.printable(why)})"


def _remedy(name: str, offender: Offender, options: Options, procfs: ProcFS) -> str:
    """What a remedy does to this parent."""
    if name == "nudge":
        handler = "a handler" if offender.status.caught & inits.SIGCHLD_BIT else "no handler"
        return f"SIGCHLD again, for which it has {handler}"
    if name == "reap":
        return "it is stopped for some milliseconds, collects them itself, and goes on"
    return _terminate(offender, options, procfs)


def _terminate(offender: Offender, options: Options, procfs: ProcFS) -> str:
    how = "SIGKILL, so that whoever waits for it sees that it failed"
    if gets_sigterm(procfs, offender):
        how = f"SIGTERM, and SIGKILL if it is still there after {options.grace:g} s"
        if ignores_sigterm(offender):
            how = f"SIGTERM, which has no effect on it, and SIGKILL after {options.grace:g} s"
    ends = ends_container(procfs, offender)
    if ends:
        return f"{how}. {ends}"
    adopter = f"PID {offender.init_pid}" if offender.init_pid else "PID 1 of its PID namespace"
    return f"{how}; its zombies then go to {adopter}"
