"""memory_once.py ENGINE MODE: the memory of the daemon after one sweep that only reports. JSON.

MODE: "ledger", or "scan" where it sees no cgroups and has to read the whole table.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AGENT = "import sys; sys.path.append(sys.argv.pop(1)); from reaper.cli import main; main()"
NO_OPTIONS = Path(__file__).resolve().parent.parent / "tests/rig/no_options.json"
WITHOUT_CGROUPS = [
    *["unshare", "--mount", "sh", "-c"],
    'mount -t tmpfs none /sys/fs/cgroup; exec "$@"',
    "sh",
]
MAX_SECONDS = 600


def main() -> None:
    engine, mode = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(WITHOUT_CGROUPS if mode == "scan" else []),
            *[sys.executable, "-IS", "-c", AGENT, engine, "--daemon", "--run", directory],
            *["--config", NO_OPTIONS, "--remedies", "none", "--scope", "all", "--min-age", "0"],
            *["--textfile-directory", "off", "--interval", "1", "--pressure", "0"],
        ]
        daemon = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            report = first_report(daemon, Path(directory, "last.json"))
            status = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
    sizes = dict(re.findall(r"^(VmHWM|VmLck):\s+(\d+) kB", status, re.M))
    print(
        json.dumps(
            {
                "zombies": report["counts"]["zombies"],
                "found_by": report["found_by"],
                "most": int(sizes["VmHWM"]) / 1024,
                "locked": int(sizes["VmLck"]) / 1024,
            }
        )
    )


def first_report(daemon, path) -> dict:
    began = time.monotonic()
    while not path.exists():
        if daemon.poll() is not None or time.monotonic() - began > MAX_SECONDS:
            sys.exit("the daemon has not swept")
        time.sleep(0.1)
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    main()
