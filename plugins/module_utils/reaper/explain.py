# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sweep would do with one process, and why, in sentences. Changes nothing."""

from __future__ import annotations

import time

from . import inits, observe, policy, report
from .procfs import ProcFS
from .remedies.terminate import ignores_sigterm
from .state import Memory
from .sweep import sweep


class NoSuchProcess(Exception):
    """There is no process with that PID on this node. The message says so."""


def explain(pid: int, options: policy.Options, paths) -> list:
    """Sentences (str, printable) about this process. paths: :class:`.sweep.Paths`.

    Raises :class:`NoSuchProcess`, and :class:`.files.CannotSweep` as a sweep does.
    """
    procfs = ProcFS(paths.proc)
    done = sweep(options, paths, check_mode=True)
    verdicts = {result.verdict.offender.pid: result.verdict for result in done.results}
    memory = Memory(paths.run, procfs)
    memory.load(required=False)
    observer = observe.Observer(procfs, paths, memory.history(), time.monotonic())
    stat = procfs.stat(pid)
    if stat is None:
        raise NoSuchProcess("there is no process %d on this node" % pid)
    if pid in verdicts:
        return _parent(verdicts[pid], verdicts, observer, options)
    if stat.state == "Z":
        sentences = ["PID %d (%s) is a zombie: it has exited, and its parent has not waited for it. Nothing can be done to it." % (
            pid, report.printable(stat.comm))]
        if stat.ppid in verdicts:
            return sentences + ["So it is about its parent."] + _parent(verdicts[stat.ppid], verdicts, observer, options)
        return sentences + ["Its parent is outside this PID namespace or has just ended, so nothing can be done here."]
    process = observer.offender(pid)
    if process is None:
        raise NoSuchProcess("process %d has just ended" % pid)
    return _who(process, verdicts, observer) + _without_zombies(process, options)


def _parent(verdict, verdicts, observer, options) -> list:
    offender = verdict.offender
    counted = "%s; the oldest was first seen %s ago. %s (min_age: %d)." % (
        report.plural(offender.count, "zombie"), report.duration_in_words(max(zombie.age for zombie in offender.zombies)),
        "None of them counts" if not verdict.ripe else "All of them count" if len(verdict.ripe) == len(offender.zombies)
        else "%d of them count" % len(verdict.ripe), options.min_age)
    sentences = _who(offender, verdicts, observer) + ["It holds " + counted]
    if not verdict.remedies:
        return sentences + ["A sweep now would leave it alone: %s (%s)." % (report.printable(verdict.explanation, 1000), verdict.reason)]
    sentences.append("A sweep now would act on it%s, one remedy after the other, as long as zombies are left:" % (
        ": " + report.printable(verdict.explanation, 1000) if verdict.reason == "act" else ""))
    sentences += ["  %d. %s: %s" % (place + 1, name, _REMEDIES[name](offender, options)) for place, name in enumerate(verdict.remedies)]
    if verdict.reason != "act":
        sentences.append("It would go no further: %s (%s)." % (report.printable(verdict.explanation, 1000), verdict.reason))
    return sentences


def _without_zombies(process, options) -> list:
    alone = policy.spared(process, options, policy.compiled(options))
    sentences = ["It holds no zombies, so a sweep does nothing to it."]
    if alone:
        reason, why = alone[0], report.printable(alone[1].replace("the parent", "it"), 1000)
        return sentences + ["If it kept some, it would still be left alone: %s (%s)." % (why, reason)]
    tried = ", then ".join(options.remedies) or "nothing: remedies is empty"
    return sentences + ["If it kept %s for %d s (min_age), a sweep would try %s." % (
        report.plural(options.min_zombies, "zombie"), options.min_age, tried)]


def _who(process, verdicts, observer) -> list:
    """Which process it is, where, and who is PID 1 there."""
    executable = report.printable(process.executable) or "an executable that cannot be read"
    sentences = ["PID %d (%s) runs %s as UID %d %s." % (
        process.pid, report.printable(process.comm), executable, process.status.uid, report.place(report.as_workload(process.workload)))]
    if process.status.in_own_pid_namespace:
        return sentences
    if process.init_pid is None:
        return sentences + ["PID 1 of its PID namespace was not found."]
    init = observer.offender(process.init_pid)
    who = "It is" if process.pid == process.init_pid else "PID %d (%s) is" % (process.init_pid, report.printable(init.comm) if init else "?")
    return sentences + ["%s PID 1 of its PID namespace%s." % (who, _reaps(process, init, verdicts, observer))]


def _reaps(process, init, verdicts, observer) -> str:
    if process.init_pid in verdicts and verdicts[process.init_pid].ripe:
        return ", which keeps zombies"
    if process.init_reaps is not None:
        return ", which %s the canary of an audit" % ("collected" if process.init_reaps else "did not collect")
    evidence = inits.look_at(observer.procfs, init.pid, init.status) if init else ()
    verdict = inits.conclude(evidence)
    why = ", ".join(each.detail for each in evidence if each.verdict == verdict)
    return "; whether that collects orphans is not known" if verdict == inits.UNKNOWN else ", which %s orphans, it seems (%s)" % (
        "collects" if verdict == inits.REAPS else "does not collect", report.printable(why))


def _nudge(offender, _options) -> str:
    handled = offender.status.caught & inits.SIGCHLD_BIT
    return "SIGCHLD again, for which it has %s handler" % ("a" if handled else "no")


def _reap(_offender, _options) -> str:
    return "it is stopped for some milliseconds, collects them itself, and goes on"


def _terminate(offender, options) -> str:
    how = "SIGTERM, and SIGKILL if it is there after %g s" % options.grace
    if ignores_sigterm(offender):
        how = "SIGTERM, which has no effect on it, and SIGKILL after %g s" % options.grace
    if offender.pid == offender.init_pid:
        return how + "; that ends its container"
    return "%s; its zombies then go to %s" % (
        how, "PID %d" % offender.init_pid if offender.init_pid else "PID 1 of its PID namespace")


_REMEDIES = {"nudge": _nudge, "reap": _reap, "terminate": _terminate}
