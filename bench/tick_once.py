"""tick_once.py ENGINE HIERARCHY NUMBER CGROUP...: CPU seconds of a look at the ledger, with that
many of these processes in each cgroup. JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.append(sys.argv[1])
from reaper.kernel import cgroups  # noqa: E402
from reaper.kernel.procfs import ProcFS  # noqa: E402

TICKS = 50
PROCFS = ProcFS()


def ledger_of(directory, keep):
    """One that counts in that hierarchy, whichever it would take by itself."""
    ledger = cgroups.Ledger("/sys/fs/cgroup", PROCFS, keep=keep)
    ledger.directory, ledger.list_name = (
        directory,
        ("cgroup.threads" if os.path.exists(directory + "/cgroup.threads") else "tasks"),
    )
    ledger.keep = keep and ledger.list_name == "cgroup.threads"
    return ledger


def cpu_of_a_tick(ledger) -> float:
    ledger.zombies()  # opens what it keeps open
    figures = []
    for _tick in range(TICKS):
        began = time.process_time()
        ledger.zombies()
        figures.append(time.process_time() - began)
    ledger.close()
    return statistics.median(figures)


pids = [pid for pid in PROCFS.children(1) if pid != os.getpid()]
for directory in sys.argv[4:]:
    for _each in range(int(sys.argv[3])):
        Path(directory, "cgroup.procs").write_text(str(pids.pop()))
print(
    json.dumps(
        {
            "list": ledger_of(sys.argv[2], True).list_name,
            "daemon": cpu_of_a_tick(ledger_of(sys.argv[2], True)),
            "afresh": cpu_of_a_tick(ledger_of(sys.argv[2], False)),
            "cgroups": sum(1 for _directory in Path(sys.argv[2]).glob("**/cgroup.procs")),
        }
    )
)
