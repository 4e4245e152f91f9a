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
mkdir /run/sshd
echo ready
exec sleep infinity
"""
PYTHON = """\
#!/bin/sh
exec nsenter --target %d --mount --pid /usr/bin/python3 "$@"
"""
SSHD_CONFIG = """\
HostKey {directory}/host
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""
# Reached as root, so nobody has to become root for it; and no limit is told to be low.
VARIABLES = {"ansible_become": False, "zombie_reaper_pid_max": 0}
HOW = {
    "local": f"The connection is local, with {FORKS} forks.",
    "ssh": f"The connection is ssh with ControlPersist, to an sshd on each node, with {FORKS} forks.",
}
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
def nodes(count, directory, connection):
    """An inventory of so many nodes, each with an interpreter that runs in it, or an sshd."""
    variables = {**VARIABLES, "ansible_connection": connection}
    if connection == "ssh":
        variables |= _with_sshd(directory)
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
            hosts[f"node-{place:03d}"] = _inside(int(children), place, directory, connection)
        inventory = directory / "inventory.json"
        inventory.write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": hosts,
                        "vars": {**variables, "zombie_reaper_report_dest": str(directory)},
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


def _inside(init, place, directory, connection) -> dict:
    """Variables of one node. init: its PID 1, as it is seen here."""
    if connection == "ssh":
        sshd = f"nsenter --target {init} --mount --pid /usr/sbin/sshd -i -f {directory}/sshd_config"
        return {
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": "-F none -o StrictHostKeyChecking=no"
            f" -o UserKnownHostsFile=/dev/null -o ProxyCommand='{sshd}'",
        }
    python = directory / f"python-{place:03d}"
    python.write_text(PYTHON % init, encoding="utf-8")
    python.chmod(0o755)
    return {"ansible_python_interpreter": str(python)}


def _with_sshd(directory) -> dict:
    """Variables of all nodes. What sshd reads is put into the directory."""
    for name in ("host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
        )
    (directory / "sshd_config").write_text(SSHD_CONFIG.format(directory=directory), "ascii")
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(directory / "key"),
        "ansible_control_path_dir": str(directory / "cp"),
    }


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


def measure(count, playbooks=PLAYBOOKS, runs=1, connection="local", name="fleet") -> str:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        ping = directory / "ping.json"
        ping.write_text(json.dumps(PING), encoding="utf-8")
        paths = {"ping": ping} | {file: CHECKOUT / "playbooks" / file for file in playbooks}
        with nodes(count, directory, connection) as inventory:
            play(CHECKOUT / "playbooks/site.yml", inventory, directory)  # installs
            taken = {file: [] for file in paths}
            for _run in range(runs):
                for file, playbook in paths.items():
                    *figures, changed = play(playbook, inventory, directory)
                    if changed:
                        raise SystemExit(
                            f"{file} changed something on {changed} nodes the second time"
                        )
                    taken[file].append(figures)
    middle = {
        file: [statistics.median(figures) for figures in zip(*all_runs)]
        for file, all_runs in taken.items()
    }
    base = middle["ping"]
    return table(
        f"A fleet of {count} nodes" + (", over ssh" if connection == "ssh" else ""),
        "Nodes are PID namespaces of this machine. Everything is installed on them, and nothing"
        f" is wrong. {HOW[connection]} `ping` is a playbook with ansible.builtin.ping alone."
        "\n\n"
        "CPU is of the controller and the nodes together, memory of the largest process. Median"
        f" of {runs}. The aims are at most twice the time of `ping` for `site.yml`, and 1.3 times"
        f" for `look.yml` and `sweep.yml`. `bench/run --full --only {name}` measures it.",
        ["playbook", "time", "of ping", "CPU", "of ping", "memory"],
        [
            [
                f"`{file}`",
                f"{seconds:.1f} s",
                f"{seconds / base[0]:.2f}",
                f"{cpu:.1f} s",
                f"{cpu / base[1]:.2f}",
                f"{memory:.0f} MiB",
            ]
            for file, (seconds, cpu, memory) in middle.items()
        ],
    )
