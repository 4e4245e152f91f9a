# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a web service of the workloads that a run ended: one POST of a small JSON document.

The address is a secret: most services know their callers by it. So nothing here shows more of it
than the host, and no redirect is followed, which would carry the names of tenants elsewhere.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from ansible.module_utils.urls import SSLValidationError, open_url

from .fleet_table import plural
from .node_row import NodeRow

SCHEMA = 1
TIMEOUT = 5  # seconds for each step of the connection
PATIENCE = 10.0  # seconds in all, however slowly names are resolved and answers come
MAX_NODES = 100  # listed
MAX_TENANTS = 20  # listed of one node
MAX_HOST = 300  # characters of a node's name


def document(rows: Iterable[NodeRow], at: float) -> dict[str, Any] | None:
    """What is sent; None if nothing was ended. at: seconds since the epoch."""
    ended = sorted(
        (row for row in rows if row.parents_ended), key=lambda row: (-row.parents_ended, row.host)
    )
    if not ended:
        return None
    total = sum(row.parents_ended for row in ended)
    return {
        "schema": SCHEMA,
        "event": "workloads_ended",
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "text": f"{plural(total, 'workload')} ended on {plural(len(ended), 'node')}",
        "workloads_ended": total,
        "nodes": [
            {
                "host": row.host[:MAX_HOST],
                "workloads_ended": row.parents_ended,
                "zombies": row.zombies,
                "cleared": row.cleared,
                "left": row.left,
                "tenants": row.tenants[:MAX_TENANTS],  # of all parents of zombies there
            }
            for row in ended[:MAX_NODES]
        ],
        "more_nodes": max(0, len(ended) - MAX_NODES),
    }


def post(url: str, content: dict[str, Any]) -> str:
    """Why that failed, in words that do not contain the address; empty if it did not."""
    try:
        address = urlsplit(url)
        host = address.hostname
    except ValueError:
        host = None
    if not host or address.scheme not in ("http", "https"):
        return (
            "webhook_url is not a web address; it must begin with https:// (or http://, which"
            " encrypts nothing) and name a host"
        )
    # Name resolution knows no timeout, and one that answers a byte at a time would never meet it
    problems: list[str] = []
    thread = threading.Thread(target=_post, args=(url, content, problems), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        problems = [f"no answer within {PATIENCE:g} s"]
    return f"the webhook on {host[:MAX_HOST]!r} was not told: {problems[0]}" if problems else ""


def _post(url: str, content: dict[str, Any], problems: list[str]) -> None:
    try:
        open_url(
            url,
            data=json.dumps(content, allow_nan=False),
            headers={"Content-Type": "application/json"},
            method="POST",
            timeout=TIMEOUT,
            validate_certs=True,
            follow_redirects="none",
            use_netrc=False,
            http_agent="provider.fleet",
        ).close()
    except Exception as error:  # whatever it is, the run goes on
        problems.append(_problem(error))


def _problem(error: Exception) -> str:
    """The messages of some of these contain the address, so none is shown."""
    if isinstance(error, HTTPError):
        return f"it answered with HTTP status {error.code}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _problem(error.reason)
    if isinstance(error, (ssl.SSLError, SSLValidationError)):
        return "its certificate was not accepted, or TLS failed"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
