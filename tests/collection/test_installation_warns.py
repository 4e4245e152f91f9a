"""At installation site.yml says what does not work on a node: the warnings of the agent that was
just put there.
"""

from __future__ import annotations

import re

import pytest
import rig.playbook
from rig.node import Node
from rig.node_fleet import node_fleet
from rig.playbook import Playbook

WARNING = "reap is impossible on this node: the sweep lacks CAP_SYS_PTRACE"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


@pytest.mark.parametrize("warns", [True, pytest.param(False, marks=pytest.mark.full)])
def test_site(node, tmp_path, monkeypatch, warns):
    """Where nobody may trace, and where all is well. When the role runs again, nothing is installed
    and nothing is said twice.
    """
    if warns:
        without = tmp_path / "without_ptrace"
        without.write_text(
            f'#!/bin/sh\nexec setpriv --bounding-set=-sys_ptrace "{rig.playbook.PROGRAM}" "$@"\n',
            encoding="utf-8",
        )
        without.chmod(0o755)
        monkeypatch.setattr(rig.playbook, "PROGRAM", str(without))
    playbook = Playbook(node, tmp_path, "site.yml")
    played = playbook(zombie_reaper_min_age=0)
    assert played.succeeded, played.text
    shown = played.text.partition("Show what does not work on this node]")[2].partition("TASK [")[0]
    assert (WARNING in shown) is warns
    assert "metrics: " not in shown, "it is told once for all nodes"
    (told,) = re.findall(
        "metrics: no directory: none of .*?nodes: 1[)]", played.text.partition("ZOMBIES")[0], re.S
    )
    assert "metrics: no directory on 1 node: node1" in played.text
    again = playbook(zombie_reaper_min_age=0)
    assert again.succeeded and again.recap["node1"]["changed"] == 0
    assert "Show what does not work on this node]" not in again.text
    assert ("[WARNING]: " + WARNING in again.text) is warns, (
        "that of the sweep itself is always shown"
    )


def test_a_check_of_an_installation_runs_no_agent(node, tmp_path):
    """There is none yet."""
    played = Playbook(node, tmp_path, "site.yml")("--check", zombie_reaper_min_age=0)
    assert played.succeeded, played.text


@pytest.mark.full
def test_where_metrics_go_nowhere_is_told_once_for_all_nodes(tmp_path):
    with node_fleet(tmp_path, 3) as (play, _nodes):
        played = play("site.yml", "--skip-tags", "sweep")
    assert played.succeeded, played.text
    assert played.text.count("metrics: no directory") == 1, played.text
    assert "(nodes: 3)" in played.text
