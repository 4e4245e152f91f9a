# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sweep as metrics for Prometheus, through node_exporter's textfile collector.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format". Here a
series is a string as in that format: ``name{label="value"}``.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from . import VERSION, pressure, textfile
from .errors import CannotSweep, OptionError
from .files import locked
from .kernel.procfs import ProcFS
from .options import REMEDIES, read_config
from .paths import CONFIG
from .report import Report, as_workload, totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .node.observe import Offender
    from .paths import Paths

AUTO, OFF = "auto", "off"
MAX_WORKLOADS = 50  # with a series of their own
WORKLOADS, ERRORS = "zombie_reaper_workload_zombies", "zombie_reaper_errors_total"
SWEEPS, ENDED = "zombie_reaper_sweeps_total", "zombie_reaper_workloads_ended_total"
CLEARED = {remedy: f'zombie_reaper_cleared_total{{remedy="{remedy}"}}' for remedy in REMEDIES}
COUNTERS = (SWEEPS, ERRORS, *CLEARED.values(), ENDED)

# name: (type, help)
METRICS = {
    "zombie_reaper_info": ("gauge", "Version of the engine that wrote this; always 1."),
    "zombie_reaper_report_only": ("gauge", "Whether the last sweep was set to try no remedy."),
    "zombie_reaper_zombies": ("gauge", "Zombies on the node at the end of the last sweep."),
    "zombie_reaper_orphans": ("gauge", "Orphans among these zombies: nobody will ask for them."),
    "zombie_reaper_offenders": ("gauge", "Parents that held zombies at the end of the last sweep."),
    "zombie_reaper_oldest_zombie_age_seconds": (
        "gauge",
        "Seconds since the oldest zombie was first seen with its parent; 0 if there are none.",
    ),
    textfile.PIDS_USED: ("gauge", "Tasks on the node; each takes a PID."),
    "zombie_reaper_pids_limit": (
        "gauge",
        "Tasks that the node may have, by whichever limit is reached first.",
    ),
    "zombie_reaper_seconds_to_full": (
        "gauge",
        "Seconds until the limit is reached at the rate of the last half hour; +Inf if there is no"
        " growth, or none is known.",
    ),
    "zombie_reaper_pressure": (
        "gauge",
        "How short the node is of room for processes: 0 there is room, 1 pressure, 2 full.",
    ),
    SWEEPS: ("counter", "Completed sweeps since the node booted."),
    ERRORS: ("counter", "Failed sweeps since the node booted."),
    "zombie_reaper_cleared_total": (
        "counter",
        "Zombies cleared since the node booted, by remedy.",
    ),
    ENDED: ("counter", "Parents ended since the node booted."),
    textfile.SUCCESS: ("gauge", "Whether the last sweep succeeded."),
    textfile.LAST_SWEEP: (
        "gauge",
        "Unix time of the last sweep, or of a later look that found nothing new.",
    ),
    "zombie_reaper_last_sweep_duration_seconds": (
        "gauge",
        "How long the last completed sweep took.",
    ),
    WORKLOADS: (
        "gauge",
        "Zombies of a workload at the end of the last sweep, for the workloads with most; empty"
        " labels stand for the host's own processes.",
    ),
    "zombie_reaper_workloads_not_shown": (
        "gauge",
        "Workloads with zombies but without a series of their own.",
    ),
}


def directory(value: object) -> str:
    """Check the option ``textfile_directory``; ``ValueError`` says what is allowed."""
    if str(value).lower() in ("off", "no", "false"):  # YAML reads the first two as the third
        return OFF
    # characters that need no quoting in a systemd unit
    if value != AUTO and not re.fullmatch(r"(/[A-Za-z0-9._+@:,=~-]+)+/?", str(value)):
        raise ValueError(
            "give auto, off or the absolute path of a directory that consists of letters, digits"
            " and ._+@:,=~- only"
        )
    return str(value).rstrip("/")


CHECKS = {"textfile_directory": directory}  # not an option of a sweep: no verdict depends on it
HELP = {
    "textfile_directory": (
        "where metrics for node_exporter go: a directory; auto: the first of"
        f" {', '.join(textfile.DIRECTORIES)} that exists; or off"
    )
}


def as_text(done: Report, before: Mapping[str, int], now: float) -> str:
    """The metrics of a sweep. before: the counters of the sweep before, from :func:`counted`. now:
    seconds since the epoch.
    """
    counts, after = totals(done), done.after
    ages = [zombie.age for offender in after.offenders for zombie in offender.zombies] + [
        zombie.age for zombie in after.without_parent
    ]
    seconds_to_full = after.forecast.seconds_to_full
    workloads = _workloads(after.offenders)
    cleared = {
        CLEARED[remedy]: before[CLEARED[remedy]] + max(0, number)
        for remedy, number in counts["cleared_by"].items()
    }
    samples: dict[str, object] = {
        **before,
        **cleared,
        "zombie_reaper_report_only": int(not done.options.remedies),
        "zombie_reaper_zombies": counts["zombies_left"],
        "zombie_reaper_orphans": counts["orphans"],
        "zombie_reaper_offenders": len(after.offenders),
        "zombie_reaper_oldest_zombie_age_seconds": f"{max(ages, default=0.0):.1f}",
        textfile.PIDS_USED: after.limits.tasks,
        "zombie_reaper_pids_limit": after.limits.limit,
        "zombie_reaper_seconds_to_full": (
            "+Inf" if seconds_to_full is None else round(seconds_to_full)
        ),
        "zombie_reaper_pressure": pressure.LEVELS.index(
            pressure.told(after, done.options.pressure).level
        ),
        SWEEPS: before[SWEEPS] + 1,
        ENDED: before[ENDED] + counts["parents_ended"],
        textfile.SUCCESS: 1,
        textfile.LAST_SWEEP: f"{now:.3f}",
        "zombie_reaper_last_sweep_duration_seconds": f"{done.duration:.3f}",
        **dict(workloads[:MAX_WORKLOADS]),
        "zombie_reaper_workloads_not_shown": max(0, len(workloads) - MAX_WORKLOADS),
    }
    return _written(samples)


def counted(text: str) -> dict[str, int]:
    """The value of each of :data:`COUNTERS` in the text of a sweep; 0 if it is missing."""
    found = dict(line.rpartition(" ")[::2] for line in text.split("\n"))
    return {
        series: int(found[series]) if found.get(series, "").isdecimal() else 0
        for series in COUNTERS
    }


def record(done: Report, paths: Paths) -> tuple[str, ...]:
    """Write the metrics of a sweep; returns warnings. The caller holds the lock.

    ``paths.textfiles`` None means: where the metrics went before, if there were any.
    """
    procfs = ProcFS(paths.proc)
    before, text = textfile.kept(paths.run, procfs)
    directory = _directory(paths.textfiles, before)
    if before is not None and before != directory:
        textfile.remove(paths.run, before)
    if directory is None:
        return ()
    try:
        textfile.publish(paths.run, procfs, directory, as_text(done, counted(text), time.time()))
    except OSError as error:
        why = (
            " (a symbolic link in its path is followed only where nobody but root can change it)"
            if isinstance(error, NotADirectoryError)
            else ""
        )
        return (f"{error.filename} cannot be written: {error.strerror}{why}",)
    return ()


def failed(paths: Paths) -> None:
    """Record that a sweep has failed, if that is possible. Other values stay as they are."""
    with contextlib.suppress(OSError, CannotSweep, MemoryError):
        procfs = ProcFS(paths.proc)
        if not (textfile.kept(paths.run, procfs)[0] or _directory(paths.textfiles, None)):
            return
        with locked(paths.run, wait=0):
            before, text = textfile.kept(paths.run, procfs)
            directory = before or _directory(paths.textfiles, None)
            counts = counted(text)
            values = {**counts, ERRORS: counts[ERRORS] + 1, textfile.SUCCESS: 0}
            if directory:
                textfile.publish(
                    paths.run,
                    procfs,
                    directory,
                    textfile.with_values(text, values) if text else _written(values),
                )


def destination(paths: Paths) -> str | None:
    """Where the metrics of this node go: a directory, :data:`OFF` or
    :data:`.textfile.NO_DIRECTORY`; None if it has no agent that writes any.
    """
    setting = paths.textfiles
    if setting is None:
        try:
            setting = directory(read_config(CONFIG).get("textfile_directory", AUTO))
        except (OptionError, ValueError):
            return None
    return OFF if setting == OFF else _directory(setting, None) or textfile.NO_DIRECTORY


def _directory(setting: str | None, before: str | None) -> str | None:
    if setting is None:
        return before
    if setting == AUTO:
        return next(filter(os.path.isdir, textfile.DIRECTORIES), None)
    return None if setting == OFF else setting


def _workloads(offenders: Iterable[Offender]) -> list[tuple[str, int]]:
    """(series, zombies) of each workload, those with most zombies first."""
    numbers: dict[str, int] = {}
    for offender in offenders:
        series = _series(as_workload(offender.workload))
        numbers[series] = numbers.get(series, 0) + offender.zombie_count
    return sorted(numbers.items(), key=lambda each: (-each[1], each[0]))


def _series(workload: Mapping[str, Any]) -> str:
    container = ""
    if workload["kind"] == "container":
        container = (
            workload["container_name"]
            or (workload["container_id"] or "")[:12]
            or f"pid:[{workload['pid_namespace']}]"
        )
    labels = {
        "namespace": workload["namespace"] or "",
        "pod": workload["pod"] or workload["pod_uid"] or "",
        "container": container,
    }
    written = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{WORKLOADS}{{{written}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _written(samples: Mapping[str, object]) -> str:
    """Samples (series and value) as text, in the order of :data:`METRICS`."""
    of_metric: dict[str, list[str]] = {name: [] for name in METRICS}
    for series, value in {f'zombie_reaper_info{{version="{VERSION}"}}': 1, **samples}.items():
        of_metric[series.partition("{")[0]].append(f"{series} {value}")
    lines = []
    for name, (kind, description) in METRICS.items():
        lines += [f"# HELP {name} {description}", f"# TYPE {name} {kind}", *of_metric[name]]
    return "\n".join(lines) + "\n"
