"""seconds_until_gone.py ENGINE COMMAND: runs a script, or the agent, and prints the seconds until
PID 1 has no children left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

import psutil

AGENT = (
    "import sys; sys.path.append(sys.argv.pop(1)); from reaper.cli import main; sys.exit(main())"
)
NO_OPTIONS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/rig/no_options.json"
)
OPTIONS = [
    "--config",
    NO_OPTIONS,
    "--pressure",
    "0",
    "--textfile-directory",
    "off",
    "--scope",
    "all",
    "--min-age",
    "0",
    "--remedies",
    "nudge,terminate",
    "--max-parents",
    "0",
]

with tempfile.TemporaryDirectory() as directory:
    command = [sys.argv[2]]
    if command == ["zombie-reaper"]:
        command = [sys.executable, "-IS", "-c", AGENT, sys.argv[1], "--run", directory, *OPTIONS]
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    while psutil.Process(1).children(recursive=True):
        time.sleep(0.02)
    print(json.dumps(time.monotonic() - began))
