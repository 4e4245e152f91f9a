"""neighbour_once.py ENGINE WAY: the latency of a server that shares a CPU with PID 1, while PID 1
collects its zombies. JSON.

WAY: "calm", nothing is collected; "apart", the sweep stays where it is; "beside", as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time

sys.path.append(sys.argv[1])
from reaper.kernel.procfs import ProcFS
from reaper.node import observe
from reaper.paths import Paths
from reaper.remedies import reap

CALM = 1.0  # seconds
EVERY = 0.001


def serve(connection) -> None:
    while data := connection.recv(1):
        connection.send(data)
    os._exit(0)


def ask(connection, over, latencies) -> None:
    while not over.is_set():
        began = time.monotonic()
        connection.send(b"x")
        connection.recv(1)
        latencies.append(time.monotonic() - began)
        time.sleep(EVERY)


def parent():
    taken = observe.snapshot(ProcFS(), Paths(), observe.History(), time.monotonic())
    return next((each for each in taken.offenders if each.pid == 1), None)


def collect() -> float:
    taken, offender = 0.0, parent()
    while offender:
        (outcome,) = reap.reap(ProcFS(), [offender])
        taken += outcome.seconds
        offender = parent() if outcome.result == "unfinished" else None
    left = parent()
    if left:
        sys.exit(f"{len(left.zombies)} zombies are left")
    return taken


if sys.argv[2] == "apart":
    reap.beside = lambda _procfs, _tid: contextlib.nullcontext()
cpu = max(os.sched_getaffinity(0))
os.sched_setaffinity(1, {cpu})
here, there = socket.socketpair()
server = os.fork()
if server == 0:
    os.sched_setaffinity(0, {cpu})
    here.close()
    serve(there)
there.close()
# the client has a process of its own: it shall not wait for the interpreter's lock of the sweep
figures, told = os.pipe()
over = threading.Event()
client = os.fork()
if client == 0:
    latencies: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    ask(here, over, latencies)
    latencies.sort()
    answer = {
        "requests": len(latencies),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "max": latencies[-1],
    }
    os.write(told, json.dumps(answer).encode())
    os._exit(0)
here.close()
time.sleep(CALM / 4)
result = {}
if sys.argv[2] == "calm":
    time.sleep(CALM)
else:
    result["seconds"] = collect()
os.kill(client, signal.SIGTERM)
result |= json.loads(os.read(figures, 65536))
os.waitpid(client, 0)
os.waitpid(server, 0)
print(json.dumps(result))
