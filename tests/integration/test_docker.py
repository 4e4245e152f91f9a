"""Containers of a real Docker engine and of Podman, with and without an init; Docker's own switch
for it, set by playbooks/prevent.yml.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections import namedtuple
from pathlib import Path

import pytest
from rig.agents import PATIENT_WITH_INITS
from rig.docker import Docker
from rig.inits import process_in
from rig.node import wait_until
from rig.playbook import Playbook
from rig.podman import Podman, offenders_in
from rig.reaping import PatientNode, agent_that

# PID 1 becomes a program that never waits, if it is not an init. The orphan tells its PID.
ORPHAN = "sh -c 'sleep 0.1 & echo $! >/orphan'; exec /bin/sleep 1000"
UNIQUE = f"/zombie-reaper-{os.getpid()}"
WAYS = [("docker", False), ("docker", True), ("podman", False), ("podman", True)]


class Container(namedtuple("Container", ("engine", "name", "id"))):
    """engine: :class:`Engines`."""

    __slots__ = ()

    def state(self) -> dict:
        """What its engine says of it: whether it runs, its PID in the node, how often and when it
        was started.
        """
        if self.id in self.engine.docker.containers():
            return self.engine.docker.state(self.id)
        told = json.loads(self.engine.podman("inspect", self.id))[0]
        return {
            "running": told["State"]["Running"],
            "pid": told["State"]["Pid"],
            "restarts": told["RestartCount"],
            "started": told["State"]["StartedAt"],
        }

    def orphan(self) -> str:
        """What became of its orphan, as the container's own /proc shows: its state, ``Z`` for a
        zombie, or ``gone``.
        """
        root = self.root()
        orphan = wait_until(
            lambda: (root / "orphan").exists() and (root / "orphan").read_text().strip()
        )
        try:
            return (root / "proc" / orphan / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "gone"

    def root(self) -> Path:
        """Its root directory, as its PID 1 sees that."""
        return Path(f"/proc/{process_in(self.engine.node, self.state()['pid']).pid}/root")

    def orphan_becomes(self, state):
        wait_until(lambda: self.orphan() == state)


class Engines:
    """Docker and Podman in one node, their state where the node's own would have it."""

    def __init__(self, node, directory):
        self.node = node
        for name in ("docker", "podman"):
            (directory / name).mkdir()
        self.docker = Docker(node, directory / "docker", UNIQUE)
        self.podman = Podman(node, directory / "podman")
        storage = "/var/lib/containers/storage"
        done = node.run(
            "sh",
            "-c",
            "mkdir -p {1} && mount --bind {0}/root {1}".format(directory / "podman", storage),
        )
        assert done.returncode == 0, done.stderr

    def run(self, runtime, init=False, **host) -> Container:
        """Start a container that has an orphan. init: whether ``--init`` is given. host: as for
        Docker.run().
        """
        name = f"{runtime}-{uuid.uuid4().hex[:8]}"
        if runtime == "docker":
            return Container(
                self,
                name,
                self.docker.run(ORPHAN, name, **({"Init": True} if init else {}), **host),
            )
        flags = ["--init"] if init else []
        return Container(
            self,
            name,
            self.podman(
                "run",
                "--detach",
                "--network",
                "none",
                "--name",
                name,
                *flags,
                "busybox",
                "/bin/sh",
                "-c",
                ORPHAN,
            ),
        )

    def audit(self, *flags) -> dict:
        """Container name to row of the audit."""
        done = self.node.run(
            *self.node.agent_command(
                "--audit", "--json", *flags, code=agent_that(PATIENT_WITH_INITS)
            )
        )
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        assert told["counts"]["canaries_left"] == 0
        return {row["workload"]["container_name"]: row for row in told["containers"]}

    def remove_containers(self):
        self.docker.remove_containers()
        self.podman("rm", "--all", "--force", "--time", "0")

    def stop(self):
        self.docker.stop()
        assert self.node.run("umount", "/var/lib/containers/storage").returncode == 0
        self.podman.stop()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    node = PatientNode(tmp_path_factory.mktemp("engines"))
    short = Path(tempfile.mkdtemp(prefix="zr-"))  # podman refuses a directory with a long name
    started = None
    try:
        started = Engines(node, short)
        yield started
        started.stop()
    finally:
        node.stop()
        if started:
            started.docker.remove_cgroups()
        shutil.rmtree(short)


@pytest.fixture
def engines(both, tmp_path):
    """With no containers, and a sweep that remembers nothing."""
    both.node.run_directory = tmp_path / "run"
    yield both
    both.remove_containers()


@pytest.mark.parametrize("runtime, init", WAYS)
def test_an_orphan_is_there_without_an_init_and_gone_with_one(engines, runtime, init):
    container = engines.run(runtime, init)
    container.orphan_becomes("gone" if init else "Z")
    found = [
        entry["workload"]["container_name"] for entry in engines.node.sweep("--check")["offenders"]
    ]
    assert found == ([] if init else [container.name])


@pytest.mark.parametrize("flags", [[], ["--probe"]])
def test_the_audit_tells_which_is_which(engines, flags):
    """Without the probe by name: docker-init, catatonit, sleep."""
    containers = {(runtime, init): engines.run(runtime, init) for runtime, init in WAYS}
    for (_runtime, init), container in containers.items():
        container.orphan_becomes("gone" if init else "Z")
    rows = engines.audit(*flags)
    found = {
        way: (rows[container.name]["verdict"], rows[container.name]["zombies"])
        for way, container in containers.items()
    }
    assert found == {
        (runtime, init): ("reaps", 0) if init else ("leaks", 1) for runtime, init in WAYS
    }
    for row in rows.values():
        told = {each["by"]: each["verdict"] for each in row["evidence"]}
        assert told["canary" if flags else "name"] == row["verdict"]


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_a_zombie_is_placed_collected_and_its_container_goes_on(engines, runtime):
    container = engines.run(runtime)
    container.orphan_becomes("Z")
    before = container.state()
    result = engines.node.sweep(remedies="reap")
    (entry,) = offenders_in(result, container.id)
    told = {
        key: entry["workload"][key]
        for key in (
            "kind",
            "runtime",
            "container_name",
            "container_id",
            "pod_uid",
            "namespace",
            "lease",
        )
    }
    assert told == {
        "kind": "container",
        "runtime": runtime,
        "container_name": container.name,
        "container_id": container.id,
        "pod_uid": None,
        "namespace": None,
        "lease": None,
    }
    assert (entry["pid"], entry["outcome"], entry["pids"]["current"]) == (
        before["pid"],
        "cleared",
        2,
    )
    assert any(container.name in line for line in result["summary"])
    assert container.orphan() == "gone"
    assert container.state() == before
    assert (before["running"], before["restarts"]) == (True, 0)


def test_the_cgroup_that_docker_uses_if_nobody_says_otherwise(engines):
    """/docker/<id>: the engine of the rig is told otherwise, so that it does not mix with one of
    the machine's.
    """
    container = engines.run("docker", CgroupParent="/docker")
    container.orphan_becomes("Z")
    (entry,) = offenders_in(engines.node.sweep("--check"), container.id)
    assert entry["workload"]["cgroup"] == "/docker/" + container.id
    assert (entry["workload"]["runtime"], entry["workload"]["container_name"]) == (
        "docker",
        container.name,
    )


def test_the_name_is_found_where_docker_s_state_is_elsewhere(engines):
    """With "data-root" in daemon.json; files are read, the engine is not asked."""
    container = engines.run("docker")
    container.orphan_becomes("Z")
    script = (
        "mkdir -p /run/moved/containers/{0} && cp /var/lib/docker/containers/{0}/config.v2.json"
        " /run/moved/containers/{0}".format(container.id)
    )
    script += (
        ' && echo \'{"data-root": "/run/moved"}\' >/etc/docker/daemon.json && mount -t tmpfs tmpfs'
        " /var/lib/docker"
    )
    assert engines.node.run("sh", "-c", script).returncode == 0
    try:
        (entry,) = offenders_in(engines.node.sweep("--check"), container.id)
    finally:
        engines.node.run(
            "sh", "-c", "umount /var/lib/docker; rm -r /run/moved /etc/docker/daemon.json"
        )
    assert (entry["workload"]["runtime"], entry["workload"]["container_name"]) == (
        "docker",
        container.name,
    )


@pytest.fixture
def options(engines):
    """Docker's daemon.json, in the node. What a test has turned on there is off again after it."""
    path = "/etc/docker/daemon.json"
    yield path
    engines.docker.wait()
    engines.remove_containers()
    engines.node.run("rm", path)
    engines.docker.service("restart")


@pytest.mark.full
def test_docker_gives_an_init_to_all_once_the_playbook_has_turned_that_on(
    engines, options, tmp_path
):
    """Before: an orphan stays. The playbook alone ends nothing and says what is due. With the
    restart that it is asked for, orphans are gone: in new containers, and in the old one that
    Docker starts anew.
    """
    prevent = Playbook(engines.node, tmp_path, "prevent.yml")
    old = engines.run("docker", RestartPolicy={"Name": "always"})
    old.orphan_becomes("Z")
    before = old.state()

    turned_on = prevent()
    assert turned_on.succeeded, turned_on.text
    assert turned_on.recap["node1"]["changed"] == 1
    assert "only when it starts" in turned_on.text
    assert "a restart ends the containers" in turned_on.text
    assert f"docker {old.name}: sleep, zombies now: 1" in turned_on.text
    assert engines.node.run("cat", options).stdout == '{\n    "init": true\n}\n'
    engines.run("docker").orphan_becomes("Z")
    assert old.state() == before

    (
        old.root() / "orphan"
    ).unlink()  # so that the one of the restarted container is read below, and of no other
    # the file is right already, but a restart is due still
    restarted = prevent(zombie_reaper_restart_docker=True)
    assert restarted.succeeded, restarted.text
    assert restarted.recap["node1"]["changed"] == 1
    engines.docker.wait()
    wait_until(lambda: old.state()["running"])
    assert old.state()["started"] != before["started"]
    old.orphan_becomes("gone")
    engines.run("docker").orphan_becomes("gone")
    assert [row["verdict"] for row in engines.audit("--probe").values()] == ["reaps", "reaps"]
    assert [
        entry
        for entry in engines.node.sweep("--check")["offenders"]
        if entry["workload"]["kind"] == "container"
    ] == []

    nothing = prevent(zombie_reaper_restart_docker=True)
    assert nothing.recap["node1"]["changed"] == 0, nothing.text
    assert "2 containers on this node: 2 collect orphans, 0 leak" in nothing.text


def test_what_would_help_a_pod(engines, tmp_path):
    """Docker's containers in the cgroup of a pod, as cri-dockerd makes them."""
    uid = str(uuid.uuid4())
    container = engines.run("docker", CgroupParent=f"{UNIQUE}/pod{uid}")
    other = engines.run("podman")
    for each in (container, other):
        each.orphan_becomes("Z")
    script = (
        "mkdir -p /var/log/containers /var/log/pods/lease-1_web-0_{0} && touch"
        " /var/log/containers/{1}"
    )
    script = script.format(uid, f"web-0_lease-1_app-{container.id}.log")
    assert engines.node.run("sh", "-c", script).returncode == 0
    try:
        played = Playbook(engines.node, tmp_path, "prevent.yml")("--check")
    finally:
        engines.node.run("rm", "-r", "/var/log/containers", "/var/log/pods")
    assert played.succeeded, played.text
    in_pods = played.text.partition("TASK [Show where shareProcessNamespace would help]")[
        2
    ].partition("TASK")[0]
    elsewhere = played.text.partition("TASK [Show where an init would help]")[2].partition("TASK")[
        0
    ]
    assert "lease-1/web-0/app: sleep, zombies now: 1" in in_pods
    assert f"podman {other.name}: sleep, zombies now: 1" in elsewhere
    assert container.id not in played.text
