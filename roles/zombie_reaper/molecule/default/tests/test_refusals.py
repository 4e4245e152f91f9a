"""A wrong option is refused with a message that names it, its value and what is allowed, and
nothing changes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[3]
NODE = "fleet-debian11"


def files(node):
    """Files with the time of their last change, without Python's caches, which come and go with the
    schedule.
    """
    return node.check_output(
        "find /etc /usr/local -type f ! -path '*/__pycache__/*' -printf '%p %m %C@\\n' | sort"
    )


@pytest.fixture(scope="module")
def node():
    return testinfra.get_host("podman://" + NODE)


WRONG = [
    ("min_age", -5, ["min_age: -5", "whole number of seconds"]),
    ("min_age", "soon", ["min_age", "soon", "int"]),
    ("remedies", ["nudge", "pray"], ["remedies", "pray", "reap, nudge, terminate"]),
    ("protect", ["^/usr", "(mysql"], ["protect", "(mysql", "regular expression"]),
    ("pressure", 1.5, ["pressure", "1.5", "from 0 to 1"]),
    (
        "min_usage",
        0.5,
        ["zombie_reaper_min_usage: this option was removed; use zombie_reaper_pressure"],
    ),
    (
        "remedys",
        "none",
        ["zombie_reaper_remedys: there is no such variable; did you mean zombie_reaper_remedies?"],
    ),
    ("every_minutes", 7, ["every_minutes", "7", "10, 12, 15"]),
    ("schedule", "hourly", ["schedule", "hourly", "cron, timer, daemon"]),
    ("interval", 0, ["interval: 0", "whole number of seconds, from 1 to 3600"]),
]


def apply(directory, *options):
    """Apply the role to one node, which appears as a separate host for each of the options (a name
    and a value each), and return the output.
    """
    hosts = {
        f"node{number}": {"ansible_host": NODE, "zombie_reaper_" + name: value}
        for number, (name, value) in enumerate(options)
    }
    (directory / "hosts.json").write_text(
        json.dumps({"kube_node": {"hosts": hosts}}), encoding="utf-8"
    )
    command = [
        "ansible-playbook",
        "--inventory",
        SCENARIO / "inventory",
        "--inventory",
        directory / "hosts.json",
        "--limit",
        ",".join(hosts),
    ]
    return subprocess.run(
        [*command, ROOT / "playbooks/site.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def errors(text) -> dict:
    """The error of each host, as one line."""
    found = re.findall(r"^fatal: \[(\w+)\]: FAILED! =>(.*?)(?=^\w+: \[|^$)", text, re.M | re.S)
    return {host: " ".join(error.split()) for host, error in found}


def test_wrong_options(node, tmp_path):
    before = files(node)
    done = apply(tmp_path, *((name, value) for name, value, _words in WRONG))
    assert done.returncode == 2, done.stdout
    told = errors(done.stdout)
    for number, (_name, _value, words) in enumerate(WRONG):
        assert not [word for word in words if word not in told[f"node{number}"]], told[
            f"node{number}"
        ]
    assert done.stdout.count("changed=0") == len(WRONG), done.stdout
    assert files(node) == before


def test_limit_that_is_read_only(node, tmp_path):
    pid_max = int(node.check_output("cat /proc/sys/kernel/pid_max"))
    if pid_max >= 4194304:
        pytest.skip("kernel.pid_max is at its highest here")
    before = files(node)
    done = apply(tmp_path, ("manage_sysctl", "true"))
    assert done.returncode == 2, done.stdout
    assert (
        "kernel.pid_max is %d and cannot be raised to 4194304 on this node" % pid_max
        in " ".join(done.stdout.split())
    )
    assert files(node) == before
