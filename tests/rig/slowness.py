"""How much slower than usual the machine is on which the tests run: an emulated CPU is 10 to 30
times slower than a real one.

``REAPER_SLOWNESS`` says it; whoever starts the tests there has measured it with this file, run as a
program. Limits that only guard against hanging are scaled by it, and so is the time that the agent
gives others to react.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

SLOWNESS = max(1.0, float(os.environ.get("REAPER_SLOWNESS", "1")))
USUAL = 0.2  # seconds of the work below on a usual machine


def scaled(seconds) -> float:
    return seconds * SLOWNESS


def measured() -> float:
    """Half of the work is a loop, and half of it is new processes, as in the tests."""
    before = time.monotonic()
    total = 0
    for number in range(2_000_000):
        total += number
    for _run in range(10):
        subprocess.run([sys.executable, "-IS", "-c", "pass"], check=True)
    return (time.monotonic() - before) / USUAL


if __name__ == "__main__":
    print(f"{max(1.0, measured()):.1f}")
