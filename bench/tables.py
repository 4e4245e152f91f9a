"""Figures as a table in Markdown."""

from __future__ import annotations

import textwrap


def table(title, text, head, rows) -> str:
    text = "\n\n".join(
        part if part.startswith("!") else textwrap.fill(part, 100, break_on_hyphens=False)
        for part in text.split("\n\n")
    )
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "## %s\n\n%s\n\n%s\n" % (
        title,
        text,
        "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines),
    )


def ratio(this, that) -> str:
    return f"{this / that:.2g} of it"
