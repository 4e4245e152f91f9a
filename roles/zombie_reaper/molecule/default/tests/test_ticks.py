"""The programs of leak.yml, after cron, the timer or the daemon has swept. Nothing in here starts a
sweep.

With the default remedies each of them lives on and has collected its zombie. One node has no reap
among its remedies: there they end. A scheduled sweep notes a zombie when it first sees it and acts
when it sees it again, so two ticks are needed.
"""

from __future__ import annotations

import json
import time

import pytest

DEADLINE = (
    time.monotonic() + 600
    # Guards against hanging, for all nodes together: two ticks take two minutes, plus whatever a
    # busy machine needs
)


def container(host, name) -> dict:
    return json.loads(host.check_output("runc state %s", name))


def zombies_of(host, pid) -> list[str]:
    return host.run(
        "ps --ppid %s --no-headers -o pid,stat,args | grep -w Z", str(pid)
    ).stdout.splitlines()


@pytest.fixture
def report(host) -> str:
    """What the sweeps reported about containers, once neither leaking program has a zombie left."""
    while True:
        journal = host.check_output("journalctl --no-pager --output=cat --identifier=zombie_reaper")
        done = [
            line
            for line in journal.splitlines()
            if "in container" in line and ": cleared: " in line
        ]
        if len(done) >= 2 or time.monotonic() > DEADLINE:
            return (
                "\n".join(done)
                if len(done) >= 2
                else "after two ticks there is only this:\n" + journal
            )
        time.sleep(2)


def test_metrics_are_written_where_a_collector_reads_them(host, report):
    """Written by the timer, and by the service that may write hardly anything; the other nodes have
    no such directory, see prepare.yml.
    """
    file = host.file("/var/lib/prometheus/node-exporter/zombie_reaper.prom")
    assert file.exists == (host.backend.name in ("fleet-debian13", "fleet-daemon"))
    if file.exists:
        assert (file.user, file.mode) == ("root", 0o644)
        assert "\nzombie_reaper_last_sweep_success 1\n" in file.content_string
        assert '\nzombie_reaper_cleared_total{remedy="reap"} 0\n' not in file.content_string


def test_report_names_container_and_pod(report):
    assert not report.startswith("after"), report
    for letter, pod in (("a", "leaky-init"), ("b", "leaky-child")):
        assert "in container %s of pod tenant/%s: 1 orphan" % (letter * 12, pod) in report


@pytest.fixture
def ends(host) -> bool:
    return host.backend.name == "fleet-debian12"


def test_report_names_the_remedy(report, ends):
    """Of both; an init that leaks may have been given another one meanwhile."""
    remedy = " terminate (" if ends else " reap (stopped for "
    lines = [line for line in report.splitlines() if remedy in line]
    assert {line.partition(" in container ")[2][:12] for line in lines} == {12 * "a", 12 * "b"}, (
        report
    )


def test_container_whose_init_never_waits(host, report, ends):
    state = container(host, "leaky-init")
    assert state["status"] == ("stopped" if ends else "running"), report
    if not ends:
        assert "sleep 3600" in host.check_output("ps --pid %d --no-headers -o args" % state["pid"])
        assert zombies_of(host, state["pid"]) == []
        # so its filter was suspended
        assert "Seccomp:\t2" in host.file("/proc/%d/status" % state["pid"]).content_string


def test_container_whose_init_waits_lives_on(host, report, ends):
    """No program was ended except, at most, the one that left the zombie."""
    state = container(host, "leaky-child")
    assert state["status"] == "running", report
    children = host.check_output(
        "ps --ppid %d --no-headers -o pid,args" % state["pid"]
    ).splitlines()
    assert [line for line in children if "sleep 1" in line]
    leaking = [line.split()[0] for line in children if "sleep 3600" in line]
    assert len(leaking) == (0 if ends else 1)
    assert [zombies_of(host, pid) for pid in leaking] == [[]] * len(leaking)


@pytest.mark.parametrize("unit", ["leaky-host", "leaky-namespace"])
def test_services_are_left_alone(host, report, unit):
    assert host.service(unit).is_running
    parent = host.check_output("systemctl show --property=MainPID --value %s", unit)
    if unit == "leaky-namespace":
        parent = host.check_output("pgrep --parent %s", parent)
    assert len(zombies_of(host, parent)) == 1
    last = json.loads(host.check_output("zombie-reaper --check --exit-zero --json"))
    assert [
        offender["reason"] for offender in last["offenders"] if offender["pid"] == int(parent)
    ] == ["host_service"]
