# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sweep: observe, judge, remedy, confirm, report. Holds the lock and the state; no other file keeps any.

Everything under :class:`Paths` can be replaced by a test. No fork, no exec, no thread: this runs when the process table is full.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections import namedtuple

from . import observe, policy
from .procfs import ProcFS
from .remedies.nudge import nudge
from .remedies.reap import reap
from .remedies.terminate import terminate
from .report import Report, Result, as_json, parent_in_words

ROUNDS = 3  # a zombie whose parent was ended may meet a second adopter that does not wait, hardly a third
SETTLE = 2.5  # seconds an adopter gets to collect what it adopted; supervisord needs up to 2
KEEP_ENDED = 7 * 86400  # seconds for which it is remembered that a workload had a parent ended; the longest cooldown
SYSLOG_TAG = "zombie_reaper"
LOCK_WAIT = 20.0  # seconds for another sweep to end; it never sleeps for min_age while it holds the lock


class Paths(
    namedtuple(
        "Paths", ("proc", "cgroup", "pods", "run"), defaults=("/proc", "/sys/fs/cgroup", "/var/log/pods", "/run/zombie_reaper"))
):
    """Where the sweep finds the kernel's files and the kubelet's, and keeps its own (lock, times, last report)."""

    __slots__ = ()


class CannotSweep(Exception):
    """Something that a sweep needs is missing on this node. The message is one sentence that says what."""


class Busy(CannotSweep):
    """Another sweep holds the lock."""


def sweep(options: policy.Options, paths: Paths = Paths(), check_mode: bool = False, wait: bool = False) -> Report:
    """Run one sweep and return its :class:`.report.Report`.

    check_mode: decide in the same way, do nothing, write nothing.
    wait: for zombies that only need to grow older, at most ``min_age`` seconds (an ad-hoc sweep). A scheduled one does not wait:
    it notes what it saw, and the next one acts. Nothing is locked while waiting.
    Raises :class:`CannotSweep` before anything was done.
    """
    began = time.monotonic()
    procfs = ProcFS(paths.proc)
    check_node(procfs)
    run = _Run(options, paths, procfs)
    run.remember(required=not check_mode)
    before, verdicts = run.look()
    if wait:
        before, verdicts = run.wait_for_age(before, verdicts)
    if check_mode:
        results = tuple(Result(verdict, (), None) for verdict in verdicts)
        return Report(before, before, results, options, True, time.monotonic() - began, ())
    with contextlib.ExitStack() as until_recorded:
        if any(verdict.remedies for verdict in verdicts):
            with _locked(paths.run):
                until_recorded.enter_context(_signals_noted(run.asked_to_end))
                run.remember(required=True)  # another sweep may have acted while this one waited
                before, verdicts = run.look()
                run.down_the_ladder(verdicts, {verdict.offender.pid for verdict in verdicts})
        warnings = run.follow_up(wait)
        results, after = run.confirm(verdicts, before)
        warnings += run.ended_early()
        return run.record(Report(before, after, results, options, False, time.monotonic() - began, warnings, bool(run.asked_to_end)))


def to_syslog(line: str) -> None:
    """One line to syslog(3), from where it goes to the journal."""
    import syslog

    syslog.openlog(SYSLOG_TAG, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(line)


def check_node(procfs) -> None:
    """Raise :class:`CannotSweep` where this node or this user lacks what every sweep needs."""
    if os.geteuid() != 0:
        raise CannotSweep("root is needed to see whose processes these are; this is UID %d (use become: true, or sudo)" % os.geteuid())
    if procfs.stat(os.getpid()) is None:
        raise CannotSweep("%s does not show this process: mount the proc file system there" % procfs.root)
    try:
        visible = procfs.stat(1) and procfs.status(1)
    except PermissionError:
        visible = None
    if not visible:
        raise CannotSweep(
            "%s hides other processes from this one (hidepid): remount it with hidepid=0, "
            "or give the sweep CAP_SYS_PTRACE" % procfs.root)
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        raise CannotSweep(
            "this kernel or Python has no pidfd_open (Linux 5.3 and Python 3.9 are needed), "
            "so a signal could reach the wrong process: %s" % error) from None


class _Run:
    """What one sweep carries from step to step."""

    def __init__(self, options, paths, procfs) -> None:
        self.options = options
        self.paths = paths
        self.procfs = procfs
        self.first_seen = _FirstSeen(paths.run, procfs)
        self.ended = _Ended(paths.run, procfs)
        self.collected = _Collected(paths.run, procfs)
        self.ended_before = {}  # of earlier sweeps: within one, a cooldown begun would forbid to follow up
        self.judged = {}  # (pid, start_ticks) -> the first verdict that let a remedy act
        self.outcomes = {}  # (pid, start_ticks) -> list of Outcome
        self.terminated = 0
        self.asked_to_end = []  # numbers of signals

    def remember(self, required: bool) -> None:
        """Read what earlier sweeps noted. required: whether a file that is there but cannot be read is an error."""
        self.first_seen.load(required)
        self.ended.load(required)
        self.collected.load(required)
        self.ended_before = dict(self.ended.times)

    def look(self) -> tuple:
        """(snapshot, verdicts) of this moment; what is new is noted as first seen now."""
        now = time.monotonic()
        history = observe.History(self.first_seen.times, self.ended_before, self.collected.times)
        snapshot = observe.snapshot(self.procfs, self.paths, history, now)
        self.first_seen.note(snapshot, now)
        return snapshot, policy.judge(snapshot, self.options, self.terminated)

    def wait_for_age(self, snapshot, verdicts, only=None) -> tuple:
        """Look again when all that is merely too young has come of age or has gone. only: PIDs of parents to wait for."""
        young = [
            verdict.offender for verdict in verdicts
            if verdict.reason == "too_young" and (only is None or verdict.offender.pid in only)
        ]
        if not young:
            return snapshot, verdicts
        youngest = min(zombie.age for offender in young for zombie in offender.zombies)
        deadline = time.monotonic() + self.options.min_age - youngest
        while young and time.monotonic() < deadline and not self.asked_to_end:
            time.sleep(max(0.0, min(0.5, deadline - time.monotonic())))
            young = [offender for offender in young if self._holds_any(offender)]
        return self.look()

    def _holds_any(self, offender) -> bool:
        return any(zombie.ppid == offender.pid for zombie in observe.still_zombies(self.procfs, offender))

    def down_the_ladder(self, verdicts, targets) -> None:
        """Try each remedy on those of the targets (PIDs) that still need it, judged afresh after each."""
        for name in self.options.remedies:
            if self.asked_to_end:
                break
            acting = [verdict for verdict in verdicts if name in verdict.remedies and verdict.offender.pid in targets]
            if acting:
                targets = targets - self._apply(name, acting)
                verdicts = self.look()[1]

    def follow_up(self, wait) -> tuple:
        """The same for whoever adopted zombies of a parent that was ended, in bounded rounds. Returns warnings.

        An adopter is judged like anybody, so its zombies have to reach min_age with it; an ad-hoc sweep waits for that.
        """
        for _round in range(ROUNDS - 1):
            adopters = self._adopters()
            if not adopters or self.asked_to_end:
                break
            if wait:
                self.wait_for_age(*self.look(), adopters)
            try:
                with _locked(self.paths.run):
                    verdicts = self.look()[1]
                    for verdict in verdicts:
                        if verdict.offender.pid in adopters:
                            self.judged.setdefault(_key(verdict.offender), verdict)
                    self.down_the_ladder(verdicts, adopters)
            except CannotSweep as error:
                return ("adopters were not followed up: %s" % error,)
        return ()

    def ended_early(self) -> tuple:
        """The warning to give when this process was asked to end; none otherwise."""
        if not self.asked_to_end:
            return ()
        import signal

        return ("asked to end by %s: the rest is left to the next sweep" % signal.Signals(self.asked_to_end[0]).name,)

    def _apply(self, name, acting) -> set:
        """Try one remedy on all; returns the PIDs of those for whom the same may yet do more."""
        offenders = [verdict.offender._replace(zombies=verdict.ripe) for verdict in acting]
        if name == "nudge":
            outcomes = nudge(self.procfs, offenders)
        elif name == "reap":
            outcomes = reap(self.procfs, offenders, self.asked_to_end)
        else:
            outcomes = terminate(self.procfs, offenders, self.options.grace)
        ended = []
        for verdict, offender, outcome in zip(acting, offenders, outcomes):
            self.judged.setdefault(_key(offender), verdict)
            self.outcomes.setdefault(_key(offender), []).append(outcome)
            if outcome.result == "parent_ended":
                ended.append(offender)
                self.ended.note(offender.workload, time.monotonic())
                to_syslog("ended " + parent_in_words(offender))  # whoever runs the sweep: nothing ends without a word on its node
            elif outcome.cleared:
                self.collected.note(offender, time.monotonic())
        self.terminated += len(ended)
        with contextlib.suppress(OSError):  # at once, in case this process ends; record() reports a failure
            self.ended.save()
        deadline = time.monotonic() + SETTLE
        while ended and time.monotonic() < deadline:
            ended = [offender for offender in ended if self._unsettled(offender)]
            if ended:
                time.sleep(0.02)
        return {outcome.pid for outcome in outcomes if outcome.may_yet_help}

    def _unsettled(self, offender) -> bool:
        """Whether anything of a parent that was ended still waits to be collected: a zombie it held, or itself."""
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
                ripe = verdict.offender._replace(zombies=verdict.ripe)
                found.update(zombie.ppid for zombie in observe.still_zombies(self.procfs, ripe))
        return found - {pid for pid, _start in self.outcomes}

    def confirm(self, verdicts, before) -> tuple:
        """(results, last snapshot): for each offender what is really left of the zombies that counted, and with whom."""
        results = []
        keys = {_key(verdict.offender) for verdict in verdicts}
        adopters = [verdict for key, verdict in self.judged.items() if key not in keys]
        for verdict in tuple(verdicts) + tuple(adopters):
            key = _key(verdict.offender)
            outcomes = tuple(self.outcomes.get(key, ()))
            left = None
            if outcomes:
                verdict = self.judged[key]
                left = tuple(observe.still_zombies(self.procfs, verdict.offender._replace(zombies=verdict.ripe)))
            results.append(Result(verdict, outcomes, left))
        return tuple(results), self.look()[0] if self.outcomes else before

    def record(self, report) -> Report:
        """Write what the next sweep and a reader on the node need; a failure of that is a warning in the report."""
        try:
            with _locked(self.paths.run):
                self.first_seen.save()
                self.ended.save()
                self.collected.save()
                _write(os.path.join(self.paths.run, "last.json"), as_json(report))
        except (OSError, CannotSweep) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return report._replace(warnings=report.warnings + ("%s cannot be written: %s" % (self.paths.run, reason),))
        return report


class _Times:
    """Times in seconds on CLOCK_MONOTONIC, kept across sweeps in a file: the boot, then a line for each, its key first.

    That clock counts from boot and stands still while the node is suspended (clock_gettime(2)), as parents do.
    """

    def __init__(self, path, procfs, key_type) -> None:
        self.path = path
        self.boot_id = procfs.read_text("sys/kernel/random/boot_id").strip()
        self.key_type = key_type
        self.times = {}
        self.stored = {}

    def load(self, required: bool) -> None:
        """Add what earlier sweeps noted since the node booted. A file that does not parse counts as none."""
        self.stored = {}
        try:
            with open(self.path, encoding="ascii") as file:
                text = file.read()
            boot_id, *lines = text[:-1].split("\n")
            if boot_id == self.boot_id and text.endswith("\n"):  # else the last line is torn
                stored = dict(self._parse(line) for line in lines)
                self.stored = {key: seen for key, seen in stored.items() if seen >= 0}  # neither negative nor NaN
        except (FileNotFoundError, ValueError):
            pass
        except OSError as error:
            if required:
                raise CannotSweep("%s cannot be read: %s" % (self.path, error.strerror)) from None
        for key, seen in self.stored.items():
            self.times[key] = self._merged(seen, self.times.get(key, seen))

    _merged = staticmethod(max)
    key_length = 1

    def _parse(self, line) -> tuple:
        *key, seen = line.split()
        if len(key) != self.key_length:
            raise ValueError(line)
        return tuple(self.key_type(part) for part in key), float(seen)

    def save(self) -> None:
        """Write the times where they have changed; ``OSError`` where that fails."""
        if self.times != self.stored:
            lines = ["%s %.3f" % (" ".join(map(str, key)), seen) for key, seen in self.times.items()]
            _write(self.path, "\n".join([self.boot_id] + lines + [""]))
            self.stored = dict(self.times)


class _FirstSeen(_Times):
    """When each zombie was first seen with its present parent: ``{(pid, start_ticks, ppid): seconds}``.

    The parent belongs to the key: a zombie that an adopter got a second ago says nothing about the adopter.
    """

    _merged = staticmethod(min)
    key_length = 3

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "first_seen"), procfs, int)

    def note(self, snapshot, now) -> None:
        """Keep the times of what is still there, forget the rest. A parent that is held up could not wait: it begins anew."""
        times = {}
        for offender in snapshot.offenders:
            for zombie in offender.zombies:
                key = (zombie.pid, zombie.start_ticks, zombie.ppid)
                times[key] = now if offender.held_up else self.times.get(key, now)
        self.times = times


class _Ended(_Times):
    """When a parent of a workload was last ended: ``{(workload identity,): seconds}``; survives restarts of its container."""

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "ended"), procfs, str)

    def note(self, workload, now) -> None:
        """A parent of this workload was ended now. What no cooldown can reach back to is forgotten."""
        self.times = {key: then for key, then in self.times.items() if now - then < KEEP_ENDED}
        if workload.identity:
            self.times[(workload.identity,)] = now


class _Collected(_Times):
    """When a parent last collected zombies in a sweep: ``{(pid, start_ticks): seconds}``. Those it has now, it has made since."""

    key_length = 2

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "collected"), procfs, int)
        self.procfs = procfs

    def note(self, offender, now) -> None:
        """It did now. Parents that have ended are forgotten."""
        stats = {key: self.procfs.stat(key[0]) for key in self.times}
        self.times = {key: then for key, then in self.times.items() if stats[key] and stats[key].start_ticks == key[1]}
        self.times[_key(offender)] = now


@contextlib.contextmanager
def _signals_noted(numbers: list):
    """Signals that ask this process to end are noted in that list and end nothing for now; ignored ones stay ignored."""
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


def _key(offender) -> tuple:
    return offender.pid, offender.start_ticks


@contextlib.contextmanager
def _locked(run: str):
    """Hold ``run/lock``; :class:`Busy` when another sweep holds it for longer than :data:`LOCK_WAIT`."""
    path = os.path.join(run, "lock")
    try:
        os.makedirs(run, mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CannotSweep("the lock %s cannot be opened: %s" % (path, error.strerror)) from None
    try:
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise CannotSweep("the lock %s cannot be taken: %s" % (path, error.strerror)) from None
                if time.monotonic() > deadline:
                    raise Busy("another sweep holds %s for longer than %d s: nothing was done" % (path, LOCK_WAIT)) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    """Replace a file whole or not at all."""
    new = path + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
