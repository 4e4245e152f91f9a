"""What a tenant chose is shown safely, and the totals agree."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy, report
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import (
    cgroups,
    limits,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES, Options
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import (
    Outcome,
)
from ansible_collections.provider.fleet.plugins.modules import zombie_reap
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import PRESSED, container_process, host_process, node, workload, zombie

OPTIONS = Options()
HOSTILE = {
    b"\x1b[2J\x1b]0;owned\x07": r"\x1b[2J\x1b]0;owned\x07",
    b"a\nPID 1: cleared\r\t": r"a\x0aPID 1: cleared\x0d\x09",
    b"\xff\xc3": r"\xff\xc3",
    b"back\\slash \\x1b": r"back\\slash \\x1b",
    b"\x00\x7f\xc2\x9b": r"\x00\x7f\x9b",
    "\u202eevil\u2066\u200b\u2028\ufeff".encode(): r"\u202eevil\u2066\u200b\u2028\ufeff",
    "\U000e0001".encode(): r"\U000e0001",
    "\ud800": r"\ud800",
    "\udcff": r"\xff",  # noqa: F601
    "grüße 日本 🧟": "grüße 日本 🧟",
    b"": "",
    "": "",
    None: None,
}


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_text_of_a_tenant_is_made_printable(text):
    assert report.printable(text) == HOSTILE[text]


@given(st.binary(max_size=600) | st.text(st.characters(), max_size=600), st.integers(0, 300))
def test_printable_text_is_printable_bounded_and_can_be_encoded(text, most):
    shown = report.printable(text, most)
    assert shown.isprintable()
    assert len(shown) <= most + len("...")
    shown.encode()
    whole = report.printable(text, 10**6)
    assert shown == whole or whole.startswith(shown.removesuffix("...")) and shown.endswith("...")


@given(st.lists(st.binary(max_size=8), min_size=2, max_size=2, unique=True))
def test_two_names_never_look_the_same(names):
    assert report.printable(names[0]) != report.printable(names[1])


@pytest.mark.parametrize(
    "text",
    [b"x" * 2**20, b"\x1b" * 2**20, "\u202e" * 2**20, "🧟".encode() * 2**18],
    ids=["plain", "escape", "bidi", "wide"],
)
def test_a_megabyte_becomes_a_line(text):
    shown = report.printable(text)
    assert shown.endswith("...") and len(shown) <= report.MAX_TEXT + 3


def outcome(parent, remedy, result, cleared=0, detail="", **more):
    return Outcome(parent.pid, parent.start_ticks, remedy, result, cleared, detail, 0.25, **more)


def result(parent, *outcomes, left=None, reason="act", remedies=REMEDIES, due=None):
    verdict = policy.Verdict(
        parent, parent.zombies if due is None else due, remedies, reason, "because", PRESSED
    )
    return report.Result(verdict, outcomes, left)


def swept(*results, before=None, after=(), check_mode=False, **changes):
    before = node(*[each.verdict.offender for each in results]) if before is None else before
    fields = {"options": OPTIONS, "check_mode": check_mode, "duration": 1.5, "warnings": ()}
    return report.Report(before, node(*after), results, **{**fields, **changes})


def zombies(*pids, ppid=50):
    return tuple(zombie(pid, ppid) for pid in pids)


PARENT = container_process(50, zombies=zombies(1, 2, 3))
INIT = container_process(40, zombies=zombies(9, ppid=40))


def counts(*results, **kwargs):
    found = report.as_dict(swept(*results, **kwargs))["counts"]
    assert found["cleared"] == sum(found["cleared_by"].values())
    return found["cleared_by"]


def test_nudged_zombies_are_counted_for_the_nudge():
    assert counts(result(PARENT, outcome(PARENT, "nudge", "cleared", 3), left=())) == {
        "nudge": 3,
        "reap": 0,
        "terminate": 0,
    }


def test_zombies_that_their_parent_was_made_to_collect_are_counted_for_that():
    reaped = result(
        PARENT,
        outcome(PARENT, "nudge", "no_effect"),
        outcome(PARENT, "reap", "cleared", 3),
        left=(),
    )
    assert counts(reaped) == {"nudge": 0, "reap": 3, "terminate": 0}


def test_each_remedy_counts_what_it_cleared():
    steps = [outcome(PARENT, name, "partly_cleared", 1) for name in ("nudge", "reap")] + [
        outcome(PARENT, "terminate", "parent_ended")
    ]
    assert counts(result(PARENT, *steps, left=())) == {"nudge": 1, "reap": 1, "terminate": 1}


def test_zombies_that_moved_to_an_adopter_and_stayed_are_not_cleared():
    moved = result(
        PARENT, outcome(PARENT, "terminate", "parent_ended"), left=zombies(2, 3, ppid=40)
    )
    entry = report.as_dict(swept(moved))
    assert entry["counts"]["cleared_by"] == {"nudge": 0, "reap": 0, "terminate": 1}
    assert (entry["offenders"][0]["outcome"], entry["offenders"][0]["adopted_by"]) == (
        "moved",
        [40],
    )


ADOPTER = INIT._replace(zombies=zombies(1, 2, 3, 9, ppid=40))
ENDED = result(PARENT, outcome(PARENT, "terminate", "parent_ended"), left=())


def test_zombie_that_moved_counts_once_when_the_adopter_was_ended_too():
    assert counts(
        ENDED, result(ADOPTER, outcome(ADOPTER, "terminate", "parent_ended"), left=())
    ) == {"nudge": 0, "reap": 0, "terminate": 4}


def test_zombie_that_moved_counts_once_when_the_adopter_was_reminded():
    assert counts(ENDED, result(ADOPTER, outcome(ADOPTER, "nudge", "cleared", 4), left=())) == {
        "nudge": 4,
        "reap": 0,
        "terminate": 0,
    }


def test_zombie_that_moved_counts_once_when_the_adopter_was_reminded_and_ended():
    steps = (
        outcome(ADOPTER, "nudge", "partly_cleared", 1),
        outcome(ADOPTER, "terminate", "parent_ended"),
    )
    assert counts(ENDED, result(ADOPTER, *steps, left=())) == {
        "nudge": 1,
        "reap": 0,
        "terminate": 3,
    }


def test_zombies_that_their_parent_collected_unasked_count_for_nobody():
    gone = result(PARENT, outcome(PARENT, "nudge", "gone"), left=())
    done = report.as_dict(swept(gone))
    assert done["counts"]["cleared"] == 0 and not done["changed"]
    assert done["offenders"][0]["outcome"] == "gone"


@pytest.mark.parametrize(
    "results, check_mode, changed",
    [
        ((), False, False),
        ((result(PARENT, remedies=()),), False, False),
        (
            (result(PARENT, outcome(PARENT, "nudge", "no_effect"), left=PARENT.zombies),),
            False,
            False,
        ),
        (
            (
                result(
                    PARENT, outcome(PARENT, "nudge", "partly_cleared", 1), left=PARENT.zombies[1:]
                ),
            ),
            False,
            True,
        ),
        ((ENDED,), False, True),
        (
            (result(PARENT, outcome(PARENT, "terminate", "survived"), left=PARENT.zombies),),
            False,
            True,
        ),
        ((result(PARENT),), True, True),
        ((result(PARENT, remedies=()),), True, False),
    ],
)
def test_changed_means_that_something_was_done_or_would_be(results, check_mode, changed):
    assert report.as_dict(swept(*results, check_mode=check_mode))["changed"] is changed


TEXTS = st.binary(max_size=400)
PARENTS = st.builds(
    lambda make, pid, comm, executable, command_line, cgroup, pids: make(
        pid,
        comm=comm,
        executable=executable,
        command_line=command_line,
        zombies=zombies(*pids, ppid=pid),
        workload=workload(cgroup=cgroup.decode("utf-8", "surrogateescape")),
    ),
    st.sampled_from([container_process, host_process]),
    st.integers(2, 2**22),
    TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    TEXTS,
    st.sets(st.integers(1, 20), min_size=1, max_size=5),
)
STEPS = st.tuples(
    st.sampled_from(REMEDIES),
    st.sampled_from(
        ["no_effect", "gone", "failed", "refused", "unfinished", "survived", "parent_ended"]
    ),
)


@st.composite
def results(draw):
    parent = draw(PARENTS)
    steps = [
        outcome(parent, *step)
        for step in draw(st.lists(STEPS, max_size=3, unique_by=lambda step: step[0]))
    ]
    left = tuple(draw(st.lists(st.sampled_from(parent.zombies), unique=True))) if steps else None
    return result(
        parent,
        *steps,
        left=left,
        remedies=REMEDIES if steps else draw(st.sampled_from([(), REMEDIES])),
    )


@given(st.lists(results(), max_size=4), st.booleans(), st.lists(st.text(max_size=400), max_size=2))
def test_every_report_is_json_with_printable_text_and_consistent_counts(some, check_mode, warnings):
    if check_mode:
        some = [each._replace(outcomes=(), left=None) for each in some]
    done = report.as_dict(swept(*some, check_mode=check_mode, warnings=tuple(warnings)))
    assert json.loads(json.dumps(done, allow_nan=False)) == done
    assert_printable(done)
    totals = done["counts"]
    assert 0 <= totals["cleared"] == sum(totals["cleared_by"].values())
    assert all(number >= 0 for number in totals["cleared_by"].values())
    assert totals["cleared"] <= sum(len(each.verdict.due) for each in some)
    assert (
        totals["offenders"]
        == len(done["offenders"])
        >= totals["acted_on"]
        >= totals["parents_ended"]
    )


def assert_printable(value):
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        assert_printable(item)
    assert not isinstance(value, str) or value.isprintable()


def test_report_of_a_huge_node_is_bounded():
    hostile = {
        "comm": b"\x1b" * 15,
        "executable": b"\xff" * 4096,
        "command_line": b"\n" * 4096,
        "workload": workload(cgroup="/" + "\udcff" * 4096),
    }
    parents = [
        container_process(pid, **hostile, zombies=zombies(*range(10), ppid=pid))
        for pid in range(2, 3002)
    ]
    done = report.as_dict(
        swept(*[result(parent, remedies=()) for parent in parents], after=parents)
    )
    assert len(done["offenders"]) == 1000 and len(done["zombies"]["list"]) == 100
    assert done["counts"]["offenders"] == 3000 and done["counts"]["zombies"] == 30000
    assert len(done["summary"]) == 103 and "2900 more parents" in done["summary"][-1]
    assert len(json.dumps(done)) < 3_000_000


def test_lines_for_people():
    moved = result(
        PARENT,
        outcome(PARENT, "terminate", "parent_ended", detail="ended by SIGKILL"),
        left=zombies(3, ppid=40),
    )
    alone = result(host_process(60), remedies=(), reason="host_process")
    orphan = zombie(77, 0, comm=b"a\nb")
    lines = report.as_lines(
        swept(
            moved,
            alone,
            before=node(PARENT, host_process(60), without_parent=(orphan,)),
            after=(),
            warnings=("w\n",),
        )
    )
    assert lines[0] == "5 zombies on this node; 2 cleared, 0 left; 1 parent ended"
    assert lines[1] == "process table: 29492 of 32768 taken (90.0%), bound by kernel.pid_max"
    assert (
        lines[2]
        == f"PID 50 (python3) in container {'c' * 12}: 3 zombies, the first seen 100 s ago: moved:"
        " terminate (ended by SIGKILL); left with PID 40"
    )
    assert (
        lines[3]
        == "PID 60 (python3) on the host: 1 zombie, first seen 100 s ago: left alone: because"
    )
    assert lines[4] == r"warning: w\x0a"


def line_of(each):
    return report.as_lines(swept(each))[2]


def test_line_of_a_parent_that_collected_its_zombies():
    reaped = result(
        PARENT,
        outcome(PARENT, "nudge", "no_effect"),
        outcome(PARENT, "reap", "cleared", 3, "stopped for 1.2 ms"),
        left=(),
    )
    assert line_of(reaped).endswith(
        "first seen 100 s ago: cleared: nudge (no effect), reap (stopped for 1.2 ms)"
    )


def test_line_of_a_parent_that_keeps_making_zombies():
    leaking = PARENT._replace(collected_ago=1800.0)
    step = outcome(leaking, "reap", "cleared", 3)
    assert (
        "first seen 100 s ago: leaking, about 6 more an hour: cleared: reap (cleared)"
        in line_of(result(leaking, step, left=()))
    )
    young = result(leaking, remedies=(), reason="too_young")
    assert line_of(young).endswith(
        "first seen 100 s ago: leaking, about 6 more an hour: left alone: because"
    )
    assert "leaking" not in line_of(result(PARENT, step, left=()))
    (entry,) = report.as_dict(swept(young))["offenders"]
    assert entry["leaking_per_hour"] == 6.0


def test_step_tells_why_it_was_refused_and_how_long_the_parent_was_stopped():
    refused = outcome(
        PARENT, "reap", "refused", detail="traced: it is traced already, by PID 9", refusal="traced"
    )
    reaped = outcome(INIT, "reap", "cleared", 1, max_stop_ms=1.25)
    steps = [
        entry["steps"][0]
        for entry in report.as_dict(
            swept(result(PARENT, refused, left=PARENT.zombies), result(INIT, reaped, left=()))
        )["offenders"]
    ]
    assert [(step["result"], step["refusal"], step["max_stop_ms"]) for step in steps] == [
        ("refused", "traced", None),
        ("cleared", None, 1.25),
    ]


@pytest.mark.parametrize("ended_early", [False, True])
def test_sweep_that_was_asked_to_end_says_so(ended_early):
    assert report.as_dict(swept(ENDED, ended_early=ended_early))["ended_early"] is ended_early
    assert report.as_dict(swept(ENDED))["ended_early"] is False


def test_diff_names_the_offenders_before_and_after():
    assert report.as_diff(swept(ENDED, after=(INIT,))) == {
        "before": "PID 50 (python3): 3 zombies\n",
        "after": "PID 40 (python3): 1 zombie\n",
    }
    dry = swept(result(PARENT), result(INIT, remedies=()), check_mode=True)
    assert report.as_diff(dry)["after"] == "PID 40 (python3): 1 zombie\n"


def test_every_key_is_documented_and_every_documented_key_is_there():
    documented = yaml.safe_load(zombie_reap.RETURN)
    done = report.as_dict(swept(ENDED))
    assert set(documented) == set(done) - {"changed", "warnings"}  # Ansible's own
    assert set(documented["offenders"]["contains"]) == set(done["offenders"][0])
    assert set(documented["offenders"]["contains"]["steps"]["contains"]) == set(
        done["offenders"][0]["steps"][0]
    )
    assert set(documented["zombies"]["contains"]) == set(done["zombies"])
    assert set(documented["offenders"]["contains"]["pressure"]["sample"]) == set(
        done["offenders"][0]["pressure"]
    )
    assert set(documented["offenders"]["contains"]["claims"]["sample"]) == set(
        done["offenders"][0]["claims"]
    )
    kept = report.as_dict(swept(result(PARENT, remedies=(), reason="too_young"), after=(PARENT,)))
    assert set(documented["zombies"]["contains"]["list"]["sample"][0]) == set(
        kept["zombies"]["list"][0]
    )
    assert set(documented["limits"]["sample"]) == set(done["limits"])
    assert set(documented["counts"]["sample"]) == set(done["counts"])


def documented_words(key):
    """The values that the documentation names for a key of an offender, or ``steps.`` and a key of
    a step.
    """
    described = yaml.safe_load(zombie_reap.RETURN)["offenders"]
    for part in key.split("."):
        described = described["contains"][part]
    return set(re.findall(r"V\((\w+)\)", described["description"]))


def test_every_outcome_is_documented():
    assert documented_words("outcome") == {
        "left_alone",
        "would_act",
        "gone",
        "cleared",
        "partly_cleared",
        "moved",
        "not_cleared",
    }


def test_every_result_of_a_step_is_documented():
    assert documented_words("steps.result") == {
        "cleared",
        "partly_cleared",
        "no_effect",
        "unfinished",
        "refused",
        "parent_ended",
        "survived",
        "gone",
        "failed",
    }


LEASE = {
    "owner": "akash1qq",
    "dseq": "123456",
    "gseq": "1",
    "oseq": "2",
    "provider": "akash1zz",
    "verified": True,
}
POD = {"pod_uid": "uid-1", "pod": ("lease-1", "web-0")}
PLACES = [  # (what is known of the workload, in words)
    ({}, "in container cccccccccccc"),
    ({"container_name": "web"}, "in container web (cccccccccccc)"),
    ({"container_id": None}, "in container of PID namespace 4026531999"),
    (
        {"container_id": None, "pod_uid": "uid-1"},
        "in container of PID namespace 4026531999 of pod uid-1",
    ),
    (POD, "in container cccccccccccc of pod lease-1/web-0"),
    ({"pod_uid": "uid-1"}, "in container cccccccccccc of pod uid-1"),
    ({**POD, "container_name": "app"}, "in container app (cccccccccccc) of pod lease-1/web-0"),
    (
        {**POD, "container_name": "app", "lease": LEASE},
        "in container app (cccccccccccc) of pod lease-1/web-0, lease 123456/1/2 of akash1qq",
    ),
    (
        {"lease": {**dict.fromkeys(LEASE), "gseq": "1"}},
        "in container cccccccccccc, claims lease ?/1/? of an unknown owner (which does not"
        " match its namespace)",
    ),
    ({"user": 1000}, "in container cccccccccccc of user 1000"),
    ({"kind": "host", "service": "web.service"}, "on the host"),
]


@pytest.mark.parametrize("known, words", PLACES)
def test_place_in_words(known, words):
    assert report.place(report.as_workload(workload(**known))) == words


def test_workload_is_printable_whatever_is_in_it():
    hostile = report.as_workload(
        workload(
            cgroup="/\x1b",
            container_name="\u202e",
            pod=("\n", "\udcff"),
            lease={**LEASE, "owner": "\x07" * 999},
        )
    )
    assert_printable(hostile)
    assert (hostile["cgroup"], hostile["namespace"], hostile["pid_namespace"]) == (
        "/\\x1b",
        "\\x0a",
        4026531999,
    )
    assert len(hostile["lease"]["owner"]) <= report.MAX_TEXT + 3
    assert report.as_workload(workload())["lease"] is None


NEVER = limits.Forecast(None, None)


@pytest.mark.parametrize(
    "seconds, words",
    [
        (None, ""),
        (0, ", full in about 0 s at this rate"),
        (119.9, ", full in about 119 s at this rate"),
        (120, ", full in about 2 min at this rate"),
        (7199, ", full in about 119 min at this rate"),
        (7200, ", full in about 2 h at this rate"),
        (172800, ", full in about 2 days at this rate"),
        (7 * 86400, ", full in about 7 days at this rate"),
        (7 * 86400 + 1, ""),
    ],
)
def test_how_soon_it_is_full_in_words(seconds, words):
    assert report.in_words(limits.Forecast(60.0, seconds)) == words


@pytest.mark.parametrize(
    "forecast, shown",
    [
        (NEVER, (None, None)),
        (limits.Forecast(0.0, None), (0.0, None)),
        (limits.Forecast(-12.345, None), (-12.3, None)),
        (limits.Forecast(12.345, 99.6), (12.3, 100)),
    ],
)
def test_forecast_in_numbers(forecast, shown):
    assert report.as_forecast(forecast) == dict(zip(("growth_per_hour", "seconds_to_full"), shown))


@pytest.mark.parametrize(
    "pids, usage",
    [
        ((7, 32), 0.21875),
        ((7, None), None),
        ((0, 0), None),
        ((33, 32), 1.03125),
        ((1, 3), 0.333333),
    ],
)
def test_pids_in_numbers(pids, usage):
    assert report.as_pids(cgroups.Pids(*pids, "/a\x1b"), limits.Forecast(1.0, 60.0)) == {
        "current": pids[0],
        "max": pids[1],
        "cgroup": "/a\\x1b",
        "usage": usage,
        "growth_per_hour": 1.0,
        "seconds_to_full": 60,
    }
    assert report.as_pids(None, NEVER) is None


def test_line_of_a_parent_whose_container_is_nearly_full():
    full = PARENT._replace(pids=cgroups.Pids(30, 32, "/x"), forecast=limits.Forecast(4.0, 1800.0))
    assert (
        "first seen 100 s ago: 30 of 32 PIDs of its cgroup taken, full in about 30 min at this rate: left"
        " alone" in line_of(result(full, remedies=()))
    )
    assert "30 of 32 PIDs of its cgroup taken: left alone" in line_of(
        result(full._replace(forecast=NEVER), remedies=())
    )
    for unlimited in (None, cgroups.Pids(30, None, "/x")):
        assert "PIDs of its cgroup" not in line_of(
            result(PARENT._replace(pids=unlimited), remedies=())
        )


def test_line_of_a_parent_says_whose_it_is():
    known = workload(**POD, container_name="app", lease=LEASE)
    assert line_of(result(PARENT._replace(workload=known), remedies=())).startswith(
        "PID 50 (python3) in container app (cccccccccccc) of pod lease-1/web-0, lease 123456/1/2 of"
        " akash1qq: 3 zombies"
    )


def test_process_table_that_fills_up():
    after = node()._replace(forecast=limits.Forecast(600.0, 86400.0))
    done = swept()._replace(after=after)
    assert (
        report.as_lines(done)[1]
        == "process table: 29492 of 32768 taken (90.0%), bound by kernel.pid_max, full in about 24"
        " h at this rate"
    )
    table = report.as_dict(done)["limits"]
    assert (table["growth_per_hour"], table["seconds_to_full"]) == (600.0, 86400)


def test_every_key_of_a_workload_and_of_its_pids_is_documented():
    documented = yaml.safe_load(zombie_reap.RETURN)["offenders"]["contains"]
    (entry,) = report.as_dict(
        swept(result(PARENT._replace(workload=workload(lease=LEASE)), remedies=()))
    )["offenders"]
    for key in ("workload", "pids"):
        described = documented[key]
        told = set(
            described.get("contains")
            or described.get("sample")
            or re.findall(r"C\((\w+)\)", str(described["description"]))
        )
        assert set(entry[key]) <= told, (key, set(entry[key]) - told)
