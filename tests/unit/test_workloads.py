"""Which container a cgroup path means, in every shape that the runtimes write it, and which paths mean none."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.provider.fleet.plugins.module_utils.reaper import procfs, workloads
from ansible_collections.provider.fleet.plugins.module_utils.reaper.procfs import CgroupLine
from rig.handmade import status, workload

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


@pytest.mark.parametrize("path, qos", {
    "/kubepods/pod" + UID: "Guaranteed",
    "/kubepods/besteffort/pod" + UID: "BestEffort",
    "/kubepods/burstable/pod" + UID: "Burstable",
    "/x/kubepods/burstable/pod" + UID: "Burstable",
    "/kubepods/other/pod" + UID: None,
    "/besteffort/pod" + UID: None,
    "/x/besteffort/pod" + UID: None,
    "/elsewhere/pod" + UID: None,
    "/pod" + UID: None,
    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod%s.slice" % UID_: "BestEffort",
    "/kubepods.slice/kubepods-pod%s.slice" % UID_: "Guaranteed",
    "/kubepods-burstable-pod%s.slice:cri-containerd:%s" % (UID_, CID): "Burstable",
    "/kubelet-kubepods-besteffort-pod%s.slice" % UID_: "BestEffort",
    "/kubepods-mine-pod%s.slice" % UID_: None,
    "/pod%s.slice" % UID_: None,
}.items())
def test_qos_class_of_a_pod(path, qos):
    assert locate(path).qos == qos


def test_all_that_is_not_known_is_null():
    assert locate("/docker/" + CID) == workloads.Workload("container", "docker", CID, *[None] * 7, 4026531836, "/docker/" + CID)
    assert locate("/" + CID).runtime is None
    assert locate("/unknown-%s.scope" % CID).runtime is None


LEVELS = {  # cgroup lines -> (controllers, path) of the level whose tasks are counted
    (("pids", "/docker/%s" % CID),): ("pids", "/docker/" + CID),
    (("pids", "/docker/%s/made/by/the/tenant" % CID),): ("pids", "/docker/" + CID),
    (("pids", "/kubepods/pod%s/%s/docker/%s" % (UID, CID, OTHER)),): ("pids", "/kubepods/pod%s/%s" % (UID, CID)),
    (("pids", "/kubepods/pod%s" % UID),): ("pids", "/kubepods/pod" + UID),
    (("", "/docker/%s/x" % CID),): ("", "/docker/" + CID),
    (("", "/docker/%s" % CID), ("pids", "/docker/%s/x" % CID)): ("pids", "/docker/" + CID),
    (("", "/docker/%s" % CID), ("memory", "/docker/%s" % CID)): ("", "/docker/" + CID),
    (("", "/docker/%s" % CID), ("pids", "/")): None,  # hybrid: version 1 counts, and there it is in no container
    (("memory", "/docker/%s" % CID),): None,
    (("cpu,pids", "/docker/%s" % CID),): ("cpu,pids", "/docker/" + CID),
    (("mypids", "/docker/%s" % CID),): None,
    (("pids", "/system.slice/cron.service"),): None,
    (("pids", "/machine.slice/libpod-%s.scope/container/init.scope" % CID),): ("pids", "/machine.slice/libpod-%s.scope" % CID),
    (): None,
}


@pytest.mark.parametrize("lines", LEVELS, ids=repr)
def test_level_whose_tasks_are_counted(lines):
    assert workloads.level_with_pids([CgroupLine(*line) for line in lines], ()) == LEVELS[lines]


def test_level_of_the_sweep_s_own_container_is_none():
    own = (CgroupLine("pids", NODE + "/system.slice"),)
    assert workloads.level_with_pids((CgroupLine("pids", NODE + "/init.scope"),), own) is None
    below = "%s/kubepods/pod%s/%s" % (NODE, UID, CID)
    assert workloads.level_with_pids((CgroupLine("pids", below + "/x"),), own) == ("pids", below)


OWNER, PROVIDER = "akash1" + "q" * 38, "akash1" + "z" * 38
LEASED = {b"AKASH_OWNER": OWNER, b"AKASH_DEPLOYMENT_SEQUENCE": "123456", b"AKASH_GROUP_SEQUENCE": "1", b"AKASH_ORDER_SEQUENCE": "2",
          b"AKASH_PROVIDER": PROVIDER}
LEASE = {"owner": OWNER, "dseq": "123456", "gseq": "1", "oseq": "2", "provider": PROVIDER}


def lease(**changes):
    environment = {**LEASED, **{("AKASH_" + name).encode(): value for name, value in changes.items()}}
    return workloads.lease({name: value if isinstance(value, bytes) else value.encode() for name, value in environment.items() if value is not None})


def test_a_whole_lease():
    assert lease() == LEASE
    assert [key for _variable, key, _shape in workloads.LEASE] == ["owner", "dseq", "gseq", "oseq", "provider"]


@pytest.mark.parametrize("owner", [
    None, "", "akash1", "akash1" + "q" * 37, "akash1" + "q" * 37 + "b", "akash1" + "q" * 37 + "1", "AKASH1" + "Q" * 38, "akash1" + "q" * 59,
    OWNER + "\n", "\n" + OWNER, OWNER + "\0", "\x1b[2J" + OWNER, OWNER.encode() + b"\xff", b"\xff" * 44, "x" * 2**20,
    "akash1" + "q" * 37 + "\u0661", "../../etc"])
def test_an_owner_that_is_no_address(owner):
    assert lease(OWNER=owner) == {**LEASE, "owner": None}


@pytest.mark.parametrize("number", [None, "", "-1", "1.0", "0x1", "1 ", "1\n", "9" * 21, "\u0661\u0662", "\xb2", "one", b"\xff"])
def test_a_number_that_is_none(number):
    assert lease(DEPLOYMENT_SEQUENCE=number) == {**LEASE, "dseq": None}


def test_no_lease_at_all():
    assert workloads.lease({}) is None
    assert lease(**dict.fromkeys(["OWNER", "DEPLOYMENT_SEQUENCE", "GROUP_SEQUENCE", "ORDER_SEQUENCE", "PROVIDER"], "?")) is None
    assert workloads.lease({b"AKASH_ORDER_SEQUENCE": b"7"}) == {**dict.fromkeys(LEASE), "oseq": "7"}


@given(st.dictionaries(st.sampled_from(list(LEASED)), st.binary(max_size=80)))
def test_any_environment_has_an_answer(environment):
    found = workloads.lease(environment)
    assert found is None or set(found) == set(LEASE) and all(value is None or value.isascii() and value.isalnum() for value in found.values())


def test_names_of_containers_in_pods_come_from_the_links_of_the_kubelet(tmp_path):
    for name in ("web-0_lease-1_app-%s.log" % CID, "a.b-c_kube-system_my-side-car-%s.log" % OTHER, "web-0_lease-1_app-%s.log" % CID[1:],
                 "app-%s.log" % ("a" * 64),
                 "web-0_lease-1_app-%s.log.1" % ("b" * 64), "web-0_lease-1_-%s.log" % ("e" * 64), "x"):
        (tmp_path / name).symlink_to("/nowhere")
    assert workloads.read_names_in_pods(str(tmp_path)) == {CID: "app", OTHER: "my-side-car"}
    assert workloads.read_names_in_pods(str(tmp_path / "nowhere")) == {}


class Docker:
    """Its state and its daemon.json, made by hand."""

    def __init__(self, folder):
        self.state, self.config = folder / "docker", folder / "daemon.json"

    def container(self, text, state=None, container_id=CID):
        folder = (state or self.state) / "containers" / container_id
        folder.mkdir(parents=True)
        (folder / "config.v2.json").write_bytes(text if isinstance(text, bytes) else text.encode())

    def name(self):
        return workloads.read_docker_name(str(self.state), str(self.config), CID)


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


@pytest.mark.parametrize("config", [
    "", "{", "[]", "null", '"data-root"', '{"data-root": null}', '{"data-root": 7}', '{"data-root": ["/x"]}',
    "[" * 100000, b"\xff\xfe", '{"init": true}'])
def test_a_broken_configuration_of_docker_is_none(docker, config):
    docker.container('{"Name": "/web_1"}')
    docker.config.write_bytes(config if isinstance(config, bytes) else config.encode())
    assert docker.name() == "web_1"


@pytest.mark.parametrize("root", ["", "/nowhere", "\0", "\ud800", "relative", "/" + "x" * 5000])
def test_a_data_root_that_is_not_there_gives_no_name(docker, root):
    docker.container('{"Name": "/web_1"}')
    docker.config.write_text(json.dumps({"data-root": root}))
    assert docker.name() is None


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", "null", '{"Name": null}', '{"Name": 7}', '{"Name": {"a": 1}}', '{"Name": ""}', '{"Name": "/"}',
    '{"Name": "//x"}', '{"Name": "/a b"}',
    '{"Name": "/a/b"}', '{"Name": "/a\\n"}', '{"Name": "/\\u001b[2J"}', '{"Name": "/-x"}', '{"Name": "/%s"}' % ("x" * 254), '{"Name": "/\\u0661"}',
    "[" * 100000, b"\xff",
    '{"Name": "/web", ' + " " * workloads.STATE_BYTES + "}"], ids=lambda text: repr(text[:30]))
def test_what_is_no_name_of_docker_s_is_none(docker, text):
    docker.container(text)
    assert docker.name() is None


def test_names_of_podman_s_containers(tmp_path):
    for driver, listed in (
            ("overlay", [{"id": CID, "names": ["web", "alias"], "image": "x"}, {"id": "a" * 64, "names": []},
                         {"id": "b" * 64}, {"id": "d" * 64, "names": ["a b"]}]),
            ("vfs", [{"id": OTHER, "names": ["db"]}])):
        (tmp_path / (driver + "-containers")).mkdir()
        (tmp_path / (driver + "-containers") / "containers.json").write_text(json.dumps(listed))
    (tmp_path / "overlay-images").mkdir()
    (tmp_path / "broken-containers").mkdir()
    (tmp_path / "hostile-containers").mkdir()
    (tmp_path / "hostile-containers/containers.json").write_text('[{"id": ["x"], "names": ["web"]}, {"names": ["web"]}, {"id": {}, "names": "web"}]')
    found = workloads.read_podman_names(str(tmp_path))
    assert {container_id: name for container_id, name in found.items() if name} == {CID: "web", OTHER: "db"}
    assert workloads.read_podman_names(str(tmp_path / "nowhere")) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "names", "Name", "data-root", "x"]), inner, max_size=4),
    max_leaves=12)


@given(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_any_file_of_a_runtime_is_read_or_ignored(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "runtimes"
    for path in (folder / "containers" / CID / "config.v2.json", folder / "x-containers/containers.json", folder / "daemon.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    assert all(name is None or isinstance(name, str) for name in workloads.read_podman_names(str(folder)).values())
    assert isinstance(workloads.read_docker_name(str(folder), str(folder / "nowhere"), CID), (str, type(None)))
    workloads.read_docker_name(str(folder), str(folder / "daemon.json"), CID)


def test_identity_with_names():
    """Docker and Podman give a container that is made again another id, and often the same name."""
    assert workload(runtime="docker", container_name="web").identity == "docker/web"
    assert workload(runtime="podman", container_name="web").identity == "podman/web"
    assert workload(runtime="containerd", container_name="app", pod_uid=UID).identity == UID, "each pod has an app"
    assert workload(container_id=None).identity is None


Paths = namedtuple("Paths", ("logs", "docker", "docker_config", "podman"))
SHIM = ("/usr/bin/containerd-shim-runc-v2", "x\0-namespace\0%s\0-id\0" + CID)


class Table:
    """Processes made by hand: PID -> (parent, PIDs in its namespaces, executable, command line); each PID 1 with an environment."""

    def __init__(self, processes, cgroup="/docker/" + CID, environment=()):
        self.processes = processes
        self.lines = {pid: (CgroupLine("pids", cgroup),) for pid in processes}
        self.given = dict(environment)
        self.asked = []

    def cgroup(self, pid):
        return self.lines.get(pid, (CgroupLine("pids", "/"),))

    def stat(self, pid):
        return procfs.Stat(pid, b"x", "S", self.processes[pid][0], 0, 1, 5) if pid in self.processes else None

    def status(self, pid):
        return status(self.processes[pid][1]) if pid in self.processes else None

    def executable(self, pid):
        return self.processes[pid][2].encode()

    def command_line(self, pid):
        return self.processes[pid][3].encode()

    def environment(self, pid, names):
        self.asked.append((pid, tuple(names)))
        return {name: value.encode() for name, value in self.given.items() if name in names}


def seen_by_locator(table, pid, folder, init_pid=30):
    paths = Paths(str(folder / "log"), str(folder / "docker"), str(folder / "daemon.json"), str(folder / "podman"))
    locator = workloads.Locator(table, paths)
    return locator.of(table.stat(pid), table.status(pid), table.cgroup(pid), 4026531999, init_pid)


def processes(executable="/usr/bin/x", arguments="x", of_node=True):
    """A container's PID 1, 30, with a child, 31, below a process of the node or of another container."""
    return {1: (0, (1,), "/sbin/init", "init"), 20: (1, (20,) if of_node else (20, 5), executable, arguments),
            30: (20, (30, 1), "/bin/app", "app"), 31: (30, (31, 2), "/bin/app", "app")}


@pytest.mark.parametrize("namespace, runtime", [("k8s.io", "containerd"), ("moby", "docker"), ("mobyx", "containerd")])
@pytest.mark.parametrize("pid", [30, 31])
def test_runtime_by_the_shim_above(tmp_path, namespace, runtime, pid):
    table = Table(processes(SHIM[0], SHIM[1] % namespace), cgroup="/kubepods/pod%s/%s" % (UID, CID))
    assert seen_by_locator(table, pid, tmp_path).runtime == runtime


@pytest.mark.parametrize("executable, arguments, of_node", [
    ("/usr/bin/x", SHIM[1] % "moby", True), ("/usr/bin/my-containerd-shim", "x", True), (SHIM[0], SHIM[1] % "moby", False), ("", "", True)])
def test_no_shim_of_the_node_no_runtime(tmp_path, executable, arguments, of_node):
    """What a tenant calls its own program says nothing."""
    table = Table(processes(executable, arguments, of_node), cgroup="/kubepods/pod%s/%s" % (UID, CID))
    assert seen_by_locator(table, 31, tmp_path).runtime is None


@pytest.mark.parametrize("arguments", ["moby", "x\0moby\0-namespace\0k8s.io", "x\0-id\0moby\0", "x\0-namespace", ""])
def test_moby_elsewhere_in_the_shim_s_arguments(tmp_path, arguments):
    table = Table(processes(SHIM[0], arguments), cgroup="/kubepods/pod%s/%s" % (UID, CID))
    assert seen_by_locator(table, 31, tmp_path).runtime == "containerd"


def test_a_line_of_parents_without_end(tmp_path):
    table = Table({**processes(), 20: (21, (20,), "/bin/x", "x"), 21: (20, (21,), "/bin/x", "x")}, cgroup="/kubepods/pod%s/%s" % (UID, CID))
    assert seen_by_locator(table, 31, tmp_path).runtime is None


IN_POD = "/kubepods/pod%s/%s" % (UID, CID)


def test_lease_is_what_the_container_s_own_pid_1_says(tmp_path):
    table = Table(processes(), IN_POD, LEASED)
    assert seen_by_locator(table, 31, tmp_path).lease == LEASE
    assert table.asked == [(30, tuple(LEASED))], "no other process and no other variable"


@pytest.mark.parametrize("why", ["no pod", "another container's PID 1", "no PID 1", "the node's PID namespace"])
def test_no_lease_where_it_would_be_another_s(tmp_path, why):
    table = Table(processes(), "/docker/" + CID if why == "no pod" else IN_POD, LEASED)
    if why == "another container's PID 1":  # of a pod that shares its PID namespace
        table.lines[30] = (CgroupLine("pids", IN_POD.replace(CID, OTHER)),)
    if why == "the node's PID namespace":
        table.processes[31] = (20, (31,), "/bin/app", "app")
    assert seen_by_locator(table, 31, tmp_path, None if why == "no PID 1" else 1 if "node" in why else 30).lease is None


def test_names_are_asked_of_the_runtime_that_it_is(tmp_path):
    Docker(tmp_path).container('{"Name": "/of-docker"}')
    for folder, name, text in (("podman/x-containers", "containers.json", json.dumps([{"id": CID, "names": ["of-podman"]}])),
                               ("log/containers", "web_lease-1_of-the-pod-%s.log" % CID, "")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text(text)
    for cgroup, name in (("/docker/" + CID, "of-docker"), ("/machine.slice/libpod-%s.scope" % CID, "of-podman"), (IN_POD, "of-the-pod"),
                         ("/system.slice/crio-%s.scope" % CID, None), ("/x/" + CID, None)):
        assert seen_by_locator(Table(processes(), cgroup), 31, tmp_path).container_name == name
