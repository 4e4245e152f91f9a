"""What it takes until many zombies are gone."""

from __future__ import annotations

from pathlib import Path

from scale import crowd_with_room, has_memory
from tables import table

HERE = Path(__file__).resolve().parent
WAYS_TO_CLEAR = ("check", "terminate"), ("reap",), ("daemon",)
SIZES = {
    "tiny": {"counts": [20], "ways": WAYS_TO_CLEAR[:2]},
    "usual": {"counts": [1000]},
    "full": {"counts": [1000, 10000, 100000]},
}


def measure(counts, ways=WAYS_TO_CLEAR) -> str:
    """The table, as Markdown. ways: those of each tuple have the same zombies, one after the
    other.
    """
    rows = []
    for count in counts:
        if not has_memory("zombies", count):
            rows.append([format(count, ","), "not measured: too little memory"] + [""] * 4)
            continue
        for hows in ways:
            with crowd_with_room("container", count, 1, "reaps") as run:
                rows += [
                    [
                        format(count, ","),
                        WHAT[how],
                        *_of_agent(run(HERE / "cleared_once.py", how, 2)),
                    ]
                    for how in hows
                ]
    return table(
        "Until they are gone, and the memory of the agent",
        "The whole agent, interpreter included, on zombies of the PID 1 of a container, until"
        " the last is gone. `reap` is one sweep after the other, each at most 15 s for one"
        " parent, or the daemon with an interval of 1 s. `terminate` ends the container, and the"
        " kernel collects what was in it."
        "\n\n"
        "`bench/run --full --only cleared` measures it.",
        ["zombies of one parent", "with", "sweeps", "seconds", "CPU", "most memory"],
        rows,
    )


WHAT = {
    "check": "a sweep that only reports",
    "reap": "`reap`, sweeps",
    "daemon": "`reap`, daemon",
    "terminate": "`terminate`",
}


def _of_agent(figure) -> list:
    return [
        figure["runs"],
        f"{figure['seconds']:.1f}",
        f"{figure['cpu']:.1f} s",
        f"{figure['memory']:.0f} MB",
    ]
