"""How many tasks of the role reach a node on which nothing changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tables import table

CHECKOUT = Path(__file__).resolve().parent.parent

# The node is this machine with files of its own: what the role writes is gone with the mount
# namespace.
OWN_FILES = ["/usr/bin/python3", "-IS", str(CHECKOUT / "tools/own_files.py")]
SIZES: dict[str, dict[str, int]] = {"tiny": {}, "usual": {}, "full": {}}
TWICE = """\
set -eu
"$@" >/dev/null
exec "$@" -vvv
"""


def measure() -> str:
    """The second run of site.yml, the first having installed everything, with Ansible's own word on
    what it executed.
    """
    playbook = [
        Path(sys.executable).with_name("ansible-playbook"),
        CHECKOUT / "playbooks/site.yml",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        "ansible_python_interpreter=/usr/bin/python3",
    ]
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            *OWN_FILES,
            "sh",
            "-c",
            TWICE,
            "sh",
            *map(str, playbook),
        ],
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode or not re.search(r"changed=0 .*failed=0", done.stdout):
        raise SystemExit(
            "the role did not run twice without a change at the end:\n" + done.stdout[-3000:]
        )
    tasks = re.split(
        r"^TASK \[(?:provider\.fleet\.zombie_reaper : )?(.*)\] \**$",
        done.stdout,
        flags=re.MULTILINE,
    )
    reached = [name for name, output in zip(tasks[1::2], tasks[2::2]) if "EXEC" in output]
    return table(
        "The role on a node where nothing changes",
        "The tasks of `site.yml` that execute something on the node, scheduled by cron. The aim"
        " is at most 8."
        "\n\n"
        "`bench/run --only role_tasks` measures it.",
        ["task", "number"],
        [[name, number] for number, name in enumerate(reached, 1)],
    )
