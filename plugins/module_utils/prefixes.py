# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that put programs on a node share: below which directory, and for which Python."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import stat
import sys

PREFIX = "/usr/local"  # what is below it here is below another prefix where one is given
# characters that need no quoting in cron's files and systemd's units
PREFIXES = re.compile("(/[A-Za-z0-9_+@=-][A-Za-z0-9._+@=-]*)+")
# That of the module comes last: it may be in a virtual environment, and go with it.
PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python", sys.executable)


def below(prefix, path):
    """Where a file that is below PREFIX by default is with this prefix."""
    return prefix + path[len(PREFIX) :] if path.startswith(PREFIX + "/") else path


def check_form(module, prefix):
    """Fail if it is no path that can stand in cron's files and systemd's units."""
    if not PREFIXES.fullmatch(prefix):
        module.fail_json(
            msg=(
                "prefix: %r is not allowed: give the absolute path of a directory that consists of"
                " letters, digits and ._+@=- only, such as /opt/zombie_reaper"
            )
            % prefix[:200]
        )


def check_prefix(module, prefix, places):
    """Fail if somebody but root could put programs there, which root would then run. places: where
    they are, below PREFIX.
    """
    check_form(module, prefix)
    if prefix == PREFIX:  # a distribution may give that one to a group of administrators
        return
    # whoever can rename what a link leads through can put something else in its place
    for path in [prefix] + [os.path.realpath(below(prefix, place)) for place in places]:
        while True:
            if os.path.lexists(path):
                info = os.stat(path)
                of_root = stat.S_ISDIR(info.st_mode) and info.st_uid == 0
                if not of_root or info.st_mode & stat.S_IWOTH:
                    module.fail_json(
                        msg=(
                            "prefix: %r is not allowed: %s is no directory of root's that others"
                            " cannot write to, and root would run programs from there"
                        )
                        % (prefix, path)
                    )
            if path == "/":
                break
            path = os.path.dirname(path)


def runs_the_engine(module, python):
    """Whether it is a Python that is new enough."""
    code = "import sys; raise SystemExit(sys.version_info < (3, 9))"
    return os.path.exists(python) and module.run_command([python, "-IS", "-c", code])[0] == 0


def require_a_python(module):
    """Fail because there is none."""
    module.fail_json(msg="no Python 3.9 or later was found on the node for the agent to run with")
