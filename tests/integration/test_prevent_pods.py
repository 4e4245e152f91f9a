"""Pods on a real containerd whose configuration has the handlers that give containers an init."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import (
    containerd,
    edits,
    in_use,
)
from rig.cri import Kubelet, started
from rig.init_runtime import InitRuntime
from rig.inits import process_in
from rig.node import Node, wait_until

pytestmark = pytest.mark.full


class PreventingKubelet(Kubelet):
    """Every handler of the rig has its counterpart, and the default is one of those."""

    def configure(self, config):
        programs = InitRuntime(self.directory / "programs")
        self.programs = str(programs.directory)
        scratch = self.directory / "scratch"
        scratch.mkdir()
        what = containerd.Installation("containerd", "/usr/bin/containerd", str(config), (), "")

        def run(words):
            done = self.node.run(*words)
            return done.returncode, done.stdout, done.stderr

        change = containerd.Containerd(what, run, str(scratch), self.programs).present(True)
        for handler in change.plan.handlers:
            assert str(programs.before(handler.binary, handler.name)) == handler.wrapper
        for path, text in change.files.items():
            edits.replace(path, text)
        self.added = {handler.name: handler.wraps for handler in change.plan.handlers}


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory):
    with started(Node(tmp_path_factory.mktemp("pods")), PreventingKubelet) as kubelet:
        yield kubelet


def bundle_of(kubelet, container) -> Path:
    return kubelet.directory / "state/io.containerd.runtime.v2.task/k8s.io" / container


def init_of(kubelet, container):
    """PID 1 of a container."""
    pid = (bundle_of(kubelet, container) / "init.pid").read_text()
    return process_in(kubelet.node, int(pid))


@pytest.fixture(autouse=True)
def remove_pods(kubelet):
    yield
    kubelet.remove_pods()


@pytest.mark.parametrize("handler, has_init", [("", True), ("init", True), ("cgroupfs", False)])
def test_a_pod_gets_an_init_by_its_handler_or_by_default(kubelet, handler, has_init):
    """The orphan is collected, or stays as a zombie of a program that never waits."""
    assert kubelet.added == {
        "init": "cgroupfs",
        "init-mixed": "mixed",
        "init-systemd": "systemd",
    }
    pod = kubelet.pod("lease-1", "web-0", handler=handler)
    container = pod.container("app", "sleep")
    init = init_of(kubelet, container)
    assert init.cmdline()[0] == ("/dev/zombie-reaper-init" if has_init else "/pod")
    pod.exec(container, "orphan")
    if has_init:
        wait_until(lambda: [child.cmdline() for child in init.children()] == [["/pod", "sleep"]])
    else:
        wait_until(lambda: [child.status() for child in init.children()] == ["zombie"])
    states = (str(kubelet.directory / "state"),)
    users = in_use.containers(kubelet.programs, states)
    assert users == (["lease-1/web-0"] if has_init else [])
    kubelet.remove_pods()
    assert in_use.containers(kubelet.programs, states) == []


def test_the_wrapped_settings_are_those_of_the_handler(kubelet):
    """Its program is run in the end: it makes the cgroup of the handler systemd."""
    pod = kubelet.pod("lease-1", "web-1", style="systemd", handler="init-systemd")
    container = pod.container("app", "sleep")
    cgroups = Path(f"/proc/{init_of(kubelet, container).pid}/cgroup").read_text()
    assert f"cri-containerd-{container}.scope" in cgroups
    runtime = (bundle_of(kubelet, container) / "runtime").read_text()
    assert runtime.startswith(kubelet.programs)
    kubelet.remove_pods()
