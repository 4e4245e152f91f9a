"""What it costs to find out that there is no zombie, by processes and by cgroups."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from crowd import ENGINE, compiled, crowd_of
from scale import HIERARCHIES, USUAL_TABLE, cgroups, has_memory
from scan import room_for_many
from tables import table

HERE = Path(__file__).resolve().parent


SIZES = {
    "tiny": {"processes": [20], "empty_cgroups": [2], "runs": 1},
    "usual": {"processes": [100, 1000, 10000], "empty_cgroups": [10, 200, 2000], "runs": 5},
    "full": {"processes": [100, 1000, 10000, 100000], "empty_cgroups": [10, 200, 2000], "runs": 5},
}


def measure(processes, empty_cgroups, runs) -> str:
    """Numbers of living processes, and of cgroups."""
    rows = [_row(f"{count:,} processes", count, 0, runs) for count in processes]
    rows += [_row(f"{count:,} cgroups", 0, count, runs) for count in empty_cgroups]
    return table(
        "A look where nothing is wrong",
        "CPU of a look by the daemon on the whole machine, with so many processes or cgroups"
        " more than it has by itself. It looks by the kernel's stacks, by the ledger with its"
        " files open, and by ps with awk, in turns. The figures are medians. A look by stacks"
        " takes the same time everywhere; on a busy machine it is repeated up to three times."
        "\n\n"
        "`bench/run --full --only look` measures it.",
        ["with", "by stacks", "by the ledger", "ps with awk", "ps takes times as much"],
        rows,
    )


def _row(title, processes, empty, runs) -> list:
    if not has_memory("living", processes):
        return [title, "not measured: too little memory", "", "", ""]
    with ExitStack() as until_gone:
        if processes > USUAL_TABLE:
            until_gone.enter_context(room_for_many(processes + 50000))
        if empty:
            until_gone.enter_context(cgroups(HIERARCHIES[-1], empty))
        if processes:
            until_gone.enter_context(crowd_of([compiled(), "living", processes, 0, "reaps"]))
        done = subprocess.run(
            [sys.executable, HERE / "look_once.py", ENGINE, "/sys/fs/cgroup", str(runs)],
            capture_output=True,
            text=True,
            check=True,
        )
    cpu = json.loads(done.stdout)
    return [
        title,
        *(f"{1e3 * cpu[name]:.2f} ms" for name in ("look", "ledger", "ps")),
        f"{cpu['ps'] / cpu['look']:,.0f}",
    ]
