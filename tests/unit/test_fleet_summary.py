"""The callback of the summary, given what Ansible gives it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.callback import fleet_summary
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import fleet as rig
from rig.spoilt import ANYTHING, spoilt

LEASE = {"owner": "akash1qq", "dseq": "1", "gseq": "1", "oseq": "1", "verified": True}
SUMMARY = ["3 zombies on this node"]
LOOK = {
    **rig.look(rig.offender(3, workload=rig.workload(lease=LEASE))),
    "summary": SUMMARY,
}
SWEEP = {**LOOK, "check_mode": False}
SWEEP["counts"] = {
    **LOOK["counts"],
    "cleared": 2,
    "zombies_left": 1,
    "cleared_by": {"nudge": 0, "reap": 2, "terminate": 0},
}
AUDIT = {"counts": {"containers": 3, "reaps": 2, "leaks": 1, "unknown": 0}}


class Run:
    """A run of which the callback is told; answers are what modules returned."""

    def __init__(self):
        self.callback = fleet_summary.CallbackModule()
        self.callback._display = SimpleNamespace(
            banner=lambda _title: None, display=self.print, warning=self.print
        )
        self.callback.get_option = {"webhook_url": ""}.get
        self.lines = []

    def print(self, line):
        self.lines.append(line)

    @staticmethod
    def result(host, answer, module, loop=None, async_val=0):
        return SimpleNamespace(
            _host=SimpleNamespace(get_name=lambda: host, implicit=False),
            _task=SimpleNamespace(
                action=f"provider.fleet.{module}", loop=loop, async_val=async_val
            ),
            _result=answer,
        )

    def ok(self, host, answer, module="zombie_reap", **task):
        self.callback.v2_runner_on_ok(self.result(host, answer, module, **task))

    def failed(self, host, answer, module="zombie_reap"):
        self.callback.v2_runner_on_failed(self.result(host, answer, module))

    def summary(self, failures=(), dark=()) -> list:
        self.callback.v2_playbook_on_stats(
            SimpleNamespace(failures=dict.fromkeys(failures, 1), dark=dict.fromkeys(dark, 1))
        )
        return self.lines


def test_one_odd_answer_is_a_row_that_says_so():
    run = Run()
    for host in ("node1", "node2", "node3"):
        run.ok(host, SWEEP)
    run.ok("odd", {**SWEEP, "counts": {"zombies": "many"}})
    lines = run.summary()
    assert lines[:2] == [
        "4 nodes: 3 swept, 1 failed",
        "9 zombies on 3 nodes: 6 cleared (reap 6), 3 left",
    ]
    assert "failed: odd: its answer cannot be read: counts.zombies is 'many', not a number" in lines


@pytest.mark.parametrize(
    "msg",
    [
        "Module result deserialization failed: No start of json char found",
        "MODULE FAILURE\nSee stdout/stderr for the exact error",  # before ansible-core 2.19
    ],
)
@pytest.mark.parametrize(
    "said, cause",
    [
        ({"module_stderr": "/bin/sh: 1: sudo: not found\n"}, "/bin/sh: 1: sudo: not found"),
        (
            {"module_stderr": 'Traceback:\n  File "x"\nOSError: no space left\n\n'},
            "OSError: no space left",
        ),
        # with a terminal, ssh adds a line, and all else comes by the other way
        (
            {
                "module_stderr": "Shared connection to node2 closed.\r\n",
                "module_stdout": "sh: 1: sudo: not found\r\n",
            },
            "sh: 1: sudo: not found",
        ),
        ({"module_stderr": "\x1b[2J" + "x" * 100, "module_stdout": "y"}, "\\x1b[2J" + "x" * 100),
        ({"module_stderr": ["no text"]}, None),
    ],
)
def test_a_module_that_did_not_answer_has_the_cause_beside_it(msg, said, cause):
    run = Run()
    run.ok("node1", SWEEP)
    run.failed("node2", {"msg": msg, **said})
    told = " ".join(msg.split())
    row = f"failed: node2: {told}: {cause}" if cause else f"failed: node2: {told}"
    assert row in run.summary(failures=["node2"])


def test_whatever_a_module_that_did_not_answer_printed_fits_in_a_line():
    run = Run()
    run.failed("node1", {"msg": "no answer", "module_stderr": "x" * 100_000})
    (row,) = [line for line in run.summary(failures=["node1"]) if line.startswith("failed: ")]
    assert row.startswith("failed: node1: no answer: xxx") and len(row) < 400


def test_nodes_on_which_nothing_could_be_installed_are_listed():
    """The first task of site.yml for a node is not a sweep."""
    run = Run()
    run.failed("node1", {"msg": "remedies: 'nudg' is not allowed"}, "zombie_reaper_agent")
    result = run.result("node2", {"msg": "no route to host"}, "zombie_reaper_agent")
    run.callback.v2_runner_on_unreachable(result)
    assert run.summary(failures=["node1"], dark=["node2"]) == [
        "2 nodes: 1 failed, 1 unreachable",
        "failed: node1: remedies: 'nudg' is not allowed",
        "unreachable: node2: no route to host",
        "",
    ]


def test_an_installation_that_fails_nowhere_has_no_summary():
    run = Run()
    run.ok("node1", {"changed": True, "files": []}, "zombie_reaper_agent")
    assert run.summary() == []


def test_an_audit_that_cannot_be_read_is_a_row_that_says_so():
    run = Run()
    run.ok("node1", AUDIT, "init_audit")
    run.ok("odd", {"counts": {"containers": 3, "leaks": "all"}}, "init_audit")
    assert run.summary() == [
        "1 node: 1 failed",
        "failed: odd: its answer cannot be read: counts.leaks is 'all', not a number",
        "inits of 3 containers on 1 node: 2 collect orphans, 1 leak, 0 unknown",
        "leaking: node1 (1)",
        "",
    ]


@pytest.mark.parametrize("summary", [SWEEP["summary"], []])
def test_a_sweep_counts_though_the_audit_cannot_be_read(summary):
    run = Run()
    run.ok("node1", {**SWEEP, "summary": summary})
    run.ok("node1", {"counts": None}, "init_audit")
    lines = run.summary()
    assert lines[:4] == [
        "1 node: 1 failed",
        "3 zombies on 1 node: 2 cleared (reap 2), 1 left",
        "1 tenant affected: akash1qq",
        "failed: node1: its answer cannot be read: counts is missing, not a dictionary",
    ]


IN_BACKGROUND = {"ansible_job_id": "j1", "started": 1, "finished": 0}


def test_a_task_in_the_background_has_no_answer_yet():
    run = Run()
    run.ok("node1", IN_BACKGROUND, async_val=60)
    assert run.summary() == []


def test_of_a_loop_the_last_answer_counts():
    run = Run()
    answers = [LOOK, {"skipped": True}, SWEEP, {"skipped": True}]
    run.ok("node1", {"results": answers}, loop=["{{ any }}"])
    assert run.summary()[0] == "1 node: 1 swept"


@pytest.mark.parametrize("answer", [{}, {"results": []}, {"results": [SWEEP]}, IN_BACKGROUND])
def test_no_node_hides_itself_by_what_it_returns(answer):
    run = Run()
    run.ok("node1", answer)
    assert run.summary()[:1] == ["1 node: 1 failed"]


def test_a_report_without_lines_counts_too():
    run = Run()
    run.ok("node1", {**SWEEP, "summary": []})
    assert run.summary()[1] == "3 zombies on 1 node: 2 cleared (reap 2), 1 left"


@pytest.mark.parametrize("swept", [True, False])
def test_nodes_where_cron_is_stopped_are_named_once_for_all(swept):
    run = Run()
    for host in ("node2", "node1", "node3"):
        run.ok(host, {"cron_is_stopped": True}, "zombie_reaper_agent")
        if swept:
            run.ok(host, SWEEP)
    run.ok("node3", {"cron_is_stopped": False}, "zombie_reaper_agent")
    run.ok("odd", {"cron_is_stopped": "many"}, "zombie_reaper_agent")
    lines = run.summary()
    assert "no cron runs, so nothing is scheduled on 2 nodes: node1, node2" in lines
    assert len(lines) > 2 or not swept


@pytest.mark.parametrize("good_first", [True, False])
@settings(max_examples=60)
@given(
    sweep=spoilt(SWEEP),
    audit=spoilt(AUDIT),
    error=ANYTHING | st.fixed_dictionaries({"msg": ANYTHING, "results": ANYTHING}),
)
def test_whatever_one_host_returns_the_others_are_summed_up(good_first, sweep, audit, error):
    run = Run()
    good = [f"good{number}" for number in range(4)]
    strange = [
        lambda: run.ok("strange", sweep),
        lambda: run.ok("strange", audit, "init_audit"),
        lambda: run.failed("broken", error),
    ]
    told = [lambda host=host: run.ok(host, SWEEP) for host in good]
    for tell in told + strange if good_first else strange + told:
        tell()
    lines = run.summary(failures=["broken"])
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    row = run.callback.rows.get("strange")
    zombies = 4 * 3 + (row.zombies if row and not row.why else 0)
    assert f"{zombies:,} zombies on" in lines[1]
    for host in good:
        assert any(re.match(rf"{host} +3 +2 +1 +reap", line) for line in lines)
    # with the strange one, where both have the same reason
    assert any(re.match(r"failed: (2 nodes \(.*)?\bbroken\b", line) for line in lines)
