# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of ``zombie-reaper``. A scheduled call ends here when there is nothing to do;
everything else is left to :mod:`.cli`.
"""

from __future__ import annotations

import sys

from . import idle
from .log import flush_stdout, to_stdout, to_syslog
from .paths import CGROUP, CONFIG, PROC, RUN


def main() -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:]
    if arguments in idle.SCHEDULED:
        ago = idle.idle_for(RUN, CONFIG, CGROUP, PROC)
        if ago is not None:
            say = to_syslog if arguments else to_stdout
            say(f"0 zombies on this node; nothing has changed since the sweep {int(ago)} s ago")
            flush_stdout()
            return 0
    from .cli import main as command_line

    return command_line(arguments)
