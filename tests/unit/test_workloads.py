"""Which container a cgroup path means, in every shape that the runtimes write it, and which paths mean none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.provider.fleet.plugins.module_utils.reaper import workloads
from ansible_collections.provider.fleet.plugins.module_utils.reaper.procfs import CgroupLine

CID, OTHER = "0123456789abcdef" * 4, "f" * 64
UID, OTHER_UID, STATIC = "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d", "11111111-2222-3333-4444-555555555555", "0123456789abcdef" * 2
UID_ = UID.replace("-", "_")

CONTAINERS = {  # cgroup path -> (container, pod, runtime, QoS class)
    "/kubepods/besteffort/pod%s/%s" % (UID, CID): (CID, UID, None, "BestEffort"),
    "/kubepods/burstable/pod%s/%s" % (UID, CID): (CID, UID, None, "Burstable"),
    "/kubepods/pod%s/%s" % (UID, CID): (CID, UID, None, "Guaranteed"),
    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod%s.slice/cri-containerd-%s.scope" % (UID_, CID): (CID, UID, "containerd", "BestEffort"),
    "/kubepods.slice/kubepods-pod%s.slice/crio-%s.scope" % (UID_, CID): (CID, UID, "cri-o", "Guaranteed"),
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice/docker-%s.scope" % (UID_, CID): (CID, UID, "docker", "Burstable"),
    "/kubepods-besteffort-pod%s.slice:cri-containerd:%s" % (UID_, CID): (CID, UID, "containerd", "BestEffort"),
    "/system.slice/containerd.service/kubepods-besteffort-pod%s.slice:cri-containerd:%s" % (UID_, CID): (CID, UID, "containerd", "BestEffort"),
    "/libpod_parent/libpod-%s" % CID: (CID, None, "podman", None),
    "/machine.slice/libpod-%s.scope" % CID: (CID, None, "podman", None),
    "/machine.slice/libpod-%s.scope/container" % CID: (CID, None, "podman", None),
    "/machine.slice/podman-1234.scope/libpod-payload-%s" % CID: (CID, None, "podman", None),
    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-%s.scope/container" % CID: (CID, None, "podman", None),
    "/docker/%s" % CID: (CID, None, "docker", None),
    "/system.slice/docker-%s.scope" % CID: (CID, None, "docker", None),
    "/system.slice/docker.service/docker/%s" % CID: (CID, None, "docker", None),
    # Static pods: the kubelet makes their UID from a hash, without dashes.
    "/kubepods/besteffort/pod%s/%s" % (STATIC, CID): (CID, STATIC, None, "BestEffort"),
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice/cri-containerd-%s.scope" % (STATIC, CID): (CID, STATIC, "containerd", "Burstable"),
    # The pod's own cgroup, where runtimes put the helpers of sandboxes (Kata).
    "/kubepods/besteffort/pod%s" % UID: (None, UID, None, "BestEffort"),
    "/kubepods.slice/kubepods-pod%s.slice" % UID_: (None, UID, None, "Guaranteed"),
    # Below a prefix: k3d, kind before cgroup namespaces, --cgroup-root of the kubelet.
    "/some/prefix/kubepods/besteffort/pod%s/%s" % (UID, CID): (CID, UID, None, "BestEffort"),
    "/kubelet/kubepods/burstable/pod%s/%s" % (UID, CID): (CID, UID, None, "Burstable"),
    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod%s.slice"
    "/cri-containerd-%s.scope" % (UID_, CID): (CID, UID, "containerd", "BestEffort"),
    # Above the root of the sweep's cgroup namespace, as a sweep in a pod with hostPID sees its neighbours.
    "/../../pod%s/%s" % (UID, CID): (CID, UID, None, None),
    "/../cri-containerd-%s.scope" % CID: (CID, None, "containerd", None),
    # A container in a container: the topmost was made by the node, what is below by the tenant.
    "/kubepods/besteffort/pod%s/%s/docker/%s" % (UID, CID, OTHER): (CID, UID, None, "BestEffort"),
    "/docker/%s/kubelet/kubepods/besteffort/pod%s/%s" % (CID, UID, OTHER): (CID, None, "docker", None),
    "/kubepods/besteffort/pod%s/%s/kubepods/pod%s/%s" % (UID, CID, OTHER_UID, OTHER): (CID, UID, None, "BestEffort"),
    "/docker/%s/system.slice/kubelet.service" % CID: (CID, None, "docker", None),
    "/docker/%s/init.scope" % CID: (CID, None, "docker", None),
    "/docker/%s/pod%s" % (CID, OTHER_UID): (CID, None, "docker", None),
    "/docker/%s/\udcff\x1b[2J" % CID: (CID, None, "docker", None),
}

HOST = {  # cgroup path -> service
    "/": None,
    "/init.scope": None,
    "/user.slice/user-0.slice/session-3.scope": None,
    "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service": "user@1000.service",
    "/system.slice/cron.service": "cron.service",
    "/system.slice/ssh.service": "ssh.service",
    "/system.slice/containerd.service": "containerd.service",
    "/system.slice/kubelet.service": "kubelet.service",
    "/system.slice/system-getty.slice/getty@tty1.service": "getty@tty1.service",
    "/kubelet.slice/kubelet.service": "kubelet.service",
    # Monitors of containers, which live on the host.
    "/machine.slice/libpod-conmon-%s.scope" % CID: None,
    "/libpod_parent/libpod-conmon-%s" % CID: None,
    "/system.slice/crio-conmon-%s.scope" % CID: None,
    "/kubepods.slice/crio-conmon-%s.scope" % CID: None,
    "/system.slice:crio-conmon:%s" % CID: None,
    # LXC and nspawn name no container that the node could tell from a folder; their PID namespace tells.
    "/lxc/101": None,
    "/lxc.payload.web": None,
    "/lxc.payload.web/system.slice/cron.service": None,
    "/lxc.monitor.web": None,
    "/machine.slice/machine-web.scope": None,
    "/machine.slice/systemd-nspawn@web.service/payload": "systemd-nspawn@web.service",
    # Nearly a container.
    "/docker/%s" % CID[1:]: None,
    "/docker/%s0" % CID: None,
    "/docker/%s" % CID.upper(): None,
    "/docker/docker-%s.scope.d" % CID: None,
    "/docker/x %s" % CID: None,
    "/kubepods/besteffort/pod%s" % UID[1:]: None,
    "/kubepods/besteffort/pod%s" % UID.replace("-", "_", 1): None,
    "/kubepods/besteffort": None,
}


def locate(path, own="/", own_pid_namespace=True, controllers="", pods=()):
    return workloads.locate(
        (CgroupLine(controllers, path),), (CgroupLine(controllers, own),), 4026531836, own_pid_namespace, dict(pods))


@pytest.mark.parametrize("path", CONTAINERS)
@pytest.mark.parametrize("own_pid_namespace", [True, False])
def test_path_of_a_container(path, own_pid_namespace):
    found = locate(path, own_pid_namespace=own_pid_namespace)
    container_id, pod_uid, runtime, qos = CONTAINERS[path]
    assert found == workloads.Workload(
        "container", runtime, container_id, None, pod_uid, None, None, qos, None, None, 4026531836, path)


@pytest.mark.parametrize("path", HOST)
def test_path_that_is_no_container(path):
    assert locate(path) == workloads.Workload("host", *[None] * 8, HOST[path], 4026531836, path)


@pytest.mark.parametrize("path", HOST)
def test_another_pid_namespace_is_a_container_without_a_name(path):
    found = locate(path, own_pid_namespace=False)
    assert found == workloads.Workload("container", *[None] * 8, HOST[path], 4026531836, path)


NODE = "/docker/%s" % OTHER  # a node that is a container itself

OWN = {  # (path, the sweep's own path) -> (kind, container, pod, service)
    (NODE, NODE): ("host", None, None, None),
    (NODE + "/init.scope", NODE + "/system.slice/cron.service"): ("host", None, None, None),
    (NODE + "/system.slice/ssh.service", NODE + "/system.slice/cron.service"): ("host", None, None, "ssh.service"),
    (NODE + "/kubepods/pod%s/%s" % (UID, CID), NODE + "/system.slice/cron.service"): ("container", CID, UID, None),
    (NODE + "/kubepods/pod%s/%s" % (UID, CID), NODE): ("container", CID, UID, None),
    ("/docker/%s" % CID, NODE): ("container", CID, None, None),
    # The sweep in a pod: its own container is the host, the pod's other one is not.
    ("/kubepods/pod%s/%s" % (UID, OTHER), "/kubepods/pod%s/%s" % (UID, OTHER)): ("host", None, None, None),
    ("/kubepods/pod%s/%s" % (UID, CID), "/kubepods/pod%s/%s" % (UID, OTHER)): ("container", CID, None, None),
    # Another job of the same cron, and what only begins like the sweep's own path.
    ("/system.slice/cron.service", "/system.slice/cron.service"): ("host", None, None, None),
    ("/system.slice/cron.service2/%s" % CID, "/system.slice/cron.service"): ("container", CID, None, None),
}


@pytest.mark.parametrize("path, own", OWN)
def test_what_lies_above_the_sweep_does_not_count(path, own):
    found = locate(path, own)
    assert (found.kind, found.container_id, found.pod_uid, found.service) == OWN[path, own]


def test_own_path_of_the_same_hierarchy_is_the_one_that_counts():
    lines = (CgroupLine("pids", "/docker/" + CID), CgroupLine("cpu", "/"))
    own = (CgroupLine("pids", "/docker/" + CID), CgroupLine("cpu", "/docker/" + OTHER))
    assert workloads.locate(lines, own, 1, True, {}).kind == "host"
    assert workloads.locate(lines, own[1:], 1, True, {}).container_id == CID


def test_cgroup_version_1_where_only_some_hierarchies_name_the_container():
    lines = (CgroupLine("", "/"), CgroupLine("cpu", "/"), CgroupLine("pids", "/docker/" + CID))
    assert workloads.locate(lines, (), 1, True, {}).container_id == CID


def test_no_cgroups_at_all():
    assert workloads.locate((), (), None, True, {}) == workloads.Workload("host", *[None] * 10, "/")
    assert workloads.locate((), (), None, False, {}).kind == "container"


def test_namespace_and_name_of_a_pod_come_from_the_folders_of_the_kubelet(tmp_path):
    static = UID.replace("-", "")
    for name in ("kube-system_calico-x7x2p_" + UID, "web_api.v2-0_" + static, "no-pod", "a_b", "a_b_c_d"):
        (tmp_path / name).mkdir()
    pods = workloads.read_pods(str(tmp_path))
    assert pods == {UID: ("kube-system", "calico-x7x2p"), static: ("web", "api.v2-0")}
    found = locate("/kubepods/besteffort/pod%s/%s" % (UID, CID), pods=pods)
    assert (found.namespace, found.pod) == ("kube-system", "calico-x7x2p")
    systemd = "/kubepods.slice/kubepods-pod%s.slice/crio-%s.scope" % (UID.replace("-", "_"), CID)
    assert locate(systemd, pods=pods).namespace == "kube-system"
    assert locate("/kubepods/pod%s/%s" % (static, CID), pods=pods).pod == "api.v2-0"


def test_what_is_not_known_of_a_pod_is_null(tmp_path):
    assert workloads.read_pods(str(tmp_path / "nowhere")) == {}
    found = locate("/kubepods/pod%s/%s" % (UID, CID))
    assert (found.namespace, found.pod, found.pod_uid) == (None, None, UID)


def test_identity_is_what_a_restart_keeps():
    assert locate("/kubepods/pod%s/%s" % (UID, CID)).identity == UID
    assert locate("/docker/" + CID).identity == CID
    assert locate("/user.slice", own_pid_namespace=False).identity is None


SEGMENTS = st.sampled_from([CID, OTHER, "pod" + UID, "kubepods", "docker-%s.scope" % CID, "a.slice", "a.service", "..", ""])
PATHS = st.text(max_size=100) | st.lists(SEGMENTS | st.text(max_size=10)).map("/".join)


@given(PATHS, PATHS, st.booleans())
def test_any_path_has_an_answer(path, own, own_pid_namespace):
    found = locate(path, own, own_pid_namespace)
    assert found.kind == "container" if not own_pid_namespace else found.kind in ("container", "host")
    assert found.container_id is None or found.container_id in path


@given(st.lists(SEGMENTS | st.text(max_size=10)).map("/".join))
def test_nothing_that_a_tenant_makes_below_its_container_changes_whose_it_is(below):
    path = "/kubepods/besteffort/pod%s/%s" % (UID, CID)
    assert locate(path + "/" + below)[:-1] == locate(path)[:-1]
