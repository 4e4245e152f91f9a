# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``zombie-reaper``, the command on a node: one sweep, with the options of its configuration file,
or a look.

It must start fast and without fork: as the schedule calls it, it imports no argparse, and nothing
runs but this process. Where the schedule finds nothing again and again, :mod:`.command` does not
even come here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from . import VERSION, idle, metrics, report
from .errors import Busy, CannotSweep, OptionError
from .files import locked, write
from .kernel.procfs import ProcFS
from .log import SYSLOG_TAG, to_stdout, to_syslog
from .node import zombies
from .options import CHECKS, HELP, REMOVED, Options, checked, read_config
from .paths import CONFIG, IDLE_NOTE, Paths
from .sweep import sweep

MAX_PID = 4194304  # PID_MAX_LIMIT of include/linux/threads.h
# 75: EX_TEMPFAIL of sysexits.h
EXIT_OK, EXIT_CANNOT_SWEEP, EXIT_USAGE, EXIT_ENDED_EARLY, EXIT_BUSY = (0, 1, 2, 3, 75)


def main(arguments=None) -> int:
    """Run the command and return its exit status. arguments: list of str, ``sys.argv[1:]`` when
    left out.
    """
    sys.excepthook = _no_traceback_at_ctrl_c
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = _Flags(arguments) if arguments in idle.SCHEDULED else _parse(arguments)
    log = to_syslog if flags.syslog else to_stdout
    if sys.stdout:
        # the locale may lack a character that a name has
        sys.stdout.reconfigure(errors="backslashreplace")
    paths = Paths(run=flags.run)
    try:
        with contextlib.ExitStack() as until_reported:
            if flags.status:  # even where the configuration is wrong, and just then
                return _tell_status(flags, paths, log)
            config_stamp = idle.stamp(flags.config or CONFIG)
            options, textfiles = _options(flags)
            if flags.audit or flags.explain is not None:
                return _look(flags, options, paths, log)
            if flags.daemon:
                from . import daemon

                if sys.stdout:
                    sys.stdout.reconfigure(line_buffering=True)
                daemon.run(lambda: _options(flags), paths, flags.interval, log)
                return EXIT_OK
            done = sweep(
                options,
                paths._replace(textfiles=textfiles),
                flags.check,
                flags.wait,
                until_reported,
            )
            _tell(report.as_json(done) if flags.json else report.as_lines(done), log)
            if arguments in idle.SCHEDULED:
                _note_if_idle(done, paths, config_stamp)
    except OptionError as error:
        if arguments in idle.SCHEDULED or flags.daemon:  # not where somebody mistypes
            metrics.failed(paths)
        return _fail(log, EXIT_USAGE, error)
    except Busy as error:
        return _fail(log, EXIT_BUSY, error)
    except CannotSweep as error:
        return _fail(log, EXIT_CANNOT_SWEEP, error)
    except OSError as error:
        return _fail(log, EXIT_CANNOT_SWEEP, f"{error.filename or 'the node'}: {error.strerror}")
    return EXIT_ENDED_EARLY if done.ended_early else EXIT_OK


def _note_if_idle(done, paths, config_stamp) -> None:
    if done.after.found_by == zombies.LEDGER and not done.results and not done.warnings:
        with contextlib.suppress(OSError, CannotSweep), locked(paths.run, wait=0):
            write(
                os.path.join(paths.run, IDLE_NOTE),
                idle.note(paths.run, config_stamp, done.after.limits, ProcFS(paths.proc)),
            )


def _options(flags) -> tuple:
    """(:class:`.options.Options`, where metrics go) as the configuration and the flags say."""
    configured = (
        read_config(CONFIG, must_exist=False) if flags.config is None else read_config(flags.config)
    )
    values = checked({**configured, **flags.options}, {**CHECKS, **metrics.CHECKS})
    textfiles = values.pop("textfile_directory", metrics.AUTO)
    return Options(**values), textfiles


class _Flags:
    """What the command line says; these are the values without one, and with the one flag that the
    schedule uses.
    """

    check = json = wait = audit = probe = daemon = status = False
    explain = None
    config = None  # then CONFIG, where it is there
    run = Paths().run
    options: dict = {}

    def __init__(self, arguments) -> None:
        self.syslog = "--syslog" in arguments


def _parse(arguments):
    import argparse  # 9 ms of start-up that the scheduled sweep does without

    parser = argparse.ArgumentParser(
        prog="zombie-reaper",
        description=(
            "Find zombie processes, see whose they are, and have them collected. Options not given"
            " here come from the configuration file."
        ),
        epilog=(
            "Exit status: 0 swept; 1 cannot sweep here; 2 a wrong option or configuration; "
            "3 a signal asked it to end before it was done; 75 another sweep is at work."
        ),
    )
    parser.add_argument("--version", action="version", version=f"zombie-reaper {VERSION}")
    parser.add_argument("--check", action="store_true", help="say what would be done, do nothing")
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
        help="say what a sweep would do with that process, and why; do nothing",
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="say for every container whether its PID 1 collects orphans; do nothing",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help=(
            "with --audit: send an orphan to each PID 1 of which nothing is known for sure, and see"
            " whether it is collected; not to one that might take it for a child of its own, but"
            " one that comes to wait for children at that very moment may do so, and end"
        ),
    )
    parser.add_argument(
        "--daemon",
        action="store_true",
        help=(
            "stay, look every --interval seconds, and sweep when there are zombies; SIGHUP "
            "reads the configuration again"
        ),
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=10.0,
        help="with --daemon, 1 to 3600; default: 10",
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="say what the process that watches this node told last",
    )
    parser.add_argument("--config", metavar="FILE", help=f"default: {CONFIG}, which need not exist")
    parser.add_argument(
        "--run",
        default=_Flags.run,
        metavar="DIRECTORY",
        help="lock and state; default: %(default)s",
    )
    texts = {**HELP, **metrics.HELP}
    for name, text in texts.items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest="option_" + name,
            metavar=name.upper(),
            help=text,
            action="append" if name == "protect" else "store",
        )
    for name in REMOVED:  # refused with the others that are wrong
        parser.add_argument(
            "--" + name.replace("_", "-"), dest="option_" + name, help=argparse.SUPPRESS
        )
    flags = parser.parse_args(arguments)
    if flags.probe and not flags.audit:
        parser.error("--probe belongs to --audit")
    asked_for = [
        name
        for name in ("explain", "audit", "daemon", "status")
        if getattr(flags, name) not in (None, False)
    ]
    if len(asked_for) > 1:
        parser.error("--%s or --%s, not both" % tuple(asked_for[:2]))
    if flags.daemon and (flags.check or flags.json or flags.wait):
        parser.error("--daemon does not go with --check, --json or --wait")
    given = {name: getattr(flags, "option_" + name) for name in (*texts, *REMOVED)}
    flags.options = {name: value for name, value in given.items() if value is not None}
    return flags


def _pid(text) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= MAX_PID:
        import argparse

        raise argparse.ArgumentTypeError(
            f"{text[:20]!r} is no PID: give a whole number from 1 to {MAX_PID}"
        )
    return int(text)


def _interval(text) -> float:
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


def _no_traceback_at_ctrl_c(kind, error, trace) -> None:
    """Python then ends by SIGINT itself, as a shell expects of a program that was interrupted."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


def _fail(log, status, error) -> int:
    if log is to_syslog:
        log(f"error: {error}")
    sys.stderr.write(f"zombie-reaper: {error}\n")
    return status


def _tell_status(flags, paths, log) -> int:
    """Of the resident process."""
    import json

    from .daemon import status

    told = status(paths.run)
    if told is None:
        return _fail(
            log,
            EXIT_CANNOT_SWEEP,
            "no resident process watches this node (schedule: daemon, or zombie-reaper --daemon)",
        )
    _tell(
        (
            json.dumps({"schema": report.SCHEMA, **told._asdict()}) + "\n"
            if flags.json
            else [report.daemon_in_words(told, time.time())]
        ),
        log,
    )
    return EXIT_OK


def _look(flags, options, paths, log) -> int:
    """What changes nothing and is only asked for by hand."""
    import json

    if flags.audit:
        from .audit import as_dict, as_lines, audit

        done = audit(options, paths, flags.probe and not flags.check)
        _tell(json.dumps(as_dict(done)) + "\n" if flags.json else as_lines(done), log)
        return EXIT_OK
    from .explain import NoSuchProcess, explain

    try:
        sentences = explain(flags.explain, options, paths)
    except NoSuchProcess as error:
        return _fail(log, EXIT_USAGE, f"--explain: {error}")
    _tell(
        (
            json.dumps({"schema": report.SCHEMA, "pid": flags.explain, "explanation": sentences})
            + "\n"
            if flags.json
            else sentences
        ),
        log,
    )
    return EXIT_OK


def _tell(said, log) -> None:
    """said: str, all of it for standard output; or a list of lines."""
    if isinstance(said, str):
        sys.stdout.write(said)
    else:
        for line in said:
            log(line)
    if sys.stdout:
        sys.stdout.flush()
