"""What the benchmark writes into the documents, and what docs/comparison.md quotes of it."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "bench")
    return importlib.import_module


def test_the_comparison_quotes_the_figures_of_the_benchmarks(root, bench):
    """`.cache/test/bin/python bench/page.py` renews it."""
    page = bench("page")
    comparison = (root / "docs/comparison.md").read_text(encoding="utf-8")
    figures = (root / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert page.part_of(comparison, page.QUOTED) == page.quotes(figures)


def test_each_table_of_the_benchmarks_is_one_that_the_benchmark_writes(root, bench):
    page, main = bench("page"), bench("main")
    rest = (root / "docs/benchmarks.md").read_text(encoding="utf-8")
    for name in (main.MACHINE, *main.ROWS, *main.IF_NAMED):
        rest = page.replaced(rest, name, "")
    assert "|" not in rest
    assert "\n## " not in rest


def test_a_table_is_replaced_where_it_stands_and_a_new_one_put_at_the_end(tmp_path, bench):
    page, file = bench("page"), tmp_path / "page.md"
    file.write_text("# Figures\n\nBy hand.\n")
    page.write(file, {"one": "| 1 |\n", "two": "| 2 |\n"})
    file.write_text(file.read_text().replace("| 1 |", "| old |") + "\nThe end.\n")
    page.write(file, {"one": "| 1 |\n", "three": "| 3 |\n"})
    assert file.read_text() == (
        "# Figures\n\nBy hand.\n\n"
        "<!-- bench: one -->\n| 1 |\n<!-- bench: end -->\n\n"
        "<!-- bench: two -->\n| 2 |\n<!-- bench: end -->\n\nThe end.\n\n"
        "<!-- bench: three -->\n| 3 |\n<!-- bench: end -->\n"
    )


def test_every_row_has_its_sizes(bench):
    for name in (*bench("main").ROWS, *bench("main").IF_NAMED):
        row = bench(name)
        assert "full" in row.SIZES
        assert set(row.SIZES) <= {"tiny", "usual", "full"}
