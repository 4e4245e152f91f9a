# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that loads nothing. It contains whole tables, so it can be read
without scripts, which only sort and filter.

Its style, its script and its template, which escapes everything that is not :class:`Markup`, are
the files beside this one.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.cures import label
from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import (
    FULL_SHARE,
    USUAL,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import duration_in_words
from markupsafe import Markup

from .fleet_data import moment
from .fleet_history import Point, Trends
from .fleet_table import plural
from .node_row import LOOKED

MAX_ROWS = 500  # of a table on the page
MAX_NODES = 1000  # rows of the table of nodes
DAY = 86400  # seconds
HERE = Path(__file__).parent
UNKNOWN = "No node could be checked."

Fleet = Mapping[str, Any]  # what fleet_data.fleet() returns
Row = Mapping[str, Any]  # of one of its lists


class Column(NamedTuple):
    """The heading of a column, and how its cells are treated."""

    title: str
    number: bool = False  # sorted as numbers, the biggest first
    wide: bool = False  # left out on a phone
    sorted: bool = False  # the rows come in the order of this column


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    sort: float | None = None  # what a number is sorted by
    figure: Markup = Markup()  # drawn before the text
    tone: str = ""  # warn, bad, muted or nothing
    note: str = ""  # on a phone: what tells the row from others, and is in columns left out there


class Table(NamedTuple):
    """A section of the page."""

    id: str  # its anchor
    title: str
    about: str  # a sentence or two under the title
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: int  # rows that are only in the CSV and the JSON
    nothing: str  # shown if there are no rows


class Tile(NamedTuple):
    """One of the big figures at the top."""

    title: str
    figure: str
    meaning: str
    tone: str = ""  # warn, bad or nothing


class Chart(NamedTuple):
    """The zombies of the report's nodes over time."""

    line: str  # points in SVG
    area: str  # points in SVG
    words: str  # what the chart shows
    since: str  # days, for the ends of the axis
    until: str


def page(fleet: Fleet, trends: Trends, at: float, no_trends: str = "") -> str:
    """fleet: from :func:`.fleet_data.fleet`. at: seconds since the epoch. no_trends: why there are
    no trends, if there are none.
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
    text: str = environment.get_template("fleet_page.html.j2").render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        made=moment(at),
        cluster=fleet["cluster"],
        limit=fleet["limit"],
        lead=lead(fleet),
        tiles=_tiles(fleet["totals"]),
        failed=_failed(fleet),
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
    return text + "\n"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _day(at: float) -> str:
    return time.strftime("%d %B", time.gmtime(at)).lstrip("0")


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value):,}"


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.1f}%" if share < 0.1 else f"{int(100 * share + 1e-9)}%"


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else duration_in_words(seconds)


def _ago(then: float | None, at: float) -> str:
    return "never" if then is None else f"{duration_in_words(max(0, at - then))} ago"


def _tone(usage: float | None) -> str:
    if usage is None or usage < USUAL:
        return ""
    return "warn" if usage < FULL_SHARE else "bad"


def lead(fleet: Fleet) -> str:
    """The report in a few sentences."""
    limit = f" Only nodes of --limit {fleet['limit']} were asked." if fleet["limit"] else ""
    return _found(fleet["totals"]) + _next(fleet) + limit


def _next(fleet: Fleet) -> str:
    """Who holds most of the zombies, and what a sweep would do about them."""
    totals = fleet["totals"]
    if not totals["zombies"]:
        return ""
    words = ""
    known = [row for row in fleet["tenants"] if row["tenant"]]
    if known:
        words += f" The worst tenant is {known[0]['tenant']}, with {_number(known[0]['zombies'])}."
    if not totals["would_act"]:
        return words + " A sweep would act on no parent now."
    return words + f" A sweep would act on {plural(totals['would_act'], 'parent')} now."


def _found(totals: Mapping[str, Any]) -> str:
    checked, failed = totals["looked"], totals["failed"]
    if not checked:
        return f"None of {plural(totals['nodes'], 'node')} could be checked."
    if totals["zombies"]:
        on = f"{_number(totals['with_zombies'])} of {plural(checked, 'node')}"
        words = f"{plural(totals['zombies'], 'zombie')} on {on}."
    else:
        words = f"No zombies on {plural(checked, 'node')}."
    short = totals["short_of_pids"]
    if short:
        verb = "is" if short == 1 else "are"
        words += f" {plural(short, 'node')} {verb} short of PIDs."
    else:
        words += " No node is short of PIDs."
    if failed:
        words += f" {plural(failed, 'node')} could not be checked."
    return words


def _tiles(totals: Mapping[str, Any]) -> list[Tile]:
    failed, audit_errors = totals["failed"], totals["audit_errors"]
    containers = f"of {plural(totals['containers'], 'container')}"
    # 0 would be good news
    counted = _number if totals["looked"] else lambda _count: "unknown"
    return [
        Tile(
            title="Nodes checked",
            figure=f"{_number(totals['looked'])} of {_number(totals['nodes'])}",
            meaning=f"{plural(failed, 'node')} failed" if failed else "none failed",
            tone="bad" if failed else "",
        ),
        Tile(
            title="Zombies",
            figure=counted(totals["zombies"]),
            meaning=(
                f"held by {plural(totals['offenders'], 'parent')} on"
                f" {plural(totals['with_zombies'], 'node')}"
            ),
            tone="warn" if totals["zombies"] else "",
        ),
        Tile(
            title="Fullest node",
            figure=_percent(totals["tightest_usage"]) or "unknown",
            meaning=f"of the PIDs used on {totals['tightest']}" if totals["tightest"] else "",
            tone=_tone(totals["tightest_usage"]),
        ),
        Tile(
            title="Short of PIDs",
            figure=counted(totals["short_of_pids"]),
            meaning=f"nodes at {_percent(USUAL)} or more, or full within an hour",
            tone="bad" if totals["short_of_pids"] else "",
        ),
        Tile(
            title="Tenants affected",
            figure=counted(totals["tenants"]),
            meaning="have zombies now",
        ),
        Tile(
            title="Leaking inits",
            figure=counted(totals["inits_leaking"]),
            meaning=(
                f"{containers}; audit failed on {plural(audit_errors, 'node')}"
                if audit_errors
                else containers
            ),
            tone="warn" if totals["inits_leaking"] else "",
        ),
    ]


def _done(totals: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(figure, what it counts), of the last sweeps of all nodes; nothing if none was checked."""
    if not totals["looked"]:
        return []
    return [
        (_number(totals["cleared"]), "zombies cleared"),
        *((_number(number), f"by {remedy}") for remedy, number in totals["cleared_by"].items()),
        (_number(totals["ended"]), "parents ended"),
        (f"{_number(totals['swept'])} of {_number(totals['looked'])}", "nodes swept since boot"),
    ]


def _history(trends: Trends, no_trends: str) -> str:
    if no_trends:
        return f"There are no trends: {no_trends}."
    reports = plural(trends.runs, "report")
    return (
        f"Of the nodes in this report, from {reports} since {_day(trends.since)}. Trends cover the"
        " last 30 days."
    )


def _table(
    name: str,
    title: str,
    about: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    cells: Callable[[Row], list[Cell]],
    nothing: str,
    max_rows: int = MAX_ROWS,
) -> Table:
    """cells: the cells of one of ``rows``, of which only the first are shown."""
    return Table(
        id=name,
        title=title,
        about=about,
        columns=columns,
        rows=[cells(row) for row in rows[:max_rows]],
        more=max(0, len(rows) - max_rows),
        nothing=nothing,
    )


def _count(value: float | None) -> Cell:
    return Cell(_number(value), sort=value)


def _tenant(tenant: str) -> Cell:
    return Cell(tenant) if tenant else Cell("unknown", tone="muted")


def _failed(fleet: Fleet) -> Table:
    rows = [
        {"host": node["host"], "state": node["state"], "error": node["why"]}
        for node in fleet["nodes"]
        if node["state"] != LOOKED
    ]
    rows += [
        {"host": node["host"], "state": "audit failed", "error": node["audit_error"]}
        for node in fleet["nodes"]
        if node["audit_error"]
    ]
    return _table(
        name="failed",
        title="Nodes that failed",
        about=(
            "All other figures leave these nodes out; a node whose audit failed is missing only"
            " from those about inits."
        ),
        columns=(Column("Node"), Column("State"), Column("Error")),
        rows=rows,
        cells=lambda row: [Cell(row["host"]), Cell(row["state"], tone="bad"), Cell(row["error"])],
        nothing="None.",
    )


def _nodes(fleet: Fleet, trends: Trends, at: float) -> Table:
    return _table(
        name="nodes",
        title="PID use by node",
        about=(
            "How full each node's process table is. The mark on a bar is the peak of the last 30"
            " days; the line shows the node's zombies over that time."
        ),
        columns=(
            Column("Node"),
            Column("PIDs used", number=True, sorted=True),
            Column("Tasks", number=True, wide=True),
            Column("Full in", number=True, wide=True),
            Column("Zombies", number=True),
            Column("Zombies, 30 days", wide=True),
            Column("Sweep would act on", number=True, wide=True),
            Column("Leaking inits", number=True, wide=True),
            Column("Last sweep", number=True, wide=True),
        ),
        rows=[node for node in fleet["nodes"] if node["state"] == LOOKED],
        cells=lambda node: _node(node, trends.nodes.get(node["host"], ()), at),
        nothing=UNKNOWN,
        max_rows=MAX_NODES,
    )


def _node(node: Row, points: Sequence[Point], at: float) -> list[Cell]:
    usage, containers, swept_at = node["usage"], node["containers"], node["swept_at"]
    tasks = f"{_number(node['tasks'])} of {_number(node['limit'])}" if node["limit"] else ""
    leaking = (
        f"{_number(node['inits_leaking'])} of {_number(containers)}"
        if containers is not None
        else ""
    )
    return [
        Cell(node["host"]),
        Cell(_percent(usage), sort=usage, figure=_bar(usage, points), tone=_tone(usage)),
        Cell(tasks, sort=node["tasks"]),
        _full_in(node["seconds_to_full"]),
        _count(node["zombies"]),
        _spark(points),
        _count(node["would_act"]),
        Cell(leaking, sort=node["inits_leaking"]),
        Cell(_ago(swept_at, at), sort=swept_at, tone="muted" if swept_at is None else ""),
    ]


def _full_in(seconds: float | None) -> Cell:
    """Empty for more than a year, but sorted all the same."""
    if seconds is None:
        return Cell("")
    text = _duration(seconds) if seconds <= 365 * DAY else ""
    return Cell(text, sort=seconds, tone="bad" if seconds < DAY else "")


def _workloads(fleet: Fleet) -> Table:
    return _table(
        name="workloads",
        title="Worst workloads",
        about="Parents that hold zombies now.",
        columns=(
            Column("Node", wide=True),
            Column("Workload"),
            Column("Tenant", wide=True),
            Column("Parent"),
            Column("PID", number=True, wide=True),
            Column("Zombies", number=True, sorted=True),
            Column("Oldest", number=True, wide=True),
            Column("New per hour", number=True, wide=True),
            Column("PID limit used", number=True, wide=True),
            Column("If swept now", wide=True),
            Column("What helps", wide=True),
        ),
        rows=fleet["offenders"],
        cells=_workload,
        nothing=_nothing(fleet, "No zombies anywhere."),
    )


def _nothing(fleet: Mapping[str, Any], words: str) -> str:
    """What stands in place of an empty table. words: where nodes were checked."""
    return words if fleet["totals"]["looked"] else UNKNOWN


def _workload(row: Row) -> list[Cell]:
    pid = "" if row["pid"] is None else str(row["pid"])
    if row["verdict"] == "act":
        verdict = Cell(f"would act: {row['explanation']}")
    else:
        verdict = Cell(f"left alone: {row['explanation']}", tone="muted")
    return [
        Cell(row["host"]),
        Cell(row["workload"], note=f"{row['host']}, PID {pid}" if pid else row["host"]),
        _tenant(row["tenant"]),
        Cell(row["name"]),
        Cell(pid, sort=row["pid"]),
        _count(row["zombies"]),
        Cell(_duration(row["oldest_age"]), sort=row["oldest_age"]),
        _count(row["leaking_per_hour"]),
        Cell(_percent(row["usage"]), sort=row["usage"], tone=_tone(row["usage"])),
        verdict,
        # What its parent may still ask for does no harm
        Cell("" if row["reason"] == "may_be_waited_for" else label(row["cures"])),
    ]


def _tenants(fleet: Fleet) -> Table:
    return _table(
        name="tenants",
        title="Worst tenants now",
        about=(
            "A tenant is the owner of the lease if the lease is verified, or else the Kubernetes"
            " namespace."
        ),
        columns=(
            Column("Tenant"),
            Column("Zombies", number=True, sorted=True),
            Column("Parents", number=True),
            Column("Nodes", number=True),
        ),
        rows=fleet["tenants"],
        cells=lambda row: [
            _tenant(row["tenant"]),
            _count(row["zombies"]),
            _count(row["offenders"]),
            _count(row["hosts"]),
        ],
        nothing=_nothing(fleet, "No tenant has zombies."),
    )


def _leaked(trends: Trends) -> Table:
    return _table(
        name="leaked",
        title="Tenants that leaked most in 30 days",
        about=(
            "How many zombies they left, at least: those that came and went between two reports"
            " are not counted."
        ),
        columns=(
            Column("Tenant"),
            Column("Leaked", number=True, sorted=True),
            Column("Cleared", number=True),
            Column("Parents ended", number=True),
        ),
        rows=trends.tenants,
        cells=lambda row: [
            _tenant(row["tenant"]),
            _count(row["leaked"]),
            _count(row["cleared"]),
            _count(row["ended"]),
        ],
        nothing="None known.",
    )


def _inits(fleet: Fleet) -> Table:
    return _table(
        name="inits",
        title="Inits that leak",
        about=(
            "PID 1 of these containers does not collect orphans, so orphans that end there stay"
            " as zombies."
        ),
        columns=(
            Column("Node", wide=True),
            Column("Workload"),
            Column("Tenant", wide=True),
            Column("PID 1"),
            Column("Zombies", number=True, sorted=True),
            Column("Why", wide=True),
            Column("What helps", wide=True),
        ),
        rows=fleet["inits"],
        cells=lambda row: [
            Cell(row["host"]),
            Cell(row["workload"], note=row["host"]),
            _tenant(row["tenant"]),
            Cell(row["name"]),
            _count(row["zombies"]),
            Cell(row["explanation"]),
            Cell(row["advice"]),
        ],
        nothing=_nothing(fleet, "None is known to leak."),
    )


def _actions(fleet: Fleet, at: float) -> Table:
    return _table(
        name="done",
        title="What was done",
        about="The parents that each node's last sweep acted on.",
        columns=(
            Column("Node"),
            Column("When", number=True, wide=True),
            Column("Workload"),
            Column("Tenant", wide=True),
            Column("Parent", wide=True),
            Column("Remedy"),
            Column("Cleared", number=True),
            Column("Outcome", wide=True),
        ),
        rows=fleet["actions"],
        cells=lambda row: _action(row, at),
        nothing=_nothing(fleet, "The last sweeps acted on no parent."),
    )


def _action(row: Row, at: float) -> list[Cell]:
    if row["ended"]:
        outcome = Cell("ended", tone="warn")
    else:
        outcome = Cell(row["outcome"].replace("_", " "))
    parent = row["name"] if row["pid"] is None else f"{row['name']} (PID {row['pid']})"
    return [
        Cell(row["host"]),
        Cell(_ago(row["at"], at), sort=row["at"]),
        Cell(row["workload"], note=parent),
        _tenant(row["tenant"]),
        Cell(parent),
        Cell(row["remedy"] or "none helped"),
        _count(row["cleared"]),
        outcome,
    ]


def _bar(usage: float | None, points: Sequence[Point]) -> Markup:
    if usage is None:
        return Markup()
    peak = max([usage] + [point.usage for point in points])
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect'
        ' class="track" width="100" height="8"/><rect class="fill" width="{:.1f}" height="8"/><rect'
        ' class="mark" x="{:.1f}" width="1" height="8"/></svg>'
    ).format(100 * min(1, usage), 99 * min(1, peak))


def _spark(points: Sequence[Point]) -> Cell:
    """A node's zombies over time, scaled to their own peak."""
    if len(points) < 2:
        return Cell("", tone="muted")
    figure = Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img"'
        ' aria-label="{0}"><title>{0}</title><polyline points="{1}"/></svg>'
    ).format(_course(points), _line(points, width=100, height=22))
    return Cell("", figure=figure)


def _course(points: Sequence[Point]) -> str:
    """The zombies of a trend in words."""
    peak = max(point.zombies for point in points)
    first, last = _number(points[0].zombies), _number(points[-1].zombies)
    return f"{first} at the start, {last} at the end, {_number(peak)} at the peak"


def _line(points: Sequence[Point], width: float, height: float) -> str:
    """Zombies over time as points in SVG, below a margin of 1."""
    peak = max(point.zombies for point in points) or 1
    return " ".join(
        f"{point.place * width:.1f},{1 + height * (1 - point.zombies / peak):.1f}"
        for point in points
    )


def _chart(trends: Trends) -> Chart | None:
    """None if there are fewer than two points."""
    points = trends.fleet
    if len(points) < 2:
        return None
    line = _line(points, width=1000, height=118)
    return Chart(
        line=line,
        area=f"{1000 * points[0].place:.1f},120 {line} {1000 * points[-1].place:.1f},120",
        words=f"Zombies on the nodes of this report: {_course(points)}.",
        since=_day(trends.since),
        until=_day(trends.until),
    )
