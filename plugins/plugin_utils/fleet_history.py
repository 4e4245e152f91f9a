# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each report saw, in one SQLite file. A run is added in one transaction, and old runs are
deleted.

``PRAGMA user_version`` is the number of :data:`MIGRATIONS` that have been applied to the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from .node_row import LOOKED

APPLICATION_ID = 0x5A4F4D42  # PRAGMA application_id, marks the file as ours
LOCK_WAIT = 30.0  # seconds to wait for the transaction of another run
TREND = 30 * 86400  # seconds that trends go back
POINTS = 60  # at most, in one trend
MAX_TENANTS = 20  # kept of a node in one run: those with the most zombies
MAX_RANKED = 100  # tenants ranked by how much they leaked

MIGRATIONS = (
    (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)",
        "CREATE INDEX runs_at ON runs (at)",
        # swept_at: the end of the sweep that cleared and ended are about; both are 0 if an earlier
        # run already counted that sweep
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

# Between two looks at a node, a tenant has leaked at least the zombies there now plus those that
# were cleared, minus those there before
_RANKED = """
    WITH looks AS (
        SELECT run, host, runs.at, LAG(run) OVER (PARTITION BY host ORDER BY run) AS before
        FROM nodes JOIN runs ON runs.id = run
        WHERE state = :looked AND runs.at >= :since - :trend
            AND host IN (SELECT host FROM temp.covered))
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
    WHERE at >= :since AND state = :looked AND host IN (SELECT host FROM temp.covered)
    GROUP BY host, place ORDER BY host, place"""

_RUNS = """
    SELECT COUNT(*), MIN(at), MAX(at) FROM runs WHERE at BETWEEN ? AND ? AND EXISTS (
        SELECT 1 FROM nodes WHERE run = runs.id AND host IN (SELECT host FROM temp.covered))"""


class HistoryError(Exception):
    """The file cannot be used and was left as it is. The message says why, in one sentence."""


class Point(NamedTuple):
    """One point of a trend."""

    place: float  # in time: 0 is the first run of the trends, 1 the last
    zombies: int
    usage: float  # share of the PIDs


class Trends(NamedTuple):
    """The last :data:`TREND` seconds, of the nodes in a report."""

    runs: int
    since: int  # seconds since the epoch, of the first run
    until: int  # of the last run
    nodes: dict[str, list[Point]]  # by host; a point has the highest figures of its time
    fleet: list[Point]  # zombies of these nodes together, and the highest usage of any
    tenants: list[dict[str, Any]]  # tenant, leaked (at least), cleared, ended, hosts; worst first


NO_TRENDS = Trends(runs=0, since=0, until=0, nodes={}, fleet=[], tenants=[])


@dataclass
class _Counts:
    """The zombies of one tenant on one node, and what the last sweep did about them."""

    zombies: int = 0
    cleared: int = 0
    ended: int = 0

    def total(self) -> int:
        return self.zombies + self.cleared + self.ended


class History:
    """The history in one file, which is created if it is missing; a context manager.

    read_only: for :meth:`check`; creates nothing.
    """

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        mode = "ro" if read_only else "rwc"
        with self._plain_errors():
            self.connection = sqlite3.connect(
                f"file:{quote(os.path.abspath(path))}?mode={mode}",
                uri=True,
                timeout=LOCK_WAIT,
                isolation_level=None,
            )

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.connection.close()

    def check(self) -> None:
        """Raise :class:`HistoryError` if no run could be added to this file as it is."""
        with self._plain_errors():
            self._version()

    def add(self, fleet: Mapping[str, Any], at: int, keep_days: int) -> None:
        """Add what :func:`.fleet_data.fleet` returned, and delete runs older than ``keep_days``."""
        with self._plain_errors():
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self._migrate()
                self._insert(fleet, at)
                self.connection.execute("DELETE FROM runs WHERE at < ?", (at - keep_days * 86400,))
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may already have rolled it back
                    self.connection.execute("ROLLBACK")
                raise

    def trends(self, fleet: Mapping[str, Any], at: int) -> Trends:
        """The trends of the nodes in that report, up to that time, in seconds since the epoch."""
        with self._plain_errors():
            self.connection.execute("DROP TABLE IF EXISTS temp.covered")
            self.connection.execute("CREATE TEMP TABLE covered (host TEXT PRIMARY KEY)")
            self.connection.executemany(
                "INSERT OR IGNORE INTO temp.covered VALUES (?)",
                [(node["host"],) for node in fleet["nodes"]],
            )
            runs, since, until = self.connection.execute(_RUNS, (at - TREND, at)).fetchone()
            if not runs:
                return NO_TRENDS
            step = max(1, -(-(until - since + 1) // POINTS))
            last = max(1, (until - since) // step)
            values = {
                "since": since,
                "step": step,
                "looked": LOOKED,
                "trend": TREND,
                "most": MAX_RANKED,
            }
            nodes: dict[str, list[Point]] = {}
            for host, place, zombies, usage in self.connection.execute(_SERIES, values):
                nodes.setdefault(host, []).append(Point(place / last, zombies, usage or 0))
            keys = ("tenant", "leaked", "cleared", "ended", "hosts")
            tenants = [dict(zip(keys, row)) for row in self.connection.execute(_RANKED, values)]
        return Trends(
            runs=runs,
            since=since,
            until=until,
            nodes=nodes,
            fleet=_together(nodes),
            tenants=tenants,
        )

    def _version(self) -> int:
        version: int
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (tables,) = self.connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise HistoryError(
                f"{self.path} is a database of another program and was left as it is; choose"
                " another directory"
            )
        if version > len(MIGRATIONS):
            raise HistoryError(
                f"{self.path} was written by a newer version of this collection (its schema is"
                f" {version}, this version knows up to {len(MIGRATIONS)}) and was left as it is;"
                " use that version or another directory"
            )
        return version

    def _migrate(self) -> None:
        version = self._version()
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {number}")
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _insert(self, fleet: Mapping[str, Any], at: int) -> None:
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
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise HistoryError(
                    f"{self.path} was locked by another process for more than {LOCK_WAIT:g} s"
                ) from None
            raise HistoryError(f"{self.path} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise HistoryError(
                f"{self.path} is damaged or not an SQLite database ({error}) and was left as it is;"
                " move it away, and the next report starts a new one"
            ) from None


def _by_tenant(
    fleet: Mapping[str, Any], new: Container[str]
) -> list[tuple[str, str, int, int, int]]:
    """Rows of the table ``tenants``, without the run. new: hosts whose last sweep has not been
    counted yet.
    """
    found: dict[str, dict[str, _Counts]] = defaultdict(lambda: defaultdict(_Counts))
    for row in fleet["offenders"]:
        found[row["host"]][row["tenant"]].zombies += row["zombies"]
    for row in fleet["actions"]:
        if row["host"] in new:
            counts = found[row["host"]][row["tenant"]]
            counts.cleared += row["cleared"]
            counts.ended += row["ended"]
    return [
        (host, tenant, counts.zombies, counts.cleared, counts.ended)
        for host, tenants in found.items()
        for tenant, counts in sorted(tenants.items(), key=lambda item: -item[1].total())[
            :MAX_TENANTS
        ]
    ]


def _together(nodes: Mapping[str, list[Point]]) -> list[Point]:
    """The trends of all nodes as one. A node that a run did not look at counts as it was before."""
    at_place: dict[float, dict[str, Point]] = {}
    for host, points in nodes.items():
        for point in points:
            at_place.setdefault(point.place, {})[host] = point
    known: dict[str, Point] = {}
    fleet = []
    for place in sorted(at_place):
        known.update(at_place[place])
        fleet.append(
            Point(
                place,
                zombies=sum(point.zombies for point in known.values()),
                usage=max(point.usage for point in known.values()),
            )
        )
    return fleet
