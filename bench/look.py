"""What it costs to find out that there is no zombie, by processes and by cgroups."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import plot
from crowd import ENGINE, compiled, crowd_of
from scale import HIERARCHIES, USUAL_TABLE, cgroups, has_memory
from scan import room_for_many
from tables import table

HERE = Path(__file__).resolve().parent
DRAWN = {"look": "by stacks", "ledger": "by the ledger", "ps": "ps with awk"}
PLOT = "look"
SIZES = {
    "tiny": {"processes": [20], "empty_cgroups": [2], "runs": 1},
    "usual": {"processes": [100, 1000, 10000], "empty_cgroups": [10, 200, 2000], "runs": 5},
    "full": {"processes": [100, 1000, 10000, 100000], "empty_cgroups": [10, 200, 2000], "runs": 5},
}


def measure(processes, empty_cgroups, runs, plot_file=None) -> str:
    """Numbers of living processes, and of cgroups. plot_file: where to write a picture of the
    first.
    """
    by_processes = [(count, _cpu(count, 0, runs)) for count in processes]
    by_cgroups = [(count, _cpu(0, count, runs)) for count in empty_cgroups]
    text = (
        "CPU of a look by the daemon on the whole machine, with so many processes or cgroups"
        " more than it has by itself. It looks by the kernel's stacks, by the ledger with its"
        " files open, and by ps with awk, in turns. The figures are medians. A look by stacks"
        " takes the same time everywhere; on a busy machine it is repeated up to three times."
        "\n\n"
        "`bench/run --full --only look` measures it."
    )
    if plot_file:
        points = {
            title: [(count, cpu[name]) for count, cpu in by_processes if cpu]
            for name, title in DRAWN.items()
        }
        plot.write(plot_file, "living processes", "CPU of a look", points)
        text += (
            "\n\n![CPU of a look, by the number of processes: the rows below, on two logarithmic"
            f" scales]({plot_file.name})"
        )
    return table(
        "A look where nothing is wrong",
        text,
        ["with", "by stacks", "by the ledger", "ps with awk", "ps takes times as much"],
        [_row(f"{count:,} processes", cpu) for count, cpu in by_processes]
        + [_row(f"{count:,} cgroups", cpu) for count, cpu in by_cgroups],
    )


def _row(title, cpu) -> list:
    if not cpu:
        return [title, "not measured: too little memory", "", "", ""]
    times = float(f"{cpu['ps'] / cpu['look']:.2g}")
    return [title, *(f"{1e3 * cpu[name]:.2f} ms" for name in DRAWN), f"{times:,.0f}"]


def _cpu(processes, empty, runs) -> dict:
    """Seconds of each way; empty where there is too little memory."""
    if not has_memory("living", processes):
        return {}
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
    return json.loads(done.stdout)
