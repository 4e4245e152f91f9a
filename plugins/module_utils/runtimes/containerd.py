# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handlers of containerd, and of the ones that k3s and RKE2 bring along.

containerd 2 merges the tables of an imported file into those that are there, so ours is a file of
its own. containerd 1 replaces the whole table of a plugin by that of an imported file
(mergeConfig in cmd/containerd/server/config), which would drop everything else that was set, so
there ours is a block in the main file. k3s and RKE2 write that one anew from a template at every
start, so the block is in the template.

Nothing is believed of how a version merges: containerd itself shows what it makes of the files
("config dump"), before they are put in place and afterwards, and everything that it showed before
has to be in there.
"""

from __future__ import annotations

import copy
import fnmatch
import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from . import edits, handlers, toml
from .edits import Refused
from .toml import Lines

DROP_IN = "zombie-reaper-init.toml"
PLUGIN_2 = "io.containerd.grpc.v1.cri"
PLUGIN_3 = "io.containerd.cri.v1.runtime"
TYPES = ("io.containerd.runc.v2", "io.containerd.runc.v1")  # whose options have a BinaryName
BASE = re.compile(r"""\{\{-?\s*template\s+"base"\s+\.\s*-?\}\}""")
NAME_LINE = re.compile(
    r"""(\s*[\w.\s]*\bdefault_runtime_name\s*=\s*)("[^"\\]*"|'[^']*')(.*)""", re.S
)

NEW_TEMPLATE = '{{ template "base" . }}\n'

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]


# files to write, and what containerd is shown in their place: the main file, and ours beside it
_Built = tuple[dict[str, "str | None"], "str | None", "str | None"]


class Installation(NamedTuple):
    """A containerd of this node. template: where k3s and RKE2 are told to add to their
    configuration, without the version in it; None where ``config`` is the administrator's.
    """

    name: str
    binary: str
    config: str
    services: tuple[str, ...]
    socket: str
    template: str | None = None

    @property
    def drop_in(self) -> str:
        return os.path.join(os.path.dirname(self.config), "conf.d", DROP_IN)

    @property
    def templates(self) -> list[str]:
        if not self.template:
            return []
        return [self.template + "-v3.toml.tmpl", self.template + ".toml.tmpl"]

    @property
    def files(self) -> list[str]:
        """Where something of ours may be."""
        return [self.config, self.drop_in, *self.templates]


CANDIDATES = (
    *(
        Installation(
            name="containerd",
            binary=directory + "/containerd",
            config="/etc/containerd/config.toml",
            services=("containerd",),
            socket="/run/containerd/containerd.sock",
        )
        for directory in ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/opt/containerd/bin")
    ),
    *(
        Installation(
            name=name,
            binary=f"/var/lib/rancher/{name}/{binary}",
            config=f"/var/lib/rancher/{name}/agent/etc/containerd/config.toml",
            services=services,
            socket="/run/k3s/containerd/containerd.sock",
            template=f"/var/lib/rancher/{name}/agent/etc/containerd/config",
        )
        for name, binary, services in (
            ("k3s", "data/current/bin/containerd", ("k3s", "k3s-agent")),
            ("rke2", "bin/containerd", ("rke2-server", "rke2-agent")),
        )
    ),
)


class Change(NamedTuple):
    """What to write: text by path, None for no file."""

    files: dict[str, str | None]
    plan: handlers.Plan


def find(removed: bool = False) -> list[Installation]:
    """The containerds of this node, each once. removed: also one whose program is gone, of which
    files are left.
    """
    found: dict[str, Installation] = {}
    for each in CANDIDATES:
        is_here = os.path.exists(each.binary) and (not each.template or os.path.exists(each.config))
        if is_here or (removed and any(map(os.path.lexists, each.files))):
            found.setdefault(each.name, each)
    return list(found.values())


class Containerd:
    """The configuration of one containerd.

    run: runs a command. scratch: a directory for copies that containerd is shown. directory: of
    the wrappers.
    """

    def __init__(self, what: Installation, run: Run, scratch: str, directory: str) -> None:
        self.what, self.run, self.scratch, self.directory = what, run, scratch, directory
        self.text = edits.read(what.config)
        self.clean = edits.without(self.text, what.config)
        self.document = self._read(self.clean or "")
        version = self.document.tree.get("version", 1)
        self.version = version if isinstance(version, int) else 1

    def _read(self, text: str) -> toml.Document:
        try:
            return toml.read(text)
        except toml.TomlError as error:
            raise Refused(
                f"{self.what.config} is broken, or is written in a way that is not understood here:"
                f" {error}. Correct it and run this again"
            ) from None

    @property
    def state(self) -> str:
        """Where containerd keeps what runs; empty for where it does by default."""
        return str(self.document.tree.get("state") or "")

    @property
    def socket(self) -> str:
        return str(toml.get(self.document.tree, "grpc", "address") or self.what.socket)

    @property
    def without_cri(self) -> bool:
        """Whether no Kubernetes uses it: Docker's packages turn that plugin off."""
        off = self.document.tree.get("disabled_plugins") or []
        return bool({"cri", PLUGIN_2, PLUGIN_3}.intersection(map(str, off)))

    def present(self, as_default: bool) -> Change:
        """What to write so that there is a handler with an init for each that is there."""
        if self.clean and self.clean.strip() and self.version < 2:
            raise Refused(
                f"{self.what.config} has no version, or version 1, whose names of plugins are"
                " others; have containerd bring it up to date (containerd config migrate) and run"
                " this again"
            )
        before = self._dump(self._trial(self.clean, None))
        plugin = PLUGIN_3 if toml.get(before, "plugins", PLUGIN_3, "containerd") else PLUGIN_2
        there = toml.get(before, "plugins", plugin, "containerd", "runtimes") or {}
        default = str(
            toml.get(before, "plugins", plugin, "containerd", "default_runtime_name") or ""
        )
        plan = handlers.plan(
            {name: _binary(table) for name, table in there.items()}, default, self.directory
        )
        new_default = plan.default if as_default else None
        if as_default and not new_default:
            raise Refused(
                f"the default handler of {self.what.name}, {default}, cannot be given an init, so"
                " zombie_reaper_default_init cannot be true here"
            )
        expected = _expected(before, plugin, plan, new_default)
        merges = before.get("version", 0) >= 3  # containerd 2 and later
        drop_in = self._drop_in(merges)
        lost: list[str] = []
        for _attempt in range(2):
            block = self._tables(there, plan, lost)
            if drop_in:
                files, main, beside = self._by_drop_in(drop_in, block, new_default)
            elif self.what.template:
                files, main, beside = self._by_template(block, new_default)
            else:
                files, main, beside = self._in_main_file(block, new_default)
            try:
                after = self._dump(self._trial(main, beside))
            except Refused:  # a table is there twice, say
                after = {}
            if _comparable(after) == _comparable(expected):
                return Change(files, plan)
            # containerd 1 replaces its own default handler by the first that is written down
            lost = sorted(
                set(there) - set(toml.get(after, "plugins", plugin, "containerd", "runtimes") or {})
            )
        raise Refused(
            f"{self.what.name} would not keep everything that is configured now if runtime handlers"
            f" were added to it (it would change {_first_difference(expected, after)})."
            f"{self._hint(new_default)} Add this to its configuration by hand:\n{block}"
        )

    def _hint(self, default: str | None) -> str:
        if default and self.what.template:
            return (
                f" For the default, write default-runtime: {default} into"
                f" /etc/rancher/{self.what.name}/config.yaml, and run this without"
                " zombie_reaper_default_init."
            )
        return ""

    def absent(self) -> dict[str, str | None]:
        """What to write so that nothing of ours is left. Does not need containerd's program."""
        for plugin in (PLUGIN_2, PLUGIN_3):
            path = ("plugins", plugin, "containerd")
            others = toml.get(self.document.tree, *path, "runtimes") or {}
            default = toml.get(self.document.tree, *path, "default_runtime_name")
            handlers.check_default(default, others, self.directory, self.what.config)
        files: dict[str, str | None] = {}
        if self.what.template is None and self.text != self.clean:
            files[self.what.config] = self.clean
        for template in self.what.templates:
            text = edits.read(template)
            clean = edits.without(text, template, NEW_TEMPLATE)
            if text != clean:
                files[template] = clean
        for drop_in in dict.fromkeys((self.what.drop_in, self._drop_in(True))):
            if drop_in and os.path.lexists(drop_in):
                files[drop_in] = None
        text = self.clean or ""
        if self.directory + "/" in text:
            raise Refused(
                f"{self.what.config} names {self.directory}, outside of the lines that this"
                " collection manages: another program may have written it anew. Remove the tables"
                " of these handlers by hand and run this again"
            )
        return files

    def verify(self, expected_names: Sequence[str]) -> None:
        """Raises :class:`Refused` unless containerd reads its configuration, and has (only) these
        handlers of ours.
        """
        if self.what.template:  # its configuration is written at the next start
            return
        after = self._dump(self.what.config)
        found = []
        for plugin in (PLUGIN_2, PLUGIN_3):
            tables = toml.get(after, "plugins", plugin, "containerd", "runtimes") or {}
            found += [
                name for name in tables if (_binary(tables[name]) or "").startswith(self.directory)
            ]
        if sorted(found) != sorted(expected_names):
            raise Refused(f"{self.what.name} did not take the new configuration; it was put back")

    # where

    def _patterns(self) -> list[str]:
        """What the configuration imports, as absolute paths."""
        here = os.path.dirname(self.what.config)
        found = self.document.tree.get("imports") or []
        return [os.path.join(here, each) for each in found if isinstance(each, str)]

    def _drop_in(self, merges: bool) -> str | None:
        """The path of a file of our own; None where there is to be none."""
        if not merges:
            return None
        for pattern in self._patterns():
            directory, name = os.path.split(pattern)
            if name == "*.toml" and "*" not in directory:
                return os.path.join(directory, DROP_IN)
        return None if self.what.template else self.what.drop_in

    # how

    def _tables(self, there: Mapping[str, Any], plan: handlers.Plan, lost: Sequence[str]) -> str:
        plugin = PLUGIN_2 if self._file_version() < 3 else PLUGIN_3
        path = ("plugins", plugin, "containerd", "runtimes")
        tables = []
        for name in lost:
            tables.append(toml.write((*path, name), handlers.without_zeros(there[name])))
        for handler in plan.handlers:
            table = handlers.without_zeros(_wrapped(there[handler.wraps], handler))
            tables.append(toml.write((*path, handler.name), table))
        return "\n".join(tables)

    def _file_version(self) -> int:
        """The version of the configuration that ours is added to; where there is no file yet, the
        newest that this containerd has, but no newer than what is known here.
        """
        if self.clean and self.clean.strip():
            return self.version
        return min(int(self._defaults().get("version", 2)), 3)

    def _defaults(self) -> dict[str, Any]:
        return self._dump(self._trial(None, None))

    def _by_drop_in(self, drop_in: str, block: str, default: str | None) -> _Built:
        text = f"version = {self._file_version()}\n"
        if default:
            plugin = PLUGIN_2 if self._file_version() < 3 else PLUGIN_3
            text += "\n" + toml.write(
                ("plugins", plugin, "containerd"), {"default_runtime_name": default}
            )
        text = edits.append("", text + "\n" + block, is_new=True)
        files: dict[str, str | None] = {drop_in: text}
        if not self.what.template:
            main = self.clean
            if main is None:
                main = edits.append(
                    "",
                    f"version = {self._file_version()}\nimports = {toml.as_value([drop_in])}\n",
                    is_new=True,
                )
            elif not any(fnmatch.fnmatchcase(drop_in, each) for each in self._patterns()):
                imports = [*(self.document.tree.get("imports") or []), drop_in]
                main = _with_imports(main, self.document, imports)
            files[self.what.config] = main
        return files, self.clean, text

    def _in_main_file(self, block: str, default: str | None) -> _Built:
        if self.clean is None:
            text = f"version = {self._file_version()}\n\n"
            if default:
                text += self._default_table(default)
            text = edits.append("", text + block, is_new=True)
        else:
            text = self.clean
            if default:
                text, block = self._with_default(text, block, default)
            text = edits.append(text, block)
        return {self.what.config: text}, text, None

    def _by_template(self, block: str, default: str | None) -> _Built:
        """containerd is shown what the template would become: the configuration of now, and our
        block.
        """
        path = self.what.templates[0 if self.version >= 3 else 1]
        if default:
            block = self._default_table(default) + block
        text = edits.without(edits.read(path), path, NEW_TEMPLATE)
        if "{{" in block:
            raise Refused(f"{path}: {{{{ cannot be written into a template")
        if text is not None and not BASE.search(text):
            raise Refused(
                f'{path} does not use the base template ({{{{ template "base" . }}}}), so it is not'
                f" known what comes of it. Add this at its end by hand:\n{block}"
            )
        new = text is None
        files: dict[str, str | None] = {path: edits.append(text or NEW_TEMPLATE, block, is_new=new)}
        return files, edits.append(self.clean or "", block), None

    def _default_table(self, default: str) -> str:
        plugin = PLUGIN_2 if self._file_version() < 3 else PLUGIN_3
        table = toml.write(("plugins", plugin, "containerd"), {"default_runtime_name": default})
        return table + "\n"

    def _with_default(self, text: str, block: str, default: str) -> tuple[str, str]:
        """The default is where the main file has it, or has its table; else in our block."""
        plugin = PLUGIN_2 if self._file_version() < 3 else PLUGIN_3
        table = ("plugins", plugin, "containerd")
        value = self.document.values.get((*table, "default_runtime_name"))
        header = self.document.headers.get(table)
        line = f"default_runtime_name = {toml.as_value(default)}\n"
        if value:
            found = "".join(text.splitlines(True)[value.first : value.end])
            parts = NAME_LINE.fullmatch(found)
            if not parts:
                raise Refused(
                    f"{self.what.config} line {value.first + 1}: this way to write"
                    " default_runtime_name is not understood here; write default_runtime_name ="
                    ' "runc" in a line of its own'
                )
            return edits.insert(text, value, parts[1] + toml.as_value(default) + "\n"), block
        if header:
            return edits.insert(text, Lines(header.end, header.end), line), block
        return text, self._default_table(default) + block

    # what containerd makes of it

    def _trial(self, main: str | None, drop_in: str | None) -> str | None:
        """The path of a copy of the main file that imports what the real one does, and ``drop_in``
        in place of ours.
        """
        ours = {self.what.drop_in, self._drop_in(True)}
        document = self._read(main or "")
        here = os.path.dirname(self.what.config)
        imports = []
        for pattern in document.tree.get("imports") or []:
            path = os.path.join(here, str(pattern))
            imports += sorted(glob.glob(path)) if "*" in path else [path]
        imports = [path for path in imports if path not in ours]
        if drop_in is not None:
            beside = os.path.join(self.scratch, DROP_IN)
            _write(beside, drop_in)
            imports.append(beside)
        text = main
        if imports or document.tree.get("imports"):
            if text is None:
                text = f"version = {self._file_version()}\n"
                document = self._read(text)
            text = _with_imports(text, document, imports)
        if text is None:
            return None
        path = os.path.join(self.scratch, "config.toml")
        _write(path, text)
        return path

    def _dump(self, path: str | None) -> dict[str, Any]:
        """What containerd makes of a file; without one, its defaults."""
        words = ["--config", path, "config", "dump"] if path else ["config", "default"]
        status, out, err = self.run([self.what.binary, *words])
        if status != 0:
            said = err.strip().splitlines()
            raise Refused(
                f"{self.what.config}: containerd cannot read it: {said[-1] if said else status}."
                " Correct it and run this again"
            )
        try:
            return toml.read(out).tree
        except toml.TomlError as error:
            raise Refused(
                f"what {self.what.binary} config dump prints is not understood here: {error}"
            ) from None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def _with_imports(text: str, document: toml.Document, imports: Sequence[str]) -> str:
    line = f"imports = {toml.as_value(list(imports))}\n"
    return edits.insert(text, document.values.get(("imports",), Lines(0, 0)), line)


def _binary(table: Mapping[str, Any]) -> str | None:
    """The OCI runtime of a handler; None if it is of another kind."""
    if table.get("runtime_type") not in TYPES or table.get("runtime_path"):
        return None
    found = toml.get(dict(table), "options", "BinaryName")
    return str(found) if found else "runc"  # the shim's default


def _wrapped(table: Mapping[str, Any], handler: handlers.Handler) -> dict[str, Any]:
    new = copy.deepcopy(dict(table))
    new.setdefault("options", {})["BinaryName"] = handler.wrapper
    new["pod_annotations"] = handlers.pod_annotations(new.get("pod_annotations"))
    return new


def _expected(
    before: Mapping[str, Any], plugin: str, plan: handlers.Plan, default: str | None
) -> dict[str, Any]:
    expected: dict[str, Any] = copy.deepcopy(dict(before))
    there = expected["plugins"][plugin]["containerd"]
    for handler in plan.handlers:
        there["runtimes"][handler.name] = _wrapped(there["runtimes"][handler.wraps], handler)
    if default:
        there["default_runtime_name"] = default
    return expected


def _comparable(dump: Mapping[str, Any]) -> dict[str, Any]:
    """All but the list of files that it came from."""
    return {key: value for key, value in dump.items() if key != "imports"}


def _first_difference(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other} - ({"imports"} if not path else set())):
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), f"{path}.{key}".strip("."))
    return path
