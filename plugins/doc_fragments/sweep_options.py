# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of a sweep, the same for every module that has them."""

    DOCUMENTATION = r"""
options:
  scope:
    description:
      - V(containers) acts only on parents inside a container, that is in another PID namespace than
        the sweep or in a
        container's cgroup that the sweep itself is not in.
      - V(all) acts on processes of the host too. PID 1, kernel threads, container runtimes, the
        kubelet, systemd and the
        session that runs the sweep are never touched all the same.
    type: str
    choices: [containers, all]
    default: containers
  remedies:
    description:
      - What may be tried, in this order. An empty list, or V(none), only reports.
      - V(reap) stops the parent for milliseconds under C(ptrace) and has it collect its zombies
        itself; nothing ends. On nodes that
        are not x86-64, and of parents that cannot be used so, it is refused with the reason, and
        the next remedy is tried.
      - V(nudge) sends C(SIGCHLD) again, while that makes zombies disappear. It ends nothing.
      - V(terminate) ends the parent with C(SIGKILL), so that whoever waits for it sees that it
        failed. Only one that its own parent did not start
        gets C(SIGTERM) first, and C(SIGKILL) after O(grace). If the parent is PID 1 of a container,
        the container ends.
    type: list
    elements: str
    default: [reap, nudge, terminate]
  min_age:
    description:
      - Seconds for which a zombie must have been seen with the same parent before it counts.
      - Its parent may be busy and still mean to wait for it, so a low value may take an exit status
        from a healthy program, or end it.
    type: int
    default: 60
  min_zombies:
    description: Zombies that count a parent must hold.
    type: int
    default: 1
  pressure:
    description:
      - The share taken of the limit that binds first, that of the node or of a cgroup, from which
        zombies that a parent may still ask for are
        collected too, and parents may be ended. From 0 to 1; V(0) is always.
      - While there is room, only orphans are collected, which nobody will ever ask for. No program
        is signalled, and none is ended.
    type: float
    default: 0.5
  tolerate:
    description:
      - Zombies of one parent, each older than an hour, that are left alone while there is room.
        More than that are a leak, and the oldest are
        collected down to this number.
    type: int
    default: 1000
  grace:
    description: Seconds that an adopted daemon gets between C(SIGTERM) and C(SIGKILL), from 0 to
      300; every other parent gets C(SIGKILL) at once.
    type: float
    default: 10.0
  protect:
    description:
      - A list of regular expressions. A parent is left alone if one is found in the path of its
        executable or in its command line.
      - A tenant chooses both for the processes of a container.
      - May be given as text, each on a line of its own. One line of text must have no comma in it.
    type: raw
    default: []
  protect_namespaces:
    description:
      - Kubernetes namespaces whose pods are never touched. In a name C(*) stands for any text.
      - The default has what clusters run for themselves.
      - A pod's namespace is known where the kubelet keeps its log directory in C(/var/log/pods), or
        a link to it in C(/var/log/containers).
    type: list
    elements: str
    default:
      ["kube-*", akash-services, akash-gateway, nginx-gateway, ingress-nginx, cert-manager,
      rook-ceph, lens-metrics, "nvidia-*", gpu-operator,
       node-feature-discovery, "calico-*", tigera-operator, "cilium*", metallb-system,
       longhorn-system, openebs, local-path-storage, "cattle-*",
       "openshift-*", "gke-*", "gmp-*", istio-system, monitoring]
  max_parents:
    description: Most parents ended in one sweep, those with most zombies first; V(0) for no limit.
    type: int
    default: 10
  cooldown:
    description:
      - Seconds before a parent of the same pod (or of the same container, where there is no pod)
        may be ended again, at most a week.
      - What was ended is kept in C(/run/zombie_reaper/ended) and outlives restarts of the
        container.
    type: int
    default: 3600
  min_usage:
    description: Removed. Any value is refused; use O(pressure).
    type: raw
  act_within:
    description: Removed. Any value is refused; use O(pressure).
    type: raw
"""
