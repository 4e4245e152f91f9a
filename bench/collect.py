"""Seconds until a living parent has collected its zombies, and for how long it was stopped
meanwhile.
"""

from __future__ import annotations

import os
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from crowd import ZOMBIES, crowd
from scan import room_for_many
from tables import table

HERE = Path(__file__).resolve().parent
USUAL_TABLE = 30000  # processes that fit into kernel.pid_max as it usually is
FEW_RUNS = 5
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"counts": [2], "few_runs": 1},
    "usual": {"counts": [1, 10, 100, 1000]},
    "full": {"counts": [1, 10, 100, 1000, 10000, 50000]},
}
MAX_BY_GDB = 1000  # above that the rest is computed


def measure(counts, few_runs=FEW_RUNS) -> str:
    rows = []
    for count in counts:
        apart = [once(count, "reap") for _run in range(few_runs if count <= 100 else 1)]
        together = once(count, "reap", cpus={min(os.sched_getaffinity(0))})
        gdb = once(min(count, MAX_BY_GDB), "gdb")["seconds"] * max(1, count / MAX_BY_GDB)
        seconds = statistics.median(result["seconds"] for result in apart)
        rows.append(
            [
                format(count, ","),
                f"{seconds:.3f}",
                format(round(count / seconds), ","),
                format(round(count / together["seconds"]), ","),
                "%.1f ms" % statistics.median(result["longest_stop_ms"] for result in apart),
                "%.2f%s" % (gdb, " (computed)" if count > MAX_BY_GDB else ""),
                f"{gdb / seconds:.0f} times",
            ]
        )
    return table(
        "Collecting zombies from inside their living parent",
        "The remedy `reap` beside a debugger that is told to do the same: `gdb -p PID`, with one"
        " `call (int) waitpid(…)` for each zombie. With gdb the parent is stopped all the time."
        f" Above {format(MAX_BY_GDB, ',')} zombies its time is computed from those."
        "\n\n"
        "A parent stopped by `reap` runs at least as long before it is stopped again, and the"
        " seconds include that. The aims are 5,000 zombies a second, and less than 2 ms of stop"
        " for one zombie."
        "\n\n"
        "Each zombie takes two changes from the sweep to the parent and back. What costs most is"
        " to wake another CPU for them, so the rate with both on one CPU is given too."
        "\n\n"
        "`bench/run --full --only collect` measures it.",
        [
            "zombies of one parent",
            "reap: seconds",
            "zombies a second",
            "on one CPU",
            "longest stop",
            "gdb: seconds, all of them stopped",
            "gdb takes",
        ],
        rows,
    )


def once(count, how, cpus=None) -> dict:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        with (
            room_for_many() if count > USUAL_TABLE else nullcontext(),
            crowd(ZOMBIES, count) as run,
        ):
            return run(HERE / "collect_once.py", how)
    finally:
        os.sched_setaffinity(0, before)
