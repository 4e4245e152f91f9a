# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: wrong_variables
short_description: Find variables of this collection that are misspelt or were removed
version_added: 0.1.0
description:
  - Ansible ignores a variable that nobody reads. A misspelt C(zombie_reaper_remedys=none) would
    leave all remedies in force, and a container might be
    ended that was to be spared. So the role and the playbooks of this collection ask this lookup
    first, and refuse.
  - Every variable of the host whose name begins with C(zombie_reaper_) is compared with the
    argument specs of the role
    P(provider.fleet.zombie_reaper#role) and with what the playbooks of this collection read.
  - It takes no terms.
author:
  - The provider.fleet authors (@provider-fleet)
"""

EXAMPLES = r"""
- name: Refuse variables that nobody reads
  ansible.builtin.assert:
    that: __wrong | length == 0
    fail_msg: "{{ __wrong | join('; ') }}"
  vars:
    __wrong: "{{ query('provider.fleet.wrong_variables') }}"
"""

RETURN = r"""
_raw:
  description: >-
    One sentence for each variable that is wrong, with its name, its value, where that was set if
    Ansible knows it, and the nearest name that is
    right.
  type: list
  elements: str
  sample:
    - "zombie_reaper_remedys: there is no such variable; did you mean zombie_reaper_remedies? (it is
      'none', from /srv/inventory/group_vars/all.yml:3:24)"
"""

import difflib
import os

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.lookup import LookupBase
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMOVED

PREFIX = "zombie_reaper_"
SPECS = os.path.join(os.path.dirname(__file__), "../../roles/zombie_reaper/meta/argument_specs.yml")

TOKEN = "token"  # the one that is a secret

# What the role does not have, but the playbooks read
OF_PLAYBOOKS = (
    "hosts",
    "node",
    "probe",
    "report_dest",
    "report_keep_days",
    "docker_file",
    "restart_docker",
    "awx_scm_url",
    "awx_scm_branch",
    "awx_scm_credential",
    "awx_organization",
    "awx_inventory",
    "awx_credentials",
    "awx_execution_environment",
    "awx_playbooks",
    "awx_slices",
    "awx_sweep_minutes",
    "awx_schedules",
)
OF_THE_RULEBOOK = ("listen", "port", TOKEN)
RESULTS = ("sweep", "audit")  # registered by the role and by audit.yml, for what comes after them
PLAIN = (str, int, float)  # neither what Ansible Vault has encrypted, nor what is long
MAX_SHOWN = 60  # characters of a value that is shown


class LookupModule(LookupBase):
    """Looks at the names, and templates nothing."""

    def run(self, terms, variables=None, **kwargs):
        if terms or kwargs:
            raise AnsibleError(
                "provider.fleet.wrong_variables takes no terms and no options: it looks at all"
                " variables of the host"
            )
        return sentences(variables or {}, allowed())


def allowed() -> list:
    """The names there are, without :data:`PREFIX`."""
    with open(SPECS, encoding="utf-8") as file:
        specs = yaml_load(file)["argument_specs"]
    return sorted(
        {name[len(PREFIX) :] for entry in specs.values() for name in entry["options"]}.union(
            OF_PLAYBOOKS, OF_THE_RULEBOOK, RESULTS
        )
    )


def sentences(variables, names) -> list:
    """What is wrong with the variables. variables: mapping of names to values as they stand, not
    templated; names: list of str, of :func:`allowed`.
    """
    wrong = []
    for variable in sorted(
        name for name in variables if isinstance(name, str) and name.startswith(PREFIX)
    ):
        name = variable[len(PREFIX) :]
        if name in REMOVED:
            wrong.append(
                "%s: this option was removed; use %s%s"
                % (variable, PREFIX + REMOVED[name], _given(variables, variable))
            )
        elif name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            right = (
                "did you mean %s?" % (PREFIX + near[0])
                if near
                else "allowed are "
                + ", ".join(PREFIX + each for each in names if each not in RESULTS)
            )
            wrong.append(
                "%s: there is no such variable; %s%s"
                % (variable, right, _given(variables, variable, secret=near == [TOKEN]))
            )
    return wrong


def _given(variables, variable, secret=False) -> str:
    """Its value, if it is a short one and no secret, and where it was set."""
    value = variables[variable]
    shown = repr(value) if isinstance(value, PLAIN) and not secret else ""
    place = _place(value, next(name for name in variables if name == variable))
    told = [
        "it is " + shown if 0 < len(shown) <= MAX_SHOWN else "",
        "from " + place if place else "",
    ]
    return " (%s)" % ", ".join(filter(None, told)) if any(told) else ""


def _place(*objects) -> str:
    """FILE:LINE:COLUMN, or what else Ansible noted of where one of these was set; empty where it
    noted nothing.
    """
    for each in objects:
        if getattr(each, "ansible_pos", None):  # ansible-core before 2.19
            return ":".join(str(part) for part in each.ansible_pos)
        try:
            from ansible._internal._datatag._tags import Origin
        except ImportError:
            continue
        origin = Origin.get_tag(each)
        if origin:
            return str(origin)
    return ""
