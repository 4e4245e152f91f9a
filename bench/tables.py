"""Figures as a table in Markdown."""

from __future__ import annotations


def table(title, text, head, rows) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "## %s\n\n%s\n\n%s\n" % (
        title,
        text,
        "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines),
    )


def ratio(this, that) -> str:
    return f"{this / that:.2g} of it"
