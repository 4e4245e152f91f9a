"""cpu_of_scans.py ENGINE RUNS: prints the median CPU seconds of each way to look at all processes
of this PID namespace.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

import psutil

sys.path.append(sys.argv[1])
from reaper.kernel.procfs import ProcFS


def with_psutil():
    psutil.process_iter.cache_clear()
    return [
        process.pid
        for process in psutil.process_iter(["status"])
        if process.info["status"] == psutil.STATUS_ZOMBIE
    ]


def with_ps():
    subprocess.run(["ps", "-eo", "pid,ppid,stat"], stdout=subprocess.DEVNULL, check=True)


def cpu_so_far() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cpu(call) -> float:
    before = cpu_so_far()
    call()
    return cpu_so_far() - before


calls = {
    "ProcFS.zombies()": lambda: list(ProcFS().zombies()),
    "psutil.process_iter": with_psutil,
    "ps -eo pid,ppid,stat": with_ps,
}
figures = {name: [] for name in calls}
for _run in range(int(sys.argv[2])):
    for name, call in calls.items():
        figures[name].append(cpu(call))
print(json.dumps({name: statistics.median(some) for name, some in figures.items()}))
