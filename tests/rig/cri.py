"""Pods on a real containerd, through its Container Runtime Interface, in a node of their own.

The rig plays the kubelet: it chooses the cgroups (one parent for each QoS class), makes the log
directories and links in /var/log and the files of the termination logs in /var/lib/kubelet, and asks
containerd for sandboxes and containers. Everything ends with the node, but for the cgroups, which
:meth:`Kubelet.stop` removes.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from pathlib import Path

import grpc
import pytest

from rig.node import PYTHON, wait_until

IMAGE = "localhost/zombie-reaper-test:1"
PROGRAM = Path(__file__).with_name("pod.c")
TINI = Path("/usr/bin/tini-static")
TIMEOUT = 120  # seconds, for each answer of containerd

# disk is a tmpfs: where the machine is a container the directory may be on an overlay, and overlays do
# not stack everywhere.
CONFIG = """
version = 2
root = "{directory}/disk/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{directory}/cni"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "cgroupfs"
"""

HANDLER = """
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"
      pod_annotations = ["provider.fleet/*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
        BinaryName = "{binary}"
"""

# In place of runc for the handlers "systemd" and "mixed". For a cgroup parent that is a slice
# containerd writes SLICE:cri-containerd:ID into config.json. With the systemd driver systemd makes
# of it the directories that the handler systemd makes here; runc with the cgroupfs driver takes it for
# a name, which the handler mixed keeps. Both below the top cgroup of the test.
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
    fields = [
        line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    ]
    return [Path(field[1]) for field in fields if field[2] in ("cgroup", "cgroup2")]


def tar(path, files):
    """Write a tar archive; files: name to (content, mode)."""
    with tarfile.open(path, "w") as archive:
        for name, (content, mode) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))


def make_image(directory) -> Path:
    """The archive of an image with two names of one static program, as ``docker save`` would write
    it: /pause and /pod; and with /tini, this machine's.
    """
    subprocess.run(
        [
            "gcc",
            "-static",
            "-Os",
            "-s",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            directory / "pod",
            PROGRAM,
        ],
        check=True,
    )
    program = (directory / "pod").read_bytes()
    layer = directory / "layer.tar"
    tar(
        layer,
        {"pause": (program, 0o755), "pod": (program, 0o755), "tini": (TINI.read_bytes(), 0o755)},
    )
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()],
        },
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    tar(
        directory / "image.tar",
        {
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
            "config.json": (json.dumps(config).encode(), 0o644),
            "layer.tar": (layer.read_bytes(), 0o644),
        },
    )
    return directory / "image.tar"


@contextlib.contextmanager
def started(node, make=None):
    """A :class:`Kubelet` that runs; what ``make(node, directory)`` returns, if that is given. Node and
    directory are gone afterwards.
    """
    if not cgroup_mounts():
        node.stop()
        pytest.skip("no cgroup hierarchy is mounted on this machine where a cgroup could be made")
    directory = Path(tempfile.mkdtemp(prefix="zr-"))
    directory.chmod(0o755)  # all have to reach the init of a runtime in it
    kubelet = (make or Kubelet)(node, directory)
    try:
        kubelet.start()
        yield kubelet
    finally:
        kubelet.stop()


class Kubelet:
    """containerd in a node, and what a kubelet does for its pods."""

    styles: tuple[str, ...] = ("systemd", "mixed")  # of the names of cgroups, beside cgroupfs

    def __init__(self, node, directory, handlers=None):
        """directory: with a short name, for the sockets in it. handlers: name to path of more
        runtimes.
        """
        self.handlers = handlers or {}
        self.node = node
        self.directory = directory
        # in the node
        self.socket, self.config = self.places()
        self.top = f"/zombie-reaper-test-{os.getpid()}"
        # the file system as the node sees it
        self.root = Path(f"/proc/{node.init.process.pid}/root")
        self.pods = []
        self.channel = grpc.insecure_channel(
            f"unix:{self.root}{self.socket}", [("grpc.max_reconnect_backoff_ms", 500)]
        )
        self.protos, services = grpc.protos_and_services("rig/cri.proto")
        self.runtime, self.images = (
            services.RuntimeServiceStub(self.channel),
            services.ImageServiceStub(self.channel),
        )

    def start(self):
        disk = self.directory / "disk"
        disk.mkdir()
        # in the mount namespace of the node only
        done = self.node.run("mount", "-t", "tmpfs", "tmpfs", str(disk))
        assert done.returncode == 0, done.stderr
        for name in ("pods", "containers"):
            (self.root / "var/log" / name).mkdir()
        self._write_configuration()
        self.start_containerd()
        self._import(make_image(self.directory))

    def places(self):
        """Socket and configuration of containerd, as paths in the node."""
        return self.directory / "socket", self.directory / "config.toml"

    def _write_configuration(self):
        handlers = {"cgroupfs": "runc", **self.handlers}
        for style in self.styles:
            script = self.directory / ("runc-" + style)
            script.write_text(
                f'#!/bin/sh\nexec {PYTHON} -IS -c {shlex.quote(RUNC)} {style} {self.top} "$@"\n'
            )
            script.chmod(0o755)
            handlers[style] = str(script)
        config = self.in_node(self.config)
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            CONFIG.format(directory=self.directory, socket=self.socket, image=IMAGE)
            + "".join(HANDLER.format(name=name, binary=binary) for name, binary in handlers.items())
        )
        self.configure(self.config)

    def start_containerd(self):
        self.node.command(
            "sh",
            "-c",
            'echo ready; exec containerd --config "$0" >"$1" 2>&1',
            str(self.config),
            str(self.directory / "log"),
        )

    def in_node(self, path) -> Path:
        """Where a path of the node is to be seen from outside."""
        return self.root / str(path).lstrip("/")

    def configure(self, config):
        """What a test changes in containerd's configuration before it is started."""

    def _import(self, image):
        ctr = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]
        wait_until(lambda: self.node.run(*ctr, "version").returncode == 0)
        done = self.node.run(*ctr, "images", "import", str(image))
        assert done.returncode == 0, done.stderr
        self.wait()

    def wait(self):
        """Until containerd answers, and its CRI plugin has heard of the image, a moment later."""
        request = self.protos.ImageStatusRequest(image={"image": IMAGE})

        def has_image():
            try:
                return self.images.ImageStatus(request, timeout=TIMEOUT).image.id
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return ""

        wait_until(has_image)

    def pod(self, namespace, name, **kwargs) -> Pod:
        """Run a pod without containers; kwargs: of :class:`Pod`."""
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
        shutil.rmtree(self.directory)

    def _remove_cgroups(self) -> bool:
        tops = [Path(str(mount) + self.top) for mount in cgroup_mounts()]
        for top in tops:
            for directory, _directories, _files in os.walk(top, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError:
                    return False  # a process in it has not quite ended
        return not any(top.exists() for top in tops)


class Pod:
    """A pod: its sandbox, its log directory, its cgroup."""

    def __init__(
        self,
        kubelet,
        namespace,
        name,
        qos="BestEffort",
        uid=None,
        pid="CONTAINER",
        style="cgroupfs",
        prefix="",
        handler=None,
        annotations=(),
    ):
        """pid: a NamespaceMode of CRI. style: how its cgroups are named. prefix: before the name of
        the topmost slice. handler: the runtime, if it is not that of the style; empty
        for the default.
        """
        self.kubelet = kubelet
        self.namespace, self.name, self.uid = namespace, name, uid or str(uuid.uuid4())
        self.starts = collections.Counter()
        self.namespaces = {"network": "NODE", "pid": pid}
        parts = {
            "Guaranteed": ["kubepods"],
            "Burstable": ["kubepods", "burstable"],
            "BestEffort": ["kubepods", "besteffort"],
        }[qos]
        if style == "cgroupfs":
            self.cgroup = "/".join([kubelet.top, *parts, "pod" + self.uid])
        else:
            self.cgroup = f"{prefix}{'-'.join(parts)}-pod{self.uid.replace('-', '_')}.slice"
        self.logs = Path(f"/var/log/pods/{namespace}_{name}_{self.uid}")  # in the node
        self.kubelet.in_node(self.logs).mkdir()
        self.config = kubelet.protos.PodSandboxConfig(
            metadata={"name": name, "uid": self.uid, "namespace": namespace},
            log_directory=str(self.logs),
            annotations=dict(annotations),
            linux={
                "cgroup_parent": self.cgroup,
                "security_context": {"namespace_options": self.namespaces},
            },
        )
        request = kubelet.protos.RunPodSandboxRequest(
            config=self.config, runtime_handler=style if handler is None else handler
        )
        self.sandbox = kubelet.runtime.RunPodSandbox(request, timeout=TIMEOUT).pod_sandbox_id

    def container(
        self,
        name,
        *command,
        env=(),
        termination_log="/dev/termination-log",
        target=None,
        before=(),
        security=(),
    ) -> str:
        """Start a container, or the next one of that name; its id, once it is ready.

        termination_log: where it is mounted, its ``terminationMessagePath``; None for not at all.
        target: the container whose PID namespace it joins, as ``kubectl debug`` has it. before:
        words before its command. security: more of its security context.
        """
        attempt = self.starts[name]
        self.starts[name] += 1
        protos = self.kubelet.protos
        log = self.logs / name / (f"{attempt}.log")
        self.kubelet.in_node(log.parent).mkdir(exist_ok=True)
        namespaces = (
            {**self.namespaces, "pid": "TARGET", "target_id": target} if target else self.namespaces
        )
        mounts = (
            [{"container_path": termination_log, "host_path": self._make_termination_log(name)}]
            if termination_log
            else []
        )
        config = protos.ContainerConfig(
            metadata={"name": name, "attempt": attempt},
            image={"image": IMAGE},
            command=[*before, "/pod", *command],
            envs=[{"key": key, "value": value} for key, value in dict(env).items()],
            mounts=mounts,
            log_path=str(log.relative_to(self.logs)),
            linux={
                "security_context": {
                    "namespace_options": namespaces,
                    "seccomp": {},
                    **dict(security),
                }
            },
        )
        request = protos.CreateContainerRequest(
            pod_sandbox_id=self.sandbox, config=config, sandbox_config=self.config
        )
        created = self.kubelet.runtime.CreateContainer(request, timeout=TIMEOUT)
        link = f"/var/log/containers/{self.name}_{self.namespace}_{name}-{created.container_id}.log"
        self.kubelet.in_node(link).symlink_to(log)
        self.kubelet.runtime.StartContainer(created, timeout=TIMEOUT)
        wait_until(
            lambda: (
                self.kubelet.in_node(log).read_text(encoding="utf-8").endswith(" stdout F ready\n")
            )
        )
        return created.container_id

    def termination_log(self, name) -> Path:
        """The file of the container that was started last under that name."""
        return self.kubelet.in_node(
            f"/var/lib/kubelet/pods/{self.uid}/containers/{name}/{self.starts[name] - 1:08x}"
        )

    def _make_termination_log(self, name) -> str:
        """As the kubelet does; the path in the node."""
        file = self.termination_log(name)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        file.touch()
        file.chmod(0o666)
        return "/" + str(file.relative_to(self.kubelet.root))

    def exec(self, container, *command, status=0):
        """Run the program once more in a container, to its end, as probes and lifecycle hooks do."""
        request = self.kubelet.protos.ExecSyncRequest(
            container_id=container, cmd=["/pod", *command], timeout=TIMEOUT
        )
        done = self.kubelet.runtime.ExecSync(request, timeout=TIMEOUT)
        assert done.exit_code == status, done

    def state(self, container) -> tuple:
        """(state, exit status, PID as the node counts, 0 when it has ended) of a container, as
        containerd sees it.
        """
        request = self.kubelet.protos.ContainerStatusRequest(container_id=container, verbose=True)
        found = self.kubelet.runtime.ContainerStatus(request, timeout=TIMEOUT)
        state = self.kubelet.protos.ContainerState.Name(found.status.state)
        return state, found.status.exit_code, json.loads(found.info["info"])["pid"]

    def stop_container(self, container, seconds):
        """As when the pod is deleted: SIGTERM, and SIGKILL when the grace period is over."""
        request = self.kubelet.protos.StopContainerRequest(container_id=container, timeout=seconds)
        self.kubelet.runtime.StopContainer(request, timeout=TIMEOUT)

    def limit_pids(self, most):
        """Set pids.max of its cgroup (of style cgroupfs), as the kubelet does with podPidsLimit."""
        (file,) = [
            file
            for mount in cgroup_mounts()
            for file in [Path(str(mount) + self.cgroup) / "pids.max"]
            if file.exists()
        ]
        file.write_text(str(most))

    def forget_logs(self):
        """Remove what names it in /var/log."""
        shutil.rmtree(self.kubelet.in_node(self.logs), ignore_errors=True)
        for link in self.kubelet.in_node("/var/log/containers").glob(
            f"{self.name}_{self.namespace}_*.log"
        ):
            link.unlink()

    def remove(self):
        sandbox = self.kubelet.protos.SandboxId(pod_sandbox_id=self.sandbox)
        refusals = []

        def is_stopped():
            try:
                self.kubelet.runtime.StopPodSandbox(sandbox, timeout=TIMEOUT)
            except grpc.RpcError as refusal:
                # one of its containers is just ending by itself ("ttrpc: closed"); a kubelet asks
                # again too
                refusals.append(refusal)
                return False
            return True

        try:
            wait_until(is_stopped)
        except AssertionError:
            raise refusals[-1] from None
        self.kubelet.runtime.RemovePodSandbox(sandbox, timeout=TIMEOUT)
        self.forget_logs()
