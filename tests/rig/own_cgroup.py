"""A cgroup that a test made, below that of the test itself, in whatever layout the machine has; it
ends with the test.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from pathlib import Path

import pytest

from rig.node import Node, wait_until

ROOT = Path("/sys/fs/cgroup")
UNIFIED = next(
    (
        directory
        for directory in (ROOT, ROOT / "unified")
        if (directory / "cgroup.threads").exists()
    ),
    None,
)


def entering(directory) -> list:
    """Words that take a command into a cgroup."""
    return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(directory)]


class OwnCgroup:
    """directory: where it is. version: 1 or 2. mount: where its hierarchy is mounted. above: the one
    of the test that it was made below, if any. leaf: where processes that enter it are put.
    """

    def __init__(self, directory, version, mount, above=None):
        self.directory = self.leaf = directory
        self.version = version
        self.mount = mount
        self.outermost = above.outermost if above else self

    def write(self, name, value) -> None:
        (self.directory / name).write_text(str(value), encoding="ascii")

    def read(self, name) -> str:
        return (self.directory / name).read_text(encoding="ascii").strip()

    def below(self, name) -> OwnCgroup:
        (self.directory / name).mkdir()
        return OwnCgroup(self.directory / name, self.version, self.mount, self)

    def limited_below(self, name, controller) -> OwnCgroup:
        """One below it with that controller, before anything has entered this one. In version 2 no
        processes may be beside such a cgroup but in another one.
        """
        if self.version == 2:
            self.leaf = self.directory / "leaf"
            self.leaf.mkdir()
            self.write("cgroup.subtree_control", f"+{controller}")
        return self.below(name)

    def add(self, pid) -> None:
        (self.leaf / "cgroup.procs").write_text(str(pid), encoding="ascii")

    @property
    def entering(self) -> list:
        """What to put before a command that is to run in it, from its first instruction on."""
        return entering(self.leaf)

    @property
    def hiding_others(self) -> list:
        """The same, in a mount namespace of its own, where no other cgroup of that hierarchy is in
        sight from then on.
        """
        return [
            *self.entering,
            "sh",
            "-c",
            'mount --bind "$0" "$1" && shift && exec "$@"',
            str(self.directory),
            str(self.mount),
        ]

    @property
    def entering_from_there(self) -> list:
        """What to put before further commands in that mount namespace."""
        return entering(self.seen_from_there)

    @property
    def seen_from_there(self) -> Path:
        """Where it is in a mount namespace in which the outermost one hides others."""
        return self.mount / self.leaf.relative_to(self.outermost.directory)

    def remove(self) -> None:
        """Once it is empty, that is once what the test started has ended; what is below it too."""
        for directory in sorted(self.directory.glob("**/"), reverse=True):
            wait_until(lambda directory=directory: _removed(directory))


def _removed(directory) -> bool:
    """A process that is about to end is listed no more, and yet its cgroup is not empty."""
    with contextlib.suppress(FileNotFoundError):
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


def hierarchy(controller) -> tuple:
    """(Where it is mounted, its version); None, None where there is none in which a cgroup could be
    made. controller: as of :func:`own_cgroup`.
    """
    if controller and (ROOT / controller / "cgroup.procs").exists():
        return ROOT / controller, 1
    if UNIFIED and (
        not controller
        or controller in (UNIFIED / "cgroup.subtree_control").read_text(encoding="ascii").split()
    ):
        return UNIFIED, 2
    return None, None


@contextlib.contextmanager
def own_cgroup(controller):
    """One with that controller. controller: ``pids``, ``memory``, or ``""`` for one of version 2
    without any. Skips where there is none.
    """
    mount, version = hierarchy(controller)
    if mount is None:
        pytest.skip(
            f"this machine has no cgroups with the controller {controller!r} that could be used"
        )
    made = OwnCgroup(
        Path(tempfile.mkdtemp(prefix="zombie-reaper-test-", dir=mount)), version, mount
    )
    try:
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def own_ledger(directory, kind=Node, hides_others=True):
    """A node whose ledger is of itself, so that it matters to no sweep what else begins and ends on
    the machine. kind: of node.

    It is that of the machine where that has no cgroups which count tasks, or unless cgroups of
    others are hidden from the node.
    """
    with (
        own_cgroup("pids") if hides_others and hierarchy("pids")[0] else contextlib.nullcontext()
    ) as cgroup:
        node = kind(directory, cgroup=cgroup)
        try:
            yield node
        finally:
            node.stop()
