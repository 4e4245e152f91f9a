# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on pods: that a parent in one was ended, or that one is leaking. ``kubectl describe pod``
shows them to its owner.

They are sent with the kubelet's own credential, whose authorizer lets it create Events (Node;
system:node, plugin/pkg/auth/authorizer/rbac/bootstrappolicy), when all else of the sweep is done.
Each is tried once, and all of a sweep together take :data:`SECONDS` at most. An Event holds what
the termination log says, the name of the container and numbers: no command line, no environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time

from . import VERSION, kubeconfig, policy, pressure
from .errors import CannotSignIn, CannotSweep
from .files import locked
from .kernel.procfs import ProcFS
from .record import Record
from .remedies import termination_log
from .state import ByWord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from http.client import HTTPConnection
    from ssl import SSLContext
    from typing import Any

    from .kubeconfig import Credential
    from .paths import Paths
    from .report import Report

COMPONENT = "zombie-reaper"
ENDED, LEAKING = "ZombieParentEnded", "ZombiesLeaking"  # reasons
SECONDS = 3.0  # for all events of a sweep, the look-up of the server's name included
MAX_EVENTS = 20  # of a sweep, those of ended parents first
MAX_MESSAGE = 1024  # characters; NoteLengthLimit, pkg/apis/core/validation/events.go
MAX_ANSWER = 1 << 16  # bytes
MAX_REASON = 160  # characters of the server's own words
AGAIN_AFTER = 3600  # seconds; the API server keeps an Event for an hour (--event-ttl)
RETRY_AFTER = 600  # seconds after a failure; a server that hangs costs a sweep SECONDS
LOCK_WAIT = 1.0  # seconds
FAILED, REPORTED = ("failed",), ("reported",)  # keys: the last failure, and the last one reported

# What Kubernetes allows as a name; the UID of a static pod has no dashes
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
UID = r"[0-9a-f-]{32,36}"


class Event(Record):
    """One Event that is to be sent."""

    namespace: str
    pod: str
    uid: str  # of the pod
    container: str | None
    reason: str
    message: str

    @property
    def key(self) -> tuple[str]:
        """The same for what need not be repeated."""
        return ("/".join((self.reason, self.uid, self.container or "")),)


class _Refused(Exception):
    """The server does not take this event. Half a sentence says why."""


class _Unavailable(Exception):
    """The server takes no event now. Half a sentence says why."""


class _Failed(Record):
    """What was not sent."""

    why: str  # the first reason, after which the server is named
    refused: list[Event]
    left: list[Event]  # of which the server may take some later


def announce(report: Report, paths: Paths, procfs: ProcFS) -> tuple[str, ...]:
    """Send the events of a sweep. Returns a warning if that fails, once an hour at most.

    Where the node is still full, nothing is sent: the next sweep must not wait for that.
    """
    events = list(of(report))
    full = pressure.told(report.after, report.options.pressure).level == pressure.FULL
    path = kubeconfig.find(paths.kubernetes_events) if events and not full else None
    if path is None:
        return ()
    deadline = time.monotonic() + SECONDS
    sent = ByWord(paths.run, "events", procfs)
    try:
        with locked(paths.run, wait=LOCK_WAIT):
            events = _note(sent, events)
    except (OSError, CannotSweep):  # what was not noted would be sent again and again
        return ()
    failed = _send(events, path, deadline)
    if failed is None:
        return ()
    try:
        with locked(paths.run, wait=LOCK_WAIT):
            is_news = _note_failure(sent, failed)
    except (OSError, CannotSweep):
        return ()
    if not is_news:
        return ()
    return (f"no Event about {_pods((*failed.refused, *failed.left))}: {failed.why}",)


def of(report: Report) -> Iterator[Event]:
    """The events of a report, those of parents that were ended first. Only what the node itself
    knows of pods counts (:mod:`.node.workloads`).
    """
    ended, leaking = [], []
    for result in report.results:
        offender = result.verdict.offender
        workload = offender.workload
        container = workload.container_name
        if container is not None and not re.fullmatch(LABEL, container):
            continue
        if not (
            workload.kubernetes
            and workload.user is None
            and re.fullmatch(LABEL, workload.namespace or "")
            and re.fullmatch(SUBDOMAIN, workload.pod or "")
            and re.fullmatch(UID, workload.pod_uid or "")
        ):
            continue
        where = f"container {container}" if container else "a container"
        event = Event(
            namespace=workload.namespace or "",
            pod=workload.pod or "",
            uid=workload.pod_uid or "",
            container=container,
            reason=LEAKING,
            message="",
        )
        if any(outcome.result == "parent_ended" for outcome in result.outcomes):
            due = offender._replace(zombies=result.verdict.due)
            said = termination_log.ended_in_words(due, policy.in_words(result.verdict.room), where)
            ended.append(event._replace(reason=ENDED, message=said[:MAX_MESSAGE]))
        elif offender.leaking_per_hour:
            said = termination_log.leaking_in_words(offender, where)
            leaking.append(event._replace(message=said[:MAX_MESSAGE]))
    yield from ended
    yield from leaking


def prepare() -> None:
    """Load what sending needs, for a process that may have no memory for it later."""
    import encodings.idna  # noqa: F401 - to look up a name
    import http.client  # noqa: F401
    import json  # noqa: F401
    import ssl

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _note(sent: ByWord, events: Sequence[Event]) -> list[Event]:
    """Note those that are due as sent, and return them. The caller holds the lock."""
    sent.load(required=True)
    now = time.monotonic()
    sent.times = {key: then for key, then in sent.times.items() if now - then < AGAIN_AFTER}
    if now - sent.times.get(FAILED, -RETRY_AFTER) < RETRY_AFTER:
        return []
    due: list[Event] = []
    for event in events:
        if event.key not in sent.times and len(due) < MAX_EVENTS:
            sent.times[event.key] = now
            due.append(event)
    sent.save()
    return due


def _note_failure(sent: ByWord, failed: _Failed) -> bool:
    """Note what was not sent. Returns whether it has to be reported. The caller holds the lock."""
    sent.load(required=True)
    now = time.monotonic()
    for event in failed.left:
        sent.times.pop(event.key, None)
        sent.times[FAILED] = now
    is_news = REPORTED not in sent.times
    sent.times.setdefault(REPORTED, now)
    sent.save()
    return is_news


def _pods(events: Sequence[Event]) -> str:
    first = f"pod {events[0].namespace}/{events[0].pod}"
    return f"{first} and {len(events) - 1} more" if len(events) > 1 else first


def _send(events: Sequence[Event], path: str, deadline: float) -> _Failed | None:
    """Send them. Whatever goes wrong is returned: no sweep may fail because of it."""
    if not events:
        return None
    server = path
    refused: list[Event] = []
    done = 0
    why = ""
    try:
        credential = kubeconfig.read(path)
        connection = _connection(path, credential, deadline)
        server = f"https://{credential.host}:{credential.port}"
        with contextlib.closing(connection):
            for event in events:
                try:
                    _post(connection, event)
                except _Refused as error:
                    refused.append(event)
                    why = why or f"{server}: {error}"
                done += 1
    except (CannotSignIn, _Unavailable) as error:
        why = why or str(error)
    except Exception as error:
        why = why or f"{server}: {_in_words(error)}"
    return _Failed(why, refused, list(events[done:])) if why else None


def _in_words(error: Exception) -> str:
    """Half a sentence, with nothing secret in it."""
    if isinstance(error, ImportError):
        return f"Python's module {error.name} is missing or cannot be loaded"
    import http.client
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection: {error.reason or 'for an unknown reason'}"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, OSError):
        return error.strerror or "the connection was closed"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    return type(error).__name__


def _post(connection: HTTPConnection, event: Event) -> None:
    """Raises :class:`_Refused`, :class:`_Unavailable`, and what :mod:`http.client` raises."""
    import json

    connection.request(
        "POST",
        f"/api/v1/namespaces/{event.namespace}/events",
        json.dumps(as_object(event, time.time_ns())),
        {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"{COMPONENT}/{VERSION}",
        },
    )
    response = connection.getresponse()
    answer = response.read(MAX_ANSWER)
    if not response.isclosed():  # more than that is not worth reading
        connection.close()
    # 404: the namespace has gone, and so has the pod. 409: another sweep was faster
    if response.status in (200, 201, 404, 409) or b'"NamespaceTerminating"' in answer:
        return
    said = f"{response.status} {_message(answer) or response.reason}"[:MAX_REASON]
    if response.status in (401, 429) or response.status >= 500:
        raise _Unavailable(f"https://{connection.host}:{connection.port}: {said}")
    raise _Refused(said)


def _message(answer: bytes) -> str | None:
    """The message of a Status (meta/v1)."""
    import json

    try:
        status = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    message = status.get("message") if isinstance(status, dict) else None
    return message if isinstance(message, str) else None


def as_object(event: Event, now: int) -> dict[str, object]:
    """The event as an object of core/v1, named as client-go does (tools/record, makeEvent). now:
    nanoseconds since the epoch.
    """
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // 10**9))
    host = os.uname().nodename.lower()
    field = {"fieldPath": f"spec.containers{{{event.container}}}"} if event.container else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{event.pod[:200].rstrip('.-')}.{now:x}",
            "namespace": event.namespace,
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": event.namespace,
            "name": event.pod,
            "uid": event.uid,
            **field,
        },
        "reason": event.reason,
        "message": event.message,
        "type": "Warning",
        "source": {"component": COMPONENT, "host": host},
        "reportingComponent": COMPONENT,
        "reportingInstance": host,
        "firstTimestamp": when,
        "lastTimestamp": when,
        "count": 1,
    }


def _connection(path: str, credential: Credential, deadline: float) -> HTTPConnection:
    """A connection to the API server that is made at the first request. Whatever it does ends at
    the deadline, also where the server sends a byte now and then.
    """
    import http.client
    import ssl

    def left() -> float:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise socket.timeout
        return seconds

    class Bounded(ssl.SSLSocket):
        """A socket whose calls end at the deadline; http.client uses no others."""

        def recv_into(self, *arguments: Any) -> int:
            self.settimeout(left())
            return super().recv_into(*arguments)

        def send(self, *arguments: Any) -> int:
            self.settimeout(left())
            return super().send(*arguments)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = Bounded
    _load(path, context, credential)

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            plain = _connected(credential, left)
            try:
                plain.settimeout(left())
                self.sock = context.wrap_socket(plain, server_hostname=credential.server_name)
            except BaseException:
                plain.close()
                raise

    return Connection(credential.host, credential.port)


def _load(path: str, context: SSLContext, credential: Credential) -> None:
    """Load certificates and key. OpenSSL takes a client's only from files, so they lie in memory
    (memfd_create(2)) for that long.
    """
    import ssl

    try:
        context.load_verify_locations(cadata=credential.authority)
    except (ssl.SSLError, ValueError):
        raise CannotSignIn(f"{path}: certificate-authority has no valid certificate") from None
    with contextlib.ExitStack() as opened:
        files = []
        for text in (credential.certificate, credential.key):
            file = opened.enter_context(
                open(os.memfd_create(COMPONENT, os.MFD_CLOEXEC), "wb", buffering=0)
            )
            file.write(text)
            files.append(f"/proc/self/fd/{file.fileno()}")
        try:
            # without a password, OpenSSL would ask at the terminal for that of an encrypted key
            context.load_cert_chain(files[0], files[1], password="")
        except (ssl.SSLError, ValueError):
            raise CannotSignIn(
                f"{path}: client-certificate and client-key are not a pair in PEM without a"
                " password"
            ) from None


def _connected(credential: Credential, left: Callable[[], float]) -> socket.socket:
    """A TCP connection to the first address that can be reached. left: seconds."""
    # getaddrinfo(3) has no deadline of its own, and would ask each name server for 10 s
    # (resolv.conf(5)); the C library reads this at its first look-up
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")
    problem = OSError()
    for family, kind, protocol, _name, address in socket.getaddrinfo(
        credential.host, credential.port, type=socket.SOCK_STREAM
    ):
        plain = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            # http.client sends head and body apart, and the second would wait for an answer
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(min(left(), SECONDS / 2))
            plain.connect(address)
            return plain
        except OSError as error:
            plain.close()
            problem = error
    raise problem
