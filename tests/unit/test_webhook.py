"""What a web service is told of ended workloads, and what a failure of it may cost and show."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import webhook
from ansible_collections.provider.fleet.plugins.plugin_utils.node_result import checked
from ansible_collections.provider.fleet.plugins.plugin_utils.node_row import node_row
from rig import fleet as rig
from rig.webhook import Webhook, own_certificate


def row(host="node1", ended=1, tenants=("shop",)):
    result = rig.look(
        *[rig.offender(2, workload=rig.workload(namespace=tenant)) for tenant in tenants]
    )
    result["counts"].update(cleared=2, zombies_left=0, parents_ended=ended)
    return node_row(host, checked({**result, "check_mode": False}))


CONTENT = webhook.document([row()], rig.AT)


def test_what_is_sent():
    rows = [row("fine", ended=0), row("a", 1), row("b", 2, ["shop", "bank"])]
    assert webhook.document(rows, rig.AT) == {
        "schema": 1,
        "event": "workloads_ended",
        "at": "2026-11-25T10:39:13Z",
        "text": "3 workloads ended on 2 nodes",
        "workloads_ended": 3,
        "nodes": [
            {
                "host": "b",
                "workloads_ended": 2,
                "zombies": 4,
                "cleared": 2,
                "left": 0,
                "tenants": ("bank", "shop"),
            },
            {
                "host": "a",
                "workloads_ended": 1,
                "zombies": 2,
                "cleared": 2,
                "left": 0,
                "tenants": ("shop",),
            },
        ],
        "more_nodes": 0,
    }


def test_nothing_is_sent_where_nothing_was_ended():
    assert webhook.document([row(ended=0)], rig.AT) is None


def test_it_stays_small_however_large_the_fleet_is():
    of_many = row(tenants=[f"{number:04d}" + "x" * 10**4 for number in range(200)])
    sent = webhook.document(
        [of_many._replace(host=f"{number:04d}" + "x" * 10**4) for number in range(300)], rig.AT
    )
    assert sent["workloads_ended"] == 300 and sent["more_nodes"] == 200
    assert len(json.dumps(sent)) < 10**6


def test_a_post_of_json():
    with Webhook() as hook:
        assert webhook.post(hook.url, CONTENT) == ""
    assert hook.received == [json.loads(json.dumps(CONTENT))]
    assert hook.types == ["application/json"]


@contextlib.contextmanager
def listening(answer=b""):
    """A server that takes one connection and sends that, one byte and then no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def serve():
            connection, _address = server.accept()
            taken.append(connection)
            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hunter2"
        thread.join()
        for connection in taken:
            connection.close()


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_is_told_without_the_address(status):
    with Webhook(status) as hook:
        problem = webhook.post(hook.url, CONTENT)
    assert problem == (
        f"the webhook on '127.0.0.1' was not told: it answered with HTTP status {status}"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    """It would carry the names of tenants to somebody else."""
    with Webhook() as other, Webhook(status, [("Location", other.url)]) as hook:
        problem = webhook.post(hook.url, CONTENT)
    assert other.paths == [] and f"HTTP status {status}" in problem and "hunter2" not in problem


def test_a_certificate_that_nobody_signed_is_not_accepted(tmp_path):
    with Webhook(certificate=own_certificate(tmp_path)) as hook:
        problem = webhook.post(hook.url, CONTENT)
    assert hook.received == []
    assert problem.endswith("its certificate was not accepted, or TLS failed")


@pytest.mark.parametrize("answer", [b"", b"H"])
def test_a_service_that_does_not_answer_is_given_up(monkeypatch, answer):
    monkeypatch.setattr(webhook, "TIMEOUT", 0.3)
    with listening(answer) as url:
        problem = webhook.post(url, CONTENT)
    assert problem == "the webhook on '127.0.0.1' was not told: no answer within 0.3 s"


def test_one_that_keeps_the_connection_busy_is_given_up_too(monkeypatch):
    monkeypatch.setattr(webhook, "PATIENCE", 0.3)
    monkeypatch.setattr(webhook, "TIMEOUT", 3600)
    with listening() as url:
        problem = webhook.post(url, CONTENT)
    assert problem == "the webhook on '127.0.0.1' was not told: no answer within 0.3 s"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    problem = webhook.post(f"http://user:hunter2@127.0.0.1:{port}/hunter2", CONTENT)
    assert problem == "the webhook on '127.0.0.1' was not told: Connection refused"


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "file:///etc/hunter2",
        "ftp://example.org/hunter2",
        "https://",
        "http://[hunter2/",
        "https:///hunter2",
    ],
)
def test_what_is_no_web_address_is_refused_without_being_shown(url):
    problem = webhook.post(url, CONTENT)
    assert problem.startswith("webhook_url is not a web address") and "hunter2" not in problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:hunter2/", "http://127.0.0.1:1/a hunter2\n"])
def test_what_the_library_refuses_is_told_without_being_shown(url):
    problem = webhook.post(url, CONTENT)
    assert problem and "hunter2" not in problem
