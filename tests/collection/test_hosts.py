"""Which hosts the playbooks are for: kube_node where the inventory has it, else all, or what
zombie_reaper_hosts says. A run that reaches no node fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

WITH_GROUP = "[kube_node]\nnode1\n[kube_control_plane]\ncontrol1\n"
OLD_GROUP = "[kube-node]\nnode1\n[kube-master]\ncontrol1\n"
WITHOUT_GROUP = "web1\nweb2\n"
CHECK = "check_hosts.yml"
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
        (OLD_GROUP, [], ["node1"]),
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
        _check, play, *_for_the_controller = text.split("  play #")[1:]
        listed[text.partition("\n")[0]] = sorted(
            re.findall(r"\S+", play.partition("hosts (")[2].partition("\n")[2])
        )
    assert listed == dict.fromkeys(PLAYBOOKS, hosts)


def test_every_playbook_has_the_same_rule(root):
    """Ansible has no place for an expression that several plays use before their hosts are
    known.
    """
    rules = {}
    playbooks = root / "playbooks"
    for path in [*sorted(playbooks.glob("*.yml")), playbooks / "tasks" / CHECK]:
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            if "zombie_reaper_hosts" in play.get("hosts", ""):
                rules.setdefault(play["hosts"], []).append(path.name)
                assert CHECK in path.read_text(encoding="utf-8"), path
            elif path.name == CHECK:
                rules.setdefault(play["vars"]["__zombie_reaper_pattern"], []).append(path.name)
    assert len(rules) == 1, rules
    assert {CHECK, "sweep_alerted.yml", *(Path(name).name for name in PLAYBOOKS)} == set(
        *rules.values()
    )


@pytest.mark.parametrize(
    "flags, told",
    [
        (
            ["--limit", "control1"],
            'the nodes are "kube_node" (1 in this inventory), and the limit is "control1".',
        ),
        (
            ["-e", "zombie_reaper_hosts=kube_nodes"],
            'the nodes are "kube_nodes" (0 in this inventory).',
        ),
        (["-e", "zombie_reaper_hosts=node1", "--limit", "kube_control_plane"], '"node1"'),
        # these reach one
        (["--limit", "node1"], None),
        (["-e", "zombie_reaper_hosts=", "--limit", "all"], None),
        (["-e", "zombie_reaper_hosts=control1", "--limit", "control1"], None),
        (["-e", "zombie_reaper_hosts=localhost"], None),
        (["-e", '{"zombie_reaper_hosts": ["node1", "control1"]}'], None),
    ],
)
def test_a_run_that_reaches_no_node_fails(root, bin, tmp_path, flags, told):
    """The play on nodes is only of a task that is not reached, or succeeds."""
    (tmp_path / "hosts").write_text(WITH_GROUP, encoding="utf-8")
    playbooks = yaml.safe_load((root / "playbooks/sweep.yml").read_text(encoding="utf-8"))
    del playbooks[1]["become"], playbooks[1]["tasks"], playbooks[2:]
    playbooks[1]["tasks"] = [{"name": "reached", "ansible.builtin.debug": {"msg": "reached"}}]
    (tmp_path / "sweep.yml").write_text(json.dumps(playbooks), encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    shutil.copy(root / "playbooks/tasks" / CHECK, tmp_path / "tasks")
    done = subprocess.run(
        [bin / "ansible-playbook", tmp_path / "sweep.yml", "-i", tmp_path / "hosts", *flags],
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if told is None:
        assert done.returncode == 0 and "TASK [reached]" in done.stdout, done.stdout
    else:
        assert done.returncode == 2 and "TASK [reached]" not in done.stdout, done.stdout
        text = " ".join(done.stdout.replace("\\", "").split())
        assert "Nothing was done, because no node is left: " in text and told in text, text


@pytest.mark.parametrize(
    "inventory, flags, told",
    [
        (None, [], "the inventory has no hosts. Give another with -i INVENTORY, or"),
        ("[kube_node]\n", [], "the inventory has no hosts. Give another with -i INVENTORY, or"),
        ("[kube_node]\n[db]\ndb1\n", [], "(0 in this inventory)"),
        # the part that a slice of a job in AWX has
        ("[kube_node]\n", ["-e", "awx_job_id=7"], None),
        ("[kube_node]\n[db]\ndb1\n", ["-e", "awx_job_id=7"], None),
    ],
)
def test_an_inventory_without_nodes_is_a_run_that_failed(
    root, core, tmp_path, inventory, flags, told
):
    """Ansible would say that no hosts matched, and call that a success."""
    if inventory is not None:
        (tmp_path / "hosts").write_text(inventory, encoding="utf-8")
        flags = ["-i", str(tmp_path / "hosts"), *flags]
    done = subprocess.run(
        [core / "ansible-playbook", root / "playbooks/look.yml", *flags],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_INVENTORY": str(tmp_path / "there_is_none"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    text = " ".join(done.stdout.split())
    if told is None:
        assert done.returncode == 0 and "PLAY [Look at every node]" in text, text
    else:
        assert done.returncode == 2 and "Nothing was done, because" in text and told in text, text


def test_nodes_that_only_the_inventory_leaves_out_are_refused(root, bin, tmp_path):
    """Ansible does not read zombie_reaper_hosts there, and the play is for all nodes."""
    inventory = "[kube_node]\nnode1\nnode2\n[all:vars]\nzombie_reaper_hosts=node1\n"
    (tmp_path / "hosts").write_text(inventory, encoding="utf-8")
    check = root / "roles/zombie_reaper/tasks/check_variables.yml"
    play = {
        "hosts": "kube_node",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_tasks": str(check)},
            {"ansible.builtin.debug": {"msg": "reached {{ inventory_hostname }}"}},
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")

    def reached(*flags):
        done = subprocess.run(
            [bin / "ansible-playbook", tmp_path / "play.yml", "-i", tmp_path / "hosts", *flags],
            env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout, sorted(re.findall("reached (\\w+)", done.stdout))

    said, hosts = reached()
    assert hosts == ["node1"] and "the inventory cannot choose the nodes" in said
    assert reached("-e", "zombie_reaper_hosts=kube_node")[1] == ["node1", "node2"]
