"""The tables and sentences of README.md and docs/ name the options, defaults, metrics and exit
statuses that there are, all of them. What code and other documentation share is in
test_options_agree.py.
"""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.lookup.wrong_variables import allowed
from ansible_collections.provider.fleet.plugins.module_utils.reaper import cli, metrics
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMOVED, Options

PREFIX = "zombie_reaper_"
DEFAULTS = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in Options()._asdict().items()
}


@pytest.fixture(scope="module")
def pages(root) -> dict:
    """Path in the checkout -> text."""
    paths = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def table(text, heading) -> dict:
    """First cell, without backticks -> the other cells, of the table with that first heading."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))]
        for row in rows.splitlines()
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


@pytest.fixture
def flags(capsys) -> set:
    with pytest.raises(SystemExit):
        cli._parse(["--help"])
    return set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))


def test_the_options(pages):
    documented = table(pages["docs/options.md"], "option")
    assert list(documented) == list(DEFAULTS)
    of_namespaces = documented.pop("protect_namespaces")[0]
    assert set(re.findall(r"`([^`]+)`", of_namespaces)) < set(DEFAULTS["protect_namespaces"])
    assert {name: yaml.safe_load(cells[0].strip("`")) for name, cells in documented.items()} == {
        name: value for name, value in DEFAULTS.items() if name != "protect_namespaces"
    }


def test_the_variables_of_the_role(root, pages):
    defaults = yaml.safe_load((root / "roles/zombie_reaper/defaults/main.yml").read_text())
    documented = table(pages["docs/options.md"], "variable")
    assert {name: yaml.safe_load(cells[0].strip("`")) for name, cells in documented.items()} == {
        name: value for name, value in defaults.items() if name.removeprefix(PREFIX) not in DEFAULTS
    }


def test_the_metrics(pages):
    documented = table(pages["docs/metrics.md"], "metric")
    assert {name.partition("{")[0]: cells[0] for name, cells in documented.items()} == {
        name: kind for name, (kind, _help) in metrics.METRICS.items()
    }


def test_each_variable_and_metric_that_is_named_exists(root, pages):
    known = {*metrics.METRICS, *(PREFIX + name for name in (*allowed(), *REMOVED))}
    known |= {path.stem for path in root.glob("plugins/modules/*.py")}
    known |= {"zombie_reaper_remedys", "zombie_reaper_host"}  # wrong on purpose
    for page, text in pages.items():
        named = {
            name
            for name in re.findall(r"(?<![\w/.*-])zombie_reaper_\w*(?![\w/.])", text)
            if not name.endswith("_")
        }
        assert named <= known, f"{page}: {named - known}"


def test_each_flag_that_is_named_exists(pages, flags):
    for page, text in pages.items():
        for command in re.findall(r"zombie-reaper((?: +(?:--?[\w-]+|[\w.,/'=]+))+)", text):
            named = set(re.findall(r"--[a-z][a-z-]*", command))
            # of an earlier version
            assert named - {"--watch"} <= flags, f"{page}: zombie-reaper{command}"
