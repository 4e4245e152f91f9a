"""What the role has installed on the nodes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import yaml

ENGINE = Path(__file__).parents[5] / "plugins/module_utils/reaper"
BY_DEFAULT = yaml.safe_load(
    (Path(__file__).parents[3] / "defaults/main.yml").read_text(encoding="utf-8")
)


@pytest.fixture
def schedule(host) -> str:
    return {"fleet-debian13": "timer", "fleet-daemon": "daemon"}.get(host.backend.name, "cron")


def test_engine_is_that_of_the_collection(host):
    """Byte for byte; and the file of an older engine, which prepare.yml left, is gone."""
    listing = host.check_output(
        "cd /usr/local/lib/zombie_reaper && find . -type f ! -path '*/__pycache__/*' -exec"
        " sha256sum {} +"
    )
    found = dict(line.split("  ./")[::-1] for line in listing.splitlines())
    assert found == {
        str(path.relative_to(ENGINE)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in ENGINE.rglob("*.py")
        if "prevention"
        not in path.parts  # which no sweep uses, and which has a directory of its own
    }
    assert (
        host.run("find /usr/local/lib/zombie_reaper -type f ! -user root -o -perm /022").stdout
        == ""
    )


@pytest.mark.parametrize(
    "path", ["/usr/local/sbin/zombie-reaper", "/usr/local/bin/kill_zombie_parents.sh"]
)
def test_commands_run(host, path):
    file = host.file(path)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o755)
    assert "zombies on this node" in host.check_output(path + " --check --exit-zero")


def test_old_name_only_calls_the_command(host):
    lines = host.file("/usr/local/bin/kill_zombie_parents.sh").content_string.splitlines()
    assert len(lines) == 2
    assert lines[0] == "#!/bin/sh"
    assert lines[1].startswith('exec /usr/local/sbin/zombie-reaper "$@"')


@pytest.mark.parametrize(
    "path",
    [
        "man/man8/zombie-reaper.8",
        "bash-completion/completions/zombie-reaper",
        "zsh/site-functions/_zombie-reaper",
    ],
)
def test_manual(host, path):
    file = host.file("/usr/local/share/" + path)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o644)


def test_options(host):
    file = host.file("/etc/zombie_reaper/config.json")
    assert file.mode == 0o644
    # The same on all nodes except for the remedies, although one node got them as strings
    assert json.loads(file.content_string) == {
        "scope": "containers",
        "remedies": (
            ["nudge", "terminate"]
            if host.backend.name == "fleet-debian12"
            else ["reap", "nudge", "terminate"]
        ),
        "min_age": 3,
        "min_zombies": 1,
        "pressure": 0.0,
        "tolerate": 1000,
        "grace": 10.0,
        "protect": [],
        "protect_namespaces": (
            ["kube-system"]
            if host.backend.name == "fleet-debian12"
            else BY_DEFAULT["zombie_reaper_protect_namespaces"]
        ),
        "kubernetes_events": "off",
        "max_parents": 10,
        "cooldown": 3600,
        "textfile_directory": "auto",
    }


def test_cron(host, schedule):
    file = host.file("/etc/cron.d/kill_zombie_parents")
    assert file.exists == (schedule == "cron")
    if not file.exists:
        return
    assert (file.user, file.mode) == ("root", 0o644)
    assert re.search(r"^SHELL=/bin/sh$", file.content_string, re.M)
    assert re.search(r"^PATH=.*/usr/sbin:/usr/bin:/sbin:/bin$", file.content_string, re.M)
    jobs = [line for line in file.content_string.splitlines() if re.match(r"[*0-9]", line)]
    (job,) = jobs
    assert re.fullmatch(
        r"0-59/1 \* \* \* \* root trap 'exec /usr/local/bin/kill_zombie_parents\.sh --syslog' EXIT;"
        r" sleep [0-5]?\d",
        job,
    )
    assert host.service("cron").is_running
    assert host.service("cron").is_enabled


def test_units(host, schedule):
    """test_daemon.py has more on the daemon."""
    units = {
        "cron": "",
        "timer": "zombie-reaper.service\nzombie-reaper.timer",
        "daemon": "zombie-reaper.service",
    }
    assert host.run("ls /etc/systemd/system | grep zombie").stdout.strip() == units[schedule]
    if schedule != "timer":
        return
    timer = host.service("zombie-reaper.timer")
    assert timer.is_running
    assert timer.is_enabled
    assert (
        host.check_output("systemd-analyze verify zombie-reaper.service zombie-reaper.timer 2>&1")
        == ""
    )


def test_json(host):
    report = json.loads(host.check_output("zombie-reaper --check --exit-zero --json"))
    assert report["schema"] == 1
    assert report["check_mode"]
    assert report["zombies"]["count"] == len(report["zombies"]["list"])


def test_limits(host, schedule):
    """The limit is raised if that was asked for and the node has its own, and else left alone; see
    prepare.yml.
    """
    kernel = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    file = host.file("/etc/sysctl.d/99-zombie_reaper.conf")
    assert file.exists == (schedule == "timer" and kernel >= (6, 14))
    if file.exists:
        assert file.mode == 0o644
        assert [line for line in file.content_string.splitlines() if line[0] != "#"] == [
            "kernel.pid_max = 4194304"
        ]
        assert host.check_output("sysctl -n kernel.pid_max") == "4194304"
