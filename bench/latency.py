"""What clients of a server notice while its zombies are collected every second: the latency without
and with, side by side.

Prints a table; `bench/latency.py [SECONDS]`, needs root. The servers, their load and the node come
from the rig of the tests.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))

from rig.node import Node  # noqa: E402
from rig.servers import SERVERS  # noqa: E402
from tables import table  # noqa: E402

SIZES = {"full": {"seconds": 10}}
ZOMBIES = 20  # each second


def measure(seconds) -> str:
    """The table, as Markdown; each figure takes that many seconds."""
    rows = []
    for kind in SERVERS:
        for sweeping in (False, True):
            measured, collected = _measure(kind, seconds, sweeping)
            rows.append(
                [
                    kind.__name__.lower(),
                    "every second" if sweeping else "no",
                    collected,
                    format(measured["requests"], ","),
                    len(measured["failed"]),
                    *(f"{measured[name]:.2f}" for name in ("p50", "p99", "max")),
                ]
            )
    return table(
        "Servers under load",
        "nginx under `wrk`, redis-server under `redis-benchmark` (GET), and postgres under"
        f" `pgbench` with a new connection for each transaction. Each runs for {seconds} s on the"
        f" same machine as the sweep, with {ZOMBIES} zombies a second. The figures are"
        " milliseconds, as these tools report them."
        "\n\n"
        "`bench/run --full --only latency` measures it.",
        ["server", "sweeps", "zombies collected", "requests", "failed", "p50", "p99", "max"],
        rows,
    )


def _measure(kind, seconds, sweeping) -> tuple:
    collected = 0
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor() as pool:
        node = Node(Path(directory))
        try:
            server = kind(node, Path(directory))
            try:
                load = pool.submit(server.load, seconds)
                while not load.done():
                    server.process.feed(ZOMBIES)
                    wait([load], timeout=1.0)
                    if sweeping:
                        collected += node.sweep(remedies="reap")["counts"]["cleared"]
                return load.result(), collected
            finally:
                server.stop()
        finally:
            node.stop()


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
