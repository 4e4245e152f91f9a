"""At installation site.yml says what does not work on a node: the warnings of the agent that was just put there."""

from __future__ import annotations

import pytest
from rig.node import Node
from rig.playbook import Playbook

WARNING = "reap and nudge are refused on this node: a test says so"
TOLD = '"warnings": [printable(warning) for warning in report.warnings],'


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


@pytest.mark.parametrize("warns", [True, pytest.param(False, marks=pytest.mark.full)])
def test_site(node, scratch, tmp_path, warns):
    """By an engine that has one, and by one that has none. When the role runs again, nothing is installed and nothing is said twice."""
    engine = scratch / "plugins/module_utils/reaper/report.py"
    text = engine.read_text(encoding="utf-8")
    assert text.count(TOLD) == 1
    if warns:
        engine.write_text(text.replace(TOLD, '"warnings": ["%s"],' % WARNING), encoding="utf-8")
    playbook = Playbook(node, tmp_path, "site.yml")
    playbook.path = scratch / "playbooks/site.yml"
    playbook.environment["ANSIBLE_COLLECTIONS_PATH"] = str(scratch.parents[2])
    played = playbook(zombie_reaper_min_age=0)
    assert played.succeeded, played.text
    shown = played.text.partition("Say what does not work on this node]")[2].partition("TASK [")[0]
    assert (WARNING in shown) is warns
    again = playbook(zombie_reaper_min_age=0)
    assert again.succeeded and again.recap["node1"]["changed"] == 0
    assert "Say what does not work on this node]" not in again.text
    assert ("[WARNING]: " + WARNING in again.text) is warns, "that of the sweep itself is always shown"


def test_a_check_of_an_installation_runs_no_agent(node, tmp_path):
    """There is none yet."""
    played = Playbook(node, tmp_path, "site.yml")("--check", zombie_reaper_min_age=0)
    assert played.succeeded, played.text
