"""CPU of a sweep that finds nothing, interpreter included."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from crowd import ENGINE, LIVING, crowd
from tables import ratio, table

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # the node's own, with which the agent is installed

# The installed command (COMMAND_TEXT in plugins/modules/zombie_reaper_agent.py), with its paths in
# a directory of the measurement.
COMMAND = """\
#!%(python)s -IS
import sys
sys.path.append("%(directory)s")
from zombie_reaper import paths
paths.CONFIG, paths.RUN = "%(directory)s/config.json", "%(directory)s/run"
%(also)s
from zombie_reaper.command import main
raise SystemExit(main())
"""
WAYS = {"zombie-reaper": "", "whole sweep": "from zombie_reaper import idle; idle.TRUSTED = -1"}
SIZES = {
    "tiny": {"processes": 5, "runs": 1},
    "usual": {"processes": 250, "runs": 21},
    "full": {"processes": 250, "runs": 31},
}
CONFIG = {
    "scope": "containers",
    "remedies": ["reap", "nudge", "terminate"],
    "min_age": 60,
    "protect": [],
    "grace": 10.0,
}


def measure(processes, runs) -> str:
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(
            ENGINE / "reaper",
            Path(directory, "zombie_reaper"),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        Path(directory, "config.json").write_text(
            json.dumps({**CONFIG, "textfile_directory": directory}), encoding="utf-8"
        )
        commands = {}
        for name, also in WAYS.items():
            command = Path(directory, name.replace(" ", "-"))
            command.write_text(
                COMMAND % {"python": PYTHON, "directory": directory, "also": also}, encoding="utf-8"
            )
            command.chmod(0o755)
            commands[name] = [str(command)]
        commands |= {
            "kill_zombie_parents.sh": [str(HERE / "kill_zombie_parents.sh")],
            "the same, as playbooks install it today": [str(HERE / "kill_zombie_parents_today.sh")],
            "python3 -I -S -c pass": [PYTHON, "-I", "-S", "-c", "pass"],
        }
        with crowd(LIVING, processes) as run:
            cpu = run(HERE / "cpu_of_commands.py", runs, json.dumps(commands))
        if runs > 1 and not Path(directory, "run/idle").exists():
            raise SystemExit("no sweep was idle: others have zombies on this machine")
    return table(
        "A sweep that finds nothing",
        f"CPU of the whole process, interpreter included, on a node with {format(processes, ',')}"
        f" processes. Median of {runs} runs."
        "\n\n"
        "A sweep that finds nothing is noted. For ten minutes the next ones end after a look at"
        " the ledger, unless that shows a zombie or anything else is new. Such a sweep should"
        " cost no more than the script. The ledger is of the whole machine: while others have"
        " zombies on it, no sweep ends early."
        "\n\n"
        "`bench/run --full --only idle_sweep` measures it.",
        ["command", "CPU", "zombie-reaper takes"],
        [
            [f"`{name}`", f"{1e3 * seconds:.1f} ms", ratio(cpu["zombie-reaper"], seconds)]
            for name, seconds in cpu.items()
        ],
    )
