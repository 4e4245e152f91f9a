# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JSON and as CSV, and how its files are written: each is replaced as a whole or left
alone.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # what the first character of a formula can be
COLUMNS = (
    "kind",
    "host",
    "state",
    "why",
    "tenant",
    "tenant_kind",
    "workload",
    "runtime",
    "namespace",
    "pod",
    "container",
    "lease",
    "pid",
    "name",
    "executable",
    "is_init",
    "zombies",
    "orphans",
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
    "advice",
    "remedy",
    "outcome",
    "ended",
    "at",
    "swept_at",
)
KINDS = {"node": "nodes", "offender": "offenders", "init": "inits", "action": "actions"}


def as_json(fleet: Mapping[str, Any], tenants: Sequence[Mapping[str, Any]]) -> str:
    """fleet: from :func:`.fleet_data.fleet`. tenants: from :class:`.fleet_history.Trends`."""
    return json.dumps({**fleet, "tenants_30_days": tenants}, indent=1, allow_nan=False) + "\n"


def as_csv(fleet: Mapping[str, Any]) -> str:
    """One line for each node, each parent of zombies, each leaking init and each parent that a
    sweep acted on. The column ``kind`` says which of these a line is.
    """
    text = io.StringIO()
    # Text is always quoted: some spreadsheets separate cells by semicolons instead of commas
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for kind, rows in KINDS.items():
        for row in fleet[rows]:
            writer.writerow([kind] + [_cell(row.get(column)) for column in COLUMNS[1:]])
    return text.getvalue()


def _cell(value: object) -> object:
    """Spreadsheets run text that begins like a formula (OWASP, CSV Injection); a leading apostrophe
    keeps it text.
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
    """The directory's absolute path. It is created if it is missing, except in check mode. Raises
    ``OSError`` if that is impossible, in check mode too.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if not check_mode:
        os.makedirs(path, exist_ok=True)
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise NotADirectoryError(errno.ENOTDIR, "it exists but is not a directory", existing)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this user cannot write there", existing)
    return path


def replace_all(directory: str, texts: Mapping[str, str], ours: re.Pattern[str]) -> None:
    """Make these the only files there whose names match ``ours``; others are left alone. Raises
    ``OSError``.
    """
    if texts:
        os.makedirs(directory, exist_ok=True)
    elif not os.path.isdir(directory):
        return
    for name, text in texts.items():
        write(os.path.join(directory, name), text)
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name not in texts and ours.fullmatch(name) and not os.path.isdir(path):
            os.unlink(path)


def write(path: str, text: str) -> None:
    """Replace a file as a whole, or raise ``OSError`` and leave it as it is."""
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
