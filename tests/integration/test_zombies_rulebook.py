"""The rulebook and its playbook with payloads that mean no good: whatever they say, only the one
host that they name is acted on, once.
"""

from __future__ import annotations

import subprocess

import pytest
import yaml
from rig.daemons import Rulebook, ask, documented, inside, modules_run, programs
from rig.node import CHECKOUT, Node, wait_until
from rig.playbook import Playbook

TOKEN = "token-of-the-test"


def alert(instance, name="NodeZombies", **more):
    return {
        "status": "firing",
        "labels": {"alertname": name, "instance": instance},
        "annotations": {},
        **more,
    }


def alerts(*instances, **more):
    return {"status": "firing", "alerts": [alert(instance, **more) for instance in instances]}


def hostile_payloads(trap):
    """name: payload. trap: a file that would be made if Ansible ran what the payload holds."""
    program = "{{ lookup('pipe', 'touch %s') }}" % trap
    return {
        "all of them": alerts("all"),
        "a star": alerts("*", "node*"),
        "not that one": alerts("!node1"),
        "two": alerts("node1,node2", "node1:node2"),
        "a range": alerts("node[1:2]"),
        "a regular expression": alerts("~node.*"),
        "a file": alerts("@/etc/hostname"),
        "a group": alerts("some_nodes", "ungrouped", "kube_node"),
        "a host unknown": alerts("node3:9100"),
        "this machine": alerts("localhost", "127.0.0.1"),
        "one letter less, one more, another": alerts("node", "node11", "Node1"),
        "an option": alerts("--limit=all", "-e@x"),
        "nothing": alerts(""),
        "a program": alerts(program, "node1" + program, "{%% if 1 %%}node1{%% endif %%}"),
        "a program beside": {
            **alerts("all", meta={"hosts": "all"}, program=program),
            "commonLabels": {program: program},
        },
        "hosts in the event": {
            "alerts": [alert("node3", meta={"hosts": ["node1", "node2"]})],
            "meta": {"hosts": "all"},
        },
        "of another kind": {
            "alerts": [
                alert(["node1"]),
                alert({"node1": 1}),
                alert(None),
                alert(True),
                alert(7),
                None,
                [],
                "node1",
            ]
        },
        "no list": {"alerts": alert("node1")},
        "no object": ["node1"],
        "another alert": alerts("node1", name="Watchdog"),
        "another alert that is a program": alerts("node1", name=program),
        "an alert that is over": {"alerts": [{**alert("node1"), "status": "resolved"}]},
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("rulebook")


@pytest.fixture(scope="module")
def node(directory):
    rigged = Node(directory)
    yield rigged
    rigged.stop()


@pytest.fixture(scope="module")
def hosts(node, directory):
    return {
        "node1": inside(node, directory, "node1"),
        "node2": {**inside(node, directory, "node2"), "ansible_host": "fd00::2"},
    }


@pytest.fixture(scope="module")
def rulebook(directory, hosts):
    running = Rulebook(directory, hosts, TOKEN, {"some_nodes": ["node1", "node2"]})
    yield running
    running.stop()


def test_without_the_token_nothing_is_heard(rulebook, directory):
    wrong = [{}] + [
        {"Authorization": text}
        for text in (
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Bearer None",
            "Bearer " + TOKEN + "x",
            "bearer " + TOKEN,
            "Basic " + TOKEN,
            TOKEN,
        )
    ]
    for headers in wrong:
        assert ask(rulebook.port, "/alerts", alerts("node1", "node2"), **headers)[0] == 401, headers
    assert ask(rulebook.port, "/", alerts("node1"), Authorization="Bearer wrong")[0] == 401
    assert "PLAY [" not in rulebook.text() and modules_run(directory, "node1") == 0


def test_whatever_a_payload_says_only_the_host_that_it_names_is_swept_once(rulebook, directory):
    trap = directory / "trap"
    for name, payload in hostile_payloads(trap).items():
        status = rulebook.post(payload)
        assert status == 200, name
    # Actions are run one after the other, so when this has been refused, all those above have been
    # dealt with
    assert rulebook.post(alerts("the-last-one")) == 200
    wait_until(lambda: refuses(rulebook, "the-last-one"), 240)
    assert not trap.exists()
    assert (modules_run(directory, "node1"), modules_run(directory, "node2")) == (0, 0), (
        rulebook.text()
    )
    assert rulebook.post(alerts("node1:9100", "node1:9100")) == 200
    assert rulebook.post(alerts("node1:9101", "node1", name="NodePidsRunningOut")) == 200
    assert rulebook.post(alerts("[fd00::2]:9100")) == 200
    wait_until(lambda: modules_run(directory, "node2"), 180)
    assert (modules_run(directory, "node1"), modules_run(directory, "node2")) == (1, 1), (
        rulebook.text()
    )
    names = ["all", "some_nodes", "ungrouped", "kube_node", "node3", "localhost", "node11"]
    assert [name for name in names if refuses(rulebook, name)] == names, rulebook.text()


def refuses(rulebook, name) -> bool:
    """Whether its playbook has said that it acts on nobody of that name."""
    return f'the name or ansible_host "{name}"' in " ".join(rulebook.text().split())


@pytest.mark.parametrize(
    "token",
    [None, *(pytest.param(token, marks=pytest.mark.full) for token in ("", False))],
    ids=repr,
)
def test_without_a_token_it_does_not_start(tmp_path, hosts, token):
    assert "'zombie_reaper_token_is_empty' is undefined" in why_it_ended(
        Rulebook, tmp_path, hosts, token
    )


@pytest.mark.full
def test_nor_when_it_is_told_nothing_of_one(tmp_path, hosts):
    class Untold(Rulebook):
        def write(self, name, content):
            content.pop("zombie_reaper_token", None)
            return super().write(name, content)

    assert "'zombie_reaper_token' is undefined" in why_it_ended(Untold, tmp_path, hosts, TOKEN)


def why_it_ended(kind, *arguments) -> str:
    """Starts it; fails the test where that succeeds."""
    try:
        started = kind(*arguments)
    except AssertionError as error:
        return str(error)
    started.stop()
    raise AssertionError("it has started")


NOBODY = [
    "",
    "all",
    "*",
    "!node1",
    "node1,node2",
    "node1:node2",
    "node*",
    "~node.",
    "node[1:2]",
    "some_nodes",
    "ungrouped",
    "@/etc/hostname",
    "localhost",
    "node1 ",
    "Node1",
    False,
    None,
    0,
    ["node1"],
    {"node1": 1},
]


@pytest.mark.parametrize(
    "named",
    [*NOBODY[:4], *(pytest.param(named, marks=pytest.mark.full) for named in NOBODY[4:])],
    ids=repr,
)
def test_the_playbook_itself_takes_no_pattern(node, tmp_path, named):
    playbook = Playbook(node, tmp_path, "sweep_alerted.yml")
    played = playbook(hosts={"node1": {}, "node2": {}}, zombie_reaper_node=named)
    assert not played.succeeded and "Nothing was done." in played.text, played.text
    assert "PLAY [Sweep it]" not in played.text or "skipping: no hosts matched" in played.text


def test_nor_a_name_that_two_hosts_have(node, tmp_path):
    playbook = Playbook(node, tmp_path, "sweep_alerted.yml")
    hosts = {
        "node1": {"ansible_host": "10.0.0.1"},
        "node2": {"ansible_host": "10.0.0.1"},
        "10.0.0.3": {},
    }
    played = playbook(hosts=hosts, zombie_reaper_node="10.0.0.1")
    assert not played.succeeded and "msg: 2 nodes of this inventory" in played.error("node1"), (
        played.text
    )
    played = playbook(
        "--limit", "node2", hosts=hosts, zombie_reaper_node="10.0.0.1", zombie_reaper_min_age=1
    )
    assert played.succeeded and set(played.recap) == {"node2"}, played.text


def test_the_snippet_for_a_controller_is_an_action(tmp_path):
    """By the schema of ansible-rulebook, which it holds against a rulebook before anything else."""
    (rulebook,) = yaml.safe_load((CHECKOUT / "extensions/eda/rulebooks/zombies.yml").read_text())
    rulebook["rules"][0].update(documented("run_job_template"))
    (tmp_path / "rulebook.yml").write_text(yaml.safe_dump([rulebook]))
    code = (
        "import sys, yaml; from ansible_rulebook.validators import Validate; from"
        " ansible_rulebook.rules_parser import parse_rule_sets; read ="
        " yaml.safe_load(open(sys.argv[1])); Validate.rulebook(read); print(parse_rule_sets(read,"
        " {})[0].rules[0].actions[0].action)"
    )
    done = subprocess.run(
        [programs() / "python", "-c", code, tmp_path / "rulebook.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "run_job_template\n"), done.stderr
