"""A real sweep that ends a container, or finds one that leaks, tells the pod's owner by an Event; and
no server keeps a sweep from what it has to do.

The API server is a stand-in (rig/api_server.py), and the kubelet's directories are made by hand.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from rig.api_server import HOST, KUBELET, ApiServer, Authority, Silent, kubeconfig
from rig.node import offender_of, wait_until
from rig.pods import UID, Kubelet
from rig.reaping import AS_LONG_AS_IT_TAKES, agent_that

from .test_modules import Ansible
from .test_termination_log import IDLE, LEAK, SAID

pytestmark = pytest.mark.all_cgroups

LEAKS_WHEN_ASKED = (
    "def leak(*_):\n    zombie()\nsignal.signal(signal.SIGUSR1, leak)\nzombie()\nready()\nforever()"
)
SECONDS = "from reaper import kubernetes_events; kubernetes_events.SECONDS = %r"


@pytest.fixture
def server(node, tmp_path):
    node.code = agent_that(SECONDS % 60.0)
    started = ApiServer(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def silent():
    started = Silent()
    yield started
    started.stop()


def sweep(node, path, **options) -> dict:
    return node.sweep("--kubernetes-events", str(path), **options)


def test_the_owner_of_a_pod_is_told_that_a_container_was_ended(node, pods, server):
    kubelet = Kubelet(node)
    program = pods.start(1, LEAK)
    result = sweep(node, server.kubeconfig(), remedies="terminate", max_parents=1)
    assert program.ends()
    assert result["warnings"] == []
    [event] = server.events
    assert server.clients == [KUBELET]
    assert event["reason"] == "ZombieParentEnded"
    involved = event["involvedObject"]
    assert (involved["namespace"], involved["name"], involved["uid"], involved["fieldPath"]) == (
        "lease-1",
        "web-1",
        UID % 1,
        "spec.containers{app}",
    )
    # the same words as in the termination log, after its time
    said = event["message"].replace("container app", "this container")
    assert SAID % 1 in said
    assert kubelet.log.read_text().partition(" ")[2] == said + "\n"


def test_the_owner_of_a_pod_is_told_that_it_leaks(node, pods, server):
    """Where the report says so, and not before."""
    Kubelet(node)
    program = pods.start(1, LEAKS_WHEN_ASKED)
    path = server.kubeconfig()
    sweep(node, path, remedies="reap")
    assert server.events == []
    for _round in range(2):
        program.process.send_signal(10)
        wait_until(program.zombies)
        entry = offender_of(sweep(node, path, remedies="reap"), program)
        assert entry["leaking_per_hour"] > 0
    assert [event["reason"] for event in server.events] == ["ZombiesLeaking"], "once"
    assert program.alive


@pytest.mark.parametrize("flags", [["--check"], ["--kubernetes-events", "off"]])
def test_nobody_is_told_by_a_look_or_where_it_is_off(node, pods, server, flags):
    Kubelet(node)
    pods.start(1, LEAK)
    path = server.kubeconfig()
    node.sweep("--kubernetes-events", str(path), *flags, remedies="terminate", max_parents=1)
    assert server.connections == 0


def test_the_configuration_switches_it_on(node, pods, server, tmp_path):
    Kubelet(node)
    pods.start(1, LEAK)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"kubernetes_events": str(server.kubeconfig()), "min_age": 0}))
    done = node.agent("--remedies", "terminate", "--max-parents", "1", config=config)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.events) == 1


def test_the_module_does_as_the_configuration_of_the_node_says(node, pods, server, tmp_path):
    Kubelet(node)
    ansible = Ansible(node, tmp_path)
    config = "/etc/zombie_reaper/config.json"  # of the node's own /etc
    said = json.dumps({"kubernetes_events": str(server.kubeconfig())})
    assert (
        node.run("sh", "-c", 'mkdir -p "${1%/*}" && echo "$0" >"$1"', said, config).returncode == 0
    )
    options = {"min_age": 0, "remedies": ["terminate"], "max_parents": 1}
    for number, (module, events) in enumerate((("zombie_info", 0), ("zombie_reap", 1))):
        pods.start(number + 1, LEAK)
        _status, result, _shown = ansible(f"provider.fleet.{module}", **options)
        assert len(server.events) == events
    assert "warnings" not in result


def test_a_failure_is_one_sentence_and_no_failed_sweep(node, pods, server):
    """Also in the file, for whoever reads that."""
    Kubelet(node)
    program = pods.start(1, LEAK)
    path = server.kubeconfig(authority=Authority().pem)
    result = sweep(node, path, remedies="terminate", max_parents=1)
    assert program.ends()
    [warning] = result["warnings"]
    assert warning.startswith("no Event about pod lease-1/web-1: ")
    assert json.loads((node.run_directory / "last.json").read_text())["warnings"] == [warning]
    assert server.events == []


def test_a_server_that_hangs_delays_nothing(node, pods, silent, tmp_path):
    """Neither a remedy, nor the report, nor another sweep."""
    lock = f"from reaper import files; files.LOCK_WAIT = {AS_LONG_AS_IT_TAKES}"
    node.code = agent_that(SECONDS % 600.0, lock)
    Kubelet(node)
    program = pods.start(1, LEAK)
    authority = Authority()
    certificate, key = authority.pair(KUBELET)
    path = kubeconfig(
        tmp_path / "kubelet.conf",
        f"https://{HOST}:{silent.port}",
        authority.pem,
        certificate,
        key,
    )
    command = node.agent_command(
        *("--kubernetes-events", str(path), "--remedies", "terminate", "--max-parents", "1"),
        *("--min-age", "0", "--textfile-directory", str(tmp_path)),
    )
    hanging = subprocess.Popen([*node.enter, *command], stdout=subprocess.PIPE, text=True)
    try:
        connection, _address = silent.accept()
        assert program.ends()
        report = json.loads((node.run_directory / "last.json").read_text())
        assert report["counts"]["parents_ended"] == 1
        ended = "zombie_reaper_workloads_ended_total 1\n"
        assert ended in (tmp_path / "zombie_reaper.prom").read_text()
        other = node.container(IDLE.replace("ready", "zombie(); ready", 1))
        result = sweep(node, path, remedies="reap")
        assert offender_of(result, other)["outcome"] == "cleared"
        assert hanging.poll() is None
        connection.close()
        said = hanging.communicate()[0]
    finally:
        hanging.kill()
        hanging.wait()
    assert hanging.returncode == 0
    assert f"warning: no Event about pod lease-1/web-1: https://{HOST}:{silent.port}: " in said
