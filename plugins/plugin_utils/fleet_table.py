# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a run as text for people: all that matters of one node, or a table of those of five
hundred that need a look.
"""

from __future__ import annotations

from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES

from .node_row import FAILED, LOOKED, SWEPT, UNREACHABLE

MAX_SHOWN_IN_FULL = 3  # nodes up to which all that each of them reported is shown
MAX_LINES = 40  # of the report of one node, or of the table
MAX_NAMES = 8  # nodes or tenants named in one line
WIDEST_NAME = 40  # characters of the name of a node


def as_lines(rows) -> list:
    """rows: :class:`.node_row.NodeRow`, one a node, at least one. Returns lines without control
    characters.
    """
    rows = sorted(rows, key=_worst_first)
    known = [row for row in rows if row.lines]  # of those that failed later, too
    lines = [_states(rows)]
    if known:
        lines += _totals(known)
    lines += [f"{row.state}: {row.host}: {row.why}" for row in rows if row.why][:MAX_LINES]
    lines += _each(known) if len(rows) <= MAX_SHOWN_IN_FULL else _table(known)
    return [
        "".join(character if character.isprintable() else "?" for character in line)
        for line in lines
    ]


def audits_as_lines(audits) -> list:
    """audits: ``{host: counts of init_audit}``. Which nodes have containers whose init leaves
    orphans as zombies.
    """
    totals = {
        key: sum(counts.get(key, 0) for counts in audits.values())
        for key in ("containers", "reaps", "leaks", "unknown")
    }
    lines = [
        f"{plural(totals['containers'], 'container')} on {plural(len(audits), 'node')}:"
        f" the init of {number(totals['reaps'])} collects orphans, of"
        f" {number(totals['leaks'])} leaks, of {number(totals['unknown'])} is not known"
    ]
    leaking = sorted(
        (-counts.get("leaks", 0), host) for host, counts in audits.items() if counts.get("leaks")
    )
    if leaking:
        lines.append("leaking: %s" % _names([f"{host} ({-count})" for count, host in leaking]))
    return lines


def _worst_first(row) -> tuple:
    return (not row.short_of_pids, -row.left, -row.zombies, row.host)


def _states(rows) -> str:
    counts = [
        (sum(1 for row in rows if row.state == state), state)
        for state in (SWEPT, LOOKED, FAILED, UNREACHABLE)
    ]
    words = {LOOKED: "looked at"}
    return "%s: %s" % (
        plural(len(rows), "node"),
        ", ".join(f"{count} {words.get(state, state)}" for count, state in counts if count),
    )


def _totals(known) -> list:
    zombies, left, cleared = (
        sum(getattr(row, name) for row in known) for name in ("zombies", "left", "cleared")
    )
    line = (
        f"{plural(zombies, 'zombie')} on {plural(sum(1 for row in known if row.zombies), 'node')}"
    )
    if not all(row.check_mode for row in known):
        by = [f"{remedy} {number(count)}" for remedy, count in _cleared_by(known) if count]
        line += ": %s cleared%s, %s left" % (
            number(cleared),
            f" ({', '.join(by)})" if by else "",
            number(left),
        )
    elif any(row.would_act for row in known):
        line += f"; a sweep would act on {plural(sum(row.would_act for row in known), 'parent')}"
    lines = [line]
    ended = [row for row in known if row.parents_ended]
    if ended:
        lines.append(
            f"{plural(sum(row.parents_ended for row in ended), 'workload')} ended, on"
            f" {_names([row.host for row in ended])}"
        )
    tenants = sorted({tenant for row in known for tenant in row.tenants})
    if tenants:
        lines.append(f"{plural(len(tenants), 'tenant')} concerned: {_names(tenants)}")
    short = [row for row in known if row.short_of_pids]
    if short:
        lines.append("short of PIDs: %s" % _names([f"{row.host} ({_pids(row)})" for row in short]))
    without_reap = [row for row in known if row.reap_refusal]
    if without_reap:
        lines.append(
            "reap is impossible on %s: %s"
            % (
                plural(len(without_reap), "node"),
                _names([f"{row.host} ({row.reap_refusal})" for row in without_reap]),
            )
        )
    return lines


def _cleared_by(known) -> list:
    """(remedy, number), in the order in which they are tried."""
    totals = dict.fromkeys(REMEDIES, 0)
    for row in known:
        for remedy, count in row.cleared_by.items():
            totals[remedy] = totals.get(remedy, 0) + count
    return list(totals.items())


def _each(known) -> list:
    """What each of a few nodes reported."""
    lines = []
    for row in known:
        shown = list(row.lines[:MAX_LINES])
        if len(row.lines) > len(shown):
            shown.append(f"and {plural(len(row.lines) - len(shown), 'more line')}")
        lines += [""] + [f"{row.host}: {line}" for line in shown]
    return lines


def _table(known) -> list:
    """Nodes that have zombies or are short of PIDs; those that are short come first, then those on
    which most zombies are left.
    """
    rows = [row for row in known if row.zombies or row.short_of_pids]
    shown = rows[:MAX_LINES]
    cells = [("node", "zombies", "cleared", "left", "by", "PIDs taken")] + [
        (
            row.host[:WIDEST_NAME],
            number(row.zombies),
            number(row.cleared),
            number(row.left),
            ", ".join(remedy for remedy, count in _cleared_by([row]) if count)
            or ("would act" if row.would_act else "-"),
            _pids(row),
        )
        for row in shown
    ]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    lines = (
        [
            "  ".join(
                cell.rjust(width) if 1 <= place <= 3 else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in cells
        ]
        if shown
        else []
    )
    if len(rows) > len(shown):
        lines.append(f"and {plural(len(rows) - len(shown), 'more node')} with fewer")
    fine = len(known) - len(rows)
    if fine:
        lines.append(f"{plural(fine, 'node')} without a zombie, and with PIDs enough")
    return [""] + lines


def _pids(row) -> str:
    if row.usage is None:
        return "-"
    soon = row.seconds_to_full is not None and row.short_of_pids
    return "%.0f %% of %s%s" % (
        100 * row.usage,
        number(row.limit),
        f", full in about {row.seconds_to_full / 3600:.0f} h" if soon else "",
    )


def _names(names) -> str:
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def number(count) -> str:
    """``1,000``."""
    return format(count, ",")


def plural(count: int, noun: str) -> str:
    """``1 node``, ``1,000 nodes``."""
    return "%s %s%s" % (number(count), noun, "" if count == 1 else "s")
