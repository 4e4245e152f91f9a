"""The agent with something altered before it begins: its clock, how long it waits for others, a
moment at which the test steps in.

So a test forces an order of events, and need neither hope that the machine is fast enough for it
nor wait until time has passed. What is altered is code for :func:`rig.reaping.agent_that`.
"""

from __future__ import annotations

import json

from rig.node import GRACE
from rig.reaping import agent_that
from rig.slowness import scaled


def lines(code) -> str:
    """Several lines of code as one statement."""
    return f"exec({code!r})"


def later(hours) -> str:
    """Its clock is that much ahead, as if so much more time had passed since the node booted."""
    return f"import time; time.monotonic = lambda real=time.monotonic: real() + {3600 * hours}"


# For parents that reminders cure, all of them: they go on until everything has been collected,
# however long that takes.
REMINDED_UNTIL_CURED = (
    "from reaper.remedies import nudge; nudge.GIVE_UP_AFTER = nudge.MAX_SECONDS = 600.0"
)

# For adopters that wait, all of them: until they have collected what a parent left when it ended.
# And for those that never do
UNTIL_SETTLED = "from reaper import sweep; sweep.SETTLE = 600.0"
WITHOUT_SETTLING = "from reaper import sweep; sweep.SETTLE = 0.0"

# An init gets its time once its canary has exited; and then until none of those that have not
# collected theirs is about to run. One that waits for its turn on a CPU is looked at until it sleeps.
PATIENT_WITH_INITS = lines(
    """
import os, time
from reaper import canary
from reaper.kernel.procfs import ProcFS
from reaper.node import inits
inits.LOOKS = 2000
real_watch, patience = canary.wait_for_fates, canary.INIT_TIMEOUT
def has_exited(each):
    stat = ProcFS("/proc").stat(each.stat.pid)
    return stat is None or stat.start_ticks != each.stat.start_ticks or stat.state == "Z"
def is_about_to_run(pid):
    return any(state in ("R", "D") for state in map(state_of, os.listdir("/proc/%d/task" % pid)))
def state_of(thread):
    stat = ProcFS("/proc").stat(int(thread))
    return stat and stat.state
def watch(canaries):
    for each in canaries:
        os.close(each.goes)
    while not all(has_exited(each) for each in canaries):
        time.sleep(0.01)
    end = time.monotonic() + patience
    while True:
        left = [each for each in canaries if canary.is_there(each.pidfd)]
        if not left or time.monotonic() > end and not any(is_about_to_run(each.init_pid) for each in left):
            return real_watch([each._replace(goes=os.dup(0)) for each in canaries])
        time.sleep(0.01)
canary.wait_for_fates, canary.INIT_TIMEOUT = watch, PATIENCE
""".replace("PATIENCE", str(scaled(0.1)))
)


def sweep(node, *does, flags=(), **options) -> dict:
    """As ``node.sweep(*flags, **options)``, by a patient agent that does this before it begins."""
    options = {"min_age": 0, "grace": GRACE, **options}
    words = [
        word
        for name, value in options.items()
        for word in ("--" + name.replace("_", "-"), str(value))
    ]
    flags = [*flags, *(["--exit-zero"] if "--check" in flags else [])]
    done = node.run(*node.agent_command("--json", *flags, *words, code=agent_that(*does)))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)
