"""ansible-doc and the pages of a docs site, for every plugin and role that is in the tree; and what
holds for every page: its length, its links, the tests that it names.
"""

from __future__ import annotations

import fnmatch
import re

import pytest
import yaml
from rig import written

# Of the README of a certified collection
HEADINGS = [
    "Description",
    "Requirements",
    "Installation",
    "Use Cases",
    "Testing",
    "Contributing",
    "Support",
    "Release Notes and Roadmap",
    "Related Information",
    "License Information",
]
DIRECTORIES = {
    "modules": "module",
    "callback": "callback",
    "filter": "filter",
    "lookup": "lookup",
    "inventory": "inventory",
    "test": "test",
}
MOST_WORDS = 1200  # of a page
LONGEST_LINE = 100  # characters
FENCE = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)


@pytest.fixture(scope="module")
def plugins(collection) -> list:
    """(type, full name) of each plugin that has documentation of its own, and of each role. An
    action plugin has that of its module.
    """
    found = [
        (kind, "provider.fleet." + path.stem)
        for directory, kind in DIRECTORIES.items()
        for path in sorted(collection.glob(f"plugins/{directory}/*.py"))
        if path.stem != "__init__"
    ]
    return found + [
        ("role", "provider.fleet." + path.name) for path in sorted(collection.glob("roles/*"))
    ]


def test_ansible_doc_shows_every_plugin(collection, plugins, core, run):
    assert ("module", "provider.fleet.zombie_reap") in plugins and (
        "role",
        "provider.fleet.zombie_reaper",
    ) in plugins
    for kind in sorted({kind for kind, _name in plugins}):
        names = [name for of_kind, name in plugins if of_kind == kind]
        shown = run(
            core / "ansible-doc",
            "-t",
            kind,
            *names,
            cwd=collection.parents[2],
            ANSIBLE_COLLECTIONS_PATH=str(collection.parents[2]),
        ).stdout
        assert [
            line
            for line in shown.splitlines()
            if "ERROR" in line or "WARNING" in line and "provider" in line
        ] == []
        for name in names:
            assert name.upper() in shown.upper()


def test_every_action_has_a_module(collection):
    for path in collection.glob("plugins/action/*.py"):
        assert path.stem == "__init__" or (collection / "plugins/modules" / path.name).exists(), (
            "its documentation is that of the module"
        )


def test_every_module_has_examples_and_says_what_it_returns(collection):
    for path in sorted(collection.glob("plugins/modules/*.py")):
        text = path.read_text(encoding="utf-8")
        for block in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            assert yaml.safe_load(text.partition(block + ' = r"""')[2].partition('"""')[0]), (
                f"{block} of {path.name}"
            )


def test_pages_of_a_docs_site(collection, bin, run, tmp_path):
    """They are made without a complaint, the guide among them."""
    done = run(
        bin / "antsibull-docs",
        "collection",
        "--use-current",
        "--fail-on-error",
        "--dest-dir",
        tmp_path,
        "provider.fleet",
        cwd=collection.parents[2],
        ANSIBLE_COLLECTIONS_PATH=str(collection.parents[2]),
    )
    assert "ERROR" not in done.stdout
    pages = tmp_path / "collections/provider/fleet"
    assert {"index.rst", "zombie_reap_module.rst", "zombie_reaper_role.rst"} <= {
        path.name for path in pages.iterdir()
    }
    assert "docsite/guide" in (pages / "index.rst").read_text(encoding="utf-8")


def test_headings_of_the_readme(root):
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    assert [
        line[3:] for line in lines if line[3:] in HEADINGS and line.startswith("## ")
    ] == HEADINGS


@pytest.fixture(scope="module")
def pages(root) -> dict:
    """Path of each page -> its text."""
    paths = [
        *(root / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *sorted((root / "docs").glob("*.md")),
        root / "roles/zombie_reaper/README.md",
    ]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_no_page_is_long(pages):
    words = {path.name: len(written.PART.sub("", text).split()) for path, text in pages.items()}
    assert {name: number for name, number in words.items() if number > MOST_WORDS} == {}


def test_no_line_is_long(pages):
    """But in tables, blocks and what commands write. Where a link leads does not count."""
    for path, text in pages.items():
        for line in FENCE.sub("", written.PART.sub("", text)).splitlines():
            shown = re.sub(r"\]\([^)]*\)|<https:[^>]*>", "", line)
            assert len(shown) <= LONGEST_LINE or line.startswith("|"), f"{path.name}: {line}"


def test_links_between_the_pages(pages):
    """Each leads to a file that is there, and to a heading in it."""
    anchors = {
        page: {anchor(line) for line in FENCE.sub("", text).splitlines() if line.startswith("#")}
        for page, text in pages.items()
    }
    for page, text in pages.items():
        found = re.findall(r"\]\(([^)\s]+)\)", text)
        found += re.findall(r"(?:src|srcset|href)=\"([^\"\s]+)\"", FENCE.sub("", text))
        for target in found:
            if not re.match(r"[a-z]+:", target):
                path, _hash, name = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                assert file.exists(), f"{target} of {page}"
                assert not name or name in anchors[file], f"{target} of {page}"


def test_the_index_has_all_pages(root, pages):
    index = pages[root / "docs/README.md"]
    named = set(re.findall(r"\]\(([\w-]+\.md)", index))
    assert {path.name for path in pages if path.parent.name == "docs"} - named == {"README.md"}


def test_each_test_that_is_named_exists(root, pages):
    """`test_row_1_…` and `test_*.py` are those whose name begins, or is, like that."""
    files = sorted((root / "tests").rglob("*.py"))
    paths = [str(path.relative_to(root)) for path in files]
    names = {path.name for path in files} | {path.stem for path in files}
    for path in files:
        names.update(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))
    for page, text in pages.items():
        for named in re.findall(r"\btests/[\w/*]+\.py\b", text):
            assert fnmatch.filter(paths, named), f"{page.name}: {named}"
        for named in re.findall(r"(?<![/\w])test_[\w*]+(?:\.py|…)?", text):
            assert fnmatch.filter(names, named.replace("…", "*")), f"{page.name}: {named}"


def anchor(line) -> str:
    """What a heading is called in links."""
    return re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
