#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: zombie_info
short_description: Show the zombie processes of a node, whose they are, and how full its process
  table is
version_added: 0.1.0
description:
  - Looks at the node in the same way as M(provider.fleet.zombie_reap) and does nothing, writes
    nothing and waits for nothing.
  - The verdicts are those that M(provider.fleet.zombie_reap) with the same options would reach at
    this moment.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  facts:
    description: Return C(counts), C(limits) and C(offenders) as C(ansible_facts.zombies) too.
    type: bool
    default: false
extends_documentation_fragment:
  - provider.fleet.sweep_options
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
requirements:
  - Linux 5.3 and Python 3.9 on the node
  - root
seealso:
  - module: provider.fleet.zombie_reap
  - module: provider.fleet.init_audit
"""

EXAMPLES = r"""
- name: Look at the node
  provider.fleet.zombie_info:
  become: true
  register: node

- name: Show it
  ansible.builtin.debug:
    var: node.summary

- name: Keep it as facts of the node
  provider.fleet.zombie_info:
    facts: true
  become: true

- name: Which nodes will be full within a day
  ansible.builtin.debug:
    msg: full in {{ ansible_facts.zombies.limits.seconds_to_full }} s
  when: (ansible_facts.zombies.limits.seconds_to_full or 86400) < 86400
"""

RETURN = r"""
schema:
  description: Version of this result, which is that of M(provider.fleet.zombie_reap); the keys are
    explained there.
  returned: success
  type: int
  sample: 1
zombies:
  description: Zombies on the node, with C(count) and a bounded C(list).
  returned: success
  type: dict
offenders:
  description: The parents of zombies, those with most zombies first, each with its workload, its
    verdict and how fast it leaks.
  returned: success
  type: list
  elements: dict
limits:
  description: >-
    The process table of the node. C(growth_per_hour) compares with sweeps of the last hour;
    C(seconds_to_full) is when it is full at this rate. Both are null where that is not known.
  returned: success
  type: dict
  sample:
    {"pid_max": 4194304, "threads_max": 192730, "tasks": 341, "limit": 192730, "usage": 0.001769,
    "bound_by": "threads-max",
     "pid_max_ceiling": 4194304, "growth_per_hour": 12.0, "seconds_to_full": 57717000}
limits_settable:
  description: Whether this node lets root set C(pid_max) and C(threads_max); not so in most
    containers.
  returned: success
  type: dict
  sample: {"pid_max": true, "threads_max": true}
counts:
  description: Totals.
  returned: success
  type: dict
last_sweep:
  description:
    - What the last sweep on this node did, by cron, timer, agent or module, as it is in
      C(/run/zombie_reaper/last.json). Null where there was none since
      the node was booted, and with a warning where that is not a report that only root can write.
    - A scheduled sweep that finds nothing new leaves the report of the one before it.
  returned: success
  type: dict
  contains:
    at:
      description: When it ended, in seconds since the epoch by the clock of the node.
      type: float
      sample: 1764067153.218
    counts:
      description: Totals, as M(provider.fleet.zombie_reap) returned them.
      type: dict
    offenders:
      description: The parents that it acted on, at most 100, as M(provider.fleet.zombie_reap)
        documents.
      type: list
      elements: dict
    duration:
      description: Seconds that it took.
      type: float
    ended_early:
      description: Whether a signal asked it to end before it was done.
      type: bool
summary:
  description: The whole report for people, line by line.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module


def main():
    module = AnsibleModule(
        argument_spec=dict(facts=dict(type="bool", default=False), **sweep_module.argument_spec()),
        supports_check_mode=True,
    )
    result = sweep_module.run_sweep(module, check_mode=True, wait=False)
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.last_report import (
        last_sweep,
    )
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths

    result["changed"] = False
    result["last_sweep"], warning = last_sweep(Paths())
    if warning:
        module.warn(warning)
    result["limits_settable"] = {
        name: limits.settable(procfs.ProcFS(), name) for name in limits.SYSCTLS
    }
    if module.params["facts"]:
        result["ansible_facts"] = dict(
            zombies={key: result[key] for key in ("counts", "limits", "offenders")}
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
