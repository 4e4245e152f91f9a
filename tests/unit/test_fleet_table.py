"""The summary of a run: one screen, whether for one node or for five hundred."""

from __future__ import annotations

from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_table
from ansible_collections.provider.fleet.plugins.plugin_utils.node_row import node_row


def result(
    zombies=0, cleared=0, ended=0, usage=0.01, seconds=None, tenants=(), check_mode=False, by=None
) -> dict:
    """As a module returns it."""
    offenders = [
        {
            "workload": {"namespace": tenant, "lease": None},
            "outcome": "would_act" if check_mode else "cleared",
        }
        for tenant in tenants
    ]
    return {
        "check_mode": check_mode,
        "offenders": offenders,
        "summary": [f"{zombies} zombies on this node", "process table: fine"],
        "counts": {
            "zombies": zombies,
            "zombies_left": zombies - cleared,
            "cleared": cleared,
            "parents_ended": ended,
            "cleared_by": by or {"nudge": 0, "reap": cleared, "terminate": 0},
        },
        "limits": {
            "usage": usage,
            "seconds_to_full": seconds,
            "tasks": 300,
            "limit": 32768,
            "bound_by": "pid_max",
            "pressure": "room" if usage < 0.5 else "pressure",
        },
    }


def told(results) -> list:
    return fleet_table.as_lines([node_row(host, one) for host, one in results.items()])


def test_one_node_shows_all_it_reported():
    lines = told({"node1": result(12, 12, tenants=["shop"])})
    assert lines == [
        "1 node: 1 swept",
        "12 zombies on 1 node: 12 cleared (reap 12), 0 left",
        "1 tenant affected: shop",
        "",
        "node1: 12 zombies on this node",
        "node1: process table: fine",
    ]


def test_nodes_that_only_report_are_named():
    results = {f"node{number}": result(3) for number in range(1, 5)}
    results["node1"]["report_only"] = results["node3"]["report_only"] = True
    line = "report only on 2 nodes, no remedies are set: node1, node3"
    assert told(results).count(line) == 1
    assert not [line for line in told({"node1": result(3)}) if "report only" in line]


def test_nodes_without_metrics_are_named():
    results = {f"node{number}": result() for number in range(1, 5)}
    results["node1"]["metrics"] = results["node3"]["metrics"] = "no directory"
    results["node2"]["metrics"] = ["no directory"]
    assert "metrics: no directory on 2 nodes: node1, node3" in told(results)
    assert "metrics" not in "".join(told({"node4": results["node4"]}))


def test_five_hundred_nodes_fit_on_a_screen():
    results = {f"fine{number:03d}": result() for number in range(420)}
    results |= {
        f"bad{number:03d}": result(
            1000 + number, 900, ended=number % 2, tenants=[f"tenant{number % 20:02d}"]
        )
        for number in range(60)
    }
    results |= {
        "full": result(3, 3, usage=0.93, seconds=7200, by={"nudge": 1, "reap": 2, "terminate": 0})
    }
    results |= {
        f"off{number:02d}": {"unreachable": True, "msg": "Connection refused"}
        for number in range(19)
    }
    lines = told(results)
    assert len(lines) <= 80 and max(map(len, lines)) <= 200
    assert lines[0] == "500 nodes: 481 swept, 19 unreachable"
    assert (
        lines[1] == "61,773 zombies on 61 nodes: 54,003 cleared (reap 54,002, nudge 1), 7,770 left"
    )
    assert lines[2].startswith("30 workloads ended on bad059, bad057") and lines[2].endswith(
        "and 22 more"
    )
    assert lines[3].startswith("20 tenants affected: tenant00, tenant01") and lines[3].endswith(
        "and 12 more"
    )
    assert lines[4] == "short of PIDs: full (93% of 32,768, full in about 2 h)"
    assert (
        "unreachable: 19 nodes (off00, off01, off02, off03, off04, off05, off06, off07 and"
        " 11 more): Connection refused" in lines
    )
    head = next(place for place, line in enumerate(lines) if line.startswith("node "))
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["full", "bad059", "bad058"]
    assert lines[-2:] == [
        "and 21 more nodes with fewer zombies",
        "420 nodes without zombies and with enough free PIDs",
    ]


def test_a_look_says_what_a_sweep_would_do():
    lines = told({"node1": result(5, check_mode=True, tenants=["a", "b"])})
    assert lines[:2] == [
        "1 node: 1 checked",
        "5 zombies on 1 node; a sweep would act on 2 parents",
    ]


def test_nothing_but_failures():
    lines = told(
        {"node1": {"failed": True, "msg": "root is needed\nto see"}, "node2": {"unreachable": True}}
    )
    assert lines == [
        "2 nodes: 1 failed, 1 unreachable",
        "failed: node1: root is needed to see",
        "unreachable: node2: no result",
    ]


def test_text_cannot_move_the_cursor():
    lines = told(
        {
            "node1": {"failed": True, "msg": "\x1b[2Jgone"},
            "node2": result(1, tenants=["\x1b]0;title\x07"]),
        }
    )
    assert all(line.isprintable() for line in lines)


def test_leases_are_told_by_their_owner():
    one = result(1, tenants=["ns"])
    one["offenders"][0]["workload"]["lease"] = {"owner": "akash1abc", "verified": True}
    assert "1 tenant affected: akash1abc" in told({"node1": one})
    one["offenders"][0]["workload"]["lease"]["verified"] = False
    assert "1 tenant affected: ns" in told({"node1": one}), (
        "a lease that is only claimed may be a victim's"
    )


def test_audits():
    lines = fleet_table.audits_as_lines(
        {
            "node1": {"containers": 3, "reaps": 2, "leaks": 1, "unknown": 0, "unlimited_pods": 1},
            "node2": {"containers": 2, "reaps": 0, "leaks": 2, "unknown": 0, "unlimited_pods": 2},
            "node3": {"containers": 1, "reaps": 1, "leaks": 0, "unknown": 0},
        }
    )
    assert lines == [
        "inits of 6 containers on 3 nodes: 3 collect orphans, 3 leak, 0 unknown",
        "leaking: node2 (2), node1 (1)",
        "3 pods without a PID limit (podPidsLimit of the kubelet sets one): node2 (2), node1 (1)",
    ]


def test_a_look_says_whose_most_zombies_are():
    looked = {}
    for host, zombies, workload in (
        ("node1", 7, {"namespace": "shop", "pod": "web-0", "container_name": "web"}),
        ("node2", 1200, {"container_id": "c" * 64}),
        ("node3", 2, {"kind": "host"}),
        ("node4", 0, None),
    ):
        looked[host] = result(zombies, check_mode=True)
        if workload:
            looked[host]["offenders"] = [
                {"zombies": zombies, "name": "java", "workload": workload, "due_in": 48.2},
                {"zombies": 1, "name": "sh", "workload": workload, "due_in": None},
            ]
    looked["node5"] = result(1, check_mode=True, usage=0.9)
    assert told(looked)[1:] == [
        "1,210 zombies on 4 nodes; a sweep would act on nothing yet, and on 3 parents within 48 s",
        "1 tenant affected: shop",
        "short of PIDs: node5 (90% of 32,768)",
        "",
        "node   zombies  PIDs used      most of them",
        "node5        1  90% of 32,768  -",
        "node2    1,200  1% of 32,768   1,200 of java in cccccccccccc",
        "node1        7  1% of 32,768   7 of java in shop/web-0",
        "node3        2  1% of 32,768   2 of java on the host",
        "1 node without zombies and with enough free PIDs",
    ]


def test_a_fleet_without_zombies_is_one_line():
    results = {f"node{number}": result() for number in range(5)}
    assert told(results)[1:] == ["no zombies, and enough free PIDs"]
    results["node3"] = result(usage=0.9)
    assert told(results)[1:] == [
        "no zombies",
        "short of PIDs: node3 (90% of 32,768)",
        "",
        "node   zombies  cleared  left  by  PIDs used",
        "node3        0        0     0  -   90% of 32,768",
        "4 nodes without zombies and with enough free PIDs",
    ]


def test_foreign_scripts_are_told_with_what_to_do():
    found = {**result(), "foreign_scripts": [{"script": None, "schedule": "/etc/cron.d/x"}]}
    assert (
        "foreign scripts signal parents of zombies on 1 node: node1 (/etc/cron.d/x); remove them, or"
        " run provider.fleet.site, which replaces kill_zombie_parents"
    ) in told({"node1": found, "node2": result()})
