"""Properties are tried however slow the machine is just then: how long an example takes says
nothing about it. What they try says nothing about a kernel, so a few are enough where each takes long.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from rig.slowness import SLOWNESS

settings.register_profile(
    "any machine",
    deadline=None,
    max_examples=100 if SLOWNESS == 1 else 5,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")
