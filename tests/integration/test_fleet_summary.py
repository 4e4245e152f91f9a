"""The summary at the end of a run, of playbooks that are run on a node of the tests.

Ansible itself runs outside of it: for a moment its own processes are zombies too.
"""

from __future__ import annotations

import pytest
from rig.daemons import inside
from rig.node import CHECKOUT
from rig.playbook import Here, Playbook
from rig.webhook import Webhook

LEAK = "for _ in range(3): zombie()\nready()\nforever()"
OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
WRONG = {"zombie_reaper_min_age": -1}
DUE = {"zombie_reaper_min_age": 0, "zombie_reaper_pressure": 0}
ODD = '{"changed": false, "counts": {"zombies": "many"}, "limits": {}, "offenders": []}'
OWN_PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: nothing of ours
    - provider.fleet.zombie_info:
      when: look | default(false) | bool
"""

REACHED_AGAIN = """
- hosts: all
  gather_facts: false
  tasks:
    - provider.fleet.zombie_info:
      vars:
        ansible_connection: ssh
        ansible_host: 127.0.0.1
        ansible_port: 1
      ignore_unreachable: true
    - provider.fleet.zombie_info:
    - ansible.builtin.fail:
        msg: it is full
"""


class OnNode(Playbook):
    """A playbook whose hosts are all that node."""

    def __init__(self, node, directory):
        super().__init__(Here, directory, "sweep.yml")
        self.python = inside(node, directory, "node")["ansible_python_interpreter"]

    def __call__(self, *flags, **variables):
        return super().__call__(*flags, **{"ansible_python_interpreter": self.python, **variables})


@pytest.fixture
def sweep(node, tmp_path):
    return OnNode(node, tmp_path)


def summary(played) -> list:
    """Its lines; every run has at most one."""
    before, banner, after = played.text.partition("\nZOMBIES ***")
    assert banner and "ZOMBIES ***" not in after, played.text
    return after.splitlines()[1:]


def test_one_node(node, sweep):
    node.container(LEAK)
    played = sweep(zombie_reaper_min_age=0, zombie_reaper_pressure=0)
    assert played.succeeded
    lines = summary(played)
    assert lines[:3] == ["1 node: 1 swept", "3 zombies on 1 node: 3 cleared (reap 3), 0 left", ""]
    assert lines[3] == "node1: 3 zombies on this node; 3 cleared, 0 left"
    assert any(line.startswith("node1: PID ") and "cleared: " in line for line in lines)


def test_check_mode_says_what_would_be_done(node, sweep):
    init = node.container(LEAK)
    lines = summary(sweep("--check", zombie_reaper_min_age=0, zombie_reaper_pressure=0))
    assert lines[:2] == [
        "1 node: 1 checked",
        "3 zombies on 1 node; a sweep would act on 1 parent",
    ]
    assert len(init.zombies()) == 3


def test_hosts_that_failed_or_were_not_reached(sweep):
    played = sweep(hosts={"fine": {}, "off": OFF, "wrong": WRONG})
    assert not played.succeeded
    lines = summary(played)
    assert lines[0] == "3 nodes: 1 swept, 1 failed, 1 unreachable"
    assert any(line.startswith("failed: wrong: ") and "min_age" in line for line in lines)
    assert any(line.startswith("unreachable: off: ") for line in lines)


def test_a_host_that_returns_something_odd_is_a_row_that_says_so(node, sweep, tmp_path):
    """A tenant may have taken it over, and what the module would return is that tenant's choice."""
    node.container(LEAK)
    odd = tmp_path / "odd"
    odd.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{ODD}'\n", encoding="utf-8")
    odd.chmod(0o755)
    hosts = {"fine": {"ansible_python_interpreter": sweep.python}}
    hosts["odd"] = {"ansible_python_interpreter": str(odd)}
    played = sweep(hosts=hosts, ansible_python_interpreter=None, **DUE)
    lines = summary(played)
    assert lines[:3] == [
        "2 nodes: 1 swept, 1 failed",
        "3 zombies on 1 node: 3 cleared (reap 3), 0 left",
        "failed: odd: its answer cannot be read: counts.zombies is 'many', not a number",
    ]
    assert "Traceback" not in played.text


def test_not_one_host_was_reached(sweep):
    played = sweep(hosts={"off1": OFF, "off2": OFF})
    assert summary(played)[0] == "2 nodes: 2 unreachable"


def test_limit(sweep):
    played = sweep("--limit", "node2", hosts={"node1": {}, "node2": {}})
    assert summary(played)[0] == "1 node: 1 swept"
    assert "node1" not in "".join(summary(played))


def test_a_limit_that_leaves_nothing(sweep):
    played = sweep("--limit", "nobody")
    assert "ZOMBIES" not in played.text and "Traceback" not in played.text


def test_a_playbook_of_ones_own(node, sweep, tmp_path):
    """It has a summary when that is enabled, once, and only if there is something to sum up."""
    sweep.path = tmp_path / "own.yml"
    sweep.path.write_text(OWN_PLAYBOOK, encoding="utf-8")
    assert "ZOMBIES" not in sweep(look=True).text
    sweep.environment["ANSIBLE_CALLBACKS_ENABLED"] = "provider.fleet.fleet_summary"
    assert summary(sweep(look=True))[0] == "1 node: 1 checked"
    assert "ZOMBIES" not in sweep().text


def test_a_host_that_was_reached_again_failed_for_what_came_later(sweep, tmp_path):
    sweep.path = tmp_path / "again.yml"
    sweep.path.write_text(REACHED_AGAIN, encoding="utf-8")
    sweep.environment["ANSIBLE_CALLBACKS_ENABLED"] = "provider.fleet.fleet_summary"
    lines = summary(sweep())
    assert lines[0] == "1 node: 1 failed"
    assert any(line.startswith("failed: node1: ") and "it is full" in line for line in lines)


def test_enabled_and_beside_the_playbook_it_is_told_once(sweep):
    sweep.environment["ANSIBLE_CALLBACKS_ENABLED"] = "provider.fleet.fleet_summary"
    assert summary(sweep())[0] == "1 node: 1 swept"


@pytest.mark.parametrize("status", [204, 500])
def test_a_webhook_is_told_once_of_what_was_ended(node, sweep, status):
    """Its failure is a warning that does not show the address, which is a secret."""
    node.container(LEAK)
    sweep.environment["ANSIBLE_CALLBACKS_ENABLED"] = "provider.fleet.fleet_summary"
    with Webhook(status) as hook:
        sweep.environment["ZOMBIE_REAPER_WEBHOOK_URL"] = hook.url
        first = sweep("-vvv", zombie_reaper_remedies=["terminate"], **DUE)
        second = sweep(zombie_reaper_remedies=["terminate"], **DUE)
    assert first.succeeded and second.succeeded
    assert [(sent["event"], sent["workloads_ended"]) for sent in hook.received] == [
        ("workloads_ended", 1)
    ]
    assert [sent["host"] for sent in hook.received[0]["nodes"]] == ["node1"]
    assert "hunter2" not in first.text + second.text
    told = "the webhook on '127.0.0.1' was not told: it answered with HTTP status 500"
    assert (told in " ".join(first.text.split())) is (status == 500)
    assert "Traceback" not in first.text


def test_a_webhook_in_the_configuration(node, sweep, tmp_path):
    node.container(LEAK)
    configuration = tmp_path / "ansible.cfg"
    with Webhook() as hook:
        configuration.write_text(
            f"[defaults]\ncollections_path = {CHECKOUT}/.cache/collections\n\n"
            f"[callback_fleet_summary]\nwebhook_url = {hook.url}\n",
            encoding="utf-8",
        )
        sweep.environment["ANSIBLE_CONFIG"] = str(configuration)
        played = sweep(zombie_reaper_remedies=["terminate"], **DUE)
    assert played.succeeded, played.text
    assert [sent["workloads_ended"] for sent in hook.received] == [1]
