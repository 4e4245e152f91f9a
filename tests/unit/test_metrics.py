"""Metrics of a sweep: that Prometheus can read them whatever a tenant is called, what they count,
and when they are told.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    VERSION,
    files,
    metrics,
    policy,
    report,
    sweep,
    textfile,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import (
    Busy,
    CannotSweep,
    OptionError,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
    REMEDIES,
    Options,
    checked,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import Outcome
from hypothesis import example, given
from hypothesis import strategies as st
from rig.handmade import PRESSED, container_process, host_process, node, workload, zombie

REAL = procfs.ProcFS()
NOW = 1764000000.5
NOTHING = metrics.counted("")
NAMES = [
    "zombie_reaper_info",
    "zombie_reaper_report_only",
    "zombie_reaper_zombies",
    "zombie_reaper_orphans",
    "zombie_reaper_offenders",
    "zombie_reaper_oldest_zombie_age_seconds",
    "zombie_reaper_pids_used",
    "zombie_reaper_pids_limit",
    "zombie_reaper_seconds_to_full",
    "zombie_reaper_pressure",
    "zombie_reaper_sweeps_total",
    "zombie_reaper_errors_total",
    "zombie_reaper_cleared_total",
    "zombie_reaper_workloads_ended_total",
    "zombie_reaper_last_sweep_success",
    "zombie_reaper_last_sweep_timestamp_seconds",
    "zombie_reaper_last_sweep_duration_seconds",
    "zombie_reaper_workload_zombies",
    "zombie_reaper_workloads_not_shown",
]
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (\+Inf|[0-9.]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\[\\"n])*)"')
HOSTILE = st.text(st.characters() | st.sampled_from('\\"\n{}=, #'), max_size=300)


def swept(
    *offenders, results=(), without_parent=(), forecast=limits.Forecast(None, None), **changes
):
    """A report at whose end these offenders are there."""
    after = node(*offenders, without_parent=without_parent)._replace(forecast=forecast)
    fields = {"options": Options(), "check_mode": False, "duration": 1.5, "warnings": ()}
    return report.Report(after, after, tuple(results), **{**fields, **changes})


def read(text) -> dict:
    """``{(name, labels): value}``, of a text that is right in every line; labels are a tuple of
    (name, value).
    """
    found, described = {}, []
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        comment = re.fullmatch(r"# (HELP|TYPE) ([a-z_]+) (.+)", line)
        if comment:
            described.append(comment.group(1, 2))
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        name, labels, value = sample.groups()
        assert described[-2:] == [("HELP", name), ("TYPE", name)], "its series stand together"
        unescaped = tuple(
            (label, re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], shown))
            for label, shown in LABEL.findall(labels or "")
        )
        assert (name, unescaped) not in found, "a series stands there once"
        found[name, unescaped] = float(value)
    return found


def of_workloads(text) -> dict:
    """``{(namespace, pod, container): zombies}``, in the order of the text."""
    return {
        tuple(value for _label, value in labels): number
        for (name, labels), number in read(text).items()
        if name == metrics.WORKLOADS
    }


def plain(text) -> dict:
    """Those without labels."""
    return {
        name.removeprefix("zombie_reaper_"): value
        for (name, labels), value in read(text).items()
        if not labels
    }


# The text


def test_every_metric_is_there_with_its_type_also_where_there_is_nothing():
    text = metrics.as_text(swept(), NOTHING, NOW)
    assert (
        re.findall(r"^# HELP (\S+) \S", text, re.M)
        == re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", text, re.M)
        == NAMES
    )
    assert [
        name
        for name in re.findall(r"^# TYPE (\S+) counter$", text, re.M)
        if not name.endswith("_total")
    ] == []
    assert plain(text) == {
        "report_only": 0,
        "zombies": 0,
        "orphans": 0,
        "offenders": 0,
        "oldest_zombie_age_seconds": 0,
        "pids_used": 29492,
        "pids_limit": 32768,
        "pressure": 1,
        "seconds_to_full": float("inf"),
        "sweeps_total": 1,
        "errors_total": 0,
        "workloads_ended_total": 0,
        "last_sweep_success": 1,
        "last_sweep_timestamp_seconds": NOW,
        "last_sweep_duration_seconds": 1.5,
        "workloads_not_shown": 0,
    }
    assert f'zombie_reaper_info{{version="{VERSION}"}} 1\n' in text
    assert [
        line for line in text.split("\n") if line.startswith("zombie_reaper_cleared_total")
    ] == [
        f'zombie_reaper_cleared_total{{remedy="{remedy}"}} 0'
        for remedy in ("reap", "nudge", "terminate")
    ]


def test_what_is_there_at_the_end_is_told():
    parent = container_process(
        50, zombies=tuple(zombie(pid, 50, age=pid / 10) for pid in (300, 400)), more=3
    )
    told = plain(
        metrics.as_text(
            swept(
                parent,
                host_process(60),
                without_parent=(zombie(900, 0, age=77.5),),
                forecast=limits.Forecast(60.0, 7200.4),
                options=Options(remedies=()),
            ),
            NOTHING,
            NOW,
        )
    )
    assert (told["zombies"], told["offenders"], told["oldest_zombie_age_seconds"]) == (7, 2, 100)
    assert (told["seconds_to_full"], told["report_only"]) == (7200, 1)


def test_workloads_are_named_as_far_as_they_are_known():
    offenders = [
        container_process(
            50,
            workload=workload(container_id="ab" * 32, container_name="web", pod=("shop", "web-0")),
        ),
        # started again
        container_process(
            51,
            workload=workload(container_id="cd" * 32, container_name="web", pod=("shop", "web-0")),
        ),
        container_process(52, workload=workload(container_id="ef" * 32)),
        container_process(53, workload=workload(container_id=None)),
        container_process(
            54,
            workload=workload(
                container_id="12" * 32, pod_uid="8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d"
            ),
        ),
        host_process(55),
        host_process(56),
        host_process(57),
    ]
    assert list(of_workloads(metrics.as_text(swept(*offenders), NOTHING, NOW)).items()) == [
        (("", "", ""), 3),
        (("shop", "web-0", "web"), 2),
        (("", "", "efefefefefef"), 1),
        (("", "", "pid:[4026531999]"), 1),
        (("", "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "121212121212"), 1),
    ]


@example('"', '"', '"')
@example("\\", "\\", "\\")
@example("\n", "a\nb", "c\n")
@given(HOSTILE, HOSTILE, HOSTILE)
def test_whatever_a_tenant_is_called_is_one_line_that_can_be_read(namespace, pod, container):
    hostile = workload(
        container_id=None, container_name=container or "c", pod=(namespace, pod or "p")
    )
    text = metrics.as_text(swept(container_process(workload=hostile)), NOTHING, NOW)
    assert of_workloads(text) == {
        tuple(report.printable(name) for name in (namespace, pod or "p", container or "c")): 1
    }
    assert text.count("\n") == metrics.as_text(swept(), NOTHING, NOW).count("\n") + 1
    assert len(text) < 6000
    text.encode()


def test_of_many_workloads_those_with_most_have_a_series():
    offenders = [
        container_process(
            100 + number,
            workload=workload(container_name=f"c{number}"),
            zombies=(zombie(1000 + number),),
            more=number,
        )
        for number in range(75)
    ]
    text = metrics.as_text(swept(*offenders), NOTHING, NOW)
    assert of_workloads(text) == {("", "", f"c{number}"): number + 1 for number in range(25, 75)}
    assert plain(text)["workloads_not_shown"] == 25
    assert plain(metrics.as_text(swept(*offenders[:50]), NOTHING, NOW))["workloads_not_shown"] == 0


@pytest.mark.parametrize("name", ["plain", 'q"uo\\te\n', "\U0001f9df{}", "x" * 5000])
def test_promtool_finds_nothing_to_say(name):
    """Debian's prometheus has it."""
    hostile = container_process(50, workload=workload(container_name=name, pod=(name, name)))
    text = metrics.as_text(swept(hostile, host_process(60)), NOTHING, NOW)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# The counters


def acted(parent, *outcomes, left=()):
    verdict = policy.Verdict(parent, parent.zombies, REMEDIES, "act", "because", PRESSED)
    return report.Result(
        verdict,
        tuple(
            Outcome(parent.pid, parent.start_ticks, remedy, result, cleared, "", 0.1)
            for remedy, result, cleared in outcomes
        ),
        left,
    )


def test_each_sweep_adds_to_what_was_there():
    first, second = (
        container_process(50, zombies=(zombie(500, 50), zombie(501, 50))),
        container_process(60),
    )
    done = swept(
        results=[
            acted(first, ("nudge", "no_effect", 0), ("reap", "cleared", 2)),
            acted(second, ("terminate", "parent_ended", 0)),
        ]
    )
    text = metrics.as_text(done, NOTHING, NOW)
    for number in (1, 2, 3):
        assert metrics.counted(text) == {
            metrics.SWEEPS: number,
            metrics.ERRORS: 0,
            metrics.CLEARED["nudge"]: 0,
            metrics.CLEARED["reap"]: 2 * number,
            metrics.CLEARED["terminate"]: number,
            metrics.ENDED: number,
        }
        text = metrics.as_text(done, metrics.counted(text), NOW)


@pytest.mark.parametrize(
    "line", ["", "%s", "%s ", "%s -1", "%s NaN", "%s 1.5", "%s 7 8", "# %s 7", "x%s 7"]
)
def test_a_counter_that_is_not_there_or_broken_begins_at_zero(line):
    assert metrics.counted(line.replace("%s", metrics.SWEEPS) + "\n" + metrics.ENDED + " 12\n") == {
        **NOTHING,
        metrics.ENDED: 12,
    }


# Where it is written, and where not


@pytest.fixture
def paths(tmp_path):
    """Those of an agent whose metrics go into a directory, which is there."""
    (tmp_path / "run").mkdir()
    (tmp_path / "out").mkdir()
    return Paths(run=str(tmp_path / "run"), textfiles=str(tmp_path / "out"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out/zombie_reaper.prom"


def test_it_is_readable_for_all_and_the_only_thing_there(paths, file, tmp_path):
    for number in (1, 2):
        assert metrics.record(swept(), paths) == ()
        assert plain(file.read_text(encoding="utf-8"))["sweeps_total"] == number
        assert file.stat().st_mode & 0o7777 == 0o644
        assert [path.name for path in file.parent.iterdir()] == [file.name]
    copy = tmp_path / "run/metrics"
    assert copy.stat().st_mode & 0o7777 == 0o600
    assert copy.read_text(encoding="utf-8").split("\n", 2)[1:] == [
        str(file.parent),
        file.read_text(encoding="utf-8"),
    ]


def test_whoever_has_it_open_reads_the_old_one_to_its_end(paths, file):
    metrics.record(swept(), paths)
    with open(file, encoding="utf-8") as reading:
        metrics.record(swept(), paths)
        assert plain(reading.read())["sweeps_total"] == 1


def test_what_its_owner_writes_there_is_not_taken_over(paths, file):
    metrics.record(swept(), paths)
    for tell, sweeps in (
        (lambda: textfile.update_after_idle_look(paths.run, REAL, 5), 1),
        (lambda: metrics.record(swept(), paths), 2),
        (lambda: metrics.failed(paths), 2),
    ):
        file.write_text(f"{metrics.SWEEPS} 1000\n{textfile.SUCCESS} 1\n", encoding="utf-8")
        tell()
        assert plain(file.read_text(encoding="utf-8"))["sweeps_total"] == sweeps


def to_a_victim(place, victim):
    place.symlink_to(victim)


def to_the_same_inode(place, victim):
    place.hardlink_to(victim)


@pytest.mark.parametrize("trap", [to_a_victim, to_the_same_inode])
@pytest.mark.parametrize("name", ["zombie_reaper.prom", "zombie_reaper.prom.new"])
def test_a_link_in_its_place_is_replaced_and_what_it_leads_to_is_neither_written_nor_read(
    paths, file, tmp_path, trap, name
):
    victim = tmp_path / "victim"
    victim.write_text(f"{metrics.SWEEPS} 1000\nsecret\n", encoding="utf-8")
    victim.chmod(0o600)
    trap(file.with_name(name), victim)
    assert metrics.record(swept(), paths) == ()
    assert textfile.update_after_idle_look(paths.run, REAL, 5)
    assert victim.read_text(encoding="utf-8") == f"{metrics.SWEEPS} 1000\nsecret\n"
    assert victim.stat().st_mode & 0o7777 == 0o600
    assert not file.is_symlink()
    assert plain(file.read_text(encoding="utf-8"))["sweeps_total"] == 1
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_link_that_is_put_there_at_the_last_moment_is_not_followed(
    paths, file, tmp_path, monkeypatch
):
    victim = tmp_path / "victim"
    victim.write_text("keep", encoding="utf-8")
    really = os.unlink

    def unlink(path, **where):
        with contextlib.suppress(FileNotFoundError):
            really(path, **where)
        if path == file.name + ".new":
            file.with_name(path).symlink_to(victim)

    monkeypatch.setattr(files.os, "unlink", unlink)
    assert metrics.record(swept(), paths) == (f"{file} cannot be written: File exists",)
    assert victim.read_text(encoding="utf-8") == "keep"
    assert not file.exists()


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_directory_that_a_link_leads_to_is_not_written_to(paths, tmp_path, below):
    elsewhere = tmp_path / "elsewhere/below"
    elsewhere.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    [warning] = metrics.record(swept(), paths._replace(textfiles=str(tmp_path / "link") + below))
    assert warning == (
        f"{tmp_path / 'link'}{below}/zombie_reaper.prom cannot be written: Not a directory"
        " (a symbolic link in its path is followed only where nobody but root can change it)"
    )
    assert list(elsewhere.iterdir()) == []


def test_one_that_cannot_be_written_is_a_warning_and_leaves_nothing(paths, file):
    file.mkdir()
    (file / "keep").touch()
    [warning] = metrics.record(swept(), paths)
    assert warning.startswith(f"{file} cannot be written: ")
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_directory_that_is_not_there_is_a_warning_and_is_not_made(paths, file):
    file.parent.rmdir()
    assert metrics.record(swept(), paths) == (
        f"{file} cannot be written: No such file or directory",
    )
    assert not file.parent.exists()


def test_what_was_left_by_one_that_was_killed_does_not_stay(paths, file):
    file.with_name(file.name + ".new").write_text("half", encoding="utf-8")
    assert metrics.record(swept(), paths) == ()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_auto_is_the_first_that_is_there(paths, file, tmp_path, monkeypatch):
    there = [str(tmp_path / name) for name in ("no", "out", "run")]
    monkeypatch.setattr(textfile, "DIRECTORIES", there)
    assert metrics.record(swept(), paths._replace(textfiles=metrics.AUTO)) == ()
    assert file.exists()
    assert not (tmp_path / "run" / file.name).exists()
    file.unlink()
    monkeypatch.setattr(textfile, "DIRECTORIES", there[:1])
    assert metrics.record(swept(), paths._replace(textfiles=metrics.AUTO)) == ()
    assert not file.exists() and not (tmp_path / "run/metrics").exists()


@pytest.mark.parametrize(
    "setting, of_agent, told",
    [
        ("auto", None, "no directory"),
        ("off", None, "off"),
        ("/anywhere", None, "/anywhere"),
        (None, None, "no directory"),
        (None, {}, "no directory"),
        (None, {"textfile_directory": "off"}, "off"),
        (None, {"textfile_directory": "/anywhere"}, "/anywhere"),
        (None, {"textfile_directory": 5}, None),
        (None, "not JSON", None),
    ],
)
def test_where_they_go_is_told(paths, tmp_path, monkeypatch, setting, of_agent, told):
    """A module is told nothing: it reads the configuration of the agent. Without one it is silent."""
    config = tmp_path / "config.json"
    monkeypatch.setattr(textfile, "DIRECTORIES", [str(tmp_path / "none")])
    monkeypatch.setattr(metrics, "CONFIG", str(config))
    if of_agent is not None:
        config.write_text(of_agent if isinstance(of_agent, str) else json.dumps(of_agent))
    elif setting is None:
        told = None
    assert metrics.destination(paths._replace(textfiles=setting)) == told
    for check_mode in (True, False):
        done = swept(metrics=told, check_mode=check_mode)
        assert report.as_dict(done)["metrics"] == told
        lines = [line for line in report.as_lines(done) if line.startswith("metrics: ")]
        assert bool(lines) is (check_mode and told == "no directory"), "not in the journal"
        assert all(str(tmp_path / "none") in line for line in lines)


def test_a_directory_that_is_found_is_told(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(textfile, "DIRECTORIES", [str(tmp_path / "no"), paths.textfiles])
    assert metrics.destination(paths._replace(textfiles="auto")) == paths.textfiles


def test_off_takes_it_back_and_another_directory_moves_it(paths, file, tmp_path):
    metrics.record(swept(), paths)
    other = tmp_path / "other"
    other.mkdir()
    metrics.record(swept(), paths._replace(textfiles=str(other)))
    assert not file.exists(), "what nobody renews would raise an alarm for ever"
    assert plain((other / file.name).read_text(encoding="utf-8"))["sweeps_total"] == 2, (
        "the same counters"
    )
    metrics.record(swept(), paths._replace(textfiles=metrics.OFF))
    assert list(other.iterdir()) == [] == list((tmp_path / "run").iterdir())


def test_modules_go_on_with_what_the_agent_began_and_begin_nothing(
    paths, file, tmp_path, monkeypatch
):
    monkeypatch.setattr(textfile, "DIRECTORIES", [str(file.parent)])
    module = paths._replace(textfiles=None)
    assert Paths().textfiles is None
    metrics.record(swept(), module)
    metrics.failed(module)
    assert not file.exists() and list((tmp_path / "run").iterdir()) == []
    metrics.record(swept(), paths)
    metrics.record(swept(), module)
    assert plain(file.read_text(encoding="utf-8"))["sweeps_total"] == 2


BREAKS = {
    "torn": lambda text: text[:-20],
    "torn in its second line": lambda text: text[:50],
    "empty": lambda text: "",
    "of another boot": lambda text: text[::-1][-36:] + text[36:],
    "no text": lambda text: b"\xff\xfe" + text.encode(),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_totals_that_are_broken_count_from_zero(paths, file, tmp_path, broken):
    copy = tmp_path / "run/metrics"
    metrics.record(swept(), paths)
    metrics.record(swept(), paths)
    text = BREAKS[broken](copy.read_text(encoding="utf-8"))
    copy.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert textfile.kept(paths.run, REAL) == (None, "")
    assert not textfile.update_after_idle_look(paths.run, REAL, 5), (
        "a whole sweep has to write it anew"
    )
    assert metrics.record(swept(), paths) == ()
    assert plain(file.read_text(encoding="utf-8"))["sweeps_total"] == 1


# A sweep that could not be done


def cannot_sweep(paths, **changes):
    with pytest.raises(CannotSweep):
        sweep.sweep(Options(remedies=()), paths, **changes)


@pytest.fixture
def broken(tmp_path, paths):
    """A sweep cannot be done: what was seen before is no file."""
    (tmp_path / "run/first_seen").mkdir()
    return paths


def test_one_that_fails_is_told_and_the_other_figures_stay(broken, file):
    metrics.record(swept(container_process()), broken)
    before = read(file.read_text(encoding="utf-8"))
    cannot_sweep(broken)
    cannot_sweep(broken)
    told = read(file.read_text(encoding="utf-8"))
    changed = {
        name: value for (name, labels), value in told.items() if before[name, labels] != value
    }
    assert changed == {
        "zombie_reaper_errors_total": 2,
        "zombie_reaper_last_sweep_success": 0,
    } and list(told) == list(before)
    assert not textfile.update_after_idle_look(broken.run, REAL, 5), (
        "only a sweep can put that right"
    )
    metrics.record(swept(), broken)
    assert (
        plain(file.read_text())["last_sweep_success"],
        plain(file.read_text())["errors_total"],
    ) == (1, 2)


def test_one_that_fails_moves_nothing(broken, file, tmp_path):
    """Else the file of before would be forgotten."""
    metrics.record(swept(), broken)
    cannot_sweep(broken._replace(textfiles=str(tmp_path / "run")))
    cannot_sweep(broken._replace(textfiles=metrics.OFF))
    assert plain(file.read_text(encoding="utf-8"))["errors_total"] == 2
    metrics.record(swept(), broken._replace(textfiles=metrics.OFF))
    assert list(file.parent.iterdir()) == []


def test_the_first_one_that_fails_tells_what_is_known(broken, file):
    cannot_sweep(broken)
    assert plain(file.read_text(encoding="utf-8")) == {
        "sweeps_total": 0,
        "errors_total": 1,
        "workloads_ended_total": 0,
        "last_sweep_success": 0,
    }


def test_in_check_mode_nothing_is_told(paths, file, tmp_path):
    sweep.sweep(Options(), paths, check_mode=True)
    assert not file.exists() and list((tmp_path / "run").iterdir()) == []


def test_one_that_finds_another_at_work_is_no_error(paths, file, monkeypatch):
    metrics.record(swept(), paths)

    def busy(*_arguments):
        raise Busy("another process holds it")

    monkeypatch.setattr(sweep, "_sweep", busy)
    cannot_sweep(paths)
    assert plain(file.read_text(encoding="utf-8"))["errors_total"] == 0


def test_that_it_cannot_be_told_is_not_another_failure(broken, file):
    file.parent.rmdir()
    cannot_sweep(broken)
    with files.locked(broken.run):
        cannot_sweep(broken)


# A look that found nothing new


def test_an_idle_look_tells_when_it_was_and_how_many_tasks_there_are(paths, file, monkeypatch):
    metrics.record(swept(container_process()), paths)
    before = read(file.read_text(encoding="utf-8"))
    inode = file.stat().st_ino
    later = int(before["zombie_reaper_last_sweep_timestamp_seconds", ()]) + 7
    monkeypatch.setattr(textfile, "time", SimpleNamespace(time=lambda: later))
    assert textfile.update_after_idle_look(paths.run, REAL, 4711)
    told = read(file.read_text(encoding="utf-8"))
    assert told["zombie_reaper_pids_used", ()] == 4711
    assert told["zombie_reaper_last_sweep_timestamp_seconds", ()] == later
    assert {name for name, _labels in told if told[name, _labels] != before[name, _labels]} == {
        "zombie_reaper_pids_used",
        "zombie_reaper_last_sweep_timestamp_seconds",
    }
    assert file.stat().st_ino != inode, "put there by a rename"
    assert textfile.kept(paths.run, REAL) == (str(file.parent), file.read_text(encoding="utf-8")), (
        "the next sweep goes on from this"
    )


def test_an_idle_look_that_cannot_tell_needs_a_whole_sweep(paths, file):
    metrics.record(swept(), paths)
    with files.locked(paths.run):
        assert not textfile.update_after_idle_look(paths.run, REAL, 5), "a sweep is at work"
    file.unlink()
    file.parent.rmdir()
    assert not textfile.update_after_idle_look(paths.run, REAL, 5)


# The option


@pytest.mark.parametrize(
    "value, taken",
    [
        ("auto", "auto"),
        ("off", "off"),
        (False, "off"),
        ("False", "off"),
        ("no", "off"),
        ("/var/lib/x", "/var/lib/x"),
        ("/a.b/c-d_e/", "/a.b/c-d_e"),
    ],
)
def test_it_is_auto_off_or_a_path(value, taken):
    assert metrics.directory(value) == taken


@pytest.mark.parametrize(
    "value",
    [
        "",
        "on",
        True,
        None,
        7,
        "var/lib",
        "/",
        "//",
        "/a b",
        "/a\n",
        "/a%b",
        "/a'b",
        "/ä",
        ["/a"],
        {},
    ],
)
def test_anything_else_is_refused_with_what_is_right(value):
    with pytest.raises(
        OptionError,
        match="textfile_directory: .* is not allowed: give auto, off or the absolute path",
    ):
        checked({"textfile_directory": value}, metrics.CHECKS)
