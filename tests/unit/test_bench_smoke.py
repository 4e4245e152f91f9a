"""The benchmark works, at its smallest; its figures are for people to judge."""

from __future__ import annotations

import builtins
import importlib
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import psutil
import pytest
from rig.node import wait_until


@pytest.mark.full
def test_tiny_benchmark_writes_its_tables(root, tmp_path):
    page = tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, root / "bench/main.py", "--tiny", "--write", page],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## A sweep that finds nothing",
        "## Looking for zombies in the process table",
        "## 3 parents that ignore SIGTERM",
        "## Collecting zombies from inside their living parent",
        "## A server on the CPU of the parent",
        "## The role on a node where nothing changes",
        "## Until zombies and their parent are known",
        "## Until they are gone, and the memory of the agent",
        "## The memory of the daemon",
        "## The storm: for how long nothing can fork",
        "## A tick of the daemon where nothing is wrong",
        "## A look where nothing is wrong",
        "## A fleet of 2 nodes",
        "## An init for a container",
    ]
    tasks = text.split("## The role on a node")[1].split("| ---: |\n")[1].split("<!-- ")[0]
    assert tasks == "| Look at the node | 1 |\n"
    assert re.search(r"\| `zombie-reaper` \| [\d.]+ ms \| 1 of it \|", text)
    assert all(line in done.stdout for line in text.splitlines() if not line.startswith("<!-- "))
    assert "](page-scale.svg)" in text
    picture = ElementTree.parse(tmp_path / "page-scale.svg").getroot()
    assert len(picture.findall("{*}path[@class='line']")) == 7
    picture = ElementTree.parse(tmp_path / "page-look.svg").getroot()
    assert len(picture.findall("{*}path[@class='line']")) == 3


def test_interrupted_benchmark_leaves_nothing_behind(root, tmp_path):
    command = [sys.executable, root / "bench/main.py"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"TMPDIR": str(tmp_path)}
    ) as bench:

        def started():
            return psutil.Process(bench.pid).children(recursive=True)

        wait_until(lambda: len(started()) >= 100)  # its 250 idle processes
        there = started()
        bench.send_signal(signal.SIGINT)
        _out, errors = bench.communicate(timeout=120)
    assert (bench.returncode, errors) == (1, b"stopped\n")
    _gone, alive = psutil.wait_procs(there, timeout=60)
    assert alive == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_limits_of_the_kernel_are_put_back_even_where_nobody_reads_what_is_said(
    root, tmp_path, monkeypatch, error
):
    monkeypatch.syspath_prepend(root / "bench")
    scan = importlib.import_module("scan")
    monkeypatch.setattr(scan, "setting", lambda name: tmp_path / name)
    (tmp_path / "pid_max").write_text("32768")
    (tmp_path / "threads-max").write_text("5000")

    def refuse(*_words, **_options):
        raise BrokenPipeError

    with pytest.raises((error, BrokenPipeError)), scan.room_for_many(100000):
        assert [(tmp_path / name).read_text() for name in scan.LIMITS] == ["100000", "100000"]
        monkeypatch.setattr(builtins, "print", refuse)
        raise error
    assert [(tmp_path / name).read_text() for name in scan.LIMITS] == ["32768", "5000"]
