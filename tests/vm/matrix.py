"""What the tests in virtual machines have found: their JUnit XML, and the table in
docs/platforms.md, which ``./run-tests --kernels`` writes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple
from xml.etree import ElementTree

from rig import written
from rig.node import CHECKOUT

from vm.kernels import ARCHITECTURES, CAPABILITIES, KERNELS, SUITES

PAGE = CHECKOUT / "docs/platforms.md"
MARKS = written.marks("kernels")
NOT_RUN = "not run"
RELEASE = "Linux"  # the row with the version of the kernel
TESTS, TESTS_OF_NODES = "tests/vm/test_kernels.py", "tests/vm/test_node.py"


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
        machine = _heading(*result.machine)
        cells[CAPABILITIES[result.suite], machine] = cell(result)
        cells[RELEASE, machine] = f"`{result.release}`"
    machines = [_heading(*each) for each in itertools.product(KERNELS, ARCHITECTURES)]
    lines = [_line("", machines, "test"), "|---" * (len(machines) + 2) + "|"]
    for name, tests in ((RELEASE, [TESTS]), *map(_capability, CAPABILITIES)):
        found = [cells.get((name, machine), NOT_RUN) for machine in machines]
        lines.append(_line(name, found, ", ".join(f"`{path}`" for path in tests)))
    return "\n".join(lines) + "\n"


def _line(first, cells, last) -> str:
    return "| " + " | ".join([first, *cells, last]) + " |"


def _heading(kernel, architecture) -> str:
    return f"{KERNELS[kernel].debian} {architecture}"


def _capability(name) -> tuple:
    """(what it is called, the files with its tests)."""
    if name not in SUITES:
        return CAPABILITIES[name], [TESTS_OF_NODES]
    files = dict.fromkeys(word.partition("::")[0] for word in SUITES[name].tests.split())
    return CAPABILITIES[name], list(files)


def _cells_of(table) -> dict:
    """(capability, machine) -> text, of a table that was written before."""
    rows = [
        [text.strip() for text in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|") and not line.startswith("|-")
    ]
    return {
        (row[0], machine): text
        for row in rows[1:]
        for machine, text in zip(rows[0][1:-1], row[1:-1], strict=True)
    }
