"""What it takes to know that there are zombies, and a parent of them."""

from __future__ import annotations

from pathlib import Path

import plot
from scale import crowd_with_room, has_memory
from tables import table

HERE = Path(__file__).resolve().parent
PARENTS = 1000
NAMES = {
    "ledger": "ledger, one-shot",
    "daemon": "ledger, daemon",
    "named": "ledger, a parent named",
    "find": "`zombies.find()`",
    "scan": "`ProcFS.zombies()`, a full scan",
    "psutil": "psutil.process_iter",
    "ps": "ps with awk",
    "bash": "bash loop over /proc",
}
SLOW = ["psutil", "bash"]  # what takes many seconds from MANY processes on is left out there
MANY = 100000
MOST_OF_PARENTS = 100000  # zombies of PARENTS; a million take four minutes
LIVING = "ledger", "daemon", "scan", "psutil", "ps", "bash"
KNOWN = (
    "All ways on the same processes, in turns. `bench/run --full --only known` measures them."
    "\n\n"
    "The *ledger* alone tells how many zombies there are. Where there are none, nothing else is"
    " read. The *daemon* keeps its files open. *A parent named* is also which cgroups hold them,"
    " and one parent there. `zombies.find()` is what a sweep does before it judges: it looks at"
    " each zombie, of one parent at most 50,000, and counts the rest."
    "\n\n"
    "The one parent is the PID 1 of a container; 1,000 parents are 1,000 processes of a node. ps"
    " is `ps -eo pid,ppid,stat,comm`, and awk counts by parent. The bash loop uses what bash has"
    " built in and starts nothing. The ways in Python are without the start of the interpreter."
    " psutil and bash are left out from 100,000 processes on, where they take many seconds."
)
DRAWN = {
    "ledger": "ledger, the number alone",
    "named": "ledger, a parent named",
    "find": "zombies.find()",
    "scan": "ProcFS.zombies(), a full scan",
    "psutil": "psutil.process_iter",
    "ps": "ps with awk",
    "bash": "bash loop over /proc",
}


PLOT = "scale"
SIZES = {
    "tiny": {"counts": [5, 50], "living": [20], "runs": 1},
    "usual": {"counts": [1000, 10000], "living": [10000]},
    "full": {"counts": [1000, 10000, 100000, 1000000], "living": [10000, 100000]},
}


def measure(counts, living, runs=None, plot_file=None) -> str:
    """The table, as Markdown.

    counts: of zombies. living: of processes on a node without any. plot_file: where to write a
    picture of it. runs: of each; the fewer the larger the number where that is None.
    """
    cases = [("living", count, 0) for count in living] + [
        ("container", count, 1) for count in counts
    ]
    cases += [
        ("parents", count, PARENTS) for count in counts if PARENTS <= count <= MOST_OF_PARENTS
    ]
    rows, points = [], {}
    for kind, count, parents in cases:
        ways = [
            way
            for way in (LIVING if kind == "living" else NAMES)
            if not (count >= MANY and way in SLOW)
        ]
        times = runs or (7 if count <= 1000 else 3 if count <= 10000 else 1)
        title = "%s %s" % (
            format(count, ","),
            (
                "living, no zombie"
                if kind == "living"
                else f"zombies of {format(parents, ',')} parent{'s' * (parents > 1)}"
            ),
        )
        if not has_memory(kind, count):
            rows.append([title, "not measured: too little memory"] + [""] * 4)
            continue
        with crowd_with_room(kind, count, parents, "keeps") as run:
            figures = run(HERE / "known_once.py", times, 0 if kind == "living" else count, *ways)
        for way, figure in figures.items():
            _check(way, figure["told"], kind, count, parents)
            rows.append(
                [
                    title,
                    NAMES[way],
                    _seconds(figure["cpu"]),
                    _seconds(figure["seconds"]),
                    _times(figures["ps"]["cpu"] / figure["cpu"]),
                    _times(figures["ps"]["seconds"] / figure["seconds"]),
                ]
            )
            if kind == "container" and way in DRAWN:
                points.setdefault(DRAWN[way], []).append((count, figure["cpu"]))
    text = KNOWN
    if plot_file:
        plot.write(
            plot_file, "zombies of one parent", "CPU until they and their parent are known", points
        )
        text += "\n\n![%s](%s)" % (
            "CPU until known, by the number of zombies of one parent: the rows below, on two"
            " logarithmic scales",
            plot_file.name,
        )
    return table(
        "Until zombies and their parent are known",
        text,
        ["processes", "way", "CPU", "seconds", "times less CPU than ps with awk", "times sooner"],
        rows,
    )


def _check(way, told, kind, count, parents) -> None:
    """Stop where a way has told something wrong: then its figure means nothing."""
    if kind == "living":
        right = not told
    elif way in ("ledger", "daemon"):
        right = told is None
    elif way == "named":
        right = len(told) == 1
    else:
        right = sum(told.values()) == count // parents * parents and len(told) == parents
    if not right:
        raise SystemExit(f"{way} told something wrong of {count} {kind}: {str(told)[:200]}")


def _seconds(number) -> str:
    return (
        f"{1000 * number:.2g} ms"
        if number < 0.1
        else f"{number:.2f} s"
        if number < 10
        else f"{number:.0f} s"
    )


def _times(number) -> str:
    return f"{number:.2f}" if number < 10 else format(int("%.0f" % float(f"{number:.2g}")), ",")
