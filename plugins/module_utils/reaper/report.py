# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a sweep, as a dictionary and as text for people. The module returns that
dictionary; ``--json`` and ``last.json`` have it too.

Names, arguments and paths come from tenants. Here, and only here, they are made printable and
bounded.
"""

from __future__ import annotations

from . import pressure, textfile
from .kernel import limits as limits_module
from .node import stuck
from .node.lineage import MAY_BE_WAITED_FOR, ORPHAN
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, Protocol, overload

    from .kernel.cgroups import Pids
    from .kernel.limits import Forecast, Limits
    from .node.foreign_scripts import ForeignScript
    from .node.observe import Offender, Snapshot, Zombie
    from .node.stuck import Stuck
    from .node.workloads import Workload
    from .options import Options
    from .policy import Verdict
    from .remedies import Outcome

    class DaemonStatus(Protocol):
        """What :func:`daemon_in_words` needs of :class:`.daemon.Status`."""

        @property
        def pid(self) -> int | None: ...
        @property
        def since(self) -> float | None: ...
        @property
        def interval(self) -> float | None: ...
        @property
        def sweeps(self) -> int | None: ...
        @property
        def cleared(self) -> int | None: ...
        @property
        def last_sweep(self) -> float | None: ...
        @property
        def configuration_error(self) -> str | None: ...
        @property
        def no_stack_count(self) -> str | None: ...


SCHEMA = 1
MAX_ZOMBIES = 100
MAX_OFFENDERS = 1000
MAX_LINES = 100  # offenders shown to people
MAX_TEXT = 256
# verdicts' reasons with which a zombie may be left alone because its parent may ask for it
OF_ROOM = ("act", "may_be_waited_for", "too_young", "too_few", "only_reap", "reap_impossible")
SOON = 7 * 86400  # seconds; if it takes longer until it is full, people are not shown when


class Result(Record):
    """One offender at the end of a sweep."""

    verdict: Verdict
    outcomes: tuple[Outcome, ...]  # in the order tried
    # of the zombies that were due, those that are still there, `ppid` being their present parent;
    # None where nothing was tried
    left: tuple[Zombie, ...] | None


class Report(Record):
    """A whole sweep."""

    before: Snapshot
    after: Snapshot
    results: tuple[Result, ...]
    options: Options
    check_mode: bool
    duration: float  # seconds
    warnings: tuple[str, ...]
    ended_early: bool = False  # a signal asked the sweep to end
    stuck: tuple[Stuck, ...] = ()  # containers that cannot end
    deferred: bool = False  # zombies were only noted, since some are too young
    foreign: tuple[ForeignScript, ...] = ()  # scripts of others that end parents of zombies
    metrics: str | None = None  # where they go, as metrics.destination() returns it


if TYPE_CHECKING:

    @overload
    def printable(text: None, most: int = ...) -> None: ...
    @overload
    def printable(text: str | bytes, most: int = ...) -> str: ...


def printable(text: str | bytes | None, most: int = MAX_TEXT) -> str | None:
    """Text from a tenant as at most ``most`` printable characters; anything else is escaped as
    ``\\xNN`` or ``\\uNNNN``.

    A backslash is doubled, so text that looks like an escape cannot be taken for one. Longer text
    ends in ``...``.
    """
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text[: 4 * most + 4].decode("utf-8", "surrogateescape")
    shown: list[str] = []
    length = 0
    for character in text:
        code = ord(character)
        if character == "\\":
            character = "\\\\"
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
            character = f"\\x{code - 0xDC00:02x}"
        elif not character.isprintable():
            character = _escaped(code)
        length += len(character)
        if length > most:
            return "".join(shown) + "..."
        shown.append(character)
    return "".join(shown)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def changed(report: Report) -> bool:
    """Whether something was done (in check mode: would be tried). A SIGCHLD without effect does not
    count.
    """
    if report.deferred:
        return False
    if report.check_mode:
        return any(result.verdict.remedies for result in report.results)
    return any(
        outcome.cleared or outcome.result in ("parent_ended", "survived")
        for outcome in _outcomes(report)
    )


def as_dict(report: Report) -> dict[str, Any]:
    """The schema of the module's result, ``--json`` and ``last.json``. All text in it is printable
    and bounded.
    """
    offenders = [_offender(result, report.check_mode) for result in report.results[:MAX_OFFENDERS]]
    return {
        "schema": SCHEMA,
        "changed": changed(report),
        "check_mode": report.check_mode,
        "zombies": {
            "count": _count(report.before),
            "left": _count(report.after),
            "list": _zombies(report),
        },
        "offenders": offenders,
        "limits": {
            **as_limits(report.after.limits),
            **as_forecast(report.after.forecast),
            "pressure": pressure.told(report.after, report.options.pressure).level,
        },
        "counts": totals(report),
        "summary": as_lines(report),
        "warnings": [printable(warning) for warning in report.warnings],
        "reap_refusal": report.after.refusal[0] if report.after.refusal else None,
        "metrics": printable(report.metrics),
        "stuck": [_stuck(each) for each in report.stuck[:MAX_LINES]],
        "foreign_scripts": [_with_printable_values(each._asdict()) for each in report.foreign],
        "found_by": report.before.found_by,
        "report_only": not report.options.remedies,
        "ended_early": report.ended_early,
        "deferred": report.deferred,
        "duration": round(report.duration, 3),
    }


def as_limits(limits: Limits) -> dict[str, Any]:
    """The limits, with the name of the one that is reached first."""
    values = limits._asdict()
    values["usage"] = round(limits.usage, 6)
    values["bound_by"] = limits_module.bound_by(limits)
    values["pid_max_ceiling"] = limits_module.pid_max_ceiling()
    return values


def as_forecast(forecast: Forecast) -> dict[str, Any]:
    """The forecast, rounded."""
    return {
        "growth_per_hour": (
            None if forecast.growth_per_hour is None else round(forecast.growth_per_hour, 1)
        ),
        "seconds_to_full": (
            None if forecast.seconds_to_full is None else round(forecast.seconds_to_full)
        ),
    }


def as_pids(pids: Pids | None, forecast: Forecast) -> dict[str, Any] | None:
    """The tasks of a cgroup, with the share of its limit that is taken, and the forecast."""
    if pids is None:
        return None
    usage = round(pids.current / pids.max, 6) if pids.max else None
    return {
        **pids._asdict(),
        "cgroup": printable(pids.cgroup),
        "usage": usage,
        **as_forecast(forecast),
    }


def as_json(report: Report) -> str:
    """:func:`as_dict` as JSON on one line."""
    import json  # costs 7 ms, which a text report is spared

    return json.dumps(as_dict(report)) + "\n"


def as_diff(report: Report) -> dict[str, str]:
    """Offenders before and after, for Ansible's ``--diff``. In check mode, "after" are those that
    would be left alone.
    """
    after = report.after.offenders
    if report.check_mode:
        after = tuple(
            result.verdict.offender for result in report.results if not result.verdict.remedies
        )
    return {"before": _listing(report.before.offenders), "after": _listing(after)}


def _listing(offenders: Iterable[Offender]) -> str:
    return "".join(
        f"PID {offender.pid} ({printable(offender.comm)}):"
        f" {plural(offender.zombie_count, 'zombie')}\n"
        for offender in offenders
    )


def as_lines(report: Report) -> list[str]:
    """The report for people: a line for the node, one for its limits, one for each offender."""
    counts = totals(report)
    found = f"{plural(counts['zombies'], 'zombie')} on this node"
    if report.check_mode:
        would = sum(1 for result in report.results if result.verdict.remedies)
        later = [each.verdict.due_in for each in report.results if each.verdict.due_in is not None]
        if report.results:
            found += f"; would {action_in_words(would, later)}"
    elif counts["zombies"] or counts["cleared"] or counts["zombies_left"]:
        found += f"; {counts['cleared']} cleared, {counts['zombies_left']} left"
        if counts["parents_ended"]:
            found += f"; {plural(counts['parents_ended'], 'parent')} ended"
    table = report.after.limits
    lines = [
        found,
        f"process table: {table.tasks} of {table.limit} taken ({100 * table.usage:.1f}%), bound by"
        f" kernel.{limits_module.bound_by(table)}{in_words(report.after.forecast)}",
    ]
    left_to_parents = counts["left_to_parents"]
    if left_to_parents:
        who_may_ask = (
            "its parent may still ask for it"
            if left_to_parents == 1
            else "their parents may still ask for them"
        )
        lines.append(
            f"{plural(left_to_parents, 'zombie')} left alone: {who_may_ask}, and there is room, so"
            " no harm is done"
        )
    lines += [
        _line(_offender(result, report.check_mode), result.verdict.offender.forecast)
        for result in report.results[:MAX_LINES]
    ]
    if len(report.results) > MAX_LINES:
        lines.append(f"and {plural(len(report.results) - MAX_LINES, 'more parent')}")
    for zombie in report.after.without_parent[:MAX_ZOMBIES]:
        lines.append(
            f"PID {zombie.pid} ({printable(zombie.comm)}): its parent is outside this PID namespace"
            " or has just ended, so nothing can be done here"
        )
    lines += [
        stuck.in_words(each, printable, lambda workload: place(as_workload(workload)))
        for each in report.stuck[:MAX_LINES]
    ]
    lines += [foreign_script_in_words(each) for each in report.foreign]
    if report.check_mode and report.metrics == textfile.NO_DIRECTORY:
        lines.append(
            f"metrics: {textfile.NO_DIRECTORY}: none of {', '.join(textfile.DIRECTORIES)} exists;"
            " make one that node_exporter reads, or set textfile_directory"
        )
    return lines + [f"warning: {printable(warning)}" for warning in report.warnings]


def foreign_script_in_words(found: ForeignScript) -> str:
    """One printable sentence, with what to do."""
    script, schedule = printable(found.script), printable(found.schedule)
    if script is None:
        what, remedy = f"a line of {schedule} signals", "remove that line"
    elif schedule is None:
        what, remedy = f"{script} signals", "remove it"
    else:
        what = f"{script}, started by {schedule}, signals"
        remedy = "remove both, or run provider.fleet.site, which replaces kill_zombie_parents"
    return f"foreign script: {what} parents of zombies that a sweep would spare; {remedy}"


def _stuck(each: Stuck) -> dict[str, Any]:
    return {
        "pid": each.init.pid,
        "name": printable(each.init.comm),
        "workload": as_workload(each.init.workload),
        "holder_pid": each.holder.pid,
        "holder_name": printable(each.holder.comm),
        "zombies": [zombie.pid for zombie in each.zombies[:MAX_ZOMBIES]],
        "age": age(each.age),
    }


def daemon_in_words(status: DaemonStatus, now: float) -> str:
    """The status of the daemon in one line. now: seconds since the epoch."""
    if status.pid is None or status.since is None or status.interval is None:
        return "a daemon watches this node, but has not reported yet"
    last = (
        "not yet"
        if status.last_sweep is None
        else f"{duration_in_words(now - status.last_sweep)} ago"
    )
    line = (
        f"PID {status.pid} has watched this node for {duration_in_words(now - status.since)},"
        f" every {status.interval:g} s: {plural(status.sweeps or 0, 'sweep')},"
        f" {plural(status.cleared or 0, 'zombie')} cleared, last sweep {last}"
    )
    if status.configuration_error:
        line += f"; still using the previous configuration: {status.configuration_error}"
    if status.no_stack_count:
        line += f"; counts zombies by cgroups only: {status.no_stack_count}"
    return line


def parent_in_words(offender: Offender) -> str:
    """One printable line on a parent that keeps zombies: which process, where, how many."""
    return (
        f"PID {offender.pid} ({printable(offender.comm)})"
        f" {place(as_workload(offender.workload))}, which kept"
        f" {plural(offender.zombie_count, 'zombie')}"
    )


def action_in_words(now: int, due_in: Sequence[float]) -> str:
    """On how many parents a sweep would act. due_in: seconds until it would on each further one."""
    later = ""
    if due_in:
        more = "more " if now else ""
        later = f"on {plural(len(due_in), more + 'parent')} within {max(due_in):.0f} s"
    if not now:
        return f"act on nothing yet, and {later}" if later else "act on nothing"
    return f"act on {plural(now, 'parent')}" + (f", and {later}" if later else "")


def in_words(forecast: Forecast) -> str:
    """When it is full, to be put after how full it is. Empty where that is not known, or more than
    :data:`SOON` away.
    """
    if forecast.seconds_to_full is None or forecast.seconds_to_full > SOON:
        return ""
    return f", full in about {duration_in_words(forecast.seconds_to_full)} at this rate"


def duration_in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5 h`` or ``3 days``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds / length)} {unit}"
    return f"{int(seconds)} s"


def age(seconds: float) -> float:
    """In seconds and tenths of completed time, as everywhere: what is 59.97 s old has not reached
    60 s.
    """
    return int(10 * seconds) / 10


def place(workload: dict[str, Any]) -> str:
    """Where a process is, in words. workload: as :func:`as_workload` returns it."""
    if workload["kind"] != "container":
        return "on the host"
    return f"in container {container_in_words(workload)}"


def container_in_words(workload: dict[str, Any]) -> str:
    """Which container it is, and whose. workload: as :func:`as_workload` returns it."""
    short_id = (workload["container_id"] or "")[:12]
    if workload["container_name"]:
        words = f"{workload['container_name']} ({short_id})"
    else:
        words = short_id or f"of PID namespace {workload['pid_namespace']}"
    if workload["pod"]:
        words += f" of pod {workload['namespace']}/{workload['pod']}"
    elif workload["pod_uid"]:
        words += f" of pod {workload['pod_uid']}"
    if workload["user"] is not None:
        words += f" of user {workload['user']}"
    lease = workload["lease"]
    if lease:
        numbers = "/".join(lease[key] or "?" for key in ("dseq", "gseq", "oseq"))
        owner = lease["owner"] or "an unknown owner"
        if lease.get("verified"):
            words += f", lease {numbers} of {owner}"
        else:
            words += f", claims lease {numbers} of {owner} (which does not match its namespace)"
    return words


def as_workload(workload: Workload) -> dict[str, Any]:
    """The workload as a dictionary, all text in it printable."""
    shown = _with_printable_values(workload._asdict())
    shown["lease"] = workload.lease and _with_printable_values(workload.lease)
    return shown


def _with_printable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in values.items()
    }


def _line(offender: dict[str, Any], forecast: Forecast) -> str:
    """One offender in one line. offender: as :func:`_offender` returns it."""
    orphans = offender["claims"][ORPHAN]
    found = plural(offender["zombies"], "zombie")
    if orphans == offender["zombies"]:
        found = plural(orphans, "orphan")
    elif orphans:
        found += f", {orphans} of them {'an orphan' if orphans == 1 else 'orphans'}"
    line = (
        f"PID {offender['pid']} ({offender['name']}) {place(offender['workload'])}:"
        f" {found},"
        f" {'the ' if offender['zombies'] > 1 else ''}first seen"
        f" {int(offender['oldest_age'])} s ago: "
    )
    pids = offender["pids"]
    if pids and pids["max"]:
        line += f"{pids['current']} of {pids['max']} PIDs of its cgroup taken{in_words(forecast)}: "
    if offender["leaking_per_hour"]:
        line += f"leaking, about {round(offender['leaking_per_hour'])} more an hour: "
    if offender["outcome"] == "left_alone":
        return f"{line}left alone: {offender['explanation']}"
    if offender["outcome"] == "would_act":
        return f"{line}would {', then '.join(offender['remedies'])}: {offender['explanation']}"
    tried = [
        f"{step['remedy']} ({step['detail'] or _words(step['result'])})"
        for step in offender["steps"]
    ]
    line += f"{_words(offender['outcome'])}: {', '.join(tried)}"
    if offender["adopted_by"]:
        line += f"; left with PID {', '.join(str(pid) for pid in offender['adopted_by'])}"
    if offender["reason"] != "act":
        line += f"; went no further: {offender['explanation']}"
    return line


def _words(key: str) -> str:
    return key.replace("_", " ")


def _offender(result: Result, check_mode: bool) -> dict[str, Any]:
    verdict, offender = result.verdict, result.verdict.offender
    ages = [zombie.age for zombie in offender.zombies]
    outcome = _outcome(result, check_mode)
    cleared = 0
    if result.outcomes and outcome != "gone":
        cleared = len(verdict.due) - len(result.left or ())
    effective = [
        step.remedy for step in result.outcomes if step.cleared or step.result == "parent_ended"
    ]
    return {
        "pid": offender.pid,
        "name": printable(offender.comm),
        "executable": printable(offender.executable),
        "command_line": printable((offender.command_line or b"").replace(b"\0", b" ").strip()),
        "uid": offender.status.uid,
        "state": offender.state,
        "zombies": offender.zombie_count,
        "due": len(verdict.due),
        "claims": {
            ORPHAN: offender.orphans,
            MAY_BE_WAITED_FOR: offender.zombie_count - offender.orphans,
        },
        "pressure": {
            "level": verdict.room.level,
            "share": round(verdict.room.share, 6),
            "limit": verdict.room.limit,
            "where": printable(verdict.room.where),
        },
        "oldest_age": age(max(ages)) if ages else 0,
        "workload": as_workload(offender.workload),
        "init_pid": offender.init_pid,
        "pids": as_pids(offender.pids, offender.forecast),
        "verdict": "act" if verdict.remedies else "leave",
        "remedies": list(verdict.remedies),
        "reason": verdict.reason,
        "explanation": printable(verdict.explanation, 2 * MAX_TEXT),
        "due_in": None if verdict.due_in is None else round(verdict.due_in, 1),
        "remedy": effective[-1] if effective else None,
        "outcome": outcome,
        "cleared": cleared,
        "leaking_per_hour": (
            None if offender.leaking_per_hour is None else round(offender.leaking_per_hour, 1)
        ),
        "adopted_by": sorted({zombie.ppid for zombie in result.left or ()} - {offender.pid}),
        "steps": [
            {
                "remedy": step.remedy,
                "result": step.result,
                "refusal": step.refusal,
                "detail": step.detail,
                "max_stop_ms": step.max_stop_ms,
                "seconds": round(step.seconds, 3),
            }
            for step in result.outcomes
        ],
        "seconds": round(sum(step.seconds for step in result.outcomes), 3),
    }


def _outcome(result: Result, check_mode: bool) -> str:
    """``left_alone``, ``would_act``, ``gone`` (it ended or waited before anything was done),
    ``cleared``, ``moved`` (an adopter holds them now), ``partly_cleared`` or ``not_cleared``.
    """
    if not result.outcomes:
        return "would_act" if check_mode and result.verdict.remedies else "left_alone"
    if all(outcome.result == "gone" for outcome in result.outcomes):
        return "gone"
    if not result.left:
        return "cleared"
    if any(zombie.ppid != result.verdict.offender.pid for zombie in result.left):
        return "moved"
    return "partly_cleared" if len(result.left) < len(result.verdict.due) else "not_cleared"


def totals(report: Report) -> dict[str, Any]:
    """A zombie counts once, however many parents held it in turn. One that its parent collected
    without being asked does not count.
    """
    cleared_by = dict.fromkeys(report.options.remedies, 0)
    # (PID, start time) of zombies
    gone: set[tuple[int, int]] = set()  # their parent was ended
    collected: set[tuple[int, int]] = set()  # by a parent that lives on, be it an adopter
    left: set[tuple[int, int]] = set()
    for result in report.results:
        for outcome in result.outcomes:
            cleared_by[outcome.remedy] += outcome.cleared
            if outcome.result == "parent_ended":
                gone.update((zombie.pid, zombie.start_ticks) for zombie in result.verdict.due)
        if not _ended(result) and any(outcome.cleared for outcome in result.outcomes):
            collected.update((zombie.pid, zombie.start_ticks) for zombie in result.verdict.due)
        left.update((zombie.pid, zombie.start_ticks) for zombie in result.left or ())
    if "terminate" in cleared_by:
        nudged = sum(
            outcome.cleared
            for result in report.results
            for outcome in result.outcomes
            if _ended(result)
        )
        cleared_by["terminate"] = len(gone - collected - left) - nudged
    return {
        "zombies": _count(report.before),
        "zombies_left": _count(report.after),
        "cleared": sum(cleared_by.values()),
        "cleared_by": cleared_by,
        "offenders": len(report.before.offenders),
        "acted_on": sum(1 for result in report.results if result.outcomes),
        "parents_ended": sum(1 for result in report.results if _ended(result)),
        "orphans": sum(offender.orphans for offender in report.after.offenders),
        "left_to_parents": sum(_left_to_parent(result.verdict) for result in report.results),
    }


def _left_to_parent(verdict: Verdict) -> int:
    """How many zombies are left alone because there is room and their parent may still ask for
    them.
    """
    if verdict.room.level != pressure.ROOM or verdict.reason not in OF_ROOM:
        return 0
    offender = verdict.offender
    return (
        offender.zombie_count
        - offender.orphans
        - sum(not zombie.is_orphan for zombie in verdict.due if verdict.remedies)
    )


def _ended(result: Result) -> bool:
    return any(outcome.result == "parent_ended" for outcome in result.outcomes)


def _outcomes(report: Report) -> Iterator[Outcome]:
    return (outcome for result in report.results for outcome in result.outcomes)


def _count(snapshot: Snapshot) -> int:
    return sum(offender.zombie_count for offender in snapshot.offenders) + len(
        snapshot.without_parent
    )


def _zombies(report: Report) -> list[dict[str, Any]]:
    """The first zombies that are still there at the end, each with the parent that holds it."""
    shown = [zombie for offender in report.after.offenders for zombie in offender.zombies]
    shown += report.after.without_parent
    return [
        {
            "pid": zombie.pid,
            "ppid": zombie.ppid,
            "name": printable(zombie.comm),
            "age": age(zombie.age),
            "claim": zombie.claim,
            "evidence": zombie.evidence,
        }
        for zombie in shown[:MAX_ZOMBIES]
    ]


def plural(number: int, noun: str) -> str:
    """``1 zombie``, ``2 zombies``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
