# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as one dictionary, made from what zombie_info and init_audit returned for each node.
The page, the CSV, the JSON and the history are all built from it.

A tenant may have taken over a node, so whatever a node returned is reduced to text and numbers of
bounded size. Command lines are left out, because they can contain passwords and reports get passed
around.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES
from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import LEVELS

from .node_row import LOOKED, node_row, tenant_of

SCHEMA = 1
MAX_TEXT = 300  # characters
MAX_ROWS = 5000  # in any list of one node; the modules return fewer
MAX_EVIDENCE = 9  # pieces of evidence that an init leaks

Row = dict[str, Any]  # of JSON


def fleet(
    looks: Mapping[str, object], audits: Mapping[str, object] | None, at: float
) -> dict[str, Any]:
    """looks, audits: results of zombie_info and init_audit by host; None for a host without a
    result, and for ``audits`` if there was no audit. at: seconds since the epoch.

    ``nodes``, ``offenders``, ``inits`` (only those that leak), ``actions`` (parents that the last
    sweeps acted on) and ``tenants`` are lists of flat dictionaries, worst first; ``totals`` sums up
    all nodes. Every text is printable and every number finite; anything unknown is None.
    """
    nodes: list[Row] = []
    offenders: list[Row] = []
    inits: list[Row] = []
    actions: list[Row] = []
    for host in looks:
        look = _checked_look(looks[host])
        node = _node(text(host), look)
        nodes.append(node)
        if node["state"] != LOOKED:
            continue
        offenders += [_offender(node["host"], offender) for offender in look["offenders"]]
        if look["last_sweep"]:
            actions += [
                _action(node["host"], look["last_sweep"]["at"], offender)
                for offender in look["last_sweep"]["offenders"]
            ]
        if audits is None:
            continue
        audit = _dict(audits.get(host))
        node["audit_error"] = _audit_error(host, audit)
        if not node["audit_error"]:
            containers = [_dict(container) for container in _list(audit["containers"])]
            leaking = [container for container in containers if container.get("verdict") == "leaks"]
            node["containers"], node["inits_leaking"] = len(containers), len(leaking)
            inits += [_init(node["host"], container) for container in leaking]
    offenders.sort(key=lambda row: (-row["zombies"], row["host"], row["pid"]))
    inits.sort(key=lambda row: (-row["zombies"], row["host"], row["workload"]))
    actions.sort(key=lambda row: (-row["ended"], -row["cleared"], row["host"]))
    nodes.sort(key=lambda row: (row["state"] == LOOKED, -(row["usage"] or 0), row["host"]))
    return {
        "schema": SCHEMA,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "totals": _totals(nodes, offenders),
        "nodes": nodes,
        "tenants": _tenants(offenders),
        "offenders": offenders,
        "inits": inits,
        "actions": actions,
    }


def text(value: object, max_length: int = MAX_TEXT) -> str:
    """Any value as at most ``max_length`` printable characters and an ellipsis. Control characters,
    bidirectional overrides and lone surrogates are escaped.
    """
    whole = "" if value is None else str(value)
    if len(whole) <= max_length and whole.isprintable():
        return f"{whole}"  # turns Ansible's subclasses of str into plain text
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in whole[:max_length]
    )
    return shown if max(len(whole), len(shown)) <= max_length else shown[:max_length] + "…"


def _checked_look(returned: object) -> Row:
    """What zombie_info returned on a node, reduced to the fields that are used, each of the type
    that it should have.
    """
    result = _dict(returned)
    broken = result.get("failed") or result.get("unreachable")
    if not broken and not (
        isinstance(result.get("counts"), dict) and isinstance(result.get("limits"), dict)
    ):
        result = {"failed": True, "msg": "the node returned no usable result"}
    last = _dict(result.get("last_sweep"))
    last_sweep = {
        "at": _number(last.get("at")),
        "counts": _counts(last),
        "offenders": _offenders(last),
    }
    return {
        **{key: result[key] for key in ("msg", "module_stdout", "module_stderr") if key in result},
        "failed": bool(result.get("failed")),
        "unreachable": bool(result.get("unreachable")),
        "check_mode": True,
        "counts": _counts(result),
        "limits": _limits(result),
        "offenders": _offenders(result),
        "last_sweep": last_sweep if last else None,
    }


def _counts(result: Row) -> Row:
    counts = _dict(result.get("counts"))
    by = _dict(counts.get("cleared_by"))
    return {
        **{
            key: _count(counts.get(key))
            for key in ("zombies", "zombies_left", "cleared", "offenders", "parents_ended")
        },
        "cleared_by": {remedy: _count(by.get(remedy)) for remedy in REMEDIES},
    }


def _limits(result: Row) -> Row:
    limits = _dict(result.get("limits"))
    return {
        **{key: _count(limits[key]) for key in ("tasks", "limit") if key in limits},
        "bound_by": text(limits.get("bound_by")),
        **{
            key: _number(limits.get(key)) for key in ("usage", "growth_per_hour", "seconds_to_full")
        },
        "pressure": limits["pressure"] if limits.get("pressure") in LEVELS else None,
    }


def _offenders(result: Row) -> list[Row]:
    found = [_dict(offender) for offender in _list(result.get("offenders"))]
    return [{**offender, "workload": _workload(offender)} for offender in found]


def _workload(entry: Row) -> Row:
    workload = _dict(entry.get("workload"))
    keys = (
        "kind",
        "runtime",
        "namespace",
        "pod",
        "pod_uid",
        "container_name",
        "container_id",
        "service",
    )
    claims = _dict(workload.get("lease"))
    lease: Row = {
        key: text(claims[key]) for key in ("owner", "dseq", "gseq", "oseq") if key in claims
    }
    if lease:
        lease["verified"] = claims.get("verified") is True
    return {**{key: text(workload.get(key)) for key in keys}, "lease": lease}


def _node(host: str, look: Row) -> Row:
    row, last = node_row(host, look), look["last_sweep"]
    swept = node_row(host, {**last, "check_mode": False}) if last else None
    return {
        "host": host,
        "state": row.state,
        "why": text(row.why),
        "zombies": row.zombies,
        "offenders": look["counts"]["offenders"],
        "would_act": row.would_act,
        "tenants": list(row.tenants),
        "tasks": row.tasks,
        "limit": row.limit,
        "bound_by": row.bound_by,
        "usage": row.usage,
        "growth_per_hour": look["limits"]["growth_per_hour"],
        "seconds_to_full": row.seconds_to_full,
        "short_of_pids": row.short_of_pids,
        "containers": None,
        "inits_leaking": None,
        "audit_error": "",
        "swept_at": last and last["at"],
        "cleared": swept.cleared if swept else 0,
        "ended": swept.parents_ended if swept else 0,
        "cleared_by": swept.cleared_by if swept else dict.fromkeys(REMEDIES, 0),
    }


def _audit_error(host: str, audit: Row) -> str:
    """Empty if the audit can be used."""
    if (
        isinstance(audit.get("containers"), list)
        and not audit.get("failed")
        and not audit.get("unreachable")
    ):
        return ""
    return text(node_row(host, {**audit, "failed": True}).why)


def _offender(host: str, offender: Row) -> Row:
    pids = _dict(offender.get("pids"))
    return {
        "host": host,
        **_place(offender["workload"]),
        **_process(offender),
        "zombies": _count(offender.get("zombies")),
        "oldest_age": _number(offender.get("oldest_age")),
        "leaking_per_hour": _number(offender.get("leaking_per_hour")),
        "tasks": _count(pids["current"]) if "current" in pids else None,
        "limit": _count(pids.get("max")) or None,
        "usage": _number(pids.get("usage")),
        "seconds_to_full": _number(pids.get("seconds_to_full")),
        **{key: text(offender.get(key)) for key in ("verdict", "reason", "explanation")},
    }


def _init(host: str, container: Row) -> Row:
    evidence = [_dict(each) for each in _list(container.get("evidence"))]
    why = "; ".join(
        text(each.get("detail"))
        for each in evidence[:MAX_EVIDENCE]
        if each.get("verdict") == "leaks"
    )
    return {
        "host": host,
        **_place(_workload(container)),
        **_process(_dict(container.get("init"))),
        "zombies": _count(container.get("zombies")),
        "explanation": text(why),
    }


def _action(host: str, at: float | None, offender: Row) -> Row:
    steps = [_dict(step) for step in _list(offender.get("steps"))]
    return {
        "host": host,
        "at": at,
        **_place(offender["workload"]),
        **_process(offender),
        "zombies": _count(offender.get("zombies")),
        "cleared": _count(offender.get("cleared")),
        "remedy": text(offender.get("remedy")),
        "outcome": text(offender.get("outcome")),
        "ended": any(step.get("result") == "parent_ended" for step in steps),
    }


def _process(entry: Row) -> Row:
    return {
        "pid": _count(entry.get("pid")) or None,
        "name": text(entry.get("name")),
        "executable": text(entry.get("executable")),
    }


def _place(workload: Row) -> Row:
    """Where a process is. workload: from :func:`_workload`."""
    container = workload["container_name"] or workload["container_id"][:12]
    parts = (workload["namespace"], workload["pod"] or workload["pod_uid"], container)
    name = text("/".join(part for part in parts if part))
    return {
        "tenant": tenant_of(workload),
        "workload": name or workload["service"] or workload["kind"],
        "runtime": workload["runtime"],
        "namespace": workload["namespace"],
        "pod": workload["pod"],
        "container": container,
        "lease": _lease(workload["lease"]),
    }


def _lease(lease: Row) -> str:
    if not lease:
        return ""
    numbers = "/".join(lease.get(key) or "?" for key in ("dseq", "gseq", "oseq"))
    return text(numbers if lease["verified"] else f"{numbers} (claimed)")


def _tenants(offenders: Iterable[Row]) -> list[Row]:
    found: dict[str, list[Row]] = {}
    for offender in offenders:
        found.setdefault(offender["tenant"], []).append(offender)
    rows = [
        {
            "tenant": tenant,
            "zombies": sum(offender["zombies"] for offender in of_tenant),
            "offenders": len(of_tenant),
            "hosts": len({offender["host"] for offender in of_tenant}),
        }
        for tenant, of_tenant in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["zombies"], row["tenant"]))


def _totals(nodes: list[Row], offenders: list[Row]) -> Row:
    looked = [node for node in nodes if node["state"] == LOOKED]
    with_usage = [node for node in looked if node["usage"] is not None]
    tightest = max(with_usage, key=lambda node: node["usage"]) if with_usage else None
    return {
        "nodes": len(nodes),
        "looked": len(looked),
        "failed": len(nodes) - len(looked),
        "with_zombies": sum(1 for node in looked if node["zombies"]),
        **{
            key: sum(node[key] or 0 for node in looked)
            for key in (
                "zombies",
                "offenders",
                "would_act",
                "containers",
                "inits_leaking",
                "cleared",
                "ended",
            )
        },
        "audit_errors": sum(1 for node in looked if node["audit_error"]),
        "cleared_by": {
            remedy: sum(node["cleared_by"][remedy] for node in looked) for remedy in REMEDIES
        },
        "swept": sum(1 for node in looked if node["swept_at"] is not None),
        "short_of_pids": sum(1 for node in looked if node["short_of_pids"]),
        "tenants": len({row["tenant"] for row in offenders} - {""}),
        "tightest": tightest["host"] if tightest else None,
        "tightest_usage": tightest["usage"] if tightest else None,
    }


def _dict(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value[:MAX_ROWS] if isinstance(value, list) else []


def _count(value: object) -> int:
    """A count of at most 2**53, which JSON can carry; 0 for anything else."""
    number = _number(value)
    return int(number) if number and 0 < number <= 2**53 else 0


def _number(value: object) -> float | None:
    """A finite number; None for anything else."""
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 2**63
        and math.isfinite(value)
    ):
        return value
    return None
