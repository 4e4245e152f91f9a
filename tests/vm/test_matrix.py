"""The table of kernels, and which kernels are asked for."""

from __future__ import annotations

import pytest
from rig import written
from rig.scheduling import unit_of_work

from vm import kernels, matrix
from vm.matrix import Result

STOCK = ("6.1", "amd64")


def column(table, machine) -> dict:
    lines = [
        [text.strip() for text in line.strip("|").split("|")] for line in table.splitlines() if line
    ]
    place = lines[0].index(machine)
    return {line[0]: line[place] for line in lines[2:]}


def test_what_was_not_run_now_stays_as_it_was():
    first = matrix.updated("", [Result(STOCK, "6.1.0-1-amd64", "stock", "", 9, 0)])
    now = column(
        matrix.updated(first, [Result(STOCK, "6.1.0-2-amd64", "reap", "", 7, 1)]), "Debian 12 amd64"
    )
    assert now["a stock node"] == "9 passed"
    assert now["`reap`"] == "**1 of 8 failed**"
    assert now["Linux"] == "`6.1.0-2-amd64`"
    assert now["hostile tenants"] == "not run"


@pytest.mark.parametrize(
    "result, text",
    [
        (Result(STOCK, "", "reap", "architecture"), "refused: `architecture`"),
        (Result(STOCK, "", "reap", "", 0, 0), "**did not end**"),
    ],
)
def test_what_did_not_pass_is_said(result, text):
    assert matrix.cell(result) == text


def test_junit_xml_is_read(tmp_path):
    path = tmp_path / "done.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="a" name="passes"/><testcase classname="a"'
        ' name="fails"><failure>why</failure></testcase><testcase classname="a"'
        ' name="left_out"><skipped/></testcase></testsuite></testsuites>'
    )
    assert matrix.read(path) == matrix.Done(1, 1, [("a::fails", "why")])
    assert matrix.read(tmp_path / "none.xml") is None


def test_the_page_has_all_of_them():
    table = written.part_of(matrix.PAGE.read_text(encoding="utf-8"), matrix.MARKS)
    assert table.strip() == matrix.updated(table, []).strip()


def test_kernels_that_are_asked_for():
    assert kernels.chosen(None) == list(kernels.USUAL)
    assert {case[:2] for case in kernels.chosen("5.10,6.1/arm64")} == {
        ("5.10", "amd64"),
        ("5.10", "arm64"),
        ("6.1", "arm64"),
    }
    assert len(kernels.chosen("all")) == len(kernels.KERNELS) * 2 * len(kernels.CAPABILITIES)


@pytest.mark.parametrize("option", ["6.2", "6.1/riscv", "6.1,"])
def test_one_that_there_is_not_is_named(option):
    with pytest.raises(ValueError, match="5.10, 6.1, 6.12, newest"):
        kernels.chosen(option)


def test_one_machine_runs_at_a_time():
    """Each emulated CPU takes a whole one, so two machines make both of them twice as slow."""
    units = {unit_of_work(f"tests/vm/{name}.py::test_a") for name in ("test_kernels", "test_node")}
    assert units == {"tests/vm"}
