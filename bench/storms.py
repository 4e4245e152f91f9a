"""For how long nothing can fork while zombies are cleared."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from crowd import compiled
from scale import crowd_with_room, has_memory
from tables import table

HERE = Path(__file__).resolve().parent
SIZES = {
    "tiny": {"counts": [20], "calm": 0.2, "some": slice(0, 4, 2)},
    "usual": {"counts": [10000]},
    "full": {"counts": [10000, 100000]},
}


def measure(counts, calm=2.0, some=slice(None)) -> str:
    """The table, as Markdown. calm: seconds before each storm, and after. some: which of
    :data:`STORMS`.
    """
    rows = []
    for count in counts:
        for how, kind, init, words in STORMS[some]:
            if not has_memory("zombies", count):
                rows.append(
                    [format(count, ","), words, "not measured: too little memory"] + [""] * 3
                )
                continue
            with crowd_with_room(kind, count, 1, init) as run, _meter() as outside:
                figure = run(HERE / "storm_once.py", compiled(), how, 2, init, calm)
            rows.append(
                [
                    format(count, ","),
                    words,
                    *(
                        f"{1000 * gap:.0f} ms"
                        for gap in (figure["calm"], figure["longest"], outside[0])
                    ),
                    f"{figure['seconds']:.1f}",
                ]
            )
    return table(
        "The storm: for how long nothing can fork",
        "When a parent ends, all its zombies go at once to whoever adopts them, under a lock"
        " that every fork needs. Two processes fork all the time, one in the same PID namespace"
        " and one outside. Shown is the longest time from one fork to the next, during one sweep"
        f" and until the adopter is done. Calm is the same for {calm:g} s before."
        "\n\n"
        "`terminate` would leave a parent alone that holds too many; that is turned off for"
        " this. `bench/run --full --only storms` measures it.",
        [
            "zombies",
            "sweep",
            "calm",
            "longest, in the namespace",
            "longest, outside",
            "seconds until over",
        ],
        rows,
    )


STORMS = [
    ("reap", "parents", "reaps", "`reap`: they stay with their parent"),
    (
        "terminate",
        "container",
        "reaps",
        "`terminate` of the PID 1 of a container: they end with it",
    ),
    ("terminate", "parents", "reaps", "`terminate`, PID 1 collects them"),
    ("terminate", "parents", "keeps", "`terminate`, PID 1 never waits"),
]


@contextlib.contextmanager
def _meter():
    """A list that has the longest time without a fork in it, afterwards."""
    longest = []
    popen = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", compiled(), "forks"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        popen.stdout.readline()
        yield longest
    finally:
        popen.terminate()
        longest.append(float(popen.communicate()[0]))
