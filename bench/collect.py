"""Seconds until living parents have collected their zombies, and for how long each was stopped at a
time.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from scale import crowd_with_room
from tables import table

HERE = Path(__file__).resolve().parent
FEW_RUNS = 5
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"counts": [2], "parents": 2, "few_runs": 1},
    "usual": {"counts": [1, 10, 100, 1000], "parents": 100},
    "full": {"counts": [1, 10, 100, 1000, 10000, 100000], "parents": 100},
}
MAX_BY_GDB = 1000  # above that the rest is computed


def measure(counts, parents, few_runs=FEW_RUNS) -> str:
    rows = [_row(count, 1, few_runs) for count in counts]
    rows += [_row(count, parents, few_runs) for count in counts if count >= parents]
    return table(
        "Collecting zombies from inside their living parent",
        "The remedy `reap` beside a debugger that is told to do the same: `gdb -p PID`, with one"
        " `call (int) waitpid(…)` for each zombie. With gdb the parent is stopped all the time."
        f" Above {MAX_BY_GDB:,} zombies its time is computed from those, and for more parents it"
        " was not tried. gdb 13 fails on a processor with AMX, whose registers it cannot write back."
        "\n\n"
        "A parent that `reap` has stopped then runs for at least as long, and the seconds include"
        " that. Meanwhile other parents have their turn. The aims are 4,000 zombies a second where"
        " a parent has 100, and less than 2 ms of stop for one zombie. Medians of up to"
        f" {few_runs} runs."
        "\n\n"
        "`bench/run --full --only collect` measures it.",
        [
            "zombies",
            "of parents",
            "reap: seconds",
            "zombies a second",
            "longest stop",
            "gdb: seconds, all of them stopped",
            "gdb takes",
        ],
        rows,
    )


def _row(count, parents, few_runs) -> list:
    runs = few_runs if count <= MAX_BY_GDB else 1
    results = [once(count, parents, "reap") for _run in range(runs)]
    seconds = statistics.median(result["seconds"] for result in results)
    by_gdb = ["", ""]
    if parents == 1:
        by_gdb = _beside(once(min(count, MAX_BY_GDB), 1, "gdb")["seconds"], count, seconds)
    return [
        f"{count:,}",
        f"{parents:,}",
        f"{seconds:.3f}",
        f"{round(count / seconds):,}",
        "%.1f ms" % statistics.median(result["longest_stop_ms"] for result in results),
        *by_gdb,
    ]


def _beside(of_gdb, count, seconds) -> list:
    if of_gdb is None:
        return ["it fails here", ""]
    gdb = of_gdb * max(1, count / MAX_BY_GDB)
    computed = " (computed)" if count > MAX_BY_GDB else ""
    return [f"{gdb:.2f}{computed}", f"{gdb / seconds:.0f} times"]


def once(count, parents, how) -> dict:
    with crowd_with_room("parents", count, parents, "keeps") as run:
        return run(HERE / "collect_once.py", how)
