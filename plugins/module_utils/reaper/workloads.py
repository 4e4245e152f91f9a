# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to: a container, its pod and its tenant, or the host. What cannot be known is None, never guessed.

In a container means: in another PID namespace than the sweep, or in a container's cgroup that the sweep itself is not in.
A node may be a container itself (kind, LXC), so what lies above the sweep's own cgroup does not count.
A tenant may create cgroups below its own only; of several containers in one path the topmost is therefore the true one.

Names come from what the node itself wrote: the kubelet's log folders, Docker's and Podman's state. The lease alone is what the
tenant's process says of itself, so it decides nothing.
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
CONTAINER = r"(?!.*conmon)(?:([a-z][a-z-]*)-|[^:]*:([a-z-]+):)?([0-9a-f]{64})(?:\.scope)?"

# One segment that is a pod. UIDs have dashes with cgroupfs, underscores with systemd, neither for static pods.
# With systemd a --cgroup-root comes first, as on the nodes of kind: kubelet-kubepods-besteffort-pod<uid>.slice
POD = (
    r"(?:(?:[a-zA-Z0-9_-]+-)?kubepods([a-z-]*)-)?"
    r"pod([0-9a-f]{8}([-_]?)[0-9a-f]{4}\3[0-9a-f]{4}\3[0-9a-f]{4}\3[0-9a-f]{12})(?:\.slice)?(?::.*)?")

# With cgroupfs Podman calls a pod by its bare id, and no container: /libpod_parent/<pod id>/libpod-<id>, conmon beside that
PODMAN_POD = ("libpod_parent", None, None)

RUNTIMES = {
    "docker": "docker", "cri-containerd": "containerd", "nerdctl": "containerd", "crio": "cri-o", "libpod": "podman",
    "libpod-payload": "podman"}
QOS = {"-besteffort": "BestEffort", "-burstable": "Burstable", "": "Guaranteed"}

SHIM = r"(docker-)?containerd-shim.*"  # its arguments: -namespace moby -id <id> ... (containerd, runtime/v2)
DOCKER_S_NAMESPACE = "moby"
FAR_UP = 64  # parents that are looked at on the way to a shim
NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}"  # of containers, with Docker, Podman and Kubernetes
STATE_BYTES = 16 << 20  # of a runtime's file; Podman has one for all its containers

# What Akash sets in each container of a lease: variable, key here, what its value looks like (an address is bech32, BIP 173).
ADDRESS, NUMBER = r"[a-z]{1,20}1[02-9ac-hj-np-z]{38,58}", r"[0-9]{1,20}"
LEASE = (
    (b"AKASH_OWNER", "owner", ADDRESS), (b"AKASH_DEPLOYMENT_SEQUENCE", "dseq", NUMBER), (b"AKASH_GROUP_SEQUENCE", "gseq", NUMBER),
    (b"AKASH_ORDER_SEQUENCE", "oseq", NUMBER), (b"AKASH_PROVIDER", "provider", ADDRESS))


class Workload(
    namedtuple(
        "Workload",
        ("kind", "runtime", "container_id", "container_name", "pod_uid", "namespace", "pod", "qos", "lease", "service", "pid_namespace",
         "cgroup"))
):
    """What one process belongs to. Everything but kind and cgroup is None where it is not known.

    kind: ``"container"`` or ``"host"``.
    runtime: ``"containerd"``, ``"cri-o"``, ``"docker"`` or ``"podman"``.
    container_id: str of 64 hexadecimal digits. container_name: str, in its pod, or as Docker or Podman know it.
    pod_uid: str with dashes (32 digits without for static pods). namespace, pod: str, as Kubernetes names them.
    qos: ``"Guaranteed"``, ``"Burstable"`` or ``"BestEffort"``, the pod's class.
    lease: dict of str with the keys of :data:`LEASE`, of a container on Akash. The tenant could have changed it.
    service: str, the systemd service of this node it runs in (``cron.service``).
    pid_namespace: int, inode number of its PID namespace.
    cgroup: str, the path that tells where it belongs.
    """

    __slots__ = ()

    @property
    def identity(self) -> str | None:
        """What stays the same when its container is started again: the pod, else name or id of the container; None where none is known."""
        if self.pod_uid or not self.container_name:
            return self.pod_uid or self.container_id
        return "%s/%s" % (self.runtime, self.container_name)


class _Named(namedtuple("_Named", ("container_id", "runtime", "pod_uid", "qos", "service", "level"))):
    """What a cgroup path says. level: the path down to the container's own cgroup, or the pod's; None where it names neither."""

    __slots__ = ()


class Locator:
    """Finds the :class:`Workload` of processes; what is the same for many of them is read once."""

    def __init__(self, procfs, paths) -> None:
        """procfs: :class:`.procfs.ProcFS`. paths: has ``logs`` (``/var/log``), ``docker`` and ``podman`` (their state), ``docker_config``."""
        self.procfs = procfs
        self.paths = paths
        self.own_lines = procfs.cgroup(os.getpid())
        self.pods = read_pods(os.path.join(paths.logs, "pods"))
        self.podman_names = self.names_in_pods = None
        self.runtimes, self.leases = {}, {}

    def of(self, stat, status, lines, pid_namespace: int | None, init_pid: int | None) -> Workload:
        """stat, status, lines (:meth:`.procfs.ProcFS.cgroup`), pid_namespace: of the process. init_pid: :meth:`.inits.Inits.outermost`."""
        workload = locate(lines, self.own_lines, pid_namespace, status.in_own_pid_namespace, self.pods)
        if workload.container_id is None:
            return workload
        init = None if status.in_own_pid_namespace or init_pid is None else self.procfs.stat(init_pid)
        workload = workload._replace(runtime=workload.runtime or self._runtime(workload.container_id, init or stat))
        return workload._replace(
            container_name=self._container_name(workload), lease=self._lease(workload, init.pid) if init and workload.pod_uid else None)

    def _runtime(self, container_id, stat) -> str | None:
        """By the shim that is above each of containerd's containers: a process of the node, which a tenant can neither be nor name."""
        if container_id not in self.runtimes:
            self.runtimes[container_id] = None
            for _step in range(FAR_UP):
                stat = self.procfs.stat(stat.ppid) if stat and stat.ppid else None
                status = self.procfs.status(stat.pid) if stat else None
                if status is None:
                    break
                if status.in_own_pid_namespace:
                    executable = os.path.basename(self.procfs.executable(stat.pid) or b"").decode("utf-8", "replace")
                    if re.fullmatch(SHIM, executable):
                        words = (self.procfs.command_line(stat.pid) or b"").decode("utf-8", "replace").split("\0")
                        moby = DOCKER_S_NAMESPACE in words[:-1] and words[words.index(DOCKER_S_NAMESPACE) - 1] == "-namespace"
                        self.runtimes[container_id] = "docker" if moby else "containerd"
                        break
        return self.runtimes[container_id]

    def _container_name(self, workload) -> str | None:
        if workload.pod_uid:
            if self.names_in_pods is None:
                self.names_in_pods = read_names_in_pods(os.path.join(self.paths.logs, "containers"))
            return self.names_in_pods.get(workload.container_id)
        if workload.runtime == "docker":
            return read_docker_name(self.paths.docker, self.paths.docker_config, workload.container_id)
        if workload.runtime == "podman":
            if self.podman_names is None:
                self.podman_names = read_podman_names(self.paths.podman)
            return self.podman_names.get(workload.container_id)
        return None

    def _lease(self, workload, init_pid) -> dict | None:
        """From the container's own PID 1 only: where a pod shares its PID namespace, that is another container's."""
        if init_pid not in self.leases:
            own = locate(self.procfs.cgroup(init_pid), self.own_lines, None, True, {}).container_id
            given = self.procfs.environment(init_pid, [variable for variable, _key, _shape in LEASE])
            self.leases[init_pid] = (own, lease(given))
        own, found = self.leases[init_pid]
        return found if own == workload.container_id else None


def lease(environment: dict) -> dict | None:
    """The lease that these variables (bytes to bytes) tell; None where there is none. A value of the wrong shape is None."""
    found = {}
    for variable, key, shape in LEASE:
        value = environment.get(variable, b"").decode("latin-1")
        found[key] = value if re.fullmatch(shape, value) else None
    return found if any(found.values()) else None


def read_pods(logs: str) -> dict:
    """``{pod UID: (namespace, pod name)}`` of the pods on this node, from the names of the folders in ``/var/log/pods``.

    The kubelet makes them (Kubernetes 1.14), as ``NAMESPACE_POD_UID``; no name in Kubernetes has an underscore. Empty elsewhere.
    """
    parts = (name.split("_") for name in _names_in(logs))
    return {part[2]: (part[0], part[1]) for part in parts if len(part) == 3}


def read_names_in_pods(logs: str) -> dict:
    """``{container id: name}`` from the links in ``/var/log/containers``: ``POD_NAMESPACE_NAME-ID.log`` (kubelet, legacy log links)."""
    found = (re.fullmatch(r"[^_]+_[^_]+_(%s)-([0-9a-f]{64})\.log" % NAME, name) for name in _names_in(logs))
    return {match.group(2): match.group(1) for match in found if match}


def read_docker_name(state: str, config: str, container_id: str) -> str | None:
    """Name of a container of Docker. state: ``/var/lib/docker``; config: ``daemon.json``, which may name another (``data-root``)."""
    other = _json(config)
    if isinstance(other, dict) and isinstance(other.get("data-root"), str):
        state = other["data-root"]
    container = _json(os.path.join(state, "containers", container_id, "config.v2.json"))
    return _a_name(container.get("Name")) if isinstance(container, dict) else None


def read_podman_names(state: str) -> dict:
    """``{container id: name}`` of Podman's containers. state: ``/var/lib/containers/storage``, with a folder for each storage driver."""
    found = {}
    for folder in _names_in(state):
        if folder.endswith("-containers"):
            listed = _json(os.path.join(state, folder, "containers.json"))
            for container in listed if isinstance(listed, list) else ():
                names = container.get("names") if isinstance(container, dict) else None
                if isinstance(names, list) and names and isinstance(container.get("id"), str):
                    found[container["id"]] = _a_name(names[0])
    return found


def locate(lines, own_lines, pid_namespace: int | None, in_own_pid_namespace: bool, pods: dict) -> Workload:
    """The :class:`Workload` of a process, as far as its cgroup path and the pods' folders tell.

    lines, own_lines: :class:`.procfs.CgroupLine` tuples of the process and of the sweep.
    pods: as :func:`read_pods` returns it. pid_namespace: inode number. in_own_pid_namespace: whether that is the namespace of the sweep.
    """
    named = _named_by_each(lines, own_lines)
    for line, names in named:
        if names.level:
            return Workload(
                "container", names.runtime, names.container_id, None, names.pod_uid, *pods.get(names.pod_uid, (None, None)), names.qos, None,
                None, pid_namespace, line.path)
    kind = "host" if in_own_pid_namespace else "container"
    path, service = next(
        ((line.path, names.service) for line, names in named if names.service), (lines[0].path if lines else "/", None))
    return Workload(kind, *[None] * 8, service, pid_namespace, path)


def level_with_pids(lines, own_lines) -> tuple | None:
    """(controllers, path) of the container's own cgroup, or the pod's, where processes are counted; None where there is none.

    A tenant may have put the process into a cgroup below. lines, own_lines: as for :func:`locate`.
    """
    named = _named_by_each(lines, own_lines)
    counting = [pair for pair in named if "pids" in pair[0].controllers.split(",")] or [pair for pair in named if not pair[0].controllers]
    return next(((line.controllers, names.level) for line, names in counting if names.level), None)


def _named_by_each(lines, own_lines) -> list:
    own_paths = {line.controllers: line.path for line in own_lines}
    return [(line, _names(line.path, own_paths.get(line.controllers, "/"))) for line in lines]


def _names(path: str, own_path: str) -> _Named:
    """What a cgroup path names below the part it shares with the sweep's own."""
    segments, own_segments = path.split("/"), own_path.split("/")
    shared = 0
    while shared < min(len(segments), len(own_segments)) and segments[shared] == own_segments[shared]:
        shared += 1
    container_id = runtime = pod_uid = qos = service = level = None
    only_slices = True
    for place in range(shared, len(segments)):
        segment = segments[place]
        pod = re.fullmatch(POD, segment)
        if pod and pod_uid is None:
            pod_uid, qos, level = pod.group(2).replace("_", "-"), _qos(segments[:place], pod.group(1)), place + 1
        container = re.fullmatch(CONTAINER, segment)
        if container and (segments[place - 1], *container.group(1, 2)) != PODMAN_POD:
            prefix, infix, container_id = container.groups()
            runtime = RUNTIMES.get(prefix or infix or segments[place - 1])
            level = place + 1
            break
        if only_slices and segment.endswith(".service"):
            service = segment
        only_slices = only_slices and segment.endswith(".slice")
    return _Named(container_id, runtime, pod_uid, qos, service, "/".join(segments[:level]) if level else None)


def _qos(above, in_slice) -> str | None:
    """above: segments above the pod's. in_slice: what its own says between ``kubepods`` and ``pod``, None where it says neither."""
    if in_slice is None:
        parts = "-".join(above[-2:] if above[-1:] in (["besteffort"], ["burstable"]) else above[-1:])
        in_slice = parts[len("kubepods"):] if parts.startswith("kubepods") else None
    return QOS.get(in_slice)


def _a_name(text) -> str | None:
    found = re.fullmatch("/?(%s)" % NAME, text) if isinstance(text, str) else None
    return found.group(1) if found else None


def _names_in(folder) -> list:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _json(path):
    """What a file of the node says; None where it is not there, too long, or not JSON."""
    import json  # 7 ms of start-up that a sweep with nothing to do does without

    try:
        with open(path, "rb") as file:
            return json.loads(file.read(STATE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
