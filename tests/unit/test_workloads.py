"""Which container a cgroup path means, in every shape that the runtimes write it, and which paths
mean none.
"""

from __future__ import annotations

import json
import os
from collections import namedtuple

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import CgroupLine
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import (
    akash_lease,
    runtime_names,
    stable_names,
    workloads,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import Options
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import container_process, status, workload

CID, OTHER = "0123456789abcdef" * 4, "f" * 64
UID, OTHER_UID, STATIC = (
    "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d",
    "11111111-2222-3333-4444-555555555555",
    "0123456789abcdef" * 2,
)
UID_ = UID.replace("-", "_")

CONTAINERS = {  # cgroup path -> (container, pod, runtime, QoS class)
    f"/kubepods/besteffort/pod{UID}/{CID}": (CID, UID, None, "BestEffort"),
    f"/kubepods/burstable/pod{UID}/{CID}": (CID, UID, None, "Burstable"),
    f"/kubepods/pod{UID}/{CID}": (CID, UID, None, "Guaranteed"),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/cri-containerd-{CID}.scope": (
        CID,
        UID,
        "containerd",
        "BestEffort",
    ),
    f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{CID}.scope": (
        CID,
        UID,
        "cri-o",
        "Guaranteed",
    ),
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/docker-{CID}.scope": (
        CID,
        UID,
        "docker",
        "Burstable",
    ),
    f"/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{CID}": (
        CID,
        UID,
        "containerd",
        "BestEffort",
    ),
    f"/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{CID}": (
        CID,
        UID,
        "containerd",
        "BestEffort",
    ),
    f"/libpod_parent/libpod-{CID}": (CID, None, "podman", None),
    f"/machine.slice/libpod-{CID}.scope": (CID, None, "podman", None),
    f"/machine.slice/libpod-{CID}.scope/container": (CID, None, "podman", None),
    f"/machine.slice/podman-1234.scope/libpod-payload-{CID}": (CID, None, "podman", None),
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{CID}.scope/container": (
        CID,
        None,
        "podman",
        None,
    ),
    f"/docker/{CID}": (CID, None, "docker", None),
    f"/system.slice/docker-{CID}.scope": (CID, None, "docker", None),
    f"/system.slice/docker.service/docker/{CID}": (CID, None, "docker", None),
    # Static pods: the kubelet makes their UID from a hash, without dashes.
    f"/kubepods/besteffort/pod{STATIC}/{CID}": (CID, STATIC, None, "BestEffort"),
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{CID}.scope": (
        CID,
        STATIC,
        "containerd",
        "Burstable",
    ),
    # The pod's own cgroup, where runtimes put the helpers of sandboxes (Kata).
    f"/kubepods/besteffort/pod{UID}": (None, UID, None, "BestEffort"),
    f"/kubepods.slice/kubepods-pod{UID_}.slice": (None, UID, None, "Guaranteed"),
    # Below a prefix: k3d, kind before cgroup namespaces, --cgroup-root of the kubelet.
    f"/some/prefix/kubepods/besteffort/pod{UID}/{CID}": (CID, UID, None, "BestEffort"),
    f"/kubelet/kubepods/burstable/pod{UID}/{CID}": (CID, UID, None, "Burstable"),
    (
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{UID_}.slice"
        f"/cri-containerd-{CID}.scope"
    ): (CID, UID, "containerd", "BestEffort"),
    # Above the root of the sweep's cgroup namespace, as a sweep in a pod with hostPID sees its
    # neighbours.
    f"/../../pod{UID}/{CID}": (CID, UID, None, None),
    f"/../cri-containerd-{CID}.scope": (CID, None, "containerd", None),
    # A container in a container: the topmost was made by the node, what is below by the tenant.
    f"/kubepods/besteffort/pod{UID}/{CID}/docker/{OTHER}": (CID, UID, None, "BestEffort"),
    f"/docker/{CID}/kubelet/kubepods/besteffort/pod{UID}/{OTHER}": (
        CID,
        None,
        "docker",
        None,
    ),
    f"/kubepods/besteffort/pod{UID}/{CID}/kubepods/pod{OTHER_UID}/{OTHER}": (
        CID,
        UID,
        None,
        "BestEffort",
    ),
    f"/docker/{CID}/system.slice/kubelet.service": (CID, None, "docker", None),
    f"/docker/{CID}/init.scope": (CID, None, "docker", None),
    f"/docker/{CID}/pod{OTHER_UID}": (CID, None, "docker", None),
    f"/docker/{CID}/\udcff\x1b[2J": (CID, None, "docker", None),
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
    f"/machine.slice/libpod-conmon-{CID}.scope": None,
    f"/libpod_parent/libpod-conmon-{CID}": None,
    f"/system.slice/crio-conmon-{CID}.scope": None,
    f"/kubepods.slice/crio-conmon-{CID}.scope": None,
    f"/system.slice:crio-conmon:{CID}": None,
    "/lxc.monitor.web": None,
    # Nearly a container.
    f"/docker/{CID[1:]}": None,
    f"/docker/{CID}0": None,
    f"/docker/{CID.upper()}": None,
    f"/docker/docker-{CID}.scope.d": None,
    f"/docker/x {CID}": None,
    f"/kubepods/besteffort/pod{UID[1:]}": None,
    f"/kubepods/besteffort/pod{UID.replace('-', '_', 1)}": None,
    "/kubepods/besteffort": None,
}

NODE_1000 = "/docker/0/user.slice/user-1000.slice/user@1000.service/%s"

MACHINES = {  # cgroup path of what has a PID namespace of its own -> (runtime, name, identity)
    "/lxc/101": ("lxc", "101", "lxc/101"),
    "/lxc/101/ns/init.scope": ("lxc", "101", "lxc/101"),
    "/lxc.payload/web/x": ("lxc", "web", "lxc/web"),
    "/lxc.payload.web": ("lxc", "web", "lxc/web"),
    "/lxc.payload.web/init.scope": ("lxc", "web", "lxc/web"),
    "/lxc.payload.web/system.slice/cron.service": ("lxc", "web", "lxc/web"),
    "/lxc.payload.web/machine.slice/machine-other.scope": ("lxc", "web", "lxc/web"),
    "/machine.slice/machine-web.scope": ("systemd-nspawn", "web", "systemd-nspawn/web"),
    "/machine.slice/machine-my\\x2dweb.scope/payload/x": (
        "systemd-nspawn",
        "my-web",
        "systemd-nspawn/my-web",
    ),
    "/machine.slice/systemd-nspawn@web.service/payload": (
        "systemd-nspawn",
        "web",
        "systemd-nspawn/web",
    ),
    "/machine.slice/systemd-nspawn@my\\x2dweb.service/supervisor": (
        "systemd-nspawn",
        "my-web",
        "systemd-nspawn/my-web",
    ),
    # No name that could be: the cgroup tells them apart
    "/machine.slice/machine-a\\x20b.scope/x": (
        None,
        None,
        "cgroup/machine.slice/machine-a%5Cx20b.scope",
    ),
    "/lxc.payload.a b/x": (None, None, "cgroup/lxc.payload.a%20b"),
    "/nomad/0a1b2c3d-web/x": (None, None, "cgroup/nomad/0a1b2c3d-web"),
    "/nomad.slice/share.slice/0a1b2c3d.web.scope/x/y": (
        None,
        None,
        "cgroup/nomad.slice/share.slice/0a1b2c3d.web.scope",
    ),
    "/default/web1/x": (None, None, "cgroup/default/web1"),
    "/web/x": (None, None, "cgroup/web"),
    "/system.slice/app.service/x": (None, None, "cgroup/system.slice/app.service"),
    "/user.slice/user-0.slice/session-3.scope": (
        None,
        None,
        "cgroup/user.slice/user-0.slice/session-3.scope",
    ),
    "/user.slice/user-1000.slice/session-3.scope/x": (None, None, "user/1000"),
    "/a\udcff \t\xa0b/x": (None, None, "cgroup/a%FF%20%09%C2%A0b"),
    "/": (None, None, "cgroup/"),
    "/../web1/x": (None, None, "cgroup/../web1"),
}


def process_in(lines, own_pid_namespace=True, pid_namespace=4026531836):
    return workloads.Process(
        stat=procfs.Stat(50, b"x", "S", 1, 0, 1, 5),
        status=status((50,) if own_pid_namespace else (50, 7)),
        cgroup_lines=lines,
        pid_namespace=pid_namespace,
    )


def locate(path, own="/", own_pid_namespace=True, controllers="", pods=()):
    return workloads.locate(
        process_in((CgroupLine(controllers, path),), own_pid_namespace),
        (CgroupLine(controllers, own),),
        dict(pods),
    )


@pytest.mark.parametrize("path", CONTAINERS)
@pytest.mark.parametrize("own_pid_namespace", [True, False])
def test_path_of_a_container(path, own_pid_namespace):
    found = locate(path, own_pid_namespace=own_pid_namespace)
    container_id, pod_uid, runtime, qos = CONTAINERS[path]
    assert found[:12] == (
        "container",
        runtime,
        container_id,
        None,
        pod_uid,
        None,
        None,
        qos,
        None,
        None,
        4026531836,
        path,
    )
    assert (
        path.startswith(found.outermost)
        and found.outermost.endswith(container_id or pod_uid)
        or "." in found.outermost
    )


@pytest.mark.parametrize("path", HOST)
def test_path_that_is_no_container(path):
    assert locate(path) == workloads.Workload("host", *[None] * 8, HOST[path], 4026531836, path)


@pytest.mark.parametrize("path", HOST)
def test_another_pid_namespace_is_a_container_without_a_name(path):
    found = locate(path, own_pid_namespace=False)
    assert found[:12] == ("container", *[None] * 8, HOST[path], 4026531836, path)
    assert found.identity


@pytest.mark.parametrize("path", MACHINES)
def test_a_container_without_an_id_has_the_name_or_the_cgroup_that_its_manager_gave_it(path):
    found = locate(path, own_pid_namespace=False)
    assert (
        found.kind,
        found.container_id,
        found.runtime,
        found.container_name,
        found.identity,
    ) == ("container", None, *MACHINES[path])
    assert locate(path).kind == "host", "in the PID namespace of the node it is none"
    assert locate(path).identity is None


@pytest.mark.parametrize(
    "path",
    [path for path in MACHINES if path.count("/") > 1 and not path.startswith("/user.slice")],
)
@pytest.mark.parametrize(
    "below", ["/x1", "/x2/y", "/machine.slice/machine-z.scope", "/user.slice/user-7.slice/a"]
)
def test_what_a_tenant_makes_below_changes_no_identity(path, below):
    assert (
        locate(path + below, own_pid_namespace=False).identity
        == locate(path, own_pid_namespace=False).identity
    )


@pytest.mark.parametrize(
    "path, own, identity",
    [
        (
            "/lxc.payload.node/machine.slice/machine-web.scope",
            "/lxc.payload.node/init.scope",
            "systemd-nspawn/web",
        ),
        ("/lxc.payload.node/x", "/lxc.payload.node/init.scope", "cgroup/lxc.payload.node/x"),
        ("/lxc.payload.node/x", "/lxc.payload.node", "cgroup/lxc.payload.node/x"),
        (
            "/machine.slice/machine-web.scope/x",
            "/machine.slice/machine-sweep.scope",
            "systemd-nspawn/web",
        ),
        (
            "/machine.slice/machine-web.scope/x",
            "/machine.slice/machine-web.scope",
            "cgroup/machine.slice/machine-web.scope/x",
        ),
        ("/a/b", "/a/b", "cgroup/a/b"),
        ("/a", "/a/b", "cgroup/a"),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            "/user.slice/user-1000.slice/session-3.scope",
            "user/1000",
        ),
        (NODE_1000 % "init.scope", NODE_1000 % "x", "user/1000"),
    ],
)
def test_identity_below_the_sweep_s_own_cgroup(path, own, identity):
    assert locate(path, own, own_pid_namespace=False).identity == identity


def test_a_hierarchy_that_names_something_counts():
    lines = (CgroupLine("", "/"), CgroupLine("pids", "/lxc.payload.web/x"))
    assert (
        workloads.locate(process_in(lines, own_pid_namespace=False), (), {}).identity == "lxc/web"
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\0")), st.integers(0, 40))
def test_any_key_is_one_ascii_word_that_fits_into_a_file(text, times):
    key = stable_names.key("cgroup/" + text * times)
    assert (
        key.isascii()
        and key.isprintable()
        and key.split() == [key]
        and len(key) <= stable_names.MAX_KEY
    )


def test_long_keys_differ():
    assert stable_names.key("a" * 500) != stable_names.key("a" * 499 + "b")
    assert len({stable_names.key(text) for text in ("a b", "a%20b", "a\tb", "a\udcffb", "ab")}) == 5


@pytest.mark.parametrize(
    "pod, owner",
    {
        "web-7d9fc5b46b-x2x7z": "web",
        "my-web-7d9fc5b46b-x2x7z": "my-web",
        "web-5f6d8c9d4-bcdfg": "web",
        "web-67f8c4d5-bcdfg": "web",
        "calico-x7x2p": "calico",
        "job-bcdfg": "job",
        "job-0-bcdfg": "job",
        "job-117-bcdfg": "job",
        "db-0": "db",
        "db-117": "db",
        "nightly-28473920-bcdfg": "nightly",
        "nightly-28473920-3-bcdfg": "nightly",
        "nightly-29999999-2-zzzzz": "nightly",
        "web": "web",
        "web-server": "web-server",
        "web-a1b2c": "web-a1b2c",
        "web-ABCDE": "web-ABCDE",
        "api.v2-0": "api.v2",
        "x" * 52 + "-67f8c" + "bcdfg": "x" * 52 + "-67f8c",
        "-0": "-0",
        "": "",
    }.items(),
)
def test_owner_of_a_pod(pod, owner):
    assert stable_names.owner_of_pod(pod) == owner


@pytest.mark.parametrize(
    "container, service",
    {
        "web.1.0a1b2c3d4e5f6a7b8c9d0e1f2": "web",
        "web.0123456789abcdefghijklmno.0a1b2c3d4e5f6a7b8c9d0e1f2": "web",
        "my.web.12.0a1b2c3d4e5f6a7b8c9d0e1f2": "my.web",
        "web.1": "web.1",
        "web.1.x": "web.1.x",
        "web": "web",
        "web_1": "web_1",
    }.items(),
)
def test_service_of_a_task_of_swarm(container, service):
    assert stable_names.service_of_task(container) == service


NODE = f"/docker/{OTHER}"  # a node that is a container itself

OWN = {  # (path, the sweep's own path) -> (kind, container, pod, service)
    (NODE, NODE): ("host", None, None, None),
    (NODE + "/init.scope", NODE + "/system.slice/cron.service"): ("host", None, None, None),
    (NODE + "/system.slice/ssh.service", NODE + "/system.slice/cron.service"): (
        "host",
        None,
        None,
        "ssh.service",
    ),
    (NODE + f"/kubepods/pod{UID}/{CID}", NODE + "/system.slice/cron.service"): (
        "container",
        CID,
        UID,
        None,
    ),
    (NODE + f"/kubepods/pod{UID}/{CID}", NODE): ("container", CID, UID, None),
    (f"/docker/{CID}", NODE): ("container", CID, None, None),
    # The sweep in a pod: its own container is the host, the pod's other one is not.
    (f"/kubepods/pod{UID}/{OTHER}", f"/kubepods/pod{UID}/{OTHER}"): (
        "host",
        None,
        None,
        None,
    ),
    (f"/kubepods/pod{UID}/{CID}", f"/kubepods/pod{UID}/{OTHER}"): (
        "container",
        CID,
        None,
        None,
    ),
    # Another job of the same cron, and what only begins like the sweep's own path.
    ("/system.slice/cron.service", "/system.slice/cron.service"): ("host", None, None, None),
    (f"/system.slice/cron.service2/{CID}", "/system.slice/cron.service"): (
        "container",
        CID,
        None,
        None,
    ),
}


@pytest.mark.parametrize("path, own", OWN)
def test_what_lies_above_the_sweep_does_not_count(path, own):
    found = locate(path, own)
    assert (found.kind, found.container_id, found.pod_uid, found.service) == OWN[path, own]


def test_own_path_of_the_same_hierarchy_is_the_one_that_counts():
    lines = (CgroupLine("pids", "/docker/" + CID), CgroupLine("cpu", "/"))
    own = (CgroupLine("pids", "/docker/" + CID), CgroupLine("cpu", "/docker/" + OTHER))
    assert workloads.locate(process_in(lines), own, {}).kind == "host"
    assert workloads.locate(process_in(lines), own[1:], {}).container_id == CID


def test_cgroup_version_1_where_only_some_hierarchies_name_the_container():
    lines = (CgroupLine("", "/"), CgroupLine("cpu", "/"), CgroupLine("pids", "/docker/" + CID))
    assert workloads.locate(process_in(lines), (), {}).container_id == CID


def test_no_cgroups_at_all():
    assert workloads.locate(process_in((), pid_namespace=None), (), {}) == workloads.Workload(
        "host", *[None] * 10, "/"
    )
    assert workloads.locate(process_in((), False, None), (), {}).kind == "container"


def test_namespace_and_name_of_a_pod_come_from_the_directories_of_the_kubelet(tmp_path):
    static = UID.replace("-", "")
    for name in (
        "kube-system_calico-x7x2p_" + UID,
        "web_api.v2-0_" + static,
        "no-pod",
        "a_b",
        "a_b_c_d",
    ):
        (tmp_path / name).mkdir()
    pods = runtime_names.read_pods(str(tmp_path))
    assert pods == {UID: ("kube-system", "calico-x7x2p"), static: ("web", "api.v2-0")}
    found = locate(f"/kubepods/besteffort/pod{UID}/{CID}", pods=pods)
    assert (found.namespace, found.pod) == ("kube-system", "calico-x7x2p")
    systemd = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/crio-{CID}.scope"
    assert locate(systemd, pods=pods).namespace == "kube-system"
    assert locate(f"/kubepods/pod{static}/{CID}", pods=pods).pod == "api.v2-0"


def test_what_is_not_known_of_a_pod_is_null(tmp_path):
    assert runtime_names.read_pods(str(tmp_path / "nowhere")) == {}
    found = locate(f"/kubepods/pod{UID}/{CID}")
    assert (found.namespace, found.pod, found.pod_uid) == (None, None, UID)


def test_identity_is_what_a_restart_keeps():
    assert locate(f"/kubepods/pod{UID}/{CID}").identity == UID
    assert locate("/docker/" + CID).identity == CID
    assert locate("/user.slice", own_pid_namespace=False).identity == "cgroup/user.slice"
    assert locate("/user.slice").identity is None


SEGMENTS = st.sampled_from(
    [CID, OTHER, "pod" + UID, "kubepods", f"docker-{CID}.scope", "a.slice", "a.service", "..", ""]
)
PATHS = st.text(max_size=100) | st.lists(SEGMENTS | st.text(max_size=10)).map("/".join)


@given(PATHS, PATHS, st.booleans())
def test_any_path_has_an_answer(path, own, own_pid_namespace):
    found = locate(path, own, own_pid_namespace)
    assert (
        found.kind == "container" if not own_pid_namespace else found.kind in ("container", "host")
    )
    assert found.container_id is None or found.container_id in path


@given(st.lists(SEGMENTS | st.text(max_size=10)).map("/".join))
def test_nothing_that_a_tenant_makes_below_its_container_changes_whose_it_is(below):
    path = f"/kubepods/besteffort/pod{UID}/{CID}"
    assert locate(path + "/" + below)._replace(cgroup=path) == locate(path)


@pytest.mark.parametrize(
    "path, qos",
    {
        "/kubepods/pod" + UID: "Guaranteed",
        "/kubepods/besteffort/pod" + UID: "BestEffort",
        "/kubepods/burstable/pod" + UID: "Burstable",
        "/x/kubepods/burstable/pod" + UID: "Burstable",
        "/kubepods/other/pod" + UID: None,
        "/besteffort/pod" + UID: None,
        "/x/besteffort/pod" + UID: None,
        "/elsewhere/pod" + UID: None,
        "/pod" + UID: None,
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice": (
            "BestEffort"
        ),
        f"/kubepods.slice/kubepods-pod{UID_}.slice": "Guaranteed",
        f"/kubepods-burstable-pod{UID_}.slice:cri-containerd:{CID}": "Burstable",
        f"/kubelet-kubepods-besteffort-pod{UID_}.slice": "BestEffort",
        f"/kubepods-mine-pod{UID_}.slice": None,
        f"/pod{UID_}.slice": None,
    }.items(),
)
def test_qos_class_of_a_pod(path, qos):
    assert locate(path).qos == qos


def test_all_that_is_not_known_is_null():
    assert locate("/docker/" + CID) == workloads.Workload(
        "container", "docker", CID, *[None] * 7, 4026531836, "/docker/" + CID, "/docker/" + CID
    )
    assert locate("/" + CID).runtime is None
    assert locate(f"/unknown-{CID}.scope").runtime is None


LEVELS = {  # cgroup lines -> (controllers, path) of the level whose tasks are counted
    (("pids", f"/docker/{CID}"),): ("pids", "/docker/" + CID),
    (("pids", f"/docker/{CID}/made/by/the/tenant"),): ("pids", "/docker/" + CID),
    (("pids", f"/kubepods/pod{UID}/{CID}/docker/{OTHER}"),): (
        "pids",
        f"/kubepods/pod{UID}/{CID}",
    ),
    (("pids", f"/kubepods/pod{UID}"),): ("pids", "/kubepods/pod" + UID),
    (("", f"/docker/{CID}/x"),): ("", "/docker/" + CID),
    (("", f"/docker/{CID}"), ("pids", f"/docker/{CID}/x")): ("pids", "/docker/" + CID),
    (("", f"/docker/{CID}"), ("memory", f"/docker/{CID}")): ("", "/docker/" + CID),
    (
        ("", f"/docker/{CID}"),
        ("pids", "/"),
    ): None,  # hybrid: version 1 counts, and there it is in no container
    (("memory", f"/docker/{CID}"),): None,
    (("cpu,pids", f"/docker/{CID}"),): ("cpu,pids", "/docker/" + CID),
    (("mypids", f"/docker/{CID}"),): None,
    (("pids", "/system.slice/cron.service"),): None,
    (("pids", f"/machine.slice/libpod-{CID}.scope/container/init.scope"),): (
        "pids",
        f"/machine.slice/libpod-{CID}.scope",
    ),
    (): None,
}


@pytest.mark.parametrize("lines", LEVELS, ids=repr)
def test_level_whose_tasks_are_counted(lines):
    assert workloads.level_with_pids([CgroupLine(*line) for line in lines], ()) == LEVELS[lines]


def test_level_of_the_sweep_s_own_container_is_none():
    own = (CgroupLine("pids", NODE + "/system.slice"),)
    assert workloads.level_with_pids((CgroupLine("pids", NODE + "/init.scope"),), own) is None
    below = f"{NODE}/kubepods/pod{UID}/{CID}"
    assert workloads.level_with_pids((CgroupLine("pids", below + "/x"),), own) == ("pids", below)


OWNER, PROVIDER = "akash1" + "q" * 38, "akash1" + "z" * 38
LEASED = {
    b"AKASH_OWNER": OWNER,
    b"AKASH_DEPLOYMENT_SEQUENCE": "123456",
    b"AKASH_GROUP_SEQUENCE": "1",
    b"AKASH_ORDER_SEQUENCE": "2",
    b"AKASH_PROVIDER": PROVIDER,
}
LEASE = {
    "owner": OWNER,
    "dseq": "123456",
    "gseq": "1",
    "oseq": "2",
    "provider": PROVIDER,
    "verified": False,
}
NAMESPACE = "7v9eb8b7qckaahq8c8kq23j9epi31usnb4e6pate79c7o"


def lease(namespace=None, **changes):
    environment = {
        **LEASED,
        **{("AKASH_" + name).encode(): value for name, value in changes.items()},
    }
    return akash_lease.lease(
        {
            name: value if isinstance(value, bytes) else value.encode()
            for name, value in environment.items()
            if value is not None
        },
        namespace,
    )


def test_a_whole_lease():
    assert lease() == LEASE
    assert [key for _variable, key, _shape in akash_lease.LEASE] == [
        "owner",
        "dseq",
        "gseq",
        "oseq",
        "provider",
    ]


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "",
        "akash1",
        "akash1" + "q" * 37,
        "akash1" + "q" * 37 + "b",
        "akash1" + "q" * 37 + "1",
        "AKASH1" + "Q" * 38,
        "akash1" + "q" * 59,
        OWNER + "\n",
        "\n" + OWNER,
        OWNER + "\0",
        "\x1b[2J" + OWNER,
        OWNER.encode() + b"\xff",
        b"\xff" * 44,
        "x" * 2**20,
        "akash1" + "q" * 37 + "\u0661",
        "../../etc",
    ],
)
def test_an_owner_that_is_no_address(owner):
    assert lease(OWNER=owner) == {**LEASE, "owner": None}


@pytest.mark.parametrize(
    "number",
    [None, "", "-1", "1.0", "0x1", "1 ", "1\n", "9" * 21, "\u0661\u0662", "\xb2", "one", b"\xff"],
)
def test_a_number_that_is_none(number):
    assert lease(DEPLOYMENT_SEQUENCE=number) == {**LEASE, "dseq": None}


def test_a_lease_is_true_where_its_hash_is_the_pod_s_namespace():
    """The namespace is the provider's, the variables are the tenant's to choose: a victim's address
    does not fit.
    """
    assert lease(NAMESPACE) == {**LEASE, "verified": True}
    assert akash_lease.namespace_of(LEASE) == NAMESPACE
    victim = "akash1" + "p" * 38
    assert lease(NAMESPACE, OWNER=victim) == {**LEASE, "owner": victim}
    for changes in (
        {"DEPLOYMENT_SEQUENCE": "123457"},
        {"PROVIDER": victim},
        {"ORDER_SEQUENCE": None},
        {"OWNER": "?"},
    ):
        assert lease(NAMESPACE, **changes)["verified"] is False
    assert lease("shop")["verified"] is lease(None)["verified"] is False


def test_no_lease_at_all():
    assert akash_lease.lease({}, NAMESPACE) is None
    assert (
        lease(
            **dict.fromkeys(
                ["OWNER", "DEPLOYMENT_SEQUENCE", "GROUP_SEQUENCE", "ORDER_SEQUENCE", "PROVIDER"],
                "?",
            )
        )
        is None
    )
    assert akash_lease.lease({b"AKASH_ORDER_SEQUENCE": b"7"}, None) == {
        **dict.fromkeys(LEASE),
        "oseq": "7",
        "verified": False,
    }


@given(st.dictionaries(st.sampled_from(list(LEASED)), st.binary(max_size=80)))
def test_any_environment_has_an_answer(environment):
    found = akash_lease.lease(environment, NAMESPACE)
    assert (
        found is None
        or set(found) == set(LEASE)
        and all(
            found[key] is None or found[key].isascii() and found[key].isalnum()
            for key in list(LEASE)[:5]
        )
    )


def test_names_of_containers_in_pods_come_from_the_links_of_the_kubelet(tmp_path):
    for name in (
        f"web-0_lease-1_app-{CID}.log",
        f"a.b-c_kube-system_my-side-car-{OTHER}.log",
        f"web-0_lease-1_app-{CID[1:]}.log",
        f"app-{'a' * 64}.log",
        f"web-0_lease-1_app-{'b' * 64}.log.1",
        f"web-0_lease-1_-{'e' * 64}.log",
        "x",
    ):
        (tmp_path / name).symlink_to("/nowhere")
    assert runtime_names.read_names_in_pods(str(tmp_path)) == {
        CID: ("app", "web-0", "lease-1", None),
        OTHER: ("my-side-car", "a.b-c", "kube-system", None),
    }
    assert runtime_names.read_names_in_pods(str(tmp_path / "nowhere")) == {}


class Docker:
    """Its state and its daemon.json, made by hand."""

    def __init__(self, directory):
        self.state, self.config = directory / "docker", directory / "daemon.json"

    def container(self, text, state=None, container_id=CID):
        directory = (state or self.state) / "containers" / container_id
        directory.mkdir(parents=True)
        (directory / "config.v2.json").write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )

    def name(self):
        return runtime_names.read_docker_name(str(self.state), str(self.config), CID)


@pytest.fixture
def docker(tmp_path):
    return Docker(tmp_path)


def test_name_of_a_container_of_docker(docker):
    assert docker.name() is None
    docker.container('{"ID": "%s", "Name": "/web_1", "State": {}}' % CID)
    docker.container('{"Name": "/db"}', container_id=OTHER)
    assert docker.name() == "web_1"


def test_data_root_of_docker_s_own_configuration(docker, tmp_path):
    docker.container('{"Name": "/old"}')
    docker.container('{"Name": "/new"}', tmp_path / "other")
    docker.config.write_text(json.dumps({"init": True, "data-root": str(tmp_path / "other")}))
    assert docker.name() == "new"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "null",
        '"data-root"',
        '{"data-root": null}',
        '{"data-root": 7}',
        '{"data-root": ["/x"]}',
        "[" * 100000,
        b"\xff\xfe",
        '{"init": true}',
    ],
)
def test_a_broken_configuration_of_docker_is_none(docker, config):
    docker.container('{"Name": "/web_1"}')
    docker.config.write_bytes(config if isinstance(config, bytes) else config.encode())
    assert docker.name() == "web_1"


@pytest.mark.parametrize("root", ["", "/nowhere", "\0", "\ud800", "relative", "/" + "x" * 5000])
def test_a_data_root_that_is_not_there_gives_no_name(docker, root):
    docker.container('{"Name": "/web_1"}')
    docker.config.write_text(json.dumps({"data-root": root}))
    assert docker.name() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"Name": null}',
        '{"Name": 7}',
        '{"Name": {"a": 1}}',
        '{"Name": ""}',
        '{"Name": "/"}',
        '{"Name": "//x"}',
        '{"Name": "/a b"}',
        '{"Name": "/a/b"}',
        '{"Name": "/a\\n"}',
        '{"Name": "/\\u001b[2J"}',
        '{"Name": "/-x"}',
        f'{{"Name": "/{"x" * 254}"}}',
        '{"Name": "/\\u0661"}',
        "[" * 100000,
        b"\xff",
        '{"Name": "/web", ' + " " * runtime_names.STATE_BYTES + "}",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_name_of_docker_s_is_none(docker, text):
    docker.container(text)
    assert docker.name() is None


def test_names_of_podman_s_containers(tmp_path):
    for driver, listed in (
        (
            "overlay",
            [
                {"id": CID, "names": ["web", "alias"], "image": "x"},
                {"id": "a" * 64, "names": []},
                {"id": "b" * 64},
                {"id": "d" * 64, "names": ["a b"]},
            ],
        ),
        ("vfs", [{"id": OTHER, "names": ["db"]}]),
    ):
        (tmp_path / (driver + "-containers")).mkdir()
        (tmp_path / (driver + "-containers") / "containers.json").write_text(json.dumps(listed))
    (tmp_path / "overlay-images").mkdir()
    (tmp_path / "broken-containers").mkdir()
    (tmp_path / "hostile-containers").mkdir()
    (tmp_path / "hostile-containers/containers.json").write_text(
        '[{"id": ["x"], "names": ["web"]}, {"names": ["web"]}, {"id": {}, "names": "web"}]'
    )
    found = runtime_names.read_podman_names(str(tmp_path))
    assert {container_id: name for container_id, name in found.items() if name} == {
        CID: "web",
        OTHER: "db",
    }
    assert runtime_names.read_podman_names(str(tmp_path / "nowhere")) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "names", "Name", "data-root", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_any_file_of_a_runtime_is_read_or_ignored(tmp_path_factory, text):
    directory = tmp_path_factory.getbasetemp() / "runtimes"
    for path in (
        directory / "containers" / CID / "config.v2.json",
        directory / "x-containers/containers.json",
        directory / "daemon.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    assert all(
        name is None or isinstance(name, str)
        for name in runtime_names.read_podman_names(str(directory)).values()
    )
    assert isinstance(
        runtime_names.read_docker_name(str(directory), str(directory / "nowhere"), CID),
        (str, type(None)),
    )
    runtime_names.read_docker_name(str(directory), str(directory / "daemon.json"), CID)


def test_identity_with_names():
    """Docker and Podman give a container that is made again another id, and often the same name."""
    assert workload(runtime="docker", container_name="web").identity == "docker/web"
    assert workload(runtime="podman", container_name="web").identity == "podman/web"
    assert (
        workload(runtime="podman", container_name="systemd-web").identity == "podman/systemd-web"
    ), "a quadlet"
    assert (
        workload(runtime="docker", container_name="web.1.0a1b2c3d4e5f6a7b8c9d0e1f2").identity
        == "docker/web"
    )
    assert workload(runtime="containerd", container_name="app", pod_uid=UID).identity == UID, (
        "each pod has an app"
    )
    assert (
        workload(
            runtime="containerd",
            container_name="app",
            pod_uid=UID,
            pod=("shop", "web-7d9fc5b46b-x2x7z"),
        ).identity
        == "pod/shop/web"
    )
    assert workload(runtime="podman", container_name="web", user=1000).identity == "user/1000", (
        "who could call it anything"
    )
    assert workload(runtime="podman", container_name="web", kind="host").identity is None
    assert workload(container_id=None).identity == "cgroup/docker/" + "c" * 64


Paths = namedtuple("Paths", ("logs", "docker", "docker_config", "podman", "podman_run", "passwd"))
SHIM = ("/usr/bin/containerd-shim-runc-v2", "x\0-namespace\0%s\0-id\0" + CID)


class Table:
    """Processes made by hand: PID -> (parent, PIDs in its namespaces, executable, command line);
    each PID 1 with an environment.
    """

    def __init__(self, processes, cgroup="/docker/" + CID, environment=()):
        self.processes = processes
        self.lines = {
            pid: (CgroupLine("pids", cgroup),)
            for pid, process in processes.items()
            if len(process[1]) > 1
        }
        self.uids = {}
        self.given = dict(environment)
        self.asked = []

    def cgroup(self, pid):
        return self.lines.get(pid, (CgroupLine("pids", "/"),))

    def stat(self, pid):
        return (
            procfs.Stat(pid, b"x", "S", self.processes[pid][0], 0, 1, 5)
            if pid in self.processes
            else None
        )

    def status(self, pid):
        return (
            status(self.processes[pid][1], uid=self.uids.get(pid, 0))
            if pid in self.processes
            else None
        )

    def mounts(self, _pid):
        return procfs.ProcFS().mounts(os.getpid())

    def executable(self, pid):
        return self.processes[pid][2].encode()

    def command_line(self, pid):
        return self.processes[pid][3].encode()

    def environment(self, pid, names):
        self.asked.append((pid, tuple(names)))
        return {name: value.encode() for name, value in self.given.items() if name in names}


def seen_by_locator(table, pid, directory, init_pid=30):
    paths = Paths(
        *(
            str(directory / name)
            for name in ("log", "docker", "daemon.json", "podman", "podman_run", "passwd")
        )
    )
    locator = workloads.Locator(table, paths)
    process = workloads.Process(
        table.stat(pid), table.status(pid), table.cgroup(pid), pid_namespace=4026531999
    )
    return locator.of(process, init_pid)


def processes(executable="/usr/bin/x", arguments="x", of_node=True):
    """A container's PID 1, 30, with a child, 31, below a process of the node or of another
    container.
    """
    return {
        1: (0, (1,), "/sbin/init", "init"),
        20: (1, (20,) if of_node else (20, 5), executable, arguments),
        30: (20, (30, 1), "/bin/app", "app"),
        31: (30, (31, 2), "/bin/app", "app"),
    }


@pytest.mark.parametrize(
    "namespace, runtime", [("k8s.io", "containerd"), ("moby", "docker"), ("mobyx", "containerd")]
)
@pytest.mark.parametrize("pid", [30, 31])
def test_runtime_by_the_shim_above(tmp_path, namespace, runtime, pid):
    table = Table(processes(SHIM[0], SHIM[1] % namespace), cgroup=f"/kubepods/pod{UID}/{CID}")
    assert seen_by_locator(table, pid, tmp_path).runtime == runtime


@pytest.mark.parametrize(
    "executable, arguments, of_node",
    [
        ("/usr/bin/x", SHIM[1] % "moby", True),
        ("/usr/bin/my-containerd-shim", "x", True),
        (SHIM[0], SHIM[1] % "moby", False),
        ("", "", True),
    ],
)
def test_no_shim_of_the_node_no_runtime(tmp_path, executable, arguments, of_node):
    """What a tenant calls its own program says nothing."""
    table = Table(processes(executable, arguments, of_node), cgroup=f"/kubepods/pod{UID}/{CID}")
    table.lines[20] = (CgroupLine("pids", "/system.slice/containerd.service"),)
    assert seen_by_locator(table, 31, tmp_path).runtime is None


@pytest.mark.parametrize(
    "arguments", ["moby", "x\0moby\0-namespace\0k8s.io", "x\0-id\0moby\0", "x\0-namespace", ""]
)
def test_moby_elsewhere_in_the_shim_s_arguments(tmp_path, arguments):
    table = Table(processes(SHIM[0], arguments), cgroup=f"/kubepods/pod{UID}/{CID}")
    assert seen_by_locator(table, 31, tmp_path).runtime == "containerd"


def test_a_line_of_parents_without_end(tmp_path):
    table = Table(
        {**processes(), 20: (21, (20,), "/bin/x", "x"), 21: (20, (21,), "/bin/x", "x")},
        cgroup=f"/kubepods/pod{UID}/{CID}",
    )
    assert seen_by_locator(table, 31, tmp_path).runtime is None


IN_POD = f"/kubepods/pod{UID}/{CID}"


def test_lease_is_what_the_container_s_own_pid_1_says(tmp_path):
    table = Table(processes(), IN_POD, LEASED)
    assert seen_by_locator(table, 31, tmp_path).lease == LEASE
    assert table.asked == [(30, tuple(LEASED))], "no other process and no other variable"


@pytest.mark.parametrize(
    "why", ["no pod", "another container's PID 1", "no PID 1", "the node's PID namespace"]
)
def test_no_lease_where_it_would_be_another_s(tmp_path, why):
    table = Table(processes(), "/docker/" + CID if why == "no pod" else IN_POD, LEASED)
    if why == "another container's PID 1":  # of a pod that shares its PID namespace
        table.lines[30] = (CgroupLine("pids", IN_POD.replace(CID, OTHER)),)
    if why == "the node's PID namespace":
        table.processes[31] = (20, (31,), "/bin/app", "app")
    assert (
        seen_by_locator(
            table, 31, tmp_path, None if why == "no PID 1" else 1 if "node" in why else 30
        ).lease
        is None
    )


def test_names_are_asked_of_the_runtime_that_it_is(tmp_path):
    Docker(tmp_path).container('{"Name": "/of-docker"}')
    put(
        tmp_path,
        "podman/x-containers/containers.json",
        json.dumps([{"id": CID, "names": ["of-podman"]}]),
    )
    for cgroup, name in (
        ("/docker/" + CID, "of-docker"),
        (f"/machine.slice/libpod-{CID}.scope", "of-podman"),
        (IN_POD, None),
        (f"/system.slice/crio-{CID}.scope", None),
        ("/x/" + CID, None),
    ):
        assert seen_by_locator(Table(processes(), cgroup), 31, tmp_path).container_name == name


WITH_LINK = {  # cgroup path of a container -> pod UID that the path has, if any
    IN_POD: UID,
    "/docker/" + CID: None,
    f"/system.slice/crio-{CID}.scope": None,
    "/system.slice/system.slice:cri-containerd:" + CID: None,
    "/k8s.io/" + CID: None,
}


@pytest.mark.parametrize("cgroup", WITH_LINK)
@pytest.mark.parametrize("podLogsDir", ["/var/log/pods", "/srv/logs"])
def test_a_link_of_the_kubelet_s_tells_pod_and_namespace_where_nothing_else_does(
    tmp_path, cgroup, podLogsDir
):
    """With podLogsDir there is no /var/log/pods, with cgroupsPerQOS: false no pod in the cgroup
    path.
    """
    (tmp_path / "log/containers").mkdir(parents=True)
    (tmp_path / "log/containers" / (f"web-7d9fc5b46b-x2x7z_shop_app-{CID}.log")).symlink_to(
        f"{podLogsDir}/shop_web-7d9fc5b46b-x2x7z_{UID}/app/0.log"
    )
    found = seen_by_locator(Table(processes(), cgroup), 31, tmp_path)
    assert (found.namespace, found.pod, found.container_name, found.pod_uid) == (
        "shop",
        "web-7d9fc5b46b-x2x7z",
        "app",
        UID,
    )
    assert found.kubernetes and not found.sandbox and found.identity == "pod/shop/web"


@pytest.mark.parametrize(
    "target",
    [
        "/x",
        "x",
        f"/var/log/pods/other_web_{UID}/app/0.log",
        f"/var/log/pods/shop_web_{'?' * 36}/app/0.log",
        "/a/b",
    ],
)
def test_a_link_to_elsewhere_tells_no_uid(tmp_path, target):
    (tmp_path / (f"web_shop_app-{CID}.log")).symlink_to(target)
    assert runtime_names.read_names_in_pods(str(tmp_path)) == {CID: ("app", "web", "shop", None)}


@pytest.mark.parametrize("cgroup", [IN_POD, "/x/" + CID, "/k8s.io/web1", "/"])
def test_what_a_shim_of_kubernetes_runs_is_kubernetes_and_its_namespace_may_be_unknown(
    tmp_path, cgroup
):
    found = seen_by_locator(Table(processes(SHIM[0], SHIM[1] % "k8s.io"), cgroup), 31, tmp_path)
    assert (found.kubernetes, found.namespace) == (True, None)
    assert found.container_id == (CID if CID in cgroup else None), (
        "the shim of a pod has the id of its sandbox"
    )
    verdict = policy.spared(container_process(workload=found), Options(), ())
    assert verdict[0] == "namespace_unknown" and "/var/log/containers" in verdict[1]
    assert (
        policy.spared(container_process(workload=found), Options(protect_namespaces=()), ()) is None
    )


@pytest.mark.parametrize("why", ["of Docker", "of ctr", "in a container with hostPID", "a user's"])
def test_no_other_shim_makes_it_kubernetes(tmp_path, why):
    table = Table(
        processes(SHIM[0], SHIM[1] % {"of Docker": "moby", "of ctr": "default"}.get(why, "k8s.io")),
        "/x/" + CID,
    )
    if "container" in why:
        table.lines[20] = (CgroupLine("pids", "/docker/" + OTHER),)
    if "user" in why:
        table.uids[20] = 1000
    found = seen_by_locator(table, 31, tmp_path)
    assert not found.kubernetes and not found.sandbox
    assert found.user == (1000 if "user" in why else None)
    assert policy.spared(container_process(workload=found), Options(), ()) is None


def test_a_container_of_ctr_has_the_name_that_its_shim_was_given(tmp_path):
    table = Table(processes(SHIM[0], "x\0-namespace\0default\0-id\0web1"), "/default/web1/x")
    found = seen_by_locator(table, 31, tmp_path)
    assert (found.runtime, found.container_name, found.container_id, found.identity) == (
        "containerd",
        "web1",
        None,
        "containerd/web1",
    )


@pytest.mark.parametrize(
    "shim, arguments, cgroup, sandbox",
    [
        (SHIM[0], SHIM[1] % "k8s.io", IN_POD, True),
        (SHIM[0], (SHIM[1] % "k8s.io").replace(CID, OTHER), IN_POD, False),
        (SHIM[0], SHIM[1] % "moby", IN_POD, False),
        (
            "/usr/bin/conmon",
            f"conmon\0-c\0{CID}\0-n\0k8s_POD_web-0_shop_{UID}_0",
            IN_POD.replace(CID, "crio-" + CID),
            True,
        ),
        (
            "/usr/bin/conmon",
            f"conmon\0-c\0{CID}\0-n\0k8s_app_web-0_shop_{UID}_0",
            IN_POD.replace(CID, "crio-" + CID),
            False,
        ),
        (
            "/usr/bin/conmon",
            f"conmon\0-n\0k8s_POD_web-0_shop_{UID}_0",
            f"/machine.slice/libpod-{CID}.scope",
            False,
        ),
        ("/usr/bin/x", SHIM[1] % "k8s.io", IN_POD, False),
    ],
)
def test_sandbox_of_a_pod(tmp_path, shim, arguments, cgroup, sandbox):
    """By what the runtime told its monitor, and by no name of a program: a tenant's may be called
    pause too.
    """
    found = seen_by_locator(Table(processes(shim, arguments), cgroup), 30, tmp_path)
    assert found.sandbox is sandbox
    if "k8s_" in arguments and "crio" in cgroup:
        assert (found.namespace, found.pod, found.container_name) == (
            "shop",
            "web-0",
            None if sandbox else "app",
        )


def test_sandbox_of_cri_dockerd(tmp_path):
    Docker(tmp_path).container(f'{{"Name": "/k8s_POD_web-0_shop_{UID}_0"}}')
    found = seen_by_locator(
        Table(processes(), f"/kubepods.slice/kubepods-pod{UID_}.slice/docker-{CID}.scope"),
        30,
        tmp_path,
    )
    assert (found.sandbox, found.pod, found.container_name) == (True, "web-0", None)


def test_a_name_that_looks_like_kubernetes_proves_nothing(tmp_path):
    Docker(tmp_path).container(f'{{"Name": "/k8s_app_dns_kube-system_{UID}_0"}}')
    found = seen_by_locator(Table(processes(), "/docker/" + CID), 30, tmp_path)
    assert (found.kubernetes, found.namespace, found.pod_uid) == (False, None, None)


@pytest.mark.parametrize(
    "name",
    [None, "", "k8s_a_b_c_d", "k8s_a_b_c_d_e_f", "x_a_b_c_d_0", "k8s_a__c_d_0", "k8s_a_b_c\n_d_0"],
)
def test_no_name_of_kubernetes(name):
    assert runtime_names.parse_kubernetes_name(name) is None


def put(directory, path, text, uid=0, mode=0o644):
    """A file, and directories on the way, that belong to this user."""
    for part in reversed((directory / path).relative_to(directory).parents):
        (directory / part).mkdir(exist_ok=True)
        if str(part) != ".":
            os.chown(directory / part, uid, uid)
    (directory / path).write_text(text)
    os.chown(directory / path, uid, uid)
    (directory / path).chmod(mode)
    return directory / path


def test_docker_with_userns_remap_keeps_its_state_in_a_directory_of_its_own(docker):
    docker.container('{"Name": "/remapped"}', docker.state / "231072.231072")
    docker.container('{"Name": "/no"}', docker.state / "buildkit", container_id=CID)
    assert docker.name() == "remapped"


def test_podman_s_containers_that_remove_themselves(tmp_path):
    put(
        tmp_path,
        "state/overlay-containers/containers.json",
        json.dumps([{"id": CID, "names": ["stays"]}]),
    )
    put(
        tmp_path,
        "state/overlay-containers/volatile-containers.json",
        json.dumps([{"id": OTHER, "names": ["systemd-web"]}]),
    )
    put(
        tmp_path,
        "run/overlay-containers/volatile-containers.json",
        json.dumps([{"id": "a" * 64, "names": ["transient"]}]),
    )
    assert runtime_names.read_podman_names(str(tmp_path / "state"), str(tmp_path / "run")) == {
        CID: "stays",
        OTHER: "systemd-web",
        "a" * 64: "transient",
    }


SLICE = "/user.slice/user-1234.slice/user@1234.service/user.slice/%s-" + CID + ".scope"
OF_DOCKER, OF_PODMAN = (
    f".local/share/docker/containers/{CID}/config.v2.json",
    ".local/share/containers/storage/overlay-containers/%s.json",
)


@pytest.fixture
def home(tmp_path):
    """The home of user 1234."""
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 1234, 1234)
    (tmp_path / "passwd").write_text(
        f"root:x:0:0::/root:/bin/sh\nme:x:1234:1234::{tmp_path / 'home'}:/bin/sh\n"
    )
    return tmp_path / "home"


@pytest.mark.parametrize(
    "runtime, path, text",
    [
        ("docker", OF_DOCKER, '{"Name": "/mine"}'),
        ("libpod", OF_PODMAN % "containers", json.dumps([{"id": CID, "names": ["mine"]}])),
        ("libpod", OF_PODMAN % "volatile-containers", json.dumps([{"id": CID, "names": ["mine"]}])),
    ],
)
def test_a_user_s_own_docker_or_podman_is_shown_and_decides_nothing(
    tmp_path, home, runtime, path, text
):
    put(home, path, text, 1234)
    found = seen_by_locator(Table(processes(), SLICE % runtime), 31, tmp_path)
    assert (found.user, found.container_name, found.container_id, found.identity) == (
        1234,
        "mine",
        CID,
        "user/1234",
    )


def test_a_user_s_shim_tells_user_and_container_where_the_cgroup_path_has_neither(tmp_path, home):
    """Rootless Docker under cgroup version 1 has no cgroup for its containers."""
    put(home, OF_DOCKER, '{"Name": "/mine"}', 1234)
    table = Table(processes(SHIM[0], SHIM[1] % "moby"), "/x")
    table.uids[20] = 1234
    found = seen_by_locator(table, 31, tmp_path)
    assert (found.user, found.runtime, found.container_name, found.identity) == (
        1234,
        "docker",
        "mine",
        "user/1234",
    )


def through_a_link(tmp_path, home):
    put(home, OF_DOCKER, "", 1234).unlink()
    (home / OF_DOCKER).symlink_to(put(home, "mine.json", '{"Name": "/mine"}', 1234))


def through_a_linked_directory(tmp_path, home):
    put(home, OF_DOCKER, '{"Name": "/mine"}', 1234)
    (home / ".local").rename(home / "elsewhere")
    (home / ".local").symlink_to("elsewhere")


def of_somebody_else(tmp_path, home):
    put(home, OF_DOCKER, '{"Name": "/mine"}', 1235)


def a_pipe(tmp_path, home):
    put(home, OF_DOCKER, "", 1234).unlink()
    os.mkfifo(home / OF_DOCKER)
    os.chown(home / OF_DOCKER, 1234, 1234)


def too_long(tmp_path, home):
    put(home, OF_DOCKER, f'{{"Name": "/mine"{" " * runtime_names.USER_BYTES}}}', 1234)


def no_home(tmp_path, home):
    put(home, OF_DOCKER, '{"Name": "/mine"}', 1234)
    (tmp_path / "passwd").write_text(f"me:x:1235:1234::{home}:/bin/sh\n")


@pytest.mark.parametrize(
    "arrange",
    [through_a_link, through_a_linked_directory, of_somebody_else, a_pipe, too_long, no_home],
    ids=lambda arrange: arrange.__name__,
)
def test_what_is_not_a_plain_file_of_the_user_s_gives_no_name(tmp_path, home, arrange):
    arrange(tmp_path, home)
    assert (
        seen_by_locator(Table(processes(), SLICE % "docker"), 31, tmp_path).container_name is None
    )


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(tmp_path, monkeypatch):
    local = procfs.ProcFS().mounts(os.getpid())
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("one")
    other.write_text("two")
    assert runtime_names.read_owned(str(path), os.getuid(), local) == b"one"
    looked = os.stat

    def looks_and_then(name, **options):
        found = looked(name, **options)
        if name == path.name and not path.is_symlink():
            path.unlink()
            path.symlink_to(other)
        return found

    monkeypatch.setattr(runtime_names.os, "stat", looks_and_then)
    assert runtime_names.read_owned(str(path), os.getuid(), local) is None
    assert path.is_symlink()


@pytest.mark.parametrize("kind", ["fuse", "nfs4", "autofs", "fuse.sshfs", "9p"])
@pytest.mark.parametrize("place", ["home", ".local", OF_DOCKER])
def test_nothing_is_read_from_a_file_system_that_may_not_answer(tmp_path, home, kind, place):
    path = put(home, OF_DOCKER, '{"Name": "/mine"}', 1234)
    local = procfs.ProcFS().mounts(os.getpid())
    assert runtime_names.read_owned(str(path), 1234, local)
    mounted = os.fsencode(str(home if place == "home" else home / place))
    assert runtime_names.read_owned(str(path), 1234, {**local, mounted: kind.encode()}) is None
    assert runtime_names.read_owned(str(path), 1234, {}) is None, (
        "nor where mounts could not be read"
    )


@pytest.mark.parametrize(
    "passwd",
    [
        "",
        "\0",
        "1234",
        "me:x:1234",
        "me:x:1234:1234:::/bin/sh",
        "me:x:1234:1234::relative:/bin/sh",
        "me:x:1234:1234::/a/../b:/bin/sh",
        "me:x:01234:1234::/home:/bin/sh",
    ],
)
def test_a_user_without_a_home(tmp_path, passwd):
    (tmp_path / "passwd").write_text(passwd)
    assert runtime_names.OfUser(str(tmp_path / "passwd"), 1234, {}).name("docker", CID) is None
    assert runtime_names.OfUser(str(tmp_path / "nowhere"), 1234, {}).name("podman", CID) is None


@pytest.mark.parametrize(
    "path, level",
    [
        ("/kubepods/besteffort/podUID/c1", "/kubepods/besteffort/podUID"),
        (
            "/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-c1.scope",
            "/kubepods.slice/kubepods-podU_ID.slice",
        ),
        ("/kubepods-podU_ID.slice:cri-containerd:c1", "/kubepods-podU_ID.slice:cri-containerd:c1"),
        ("/system.slice/containerd.service/c1", None),
    ],
)
def test_the_cgroup_of_a_pod_in_a_path(path, level):
    uid = "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d"
    shown = [
        text and text.replace("U_ID", uid.replace("-", "_")).replace("UID", uid)
        for text in (path, level)
    ]
    assert workloads.level_of_pod(shown[0], uid) == shown[1]
