# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put on a node so that containers get an init: a static init of the node's own, and for
each OCI runtime a wrapper that stands before it.

All of it is in one directory, with its own copy of what it needs of the engine: containers that use
it must outlive an update of the agent, and its removal.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence

from .. import files
from . import elf

DIRECTORY = "/usr/local/lib/zombie_reaper_init"
INIT, CREATE, PACKAGE, RUNTIMES = "init", "create.py", "zombie_reaper", "runtimes"
MOST_INIT = 8 << 20  # bytes, as many as create.py reads; tini-static has 0.8 MB
# tini first: catatonit leaves SIGTSTP blocked in the command (0.1.7)
CANDIDATES = (
    "/usr/bin/tini-static",
    "/sbin/tini-static",
    "/usr/bin/docker-init",
    "/usr/libexec/docker/docker-init",
    "/usr/local/bin/docker-init",
    "/usr/bin/tini",
    "/sbin/tini",
    "/usr/libexec/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/lib/podman/catatonit",
)
MANAGED = "Managed by Ansible (provider.fleet)"

# In sh, since most calls are none of ours, and Python takes 10 ms to start. With a flag that is not
# known here, the real runtime gets the call as it is.
WRAPPER = """\
#!/bin/sh
# {managed}: an OCI runtime that gives containers an init, and leaves all else to this one
real={real}
value=
before=-1
for word; do
    before=$((before + 1))
    if [ "$value" ]; then
        value=
        continue
    fi
    case $word in
        --root | --log | --log-format | --log-level | --criu | --rootless | --cgroup-manager) value=next ;;
        --*=* | --debug | --systemd-cgroup) ;;
        create | run)
            # a shell ends where it cannot fork; bash comes here for a signal too, with status 0
            trap '[ $? = 0 ] || {{ trap - EXIT; exec "$real" "$@"; }}' EXIT
            # not exec: a shell says of a command that was killed that it was
            (shift "$before"; {python} -IS {create} "$@"; exit $?) </dev/null >/dev/null 2>&1 ||
                (logger -t zombie_reaper -p daemon.warning "a container starts without an init: {python} has failed ($?)" </dev/null >/dev/null 2>&1 &)
            trap - EXIT
            break ;;
        *) break ;;
    esac
done
exec "$real" "$@"
"""  # noqa: E501
PROGRAM = """\
# {managed}
import os, sys
sys.path.append({directory!r})
from zombie_reaper.prevention.create import main
main({directory!r}, sys.argv[1:])
os._exit(0)  # nothing is left to write, and tidying up takes a millisecond
"""


def texts(directory: str, python: str, runtimes: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """{path: (text, mode)} of the wrappers and what they have Python run.

    runtimes: ``{"init/runc": "/usr/sbin/runc"}``, a wrapper below :data:`RUNTIMES` to the runtime
    that it stands before: an absolute path, or a name that is looked up in PATH at each call.
    """
    from shlex import quote

    create = os.path.join(directory, CREATE)
    found = {create: (PROGRAM.format(managed=MANAGED, directory=directory), 0o644)}
    for name, real in runtimes.items():
        found[os.path.join(directory, RUNTIMES, name)] = (
            WRAPPER.format(
                managed=MANAGED, real=quote(real), python=quote(python), create=quote(create)
            ),
            0o755,
        )
    return found


def find_init(
    runs: Callable[[str], bool], candidates: Sequence[str] = CANDIDATES
) -> tuple[str | None, list[str]]:
    """(path of the first static init of this node, why those before it are none).

    runs: whether that program can be executed; the engine starts none.
    """
    refusals: list[str] = []
    here = elf.read(_start(sys.executable))
    for path in candidates:
        if not os.path.exists(path):
            continue
        why = _why_not(path, here)
        if why is None and not runs(path):
            why = "it does not run on this node"
        if why is None:
            return path, refusals
        refusals.append(f"{path}: {why}")
    return None, refusals


def _why_not(path: str, here: elf.Elf | None) -> str | None:
    try:
        start, info = files.contents(path, MOST_INIT)
    except OSError as error:
        return error.strerror
    header = elf.read(start[: elf.NEEDED])
    if info.st_uid != 0 or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others than root can write it"
    if header is None:
        return "it is no ELF program"
    if header.interpreter is not None:
        return f"it is not static, it needs {header.interpreter}"
    if here is None or header.machine != here.machine:
        return "it is for another processor than this node's"
    return None


def _start(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(elf.NEEDED)
