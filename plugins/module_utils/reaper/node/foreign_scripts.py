# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts of others on this node that signal the parents of zombies, and what starts them.

Providers install one by hand, ``kill_zombie_parents.sh``, and playbooks for Akash providers write
it (akash-network/provider-playbooks, ``roles/os``). It ends programs that a sweep would spare. It
is identified by what it does, not by its name.
"""

from __future__ import annotations

import os
import re

from ..record import Record
from .runtime_names import is_local, read_owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# cron(8) of Debian and of Red Hat, busybox's crond; units by hand
TABLES = ("/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs")
TABLE = "/etc/crontab"
UNITS = "/etc/systemd/system"
PERIODIC = ("/etc/cron.hourly", "/etc/cron.daily")
SCRIPTS = ("/usr/local/bin", "/usr/local/sbin", "/root", "/root/bin", "/opt")
MAX_BYTES = 1 << 16  # of a script or table
MAX_ENTRIES = 1000  # of a directory
MAX_FOUND = 20

# What all that do this have in common: the letter of the state, whose child it is, a signal. The
# letter is not that of A-Z or of %Z.
STATE = re.compile(rb"(?<![-%\w])Z\b|\[Zz\]|defunct")
PARENT = re.compile(rb"(?i)ppid|parent")
SIGNAL = re.compile(rb"\bkill\b")
PATH = re.compile(rb"/[\w./@+-]+")  # in a line of a table


class ForeignScript(Record):
    """One script, or one line of a table that does it all."""

    script: str | None  # its path; None where the line does it all
    schedule: str | None  # the table or unit that starts it; None where none was found


def find(mounts: Mapping[bytes, bytes], root: str = "") -> tuple[ForeignScript, ...]:
    """At most :data:`MAX_FOUND` of them. Only what belongs to root on a local file system is read.

    mounts: :meth:`.procfs.ProcFS.mounts` of this process. root: what is put before all paths.
    """
    found: list[ForeignScript] = []
    scheduled: set[str] = set()
    known: dict[str, bool] = {}

    def is_foreign(path: str) -> bool:
        if path not in known:
            known[path] = ends_parents(_read(root + path, mounts))
        return known[path]

    for table in _tables(mounts, root):
        text = _read(root + table, mounts)
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(b"#")]
        if any(map(ends_parents, lines)):
            found.append(ForeignScript(script=None, schedule=table))
        named = {_normal(path) for line in lines for path in PATH.findall(line)}
        for script in sorted(named - {table}):
            if is_foreign(script):
                scheduled.add(script)
                found.append(ForeignScript(script=script, schedule=table))
    for directory in PERIODIC + SCRIPTS:
        for script in _files_in(directory, mounts, root):
            if script not in scheduled and is_foreign(script):
                schedule = directory if directory in PERIODIC else None
                found.append(ForeignScript(script=script, schedule=schedule))
    return tuple(found[:MAX_FOUND])


def ends_parents(text: bytes) -> bool:
    """Whether this is the text of a script that looks for zombies and signals their parents.

    No text has a NUL. A compiled program does, and may hold all three words by chance: sshd,
    systemctl and dash of Debian 12 do, and nobody must be told to remove them.
    """
    if b"\0" in text:
        return False
    return bool(SIGNAL.search(text) and STATE.search(text) and PARENT.search(text))


def _tables(mounts: Mapping[bytes, bytes], root: str) -> Iterator[str]:
    yield TABLE
    for directory in TABLES:
        yield from _files_in(directory, mounts, root)
    for unit in _files_in(UNITS, mounts, root):
        if unit.endswith(".service"):
            yield unit


def _files_in(directory: str, mounts: Mapping[bytes, bytes], root: str) -> list[str]:
    """Paths of the small regular files in a directory to which no symbolic link leads: that may
    lead to a file server that does not answer, and below one nothing would be read anyway.
    """
    parts = directory.split("/")[1:]
    way = (f"{root}/{'/'.join(parts[: number + 1])}" for number in range(len(parts)))
    if not is_local(os.fsencode(root + directory), mounts) or any(map(os.path.islink, way)):
        return []
    names = []
    try:
        with os.scandir(root + directory) as entries:
            for _number, entry in zip(range(MAX_ENTRIES), entries):
                if (
                    entry.is_file(follow_symlinks=False)
                    and entry.stat(follow_symlinks=False).st_size <= MAX_BYTES
                ):
                    names.append(entry.name)
    except OSError:
        pass
    return [f"{directory}/{name}" for name in sorted(names)]


def _normal(path: bytes) -> str:
    """The path as :func:`.is_local` compares it with mount points. No link is followed, so ``..``
    is what it says.
    """
    return os.path.normpath("/" + os.fsdecode(path).lstrip("/"))


def _read(path: str, mounts: Mapping[bytes, bytes]) -> bytes:
    return read_owned(path, 0, mounts, MAX_BYTES) or b""
