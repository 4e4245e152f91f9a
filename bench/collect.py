"""Seconds until a living parent has collected its zombies, and for how long it was stopped meanwhile."""

from __future__ import annotations

from pathlib import Path

from crowd import ZOMBIES, crowd
from tables import table

HERE = Path(__file__).resolve().parent
MOST_BY_GDB = 1000  # above that the rest is computed


def measure(counts) -> str:
    rows = []
    for count in counts:
        ours, theirs = once(count, "reap"), once(min(count, MOST_BY_GDB), "gdb")
        gdb = theirs["seconds"] * (count / MOST_BY_GDB if count > MOST_BY_GDB else 1)
        rows.append([
            format(count, ","), "%.3f" % ours["seconds"], format(round(count / ours["seconds"]), ","), "%.1f ms" % ours["longest_stop_ms"],
            "%.2f%s" % (gdb, " (computed)" if count > MOST_BY_GDB else ""), "%.0f times" % (gdb / ours["seconds"])])
    return table(
        "Collecting zombies from inside their living parent",
        "The remedy `reap` beside a debugger told to do the same: `gdb -p PID`, one `call (int) waitpid(…)` for each. With gdb the "
        "parent is stopped all the time; above %s zombies its time is computed from those. A parent stopped by `reap` runs at least as long "
        "before it is stopped again, which is in the seconds. It is to be 5,000 a second, and less than 2 ms of stop for one zombie." % (
            format(MOST_BY_GDB, ",")),
        ["zombies of one parent", "reap: seconds", "zombies a second", "longest stop", "gdb: seconds, all of them stopped", "gdb takes"],
        rows)


def once(count, how) -> dict:
    with crowd(ZOMBIES, count) as run:
        return run(HERE / "collect_once.py", how)
