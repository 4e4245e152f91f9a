# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to: a container or the host, told by its cgroup and its PID namespace.

In a container means: in another PID namespace than the sweep, or in a container's cgroup that the sweep itself is not in.
A node may be a container itself (kind, LXC), so what lies above the sweep's own cgroup does not count.
A tenant may create cgroups below its own only; of several containers in one path the topmost is therefore the true one.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

# One segment of a cgroup path that is a container, as the runtimes name it:
#   <id>                                  cgroupfs driver of Docker and of the kubelet
#   docker-<id>.scope, crio-<id>.scope,
#   cri-containerd-<id>.scope,
#   libpod-<id>.scope                     systemd driver
#   libpod-<id>, libpod-payload-<id>      Podman with cgroupfs, or split cgroups
#   SLICE:cri-containerd:<id>             containerd given a systemd path under the cgroupfs driver
# conmon (libpod-conmon-<id>.scope, crio-conmon-<id>.scope) is the container's monitor on the host.
CONTAINER = r"(?!.*conmon)(?:[a-z][a-z-]*-|[^:]*:[a-z-]+:)?([0-9a-f]{64})(?:\.scope)?"

# One segment that is a pod. UIDs have dashes with cgroupfs, underscores with systemd, neither for static pods.
# With systemd a --cgroup-root comes first, as on the nodes of kind: kubelet-kubepods-besteffort-pod<uid>.slice
POD = r"(?:(?:[a-zA-Z0-9_-]+-)?kubepods[a-z-]*-)?pod([0-9a-f]{8}([-_]?)[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12})(?:\.slice)?(?::.*)?"


class Workload(
    namedtuple("Workload", ("kind", "container_id", "pod_uid", "namespace", "pod", "service", "pid_namespace", "cgroup"))
):
    """What one process belongs to.

    kind: ``"container"`` or ``"host"``.
    container_id: str of 64 hexadecimal digits, or None where the cgroup path names none.
    pod_uid: str with dashes (32 digits without for static pods), or None.
    namespace, pod: str, the Kubernetes namespace and the name of the pod, or None where the kubelet's log folders do not tell.
    service: str, the systemd service of this node it runs in (``cron.service``), or None.
    pid_namespace: int, inode number of its PID namespace, None where it cannot be read.
    cgroup: str, the path all of this was read from.
    """

    __slots__ = ()

    @property
    def identity(self) -> str | None:
        """What stays the same when its container is started again: the pod, else the container; None where neither is known."""
        return self.pod_uid or self.container_id


def read_pods(logs: str) -> dict:
    """``{pod UID: (namespace, pod name)}`` of the pods on this node, from the names of the folders in ``/var/log/pods``.

    The kubelet makes them (Kubernetes 1.14), as ``NAMESPACE_POD_UID``; no name in Kubernetes has an underscore. Empty elsewhere.
    """
    try:
        names = os.listdir(logs)
    except OSError:
        return {}
    parts = (name.split("_") for name in names)
    return {part[2]: (part[0], part[1]) for part in parts if len(part) == 3}


def locate(lines, own_lines, pid_namespace: int | None, in_own_pid_namespace: bool, pods: dict) -> Workload:
    """The :class:`Workload` of a process.

    lines, own_lines: :class:`.procfs.CgroupLine` tuples of the process and of the sweep.
    pods: as :func:`read_pods` returns it. pid_namespace: inode number. in_own_pid_namespace: whether that is the namespace of the sweep.
    """
    own_paths = {line.controllers: line.path for line in own_lines}
    named = [(line.path, _names(line.path, own_paths.get(line.controllers, "/"))) for line in lines]
    for path, (container_id, pod_uid, _service) in named:
        if container_id or pod_uid:
            return Workload("container", container_id, pod_uid, *pods.get(pod_uid, (None, None)), None, pid_namespace, path)
    kind = "host" if in_own_pid_namespace else "container"
    path, service = next(
        ((path, names[2]) for path, names in named if names[2]), (lines[0].path if lines else "/", None))
    return Workload(kind, None, None, None, None, service, pid_namespace, path)


def _names(path: str, own_path: str) -> tuple:
    """(container id, pod UID, service) that a cgroup path names below the part it shares with the sweep's own."""
    segments, own_segments = path.split("/"), own_path.split("/")
    shared = 0
    while shared < min(len(segments), len(own_segments)) and segments[shared] == own_segments[shared]:
        shared += 1
    container_id = pod_uid = service = None
    only_slices = True
    for segment in segments[shared:]:
        pod = re.fullmatch(POD, segment)
        if pod:
            pod_uid = pod.group(1).replace("_", "-")
        container = re.fullmatch(CONTAINER, segment)
        if container:
            container_id = container.group(1)
            break
        if only_slices and segment.endswith(".service"):
            service = segment
        only_slices = only_slices and segment.endswith(".slice")
    return container_id, pod_uid, service
