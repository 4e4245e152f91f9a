# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cgroups of a process say: whether it is paused, and how many processes it and its neighbours may be.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst and cgroup-v1/pids.rst of the kernel.
Version 1, version 2, and both side by side ("hybrid", version 2 in ``unified``).
"""

from __future__ import annotations

from collections import namedtuple


class Pids(namedtuple("Pids", ("current", "max", "cgroup"))):
    """Tasks (threads and zombies) in the cgroup whose limit is reached first.

    current: int. max: int, None for no limit. cgroup: str, its path in the hierarchy.
    """

    __slots__ = ()


def is_frozen(root: str, lines) -> bool:
    """Whether a process is paused by the cgroup freezer: v2 ``cgroup.freeze``, v1 ``freezer.state``.

    root: ``/sys/fs/cgroup``. lines: :class:`.procfs.CgroupLine` tuples of the process.
    """
    for line in lines:
        if line.controllers == "":
            names, sign = ("cgroup.events",), "frozen 1"
        elif "freezer" in line.controllers.split(","):
            names, sign = ("freezer.state",), "FR"  # FROZEN, or FREEZING on the way there
        else:
            continue
        if any(sign in (_read(folder, name) or "") for folder in _folders(root, line.controllers, line.path) for name in names):
            return True
    return False


def pids(root: str, controllers: str, path: str) -> Pids | None:
    """:class:`Pids` of a cgroup and those above it; None where the kernel does not count.

    controllers, path: as in :class:`.procfs.CgroupLine`. Of all levels the one with the least room is told; where none has a
    limit, the cgroup itself.
    """
    found, parts = [], path.split("/")
    for length in range(len(parts), 1, -1):
        level = "/".join(parts[:length])
        for folder in _folders(root, controllers, level):
            current, most = _read(folder, "pids.current"), _read(folder, "pids.max")
            if current and most:
                found.append(Pids(int(current), None if most.strip() == "max" else int(most), level))
                break
    limited = [each for each in found if each.max is not None]
    return min(limited, key=lambda each: each.max - each.current) if limited else found[0] if found else None


def _folders(root, controllers, path):
    """Where a cgroup may be mounted: the layout of this node is one of them. None outside the sweep's cgroup namespace."""
    if ".." in path.split("/"):
        return ()
    if controllers == "":
        return (root + path, root + "/unified" + path)
    return (root + "/" + controllers + path,) + tuple(root + "/" + each + path for each in controllers.split(",") if each != controllers)


def _read(folder, name) -> str | None:
    try:
        with open(folder + "/" + name, encoding="utf-8") as file:
            return file.read()
    except OSError:  # the other layout, or the cgroup went away with its process
        return None
