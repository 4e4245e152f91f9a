# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers of CRI-O, in a drop-in file of our own. CRI-O reads /etc/crio/crio.conf and then the
files in /etc/crio/crio.conf.d in the order of their names; each adds handlers to those before it
(crio.conf.d(5)).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import edits, handlers, toml
from .containerd import Change
from .edits import Refused

MAIN = "/etc/crio/crio.conf"
DIRECTORY = "/etc/crio/crio.conf.d"
DROP_IN = "99-zombie-reaper-init.conf"
SERVICES = ("crio",)
SOCKET = "/run/crio/crio.sock"
BINARIES = ("/usr/bin/crio", "/usr/local/bin/crio")
TABLE = ("crio", "runtime", "runtimes")


def is_here() -> bool:
    """Its programs; a directory of configuration stays where a package is removed."""
    return any(os.path.exists(path) for path in (*BINARIES, SOCKET))


class Crio:
    """directory: of the wrappers. main, drop_ins: as with crio's --config and --config-dir."""

    def __init__(self, directory: str, main: str = MAIN, drop_ins: str = DIRECTORY) -> None:
        self.directory, self.main, self.drop_ins = directory, main, drop_ins
        self.drop_in = os.path.join(drop_ins, DROP_IN)

    def present(self, as_default: bool) -> Change:
        there: dict[str, dict[str, Any]] = {}
        default, later = "", ""
        for path in self._files():
            tree = self._read(path)
            there.update(toml.get(tree, *TABLE) or {})
            named = toml.get(tree, "crio", "runtime", "default_runtime")
            if named:
                default = str(named)
                later = path if os.path.basename(path) > DROP_IN and path != self.main else ""
        if not there:
            raise Refused(
                f"CRI-O has no handler in {self.main} or {self.drop_ins}, and which it has built in"
                " depends on its version. Write down the one that you use, as"
                ' [crio.runtime.runtimes.runc] with runtime_path = "/usr/bin/runc" and'
                ' [crio.runtime] with default_runtime = "runc", and run this again'
            )
        if not default:
            default = handlers.PREFERRED if handlers.PREFERRED in there else sorted(there)[0]
        plan = handlers.plan(
            {name: _binary(name, table) for name, table in there.items()}, default, self.directory
        )
        text = ""
        if as_default:
            if not plan.default or later:
                raise Refused(
                    f"the default handler of CRI-O, {default}, "
                    + (
                        f"is set in {later}, which comes after ours"
                        if later
                        else "cannot be given an init"
                    )
                    + ", so zombie_reaper_default_init cannot be true here"
                )
            text = toml.write(("crio", "runtime"), {"default_runtime": plan.default}) + "\n"
        for handler in plan.handlers:
            table = {**there[handler.wraps], "runtime_path": handler.wrapper}
            text += toml.write((*TABLE, handler.name), handlers.without_zeros(table)) + "\n"
        return Change({self.drop_in: edits.append("", text.rstrip("\n") + "\n", is_new=True)}, plan)

    def absent(self) -> dict[str, str | None]:
        read = {path: self._read(path) for path in self._files()}
        others = {name for tree in read.values() for name in toml.get(tree, *TABLE) or {}}
        for path, tree in read.items():
            default = toml.get(tree, "crio", "runtime", "default_runtime")
            handlers.check_default(default, others, self.directory, path)
        return {self.drop_in: None} if os.path.lexists(self.drop_in) else {}

    def _files(self) -> list[str]:
        names = sorted(os.listdir(self.drop_ins)) if os.path.isdir(self.drop_ins) else []
        paths = [
            self.main,
            *(os.path.join(self.drop_ins, name) for name in names if name != DROP_IN),
        ]
        return [path for path in paths if os.path.isfile(path)]

    def _read(self, path: str) -> dict[str, Any]:
        try:
            return toml.read(edits.read(path) or "").tree
        except toml.TomlError as error:
            raise Refused(
                f"{path} is broken, or is written in a way that is not understood here: {error}."
                " Correct it and run this again"
            ) from None


def _binary(name: str, table: Mapping[str, Any]) -> str | None:
    """The OCI runtime of a handler; None if it is of another kind."""
    if not isinstance(table, dict) or table.get("runtime_type") not in (None, "", "oci"):
        return None
    if table.get("platform_runtime_paths"):
        return None
    return str(table.get("runtime_path") or "") or name  # found on CRI-O's PATH by its name
