# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that loads nothing. Whole tables are in it, so it reads without
scripts; these only sort and filter.

Beside this file are its template, which escapes all that is not :class:`Markup`, its style and its
script.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import namedtuple
from pathlib import Path

import jinja2
from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import (
    FULL_SHARE,
    USUAL,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import duration_in_words
from markupsafe import Markup

from .fleet_table import plural
from .node_row import LOOKED

MAX_ROWS = 500  # of a table on the page
MAX_NODES = 1000  # of that of all nodes
HERE = Path(__file__).parent


class Column(
    namedtuple("Column", ("title", "number", "wide", "sorted"), defaults=(False, False, False))
):
    """title: str. number: bool, to be sorted as a number, the biggest first. wide: bool, left out
    on a phone. sorted: bool, the rows are in its order.
    """

    __slots__ = ()


class Cell(namedtuple("Cell", ("text", "sort", "figure", "tone"), defaults=(None, "", ""))):
    """text: str. sort: float, what a number is sorted by. figure: Markup shown before the text.
    tone: str, ``warn``, ``bad``, ``muted`` or empty.
    """

    __slots__ = ()


class Table(namedtuple("Table", ("id", "title", "about", "columns", "rows", "more", "nothing"))):
    """about: str, one sentence. rows: list of lists of :class:`Cell`. more: int, rows that are only
    in the CSV. nothing: str, said where there are no rows.
    """

    __slots__ = ()


def page(fleet: dict, trends, at: float, no_trends: str = "") -> str:
    """fleet: from :func:`.fleet_data.fleet`. trends: :class:`.fleet_history.Trends`. at: seconds
    since the epoch. no_trends: why there are none.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style, script = (
        Markup((HERE / name).read_text(encoding="utf-8").strip())
        for name in ("fleet_page.css", "fleet_page.js")
    )
    failed = _failed(fleet)
    return (
        environment.get_template("fleet_page.html.j2").render(
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            made=_moment(at),
            lead=lead(fleet["totals"]),
            tiles=_tiles(fleet["totals"]),
            failed=failed,
            history=_history(trends, no_trends),
            chart=_chart(trends),
            done=_done(fleet["totals"]),
            tables=[
                _nodes(fleet, trends, at),
                _workloads(fleet),
                _tenants(fleet),
                _leaked(trends),
                _inits(fleet),
                _actions(fleet, at),
            ],
        )
        + "\n"
    )


def _hash(text) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _moment(at) -> str:
    return time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(at)).lstrip("0")


def _day(at) -> str:
    return time.strftime("%d %B", time.gmtime(at)).lstrip("0")


def _number(value) -> str:
    return "" if value is None else "{:,}".format(round(value))


def _percent(share) -> str:
    return (
        ""
        if share is None
        else f"{100 * share:.1f} %"
        if share < 0.1
        else f"{int(100 * share + 1e-9)} %"
    )


def _ago(then, at) -> str:
    return "never" if then is None else f"{duration_in_words(max(0, at - then))} ago"


def _tone(usage) -> str:
    return "" if usage is None or usage < USUAL else "warn" if usage < FULL_SHARE else "bad"


def lead(totals: dict) -> str:
    """The report in two or three sentences."""
    if not totals["looked"]:
        return f"None of {plural(totals['nodes'], 'node')} could be looked at."
    words = (
        f"{plural(totals['zombies'], 'zombie')} on {_number(totals['with_zombies'])} of"
        f" {plural(totals['looked'], 'node')}."
        if totals["zombies"]
        else (f"No zombies on {plural(totals['looked'], 'node')}.")
    )
    if totals["short_of_pids"]:
        words += " %s short of PIDs." % (
            plural(totals["short_of_pids"], "node")
            + (" is" if totals["short_of_pids"] == 1 else " are")
        )
    else:
        words += " No node is short of PIDs."
    if totals["failed"]:
        words += f" {plural(totals['failed'], 'node')} could not be looked at."
    return words


def _tiles(totals) -> list:
    """(title, figure, what it means, tone)"""
    tightest = totals["tightest_usage"]
    return [
        (
            "Nodes looked at",
            f"{_number(totals['looked'])} of {_number(totals['nodes'])}",
            plural(totals["failed"], "node") + " failed" if totals["failed"] else "none failed",
            "bad" if totals["failed"] else "",
        ),
        (
            "Zombies",
            _number(totals["zombies"]),
            f"with {plural(totals['offenders'], 'parent')}, on"
            f" {plural(totals['with_zombies'], 'node')}",
            "warn" if totals["zombies"] else "",
        ),
        (
            "Tightest node",
            _percent(tightest) or "unknown",
            f"of its PIDs taken: {totals['tightest']}" if totals["tightest"] else "",
            _tone(tightest),
        ),
        (
            "Short of PIDs",
            _number(totals["short_of_pids"]),
            f"nodes, {_percent(USUAL)} taken or full within an hour",
            "bad" if totals["short_of_pids"] else "",
        ),
        ("Tenants concerned", _number(totals["tenants"]), "with zombies now", ""),
        (
            "Leaking inits",
            _number(totals["inits_leaking"]),
            "of %s%s"
            % (
                plural(totals["containers"], "container"),
                (
                    (f"; unknown on {plural(totals['audit_errors'], 'node')}")
                    if totals["audit_errors"]
                    else ""
                ),
            ),
            "warn" if totals["inits_leaking"] else "",
        ),
    ]


def _done(totals) -> list:
    """(figure, what it counts) of all last sweeps."""
    return [
        (_number(totals["cleared"]), "zombies cleared"),
        *((_number(number), "by " + remedy) for remedy, number in totals["cleared_by"].items()),
        (_number(totals["ended"]), "parents ended"),
        (f"{_number(totals['swept'])} of {_number(totals['looked'])}", "nodes have swept"),
    ]


def _history(trends, no_trends) -> str:
    if no_trends:
        return f"There are no trends: {no_trends}."
    return f"{plural(trends.runs, 'report')} since {_day(trends.since)}, of the last 30 days."


def _table(name, title, about, columns, rows, nothing, most=MAX_ROWS) -> Table:
    return Table(name, title, about, columns, rows[:most], max(0, len(rows) - most), nothing)


def _failed(fleet) -> Table:
    rows = [
        [Cell(node["host"]), Cell(node["state"], tone="bad"), Cell(node["why"])]
        for node in fleet["nodes"]
        if node["state"] != LOOKED
    ]
    rows += [
        [Cell(node["host"]), Cell("audit failed", tone="bad"), Cell(node["audit_error"])]
        for node in fleet["nodes"]
        if node["audit_error"]
    ]
    return _table(
        "failed",
        "Nodes that failed",
        "They are in none of the figures below, but for nodes whose audit failed.",
        (Column("Node"), Column("State"), Column("Why")),
        rows,
        "None.",
    )


def _nodes(fleet, trends, at) -> Table:
    rows = []
    for node in [node for node in fleet["nodes"] if node["state"] == LOOKED]:
        points = trends.nodes.get(node["host"], ())
        rows.append(
            [
                Cell(node["host"]),
                Cell(
                    _percent(node["usage"]),
                    node["usage"],
                    _bar(node["usage"], points),
                    _tone(node["usage"]),
                ),
                Cell(
                    (
                        f"{_number(node['tasks'])} of {_number(node['limit'])}"
                        if node["limit"]
                        else ""
                    ),
                    node["tasks"],
                ),
                _full(node["seconds_to_full"]),
                Cell(_number(node["zombies"]), node["zombies"]),
                _spark(points),
                Cell(_number(node["would_act"]), node["would_act"]),
                Cell(
                    (
                        ""
                        if node["containers"] is None
                        else f"{_number(node['inits_leaking'])} of {_number(node['containers'])}"
                    ),
                    node["inits_leaking"],
                ),
                Cell(
                    _ago(node["swept_at"], at),
                    node["swept_at"],
                    tone="muted" if node["swept_at"] is None else "",
                ),
            ]
        )
    return _table(
        "nodes",
        "PID use by node",
        "How much of each node's process table is taken. The mark is the most of the last 30 days;"
        " the line, its zombies over that time.",
        (
            Column("Node"),
            Column("PIDs taken", True, sorted=True),
            Column("Tasks", True, True),
            Column("Full in", True, True),
            Column("Zombies", True),
            Column("Zombies, 30 days", wide=True),
            Column("A sweep would act on", True, True),
            Column("Leaking inits", True, True),
            Column("Last sweep", True, True),
        ),
        rows,
        "No node could be looked at.",
        MAX_NODES,
    )


def _full(seconds) -> Cell:
    soon = seconds is not None and seconds < 86400
    return Cell(
        "" if seconds is None or seconds > 365 * 86400 else duration_in_words(seconds),
        seconds,
        tone="bad" if soon else "",
    )


def _workloads(fleet) -> Table:
    rows = [
        [
            Cell(row["host"]),
            Cell(row["workload"]),
            Cell(row["tenant"] or "not known", tone="" if row["tenant"] else "muted"),
            Cell(row["name"]),
            Cell("" if row["pid"] is None else str(row["pid"]), row["pid"]),
            Cell(_number(row["zombies"]), row["zombies"]),
            Cell(
                "" if row["oldest_age"] is None else duration_in_words(row["oldest_age"]),
                row["oldest_age"],
            ),
            Cell(_number(row["leaking_per_hour"]), row["leaking_per_hour"]),
            Cell(_percent(row["usage"]), row["usage"], tone=_tone(row["usage"])),
            Cell(
                ("would act: " if row["verdict"] == "act" else "left alone: ") + row["explanation"],
                tone="muted" if row["verdict"] != "act" else "",
            ),
        ]
        for row in fleet["offenders"][:MAX_ROWS]
    ]
    columns = (
        Column("Node", wide=True),
        Column("Workload"),
        Column("Tenant", wide=True),
        Column("Parent"),
        Column("PID", True, True),
        Column("Zombies", True, sorted=True),
        Column("Oldest", True, True),
        Column("New an hour", True, True),
        Column("PIDs of its limit", True, True),
        Column("A sweep now", wide=True),
    )
    return Table(
        "workloads",
        "Worst workloads",
        "Parents that hold zombies now.",
        columns,
        rows,
        max(0, len(fleet["offenders"]) - MAX_ROWS),
        "No zombies anywhere.",
    )


def _tenants(fleet) -> Table:
    rows = [
        [
            Cell(row["tenant"] or "not known", tone="" if row["tenant"] else "muted"),
            Cell(_number(row["zombies"]), row["zombies"]),
            Cell(_number(row["offenders"]), row["offenders"]),
            Cell(_number(row["hosts"]), row["hosts"]),
        ]
        for row in fleet["tenants"]
    ]
    return _table(
        "tenants",
        "Worst tenants now",
        "The owner of the lease, where it is the namespace's, or else the namespace.",
        (
            Column("Tenant"),
            Column("Zombies", True, sorted=True),
            Column("Parents", True),
            Column("Nodes", True),
        ),
        rows,
        "No tenant has zombies.",
    )


def _leaked(trends) -> Table:
    rows = [
        [
            Cell(row["tenant"] or "not known", tone="" if row["tenant"] else "muted"),
            Cell(_number(row["leaked"]), row["leaked"]),
            Cell(_number(row["cleared"]), row["cleared"]),
            Cell(_number(row["ended"]), row["ended"]),
        ]
        for row in trends.tenants
    ]
    return _table(
        "leaked",
        "Tenants that leaked most in 30 days",
        "Zombies that they made, at least: what came and went between two reports is not in them.",
        (
            Column("Tenant"),
            Column("Leaked", True, sorted=True),
            Column("Cleared", True),
            Column("Ended", True),
        ),
        rows,
        "None is known of.",
    )


def _inits(fleet) -> Table:
    rows = [
        [
            Cell(row["host"]),
            Cell(row["workload"]),
            Cell(row["tenant"] or "not known", tone="" if row["tenant"] else "muted"),
            Cell(row["name"]),
            Cell(_number(row["zombies"]), row["zombies"]),
            Cell(row["explanation"]),
        ]
        for row in fleet["inits"]
    ]
    return _table(
        "inits",
        "Inits that leak",
        "PID 1 of these containers does not collect orphans: what their processes leave behind"
        " stays as zombies.",
        (
            Column("Node", wide=True),
            Column("Workload"),
            Column("Tenant", wide=True),
            Column("PID 1"),
            Column("Zombies", True, sorted=True),
            Column("Why", wide=True),
        ),
        rows,
        "None is known to leak.",
    )


def _actions(fleet, at) -> Table:
    rows = [
        [
            Cell(row["host"], tone=""),
            Cell(_ago(row["at"], at), row["at"]),
            Cell(row["workload"]),
            Cell(row["tenant"] or "not known", tone="" if row["tenant"] else "muted"),
            Cell(row["name"]),
            Cell(row["remedy"] or "none helped"),
            Cell(_number(row["cleared"]), row["cleared"]),
            Cell(
                "ended" if row["ended"] else row["outcome"].replace("_", " "),
                tone="warn" if row["ended"] else "",
            ),
        ]
        for row in fleet["actions"]
    ]
    return _table(
        "done",
        "What was done",
        "The parents that each node's last sweep acted on.",
        (
            Column("Node"),
            Column("When", True, True),
            Column("Workload"),
            Column("Tenant", wide=True),
            Column("Parent", wide=True),
            Column("Remedy"),
            Column("Cleared", True),
            Column("Outcome", wide=True),
        ),
        rows,
        "Nothing.",
    )


def _bar(usage, points) -> Markup:
    if usage is None:
        return Markup()
    most = max([usage] + [share for _place, _zombies, share in points])
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect'
        ' class="track" width="100" height="8"/><rect class="fill" width="%.1f" height="8"/><rect'
        ' class="mark" x="%.1f" width="1" height="8"/></svg>'
    ) % (100 * min(1, usage), 99 * min(1, most))


def _spark(points) -> Cell:
    """Zombies over time, as high as their own most."""
    if len(points) < 2:
        return Cell("", tone="muted")
    most = max(zombies for _place, zombies, _usage in points)
    words = "%s at first, %s at last, %s at most" % tuple(
        _number(number) for number in (points[0][1], points[-1][1], most)
    )
    return Cell(
        "",
        None,
        Markup(
            '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img"'
            ' aria-label="{0}"><title>{0}</title><polyline points="{1}"/></svg>'
        ).format(words, _line(points, 1, 100, 22, most)),
    )


def _line(points, column, width, height, most) -> str:
    return " ".join(
        f"{point[0] * width:.1f},{1 + height * (1 - point[column] / (most or 1)):.1f}"
        for point in points
    )


def _chart(trends) -> dict | None:
    """All nodes' zombies over time, with what it says in words; None where there are no two
    moments.
    """
    if len(trends.fleet) < 2:
        return None
    most = max(zombies for _place, zombies, _usage in trends.fleet)
    line = _line(trends.fleet, 1, 1000, 118, most)
    area = f"{1000 * trends.fleet[0][0]:.1f},120 {line} {1000 * trends.fleet[-1][0]:.1f},120"
    words = "Zombies on all nodes: %s at first, %s at last, %s at most." % tuple(
        _number(number) for number in (trends.fleet[0][1], trends.fleet[-1][1], most)
    )
    return {
        "line": line,
        "area": area,
        "words": words,
        "most": _number(most),
        "since": _day(trends.since),
        "until": _day(trends.until),
    }
