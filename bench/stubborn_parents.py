"""Seconds until parents that ignore SIGTERM are gone, zombies and all."""

from __future__ import annotations

from pathlib import Path

from crowd import STUBBORN_PARENTS, crowd
from tables import ratio, table

HERE = Path(__file__).resolve().parent
SIZES = {
    "tiny": {"parents": 3, "sample": 1},
    "usual": {"parents": 1000},
    "full": {"parents": 1000},
}


def measure(parents, sample=2) -> str:
    """The table, as Markdown. sample: parents on which the script is timed."""
    with crowd(STUBBORN_PARENTS, parents) as run:
        swept = run(HERE / "seconds_until_gone.py", "zombie-reaper")
    with crowd(STUBBORN_PARENTS, sample) as run:
        script = (
            run(HERE / "seconds_until_gone.py", HERE / "kill_zombie_parents.sh") / sample * parents
        )
    return table(
        f"{format(parents, ',')} parents that ignore SIGTERM",
        "The time until none of them and none of their zombies is left. The script takes one"
        f" after the other. It was timed on {sample}, and the time for all is computed from that."
        "\n\n"
        "`bench/run --only stubborn_parents` measures it.",
        ["command", "seconds", "zombie-reaper takes"],
        [
            ["`zombie-reaper`", f"{swept:.1f}", ratio(swept, swept)],
            ["`kill_zombie_parents.sh`", f"{script:.0f} (computed)", ratio(swept, script)],
        ],
    )
