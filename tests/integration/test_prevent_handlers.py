"""playbooks/prevent.yml on a node of Kubernetes: handlers for containerd, and all of it back. Which
configurations are changed how is in test_runtime_configuration.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rig.containerds import NVIDIA
from rig.node import Node
from rig.playbook import Playbook

CONFIG = "/etc/containerd/config.toml"
OURS = "/usr/local/lib/zombie_reaper_init"
BUNDLE = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0123456789ab"


@pytest.fixture
def played(tmp_path):
    node = Node(tmp_path)
    try:
        yield Nodes(node, tmp_path)
    finally:
        node.stop()


class Nodes:
    """The node, with a kubelet's directory and the configuration that nvidia-ctk makes."""

    def __init__(self, node, directory):
        self.node = node
        self.root = Path(f"/proc/{node.init.process.pid}/root")
        self.playbook = Playbook(node, directory, "prevent.yml")
        (self.root / "var/lib/kubelet").mkdir(exist_ok=True)
        self.path(CONFIG).write_text(NVIDIA)
        self.path(CONFIG).chmod(0o600)

    def path(self, path) -> Path:
        return self.root / path.lstrip("/")

    def __call__(self, *flags, **variables):
        return self.playbook(*flags, zombie_reaper_kubeconfig="/none", **variables)

    def everything(self):
        """All files of the runtimes and ours: content, owner, mode."""
        found = {}
        for top in ("/etc/containerd", "/etc/docker", "/usr/local/lib"):
            for place, _places, names in os.walk(self.path(top)):
                for name in names:
                    file = Path(place, name)
                    info = file.lstat()
                    found[str(file)] = (info.st_mode, info.st_uid, info.st_gid, file.read_bytes())
        return found

    def use(self):
        """A container that was started by a wrapper, as containerd's shim notes it."""
        self.path(BUNDLE).mkdir(parents=True)
        self.path(BUNDLE + "/runtime").write_text(OURS + "/runtimes/init/runc")
        names = {"namespace": "lease-1", "name": "web-\x1b[2J0"}
        annotations = {"io.kubernetes.cri.sandbox-" + key: value for key, value in names.items()}
        self.path(BUNDLE + "/config.json").write_text(json.dumps({"annotations": annotations}))


@pytest.mark.full
def test_handlers_come_and_go(played):
    before = played.everything()
    look = played("--check", "--diff")
    assert look.succeeded, look.text
    assert look.recap["node1"]["changed"] == 1
    assert '+[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.init-nvidia]' in look.text
    assert played.everything() == before

    first = played()
    assert first.succeeded, first.text
    assert first.recap["node1"]["changed"] == 1
    text = played.path(CONFIG).read_text()
    assert f'BinaryName = "{OURS}/runtimes/init-nvidia/nvidia-container-runtime"' in text
    assert "kata is no runtime like runc, so it gets no init" in first.text
    for words in ("kind: RuntimeClass", "name: init-nvidia", "kubectl apply -f - <<EOF"):
        assert words in first.text
    assert os.access(played.path(OURS + "/runtimes/init/runc"), os.X_OK)
    assert played.node.run(OURS + "/init", "--version").returncode == 0
    assert played().recap["node1"]["changed"] == 0
    played.path(OURS + "/init").write_bytes(b"")  # as after a power failure
    assert played().recap["node1"]["changed"] == 1
    assert played.node.run(OURS + "/init", "--version").returncode == 0

    as_default = played(zombie_reaper_default_init=True)
    assert as_default.recap["node1"]["changed"] == 1, as_default.text
    assert 'default_runtime_name = "init-nvidia"\n' in played.path(CONFIG).read_text()

    played.use()
    there = played.everything()
    refused = played(zombie_reaper_state="absent")
    told = refused.error("node1")
    assert "1 containers of this node were started with an init" in told
    assert r"lease-1/web-\x1b[2J0" in told and "kubectl drain" in told
    assert played.everything() == there

    played.path(BUNDLE + "/runtime").unlink()  # it has ended
    gone = played(zombie_reaper_state="absent")
    assert gone.succeeded, gone.text
    assert "kubectl delete runtimeclass init init-nvidia" in gone.text
    assert played.everything() == before
    assert played(zombie_reaper_state="absent").recap["node1"]["changed"] == 0


@pytest.mark.full
def test_uninstalling_takes_it_back_too(played, tmp_path):
    """Unless containers need it; the agent goes in any case."""
    before = played.everything()
    uninstall = Playbook(played.node, tmp_path, "uninstall.yml")
    assert played().succeeded
    agent = played.path("/usr/local/lib/zombie_reaper/cli.py")
    agent.parent.mkdir(exist_ok=True)
    agent.touch()

    wrong = uninstall(zombie_reaper_host="node7")
    assert not wrong.succeeded and "zombie_reaper_host" in wrong.text
    assert played.path(OURS).exists() and agent.exists()

    played.use()
    there = {path: file for path, file in played.everything().items() if path != str(agent)}
    kept = uninstall()
    assert kept.succeeded, kept.text
    assert "What prevent.yml did stays on this node" in kept.text
    assert r"lease-1/web-\x1b[2J0" in kept.text.replace(r"\\", "\\")
    assert not agent.exists()
    assert played.everything() == there

    played.path(BUNDLE + "/runtime").unlink()  # it has ended
    done = uninstall()
    assert done.succeeded, done.text
    assert "kubectl delete runtimeclass init init-nvidia" in done.text
    assert played.everything() == before
    again = uninstall()
    assert again.recap["node1"]["changed"] == 0, again.text


@pytest.mark.full
def test_programs_stay_until_the_runtime_has_been_restarted(played):
    """A containerd that runs still has the handlers, and starts pods with them."""
    socket = played.path("/run/containerd/containerd.sock")
    socket.parent.mkdir()
    socket.touch()
    before = played.everything()
    first = played()
    assert "containerd: the configuration is read only at the start" in first.text, first.text
    assert "zombie_reaper_restart_runtime=true" in first.text
    socket.touch()  # as at a start
    assert "is read only at the start" not in played().text

    assert played(zombie_reaper_state="absent").succeeded
    assert played.path(CONFIG).read_text() == NVIDIA
    assert played.path(OURS + "/runtimes/init/runc").exists()
    socket.touch()
    assert played(zombie_reaper_state="absent").succeeded
    assert played.everything() == before


@pytest.mark.full
def test_what_is_refused_changes_nothing(played):
    """Docker's options are not changed either where containerd's are broken."""
    played.path(CONFIG).write_text(NVIDIA + "\n[plugins")
    before = played.everything()
    told = played().error("node1")
    assert CONFIG in told and "] is missing" in told and "Nothing was changed on this node" in told
    assert played.everything() == before


@pytest.mark.full
def test_a_file_that_cannot_be_written_is_told_and_the_others_are_put_back(played):
    assert (
        played.node.run("mount", "--bind", CONFIG, CONFIG).returncode == 0
    )  # not to be renamed over
    before = played.path(CONFIG).read_bytes()
    docker = played.path("/etc/docker/daemon.json")
    told = played().error("node1")
    assert CONFIG in told and "cannot be written" in told
    assert played.path(CONFIG).read_bytes() == before and not docker.exists()


@pytest.mark.full
def test_without_a_kubelet_containerd_stays_as_it_is(played):
    (played.root / "var/lib/kubelet").rmdir()
    done = played()
    assert done.succeeded, done.text
    assert "There is no kubelet on this node" in done.text
    assert played.path(CONFIG).read_text() == NVIDIA
