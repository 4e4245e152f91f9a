"""When a scheduled sweep may end before it begins: each thing that must be as it was, changed
alone, on files made by hand.
"""

from __future__ import annotations

import os
import subprocess
from functools import partial
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    cli,
    command,
    idle,
    metrics,
    textfile,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, stacks
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.limits import Limits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from rig.node import ENGINE, PYTHON

BOOT = "6f5902ac-237c-4c2f-9d4a-5b6a4f0f1d6e"
CPUS = 4


class Node:
    """A ``/proc`` with these tasks, none of which is a zombie as long as the cgroup lists as many.
    stacks: of how many there are some, idle threads included.
    """

    def __init__(self, directory):
        self.root, self.proc = directory / "cgroup", directory / "proc"
        self.root.mkdir()
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "sys/vm").mkdir()
        (self.proc / "sys/vm/stat_refresh").touch()
        self.has(50)
        self.list_tasks(50)
        self.boots(BOOT)
        self.keeps_stacks(50)

    def has(self, tasks):
        (self.proc / "loadavg").write_text(f"0.00 0.01 0.05 1/{tasks} 500\n", encoding="ascii")

    def boots(self, boot_id):
        (self.proc / "sys/kernel/random/boot_id").write_text(boot_id + "\n", encoding="ascii")

    def list_tasks(self, number):
        (self.root / "cgroup.threads").write_text(
            "".join(f"{pid}\n" for pid in range(1, number + 1)), encoding="ascii"
        )

    def keeps_stacks(self, tasks):
        (self.proc / "meminfo").write_text(
            f"MemTotal: 1 kB\nKernelStack: {16 * (tasks + CPUS - 1)} kB\n", encoding="ascii"
        )


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.fixture
def noted(node, tmp_path):
    """(directory of the state, path of the configuration), right after a sweep that found nothing: 50
    tasks, and room for 1,000.
    """
    config, run = tmp_path / "config.json", tmp_path / "run"
    run.mkdir()
    config.write_text("{}", encoding="ascii")
    (run / "last.json").write_text("{}", encoding="ascii")
    write_note(node, run, config)
    return run, config


def write_note(node, run, config, calibration=None):
    text = idle.note(
        str(run),
        idle.stamp(str(config)),
        Limits(2000, 1000, 50, 1000),
        str(node.proc),
        calibration,
    )
    (run / "idle").write_text(text, encoding="ascii")


def asked(node, noted):
    return idle.idle_for(str(noted[0]), str(noted[1]), str(node.root), str(node.proc))


def rewritten(path, text):
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    os.rename(new, path)


CHANGES = {
    "a zombie": lambda node, run, config: node.has(51),
    "many more tasks": lambda node, run, config: (node.has(61), node.list_tasks(61)),
    "another boot": lambda node, run, config: node.boots(BOOT[::-1]),
    "the configuration written in place": lambda node, run, config: config.write_text(
        "{} ", encoding="ascii"
    ),
    "the configuration replaced by one as long": lambda node, run, config: rewritten(config, "{}"),
    "the configuration gone": lambda node, run, config: config.unlink(),
    "the report of another sweep": lambda node, run, config: rewritten(run / "last.json", "{}"),
    "the report gone": lambda node, run, config: (run / "last.json").unlink(),
    "no note": lambda node, run, config: (run / "idle").unlink(),
    "a note that is torn": (
        lambda node, run, config: (run / "idle").write_text((run / "idle").read_text()[:60])
    ),
    "a note that is empty": lambda node, run, config: (run / "idle").write_text(""),
    "a note that is no text": lambda node, run, config: (run / "idle").write_bytes(b"\xff\xfe"),
    "no cgroups": lambda node, run, config: (node.root / "cgroup.threads").unlink(),
}


def test_nothing_is_new(node, noted):
    assert 0 <= asked(node, noted) < 60
    node.has(60)
    node.list_tasks(60)
    assert asked(node, noted) is not None, "a hundredth of the limit is nothing new"


@pytest.mark.parametrize("change", CHANGES)
def test_something_is_new(node, noted, change):
    assert asked(node, noted) is not None
    CHANGES[change](node, *noted)
    assert asked(node, noted) is None


@pytest.fixture
def told(node, noted, tmp_path):
    """The metrics of that sweep, told to a directory."""
    (tmp_path / "out").mkdir()
    text = f"{textfile.SUCCESS} 1\n{textfile.PIDS_USED} 50\n{textfile.LAST_SWEEP} 1000.000\n"
    textfile.publish(
        str(noted[0]), ProcFS(str(node.proc)), str(tmp_path / "out"), "# TYPE first gauge\n" + text
    )
    return tmp_path / "out/zombie_reaper.prom"


def test_nothing_is_new_and_metrics_say_when_that_was_seen(node, noted, told):
    node.has(60)
    node.list_tasks(60)
    assert asked(node, noted) is not None
    comment, success, pids, last_sweep = told.read_text(encoding="ascii").splitlines()
    assert (comment, success, pids) == (
        "# TYPE first gauge",
        textfile.SUCCESS + " 1",
        textfile.PIDS_USED + " 60",
    )
    assert float(last_sweep.removeprefix(textfile.LAST_SWEEP + " ")) > 1.7e9


@pytest.mark.parametrize("change", CHANGES)
def test_metrics_say_nothing_of_a_look_that_a_sweep_follows(node, noted, told, change):
    CHANGES[change](node, *noted)
    before = told.stat()
    assert asked(node, noted) is None
    assert told.stat() == before


def test_metrics_that_cannot_be_told_need_a_whole_sweep(node, noted, told):
    told.unlink()
    told.parent.rmdir()
    assert asked(node, noted) is None


@pytest.mark.parametrize(
    "seconds, trusted",
    [(0, True), (idle.TRUSTED - 60, True), (idle.TRUSTED + 1, False), (-60, False)],
)
def test_a_note_is_believed_for_ten_minutes(node, noted, seconds, trusted):
    file = noted[0] / "idle"
    boot_id, then, *rest = file.read_text(encoding="ascii").split()
    file.write_text(" ".join([boot_id, f"{float(then) - seconds:.3f}", *rest]), encoding="ascii")
    assert (asked(node, noted) is not None) is trusted


def test_no_configuration_is_a_configuration_too(node, noted):
    noted[1].unlink()
    write_note(node, *noted)
    assert asked(node, noted) is not None
    noted[1].write_text("{}", encoding="ascii")
    assert asked(node, noted) is None


# By the kernel's stacks

KNOWN = stacks.Calibration(16, CPUS, 500)


@pytest.mark.parametrize(
    "of_stacks, of_cgroup, calibration, by_ledger, ends_early",
    [
        (50, 50, KNOWN, False, True),
        (50, 49, KNOWN, False, True),  # the stacks are sure
        (49, 50, KNOWN, True, True),  # the ledger knows better
        (49, 49, KNOWN, True, False),
        (51, 50, KNOWN, True, True),  # a task on its way may hide a zombie
        (51, 49, KNOWN, True, False),
        (50, 50, KNOWN._replace(most_tasks=49), True, True),
        (50, 49, KNOWN._replace(most_tasks=49), True, False),
        (50, 49, None, True, False),
        (50, 50, None, True, True),
    ],
)
def test_the_ledger_is_read_unless_the_stacks_show_none(
    node, noted, monkeypatch, of_stacks, of_cgroup, calibration, by_ledger, ends_early
):
    write_note(node, *noted, calibration)
    node.keeps_stacks(of_stacks)
    node.list_tasks(of_cgroup)
    asks, count = [], cgroups.Ledger.zombies
    monkeypatch.setattr(cgroups.Ledger, "zombies", lambda ledger: asks.append(1) or count(ledger))
    assert (asked(node, noted) is not None, bool(asks)) == (ends_early, by_ledger)


def test_a_look_at_the_stacks_imports_nothing(node, noted):
    """Each import would cost every scheduled sweep on every node."""
    write_note(node, *noted, KNOWN)
    code = (
        "import sys, os, time, __future__; sys.path.append(sys.argv[1]); before = set(sys.modules)\n"
        "from reaper import command, idle\n"
        "assert idle.idle_for(*sys.argv[2:]) is not None\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    where = [*noted, node.root, node.proc]
    told = subprocess.run(
        [PYTHON, "-ISc", code, str(ENGINE), *map(str, where)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert {name for name in told if not name.startswith("reaper")} <= {"_collections"}
    assert "reaper.kernel.cgroups" not in told


@pytest.mark.parametrize(
    "arguments, ends_early",
    [
        ([], True),
        (["--syslog"], True),
        (["--json"], False),
        (["--min-age", "5"], False),
        (["--syslog", "--wait"], False),
    ],
)
def test_only_the_schedule_s_own_calls_end_early(monkeypatch, capsys, arguments, ends_early):
    """Whoever asks for more has to get it, and the ledger says nothing of options."""
    monkeypatch.setattr(command.sys, "argv", ["zombie-reaper", *arguments])
    monkeypatch.setattr(command.idle, "idle_for", lambda *_arguments: 5.0)
    for name in ("to_stdout", "to_syslog"):
        monkeypatch.setattr(command, name, lambda line: None)
    monkeypatch.setattr(cli, "main", lambda arguments: 70)
    assert command.main() == (0 if ends_early else 70)


@pytest.mark.parametrize(
    "way, results, warnings, noted",
    [
        ("ledger", (), (), True),
        ("scan", (), (), False),
        ("children", (), (), False),
        ("ledger", ("one",), (), False),
        ("ledger", (), ("a",), False),
    ],
)
def test_only_a_sweep_that_found_nothing_is_noted(tmp_path, way, results, warnings, noted):
    done = SimpleNamespace(
        after=SimpleNamespace(found_by=way, limits=Limits(2000, 1000, 50, 1000)),
        results=results,
        warnings=warnings,
    )
    cli._note_if_idle(done, Paths(run=str(tmp_path)), "-")
    assert (tmp_path / "idle").exists() is noted


def test_a_wrong_configuration_is_a_sweep_that_could_not_be_done(
    node, noted, told, monkeypatch, capsys
):
    """By the schedule; somebody who mistypes raises no alarm."""
    wrong = noted[1]
    wrong.write_text('{"min_age": -1}', encoding="ascii")
    flags = partial(cli.Flags, config=str(wrong), run=str(noted[0]))
    monkeypatch.setattr(cli, "Flags", flags)
    monkeypatch.setattr(cli, "to_syslog", lambda line: None)
    textfile.publish(
        str(noted[0]),
        ProcFS(),
        str(told.parent),
        metrics._written({**metrics.counted(""), textfile.SUCCESS: 1}),
    )
    assert cli.main(["--config", str(wrong), "--run", str(noted[0])]) == 2
    assert f"{textfile.SUCCESS} 1\n" in told.read_text(encoding="ascii")
    assert cli.main(["--syslog"]) == 2
    assert f"{textfile.SUCCESS} 0\n" in told.read_text(encoding="ascii")
    assert f"{metrics.ERRORS} 1\n" in told.read_text(encoding="ascii")
    assert capsys.readouterr().err.count("min_age: -1 is not allowed") == 2
