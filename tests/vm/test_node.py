"""A node as Debian makes it, a virtual machine with systemd, reached by a real ssh: the playbooks,
what cron, the timer and the daemon do about containers that leak, and what is left of that after a
reboot.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from rig.playbook import Here, Playbook
from rig.slowness import scaled

from vm import kernels

pytestmark = [pytest.mark.full, pytest.mark.kernels]
RUNS = (kernels.NODE,)
THREADS_MAX = 98_765  # more than a machine with this memory has
OPTIONS = {
    "zombie_reaper_min_age": 3,
    "zombie_reaper_pressure": 0.0,  # as if there were always too little room
    "zombie_reaper_every_minutes": 1,
    "zombie_reaper_manage_sysctl": True,
    "zombie_reaper_threads_max": THREADS_MAX,
}
# A container of a pod, whose PID 1 never asks for the child that it got from a shell. That must not
# end before the exec, or the shell might still wait for it.
LEAKY = """
set -e
scope=/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice
scope=$scope/cri-containerd-{container}.scope
mkdir -p "$scope" /var/log/pods/tenant_web_{uid}
setsid unshare --pid --fork --kill-child --mount-proc sh -c 'echo 0 >"$0/cgroup.procs"
    sleep 0.5 & exec sleep 100000' "$scope" </dev/null >/dev/null 2>&1 &
until ps -eo stat,cgroup:200 | grep "^Z.*{container}" >/dev/null; do sleep 0.2; done
pgrep --full --exact 'sleep 100000' --newest
"""
SCHEDULES = """
ls -d /etc/cron.d/kill_zombie_parents /etc/systemd/system/*zombie* /etc/systemd/system/*/*zombie* 2>/dev/null
systemctl is-active zombie-reaper.timer zombie-reaper.service
true
"""
CRON = ["/etc/cron.d/kill_zombie_parents", "inactive", "inactive"]
DAEMON = [
    "/etc/systemd/system/multi-user.target.wants/zombie-reaper.service",
    "/etc/systemd/system/zombie-reaper.service",
    "inactive",
    "active",
]
TIMER = [
    "/etc/systemd/system/timers.target.wants/zombie-reaper.timer",
    "/etc/systemd/system/zombie-reaper.service",
    "/etc/systemd/system/zombie-reaper.timer",
    "active",
]
INSTALLED = """
find / -xdev -iname '*zombie[-_]*' ! -path '/checkout/*' ! -path '/proc/*' ! -path '/var/log/*'
"""


class VirtualNode:
    """The machine, as Ansible sees it, and containers that leak in it."""

    def __init__(self, machine, directory):
        self.machine = machine
        self.directory = directory
        self.seconds = 600 * max(1.0, machine.slowness)
        self.digits = iter("123456789")

    def play(self, name, **variables):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        played = Playbook(Here, directory, name, self.seconds)(
            hosts={"node": self.variables},
            ansible_python_interpreter=None,
            ansible_become=None,
            **variables,
        )
        assert played.succeeded, played.text
        return played

    @property
    def variables(self) -> dict:
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.machine.ssh_port,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": False,
            "ansible_ssh_private_key_file": str(self.machine.key),
            "ansible_ssh_common_args": (
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=300"
            ),
        }

    def run(self, script) -> str:
        return self.machine.output_of(script, self.seconds)

    def leak(self) -> tuple:
        """(PID, ID) of one more container that has a zombie."""
        digit = next(self.digits)
        uid = "-".join(digit * length for length in (8, 4, 4, 4, 12))
        container = digit * 64
        script = LEAKY.format(uid=uid, slice=uid.replace("-", "_"), container=container)
        return int(self.run(script).split()[-1]), container

    def assert_swept(self):
        """That what is scheduled collects the zombie of one more container, and that goes on."""
        parent, container = self.leak()
        deadline = time.monotonic() + self.seconds
        while self.run(f"ps --no-headers --ppid {parent} -o stat || true").strip():
            assert time.monotonic() < deadline, self.run("journalctl --no-pager --lines=50")
            time.sleep(scaled(1))
        assert self.run(f"ps --no-headers -p {parent} -o args").strip() == "sleep 100000"
        assert f"in container {container[:12]} of pod tenant/web: 1 orphan" in self.run(
            "journalctl --no-pager --identifier=zombie_reaper"
        )

    def schedules(self) -> list:
        return self.run(SCHEDULES).split()

    def threads_max(self) -> int:
        return int(self.run("cat /proc/sys/kernel/threads-max"))


def site_by_ssh_and_cron(node):
    node.play("site.yml", **OPTIONS)
    assert node.play("site.yml", **OPTIONS).recap["node"]["changed"] == 0
    assert node.schedules() == CRON
    assert node.threads_max() == THREADS_MAX
    node.assert_swept()


def cron_after_a_reboot(node):
    node.machine.reboot()
    assert node.schedules() == CRON
    assert node.threads_max() == THREADS_MAX
    node.assert_swept()


def timer(node):
    node.play("site.yml", zombie_reaper_schedule="timer", **OPTIONS)
    assert node.schedules()[:-1] == TIMER
    node.assert_swept()


def daemon_before_and_after_a_reboot(node):
    node.play("site.yml", zombie_reaper_schedule="daemon", **OPTIONS)
    assert node.schedules() == DAEMON
    node.assert_swept()
    node.machine.reboot()
    assert node.schedules() == DAEMON
    assert node.threads_max() == THREADS_MAX
    node.assert_swept()


def audit_and_look(node):
    node.leak()
    audit = node.play("audit.yml", zombie_reaper_probe=True)
    assert re.search(r"0 collect orphans, [1-9]\d* leak, 0 unknown", audit.text), audit.text
    assert node.play("look.yml").recap["node"]["changed"] == 0


def uninstall(node):
    node.play("uninstall.yml")
    assert node.run(INSTALLED) == ""
    node.machine.reboot()
    assert node.threads_max() != THREADS_MAX


STEPS = (
    site_by_ssh_and_cron,
    cron_after_a_reboot,
    timer,
    daemon_before_and_after_a_reboot,
    audit_and_look,
    uninstall,
)


def test_node(machine, suite, note, tmp_path):
    assert suite == kernels.NODE
    node = VirtualNode(machine, Path(tmp_path))
    for passed, step in enumerate(STEPS):
        try:
            step(node)
        except BaseException:
            note(passed=passed, failed=1)
            raise
    note(passed=len(STEPS))
