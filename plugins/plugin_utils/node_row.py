# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node in a table of the fleet: what a module returned there, in a few figures. The summary and
the report are both built from these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import ROOM
from ansible_collections.provider.fleet.plugins.module_utils.reaper.textfile import NO_DIRECTORY

from .node_result import one_line

SWEPT, LOOKED, FAILED, UNREACHABLE = "swept", "looked", "failed", "unreachable"


class NodeRow(NamedTuple):
    """What the result of a module says about one node."""

    host: str  # name in the inventory
    state: str  # SWEPT, LOOKED (check mode or zombie_info), FAILED or UNREACHABLE
    why: str  # the error; empty where there was none
    has_report: bool  # it answered before any error
    check_mode: bool
    zombies: int  # found; like all counts 0 where nothing is known
    cleared: int
    left: int  # zombies still there at the end
    cleared_by: dict[str, int]  # remedy to number of zombies
    would_act: int  # parents that a real run would act on
    parents_ended: int
    tenants: tuple[str, ...]  # of the parents found, see tenant_of()
    tasks: int | None  # from here to seconds_to_full: "limits" of the result
    limit: int | None
    bound_by: str | None  # the limit that binds first
    usage: float | None  # share of the limit
    seconds_to_full: float | None
    short_of_pids: bool
    lines: tuple[str, ...]  # the node's own report, for people
    reap_refusal: str | None = None  # one word, why reap is impossible there
    foreign_scripts: tuple[str, ...] = ()  # paths of scripts of others that end parents
    largest: tuple[int, str] = (0, "")  # zombies of the parent that holds most; who that is
    due_later: tuple[float, ...] = ()  # seconds; of parents whose zombies are merely too young
    report_only: bool = False  # it has no remedies
    has_no_metrics: bool = False  # its agent has found no directory for them


def node_row(host: str, result: Mapping[str, Any], state: str = "") -> NodeRow:
    """The row of one host.

    result: from :func:`.node_result.checked`, or with ``msg`` and one of ``failed`` and
    ``unreachable``.
    state: :data:`FAILED` or :data:`UNREACHABLE`, if that is already known from elsewhere.
    """
    if result.get("unreachable") or result.get("failed"):
        state = state or (UNREACHABLE if result.get("unreachable") else FAILED)
    counts, limits = result.get("counts") or {}, result.get("limits") or {}
    offenders = result.get("offenders") or ()
    tenants = {tenant_of(offender.get("workload") or {}) for offender in offenders}
    return NodeRow(
        host=host,
        state=state or (LOOKED if result.get("check_mode") else SWEPT),
        why=one_line(result.get("msg") or "no result") if state else "",
        has_report=bool(result.get("counts")),
        check_mode=bool(result.get("check_mode")),
        zombies=counts.get("zombies", 0),
        cleared=counts.get("cleared", 0),
        left=counts.get("zombies_left", 0),
        cleared_by=dict(counts.get("cleared_by") or {}),
        would_act=sum(1 for offender in offenders if offender.get("outcome") == "would_act"),
        parents_ended=counts.get("parents_ended", 0),
        tenants=tuple(sorted(tenants - {""})),
        tasks=limits.get("tasks"),
        limit=limits.get("limit"),
        bound_by=limits.get("bound_by"),
        usage=limits.get("usage"),
        seconds_to_full=limits.get("seconds_to_full"),
        short_of_pids=limits.get("pressure") not in (None, ROOM),
        lines=tuple(result.get("summary") or ()),
        reap_refusal=result.get("reap_refusal"),
        foreign_scripts=tuple(
            each.get("script") or each.get("schedule") or ""
            for each in result.get("foreign_scripts") or ()
        ),
        largest=max(map(_parent, offenders), default=(0, "")),
        due_later=tuple(
            offender["due_in"] for offender in offenders if offender.get("due_in") is not None
        ),
        report_only=result.get("report_only") is True,
        has_no_metrics=result.get("metrics") == NO_DIRECTORY,
    )


def tenant_of(workload: Mapping[str, Any]) -> str:
    """Who owns a workload: the owner of its Akash lease if the lease is verified to be the
    namespace's, else the Kubernetes namespace; empty if neither is known.
    """
    lease = workload.get("lease") or {}
    owner = lease.get("owner") if lease.get("verified") is True else None
    return owner or workload.get("namespace") or ""


def _parent(offender: Mapping[str, Any]) -> tuple[int, str]:
    workload = offender.get("workload") or {}
    container = workload.get("container_name") or str(workload.get("container_id") or "")[:12]
    if workload.get("pod"):
        place = f"in {workload.get('namespace')}/{workload['pod']}"
    else:
        place = f"in {container}" if container else "on the host"
    return offender.get("zombies") or 0, f"{offender.get('name')} {place}"
