"""The flow chart in docs/decision.md is that of today's policy."""

from __future__ import annotations

from rig import decision, written


def test_the_chart_is_that_of_today():
    text = decision.DOCUMENT.read_text(encoding="utf-8")
    assert text.count(decision.MARKS.begin) == text.count(decision.MARKS.end) == 1
    drawn = written.part_of(text, decision.MARKS)
    assert drawn == decision.drawing(), "run: .cache/test/bin/python tests/rig/decision.py --write"


def test_each_question_is_asked():
    """From the first one, by the answers before it."""
    first, *others = decision.CHART
    asked = [then for answers in decision.CHART.values() for then in answers.values()]
    assert [question for question in others if question not in asked] == []
    assert first not in asked
