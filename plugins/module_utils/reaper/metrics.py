# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sweep as metrics for Prometheus, by way of node_exporter's textfile collector.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format". A series
is written as there: ``name{label="value"}``.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from . import VERSION, pressure, textfile
from .errors import CannotSweep
from .files import locked
from .kernel.procfs import ProcFS
from .options import REMEDIES
from .report import Report, as_workload, totals

AUTO, OFF = "auto", "off"
MAX_WORKLOADS = 50  # that have a series of their own
WORKLOADS, ERRORS = "zombie_reaper_workload_zombies", "zombie_reaper_errors_total"
SWEEPS, ENDED = "zombie_reaper_sweeps_total", "zombie_reaper_workloads_ended_total"
CLEARED = {remedy: f'zombie_reaper_cleared_total{{remedy="{remedy}"}}' for remedy in REMEDIES}
COUNTERS = (SWEEPS, ERRORS, *CLEARED.values(), ENDED)

METRICS = {
    "zombie_reaper_info": ("gauge", "Version of the engine that wrote this; always 1."),
    "zombie_reaper_report_only": ("gauge", "Whether the last sweep was told to try no remedy."),
    "zombie_reaper_zombies": ("gauge", "Zombies on the node at the end of the last sweep."),
    "zombie_reaper_orphans": ("gauge", "Zombies, of these, that nobody will ask for."),
    "zombie_reaper_offenders": ("gauge", "Parents that held zombies at the end of the last sweep."),
    "zombie_reaper_oldest_zombie_age_seconds": (
        "gauge",
        "For how long the oldest zombie has been seen with its parent, 0 without any.",
    ),
    textfile.PIDS_USED: ("gauge", "Tasks of the node, each of which takes a PID."),
    "zombie_reaper_pids_limit": (
        "gauge",
        "Tasks that the node may have, by the limit that is reached first.",
    ),
    "zombie_reaper_seconds_to_full": (
        "gauge",
        "When the limit is reached at the rate of the last half hour; +Inf where there is no"
        " growth, or none is known.",
    ),
    "zombie_reaper_pressure": (
        "gauge",
        "How short room for processes is on the node: 0 there is room, 1 pressure, 2 full.",
    ),
    SWEEPS: ("counter", "Whole sweeps since the node booted."),
    ERRORS: ("counter", "Sweeps since the node booted that could not be done."),
    "zombie_reaper_cleared_total": (
        "counter",
        "Zombies that went since the node booted, by what was done for it.",
    ),
    ENDED: ("counter", "Parents that were ended since the node booted."),
    textfile.SUCCESS: ("gauge", "Whether the last sweep could be done."),
    textfile.LAST_SWEEP: (
        "gauge",
        "Unix time of the last sweep, or of the last look that found nothing new.",
    ),
    "zombie_reaper_last_sweep_duration_seconds": ("gauge", "How long the last whole sweep took."),
    WORKLOADS: (
        "gauge",
        "Zombies of a workload at the end of the last sweep, of those with most; without"
        " labels, of the host's own processes.",
    ),
    "zombie_reaper_workloads_not_shown": (
        "gauge",
        "Workloads with zombies that have no series of their own.",
    ),
}


def directory(value) -> str:
    """The option ``textfile_directory``; ``ValueError`` that says what is right."""
    if str(value).lower() in ("off", "no", "false"):  # YAML reads the first two as the third
        return OFF
    # as a unit of systemd can have it
    if value != AUTO and not re.fullmatch(r"(/[A-Za-z0-9._+@:,=~-]+)+/?", str(value)):
        raise ValueError(
            "give auto, off or the absolute path of a directory, of letters, digits and ._+@:,=~-"
            " only"
        )
    return str(value).rstrip("/")


CHECKS = {"textfile_directory": directory}  # beside those of policy: no sweep is judged by it
HELP = {
    "textfile_directory": (
        "where metrics for node_exporter go: a directory; auto: the first there is of"
        f" {', '.join(textfile.DIRECTORIES)}; or off"
    )
}


def as_text(done: Report, before: dict, now: float) -> str:
    """The metrics of a sweep. before: as :func:`counted` returns it. now: seconds since the
    epoch.
    """
    counts, after = totals(done), done.after
    ages = [zombie.age for offender in after.offenders for zombie in offender.zombies] + [
        zombie.age for zombie in after.without_parent
    ]
    seconds_to_full = after.forecast.seconds_to_full
    workloads = _workloads(after.offenders)
    samples = {
        **before,
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
    for remedy, number in counts["cleared_by"].items():
        samples[CLEARED[remedy]] += max(0, number)
    return _written(samples)


def counted(text: str) -> dict:
    """``{series: int}`` of each of :data:`COUNTERS`, as a text has it; 0 where it has none."""
    found = dict(line.rpartition(" ")[::2] for line in text.split("\n"))
    return {
        series: int(found[series]) if found.get(series, "").isdecimal() else 0
        for series in COUNTERS
    }


def record(done: Report, paths) -> tuple:
    """Write the metrics of a sweep; returns warnings. The lock is held.

    paths: :class:`.paths.Paths`. Its ``textfiles`` is the option, or None: then they go where those
    of before went, if there were any.
    """
    procfs = ProcFS(paths.proc)
    before, text = textfile.kept(paths.run, procfs)
    directory = _directory(paths.textfiles, before)
    if before not in (None, directory):
        textfile.remove(paths.run, before)
    if directory is None:
        return ()
    try:
        textfile.publish(paths.run, procfs, directory, as_text(done, counted(text), time.time()))
    except OSError as error:
        why = (
            " (no part of its path may be a symbolic link)"
            if isinstance(error, NotADirectoryError)
            else ""
        )
        return (f"{error.filename} cannot be written: {error.strerror}{why}",)
    return ()


def failed(paths) -> None:
    """Tell, as well as that can be done, that a sweep could not be done; all other figures stay as
    they are, and where they are.

    paths: as for :func:`record`.
    """
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


def _directory(setting, before) -> str | None:
    if setting is None:
        return before
    if setting == AUTO:
        return next(filter(os.path.isdir, textfile.DIRECTORIES), None)
    return None if setting == OFF else setting


def _workloads(offenders) -> list:
    """(series, zombies) of each workload, those with most first."""
    numbers = {}
    for offender in offenders:
        series = _series(as_workload(offender.workload))
        numbers[series] = numbers.get(series, 0) + offender.zombie_count
    return sorted(numbers.items(), key=lambda each: (-each[1], each[0]))


def _series(workload: dict) -> str:
    container = ""
    if workload["kind"] == "container":
        container = (
            workload["container_name"]
            or (workload["container_id"] or "")[:12]
            or f"pid:[{workload['pid_namespace']}]"
        )
    labels = workload["namespace"] or "", workload["pod"] or workload["pod_uid"] or "", container
    return '%s{namespace="%s",pod="%s",container="%s"}' % (WORKLOADS, *map(_escaped, labels))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _written(samples: dict) -> str:
    """``{series: value}`` as text, in the order of :data:`METRICS`."""
    of_metric = {name: [] for name in METRICS}
    for series, value in {f'zombie_reaper_info{{version="{VERSION}"}}': 1, **samples}.items():
        of_metric[series.partition("{")[0]].append(f"{series} {value}")
    lines = []
    for name, (kind, text) in METRICS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *of_metric[name]]
    return "\n".join(lines) + "\n"
