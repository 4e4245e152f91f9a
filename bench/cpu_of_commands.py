"""cpu_of_commands.py ENGINE RUNS COMMANDS: prints the median CPU seconds of each command, children
included.
"""

from __future__ import annotations

import json
import os
import statistics
import sys

runs, commands = int(sys.argv[2]), json.loads(sys.argv[3])


def cpu(command) -> float:
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=nowhere)
    _pid, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{command} failed")
    return usage.ru_utime + usage.ru_stime


for command in commands.values():
    cpu(command)  # fills the caches of the kernel and of Python
figures = {name: [] for name in commands}
for _run in range(runs):
    for name, command in commands.items():
        figures[name].append(cpu(command))
print(json.dumps({name: statistics.median(some) for name, some in figures.items()}))
