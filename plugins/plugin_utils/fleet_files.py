# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JSON and as CSV, and files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import secrets

FORMULAS = tuple("=+-@\t\r\n＝＋－＠")
COLUMNS = (
    "kind",
    "host",
    "state",
    "why",
    "tenant",
    "workload",
    "runtime",
    "namespace",
    "pod",
    "container",
    "lease",
    "pid",
    "name",
    "executable",
    "zombies",
    "cleared",
    "would_act",
    "oldest_age",
    "leaking_per_hour",
    "tasks",
    "limit",
    "bound_by",
    "usage",
    "growth_per_hour",
    "seconds_to_full",
    "containers",
    "inits_leaking",
    "audit_error",
    "verdict",
    "reason",
    "explanation",
    "remedy",
    "outcome",
    "ended",
    "at",
    "swept_at",
)
KINDS = {"node": "nodes", "offender": "offenders", "init": "inits", "action": "actions"}


def as_json(fleet: dict, tenants: list) -> str:
    """fleet: from :func:`.fleet_data.fleet`. tenants: of :class:`.fleet_history.Trends`."""
    return json.dumps({**fleet, "tenants_30_days": tenants}, indent=1, allow_nan=False) + "\n"


def as_csv(fleet: dict) -> str:
    """A line for each node, parent of zombies, leaking init and parent that a sweep acted on;
    ``kind`` tells them apart.
    """
    text = io.StringIO()
    # quoted, a semicolon begins no cell where a comma is no separator
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for kind, rows in KINDS.items():
        for row in fleet[rows]:
            writer.writerow([kind] + [_cell(row.get(column)) for column in COLUMNS[1:]])
    return text.getvalue()


def _cell(value):
    """Programs take what begins with one of these signs for a formula, and run it (OWASP, CSV
    Injection); an apostrophe makes it text.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and (
        value.startswith(FORMULAS) or value.lstrip().startswith(FORMULAS)
    ):
        return "'" + value
    return value


def make_directory(path: str, check_mode: bool) -> str:
    """The directory's absolute path; made where it is not there, but not in check mode. ``OSError``
    where that cannot be.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if not check_mode:
        os.makedirs(path, exist_ok=True)
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise NotADirectoryError(20, "it is there and is no directory", there)
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(13, "this user cannot write there", there)
    return path


def write(path: str, text: str) -> None:
    """Replace a file whole or not at all; ``OSError`` where that fails."""
    new = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{secrets.token_hex(8)}.new"
    try:
        with open(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666),
            "w",
            encoding="utf-8",
            newline="",
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
