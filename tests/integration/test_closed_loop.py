"""Once round the circle with the real programs: a container leaks, and at the end an alert has
resolved because it had the node swept.

Only times are other than in earnest. The rules are a copy in which an alert needs seconds where it
needs minutes, Prometheus and Alertmanager look each second, and zombies count after one.
"""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
import yaml
from rig.daemon_node import Daemon
from rig.daemons import (
    Alertmanager,
    NodeExporter,
    Prometheus,
    Rulebook,
    documented,
    inside,
    modules_run,
)
from rig.node import CHECKOUT, wait_until

TOKEN = "token-of-the-test"
# Orphans: there is room, so others would be left to their parent, and raise no alert
LEAK = """
for _ in range(30):
    maker = os.fork()
    if maker == 0:
        os.setsid()
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(maker, 0)
ready()
forever()
"""
TIMEOUT = 300  # seconds; Prometheus, Alertmanager and Ansible all have to get their turn
OF_NODE1 = '{instance="node1:9100"}'


def hastened_rules() -> dict:
    """The rules as they are shipped, but for the times."""
    text = (CHECKOUT / "monitoring/prometheus_rules.yml").read_text()
    text, minutes = re.subn(r"for: \d+m$", "for: 2s", text, flags=re.M)
    text, ages = re.subn(r"zombie_age_seconds > 2700\b", "zombie_age_seconds > 2", text)
    assert (minutes, ages) == (6, 1)
    return yaml.safe_load(text)


def alertmanager_config(token_file, port) -> dict:
    """The one of the documentation, but for port, path and times."""
    config = documented("webhook_configs")
    for route in config["route"]["routes"]:
        route.update(group_wait="1s", group_interval="1s")
    (webhook,) = config["receivers"][1]["webhook_configs"]
    webhook["url"] = re.sub(r":\d+/", f":{port}/", webhook["url"])
    webhook["http_config"]["authorization"]["credentials_file"] = str(token_file)
    return config


@pytest.fixture
def start():
    """start(kind, ...): a program that is stopped when the test has ended, the last one first."""
    started = []

    def start(kind, *arguments, **named):
        started.append(kind(*arguments, **named))
        return started[-1]

    yield start
    for program in reversed(started):
        program.stop()


def test_an_alert_has_its_node_swept_and_resolves(node, tmp_path, start):
    # as in earnest: the sweep by Ansible knows what the agent has seen
    node.run_directory = Path("/run/zombie_reaper")
    (tmp_path / "textfiles").mkdir()
    (tmp_path / "token").write_text(TOKEN)
    hosts = {name: inside(node, tmp_path, name) for name in ("node1", "node2")}

    rulebook = start(Rulebook, tmp_path, hosts, TOKEN)
    alertmanager = start(
        Alertmanager, tmp_path, alertmanager_config(tmp_path / "token", rulebook.port)
    )
    exporter = start(NodeExporter, tmp_path, tmp_path / "textfiles")
    prometheus = start(
        Prometheus, tmp_path, hastened_rules(), {"node1:9100": exporter.port}, alertmanager.port
    )
    start(
        Daemon,
        node,
        tmp_path,
        "--remedies",
        "",
        "--min-age",
        "1",
        "--textfile-directory",
        str(tmp_path / "textfiles"),
    )
    assert prometheus.alerts() == []

    container = node.container(LEAK)
    wait_until(lambda: len(container.zombies()) == 30)
    wait_until(
        lambda: value(prometheus, "max_over_time(zombie_reaper_zombies%s[1h])") >= 30, TIMEOUT
    )
    assert value(prometheus, "zombie_reaper_report_only%s") == 1
    wait_until(
        lambda: prometheus.query(
            'count_over_time(ALERTS{alertname="NodeZombies", alertstate="firing"}[1h])'
        ),
        TIMEOUT,
    )
    wait_until(lambda: modules_run(tmp_path, "node1"), TIMEOUT)

    wait_until(lambda: not container.zombies(), TIMEOUT)  # seen with psutil
    assert container.alive and container.process.status() != psutil.STATUS_ZOMBIE
    # The agent may write what it saw before that sweep after it, and looks again a minute later
    wait_until(lambda: "NodeZombies" not in prometheus.alerts() + alertmanager.alerts(), TIMEOUT)
    wait_until(lambda: 0 <= value(prometheus, "zombie_reaper_zombies%s") < 20, TIMEOUT)
    assert (modules_run(tmp_path, "node1"), modules_run(tmp_path, "node2")) == (1, 0), (
        rulebook.text()
    )


def value(prometheus, expression) -> float:
    """Of node1, -1 as long as there is none. expression: with a place for the labels."""
    found = prometheus.query(expression % OF_NODE1)
    return float(found[0]["value"][1]) if found else -1.0
