#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: init_audit
short_description: Show for every container of a node whether its PID 1 collects orphans, and so
  whether it will leak zombies
version_added: 0.1.0
description:
  - A process whose parent has ended is given to PID 1 of its container. If that never waits, each
    such process stays as a zombie.
  - Says of every container what its PID 1 is, whether it reaps, and what that rests on. Zombies and
    the use of PIDs are counted too.
  - Without O(probe) it only looks.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  probe:
    description:
      - Send an orphan that exits at once, a canary, to each PID 1 of which nothing is known for
        sure, and see whether it is collected
        within 6.5 seconds. All at the same time.
      - A program that takes any exit of a child for the end of its work, as many process managers
        do, would end by it. So none is sent
        to a PID 1 that waits for any child, that is told when a child ends (it catches or blocks
        SIGCHLD), or that has children and
        ran within 7 seconds. Inits that are written for orphans, such as tini, get one all the
        same, and so do shells and programs in Ruby and
        Go that have no child.
      - What remains is a PID 1 that comes to wait for any child in those very seconds. It may take
        the canary for its own, and end. Each PID 1
        is looked at again afterwards; one that has ended is RV(containers[].harm) and a warning.
      - A canary that is not collected in time is collected by the remedy V(reap), which stops that
        PID 1 for milliseconds. Where V(reap) is
        refused, it stays, one zombie, and no sweep counts it.
      - Not sent to containers that O(protect) or O(protect_namespaces) spare, to paused and traced
        ones, nor to those whose processes may look
        into others (C(CAP_SYS_PTRACE) or C(CAP_PERFMON) without C(CAP_SYS_ADMIN)).
      - What it showed is remembered on the node, for the sweeps, until that PID 1 ends or the node
        is booted.
    type: bool
    default: false
  remedies:
    description: Leave out V(reap), and a canary that was not collected stays.
    type: list
    elements: str
    default: [reap, nudge, terminate]
  min_age:
    description: Seconds for which a PID 1 must have been seen to keep a zombie to be told a leaking
      one by that. The sweeps on the node see them.
    type: int
    default: 60
  protect:
    description:
      - Regular expressions. A PID 1 whose executable or command line one of them matches is not
        probed.
      - A list, or text with each on a line of its own. One line of text must have no comma in it.
    type: raw
    default: []
  protect_namespaces:
    description: Kubernetes namespaces whose pods are not probed. In a name C(*) stands for any
      text.
    type: list
    elements: str
    default:
      ["kube-*", akash-services, akash-gateway, nginx-gateway, ingress-nginx, cert-manager,
      rook-ceph, lens-metrics, "nvidia-*", gpu-operator,
       node-feature-discovery, "calico-*", tigera-operator, "cilium*", metallb-system,
       longhorn-system, openebs, local-path-storage, "cattle-*",
       "openshift-*", "gke-*", "gmp-*", istio-system, monitoring]
attributes:
  check_mode:
    description: Looks and does not probe.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It changes nothing, unless a canary stays.
    support: full
requirements:
  - Linux 5.3 and Python 3.9 on the node
  - root
seealso:
  - module: provider.fleet.zombie_info
"""

EXAMPLES = r"""
- name: Which containers will leak
  provider.fleet.init_audit:
  become: true
  register: audit

- name: Show it
  ansible.builtin.debug:
    var: audit.summary

- name: Know for sure
  provider.fleet.init_audit:
    probe: true
  become: true
"""

RETURN = r"""
schema:
  description: Version of this result.
  returned: success
  type: int
  sample: 1
containers:
  description: >-
    The containers of the node, those that leak first, at most 5000. Not the sandbox of a pod, a
    C(pause) program on its own.
  returned: success
  type: list
  elements: dict
  contains:
    workload:
      description: What it is, with the keys that M(provider.fleet.zombie_reap) documents.
      type: dict
    init:
      description: Its PID 1, with C(pid), C(name), C(executable), C(command_line) and C(uid); null
        where it was not found.
      type: dict
      sample: {"pid": 4711, "name": "tini", "executable": "/usr/bin/tini", "command_line":
        "/usr/bin/tini -- app", "uid": 0}
    verdict:
      description: V(reaps), V(leaks) or V(unknown), as the strongest evidence says.
      type: str
    evidence:
      description: >-
        What was seen, each with C(by), C(verdict) and C(detail). C(by) is, from the strongest to
        the weakest, V(zombies) (it keeps some),
        V(sweeps) (one had to collect zombies from it), V(canary), V(signals) (SIGCHLD is ignored),
        V(waiting) (a thread sleeps in a wait for
        any child) or V(name).
      type: list
      elements: dict
      sample: [{"by": "name", "verdict": "reaps", "detail": "it is called tini"}]
    seconds:
      description: How long it took to collect the canary; null where it did not, or where none was
        sent.
      type: float
    harm:
      description: What a canary may have done to this PID 1, in words; null where it is as before.
      type: str
    zombies:
      description: Zombies that parents in this container hold.
      type: int
    pids:
      description: Tasks in the cgroup whose limit is reached first, as
        M(provider.fleet.zombie_reap) documents.
      type: dict
counts:
  description: Totals.
  returned: success
  type: dict
  sample: {"containers": 12, "reaps": 9, "leaks": 2, "unknown": 1, "zombies": 4, "canaries_left": 0,
    "harmed": 0}
summary:
  description: The audit for people, line by line. What a canary may have harmed comes first.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module


def main():
    spec = sweep_module.argument_spec()
    options = {
        name: spec[name] for name in ("remedies", "min_age", "protect", "protect_namespaces")
    }
    module = AnsibleModule(
        argument_spec=dict(probe=dict(type="bool", default=False), **options),
        supports_check_mode=True,
    )
    with sweep_module.plain_errors(module):
        from ansible_collections.provider.fleet.plugins.module_utils.reaper import audit
        from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths

        done = audit.audit(
            sweep_module.validated(module),
            Paths(),
            module.params["probe"] and not module.check_mode,
        )
    module.exit_json(
        changed=done.left > 0, **sweep_module.without_warnings(module, audit.as_dict(done))
    )


if __name__ == "__main__":
    main()
