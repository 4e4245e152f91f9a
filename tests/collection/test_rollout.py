"""The inventory of docs/rollout.md gives each node the remedies that the page says it has."""

from __future__ import annotations

import json

import pytest
from rig.documents import blocks

PAGE = "docs/rollout.md"


@pytest.fixture
def inventory(tmp_path):
    for block in blocks():
        if block.page == PAGE and block.file.startswith("my_inventory/"):
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    return tmp_path / "my_inventory"


def test_the_canary_has_its_own_remedies(inventory, bin, run):
    listed = run(bin / "ansible-inventory", "-i", inventory, "--list", cwd=inventory).stdout
    hosts = json.loads(listed)["_meta"]["hostvars"]
    assert {host: values["zombie_reaper_remedies"] for host, values in hosts.items()} == {
        "node1": "none",
        "node2": "none",
        "node7": ["reap"],
    }


def test_all_of_them_are_nodes(inventory, bin, run):
    """The playbooks play on kube_node where the inventory has it."""
    done = run(bin / "ansible", "-i", inventory, "kube_node", "--list-hosts", cwd=inventory)
    assert sorted(done.stdout.split()[2:]) == ["node1", "node2", "node7"]
