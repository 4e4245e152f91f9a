# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where log lines go: standard output or syslog(3)."""

from __future__ import annotations

import sys

SYSLOG_TAG = "zombie_reaper"


def to_stdout(line: str) -> None:
    """Write one line to standard output."""
    if sys.stdout:  # None if the command was started without one
        try:
            sys.stdout.write(line + "\n")
        except BrokenPipeError:
            discard_stdout()


def flush_stdout() -> None:
    """Write out what standard output still keeps. That its reader has enough (``| head``) is no
    failure.
    """
    if sys.stdout:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()


def discard_stdout() -> None:
    """Drop what standard output still keeps: at its end Python would try to write it once more,
    complain, and change the exit status.
    """
    sys.stdout = None


def to_syslog(line: str, warning: bool = False) -> None:
    """Send one line to syslog(3), which passes it on to the journal.

    warning: whether a person should see it: priority LOG_WARNING instead of LOG_INFO.
    """
    import syslog

    syslog.openlog(SYSLOG_TAG, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING if warning else syslog.LOG_INFO, line)
