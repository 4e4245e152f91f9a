# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returned on a node, reduced to text and numbers of bounded size.

A tenant may have taken over a node, so nothing that it returned is used unchecked. Where a figure
is not a figure, the node has failed: counting it as 0 would hide its zombies.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.cures import CURES
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES
from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import LEVELS

MAX_TEXT = 300  # characters
MAX_SHOWN = 150  # characters of a value of the wrong type; the sentence has room for MAX_TEXT
MAX_LINE = 2000  # characters of a line of the node's own report, which names several things
MAX_ROWS = 5000  # in any list of one node; the modules return fewer
MAX_COUNT = 2**53  # which JSON can carry
MAX_NUMBER = 2.0**63
MAX_TIME = 253402300799  # seconds since the epoch, the end of the year 9999
COUNTS = ("zombies", "zombies_left", "cleared", "offenders", "parents_ended")
AUDIT_COUNTS = ("containers", "reaps", "leaks", "unknown", "unlimited_pods")
PARTS_OF_A_WORKLOAD = (
    "kind",
    "runtime",
    "namespace",
    "pod",
    "pod_uid",
    "container_name",
    "container_id",
    "service",
)
PARTS_OF_A_LEASE = ("owner", "dseq", "gseq", "oseq")
WORDS_OF_AN_OFFENDER = (
    "name",
    "executable",
    "verdict",
    "reason",
    "explanation",
    "remedy",
    "outcome",
)

Row = dict[str, Any]  # of JSON

_REPR = reprlib.Repr()  # stays short however long or deep a value is
_REPR.maxstring = _REPR.maxother = MAX_TEXT


class Unreadable(Exception):
    """A node returned something else than it should. The message says what, and fits in a
    sentence.
    """


def text(value: object, max_length: int = MAX_TEXT) -> str:
    """Any value as at most ``max_length`` printable characters and an ellipsis. Control characters,
    bidirectional overrides and lone surrogates are escaped.
    """
    whole = "" if value is None else value if isinstance(value, str) else _shown(value)
    if len(whole) <= max_length and whole.isprintable():
        return f"{whole}"  # turns Ansible's subclasses of str into plain text
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in whole[:max_length]
    )
    return shown if max(len(whole), len(shown)) <= max_length else shown[:max_length] + "…"


def one_line(value: object) -> str:
    """The same for an error, which may have several lines."""
    return text(" ".join(value.split()) if isinstance(value, str) else value)


def checked(returned: object) -> Row:
    """What zombie_reap or zombie_info returned, with the fields that are used, each of the type
    that it should have. If it cannot be read, that of a task which failed and says why.
    """
    result = as_dict(returned)
    if not result:
        return _without_figures({"failed": True})
    if result.get("failed") or result.get("unreachable"):
        return _without_figures(result)
    try:
        last = result.get("last_sweep")
        return {
            "failed": False,
            "unreachable": False,
            "check_mode": result.get("check_mode") is True,
            "counts": _counts(result, "counts"),
            "limits": _limits(result),
            "offenders": _offenders(result, "offenders"),
            "last_sweep": None if last is None else _last_sweep(last),
            "summary": [text(line, MAX_LINE) for line in _list(result, "summary", "summary")],
            "reap_refusal": text(result.get("reap_refusal")) or None,
            "metrics": text(result.get("metrics")) or None,
            "report_only": result.get("report_only") is True,
            "foreign_scripts": [
                {key: text(script.get(key)) for key in ("script", "schedule")}
                for script in map(as_dict, as_list(result.get("foreign_scripts")))
            ],
        }
    except Unreadable as error:
        return _without_figures({"failed": True, "msg": _answer_unreadable(error)})


def audit_counts(returned: object) -> tuple[dict[str, int], str]:
    """The counts of init_audit, and why they cannot be read; one of the two is empty."""
    try:
        counts = _part(as_dict(returned), "counts")
        return {key: _count(counts, key, "counts") for key in AUDIT_COUNTS}, ""
    except Unreadable as error:
        return {}, _answer_unreadable(error)


def audited(returned: object) -> tuple[list[Row], str]:
    """The containers that init_audit returned, and why they cannot be used; one of the two is
    empty.
    """
    audit = as_dict(returned)
    if not audit or audit.get("failed") or audit.get("unreachable"):
        return [], error_of(audit)
    try:
        return [
            {
                "workload": _workload(container),
                "init": _process(as_dict(container.get("init")), f"{place}.init"),
                "verdict": text(container.get("verdict")),
                "zombies": _count(container, "zombies", place),
                "leaks_because": [
                    text(each.get("detail"))
                    for each in map(as_dict, as_list(container.get("evidence")))
                    if each.get("verdict") == "leaks"
                ],
                "cures": [cure for cure in CURES if cure in as_list(container.get("cures"))],
                "advice": text(container.get("advice"), MAX_LINE),
            }
            for place, container in _entries(audit, "containers", "containers")
        ], ""
    except Unreadable as error:
        return [], _answer_unreadable(error)


def error_of(result: Mapping[str, Any]) -> str:
    """The error of a task, or of the first item of its loop that failed."""
    items = [as_dict(item) for item in as_list(result.get("results"))]
    first = next((item for item in items if item.get("failed")), {})
    return _error(first) or _error(result) or "no result"


def _error(result: Mapping[str, Any]) -> str:
    """The message. Where the module did not answer, Ansible's says only that; what stands in the
    last line that came instead is the cause: ``sudo: not found``, or the end of a traceback.
    """
    message = one_line(result.get("msg"))
    for name in ("module_stderr", "module_stdout"):
        said = result.get(name)
        lines = said[-MAX_LINE:].split("\n") if isinstance(said, str) else []
        lines = [line.strip() for line in lines]
        # ssh's own last line, where it has a terminal
        lines = [line for line in lines if line and not line.startswith("Shared connection to ")]
        if lines:
            return f"{message}: {text(lines[-1])}" if message else text(lines[-1])
    return message


def as_dict(value: object) -> Row:
    """Empty for anything that is no dictionary."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """At most :data:`MAX_ROWS` of it; empty for anything that is no list."""
    return value[:MAX_ROWS] if isinstance(value, list) else []


def _without_figures(result: Mapping[str, Any]) -> Row:
    return {
        "failed": bool(result.get("failed")),
        "unreachable": bool(result.get("unreachable")),
        "msg": error_of(result),
        "check_mode": False,
        "counts": _no_counts(),
        "limits": {},
        "offenders": [],
        "last_sweep": None,
        "summary": [],
        "reap_refusal": None,
        "metrics": None,
        "report_only": False,
        "foreign_scripts": [],
    }


def _no_counts() -> Row:
    return {**dict.fromkeys(COUNTS, 0), "cleared_by": dict.fromkeys(REMEDIES, 0)}


def _answer_unreadable(error: Unreadable) -> str:
    return f"its answer cannot be read: {error}"


def _last_sweep(last: object) -> Row:
    if not isinstance(last, dict):
        raise Unreadable(f"last_sweep is {_shown(last)}, not a dictionary")
    at = _number(last, "at", "last_sweep")
    if at is not None and not 0 <= at <= MAX_TIME:
        raise Unreadable(f"last_sweep.at is {_shown(at)}, not a time")
    return {
        "at": at,
        "counts": _counts(last, "last_sweep.counts"),
        "offenders": _offenders(last, "last_sweep.offenders"),
    }


def _counts(result: Row, place: str) -> Row:
    counts = _part(result, "counts", place)
    by = as_dict(counts.get("cleared_by"))
    return {
        **{key: _count(counts, key, place) for key in COUNTS},
        "cleared_by": {remedy: _count(by, remedy, f"{place}.cleared_by") for remedy in REMEDIES},
    }


def _limits(result: Row) -> Row:
    limits = _part(result, "limits")
    level = limits.get("pressure")
    if level is not None and level not in LEVELS:
        raise Unreadable(f"limits.pressure is {_shown(level)}, not one of {', '.join(LEVELS)}")
    return {
        **{key: _count(limits, key, "limits") for key in ("tasks", "limit") if key in limits},
        "bound_by": text(limits.get("bound_by")),
        **{
            key: _number(limits, key, "limits")
            for key in ("usage", "growth_per_hour", "seconds_to_full")
        },
        "pressure": level,
    }


def _offenders(result: Row, place: str) -> list[Row]:
    return [
        _offender(offender, each_place)
        for each_place, offender in _entries(result, "offenders", place)
    ]


def _offender(offender: Row, place: str) -> Row:
    pids, claims = as_dict(offender.get("pids")), as_dict(offender.get("claims"))
    steps = [as_dict(step) for step in as_list(offender.get("steps"))]
    return {
        "workload": _workload(offender),
        **_process(offender, place),
        "init_pid": _count(offender, "init_pid", place) or None,
        "zombies": _count(offender, "zombies", place),
        "orphans": _count(claims, "orphan", f"{place}.claims") if "orphan" in claims else None,
        "cleared": _count(offender, "cleared", place),
        "oldest_age": _number(offender, "oldest_age", place),
        "due_in": _number(offender, "due_in", place),
        "leaking_per_hour": _number(offender, "leaking_per_hour", place),
        "pids": {
            "current": _count(pids, "current", f"{place}.pids") if "current" in pids else None,
            "max": _count(pids, "max", f"{place}.pids") or None,
            "usage": _number(pids, "usage", f"{place}.pids"),
            "seconds_to_full": _number(pids, "seconds_to_full", f"{place}.pids"),
        },
        **{key: text(offender.get(key)) for key in WORDS_OF_AN_OFFENDER},
        "steps": [{"result": text(step.get("result"))} for step in steps],
    }


def _process(entry: Row, place: str) -> Row:
    return {
        "pid": _count(entry, "pid", place) or None,
        "name": text(entry.get("name")),
        "executable": text(entry.get("executable")),
    }


def _workload(entry: Row) -> Row:
    workload = as_dict(entry.get("workload"))
    claims = as_dict(workload.get("lease"))
    lease: Row = {key: text(claims[key]) for key in PARTS_OF_A_LEASE if key in claims}
    if lease:
        lease["verified"] = claims.get("verified") is True
    return {**{key: text(workload.get(key)) for key in PARTS_OF_A_WORKLOAD}, "lease": lease}


def _part(result: Row, key: str, place: str = "") -> Row:
    value = result.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{place or key} is {_shown(value)}, not a dictionary")
    return value


def _entries(result: Row, key: str, place: str) -> Iterable[tuple[str, Row]]:
    """(place, entry) of each of a list of dictionaries."""
    for number, entry in enumerate(_list(result, key, place)):
        if not isinstance(entry, dict):
            raise Unreadable(f"{place}[{number}] is {_shown(entry)}, not a dictionary")
        yield f"{place}[{number}]", entry


def _list(result: Row, key: str, place: str) -> list[Any]:
    value = result.get(key)
    if not isinstance(value, list):
        raise Unreadable(f"{place} is {_shown(value)}, not a list")
    return value[:MAX_ROWS]


def _count(entry: Row, key: str, place: str) -> int:
    """0 if it is missing or null."""
    value = _number(entry, key, place)
    if value is None:
        return 0
    if not 0 <= value <= MAX_COUNT or value != int(value):
        raise Unreadable(f"{place}.{key} is {_shown(value)}, not a count")
    return int(value)


def _number(entry: Row, key: str, place: str) -> float | None:
    """None if it is missing or null."""
    value = entry.get(key)
    if value is None:
        return None
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < MAX_NUMBER
        and math.isfinite(value)
    ):
        return value
    raise Unreadable(f"{place}.{key} is {_shown(value)}, not a number")


def _shown(value: object) -> str:
    """Any value, to be put into a sentence."""
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        return "a huge number"  # Python refuses to print one of 5,000 digits
    return "missing" if value is None else text(_REPR.repr(value), MAX_SHOWN)
