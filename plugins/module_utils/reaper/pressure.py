# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room for more processes: the one rule by which remedies, reports, metrics,
alerts and summaries call a node short of PIDs.

A zombie on a node with room harms nobody. Room is short once the share taken of a limit reaches the
option ``pressure``, or when the limit will be reached within an hour, at a rate that was observed
for half an hour and with at least a tenth taken (:func:`.limits.forecast`).
"""

from __future__ import annotations

import math

from .kernel.limits import Forecast
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .node.observe import Offender, Snapshot

ROOM, PRESSURE, FULL = LEVELS = ("room", "pressure", "full")
FULL_SHARE = 0.95  # of a limit; beyond it there is no time left to be patient
SOON = 3600.0  # seconds to full
USUAL = 0.5  # the option's default
NODE = "node"


class Room(Record):
    """How much room there is at one limit."""

    level: str  # one of LEVELS
    share: float  # used / limit
    used: int  # tasks
    limit: int  # tasks
    where: str  # NODE, or the path of a cgroup
    seconds_to_full: float | None  # None where it is unknown or use does not grow

    @property
    def is_short(self) -> bool:
        """Whether zombies do harm."""
        return self.level != ROOM

    def too_many(self, pressure: float) -> int:
        """How many tasks must go until the share is below ``pressure``; all of them where room is
        short by the forecast only.
        """
        most = max(0, math.ceil(pressure * self.limit) - 1)
        return self.used - most if self.share >= pressure else self.used


def at(used: int, limit: int, forecast: Forecast, pressure: float, where: str = NODE) -> Room:
    """The room at one limit. pressure: the option, 0 to 1; with 0, room is always short."""
    share = used / limit if limit else 1.0
    seconds = forecast.seconds_to_full
    if share >= FULL_SHARE:
        level = FULL
    elif share >= pressure or seconds is not None and seconds <= SOON:
        level = PRESSURE
    else:
        level = ROOM
    return Room(
        level=level,
        share=share,
        used=used,
        limit=limit,
        where=where,
        seconds_to_full=seconds,
    )


def of_node(snapshot: Snapshot, pressure: float) -> Room:
    """The room on the whole node."""
    return at(snapshot.limits.tasks, snapshot.limits.limit, snapshot.forecast, pressure)


def told(snapshot: Snapshot, pressure: float) -> Room:
    """The room on the whole node, for reports and alerts: operators whose sweeps always act
    (``pressure: 0``) still want to know when room is short.
    """
    return of_node(snapshot, pressure or USUAL)


def of(snapshot: Snapshot, offender: Offender, pressure: float) -> Room:
    """The room that the parent has: the node's or its cgroup's, whichever is less."""
    rooms, pids = [of_node(snapshot, pressure)], offender.pids
    if pids and pids.max:  # with a limit of 0, nothing can be started whatever is there
        rooms.append(at(pids.current, pids.max, offender.forecast, pressure, pids.cgroup))
    return max(rooms, key=lambda room: (LEVELS.index(room.level), room.share))
