"""known_once.py ENGINE RUNS ZOMBIES WAY...: CPU and seconds of each way to know the zombies of this
PID namespace and their parents. JSON.

What each way has to tell is {parent's PID: number of zombies}; the one that only names a parent
tells that parent.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import chain

import psutil

sys.path.append(sys.argv[1])
from reaper.kernel import cgroups  # noqa: E402
from reaper.kernel.procfs import ProcFS  # noqa: E402
from reaper.node import zombies  # noqa: E402

AWK = (
    "ps -eo pid,ppid,stat,comm | awk '$3 ~ /^Z/ { held[$2]++ } END { for (parent in held) print"
    " parent, held[parent] }'"
)
BASH = r"""
declare -A held
for directory in /proc/[0-9]*; do
    { read -r -d '' line <"$directory/stat"; } 2>/dev/null
    set -- ${line##*) }
    [ "$1" = Z ] && (( held[$2] += 1 ))
done
for parent in "${!held[@]}"; do echo "$parent ${held[$parent]}"; done
"""
PROCFS = ProcFS()


class Ledger(cgroups.Ledger):
    """It counts the zombies of the whole machine; those that others have on it just now are taken
    off, as if this were a node of its own.
    """

    def zombies(self) -> int:
        assert super().zombies() >= HERE
        return HERE


def ledger():
    """The number alone: zero on a node where nothing is wrong, and then this is all that is
    done.
    """
    Ledger("/sys/fs/cgroup", PROCFS).zombies()


def daemon_ledger():
    """The same as the daemon does it."""
    KEPT.zombies()


def named():
    """The number, the cgroups that hold them, and the first zombie of the first parent there: who
    it is, before all are listed.
    """
    book = Ledger("/sys/fs/cgroup", PROCFS)
    if book.zombies():
        for directories, _number in book.holding():
            for pid in chain.from_iterable(map(cgroups.processes, directories)):
                if PROCFS.zombie_children(pid, 1)[0]:
                    return {pid: 1}
    return {}


def found():
    """As a sweep does it: each zombie looked at, of one parent at most zombies.MAX_LISTED."""
    result = zombies.find(PROCFS, Ledger("/sys/fs/cgroup", PROCFS))
    assert result.found_by != zombies.SCAN
    return Counter(stat.ppid for stat in result.stats) + Counter(result.more)


def scan():
    return Counter(stat.ppid for stat in PROCFS.zombies())


def with_psutil():
    psutil.process_iter.cache_clear()
    return Counter(
        each.info["ppid"]
        for each in psutil.process_iter(["ppid", "status"])
        if each.info["status"] == psutil.STATUS_ZOMBIE
    )


def with_awk():
    return lines_of(["sh", "-c", AWK])


def with_bash():
    return lines_of(["bash", "-c", BASH])


def lines_of(command):
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {
        int(parent): int(number) for parent, number in (line.split() for line in told.splitlines())
    }


def cpu_so_far() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measured(call) -> tuple:
    """(CPU seconds, seconds, what it told); of what is over too soon for the clock of the CPU, of
    many calls.
    """
    cpu, began, calls = cpu_so_far(), time.monotonic(), 0
    while not calls or time.monotonic() - began < 0.02:
        told = call()
        calls += 1
    return (cpu_so_far() - cpu) / calls, (time.monotonic() - began) / calls, told


HERE, KEPT = int(sys.argv[3]), Ledger("/sys/fs/cgroup", PROCFS, keep=True)
WAYS = {
    "ledger": ledger,
    "daemon": daemon_ledger,
    "named": named,
    "find": found,
    "scan": scan,
    "psutil": with_psutil,
    "ps": with_awk,
    "bash": with_bash,
}
figures = {name: [] for name in sys.argv[4:]}
for _run in range(int(sys.argv[2])):
    for name, some in figures.items():
        some.append(measured(WAYS[name]))
# The one that was run first finds nothing in the caches of the kernel; the median of several runs
# leaves it out.
print(
    json.dumps(
        {
            name: {
                "cpu": statistics.median(cpu for cpu, _seconds, _told in some),
                "seconds": statistics.median(seconds for _cpu, seconds, _told in some),
                "told": some[-1][2],
            }
            for name, some in figures.items()
        }
    )
)
