# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sweep would do with one process, and why, in sentences. Changes nothing."""

from __future__ import annotations

import time

from . import policy, pressure, report
from .errors import NoSuchProcess
from .kernel.procfs import ProcFS
from .node import inits, observe
from .options import Options
from .remedies.terminate import ends_container, gets_sigterm, ignores_sigterm
from .state import Memory
from .sweep import sweep


def explain(pid: int, options: Options, paths) -> list:
    """Sentences (str, printable) about this process. paths: :class:`.paths.Paths`.

    Raises :class:`NoSuchProcess`, and :class:`.errors.CannotSweep` as a sweep does.
    """
    procfs = ProcFS(paths.proc)
    done = sweep(options, paths, check_mode=True)
    verdicts = {result.verdict.offender.pid: result.verdict for result in done.results}
    memory = Memory(paths.run, procfs)
    memory.load(required=False)
    observer = observe.Observer(procfs, paths, memory.history(), time.monotonic())
    stat = procfs.stat(pid)
    if stat is None:
        raise NoSuchProcess(f"there is no process {pid} on this node")
    if pid in verdicts:
        return _parent(verdicts[pid], verdicts, observer, options)
    if stat.state == "Z":
        sentences = [
            f"PID {pid} ({report.printable(stat.comm)}) is a zombie: it has exited, and"
            " its parent has not waited for it. Nothing"
            " can be done to it."
        ]
        if stat.ppid in verdicts:
            return (
                sentences
                + ["So it is about its parent."]
                + _parent(verdicts[stat.ppid], verdicts, observer, options)
            )
        return sentences + [
            "Its parent is outside this PID namespace or has just ended, so nothing can be done"
            " here."
        ]
    process = observer.offender(pid)
    if process is None:
        raise NoSuchProcess(f"process {pid} has just ended")
    return _who(process, verdicts, observer) + _without_zombies(process, options)


def _parent(verdict, verdicts, observer, options) -> list:
    offender = verdict.offender
    counted = "%s; the oldest was first seen %s ago. %s (min_age: %d)." % (
        report.plural(offender.zombie_count, "zombie"),
        report.duration_in_words(max(zombie.age for zombie in offender.zombies)),
        (
            "None of them counts"
            if not verdict.due
            else (
                "All of them count"
                if len(verdict.due) == len(offender.zombies)
                else f"{len(verdict.due)} of them count"
            )
        ),
        options.min_age,
    )
    sentences = _who(offender, verdicts, observer) + [
        "It holds " + counted,
        *_claims(offender),
        _room(verdict.room),
    ]
    if not verdict.remedies:
        return sentences + [
            "A sweep now would leave it alone:"
            f" {report.printable(verdict.explanation, 1000)} ({verdict.reason})."
        ]
    sentences.append(
        "A sweep now would act on it%s, one remedy after the other, as long as zombies are left:"
        % (": " + report.printable(verdict.explanation, 1000) if verdict.reason == "act" else "")
    )
    sentences += [
        f"  {place + 1}. {name}: {_REMEDIES[name](offender, options, observer.procfs)}"
        for place, name in enumerate(verdict.remedies)
    ]
    if verdict.reason != "act":
        sentences.append(
            f"It would go no further: {report.printable(verdict.explanation, 1000)}"
            f" ({verdict.reason})."
        )
    return sentences


def _claims(offender) -> list:
    """Whether anybody may still ask for its zombies, and how that is known."""
    sentences, others = [], len(offender.zombies) - offender.orphans
    for evidence in sorted({zombie.evidence for zombie in offender.zombies if zombie.is_orphan}):
        number = sum(zombie.evidence == evidence for zombie in offender.zombies if zombie.is_orphan)
        sentences.append(
            f"Nobody will ask for {number} of them: {evidence}."
            if number > 1
            else f"Nobody will ask for one of them: {evidence}."
        )
    if others:
        sentences.append(
            "%s may still be waited for: nothing shows that another process started %s."
            % (("One", "it") if others == 1 else (others, "them"))
        )
    return sentences


def _room(room) -> str:
    taken = f"{policy.in_words(room)} is taken"
    return {
        pressure.ROOM: "There is room: %s.",
        pressure.PRESSURE: "Room is short: %s.",
        pressure.FULL: "There is hardly any room: %s.",
    }[room.level] % taken


def _without_zombies(process, options) -> list:
    alone = policy.spared(process, options, policy.compiled(options))
    sentences = ["It holds no zombies, so a sweep does nothing to it."]
    if alone:
        reason, why = alone[0], report.printable(alone[1].replace("the parent", "it"), 1000)
        return sentences + [f"If it kept some, it would still be left alone: {why} ({reason})."]
    if not options.remedies:
        return sentences + ["If it kept some, a sweep would try nothing: remedies is empty."]
    return sentences + [
        "If it kept orphans for %d s (min_age), a sweep would %s. What it started itself it may"
        " keep while there is room."
        % (
            options.min_age,
            (
                "collect them"
                if "reap" in options.remedies
                else "leave them while there is room, since reap is not among the remedies"
            ),
        ),
        f"Where room is short (pressure: {options.pressure:g}), a sweep would try"
        f" {', then '.join(options.remedies)}.",
    ]


def _who(process, verdicts, observer) -> list:
    """Which process it is, where, and who is PID 1 there."""
    executable = report.printable(process.executable) or "an executable that cannot be read"
    sentences = [
        f"PID {process.pid} ({report.printable(process.comm)}) runs {executable} as UID"
        f" {process.status.uid} {report.place(report.as_workload(process.workload))}."
    ]
    if process.status.in_own_pid_namespace:
        return sentences
    if process.init_pid is None:
        return sentences + ["PID 1 of its PID namespace was not found."]
    init = observer.offender(process.init_pid)
    who = (
        "It is"
        if process.pid == process.init_pid
        else "PID %d (%s) is" % (process.init_pid, report.printable(init.comm) if init else "?")
    )
    return sentences + [
        f"{who} PID 1 of its PID namespace{_reaps(process, init, verdicts, observer)}."
    ]


def _reaps(process, init, verdicts, observer) -> str:
    if process.init_pid in verdicts and verdicts[process.init_pid].due:
        return ", which keeps zombies"
    if process.init_reaps is not None:
        return ", which %s the canary of an audit" % (
            "collected" if process.init_reaps else "did not collect"
        )
    evidence = inits.look_at(observer.procfs, init.pid, init.status) if init else ()
    verdict = inits.conclude(evidence)
    why = ", ".join(each.detail for each in evidence if each.verdict == verdict)
    return (
        "; whether that collects orphans is not known"
        if verdict == inits.UNKNOWN
        else ", which %s orphans, it seems (%s)"
        % ("collects" if verdict == inits.REAPS else "does not collect", report.printable(why))
    )


def _nudge(offender, _options, _procfs) -> str:
    handled = offender.status.caught & inits.SIGCHLD_BIT
    return "SIGCHLD again, for which it has %s handler" % ("a" if handled else "no")


def _reap(_offender, _options, _procfs) -> str:
    return "it is stopped for some milliseconds, collects them itself, and goes on"


def _terminate(offender, options, procfs) -> str:
    how = "SIGKILL, so that whoever waits for it sees that it failed"
    if gets_sigterm(procfs, offender):
        how = f"SIGTERM, and SIGKILL if it is there after {options.grace:g} s"
        if ignores_sigterm(offender):
            how = f"SIGTERM, which has no effect on it, and SIGKILL after {options.grace:g} s"
    ends = ends_container(procfs, offender)
    if ends:
        return f"{how}. {ends}"
    return "%s; its zombies then go to %s" % (
        how,
        f"PID {offender.init_pid}" if offender.init_pid else "PID 1 of its PID namespace",
    )


_REMEDIES = {"nudge": _nudge, "reap": _reap, "terminate": _terminate}
