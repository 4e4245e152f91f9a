"""The memory of the daemon, which is locked, so that it can work when there is none left."""

from __future__ import annotations

from pathlib import Path

from scale import crowd_with_room, has_memory
from tables import table

HERE = Path(__file__).resolve().parent
MODES = {"ledger": "by the ledger", "scan": "by a scan of the table"}
SIZES = {
    "tiny": {"counts": [20], "parents": 2},
    "usual": {"counts": [10000], "parents": 1000},
    "full": {"counts": [10000, 1000000], "parents": 1000},
}


def measure(counts, parents) -> str:
    """Numbers of zombies, which so many parents share."""
    rows = []
    for count in counts:
        title = f"{count:,} zombies of {parents:,} parents"
        if not has_memory("zombies", count):
            rows.append([title, "not measured: too little memory", "", ""])
            continue
        with crowd_with_room("parents", count, parents, "keeps") as run:
            for mode, words in MODES.items():
                figure = run(HERE / "memory_once.py", mode)
                if figure["zombies"] < count:
                    raise SystemExit(f"of {count} zombies it found {figure['zombies']}")
                rows.append(
                    [title, words, f"{figure['most']:.0f} MB", f"{figure['locked']:.0f} MB"]
                )
    return table(
        "The memory of the daemon",
        "The most that it has had after a sweep that only reports, with its modules loaded, and"
        " how much is locked. Without cgroups it finds zombies by a scan of the process table. The"
        " aim is at most 40 MB."
        "\n\n"
        "`bench/run --full --only memory` measures it.",
        ["with", "finds them", "most memory", "locked"],
        rows,
    )
