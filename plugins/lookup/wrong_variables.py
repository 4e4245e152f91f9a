# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wrong_variables
short_description: Find variables of this collection that are misspelt or have been removed
version_added: 2.0.0
description:
  - Ansible ignores variables that nothing reads. A misspelt C(zombie_reaper_remedys=none) would
    leave all remedies enabled, and might end a container that was meant to be spared. So the role
    and the playbooks of this collection use this lookup first, and go on only if nothing is wrong.
  - Every variable of the host whose name begins with C(zombie_reaper_) is compared with the
    argument specs of the role P(provider.fleet.zombie_reaper#role) and with the variables that the
    playbooks of this collection read.
  - C(zombie_reaper_hosts) is wrong on a host that it leaves out. Ansible chooses the hosts of a
    play before it knows their variables, so this variable in the inventory would spare no node.
  - C(zombie_reaper_interval) is wrong if it is not from 1 to 3600.
  - It takes no terms.
author:
  - The provider.fleet authors (@provider-fleet)
"""

EXAMPLES = r"""
- name: Refuse unknown variables
  ansible.builtin.assert:
    that: __wrong | length == 0
    fail_msg: "{{ __wrong | join('; ') }}"
  vars:
    __wrong: "{{ query('provider.fleet.wrong_variables') }}"

- name: Show them, and go on
  ansible.builtin.debug:
    msg: "{{ query('provider.fleet.wrong_variables') }}"
"""

RETURN = r"""
_raw:
  description: >-
    One sentence for each wrong variable, with its name, its value, where it was set if Ansible
    knows that, and the closest correct name.
  type: list
  elements: str
  sample:
    - "zombie_reaper_remedys: there is no such variable; did you mean zombie_reaper_remedies? (set
      to 'none' in /srv/inventory/group_vars/all.yml:3:24)"
"""

import difflib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMOVED

PREFIX = "zombie_reaper_"
SPECS = os.path.join(os.path.dirname(__file__), "../../roles/zombie_reaper/meta/argument_specs.yml")

TOKEN = "token"  # the only secret: its value is never shown

# Read by the playbooks, but not options of the role
OF_PLAYBOOKS = (
    "hosts",
    "node",
    "probe",
    "cluster",
    "report_dest",
    "report_keep_days",
    "docker_file",
    "restart_docker",
    "restart_runtime",
    "default_init",
    "kubeconfig",
    "awx_scm_url",
    "awx_scm_branch",
    "awx_scm_update_on_launch",
    "awx_scm_credential",
    "awx_organization",
    "awx_inventory",
    "awx_credentials",
    "awx_execution_environment",
    "awx_playbooks",
    "awx_slices",
    "awx_sweep_minutes",
    "awx_scheduled_remedies",
    "awx_report_dest",
    "awx_schedules",
)
OF_THE_RULEBOOK = ("listen", "port", TOKEN)
RESULTS = ("sweep", "audit")  # registered by the role and by audit.yml, for later tasks
PLAIN = (str, int, float)  # types of values to show; not those that Ansible Vault encrypted
MAX_INTERVAL = 3600  # seconds
MAX_SHOWN = 60  # characters of a value to show


class LookupModule(LookupBase):
    """Looks at names, and of values at few."""

    def run(
        self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        if terms or kwargs:
            raise AnsibleError(
                "provider.fleet.wrong_variables takes no terms and no options; it checks all"
                " variables of the host"
            )
        given = variables or {}
        return sentences(given, allowed()) + self._interval(given) + self._not_chosen(given)

    def _interval(self, variables: Mapping[str, Any]) -> list[str]:
        """One sentence if it is out of bounds, which an argument spec cannot say."""
        value = self._templar.template(variables.get(PREFIX + "interval", 1))
        try:
            if 1 <= int(value) <= MAX_INTERVAL:
                return []
        except (TypeError, ValueError):
            pass
        return [
            f"zombie_reaper_interval: {value} is not allowed: give a whole number of seconds, from"
            f" 1 to {MAX_INTERVAL}"
        ]

    def _not_chosen(self, variables: Mapping[str, Any]) -> list[str]:
        """One sentence if the host is none of the nodes that its variables name."""
        hosts = self._templar.template(variables.get(PREFIX + "hosts")) or ""
        pattern = hosts if isinstance(hosts, str) else ",".join(map(str, hosts))
        host = variables.get("inventory_hostname")
        if not pattern or host == "localhost":
            return []
        matching = lookup_loader.get(
            "ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar
        )
        if host in matching.run([pattern], variables=variables):
            return []
        return [
            f"zombie_reaper_hosts is {json.dumps(hosts)}, and this host is none of those: the"
            " inventory cannot choose the nodes, so give it with -e, or use --limit"
        ]


def allowed() -> list[str]:
    """The names of all variables there are, without :data:`PREFIX`."""
    with open(SPECS, encoding="utf-8") as file:
        specs = yaml_load(file)["argument_specs"]
    return sorted(
        {name[len(PREFIX) :] for entry in specs.values() for name in entry["options"]}.union(
            OF_PLAYBOOKS, OF_THE_RULEBOOK, RESULTS
        )
    )


def sentences(variables: Mapping[Any, Any], names: Collection[str]) -> list[str]:
    """What is wrong with the variables. variables: values by name, not templated. names: from
    :func:`allowed`.
    """
    wrong = []
    for variable in _ours(variables):
        name = variable[len(PREFIX) :]
        if name in REMOVED:
            successor = PREFIX + REMOVED[name]
            given = _given(variables, variable)
            wrong.append(f"{variable}: this option was removed; use {successor}{given}")
        elif name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            if near:
                advice = f"did you mean {PREFIX}{near[0]}?"
            else:
                known = ", ".join(PREFIX + each for each in names if each not in RESULTS)
                advice = f"allowed are {known}"
            given = _given(variables, variable, is_secret=near == [TOKEN])
            wrong.append(f"{variable}: there is no such variable; {advice}{given}")
    return wrong


def _ours(variables: Iterable[Any]) -> list[str]:
    return sorted(name for name in variables if isinstance(name, str) and name.startswith(PREFIX))


def _given(variables: Mapping[Any, Any], variable: str, is_secret: bool = False) -> str:
    """The variable's value, unless it is long or a secret, and where it was set."""
    value = variables[variable]
    shown = repr(value) if isinstance(value, PLAIN) and not is_secret else ""
    place = _place(value, next(name for name in variables if name == variable))
    known = []
    if 0 < len(shown) <= MAX_SHOWN:
        known.append(f"to {shown}")
    if place:
        known.append(f"in {place}")
    return f" (set {' '.join(known)})" if known else ""


def _place(*objects: object) -> str:
    """Where Ansible says that one of these was set, usually as FILE:LINE:COLUMN; empty if it does
    not say.
    """
    for each in objects:
        position = getattr(each, "ansible_pos", None)  # ansible-core before 2.19
        if position:
            return ":".join(str(part) for part in position)
        try:
            from ansible._internal._datatag._tags import Origin
        except ImportError:
            continue
        origin = Origin.get_tag(each)
        if origin:
            return str(origin)
    return ""
