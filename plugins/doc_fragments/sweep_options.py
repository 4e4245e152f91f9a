# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of a sweep, the same for every module that takes them."""

    DOCUMENTATION = r"""
options:
  scope:
    description:
      - V(containers) acts only on parents inside a container, that is, in another PID namespace
        than the sweep or in a container's cgroup that the sweep itself is not in.
      - V(all) also acts on processes of the host. PID 1, kernel threads, container runtimes, the
        kubelet, systemd and the session that runs the sweep are still never touched.
    type: str
    choices: [containers, all]
    default: containers
  remedies:
    description:
      - The remedies to try, in this order. With an empty list or V(none), a sweep only reports.
      - V(reap) stops the parent for milliseconds under C(ptrace) and has it collect its zombies
        itself; nothing ends. On nodes that are neither x86-64 nor aarch64, and for parents that
        cannot be used this way, it is refused with the reason, and the next remedy is tried.
      - V(nudge) sends C(SIGCHLD) again as long as that makes zombies disappear. It ends nothing.
      - V(terminate) ends the parent with C(SIGKILL), so that whoever waits for it sees that it
        failed. Only a parent that its own parent did not start gets C(SIGTERM) first, and
        C(SIGKILL) after O(grace). If the parent is PID 1 of a container, the container ends.
    type: list
    elements: str
    default: [reap, nudge, terminate]
  min_age:
    description:
      - Seconds that a zombie must have been seen with the same parent before it counts.
      - A busy parent may still be about to wait for its zombie. With a low value a healthy program
        may lose an exit status, or be ended, where room is short.
    type: int
    default: 60
  min_zombies:
    description: How many zombies older than O(min_age) a parent must hold before anything is done.
    type: int
    default: 1
  pressure:
    description:
      - The share of process IDs in use from which room counts as short, from 0 to 1. V(0) means
        always. It is compared for the node and for each cgroup of the parent.
      - While there is room, only orphans are collected, which nobody will ever wait for. No program
        is signalled or ended.
      - Where room is short, zombies that a parent may still wait for are collected too, and parents
        may be ended.
    type: float
    default: 0.5
    version_added: 2.0.0
  tolerate:
    description:
      - How many zombies of one parent, each older than an hour, are left alone while there is room.
        More than that are a leak, and the oldest are collected down to this number.
    type: int
    default: 1000
    version_added: 2.0.0
  grace:
    description: Seconds between C(SIGTERM) and C(SIGKILL) for an adopted daemon, from 0 to 300.
      Every other parent gets C(SIGKILL) at once.
    type: float
    default: 10.0
  protect:
    description:
      - A list of regular expressions. A parent is left alone if one of them is found in the path of
        its executable or in its command line.
      - For processes in a container, the tenant chooses both.
      - The list may be given as text, with one expression per line. A single line must not contain
        a comma.
    type: raw
    default: []
  protect_namespaces:
    description:
      - Kubernetes namespaces whose pods are never touched. In a name, C(*) stands for any text.
      - The default covers what clusters run for themselves.
      - A pod's namespace is known if the kubelet keeps the pod's log directory in C(/var/log/pods),
        or a link to it in C(/var/log/containers).
    type: list
    elements: str
    default:
      ["kube-*", akash-services, akash-gateway, nginx-gateway, ingress-nginx, cert-manager,
      rook-ceph, lens-metrics, "nvidia-*", gpu-operator,
       node-feature-discovery, "calico-*", tigera-operator, "cilium*", metallb-system,
       longhorn-system, openebs, local-path-storage, "cattle-*",
       "openshift-*", "gke-*", "gmp-*", istio-system, monitoring]
  max_parents:
    description: How many parents one sweep may end, those with the most zombies first; V(0) means
      no limit.
    type: int
    default: 10
  cooldown:
    description:
      - Seconds before a parent of the same pod (or of the same container, where there is no pod)
        may be ended again, at most a week.
      - What was ended is recorded in C(/run/zombie_reaper/ended), so it is still known after the
        container has restarted.
    type: int
    default: 3600
  min_usage:
    description: Removed. Any value is refused; use O(pressure) instead.
    type: raw
  act_within:
    description: Removed. Any value is refused; use O(pressure) instead.
    type: raw
"""
