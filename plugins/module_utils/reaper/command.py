# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where ``zombie-reaper`` begins: a scheduled call on a node where nothing is wrong ends here, any
other is for :mod:`.agent`.
"""

from __future__ import annotations

import sys

from . import CGROUP, CONFIG, RUN, SYSLOG_TAG, quiet
from .procfs import ProcFS


def main() -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:]
    if arguments in quiet.SCHEDULED:
        ago = quiet.quiet_for(RUN, CONFIG, CGROUP, ProcFS())
        if ago is not None:
            _say(
                f"0 zombies on this node; nothing else is new since the sweep {int(ago)} s ago",
                arguments,
            )
            return 0
    from .agent import main as agent

    return agent(arguments)


def _say(line, arguments) -> None:
    if arguments:
        import syslog

        syslog.openlog(SYSLOG_TAG, syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(line)
    else:
        sys.stdout.write(line + "\n")
