# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event filter of ansible-rulebook: turns what Alertmanager sends into one event for each firing
alert, and lets nothing else through.

Rulebooks hand the whole event to the playbook as a variable, and Ansible runs whatever ``{{ }}`` in
a variable contains. They also take the hosts to act on from an event's ``meta.hosts``. So each
event is built from scratch here, from two words that have been checked.

Payload: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import re
from typing import Any

DOCUMENTATION = r"""
---
short_description: One event for each firing alert, with the name of its node
description:
  - Takes what C(eda.builtin.webhook) received from Alertmanager. Each firing alert becomes an event
    with two keys, C(alertname) and C(node).
  - The node is the value of the label that O(label) names, without a port at its end. It is a name
    or an address, of letters, digits and C(._-); an IPv6 address has to be in brackets.
  - An alert that is resolved, or without such a node, becomes no event. Nothing else in the payload
    reaches a rule or a playbook.
options:
  label:
    description: The label of an alert that says which node it is about.
    type: str
    default: instance
"""

EXAMPLES = r"""
- name: Alertmanager
  eda.builtin.webhook:
    port: 5001
    token: "{{ token }}"
  filters:
    - provider.fleet.alerted_nodes:
"""

NAME = re.compile(r"([A-Za-z_]\w{0,99})", re.ASCII)
NODE = re.compile(
    r"(?:([A-Za-z0-9][A-Za-z0-9._-]{0,252})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?"
)


def main(event: dict[str, Any], label: str = "instance") -> list[dict[str, str]]:
    """The events, in the order of the alerts. event: from the source, with the body of the request
    under ``payload``.
    """
    payload = event.get("payload")
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(alerts, list):
        return []
    events = (_event(alert, label) for alert in alerts)
    return [event for event in events if event]


def _event(alert: object, label: str) -> dict[str, str] | None:
    """None if the alert does not fire or names no node."""
    if not isinstance(alert, dict) or alert.get("status") != "firing":
        return None
    labels = alert.get("labels")
    if not isinstance(labels, dict):
        return None
    name, node = _matched(NAME, labels.get("alertname")), _matched(NODE, labels.get(label))
    return {"alertname": name, "node": node} if name and node else None


def _matched(pattern: re.Pattern[str], text: object) -> str | None:
    """The group that matched, if the pattern matches the whole text."""
    found = pattern.fullmatch(text) if isinstance(text, str) else None
    return found.group(found.lastindex or 0) if found else None
