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
  - Looks for processes that have exited and were not waited for, finds out whose they are, and gets
    rid of them with the gentlest remedy that works.
  - While there is room for more processes, it collects only orphans, which nobody will ever wait
    for, and neither signals nor ends a program. O(pressure) says from when room counts as short.
  - If there are zombies younger than O(min_age), it waits until they reach that age, and no longer.
    The time for which the agent of the role P(provider.fleet.zombie_reaper#role) has already seen
    them on the node counts. In check mode it does not wait, and says when they would be due.
  - If the connection to the node is lost or the job is cancelled, the sweep ends before its next
    remedy, as one that gets a signal does. The node's journal and C(/run/zombie_reaper/last.json)
    say so.
  - PID 1 of the node, kernel threads, the sweep and its ancestors, container runtimes and their
    shims, the kubelet and systemd are never touched.
  - See also
    L(what is decided when,https://github.com/provider-fleet/fleet/blob/main/docs/decision.md) and
    L(what is done to a process,https://github.com/provider-fleet/fleet/blob/main/docs/remedies.md).
author:
  - The provider.fleet authors (@provider-fleet)
options:
  defer:
    description:
      - Where zombies are younger than O(min_age), only note them on the node and return
        RV(deferred=true), instead of waiting. Call the module again for those nodes.
      - On many nodes all of them have then been noted before the first one waits. Otherwise each
        batch of Ansible's forks would wait for O(min_age).
    type: bool
    default: false
    version_added: 2.0.0
extends_documentation_fragment:
  - provider.fleet.sweep_options
attributes:
  check_mode:
    description: Decides as a real run would at that moment, without waiting, and acts on nothing.
    support: full
  diff_mode:
    description: Shows the parents of zombies before and after.
    support: full
  idempotent:
    description: A run that finds nothing old enough changes nothing. Programs that leak keep making
      new zombies.
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

- name: Show what would be done on this node now
  provider.fleet.zombie_reap:
  become: true
  check_mode: true

- name: Clear the zombies of many nodes, or note those that are too young
  provider.fleet.zombie_reap:
    defer: true
  become: true
  register: swept

- name: Clear the rest, for which no more than a minute is waited in all
  provider.fleet.zombie_reap:
  become: true
  when: swept.deferred

- name: Never end a parent
  provider.fleet.zombie_reap:
    remedies: [reap, nudge]
  become: true

- name: Never stop a parent either, not even for a moment
  provider.fleet.zombie_reap:
    remedies: [nudge]
    pressure: 0 # otherwise no program is signalled while there is room
  become: true

- name: End parents only when PIDs are nearly used up, five at a time, and leave databases alone
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
      description: How many there were when the sweep looked at the node.
      type: int
    left:
      description: How many there were at the end.
      type: int
    list:
      description:
        - The first 100 of those left.
        - C(claim) is V(may_be_waited_for) if the parent may still ask for the exit status, and
          V(orphan) if nobody will. C(evidence) says how that is known.
      type: list
      elements: dict
      sample:
        [{"pid": 4711, "ppid": 4700, "name": "sh", "age": 312.4, "claim": "orphan", "evidence": "it
        started before its parent did"}]
offenders:
  description:
    - The parents of zombies, those with most zombies first, at most 1000.
    - Text chosen by a tenant is cut to a maximum length; control characters and invalid UTF-8 in it
      are escaped.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: PID of the parent.
      type: int
    name:
      description: Its name, which the process can set itself.
      type: str
    executable:
      description: Path of its executable in its own mount namespace; null if it cannot be read.
      type: str
    command_line:
      description: Its arguments.
      type: str
    uid:
      description: Its user ID as seen from the node.
      type: int
    state:
      description: Its state, as shown by C(ps).
      type: str
    zombies:
      description: How many zombies it holds.
      type: int
    due:
      description: How many of them a remedy is for. These have reached O(min_age) and are not held
        by a tracer or by a living thread.
      type: int
    claims:
      description: How many of them nobody will ask for (C(orphan)), and how many the parent may
        still wait for (C(may_be_waited_for)).
      type: dict
      sample: {"orphan": 3, "may_be_waited_for": 1}
    pressure:
      description: >-
        How much room there is for processes where the parent runs. C(level) is V(room), V(pressure)
        or V(full). C(share) is the share of C(limit) that is taken. C(where) is V(node), or the
        cgroup that is closest to its limit.
      type: dict
      sample: {"level": "room", "share": 0.0102, "limit": 192730, "where": "node"}
    oldest_age:
      description: Seconds since the oldest of them was first seen with this parent.
      type: float
    workload:
      description: >-
        What the parent belongs to. What is not known is null. The keys are C(kind) (C(container) or
        C(host)), C(runtime), C(container_id), C(container_name), C(pod_uid), C(namespace), C(pod),
        C(qos), C(lease), C(service), C(pid_namespace), C(cgroup), C(outermost) (the topmost part of
        a container's cgroup path that is not the node's own), C(user) (UID of the user who runs a
        rootless container runtime; the names then come from that user), C(kubernetes) (whether
        Kubernetes runs it) and C(sandbox) (whether it is a pod's sandbox). The lease is what Akash
        sets in the environment of the container, with C(owner), C(dseq), C(gseq), C(oseq) and
        C(provider). C(verified) says whether it belongs to the pod's namespace; if not, the tenant
        may have made it up.
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
      description: PID 1 of its PID namespace. It adopts the zombies when the parent ends.
      type: int
    pids:
      description: >-
        Tasks in the cgroup whose limit is reached first, among those of its container, its pod and
        above. C(max) is null if none of them has a limit. C(growth_per_hour) and
        C(seconds_to_full) are as for the node. Null if the kernel does not count tasks.
      type: dict
      sample:
        {"current": 180, "max": 1024, "cgroup":
        "/kubepods/burstable/pod8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "usage": 0.175781,
         "growth_per_hour": 24.0, "seconds_to_full": 126600}
    verdict:
      description: V(act) or V(leave).
      type: str
    remedies:
      description: The remedies that may be tried on this parent.
      type: list
      elements: str
    reason:
      description: Why, as one word for machines.
      type: str
      sample: too_young
    explanation:
      description: Why, as one sentence for people.
      type: str
    due_in:
      description: >-
        In how many seconds enough of its zombies will have reached O(min_age), where that is the
        only reason to leave them alone; else null.
      type: float
      sample: 48.5
    remedy:
      description: The last remedy that had an effect.
      type: str
    outcome:
      description: V(left_alone), V(would_act), V(gone), V(cleared), V(partly_cleared), V(moved) or
        V(not_cleared).
      type: str
    cleared:
      description: How many of its zombies are gone.
      type: int
    leaking_per_hour:
      description:
        - New zombies of the parent per hour, since a sweep last had it collect some.
        - Null if that never happened, or if it has made none since.
      type: float
      sample: 24.0
    adopted_by:
      description: PIDs of the processes that hold the rest now.
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
            Why V(reap) was refused, as one word for machines; null if it was not. Because of the
            node, V(architecture), V(kernel), V(yama) or V(not_permitted). Because of the parent,
            V(32_bit), V(seccomp_strict), V(seccomp_filter), V(syscall_user_dispatch),
            V(no_instruction) or V(no_system_call). Only at this moment, so that no harsher remedy
            follows in this sweep, V(traced), V(stopped), V(uninterruptible), V(not_stopping),
            V(busy) or V(disturbed).
          type: str
          sample: traced
        detail:
          description: What was done, or why not, as one sentence for people.
          type: str
        max_stop_ms:
          description: The longest time for which V(reap) stopped the parent, in milliseconds; null
            if it did not.
          type: float
          sample: 1.734
        seconds:
          description: How long it took, in seconds.
          type: float
    seconds:
      description: How long all steps took, in seconds.
      type: float
limits:
  description: >-
    The process table of the node. C(growth_per_hour) is the rate of the last half hour or more. At
    that rate the table is full in C(seconds_to_full), which is given from a tenth taken. Both are
    null if that is not known. C(pressure) is V(room), V(pressure) or V(full).
  returned: success
  type: dict
  sample:
    {"pid_max": 4194304, "threads_max": 192730, "tasks": 341, "limit": 192730, "usage": 0.001769,
    "bound_by": "threads-max",
     "pid_max_ceiling": 4194304, "growth_per_hour": 12.0, "seconds_to_full": null, "pressure":
     "room"}
counts:
  description: >-
    Totals. C(cleared_by) has one number for each remedy. C(orphans) are the zombies left that
    nobody will ask for. C(left_to_parents) were left alone, since there is room and the parent may
    still ask for them.
  returned: success
  type: dict
  sample:
    {"zombies": 12, "zombies_left": 0, "cleared": 12, "cleared_by": {"reap": 12, "nudge": 0,
    "terminate": 0},
     "offenders": 1, "acted_on": 1, "parents_ended": 0, "orphans": 0, "left_to_parents": 0}
metrics:
  description: >-
    Where the agent of the node writes metrics for node_exporter. It is a directory, V(off), or
    V(no directory) where none of those that V(auto) looks for exists. Null if there is no agent.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter
reap_refusal:
  description: >-
    Why V(reap) is impossible on this node, as one word for machines: V(architecture), V(yama),
    V(not_permitted) or V(kernel). Null if it is possible. A warning gives the reason in words.
  returned: success
  type: str
stuck:
  description: >-
    Containers that cannot end because a process of the node holds a zombie of theirs. C(pid) is
    the PID 1 that waits for it, C(holder_pid) the process that holds the C(zombies), and C(age) the
    seconds since the oldest of these was first seen.
  returned: success
  type: list
  elements: dict
foreign_scripts:
  description: >-
    Scripts of others on the node that signal the parents of zombies, whatever these are doing, at
    most 20. C(schedule) is the file of cron or systemd that starts the C(script), null if none was
    found; C(script) is null if a line of that file does it all. The daemon does not look for them.
  returned: success
  type: list
  elements: dict
  sample:
    [{"script": "/usr/local/bin/zombies.sh", "schedule": "/var/spool/cron/crontabs/root"}]
summary:
  description: The whole report as text, line by line.
  returned: success
  type: list
  elements: str
check_mode:
  description: Whether this only says what would be done.
  returned: success
  type: bool
found_by:
  description: >-
    How the zombies were found. V(ledger) means that the counters showed none, so no process was
    read; V(children), among the children of the processes in the cgroups that hold some; V(scan),
    in one pass over the whole process table.
  returned: success
  type: str
  sample: ledger
report_only:
  description: Whether O(remedies) has none, so nothing was tried.
  returned: success
  type: bool
ended_early:
  description: Whether a signal or a lost connection ended the sweep before it was done. The rest is
    left to the next sweep.
  returned: success
  type: bool
deferred:
  description: Whether zombies were only noted, since O(defer) was set and some are too young.
  returned: success
  type: bool
duration:
  description: How long the sweep took, in seconds.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module


def main():
    module = AnsibleModule(
        argument_spec=dict(defer=dict(type="bool", default=False), **sweep_module.argument_spec()),
        supports_check_mode=True,
    )
    result = sweep_module.run_sweep(
        module,
        sweep_module.own_options(module),
        check_mode=module.check_mode,
        wait=not module.check_mode,
        defer=module.params["defer"],
        diff=True,
    )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
