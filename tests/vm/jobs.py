"""Runs in a virtual machine: each script that appears in the shared folder, one after the other.

NAME.sh comes from the host, under a name of its own first, so that it is whole. NAME.out gets what
it prints, NAME.status its exit status; power off with a script named ``off``.
"""

import glob
import os
import subprocess
import time

JOBS = "/host/jobs"


def main():
    open(JOBS + "/ready", "w").close()
    while True:
        for script in sorted(glob.glob(JOBS + "/*.sh")):
            name = script[: -len(".sh")]
            with open(name + ".out", "wb") as out:
                done = subprocess.run(
                    ["sh", script],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            os.rename(script, name + ".done")
            with open(name + ".part", "w") as status:
                status.write(str(done.returncode))
            os.rename(name + ".part", name + ".status")
        try:  # it is PID 1 where there is no systemd
            while os.getpid() == 1 and os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.2)


if __name__ == "__main__":
    main()
