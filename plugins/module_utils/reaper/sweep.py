# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sweep: observe, judge, remedy, confirm, report. Holds the lock and the state; no other file
keeps any.

Everything under :class:`Paths` can be replaced by a test. No fork, no exec, no thread: this runs
when the process table is full.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import namedtuple

from . import metrics, policy, pressure
from .errors import Busy, CannotSweep
from .files import locked, write
from .kernel import tracing
from .kernel.procfs import SECCOMP_FILTER, ProcFS
from .log import to_syslog
from .node import observe, stuck
from .options import Options
from .paths import LAST_REPORT, Paths
from .preflight import check_node
from .remedies.nudge import nudge
from .remedies.reap import reap
from .remedies.terminate import terminate
from .report import Report, Result, as_json, parent_in_words
from .state import Memory

PASSES = 3  # of reap, where older zombies that were to make room could not be collected
# a zombie whose parent was ended may meet a second adopter that does not wait, hardly a third
ROUNDS = 3
SETTLE = 2.5  # seconds an adopter gets to collect what it adopted; supervisord needs up to 2


def sweep(
    options: Options,
    paths: Paths = Paths(),
    check_mode: bool = False,
    wait: bool = False,
    until_reported=None,
    resident=None,
) -> Report:
    """Run one sweep and return its :class:`.report.Report`.

    check_mode: decide in the same way, do nothing, write nothing.
    wait: for zombies that only need to grow older, at most ``min_age`` seconds (an ad-hoc sweep). A
    scheduled one does not wait: it notes what it saw, and the next one acts. Nothing is locked
    while waiting.
    until_reported: a contextlib.ExitStack. Once something is done, SIGTERM and its like end nothing
    before that is closed; without one, not before this function returns.
    resident: :class:`Resident`, of a process that sweeps again and again. Raises
    :class:`.errors.CannotSweep` before anything was done.
    """
    try:
        return _sweep(options, paths, check_mode, wait, until_reported, resident)
    except Busy:
        raise
    except (CannotSweep, OSError, MemoryError):
        if not check_mode:
            metrics.failed(paths)
        raise


def _sweep(options, paths, check_mode, wait, until_reported, resident) -> Report:
    began = time.monotonic()
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    run = _Run(options, paths, procfs, resident or Resident(Memory(paths.run, procfs), None))
    run.remember(required=not check_mode)
    before, verdicts = run.look()
    if wait:
        before, verdicts = run.wait_for_age(before, verdicts)
    if check_mode:
        results = tuple(Result(verdict, (), None) for verdict in verdicts)
        return Report(
            before,
            before,
            results,
            options,
            True,
            time.monotonic() - began,
            run.refusals(before),
            stuck=run.stuck(before),
        )
    with contextlib.ExitStack() as until_returned:
        if any(verdict.remedies for verdict in verdicts):
            with locked(paths.run):
                (until_reported or until_returned).enter_context(_signals_noted(run.stop_requested))
                run.remember(required=True)  # another sweep may have acted while this one waited
                before, verdicts = run.look()
                run.escalate(verdicts, {verdict.offender.pid for verdict in verdicts})
        warnings = run.follow_up(wait)
        results, after = run.confirm(verdicts, before)
        warnings += run.ended_early() + run.refusals(before)
        return run.record(
            Report(
                before,
                after,
                results,
                options,
                False,
                time.monotonic() - began,
                warnings,
                bool(run.stop_requested),
                run.stuck(after),
            )
        )


class Resident(namedtuple("Resident", ("memory", "ledger"))):
    """What is kept from one sweep to the next where the process stays: :class:`.state.Memory` and
    :class:`.cgroups.Ledger`.
    """

    __slots__ = ()


class _Run:
    """What one sweep carries from step to step."""

    def __init__(self, options, paths, procfs, resident) -> None:
        self.options = options
        self.paths = paths
        self.procfs = procfs
        self.memory, self.ledger = resident
        # of earlier sweeps: within one, a cooldown begun would forbid to follow up
        self.ended_before = {}
        self.judged = {}  # (pid, start_ticks) -> the first verdict that let a remedy act
        self.outcomes = {}  # (pid, start_ticks) -> list of Outcome
        self.terminated = 0
        self.tried = set()  # (pid, start_ticks) of zombies that a remedy was for in vain
        refused = tracing.node_refusal(procfs)
        self.refusal = (refused.word, str(refused)) if refused else None
        self.stop_requested = []  # numbers of signals

    def remember(self, required: bool) -> None:
        """Read what earlier sweeps noted. required: whether a file that is there but cannot be read
        is an error.
        """
        self.memory.load(required)
        self.ended_before = dict(self.memory.ended.times)

    def look(self) -> tuple:
        """(snapshot, verdicts) of this moment; what is new is noted as first seen now."""
        now = time.monotonic()
        history = self.memory.history()._replace(ended=self.ended_before)
        snapshot = observe.snapshot(
            self.procfs, self.paths, history, now, self.ledger, self.refusal
        )
        self.memory.note_seen(snapshot, now)
        verdicts = policy.judge(snapshot, self.options, self.terminated, self.tried)
        return snapshot, tuple(self._with_those_inside(verdict) for verdict in verdicts)

    def _with_those_inside(self, verdict):
        """Without ``terminate`` where it would take a protected process along: all of a PID
        namespace ends with its PID 1.
        """
        offender = verdict.offender
        if (
            self.options.protect
            and "terminate" in verdict.remedies
            and offender.pid == offender.init_pid
        ):
            protect = policy.compiled(self.options)
            for pid, executable, command_line in observe.members(
                self.procfs, offender.workload.pid_namespace
            ):
                pattern = policy.matching(executable, command_line, protect)
                if pattern:
                    return policy.spare_for(verdict, pid, pattern)
        return verdict

    def wait_for_age(self, snapshot, verdicts, only=None) -> tuple:
        """Look again when all that is merely too young has come of age or has gone. only: PIDs of
        parents to wait for.
        """
        young = [
            verdict.offender
            for verdict in verdicts
            if verdict.reason == "too_young" and (only is None or verdict.offender.pid in only)
        ]
        if not young:
            return snapshot, verdicts
        youngest = min(zombie.age for offender in young for zombie in offender.zombies)
        deadline = time.monotonic() + self.options.min_age - youngest
        while young and time.monotonic() < deadline and not self.stop_requested:
            time.sleep(max(0.0, min(0.5, deadline - time.monotonic())))
            young = [offender for offender in young if self._holds_any(offender)]
        return self.look()

    def _holds_any(self, offender) -> bool:
        return any(
            zombie.ppid == offender.pid for zombie in observe.still_zombies(self.procfs, offender)
        )

    def escalate(self, verdicts, targets) -> None:
        """Try each remedy on those of the targets (PIDs) that still need it, judged afresh after
        each.

        A harder one is only for zombies that the gentler ones were for too, with this very parent:
        what has come of age or was inherited meanwhile is left to the next sweep.
        """
        due = {(*_key(zombie), zombie.ppid) for verdict in verdicts for zombie in verdict.due}
        began = time.monotonic()
        for name in self.options.remedies:
            for one_pass in range(PASSES if name == "reap" else 1):
                acting = [
                    verdict
                    for verdict in verdicts
                    if name in verdict.remedies and verdict.offender.pid in targets
                ]
                if one_pass:
                    # for others, in place of those that could not be collected; what came of age
                    # since is for the next sweep
                    ago = time.monotonic() - began
                    acting = [
                        _only(
                            verdict,
                            lambda zombie: (
                                _key(zombie) not in self.tried
                                and zombie.age - ago >= self.options.min_age  # noqa: B023
                            ),
                        )
                        for verdict in acting
                    ]
                    due.update(
                        (*_key(zombie), zombie.ppid) for verdict in acting for zombie in verdict.due
                    )
                    for verdict in acting:
                        self._note_judged(verdict)
                acting = [
                    _only(verdict, lambda zombie: (*_key(zombie), zombie.ppid) in due)
                    for verdict in acting
                ]
                acting = [verdict for verdict in acting if verdict.due]
                if not acting or self.stop_requested:
                    break
                targets = targets - self._apply(name, acting)
                verdicts = self.look()[1]

    def follow_up(self, wait) -> tuple:
        """The same for whoever adopted zombies of a parent that was ended, in bounded rounds.
        Returns warnings.

        An adopter is judged like anybody, so its zombies have to reach min_age with it; an ad-hoc
        sweep waits for that.
        """
        for _round in range(ROUNDS - 1):
            adopters = self._adopters()
            if not adopters or self.stop_requested:
                break
            if wait:
                self.wait_for_age(*self.look(), adopters)
            try:
                with locked(self.paths.run):
                    verdicts = self.look()[1]
                    for verdict in verdicts:
                        if verdict.offender.pid in adopters:
                            self.judged.setdefault(_key(verdict.offender), verdict)
                    self.escalate(verdicts, adopters)
            except CannotSweep as error:
                return (f"adopters were not followed up: {error}",)
        return ()

    def refusals(self, snapshot) -> tuple:
        """Warnings: why this node does without ``reap``, for all parents or for those that have a
        seccomp filter. Nothing has to be tried for that.
        """
        if "reap" not in self.options.remedies:
            return ()
        if self.refusal:
            return (f"reap is impossible on this node: {self.refusal[1]}",)
        filtered = any(offender.status.seccomp == SECCOMP_FILTER for offender in snapshot.offenders)
        refused = tracing.filter_refusal(self.procfs) if filtered else None
        return (
            (f"reap is impossible in most containers of this node: {refused}",) if refused else ()
        )

    def stuck(self, snapshot) -> tuple:
        """:class:`.stuck.Stuck` of containers that cannot end for what a process of the node holds.

        Seen for ``min_age``, since any ``docker exec`` may hold one for a moment.
        """
        of_node = tuple(
            offender for offender in snapshot.offenders if offender.status.in_own_pid_namespace
        )
        if not of_node:
            return ()
        observer = observe.Observer(
            self.procfs, self.paths, self.memory.history(), time.monotonic()
        )
        found = stuck.stuck_namespaces(observer, snapshot._replace(offenders=of_node))
        return tuple(each for each in found if each.age >= self.options.min_age)

    def ended_early(self) -> tuple:
        """The warning to give when this process was asked to end; none otherwise."""
        if not self.stop_requested:
            return ()
        import signal

        return (
            f"asked to end by {signal.Signals(self.stop_requested[0]).name}: the rest is"
            " left to the next sweep",
        )

    def _apply(self, name, acting) -> set:
        """Try one remedy on all; returns the PIDs of those for whom nothing harder may follow, as
        the same may yet do more.
        """
        if name == "terminate":  # where containers are nested, the outer one first
            acting.sort(key=lambda verdict: len(verdict.offender.status.ns_pid))
        offenders = [verdict.offender._replace(zombies=verdict.due) for verdict in acting]
        if name == "nudge":
            outcomes = nudge(self.procfs, offenders)
        elif name == "reap":
            outcomes = reap(self.procfs, offenders, self.stop_requested)
        else:
            outcomes = terminate(self.procfs, offenders, self.options.grace, self.paths.kubelet)
        ended = []
        for verdict, offender, outcome in zip(acting, offenders, outcomes):
            self.judged.setdefault(_key(offender), verdict)
            self.outcomes.setdefault(_key(offender), []).append(outcome)
            self._note_tried(name, offender, outcome)
            if outcome.result == "parent_ended":
                ended.append(offender)
                self.memory.ended.note(offender.workload, time.monotonic())
                # whoever runs the sweep: nothing ends without a word on its node
                to_syslog("ended " + parent_in_words(offender), warning=True)
            elif outcome.cleared:
                self.memory.collected.note(*_key(offender), time.monotonic())
        self.terminated += len(ended)
        # at once, in case this process ends; record() reports a failure
        with contextlib.suppress(OSError):
            self.memory.ended.save()
        deadline = time.monotonic() + SETTLE
        while ended and time.monotonic() < deadline:
            ended = [offender for offender in ended if self._unsettled(offender)]
            if ended:
                time.sleep(0.02)
        return {
            outcome.pid
            for verdict, outcome in zip(acting, outcomes)
            if outcome.may_yet_help and (outcome.cleared or verdict.room.level != pressure.FULL)
        }

    def _note_judged(self, verdict) -> None:
        """Add the zombies that another pass is for to the first verdict that let a remedy act."""
        first = self.judged.setdefault(_key(verdict.offender), verdict)
        known = {_key(zombie) for zombie in first.due}
        self.judged[_key(verdict.offender)] = first._replace(
            due=first.due + tuple(zombie for zombie in verdict.due if _key(zombie) not in known)
        )

    def _note_tried(self, name, offender, outcome) -> None:
        """Which zombies are still with this parent. What its own waitid(2) does not give may be
        held by a tracer, as the next look finds out.
        """
        if outcome.result in ("cleared", "gone", "parent_ended"):
            return
        for zombie in observe.still_zombies(self.procfs, offender):
            if zombie.ppid == offender.pid:
                self.tried.add(_key(zombie))
                if name == "reap" and outcome.result in ("no_effect", "partly_cleared"):
                    self.memory.uncollected.note(*_key(zombie), time.monotonic())

    def _unsettled(self, offender) -> bool:
        """Whether anything of a parent that was ended still waits to be collected: a zombie it
        held, or itself.
        """
        stat = self.procfs.stat(offender.pid)
        if stat and stat.state == "Z" and stat.start_ticks == offender.start_ticks:
            return True
        return any(True for zombie in observe.still_zombies(self.procfs, offender))

    def _adopters(self) -> set:
        """PIDs that now hold zombies of parents which this sweep has ended."""
        found = set()
        for key, outcomes in self.outcomes.items():
            if outcomes[-1].result == "parent_ended":
                verdict = self.judged[key]
                due = verdict.offender._replace(zombies=verdict.due)
                found.update(zombie.ppid for zombie in observe.still_zombies(self.procfs, due))
        return found - {pid for pid, _start in self.outcomes}

    def confirm(self, verdicts, before) -> tuple:
        """(results, last snapshot): for each offender what is really left of the zombies that
        counted, and with whom.
        """
        results = []
        keys = {_key(verdict.offender) for verdict in verdicts}
        adopters = [verdict for key, verdict in self.judged.items() if key not in keys]
        for verdict in tuple(verdicts) + tuple(adopters):
            key = _key(verdict.offender)
            outcomes = tuple(self.outcomes.get(key, ()))
            left = None
            if outcomes:
                verdict = self.judged[key]
                left = tuple(
                    observe.still_zombies(
                        self.procfs, verdict.offender._replace(zombies=verdict.due)
                    )
                )
            results.append(Result(verdict, outcomes, left))
        return tuple(results), self.look()[0] if self.outcomes else before

    def record(self, report) -> Report:
        """Write what the next sweep, a reader on the node and its monitoring need; a failure of
        that is a warning in the report.
        """
        self._note_sizes(report.after)
        try:
            with locked(self.paths.run):
                self.memory.save()
                report = report._replace(
                    warnings=report.warnings + metrics.record(report, self.paths)
                )
                write(os.path.join(self.paths.run, LAST_REPORT), as_json(report))
        except (OSError, CannotSweep) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return report._replace(
                warnings=report.warnings + (f"{self.paths.run} cannot be written: {reason}",)
            )
        return report

    def _note_sizes(self, snapshot) -> None:
        now = time.monotonic()
        self.memory.sizes.note((observe.NODE,), snapshot.limits.tasks, now)
        for offender in snapshot.offenders:
            # ASCII without a blank, as the file wants it
            if offender.pids and re.fullmatch(r"[!-~]+", offender.pids.cgroup):
                self.memory.sizes.note((offender.pids.cgroup,), offender.pids.current, now)


@contextlib.contextmanager
def _signals_noted(numbers: list):
    """Signals that ask this process to end are noted in that list and end nothing for now; ignored
    ones stay ignored.
    """
    import signal

    handlers = {}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):  # None: not set from Python
            handlers[number] = handler
            signal.signal(number, lambda number, _frame: numbers.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _key(process) -> tuple:
    return process.pid, process.start_ticks


def _only(verdict, counts):
    return verdict._replace(due=tuple(zombie for zombie in verdict.due if counts(zombie)))
