"""Parts of pages that commands write."""

from __future__ import annotations

import pytest
from rig import written

FORMS = [
    written.marks("floors"),
    written.by("bench/inits.py"),
    written.Marks("<!-- bench: scan -->\n", "<!-- bench: end -->\n"),
]


@pytest.mark.parametrize("marks", FORMS, ids=lambda marks: marks.begin.strip())
def test_a_part_is_what_is_between_its_marks(marks):
    text = f"Before.\n\n{marks.begin}| old |\n{marks.end}\nAfter.\n"
    assert written.part_of(text, marks) == "| old |\n"
    changed = written.replaced(text, marks, "| new |\n")
    assert changed == text.replace("old", "new")
    assert written.PART.sub("", changed * 2) == "Before.\n\n\nAfter.\n" * 2


def test_marks_that_are_not_there_are_put_at_the_end():
    marks = FORMS[0]
    assert written.part_of("Text.\n", marks) == ""
    assert written.replaced("Text.\n", marks, "1\n") == f"Text.\n\n{marks.begin}1\n{marks.end}"
