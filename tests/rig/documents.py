"""The fenced blocks of README.md and docs/, and the commands in them."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from rig.node import CHECKOUT

BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.M | re.S)
SHELLS = ("", "sh", "bash", "shell", "console")
# first words of commands for the controller, in a checkout; others are for a node
CONTROLLER = re.compile(r"ansible(-\w+)?|git|cd|\./run-site|\S+/run-site")


class Block(NamedTuple):
    """One fenced block."""

    page: str  # its path in the checkout
    language: str
    file: str  # that the text is for, if the fence names one
    text: str


class Command(NamedTuple):
    """One command of a block for a shell."""

    page: str
    line: str

    @property
    def is_for_the_controller(self) -> bool:
        words = [word for word in shlex.split(self.line, comments=True) if "=" not in word]
        return bool(words) and CONTROLLER.fullmatch(words[0]) is not None


def blocks() -> list[Block]:
    """Those of all pages, in their order."""
    found = []
    for path in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))):
        page = str(path.relative_to(CHECKOUT))
        for indent, info, text in BLOCK.findall(path.read_text(encoding="utf-8")):
            language, _blank, file = info.strip().partition(" ")
            if indent:
                text = "".join(line.removeprefix(indent) for line in text.splitlines(True))
            found.append(Block(page, language, file, text))
    return found


def commands() -> list[Command]:
    """Those of all blocks for a shell, each once for a page. A line that ends in a backslash goes
    on, and so does one with an open quotation; a block with a here-document is one command.
    """
    found = {}
    for block in blocks():
        if block.language in SHELLS and not block.file:
            text = block.text.replace("\\\n", " ")
            for line in [text] if "<<" in text else _logical_lines(text):
                if line.strip() and not line.lstrip().startswith("#"):
                    found[Command(block.page, line.strip())] = None
    return list(found)


def _logical_lines(text) -> list[str]:
    lines = [""]
    for line in text.splitlines():
        lines[-1] += line
        try:
            shlex.split(lines[-1], comments=True)
        except ValueError:
            lines[-1] += "\n"
        else:
            lines.append("")
    return lines
