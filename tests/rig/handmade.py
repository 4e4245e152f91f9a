"""Snapshots made by hand, for tests of what is decided and how it is told. Every default is a due
case for ``act``.
"""

from __future__ import annotations

import math

from ansible_collections.provider.fleet.plugins.module_utils.reaper import pressure
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import (
    cgroups,
    limits,
    procfs,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import observe, workloads

# room is short, and it is not full
PRESSED = pressure.at(900, 1000, limits.Forecast(None, None), 0.5)


def zombie(
    pid=100, ppid=50, age=100.0, comm=b"sh", num_threads=1, tracer_pid=0, canary=False, **changes
):
    return observe.Zombie(
        pid, 1000 + pid, ppid, comm, num_threads, tracer_pid, age, canary, **changes
    )


def orphan(pid=100, **changes):
    """A zombie that nobody will ask for."""
    return zombie(pid, **changes)._replace(
        claim="orphan", evidence="the zombie started before its parent did"
    )


def status(ns_pid=(50, 7), uid=0, caught=0, ignored=0, blocked=0, seccomp=0):
    return procfs.Status(uid, 0, ns_pid, blocked, ignored, caught, seccomp)


def workload(
    kind="container",
    container_id="c" * 64,
    pod_uid=None,
    service=None,
    cgroup="/docker/" + "c" * 64,
    pod=(None, None),
    **changes,
):
    fields = {
        "kind": kind,
        "runtime": None,
        "container_id": container_id,
        "container_name": None,
        "pod_uid": pod_uid,
        "namespace": pod[0],
        "pod": pod[1],
        "qos": None,
        "lease": None,
        "service": service,
        "pid_namespace": 4026531999,
        "cgroup": cgroup,
    }
    return workloads.Workload(**{**fields, **changes})


def container_process(pid=50, **changes):
    """A parent in a container, with one old zombie. changes: fields of observe.Offender."""
    fields = {
        "pid": pid,
        "start_ticks": 500 + pid,
        "comm": b"python3",
        "state": "S",
        "flags": 0,
        "executable": b"/usr/bin/python3",
        "command_line": b"python3\0app.py",
        "status": status((pid, 7)),
        "workload": workload(),
        "frozen": False,
        "is_ancestor": False,
        "init_pid": 40,
        "init_reaps": None,
        "pids": cgroups.Pids(7, None, "/docker/" + "c" * 64),
        "forecast": limits.Forecast(None, None),
        "ended_ago": None,
        "collected_ago": None,
        "zombies": (zombie(1000 + pid, pid),),
    }
    return observe.Offender(**{**fields, **changes})


def host_process(pid=50, **changes):
    """A parent on the node itself, with one old zombie."""
    host = {
        "status": status((pid,)),
        "workload": workload("host", None, cgroup="/user.slice"),
        "init_pid": 1,
    }
    return container_process(pid, **{**host, **changes})


def node(*offenders, usage=0.9, without_parent=()):
    """A snapshot of these offenders on a node whose process table is taken to that share: short of
    PIDs, and not full.
    """
    return observe.Snapshot(
        offenders, without_parent, limits.Limits(32768, 200000, math.ceil(32768 * usage), 32768)
    )
