"""The words for reasons and refusals: the engine uses those of the table, and the documentation
has them all, as the table does.
"""

from __future__ import annotations

import ast
import re

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import report
from ansible_collections.provider.fleet.plugins.module_utils.reaper.reasons import (
    MOMENT,
    NODE,
    PARENT,
    REASONS,
    REFUSALS,
)
from ansible_collections.provider.fleet.plugins.modules import zombie_reap
from rig.node import ENGINE

FILES = sorted((ENGINE / "reaper").rglob("*.py"))
RECORDS = [*REASONS.values(), *REFUSALS.values()]


def first_arguments(name, paths):
    """The first argument of each call of a name, which has to be a text in the source: a word that
    is put together could not be held against the table.
    """
    calls = [
        part
        for path in paths
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(part, ast.Call) and ast.unparse(part.func).rsplit(".", maxsplit=1)[-1] == name
    ]
    assert [
        ast.unparse(call)
        for call in calls
        if not call.args or not isinstance(call.args[0], ast.Constant)
    ] == []
    return {call.args[0].value for call in calls}


def table(text, first_column):
    """The rows of the table in a Markdown text whose header begins with this column."""
    lines = text.split(f"\n| {first_column} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_every_reason_of_the_policy_is_in_the_table_and_every_one_there_is_used():
    policy = ENGINE / "reaper/policy.py"
    assert first_arguments("Why", [policy]) == set(REASONS)
    # it has no other way to give one
    text = policy.read_text(encoding="utf-8")
    assert re.findall(r"reason=(?!why\.reason\b).*", text) == []


def test_every_refusal_of_the_engine_is_in_the_table_and_every_one_there_is_used():
    assert first_arguments("Refused", FILES) == set(REFUSALS)


def test_reasons_that_the_report_counts_with_are_in_the_table():
    assert set(report.OF_ROOM) <= set(REASONS)


def test_documentation_has_the_table_of_reasons(root):
    page = (root / "docs/operations.md").read_text(encoding="utf-8")
    assert table(page, "reason") == [
        [f"`{reason.word}`", reason.meaning, reason.advice] for reason in REASONS.values()
    ]


def test_documentation_has_the_table_of_refusals(root):
    page = (root / "docs/refusals.md").read_text(encoding="utf-8")
    assert table(page, "refusal") == [
        [f"`{refusal.word}`", refusal.cause, refusal.meaning, refusal.advice]
        for refusal in REFUSALS.values()
    ]


def test_the_module_s_documentation_has_every_refusal_and_its_cause():
    documented = yaml.safe_load(zombie_reap.RETURN)
    steps = documented["offenders"]["contains"]["steps"]["contains"]
    of_node, of_parent, of_moment = re.fullmatch(
        r"Why V\(reap\) was .* Because of the node, (.*) Because of the parent, (.*) Only at this"
        r" moment, (.*)",
        steps["refusal"]["description"],
    ).groups()
    for cause, text in ((NODE, of_node), (PARENT, of_parent), (MOMENT, of_moment)):
        assert re.findall(r"V\((\w+)\)", text) == [
            refusal.word for refusal in REFUSALS.values() if refusal.cause == cause
        ]
    impossible = re.findall(r"V\((\w+)\)", documented["reap_refusal"]["description"])
    assert set(impossible) - {"reap"} == {
        refusal.word for refusal in REFUSALS.values() if refusal.cause == NODE
    }


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.word)
def test_meaning_is_one_sentence_and_every_text_fits_into_a_cell(record):
    assert re.fullmatch(r"[A-Z`][^\n|]*\.", record.meaning)
    assert not re.search(r"\.\s", record.meaning)
    assert re.fullmatch(r"([A-Z`][^\n|]*\.)?", record.advice)
