# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to: a container, its pod and its tenant, or the host. What cannot be known
is None, never guessed.

In a container means: in another PID namespace than the sweep, or in a container's cgroup that the
sweep itself is not in. A node may be a container itself (kind, LXC), so what lies above the sweep's
own cgroup does not count. A tenant may create cgroups below its own only; of several containers in
one path the topmost is therefore the true one.

Names come from what the node itself wrote: the kubelet's log directories and links, Docker's and
Podman's state, the arguments of a container's monitor. What a user's own Docker or Podman wrote
(rootless) is shown and decides nothing; no more does the lease, which the tenant's process says of
itself.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from . import monitors, names
from .lease import LEASE, lease
from .runtime_names import (
    ID,
    NAME,
    OfUser,
    parse_kubernetes_name,
    read_docker_name,
    read_names_in_pods,
    read_podman_names,
    read_pods,
)

# One segment of a cgroup path that is a container, as the runtimes name it:
#   <id>                                  cgroupfs driver of Docker and of the kubelet
#   docker-<id>.scope, crio-<id>.scope,
#   cri-containerd-<id>.scope,
#   libpod-<id>.scope                     systemd driver
#   libpod-<id>, libpod-payload-<id>      Podman with cgroupfs, or split cgroups
#   SLICE:cri-containerd:<id>             containerd given a systemd path under the cgroupfs driver
# conmon (libpod-conmon-<id>.scope, crio-conmon-<id>.scope) is the container's monitor on the host.
CONTAINER = r"(?!.*conmon)(?:([a-z][a-z-]*)-|[^:]*:([a-z-]+):)?([0-9a-f]{64})(?:\.scope)?"

# One segment that is a pod. UIDs have dashes with cgroupfs, underscores with systemd, neither for
# static pods. With systemd a --cgroup-root comes first, as on the nodes of kind:
# kubelet-kubepods-besteffort-pod<uid>.slice
POD = (
    r"(?:(?:[a-zA-Z0-9_-]+-)?kubepods([a-z-]*)-)?"
    r"pod([0-9a-f]{8}([-_]?)[0-9a-f]{4}\3[0-9a-f]{4}\3[0-9a-f]{4}\3[0-9a-f]{12})(?:\.slice)?(?::.*)?"
)

# With cgroupfs Podman calls a pod by its bare id, and no container: /libpod_parent/<pod
# id>/libpod-<id>, conmon beside that
PODMAN_POD = ("libpod_parent", None, None)

RUNTIME_BY_SEGMENT = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
OF_KUBERNETES = frozenset(("cri-containerd", "crio"))  # what only Kubernetes starts
SANDBOX = "POD"  # the name of a pod's sandbox with CRI-O and cri-dockerd
QOS = {"-besteffort": "BestEffort", "-burstable": "Burstable", "": "Guaranteed"}

# Containers that have a name in place of an id, as their managers call their cgroups. LXC, before
# 4.0 and with Proxmox VE, and since; systemd-nspawn by itself (systemd-machined), and as a service.
MACHINES = (
    (r"/lxc(?:\.payload)?/([^/]+)", "lxc"),
    (r"/lxc\.payload\.([^/]+)", "lxc"),
    (r"/machine\.slice/machine-([^/]+)\.scope", "systemd-nspawn"),
    (r"/machine\.slice/systemd-nspawn@([^/]+)\.service", "systemd-nspawn"),
)

# Segments that hold the containers of one manager, beside slices: of LXC, Nomad, containerd's
# namespaces (ctr, nerdctl, BuildKit), Docker, Podman
HOLDERS = frozenset(
    (
        "lxc",
        "lxc.payload",
        "nomad",
        "default",
        "buildkit",
        "k8s.io",
        "moby",
        "docker",
        "libpod_parent",
        "..",
    )
)


class Workload(
    namedtuple(
        "Workload",
        (
            "kind",
            "runtime",
            "container_id",
            "container_name",
            "pod_uid",
            "namespace",
            "pod",
            "qos",
            "lease",
            "service",
            "pid_namespace",
            "cgroup",
            "outermost",
            "user",
            "kubernetes",
            "sandbox",
        ),
        defaults=(None, None, False, False),
    )
):
    """What one process belongs to. Everything but kind, cgroup, kubernetes and sandbox is None
    where it is not known.

    kind: ``"container"`` or ``"host"``.
    runtime: ``"containerd"``, ``"cri-o"``, ``"docker"``, ``"podman"``, ``"lxc"`` or
    ``"systemd-nspawn"``.
    container_id: str of 64 hexadecimal digits. container_name: str, in its pod, or as its runtime
    knows it.
    pod_uid: str with dashes (32 digits without for static pods). namespace, pod: str, as Kubernetes
    names them.
    qos: ``"Guaranteed"``, ``"Burstable"`` or ``"BestEffort"``, the pod's class.
    lease: dict of str with the keys of :data:`.lease.LEASE`, of a container on Akash, and
    ``verified``: False where the tenant may have made it up.
    service: str, the systemd service of this node it runs in (``cron.service``).
    pid_namespace: int, inode number of its PID namespace.
    cgroup: str, the path that tells where it belongs.
    outermost: str, the uppermost part of a container's path that is not the node's own. A tenant
    makes cgroups below it only.
    user: int, UID of whoever runs the container's runtime rootless. Names are then what that user's
    files say.
    kubernetes: bool, whether the node says that Kubernetes runs it. sandbox: bool, whether it is
    known to be a pod's sandbox (the pause program).
    """

    __slots__ = ()

    @property
    def identity(self) -> str | None:
        """What stays the same when its container is started again, and is no tenant's to change:
        one ASCII word. None on the host.

        The owner of its pod; the user of a rootless runtime, who could call a container anything;
        the container's name, or its id; else its cgroup.
        """
        if self.kind != "container":
            return None
        if self.user is not None:
            return f"user/{self.user}"
        if self.namespace and self.pod:
            return names.key(f"pod/{self.namespace}/{names.owner_of_pod(self.pod)}")
        if self.pod_uid:
            return self.pod_uid
        if self.runtime and self.container_name:
            return names.key(f"{self.runtime}/{names.service_of_task(self.container_name)}")
        if self.container_id:
            return self.container_id
        return names.key("cgroup" + (self.outermost or self.cgroup))


class _Named(
    namedtuple(
        "_Named",
        (
            "container_id",
            "runtime",
            "pod_uid",
            "qos",
            "service",
            "level",
            "kubernetes",
            "segments",
            "shared",
        ),
    )
):
    """What a cgroup path says. level: the path down to the container's own cgroup, or the pod's;
    None where it names neither.

    segments: list of str, the path. shared: int, how many of them it shares with the sweep's own.
    The rest is as in :class:`Workload`.
    """

    __slots__ = ()


class Locator:
    """Finds the :class:`Workload` of processes; what is the same for many of them is read once."""

    def __init__(self, procfs, paths) -> None:
        """procfs: :class:`.procfs.ProcFS`. paths: has ``logs`` (``/var/log``), ``docker``,
        ``podman`` and ``podman_run`` (their state), ``docker_config`` and ``passwd``.
        """
        self.procfs = procfs
        self.paths = paths
        self.own_lines = procfs.cgroup(os.getpid())
        self.pods = read_pods(os.path.join(paths.logs, "pods"))
        self.podman_names = self.names_in_pods = None
        self.monitors, self.leases, self.users = {}, {}, {}

    def of(self, stat, status, lines, pid_namespace: int | None, init_pid: int | None) -> Workload:
        """stat, status, lines (:meth:`.procfs.ProcFS.cgroup`), pid_namespace: of the process.
        init_pid: :meth:`.inits.Inits.outermost`.
        """
        workload = locate(
            lines, self.own_lines, pid_namespace, status.in_own_pid_namespace, self.pods
        )
        if workload.kind == "host":
            return workload
        init = (
            None if status.in_own_pid_namespace or init_pid is None else self.procfs.stat(init_pid)
        )
        workload = self._named(workload, self._monitor(workload, init or stat))
        return workload._replace(
            lease=self._lease(workload, init.pid) if init and workload.pod_uid else None
        )

    def _monitor(self, workload, stat):
        """A process of the node, which a tenant can neither be nor name."""
        key = workload.container_id or stat.pid
        if key not in self.monitors:
            self.monitors[key] = monitors.find(self.procfs, stat, self._is_of_node)
        return self.monitors[key]

    def _is_of_node(self, pid) -> bool:
        """Of its pod's cgroup it may be (Kata), of a container's not: a tenant with ``hostPID``
        could call a program as it likes.
        """
        return locate(self.procfs.cgroup(pid), self.own_lines, None, True, {}).container_id is None

    def _named(self, workload, monitor) -> Workload:
        if monitor:
            workload = _with_monitor(workload, monitor)
        if workload.user is not None:
            return workload._replace(
                container_name=self._name_of_user(workload) or workload.container_name
            )
        told = self._in_pod(workload, monitor)
        if told is None:
            name = None if workload.kubernetes else self._container_name(workload)
            return workload._replace(container_name=name or workload.container_name)
        sandbox = told.name == SANDBOX
        pod_uid = workload.pod_uid or told.uid
        namespace, pod = self.pods.get(pod_uid, (told.namespace, told.pod))
        return workload._replace(
            container_name=None if sandbox else told.name,
            pod_uid=pod_uid,
            namespace=namespace,
            pod=pod,
            kubernetes=True,
            sandbox=workload.sandbox or sandbox,
        )

    def _in_pod(self, workload, monitor):
        """A :class:`.runtime_names.InPod` or None.

        A link of the kubelet's makes it Kubernetes'; a name that only looks so does not, for
        anybody may choose it.
        """
        if self.names_in_pods is None:
            self.names_in_pods = read_names_in_pods(os.path.join(self.paths.logs, "containers"))
        told = self.names_in_pods.get(workload.container_id)
        if told is None and workload.kubernetes:
            told = parse_kubernetes_name(
                monitor.name if monitor and monitor.name else self._container_name(workload)
            )
        return told

    def _container_name(self, workload) -> str | None:
        if workload.container_id is None:
            return None
        if workload.runtime == "docker":
            return read_docker_name(
                self.paths.docker, self.paths.docker_config, workload.container_id
            )
        if workload.runtime == "podman":
            if self.podman_names is None:
                self.podman_names = read_podman_names(self.paths.podman, self.paths.podman_run)
            return self.podman_names.get(workload.container_id)
        return None

    def _name_of_user(self, workload) -> str | None:
        if workload.container_id is None:
            return None
        if workload.user not in self.users:
            self.users[workload.user] = OfUser(
                self.paths.passwd, workload.user, self.procfs.mounts(os.getpid())
            )
        return self.users[workload.user].name(workload.runtime, workload.container_id)

    def _lease(self, workload, init_pid) -> dict | None:
        """From the container's own PID 1 only: where a pod shares its PID namespace, that is
        another container's.
        """
        if init_pid not in self.leases:
            own = locate(self.procfs.cgroup(init_pid), self.own_lines, None, True, {}).container_id
            given = self.procfs.environment(
                init_pid, [variable for variable, _key, _shape in LEASE]
            )
            self.leases[init_pid] = (own, lease(given, workload.namespace))
        own, found = self.leases[init_pid]
        return found if own == workload.container_id else None


def _with_monitor(workload, monitor) -> Workload:
    """What the monitor's arguments add to what the cgroup path says. A user's own monitor
    (rootless) says who, and gives the container's id to look up.
    """
    if monitor.uid and workload.user is None:
        workload = workload._replace(user=monitor.uid)
    workload = workload._replace(runtime=workload.runtime or monitor.runtime)
    of_kubernetes = monitor.namespace == monitors.KUBERNETES_S
    if not of_kubernetes and monitor.namespace and workload.container_id is None:
        if re.fullmatch(ID, monitor.container_id or ""):
            workload = workload._replace(container_id=monitor.container_id)
        elif re.fullmatch(NAME, monitor.container_id or ""):
            workload = workload._replace(container_name=monitor.container_id)
    if of_kubernetes and workload.user is None:
        workload = workload._replace(
            kubernetes=True,
            sandbox=workload.container_id is not None
            and workload.container_id == monitor.container_id,
        )
    return workload


def locate(
    lines, own_lines, pid_namespace: int | None, in_own_pid_namespace: bool, pods: dict
) -> Workload:
    """The :class:`Workload` of a process, as far as its cgroup path and the pods' directories tell.

    lines, own_lines: :class:`.procfs.CgroupLine` tuples of the process and of the sweep.
    pods: as :func:`.runtime_names.read_pods` returns it. pid_namespace: inode number.
    in_own_pid_namespace: whether that is the namespace of the sweep.
    """
    named = _named_by_each(lines, own_lines)
    for line, said in named:
        if said.level:
            return Workload(
                "container",
                said.runtime,
                said.container_id,
                None,
                said.pod_uid,
                *pods.get(said.pod_uid, (None, None)),
                said.qos,
                None,
                None,
                pid_namespace,
                line.path,
                said.level,
                _user(said.segments, said.shared),
                said.kubernetes,
                False,
            )
    line, said = next(
        ((line, said) for line, said in named if said.service), named[0] if named else (None, None)
    )
    path, service = (line.path, said.service) if line else ("/", None)
    if in_own_pid_namespace:
        return Workload("host", *[None] * 8, service, pid_namespace, path)
    # a hierarchy in which it is elsewhere than the sweep
    said = next((said for _line, said in named if any(said.segments[said.shared :])), said)
    segments, shared = (said.segments, said.shared) if said else (["", ""], 1)
    runtime, name = _machine(segments, shared) or (None, None)
    return Workload(
        "container",
        runtime,
        None,
        name,
        *[None] * 5,
        service,
        pid_namespace,
        path,
        _outermost(segments, shared),
        _user(segments, shared),
    )


def level_with_pids(lines, own_lines) -> tuple | None:
    """(controllers, path) of the container's own cgroup, or the pod's, where processes are counted;
    None where there is none.

    A tenant may have put the process into a cgroup below. lines, own_lines: as for :func:`locate`.
    """
    named = _named_by_each(lines, own_lines)
    counting = [pair for pair in named if "pids" in pair[0].controllers.split(",")] or [
        pair for pair in named if not pair[0].controllers
    ]
    return next(((line.controllers, names.level) for line, names in counting if names.level), None)


def _named_by_each(lines, own_lines) -> list:
    own_paths = {line.controllers: line.path for line in own_lines}
    return [(line, _names(line.path, own_paths.get(line.controllers, "/"))) for line in lines]


def _names(path: str, own_path: str) -> _Named:
    """What a cgroup path names below the part it shares with the sweep's own."""
    segments, own_segments = path.split("/"), own_path.split("/")
    shared = 0
    while (
        shared < min(len(segments), len(own_segments)) and segments[shared] == own_segments[shared]
    ):
        shared += 1
    container_id = runtime = pod_uid = qos = service = level = None
    only_slices, kubernetes = True, False
    for place in range(shared, len(segments)):
        segment = segments[place]
        pod = re.fullmatch(POD, segment)
        if pod and pod_uid is None:
            pod_uid, qos, level = (
                pod.group(2).replace("_", "-"),
                _qos(segments[:place], pod.group(1)),
                place + 1,
            )
        container = re.fullmatch(CONTAINER, segment)
        if container and (segments[place - 1], *container.group(1, 2)) != PODMAN_POD:
            prefix, infix, container_id = container.groups()
            runtime = RUNTIME_BY_SEGMENT.get(prefix or infix or segments[place - 1])
            kubernetes = (prefix or infix or segments[place - 1]) in OF_KUBERNETES
            level = place + 1
            break
        if only_slices and segment.endswith(".service"):
            service = segment
        only_slices = only_slices and segment.endswith(".slice")
    return _Named(
        container_id,
        runtime,
        pod_uid,
        qos,
        service,
        "/".join(segments[:level]) if level else None,
        kubernetes or pod_uid is not None,
        segments,
        shared,
    )


def _outermost(segments, shared) -> str:
    """The path down to the first segment below what is shared (their number) that is neither a
    slice nor holds the containers of one manager.
    """
    end = shared + 1
    while end < len(segments) and (
        segments[end - 1] in HOLDERS or segments[end - 1].endswith(".slice")
    ):
        end += 1
    return "/".join(segments[:end]) or "/"


def _machine(segments, shared) -> tuple | None:
    """(runtime, name) of a container that has a name in place of an id. ``machine.slice`` may be
    shared with the sweep; what is above it is its own.
    """
    for start in (max(1, shared), max(1, shared - 1)):
        path = "/" + "/".join(segments[start:])
        for pattern, runtime in MACHINES:
            found = re.match(pattern + "(?=/|$)", path)
            if found and start + found.group().count("/") > shared:
                # systemd.unit(5), "String Escaping for Inclusion in Unit Names"
                name = re.sub(
                    r"\\x([0-9a-f]{2})",
                    lambda escaped: chr(int(escaped.group(1), 16)),
                    found.group(1),
                )
                return (runtime, name) if re.fullmatch(NAME, name) else None
    return None


def _user(segments, shared) -> int | None:
    """UID of the user in whose slice of this node it is, which systemd-logind makes; root has one
    too, and is not meant.
    """
    for place in range(1, min(shared, len(segments) - 2) + 1):
        found = re.fullmatch(r"user-([1-9][0-9]{0,9})\.slice", segments[place + 1])
        if found and segments[place] == "user.slice":
            return int(found.group(1))
    return None


def _qos(above, in_slice) -> str | None:
    """above: segments above the pod's. in_slice: what its own says between ``kubepods`` and
    ``pod``, None where it says neither.
    """
    if in_slice is None:
        parts = "-".join(
            above[-2:] if above[-1:] in (["besteffort"], ["burstable"]) else above[-1:]
        )
        in_slice = parts[len("kubepods") :] if parts.startswith("kubepods") else None
    return QOS.get(in_slice)


def above_the_sweep(procfs) -> str | None:
    """Why nothing may be done where the sweep sees the cgroups of others from below, as one
    sentence; None where it does not.

    In a cgroup namespace of its own, what is not below its root begins with ``/..``
    (cgroup_namespaces(7)): a service of the node cannot be told from a container there. PID 1
    tells, since whatever the sweep sees is a descendant of its; a node that is a container has its
    own PID 1 below its root.
    """
    if any(line.path == "/.." or line.path.startswith("/../") for line in procfs.cgroup(1)):
        return (
            "this runs in a container that has the PID namespace of the node and a cgroup namespace"
            " of its own, where services of the node cannot be told from containers: run it on the"
            " node itself, or in a container with the cgroup namespace of the node"
            " (--cgroupns=host)"
        )
    return None
