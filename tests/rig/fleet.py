"""What zombie_info and init_audit return of a fleet that is not there."""

from __future__ import annotations

import random

from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_data, fleet_history

AT = 1795603153  # 2026-11-25
HOUR = 3600
NAMES = ["python3", "node", "sh", "java", "sleep", "nginx", "postgres", "supervisord"]
APPS = ["web", "api", "worker", "db", "cache", "miner", "game", "bot"]


def workload(**changes):
    return {
        "kind": "container",
        "runtime": "containerd",
        "container_id": "3ad4d8d4cd2d" + "0" * 52,
        "container_name": "app",
        "pod_uid": "uid-1",
        "namespace": "shop",
        "pod": "web-0",
        "qos": "Burstable",
        "lease": None,
        "service": None,
        "pid_namespace": 4026532180,
        "cgroup": "/kubepods",
        **changes,
    }


def offender(zombies=3, **changes):
    return {
        "pid": 4711,
        "name": "python3",
        "executable": "/usr/bin/python3",
        "command_line": "python3 app.py",
        "uid": 0,
        "state": "S",
        "zombies": zombies,
        "due": zombies,
        "oldest_age": 4000.0,
        "workload": workload(),
        "init_pid": 4700,
        "pids": {
            "current": 180,
            "max": 1024,
            "cgroup": "/kubepods",
            "usage": 0.175781,
            "growth_per_hour": None,
            "seconds_to_full": None,
        },
        "verdict": "act",
        "remedies": ["nudge", "reap", "terminate"],
        "reason": "act",
        "explanation": "it holds zombies of min_age",
        "remedy": None,
        "outcome": "would_act",
        "cleared": 0,
        "leaking_per_hour": None,
        "adopted_by": [],
        "steps": [],
        "seconds": 0.0,
        **changes,
    }


def acted(cleared=3, ended=False, **changes):
    remedy = "terminate" if ended else "reap"
    steps = [{"remedy": remedy, "result": "parent_ended" if ended else "cleared"}]
    return offender(
        cleared,
        **{"cleared": cleared, "outcome": "cleared", "remedy": remedy, "steps": steps, **changes},
    )


def sweep(*offenders, at=AT - 200):
    cleared = sum(each["cleared"] for each in offenders)
    ended = sum(1 for each in offenders if each["remedy"] == "terminate")
    return {
        "at": at,
        "duration": 0.2,
        "ended_early": False,
        "offenders": list(offenders),
        "counts": {
            "zombies": cleared,
            "zombies_left": 0,
            "cleared": cleared,
            "cleared_by": {"nudge": 0, "reap": cleared, "terminate": 0},
            "offenders": len(offenders),
            "acted_on": len(offenders),
            "parents_ended": ended,
        },
    }


def look(*offenders, last_sweep=None, **limits):
    zombies = sum(each["zombies"] for each in offenders)
    return {
        "changed": False,
        "schema": 1,
        "check_mode": True,
        "offenders": list(offenders),
        "last_sweep": last_sweep,
        "summary": [],
        "counts": {
            "zombies": zombies,
            "zombies_left": zombies,
            "cleared": 0,
            "cleared_by": {},
            "offenders": len(offenders),
            "parents_ended": 0,
        },
        "limits": {
            "pid_max": 4194304,
            "threads_max": 32768,
            "tasks": 3277,
            "limit": 32768,
            "usage": 0.1,
            "bound_by": "threads-max",
            "growth_per_hour": None,
            "seconds_to_full": None,
            "pressure": (
                "pressure"
                if limits.get("usage", 0.1) >= 0.5
                or (limits.get("seconds_to_full") or 10**9) <= 3600
                else "room"
            ),
            **limits,
        },
    }


def container(verdict="leaks", zombies=0, **changes):
    init = {
        "pid": 4700,
        "name": "sleep",
        "executable": "/bin/sleep",
        "command_line": "sleep infinity",
        "uid": 0,
    }
    evidence = [{"by": "name", "verdict": verdict, "detail": "it is called sleep"}]
    return {
        "workload": workload(),
        "init": init,
        "verdict": verdict,
        "evidence": evidence,
        "seconds": None,
        "cures": ["init_in_image", "share_process_namespace", "runtime_class"],
        "advice": "an init as PID 1 helps",
        "zombies": zombies,
        "pids": None,
        **changes,
    }


def audit(*containers):
    return {
        "changed": False,
        "schema": 1,
        "containers": list(containers),
        "counts": {},
        "summary": [],
    }


UNREACHABLE = {
    "unreachable": True,
    "msg": "Failed to connect to the host via ssh: Connection refused",
}
FAILED = {"failed": True, "msg": "Python 3.9 or later is needed on the node"}


def fleet_of(looks, audits=None, at=AT):
    return fleet_data.fleet(
        looks, audits if audits is not None else {host: audit() for host in looks}, at
    )


def big(nodes, offenders, seed=1, growth=1.0):
    """(looks, audits) of so many nodes with so many parents of zombies together; two nodes fail.
    growth: of what they hold.
    """
    dice = random.Random(seed)
    per_node = [offenders // nodes + (place < offenders % nodes) for place in range(nodes)]
    looks, audits = {}, {}
    for place, count in enumerate(per_node):
        host = f"node{place:03d}"
        if place in (7, nodes // 2):
            looks[host] = UNREACHABLE if place == 7 else FAILED
            continue
        parents = []
        for number in range(count):
            tenant = (
                "akash1"
                + "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[dice.randrange(32)] * 6
                + f"{int(dice.paretovariate(0.8) % 300):04d}"
            )
            of = workload(
                lease={
                    "owner": tenant,
                    "dseq": str(dice.randrange(10**6)),
                    "gseq": "1",
                    "oseq": "1",
                    "provider": None,
                    "verified": True,
                },
                pod=f"{dice.choice(APPS)}-{number}",
                namespace=f"lease-{number}",
                container_name=dice.choice(APPS),
            )
            parents.append(
                offender(
                    int(growth * dice.paretovariate(0.9) % 5000) + 1,
                    pid=dice.randrange(2, 4000000),
                    name=dice.choice(NAMES),
                    workload=of,
                    oldest_age=dice.expovariate(1 / 9000),
                    leaking_per_hour=dice.choice([None, round(dice.expovariate(0.1), 1)]),
                    **dice.choice(
                        [
                            {},
                            {},
                            {
                                "verdict": "leave",
                                "outcome": "left_alone",
                                "reason": "too_young",
                                "explanation": "its zombies have been seen for less than min_age",
                            },
                        ]
                    ),
                )
            )
        usage = min(0.97, dice.betavariate(1.6, 6) * (0.7 + 0.3 * growth))
        done = [
            acted(
                each["zombies"],
                ended=dice.random() < 0.1,
                name=each["name"],
                workload=each["workload"],
            )
            for each in parents[:3]
        ]
        looks[host] = look(
            *parents,
            last_sweep=sweep(*done, at=AT - dice.randrange(600)),
            tasks=int(32768 * usage),
            usage=round(usage, 6),
            seconds_to_full=dice.choice([None, None, dice.randrange(3000, 10**7)]),
        )
        audits[host] = audit(
            *[
                container(
                    dice.choice(["leaks", "reaps", "reaps", "unknown"]),
                    int(dice.paretovariate(1)) - 1,
                    workload=each["workload"],
                )
                for each in parents[:30]
            ]
        )
    return looks, audits


def history_of(path, nodes, offenders, days, step=24):
    """A history of so many days up to AT, one run every so many hours."""
    dice = random.Random(2)
    with fleet_history.History(str(path)) as history:
        for hour in range(days * 24, -1, -step):
            growth = 1 + dice.random() - hour / (days * 24 * 2)
            looks, audits = big(nodes, offenders, seed=dice.randrange(5), growth=growth)
            for result in looks.values():
                if result.get("last_sweep"):
                    result["last_sweep"]["at"] -= hour * HOUR
            fleet = fleet_of(looks, audits, AT - hour * HOUR)
            history.add(fleet, AT - hour * HOUR, 400)
        return history.trends(fleet, AT)
