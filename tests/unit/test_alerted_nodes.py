"""What becomes of a payload of Alertmanager before a rule sees it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.provider.fleet.extensions.eda.plugins.event_filter.alerted_nodes import (
    main,
)

# As Alertmanager 0.25 sends it
PAYLOAD: dict[str, Any] = {
    "receiver": "zombie_reaper",
    "status": "firing",
    "version": "4",
    "truncatedAlerts": 0,
    "externalURL": "http://alertmanager:9093",
    "groupKey": '{}/{alertname=~"NodeZombies"}:{}',
    "groupLabels": {},
    "commonLabels": {"alertname": "NodeZombies"},
    "commonAnnotations": {},
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "NodeZombies",
                "instance": "node1:9100",
                "job": "node",
                "severity": "warning",
            },
            "annotations": {"summary": "node1:9100 has 30 zombies that stay"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "0123456789abcdef",
        },
        {"status": "resolved", "labels": {"alertname": "NodeZombies", "instance": "node2:9100"}},
        {
            "status": "firing",
            "labels": {"alertname": "NodePidsRunningOut", "instance": "node3:9100"},
        },
    ],
}


def event(payload):
    return {
        "payload": payload,
        "meta": {"endpoint": "alerts", "headers": {"X": "{{ 1 }}"}, "hosts": "all"},
    }


def alert(**labels):
    return event(
        {"alerts": [{"status": "firing", "labels": {"alertname": "NodeZombies", **labels}}]}
    )


def test_an_event_for_each_alert_that_fires_and_nothing_else():
    assert main(event(PAYLOAD)) == [
        {"alertname": "NodeZombies", "node": "node1"},
        {"alertname": "NodePidsRunningOut", "node": "node3"},
    ]


@pytest.mark.parametrize(
    ("instance", "node"),
    [
        ("node1:9100", "node1"),
        ("node1", "node1"),
        ("Node_1.example-x.com:80", "Node_1.example-x.com"),
        ("10.0.0.7:9100", "10.0.0.7"),
        ("[fd00::7]:9100", "fd00::7"),
        ("[fd00::7]", "fd00::7"),
        ("all", "all"),
        ("n" * 253, "n" * 253),
    ],
)
def test_a_port_is_no_part_of_the_name(instance, node):
    assert main(alert(instance=instance)) == [{"alertname": "NodeZombies", "node": node}]


HOSTILE = [
    "",
    "*",
    "!node1",
    "~node.*",
    "&kube_node",
    "@/etc/passwd",
    "a,b",
    "node1,node2:9100",
    "node1:node2",
    "node1:9100:9100",
    "node1:!node2",
    "node[1:2]",
    "node1 node2",
    " node1",
    "node1 ",
    "node1\n",
    "\nnode1",
    "node1:9100\n",
    "node1\x00",
    "{{ lookup('pipe', 'id') }}",
    "{% if 1 %}node1{% endif %}",
    "{# #}",
    "node1{{ '' }}",
    "!unsafe node1",
    "-node1",
    "--limit=all",
    ".",
    "../node1",
    "/etc/passwd",
    "node1/..",
    "n\u00f6de1",
    "node\uff11",
    "\u0661",
    "node1:\u0661",
    "n" * 254,
    "[node1]:9100",
    "[]:9100",
    "[fd00::7",
    "fd00::7",
    "node1:",
    ":9100",
    "$(id)",
    "`id`",
    "node1;id",
    "node1'",
    'node1"',
    "node1#",
    None,
    True,
    7,
    7.5,
    ["node1"],
    {"node1": "node1"},
    [["all"]],
]


@pytest.mark.parametrize("instance", HOSTILE, ids=repr)
def test_what_is_no_name_becomes_no_event(instance):
    assert main(alert(instance=instance)) == []


@pytest.mark.parametrize(
    "name", ["", "{{ x }}", "NodeZombies\n", "a b", "a" * 101, "9", None, 1, [], {}], ids=repr
)
def test_nor_does_an_alert_without_a_name(name):
    assert (
        main(
            event(
                {
                    "alerts": [
                        {"status": "firing", "labels": {"alertname": name, "instance": "node1"}}
                    ]
                }
            )
        )
        == []
    )


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "alerts",
        1,
        {},
        {"alerts": None},
        {"alerts": "alerts"},
        {"alerts": {"0": {}}},
        {"alerts": [None, 1, "x", [], {}]},
        {"alerts": [{"status": "firing"}]},
        {"alerts": [{"status": "firing", "labels": []}]},
        {"alerts": [{"labels": PAYLOAD["alerts"][0]["labels"]}]},
        {"alerts": [{"status": ["firing"], "labels": PAYLOAD["alerts"][0]["labels"]}]},
    ],
    ids=repr,
)
def test_what_alertmanager_does_not_send_becomes_no_event(payload):
    assert main(event(payload)) == []
    assert main({"meta": {}}) == []


def test_what_else_an_alert_brings_is_gone():
    brought = copy.deepcopy(PAYLOAD)
    brought["alerts"] = [
        {
            **brought["alerts"][0],
            "meta": {"hosts": "all"},
            "node": "all",
            "alertname": "x",
            "hosts": ["all"],
        }
    ]
    assert main(event(brought)) == [{"alertname": "NodeZombies", "node": "node1"}]


def test_another_label_can_name_the_node():
    assert main(alert(instance="10.0.0.7:9100", node="node7"), label="node") == [
        {"alertname": "NodeZombies", "node": "node7"}
    ]
