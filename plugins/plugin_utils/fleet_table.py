# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a run as text for people. Up to three nodes are shown in full; for more, a table
lists those that need attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES
from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import action_in_words
from ansible_collections.provider.fleet.plugins.module_utils.reaper.textfile import NO_DIRECTORY

from .node_row import FAILED, LOOKED, SWEPT, UNREACHABLE, NodeRow

MAX_SHOWN_IN_FULL = 3  # nodes; for more there is a table
MAX_LINES = 40  # errors, lines of one node's report, rows of the table
MAX_NAMES = 8  # nodes or tenants named in one line
WIDEST_NAME = 40  # characters of a node's name in the table
HEADINGS = ("node", "zombies", "cleared", "left", "by", "PIDs used")
HEADINGS_OF_A_LOOK = ("node", "zombies", "PIDs used", "most of them")
NUMERIC = ("zombies", "cleared", "left")  # headings of right-aligned columns


def as_lines(rows: Iterable[NodeRow]) -> list[str]:
    """Lines without control characters. rows: one for each node, at least one in all."""
    nodes = sorted(rows, key=_worst_first)
    known = [row for row in nodes if row.has_report]
    lines = [_states(nodes)]
    if known:
        lines += _totals(known)
    lines += _reasons(nodes)[:MAX_LINES]
    lines += _in_full(known) if len(nodes) <= MAX_SHOWN_IN_FULL else _table(known)
    return [
        "".join(character if character.isprintable() else "?" for character in line)
        for line in lines
    ]


def cron_is_stopped_as_line(hosts: Iterable[str]) -> str:
    """On which nodes nothing is scheduled."""
    names = sorted(hosts)
    return f"no cron runs, so nothing is scheduled on {plural(len(names), 'node')}: {_names(names)}"


def audits_as_lines(audits: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Which nodes have containers whose init leaves orphans as zombies. audits: the counts of
    init_audit by host.
    """
    containers, collecting, leaking, unknown = (
        sum(counts.get(key, 0) for counts in audits.values())
        for key in ("containers", "reaps", "leaks", "unknown")
    )
    lines = [
        f"inits of {plural(containers, 'container')} on {plural(len(audits), 'node')}:"
        f" {number(collecting)} collect orphans, {number(leaking)} leak, {number(unknown)} unknown"
    ]
    leaks = {host: counts["leaks"] for host, counts in audits.items() if counts.get("leaks")}
    if leaks:
        worst_first = sorted(leaks, key=lambda host: (-leaks[host], host))
        lines.append(f"leaking: {_names([f'{host} ({leaks[host]})' for host in worst_first])}")
    unlimited = {host: counts.get("unlimited_pods", 0) for host, counts in audits.items()}
    pods = sum(unlimited.values())
    if pods:
        most_first = sorted(filter(unlimited.get, unlimited), key=lambda host: -unlimited[host])
        lines.append(
            f"{plural(pods, 'pod')} without a PID limit (podPidsLimit of the kubelet sets one):"
            f" {_names([f'{host} ({unlimited[host]})' for host in most_first])}"
        )
    return lines


def _worst_first(row: NodeRow) -> tuple[bool, int, int, str]:
    return (not row.short_of_pids, -row.left, -row.zombies, row.host)


def _states(rows: Sequence[NodeRow]) -> str:
    words = {SWEPT: "swept", LOOKED: "checked", FAILED: "failed", UNREACHABLE: "unreachable"}
    counts = {state: sum(1 for row in rows if row.state == state) for state in words}
    shown = ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count)
    return f"{plural(len(rows), 'node')}: {shown}"


def _reasons(nodes: Sequence[NodeRow]) -> list[str]:
    """Why nodes failed or were not reached: one line for all with the same reason, as a wrong
    option gives to each node that has it.
    """
    hosts: dict[tuple[str, str], list[str]] = {}
    for row in nodes:
        if row.why:
            hosts.setdefault((row.state, row.why), []).append(row.host)
    return [
        f"{state}: {names[0]}: {why}"
        if len(names) == 1
        else f"{state}: {plural(len(names), 'node')} ({_names(names)}): {why}"
        for (state, why), names in hosts.items()
    ]


def _totals(known: Sequence[NodeRow]) -> list[str]:
    lines = [_zombies(known)]
    ended = [row for row in known if row.parents_ended]
    if ended:
        count = sum(row.parents_ended for row in ended)
        lines.append(f"{plural(count, 'workload')} ended on {_names([row.host for row in ended])}")
    tenants = sorted({tenant for row in known for tenant in row.tenants})
    if tenants:
        lines.append(f"{plural(len(tenants), 'tenant')} affected: {_names(tenants)}")
    short = [f"{row.host} ({_pids(row)})" for row in known if row.short_of_pids]
    if short:
        lines.append(f"short of PIDs: {_names(short)}")
    foreign = [f"{row.host} ({row.foreign_scripts[0]})" for row in known if row.foreign_scripts]
    if foreign:
        lines.append(
            f"foreign scripts signal parents of zombies on {plural(len(foreign), 'node')}:"
            f" {_names(foreign)}; remove them, or run provider.fleet.site, which replaces"
            " kill_zombie_parents"
        )
    reporting = [row.host for row in known if row.report_only]
    if reporting:
        lines.append(
            f"report only on {plural(len(reporting), 'node')}, no remedies are set:"
            f" {_names(reporting)}"
        )
    without_reap = [f"{row.host} ({row.reap_refusal})" for row in known if row.reap_refusal]
    if without_reap:
        lines.append(
            f"reap is impossible on {plural(len(without_reap), 'node')}: {_names(without_reap)}"
        )
    without_metrics = [row.host for row in known if row.has_no_metrics]
    if without_metrics:
        lines.append(
            f"metrics: {NO_DIRECTORY} on {plural(len(without_metrics), 'node')}:"
            f" {_names(without_metrics)}"
        )
    return lines


def _zombies(known: Sequence[NodeRow]) -> str:
    zombies = sum(row.zombies for row in known)
    with_zombies = sum(1 for row in known if row.zombies)
    if not zombies and not any(row.left for row in known):
        enough = not any(row.short_of_pids for row in known)
        return "no zombies, and enough free PIDs" if enough else "no zombies"
    line = f"{plural(zombies, 'zombie')} on {plural(with_zombies, 'node')}"
    if _is_look(known):
        would_act = sum(row.would_act for row in known)
        later = [seconds for row in known for seconds in row.due_later]
        if not would_act and not later:
            return line
        return f"{line}; a sweep would {action_in_words(would_act, later)}"
    cleared, left = sum(row.cleared for row in known), sum(row.left for row in known)
    by = ", ".join(f"{remedy} {number(count)}" for remedy, count in _cleared_by(known) if count)
    by = f" ({by})" if by else ""
    return f"{line}: {number(cleared)} cleared{by}, {number(left)} left"


def _cleared_by(known: Sequence[NodeRow]) -> list[tuple[str, int]]:
    """(remedy, zombies), in the order in which remedies are tried."""
    totals = dict.fromkeys(REMEDIES, 0)
    for row in known:
        for remedy, count in row.cleared_by.items():
            totals[remedy] = totals.get(remedy, 0) + count
    return list(totals.items())


def _in_full(known: Sequence[NodeRow]) -> list[str]:
    """What each of a few nodes reported."""
    lines = []
    for row in known:
        shown = list(row.lines[:MAX_LINES])
        if len(row.lines) > len(shown):
            shown.append(f"and {plural(len(row.lines) - len(shown), 'more line')}")
        lines += [""] + [f"{row.host}: {line}" for line in shown]
    return lines


def _table(known: Sequence[NodeRow]) -> list[str]:
    """Nodes that have zombies or are short of PIDs, in the order of ``known``."""
    rows = [row for row in known if row.zombies or row.short_of_pids]
    if not rows:
        return []
    shown = rows[:MAX_LINES]
    if _is_look(known):
        table = [HEADINGS_OF_A_LOOK, *map(_cells_of_a_look, shown)]
    else:
        table = [HEADINGS, *map(_cells, shown)]
    lines = ["", *_aligned(table)]
    if len(rows) > len(shown):
        lines.append(f"and {plural(len(rows) - len(shown), 'more node')} with fewer zombies")
    fine = len(known) - len(rows)
    if fine:
        lines.append(f"{plural(fine, 'node')} without zombies and with enough free PIDs")
    return lines


def _cells(row: NodeRow) -> tuple[str, ...]:
    """A cell for each of :data:`HEADINGS`."""
    by = ", ".join(remedy for remedy, count in _cleared_by([row]) if count)
    return (
        row.host[:WIDEST_NAME],
        number(row.zombies),
        number(row.cleared),
        number(row.left),
        by or ("would act" if row.would_act else "-"),
        _pids(row),
    )


def _cells_of_a_look(row: NodeRow) -> tuple[str, ...]:
    """A cell for each of :data:`HEADINGS_OF_A_LOOK`."""
    count, who = row.largest
    largest = f"{number(count)} of {who}" if count else "-"
    return row.host[:WIDEST_NAME], number(row.zombies), _pids(row), largest


def _is_look(known: Sequence[NodeRow]) -> bool:
    """Whether nothing was done on any node."""
    return all(row.check_mode for row in known)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    headings = table[0]
    widths = [max(len(line[column]) for line in table) for column in range(len(headings))]
    return [
        "  ".join(
            cell.rjust(width) if heading in NUMERIC else cell.ljust(width)
            for heading, cell, width in zip(headings, line, widths)
        ).rstrip()
        for line in table
    ]


def _pids(row: NodeRow) -> str:
    if row.usage is None or row.limit is None:
        return "-"
    shown = f"{100 * row.usage:.0f}% of {number(row.limit)}"
    if row.seconds_to_full is None or not row.short_of_pids:
        return shown
    return f"{shown}, full in about {row.seconds_to_full / 3600:.0f} h"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def number(count: int) -> str:
    """``1,000``."""
    return format(count, ",")


def plural(count: int, noun: str) -> str:
    """``1 node``, ``1,000 nodes``."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"
