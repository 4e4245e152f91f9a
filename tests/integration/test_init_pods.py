"""Pods on a real containerd whose runtime handler gives containers an init, beside pods of the bare
runtime.
"""

from __future__ import annotations

import json
import shutil
import uuid

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import bundle
from rig.cri import Kubelet, started
from rig.init_runtime import InitRuntime
from rig.node import wait_until
from rig.reaping import PatientNode

pytestmark = pytest.mark.full

PROGRAM, INIT = ["/pod"], [bundle.MOUNT, "--", "/pod"]


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory):
    def make(node, directory):
        runtime = InitRuntime(directory / "init")
        return Kubelet(node, directory, {"init": runtime.before(shutil.which("runc"))})

    with started(PatientNode(tmp_path_factory.mktemp("cri")), make) as kubelet:
        yield kubelet


@pytest.fixture(autouse=True)
def remove_pods(kubelet):
    yield
    kubelet.remove_pods()


def command_of(kubelet, pod, container) -> list:
    """The command line of a container's PID 1."""
    file = kubelet.root / f"proc/{pod.state(container)[2]}/cmdline"
    return file.read_text(encoding="utf-8").rstrip("\0").split("\0")


def both(kubelet, **kwargs) -> dict:
    """A pod of the bare runtime and one of the handler."""
    return {
        handler: kubelet.pod("default", handler, handler=handler, **kwargs)
        for handler in ("cgroupfs", "init")
    }


KINDS = {
    "plain": {},
    "another user": {"run_as_user": {"value": 1000}},
    "read-only root": {"readonly_rootfs": True},
    "no new privileges": {"no_new_privs": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_has_an_init_before_its_command(kubelet, kind):
    """It starts and says that it is ready; what is executed in it exits as before."""
    pod = kubelet.pod("default", "init", handler="init")
    container = pod.container("main", "sleep", security=KINDS[kind])
    assert command_of(kubelet, pod, container) == [*INIT, "sleep"]
    pod.exec(container, "orphan")


def test_orphans_are_collected_and_children_of_the_program_are_not(kubelet):
    """Not so with the bare runtime."""
    zombies = {}
    for handler, pod in both(kubelet).items():
        sleeping, careless = (
            pod.container("sleeping", "sleep"),
            pod.container("careless", "leak", "2"),
        )
        for _count in range(5):
            pod.exec(sleeping, "orphan")
        zombies[handler] = [
            lambda pod=pod, container=container: zombies_in(kubelet, pod, container)
            for container in (sleeping, careless)
        ]
    wait_until(lambda: [count() for count in zombies["cgroupfs"]] == [5, 2])
    wait_until(lambda: [count() for count in zombies["init"]] == [0, 2])


def zombies_in(kubelet, pod, container) -> int:
    """Of its PID namespace, as the node sees it."""
    pid = pod.state(container)[2]
    script = (
        f'for file in /proc/[0-9]*; do [ "$(readlink $file/ns/pid)" = "$(readlink /proc/{pid}/ns/pid)" ]'
        " && grep -s '^State:.Z' $file/status; done; true"
    )
    done = kubelet.node.run("sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return len(done.stdout.splitlines())


def test_sigterm_ends_a_program_that_does_not_handle_it(kubelet):
    """With the bare runtime SIGKILL has to, at the end of the grace period."""
    for handler, pod in both(kubelet).items():
        container = pod.container("main", "sleep")
        pod.stop_container(container, 1 if handler == "cgroupfs" else 100)
        assert pod.state(container)[:2] == (
            "CONTAINER_EXITED",
            137 if handler == "cgroupfs" else 143,
        )


def test_exit_statuses_are_those_of_the_program(kubelet):
    for pod in both(kubelet).values():
        well = pod.container("well", "good", "0")
        pod.stop_container(well, 100)
        assert pod.state(well)[:2] == ("CONTAINER_EXITED", 0)


def test_an_exec_probe_says_what_it_said(kubelet):
    """It succeeds, or fails with its own status, and nothing of it is left in the container."""
    for pod in both(kubelet).values():
        container = pod.container("main", "sleep")
        for status in (0, 1, 7):
            pod.exec(container, "exit", str(status), status=status)
        wait_until(lambda pod=pod, container=container: zombies_in(kubelet, pod, container) == 0)


def test_lifecycle_hooks(kubelet):
    """postStart while the program runs; preStop, which may fail, before SIGTERM."""
    for pod in both(kubelet).values():
        container = pod.container("main", "good", "0")
        pod.exec(container, "exit", "0")
        pod.exec(container, "exit", "3", status=3)
        assert pod.state(container)[0] == "CONTAINER_RUNNING"
        pod.stop_container(container, 100)
        assert pod.state(container)[:2] == ("CONTAINER_EXITED", 0)


def test_an_init_container_ends_before_the_others_start(kubelet):
    """Also with a failure, after which the kubelet tries again."""
    for handler, pod in both(kubelet).items():
        for status in (3, 0):
            setup = pod.container("setup", "exit", str(status))
            wait_until(
                lambda pod=pod, setup=setup, status=status: (
                    pod.state(setup)[:2] == ("CONTAINER_EXITED", status)
                )
            )
        main = pod.container("main", "sleep")
        assert command_of(kubelet, pod, main) == [
            *(INIT if handler == "init" else PROGRAM),
            "sleep",
        ]


def test_a_sidecar_has_an_init_of_its_own(kubelet):
    """It goes on when the other container ends, and is stopped after that."""
    pod = kubelet.pod("default", "init", handler="init")
    sidecar, main = pod.container("sidecar", "sleep"), pod.container("main", "good", "0")
    assert command_of(kubelet, pod, sidecar) == [*INIT, "sleep"]
    assert command_of(kubelet, pod, main) == [*INIT, "good", "0"]
    pod.stop_container(main, 100)
    assert pod.state(main)[:2] == ("CONTAINER_EXITED", 0)
    pod.exec(sidecar, "orphan")
    wait_until(lambda: zombies_in(kubelet, pod, sidecar) == 0)
    pod.stop_container(sidecar, 100)
    assert pod.state(sidecar)[:2] == ("CONTAINER_EXITED", 143)


def test_a_static_pod(kubelet):
    """Its UID is a hash, without dashes, and annotations say where it is from."""
    pod = kubelet.pod(
        "kube-system",
        "etcd-node7",
        handler="init",
        uid=uuid.uuid4().hex,
        annotations={"kubernetes.io/config.source": "file"},
    )
    container = pod.container("etcd", "sleep")
    assert command_of(kubelet, pod, container) == [*INIT, "sleep"]
    pod.exec(container, "orphan")
    wait_until(lambda: zombies_in(kubelet, pod, container) == 0)


def test_an_init_that_is_there_stays_the_only_one(kubelet):
    pod = kubelet.pod("default", "init", handler="init")
    container = pod.container("main", "sleep", before=("/tini", "--"))
    assert command_of(kubelet, pod, container) == ["/tini", "--", "/pod", "sleep"]


@pytest.mark.parametrize("pid", ["POD", "NODE"])
def test_where_pid_1_is_of_another_there_is_none(kubelet, pid):
    """shareProcessNamespace, hostPID; and never in a sandbox."""
    pod = kubelet.pod("default", "init", handler="init", pid=pid)
    container = pod.container("main", "sleep")
    assert command_of(kubelet, pod, container) == [*PROGRAM, "sleep"]
    done = kubelet.node.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "/pause" in done.stdout
    assert bundle.MOUNT not in done.stdout


def test_a_debugger_joins_the_init_of_its_target(kubelet):
    pod = kubelet.pod("default", "init", handler="init")
    target = pod.container("main", "sleep")
    debugger = pod.container("debugger", "sleep", target=target)
    assert command_of(kubelet, pod, debugger) == [*PROGRAM, "sleep"]
    assert command_of(kubelet, pod, target) == [*INIT, "sleep"]


def test_a_pod_opts_out(kubelet):
    pod = kubelet.pod(
        "default", "init", handler="init", annotations={"provider.fleet/init": "false"}
    )
    container = pod.container("main", "sleep")
    assert command_of(kubelet, pod, container) == [*PROGRAM, "sleep"]


def test_the_audit_knows_the_init(kubelet):
    pod = kubelet.pod("default", "init", handler="init")
    container = pod.container("main", "sleep")
    done = kubelet.node.run(*kubelet.node.agent_command("--audit", "--json"))
    rows = [
        line
        for line in json.loads(done.stdout)["containers"]
        if line["workload"]["container_id"] == container
    ]
    assert [row["verdict"] for row in rows] == ["reaps"]
