"""What the playbooks cost on the controller and on the nodes, against a bare ping of the same
nodes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from role_tasks import OWN_FILES
from tables import table

CHECKOUT = Path(__file__).resolve().parent.parent
FORKS = 10

NODE = """\
echo ready
exec sleep infinity
"""
PYTHON = """\
#!/bin/sh
exec nsenter --target %d --mount --pid /usr/bin/python3 "$@"
"""
# Reached as root, so nobody has to become root for it; and no limit is told to be low.
VARIABLES = {"ansible_connection": "local", "ansible_become": False, "zombie_reaper_pid_max": 0}
PLAYBOOKS = "look.yml", "sweep.yml", "site.yml", "audit.yml", "report.yml"
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"count": 2},
    "usual": {"count": 20},
    "full": {"count": 200, "playbooks": PLAYBOOKS[:3]},  # those with a bound; ten minutes
}
PING = [
    {
        "name": "Ping",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"name": "Ping", "ansible.builtin.ping": {}}],
    }
]


@contextlib.contextmanager
def nodes(count, directory):
    """An inventory of so many nodes, each with an interpreter that runs in it."""
    started, hosts = [], {}
    try:
        for _place in range(count):
            process = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "unshare",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                    *OWN_FILES,
                    "sh",
                    "-c",
                    NODE,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(process)
        for place, process in enumerate(started):
            if process.stdout.readline() != "ready\n":
                raise SystemExit("a node did not start")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            python = directory / (f"python-{place:03d}")
            python.write_text(PYTHON % int(children), encoding="utf-8")
            python.chmod(0o755)
            hosts[f"node-{place:03d}"] = {"ansible_python_interpreter": str(python)}
        inventory = directory / "inventory.json"
        inventory.write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": hosts,
                        "vars": {**VARIABLES, "zombie_reaper_report_dest": str(directory)},
                    }
                }
            ),
            encoding="utf-8",
        )
        yield inventory
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.communicate()


def play(playbook, inventory, directory) -> tuple:
    """(seconds, CPU seconds of all, MiB of the largest process), of a run in which nothing
    failed.
    """
    output = directory / "output"
    with open(output, "w", encoding="utf-8") as file:
        begun = time.monotonic()
        process = subprocess.Popen(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                "-i",
                inventory,
                "-f",
                str(FORKS),
                playbook,
            ],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
    recap = output.read_text(encoding="utf-8").partition("PLAY RECAP")[2]
    if process.returncode or not recap or re.search(r"(unreachable|failed)=[1-9]", recap):
        raise SystemExit(f"{playbook} failed:\n{output.read_text(encoding='utf-8')[-3000:]}")
    return (
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        len(re.findall(r"changed=[1-9]", recap)),
    )


def measure(count, playbooks=PLAYBOOKS, runs=1) -> str:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ping = directory / "ping.json"
        ping.write_text(json.dumps(PING), encoding="utf-8")
        paths = {"ping": ping} | {name: CHECKOUT / "playbooks" / name for name in playbooks}
        with nodes(count, directory) as inventory:
            play(paths["site.yml"], inventory, directory)  # installs
            taken = {name: [] for name in paths}
            for _run in range(runs):
                for name, playbook in paths.items():
                    *figures, changed = play(playbook, inventory, directory)
                    if changed:
                        raise SystemExit(
                            f"{name} changed something on {changed} nodes the second time"
                        )
                    taken[name].append(figures)
    middle = {
        name: [statistics.median(figures) for figures in zip(*all_runs)]
        for name, all_runs in taken.items()
    }
    base = middle["ping"]
    return table(
        f"A fleet of {count} nodes",
        "Nodes are PID namespaces of this machine. Everything is installed on them, and nothing"
        f" is wrong. The connection is local, with {FORKS} forks. `ping` is a playbook with"
        " ansible.builtin.ping alone."
        "\n\n"
        "CPU is of the controller and the nodes together, memory of the largest process. Median"
        f" of {runs}. The aims are at most twice the time of `ping` for `site.yml`, and 1.3 times"
        " for `look.yml` and `sweep.yml`. `bench/run --full --only fleet` measures it.",
        ["playbook", "time", "of ping", "CPU", "of ping", "memory"],
        [
            [
                f"`{name}`",
                f"{seconds:.1f} s",
                f"{seconds / base[0]:.2f}",
                f"{cpu:.1f} s",
                f"{cpu / base[1]:.2f}",
                f"{memory:.0f} MiB",
            ]
            for name, (seconds, cpu, memory) in middle.items()
        ],
    )
