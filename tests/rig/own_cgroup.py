"""A cgroup that a test made, below that of the test itself, in whatever layout the machine has; it ends with the test."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from rig.node import wait_until

ROOT = Path("/sys/fs/cgroup")
UNIFIED = next((folder for folder in (ROOT, ROOT / "unified") if (folder / "cgroup.threads").exists()), None)


class OwnCgroup:
    """folder: where it is. version: 1 or 2."""

    def __init__(self, folder, version):
        self.folder = folder
        self.version = version

    def write(self, name, value) -> None:
        (self.folder / name).write_text(str(value), encoding="ascii")

    def read(self, name) -> str:
        return (self.folder / name).read_text(encoding="ascii").strip()

    def below(self, name) -> OwnCgroup:
        (self.folder / name).mkdir()
        return OwnCgroup(self.folder / name, self.version)

    def add(self, pid) -> None:
        self.write("cgroup.procs", pid)

    @property
    def entering(self) -> list:
        """What to put before a command that is to run in it, from its first instruction on."""
        return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self.folder)]

    def remove(self) -> None:
        """Once it is empty, that is once what the test started has ended; what is below it too."""
        for folder in sorted(self.folder.glob("**/"), reverse=True):
            wait_until(lambda folder=folder: not (folder / "cgroup.procs").read_text(encoding="ascii"))
            folder.rmdir()


@contextlib.contextmanager
def own_cgroup(controller):
    """One with that controller. controller: ``pids``, ``memory``, or ``""`` for one of version 2 without any. Skips where there is none."""
    if controller and (ROOT / controller / "cgroup.procs").exists():
        parent, version = ROOT / controller, 1
    elif UNIFIED and (not controller or controller in (UNIFIED / "cgroup.subtree_control").read_text(encoding="ascii").split()):
        parent, version = UNIFIED, 2
    else:
        pytest.skip("this machine has no cgroups with the controller %r that could be used" % controller)
    made = OwnCgroup(parent / ("zombie-reaper-test-%d-%d" % (os.getpid(), own_cgroup.number)), version)
    own_cgroup.number += 1
    made.folder.mkdir()
    try:
        yield made
    finally:
        made.remove()


own_cgroup.number = 0
