"""The agent as a daemon, on the node that runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[3]
NODE = "fleet-daemon"
SERVICE = "zombie-reaper.service"
CONFIG = "/etc/zombie_reaper/config.json"
# include/uapi/linux/capability.h
CAPABILITIES = {
    "DAC_OVERRIDE": 1,
    "KILL": 5,
    "IPC_LOCK": 14,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_NICE": 23,
}


@pytest.fixture(scope="module")
def node():
    return testinfra.get_host("podman://" + NODE)


@pytest.fixture
def agent(node) -> int:
    """Its PID."""
    return int(shown(node, "MainPID"))


def shown(node, name) -> str:
    """A property of the service, according to systemd."""
    return node.check_output("systemctl show --property=%s --value %s", name, SERVICE)


def status_of(node, pid) -> dict:
    return dict(
        line.split(":\t", 1) for line in node.check_output("cat /proc/%d/status" % pid).splitlines()
    )


def hard_limit(node, pid, name) -> int:
    """0 for none."""
    [line] = [
        line
        for line in node.check_output("cat /proc/%d/limits" % pid).splitlines()
        if line.startswith(name)
    ]
    value = line[len(name) :].split()[1]
    return 0 if value == "unlimited" else int(value)


def until(condition, seconds=180):
    """What the condition returns once that is true, or what it returned last before the timeout."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def said(node) -> str:
    """The daemon's status, in one line."""
    return node.run("zombie-reaper --status").stdout


def watching(node, other_than=0) -> int:
    """The PID of the daemon that reports that it watches the node; 0 if there is none other than
    that one.
    """
    found = re.match(r"PID (\d+) has watched", said(node))
    return int(found.group(1)) if found and int(found.group(1)) not in (0, other_than) else 0


def cleared(node) -> int:
    """How many zombies the daemon has cleared since its start."""
    return json.loads(node.check_output("zombie-reaper --status --json"))["cleared"] or 0


def clears_another_zombie(node) -> bool:
    """Whether the daemon clears another zombie of a container's PID 1, which adopts a child that it
    does not wait for. Nobody has to see the zombie in the meantime.
    """
    pid = json.loads(node.check_output("runc state leaky-init"))["pid"]
    before = cleared(node)
    node.check_output("nsenter --target %d --pid --mount /bin/sh -c 'busybox sleep 0.3 &'" % pid)
    return until(lambda: cleared(node) > before and not zombies_of(node, pid))


def zombies_of(node, pid) -> list[str]:
    return node.run("ps --ppid %d --no-headers -o pid,stat | grep -w Z" % pid).stdout.splitlines()


def apply(**options) -> str:
    """Apply the role to this node, as an operator would."""
    extra = {"zombie_reaper_" + name: value for name, value in options.items()}
    done = subprocess.run(
        [
            "ansible-playbook",
            "--inventory",
            SCENARIO / "inventory",
            "--limit",
            NODE,
            "--extra-vars",
            json.dumps(extra),
            ROOT / "playbooks/site.yml",
        ],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def broken_configuration(node):
    node.check_output("cp %s /root/config.json && echo '{\"min_age\": -1}' >%s", CONFIG, CONFIG)
    yield
    node.check_output("cp /root/config.json %s && rm /root/config.json", CONFIG)


def test_it_is_there_now_and_after_a_boot(node):
    service = node.service(SERVICE)
    assert service.is_running
    assert service.is_enabled
    assert node.check_output("systemd-analyze verify %s 2>&1", SERVICE) == ""
    assert until(lambda: "every 2 s" in said(node)), said(node)


def test_it_may_do_what_it_needs_and_no_more(node, agent):
    status = status_of(node, agent)
    mask = "%016x" % sum(1 << bit for bit in CAPABILITIES.values())
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [mask] * 3
    assert status["NoNewPrivs"] == "1"
    assert status["Threads"] == "1"
    mounts = [
        line.split()[4:6]
        for line in node.check_output("cat /proc/%d/mountinfo" % agent).splitlines()
    ]
    assert sorted(point for point, flags in mounts if "rw" in flags.split(",")) == [
        "/run/zombie_reaper",
        "/var/lib/prometheus/node-exporter",
    ]


def test_it_has_no_seccomp_filter_that_pid_1_has_not(node, agent):
    """With a filter of its own, the kernel would not let the daemon suspend a container's. systemd
    can confine a service without a filter in only a few ways.
    """
    assert status_of(node, agent)["Seccomp"] == status_of(node, 1)["Seccomp"]


def test_it_has_no_network(node, agent):
    assert node.check_output("readlink /proc/%d/ns/net" % agent) != node.check_output(
        "readlink /proc/1/ns/net"
    )
    assert len(node.check_output("cat /proc/%d/net/route" % agent).splitlines()) == 1  # the header


def test_its_memory_is_locked(node, agent):
    status = status_of(node, agent)
    assert int(status["VmLck"].split()[0]) >= int(status["VmRSS"].split()[0]) * 0.9 > 0


def test_it_is_the_last_to_go_and_has_room(node, agent):
    """As far as the test machine allows PID 1 of this node (CAP_SYS_RESOURCE)."""
    assert shown(node, "OOMScoreAdjust") == "-1000"
    allowed = node.run(
        "sh -c 'echo -1000 >/proc/self/oom_score_adj && cat /proc/self/oom_score_adj'"
    )
    expected = (
        allowed.stdout if allowed.succeeded else node.check_output("cat /proc/1/oom_score_adj")
    )
    assert node.check_output("cat /proc/%d/oom_score_adj" % agent).strip() == expected.strip()

    assert shown(node, "TasksMax") == "4"
    cgroup = shown(node, "ControlGroup")
    # Not if systemd has no pids controller to configure, as with cgroup v1 here
    pids_max = node.run("cat /sys/fs/cgroup%s/pids.max", cgroup)
    assert pids_max.failed or pids_max.stdout.strip() == "4"

    hard = hard_limit(node, 1, "Max open files")
    assert hard_limit(node, agent, "Max open files") == (min(hard, 65536) if hard else 65536)


def test_reload_with_a_wrong_configuration_keeps_the_one_of_before(
    node, agent, broken_configuration
):
    node.check_output("systemctl reload %s", SERVICE)
    assert until(lambda: "config.json: min_age: -1 is not allowed" in said(node)), said(node)
    assert shown(node, "MainPID") == str(agent)
    assert clears_another_zombie(node), "with the options of before it would be gone"
    node.check_output("cp /root/config.json %s && systemctl reload %s", CONFIG, SERVICE)
    assert until(lambda: watching(node) and "the previous configuration" not in said(node)), said(
        node
    )
    assert shown(node, "MainPID") == str(agent)


def known(node) -> tuple:
    """When it first saw the zombie of a service, which it leaves alone, and which parents it has
    helped.
    """
    parent = node.check_output("systemctl show --property=MainPID --value leaky-host")
    [zombie] = zombies_of(node, int(parent))
    lines = [
        line.split()
        for line in node.check_output("cat /run/zombie_reaper/first_seen").splitlines()[1:]
    ]
    helped = node.check_output("cat /run/zombie_reaper/collected").splitlines()[1:]
    return [line for line in lines if line[0] == zombie.split()[0]], sorted(
        line.split()[:2] for line in helped
    )


def test_killed_it_comes_back_and_knows_what_it_knew(node, agent):
    before = known(node)
    assert all(before), before
    node.check_output("systemctl kill --signal=KILL %s", SERVICE)
    assert until(lambda: watching(node, other_than=agent)), node.run(
        "systemctl status --no-pager %s", SERVICE
    ).stdout
    assert int(shown(node, "NRestarts")) >= 1
    assert until(lambda: json.loads(node.check_output("zombie-reaper --status --json"))["sweeps"])
    assert known(node) == before
    assert clears_another_zombie(node)


def test_the_role_has_it_take_new_options_without_a_restart(node, agent):
    def reloads():
        return node.check_output("journalctl --no-pager --output=cat _PID=%d" % agent).count(
            "the configuration was reloaded"
        )

    before = reloads()
    done = apply(min_age=4)
    assert "changed=2 " in done, done  # the file, and the reload
    assert until(lambda: reloads() == before + 1)
    assert shown(node, "MainPID") == str(agent)


def test_the_role_has_it_run_the_new_engine(node, agent):
    """And the options of the inventory, which the previous test changed, are back."""
    node.check_output(
        "echo '# of an older version' >>/usr/local/lib/zombie_reaper/kernel/limits.py"
    )
    apply()
    assert until(lambda: watching(node, other_than=agent)), said(node)
    assert json.loads(node.file(CONFIG).content_string)["min_age"] == 3


def test_the_role_mends_one_that_cannot_start(node, agent):
    """Somebody broke its configuration by hand, and then the node booted."""
    node.check_output("echo '{' >%s && systemctl kill --signal=KILL %s", CONFIG, SERVICE)
    assert until(
        lambda: (
            "is not JSON"
            in node.check_output("journalctl --no-pager --output=cat --unit=%s --lines=20", SERVICE)
        )
    )
    apply()
    assert until(lambda: watching(node, other_than=agent)), said(node)
    assert "the previous configuration" not in said(node)
