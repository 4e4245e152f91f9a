"""The same as fleet.py, over ssh. Only where it is named, as it takes long."""

from __future__ import annotations

import fleet

SIZES = {
    "tiny": {"count": 1, "playbooks": fleet.PLAYBOOKS[:1]},
    "full": {"count": 40, "playbooks": fleet.PLAYBOOKS[:3]},
}


def measure(count, playbooks) -> str:
    return fleet.measure(count, playbooks, connection="ssh", name="fleet_ssh")
