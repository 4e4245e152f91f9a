"""Events go to the API server, as the kubelet, about the pods that a sweep has dealt with. Whatever
is wrong with the server or the credential is one sentence in an hour.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    kubernetes_events,
    pressure,
    report,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import Options
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from ansible_collections.provider.fleet.plugins.module_utils.reaper.policy import Verdict
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import Outcome
from rig import handmade
from rig.api_server import HOST, KUBELET, ApiServer, Authority, Silent, kubeconfig
from rig.node import ENGINE, PYTHON
from rig.own_cgroup import own_cgroup
from rig.reaping import AS_LONG_AS_IT_TAKES

UID = "8ed3b1b7-3f6e-4b5e-9d1c-000000000%03d"
STATIC_UID = "0123456789abcdef0123456789abcdef"


def in_pod(number=1, **changes):
    """The workload of a container in a pod, as the node knows it."""
    names = {
        "pod_uid": UID % number,
        "container_name": "app",
        "kubernetes": True,
        "pod": ("lease-1", f"web-{number}"),
        **changes,
    }
    return handmade.workload(**names)


def parent(number=1, workload=None, **changes):
    return handmade.container_process(
        50 + number, workload=workload or in_pod(number), **{"status": handmade.status(), **changes}
    )


def leaking(number=1, **changes):
    """One whose zombie is younger than the last time that a sweep had it collect some."""
    return parent(number, **{"collected_ago": 1800.0, **changes})


def result(offender, was_ended=False):
    outcome = Outcome(
        pid=offender.pid,
        start_ticks=offender.start_ticks,
        remedy="terminate",
        result="parent_ended",
        cleared=0,
        detail="",
        seconds=0.1,
    )
    verdict = Verdict(
        offender=offender,
        remedies=("terminate",),
        reason="act",
        explanation="",
        due=offender.zombies,
        room=handmade.PRESSED,
    )
    return report.Result(verdict, (outcome,) if was_ended else (), ())


def swept(*results, usage=0.9):
    snapshot = handmade.node(*(each.verdict.offender for each in results), usage=usage)
    return report.Report(snapshot, snapshot, results, Options(), False, 0.1, ())


def ended(number=1, **changes):
    return result(parent(number, **changes), was_ended=True)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """How long an answer takes depends on how busy the machine is."""
    monkeypatch.setattr(kubernetes_events, "SECONDS", 60.0)


@pytest.fixture
def start(tmp_path):
    started = []

    def one(*arguments, **options):
        started.append(ApiServer(tmp_path, *arguments, **options))
        return started[-1]

    yield one
    for server in started:
        server.stop()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def paths(tmp_path):
    return Paths(run=str(tmp_path / "run"))


@pytest.fixture
def clock(monkeypatch):
    """Hours to add to the monotonic clock that events are noted by."""
    moved = SimpleNamespace(hours=0)
    monkeypatch.setattr(
        kubernetes_events,
        "time",
        SimpleNamespace(
            monotonic=lambda: time.monotonic() + 3600 * moved.hours,
            time_ns=time.time_ns,
            strftime=time.strftime,
            gmtime=time.gmtime,
        ),
    )
    return moved


@pytest.fixture
def announce(paths):
    """Announces the results of a sweep with that kubeconfig; returns the warnings."""

    def call(path, *results, **node):
        return kubernetes_events.announce(
            swept(*results, **node), paths._replace(kubernetes_events=str(path)), ProcFS()
        )

    return call


# What is sent


def test_the_pod_of_a_parent_that_was_ended_gets_an_event(server, announce):
    assert announce(server.kubeconfig(), ended()) == ()
    assert server.clients == [KUBELET]
    [event] = server.events
    assert re.fullmatch(r"web-1\.[0-9a-f]+", event["metadata"].pop("name"))
    assert event.pop("firstTimestamp") == event.pop("lastTimestamp")
    host = socket.gethostname().lower()
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "lease-1"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "lease-1",
            "name": "web-1",
            "uid": UID % 1,
            "fieldPath": "spec.containers{app}",
        },
        "reason": "ZombieParentEnded",
        "message": (
            "zombie-reaper (provider.fleet), run by the operator of this node, ended PID 7 of"
            " container app: it kept 1 exited child process (zombies), each for at least 100 s, and"
            " did not wait for them. Each holds a process ID (in use: 90.0% of the process table). 1"
            " counts as started by the program that keeps them: it has to wait (waitpid(2)) for each"
            " child that it starts. An init as PID 1 does not help against these. More:"
            " https://github.com/provider-fleet/fleet/blob/main/docs/why-was-i-ended.md"
        ),
        "type": "Warning",
        "source": {"component": "zombie-reaper", "host": host},
        "reportingComponent": "zombie-reaper",
        "reportingInstance": host,
        "count": 1,
    }


def test_the_pod_of_a_parent_that_leaks_gets_an_event(server, announce):
    assert announce(server.kubeconfig(), result(leaking()), result(parent(2))) == ()
    [event] = server.events
    assert event["reason"] == "ZombiesLeaking"
    assert event["message"].startswith(
        "PID 7 of container app keeps 1 exited child process (zombies), about 2 more an hour, and"
        " does not wait for them. Each holds a process ID. "
    )


def test_pods_of_ended_parents_come_first_and_the_number_is_bounded(server, announce, monkeypatch):
    monkeypatch.setattr(kubernetes_events, "MAX_EVENTS", 3)
    found = [*(result(leaking(number)) for number in range(5, 9)), ended(1), ended(2)]
    names = []
    for expected in (["web-1", "web-2", "web-5"], ["web-6", "web-7", "web-8"], []):
        assert announce(server.kubeconfig(), *found) == ()
        sent = [event["involvedObject"]["name"] for event in server.events[len(names) :]]
        assert sent == expected
        names += sent
    assert server.connections == 2, "one for each sweep"


def test_nothing_is_repeated_within_an_hour(server, announce, clock):
    path = server.kubeconfig()
    for hours, number in ((0, 1), (0.1, 1), (0.9, 1), (1.1, 2), (1.2, 2), (2.2, 3)):
        clock.hours = hours
        assert announce(path, result(leaking())) == ()
        assert len(server.events) == number
    announce(path, ended())
    assert server.events[-1]["reason"] == "ZombieParentEnded", "which is something else"


@pytest.mark.parametrize(
    "workload",
    [
        in_pod(kubernetes=False),
        in_pod(user=1000),
        in_pod(pod_uid=None),
        in_pod(pod=(None, None)),
        in_pod(pod=("lease/../kube-system", "web-1")),
        in_pod(pod=("lease-1\r\nX: y", "web-1")),
        in_pod(pod=("lease-1", 'web"1')),
        in_pod(pod=("lease-1", "w" * 254)),
        in_pod(pod_uid="../secrets"),
        in_pod(container_name="app} \x1b[31m"),
        in_pod(container_name="a" * 64),
        handmade.workload("host", None),
    ],
)
def test_only_what_kubernetes_allows_as_a_name_counts(server, announce, workload):
    assert announce(server.kubeconfig(), ended(workload=workload)) == ()
    assert server.connections == 0


@pytest.mark.parametrize(
    ("workload", "where"),
    [
        (in_pod(pod=("lease-1", "w" * 253)), "container app"),
        (in_pod(pod=("lease-1", "w" * 199 + "." + "w" * 10)), "container app"),
        (in_pod(pod_uid=STATIC_UID), "container app"),
        (in_pod(container_name="a" * 63), f"container {'a' * 63}"),
        (in_pod(container_name=None), "a container"),
    ],
)
def test_odd_names_are_taken(server, announce, workload, where):
    assert announce(server.kubeconfig(), ended(workload=workload)) == ()
    [event] = server.events
    assert where in event["message"] and len(event["message"]) <= 1024


def test_the_longest_message_is_taken(server, announce):
    """With orphans and children of its own, numbers as long as they get, and a long name."""
    zombies = tuple(
        (handmade.orphan if number % 2 else handmade.zombie)(number, age=10.0**7)
        for number in range(20001)
    )
    workload = in_pod(container_name="a" * 63)
    announce(
        server.kubeconfig(),
        ended(workload=workload, zombies=zombies, status=handmade.status((4194304, 1))),
        result(leaking(2, zombies=zombies, collected_ago=2 * 10.0**7)),
    )
    assert [len(event["message"]) < 1024 for event in server.events] == [True, True]


def test_nothing_in_it_comes_from_the_program(server, announce):
    secret = b"s3cret"
    changes = {"comm": secret, "executable": secret, "command_line": secret}
    zombies = (handmade.zombie(comm=secret),)
    announce(
        server.kubeconfig(),
        ended(zombies=zombies, **changes),
        result(leaking(2, zombies=zombies, **changes)),
    )
    assert len(server.events) == 2
    assert "s3cret" not in json.dumps(server.events)


def test_a_node_that_is_still_full_sends_nothing(server, announce):
    """The daemon has to sweep again at once."""
    assert announce(server.kubeconfig(), ended(), usage=pressure.FULL_SHARE) == ()
    assert server.connections == 0


def test_what_cannot_be_noted_is_not_sent(server, announce, paths, tmp_path):
    """It would be sent again by each sweep."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/events").mkdir()
    assert announce(server.kubeconfig(), result(leaking())) == ()
    assert server.connections == 0


def test_a_node_without_a_kubelet_sends_nothing(announce, paths, monkeypatch):
    monkeypatch.setattr(kubernetes_events.kubeconfig, "PLACES", ("/nonexistent",))
    assert announce("auto", ended()) == ()


# What goes wrong


def test_a_server_of_another_authority_gets_nothing(server, announce):
    path = server.kubeconfig(authority=Authority().pem)
    [warning] = announce(path, ended())
    assert warning.startswith(
        f"no Event about pod lease-1/web-1: https://{HOST}:{server.port}: its certificate is not"
        " valid: "
    )
    assert server.clients == []


def test_a_server_with_the_certificate_of_another_gets_nothing(start, announce):
    server = start(address="127.0.0.2")
    [warning] = announce(server.kubeconfig(), ended())
    assert "its certificate is not valid: IP address mismatch" in warning
    assert server.clients == []


def test_a_credential_of_another_authority_is_refused_by_the_server(server, announce):
    certificate, key = Authority().pair(KUBELET)
    path = server.kubeconfig(certificate=certificate, key=key)
    [warning] = announce(path, ended())
    assert f"https://{HOST}:{server.port}: " in warning
    assert server.events == []


@pytest.mark.parametrize("pair", ["not a pair", "no key", "encrypted"])
def test_a_credential_that_is_none_is_refused(server, announce, tmp_path, pair):
    """Without a question at the terminal for the password of a key."""
    certificate, key = server.authority.pair(KUBELET)
    if pair == "not a pair":
        key = server.authority.pair(KUBELET)[1]
    elif pair == "no key":
        key = b""
    else:
        (tmp_path / "key").write_bytes(key)
        command = ["openssl", "pkcs8", "-topk8", "-in", tmp_path / "key", "-passout", "pass:s3cret"]
        key = subprocess.run(command, check=True, capture_output=True).stdout
        assert b"ENCRYPTED" in key
    path = server.kubeconfig(certificate=certificate, key=key)
    [warning] = announce(path, ended())
    assert warning == (
        f"no Event about pod lease-1/web-1: {path}: client-certificate and client-key are not a"
        " pair in PEM without a password"
    )
    assert server.connections == 0


def test_an_authority_that_is_none_is_refused(server, announce):
    path = server.kubeconfig(authority=b"not a certificate")
    [warning] = announce(path, ended())
    assert warning.endswith(f"{path}: certificate-authority has no valid certificate")


def test_a_malformed_kubeconfig_is_one_sentence(announce, tmp_path):
    path = tmp_path / "kubelet.conf"
    path.write_text("{}\n")
    path.chmod(0o600)
    [warning] = announce(path, ended())
    assert warning == (
        f"no Event about pod lease-1/web-1: {path}: line 1 is not of the form KEY: VALUE"
    )


SAID = json.dumps({"kind": "Status", "message": "because I say so \x1b[31m" + "x" * 10000})


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, SAID, "403 because I say so"),
        (422, "[" * 10000, "422 Unprocessable Entity"),
        (500, "", "500 Internal Server Error"),
        (401, "null", "401 Unauthorized"),
        (302, '{"message": 7}', "302 Found"),
        (200, "x" * 10**6, None),
        (404, SAID, None),  # the namespace has gone
        (409, SAID, None),
        (403, '{"details": {"causes": [{"reason": "NamespaceTerminating"}]}}', None),
    ],
)
def test_what_the_server_says(start, announce, status, body, said):
    server = start((status, body.encode()))
    warnings = announce(server.kubeconfig(), ended(1), ended(2))
    pods = "pod lease-1/web-1 and 1 more"
    if said is None:
        assert warnings == ()
        assert len(server.clients) == 2
    else:
        [warning] = warnings
        assert warning.startswith(f"no Event about {pods}: https://{HOST}:{server.port}: {said}")
        assert len(warning) < report.MAX_TEXT
        is_over = status in (401, 500)
        assert len(server.clients) == (1 if is_over else 2)


def raw(text):
    def answer(handler):
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the connection was closed"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 201 Created\r\n" + b"a: b\r\n" * 1000 + b"\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 201 " + b"a" * 100000, "the answer is not HTTP"),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
    ],
)
def test_an_answer_that_is_none(start, announce, text, said):
    server = start(raw(text))
    [warning] = announce(server.kubeconfig(), ended())
    assert said in warning


def test_a_server_that_has_gone_is_reported_once_an_hour(announce, tmp_path, clock, start):
    """And is tried again after ten minutes. What leaks is reported then."""
    gone = start()
    path = gone.kubeconfig()
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        nobody = f"https://{HOST}:{closed.getsockname()[1]}"
        path = gone.kubeconfig(server=nobody)
        [warning] = announce(path, result(leaking()))
        assert warning == f"no Event about pod lease-1/web-1: {nobody}: Connection refused"
        clock.hours = 0.5
        assert announce(path, result(leaking())) == ()
        clock.hours = 1.1
        assert len(announce(path, result(leaking()))) == 1
    path = gone.kubeconfig()
    assert announce(path, result(leaking())) == ()
    assert gone.connections == 0, "not yet again"
    clock.hours = 1.4
    assert announce(path, result(leaking())) == ()
    assert len(gone.events) == 1


def test_one_that_the_server_refuses_does_not_keep_back_the_others(start, announce):
    def answer(handler):
        refused = "/lease-1/" in handler.path
        handler.send_response(403 if refused else 201)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server = start(answer)
    other = in_pod(2, pod=("lease-2", "web-2"))
    path = server.kubeconfig()
    [warning] = announce(path, ended(1), ended(2, workload=other))
    assert "pod lease-1/web-1: " in warning
    assert len(server.clients) == 2
    assert announce(path, result(leaking(1)), result(leaking(2, workload=other))) == ()
    assert len(server.clients) == 4, "and the server is asked again at once"


# A server that keeps it waiting


@pytest.fixture
def impatient(monkeypatch, patient):
    monkeypatch.setattr(kubernetes_events, "SECONDS", 1.0)


def waits(handler):
    """Answers nothing until the server is stopped."""
    STOPPING.wait()


STOPPING = SimpleNamespace(wait=None)


def drips(handler):
    """A byte now and then, so that no single read ever takes long."""
    handler.wfile.write(b"HTTP/1.1 201 Created\r\n")
    for _byte in range(int(20 * AS_LONG_AS_IT_TAKES)):
        if STOPPING.wait(0.05):
            break
        handler.wfile.write(b"a")
    handler.close_connection = True


@pytest.mark.parametrize("answer", [waits, drips])
def test_a_server_that_does_not_finish_is_left(start, announce, impatient, answer):
    server = start(answer)
    STOPPING.wait = server.stopping.wait
    [warning] = announce(server.kubeconfig(), ended())
    assert warning.endswith(f"https://{HOST}:{server.port}: no answer within 1 s")


def test_a_server_that_takes_no_handshake(announce, impatient, tmp_path):
    authority = Authority()
    certificate, key = authority.pair(KUBELET)
    silent = Silent()
    try:
        server = f"https://{HOST}:{silent.port}"
        path = kubeconfig(tmp_path / "kubelet.conf", server, authority.pem, certificate, key)
        [warning] = announce(path, ended())
        assert warning.endswith(f"{server}: no answer within 1 s")
    finally:
        silent.stop()


# In the daemon

LOADS = """
import sys
sys.path.append(sys.argv[1])
from reaper import kubernetes_events
import json, os
kubernetes_events.SECONDS = 60.0
kubernetes_events.prepare()
before = set(sys.modules)
for name, value in ("cgroup.procs", os.getpid()), ("pids.max", 1):
    with open(os.path.join(sys.argv[3], name), "w") as file:
        file.write(str(value))
event = kubernetes_events.Event("lease-1", "web-1", "0" * 32, "app", "ZombiesLeaking", "text")
failed = kubernetes_events._send([event], sys.argv[2], kubernetes_events.time.monotonic() + 60)
print(json.dumps([failed, sorted(set(sys.modules) - before)]))
"""


def test_all_that_it_needs_is_loaded_before(server):
    """A process in a full table, where no other can be started, may have no memory either."""
    with own_cgroup("pids") as cgroup:
        done = subprocess.run(
            [PYTHON, "-IS", "-c", LOADS, ENGINE, server.kubeconfig(), cgroup.directory],
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == [None, []]
    assert len(server.events) == 1
