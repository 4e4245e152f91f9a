# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room for more processes: the one rule by which remedies, reports, metrics,
alerts and summaries call a node short of PIDs.

A zombie on a node with room harms nobody. Room runs short where the share that is taken of a limit
has reached the option ``pressure``, or where the limit will be met within an hour, at a rate that
was seen for half an hour and from a tenth taken (:func:`.limits.forecast`).
"""

from __future__ import annotations

import math
from collections import namedtuple

from .kernel.limits import Forecast

ROOM, PRESSURE, FULL = LEVELS = ("room", "pressure", "full")
FULL_SHARE = 0.95  # of a limit; from there on there is no time left to be patient
SOON = 3600.0  # seconds to full
USUAL = 0.5  # the option where nobody gave another one
NODE = "node"


class Room(namedtuple("Room", ("level", "share", "used", "limit", "where", "seconds_to_full"))):
    """How much room there is at one limit.

    level: one of :data:`LEVELS`. share: float, used / limit; used, limit: int, tasks. where:
    :data:`NODE`, or the path of a cgroup.
    seconds_to_full: float, None where that is not known or it does not grow.
    """

    __slots__ = ()

    @property
    def is_short(self) -> bool:
        """Whether zombies do harm."""
        return self.level != ROOM

    def too_many(self, pressure: float) -> int:
        """How many tasks must go until the share is below ``pressure``; all of them where only the
        forecast is the reason.
        """
        most = max(0, math.ceil(pressure * self.limit) - 1)
        return self.used - most if self.share >= pressure else self.used


def at(used: int, limit: int, forecast: Forecast, pressure: float, where: str = NODE) -> Room:
    """:class:`Room` at one limit. pressure: the option, 0 to 1; 0 is always."""
    share = used / limit if limit else 1.0
    seconds = forecast.seconds_to_full
    if share >= FULL_SHARE:
        level = FULL
    elif share >= pressure or seconds is not None and seconds <= SOON:
        level = PRESSURE
    else:
        level = ROOM
    return Room(level, share, used, limit, where, seconds)


def of_node(snapshot, pressure: float) -> Room:
    """Of the whole node. snapshot: :class:`.observe.Snapshot`."""
    return at(snapshot.limits.tasks, snapshot.limits.limit, snapshot.forecast, pressure)


def told(snapshot, pressure: float) -> Room:
    """Of the whole node, for people and for alerts. An operator who acts always (0) still wants to
    know when room is short.
    """
    return of_node(snapshot, pressure or USUAL)


def of(snapshot, offender, pressure: float) -> Room:
    """Where the parent is: of the node and its cgroups, the one with the least room."""
    rooms, pids = [of_node(snapshot, pressure)], offender.pids
    if pids and pids.max:  # 0 forbids to start anything, whatever is there
        rooms.append(at(pids.current, pids.max, offender.forecast, pressure, pids.cgroup))
    return max(rooms, key=lambda room: (LEVELS.index(room.level), room.share))
