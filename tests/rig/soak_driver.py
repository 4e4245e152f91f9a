"""soak_driver.py ENGINE ROUNDS LEAST FIFO=PID...: in a node, collects fed zombies of those parents
again and again, with the engine itself.

A round is one parent that was stopped, has collected, and was released. There are that many in all,
and of each parent the least that is told, however long that takes. Prints as JSON what happened.
"""

import collections
import json
import os
import struct
import sys
import time

sys.path.insert(0, sys.argv[1])
from reaper.kernel.procfs import ProcFS  # noqa: E402
from reaper.node import observe  # noqa: E402
from reaper.paths import Paths  # noqa: E402
from reaper.remedies.reap import reap  # noqa: E402

os.nice(-15)  # it is to be done in a time that can be waited for, on a busy machine too
ROUNDS, LEAST = int(sys.argv[2]), int(sys.argv[3])
procfs = ProcFS("/proc")
fed = {
    int(pid): os.open(fifo, os.O_WRONLY)
    for fifo, pid in (word.rsplit("=", 1) for word in sys.argv[4:])
}
rounds = collections.Counter()
results = collections.defaultdict(collections.Counter)
stops = []
collected = 0
began = time.monotonic()
held = []


def go_on():
    return sum(rounds.values()) < ROUNDS or any(
        rounds[pid] < LEAST for pid in fed if procfs.stat(pid)
    )


while go_on() and set(fed) != {pid for pid in fed if procfs.stat(pid) is None}:
    for fifo in fed.values():
        os.write(fifo, struct.pack("I", 1))
    time.sleep(0.002)  # they have to be made first
    snapshot = observe.snapshot(procfs, Paths(), observe.History(), time.monotonic())
    offenders = []
    for offender in snapshot.offenders:
        # not one that it is about to wait for
        ours = tuple(zombie for zombie in offender.zombies if zombie.comm == b"feeder")
        if offender.pid in fed and ours:
            offenders.append(offender._replace(zombies=ours))
    for outcome in reap(procfs, offenders):
        results[outcome.pid][outcome.refusal or outcome.result] += 1
        rounds[outcome.pid] += bool(outcome.cleared)
        collected += outcome.cleared
        if outcome.max_stop_ms is not None:
            stops.append(outcome.max_stop_ms)
        status = procfs.status(outcome.pid)
        # on a busy machine it may not have stopped again in time, which is then said
        late = "as soon as it does" in outcome.detail
        if status is None or status.tracer_pid and not late:
            held.append((outcome.pid, status and status.tracer_pid))

stops.sort()
print(
    json.dumps(
        {
            "rounds": rounds,
            "results": results,
            "collected": collected,
            "held": held,
            "seconds": time.monotonic() - began,
            "stop_ms": {
                "median": stops[len(stops) // 2],
                "p99": stops[len(stops) * 99 // 100],
                "max": stops[-1],
            },
        }
    )
)
