"""What the daemon locks stays what it is, however many zombies there are."""

from __future__ import annotations

import pytest
from rig.daemon_node import Daemon
from rig.node import wait_until

PARENTS, EACH, MORE = 100, 120, 12000
MOST = 40 << 10  # KB
GROWTH = 1 << 10  # KB; 12,000 zombies that are kept would take 8 times as much

MAKE = """
reading, writing = os.pipe()
for _ in range({parents}):
    if os.fork() == 0:
        for _ in range({each}): zombie()
        os.write(writing, b"x")
        forever()
for _ in range({parents}):
    os.read(reading, 1)
ready()
forever()
"""


def peak(daemon) -> int:
    """KB that it has had at most."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def sweeps_twice(daemon) -> None:
    """The first one may have begun before."""
    before = daemon.status()["sweeps"]
    wait_until(lambda: daemon.status()["sweeps"] >= before + 2, 500)


@pytest.mark.full
def test_its_memory_does_not_grow_with_the_zombies(node, tmp_path):
    node.program(MAKE.format(parents=PARENTS, each=EACH))
    daemon = Daemon(node, tmp_path, "--remedies", "none")
    try:
        sweeps_twice(daemon)
        before = peak(daemon)
        node.program(MAKE.format(parents=1, each=MORE))
        sweeps_twice(daemon)
        assert peak(daemon) - before < GROWTH
        assert peak(daemon) < MOST
    finally:
        daemon.stop()
