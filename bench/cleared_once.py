"""cleared_once.py ENGINE HOW PARENT: seconds, CPU and memory of the agent until a parent's zombies
are gone. JSON.

HOW: "check" (one sweep that only says what it would do), "reap" (sweeps, one after the other),
"daemon" (the daemon, by reap), "terminate".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time

sys.path.append(sys.argv[1])
from reaper.kernel.procfs import ProcFS  # noqa: E402

AGENT = """
import sys
sys.path.append(sys.argv.pop(1))
from reaper.cli import main
status = main()
sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))  # the most memory it has had
sys.exit(status)
"""
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
    "--grace",
    "0",
]
FLAGS = {
    "check": ["--check", "--exit-zero"],
    "reap": ["--remedies", "reap"],
    "daemon": ["--remedies", "reap", "--daemon", "--interval", "1"],
    "terminate": ["--remedies", "terminate"],
}
PROCFS = ProcFS()
MAX_SECONDS = 300


def agent(how, directory) -> tuple:
    """(seconds, CPU seconds, MB) of one run."""
    command = [
        sys.executable,
        "-IS",
        "-c",
        AGENT,
        sys.argv[1],
        "--run",
        directory,
        *OPTIONS,
        *FLAGS[how],
    ]
    began, told = time.monotonic(), os.path.join(directory, "told")
    files = [
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    if how == "daemon":
        wait_until_gone()
        os.kill(pid, signal.SIGTERM)
    _pid, status, usage = os.wait4(pid, 0)
    with open(told, encoding="utf-8") as file:
        said = file.read()
    if status:
        sys.exit(f"the agent failed: {said}")
    memory = int(said.split("VmHWM:")[1].split()[0]) / 1024
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, memory


def is_gone() -> bool:
    """Whether the parent holds none any more, or has gone itself with all of them."""
    return not PROCFS.zombie_children(int(sys.argv[3]), 1)[0]


def wait_until_gone() -> None:
    began = time.monotonic()
    while not is_gone():
        if time.monotonic() - began > MAX_SECONDS:
            sys.exit(f"its zombies are still there after {MAX_SECONDS} s")
        time.sleep(0.02)


with tempfile.TemporaryDirectory() as directory:
    began, figures = time.monotonic(), []
    while not figures or sys.argv[2] == "reap" and not is_gone():
        if time.monotonic() - began > MAX_SECONDS:
            sys.exit(f"its zombies are still there after {MAX_SECONDS} s")
        figures.append(agent(sys.argv[2], directory))
    if sys.argv[2] == "terminate":
        while PROCFS.stat(int(sys.argv[3])) is not None:
            time.sleep(0.02)
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - began,
                "cpu": sum(cpu for _seconds, cpu, _memory in figures),
                "memory": max(memory for _seconds, _cpu, memory in figures),
                "runs": len(figures),
            }
        )
    )
