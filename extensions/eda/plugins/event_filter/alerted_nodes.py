# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event filter of ansible-rulebook: what Alertmanager sends becomes one event for each alert that
fires, and nothing else of it is let through.

Rulebooks hand a whole event to the playbook as a variable, and a variable with ``{{ }}`` in it is a
program to Ansible. They also take the hosts to act on from ``meta.hosts`` of an event. So an event
is made anew here, of two words that were looked at.

Payload: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import re

DOCUMENTATION = r"""
---
short_description: One event for each alert that fires, with the name of its node
description:
  - Takes what C(eda.builtin.webhook) got from Alertmanager. Each alert that fires becomes an event
    with two keys, C(alertname) and C(node).
  - The node is the label that O(label) names, without a port at its end. It is a name or an
    address, of letters, digits and C(._-); an
    address of IPv6 stands in brackets.
  - An alert that is resolved, or without such a node, becomes no event. Nothing else of the payload
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


def main(event: dict, label: str = "instance") -> list[dict]:
    """The events, in the order of the alerts. event: as the source made it, with the body of the
    request under ``payload``.
    """
    payload = event.get("payload")
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    return [
        made
        for made in (_made(alert, label) for alert in (alerts if isinstance(alerts, list) else []))
        if made
    ]


def _made(alert, label: str) -> dict | None:
    labels = (
        alert.get("labels") if isinstance(alert, dict) and alert.get("status") == "firing" else None
    )
    if not isinstance(labels, dict):
        return None
    name, node = (
        _matched(pattern, labels.get(key)) for pattern, key in ((NAME, "alertname"), (NODE, label))
    )
    return {"alertname": name, "node": node} if name and node else None


def _matched(pattern, text) -> str | None:
    """The group of the pattern that the whole text is."""
    found = pattern.fullmatch(text) if isinstance(text, str) else None
    return found.group(found.lastindex) if found else None
