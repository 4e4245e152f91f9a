# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as one dictionary, from what zombie_info and init_audit returned of each node. The
page, the CSV, the JSON and the history are made of it.

A node may be in the hands of a tenant: whatever it returned is taken for text and numbers of
bounded size, and for nothing else. Command lines are left out, as passwords are in them and a
report is sent around.
"""

from __future__ import annotations

import math
import time

from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES
from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import LEVELS

from .node_row import LOOKED, node_row, tenant_of

SCHEMA = 1
MAX_TEXT = 300
MAX_ROWS = 5000  # of one node in any list; modules return less


def fleet(looks: dict, audits: dict | None, at: float) -> dict:
    """looks, audits: ``{host: result}`` of zombie_info and init_audit, None where there is none.
    at: seconds since the epoch.

    ``nodes``, ``offenders``, ``inits`` (those that leak), ``actions`` (what last sweeps acted on)
    and ``tenants`` are lists of flat dictionaries, the worst first; ``totals`` counts all nodes.
    Every text is printable, every number finite; what is not known is None.
    """
    nodes, offenders, inits, actions = [], [], [], []
    for host in looks:
        look = _look(looks[host])
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


def text(value, most: int = MAX_TEXT) -> str:
    """Any value as at most so many printable characters; control characters, bidirectional
    overrides and lone surrogates are escaped.
    """
    value = "" if value is None else str(value)
    if len(value) <= most and value.isprintable():
        return f"{value}"  # also of a class of Ansible's a plain one
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in value[:most]
    )
    return shown if max(len(value), len(shown)) <= most else shown[:most] + "…"


def _look(result) -> dict:
    """What a node returned, with nothing but what is used, in the types it should have."""
    result = _dict(result)
    broken = result.get("failed") or result.get("unreachable")
    if not broken and not (
        isinstance(result.get("counts"), dict) and isinstance(result.get("limits"), dict)
    ):
        result = {"failed": True, "msg": "it returned no result that can be understood"}
    last = _dict(result.get("last_sweep"))
    return {
        **{key: result[key] for key in ("msg", "module_stdout", "module_stderr") if key in result},
        "failed": bool(result.get("failed")),
        "unreachable": bool(result.get("unreachable")),
        "check_mode": True,
        "counts": _counts(result),
        "limits": _limits(result),
        "offenders": _offenders(result),
        "last_sweep": (
            {"at": _real(last.get("at")), "counts": _counts(last), "offenders": _offenders(last)}
            if last
            else None
        ),
    }


def _counts(result) -> dict:
    counts = _dict(result.get("counts"))
    by = _dict(counts.get("cleared_by"))
    return {
        **{
            key: _whole(counts.get(key))
            for key in ("zombies", "zombies_left", "cleared", "offenders", "parents_ended")
        },
        "cleared_by": {remedy: _whole(by.get(remedy)) for remedy in REMEDIES},
    }


def _limits(result) -> dict:
    limits = _dict(result.get("limits"))
    return {
        **{key: _whole(limits[key]) for key in ("tasks", "limit") if key in limits},
        "bound_by": text(limits.get("bound_by")),
        **{key: _real(limits.get(key)) for key in ("usage", "growth_per_hour", "seconds_to_full")},
        "pressure": limits["pressure"] if limits.get("pressure") in LEVELS else None,
    }


def _offenders(result) -> list:
    found = [_dict(offender) for offender in _list(result.get("offenders"))]
    return [{**offender, "workload": _workload(offender)} for offender in found]


def _workload(entry) -> dict:
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
    told = _dict(workload.get("lease"))
    lease = {
        key: text(value) for key, value in told.items() if key in ("owner", "dseq", "gseq", "oseq")
    }
    if lease:
        lease["verified"] = told.get("verified") is True
    return {**{key: text(workload.get(key)) for key in keys}, "lease": lease}


def _node(host, look) -> dict:
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


def _audit_error(host, audit) -> str:
    if (
        isinstance(audit.get("containers"), list)
        and not audit.get("failed")
        and not audit.get("unreachable")
    ):
        return ""
    return text(node_row(host, {**audit, "failed": True}).why)


def _offender(host, offender) -> dict:
    pids = _dict(offender.get("pids"))
    return {
        "host": host,
        **_place(offender["workload"]),
        **_process(offender),
        "zombies": _whole(offender.get("zombies")),
        "oldest_age": _real(offender.get("oldest_age")),
        "leaking_per_hour": _real(offender.get("leaking_per_hour")),
        "tasks": _whole(pids["current"]) if "current" in pids else None,
        "limit": _whole(pids.get("max")) or None,
        "usage": _real(pids.get("usage")),
        "seconds_to_full": _real(pids.get("seconds_to_full")),
        **{key: text(offender.get(key)) for key in ("verdict", "reason", "explanation")},
    }


def _init(host, container) -> dict:
    evidence = [_dict(each) for each in _list(container.get("evidence"))]
    why = "; ".join(
        text(each.get("detail")) for each in evidence[:9] if each.get("verdict") == "leaks"
    )
    return {
        "host": host,
        **_place(_workload(container)),
        **_process(_dict(container.get("init"))),
        "zombies": _whole(container.get("zombies")),
        "explanation": text(why),
    }


def _action(host, at, offender) -> dict:
    steps = [_dict(step) for step in _list(offender.get("steps"))]
    return {
        "host": host,
        "at": at,
        **_place(offender["workload"]),
        **_process(offender),
        "zombies": _whole(offender.get("zombies")),
        "cleared": _whole(offender.get("cleared")),
        "remedy": text(offender.get("remedy")),
        "outcome": text(offender.get("outcome")),
        "ended": any(step.get("result") == "parent_ended" for step in steps),
    }


def _process(entry) -> dict:
    return {
        "pid": _whole(entry.get("pid")) or None,
        "name": text(entry.get("name")),
        "executable": text(entry.get("executable")),
    }


def _place(workload) -> dict:
    """Where a process is; workload: from :func:`_workload`."""
    container = workload["container_name"] or workload["container_id"][:12]
    parts = (workload["namespace"], workload["pod"] or workload["pod_uid"], container)
    lease = workload["lease"]
    return {
        "tenant": tenant_of(workload),
        "workload": (
            text("/".join(part for part in parts if part))
            or workload["service"]
            or workload["kind"]
        ),
        "runtime": workload["runtime"],
        "namespace": workload["namespace"],
        "pod": workload["pod"],
        "container": container,
        "lease": (
            text(
                "/".join(lease.get(key) or "?" for key in ("dseq", "gseq", "oseq"))
                + ("" if lease["verified"] else " (claimed)")
            )
            if lease
            else ""
        ),
    }


def _tenants(offenders) -> list:
    found = {}
    for row in offenders:
        entry = found.setdefault(
            row["tenant"], {"tenant": row["tenant"], "zombies": 0, "offenders": 0, "hosts": set()}
        )
        entry["zombies"] += row["zombies"]
        entry["offenders"] += 1
        entry["hosts"].add(row["host"])
    rows = [{**entry, "hosts": len(entry["hosts"])} for entry in found.values()]
    return sorted(rows, key=lambda row: (-row["zombies"], row["tenant"]))


def _totals(nodes, offenders) -> dict:
    looked = [node for node in nodes if node["state"] == LOOKED]
    with_usage = [node for node in looked if node["usage"] is not None]
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
        "tightest": max(with_usage, key=lambda node: node["usage"])["host"] if with_usage else None,
        "tightest_usage": max(node["usage"] for node in with_usage) if with_usage else None,
    }


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value) -> list:
    return value[:MAX_ROWS] if isinstance(value, list) else []


def _whole(value) -> int:
    """A count, at most 2**53; 0 where it is none."""
    number = _real(value)
    return int(number) if number and 0 < number <= 2**53 else 0


def _real(value) -> float | None:
    """A finite number; None where it is none."""
    known = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 2**63
        and math.isfinite(value)
    )
    return value if known else None
