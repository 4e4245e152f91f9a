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
  - A process whose parent has ended is given to PID 1 of its container. If that PID 1 never waits,
    every such process stays behind as a zombie.
  - This module shows for every container what its PID 1 is, whether it collects orphans, and on
    what evidence. It also counts zombies and the PIDs in use, and says what would help.
  - Without O(probe) it only looks.
  - See also L(how to read an audit,https://github.com/provider-fleet/fleet/blob/main/docs/audit.md).
author:
  - The provider.fleet authors (@provider-fleet)
options:
  probe:
    description:
      - Send an orphan that exits at once, a canary, to each PID 1 about which nothing certain is
        known, and see whether it is collected within 6.5 seconds. All are sent at the same time.
      - A program that takes the exit of any child for the end of its work, as many process managers
        do, would end because of it. So none is sent to a PID 1 that waits for any child, that is
        notified when a child ends (it catches or blocks SIGCHLD), or that has children and ran
        while it was watched for 7 seconds. Inits made for orphans, such as tini, get one anyway,
        and so do shells and programs in Ruby and Go that have no child.
      - One risk remains. A PID 1 that starts to wait for any child within those very seconds may
        take the canary for a child of its own, and end. So each PID 1 is checked again afterwards.
        If one has ended, RV(containers[].harm) says so, and there is a warning.
      - A canary that is not collected in time is collected by the remedy V(reap), which stops that
        PID 1 for milliseconds. If V(reap) is refused, the canary stays, as one zombie that no sweep
        counts.
      - None is sent to containers that O(protect) or O(protect_namespaces) spare, to paused or
        traced ones, nor to those whose processes may inspect others (C(CAP_SYS_PTRACE) or
        C(CAP_PERFMON) without C(CAP_SYS_ADMIN)).
      - The node remembers the result for its sweeps until that PID 1 ends or the node is rebooted.
    type: bool
    default: false
  remedies:
    description: Without V(reap) a canary that was not collected stays.
    type: list
    elements: str
    default: [reap, nudge, terminate]
  min_age:
    description: A PID 1 counts as leaking once sweeps on the node have seen it hold a zombie for
      this many seconds.
    type: int
    default: 60
  protect:
    description:
      - Regular expressions. A PID 1 is not probed if one of them matches its executable or its
        command line.
      - A list, or text with one expression on each line. Text of a single line must not contain a
        comma.
    type: raw
    default: []
  protect_namespaces:
    description: Kubernetes namespaces whose pods are not probed; C(*) stands for any text.
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
    description: Looks, but does not probe.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Changes nothing, unless a canary stays.
    support: full
requirements:
  - Linux 5.3 and Python 3.9 on the node
  - root
seealso:
  - module: provider.fleet.zombie_info
"""

EXAMPLES = r"""
- name: See which containers will leak
  provider.fleet.init_audit:
  become: true
  register: audit

- name: Show it
  ansible.builtin.debug:
    var: audit.summary

- name: Try out those that are not known, where that is safe
  provider.fleet.init_audit:
    probe: true
  become: true
  register: audit

- name: Show who leaks, and what would help
  ansible.builtin.debug:
    msg: "{{ item.workload.namespace }}/{{ item.workload.pod }}: {{ item.advice }}"
  loop: "{{ audit.containers | selectattr('verdict', 'eq', 'leaks') }}"
  loop_control:
    label: "{{ item.workload.container_id }}"

- name: Refuse nodes with pods that may take all PIDs
  ansible.builtin.assert:
    that: audit.unlimited_pods | length == 0
    fail_msg: "Without a PID limit: {{ audit.unlimited_pods | map(attribute='pod') | join(', ') }}"
"""

RETURN = r"""
schema:
  description: Version of this result.
  returned: success
  type: int
  sample: 1
containers:
  description: >-
    The containers of the node, those that leak first, at most 5000. The sandbox of a pod (a
    C(pause) program on its own) is left out.
  returned: success
  type: list
  elements: dict
  contains:
    workload:
      description: What the container belongs to, with the keys that M(provider.fleet.zombie_reap)
        documents.
      type: dict
    init:
      description: Its PID 1, with C(pid), C(name), C(executable), C(command_line) and C(uid); null
        if it was not found.
      type: dict
      sample: {"pid": 4711, "name": "tini", "executable": "/usr/bin/tini", "command_line":
        "/usr/bin/tini -- app", "uid": 0}
    verdict:
      description: V(reaps), V(leaks) or V(unknown), according to the strongest evidence.
      type: str
    evidence:
      description: >-
        What was seen, each with C(by), C(verdict) and C(detail). C(by) is, from the strongest to
        the weakest, V(zombies) (it holds some), V(sweeps) (one had to collect zombies from it),
        V(canary), V(signals) (SIGCHLD is ignored), V(waiting) (a thread is waiting for any child)
        or V(name).
      type: list
      elements: dict
      sample: [{"by": "name", "verdict": "reaps", "detail": "it is called tini"}]
    seconds:
      description: How long it took to collect the canary; null if it did not, or if none was sent.
      type: float
    harm:
      description: What a canary may have done to this PID 1, in words; null if it is as before.
      type: str
    cures:
      description: >-
        What helps, or may help, against zombies there. An init as PID 1 helps against orphans; it
        comes by V(init_in_image), V(share_process_namespace) or V(runtime_class) (in a pod), or
        V(init_flag) (Docker, Podman). Only V(fix), a fix in the program, helps against zombies that
        were started by the very program that keeps them. Empty if there is nothing to cure.
      type: list
      elements: str
      sample: [init_in_image, share_process_namespace, runtime_class]
    advice:
      description: The same in sentences, with numbers; null if there is nothing to cure.
      type: str
      sample: >-
        2 count as started by the program that keeps them: it has to wait (waitpid(2)) for each
        child that it starts. An init as PID 1 does not help against these.
    zombies:
      description: Zombies that parents in this container hold.
      type: int
    pids:
      description: Tasks in the cgroup whose limit is reached first, as documented by
        M(provider.fleet.zombie_reap).
      type: dict
    pid_limit:
      description: The smallest limit of PIDs of its own cgroup and of its pod's; null if none has
        one.
      type: int
      sample: 4096
unlimited_pods:
  description: >-
    Pods without a limit of PIDs, so that one of them may take all of the node's, at most 100.
    C(podPidsLimit) in the kubelet's configuration sets one for each pod. Pods of which that cannot
    be seen are left out.
  returned: success
  type: list
  elements: dict
  sample:
    [{"namespace": "shop", "pod": "web-0", "pod_uid": "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d"}]
counts:
  description: Totals.
  returned: success
  type: dict
  sample: {"containers": 12, "reaps": 9, "leaks": 2, "unknown": 1, "zombies": 4, "canaries_left": 0,
    "harmed": 0, "unlimited_pods": 1}
summary:
  description: The audit as text, line by line. Any harm that a canary may have done comes first.
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
    done, result = sweep_module.audited(module, module.params["probe"] and not module.check_mode)
    module.exit_json(changed=done.left > 0, **result)


if __name__ == "__main__":
    main()
