"""podman with runc inside a node: real containers, with cgroups and the default seccomp profile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from rig.node import CHECKOUT, wait_until


class Podman:
    """podman inside a node, with storage of its own and one image: busybox."""

    def __init__(self, node, folder):
        self.node = node
        self.folder = folder
        self.environment = {**os.environ, "CONTAINERS_CONF": str(CHECKOUT / "molecule/containers.conf")}
        self.command = ["podman", "--storage-driver", "vfs"]
        for name in ("root", "runroot", "tmpdir"):
            self.command += ["--" + name, str(folder / name)]
        image = folder / "image"
        (image / "bin").mkdir(parents=True)
        for name in ("sh", "sleep", "ps"):
            shutil.copy("/bin/busybox", image / "bin" / name)
        subprocess.run(["tar", "-C", image, "-cf", folder / "image.tar", "."], check=True)
        self("import", str(folder / "image.tar"), "busybox")

    def __call__(self, *arguments) -> str:
        done = self.node.run(*self.command, *arguments, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, script) -> str:
        """Start a container; its full id."""
        return self("run", "--detach", "--network", "none", "busybox", "/bin/sh", "-c", script)

    def running(self) -> list:
        return json.loads(self("ps", "--no-trunc", "--format", "json"))

    def stop(self):
        """Remove all its containers and the folder."""
        self("rm", "--all", "--force", "--time", "0")
        wait_until(lambda: shutil.rmtree(self.folder, ignore_errors=True) or not self.folder.exists())  # its cleanup may still write
