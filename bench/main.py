"""Runs every measurement and prints the tables."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path

import page

# Each is a file here with SIZES and measure(), which returns a table. PLOT is a part of the name of
# the picture, where it draws one.
ROWS = (
    "idle_sweep",
    "scan",
    "stubborn_parents",
    "collect",
    "neighbour",
    "role_tasks",
    "known",
    "cleared",
    "memory",
    "storms",
    "tick",
    "look",
    "fleet",
    "init_runtime",
    "latency",
)
IF_NAMED = ("fleet_ssh",)  # what --only has to name
NEEDED, NEEDED_IN_FULL = (
    ("gcc", "gdb"),
    ("nginx", "wrk", "redis-server", "redis-benchmark", "pgbench"),
)
STOPS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
MACHINE = "machine"  # the part of the page that says where and when


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        action="store_const",
        dest="size",
        const="full",
        default="usual",
        help=(
            "larger sizes too, and servers under load; raises kernel.pid_max and kernel.threads-max"
            " for as long as that takes"
        ),
    )
    size.add_argument(
        "--tiny",
        action="store_const",
        dest="size",
        const="tiny",
        help="the least that shows that it works",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        choices=ROWS + IF_NAMED,
        help=f"these tables only, of {', '.join(ROWS)}; {', '.join(IF_NAMED)} only if named",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        nargs="?",
        const=page.BENCHMARKS,
        help="write the tables into this file too, between the marks of each; by default"
        " docs/benchmarks.md, of which docs/comparison.md quotes some",
    )
    arguments = parser.parse_args()
    missing = [
        name
        for name in NEEDED + (NEEDED_IN_FULL if arguments.size == "full" else ())
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
    parts = {MACHINE: machine(arguments.size, arguments.only)}
    print(parts[MACHINE], flush=True)
    began = time.monotonic()
    for name in arguments.only or ROWS:
        row = importlib.import_module(name)
        if arguments.size not in row.SIZES:
            continue
        options = dict(row.SIZES[arguments.size])
        if hasattr(row, "PLOT") and arguments.write:
            options["plot_file"] = arguments.write.with_name(
                f"{arguments.write.stem}-{row.PLOT}.svg"
            )
        before = time.monotonic()
        parts[name] = row.measure(**options)
        print(parts[name], flush=True)
        print(f"{name} took {time.monotonic() - before:.0f} s.\n", file=sys.stderr, flush=True)
    print(f"All took {(time.monotonic() - began) / 60:.1f} minutes.", file=sys.stderr)
    if arguments.write:
        page.write(arguments.write, parts)
    return 0


def stop(_number, _frame) -> None:
    """End once, and let nothing disturb the cleaning up."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def machine(size, only) -> str:
    """Where and when the figures were taken, in a sentence."""
    kernel = ".".join(platform.release().split(".")[:2])
    cores, python = os.cpu_count(), platform.python_version()
    here = f"Linux {kernel}, {platform.machine()}, {cores} cores, Python {python}"
    how = "" if size == "usual" else f" --{size}"
    if only:
        return f"Measured on {here}, but not all at once; last {', '.join(only)}, on {today()}.\n"
    return f"Measured on {here}, in one run of `bench/run{how}` on {today()}.\n"


def today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
