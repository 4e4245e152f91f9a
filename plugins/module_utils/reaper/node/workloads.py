# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to: a container, its pod and its tenant, or the host. What cannot be known
is None, never guessed.

A process is in a container if it is in another PID namespace than the sweep, or in a container's
cgroup that the sweep itself is not in. A node may be a container itself (kind, LXC), so whatever
lies above the sweep's own cgroup does not count. A tenant can create cgroups only below its own, so
of several containers in one path the topmost is the true one.

Names come from what the node itself wrote: the kubelet's log directories and links, the state of
Docker and Podman, the arguments of a container's monitor. What a user's own Docker or Podman wrote
(rootless) is shown and decides nothing, and neither does the lease, which the tenant's process
itself claims.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from ..kernel.procfs import CgroupLine
from ..record import Record
from . import monitors, stable_names
from .akash_lease import LEASE, lease
from .runtime_names import (
    ID,
    NAME,
    InPod,
    OfUser,
    parse_kubernetes_name,
    read_docker_name,
    read_names_in_pods,
    read_podman_names,
    read_pods,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import ProcFS, Stat, Status
    from ..paths import Paths
    from .akash_lease import Lease

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

# With cgroupfs Podman names a pod by its bare id, which it does with no container:
# /libpod_parent/<pod id>/libpod-<id>, with conmon beside the latter
PODMAN_PODS = "libpod_parent"

RUNTIME_BY_SEGMENT = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
OF_KUBERNETES = frozenset(("cri-containerd", "crio"))  # only Kubernetes starts these
SANDBOX = "POD"  # how CRI-O and cri-dockerd name a pod's sandbox
QOS = {"-besteffort": "BestEffort", "-burstable": "Burstable", "": "Guaranteed"}

# Cgroups of containers that have a name in place of an id. LXC: before 4.0 and with Proxmox VE, and
# since. systemd-nspawn: by itself (systemd-machined), and as a service.
MACHINES = (
    (r"/lxc(?:\.payload)?/([^/]+)", "lxc"),
    (r"/lxc\.payload\.([^/]+)", "lxc"),
    (r"/machine\.slice/machine-([^/]+)\.scope", "systemd-nspawn"),
    (r"/machine\.slice/systemd-nspawn@([^/]+)\.service", "systemd-nspawn"),
)

# Segments that, like slices, hold the containers of one manager: LXC, Nomad, namespaces of
# containerd (ctr, nerdctl, BuildKit), Docker, Podman
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


class Process(Record):
    """What was read of one process at one time."""

    stat: Stat
    status: Status
    cgroup_lines: tuple[CgroupLine, ...]
    pid_namespace: int | None  # inode number


class Workload(Record):
    """What a process belongs to. None is unknown."""

    kind: str  # "container" or "host"
    runtime: str | None  # "containerd", "cri-o", "docker", "podman", "lxc" or "systemd-nspawn"
    container_id: str | None  # 64 hexadecimal digits
    container_name: str | None  # in its pod, or as its runtime names it
    pod_uid: str | None  # with dashes; 32 digits without for static pods
    namespace: str | None  # as Kubernetes names it
    pod: str | None  # as Kubernetes names it
    qos: str | None  # class of the pod: "Guaranteed", "Burstable" or "BestEffort"
    lease: Lease | None  # on Akash; not "verified" if the tenant may have made it up
    service: str | None  # systemd service of this node ("cron.service")
    pid_namespace: int | None  # inode number
    cgroup: str  # the path that shows where the process belongs
    # of a container: the top part of the path that is not the node's own; a tenant can make cgroups
    # only below it
    outermost: str | None = None
    # UID that runs the container's runtime rootless; names then come from that user's files
    user: int | None = None
    kubernetes: bool = False  # whether the node shows that Kubernetes runs it
    sandbox: bool = False  # whether it is known to be a pod's sandbox (the pause program)

    @property
    def identity(self) -> str | None:
        """One ASCII word that stays the same when the container is started again, and that no
        tenant can change. None on the host.

        The user of a rootless runtime, who could name a container anything; the owner of its pod;
        the container's name or id; else its cgroup.
        """
        if self.kind != "container":
            return None
        if self.user is not None:
            return f"user/{self.user}"
        if self.namespace and self.pod:
            return stable_names.key(f"pod/{self.namespace}/{stable_names.owner_of_pod(self.pod)}")
        if self.pod_uid:
            return self.pod_uid
        if self.runtime and self.container_name:
            service = stable_names.service_of_task(self.container_name)
            return stable_names.key(f"{self.runtime}/{service}")
        if self.container_id:
            return self.container_id
        return stable_names.key("cgroup" + (self.outermost or self.cgroup))


class _Located(Record):
    """What one cgroup path says. Fields not described here are those of :class:`Workload`."""

    path: str
    segments: list[str]  # of the path
    shared: int  # how many segments it shares with the sweep's own path
    controllers: str  # of the hierarchy, as in procfs.CgroupLine
    level: str | None  # path of the container's own cgroup, or of the pod's; None outside of both
    container_id: str | None
    runtime: str | None
    pod_uid: str | None
    qos: str | None
    service: str | None
    kubernetes: bool


class Locator:
    """Finds the :class:`Workload` of processes. What many of them have in common is read once."""

    def __init__(self, procfs: ProcFS, paths: Paths) -> None:
        self.procfs = procfs
        self.paths = paths
        self.own_lines = procfs.cgroup(os.getpid())
        self.pods = read_pods(os.path.join(paths.logs, "pods"))
        self.podman_names: dict[str, str | None] | None = None
        self.names_in_pods: dict[str, InPod] | None = None
        # by container id, or by PID if that is unknown
        self.monitors: dict[str | int, monitors.Monitor | None] = {}
        # PID -> id of its container, lease
        self.leases: dict[int, tuple[str | None, Lease | None]] = {}
        self.users: dict[int, OfUser] = {}

    def of(self, process: Process, init_pid: int | None) -> Workload:
        """init_pid: from :meth:`.inits.Inits.outermost`."""
        workload = locate(process, self.own_lines, self.pods)
        if workload.kind == "host":
            return workload
        init = None
        if init_pid is not None and not process.status.in_own_pid_namespace:
            init = self.procfs.stat(init_pid)
        workload = self._named(workload, self._monitor(workload, init or process.stat))
        return workload._replace(
            lease=self._lease(workload, init.pid) if init and workload.pod_uid else None
        )

    def _monitor(self, workload: Workload, stat: Stat) -> monitors.Monitor | None:
        key = workload.container_id or stat.pid
        if key not in self.monitors:
            self.monitors[key] = monitors.find(self.procfs, stat, self._is_of_node)
        return self.monitors[key]

    def _is_of_node(self, pid: int) -> bool:
        """Whether it is in no container's cgroup: a tenant with ``hostPID`` could give a program
        any name. In a pod's cgroup it may be (Kata).
        """
        return container_of(self.procfs.cgroup(pid), self.own_lines) is None

    def _named(self, workload: Workload, monitor: monitors.Monitor | None) -> Workload:
        if monitor:
            workload = _with_monitor(workload, monitor)
        if workload.user is not None:
            name = self._name_of_user(workload.user, workload)
            return workload._replace(container_name=name or workload.container_name)
        in_pod = self._in_pod(workload, monitor)
        if in_pod is None:
            name = None if workload.kubernetes else self._container_name(workload)
            return workload._replace(container_name=name or workload.container_name)
        is_sandbox = in_pod.name == SANDBOX
        pod_uid = workload.pod_uid or in_pod.uid
        namespace, pod = in_pod.namespace, in_pod.pod
        if pod_uid is not None:
            namespace, pod = self.pods.get(pod_uid, (namespace, pod))
        return workload._replace(
            container_name=None if is_sandbox else in_pod.name,
            pod_uid=pod_uid,
            namespace=namespace,
            pod=pod,
            kubernetes=True,
            sandbox=workload.sandbox or is_sandbox,
        )

    def _in_pod(self, workload: Workload, monitor: monitors.Monitor | None) -> InPod | None:
        """Its names in Kubernetes. One of the kubelet's links proves that Kubernetes runs it. A
        name that only looks like Kubernetes does not, since anyone can choose it.
        """
        if self.names_in_pods is None:
            self.names_in_pods = read_names_in_pods(os.path.join(self.paths.logs, "containers"))
        in_pod = None
        if workload.container_id is not None:
            in_pod = self.names_in_pods.get(workload.container_id)
        if in_pod is None and workload.kubernetes:
            in_pod = parse_kubernetes_name(
                monitor.name if monitor and monitor.name else self._container_name(workload)
            )
        return in_pod

    def _container_name(self, workload: Workload) -> str | None:
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

    def _name_of_user(self, user: int, workload: Workload) -> str | None:
        if workload.container_id is None:
            return None
        if user not in self.users:
            self.users[user] = OfUser(self.paths.passwd, user, self.procfs.mounts(os.getpid()))
        return self.users[user].name(workload.runtime, workload.container_id)

    def _lease(self, workload: Workload, init_pid: int) -> Lease | None:
        """From the container's own PID 1 only: in a pod with a shared PID namespace, PID 1 is
        another container's.
        """
        if init_pid not in self.leases:
            own = container_of(self.procfs.cgroup(init_pid), self.own_lines)
            variables = self.procfs.environment(
                init_pid, [variable for variable, _key, _shape in LEASE]
            )
            self.leases[init_pid] = (own, lease(variables, workload.namespace))
        own, found = self.leases[init_pid]
        return found if own == workload.container_id else None


def _with_monitor(workload: Workload, monitor: monitors.Monitor) -> Workload:
    """Add what the monitor's arguments say. A user's own monitor (rootless) also says which user,
    and the container's id to look up.
    """
    if monitor.uid and workload.user is None:
        workload = workload._replace(user=monitor.uid)
    workload = workload._replace(runtime=workload.runtime or monitor.runtime)
    of_kubernetes = monitor.namespace == monitors.KUBERNETES_NAMESPACE
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
    process: Process, own_lines: Sequence[CgroupLine], pods: Mapping[str, tuple[str, str]]
) -> Workload:
    """The :class:`Workload` of a process, as far as its cgroup paths and the pods' directories
    show.

    own_lines: of the sweep. pods: from :func:`.runtime_names.read_pods`.
    """
    # it has no lines if it is gone, or if the kernel has no cgroups
    located = _located_by_each(process.cgroup_lines or (CgroupLine("", "/"),), own_lines)
    in_container = _first_in_container(located)
    if in_container:
        namespace, pod = None, None
        if in_container.pod_uid is not None:
            namespace, pod = pods.get(in_container.pod_uid, (None, None))
        return Workload(
            kind="container",
            runtime=in_container.runtime,
            container_id=in_container.container_id,
            container_name=None,
            pod_uid=in_container.pod_uid,
            namespace=namespace,
            pod=pod,
            qos=in_container.qos,
            lease=None,
            service=None,
            pid_namespace=process.pid_namespace,
            cgroup=in_container.path,
            outermost=in_container.level,
            user=_user(in_container.segments, in_container.shared),
            kubernetes=in_container.kubernetes,
        )
    at = next((each for each in located if each.service), located[0])
    on_host = Workload(
        kind="host",
        runtime=None,
        container_id=None,
        container_name=None,
        pod_uid=None,
        namespace=None,
        pod=None,
        qos=None,
        lease=None,
        service=at.service,
        pid_namespace=process.pid_namespace,
        cgroup=at.path,
    )
    if process.status.in_own_pid_namespace:
        return on_host
    # prefer a hierarchy in which it is not in the sweep's own cgroup, or above
    apart = next((each for each in located if any(each.segments[each.shared :])), at)
    runtime, name = _machine(apart.segments, apart.shared) or (None, None)
    return on_host._replace(
        kind="container",
        runtime=runtime,
        container_name=name,
        outermost=_outermost(apart.segments, apart.shared),
        user=_user(apart.segments, apart.shared),
    )


def container_of(lines: Sequence[CgroupLine], own_lines: Sequence[CgroupLine]) -> str | None:
    """Id of the container in whose cgroup a process is; None for a process of the node itself.

    lines, own_lines: of the process and of the sweep.
    """
    found = _first_in_container(_located_by_each(lines, own_lines))
    return found.container_id if found else None


def level_with_pids(
    lines: Sequence[CgroupLine], own_lines: Sequence[CgroupLine]
) -> tuple[str, str] | None:
    """(controllers, path) of the container's own cgroup, or the pod's, where tasks are counted;
    None if there is none.

    A tenant may have moved the process into a cgroup below. lines, own_lines: as for
    :func:`container_of`.
    """
    located = _located_by_each(lines, own_lines)
    counting = [each for each in located if "pids" in each.controllers.split(",")] or [
        each for each in located if not each.controllers
    ]
    return next(((each.controllers, each.level) for each in counting if each.level), None)


def level_of_pod(path: str, uid: str) -> str | None:
    """The part of a cgroup path that is the cgroup of this pod; None if it has none."""
    segments = path.split("/")
    for place, segment in enumerate(segments, 1):
        if uid in segment.replace("_", "-"):
            return "/".join(segments[:place])
    return None


def _first_in_container(located: Sequence[_Located]) -> _Located | None:
    return next((each for each in located if each.level), None)


def _located_by_each(
    lines: Sequence[CgroupLine], own_lines: Sequence[CgroupLine]
) -> list[_Located]:
    own_paths = {line.controllers: line.path for line in own_lines}
    return [_located(line, own_paths.get(line.controllers, "/")) for line in lines]


def _located(line: CgroupLine, own_path: str) -> _Located:
    """What a cgroup path names below the part that it shares with the sweep's own."""
    segments, own_segments = line.path.split("/"), own_path.split("/")
    shared = 0
    while (
        shared < min(len(segments), len(own_segments)) and segments[shared] == own_segments[shared]
    ):
        shared += 1
    container_id = runtime = pod_uid = qos = service = level = None
    only_slices, kubernetes = True, False
    for place in range(shared, len(segments)):
        segment, above = segments[place], segments[place - 1]
        pod = re.fullmatch(POD, segment)
        if pod and pod_uid is None:
            pod_uid = pod.group(2).replace("_", "-")
            qos = _qos(segments[:place], pod.group(1))
            level = place + 1
        container = re.fullmatch(CONTAINER, segment)
        if container and (any(container.group(1, 2)) or above != PODMAN_PODS):
            prefix, infix, container_id = container.groups()
            manager = prefix or infix or above
            runtime = RUNTIME_BY_SEGMENT.get(manager)
            kubernetes = manager in OF_KUBERNETES
            level = place + 1
            break
        if only_slices and segment.endswith(".service"):
            service = segment
        only_slices = only_slices and segment.endswith(".slice")
    return _Located(
        path=line.path,
        segments=segments,
        shared=shared,
        controllers=line.controllers,
        level="/".join(segments[:level]) if level else None,
        container_id=container_id,
        runtime=runtime,
        pod_uid=pod_uid,
        qos=qos,
        service=service,
        kubernetes=kubernetes or pod_uid is not None,
    )


def _outermost(segments: list[str], shared: int) -> str:
    """The path down to the first segment below the shared ones that is neither a slice nor holds
    the containers of one manager.
    """
    end = shared + 1
    while end < len(segments) and (
        segments[end - 1] in HOLDERS or segments[end - 1].endswith(".slice")
    ):
        end += 1
    return "/".join(segments[:end]) or "/"


def _machine(segments: list[str], shared: int) -> tuple[str, str] | None:
    """(runtime, name) of a container that has a name in place of an id. The sweep may be in
    ``machine.slice`` too, but segments above that are the node's own.
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


def _user(segments: list[str], shared: int) -> int | None:
    """UID of the user in whose slice of this node it is (systemd-logind makes these). Root's slice
    does not count.
    """
    for place in range(1, min(shared, len(segments) - 2) + 1):
        found = re.fullmatch(r"user-([1-9][0-9]{0,9})\.slice", segments[place + 1])
        if found and segments[place] == "user.slice":
            return int(found.group(1))
    return None


def _qos(above: list[str], in_slice: str | None) -> str | None:
    """above: segments above the pod's. in_slice: what the pod's own says between ``kubepods`` and
    ``pod``, as the systemd driver writes it; None with cgroupfs, where the segments above say it.
    """
    if in_slice is None:
        has_class = above[-1:] in (["besteffort"], ["burstable"])
        parent = "-".join(above[-2:] if has_class else above[-1:])
        if not parent.startswith("kubepods"):
            return None
        in_slice = parent.removeprefix("kubepods")
    return QOS.get(in_slice)


def above_the_sweep(procfs: ProcFS) -> str | None:
    """A sentence on why nothing may be done if the sweep sees the cgroups of others from below;
    None if it does not.

    In a cgroup namespace of its own, paths outside its root begin with ``/..``
    (cgroup_namespaces(7)), and a service of the node cannot be distinguished from a container. PID
    1 shows it, since all processes that the sweep sees descend from it; in a node that is a
    container, PID 1 is below the root.
    """
    if any(line.path == "/.." or line.path.startswith("/../") for line in procfs.cgroup(1)):
        return (
            "this runs in a container that has the PID namespace of the node and a cgroup namespace"
            " of its own, where services of the node cannot be distinguished from containers: run"
            " it on the node itself, or in a container with the cgroup namespace of the node"
            " (--cgroupns=host)"
        )
    return None
