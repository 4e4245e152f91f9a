"""Which programs collect orphans when they are PID 1, and what the audit says of each.

``.cache/test/bin/python bench/inits.py --write`` writes the tables into docs/inits.md. Root is
needed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from rig import inits  # noqa: E402
from rig import written as marked  # noqa: E402

DOCUMENT = HERE.parent / "docs/inits.md"
MARKS = marked.by("bench/inits.py")
MISLEADING = """
## Made to mislead

Nobody runs these; they are here to show that the audit does not take them for what they look like.
"""
HEAD = [
    "| PID 1 | version | an orphan | by name | by signals | by waiting | by canary | audit |"
    " audit with probe |",
    "|---|---|---|---|---|---|---|---|---|",
]
LAST_OF_VERSION = 2  # cells after this one are compared by the test


def line(row) -> str:
    fate = "is collected" if row.truth == "reaps" else "**stays**"
    evidence = [row.by.get(kind, "–") for kind in inits.EVIDENCE]
    return "| %s |" % " | ".join(
        [row.case.name, row.case.version(), fate, *evidence, row.audit, row.probe]
    )


def cells(text) -> list:
    return text.strip("| ").split(" | ")


def verdicts(text) -> list:
    """The cells that hold on any machine."""
    return [cells(text)[0], *cells(text)[LAST_OF_VERSION:]]


def documented_lines() -> list:
    """The rows that stand in the document."""
    lines = marked.part_of(DOCUMENT.read_text(encoding="utf-8"), MARKS).splitlines()
    return [text for text in lines if text.startswith("| ") and text not in HEAD]


def documented(case) -> str:
    return next(
        (text for text in documented_lines() if cells(text)[0] == case.name), f"| {case.name} |"
    )


def here() -> str:
    """The machine that the tables are from."""
    kernel = platform.release().split("-")[0]
    distribution = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"Linux {kernel}, {distribution}, {os.cpu_count() or 1} CPUs."


def written() -> str:
    """All that stands between the marks. What is not installed here stays as it was when it last
    was.
    """
    with tempfile.TemporaryDirectory(prefix="zr-") as directory:
        measured = {
            row.case.name: row
            for row in inits.rows(Path(directory), [case for case in inits.CASES if case.installed])
        }
    programs, misleading = (
        "\n".join(
            HEAD
            + [
                line(measured[case.name]) if case.name in measured else documented(case)
                for case in inits.CASES
                if case.misleads == misleads
            ]
        )
        for misleads in (False, True)
    )
    return f"{here()}\n\n{programs}\n{MISLEADING}\n{misleading}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"write the tables into {DOCUMENT.name}"
    )
    arguments = parser.parse_args()
    text = written()
    print(text, end="")
    if arguments.write:
        marked.write(DOCUMENT, MARKS, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
