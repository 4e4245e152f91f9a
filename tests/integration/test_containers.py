"""Real containers: podman with runc, cgroups and the default seccomp profile, in a node of their
own.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import workloads
from rig.agents import UNTIL_SETTLED, sweep
from rig.node import ENGINE, is_alive, wait_until
from rig.own_cgroup import own_cgroup
from rig.podman import Podman, offenders_in

pytestmark = pytest.mark.all_cgroups


@pytest.fixture
def podman(node):
    """podman refuses a directory with a long name, so it is not below pytest's own."""
    started = Podman(node, Path(tempfile.mkdtemp(prefix="zr-")))
    yield started
    started.stop()


LEAKING = "(exit 3) & (exit 4) & exec sleep 1000"


def wait_for_zombies(node, container):
    """Until some parent in the container has two."""
    wait_until(
        lambda: 2 in [entry["zombies"] for entry in offenders_in(node.sweep("--check"), container)]
    )


@pytest.mark.parametrize(
    "remedies, ends", [("nudge,reap,terminate", False), ("nudge,terminate", True)]
)
def test_a_leaking_container_is_found_named_and_cured_or_ended(node, podman, remedies, ends):
    leaking = podman.run(LEAKING)
    healthy = podman.run("sleep 1000; exit")
    wait_for_zombies(node, leaking)
    result = node.sweep(remedies=remedies)
    (entry,) = [entry for entry in result["offenders"] if entry["outcome"] != "left_alone"]
    assert entry["workload"]["kind"] == "container"
    assert entry["workload"]["container_id"] == leaking
    assert entry["command_line"] == "sleep 1000"
    assert entry["outcome"] == "cleared"
    assert entry["remedy"] == ("terminate" if ends else "reap")
    assert {container["Id"] for container in podman.running()} == (
        {healthy} if ends else {healthy, leaking}
    )


def test_only_the_parent_ends_where_the_init_reaps(node, podman):
    """An ordinary process of the container leaks; its init, a shell that waits, collects what it
    adopts and goes on.
    """
    container = podman.run(
        "sh -c '(exit 3) & (exit 4) & exec sleep 1000' & while true; do wait -n 2>/dev/null; sleep"
        " 0.1; done"
    )
    wait_for_zombies(node, container)
    result = sweep(node, UNTIL_SETTLED, remedies="nudge,terminate")
    (entry,) = [entry for entry in result["offenders"] if entry["outcome"] != "left_alone"]
    assert entry["outcome"] == "cleared"
    assert entry["init_pid"] != entry["pid"]
    assert [running["Id"] for running in podman.running()] == [container]


def test_a_paused_container_is_left_alone(node, podman):
    container = podman.run(LEAKING)
    wait_for_zombies(node, container)
    podman("pause", container)
    (entry,) = offenders_in(node.sweep(), container)
    assert (entry["reason"], entry["outcome"]) == ("parent_frozen", "left_alone")
    (entry,) = offenders_in(node.sweep("--check"), container)
    assert entry["zombies"] == 2
    podman("unpause", container)
    assert node.sweep()["counts"]["cleared"] == 2


def test_what_podman_exec_leaves_is_placed_in_its_container(node, podman):
    """A process put into the container from outside: its line of parents leads to conmon, its init
    is found all the same.
    """
    container = podman.run("exec sleep 1000")
    podman("exec", "--detach", container, "/bin/sh", "-c", LEAKING)
    wait_for_zombies(node, container)
    (entry,) = offenders_in(node.sweep("--check"), container)
    assert entry["zombies"] == 2
    assert entry["init_pid"] not in (None, entry["pid"])


def conmons(node) -> list:
    """PIDs of those that have no other parent any more than PID 1 of the node."""
    found = []
    for child in node.init.process.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has ended by itself
            if is_alive(child) and child.name() == "conmon":
                found.append(child.pid)
    return found


def test_the_monitor_of_a_container_is_a_runtime(node, podman):
    """conmon, real: under scope all it would be denied, and it is no container though its cgroup
    bears podman's name.
    """
    podman.run(LEAKING)
    real = procfs.ProcFS()
    (monitor,) = wait_until(lambda: conmons(node))
    assert re.fullmatch(policy.INFRASTRUCTURE, os.path.basename(real.executable(monitor)).decode())
    assert "conmon" in "".join(line.path for line in real.cgroup(monitor))
    assert workloads.container_of(real.cgroup(monitor), real.cgroup(os.getpid())) is None


@pytest.mark.parametrize(
    "flags, name",
    [
        (["--name", "web"], "web"),
        (["--rm", "--name", "systemd-web"], "systemd-web"),
        (["--rm"], None),
    ],
)
def test_a_container_of_podman_s_has_its_name_also_where_it_removes_itself(
    node, podman, flags, name
):
    """Podman (4.4) lists those of --rm in a file of their own. Quadlet starts every container so,
    as systemd-NAME.
    """
    storage = "/var/lib/containers/storage"
    mounting = (
        f"mount -t tmpfs tmpfs /var/lib && mkdir -p {storage} && mount --bind"
        f" {podman.directory / 'root'} {storage}"
    )
    assert node.run("sh", "-c", mounting).returncode == 0
    container = podman(
        "run", "--detach", "--network", "none", *flags, "busybox", "/bin/sh", "-c", LEAKING
    )
    wait_for_zombies(node, container)
    (entry,) = offenders_in(node.sweep("--check"), container)
    (running,) = podman.running()
    assert (
        entry["workload"]["container_name"] == running["Names"][0] == (name or running["Names"][0])
    )
    assert (
        entry["workload"]["runtime"],
        entry["workload"]["user"],
        entry["workload"]["sandbox"],
    ) == ("podman", None, False)


SAYS_WHETHER_IT_IS_ABOVE = """
import sys
sys.path.insert(0, %r)
from reaper.kernel import procfs
from reaper.node import workloads
print(workloads.above_the_sweep(procfs.ProcFS()))
""" % str(ENGINE)


@pytest.mark.parametrize(
    "namespaces, refused",
    [
        ([], False),
        (["unshare", "--cgroup"], True),
        (["unshare", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc"], False),
    ],
    ids=["the node", "hostPID", "a node that is a container"],
)
def test_a_sweep_that_sees_the_cgroups_of_others_from_below_is_told(namespaces, refused):
    with own_cgroup("") as cgroup:
        done = subprocess.run(
            [*cgroup.entering, *namespaces, sys.executable, "-IS", "-c", SAYS_WHETHER_IT_IS_ABOVE],
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert ("cgroup namespace" in done.stdout) is refused, done.stdout
    assert (done.stdout == "None\n") is not refused
