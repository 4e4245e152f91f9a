# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``zombie-reaper``, the command on a node: one sweep with the options of its configuration file,
the daemon, or a look that changes nothing.

It has to start fast and without fork. As the schedule calls it, it does not import argparse. While
scheduled calls keep finding nothing, :mod:`.command` does not even import this file.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time

from . import VERSION, idle, metrics, report
from .errors import Busy, CannotSweep, NoSuchProcess, OptionError
from .files import locked, write
from .kernel.procfs import ProcFS
from .log import SYSLOG_TAG, to_stdout, to_syslog
from .node import zombies
from .options import (
    AGENT_CHECKS,
    AGENT_HELP,
    CHECKS,
    HELP,
    OFF,
    REMOVED,
    Options,
    checked,
    read_config,
)
from .paths import CONFIG, IDLE_NOTE, RUN, Paths
from .record import Record
from .sweep import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any

    from .report import Report

    Log = Callable[[str], None]

MAX_PID = 4194304  # PID_MAX_LIMIT of include/linux/threads.h
# 75: EX_TEMPFAIL of sysexits.h
EXIT_OK, EXIT_CANNOT_SWEEP, EXIT_USAGE, EXIT_ENDED_EARLY, EXIT_BUSY = (0, 1, 2, 3, 75)


class Flags(Record):
    """What the command line says; the defaults are those without any flag."""

    check: bool = False
    json: bool = False
    syslog: bool = False
    wait: bool = False
    explain: int | None = None  # a PID
    audit: bool = False
    probe: bool = False
    daemon: bool = False
    interval: float = 10.0  # seconds
    status: bool = False
    config: str | None = None  # None: CONFIG, if it exists
    run: str = RUN
    options: Mapping[str, Any] = {}  # by their names in the configuration, not validated yet


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status. arguments: None is ``sys.argv[1:]``."""
    sys.excepthook = _no_traceback_at_ctrl_c
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = (
        Flags(syslog="--syslog" in arguments) if arguments in idle.SCHEDULED else _parse(arguments)
    )
    log: Log = to_syslog if flags.syslog else to_stdout
    if isinstance(sys.stdout, io.TextIOWrapper):  # None if the command was started without one
        # the locale may lack a character of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    paths = Paths(run=flags.run)
    try:
        with contextlib.ExitStack() as until_reported:
            if flags.status:  # before the configuration is read: it has to work if that is wrong
                return _show_status(flags, paths, log)
            config_stamp = idle.stamp(flags.config or CONFIG)
            options, paths = _options(flags, paths)
            if flags.audit or flags.explain is not None:
                return _look(flags, options, paths, log)
            if flags.daemon:
                from . import daemon

                if isinstance(sys.stdout, io.TextIOWrapper):
                    sys.stdout.reconfigure(line_buffering=True)
                daemon.run(lambda: _options(flags, paths), paths, flags.interval, log)
                return EXIT_OK
            done = sweep(
                options,
                paths,
                check_mode=flags.check,
                wait=flags.wait,
                until_reported=until_reported,
            )
            if flags.json:
                _print(report.as_json(done))
            else:
                _log_all(report.as_lines(done), log)
            if arguments in idle.SCHEDULED:
                _note_if_idle(done, paths, config_stamp)
    except OptionError as error:
        if arguments in idle.SCHEDULED or flags.daemon:  # not for a typo on the command line
            metrics.failed(paths)
        return _fail(log, EXIT_USAGE, error)
    except Busy as error:
        return _fail(log, EXIT_BUSY, error)
    except CannotSweep as error:
        return _fail(log, EXIT_CANNOT_SWEEP, error)
    except OSError as error:
        return _fail(log, EXIT_CANNOT_SWEEP, f"{error.filename or 'the node'}: {error.strerror}")
    return EXIT_ENDED_EARLY if done.ended_early else EXIT_OK


def _note_if_idle(done: Report, paths: Paths, config_stamp: str) -> None:
    if done.after.found_by == zombies.LEDGER and not done.results and not done.warnings:
        with contextlib.suppress(OSError, CannotSweep), locked(paths.run, wait=0):
            write(
                os.path.join(paths.run, IDLE_NOTE),
                idle.note(paths.run, config_stamp, done.after.limits, ProcFS(paths.proc)),
            )


def _options(flags: Flags, paths: Paths) -> tuple[Options, Paths]:
    """The options of a sweep, and the paths with where metrics and Events go, from the
    configuration and the flags.
    """
    configured = (
        read_config(CONFIG, must_exist=False) if flags.config is None else read_config(flags.config)
    )
    values = checked({**configured, **flags.options}, {**CHECKS, **AGENT_CHECKS, **metrics.CHECKS})
    paths = paths._replace(
        textfiles=values.pop("textfile_directory", metrics.AUTO),
        kubernetes_events=values.pop("kubernetes_events", OFF),
    )
    return Options(**values), paths


def _parse(arguments: list[str]) -> Flags:
    import argparse  # 9 ms of start-up that the scheduled sweep does without

    parser = argparse.ArgumentParser(
        prog="zombie-reaper",
        argument_default=argparse.SUPPRESS,  # what is not given has the default of Flags
        description=(
            "Find zombie processes, see whose they are, and have them collected. Options that are"
            " not given here come from the configuration file."
        ),
        epilog=(
            "Exit status: 0 swept; 1 cannot sweep here; 2 invalid option or configuration;"
            " 3 ended early by a signal; 75 another sweep is running."
        ),
    )
    parser.add_argument("--version", action="version", version=f"zombie-reaper {VERSION}")
    parser.add_argument("--check", action="store_true", help="say what would be done; do nothing")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    parser.add_argument(
        "--syslog", action="store_true", help=f"report to syslog with the tag {SYSLOG_TAG}"
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for zombies that are younger than min-age, at most that long",
    )
    parser.add_argument(
        "--explain",
        metavar="PID",
        type=_pid,
        help="say what a sweep would do with this process, and why; do nothing",
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="show for every container whether its PID 1 collects orphans; do nothing",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help=(
            "with --audit: send an orphan to each PID 1 about which nothing certain is known, and"
            " see whether it is collected. None is sent to a PID 1 that might mistake it for a"
            " child of its own; one that starts to wait for children at that very moment may still"
            " do so, and end"
        ),
    )
    parser.add_argument(
        "--daemon",
        action="store_true",
        help=(
            "keep running, look every --interval seconds, and sweep when there are zombies; SIGHUP"
            " reloads the configuration"
        ),
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        help="with --daemon: from 1 to 3600; default: 10",
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="show what the daemon of this node is doing",
    )
    parser.add_argument("--config", metavar="FILE", help=f"default: {CONFIG}, if it exists")
    parser.add_argument(
        "--run", metavar="DIRECTORY", help=f"for the lock and the state; default: {RUN}"
    )
    texts = {**HELP, **AGENT_HELP, **metrics.HELP}
    for name, text in texts.items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest="option_" + name,
            metavar=name.upper(),
            help=text,
            action="append" if name == "protect" else "store",
        )
    for name in REMOVED:  # reported together with any other invalid options
        parser.add_argument(
            "--" + name.replace("_", "-"), dest="option_" + name, help=argparse.SUPPRESS
        )
    given = vars(parser.parse_args(arguments))
    options = {
        name: given.pop("option_" + name)
        for name in (*texts, *REMOVED)
        if "option_" + name in given
    }
    flags = Flags(**given, options=options)
    if flags.probe and not flags.audit:
        parser.error("--probe belongs to --audit")
    modes = [name for name in ("explain", "audit", "daemon", "status") if name in given]
    if len(modes) > 1:
        parser.error(f"--{modes[0]} or --{modes[1]}, not both")
    if flags.daemon and (flags.check or flags.json or flags.wait):
        parser.error("--daemon does not go with --check, --json or --wait")
    return flags


def _pid(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= MAX_PID:
        import argparse

        raise argparse.ArgumentTypeError(
            f"{text[:20]!r} is no PID: give a whole number from 1 to {MAX_PID}"
        )
    return int(text)


def _interval(text: str) -> float:
    import argparse

    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 3600:
        raise argparse.ArgumentTypeError(
            f"{text[:20]!r} is not allowed: give seconds, from 1 to 3600"
        )
    return number


def _no_traceback_at_ctrl_c(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Python then ends by SIGINT itself, as a shell expects of an interrupted program."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


def _fail(log: Log, status: int, error: Exception | str) -> int:
    if log is to_syslog:
        log(f"error: {error}")
    sys.stderr.write(f"zombie-reaper: {error}\n")
    return status


def _show_status(flags: Flags, paths: Paths, log: Log) -> int:
    from .daemon import status

    found = status(paths.run)
    if found is None:
        return _fail(
            log,
            EXIT_CANNOT_SWEEP,
            "no daemon runs on this node (start one with schedule: daemon, or zombie-reaper"
            " --daemon)",
        )
    if flags.json:
        _print_json({"schema": report.SCHEMA, **found._asdict()})
    else:
        _log_all([report.daemon_in_words(found, time.time())], log)
    return EXIT_OK


def _look(flags: Flags, options: Options, paths: Paths, log: Log) -> int:
    """An audit or an explanation."""
    if flags.explain is None:
        from .audit import as_dict, as_lines, audit

        done = audit(options, paths, flags.probe and not flags.check)
        if flags.json:
            _print_json(as_dict(done))
        else:
            _log_all(as_lines(done), log)
        return EXIT_OK
    from .explain import explain

    try:
        sentences = explain(flags.explain, options, paths)
    except NoSuchProcess as error:
        return _fail(log, EXIT_USAGE, f"--explain: {error}")
    if flags.json:
        _print_json({"schema": report.SCHEMA, "pid": flags.explain, "explanation": sentences})
    else:
        _log_all(sentences, log)
    return EXIT_OK


def _print_json(value: Mapping[str, object]) -> None:
    import json

    _print(json.dumps(value) + "\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _log_all(lines: Iterable[str], log: Log) -> None:
    for line in lines:
        log(line)
    if sys.stdout:
        sys.stdout.flush()
