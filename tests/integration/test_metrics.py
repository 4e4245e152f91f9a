"""Metrics that the agent writes of real zombies, as Debian's promtool reads them, into a directory
that belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess

import pytest
from rig.daemon_node import Daemon
from rig.node import wait_until

LEAK = """
for _ in range(3): zombie()
ready()
forever()
"""
COLLECTOR = 65534  # whoever the directory belongs to


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "textfiles"
    made.mkdir()
    os.chown(made, COLLECTOR, COLLECTOR)
    made.chmod(0o755)
    return made


@pytest.fixture
def metrics(directory):
    """Calls it: ``{series: value as it is written}``, of a file that is as Prometheus wants it."""
    file = directory / "zombie_reaper.prom"

    def read():
        text = file.read_text(encoding="utf-8")
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        return {
            line.rpartition(" ")[0].removeprefix("zombie_reaper_"): line.rpartition(" ")[2]
            for line in text.splitlines()
            if not line.startswith("#")
        }

    read.file = file
    return read


def counters(told) -> dict:
    return {
        name.removesuffix("_total"): int(value) for name, value in told.items() if "_total" in name
    }


def workload_zombies(told) -> list:
    return sorted(int(value) for name, value in told.items() if name.startswith("workload_zombies"))


def test_from_a_leak_to_its_end(node, directory, metrics):
    """The rig has zombies of its own in the node for a moment, so of these only the least is
    known.
    """
    init = node.container(LEAK)
    to = {"textfile_directory": directory}
    result = node.sweep(remedies="", **to)
    told = metrics()
    assert [path.name for path in directory.iterdir()] == [metrics.file.name]
    assert (metrics.file.stat().st_mode & 0o7777, metrics.file.stat().st_uid) == (0o644, 0)
    assert (told["report_only"], told["zombies"], told["offenders"]) == (
        "1",
        str(result["counts"]["zombies_left"]),
        str(len(result["offenders"])),
    )
    assert max(workload_zombies(told)) == 3
    assert (told["pids_used"], told["pids_limit"]) == (
        str(result["limits"]["tasks"]),
        str(result["limits"]["limit"]),
    )
    assert counters(told) == {
        "sweeps": 1,
        "errors": 0,
        'cleared_total{remedy="nudge"}': 0,
        'cleared_total{remedy="reap"}': 0,
        'cleared_total{remedy="terminate"}': 0,
        "workloads_ended": 0,
    }

    node.sweep(remedies="reap", **to)
    told = metrics()
    assert (
        told["report_only"],
        told['cleared_total{remedy="reap"}'],
        told["workloads_ended_total"],
        told["sweeps_total"],
    ) == ("0", "3", "0", "2")
    assert 3 not in workload_zombies(told) and init.alive

    init = node.container(LEAK)
    node.sweep(remedies="terminate", **to)
    told = metrics()
    assert init.ends()
    assert (
        told['cleared_total{remedy="reap"}'],
        told['cleared_total{remedy="terminate"}'],
        told["workloads_ended_total"],
    ) == ("3", "3", "1")


def test_what_only_looks_tells_nothing(node, directory, metrics):
    init = node.container(LEAK)
    to = ["--textfile-directory", str(directory), "--min-age", "0"]
    for look in (
        ["--check"],
        ["--check", "--json"],
        ["--audit"],
        ["--explain", str(init.pids[1])],
        ["--status"],
    ):
        node.agent(*look, *to)
        assert list(directory.iterdir()) == [], look
    node.sweep(textfile_directory=directory, remedies="")
    before = metrics.file.stat()
    for look in (["--check", "--exit-zero"], ["--audit"], ["--explain", str(init.pids[1])]):
        assert node.agent(*look, *to).returncode == 0
        assert metrics.file.stat() == before, look


def test_a_directory_that_cannot_be_written_to_is_said_and_stops_no_sweep(node, directory, metrics):
    init = node.container(LEAK)
    done = node.agent(
        "--json",
        "--min-age",
        "0",
        "--remedies",
        "reap",
        "--textfile-directory",
        str(directory / "nowhere"),
    )
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["warnings"] == [
        f"{directory}/nowhere/zombie_reaper.prom cannot be written: No such file or directory"
    ]
    assert (
        "warning: " + result["warnings"][0]
        in json.loads((node.run_directory / "last.json").read_text(encoding="utf-8"))["summary"]
    )
    assert init.alive and init.zombies() == []
    assert list(directory.iterdir()) == []


def test_a_wrong_setting_says_what_is_right(node, directory):
    done = node.agent("--textfile-directory", "textfiles")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "zombie-reaper: textfile_directory: 'textfiles' is not allowed: give auto, off or the"
        " absolute path of a directory that consists of letters, digits and ._+@:,=~- only"
    ]


def test_a_sweep_that_fails_is_told(node, directory, metrics):
    node.sweep(textfile_directory=directory, remedies="")
    before = metrics()
    seen = node.run_directory / "first_seen"
    with contextlib.suppress(FileNotFoundError):
        seen.unlink()
    seen.mkdir()
    assert node.agent("--textfile-directory", str(directory)).returncode == 1
    told = metrics()
    assert {name: value for name, value in told.items() if before[name] != value} == {
        "errors_total": "1",
        "last_sweep_success": "0",
    }
    seen.rmdir()
    node.sweep(textfile_directory=directory, remedies="")
    assert (
        metrics()["last_sweep_success"],
        metrics()["errors_total"],
        metrics()["sweeps_total"],
    ) == ("1", "1", "2")


@pytest.fixture
def watching(node, tmp_path, directory):
    """The daemon, with metrics."""
    started = Daemon(
        node,
        tmp_path,
        "--min-age",
        "0",
        "--remedies",
        "reap",
        "--textfile-directory",
        str(directory),
    )
    yield started
    started.stop()


def cleared(metrics, number):
    def enough():
        return metrics.file.exists() and metrics()['cleared_total{remedy="reap"}'] == str(number)

    wait_until(enough, 120)


LEAKS_WHEN_TOLD = """
signal.signal(signal.SIGUSR1, lambda *_: zombie())
ready()
forever()
"""


def test_the_daemon_tells_and_goes_on_without_the_directory(node, directory, metrics, watching):
    init = node.container(LEAKS_WHEN_TOLD)
    init.process.send_signal(signal.SIGUSR1)
    cleared(metrics, 1)
    opened = watching.at_rest(watching.open_files)
    metrics.file.unlink()
    directory.rmdir()
    for number in (2, 3):
        init.process.send_signal(signal.SIGUSR1)
        wait_until(lambda number=number: (watching.status() or {}).get("cleared", 0) >= number, 120)
    watching.after_ticks(2)
    assert watching.at_rest(watching.open_files) == opened
    assert (
        watching.text().count("zombie_reaper.prom cannot be written: No such file or directory")
        >= 1
    )
    directory.mkdir()
    init.process.send_signal(signal.SIGUSR1)
    cleared(metrics, 4)
    assert watching.end() == 0
    assert "Traceback" not in watching.text()


def test_the_daemon_goes_on_where_the_disk_is_full(node, tmp_path, directory, metrics):
    """A file system of one page, which something else takes."""
    done = node.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(directory))
    assert done.returncode == 0, done.stderr
    assert node.run("sh", "-c", f"echo full > {directory}/other").returncode == 0
    watching = Daemon(
        node,
        tmp_path,
        "--min-age",
        "0",
        "--remedies",
        "reap",
        "--textfile-directory",
        str(directory),
    )
    try:
        init = node.container(LEAKS_WHEN_TOLD)
        for number in (1, 2):
            init.process.send_signal(signal.SIGUSR1)
            wait_until(
                lambda number=number: (watching.status() or {}).get("cleared", 0) >= number, 120
            )
        assert "zombie_reaper.prom cannot be written: No space left on device" in watching.text()
        assert watching.at_rest(lambda: node.run("ls", str(directory)).stdout) == "other\n", (
            "nothing torn, nothing left"
        )
        assert node.run("rm", str(directory / "other")).returncode == 0
        assert node.run("mount", "-o", "remount,size=64k", str(directory)).returncode == 0
        init.process.send_signal(signal.SIGUSR1)
        wait_until(
            lambda: (
                node.run(
                    "grep",
                    "-c",
                    '^zombie_reaper_cleared_total{remedy="reap"} 3$',
                    str(metrics.file),
                ).stdout
                == "1\n"
            ),
            120,
        )
        assert watching.end() == 0
    finally:
        watching.stop()


def test_a_link_that_only_root_can_change_is_followed(node):
    """As /var/run is one, and others may lead to each other."""
    script = """
        mkdir /run/metrics /run/links && chown 65534 /run/metrics
        ln -s /var/run/metrics /run/links/absolute && ln -s ../links/absolute /run/links/relative
    """
    assert node.run("sh", "-ec", script).returncode == 0
    for directory in ("/var/run/metrics", "/run/links/relative"):
        node.sweep(textfile_directory=directory)
        written = node.run("cat", "/run/metrics/zombie_reaper.prom").stdout
        assert "zombie_reaper_last_sweep_success 1" in written.splitlines()
        node.run("rm", "/run/metrics/zombie_reaper.prom")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            "ln -s /run/secret way/link; chown -h 65534 way/link", id="a link of somebody else"
        ),
        pytest.param(
            "ln -s /run/secret way/link; chown 65534 way", id="in a directory of somebody else"
        ),
        pytest.param(
            "ln -s /run/secret way/link; chmod 1777 way", id="in a directory that others write to"
        ),
        pytest.param(
            "mkdir way/way; ln -s /run/secret way/way/link; chown 65534 way; mv way other;"
            " ln -s other/way way",
            id="below a directory of somebody else",
        ),
        pytest.param("ln -s link way/link", id="a loop"),
    ],
)
def test_a_link_that_others_can_change_is_not_followed(node, script):
    done = node.run("sh", "-ec", f"cd /run; mkdir secret way; {script}")
    assert done.returncode == 0, done.stderr
    result = node.sweep(textfile_directory="/run/way/link")
    assert [text for text in result["warnings"] if "zombie_reaper.prom cannot be written" in text]
    assert node.run("ls", "/run/secret").stdout == ""
