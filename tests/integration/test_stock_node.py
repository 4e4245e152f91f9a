"""A node as distributions make it, cgroups of version 2 and nothing else, with all that the machine
has in them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import zombies
from rig.node import Node, wait_until
from rig.own_cgroup import ROOT, entering, own_cgroup

pytestmark = pytest.mark.machine
PROCFS = ProcFS()
LEAKS = "for _ in range(9): zombie()\nready()\nforever()"
LEAKS_WITH_A_THREAD_THAT_MOVES = """
moved = threading.Event()
def thread():
    with open({threads!r}, "w") as file:
        file.write(str(threading.get_native_id()))
    moved.set()
    forever()
threading.Thread(target=thread, daemon=True).start()
moved.wait()
""" + LEAKS.replace("{", "{{")


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    yield made
    made.stop()


def without_a_count(directory=ROOT) -> list:
    """Cgroups that the kernel does not count tasks of. The first of all has no count either, and
    needs none.
    """
    return [
        cgroup
        for cgroup in directory.glob("**/")
        if cgroup != ROOT and not (cgroup / "pids.current").exists()
    ]


def assert_found_by_children(container):
    """That those of the container are found, in the end: others begin and end on the machine, and
    the ledger may be wrong for a moment.
    """
    ours = {stat.pid for stat in PROCFS.zombies() if stat.ppid == container.process.pid}
    assert len(ours) == 9

    def are_found():
        found = zombies.find(PROCFS, cgroups.Ledger(str(ROOT), PROCFS))
        return found.found_by == zombies.CHILDREN and ours <= {stat.pid for stat in found.stats}

    wait_until(are_found)


def test_with_the_cgroups_that_systemd_makes(node):
    if Path("/proc/1/comm").read_text() != "systemd\n":
        pytest.skip("this machine has no systemd")
    assert_found_by_children(node.container(LEAKS))


def test_with_a_cgroup_that_a_tenant_made(node):
    """As ``mkdir /sys/fs/cgroup/x`` in its container does, and moving there."""
    with own_cgroup("pids") as group:
        made = group.below("x").directory
        assert without_a_count(group.directory) == [made]
        container = node.container(LEAKS, entering(made))
        assert_found_by_children(container)
        node.stop()


def test_with_a_threaded_cgroup(node):
    with own_cgroup("pids") as group:
        made = group.below("threads")
        made.write("cgroup.type", "threaded")
        assert without_a_count(group.directory) == [made.directory]
        code = LEAKS_WITH_A_THREAD_THAT_MOVES.format(threads=str(made.directory / "cgroup.threads"))
        container = node.container(code, group.entering)
        assert made.read("cgroup.threads")
        assert_found_by_children(container)
        node.stop()
