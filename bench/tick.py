"""CPU of a tick of the daemon."""

from __future__ import annotations

import contextlib
from pathlib import Path

from scale import HIERARCHIES, cgroups, crowd_with_room
from tables import table

HERE = Path(__file__).resolve().parent
CONTAINERS, IN_EACH = 200, 2
SIZES: dict[str, dict[str, int]] = {"tiny": {"number": 5}, "usual": {}, "full": {}}


def measure(number=CONTAINERS) -> str:
    """The table, as Markdown. number: of containers."""
    rows = []
    with contextlib.ExitStack() as until_measured:
        run = until_measured.enter_context(crowd_with_room("living", number * IN_EACH, 0, "keeps"))
        for hierarchy in HIERARCHIES:
            containers = until_measured.enter_context(cgroups(hierarchy, number))
            figure = run(HERE / "tick_once.py", hierarchy, IN_EACH, *containers)
            rows.append(
                [
                    "2, `cgroup.threads`" if figure["list"] == "cgroup.threads" else "1, `tasks`",
                    figure["cgroups"],
                    f"{1000 * figure['daemon']:.2f} ms",
                    f"{1000 * figure['afresh']:.2f} ms",
                ]
            )
    return table(
        "A tick of the daemon where nothing is wrong",
        f"CPU of one look at the ledger, on a node with {number} containers of {IN_EACH}"
        " processes each, and the cgroups that this machine has otherwise. The aim is less than 1"
        " ms."
        "\n\n"
        "Afresh is as a one-shot sweep does it, which opens all lists. With version 1 the daemon"
        " does that too. Where both versions are mounted, version 2 is taken. `bench/run --only"
        " tick` measures it.",
        ["cgroup version", "cgroups", "CPU of a tick", "afresh"],
        rows,
    )
