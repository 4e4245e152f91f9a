"""What the tests in virtual machines have found: their JUnit XML, and the table in
docs/platforms.md, which ``./run-tests --kernels`` writes.
"""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from rig import written
from rig.node import CHECKOUT

from vm.kernels import ARCHITECTURES, KERNELS, SUITES

PAGE = CHECKOUT / "docs/platforms.md"
MARKS = written.marks("kernels")
NOT_RUN = "not run"
TEST = "`tests/vm/test_kernels.py`"


class Done(NamedTuple):
    """Of one run of pytest. failed: (name, why) of each test."""

    passed: int
    skipped: int
    failed: list


class Result(NamedTuple):
    """Of one suite. machine: (kernel, architecture). refused: word with which the engine refuses
    there what the suite is about.
    """

    machine: tuple
    release: str
    suite: str
    refused: str
    passed: int = 0
    failed: int = 0


def read(path) -> Done | None:
    """None where pytest did not come to its end, and so wrote none."""
    if not path.exists():
        return None
    passed, skipped, failed = 0, 0, []
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag: child for child in case}
        wrong = kinds.get("failure", kinds.get("error"))
        if wrong is not None:
            failed.append((f"{case.get('classname')}::{case.get('name')}", wrong.text or ""))
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return Done(passed, skipped, failed)


def cell(result) -> str:
    if result.refused:
        return f"refused: `{result.refused}`"
    if result.failed:
        return f"**{result.failed} of {result.passed + result.failed} failed**"
    return f"{result.passed} passed" if result.passed else "**did not end**"


def write(results, page=PAGE) -> None:
    """Put them into the page; what was not run now stays as it was."""
    table = written.part_of(page.read_text(encoding="utf-8"), MARKS)
    written.write(page, MARKS, f"\n{updated(table, results)}\n")


def updated(table, results) -> str:
    """The table with these results in it."""
    cells = _cells_of(table)
    for result in results:
        cells[_system(result.machine[0]), result.machine[1], _heading(result.suite)] = cell(result)
        cells[_system(result.machine[0]), result.machine[1], "kernel"] = f"`{result.release}`"
    headings = ["kernel", *map(_heading, SUITES)]
    lines = [
        "| system | processor | " + " | ".join(headings) + " | test |",
        "|---|---|" + "---|" * len(headings) + "---|",
    ]
    for kernel in KERNELS:
        for architecture in ARCHITECTURES:
            found = [
                cells.get((_system(kernel), architecture, heading), NOT_RUN) for heading in headings
            ]
            lines.append(
                f"| {_system(kernel)} | {architecture} | " + " | ".join(found) + f" | {TEST} |"
            )
    return "\n".join(lines) + "\n"


def _system(kernel) -> str:
    return KERNELS[kernel].debian


def _heading(suite) -> str:
    return SUITES[suite].capability


def _cells_of(table) -> dict:
    """(system, processor, heading) -> text, of a table that was written before."""
    rows = [
        [text.strip() for text in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|") and not line.startswith("|-")
    ]
    return {
        (row[0], row[1], heading): text
        for row in rows[1:]
        for heading, text in zip(rows[0][2:-1], row[2:-1], strict=True)
    }
