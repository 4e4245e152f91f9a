"""podman with runc inside a node: real containers, with cgroups and the default seccomp profile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rig.kernel import OWN_MACHINE
from rig.node import CHECKOUT, wait_until


class Podman:
    """podman inside a node, with storage of its own and two images: busybox, and host, which shows
    the programs of this machine.
    """

    def __init__(self, node, directory):
        if OWN_MACHINE:
            pytest.skip("virtual machines have no podman")
        self.node = node
        self.directory = directory
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(CHECKOUT / "roles/zombie_reaper/molecule/containers.conf"),
        }
        self.command = ["podman", "--storage-driver", "vfs"]
        for name in ("root", "runroot", "tmpdir"):
            self.command += ["--" + name, str(directory / name)]
        image = directory / "image"
        (image / "bin").mkdir(parents=True)
        for name in ("sh", "sleep", "ps"):
            shutil.copy("/bin/busybox", image / "bin" / name)
        self._import(image, "busybox")

    def __call__(self, *arguments) -> str:
        done = self.node.run(*self.command, *arguments, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, script) -> str:
        """Start a container; its full id."""
        return self("run", "--detach", "--network", "none", "busybox", "/bin/sh", "-c", script)

    def import_host(self):
        """Make the image host: empty directories and links. :meth:`run_host` puts this machine's
        programs there.
        """
        image = self.directory / "host"
        for name in (
            "dev",
            "etc",
            "proc",
            "run/sshd",
            "sys",
            "tmp",
            "usr",
            "var/lib/nginx",
            "var/log",
        ):
            (image / name).mkdir(parents=True)
        (image / "tmp").chmod(0o1777)
        for name in ("bin", "lib", "lib64", "sbin"):
            (image / name).symlink_to("usr/" + name)
        self._import(image, "host")

    def run_host(self, script, directories) -> str:
        """Start a container that has this machine's programs; directories: path on this machine to path
        in the container.
        """
        shown = [
            Path("/usr"),
            Path("/etc/passwd"),
            Path("/etc/group"),
            Path("/etc/ld.so.cache"),
            Path("/etc/alternatives"),
            *Path("/etc").glob("java-*"),
        ]
        volumes = [f"{path}:{path}:ro" for path in shown] + [
            "%s:%s" % pair for pair in directories.items()
        ]
        return self(
            "run",
            "--detach",
            "--network",
            "none",
            *["--volume=" + volume for volume in volumes],
            "host",
            "/bin/sh",
            "-c",
            script,
        )

    def running(self) -> list:
        return json.loads(self("ps", "--no-trunc", "--format", "json"))

    def stop(self):
        """Remove its containers and its directory."""
        self("rm", "--all", "--force", "--time", "0")
        # its cleanup may still write
        wait_until(
            lambda: shutil.rmtree(self.directory, ignore_errors=True) or not self.directory.exists()
        )

    def _import(self, image, name):
        subprocess.run(["tar", "-C", image, "-cf", str(image) + ".tar", "."], check=True)
        self("import", str(image) + ".tar", name)


def offenders_in(result, container) -> list:
    """The entries of one container in a result. Processes of the engines themselves have zombies
    too at times, of which a sweep leaves them alone.
    """
    return [
        entry for entry in result["offenders"] if entry["workload"]["container_id"] == container
    ]
