"""playbooks/report.yml on real nodes, each a host of its own: what is in the report, who failed,
what is left of a bad directory, and check mode.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import signal
import sqlite3
from pathlib import Path

import pytest
from rig.node import PYTHON, Node
from rig.own_cgroup import own_cgroup
from rig.playbook import Here, Playbook

LEAK = "zombie()\nzombie()\nready()\nforever()"
LEAK_AGAIN = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
zombie()
ready()
signal.sigwait([signal.SIGUSR1])
zombie()
ready()
forever()
"""
HOSTILE = "open('/proc/self/comm', 'w').write('<script>alert(1)</script>')\n" + LEAK
# Without pipelining, or Ansible may tell that it could not write to an ssh that has ended, and not
# what that said
AWAY = {
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_pipelining": False,
}
ODD = '{"changed": false, "counts": {"zombies": "many"}, "limits": {}, "offenders": []}'
NAMES = ["fleet.csv", "fleet.html", "fleet.json", "history.sqlite"]


def as_host(node, directory) -> dict:
    """Variables of a host that is this node: its Python is one in the namespaces of the node."""
    python = directory / "python-in-node"
    python.write_text(f'#!/bin/sh\nexec {shlex.join(node.enter)} {PYTHON} "$@"\n')
    python.chmod(0o755)
    return {"ansible_python_interpreter": str(python)}


class Fleet:
    """Two nodes, each alone in its cgroup, and the playbook; dest: where its reports go."""

    def __init__(self, directory, stack):
        self.nodes, self.cgroups, self.hosts = [], [], {}
        for name in ("node1", "node2"):
            (directory / name).mkdir()
            self.cgroups.append(stack.enter_context(own_cgroup("pids")))
            self.nodes.append(Node(directory / name, cgroup=self.cgroups[-1]))
            stack.callback(self.nodes[-1].stop)
            self.hosts[name] = as_host(self.nodes[-1], directory / name)
        self.dest = directory / "a" / "reports"
        self.playbook = Playbook(Here, directory, "report.yml")

    def __call__(self, *flags, hosts=None, **variables):
        variables = {
            "zombie_reaper_report_dest": str(self.dest),
            "zombie_reaper_min_age": 0,
            "zombie_reaper_pressure": 0,
            **variables,
        }
        hosts = {
            name: {"ansible_python_interpreter": PYTHON, **values}
            for name, values in (hosts or self.hosts).items()
        }
        return self.playbook(*flags, hosts=hosts, ansible_python_interpreter=None, **variables)

    def told(self):
        return json.loads((self.dest / "fleet.json").read_text(encoding="utf-8"))


@pytest.fixture
def fleet(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Fleet(tmp_path, stack)


def test_a_report_of_two_nodes(fleet):
    """One that was swept, by an agent of its own, and leaks again; and one with a hostile name."""
    first, second = fleet.nodes
    in_run = second.run("ls", "-A", "/run").stdout
    swept = first.container(LEAK_AGAIN)
    first.run_directory = Path("/run/zombie_reaper")
    assert first.sweep()["counts"]["cleared"] == 1
    os.kill(swept.process.pid, signal.SIGUSR1)
    assert swept.popen.stdout.readline() == b"ready\n"
    hostile = second.container(HOSTILE)
    played = fleet()
    assert played.succeeded, played.text
    assert [counts["changed"] for counts in played.recap.values()] == [0, 0]
    assert sorted(os.listdir(fleet.dest)) == NAMES
    told = fleet.told()
    assert [
        (row["host"], row["name"], row["zombies"], row["verdict"]) for row in told["offenders"]
    ] == [("node2", "<script>alert(1", 2, "act"), ("node1", "python", 1, "act")]
    assert [
        (row["host"], row["remedy"], row["cleared"], row["ended"]) for row in told["actions"]
    ] == [("node1", "reap", 1, False)]
    assert {row["host"]: row["zombies"] for row in told["inits"]} == {"node1": 1, "node2": 2}
    assert (
        told["totals"]["nodes"],
        told["totals"]["looked"],
        told["totals"]["swept"],
        told["totals"]["cleared"],
    ) == (2, 2, 1, 1)
    page = (fleet.dest / "fleet.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1" in page and "<script>alert" not in page
    with open(fleet.dest / "fleet.csv", encoding="utf-8", newline="") as file:
        assert {(row["kind"], row["host"]) for row in csv.DictReader(file)} == {
            ("node", "node1"),
            ("node", "node2"),
            ("offender", "node1"),
            ("offender", "node2"),
            ("init", "node1"),
            ("init", "node2"),
            ("action", "node1"),
        }
    assert (
        swept.alive and len(swept.zombies()) == 1 and hostile.alive and len(hostile.zombies()) == 2
    ), "nothing was done"
    assert second.run("ls", "-A", "/run").stdout == in_run


def test_a_note_for_the_tenant_of_a_pod(fleet):
    """The pod is told by its cgroup and by a log directory, both made by hand."""
    first, second = fleet.nodes
    uid = "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d"
    assert first.run("mkdir", "-p", f"/var/log/pods/shop_web-0_{uid}").returncode == 0
    program = first.container(HOSTILE)
    container = fleet.cgroups[0].below(f"pod{uid}").below("4f" * 32)
    for process in [program.process, *program.process.children()]:
        container.add(process.pid)
    second.container(LEAK)
    played = fleet()
    assert played.succeeded, played.text
    assert sorted(os.listdir(fleet.dest)) == sorted([*NAMES, "tenants"])
    assert os.listdir(fleet.dest / "tenants") == ["namespace-shop.md"]
    note = (fleet.dest / "tenants/namespace-shop.md").read_text(encoding="utf-8")
    assert "# Zombie processes in namespace `shop`" in note and "2 zombies in your" in note
    assert "`<script>alert(1`" in note and "node1" not in note
    program.stop()
    assert fleet().succeeded
    assert os.listdir(fleet.dest / "tenants") == [], "it has been cured"


def test_nodes_that_fail_are_in_the_report_and_fail_the_playbook(fleet):
    """Even the first, of which Ansible takes what is done once."""
    fleet.nodes[0].container(LEAK)
    hosts = {
        "a<b>": AWAY,
        "lacks_python": {"ansible_python_interpreter": "/nonexistent/python3"},
        **fleet.hosts,
    }
    played = fleet(hosts=hosts)
    assert not played.succeeded
    assert {host: counts["failed"] for host, counts in played.recap.items()} == {
        "a<b>": 1,
        "lacks_python": 1,
        "node1": 0,
        "node2": 0,
    }
    assert (
        "4 nodes: 2 checked, 1 failed, 1 unreachable" in played.text.partition("\nZOMBIES ***")[2]
    )
    told = fleet.told()
    failed = {
        node["host"]: (node["state"], node["why"])
        for node in told["nodes"]
        if node["state"] != "looked"
    }
    assert {host: state for host, (state, _why) in failed.items()} == {
        "a<b>": "unreachable",
        "lacks_python": "failed",
    }
    assert "refused" in failed["a<b>"][1] and "/nonexistent/python3" in failed["lacks_python"][1]
    assert [row["host"] for row in told["offenders"]] == ["node1"]
    page = (fleet.dest / "fleet.html").read_text(encoding="utf-8")
    assert "a&lt;b&gt;" in page and "2 nodes could not be checked" in page
    assert "Traceback" not in played.text


def test_a_node_whose_answer_cannot_be_read_is_in_the_report_and_fails(fleet, tmp_path):
    fleet.nodes[0].container(LEAK)
    odd = tmp_path / "odd"
    odd.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{ODD}'\n", encoding="utf-8")
    odd.chmod(0o755)
    hosts = {**fleet.hosts, "odd": {"ansible_python_interpreter": str(odd)}}
    played = fleet(hosts=hosts)
    assert {host: counts["failed"] for host, counts in played.recap.items()} == {
        "node1": 0,
        "node2": 0,
        "odd": 1,
    }
    why = "its answer cannot be read: counts.zombies is 'many', not a number"
    assert why in " ".join(played.text.split()) and "Traceback" not in played.text
    told = fleet.told()
    odd_node = next(node for node in told["nodes"] if node["host"] == "odd")
    assert (odd_node["state"], odd_node["why"], odd_node["zombies"]) == ("failed", why, None)
    assert told["totals"]["zombies"] == 2
    with open(fleet.dest / "fleet.csv", encoding="utf-8", newline="") as file:
        zombies = {row["host"]: row["zombies"] for row in csv.DictReader(file)}
    assert zombies["odd"] == "" and zombies["node2"] == "0"


def test_where_all_fail_there_is_a_report_all_the_same(fleet):
    played = fleet(hosts={"away1": AWAY, "away2": AWAY})
    assert not played.succeeded
    assert {host: counts["failed"] for host, counts in played.recap.items()} == {
        "away1": 1,
        "away2": 1,
    }
    assert "None of 2 nodes could be checked." in (fleet.dest / "fleet.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.full
def test_two_clusters_with_the_same_names_have_a_history_each(fleet):
    fleet.nodes[0].container(LEAK)
    assert fleet(zombie_reaper_cluster="east").succeeded
    assert fleet(hosts={"node1": fleet.hosts["node2"]}, zombie_reaper_cluster="west").succeeded
    assert sorted(os.listdir(fleet.dest)) == ["east", "west"]
    for cluster, zombies in (("east", 2), ("west", 0)):
        assert sorted(os.listdir(fleet.dest / cluster)) == NAMES
        connection = sqlite3.connect(fleet.dest / cluster / "history.sqlite")
        found = connection.execute("SELECT zombies FROM nodes WHERE host = 'node1'").fetchall()
        connection.close()
        assert found == [(zombies,)]


@pytest.mark.full
def test_a_limit_and_runs_one_after_the_other(fleet):
    fleet.nodes[1].container(LEAK)
    assert fleet().succeeded
    played = fleet("--limit", "node2")
    assert played.succeeded, played.text
    assert [node["host"] for node in fleet.told()["nodes"]] == ["node2"]
    assert fleet.told()["limit"] == "node2" and "Only nodes of --limit node2 were asked." in (
        fleet.dest / "fleet.html"
    ).read_text(encoding="utf-8")
    connection = sqlite3.connect(fleet.dest / "history.sqlite")
    assert connection.execute(
        "SELECT run, host, zombies FROM nodes ORDER BY run, host"
    ).fetchall() == [(1, "node1", 0), (1, "node2", 2), (2, "node2", 2)]
    connection.close()
    played = fleet("--limit", "nobody")
    assert sorted(os.listdir(fleet.dest)) == NAMES and len(fleet.told()["nodes"]) == 1, played.text


@pytest.mark.full
def test_check_mode_writes_nothing_and_says_what_it_would(fleet):
    played = fleet("--check")
    assert played.succeeded, played.text
    assert not fleet.dest.parent.exists()
    for name in NAMES:
        assert f"{fleet.dest}/{name}" in " ".join(played.text.split())
    assert "Would write" in played.text
    assert fleet().succeeded
    before = {file: (fleet.dest / file).read_bytes() for file in NAMES}
    assert fleet("--check").succeeded
    assert {file: (fleet.dest / file).read_bytes() for file in os.listdir(fleet.dest)} == before


def a_file(path):
    path.parent.mkdir()
    path.write_text("precious")


def below_a_file(path):
    path.parent.write_text("precious")


@pytest.mark.parametrize(
    "flags", [(), pytest.param(("--check",), marks=pytest.mark.full)], ids=["really", "check"]
)
@pytest.mark.parametrize(
    "spoil",
    [pytest.param(a_file, marks=pytest.mark.full), below_a_file],
    ids=lambda function: function.__name__,
)
def test_a_bad_directory_is_told_in_one_sentence(fleet, spoil, flags):
    spoil(fleet.dest)
    played = fleet(*flags)
    assert not played.succeeded
    assert f"the report cannot be written to {fleet.dest}" in " ".join(played.text.split())
    assert "Traceback" not in played.text
    assert {host: counts["failed"] for host, counts in played.recap.items()} == {
        "localhost": 1,
        "node1": 0,
        "node2": 0,
    }, "it is no fault of a node"
    assert "2 nodes: 2 checked" in played.text.partition("\nZOMBIES ***")[2]


@pytest.mark.full
def test_a_bad_directory_fails_the_playbook_where_a_limit_leaves_out_the_controller(fleet):
    below_a_file(fleet.dest)
    played = fleet("--limit", "node2")
    assert not played.succeeded
    assert "the report cannot be written" in played.error("node2")


@pytest.mark.full
def test_a_job_of_awx_is_told_that_its_own_directory_is_lost(fleet, monkeypatch, tmp_path):
    fleet.playbook.environment["AWX_PRIVATE_DATA_DIR"] = "/tmp/awx_1"
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    for dest, is_lost in (("zombie-reports", True), (str(tmp_path / "kept"), False)):
        played = fleet(zombie_reaper_report_dest=dest)
        assert played.succeeded, played.text
        told = "That directory is gone when this job of AWX ends"
        assert (told in " ".join(played.text.split())) is is_lost


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"zombie_reaper_report_keep_days": 0}, "keep_days is 0, but must be from 1 to 36500"),
        pytest.param(
            {"zombie_reaper_report_keep_days": "soon"}, "keep_days", marks=pytest.mark.full
        ),
        pytest.param(
            {"zombie_reaper_cluster": "../east"},
            "cluster is '../east', but must begin with",
            marks=pytest.mark.full,
        ),
        pytest.param({"zombie_reaper_report_dest": " "}, "dest is ' '", marks=pytest.mark.full),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(fleet, variables, words):
    played = fleet(**variables)
    assert not played.succeeded
    assert words in " ".join(played.text.split()) and "Traceback" not in played.text
    assert not fleet.dest.exists()


@pytest.mark.full
def test_a_damaged_history_fails_the_playbook_and_the_rest_is_written(fleet):
    fleet.dest.mkdir(parents=True)
    (fleet.dest / "history.sqlite").write_bytes(b"x" * 4096)
    played = fleet()
    assert not played.succeeded
    assert f"Trends are missing: {fleet.dest}/history.sqlite is damaged" in " ".join(
        played.text.split()
    )
    assert "Traceback" not in played.text
    assert (fleet.dest / "history.sqlite").read_bytes() == b"x" * 4096
    assert "There are no trends" in (fleet.dest / "fleet.html").read_text(encoding="utf-8")
