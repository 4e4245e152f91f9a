"""Run among zombies of PID 1: have it collect all of them, by the engine or by gdb, and print how
long that took. JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

sys.path.append(sys.argv[1])
from reaper.kernel import procfs
from reaper.node import observe
from reaper.paths import Paths
from reaper.remedies.reap import reap


def by_reap() -> dict:
    taken, longest, stops = 0.0, 0.0, 0
    offender = leaking_parent()
    began = time.monotonic()
    while offender:
        (outcome,) = reap(procfs.ProcFS(), [offender])
        taken += outcome.seconds
        longest = max(longest, outcome.max_stop_ms)
        stops += 1
        offender = leaking_parent() if outcome.result == "unfinished" else None
    return {
        "seconds": taken,
        "longest_stop_ms": longest,
        "runs": stops,
        "wall": time.monotonic() - began,
    }


def by_gdb() -> dict:
    zombies = leaking_parent().zombies
    with tempfile.NamedTemporaryFile("w", suffix=".gdb") as script:
        script.writelines(f"call (int) waitpid({zombie.pid}, 0, 1)\n" for zombie in zombies)
        script.flush()
        began = time.monotonic()
        done = subprocess.run(
            ["gdb", "-nx", "-batch", "-p", "1", "-x", script.name],
            check=False,
            capture_output=True,
            text=True,
        )
        taken = time.monotonic() - began
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return {"seconds": taken, "longest_stop_ms": 1000 * taken}


def leaking_parent():
    offenders = observe.snapshot(
        procfs.ProcFS(), Paths(), observe.History(), time.monotonic()
    ).offenders
    return next((offender for offender in offenders if offender.pid == 1), None)


result = by_gdb() if sys.argv[2] == "gdb" else by_reap()
left = leaking_parent()
if left:
    sys.exit(f"{len(left.zombies)} zombies are left")
print(json.dumps(result))
