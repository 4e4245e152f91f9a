"""Real containerds: this machine's, and those of other releases of Debian, unpacked beside it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from rig.node import CHECKOUT

SUITES = ("trixie", "sid")  # 1.7, and the newest that Debian has
MIRROR = "http://deb.debian.org/debian"
CACHE = CHECKOUT / ".cache/test/containerd"

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
    program = CACHE / suite / "root/usr/bin/containerd"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for tests side by side
        if not program.exists():
            _unpack(suite)
    return str(program)


def _unpack(suite):
    """apt with lists of its own: this machine's know nothing of it."""
    directory = CACHE / suite
    for name in ("lists/partial", "archives/partial"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "sources.list").write_text(f"deb {MIRROR} {suite} main\n")
    apt = ["apt-get", "-q"]
    for option, value in {
        "Dir::Etc::sourcelist": directory / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache": directory,
        "APT::Sandbox::User": "root",
    }.items():
        apt += ["-o", f"{option}={value}"]
    for words in (["update"], ["download", "containerd"]):
        done = subprocess.run(
            [*apt, *words], cwd=directory, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"{suite}'s containerd cannot be had: {done.stderr[-300:]}")
    (package,) = Path(directory).glob("containerd_*.deb")
    subprocess.run(["dpkg", "-x", package, directory / "root"], check=True)
    for name in ("lists", "archives"):
        shutil.rmtree(directory / name)
    package.unlink()
