# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as one dictionary, made from what zombie_info and init_audit returned for each node.
The page, the CSV, the JSON and the history are all built from it.

Command lines are left out, because they can contain passwords and reports get passed around.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import cures
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES

from .node_result import Row, audited, checked, text
from .node_row import LOOKED, node_row, tenant_of

SCHEMA = 1
MAX_EVIDENCE = 9  # pieces of evidence that an init leaks
# Figures of a node, which nobody knows where it was not read
FIGURES = (
    "zombies",
    "offenders",
    "would_act",
    "tenants",
    "tasks",
    "limit",
    "bound_by",
    "usage",
    "growth_per_hour",
    "seconds_to_full",
    "short_of_pids",
    "cleared",
    "ended",
    "cleared_by",
)


def fleet(
    looks: Mapping[str, object],
    audits: Mapping[str, object] | None,
    at: float,
    cluster: str = "",
    limit: str = "",
) -> dict[str, Any]:
    """looks, audits: results of zombie_info and init_audit by host; None for a host without a
    result, and for ``audits`` if there was no audit. at: seconds since the epoch. limit: the
    pattern of ``--limit``, where it left out nodes.

    ``nodes``, ``offenders``, ``inits`` (only those that leak), ``actions`` (parents that the last
    sweeps acted on) and ``tenants`` are lists of flat dictionaries, worst first; ``totals`` sums up
    all nodes. Every text is printable and every number finite; anything unknown is None.
    """
    nodes: list[Row] = []
    offenders: list[Row] = []
    inits: list[Row] = []
    actions: list[Row] = []
    for host in looks:
        look = {**checked(looks[host]), "check_mode": True}
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
        containers, node["audit_error"] = audited(audits.get(host))
        if not node["audit_error"]:
            leaking = [container for container in containers if container["verdict"] == "leaks"]
            node["containers"], node["inits_leaking"] = len(containers), len(leaking)
            inits += [_init(node["host"], container) for container in leaking]
    offenders.sort(key=lambda row: (-row["zombies"], row["host"], row["pid"] or 0))
    inits.sort(key=lambda row: (-row["zombies"], row["host"], row["workload"]))
    actions.sort(key=lambda row: (-row["ended"], -row["cleared"], row["host"]))
    nodes.sort(key=lambda row: (row["state"] == LOOKED, -(row["usage"] or 0), row["host"]))
    return {
        "schema": SCHEMA,
        "cluster": cluster,
        "limit": text(limit),
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "totals": _totals(nodes, offenders),
        "nodes": nodes,
        "tenants": _tenants(offenders),
        "offenders": offenders,
        "inits": inits,
        "actions": actions,
    }


def moment(at: float) -> str:
    """A time for people. at: seconds since the epoch."""
    return time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(at)).lstrip("0")


def _node(host: str, look: Row) -> Row:
    row, last = node_row(host, look), look["last_sweep"]
    did = last["counts"] if last else None
    node = {
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
        "growth_per_hour": look["limits"].get("growth_per_hour"),
        "seconds_to_full": row.seconds_to_full,
        "short_of_pids": row.short_of_pids,
        "containers": None,
        "inits_leaking": None,
        "audit_error": "",
        "swept_at": last and last["at"],
        "cleared": did["cleared"] if did else 0,
        "ended": did["parents_ended"] if did else 0,
        "cleared_by": did["cleared_by"] if did else dict.fromkeys(REMEDIES, 0),
    }
    return node if row.state == LOOKED else {**node, **dict.fromkeys(FIGURES)}


def _offender(host: str, offender: Row) -> Row:
    pids = offender["pids"]
    is_init = offender["pid"] is not None and offender["pid"] == offender["init_pid"]
    orphans = min(offender["orphans"] or 0, offender["zombies"])
    kept = cures.kept(orphans, offender["zombies"] - orphans, is_init)
    workload = offender["workload"]
    place = cures.place_of(bool(workload["pod_uid"]), workload["runtime"])
    return {
        "host": host,
        **_place(workload),
        **_process(offender),
        "is_init": is_init,
        "zombies": offender["zombies"],
        "orphans": offender["orphans"],
        "cures": list(cures.cures(kept, place)),
        "advice": cures.in_words(kept, place),
        "oldest_age": offender["oldest_age"],
        "leaking_per_hour": offender["leaking_per_hour"],
        "tasks": pids["current"],
        "limit": pids["max"],
        "usage": pids["usage"],
        "seconds_to_full": pids["seconds_to_full"],
        **{key: offender[key] for key in ("verdict", "reason", "explanation")},
    }


def _init(host: str, container: Row) -> Row:
    return {
        "host": host,
        **_place(container["workload"]),
        **_process(container["init"]),
        "zombies": container["zombies"],
        "explanation": text("; ".join(container["leaks_because"][:MAX_EVIDENCE])),
        "cures": container["cures"],
        "advice": container["advice"],
    }


def _action(host: str, at: float | None, offender: Row) -> Row:
    return {
        "host": host,
        "at": at,
        **_place(offender["workload"]),
        **_process(offender),
        "zombies": offender["zombies"],
        "cleared": offender["cleared"],
        "remedy": offender["remedy"],
        "outcome": offender["outcome"],
        "ended": any(step["result"] == "parent_ended" for step in offender["steps"]),
    }


def _process(entry: Row) -> Row:
    return {key: entry[key] for key in ("pid", "name", "executable")}


def _place(workload: Row) -> Row:
    """Where a process is. workload: from :func:`_workload`."""
    container = workload["container_name"] or workload["container_id"][:12]
    parts = (workload["namespace"], workload["pod"] or workload["pod_uid"], container)
    name = text("/".join(part for part in parts if part))
    return {
        "tenant": tenant_of(workload),
        "tenant_kind": _tenant_kind(workload),
        "workload": name or workload["service"] or workload["kind"],
        "runtime": workload["runtime"],
        "namespace": workload["namespace"],
        "pod": workload["pod"],
        "container": container,
        "lease": _lease(workload["lease"]),
    }


def _tenant_kind(workload: Row) -> str:
    """``owner`` (of a verified lease), ``namespace``, or empty; without it, a namespace could pass
    for an owner of the same name.
    """
    tenant = tenant_of(workload)
    if not tenant:
        return ""
    lease = workload["lease"]
    return "owner" if lease.get("verified") and lease.get("owner") else "namespace"


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
