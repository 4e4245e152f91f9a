"""Pods on a real containerd, through its Container Runtime Interface, in a node of their own.

The rig plays the kubelet: it chooses the cgroups (one parent for each QoS class), makes the log folders and links in /var/log and
the files of the termination logs, and asks containerd for sandboxes and containers. Everything ends with the node, but for the cgroups,
which :meth:`Kubelet.stop` removes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import uuid
from pathlib import Path

import grpc

from rig.node import PYTHON, wait_until

IMAGE = "localhost/zombie-reaper-test:1"
PROGRAM = Path(__file__).with_name("pod.c")

# The overlay is mounted on a tmpfs: the folder below may be on an overlay itself, and those do not stack everywhere.
CONFIG = """
version = 2
root = "{folder}/disk/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "cgroupfs"
"""

HANDLER = """
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
        BinaryName = "{binary}"
"""

# In place of runc for the handlers "systemd" and "mixed". For a cgroup parent that is a slice containerd writes SLICE:cri-containerd:ID
# into config.json. With the systemd driver systemd makes of it the folders that the handler systemd makes here; runc with the cgroupfs
# driver takes it for a name, which the handler mixed keeps. Both below the top cgroup of the test.
RUNC = """
import json, os, sys
style, top, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
if "create" in arguments:
    path = os.path.join(arguments[arguments.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    name, prefix, container = config["linux"]["cgroupsPath"].split(":")
    parts = name[:-len(".slice")].split("-")
    slices = ["-".join(parts[:count + 1]) + ".slice" for count in range(len(parts))]
    systemd = [top, *slices, prefix + "-" + container + ".scope"]
    config["linux"]["cgroupsPath"] = "/".join(systemd if style == "systemd" else [top, ":".join([name, prefix, container])])
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *arguments])
"""


def cgroup_mounts() -> list:
    """Where cgroup hierarchies are mounted, of either version."""
    fields = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(field[1]) for field in fields if field[2] in ("cgroup", "cgroup2")]


def tar(path, files):
    """Write a tar archive; files: name to (content, mode)."""
    with tarfile.open(path, "w") as archive:
        for name, (content, mode) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))


def make_image(folder) -> Path:
    """The archive of an image with two names of one static program, as ``docker save`` would write it: /pause and /pod."""
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", folder / "pod", PROGRAM], check=True)
    program = (folder / "pod").read_bytes()
    layer = folder / "layer.tar"
    tar(layer, {"pause": (program, 0o755), "pod": (program, 0o755)})
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()]}}
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    tar(folder / "image.tar", {
        "manifest.json": (json.dumps(manifest).encode(), 0o644), "config.json": (json.dumps(config).encode(), 0o644),
        "layer.tar": (layer.read_bytes(), 0o644)})
    return folder / "image.tar"


class Kubelet:
    """containerd in a node, and what a kubelet does for its pods."""

    def __init__(self, node, folder):
        """folder: with a short name, for the sockets in it."""
        self.node = node
        self.folder = folder
        self.top = "/zombie-reaper-test-%d" % os.getpid()
        self.root = Path("/proc/%d/root" % node.init.process.pid)  # the node's file system
        self.pods = []
        (folder / "disk").mkdir()
        for command in (
                ["mount", "-t", "tmpfs", "tmpfs", "/run"], ["mount", "-t", "tmpfs", "tmpfs", "/var/log"],
                ["mount", "-t", "tmpfs", "tmpfs", str(folder / "disk")]):
            done = node.run(*command)  # in the mount namespace of the node only
            assert done.returncode == 0, done.stderr
        self.protos, services = grpc.protos_and_services("rig/cri.proto")
        image = make_image(folder)
        self._start_containerd()
        channel = grpc.insecure_channel("unix:%s/socket" % folder)
        self.channel = channel
        self.runtime, self.images = services.RuntimeServiceStub(channel), services.ImageServiceStub(channel)
        self._import(image)

    def _start_containerd(self):
        handlers = {"cgroupfs": "runc"}
        for style in ("systemd", "mixed"):
            script = self.folder / ("runc-" + style)
            script.write_text("#!/bin/sh\nexec %s -IS -c %s %s %s \"$@\"\n" % (PYTHON, shlex.quote(RUNC), style, self.top))
            script.chmod(0o755)
            handlers[style] = str(script)
        config = self.folder / "config.toml"
        config.write_text(
            CONFIG.format(folder=self.folder, image=IMAGE)
            + "".join(HANDLER.format(name=name, binary=binary) for name, binary in handlers.items()))
        self.node.command("sh", "-c", 'echo ready; exec containerd --config "$0" >"$1" 2>&1', str(config), str(self.folder / "log"))

    def _import(self, image):
        ctr = ["ctr", "--address", str(self.folder / "socket"), "--namespace", "k8s.io"]
        wait_until(lambda: self.node.run(*ctr, "version").returncode == 0)
        done = self.node.run(*ctr, "images", "import", str(image))
        assert done.returncode == 0, done.stderr
        request = self.protos.ImageStatusRequest(image={"image": IMAGE})
        wait_until(lambda: self.images.ImageStatus(request, timeout=20).image.id)

    def pod(self, namespace, name, **kwargs) -> Pod:
        made = Pod(self, namespace, name, **kwargs)
        self.pods.append(made)
        return made

    def remove_pods(self):
        while self.pods:
            self.pods.pop().remove()

    def stop(self):
        self.channel.close()
        self.node.stop()
        wait_until(self._remove_cgroups)
        shutil.rmtree(self.folder)

    def _remove_cgroups(self) -> bool:
        tops = [Path(str(mount) + self.top) for mount in cgroup_mounts()]
        for top in tops:
            for folder, _folders, _files in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    return False  # a process of it has not quite ended
        return not any(top.exists() for top in tops)


class Pod:
    """A pod with its sandbox."""

    def __init__(self, kubelet, namespace, name, qos="BestEffort", uid=None, pid="CONTAINER", style="cgroupfs", root="kubepods"):
        """pid: a NamespaceMode. style: of the cgroup paths. root: name of the cgroup of all pods."""
        self.kubelet = kubelet
        self.uid = uid or str(uuid.uuid4())
        self.log_name = "%s_%s_%s" % (namespace, name, self.uid)
        self.link_name = "%s_%s_%s-%s.log" % (name, namespace, "%s", "%s")
        self.attempts = {}
        self.namespaces = {"network": "NODE", "pid": pid}
        qos_part = {"Guaranteed": [], "Burstable": ["burstable"], "BestEffort": ["besteffort"]}[qos]
        if style == "cgroupfs":
            self.cgroup = "/".join([kubelet.top, root, *qos_part, "pod" + self.uid])
        else:
            self.cgroup = "/" + "-".join([root, *qos_part, "pod" + self.uid.replace("-", "_")]) + ".slice"
        (kubelet.root / "var/log/pods" / self.log_name).mkdir(parents=True)
        self.config = kubelet.protos.PodSandboxConfig(
            metadata={"name": name, "uid": self.uid, "namespace": namespace}, log_directory="/var/log/pods/" + self.log_name,
            linux={"cgroup_parent": self.cgroup, "security_context": {"namespace_options": self.namespaces}})
        request = kubelet.protos.RunPodSandboxRequest(config=self.config, runtime_handler=style)
        self.sandbox = kubelet.runtime.RunPodSandbox(request, timeout=60).pod_sandbox_id

    def start(self, name, *command, env=(), termination_log=None) -> str:
        """Start a container, or start it once more; its id, once it is ready."""
        attempt = self.attempts[name] = self.attempts.get(name, -1) + 1
        protos, root = self.kubelet.protos, self.kubelet.root
        log = root / "var/log/pods" / self.log_name / name / ("%d.log" % attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.termination_log = termination_log or self._make_termination_log(name, attempt)
        config = protos.ContainerConfig(
            metadata={"name": name, "attempt": attempt}, image={"image": IMAGE}, command=["/pod", *command],
            envs=[{"key": key, "value": value} for key, value in dict(env).items()], log_path="%s/%d.log" % (name, attempt),
            mounts=[{"container_path": "/dev/termination-log", "host_path": str(self.termination_log)}],
            linux={"security_context": {"namespace_options": self.namespaces, "seccomp": {}}})
        created = self.kubelet.runtime.CreateContainer(
            protos.CreateContainerRequest(pod_sandbox_id=self.sandbox, config=config, sandbox_config=self.config), timeout=60)
        links = root / "var/log/containers"
        links.mkdir(exist_ok=True)
        (links / (self.link_name % (name, created.container_id))).symlink_to("/var/log/pods/%s/%s/%d.log" % (self.log_name, name, attempt))
        self.kubelet.runtime.StartContainer(created, timeout=60)
        wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").endswith(" stdout F ready\n"))
        return created.container_id

    def _make_termination_log(self, name, attempt) -> Path:
        file = self.kubelet.folder / "pods" / self.uid / "containers" / name / str(attempt)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(0o666)
        return file

    def exec(self, container, *command):
        request = self.kubelet.protos.ExecSyncRequest(container_id=container, cmd=["/pod", *command], timeout=20)
        done = self.kubelet.runtime.ExecSync(request, timeout=60)
        assert done.exit_code == 0, done.stderr

    def status(self, container):
        """(name of its state, exit status, PID as the node counts)."""
        found = self.kubelet.runtime.ContainerStatus(
            self.kubelet.protos.ContainerStatusRequest(container_id=container, verbose=True), timeout=20)
        state = self.kubelet.protos.ContainerState.Name(found.status.state)
        return state, found.status.exit_code, json.loads(found.info["info"])["pid"]

    def remove(self):
        sandbox = self.kubelet.protos.SandboxId(pod_sandbox_id=self.sandbox)
        self.kubelet.runtime.StopPodSandbox(sandbox, timeout=60)
        self.kubelet.runtime.RemovePodSandbox(sandbox, timeout=60)
        shutil.rmtree(self.kubelet.root / "var/log/pods" / self.log_name, ignore_errors=True)
        for link in (self.kubelet.root / "var/log/containers").glob(self.link_name % ("*", "*")):
            link.unlink()
