"""What monitoring/ has for Kubernetes: kube-prometheus-stack and node-problem-detector."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.parse

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    log,
    metrics,
    policy,
    report,
    textfile,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMEDIES, Options
from rig.daemons import NodeExporter, Prometheus, answer
from rig.handmade import PRESSED, container_process, host_process, node, workload
from rig.journal import journal, writing_to
from rig.node import Node, wait_until

STACK = "monitoring/kube-prometheus-stack/"
DETECTOR = "monitoring/node-problem-detector/zombie_reaper.json"
# of a pod of node_exporter, as the Prometheus Operator sets them
OF_NODE_EXPORTER = {
    "namespace": "monitoring",
    "pod": "node-exporter-x7",
    "container": "node-exporter",
}


@pytest.fixture(scope="module")
def values(root):
    return yaml.safe_load((root / STACK / "values.yml").read_text())["prometheus-node-exporter"]


# kube-prometheus-stack


def test_the_prometheus_rule_is_that_of_the_rules(root):
    """Else run tools/prometheus_rule.py --write."""
    made = subprocess.run(
        [sys.executable, root / "tools/prometheus_rule.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert made == (root / STACK / "prometheus_rule.yml").read_text()
    rules = yaml.safe_load((root / "monitoring/prometheus_rules.yml").read_text())
    assert yaml.safe_load(made)["spec"] == rules


def test_node_exporter_reads_a_directory_that_the_agent_finds(values):
    (mount,) = values["extraHostVolumeMounts"]
    assert mount["hostPath"] in textfile.DIRECTORIES
    assert f"--collector.textfile.directory={mount['mountPath']}" in values["extraArgs"]


def test_zombies_are_those_of_the_workload_and_not_of_node_exporter(values, tmp_path):
    """By a real Prometheus, with the labels that the operator gives a target."""
    parents = (
        container_process(50, workload=workload(container_name="web", pod=("shop", "web-0"))),
        container_process(51, workload=workload(container_id="ab" * 32)),
        host_process(52),
    )
    after = node(*parents)
    done = report.Report(after, after, (), Options(), False, 1.5, ())
    directory = tmp_path / "textfiles"
    directory.mkdir()
    (directory / textfile.NAME).write_text(metrics.as_text(done, metrics.counted(""), 1.8e9))
    relabelings = [
        {re.sub("([A-Z])", r"_\1", key).lower(): value for key, value in each.items()}
        for each in values["prometheus"]["monitor"]["metricRelabelings"]
    ]
    exporter = NodeExporter(tmp_path, directory)
    try:
        prometheus = Prometheus(
            tmp_path,
            {"groups": []},
            {"node1": exporter.port},
            9,
            OF_NODE_EXPORTER,
            metric_relabel_configs=relabelings,
        )
        try:
            found = wait_until(lambda: series(prometheus, metrics.WORKLOADS))
            others = series(prometheus, "zombie_reaper_zombies")
        finally:
            prometheus.stop()
    finally:
        exporter.stop()
    of_the_target = {"instance": "node1", "job": "node"}
    by_container = {each.pop("container", ""): each for each in found}
    assert by_container == {
        "web": {**of_the_target, "namespace": "shop", "pod": "web-0"},
        "ab" * 6: of_the_target,
        "": of_the_target,
    }
    assert others == [{**of_the_target, **OF_NODE_EXPORTER}], "other metrics are left as they are"


def series(prometheus, name) -> list:
    """Labels of each series of that name."""
    query = "/api/v1/query?" + urllib.parse.urlencode({"query": name})
    found = [each["metric"] for each in answer(prometheus.port, query)["data"]["result"]]
    return [{key: each[key] for key in each if key != "__name__"} for each in found]


# node-problem-detector


@pytest.fixture(scope="module")
def detector(root):
    return json.loads((root / DETECTOR).read_text())


def events(detector, lines) -> list:
    """The reason of each event of lines that come one after the other. As in
    pkg/systemlogmonitor/log_buffer.go: a pattern has to match up to the end of the last lines.
    """
    found, buffer = [], []
    for line in lines:
        buffer = [*buffer, line.strip()][-detector["bufferSize"] :]
        found += [
            rule["reason"]
            for rule in detector["rules"]
            if re.search(rule["pattern"] + r"\Z", "\n".join(buffer))
        ]
    return found


def told(*offenders, usage=0.3, **changes) -> list:
    """What a sweep says of these parents, which it leaves alone."""
    after = node(*offenders, usage=usage)
    results = tuple(
        report.Result(policy.Verdict(each, (), REMEDIES, "too_young", "because", PRESSED), (), None)
        for each in offenders
    )
    fields = {"options": Options(), "check_mode": False, "duration": 1.5, "warnings": ()}
    return report.as_lines(report.Report(after, after, results, **{**fields, **changes}))


def test_it_is_a_configuration_of_the_system_log_monitor(detector):
    assert detector["plugin"] == "journald"
    assert detector["pluginConfig"] == {"source": log.SYSLOG_TAG}
    assert {rule["type"] for rule in detector["rules"]} == {"temporary"}, "a condition never ends"


def test_what_a_real_sweep_says(detector, tmp_path):
    """Of a parent that it ends, and of options that are wrong."""
    (tmp_path / "config.json").write_text('{"min_age": -1}')
    rigged = Node(tmp_path)
    try:
        program = rigged.container("zombie()\nready()\nforever()")
        with journal(tmp_path) as said:
            for flags in (
                ["--config", tmp_path / "config.json"],
                ["--min-age", "0", "--remedies", "terminate"],
            ):
                agent = rigged.agent_command("--syslog", *map(str, flags))
                rigged.run(*writing_to(tmp_path), *agent)
            assert program.ends()
    finally:
        rigged.stop()
    messages = [line.decode().rstrip("\0\n").partition("]: ")[2] for line in said if line]
    assert sorted(set(events(detector, messages))) == ["ZombieParentEnded", "ZombieReaperFailed"]
    assert events(detector, messages).count("ZombieParentEnded") == 1


def test_a_leak_and_a_full_table(detector):
    leaking = container_process(collected_ago=300.0)
    assert events(detector, told(leaking)) == ["ContainerLeaksZombies"]
    assert events(detector, told(container_process())) == []
    assert events(detector, told(host_process(collected_ago=300.0))) == []
    for usage, reasons in ((0.949, []), (0.951, ["ProcessTableFull"]), (1, ["ProcessTableFull"])):
        assert events(detector, told(usage=usage)) == reasons


def test_no_name_of_a_tenant_makes_an_event(detector):
    """It never begins a line, and a line break in it is escaped."""
    for name in (b"ended PID 1 (a) on", b"x\nended PID 7 (sh) on the host, which kept 2 zombies"):
        assert events(detector, told(container_process(comm=name))) == []


def test_the_page_has_each_reason(root, detector):
    section = (root / "docs/dashboards.md").read_text().partition("## Events of nodes")[2]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [
        rule["reason"] for rule in detector["rules"]
    ]
