"""The nodes of a fleet do not sweep all at once: cron and the timer have each begin at a moment of
its own, the same at every run of the role.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from rig.node import CHECKOUT
from rig.own_cgroup import own_cgroup

ROLE = CHECKOUT / "roles/zombie_reaper"
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
COMMAND = "/usr/local/bin/kill_zombie_parents.sh --syslog"
RENDERED = """
{%% set found = {} %%}
{%% for host in groups['all'] %%}
{%%   set cron = lookup('ansible.builtin.template', '%(templates)s/cron.j2', template_vars={'inventory_hostname': host}) %%}
{%%   set timer = lookup('ansible.builtin.template', '%(templates)s/zombie-reaper.timer.j2', template_vars={'inventory_hostname': host}) %%}
{%%   set _ = found.update({host: [cron.splitlines() | last, timer]}) %%}
{%% endfor %%}
{{ found | to_json }}
""" % {"templates": ROLE / "templates"}
PLAY = [
    {
        "name": "Render",
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [
            {
                "name": "Write",
                "ansible.builtin.copy": {
                    "dest": "{{ rendered }}",
                    "content": RENDERED,
                    "mode": "0644",
                },
                "delegate_to": "localhost",
                "run_once": True,
            }
        ],
    }
]


@pytest.fixture
def render(tmp_path, core, run):
    """render(minutes, *hosts): {host: (the job of cron, the timer)}, as the role writes them."""

    def render(minutes, *hosts):
        (tmp_path / "play.yml").write_text(json.dumps(PLAY), encoding="ascii")
        (tmp_path / "hosts.json").write_text(
            json.dumps({"all": {"hosts": dict.fromkeys(hosts, {})}}), encoding="ascii"
        )
        run(
            core / "ansible-playbook",
            "-i",
            tmp_path / "hosts.json",
            tmp_path / "play.yml",
            "-e",
            f"rendered={tmp_path}/rendered",
            "-e",
            f"zombie_reaper_every_minutes={minutes}",
            cwd=CHECKOUT,
            ANSIBLE_CONFIG=str(CHECKOUT / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=str(CHECKOUT / ".cache/collections"),
        )
        return json.loads((tmp_path / "rendered").read_text(encoding="utf-8"))

    return render


@pytest.mark.parametrize(
    "minutes",
    [5, pytest.param(1, marks=pytest.mark.full), pytest.param(30, marks=pytest.mark.full)],
)
def test_each_node_has_a_moment_of_its_own(render, minutes):
    hosts = [f"worker{number}.example.org" for number in range(12)]
    jobs = render(minutes, *hosts)
    moments = set()
    for job, timer in jobs.values():
        found = re.fullmatch(
            rf"(\d+)-59/{minutes} \* \* \* \* root trap 'exec {re.escape(COMMAND)}' EXIT;"
            r" sleep (\d+)",
            job,
        )
        assert found and int(found[1]) < minutes and int(found[2]) < 60
        assert "%" not in job, "which cron makes a newline of"
        moments.add(found.groups())
        assert (
            f"\nOnCalendar=*:0/{minutes}\n" in timer
            and f"\nRandomizedDelaySec={minutes}min\nFixedRandomDelay=yes\n" in timer
        )
    assert len(moments) >= (6 if minutes == 1 else 9), "of 60 or more there are"
    assert render(minutes, hosts[3])[hosts[3]] == jobs[hosts[3]], "and it keeps it"


def test_every_ansible_gives_a_node_the_same_moment(render):
    """Else each upgrade of the controller would change the schedule of all nodes."""
    assert (
        render(5, "worker1.example.org")["worker1.example.org"][0]
        == f"1-59/5 * * * * root trap 'exec {COMMAND}' EXIT; sleep 28"
    )


def lines_of(shell, script, *before) -> list:
    inner = [*(["busybox", "sh"] if shell == "busybox" else [shell]), "-c", script]
    done = subprocess.run(
        [*before, *inner], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_it_sweeps_after_the_pause_and_at_once_where_no_process_can_be_started(shell):
    """By the shells that are /bin/sh somewhere. Without the trap each of them would end, and
    nothing be swept on a node whose table is full.
    """
    job = (
        (ROLE / "templates/cron.j2")
        .read_text(encoding="utf-8")
        .splitlines()[-1]
        .partition(" root ")[2]
    )
    command = COMMAND.replace("/usr/local", "{{ zombie_reaper_prefix }}")
    script = job.replace(command, "/bin/echo swept").partition("sleep")[0]
    assert script == "trap 'exec /bin/echo swept' EXIT; "
    assert lines_of(shell, script + "sleep 0") == ["swept"]
    with own_cgroup("pids") as full:
        full.write("pids.max", 1)
        assert lines_of(shell, script + "sleep 600", *full.entering) == ["swept"]
        assert lines_of(shell, "sleep 600; exec /bin/echo swept", *full.entering) == [], (
            "the limit is one"
        )
