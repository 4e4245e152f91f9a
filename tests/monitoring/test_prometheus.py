"""The alert rules and the dashboard, by promtool."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import metrics

RULES, TESTS, DASHBOARD, RUNBOOK = (
    "monitoring/prometheus_rules.yml",
    "tests/monitoring/prometheus_rules_test.yml",
    "monitoring/grafana_dashboard.json",
    "docs/alerts.md",
)
ALERTS = (
    "NodeZombies",
    "NodePidsRunningOut",
    "NodePidsFull",
    "WorkloadLeaksZombies",
    "WorkloadsEnded",
    "ZombieReaperStale",
    "ZombieReaperFailed",
)

# What a rule says, and what it must not say without a test that fails
CHANGES = (
    ("zombie_reaper_zombies >= 20", "zombie_reaper_zombies >= 19"),
    ("zombie_reaper_zombies >= 20", "zombie_reaper_zombies >= 31"),
    ("age_seconds > 2700", "age_seconds > 1200"),
    ("> 2700\n          and time() - zombie_reaper_last_sweep_timestamp_seconds < 3600", "> 2700"),
    ("zombie_reaper_orphans >= 20", "zombie_reaper_orphans >= 19"),
    ("zombie_reaper_orphans >= 20", "zombie_reaper_orphans >= 21"),
    (">= 20 and zombie_reaper_pressure > 0", ">= 20"),
    (">= 20 and zombie_reaper_pressure > 0", ">= 20 and zombie_reaper_pressure > 1"),
    ("limit\n          and zombie_reaper_pressure > 0", "limit > 0"),
    ("zombie_reaper_pressure == 2", "zombie_reaper_pressure > 0"),
    (
        "pressure > 0\n          and time() - zombie_reaper_last_sweep_timestamp_seconds < 3600",
        "pressure > 0",
    ),
    (
        "pressure == 2\n          and time() - zombie_reaper_last_sweep_timestamp_seconds < 3600",
        "pressure == 2",
    ),
    ("workload_zombies >= 20", "workload_zombies >= 19"),
    ("workload_zombies >= 20", "workload_zombies >= 41"),
    ("and on (instance, job) time() - zombie_reaper_last_sweep_timestamp_seconds < 3600", ""),
    ("for: 35m", "for: 30m"),
    (
        "last_over_time(zombie_reaper_last_sweep_timestamp_seconds[2h])",
        "zombie_reaper_last_sweep_timestamp_seconds",
    ),
    ("[2h]) > 2700", "[2h]) > 1700"),
    ("[2h]", "[4h]"),
    ("and on (instance, job) up == 1", ""),
    (
        "avg_over_time(zombie_reaper_last_sweep_success[30m]) < 0.6",
        "zombie_reaper_last_sweep_success == 0",
    ),
    ("for: 10m", "for: 0m"),
    ("ended_total[1h]) > 0", "ended_total[1h]) > 1.5"),
    ("ended_total[1h]", "ended_total[2h]"),
    ("increase(zombie_reaper_workloads_ended_total[1h]) > 0\n          or\n          (", "("),
    ("ended_total offset 1h) > 0", "ended_total offset 1h) > 3"),
    (" unless zombie_reaper_workloads_ended_total offset 1h", ""),
)


def promtool(*arguments):
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )


def rules_of(text) -> list:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def expressions(part):
    """Every expression of the dashboard, wherever it stands."""
    if isinstance(part, dict):
        yield from (part[name] for name in ("expr", "definition") if name in part)
        part = part.values()
    if not isinstance(part, str) and hasattr(part, "__iter__"):
        for each in part:
            yield from expressions(each)


def parse(texts, directory):
    """Fails the test where promtool does not take each of the texts for an expression."""
    written = directory / "expressions.yml"
    written.write_text(
        yaml.safe_dump(
            {
                "groups": [
                    {
                        "name": "all",
                        "rules": [
                            {"record": f"expression:{number}", "expr": text}
                            for number, text in enumerate(texts)
                        ],
                    }
                ]
            }
        )
    )
    done = promtool("check", "rules", written)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def rules(root):
    return (root / RULES).read_text()


@pytest.fixture(scope="module")
def dashboard(root):
    return json.loads((root / DASHBOARD).read_text())


def test_the_rules_are_rules(root):
    done = promtool("check", "rules", root / RULES)
    assert done.returncode == 0 and "SUCCESS: 7 rules found" in done.stdout, (
        done.stdout + done.stderr
    )


def test_each_alert_fires_and_ends_as_it_should(root):
    done = promtool("test", "rules", root / TESTS)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_those_tests_can_fail(root, rules, tmp_path, old, new):
    assert old in rules
    (tmp_path / "rules.yml").write_text(rules.replace(old, new, 1))
    assert promtool("check", "rules", tmp_path / "rules.yml").returncode == 0
    (tmp_path / "tests.yml").write_text(
        (root / TESTS).read_text().replace("../../" + RULES, "rules.yml")
    )
    assert "FAILED" in promtool("test", "rules", tmp_path / "tests.yml").stderr


def test_each_alert_has_its_runbook(root, rules):
    sections = re.findall(r"^## (\w+)$", (root / RUNBOOK).read_text(), re.M)
    assert [rule["alert"] for rule in rules_of(rules)] == list(ALERTS)
    for rule in rules_of(rules):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert (
            rule["annotations"]["runbook_url"]
            == f"https://github.com/provider-fleet/fleet/blob/main/{RUNBOOK}#{rule['alert'].lower()}"
        )
        assert rule["alert"] in sections


def test_rules_and_runbook_use_metrics_that_exist(root, rules):
    defaults = (root / "roles/zombie_reaper/defaults/main.yml").read_text()
    variables = set(re.findall(r"^zombie_reaper_\w+", defaults, re.M))
    for text in (rules, (root / RUNBOOK).read_text()):
        named = set(re.findall(r"\bzombie_reaper_\w+", text))
        assert named <= {*metrics.METRICS, *variables}, named - set(metrics.METRICS)


def test_every_expression_of_the_dashboard_parses(dashboard, tmp_path):
    texts = []
    for text in expressions(dashboard):
        text = re.sub(r"^label_values\((.*), \w+\)$", r"\1", text)
        text = re.sub(r"\$__(rate_interval|range|interval)\b", "5m", text)
        text = re.sub(r"\$(job|instance)\b", "any", text)
        assert "$" not in text
        texts.append(text)
    assert len(texts) >= 15
    parse(texts, tmp_path)


def test_the_dashboard_uses_metrics_that_exist(dashboard):
    for text in expressions(dashboard):
        named = set(re.findall(r"\bzombie_reaper_\w+", text))
        assert named and named <= set(metrics.METRICS), text
        assert all(
            metrics.METRICS[name][0] == "counter" for name in re.findall(r"increase\((\w+)", text)
        )
        assert not re.search(r"_total\b", re.sub(r"increase\(\w+", "", text)), (
            "a counter is shown as it stands: it is reset at boot"
        )


def test_the_dashboard_asks_for_its_data_source_and_fits_together(dashboard):
    (asked_for,) = [
        variable["name"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "datasource"
    ]
    panels = dashboard["panels"]
    assert (
        len({panel["id"] for panel in panels})
        == len(panels)
        == len({panel["title"] for panel in panels})
    )
    taken = set()
    for panel in panels:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": f"${{{asked_for}}}"}
        place = panel["gridPos"]
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _y in squares) < 24 and not squares & taken, panel["title"]
        taken |= squares
