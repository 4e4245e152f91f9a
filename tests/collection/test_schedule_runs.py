"""A schedule that cannot run is none: the role starts cron, the timer or the daemon again, for the
next boot too. On a node with systemd.
"""

from __future__ import annotations

import os
import subprocess

import pytest
from rig.node import CHECKOUT, wait_until
from rig.playbook import Playbook

PODMAN = "/usr/bin/podman"
SETTINGS = {
    **os.environ,
    "CONTAINERS_CONF": str(CHECKOUT / "roles/zombie_reaper/molecule/containers.conf"),
}
UNITS = {"cron": "cron.service", "timer": "zombie-reaper.timer", "daemon": "zombie-reaper.service"}


class Machine:
    """A container that systemd has booted; run as :class:`rig.node.Node`, but for where a playbook
    is played: here.
    """

    def __init__(self):
        self.name = f"fleet-schedule-{os.getpid()}"
        images = self.run(
            "bash", CHECKOUT / "roles/zombie_reaper/molecule/build_images.sh", "trixie"
        ).stdout.strip()
        options = ["--systemd=always", "--network=none", "--security-opt=seccomp=unconfined"]
        options += [
            "--cap-add=" + name for name in ("IPC_LOCK", "SYS_ADMIN", "SYS_NICE", "SYS_PTRACE")
        ]
        started = self.run(
            *[PODMAN, "run", "--detach", f"--name={self.name}", *options],
            *[f"{images}-trixie", "/lib/systemd/systemd"],
        )
        assert started.returncode == 0, started.stderr
        wait_until(lambda: self("systemctl is-system-running") in ("running", "degraded"), 180)

    @staticmethod
    def run(*command, **kwargs):
        kwargs = {"env": SETTINGS, "capture_output": True, "text": True, **kwargs}
        return subprocess.run(command, check=False, **kwargs)

    def __call__(self, script) -> str:
        """What a script prints there."""
        return self.run(PODMAN, "exec", self.name, "sh", "-c", script).stdout.strip()

    def stop(self):
        self.run(PODMAN, "rm", "--force", "--time=0", self.name)


@pytest.fixture(scope="module")
def machine():
    machine = Machine()
    yield machine
    machine.stop()


@pytest.fixture
def site(machine, tmp_path):
    """site(*flags, **variables): site.yml without its sweep."""

    def site(*flags, **variables):
        return Playbook(machine, tmp_path, "site.yml")(
            *flags,
            "--skip-tags=sweep",
            "--connection=containers.podman.podman",
            **{
                "ansible_host": machine.name,
                "ansible_remote_tmp": "/root/tmp",  # podman copies to what lies below a mount
                "ansible_python_interpreter": "/usr/bin/python3",
                **variables,
            },
        )

    return site


def state(machine, unit) -> tuple:
    return machine(f"systemctl is-active {unit}"), machine(f"systemctl is-enabled {unit}")


@pytest.mark.full
@pytest.mark.parametrize("schedule", UNITS)
def test_what_is_stopped_or_disabled_is_started_and_enabled_again(machine, site, schedule):
    unit = UNITS[schedule]
    played = site(zombie_reaper_schedule=schedule)
    assert played.succeeded, played.text
    again = site(zombie_reaper_schedule=schedule)
    assert again.succeeded and again.recap["node1"]["changed"] == 0, again.text
    machine(f"systemctl disable {unit}")
    checked = site("--check", zombie_reaper_schedule=schedule)
    assert checked.succeeded and checked.recap["node1"]["changed"] > 0, checked.text
    assert state(machine, unit) == ("active", "disabled")
    played = site(zombie_reaper_schedule=schedule)
    assert played.succeeded, played.text
    assert state(machine, unit) == ("active", "enabled")
    machine(f"systemctl stop {unit}")
    assert state(machine, unit) == ("inactive", "enabled")
    played = site(zombie_reaper_schedule=schedule)
    assert played.succeeded, played.text
    assert state(machine, unit) == ("active", "enabled")


def test_cron_that_is_masked_is_refused_before_it_is_scheduled(machine, site):
    machine("systemctl stop cron.service && systemctl mask cron.service")
    try:
        refused = site(zombie_reaper_schedule="cron", zombie_reaper_every_minutes=30)
    finally:
        machine("systemctl unmask cron.service && systemctl start cron.service")
    assert not refused.succeeded
    assert "cron.service is masked on this node" in refused.error("node1")
    assert "-59/30" not in machine("cat /etc/cron.d/kill_zombie_parents")


@pytest.mark.full
@pytest.mark.parametrize(
    "schedule, variables",
    [
        ("cron", {"zombie_reaper_every_minutes": 15}),
        ("timer", {"zombie_reaper_every_minutes": 15}),
        ("daemon", {"zombie_reaper_interval": 15}),
        ("daemon", {"zombie_reaper_grace": 15}),
    ],
)
def test_check_mode_shows_each_file_that_would_change(machine, site, schedule, variables):
    played = site(zombie_reaper_schedule=schedule)
    assert played.succeeded, played.text
    checked = site("--check", "--diff", zombie_reaper_schedule=schedule, **variables)
    assert checked.succeeded and "+++ after" in checked.text and "15" in checked.text
    assert checked.recap["node1"]["changed"] > 0
    unchanged = site("--check", zombie_reaper_schedule=schedule)
    assert unchanged.recap["node1"]["changed"] == 0


@pytest.mark.full
def test_a_daemon_has_the_options_that_were_installed_without_the_schedule(machine, site):
    """Else it would go on with the old ones until it is started again."""
    assert site(zombie_reaper_schedule="daemon").succeeded
    count = "journalctl -t zombie_reaper -o cat | grep -c 'configuration was reloaded'"
    before = int(machine(count))
    switched = site(
        "--tags=install", zombie_reaper_schedule="daemon", zombie_reaper_remedies="none"
    )
    assert switched.succeeded, switched.text
    wait_until(lambda: int(machine(count)) > before)


@pytest.mark.full
def test_a_change_of_the_schedule_is_told(machine, site):
    assert site(zombie_reaper_schedule="daemon").succeeded
    told = site("--check")
    assert "schedule was daemon every 10 seconds, and will be cron every 5 minutes" in " ".join(
        told.text.split()
    )
