"""Figures that `bench/run` writes into docs/benchmarks.md, each table between two marks, and those
of them that docs/comparison.md quotes.

`bench/page.py` renews docs/comparison.md from docs/benchmarks.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rig import written  # noqa: E402

CHECKOUT = Path(__file__).resolve().parent.parent
BENCHMARKS = CHECKOUT / "docs/benchmarks.md"
COMPARISON = CHECKOUT / "docs/comparison.md"
BEGIN, END = "<!-- bench: {} -->\n", "<!-- bench: end -->\n"
QUOTED = "quoted"  # the part of docs/comparison.md


def replaced(text, name, part) -> str:
    """The text with this between the marks of that name, which are put at its end if they are not
    there yet.
    """
    return written.replaced(text, _marks(name), part)


def part_of(text, name) -> str:
    """What is between the marks of that name; empty where there are none."""
    return written.part_of(text, _marks(name))


def write(path, parts) -> None:
    """parts: {name: text}. docs/comparison.md is renewed too if the path is that of
    docs/benchmarks.md.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for name, part in parts.items():
        text = replaced(text, name, part)
    path.write_text(text, encoding="utf-8")
    if path.resolve() == BENCHMARKS:
        write_quotes()


def write_quotes() -> None:
    text = COMPARISON.read_text(encoding="utf-8")
    figures = BENCHMARKS.read_text(encoding="utf-8")
    COMPARISON.write_text(replaced(text, QUOTED, quotes(figures)), encoding="utf-8")


def quotes(text) -> str:
    """The table of docs/comparison.md, from the text of docs/benchmarks.md."""
    idle = {row[0]: row[2].removesuffix(" of it") for row in rows(text, "idle_sweep")}
    known = {(row[0], row[1]): row[4] for row in rows(text, "known") if len(row) > 4}
    look = {row[0]: row[4] for row in rows(text, "look")}
    fleet = {row[0].strip("`"): row[4] for row in rows(text, "fleet")}
    one, many = "1,000,000 zombies of 1 parent", "100,000 zombies of 1,000 parents"
    named, scan = "ledger, a parent named", "`ProcFS.zombies()`, a full scan"
    lines = [
        ("", "this collection takes", "of"),
        ("---", "---", "---"),
        (
            "a scheduled sweep where nothing is new, 250 processes, interpreter included",
            idle["`kill_zombie_parents.sh`"],
            "the script",
        ),
    ]
    today = idle.get("`the same, as playbooks install it today`")
    if today:
        lines.append(("the same", today, "the script that playbooks install today"))
    lines += [
        (
            "to know that nothing is wrong among 100,000 living processes",
            f"1/{look['100,000 processes']}",
            "`ps` with awk",
        ),
        (
            f"to know that there are {one}, or {many}, and one such parent",
            f"1/{known[one, named]}; 1/{known[many, named]}",
            "`ps` with awk",
        ),
        (
            "to look at each of these zombies, were it needed",
            "{:.2f} to {:.2f}".format(
                *sorted(1 / float(known[kind, scan]) for kind in (one, many))
            ),
            "`ps` with awk",
        ),
    ]
    playbooks = [name for name in ("look.yml", "sweep.yml", "site.yml") if name in fleet]
    lines.append(
        (
            f"{', '.join(f'`{name}`' for name in playbooks)} on a fleet where nothing is wrong or"
            " changes",
            "; ".join(fleet[name] for name in playbooks),
            "a playbook that is one `ping`",
        )
    )
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _marks(name) -> written.Marks:
    return written.Marks(BEGIN.format(name), END)


def rows(text, name) -> list:
    """The cells of a table, below its head."""
    lines = [line for line in part_of(text, name).splitlines() if line.startswith("|")]
    return [re.split(r"\s+\|\s+", line.strip("| ")) for line in lines[2:]]


if __name__ == "__main__":
    write_quotes()
