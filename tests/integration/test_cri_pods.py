"""Pods on a real containerd, started through CRI as a kubelet starts them: whose they are, and what
becomes of them.

containerd is started once for all tests here, each test has pods of its own. See :mod:`rig.cri`.
"""

from __future__ import annotations

import json
import re
import uuid

import pytest
from rig.agents import PATIENT_WITH_INITS, later, sweep
from rig.cri import IMAGE, started
from rig.inits import process_in
from rig.node import wait_until
from rig.reaping import PatientNode, agent_that

ENDED = (
    r"run by the operator of this node, ended PID \d+ of this container: it kept 2 exited child"
    r" processes"
)
TINI = ("/tini", "--")


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory):
    with started(PatientNode(tmp_path_factory.mktemp("cri"))) as kubelet:
        yield kubelet


@pytest.fixture
def node(kubelet, tmp_path):
    """The node of all tests here, with a memory of its own for each."""
    kubelet.node.run_directory = tmp_path / "run"
    yield kubelet.node
    kubelet.remove_pods()


def offender(result, container) -> dict:
    """The entry of the only offender of a container."""
    (entry,) = [
        entry for entry in result["offenders"] if entry["workload"]["container_id"] == container
    ]
    return entry


def zombies_of_containers(node) -> dict:
    """Container id to how many zombies its offender has, as a look at the node shows."""
    entries = node.sweep("--check")["offenders"]
    return {
        entry["workload"]["container_id"]: entry["zombies"]
        for entry in entries
        if entry["workload"]["kind"] == "container"
    }


def audit(node, *flags) -> dict:
    """What --audit says, zombies of any age being evidence: container id to row."""
    done = node.run(
        *node.agent_command(
            "--audit", "--json", "--min-age", "0", *flags, code=agent_that(PATIENT_WITH_INITS)
        )
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    rows = {row["workload"]["container_id"]: row for row in result["containers"]}
    assert len(rows) == result["counts"]["containers"] == len(result["containers"])
    return rows


def bech32(text) -> str:
    """An address as Akash has them, made of a few characters that they may have."""
    return "akash1" + (text * 38)[:38]


LEASE = {
    "owner": bech32("qpzry9x8"),
    "dseq": "18446744",
    "gseq": "1",
    "oseq": "2",
    "provider": bech32("gf2tvdw0"),
}
ENVIRONMENT = {
    "AKASH_OWNER": LEASE["owner"],
    "AKASH_DEPLOYMENT_SEQUENCE": LEASE["dseq"],
    "AKASH_GROUP_SEQUENCE": LEASE["gseq"],
    "AKASH_ORDER_SEQUENCE": LEASE["oseq"],
    "AKASH_PROVIDER": LEASE["provider"],
    "DATABASE_PASSWORD": "correct horse",
}
TENANT = (  # the namespace that Akash gives to this lease
    "cq40a276n544arsbq6e5t74d7l70c77lrsvpuapacuano"
)
STATIC_UID = uuid.uuid4().hex  # the kubelet makes it of a checksum of the manifest

# How each pod is made.
PODS = {
    "guaranteed": ("default", {"qos": "Guaranteed"}),
    "burstable": ("default", {"qos": "Burstable"}),
    "besteffort": ("default", {}),
    "static": ("kube-system", {"qos": "Burstable", "uid": STATIC_UID}),
    "two-containers": ("default", {}),
    "shared-pid": ("default", {"pid": "POD"}),
    "host-pid": ("default", {"pid": "NODE"}),
    "worker": ("default", {}),
    "exec": ("default", {}),
    "systemd": ("default", {"style": "systemd"}),
    "systemd-guaranteed": ("default", {"style": "systemd", "qos": "Guaranteed"}),
    "systemd-static": (
        "kube-system",
        {"style": "systemd", "qos": "Burstable", "uid": uuid.uuid4().hex},
    ),
    "kind": ("default", {"style": "systemd", "qos": "Burstable", "prefix": "kubelet-"}),
    "mixed": ("default", {"style": "mixed", "qos": "Burstable"}),
    "lease": (TENANT, {"qos": "Guaranteed"}),
}

# Every container that leaks: what it runs, how many zombies that holds, and what is expected of its
# workload. {top}, {uid}, {slice} and {id} stand for what is another at each run.
CGROUPFS = "{top}/kubepods/besteffort/pod{uid}/{id}"
GOLDEN = {
    "guaranteed/main": (
        ["leak", "1"],
        1,
        {"qos": "Guaranteed", "cgroup": "{top}/kubepods/pod{uid}/{id}"},
    ),
    "burstable/main": (
        ["leak", "2"],
        2,
        {"qos": "Burstable", "cgroup": "{top}/kubepods/burstable/pod{uid}/{id}"},
    ),
    "besteffort/main": (["leak", "3"], 3, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "static/etcd": (
        ["leak", "1"],
        1,
        {"qos": "Burstable", "cgroup": "{top}/kubepods/burstable/pod{uid}/{id}"},
    ),
    "two-containers/web": (["leak", "1"], 1, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "two-containers/side-car": (["leak", "2"], 2, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "shared-pid/web": (["leak", "1"], 1, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "shared-pid/side-car": (["leak", "2"], 2, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "host-pid/agent": (["leak", "1"], 1, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "worker/main": (["child-leak", "2"], 2, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "exec/main": (["sleep"], 1, {"qos": "BestEffort", "cgroup": CGROUPFS}),
    "systemd/main": (
        ["leak", "1"],
        1,
        {
            "qos": "BestEffort",
            "cgroup": (
                "{top}/kubepods.slice/kubepods-besteffort.slice/{slice}/cri-containerd-{id}.scope"
            ),
        },
    ),
    "systemd-guaranteed/main": (
        ["leak", "1"],
        1,
        {"qos": "Guaranteed", "cgroup": "{top}/kubepods.slice/{slice}/cri-containerd-{id}.scope"},
    ),
    "systemd-static/main": (
        ["leak", "1"],
        1,
        {
            "qos": "Burstable",
            "cgroup": (
                "{top}/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{id}.scope"
            ),
        },
    ),
    "kind/main": (
        ["leak", "1"],
        1,
        {
            "qos": "Burstable",
            "cgroup": (
                "{top}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/{slice}/cri-containerd-{id}.scope"
            ),
        },
    ),
    "mixed/main": (
        ["leak", "1"],
        1,
        {"qos": "Burstable", "cgroup": "{top}/{slice}:cri-containerd:{id}"},
    ),
    "lease/service-1": (
        ["leak", "1"],
        1,
        {
            "qos": "Guaranteed",
            "cgroup": "{top}/kubepods/pod{uid}/{id}",
            "lease": {**LEASE, "verified": True},
        },
    ),
    "lease/debugger": (
        ["leak", "2"],
        2,
        {"qos": "Guaranteed", "cgroup": "{top}/kubepods/pod{uid}/{id}"},
    ),
}


def test_the_golden_table_of_whose_zombies_they_are(node, kubelet):
    """One sweep, and an audit: each container by all of its names. Nothing that was not asked for
    is read out of an environment.
    """
    pods = {
        name: kubelet.pod(namespace, name, **kwargs) for name, (namespace, kwargs) in PODS.items()
    }
    expected, containers = {}, {}
    for row, (command, zombies, known) in GOLDEN.items():
        pod_name, name = row.split("/")
        pod = pods[pod_name]
        # where the PID namespace is shared, PID 1 is another container's, and what that says of
        # itself does not count
        env = ENVIRONMENT if pod_name in ("lease", "shared-pid", "host-pid") else {}
        target = containers["lease/service-1"] if name == "debugger" else None
        container = containers[row] = pod.container(name, *command, env=env, target=target)
        if pod_name == "exec":
            pod.exec(container, "orphan")
        pid = pod.state(container)[2]
        cgroup = known["cgroup"].format(
            top=kubelet.top, uid=pod.uid, slice=pod.cgroup, id=container
        )
        expected[row] = (
            zombies,
            {
                "kind": "container",
                "runtime": "containerd",
                "container_id": container,
                "container_name": name,
                "pod_uid": pod.uid,
                "namespace": pod.namespace,
                "pod": pod.name,
                "lease": None,
                "service": None,
                "pid_namespace": (kubelet.root / "proc" / str(pid) / "ns/pid").stat().st_ino,
                "user": None,
                "kubernetes": True,
                "sandbox": False,
                **known,
                "cgroup": cgroup,
                "outermost": cgroup,
            },
        )

    def attributed(entries):
        rows = {container: row for row, container in containers.items()}
        return {
            rows.get(entry["workload"]["container_id"]): (entry["zombies"], entry["workload"])
            for entry in entries
        }

    wait_until(lambda: zombies_of_containers(node).get(containers["exec/main"]))
    result = node.sweep("--check")
    assert (
        attributed(
            entry for entry in result["offenders"] if entry["workload"]["kind"] == "container"
        )
        == expected
    )
    rows = audit(node)
    assert (
        attributed(row for container, row in rows.items() if container in containers.values())
        == expected
    )
    assert not {pod.sandbox for pod in pods.values()} & set(rows), (
        "the sandbox of a pod is no container of anybody's"
    )
    assert len(rows) == len(containers)
    assert "correct horse" not in json.dumps([result, list(rows.values())])


def test_a_pod_of_kube_system_is_never_touched_by_default(node, kubelet):
    """A static pod, too, whose UID has no dashes."""
    system = kubelet.pod("kube-system", "etcd-node7", qos="Burstable", uid=STATIC_UID)
    tenant = kubelet.pod(TENANT, "web-0")
    etcd, web = system.container("etcd", "leak", "2"), tenant.container("web", "leak", "2")
    before = system.state(etcd)
    result = node.sweep(remedies="terminate")
    assert offender(result, etcd)["reason"] == "protected_namespace"
    assert offender(result, web)["outcome"] == "cleared"
    assert system.state(etcd) == before
    assert zombies_of_containers(node) == {etcd: 2}
    wait_until(lambda: tenant.state(web)[0] == "CONTAINER_EXITED")


def test_a_pod_whose_log_directory_is_missing_is_left_alone(node, kubelet):
    """It may be one of kube-system. Where no namespace is protected, that does not matter."""
    pod = kubelet.pod("kube-system", "etcd-node7")
    etcd = pod.container("etcd", "leak", "2")
    pod.forget_logs()
    entry = offender(node.sweep(), etcd)
    assert (entry["reason"], entry["workload"]["namespace"], entry["workload"]["pod_uid"]) == (
        "namespace_unknown",
        None,
        pod.uid,
    )
    assert zombies_of_containers(node) == {etcd: 2}
    assert pod.state(etcd)[0] == "CONTAINER_RUNNING"
    config = node.run_directory.parent / "config.json"
    config.write_text('{"protect_namespaces": [], "min_age": 0, "remedies": ["reap"]}')
    done = node.agent("--json", config=config)
    assert offender(json.loads(done.stdout), etcd)["outcome"] == "cleared", done


def test_zombies_are_collected_and_the_container_goes_on(node, kubelet):
    """PID 1, a child of PID 1, containers beside others in one PID namespace, one in the node's
    own: none of them ends.
    """
    private, shared, host = (
        kubelet.pod(TENANT, "private"),
        kubelet.pod(TENANT, "shared", pid="POD"),
        kubelet.pod(TENANT, "host", pid="NODE"),
    )
    zombies, pods = {}, {}
    for pod, what, count in (
        (private, "leak", 2),
        (private, "child-leak", 3),
        (shared, "leak", 1),
        (shared, "child-leak", 4),
        (host, "leak", 5),
    ):
        container = pod.container(what, what, str(count))
        zombies[container], pods[container] = count, pod
    before = {container: pod.state(container) for container, pod in pods.items()}
    assert all(state == "CONTAINER_RUNNING" and pid > 0 for state, _status, pid in before.values())
    assert zombies_of_containers(node) == zombies
    result = node.sweep(remedies="nudge,reap")
    assert {offender(result, container)["outcome"] for container in zombies} == {"cleared"}
    assert zombies_of_containers(node) == {}
    assert {container: pod.state(container) for container, pod in pods.items()} == before


DEFAULTS = ("--json", "--pressure", "0.5", "--max-parents", "10")
SIGNALS = "kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo,pidfd_send_signal"


def test_by_default_orphans_go_in_the_second_sweep_and_nothing_is_signalled(
    node, kubelet, tmp_path
):
    """What exec left there is nobody's; what its PID 1 started itself, that may still ask for."""
    pod = kubelet.pod(TENANT, "web-0")
    web = pod.container("web", "leak", "2")
    for _number in range(3):
        pod.exec(web, "orphan")
    wait_until(lambda: zombies_of_containers(node) == {web: 5})
    before = pod.state(web)
    first = offender(json.loads(node.run(*node.agent_command(*DEFAULTS)).stdout), web)
    assert (first["reason"], first["claims"]) == (
        "too_young",
        {"orphan": 3, "may_be_waited_for": 2},
    )
    calls = tmp_path / "calls"
    done = node.run(
        "strace",
        "-f",
        "-o",
        calls,
        "-e",
        "trace=" + SIGNALS,
        *node.agent_command(*DEFAULTS, code=agent_that(later(hours=61 / 3600))),
    )
    assert done.returncode == 0, done.stderr
    second = offender(json.loads(done.stdout), web)
    assert (second["outcome"], second["cleared"], second["remedies"]) == ("cleared", 3, ["reap"])
    made = [
        line
        for line in calls.read_text(encoding="utf-8").splitlines()
        if re.search(r"(kill|queueinfo|send_signal)\(", line)
    ]
    assert all(re.search(r"pidfd_send_signal\(\d+, 0, NULL", line) for line in made), (
        "signal 0 asks whether somebody is there"
    )
    assert zombies_of_containers(node) == {web: 2}
    assert pod.state(web) == before


# Of a container that exits with 0 on SIGTERM: whether its pod shares a PID namespace, words before
# its command, what it does, where its log is
ENDS = {
    "pid 1": ("CONTAINER", (), "good", "/dev/termination-log"),
    "a child of tini": ("CONTAINER", TINI, "good", "/dev/termination-log"),
    "the last command of a shell": ("CONTAINER", (), "foreground", "/dev/termination-log"),
    "a shared PID namespace": ("POD", (), "good", "/dev/termination-log"),
    "a child of tini in that": ("POD", ("/tini", "-s", "--"), "good", "/dev/termination-log"),
    "hostPID": ("NODE", (), "good", "/dev/termination-log"),
    "another terminationMessagePath": ("CONTAINER", (), "good", "/a/path/of/its/own"),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_is_ended_counts_as_failed_and_its_owner_is_told(node, kubelet, case):
    """A Job whose program exits with 0 on SIGTERM, as the first one here, would be marked Complete,
    and its work be lost.
    """
    pid, before, what, path = ENDS[case]
    pod = kubelet.pod(TENANT, "job-0", pid=pid)
    by_hand = pod.container("by-hand", what, "0", before=before)
    first = process_in(node, pod.state(by_hand)[2])
    (first.children() or [first])[0].terminate()
    wait_until(lambda: pod.state(by_hand)[:2] == ("CONTAINER_EXITED", 0))
    job = pod.container("job", what, "2", before=before, termination_log=path)
    (step,) = offender(node.sweep(remedies="terminate", grace=60), job)["steps"]
    assert (
        step["detail"]
        == "ended by SIGKILL at once, so that it counts as failed; its termination log says why"
    )
    wait_until(lambda: pod.state(job)[0] == "CONTAINER_EXITED")
    assert pod.state(job)[1] == 137
    assert re.search(ENDED, pod.termination_log("job").read_text(encoding="utf-8"))


def test_a_daemon_whose_status_nobody_asks_for_may_end_by_itself(node, kubelet):
    """PID 1 adopted it; that leads the session of the container, as a runtime makes it."""
    pod = kubelet.pod(TENANT, "web-0")
    web = pod.container("web", "daemon", "2")
    running = pod.state(web)
    (step,) = offender(node.sweep(remedies="terminate", grace=60), web)["steps"]
    assert step["detail"] == "ended by SIGTERM; its termination log says why"
    assert pod.state(web) == running
    assert zombies_of_containers(node) == {}


def test_a_link_in_place_of_a_termination_log_leads_nowhere(node, kubelet, tmp_path):
    """The pod names another terminationMessagePath, so /dev/termination-log is the container's own
    to make.
    """
    victim = tmp_path / "victim"
    victim.write_text("")
    victim.chmod(0o666)
    pod = kubelet.pod(TENANT, "web-0")
    web = pod.container("web", "lie", str(victim), termination_log=None)
    entry = offender(node.sweep(remedies="terminate"), web)
    assert entry["outcome"] == "cleared"
    assert "termination log" not in entry["steps"][0]["detail"]
    assert victim.read_text() == ""


def test_a_cooldown_outlives_the_container(node, kubelet):
    """Its next container has another id and PID, but it is the same pod. Its zombies are still
    collected.
    """
    pod = kubelet.pod(TENANT, "web-0")
    first = pod.container("web", "leak", "2")
    assert node.sweep(remedies="terminate")["counts"]["parents_ended"] == 1
    wait_until(lambda: pod.state(first)[0] == "CONTAINER_EXITED")
    second = pod.container("web", "leak", "2")
    running = pod.state(second)
    entry = offender(node.sweep(remedies="nudge,terminate"), second)
    assert (entry["reason"], entry["remedies"]) == ("cooldown", ["nudge"])
    assert pod.state(second) == running
    assert offender(node.sweep(), second)["outcome"] == "cleared"
    assert pod.state(second) == running
    pod.exec(second, "orphan")
    wait_until(lambda: zombies_of_containers(node) == {second: 1})
    assert (
        offender(sweep(node, later(hours=2), remedies="terminate", cooldown=3600), second)[
            "outcome"
        ]
        == "cleared"
    )
    wait_until(lambda: pod.state(second)[0] == "CONTAINER_EXITED")


def test_the_limit_of_the_pod_is_the_one_that_binds(node, kubelet):
    """The kubelet's podPidsLimit is set on the cgroup of the pod: the pause container and the
    zombies of all containers count.
    """
    pod, free = kubelet.pod(TENANT, "web-0"), kubelet.pod(TENANT, "free-0")
    pod.limit_pids(50)
    web, side_car = pod.container("web", "leak", "20"), pod.container("side-car", "leak", "10")
    unlimited = free.container("web", "leak", "1")
    result, rows = node.sweep("--check"), audit(node)
    for entry in (offender(result, web), offender(result, side_car), rows[web], rows[side_car]):
        assert {key: entry["pids"][key] for key in ("current", "max", "cgroup")} == {
            "current": 33,
            "max": 50,
            "cgroup": pod.cgroup,
        }
    assert [rows[each]["pid_limit"] for each in (web, side_car, unlimited)] == [50, 50, None]
    told = node.run(*node.agent_command("--audit")).stdout
    assert (
        f"1 pod without a PID limit (podPidsLimit of the kubelet sets one): {TENANT}/free-0\n"
        in told
    )


@pytest.mark.parametrize("probe", [False, True])
def test_which_inits_reap(node, kubelet, probe):
    """The pause container of a shared PID namespace is the init of all containers in it; it is no
    container of anybody's, and is not told.

    What the audit says is what then happens to an orphan that an exec leaves.
    """
    shared, private = kubelet.pod("default", "shared", pid="POD"), kubelet.pod("default", "private")
    # container: its pod, verdict, evidence for that without a canary, executable of its PID 1,
    # zombies
    expected = {
        shared.container("web", "sleep"): (shared, "reaps", "name", "/pause", 0),
        private.container("leaks", "leak", "2"): (private, "leaks", "zombies", "/pod", 2),
        private.container("sleeps", "sleep"): (
            private,
            "leaks" if probe else "unknown",
            "name",
            "/pod",
            0,
        ),
        private.container("waits", "reap"): (private, "reaps", "waiting", "/pod", 0),
    }
    rows = audit(node, *["--probe"][:probe])
    assert set(rows) == set(expected)
    for container, (pod, verdict, by, executable, zombies) in expected.items():
        row = rows[container]
        assert (row["verdict"], row["init"]["executable"], row["zombies"]) == (
            verdict,
            executable,
            zombies,
        ), row
        by_canary = probe and by == "name"  # the other evidence needs none
        assert {each["by"]: each["verdict"] for each in row["evidence"]}[
            "canary" if by_canary else by
        ] == verdict, row
        assert (row["seconds"] is not None) == (by_canary and verdict == "reaps"), row
        if executable == "/pod":
            assert row["init"]["pid"] == pod.state(container)[2]
    (leaks,) = [container for container, row in rows.items() if row["zombies"]]
    assert zombies_of_containers(node) == {leaks: 2}, "a canary was left"
    for container, (pod, *_expected) in expected.items():
        if container != pod.sandbox:
            pod.exec(container, "orphan")
    kept = {
        leaks: 3,
        **{
            container: 1
            for container, row in rows.items()
            if row["verdict"] != "reaps" and container != leaks
        },
    }
    wait_until(lambda: zombies_of_containers(node) == kept)


def test_no_parent_is_ended_in_vain_once_an_audit_has_told(node, kubelet):
    """The init does not wait, but has no zombies yet that would show it; a canary did. To end the
    parent would only move its zombies there.
    """
    pod = kubelet.pod(TENANT, "web-0")
    web = pod.container("web", "careless", "2")
    assert offender(node.sweep("--check", remedies="terminate"), web)["reason"] == "act"
    assert audit(node, "--probe")[web]["verdict"] == "leaks"
    entry = offender(node.sweep(remedies="terminate"), web)
    assert (entry["reason"], entry["zombies"], entry["init_pid"]) == (
        "adopter_does_not_reap",
        2,
        pod.state(web)[2],
    )
    assert f"PID {entry['init_pid']}" in entry["explanation"]
    assert zombies_of_containers(node) == {web: 2}


def test_explain_names_the_pod(node, kubelet):
    pod = kubelet.pod(TENANT, "web-0")
    pid = pod.state(pod.container("web", "leak", "2"))[2]
    said = node.agent("--explain", str(pid), "--min-age", "0").stdout
    assert f"{TENANT}/web-0" in said
    assert "web" in said


@pytest.mark.parametrize(
    "namespace, told",
    [("k8s.io", ("namespace_unknown", None, True)), ("default", ("act", "web1", False))],
)
def test_a_container_that_ctr_runs(node, kubelet, namespace, told):
    """No id is in its cgroup path, and no pod. In the namespace of Kubernetes it may be anything;
    elsewhere its shim names it.
    """
    ctr = ["ctr", "--address", str(kubelet.directory / "socket"), "--namespace", namespace]
    for words in (
        ["images", "import", str(kubelet.directory / "image.tar")],
        [
            "run",
            "--detach",
            "--cgroup",
            f"{kubelet.top}/{namespace}/web1",
            IMAGE,
            "web1",
            "/pod",
            "leak",
            "2",
        ],
    ):
        done = node.run(*ctr, *words)
        assert done.returncode == 0, done.stderr
    try:

        def entries():
            return [
                entry
                for entry in node.sweep("--check")["offenders"]
                if entry["workload"]["cgroup"].startswith(f"{kubelet.top}/{namespace}")
            ]

        (entry,) = wait_until(entries)
        workload = entry["workload"]
        assert (entry["reason"], workload["container_name"], workload["kubernetes"]) == told
        assert (
            workload["kind"],
            workload["runtime"],
            workload["container_id"],
            workload["pod"],
        ) == ("container", "containerd", None, None)
    finally:
        node.run(*ctr, "tasks", "kill", "--signal", "KILL", "web1")
        wait_until(
            lambda: (
                node.run(*ctr, "tasks", "rm", "--force", "web1").returncode == 0
                or "web1" not in node.run(*ctr, "tasks", "ls").stdout
            )
        )
        node.run(*ctr, "containers", "rm", "web1")


def test_where_only_the_links_of_the_kubelet_tell_the_pod(node, kubelet):
    """podLogsDir is elsewhere, so there is no directory in /var/log/pods."""
    pods = [
        kubelet.pod("akash-services", "operator-7d9fc5b46b-x2x7z"),
        kubelet.pod(TENANT, "web-0"),
    ]
    containers = [pod.container("main", "leak", "1") for pod in pods]
    for pod in pods:
        assert node.run("rm", "-r", str(pod.logs)).returncode == 0
    wait_until(lambda: set(containers) <= set(zombies_of_containers(node)))
    system, tenant = (offender(node.sweep("--check"), container) for container in containers)
    assert (system["reason"], tenant["reason"]) == ("protected_namespace", "act")
    for entry, pod in zip((system, tenant), pods):
        workload = entry["workload"]
        assert (
            workload["namespace"],
            workload["pod"],
            workload["pod_uid"],
            workload["container_name"],
        ) == (pod.namespace, pod.name, pod.uid, "main")


def test_a_lease_of_somebody_else_s_is_only_claimed(node, kubelet):
    """The tenant's manifest sets AKASH_OWNER to another's address; the provider adds only what is
    not there.
    """
    pod = kubelet.pod(TENANT, "web-0")
    victim = bech32("zzzz9x8q")
    forged, true = (
        pod.container(name, "leak", "1", env=env)
        for name, env in (("forged", {**ENVIRONMENT, "AKASH_OWNER": victim}), ("true", ENVIRONMENT))
    )
    wait_until(lambda: {forged, true} <= set(zombies_of_containers(node)))
    result = node.sweep("--check")
    assert offender(result, forged)["workload"]["lease"] == {
        **LEASE,
        "owner": victim,
        "verified": False,
    }
    assert offender(result, true)["workload"]["lease"] == {**LEASE, "verified": True}
