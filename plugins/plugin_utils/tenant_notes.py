# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A note for each tenant, in Markdown, that an operator can send as it is: what was found in the
tenant's containers, what was done about it, what causes it and how to cure it.

A note says nothing of other tenants, nor of the node: neither its name nor its PIDs, nor how full
a cgroup is, which may be one that holds the containers of others too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from ansible_collections.provider.fleet.plugins.module_utils.reaper import DOCS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.cures import FIX
from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import duration_in_words

from .fleet_data import moment
from .fleet_table import number, plural

MAX_NOTES = 1000  # the tenants with most zombies
MAX_LISTED = 50  # programs in one list of a note
MAX_FILE_NAME = 150  # characters of a tenant's name in that of a file
OURS = re.compile(r"(namespace|owner)-[A-Za-z0-9_.~%+-]+\.md")  # names of files with notes
MORE = DOCS + "fix-your-image.md"

WHAT_A_ZOMBIE_IS = """\
A zombie is a process that has exited and whose parent has not asked for its exit status (`wait`).
It costs no CPU and hardly any memory, but it holds a process ID, and those are limited. When they
run out, nothing can start in your container: neither a worker for a request nor a shell.
"""
ORPHANS = """\
**Programs that were left to PID 1.** When a program ends before a process that it started, that
process is handed to PID 1 of the container. PID 1 has to collect it once it exits. Inits do that;
most servers, `sleep infinity` and anything written in Python, Node.js, Java or Go do not. Let an
init be PID 1, for example tini from the package of that name:

```dockerfile
ENTRYPOINT ["/usr/bin/tini", "--"]
```

`command` in a pod or in an Akash SDL replaces ENTRYPOINT. Write
`command: ["/usr/bin/tini", "--", "your-program"]` there. In a pod, `shareProcessNamespace: true`
does it too, and so does `runtimeClassName: init` where the operator offers that.
"""
OWN_CHILDREN = """\
**Programs that do not wait for their own children.** An init does not help against these. The
program has to wait for each process that it starts, and as a subreaper for each that is left to it:
`poll()` or `wait()` in Python, `wait` in a shell, `cmd.Wait()` in Go, `waitpid(2)` in C.
"""

Fleet = Mapping[str, Any]  # what fleet_data.fleet() returns
Row = Mapping[str, Any]  # of one of its lists


class Tenant(NamedTuple):
    """Who a note is for. A namespace that is called like an owner is another tenant."""

    kind: str  # owner or namespace
    name: str


class Found(NamedTuple):
    """Rows of the report about one tenant."""

    offenders: list[Row]
    inits: list[Row]
    actions: list[Row]

    def zombies(self) -> int:
        """How many there are now, and how many a sweep has cleared."""
        now: int = sum(row["zombies"] for row in self.offenders)
        cleared: int = sum(row["cleared"] for row in self.actions)
        return now + cleared


def notes(fleet: Fleet, at: float) -> dict[str, str]:
    """Notes by the name of their file. at: seconds since the epoch."""
    found: dict[Tenant, Found] = {}
    for place, rows in enumerate((fleet["offenders"], fleet["inits"], fleet["actions"])):
        for row in rows:
            if row["tenant_kind"]:
                tenant = Tenant(row["tenant_kind"], row["tenant"])
                found.setdefault(tenant, Found([], [], []))[place].append(row)
    worst = sorted(found, key=lambda tenant: (-found[tenant].zombies(), tenant))[:MAX_NOTES]
    return {file_name(tenant): _note(tenant, found[tenant], at) for tenant in worst}


def file_name(tenant: Tenant) -> str:
    """A name of its own for each tenant, whatever characters the tenant's name has."""
    safe = quote(tenant.name, safe="", errors="backslashreplace")
    if len(safe) > MAX_FILE_NAME:
        # No short name has a plus in it, so no tenant can choose the name of another's file
        safe = f"{safe[:100]}+{hashlib.sha256(safe.encode()).hexdigest()[:16]}"
    return f"{tenant.kind}-{safe}.md"


def code(name: str) -> str:
    """A name as a code span, in which Markdown knows no markup, links or mentions. name: without
    line breaks.
    """
    if not name.strip():
        return "(unnamed)"
    longest = max((len(run) for run in re.findall("`+", name)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if longest or name[0] == " " == name[-1] else ""
    return f"{fence}{padding}{name}{padding}{fence}"


def _note(tenant: Tenant, found: Found, at: float) -> str:
    whose = "leases of" if tenant.kind == "owner" else "namespace"
    zombies = sum(row["zombies"] for row in found.offenders)
    parts = [
        f"# Zombie processes in {whose} {code(tenant.name)}\n",
        f"Seen on {moment(at)}: {plural(zombies, 'zombie')} in your containers.\n",
        WHAT_A_ZOMBIE_IS,
        *_section("Programs that keep zombies", found.offenders, _offender),
        *_section("Containers whose PID 1 does not collect orphans", found.inits, _init),
        *_section("What was done", found.actions, _action),
        "## Cause and cure\n",
        *_cures(found),
        f"Examples for each case, and how to see which one it is: <{MORE}>\n",
    ]
    return "\n".join(parts)


def _section(title: str, rows: Sequence[Row], line: Callable[[Row], str]) -> list[str]:
    if not rows:
        return []
    lines = [f"- {code(row['workload'])}{_lease(row)}: {line(row)}" for row in rows[:MAX_LISTED]]
    if len(rows) > MAX_LISTED:
        lines.append(f"- and {number(len(rows) - MAX_LISTED)} more")
    return [f"## {title}\n", "\n".join(lines) + "\n"]


def _lease(row: Row) -> str:
    return f" (lease {code(row['lease'])})" if row["tenant_kind"] == "owner" else ""


def _offender(row: Row) -> str:
    which = f"{code(row['name'])}, PID 1 of the container," if row["is_init"] else code(row["name"])
    line = f"{which} keeps {plural(row['zombies'], 'zombie')}"
    if row["orphans"]:
        all_of_them = row["orphans"] == row["zombies"]
        left = "all" if all_of_them else f"{number(row['orphans'])} of them"
        line += f", {left} left to it by programs that ended"
    if row["oldest_age"]:
        line += f"; the oldest for {duration_in_words(row['oldest_age'])}"
    if row["leaking_per_hour"]:
        line += f"; about {number(round(row['leaking_per_hour']))} more every hour"
    return line


def _init(row: Row) -> str:
    line = f"PID 1 is {code(row['name'])}"
    return f"{line}; it keeps {plural(row['zombies'], 'zombie')}" if row["zombies"] else line


def _action(row: Row) -> str:
    when = f" on {moment(row['at'])}" if row["at"] is not None else ""
    if row["ended"]:
        return f"{code(row['name'])} was ended{when}, to free the process IDs of its zombies"
    if row["cleared"]:
        return (
            f"{code(row['name'])} was made to collect {plural(row['cleared'], 'zombie')}{when}; it"
            " goes on as before"
        )
    return f"it was tried{when} to have {code(row['name'])} collect its zombies"


def _cures(found: Found) -> Iterable[str]:
    """Which of the two causes it can be; both where nothing tells."""
    # Of a PID 1, the audit may know more than its zombies show
    audited = {(row["host"], row["pid"]) for row in found.inits}
    rows = [row for row in found.offenders if (row["host"], row["pid"]) not in audited]
    helping = {cure for row in (*rows, *found.inits) for cure in row["cures"]}
    if helping != {FIX}:
        yield ORPHANS
    if FIX in helping or not helping:
        yield OWN_CHILDREN
