"""What the audit says of a container's init, beside what really happens to an orphan there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "bench"))

import inits as table  # noqa: E402
from rig import inits  # noqa: E402

EVERY_CASE = pytest.mark.parametrize("case", inits.CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Name to row, all measured in one node."""
    return {
        row.case.name: row
        for row in inits.rows(
            tmp_path_factory.mktemp("inits"), [case for case in inits.CASES if case.installed]
        )
    }


@pytest.fixture
def row(case, measured):
    if not case.installed:
        pytest.skip(f"{case.package} is not installed")
    return measured[case.name]


@EVERY_CASE
def test_no_evidence_contradicts_what_happens(row):
    assert {
        kind: verdict for kind, verdict in row.by.items() if verdict not in (row.truth, "unknown")
    } == {}, row.entry


# They are told when a child ends, or nobody knows whether they are: a process manager that ends
# then looks the same
LEFT_ALONE = {
    "dash, `wait`": "has children and gets SIGCHLD",
    "Node.js, `spawn`": "has children and gets SIGCHLD",
    "its first thread has exited, another one sleeps": "cannot be seen",
    "a handler that does nothing, SA_NOCLDWAIT": "gets SIGCHLD when a child ends",
}


@EVERY_CASE
def test_with_the_probe_the_verdict_is_what_happens(row):
    """But where a canary might do harm, and nothing else tells."""
    assert row.probe == ("unknown" if row.case.name in LEFT_ALONE else row.truth), row.entry
    if row.case.name in LEFT_ALONE:
        (why,) = [piece["detail"] for piece in row.entry["evidence"] if piece["by"] == "canary"]
        assert LEFT_ALONE[row.case.name] in why


@EVERY_CASE
def test_no_program_ends_by_the_probe(row):
    assert row.entry["harm"] is None


@EVERY_CASE
def test_without_the_probe_the_verdict_is_what_happens_or_unknown(row):
    assert row.audit in (row.truth, "unknown"), row.entry


@EVERY_CASE
def test_the_probe_leaves_no_zombie_behind(row):
    assert row.left == 0, row.entry


@EVERY_CASE
def test_what_stands_in_the_document(case, row):
    """The versions there may be others than here; for versions that behave in another way the
    document has to be written again.
    """
    assert table.verdicts(table.line(row)) == table.verdicts(table.documented(case))


def test_the_document_has_no_other_row():
    assert [table.cells(line)[0] for line in table.documented_lines()] == [
        case.name for case in inits.CASES
    ]
