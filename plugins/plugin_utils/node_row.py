# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node in a table of the fleet: what the result of a module on it says, in a few figures. Used
by the summary and the report.
"""

from __future__ import annotations

from collections import namedtuple

from ansible_collections.provider.fleet.plugins.module_utils.reaper.pressure import ROOM

SWEPT, LOOKED, FAILED, UNREACHABLE = "swept", "looked", "failed", "unreachable"


class NodeRow(
    namedtuple(
        "NodeRow",
        (
            "host",
            "state",
            "why",
            "check_mode",
            "zombies",
            "cleared",
            "left",
            "cleared_by",
            "would_act",
            "parents_ended",
            "tenants",
            "tasks",
            "limit",
            "bound_by",
            "usage",
            "seconds_to_full",
            "short_of_pids",
            "lines",
            "reap_refusal",
        ),
        defaults=(None,),
    )
):
    """host: str, its name in the inventory. state: one of :data:`SWEPT`, :data:`LOOKED` (it only
    looked: check mode, zombie_info), :data:`FAILED` and :data:`UNREACHABLE`. why: str, the error
    where there was one.

    zombies, cleared, left: int, zombies found, gone and still there. cleared_by: dict, remedy to
    number. would_act: int, parents that a real run would act on. parents_ended: int. tenants: tuple
    of str, see :func:`tenant_of`, of the parents found. tasks, limit, bound_by, usage,
    seconds_to_full: as ``limits`` of the result. short_of_pids: bool. reap_refusal: str, a word why
    reap is impossible there.
    lines: tuple of str, the report of the node for people. Numbers are 0, and usage and what
    follows it None, where nothing is known.
    """

    __slots__ = ()


def node_row(host: str, result: dict, state: str = "") -> NodeRow:
    """host: its name in the inventory. result: as the module returned it, or with ``failed`` or
    ``unreachable`` and ``msg``.

    state: :data:`FAILED` or :data:`UNREACHABLE` where that is known from elsewhere.
    """
    if result.get("unreachable") or result.get("failed"):
        state = state or (UNREACHABLE if result.get("unreachable") else FAILED)
    counts, limits = result.get("counts") or {}, result.get("limits") or {}
    offenders = result.get("offenders") or ()
    usage, seconds = limits.get("usage"), limits.get("seconds_to_full")
    return NodeRow(
        host=host,
        state=state or (LOOKED if result.get("check_mode") else SWEPT),
        why=_one_line(result.get("msg") or "no result") if state else "",
        check_mode=bool(result.get("check_mode")),
        zombies=counts.get("zombies", 0),
        cleared=counts.get("cleared", 0),
        left=counts.get("zombies_left", 0),
        cleared_by=dict(counts.get("cleared_by") or {}),
        would_act=sum(1 for offender in offenders if offender.get("outcome") == "would_act"),
        parents_ended=counts.get("parents_ended", 0),
        tenants=tuple(
            sorted({tenant_of(offender.get("workload") or {}) for offender in offenders} - {""})
        ),
        tasks=limits.get("tasks"),
        limit=limits.get("limit"),
        bound_by=limits.get("bound_by"),
        usage=usage,
        seconds_to_full=seconds,
        short_of_pids=limits.get("pressure") not in (None, ROOM),
        lines=tuple(result.get("summary") or ()),
        reap_refusal=result.get("reap_refusal"),
    )


def tenant_of(workload: dict) -> str:
    """Whose a workload is: the owner of its lease (Akash), if that is the namespace's and not only
    claimed, else its Kubernetes namespace, else empty.
    """
    lease = workload.get("lease") or {}
    return lease.get("verified") is True and lease.get("owner") or workload.get("namespace") or ""


def _one_line(text) -> str:
    return " ".join(str(text).split())[:300]
