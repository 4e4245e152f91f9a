"""Real containerds: this machine's, and those of other releases of Debian, unpacked beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rig import packages

HERE = "bookworm"
SUITES = ("trixie", "sid")  # 1.7, and the newest that Debian has

# As nvidia-ctk leaves it; kata is no runtime like runc
NVIDIA = """\
version = 2
# of the administrator
root = "/srv/containerd"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:3.9"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "nvidia" # for GPUs
    snapshotter = "overlayfs"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
        runtime_type = "io.containerd.runc.v2"
        pod_annotations = ["nvidia.com/*"]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
          BinaryName = "/usr/bin/nvidia-container-runtime"
          SystemdCgroup = true
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = true"""


def path(suite) -> str:
    """The program; the test is skipped where it cannot be had. suite: of Debian; None for the one
    of this machine.
    """
    if suite is None:
        return shutil.which("containerd") or pytest.skip("this machine has no containerd")
    return str(packages.program(tree(suite), "containerd"))


def tree(suite) -> Path:
    """Where it is unpacked, with its shims and both runtimes."""
    return packages.unpacked(suite, "containerd", "runc", "crun")


def crun() -> str:
    """Of this machine's release. It is not installed: Podman would prefer it."""
    return str(packages.program(packages.unpacked(HERE, "crun"), "crun"))
