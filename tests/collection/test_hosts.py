"""Which hosts the playbooks are for: kube_node where the inventory has it, else all, or what
zombie_reaper_hosts says.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

WITH_GROUP = "[kube_node]\nnode1\n[kube_control_plane]\ncontrol1\n"
WITHOUT_GROUP = "web1\nweb2\n"
PLAYBOOKS = (
    "playbooks/site.yml",
    "playbooks/look.yml",
    "playbooks/sweep.yml",
    "playbooks/uninstall.yml",
    "playbooks/prevent.yml",
    "playbooks/audit.yml",
    "playbooks/report.yml",
)


@pytest.mark.parametrize(
    "inventory, arguments, hosts",
    [
        (WITH_GROUP, [], ["node1"]),
        (WITHOUT_GROUP, [], ["web1", "web2"]),
        (WITH_GROUP, ["-e", "zombie_reaper_hosts=kube_control_plane"], ["control1"]),
        # as AWX sends a question left blank
        (WITH_GROUP, ["-e", "zombie_reaper_hosts="], ["node1"]),
        (WITHOUT_GROUP, ["-e", "zombie_reaper_hosts="], ["web1", "web2"]),
        (WITH_GROUP, ["--limit", "control1"], []),
    ],
)
def test_hosts(root, bin, run, tmp_path, inventory, arguments, hosts):
    (tmp_path / "hosts").write_text(inventory, encoding="utf-8")
    done = run(
        bin / "ansible-playbook",
        *PLAYBOOKS,
        "-i",
        tmp_path / "hosts",
        "--list-hosts",
        *arguments,
        cwd=root,
        ANSIBLE_CONFIG=str(root / "ansible.cfg"),
    )
    listed = {}
    for text in done.stdout.split("\nplaybook: ")[1:]:
        listed[text.partition("\n")[0]] = sorted(
            re.findall(
                r"\S+",
                # of the first play; the second of report.yml is for the controller
                text.partition("hosts (")[2].partition("\n")[2].partition("  play #")[0],
            )
        )
    assert listed == dict.fromkeys(PLAYBOOKS, hosts)


def test_every_playbook_has_the_same_rule(root):
    """Ansible has no place for an expression that several plays use before their hosts are
    known.
    """
    rules = {}
    for path in sorted((root / "playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            if "zombie_reaper_hosts" in play.get("hosts", ""):
                rules.setdefault(play["hosts"], []).append(path.name)
    assert len(rules) == 1, rules
    assert {"report.yml", "sweep_alerted.yml", *(Path(name).name for name in PLAYBOOKS)} == set(
        *rules.values()
    )
