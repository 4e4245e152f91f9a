"""Many zombies and many processes, in cgroups of their own and with room for all."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil
from crowd import compiled, crowd_of
from scan import room_for_many

HERE = Path(__file__).resolve().parent
HIERARCHIES = [
    directory
    for directory in (
        Path("/sys/fs/cgroup/pids"),
        Path("/sys/fs/cgroup/unified"),
        Path("/sys/fs/cgroup"),
    )
    if (directory / "cgroup.procs").exists()
]
USUAL_TABLE = 30000  # processes that fit into kernel.pid_max as it usually is
BYTES = {"living": 120000, "zombies": 14000}  # of memory for each, with some to spare


@contextlib.contextmanager
def crowd_with_room(kind, count, parents, init):
    """What :func:`.crowd.crowd_of` yields, in a cgroup of its own and with room for all."""
    room = room_for_many(count + 50000) if count > USUAL_TABLE else contextlib.nullcontext()
    with room, contextlib.ExitStack() as until_gone:
        own = [until_gone.enter_context(cgroups(hierarchy, 0))[0] for hierarchy in HIERARCHIES]
        yield until_gone.enter_context(crowd_of([compiled(), kind, count, parents, init], own))


@contextlib.contextmanager
def cgroups(hierarchy, number):
    """A cgroup in a hierarchy and so many in it; the first of the paths is that of the outer one
    where number is 0.
    """
    outer = hierarchy / (f"zr-bench-{os.getpid()}-{number}")
    directories = [outer / str(place) for place in range(number)]
    try:
        for directory in [outer, *directories]:
            directory.mkdir()
        yield directories or [outer]
    finally:
        for directory in [*directories, outer]:
            _remove(directory)


def _remove(directory) -> None:
    """Move what is left in it one up, and remove a cgroup, if it is there. The last of its
    processes may take a moment to go.
    """
    for _try in range(100):
        if not directory.exists():
            return
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (directory.parent / "cgroup.procs").write_text(pid)
        try:
            directory.rmdir()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{directory} cannot be removed")


def has_memory(kind, count) -> bool:
    """Whether so many fit into the memory that is free now, with 2 GB left."""
    return psutil.virtual_memory().available - count * BYTES.get(kind, BYTES["zombies"]) > 2e9
