# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each report saw, in one SQLite file: a run is added whole or not at all, and old ones are
pruned.

``PRAGMA user_version`` is the number of :data:`MIGRATIONS` that the file has had.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import namedtuple
from urllib.parse import quote

from .node_row import LOOKED

APPLICATION_ID = 0x5A4F4D42  # PRAGMA application_id, to tell its files from other programs'
LOCK_WAIT = 30.0  # seconds for another run to end its transaction
TREND = 30 * 86400  # seconds that trends go back
POINTS = 60  # of a trend
MAX_TENANTS = 20  # of a node in one run, those with most zombies
MAX_RANKED = 100

MIGRATIONS = (
    (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)",
        "CREATE INDEX runs_at ON runs (at)",
        # swept_at: when the sweep ended whose work is in cleared and ended; they are 0 where an
        # earlier run has counted it
        """CREATE TABLE nodes (
            run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            host TEXT NOT NULL, state TEXT NOT NULL, zombies INTEGER, tasks INTEGER, usage REAL,
            swept_at REAL, cleared INTEGER, ended INTEGER,
            PRIMARY KEY (run, host)) WITHOUT ROWID""",
        "CREATE INDEX nodes_host ON nodes (host, run)",
        """CREATE TABLE tenants (
            run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            host TEXT NOT NULL, tenant TEXT NOT NULL, zombies INTEGER NOT NULL,
            cleared INTEGER NOT NULL, ended INTEGER NOT NULL,
            PRIMARY KEY (run, host, tenant)) WITHOUT ROWID""",
    ),
)

# What a tenant has made on a node between two looks is at least what is there now and what was
# cleared, less what was there before
_RANKED = """
    WITH looks AS (
        SELECT run, host, runs.at, LAG(run) OVER (PARTITION BY host ORDER BY run) AS before
        FROM nodes JOIN runs ON runs.id = run WHERE state = :looked AND runs.at >= :since - :trend)
    SELECT now.tenant,
        SUM(MAX(0, now.zombies + now.cleared - COALESCE(earlier.zombies, 0))) AS leaked,
        SUM(now.cleared), SUM(now.ended), COUNT(DISTINCT now.host)
    FROM looks JOIN tenants AS now ON now.run = looks.run AND now.host = looks.host
        LEFT JOIN tenants AS earlier ON earlier.run = looks.before
            AND earlier.host = now.host AND earlier.tenant = now.tenant
    WHERE looks.at >= :since
    GROUP BY now.tenant HAVING leaked > 0 OR SUM(now.ended) > 0
    ORDER BY leaked DESC, now.tenant LIMIT :most"""

_SERIES = """
    SELECT host, (at - :since) / :step AS place, MAX(zombies), MAX(usage)
    FROM runs JOIN nodes ON nodes.run = runs.id
    WHERE at >= :since AND state = :looked GROUP BY host, place ORDER BY host, place"""


class HistoryError(Exception):
    """The file cannot be used, and was left as it is. The message is one sentence that says why."""


class Trends(namedtuple("Trends", ("runs", "since", "until", "nodes", "fleet", "tenants"))):
    """Of the last :data:`TREND` seconds. runs: int. since, until: int, seconds since the epoch, of
    the first and the last run.

    nodes: ``{host: [(share, zombies, usage), ...]}``, share from 0 to 1 being the place between
    since and until; at most :data:`POINTS` of each, with the most of its time. fleet: the same with
    all nodes' zombies and the highest usage. tenants: list of dictionaries with ``tenant``,
    ``leaked`` (zombies made, at least), ``cleared``, ``ended`` and ``hosts``, those that leaked
    most first.
    """

    __slots__ = ()


NO_TRENDS = Trends(0, 0, 0, {}, [], [])


class History:
    """The file of that path, made where it is not there; a context manager. read_only: for
    :meth:`check`, and makes nothing.
    """

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        name = "file:%s?mode=%s" % (quote(os.path.abspath(path)), "ro" if read_only else "rwc")
        with self._plain_errors():
            self.connection = sqlite3.connect(
                name, uri=True, timeout=LOCK_WAIT, isolation_level=None
            )

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_why) -> None:
        self.connection.close()

    def check(self) -> None:
        """Raise :class:`HistoryError` where a run could not be added to this file as it is."""
        with self._plain_errors():
            self._version()

    def add(self, fleet: dict, at: int, keep_days: int) -> None:
        """Add what :func:`.fleet_data.fleet` returned, and forget runs that are older than so many
        days.
        """
        with self._plain_errors():
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self._migrate()
                self._insert(fleet, at)
                self.connection.execute("DELETE FROM runs WHERE at < ?", (at - keep_days * 86400,))
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # it may have been rolled back already
                    self.connection.execute("ROLLBACK")
                raise

    def trends(self, at: int) -> Trends:
        """Up to that time."""
        with self._plain_errors():
            runs, since, until = self.connection.execute(
                "SELECT COUNT(*), MIN(at), MAX(at) FROM runs WHERE at BETWEEN ? AND ?",
                (at - TREND, at),
            ).fetchone()
            if not runs:
                return NO_TRENDS
            step = max(1, -(-(until - since + 1) // POINTS))
            values = {
                "since": since,
                "step": step,
                "looked": LOOKED,
                "trend": TREND,
                "most": MAX_RANKED,
            }
            nodes = {}
            for host, place, zombies, usage in self.connection.execute(_SERIES, values):
                nodes.setdefault(host, []).append((place, zombies, usage or 0))
            keys = ("tenant", "leaked", "cleared", "ended", "hosts")
            tenants = [dict(zip(keys, row)) for row in self.connection.execute(_RANKED, values)]
        last = max(1, (until - since) // step)
        fleet = _together(nodes, last)
        nodes = {
            host: [(place / last, *rest) for place, *rest in points]
            for host, points in nodes.items()
        }
        return Trends(runs, since, until, nodes, fleet, tenants)

    def _version(self) -> int:
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self.connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise HistoryError(
                f"{self.path} is a database of another program; it was left as it is. Name"
                " another directory"
            )
        if version > len(MIGRATIONS):
            raise HistoryError(
                f"{self.path} is of a newer version of this collection (its schema is {version},"
                f" this one knows up to {len(MIGRATIONS)}); it was left as it is. Use that version,"
                " or another directory"
            )
        return version

    def _migrate(self) -> None:
        for place, statements in enumerate(MIGRATIONS[self._version() :], self._version() + 1):
            for statement in statements:
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {place}")
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _insert(self, fleet, at) -> None:
        run = self.connection.execute("INSERT INTO runs (at) VALUES (?)", (int(at),)).lastrowid
        counted = dict(
            self.connection.execute("SELECT host, MAX(swept_at) FROM nodes GROUP BY host")
        )
        new = {
            node["host"]
            for node in fleet["nodes"]
            if (node["swept_at"] or 0) > (counted.get(node["host"]) or 0)
        }
        self.connection.executemany(
            "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    run,
                    node["host"],
                    node["state"],
                    node["zombies"],
                    node["tasks"],
                    node["usage"],
                    node["swept_at"],
                    *((node["cleared"], node["ended"]) if node["host"] in new else (0, 0)),
                )
                for node in fleet["nodes"]
            ],
        )
        self.connection.executemany(
            "INSERT INTO tenants VALUES (?, ?, ?, ?, ?, ?)",
            [(run, *row) for row in _by_tenant(fleet, new)],
        )

    @contextlib.contextmanager
    def _plain_errors(self):
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise HistoryError(
                    f"{self.path} was held by another process for longer than {LOCK_WAIT:g} s"
                ) from None
            raise HistoryError(f"{self.path} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise HistoryError(
                f"{self.path} is damaged or no SQLite database ({error}); it was left as"
                " it is. Move it away, and"
                " the next report begins a new one"
            ) from None


def _by_tenant(fleet, new) -> list:
    """(host, tenant, zombies, cleared, ended) of each tenant on each node. new: hosts whose last
    sweep was not counted yet.
    """
    found = {}
    for row in fleet["offenders"]:
        found.setdefault(row["host"], {}).setdefault(row["tenant"], [0, 0, 0])[0] += row["zombies"]
    for row in fleet["actions"]:
        if row["host"] in new:
            entry = found.setdefault(row["host"], {}).setdefault(row["tenant"], [0, 0, 0])
            entry[1] += row["cleared"]
            entry[2] += row["ended"]
    return [
        (host, tenant, *numbers)
        for host, tenants in found.items()
        for tenant, numbers in sorted(tenants.items(), key=lambda item: -sum(item[1]))[:MAX_TENANTS]
    ]


def _together(nodes, last) -> list:
    """All nodes' series as one: a node that a run did not look at counts as it was before."""
    at_place = {}
    for host, points in nodes.items():
        for place, zombies, usage in points:
            at_place.setdefault(place, {})[host] = zombies, usage
    known, fleet = {}, []
    for place in sorted(at_place):
        known.update(at_place[place])
        fleet.append(
            (
                place / last,
                sum(zombies for zombies, _usage in known.values()),
                max(usage for _zombies, usage in known.values()),
            )
        )
    return fleet
