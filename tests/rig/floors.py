"""The floors of the engine, read from its imports: ``python3 tests/rig/floors.py --write`` draws them
in docs/floors.md.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT / "tests"))

from rig import written  # noqa: E402

# a copy, where a mutation has broken that
ENGINE = Path(os.environ.get("REAPER_ENGINE", CHECKOUT / "plugins/module_utils")) / "reaper"
FILES = sorted(ENGINE.rglob("*.py"))
PACKAGES = ("__init__", "kernel", "node", "prevention")  # a line of documentation, and no code
DOCUMENT = CHECKOUT / "docs/floors.md"
MARKS = written.marks("floors")


def name_of(path) -> str:
    """``kernel.procfs`` for kernel/procfs.py."""
    return str(path.relative_to(ENGINE).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def floor_of(name) -> str:
    """The remedies share one."""
    return "remedies" if name.startswith("remedies.") else name


def tree_of(path):
    return ast.parse(path.read_text(), feature_version=(3, 9))


def floors() -> list:
    """The files from the bottom to the top, as the package's documentation names them."""
    documented = ast.get_docstring(tree_of(ENGINE / "__init__.py")) or ""
    _before, found, names = documented.partition("those before it: ")
    assert found, documented
    return re.split(r",\s+", names.rstrip("."))


def imports(path) -> tuple:
    """(modules of the standard library, files of the engine) that a file imports, anywhere in
    it.
    """
    outside, inside = set(), set()
    package = ["reaper", *path.relative_to(ENGINE).parent.parts]
    for part in ast.walk(tree_of(path)):
        if isinstance(part, ast.Import):
            outside.update(alias.name.split(".")[0] for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and not part.level:
            outside.add((part.module or "").split(".")[0])
        elif isinstance(part, ast.ImportFrom):
            base = package[: len(package) - part.level + 1] + (
                part.module.split(".") if part.module else []
            )
            assert base[0] == "reaper", "an import from outside the engine"
            for alias in part.names:
                file = ENGINE.joinpath(*base[1:], alias.name)
                inside.add(
                    ".".join(
                        base[1:] + [alias.name] if file.with_suffix(".py").exists() else base[1:]
                    )
                )
    return outside, inside - {""}  # the package itself, for its version


def drawing() -> str:
    """A flow chart for Mermaid: an arrow for each import that no longer way explains as well."""
    below = {name: set() for name in floors()}
    for path in FILES:
        own = floor_of(name_of(path))
        if own not in PACKAGES:
            below[own] |= {floor_of(name) for name in imports(path)[1]} - {own}
    reached = {}
    for name in floors():
        reached[name] = below[name].union(*(reached[each] for each in below[name]))
    lines = ["```mermaid", "flowchart TD"]
    lines.append("    accTitle: Which file of the engine imports which")
    for package in ("kernel", "node", "prevention"):
        inside = [name for name in floors() if name.startswith(package + ".")]
        lines += [
            f"    subgraph {package}",
            *(f"        {node(name)}" for name in inside),
            "    end",
        ]
    lines += [f"    {node(name)}" for name in floors() if "." not in name]
    for name in reversed(floors()):
        further = set().union(*(reached[each] for each in below[name]))
        lines += [f"    {key(name)} --> {key(each)}" for each in sorted(below[name] - further)]
    return "\n".join([*lines, "```", ""])


def node(name) -> str:
    file = name.rpartition(".")[2] + ("/" if name == "remedies" else ".py")
    return f'{key(name)}["{file}"]'


def key(name) -> str:
    """Some names, such as ``end``, would mean something to Mermaid."""
    return "f_" + name.replace(".", "_")


def drawn() -> str:
    """The document with the drawing of today."""
    return written.replaced(DOCUMENT.read_text(encoding="utf-8"), MARKS, drawing())


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("floors.py --write: draw the floors of the engine in docs/floors.md")
    DOCUMENT.write_text(drawn(), encoding="utf-8")
