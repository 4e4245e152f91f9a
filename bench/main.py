"""Runs every measurement and prints the tables."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import collect
import fleet
import idle_sweep
import init_runtime
import latency
import role_tasks
import scale
import scan
import stubborn_parents

NEEDED, NEEDED_IN_FULL = (
    ("gcc", "gdb"),
    ("nginx", "wrk", "redis-server", "redis-benchmark", "pgbench"),
)
STOPS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
LOADED = 10  # seconds for each server, with and without

INTRODUCTION = """\
# Benchmarks

Written by `bench/run --full --write docs/benchmarks.md`. Every ratio is of one run, in which the candidates took turns; figures
are medians. CPU is user and system time of all processes involved. Each measurement runs in a PID namespace of its own, in
which there is nothing but what is named.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        action="store_true",
        help=(
            "larger sizes too, and servers under load; raises kernel.pid_max and kernel.threads-max"
            " for as long as that takes"
        ),
    )
    size.add_argument("--tiny", action="store_true", help="the least that shows that it works")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the tables into this file too"
    )
    arguments = parser.parse_args()
    missing = [
        name
        for name in NEEDED + (NEEDED_IN_FULL if arguments.full else ())
        if not shutil.which(name)
    ]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; ./run-tests installs them")
    if os.geteuid() != 0:
        parser.error("root is needed, for the PID namespaces")
    for (
        number
    ) in STOPS:  # cleans up after each, even where a shell in the background ignores SIGINT
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    processes, runs, counts, parents, sample, collected = (
        250,
        21,
        [1000, 10000],
        1000,
        2,
        [1, 10, 100, 1000],
    )
    few_runs, containers, fleet_size = collect.FEW_RUNS, scale.CONTAINERS, (20, 1)
    cleared: list[Any] = [[1000]]
    storms: list[Any] = [[10000]]
    known, known_runs, living = [1000, 10000], None, [10000]
    if arguments.full:
        counts.append(100000)
        fleet_size = 200, 1
        collected += [10000, 50000]
        known, living, cleared, storms = (
            [1000, 10000, 100000, 1000000],
            [10000, 100000],
            [[1000, 10000, 100000]],
            [[10000, 100000]],
        )
    if arguments.tiny:
        processes, runs, counts, parents, sample, collected = 5, 1, [20], 3, 1, [2]
        few_runs, containers, fleet_size = 1, 5, (2, 1)
        known, known_runs, living, cleared, storms = (
            [5, 50],
            1,
            [20],
            [[20], scale.WAYS_TO_CLEAR[:2]],
            [[20], 0.2, slice(0, 4, 2)],
        )
    plot_file = (
        arguments.write.with_name(arguments.write.stem + "-scale.svg") if arguments.write else None
    )
    page = INTRODUCTION + f"\nMeasured on {machine()}.\n"
    print(page)
    measurements = [
        lambda: idle_sweep.measure(processes, runs),
        lambda: scan.measure(counts),
        lambda: stubborn_parents.measure(parents, sample),
        lambda: collect.measure(collected, few_runs),
        role_tasks.measure,
        lambda: scale.measure_known(known, living, plot_file, known_runs),
        lambda: scale.measure_cleared(*cleared),
        lambda: scale.measure_storms(*storms),
        lambda: scale.measure_tick(containers),
        lambda: fleet.measure(*fleet_size),
        lambda: init_runtime.measure(runs),
    ]
    if arguments.full:
        measurements.append(lambda: latency.measure(LOADED))
    for measure in measurements:
        table = measure()
        print(table, flush=True)
        page += "\n" + table
    if arguments.write:
        arguments.write.write_text(page, encoding="utf-8")
    return 0


def stop(_number, _frame) -> None:
    """End once, and let nothing disturb the cleaning up."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def machine() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    cores, python = os.cpu_count(), platform.python_version()
    return f"Linux {kernel}, {platform.machine()}, {cores} cores, Python {python}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
