"""The emergency stop: every way to give no remedies ends no program, by whatever it is given."""

from __future__ import annotations

import json

import pytest
import rig.playbook
from rig.node import Node
from rig.playbook import Playbook

LEAK = "zombie()\nzombie()\nready()\nforever()"
OTHERWISE_ENDED = {"zombie_reaper_min_age": 0, "zombie_reaper_pressure": 0}
# as inventories, -e and surveys of AWX give it
WAYS = {
    "list": [],
    "word": "none",
    "list_of_word": ["none"],
    "text": "[]",
    "spaced_text": "[ ]",
    "list_of_text": ["[]"],
    "empty": "",
    "lines": "none\n",
}


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


@pytest.fixture
def sweep(node, tmp_path, monkeypatch, core):
    monkeypatch.setattr(rig.playbook, "PROGRAM", str(core / "ansible-playbook"))
    return Playbook(node, tmp_path, "sweep.yml")


def test_no_remedies_of_the_inventory(node, sweep):
    leak = node.container(LEAK)
    hosts = {
        name: {**OTHERWISE_ENDED, "zombie_reaper_remedies": value} for name, value in WAYS.items()
    }
    played = sweep(hosts=hosts)
    assert played.succeeded, played.text
    assert f"report only on {len(WAYS)} nodes, no remedies are set: " in played.text
    assert leak.alive and len(leak.zombies()) == 2


@pytest.mark.parametrize(
    "value", ["[]", *(pytest.param(each, marks=pytest.mark.full) for each in ("none", "'[]'"))]
)
def test_no_remedies_of_the_command_line(node, sweep, value):
    """``-e NAME=VALUE``, of which Ansible makes text."""
    leak = node.container(LEAK)
    played = sweep("-e", f"zombie_reaper_remedies={value}", hosts={"node1": OTHERWISE_ENDED})
    assert played.succeeded, played.text
    assert "report only on 1 node, no remedies are set: node1" in played.text
    assert "left alone: report only: no remedies are set" in played.text
    assert leak.alive and len(leak.zombies()) == 2


def test_what_is_no_list_of_remedies_is_refused(node, sweep):
    leak = node.container(LEAK)
    nonsense = {"word": "off", "list": "[none]", "mixed": ["none", "reap"]}
    hosts = {
        name: {**OTHERWISE_ENDED, "zombie_reaper_remedies": value}
        for name, value in nonsense.items()
    }
    played = sweep(hosts=hosts)
    assert not played.succeeded
    for name in nonsense:
        assert "is none of: reap, nudge, terminate; or give none alone" in played.error(name)
    assert leak.alive and len(leak.zombies()) == 2


@pytest.mark.full
def test_the_installed_agent_gets_none(node, sweep, tmp_path):
    """What site.yml hands to the module that writes the configuration of the schedule."""
    given = tmp_path / "agent.yml"
    for value in ("[]", "none", ["[]"]):
        given.write_text(
            json.dumps(
                [
                    {
                        "hosts": "all",
                        "gather_facts": False,
                        "tasks": [
                            {"provider.fleet.zombie_reaper_agent": {"options": {"remedies": value}}}
                        ],
                    }
                ]
            ),
            encoding="ascii",
        )
        sweep.path = given
        played = sweep()
        assert played.succeeded, played.text
        written = json.loads(node.run("cat", "/etc/zombie_reaper/config.json").stdout)
        assert written["remedies"] == []
