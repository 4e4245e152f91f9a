"""What a server notices that shares its CPU with a parent whose zombies are collected."""

from __future__ import annotations

from pathlib import Path

from crowd import ZOMBIES, crowd
from tables import table

HERE = Path(__file__).resolve().parent
SIZES = {"tiny": {"count": 20}, "usual": {"count": 1000}, "full": {"count": 4000}}
WAYS = {
    "calm": "no sweep",
    "apart": "the sweep stays where it is",
    "beside": "the sweep goes to the parent's CPU",
}


def measure(count) -> str:
    rows = []
    for way, words in WAYS.items():
        with crowd(ZOMBIES, count) as run:
            figure = run(HERE / "neighbour_once.py", way)
        rows.append(
            [
                words,
                format(round(count / figure["seconds"]), ",") if "seconds" in figure else "",
                format(figure["requests"], ","),
                *(f"{1000 * figure[name]:.2f}" for name in ("p50", "p99", "max")),
            ]
        )
    return table(
        "A server on the CPU of the parent",
        f"A parent of {format(count, ',')} zombies and a server that answers one request every"
        " millisecond, both bound to one CPU, while the zombies are collected. The figures are"
        " milliseconds."
        "\n\n"
        "`bench/run --full --only neighbour` measures it.",
        ["sweep", "zombies a second", "requests", "p50", "p99", "max"],
        rows,
    )
