"""ansible-playbook inside a node, which is each of its hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from rig.node import CHECKOUT

PROGRAM = os.environ.get(
    "REAPER_ANSIBLE_PLAYBOOK", str(Path(sys.executable).parent / "ansible-playbook")
)


class Played:
    """What came of it. succeeded: on all hosts; recap: ``{host: {"changed": 1, ...}}``; text: all
    that was printed.
    """

    def __init__(self, done):
        self.succeeded = done.returncode == 0
        self.text = done.stdout + done.stderr
        self.recap = {}
        for line in self.text.partition("PLAY RECAP")[2].splitlines()[1:]:
            host, colon, counts = line.partition(":")
            if colon and " ok=" in counts:
                self.recap[host.strip()] = {
                    name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", counts)
                }

    def error(self, host) -> str:
        """The one error of a host, in one line."""
        (told,) = re.findall(
            rf"^fatal: \[{re.escape(host)}\]: FAILED! =>(.*?)^$", self.text, re.M | re.S
        )
        return " ".join(told.split())


class Here:
    """Where a playbook is played: on this machine."""

    @staticmethod
    def run(*command, **kwargs):
        return subprocess.run(command, check=False, capture_output=True, text=True, **kwargs)


class Playbook:
    """One playbook of the collection; directory: for Ansible's own files; seconds: how long it may
    take.
    """

    def __init__(self, node, directory, name, seconds=600):
        self.node = node
        self.seconds = seconds
        self.path = CHECKOUT / "playbooks" / name
        self.inventory = directory / "inventory.json"
        self.environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
            "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        }

    def __call__(self, *flags, hosts=None, **variables) -> Played:
        """Play it. hosts: ``{name: {variable: value}}``; variables: of all of them, as with ``-e``;
        None for one that the hosts have themselves.
        """
        self.inventory.write_text(
            json.dumps({"all": {"hosts": hosts or {"node1": {}}}}), encoding="utf-8"
        )
        variables = {
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            **variables,
        }
        variables = {name: value for name, value in variables.items() if value is not None}
        command = [
            PROGRAM,
            "-i",
            str(self.inventory),
            "-c",
            "local",
            "-e",
            json.dumps(variables),
            str(self.path),
            *flags,
        ]
        return Played(
            self.node.run(
                *command, env=self.environment, stdin=subprocess.DEVNULL, timeout=self.seconds
            )
        )
