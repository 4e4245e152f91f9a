# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of programs that are made to be PID 1. A file of its own, without regular expressions:
a runtime waits for it whenever a container is created (:mod:`..prevention.create`).
"""

from __future__ import annotations

# Written to adopt orphans. Not bash, whose script may trap CHLD, nor "init", which any program may
# be called
BUILT_TO_ADOPT = (
    "catatonit",
    "docker-init",
    "dumb-init",
    "openrc-init",
    "pause",
    "podman-init",
    "runit",
    "runit-init",
    "runsvdir",
    "s6-svscan",
    "supervisord",
    "systemd",
    "tini",
    "tini-static",
    "zombie-reaper-init",
)
# Those that collect orphans too, or have to be PID 1
OTHERS = (
    "chaperone",
    "containerpilot",
    "dinit",
    "finit",
    "go-init",
    "horust",
    "init",
    "k3s",  # as PID 1 it moves itself out of the root of its cgroup namespace
    "linuxrc",
    "minit",
    "my_init",
    "pebble",
    "pid1",
    "procd",
    "s6-init",
    "s6-linux-init",
    "s6-overlay-suexec",
    "systemctl",  # docker-systemctl-replacement: an init only where it is PID 1
    "systemctl.py",
    "systemctl3.py",
    "upstart",
)
# Words of other meanings too
ONLY_AS_A_PATH = ("init", "k3s", "pause", "pid1", "systemctl", "systemd", "upstart")


def needs_no_init(word: str, is_command: bool = False) -> bool:
    """Whether a word of a command, or of a script, is the name or path of an init.

    is_command: it is what is executed, so it has no other meaning.
    """
    name = word.rpartition("/")[2]
    if name in ONLY_AS_A_PATH:
        return is_command or "/" in word
    return name in BUILT_TO_ADOPT or name in OTHERS or name.startswith("tini-")
