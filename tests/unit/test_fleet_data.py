"""The report's data: what is counted, and what a node may have returned without harm."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import tempfile

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import (
    fleet_data,
    fleet_files,
    fleet_history,
    fleet_page,
    node_result,
    tenant_notes,
)
from hypothesis import given, settings
from rig import fleet as rig
from rig.spoilt import spoilt

LEASE = {
    "owner": "akash1qq",
    "dseq": "123",
    "gseq": "1",
    "oseq": None,
    "provider": "akash1zz",
    "verified": True,
}


def test_nodes_that_failed_come_first_and_the_tightest_next():
    done = rig.fleet_of(
        {
            "roomy": rig.look(),
            "tight": rig.look(usage=0.9),
            "away": rig.UNREACHABLE,
            "old": rig.FAILED,
            "mute": None,
        }
    )
    assert [(node["host"], node["state"]) for node in done["nodes"]] == [
        ("away", "unreachable"),
        ("mute", "failed"),
        ("old", "failed"),
        ("tight", "looked"),
        ("roomy", "looked"),
    ]
    assert [node["why"] for node in done["nodes"][:3]] == [
        "Failed to connect to the host via ssh: Connection refused",
        "no result",
        rig.FAILED["msg"],
    ]
    totals = done["totals"]
    assert (totals["nodes"], totals["looked"], totals["failed"], totals["short_of_pids"]) == (
        5,
        2,
        3,
        1,
    )
    assert (totals["tightest"], totals["tightest_usage"]) == ("tight", 0.9)


def test_offenders_of_all_nodes_and_their_tenants():
    leased = rig.offender(9, workload=rig.workload(lease=LEASE))
    on_host = rig.offender(
        1,
        workload=rig.workload(
            kind="host",
            namespace=None,
            pod=None,
            pod_uid=None,
            container_id=None,
            container_name=None,
            service="web.service",
        ),
    )
    done = rig.fleet_of(
        {"a": rig.look(rig.offender(3), on_host), "b": rig.look(rig.offender(2), leased)}
    )
    assert [
        (row["host"], row["tenant"], row["zombies"], row["workload"]) for row in done["offenders"]
    ] == [
        ("b", "akash1qq", 9, "shop/web-0/app"),
        ("a", "shop", 3, "shop/web-0/app"),
        ("b", "shop", 2, "shop/web-0/app"),
        ("a", "", 1, "web.service"),
    ]
    assert done["offenders"][0]["lease"] == "123/1/?"
    claimed = rig.fleet_of(
        {"b": rig.look(rig.offender(9, workload=rig.workload(lease={**LEASE, "verified": False})))}
    )["offenders"][0]
    assert (claimed["tenant"], claimed["lease"]) == ("shop", "123/1/? (claimed)"), (
        "anybody can claim to be somebody else"
    )
    assert done["tenants"] == [
        {"tenant": "akash1qq", "zombies": 9, "offenders": 1, "hosts": 1},
        {"tenant": "shop", "zombies": 5, "offenders": 2, "hosts": 2},
        {"tenant": "", "zombies": 1, "offenders": 1, "hosts": 1},
    ]
    assert (
        done["totals"]["zombies"],
        done["totals"]["tenants"],
        done["totals"]["with_zombies"],
    ) == (15, 2, 2)


def test_what_last_sweeps_did():
    swept = rig.sweep(rig.acted(4), rig.acted(7, ended=True, name="sh"), at=rig.AT - 60)
    done = rig.fleet_of({"a": rig.look(last_sweep=swept), "b": rig.look()})
    assert [
        (row["name"], row["remedy"], row["ended"], row["cleared"], row["at"])
        for row in done["actions"]
    ] == [("sh", "terminate", True, 7, rig.AT - 60), ("python3", "reap", False, 4, rig.AT - 60)]
    totals = done["totals"]
    assert (totals["cleared"], totals["ended"], totals["swept"], totals["cleared_by"]["reap"]) == (
        11,
        1,
        1,
        11,
    )


def test_inits_that_leak():
    audits = {
        "a": rig.audit(
            rig.container("leaks", 4), rig.container("reaps"), rig.container("leaks", 9)
        ),
        "b": rig.FAILED,
    }
    done = rig.fleet_of({"a": rig.look(), "b": rig.look(), "c": rig.look()}, audits)
    assert [
        (row["host"], row["zombies"], row["name"], row["explanation"]) for row in done["inits"]
    ] == [("a", 9, "sleep", "it is called sleep"), ("a", 4, "sleep", "it is called sleep")]
    by_host = {node["host"]: node for node in done["nodes"]}
    assert (
        by_host["a"]["containers"],
        by_host["a"]["inits_leaking"],
        by_host["a"]["audit_error"],
    ) == (3, 2, "")
    assert (by_host["b"]["containers"], by_host["b"]["audit_error"]) == (None, rig.FAILED["msg"])
    assert by_host["c"]["audit_error"] == "no result"


def test_nobody_knows_the_figures_of_a_node_that_was_not_read():
    """A 0 in the CSV or the JSON would pass for a node without zombies."""
    done = rig.fleet_of({"fine": rig.look(), "away": rig.UNREACHABLE})
    away, fine = done["nodes"]
    assert {key for key, value in away.items() if value is None} >= set(fleet_data.FIGURES)
    assert [fine[key] for key in ("zombies", "would_act", "cleared")] == [0, 0, 0]
    csv_rows = list(csv.DictReader(io.StringIO(fleet_files.as_csv(done))))
    assert [row["zombies"] for row in csv_rows] == ["", "0"]
    assert json.loads(fleet_files.as_json(done, []))["nodes"][0]["zombies"] is None


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"counts": {"zombies": "many"}}, "counts.zombies is 'many', not a number"),
        ({"counts": {"zombies": -1}}, "counts.zombies is -1, not a count"),
        ({"counts": {"zombies": 1.5}}, "counts.zombies is 1.5, not a count"),
        ({"counts": {"zombies": math.nan}}, "counts.zombies is nan, not a number"),
        ({"counts": {"zombies": True}}, "counts.zombies is True, not a number"),
        ({"counts": {"zombies": 10**5000}}, "counts.zombies is a huge number, not a number"),
        ({"counts": [3]}, "counts is [3], not a dictionary"),
        ({"limits": None}, "limits is missing, not a dictionary"),
        (
            {"limits": {"pressure": "panic"}},
            "limits.pressure is 'panic', not one of room, pressure, full",
        ),
        ({"offenders": {"pid": 1}}, "offenders is {'pid': 1}, not a list"),
        ({"offenders": [{"zombies": []}]}, "offenders[0].zombies is [], not a number"),
        # of which gmtime(3) knows no year
        ({"last_sweep": rig.sweep(at=9e18)}, "last_sweep.at is 9e+18, not a time"),
        ({"last_sweep": rig.sweep(at=-1)}, "last_sweep.at is -1, not a time"),
        ({"last_sweep": {"counts": 7}}, "last_sweep.counts is 7, not a dictionary"),
        ({"summary": "all is well"}, "summary is 'all is well', not a list"),
    ],
)
def test_a_node_whose_answer_cannot_be_read_has_failed(changes, why):
    done = rig.fleet_of({"good": LOOK, "odd": {**LOOK, **changes}})
    odd, good = done["nodes"]
    assert (odd["host"], odd["state"]) == ("odd", "failed")
    assert odd["why"] == f"its answer cannot be read: {why}"
    assert odd["zombies"] is None and good["zombies"] == done["totals"]["zombies"] == 3
    for made in (
        html.unescape(fleet_page.page(done, fleet_history.NO_TRENDS, rig.AT)),
        fleet_files.as_csv(done),
        fleet_files.as_json(done, []),
    ):
        assert why in made.replace('""', '"').replace("\\'", "'")


def test_offenders_without_a_pid_are_sorted_too():
    done = rig.fleet_of({"a": rig.look(rig.offender(pid=None), rig.offender())})
    assert [row["pid"] for row in done["offenders"]] == [None, 4711]


def test_command_lines_are_nowhere():
    """Passwords are in them."""
    done = rig.fleet_of(
        {
            "a": rig.look(
                rig.offender(command_line="db --password=hunter2"),
                last_sweep=rig.sweep(rig.acted(command_line="x hunter2")),
            )
        },
        {
            "a": rig.audit(
                rig.container(init={"pid": 1, "name": "sh", "command_line": "sh -c hunter2"})
            )
        },
    )
    for made in (
        fleet_files.as_json(done, []),
        fleet_files.as_csv(done),
        fleet_page.page(done, fleet_history.NO_TRENDS, rig.AT),
    ):
        assert "hunter2" not in made and "python3" in made


@pytest.mark.parametrize(
    "given, shown",
    [
        ("plain Köln", "plain Köln"),
        ("\u202eevil", "\\u202eevil"),
        ("\udcff", "\\udcff"),
        ("a\tb\n", "a\\tb\\n"),
        ("\x00\x7f", "\\x00\\x7f"),
        (None, ""),
        (12, "12"),
        ("x" * 999, "x" * 300 + "…"),
        ("\u2066\u2069", "\\u2066\\u2069"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_is_printable_and_bounded(given, shown):
    assert node_result.text(given) == shown


LOOK = rig.look(rig.offender(workload=rig.workload(lease=LEASE)), last_sweep=rig.sweep(rig.acted()))
AUDIT = rig.audit(rig.container())


def test_the_reason_why_an_audit_cannot_be_read_is_bounded():
    done = rig.fleet_of({"odd": LOOK}, {"odd": {"containers": [["x" * 200, "y" * 200]]}})
    assert_sound(done)
    assert done["nodes"][0]["audit_error"].endswith("…, not a dictionary")


@settings(max_examples=50)
@given(spoilt(LOOK), spoilt(AUDIT))
def test_whatever_a_node_returned_the_others_are_reported(strange_look, strange_audit):
    done = fleet_data.fleet(
        {"good": LOOK, "strange": strange_look}, {"good": AUDIT, "strange": strange_audit}, rig.AT
    )
    assert [row["zombies"] for row in done["offenders"] if row["host"] == "good"] == [3]
    assert json.loads(fleet_files.as_json(done, []))["nodes"] == done["nodes"]
    assert_sound(done)
    assert "good" in fleet_page.page(
        done, fleet_history.NO_TRENDS, rig.AT
    ) and "good" in fleet_files.as_csv(done)
    assert "owner-akash1qq.md" in tenant_notes.notes(done, rig.AT)
    with (
        tempfile.TemporaryDirectory() as directory,
        fleet_history.History(directory + "/history") as history,
    ):
        history.add(done, rig.AT, 400)


def assert_sound(value):
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        assert_sound(item)
    assert (
        not isinstance(value, str) or value.isprintable() and len(value) <= node_result.MAX_TEXT + 1
    )
    assert not isinstance(value, float) or math.isfinite(value)


def test_a_node_that_returns_a_million_offenders_is_bounded():
    done = rig.fleet_of(
        {"a": {**rig.look(), "offenders": [rig.offender(name="x" * 10**6)] * 10**5}}
    )
    assert (
        len(done["offenders"]) == node_result.MAX_ROWS
        and len(done["offenders"][0]["name"]) == node_result.MAX_TEXT + 1
    )
