# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exit statuses of the command: one table, which ``--help``, the man page and the documentation
show; and what ``--check`` found, as a monitoring plugin says it.
"""

from __future__ import annotations

from . import policy, pressure, textfile
from .kernel.procfs import ProcFS
from .last_report import last_sweep
from .options import REMEDIES
from .record import Record
from .report import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .paths import Paths
    from .policy import Verdict
    from .report import Report

# 75: EX_TEMPFAIL of sysexits.h
EXIT_OK, EXIT_CANNOT_SWEEP, EXIT_USAGE, EXIT_ENDED_EARLY, EXIT_BUSY = (0, 1, 2, 3, 75)
# as Nagios and its like read them
CHECK_OK, CHECK_WARNING, CHECK_CRITICAL, CHECK_UNKNOWN = (0, 1, 2, 3)


class ExitStatus(Record):
    """One exit status."""

    value: int
    meaning: str  # to be put after the value


STATUSES = (
    ExitStatus(EXIT_OK, "it did what it was asked to"),
    ExitStatus(EXIT_CANNOT_SWEEP, "it cannot sweep here; with --status: no daemon runs"),
    ExitStatus(EXIT_USAGE, "an option or the configuration is invalid"),
    ExitStatus(EXIT_ENDED_EARLY, "a signal ended it early"),
    ExitStatus(EXIT_BUSY, "another sweep is running"),
)
CHECK_STATUSES = (
    ExitStatus(CHECK_OK, "OK: no zombies, or none that matter"),
    ExitStatus(
        CHECK_WARNING,
        "WARNING: zombies that count, a parent that leaks, or a container that cannot end",
    ),
    ExitStatus(
        CHECK_CRITICAL, "CRITICAL: room for processes is short, or the last sweep or remedy failed"
    ),
    ExitStatus(CHECK_UNKNOWN, "UNKNOWN: it could not look, or an option is invalid"),
)
# reasons for which nothing is done about zombies that ought to go
NOT_ACTED_ON = (
    "only_reap",
    "reap_impossible",
    "cooldown",
    "too_many_orphans",
    "max_parents",
    "adopter_does_not_reap",
)


def of_check(done: Report, paths: Paths) -> tuple[int, str, list[str]]:
    """The status of a sweep in check mode, its word, and why it is not OK."""
    critical, warning = _critical(done, paths), _warning(done)
    if critical:
        return CHECK_CRITICAL, "CRITICAL", critical + warning
    return (CHECK_WARNING, "WARNING", warning) if warning else (CHECK_OK, "OK", [])


def _critical(done: Report, paths: Paths) -> list[str]:
    why = []
    short = sum(verdict.room.is_short for verdict in _by_usual_options(done))
    if pressure.told(done.after, done.options.pressure).is_short:
        why.append("room for processes is short on this node")
    elif short:
        why.append(f"room for processes is short around {plural(short, 'parent')}")
    if f"\n{textfile.SUCCESS} 0\n" in textfile.kept(paths.run, ProcFS(paths.proc))[1]:
        why.append("the last sweep failed")
    last = last_sweep(paths)[0]
    in_vain = {
        offender["pid"]
        for offender in (last["offenders"] if last else ())
        if offender["outcome"] == "not_cleared"
    }
    failed = sum(
        bool(result.verdict.due) and result.verdict.offender.pid in in_vain
        for result in done.results
    )
    if failed:
        why.append(f"the last sweep cleared none of the zombies of {plural(failed, 'parent')}")
    return why


def _warning(done: Report) -> list[str]:
    why = []
    verdicts = (*(result.verdict for result in done.results), *_by_usual_options(done))
    count = len({verdict.offender.pid for verdict in verdicts if _counts(verdict)})
    if count:
        why.append(f"zombies that count: of {plural(count, 'parent')}")
    leaking = sum(
        bool(offender.leaking_per_hour)
        and any(zombie.age >= done.options.min_age for zombie in offender.zombies)
        for offender in done.after.offenders
    )
    if leaking:
        why.append(f"leaking: {plural(leaking, 'parent')}")
    if done.stuck:
        why.append(f"cannot end: {plural(len(done.stuck), 'container')}")
    return why


def _counts(verdict: Verdict) -> bool:
    """Whether something ought to be done about its zombies, be it possible or not."""
    return bool(verdict.remedies or verdict.due and verdict.reason in NOT_ACTED_ON)


def _by_usual_options(done: Report) -> tuple[Verdict, ...]:
    """The verdicts where a node that only reports, or always acts (``pressure: 0``), has the usual
    options instead: what is wrong does not depend on what is done about it.
    """
    return policy.judge(
        done.after,
        done.options._replace(
            remedies=done.options.remedies or REMEDIES,
            pressure=done.options.pressure or pressure.USUAL,
        ),
    )
