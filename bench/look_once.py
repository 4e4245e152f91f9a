"""look_once.py ENGINE HIERARCHY RUNS: CPU seconds of each way to find out that there is no zombie, on
the whole machine. JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

sys.path.append(sys.argv[1])
from reaper.kernel import cgroups, stacks  # noqa: E402
from reaper.kernel.procfs import ProcFS  # noqa: E402

PS = "ps -eo pid,ppid,stat,comm | awk '$3 ~ /^Z/ { count[$2]++ } END { print length(count) }'"
PROCFS = ProcFS()
CPUS = stacks.possible_cpus(stacks.read(stacks.CPUS + "/possible"))
# what a look costs depends neither on this nor on what it finds
CALIBRATION = stacks.Calibration(16, CPUS, 1 << 30)
COUNTERS = stacks.Counters("/proc")
LEDGER = cgroups.Ledger(sys.argv[2], PROCFS, keep=True)
WAYS = {
    "look": lambda: stacks.look(COUNTERS, CALIBRATION),
    "ledger": LEDGER.zombies,
    "ps": lambda: subprocess.run(PS, shell=True, stdout=subprocess.DEVNULL, check=True),
}


def cpu_so_far() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


figures: dict[str, list[float]] = {name: [] for name in WAYS}
LEDGER.zombies()  # opens what it keeps open
for _run in range(int(sys.argv[3])):
    for name, way in WAYS.items():
        for _time in range(1 if name == "ps" else 5):
            before = cpu_so_far()
            way()
            figures[name].append(cpu_so_far() - before)
print(json.dumps({name: statistics.median(some) for name, some in figures.items()}))
