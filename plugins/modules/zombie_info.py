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
  - Looks at the node as M(provider.fleet.zombie_reap) does, but acts on nothing, writes nothing and
    does not wait.
  - The verdicts are those that M(provider.fleet.zombie_reap) would reach now with the same options.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  facts:
    description:
      - Also return C(counts), C(limits) and C(offenders) as C(ansible_facts.zombies).
      - Later plays then have them, and so has a fact cache. All of it is in the result as well.
      - Ansible's conventions leave facts to modules named C(_facts), so this is off by default.
    type: bool
    default: false
  inits:
    description:
      - Also judge the init of each container by what can be seen of it, as
        M(provider.fleet.init_audit) does without a probe, and return that as RV(inits).
      - On a fleet, one task that does both costs little more than one that only looks.
    type: bool
    default: false
    version_added: 2.0.0
extends_documentation_fragment:
  - provider.fleet.sweep_options
attributes:
  check_mode:
    description: Never changes anything.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Never changes anything.
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

- name: Look at the zombies and judge the inits, in one task
  provider.fleet.zombie_info:
    inits: true
  become: true

- name: Show which nodes will be full within a day
  ansible.builtin.debug:
    msg: full in {{ ansible_facts.zombies.limits.seconds_to_full }} s
  when: (ansible_facts.zombies.limits.seconds_to_full or 86400) < 86400
"""

RETURN = r"""
schema:
  description: Version of this result. It is the same as for M(provider.fleet.zombie_reap), which
    explains the keys.
  returned: success
  type: int
  sample: 1
zombies:
  description: Zombies on the node, with C(count) and a bounded C(list).
  returned: success
  type: dict
offenders:
  description: The parents of zombies, those with most zombies first, each with its workload, the
    verdict and how fast it leaks.
  returned: success
  type: list
  elements: dict
limits:
  description: >-
    The process table of the node. C(growth_per_hour) comes from a comparison with sweeps of the
    last hour; at this rate the table is full in C(seconds_to_full). Both are null if that is not
    known.
  returned: success
  type: dict
  sample:
    {"pid_max": 4194304, "threads_max": 192730, "tasks": 341, "limit": 192730, "usage": 0.001769,
    "bound_by": "threads-max",
     "pid_max_ceiling": 4194304, "growth_per_hour": 12.0, "seconds_to_full": 57717000}
limits_settable:
  description: Whether root can set C(pid_max) and C(threads_max) on this node; false in most
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
    - What the last sweep on this node did, whether it was started by cron, the timer, the daemon or
      a module; from C(/run/zombie_reaper/last.json). Null if there was none since the node booted.
      Null too, with a warning, if that file is not a report that only root can write.
    - A scheduled sweep that finds nothing new leaves the previous report in place.
  returned: success
  type: dict
  contains:
    at:
      description: When it ended, in seconds since the epoch on the node's clock.
      type: float
      sample: 1764067153.218
    counts:
      description: Totals, as M(provider.fleet.zombie_reap) returns them.
      type: dict
    offenders:
      description: The parents that it acted on, at most 100, as documented by
        M(provider.fleet.zombie_reap).
      type: list
      elements: dict
    duration:
      description: How long it took, in seconds.
      type: float
    ended_early:
      description: Whether a signal ended it before it was done.
      type: bool
inits:
  description: What M(provider.fleet.init_audit) returns.
  returned: O(inits=true)
  type: dict
summary:
  description: The whole report as text, line by line.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module


def main():
    own = dict(facts=dict(type="bool", default=False), inits=dict(type="bool", default=False))
    module = AnsibleModule(
        argument_spec=dict(own, **sweep_module.argument_spec()), supports_check_mode=True
    )
    result = sweep_module.run_sweep(module, sweep_module.own_options(module), check_mode=True)
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
    if module.params["inits"]:
        result["inits"] = sweep_module.audited(module)[1]
    if module.params["facts"]:
        result["ansible_facts"] = dict(
            zombies={key: result[key] for key in ("counts", "limits", "offenders")}
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
