"""Many nodes at once: look.yml, which writes nothing on them, and sweeps that wait for young zombies
once and not for each batch of nodes.
"""

from __future__ import annotations

import re

import pytest
from rig.node import TODAYS_SCRIPT
from rig.node_fleet import node_fleet

from .test_fleet_summary import LEAK, summary

# What is written in a node's own files (tools/own_files.py): the copies keep it in /run/above.
# Ansible keeps its own files elsewhere.
WRITTEN = ("/run", "/var/log")


@pytest.fixture
def fleet(tmp_path):
    with node_fleet(tmp_path, 3) as fleet:
        yield fleet


def modules_run(tmp_path, name) -> int:
    ran = tmp_path / (name + ".ran")
    return len(ran.read_text().splitlines()) if ran.exists() else 0


def files_of(node) -> list:
    """What was written on the node: each file with its size and when it was changed."""
    found = node.run("find", *WRITTEN, "-printf", "%p %s %T@\n")
    assert found.stdout
    return sorted(found.stdout.splitlines())


def test_a_look_waits_for_nothing_and_writes_nothing_on_the_nodes(fleet):
    play, nodes = fleet
    init = nodes["node2"].container(LEAK)
    before = files_of(nodes["node2"])
    played = play("look.yml", zombie_reaper_min_age=86400, zombie_reaper_pressure=0)
    assert played.succeeded, played.text
    assert [counts["changed"] for counts in played.recap.values()] == [0, 0, 0]
    lines = summary(played)
    assert lines[0] == "3 nodes: 3 checked"
    assert lines[1].startswith(
        "3 zombies on 1 node; a sweep would act on nothing yet, and on 1 parent within 86"
    )
    assert any(line.startswith("inits of 1 container on 3 nodes: ") for line in lines)
    assert any(line.startswith("node2: PID ") and "3 zombies" in line for line in lines)
    assert files_of(nodes["node2"]) == before
    assert len(init.zombies()) == 3


@pytest.mark.parametrize("playbook", ["look.yml", "sweep.yml"])
def test_a_foreign_script_is_told_under_whatever_name(fleet, playbook):
    play, nodes = fleet
    put = (
        f"cp {TODAYS_SCRIPT} /usr/local/bin/tidy"
        " && echo '* * * * * root /usr/local/bin/tidy | logger' >/etc/cron.d/tidy"
    )
    assert nodes["node2"].run("sh", "-c", put).returncode == 0
    played = play(playbook)
    assert played.succeeded, played.text
    lines = summary(played)
    assert any(
        line.startswith(
            "foreign scripts signal parents of zombies on 1 node: node2 (/usr/local/bin/tidy);"
        )
        for line in lines
    )
    assert (
        "node2: foreign script: /usr/local/bin/tidy, started by /etc/cron.d/tidy, signals parents"
        " of zombies that a sweep would spare; remove both, or run provider.fleet.site, which"
        " replaces kill_zombie_parents"
    ) in lines


@pytest.mark.parametrize("playbook", ["sweep.yml", "look.yml"])
def test_a_wrong_option_is_told_before_anything_is_done(fleet, playbook):
    play, _nodes = fleet
    played = play(playbook, zombie_reaper_min_agee=3)
    assert not played.succeeded
    assert "did you mean zombie_reaper_min_age?" in played.error("node1")


def test_only_nodes_with_young_zombies_are_swept_again(fleet, tmp_path):
    """All are noted before the first one waits: here a batch is one node."""
    play, nodes = fleet
    leaking = [nodes[name].container(LEAK) for name in ("node1", "node3")]
    played = play("sweep.yml", "--forks", "1", zombie_reaper_min_age=3, zombie_reaper_pressure=0)
    assert played.succeeded, played.text
    assert [init.zombies() for init in leaking] == [[], []]
    assert [modules_run(tmp_path, name) for name in nodes] == [2, 1, 2]
    headings = re.findall(r"^TASK \[(.*?)\]", played.text, re.M)
    assert len(headings) == len(set(headings)) == 3, "none for each node"
    assert summary(played)[:2] == [
        "3 nodes: 3 swept",
        "6 zombies on 2 nodes: 6 cleared (reap 6), 0 left",
    ]


def test_a_dry_run_is_one_pass_and_waits_for_nobody(fleet, tmp_path):
    play, nodes = fleet
    init = nodes["node1"].container(LEAK)
    played = play("sweep.yml", "--check", zombie_reaper_min_age=86400, zombie_reaper_pressure=0)
    assert played.succeeded, played.text
    assert [modules_run(tmp_path, name) for name in nodes] == [1, 1, 1]
    assert summary(played)[1].startswith(
        "3 zombies on 1 node; a sweep would act on nothing yet, and on 1 parent"
    )
    assert len(init.zombies()) == 3
