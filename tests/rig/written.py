"""Parts of pages that a command writes, each between two marks: comments, which no reader sees."""

from __future__ import annotations

import re
from typing import NamedTuple

# A part with its marks, whoever writes it
PART = re.compile(
    r"^<!-- (?![^\n]*\bend\b)[^\n]* -->\n.*?^<!-- [^\n]*\bend\b[^\n]* -->\n", re.M | re.S
)


class Marks(NamedTuple):
    """The lines before and after a part."""

    begin: str
    end: str


def marks(name) -> Marks:
    return Marks(f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n")


def by(command) -> Marks:
    """Of the only part that a command writes into a page."""
    return Marks(f"<!-- written by {command} -->\n", "<!-- end of what is written -->\n")


def part_of(text, marks) -> str:
    """What is between the marks; empty where there are none."""
    return text.partition(marks.begin)[2].partition(marks.end)[0]


def replaced(text, marks, part) -> str:
    """The text with this part. Marks that are not there yet are put at its end."""
    if marks.begin not in text:
        return f"{text.rstrip()}\n\n{marks.begin}{part}{marks.end}".lstrip()
    before, _begin, rest = text.partition(marks.begin)
    return before + marks.begin + part + marks.end + rest.partition(marks.end)[2]


def write(page, marks, part) -> None:
    """page: a path."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), marks, part), encoding="utf-8")
