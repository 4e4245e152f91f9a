"""storm_once.py ENGINE PROGRAM HOW PARENT INIT CALM: for how long nothing could fork here while a
parent's zombies were cleared. JSON.

PROGRAM: of crowd.c. HOW: as for cleared_once.py, one sweep. INIT: "reaps" or "keeps", what PID 1
does. CALM: seconds without anything, before and after.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.append(sys.argv[1])
from reaper.kernel.procfs import ProcFS  # noqa: E402

# What it shall not do to so many is what is measured.
AGENT = (
    "import sys; sys.path.append(sys.argv.pop(1)); from reaper import cli, policy;"
    " policy.MAX_ORPHANS = 10**9; sys.exit(cli.main())"
)
NO_OPTIONS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/rig/no_options.json"
)
OPTIONS = [
    "--config",
    NO_OPTIONS,
    "--pressure",
    "0",
    "--scope",
    "all",
    "--min-age",
    "0",
    "--grace",
    "0",
]
CALM = float(sys.argv[6])
MAX_SECONDS = 120


class Meter:
    """A process that forks all the time."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.argv[2], "forks"], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_error):
        self.process.terminate()
        told = self.process.communicate()[0]
        self.longest = float(told)


def is_over() -> bool:
    """Whether the parent has ended, and PID 1 has collected what it got, where it does."""
    stat = procfs.stat(parent)
    return (stat is None or stat.state == "Z") and (
        sys.argv[5] == "keeps" or not procfs.zombie_children(1, 1)[0]
    )


with Meter() as calm:
    time.sleep(CALM)
procfs, parent = ProcFS(), int(sys.argv[4])
with tempfile.TemporaryDirectory() as directory, Meter() as storm:
    began = time.monotonic()
    command = [
        sys.executable,
        "-IS",
        "-c",
        AGENT,
        sys.argv[1],
        "--run",
        directory,
        *OPTIONS,
        "--remedies",
        sys.argv[3],
    ]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    while sys.argv[3] == "terminate" and not is_over() and time.monotonic() - began < MAX_SECONDS:
        time.sleep(0.05)
    over = time.monotonic() - began
    time.sleep(CALM)
print(json.dumps({"calm": calm.longest, "longest": storm.longest, "seconds": over}))
