"""The modules through real Ansible, on a node of their own: check mode, diff mode, changed,
waiting, errors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.node import CHECKOUT, ENGINE, PYTHON, ns_pids, offender_of, old_pythons

LEAK = "zombie()\nzombie()\nready()\nforever()"


class Ansible:
    """``ansible localhost -m MODULE`` inside a node. run: what there is in its /run at first."""

    def __init__(self, node, directory):
        self.node = node
        self.run = self.in_run()
        self.environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            # not that of ansible.cfg, beside which the summary is loaded
            "ANSIBLE_PLAYBOOK_DIR": str(directory),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
            "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        }

    def in_run(self) -> list:
        return self.node.run("ls", "-A", "/run").stdout.split()

    def __call__(self, module, *flags, python=sys.executable, **options):
        """(status, result): ``SUCCESS``, ``CHANGED`` or ``FAILED!``, and the module's result."""
        command = [
            str(Path(sys.executable).parent / "ansible"),
            "localhost",
            "-c",
            "local",
            "-m",
            module,
        ]
        if module.endswith(("zombie_reap", "zombie_info")):  # as LIKE_THE_SCRIPT of the rig
            options = {"pressure": 0, **options}
        command += ["-a", json.dumps(options)] if options else []
        command += ["-e", f"ansible_python_interpreter={python}", *flags]
        done = self.node.run(*command, env=self.environment, stdin=subprocess.DEVNULL, timeout=300)
        head, _arrow, text = done.stdout[done.stdout.index("localhost | ") :].partition(" => ")
        return head.split(" | ")[1], json.loads(text), done.stdout


@pytest.fixture
def ansible(node, tmp_path):
    return Ansible(node, tmp_path)


def test_a_sweep_changes_something_once(node, ansible):
    init = node.container(LEAK)
    status, dry, shown = ansible(
        "provider.fleet.zombie_reap", "--check", "--diff", min_age=0, grace=0.3
    )
    assert (status, dry["changed"]) == ("CHANGED", True)
    assert f"-PID {init.pids[1]} (python): 2 zombies" in shown
    assert init.alive and len(init.zombies()) == 2
    status, wet, shown = ansible("provider.fleet.zombie_reap", "--diff", min_age=0, grace=0.3)
    assert (status, wet["counts"]["cleared"]) == ("CHANGED", 2)
    assert f"-PID {init.pids[1]} (python): 2 zombies" in shown
    assert offender_of(dry, init)["remedies"] == offender_of(wet, init)["remedies"]
    assert init.alive and init.zombies() == []
    status, again, _shown = ansible("provider.fleet.zombie_reap", min_age=0, grace=0.3)
    assert (status, again["changed"], again["offenders"]) == ("SUCCESS", False, [])


def test_an_ad_hoc_sweep_waits_for_young_zombies_and_only_for_them(node, ansible):
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=86400)
    assert (status, result["offenders"]) == ("SUCCESS", []), "it has not waited for a day"
    init = node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=3, grace=0.3)
    assert status == "CHANGED"
    assert result["duration"] >= 3
    assert init.alive and init.zombies() == []


def test_check_mode_says_when_young_zombies_will_be_due_and_does_not_wait(node, ansible):
    init = node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_reap", "--check", min_age=86400)
    entry = offender_of(result, init)
    assert (status, entry["reason"]) == ("SUCCESS", "too_young")
    assert 0 < entry["due_in"] <= 86400
    assert result["summary"][0].startswith(
        "2 zombies on this node; would act on nothing yet, and on 1 parent within 86"
    )
    assert ansible.in_run() == ansible.run, "nothing was written"


def test_a_deferred_sweep_notes_young_zombies_and_sweeps_where_there_are_none(node, ansible):
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=86400, defer=True)
    assert (status, result["deferred"], result["check_mode"]) == ("SUCCESS", False, False)
    init = node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=86400, defer=True)
    assert (status, result["deferred"], result["check_mode"]) == ("SUCCESS", True, True)
    noted = node.run("cat", "/run/zombie_reaper/first_seen").stdout
    assert all(f"\n{zombie['pid']} " in noted for zombie in result["zombies"]["list"])
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=0, defer=True)
    assert (status, result["deferred"]) == ("CHANGED", False)
    assert init.alive and init.zombies() == []


def test_a_deferred_sweep_acts_on_nothing_even_where_others_are_due(node, ansible):
    node.container(LEAK)
    node.run_directory = Path("/run/zombie_reaper")  # of the node's own /run
    node.sweep(min_age=600)
    node.run("sed", "-i", r"s/\(.*\) .*$/\1 0.5/; 1s/ 0.5$//", "/run/zombie_reaper/first_seen")
    node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age=60, defer=True)
    assert (status, result["deferred"], result["zombies"]["left"]) == ("SUCCESS", True, 4)
    assert sorted(each["outcome"] for each in result["offenders"]) == ["left_alone", "would_act"]


DEFERRED = """
import json, sys
sys.path.append(sys.argv[1])
from reaper import pressure, report, sweep
from reaper.options import validate
from reaper.paths import Paths
pressure.FULL_SHARE = float(sys.argv[3])
done = sweep.sweep(validate({"min_age": 60, "pressure": 0}), Paths(run=sys.argv[2]), wait=True, defer=True)
print(json.dumps(report.as_dict(done)))
"""


@pytest.mark.parametrize("full_from, waits", [("0.95", True), ("0", False)])
def test_the_engine_does_nothing_but_note_where_it_defers(node, full_from, waits):
    """Unless the table is full. As the mutations can break it, which reach no module."""
    old = node.container(LEAK)
    node.sweep(min_age=600)
    seen = node.run_directory / "first_seen"
    node.run("sed", "-i", r"s/\(.*\) .*$/\1 0.5/; 1s/ 0.5$//", str(seen))
    young = node.container(LEAK)
    done = node.run(PYTHON, "-IS", "-c", DEFERRED, str(ENGINE), str(node.run_directory), full_from)
    result = json.loads(done.stdout)
    if not waits:
        assert (result["deferred"], result["changed"]) == (False, True)
        assert old.zombies() == []
        return
    assert (result["deferred"], result["changed"], result["zombies"]["left"]) == (True, False, 4)
    noted = [line.split()[0] for line in seen.read_text().splitlines()[1:]]
    assert {str(ns_pids(pid)[-2]) for pid in young.zombies()} <= set(noted)


def test_what_the_agent_has_seen_counts(node, ansible):
    """The first-seen times that a scheduled sweep noted spare the ad-hoc one the waiting."""
    node.container(LEAK)
    node.run_directory = Path("/run/zombie_reaper")  # of the node's own /run
    node.sweep(min_age=600)
    node.run("sed", "-i", r"s/\(.*\) .*$/\1 0.5/; 1s/ 0.5$//", "/run/zombie_reaper/first_seen")
    status, result, _shown = ansible("provider.fleet.zombie_reap", "--check", min_age=60)
    assert status == "CHANGED"
    assert result["offenders"][0]["oldest_age"] > 60


def test_metrics_are_renewed_where_the_agent_has_written_some(node, ansible, tmp_path):
    """And begun nowhere, since on a node without an agent nobody would renew them."""
    (tmp_path / "out").mkdir()
    told = tmp_path / "out/zombie_reaper.prom"
    node.container(LEAK)
    ansible("provider.fleet.zombie_reap", min_age=0, remedies=["reap"])
    assert not told.exists()
    node.run_directory = Path("/run/zombie_reaper")  # of the node's own /run
    node.sweep(textfile_directory=tmp_path / "out")
    before = told.read_text(encoding="utf-8")
    assert "\nzombie_reaper_sweeps_total 1\n" in before
    node.container(LEAK)
    ansible("provider.fleet.zombie_info", min_age=0)
    ansible("provider.fleet.zombie_reap", "--check", min_age=0)
    assert told.read_text(encoding="utf-8") == before
    ansible("provider.fleet.zombie_reap", min_age=0, remedies=["reap"])
    after = told.read_text(encoding="utf-8")
    assert (
        "\nzombie_reaper_sweeps_total 2\n" in after
        and '\nzombie_reaper_cleared_total{remedy="reap"} 2\n' in after
    )


def test_zombie_info_looks_and_never_acts(node, ansible):
    init = node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_info", min_age=0)
    assert (status, result["changed"]) == ("SUCCESS", False)
    assert offender_of(result, init)["verdict"] == "act"
    assert set(result["limits_settable"]) == {"pid_max", "threads_max"}
    assert ansible.in_run() == ansible.run
    assert init.alive and len(init.zombies()) == 2


def test_the_short_name_works_from_a_checkout(node, ansible):
    status, result, _shown = ansible("zombie_reap", "--check")
    assert (status, result["schema"]) == ("SUCCESS", 1)


WRONG = [
    ({"min_age": -5}, ["min_age", "-5", "from 0"]),
    ({"pressure": 1.5}, ["pressure", "1.5", "from 0 to 1"]),
    ({"min_usage": 0.0}, ["min_usage: this option was removed; use pressure"]),
    ({"act_within": 86400}, ["act_within: this option was removed; use pressure"]),
    ({"remedies": ["explode"]}, ["remedies", "explode", "reap, nudge, terminate"]),
    ({"protect": ["a(b"]}, ["protect", "a(b", "regular expression"]),
    ({"scope": "galaxy"}, ["scope", "galaxy", "containers, all"]),
    ({"min_agee": 1}, ["min_agee", "min_age"]),
]


def results_of(ansible, directory, *tasks, **play) -> list:
    """What came of these tasks of one play, which goes on where one fails."""
    play_tasks = [
        {**task, "ignore_errors": True, "register": f"result{number}"}
        for number, task in enumerate(tasks)
    ]
    content = "{{ [%s] | to_json }}" % ", ".join(task["register"] for task in play_tasks)
    play_tasks.append(
        {
            "ansible.builtin.copy": {
                "content": content,
                "dest": str(directory / "results"),
                "mode": "0644",
            }
        }
    )
    (directory / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": play_tasks, **play}]),
        encoding="ascii",
    )
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-c",
        "local",
        "-e",
        "ansible_python_interpreter=" + sys.executable,
    ]
    played = ansible.node.run(
        *command,
        directory / "play.yml",
        env=ansible.environment,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert "Traceback" not in played.stdout + played.stderr
    return json.loads((directory / "results").read_text(encoding="utf-8"))


def test_a_wrong_option_fails_the_module_with_one_sentence(node, ansible, tmp_path):
    init = node.container(LEAK)
    tasks = [
        {"provider.fleet.zombie_reap": {"min_age": 0, "pressure": 0, **options}}
        for options, _words in WRONG
    ]
    for (_options, words), result in zip(WRONG, results_of(ansible, tmp_path, *tasks)):
        assert result["failed"]
        assert all(word in result["msg"] for word in words), result["msg"]
    assert init.alive and len(init.zombies()) == 2
    assert ansible.in_run() == ansible.run


def test_defaults_for_the_action_group_reach_its_modules(ansible, tmp_path):
    tasks = [{"provider.fleet." + name: {}} for name in ("zombie_info", "zombie_reap")]
    results = results_of(
        ansible, tmp_path, *tasks, module_defaults={"group/provider.fleet.all": {"min_age": -5}}
    )
    assert [result["failed"] and "min_age: -5" in result["msg"] for result in results] == [
        True,
        True,
    ], results


def test_numbers_as_text_and_an_empty_answer_as_awx_sends_them(node, ansible):
    init = node.container(LEAK)
    status, result, _shown = ansible(
        "provider.fleet.zombie_reap",
        min_age="0",
        grace="0.3",
        max_parents="5",
        protect="",
        remedies="nudge,terminate",
    )
    assert (status, result["counts"]["cleared"]) == ("CHANGED", 2)
    assert init.ends()
    node.container(LEAK)
    status, result, _shown = ansible("provider.fleet.zombie_reap", min_age="0", remedies="")
    assert (status, result["offenders"][0]["reason"]) == ("SUCCESS", "report_only")
    status, result, _shown = ansible(
        "provider.fleet.zombie_reap", min_age="0", remedies="none", protect=None
    )
    assert (status, result["offenders"][0]["reason"]) == ("SUCCESS", "report_only")


def test_a_name_with_a_template_in_it_is_not_interpreted(node, ansible):
    node.container("open('/proc/self/comm', 'w').write('{{ 1/0 }}')\n" + LEAK)
    _status, result, _shown = ansible("provider.fleet.zombie_info")
    assert result["offenders"][0]["name"] == "{{ 1/0 }}"


@pytest.mark.full
def test_an_old_python_on_the_node_is_told_so(node, ansible):
    """Ansible itself needs 3.8 on a node, the engine 3.9."""
    pythons = [path for path, version in old_pythons() if version == (3, 8)]
    if not pythons:
        pytest.skip("this machine has no Python 3.8")
    for module in ("zombie_reap", "zombie_info", "zombie_reaper_agent"):
        status, result, shown = ansible("provider.fleet." + module, "--check", python=pythons[0])
        assert status == "FAILED!"
        assert "Python 3.9 or later is needed" in result["msg"]
        assert "Traceback" not in shown
