"""noise.py COMMAND...: runs a command on a machine that is busy with something else, and exits as
it does.

Beside it run four busy loops, and a process that holds 500 zombies and starts 50 processes a
second. A test that only a fault of the product can turn red is green all the same: python3
tools/noise.py ./run-tests
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

LOOPS, ZOMBIES, FORKS_PER_SECOND = 4, 500, 50


def main() -> int:
    """The exit status of the command, as a shell says it."""
    noisy = [started(loop) for _number in range(LOOPS)] + [started(fork)]
    try:
        status = subprocess.run(sys.argv[1:], check=False).returncode
    finally:
        for pid in noisy:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return status if status >= 0 else 128 - status


def started(work) -> int:
    """The PID of a process that does that until it is killed, or its parent is."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        work(lambda: os.getppid() == parent)
        os._exit(0)
    return pid


def loop(wanted) -> None:
    """Take all the CPU that there is."""
    while wanted():
        for _number in range(100000):
            pass


def fork(wanted) -> None:
    """Hold zombies, and start processes that end at once."""
    for _number in range(ZOMBIES):
        exits_at_once()
    while wanted():
        os.waitpid(exits_at_once(), 0)
        time.sleep(1 / FORKS_PER_SECOND)


def exits_at_once() -> int:
    """Its PID."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("noise.py: say which command to run, like python3 tools/noise.py ./run-tests")
    sys.exit(main())
