# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option ``init`` in Docker's daemon.json: Docker has an init of its own for each container.

JSON has no comments, so what the file was before is kept beside the wrappers.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from ..reaper.kernel.procfs import ProcFS
from . import edits
from .edits import Refused

OPTION = "init"
PROGRAMS = tuple(
    directory + "/dockerd"
    for directory in ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
)
PID_FILE = "/run/docker.pid"  # written when Docker starts
DEFAULT_FILE = "/etc/docker/daemon.json"
TRUE = ("1", "t", "T", "true", "True", "TRUE")  # of Go's strconv.ParseBool
BEFORE = "daemon.json.before"
RIGHT = (
    'The file must hold one JSON object, such as {"init": true} or {"log-driver": "journald",'
    ' "init": true}. Correct it and run this again'
)


class Before(NamedTuple):
    """path: of the options. text: of that file before it was changed, None where there was none;
    written: after that.
    """

    path: str
    text: str | None
    written: str


def read(path: str) -> str | None:
    """The text of the options; None if there are none."""
    try:
        return edits.read(path)
    except Refused as error:
        raise Refused(f"{error}. {RIGHT}") from None


def is_here(path: str) -> bool:
    return os.path.isdir(os.path.dirname(path)) or any(map(os.path.exists, PROGRAMS))


def options(text: str | None, path: str) -> dict[str, Any]:
    """Raises :class:`Refused` for what Docker would not take, or would take otherwise: if a key has
    two values, it takes the last, and merging would silently drop the other.
    """

    def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _value in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"more than one value for {json.dumps(key)} in the same object")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not a JSON value")

    if text is None:
        return {}
    try:
        found = json.loads(text, object_pairs_hook=no_key_twice, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is broken: {error}. {RIGHT}") from None
    if not isinstance(found, dict):
        raise Refused(f"{path} is JSON, but not an object (keys and values in braces). {RIGHT}")
    return found


def flag(path: str, pid_file: str = PID_FILE) -> bool | None:
    """The flag --init that the Docker of these options runs with; None if it runs with none.

    With the option in its file as well Docker would not start.
    """
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read(20))
    except (OSError, ValueError):
        return None
    words = [os.fsdecode(word) for word in (ProcFS().command_line(pid) or b"").split(b"\0")]
    found, of = None, DEFAULT_FILE
    for word, following in zip(words[1:], words[2:]):
        name, _sign, value = word.partition("=")
        if name == "--init":
            found = not value or value in TRUE
        elif name == "--config-file":
            of = value or following
    return found if os.path.basename(words[0]) == "dockerd" and of == path else None


def present(path: str, kept: str, pid_file: str = PID_FILE) -> dict[str, str | None]:
    """What to write, by path. kept: where the file's text of before goes."""
    given = flag(path, pid_file)
    if given:
        return {}
    if given is False:
        raise Refused(
            f"Docker was started with --init=false, and does not start with {OPTION} in {path} as"
            " well. Remove that flag from its unit and run this again"
        )
    text = read(path)
    found = options(text, path)
    if found.get(OPTION) is True:
        return {}
    noted = edits.read(kept)
    if noted is not None and json.loads(noted)["path"] != path:
        raise Refused(
            f"{json.loads(noted)['path']} was changed for Docker on this node, and is not {path}."
            " Take that back first (zombie_reaper_state: absent with the former"
            " zombie_reaper_docker_file)"
        )
    new = json.dumps({**found, OPTION: True}, indent=4, ensure_ascii=False) + "\n"
    return {kept: json.dumps(Before(path, text, new)._asdict()) + "\n", path: new}


def absent(kept: str) -> dict[str, str | None]:
    """What to write so that the file is as it was; where somebody has changed it since, only the
    option is.
    """
    noted = edits.read(kept)
    if noted is None:
        return {}
    before = Before(**json.loads(noted))
    text = read(before.path)
    if text == before.written:
        return {before.path: before.text, kept: None}
    if text is None:
        return {kept: None}
    found = options(text, before.path)
    earlier = options(before.text, before.path)
    if found.get(OPTION) is not True:
        return {kept: None}
    del found[OPTION]
    if OPTION in earlier:
        found[OPTION] = earlier[OPTION]
    return {before.path: json.dumps(found, indent=4, ensure_ascii=False) + "\n", kept: None}
