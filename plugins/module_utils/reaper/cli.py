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
from .kernel import cgroups, stacks
from .kernel.procfs import ProcFS
from .log import discard_stdout, flush_stdout, to_stdout, to_syslog
from .node import zombies
from .options import AGENT_CHECKS, CHECKS, OFF, REMOVED, Options, checked, read_config
from .paths import CONFIG, IDLE_NOTE, RUN, Paths
from .record import Record
from .statuses import (
    CHECK_UNKNOWN,
    EXIT_BUSY,
    EXIT_CANNOT_SWEEP,
    EXIT_ENDED_EARLY,
    EXIT_OK,
    EXIT_USAGE,
    of_check,
)
from .sweep import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, NoReturn

    from .report import Report

    Log = Callable[[str], None]

MAX_PID = 4194304  # PID_MAX_LIMIT of include/linux/threads.h


class Flags(Record):
    """What the command line says; the defaults are those without any flag."""

    check: bool = False
    exit_zero: bool = False
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

    @property
    def is_plugin(self) -> bool:
        """Whether the exit statuses are those of a monitoring plugin."""
        return self.check and not (
            self.exit_zero or self.audit or self.status or self.explain is not None
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status. arguments: None is ``sys.argv[1:]``."""
    sys.excepthook = _no_traceback_at_ctrl_c
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(arguments)
    finally:
        try:
            flush_stdout()
        except OSError:  # of which has been told
            discard_stdout()


def _run(arguments: list[str]) -> int:
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
                waiting=_say_that_it_waits,
            )
            status = EXIT_ENDED_EARLY if done.ended_early else EXIT_OK
            lines = report.as_lines(done)
            if flags.is_plugin:
                status, word, why = of_check(done, paths)
                lines[0] = "; ".join([f"{word}: {lines[0]}", *why])
            if flags.json:
                _print(report.as_json(done))
            else:
                _log_all(lines, log)
            if arguments in idle.SCHEDULED:
                _note_if_idle(done, paths, config_stamp)
            return status
    except OptionError as error:
        if arguments in idle.SCHEDULED or flags.daemon:  # not for a typo on the command line
            metrics.failed(paths)
        return _fail(flags, log, EXIT_USAGE, str(error))
    except Busy as error:
        return _fail(flags, log, EXIT_BUSY, str(error))
    except CannotSweep as error:
        return _fail(flags, log, EXIT_CANNOT_SWEEP, str(error))
    except OSError as error:
        wrong = f"{error.filename or 'the node'}: {error.strerror}"
        return _fail(flags, log, EXIT_CANNOT_SWEEP, wrong)
    except MemoryError:
        return _fail(flags, log, EXIT_CANNOT_SWEEP, "out of memory")


def _say_that_it_waits(seconds: float) -> None:
    """To a person at a terminal. A log gets the result, and nothing depends on this line."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr and sys.stderr.isatty():
            sys.stderr.write(
                f"Waiting up to {seconds:.0f} s: zombies are left alone until they have been there"
                " for min_age\n"
            )
            sys.stderr.flush()


def _note_if_idle(done: Report, paths: Paths, config_stamp: str) -> None:
    if done.after.found_by == zombies.LEDGER and not done.results and not done.warnings:
        procfs = ProcFS(paths.proc)
        look = stacks.Look(procfs, cgroups.Ledger(paths.cgroup, procfs))
        look.check()
        with contextlib.suppress(OSError, CannotSweep), locked(paths.run, wait=0):
            write(
                os.path.join(paths.run, IDLE_NOTE),
                idle.note(paths.run, config_stamp, done.after.limits, paths.proc, look.calibration),
            )


def _options(flags: Flags, paths: Paths) -> tuple[Options, Paths]:
    """The options of a sweep, and the paths with where metrics and Events go, from the
    configuration and the flags.
    """
    path = flags.config or CONFIG
    configured = read_config(path, must_exist=flags.config is not None)
    for name in flags.options:
        configured.pop(name, None)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for given, where in ((configured, f"{path}: "), (flags.options, "")):
        try:
            values.update(checked(given, {**CHECKS, **AGENT_CHECKS, **metrics.CHECKS}))
        except OptionError as error:
            wrong.append(f"{where}{error}")
    if wrong:
        raise OptionError("; ".join(wrong))
    paths = paths._replace(
        textfiles=values.pop("textfile_directory", metrics.AUTO),
        kubernetes_events=values.pop("kubernetes_events", OFF),
    )
    return Options(**values), paths


def _parse(arguments: list[str]) -> Flags:
    import argparse  # 9 ms of start-up that the scheduled sweep does without
    import textwrap

    from .flags import DESCRIPTION, EXIT_STATUSES, FLAGS, NAME, OPTIONS, described

    others = ("--exit-zero", "--audit", "--probe", "--explain", "--daemon", "--status")
    is_plugin = "--check" in arguments and not any(flag in arguments for flag in others)

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            self.exit(
                CHECK_UNKNOWN if is_plugin else EXIT_USAGE,
                f"{NAME}: {message} ({NAME} --help lists all flags)\n",
            )

    epilog = []
    for which, statuses in EXIT_STATUSES:
        epilog.append(f"exit status{', ' if which else ''}{which}:")
        epilog += [f"  {status.value:<3} {status.meaning}" for status in statuses]
    parser = Parser(
        prog=NAME,
        argument_default=argparse.SUPPRESS,  # what is not given has the default of Flags
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.fill(DESCRIPTION, 79),
        epilog="\n".join(epilog),
    )
    takes = {"--explain": _pid, "--interval": _interval}
    for flag in FLAGS:
        text = described(flag).replace("%", "%%")
        if flag.name == "--help":
            parser.add_argument("-h", flag.name, action="help", help=text)
        elif flag.name == "--version":
            parser.add_argument(flag.name, action="version", version=f"{NAME} {VERSION}", help=text)
        elif flag.value is None:
            parser.add_argument(flag.name, action="store_true", help=text)
        else:
            parser.add_argument(
                flag.name, metavar=flag.value, type=takes.get(flag.name, str), help=text
            )
    for name, flag in OPTIONS.items():
        parser.add_argument(
            flag.name,
            dest="option_" + name,
            metavar=flag.value,
            help=described(flag).replace("%", "%%"),
            action="append" if flag.repeats else "store",
        )
    for name in REMOVED:  # reported together with any other invalid options
        parser.add_argument(
            "--" + name.replace("_", "-"), dest="option_" + name, help=argparse.SUPPRESS
        )
    given = vars(parser.parse_args(arguments))
    options = {
        name: given.pop("option_" + name)
        for name in (*OPTIONS, *REMOVED)
        if "option_" + name in given
    }
    flags = Flags(**given, options=options)
    if flags.probe and not flags.audit:
        parser.error("--probe belongs to --audit")
    if flags.exit_zero and not flags.check:
        parser.error("--exit-zero belongs to --check")
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


def _fail(flags: Flags, log: Log, status: int, error: str) -> int:
    """Say what is wrong; the exit status for that."""
    if log is to_syslog:
        log(f"error: {error}")
    sys.stderr.write(f"zombie-reaper: {error}\n")
    return CHECK_UNKNOWN if flags.is_plugin else status


def _show_status(flags: Flags, paths: Paths, log: Log) -> int:
    from .daemon import status

    found = status(paths.run)
    if found is None:
        return _fail(
            flags,
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
        return _fail(flags, log, EXIT_USAGE, f"--explain: {error}")
    if flags.json:
        _print_json({"schema": report.SCHEMA, "pid": flags.explain, "explanation": sentences})
    else:
        _log_all(sentences, log)
    return EXIT_OK


def _print_json(value: Mapping[str, object]) -> None:
    import json

    _print(json.dumps(value))


def _print(text: str) -> None:
    for line in text.splitlines():
        to_stdout(line)
    flush_stdout()


def _log_all(lines: Iterable[str], log: Log) -> None:
    for line in lines:
        log(line)
    flush_stdout()
