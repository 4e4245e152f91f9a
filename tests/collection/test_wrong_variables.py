"""A variable of this collection that is misspelt, or was removed, stops the role and every playbook
before anything is done.
"""

from __future__ import annotations

import re

import pytest
import rig.playbook
import yaml
from ansible_collections.provider.fleet.plugins.lookup import wrong_variables
from rig.node import CHECKOUT, Node
from rig.playbook import Playbook

# where the first task for the node checks the variables itself, before it reaches the node
REFUSES = {"site.yml": "Look at the node", "sweep.yml": "Sweep", "look.yml": "can be seen of it"}
LEAK = "zombie()\nzombie()\nready()\nforever()"
NAMED = re.compile(r"(?<![_a-z])zombie_reaper_([a-z0-9_]+)")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    node.stop()


@pytest.fixture
def leak(node):
    leak = node.container(LEAK)
    yield leak
    leak.stop()


@pytest.fixture
def play(node, tmp_path, monkeypatch, core):
    """play(name, *flags, hosts=, **variables): the playbook of that name, by each ansible-core."""
    monkeypatch.setattr(rig.playbook, "PROGRAM", str(core / "ansible-playbook"))
    return lambda name, *flags, **kwargs: Playbook(node, tmp_path, name)(*flags, **kwargs)


def test_a_misspelt_variable_ends_no_container(play, leak):
    """Without the check all remedies would be in force, and PID 1 of this container be ended."""
    hosts = {
        # the same node for each ansible-core, so that another one was ended there before
        "node1": {
            "zombie_reaper_remedies": "terminate",
            "zombie_reaper_min_age": 0,
            "zombie_reaper_pressure": 0,
            "zombie_reaper_cooldown": 0,
        }
    }
    refused = play("sweep.yml", hosts=hosts, zombie_reaper_remedys="none")
    assert not refused.succeeded and refused.recap["node1"]["ok"] == 0
    assert (
        "Nothing was done. zombie_reaper_remedys: there is no such variable; did you mean"
        " zombie_reaper_remedies?" in refused.error("node1")
    )
    assert leak.alive and len(leak.zombies()) == 2
    played = play("sweep.yml", hosts=hosts)
    assert played.succeeded
    assert leak.ends(), f"by its right name, or by none, the option holds: {played.text}"


@pytest.mark.parametrize(
    "name",
    [
        "site.yml",
        "sweep.yml",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("audit.yml", "look.yml", "prevent.yml", "report.yml", "uninstall.yml")
        ),
    ],
)
def test_each_playbook_refuses_it_before_anything_else(play, leak, name):
    played = play(name, zombie_reaper_protect_namespace="ours")
    assert not played.succeeded
    assert "did you mean zombie_reaper_protect_namespaces?" in played.error("node1")
    assert played.recap["node1"]["changed"] == 0
    tasks = re.findall(r"^TASK \[(.*?)\]", played.text, re.M)
    checks = [
        task
        for task in tasks
        if "Validating arguments" not in task and task != "Refuse to reach no node"
    ]
    assert len(checks) == 1 and checks[0].endswith(REFUSES.get(name, "Refuse unknown variables"))


def test_a_value_that_is_unknown_is_refused_by_its_name(play, leak):
    played = play("sweep.yml", hosts={"node1": {"zombie_reaper_protect": "{{ nope }}"}})
    assert not played.succeeded and played.recap["node1"]["ok"] == 0
    said = played.error("node1").replace("''", "'")  # as YAML quotes it
    assert "zombie_reaper_protect: 'nope' is undefined" in said
    assert leak.alive and len(leak.zombies()) == 2


def test_the_role_refuses_it_before_it_uninstalls(play):
    assert play("site.yml").succeeded
    played = play("site.yml", zombie_reaper_state="absent", zombie_reaper_hots="node2")
    assert not played.succeeded
    assert "did you mean zombie_reaper_hosts?" in played.error("node1")
    assert played.recap["node1"]["changed"] == 0


def test_the_sweep_of_an_alerted_node_refuses_it(play, leak):
    played = play("sweep_alerted.yml", zombie_reaper_node="node1", zombie_reaper_max_parent=1)
    assert not played.succeeded and "did you mean zombie_reaper_max_parents?" in played.error(
        "node1"
    )
    assert leak.alive and len(leak.zombies()) == 2


def test_the_playbook_for_awx_refuses_it(play):
    played = play(
        "awx.yml",
        hosts={"localhost": {}},
        zombie_reaper_awx_scm_uri="https://git.example.org/fleet.git",
    )
    assert not played.succeeded and "did you mean zombie_reaper_awx_scm_url?" in played.error(
        "localhost"
    )


@pytest.mark.parametrize("value", [0, 3601, "soon"])
def test_an_interval_out_of_bounds_is_refused(play, leak, value):
    played = play("sweep.yml", "--check", zombie_reaper_interval=value)
    assert not played.succeeded and (
        f"zombie_reaper_interval: {value} is not allowed: give a whole number of seconds, from 1"
        " to 3600" in played.error("node1")
    )


def test_only_the_host_that_has_it_is_left_out(play, leak):
    """And it is told all at once, with the removed options' successors."""
    wrong = {
        "zombie_reaper_min_usage": 0.0,
        "zombie_reaper_act_within": "86400",
        "zombie_reaper_every_minute": 5,
    }
    played = play(
        "sweep.yml", "--check", hosts={"node1": wrong, "node2": {}}, zombie_reaper_min_age=0
    )
    assert not played.succeeded and (
        played.recap["node1"]["failed"],
        played.recap["node2"]["failed"],
    ) == (1, 0)
    for words in (
        "zombie_reaper_min_usage: this option was removed; use zombie_reaper_pressure",
        "zombie_reaper_act_within: this option was removed; use zombie_reaper_pressure",
        "zombie_reaper_every_minute: there is no such variable; did you mean"
        " zombie_reaper_every_minutes?",
    ):
        assert words in played.error("node1")


@pytest.mark.full
def test_it_is_told_where_it_was_set(node, play, tmp_path):
    """As far as Ansible knows: of files it does."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(
        "---\n\nzombie_reaper_graec: '5'\n", encoding="ascii"
    )
    told = play("sweep.yml", "--check").error("node1")
    assert re.search(
        r"did you mean zombie_reaper_grace\? \(set to '+5'+ in \S*group_vars/all\.yml:3:\d+\)",
        told,
    ), told


def test_variables_of_others_are_none_of_its_business(play, leak):
    played = play(
        "sweep.yml",
        "--check",
        zombie_reapers=1,
        zombie="x",
        my_zombie_reaper_remedys="none",
        zombie_reaper="y",
        zombie_reaper_min_age=0,
    )
    assert played.succeeded, played.text


def test_names_that_are_allowed_are_those_that_somebody_reads():
    read = set()
    for path in [
        *CHECKOUT.glob("playbooks/*.yml"),
        *CHECKOUT.glob("playbooks/tasks/*.yml"),
        CHECKOUT / "playbooks/vars/awx.yml",
    ]:
        read |= set(NAMED.findall(path.read_text(encoding="utf-8")))
    rulebook = set(
        NAMED.findall(
            (CHECKOUT / "extensions/eda/rulebooks/zombies.yml").read_text(encoding="utf-8")
        )
    )
    specs = yaml.safe_load(
        (CHECKOUT / "roles/zombie_reaper/meta/argument_specs.yml").read_text(encoding="utf-8")
    )["argument_specs"]
    of_role = {name[len(wrong_variables.PREFIX) :] for name in specs["main"]["options"]}
    assert read - of_role - {"agent", "init"} == {  # a module, and a directory
        *wrong_variables.OF_PLAYBOOKS,
        *wrong_variables.RESULTS,
    }
    assert rulebook - {"token_is_empty"} == {*wrong_variables.OF_THE_RULEBOOK, "node"}
    registered = set(
        re.findall(
            r"register: zombie_reaper_(\w+)",
            "".join(
                path.read_text(encoding="utf-8")
                for directory in ("playbooks", "roles")
                for path in CHECKOUT.glob(directory + "/**/*.yml")
            ),
        )
    )
    assert registered == set(wrong_variables.RESULTS)
    assert set(wrong_variables.allowed()) == of_role.union(
        wrong_variables.OF_PLAYBOOKS, wrong_variables.OF_THE_RULEBOOK, wrong_variables.RESULTS
    )


@pytest.mark.parametrize(
    "variables, expected",
    [
        (
            {"zombie_reaper_quux": 1},
            (
                r"zombie_reaper_quux: there is no such variable; allowed are"
                r" zombie_reaper_awx_credentials, .*zombie_reaper_tolerate \(set to 1\)"
            ),
        ),
        (
            {"zombie_reaper_min_age": 1, "__zombie_reaper_x": 1, "zombie_reaper_sweep": {}, 5: 1},
            None,
        ),
        (
            {"zombie_reaper_tokn": "secret"},
            r"zombie_reaper_tokn: there is no such variable; did you mean zombie_reaper_token\?",
        ),
        (
            {"zombie_reaper_hoss": "x" * 100},
            r"zombie_reaper_hoss: there is no such variable; did you mean zombie_reaper_hosts\?",
        ),
        (
            {"zombie_reaper_hoss": {"a": 1}},
            r"zombie_reaper_hoss: there is no such variable; did you mean zombie_reaper_hosts\?",
        ),
        (
            {"zombie_reaper_": "{{ x }}"},
            r"zombie_reaper_: there is no such variable; allowed are .*\(set to '\{\{ x \}\}'\)",
        ),
    ],
)
def test_sentences(variables, expected):
    told = wrong_variables.sentences(variables, wrong_variables.allowed())
    assert len(told) == (expected is not None)
    assert not told or re.fullmatch(expected, told[0]), told
