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

# The installed command (COMMAND_TEXT in plugins/modules/zombie_reaper_agent.py), with its paths in a folder of the measurement.
COMMAND = """\
#!%(python)s -IS
import sys
sys.path.append("%(folder)s")
from zombie_reaper import agent
agent._Flags.config, agent._Flags.run = "%(folder)s/config.json", "%(folder)s/run"
sys.exit(agent.main())
"""
CONFIG = {"scope": "containers", "remedies": ["nudge", "reap", "terminate"], "min_age": 60, "protect": [], "grace": 2.0}


def measure(processes, runs) -> str:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ENGINE / "reaper", Path(folder, "zombie_reaper"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder, "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        command = Path(folder, "zombie-reaper")
        command.write_text(COMMAND % {"python": PYTHON, "folder": folder}, encoding="utf-8")
        command.chmod(0o755)
        commands = {
            "zombie-reaper": [str(command)],
            "kill_zombie_parents.sh": [str(HERE / "kill_zombie_parents.sh")],
            "python3 -I -S -c pass": [PYTHON, "-I", "-S", "-c", "pass"],
        }
        with crowd(LIVING, processes) as run:
            cpu = run(HERE / "cpu_of_commands.py", runs, json.dumps(commands))
    return table(
        "A sweep that finds nothing",
        "CPU of the whole process, interpreter included, on a node with %s processes. Median of %d runs. "
        "It is to stay below 30 ms." % (format(processes, ","), runs),
        ["command", "CPU", "zombie-reaper takes"],
        [["`%s`" % name, "%.1f ms" % (1e3 * seconds), ratio(cpu["zombie-reaper"], seconds)]
         for name, seconds in cpu.items()])
