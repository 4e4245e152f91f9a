"""A node with systemd, journald and cron: a container of Molecule's image, reached by ssh as Ansible
sees it.
"""

from __future__ import annotations

import os
import subprocess

from rig.node import CHECKOUT, wait_until

SUITE = "trixie"
CAPABILITIES = ("IPC_LOCK", "NET_ADMIN", "SYS_ADMIN", "SYS_NICE", "SYS_PTRACE")


class SystemdNode:
    """directory: for the program that Ansible takes for ssh. The node ends with :meth:`stop`."""

    def __init__(self, directory):
        self.name = f"fleet-node-of-test-{os.getpid()}"
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(CHECKOUT / "roles/zombie_reaper/molecule/containers.conf"),
        }
        image = self._of_machine(
            str(CHECKOUT / "roles/zombie_reaper/molecule/build_images.sh"), SUITE
        )
        self.ssh = directory / "ssh"
        # pipelined: the last word is the command, its input the module
        self.ssh.write_text(
            f'#!/bin/sh\nfor last; do :; done\nexec podman exec -i {self.name} sh -c "$last"\n',
            encoding="utf-8",
        )
        self.ssh.chmod(0o755)
        try:
            self._of_machine(
                "podman",
                "run",
                "--detach",
                f"--name={self.name}",
                "--hostname=node7",
                "--systemd=always",
                "--network=none",
                *[f"--cap-add={name}" for name in CAPABILITIES],
                "--security-opt=seccomp=unconfined",
                "--security-opt=apparmor=unconfined",
                f"{image}-{SUITE}",
                "/lib/systemd/systemd",
            )
            wait_until(
                lambda: (
                    self.run("systemctl is-system-running").stdout.strip()
                    in ("running", "degraded")
                ),
                180,
            )
        except BaseException:
            self.stop()
            raise

    def run(self, script):
        """Run shell commands in the node to their end, as root; the finished process."""
        command = ["podman", "exec", self.name, "bash", "-o", "pipefail", "-c", script]
        return subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @property
    def variables(self) -> dict:
        """Those of a host in Ansible's inventory that is this node."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "node7.invalid",
            "ansible_ssh_executable": str(self.ssh),
            "ansible_ssh_args": "",
            "ansible_ssh_transfer_method": "piped",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": False,
        }

    def stop(self):
        self._of_machine("podman", "rm", "--force", "--ignore", "--time=0", self.name)

    def _of_machine(self, *command) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()
