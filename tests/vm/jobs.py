"""Runs in a virtual machine: each script that appears in the shared folder, one after the other.

NAME.sh comes from the host, under a name of its own first, so that it is whole. NAME.out gets what
it prints, NAME.status its exit status.
"""

import contextlib
import glob
import os
import subprocess
import time

JOBS = "/host/jobs"


def run(script, out) -> int:
    """Its exit status. Where there is no systemd this is PID 1, so orphans are collected too."""
    started = subprocess.Popen(
        ["sh", script], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
    )
    while True:
        pid, status = os.wait()
        if pid == started.pid:
            started.returncode = os.waitstatus_to_exitcode(status)
            return started.returncode


def main():
    open(JOBS + "/ready", "w").close()
    while True:
        for script in sorted(glob.glob(JOBS + "/*.sh")):
            name = script[: -len(".sh")]
            with open(name + ".out", "wb") as out:
                done = run(script, out)
            os.rename(script, name + ".done")
            with open(name + ".part", "w") as status:
                status.write(str(done))
            os.rename(name + ".part", name + ".status")
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.2)


if __name__ == "__main__":
    main()
