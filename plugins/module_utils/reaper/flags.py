# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of the command: the table that ``--help``, the man page and the completions of shells
are made from.
"""

from __future__ import annotations

from . import metrics
from .log import SYSLOG_TAG
from .options import AGENT_HELP, AUTO, HELP, NONE, OFF, REMEDIES, SCOPES, Options
from .paths import CONFIG, RUN
from .record import Record
from .statuses import CHECK_STATUSES, STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .statuses import ExitStatus

NAME = "zombie-reaper"
ABSTRACT = "find zombie processes, see whose they are, and have them collected"
DESCRIPTION = (
    "Find zombie processes, see whose they are, and have them collected. Without flags it sweeps"
    " this node once. Options that are not given here come from the configuration file."
)
FILES, DIRECTORIES = "files", "directories"  # what a shell offers


class Flag(Record):
    """One flag."""

    name: str  # as it is typed
    help: str  # without the default
    value: str | None = None  # placeholder for it; None: the flag takes none
    default: str | None = None  # in words
    choices: tuple[str, ...] = ()  # values, or words of a list, that a shell offers
    offers: str | None = None  # FILES or DIRECTORIES, besides these
    is_list: bool = False  # of words, separated by commas
    repeats: bool = False  # may be given again


FLAGS = (
    Flag("--help", "show this text"),
    Flag("--version", "show the version"),
    Flag(
        "--check",
        "say what would be done; do nothing. The exit status says what was found, as a monitoring"
        " plugin does",
    ),
    Flag("--exit-zero", "with --check: exit with 0 whatever was found, unless it could not look"),
    Flag("--json", "print the whole result as JSON"),
    Flag("--syslog", f"report to syslog with the tag {SYSLOG_TAG}"),
    Flag("--wait", "wait for zombies that are younger than min-age, at most that long"),
    Flag(
        "--explain",
        "say what a sweep would do with this process, and why; do nothing",
        value="PID",
    ),
    Flag("--audit", "show for every container whether its PID 1 collects orphans; do nothing"),
    Flag(
        "--probe",
        "with --audit: send an orphan to each PID 1 about which nothing certain is known, and see"
        " whether it is collected. None is sent to a PID 1 that might mistake it for a child of its"
        " own; one that starts to wait for children at that very moment may still do so, and end",
    ),
    Flag(
        "--daemon",
        "keep running, look every --interval seconds, and sweep when there are zombies; SIGHUP"
        " reloads the configuration",
    ),
    Flag("--interval", "with --daemon: from 1 to 3600", value="SECONDS", default="10"),
    Flag("--status", "show what the daemon of this node is doing"),
    Flag(
        "--config",
        "the configuration, which has to exist",
        value="FILE",
        default=f"{CONFIG}, if it exists",
        offers=FILES,
    ),
    Flag("--run", "for the lock and the state", value="DIRECTORY", default=RUN, offers=DIRECTORIES),
)


def _of_option(name: str, text: str) -> Flag:
    """The flag of an option of a sweep, or of where metrics and Events go."""
    elsewhere = {"textfile_directory": metrics.AUTO, "kubernetes_events": OFF}
    default = {**Options()._asdict(), **elsewhere}[name]
    if isinstance(default, tuple):
        in_words = (",".join if name == "remedies" else ", ".join)(default) or None
    else:
        in_words = f"{default:g}" if isinstance(default, (int, float)) else default
    choices = {
        "scope": SCOPES,
        "remedies": (*REMEDIES, NONE),
        "textfile_directory": (metrics.AUTO, metrics.OFF),
        "kubernetes_events": (AUTO, OFF),
    }
    offers = {"textfile_directory": DIRECTORIES, "kubernetes_events": FILES}
    return Flag(
        name="--" + name.replace("_", "-"),
        help=text,
        value=name.upper(),
        default=in_words,
        choices=choices.get(name, ()),
        offers=offers.get(name),
        is_list=name == "remedies",
        repeats=name == "protect",
    )


# by the names in the configuration
OPTIONS = {
    name: _of_option(name, text) for name, text in {**HELP, **AGENT_HELP, **metrics.HELP}.items()
}


def described(flag: Flag) -> str:
    """What it does, and its default."""
    return f"{flag.help} (default: {flag.default})" if flag.default else flag.help


# (what they belong to, the statuses)
EXIT_STATUSES: tuple[tuple[str, tuple[ExitStatus, ...]], ...] = (
    ("", STATUSES),
    ("with --check, unless --exit-zero is given", CHECK_STATUSES),
)
