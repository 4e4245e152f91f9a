# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sweep: observe, judge, remedy, confirm, report.

No fork, no exec, no thread: this also has to work when the process table is full.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from . import metrics, policy, pressure
from .errors import Busy, CannotSweep
from .files import locked, write
from .kernel import tracing
from .kernel.procfs import SECCOMP_FILTER, ProcFS
from .log import to_syslog
from .node import observe, stuck
from .options import OFF, Options
from .paths import LAST_REPORT, Paths
from .preflight import check_node
from .record import Record
from .remedies.nudge import nudge
from .remedies.reap import reap
from .remedies.terminate import terminate
from .report import Report, Result, as_json, parent_in_words
from .state import Memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from .kernel.cgroups import Ledger
    from .node.foreign_scripts import ForeignScript
    from .node.observe import Offender, Snapshot, Zombie
    from .node.stuck import Stuck
    from .policy import Verdict
    from .remedies import Outcome

PASSES = 3  # of reap: the next one collects others if the oldest zombies could not be collected
# a zombie whose parent was ended may get a second adopter that does not wait, hardly a third
ROUNDS = 3
SETTLE = 2.5  # seconds an adopter gets to collect what it adopted; supervisord needs up to 2


class Reused(Record):
    """What the daemon keeps from one sweep to the next."""

    memory: Memory
    ledger: Ledger | None = None  # None: a new one is made for each look
    most_zombies: int | None = None  # that a look lists, as in zombies.find()


def sweep(
    options: Options,
    paths: Paths = Paths(),
    check_mode: bool = False,
    wait: bool = False,
    until_reported: contextlib.ExitStack | None = None,
    reused: Reused | None = None,
    defer: bool = False,
    reader: int | None = None,
    waiting: Callable[[float], None] = lambda _seconds: None,
) -> Report:
    """Run one sweep. Raises :class:`.errors.CannotSweep` only before it has acted.

    check_mode: make the same decisions, but act on nothing and write nothing.
    wait: for zombies that are merely too young, at most ``min_age`` seconds, without holding the
    lock; for sweeps by hand. A scheduled sweep notes what it saw, and the next one acts.
    until_reported: from the first action until this is closed, SIGTERM, SIGINT and SIGHUP are noted
    and do not end the process. Without it, until this function returns.
    defer: where zombies are merely too young, only note them, so that a sweep of a minute later
    need not wait.
    reader: a descriptor, the standard output of a module: once nobody reads from it any more,
    because the connection or the job has ended, the sweep ends before its next remedy.
    waiting: called once, before it begins to wait, with the seconds that this may take.
    """
    try:
        return _sweep(
            options, paths, check_mode, wait, until_reported, reused, defer, reader, waiting
        )
    except Busy:
        raise
    except (CannotSweep, OSError, MemoryError):
        if not check_mode:
            metrics.failed(paths)
        raise


def _sweep(
    options: Options,
    paths: Paths,
    check_mode: bool,
    wait: bool,
    until_reported: contextlib.ExitStack | None,
    reused: Reused | None,
    defer: bool,
    reader: int | None,
    waiting: Callable[[float], None],
) -> Report:
    began = time.monotonic()
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    run = _Run(options, paths, procfs, reused or Reused(Memory(paths.run, procfs)), reader)
    run.remember(required=not check_mode)
    before, verdicts = run.look()
    deferred = defer and not check_mode and _may_wait(verdicts)
    if wait and not deferred:
        before, verdicts = run.wait_for_age(before, verdicts, waiting=waiting)
    if check_mode or deferred:
        not_noted = run.note() if deferred else ()
        return Report(
            before=before,
            after=before,
            results=tuple(Result(verdict, (), None) for verdict in verdicts),
            options=options,
            check_mode=True,
            duration=time.monotonic() - began,
            warnings=not_noted + run.ended_early() + run.refusals(before),
            ended_early=bool(run.stop_requested),
            stuck=run.stuck(before),
            deferred=deferred,
            foreign=run.foreign(),
            metrics=metrics.destination(paths),
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
                before=before,
                after=after,
                results=results,
                options=options,
                check_mode=False,
                duration=time.monotonic() - began,
                warnings=warnings,
                ended_early=bool(run.stop_requested),
                stuck=run.stuck(after),
                foreign=run.foreign(),
                metrics=metrics.destination(paths),
            )
        )


def _may_wait(verdicts: Sequence[Verdict]) -> bool:
    """Whether some zombies are merely too young, and none has to go at once."""
    is_urgent = any(each.remedies and each.room.level == pressure.FULL for each in verdicts)
    return any(each.due_in is not None for each in verdicts) and not is_urgent


class _Run:
    """What one sweep carries from step to step."""

    def __init__(
        self,
        options: Options,
        paths: Paths,
        procfs: ProcFS,
        reused: Reused,
        reader: int | None,
    ) -> None:
        self.options = options
        self.paths = paths
        self.procfs = procfs
        self.memory = reused.memory
        self.ledger = reused.ledger
        self.is_of_daemon = reused.ledger is not None
        self.most_zombies = reused.most_zombies
        # by earlier sweeps: a cooldown that begins now must not keep this sweep from following up
        self.ended_before: dict[tuple[str], float] = {}
        # by (PID, start time in ticks): the first verdict that let a remedy act, what came of each
        self.judged: dict[tuple[int, int], Verdict] = {}
        self.outcomes: dict[tuple[int, int], list[Outcome]] = {}
        self.terminated = 0
        self.tried: set[tuple[int, int]] = set()  # zombies that are left after a remedy for them
        refused = tracing.node_refusal(procfs)
        self.refusal = (refused.word, str(refused)) if refused else None
        self.reader = reader
        # numbers of signals; SIGPIPE, which is never sent, stands for a reader that has gone
        self.stop_requested: list[int] = []

    def must_end(self) -> bool:
        """Whether this sweep has been asked to end, or nobody waits for it any more."""
        if not self.stop_requested and self.reader is not None and _is_abandoned(self.reader):
            import signal

            self.stop_requested.append(signal.SIGPIPE)
        return bool(self.stop_requested)

    def remember(self, required: bool) -> None:
        """Read what earlier sweeps have noted. required: as in :meth:`.state.Memory.load`."""
        self.memory.load(required)
        self.ended_before = dict(self.memory.ended.times)

    def look(self) -> tuple[Snapshot, tuple[Verdict, ...]]:
        """Snapshot and verdicts of this moment. Zombies that are new are noted as first seen
        now.
        """
        now = time.monotonic()
        history = self.memory.history()._replace(ended=self.ended_before)
        snapshot = observe.snapshot(
            self.procfs, self.paths, history, now, self.ledger, self.refusal, self.most_zombies
        )
        self.memory.note_seen(snapshot, now)
        verdicts = policy.judge(snapshot, self.options, self.terminated, self.tried)
        return snapshot, tuple(self._with_those_inside(verdict) for verdict in verdicts)

    def _with_those_inside(self, verdict: Verdict) -> Verdict:
        """The verdict without ``terminate`` if that would end a protected process too: a PID
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

    def note(self) -> tuple[str, ...]:
        """Write down which zombies are there now, and nothing else. Returns warnings."""
        try:
            with locked(self.paths.run):
                self.remember(required=True)
                self.look()
                self.memory.save()
        except (OSError, CannotSweep) as error:
            return self._not_written(error)
        return ()

    def _not_written(self, error: OSError | CannotSweep) -> tuple[str, ...]:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return (f"{self.paths.run} cannot be written: {reason}",)

    def wait_for_age(
        self,
        snapshot: Snapshot,
        verdicts: tuple[Verdict, ...],
        only: Collection[int] | None = None,
        waiting: Callable[[float], None] = lambda _seconds: None,
    ) -> tuple[Snapshot, tuple[Verdict, ...]]:
        """Look again once all zombies that were merely too young are due or gone. only: PIDs of the
        parents to wait for. waiting: as for :func:`sweep`.
        """
        young = [
            verdict.offender
            for verdict in verdicts
            if verdict.reason == "too_young" and (only is None or verdict.offender.pid in only)
        ]
        if not young:
            return snapshot, verdicts
        youngest = min(zombie.age for offender in young for zombie in offender.zombies)
        waiting(self.options.min_age - youngest)
        deadline = time.monotonic() + self.options.min_age - youngest
        while young and time.monotonic() < deadline and not self.must_end():
            time.sleep(max(0.0, min(0.5, deadline - time.monotonic())))
            young = [offender for offender in young if self._holds_any(offender)]
        return self.look()

    def _holds_any(self, offender: Offender) -> bool:
        return any(
            zombie.ppid == offender.pid for zombie in observe.still_zombies(self.procfs, offender)
        )

    def escalate(self, verdicts: tuple[Verdict, ...], targets: set[int]) -> None:
        """Try the remedies in order on those targets (PIDs) that still need them. The node is
        judged afresh after each.

        A harsher remedy is only for zombies that the gentler ones were for too, with the same
        parent. Any that became due or were inherited meanwhile are left to the next sweep.
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
                    acting = self._substitutes(acting, time.monotonic() - began)
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
                if not acting or self.must_end():
                    break
                targets = targets - self._apply(name, acting)
                verdicts = self.look()[1]

    def _substitutes(self, verdicts: list[Verdict], ago: float) -> list[Verdict]:
        """The verdicts with only those zombies that can stand in for some that could not be
        collected: not tried yet, and already due that many seconds ago, when this sweep began.
        """
        return [
            _only(
                verdict,
                lambda zombie: (
                    _key(zombie) not in self.tried and zombie.age - ago >= self.options.min_age
                ),
            )
            for verdict in verdicts
        ]

    def follow_up(self, wait: bool) -> tuple[str, ...]:
        """Do the same with the adopters of zombies whose parent was ended, in a bounded number of
        rounds. Returns warnings.

        An adopter is judged like any parent, so its zombies have to reach min_age with it. A sweep
        by hand waits for that.
        """
        for _round in range(ROUNDS - 1):
            adopters = self._adopters()
            if not adopters or self.must_end():
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

    def refusals(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Warnings that say why this node cannot use ``reap``, on any parent or on those with a
        seccomp filter. This is known without trying.
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

    def stuck(self, snapshot: Snapshot) -> tuple[Stuck, ...]:
        """Containers that cannot end because a process of the node holds zombies of theirs.

        Only those seen for ``min_age``, since any ``docker exec`` may hold one for a moment.
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

    def foreign(self) -> tuple[ForeignScript, ...]:
        """Scripts of others that end parents of zombies. The daemon does not look for them: it
        has to act where there is no memory to spare.
        """
        if self.is_of_daemon:
            return ()
        from .node import foreign_scripts

        return foreign_scripts.find(self.procfs.mounts(os.getpid()))

    def ended_early(self) -> tuple[str, ...]:
        """A warning if this sweep was asked to end."""
        if not self.stop_requested:
            return ()
        import signal

        if self.stop_requested[0] == signal.SIGPIPE:
            return (
                "whoever started this sweep has gone, or its connection: the rest is left to the"
                " next sweep",
            )
        name = signal.Signals(self.stop_requested[0]).name
        return (f"asked to end by {name}: the rest is left to the next sweep",)

    def _apply(self, name: str, acting: list[Verdict]) -> set[int]:
        """Try one remedy on all of them. Returns the PIDs of parents that must be spared anything
        harsher in this sweep, since the remedy may still do more.
        """
        if name == "terminate":  # the outer one of nested containers first
            acting.sort(key=lambda verdict: len(verdict.offender.status.ns_pid))
        offenders = [verdict.offender._replace(zombies=verdict.due) for verdict in acting]
        if name == "nudge":
            outcomes = nudge(self.procfs, offenders)
        elif name == "reap":
            outcomes = reap(self.procfs, offenders, self.stop_requested)
        else:
            in_use = [policy.in_words(verdict.room) for verdict in acting]
            outcomes = terminate(
                self.procfs, offenders, in_use, self.options.grace, self.paths.kubelet
            )
        ended = []
        for verdict, offender, outcome in zip(acting, offenders, outcomes):
            self.judged.setdefault(_key(offender), verdict)
            self.outcomes.setdefault(_key(offender), []).append(outcome)
            self._note_tried(name, offender, outcome)
            if outcome.result == "parent_ended":
                ended.append(offender)
                self.memory.ended.note(offender.workload, time.monotonic())
                # whoever runs the sweep: no process is ended without an entry in its node's log
                to_syslog("ended " + parent_in_words(offender), warning=True)
            elif outcome.cleared:
                self.memory.collected.note(*_key(offender), time.monotonic())
        self.terminated += len(ended)
        # at once, in case this process is killed; if it fails, record() reports that
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

    def _note_judged(self, verdict: Verdict) -> None:
        """Add the zombies of another pass to the first verdict that let a remedy act."""
        first = self.judged.setdefault(_key(verdict.offender), verdict)
        known = {_key(zombie) for zombie in first.due}
        self.judged[_key(verdict.offender)] = first._replace(
            due=first.due + tuple(zombie for zombie in verdict.due if _key(zombie) not in known)
        )

    def _note_tried(self, name: str, offender: Offender, outcome: Outcome) -> None:
        """Note which zombies this parent still holds. One that its own waitid(2) does not return
        may be held by a tracer; the next look finds out.
        """
        if outcome.result in ("cleared", "gone", "parent_ended"):
            return
        for zombie in observe.still_zombies(self.procfs, offender):
            if zombie.ppid == offender.pid:
                self.tried.add(_key(zombie))
                if name == "reap" and outcome.result in ("no_effect", "partly_cleared"):
                    self.memory.uncollected.note(*_key(zombie), time.monotonic())

    def _unsettled(self, offender: Offender) -> bool:
        """Whether a parent that was ended, or any zombie it held, is still a zombie."""
        stat = self.procfs.stat(offender.pid)
        if stat and stat.state == "Z" and stat.start_ticks == offender.start_ticks:
            return True
        return any(True for _zombie in observe.still_zombies(self.procfs, offender))

    def _adopters(self) -> set[int]:
        """PIDs that now hold zombies of parents that this sweep has ended."""
        found: set[int] = set()
        for key, outcomes in self.outcomes.items():
            if outcomes[-1].result == "parent_ended":
                verdict = self.judged[key]
                due = verdict.offender._replace(zombies=verdict.due)
                found.update(zombie.ppid for zombie in observe.still_zombies(self.procfs, due))
        return found - {pid for pid, _start in self.outcomes}

    def confirm(
        self, verdicts: tuple[Verdict, ...], before: Snapshot
    ) -> tuple[tuple[Result, ...], Snapshot]:
        """Results and the last snapshot. The results say which of the zombies that were due are
        really left, and with which parent.
        """
        results = []
        keys = {_key(verdict.offender) for verdict in verdicts}
        adopters = [verdict for key, verdict in self.judged.items() if key not in keys]
        for verdict in (*verdicts, *adopters):
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

    def record(self, report: Report) -> Report:
        """Write the state for the next sweep, the metrics and the report. If that fails, the
        returned report has a warning.
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
            return report._replace(warnings=report.warnings + self._not_written(error))
        return self.announce(report)

    def announce(self, report: Report) -> Report:
        """Send Events to the owners of pods, if that is switched on. If that fails, the returned
        report and the one in the file have a warning.
        """
        if self.paths.kubernetes_events == OFF or not report.results or self.stop_requested:
            return report
        try:
            from .kubernetes_events import announce

            warnings = announce(report, self.paths, self.procfs)
        except (ImportError, MemoryError):  # the sweep itself is done
            return report
        if warnings:
            report = report._replace(warnings=report.warnings + warnings)
            with contextlib.suppress(OSError, CannotSweep), locked(self.paths.run):
                write(os.path.join(self.paths.run, LAST_REPORT), as_json(report))
        return report

    def _note_sizes(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        self.memory.sizes.note((observe.NODE,), snapshot.limits.tasks, now)
        for offender in snapshot.offenders:
            # the file is ASCII, with blanks between its fields
            if offender.pids and re.fullmatch(r"[!-~]+", offender.pids.cgroup):
                self.memory.sizes.note((offender.pids.cgroup,), offender.pids.current, now)


@contextlib.contextmanager
def _signals_noted(numbers: list[int]) -> Iterator[None]:
    """Add signals that ask this process to end to the list instead of ending. Ignored ones stay
    ignored.
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


def _is_abandoned(fd: int) -> bool:
    """Whether it is a pipe or a socket from which nobody can read any more.

    Then poll(2) says POLLERR of a pipe, and POLLHUP of a socket. Of files, and of what is not open,
    it says nothing, or what means something else; a terminal that hangs up sends SIGHUP.
    """
    import select
    import stat

    try:
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
    except OSError:
        return False
    if kind not in (stat.S_IFIFO, stat.S_IFSOCK):
        return False
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _fd, events in poll.poll(0))


def _key(process: Offender | Zombie) -> tuple[int, int]:
    return process.pid, process.start_ticks


def _only(verdict: Verdict, counts: Callable[[Zombie], bool]) -> Verdict:
    """The verdict with only those of its due zombies that count."""
    return verdict._replace(due=tuple(zombie for zombie in verdict.due if counts(zombie)))
