"""A containerd where that of a node is, as its service: the product finds it, and starts it anew."""

from __future__ import annotations

from pathlib import Path

from rig import containerds, packages
from rig.cri import Kubelet
from rig.service import Service

PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")


class ServedKubelet(Kubelet):
    """With the handlers cgroupfs, which is runc and the default, and crun.

    suite: of Debian that containerd, its shims and both runtimes are of; None for this machine's,
    with the crun of its release.
    """

    styles = ()

    def __init__(self, node, directory, suite):
        super().__init__(node, directory, {"crun": "crun"})
        self.suite = suite
        programs = {"crun": Path(containerds.crun())}
        if suite:
            tree = containerds.tree(suite)
            programs = {name: packages.program(tree, name) for name in (*PROGRAMS, "crun")}
        for name, path in programs.items():
            # before this machine's in PATH, and where the product looks first
            self.in_node(f"/usr/local/bin/{name}").symlink_to(path)
        self.in_node("/var/lib/kubelet").mkdir(exist_ok=True)
        self.service = Service(
            node, "containerd", ["containerd", "--config", self.config], directory / "log"
        )

    def places(self):
        return Path("/run/containerd/containerd.sock"), Path("/etc/containerd/config.toml")

    def start_containerd(self):
        self.service("start")
