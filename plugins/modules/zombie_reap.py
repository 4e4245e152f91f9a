#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: zombie_reap
short_description: Find zombie processes and get rid of them, gently first
version_added: 0.1.0
description:
  - Looks for processes that have exited and were not waited for, finds whose they are, and gets rid
    of them with the gentlest
    remedy that works.
  - Zombies younger than O(min_age) are waited for, at most that long, and only if there are any.
    What the agent of the role
    P(provider.fleet.zombie_reaper#role) has seen on the node before counts.
  - Never touched are PID 1 of the node, kernel threads, the sweep and its ancestors, container
    runtimes and their shims, the
    kubelet and systemd.
author:
  - The provider.fleet authors (@provider-fleet)
extends_documentation_fragment:
  - provider.fleet.sweep_options
attributes:
  check_mode:
    description: Decides in the same way as a real run, waiting included, and does nothing.
    support: full
  diff_mode:
    description: Shows the parents of zombies before and after.
    support: full
  idempotent:
    description: A run that finds nothing old enough changes nothing. Programs that leak make new
      zombies.
    support: full
requirements:
  - Linux 5.3 and Python 3.9 on the node
  - root
seealso:
  - module: provider.fleet.zombie_info
"""

EXAMPLES = r"""
- name: Clear the zombies of containers
  provider.fleet.zombie_reap:
  become: true

- name: Say what would be done, now, on this node
  provider.fleet.zombie_reap:
  become: true
  check_mode: true

- name: Never end a parent
  provider.fleet.zombie_reap:
    remedies: [reap, nudge]
  become: true

- name: Never stop a parent either, not even for a moment
  provider.fleet.zombie_reap:
    remedies: [nudge]
    pressure: 0 # with room left no program is signalled
  become: true

- name: End parents only where it is nearly full, five at a time, and leave databases alone
  provider.fleet.zombie_reap:
    pressure: 0.9
    max_parents: 5
    protect:
      - ^/usr/lib/postgresql/
  become: true
"""

RETURN = r"""
schema:
  description: Version of this result.
  returned: success
  type: int
  sample: 1
zombies:
  description: Zombies on the node.
  returned: success
  type: dict
  contains:
    count:
      description: How many there were when the node was looked at.
      type: int
    left:
      description: How many were there at the end.
      type: int
    list:
      description:
        - The first 100 of those left.
        - C(claim) says whether anybody may still ask for the exit status, V(may_be_waited_for), or
          nobody will, V(orphan), and C(evidence) how that is known.
      type: list
      elements: dict
      sample:
        [{"pid": 4711, "ppid": 4700, "name": "sh", "age": 312.4, "claim": "orphan", "evidence": "it
        started before its parent did"}]
offenders:
  description:
    - The parents of zombies, those with most zombies first, at most 1000.
    - Text that a tenant chose is bounded, and control characters and invalid UTF-8 in it are
      escaped.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: PID of the parent.
      type: int
    name:
      description: Its name, which it chose itself.
      type: str
    executable:
      description: Path of its executable in its own mount namespace, null where it cannot be read.
      type: str
    command_line:
      description: Its arguments.
      type: str
    uid:
      description: Its user ID as the node counts.
      type: int
    state:
      description: Its state, as C(ps) shows it.
      type: str
    zombies:
      description: Zombies it holds.
      type: int
    due:
      description: Those of them that a remedy is for, being of O(min_age) and held by no tracer and
        no living thread.
      type: int
    claims:
      description: How many of them nobody will ask for, C(orphan), and how many the parent may
        still wait for, C(may_be_waited_for).
      type: dict
      sample: {"orphan": 3, "may_be_waited_for": 1}
    pressure:
      description: >-
        How much room there is for processes where the parent is. C(level) is V(room), V(pressure)
        or V(full); C(share) is what is taken of C(limit);
        C(where) is V(node) or the cgroup of which most is taken.
      type: dict
      sample: {"level": "room", "share": 0.0102, "limit": 192730, "where": "node"}
    oldest_age:
      description: Seconds since the first of them was first seen with this parent.
      type: float
    workload:
      description: >-
        What the parent belongs to. Has the keys C(kind) (C(container) or C(host)), C(runtime),
        C(container_id), C(container_name),
        C(pod_uid), C(namespace), C(pod), C(qos), C(lease), C(service), C(pid_namespace), C(cgroup),
        C(outermost) (the uppermost
        part of a container's cgroup path that is not the node's own), C(user) (UID of whoever runs
        the container's runtime rootless; the name is then what
        that user says), C(kubernetes) and C(sandbox) (whether Kubernetes runs it, and whether it is
        a pod's sandbox); what is not known is null.
        The lease is what Akash sets in the environment of the container, with C(owner), C(dseq),
        C(gseq), C(oseq) and C(provider), and C(verified), whether
        it is the lease of the pod's namespace; where it is not, the tenant may have made it up.
      type: dict
      sample:
        {"kind": "container", "runtime": "containerd",
         "container_id": "3ad4d8d4cd2dd7d1e27b2bcb0a0ba5d3dd8e9f4d3b8a3b4c5d6e7f8091a2b3c4",
         "container_name": "web",
         "pod_uid": "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "namespace": "shop", "pod": "web-0",
         "qos": "Burstable", "lease": null,
         "service": null, "pid_namespace": 4026532180, "cgroup":
         "/kubepods/burstable/pod8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d",
         "outermost": "/kubepods/burstable/pod8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "user": null,
         "kubernetes": true, "sandbox": false}
    init_pid:
      description: PID 1 of its PID namespace, which adopts the zombies when the parent ends.
      type: int
    pids:
      description: >-
        Tasks in that cgroup of its container, its pod or above whose limit is reached first; C(max)
        is null where none has a limit.
        C(growth_per_hour) and C(seconds_to_full) are as those of the node. Null where the kernel
        does not count.
      type: dict
      sample:
        {"current": 180, "max": 1024, "cgroup":
        "/kubepods/burstable/pod8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "usage": 0.175781,
         "growth_per_hour": 24.0, "seconds_to_full": 126600}
    verdict:
      description: V(act) or V(leave).
      type: str
    remedies:
      description: What may be tried on this parent.
      type: list
      elements: str
    reason:
      description: Why, as one word for machines.
      type: str
      sample: too_young
    explanation:
      description: Why, as one sentence for people.
      type: str
    remedy:
      description: The last remedy that had an effect.
      type: str
    outcome:
      description: V(left_alone), V(would_act), V(gone), V(cleared), V(partly_cleared), V(moved) or
        V(not_cleared).
      type: str
    cleared:
      description: Zombies of it that are gone.
      type: int
    leaking_per_hour:
      description:
        - Zombies that the parent makes in an hour, counted from when it last collected some in a
          sweep.
        - Null where it never did, or has made none since.
      type: float
      sample: 24.0
    adopted_by:
      description: PIDs that hold the rest now.
      type: list
      elements: int
    steps:
      description: Each remedy tried, in order.
      type: list
      elements: dict
      contains:
        remedy:
          description: Its name.
          type: str
        result:
          description: >-
            V(cleared), V(partly_cleared), V(no_effect), V(unfinished), V(refused), V(parent_ended),
            V(survived), V(gone) or V(failed).
          type: str
        refusal:
          description: >-
            Why V(reap) was refused, as one word for machines; null where it was not. Of the node:
            V(architecture), V(kernel), V(yama),
            V(not_permitted). Of the parent: V(32_bit), V(seccomp_strict), V(seccomp_filter),
            V(syscall_user_dispatch), V(no_instruction).
            Of this moment only, and then no harder remedy follows in this sweep: V(traced),
            V(stopped), V(uninterruptible),
            V(not_stopping), V(busy), V(disturbed).
          type: str
          sample: traced
        detail:
          description: What was done, or why not, as one sentence for people.
          type: str
        max_stop_ms:
          description: Milliseconds for which V(reap) stopped the parent at most at a time; null
            where it did not.
          type: float
          sample: 1.734
        seconds:
          description: How long it took.
          type: float
    seconds:
      description: How long that took.
      type: float
limits:
  description: >-
    The process table of the node. C(growth_per_hour) is the rate of the last half hour or more;
    C(seconds_to_full) is when it is full at that
    rate, from a tenth taken. Both are null where that is not known. C(pressure) is V(room),
    V(pressure) or V(full).
  returned: success
  type: dict
  sample:
    {"pid_max": 4194304, "threads_max": 192730, "tasks": 341, "limit": 192730, "usage": 0.001769,
    "bound_by": "threads-max",
     "pid_max_ceiling": 4194304, "growth_per_hour": 12.0, "seconds_to_full": null, "pressure":
     "room"}
counts:
  description: >-
    Totals. C(cleared_by) has one number for each remedy. C(orphans) are left and nobody will ask
    for them; C(left_to_parents) were left alone, since there
    is room and the parent may still ask for them.
  returned: success
  type: dict
  sample:
    {"zombies": 12, "zombies_left": 0, "cleared": 12, "cleared_by": {"reap": 12, "nudge": 0,
    "terminate": 0},
     "offenders": 1, "acted_on": 1, "parents_ended": 0, "orphans": 0, "left_to_parents": 0}
reap_refusal:
  description: >-
    Why V(reap) is impossible on this node, as one word for machines, V(architecture), V(yama),
    V(not_permitted) or V(kernel); null where it is possible.
    A warning says it to people.
  returned: success
  type: str
stuck:
  description: >-
    Containers that cannot end, since a process of the node holds a zombie of theirs. C(pid) is the
    PID 1 that waits for it, C(holder_pid) who holds the
    C(zombies), C(age) the seconds since the oldest of these was first seen.
  returned: success
  type: list
  elements: dict
summary:
  description: The whole report for people, line by line.
  returned: success
  type: list
  elements: str
check_mode:
  description: Whether this says only what would be done.
  returned: success
  type: bool
found_by:
  description: >-
    How the zombies were found. V(ledger), there are none, so no process was read; V(children),
    among the children of the processes in those
    cgroups that hold some; V(scan), one pass over the whole process table.
  returned: success
  type: str
  sample: ledger
ended_early:
  description: Whether a signal asked the sweep to end before it was done. The rest is left to the
    next one.
  returned: success
  type: bool
duration:
  description: Seconds that the sweep took.
  returned: success
  type: float

"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module


def main():
    module = AnsibleModule(argument_spec=sweep_module.argument_spec(), supports_check_mode=True)
    module.exit_json(**sweep_module.run_sweep(module, check_mode=module.check_mode, wait=True))


if __name__ == "__main__":
    main()
