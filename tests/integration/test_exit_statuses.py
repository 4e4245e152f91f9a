"""No exit status is taken from a parent that asks for it in time; what one sees that asks late
stands in docs/exit-statuses.md.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from rig.agents import later, sweep
from rig.node import offender_of
from rig.reaping import said

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "bench"))

import exit_statuses  # noqa: E402

# From SIGUSR1 on, until SIGUSR2 and some more: each child is waited for up to half a second after
# it has exited, in another order than they exited in, and its status compared.
ASKS_IN_TIME = """
import random
signals = set()
for number in signal.SIGUSR1, signal.SIGUSR2:
    signal.signal(number, lambda number, _frame: signals.add(number))
ready()
while not signals:
    time.sleep(0.01)
asked = wrong = 0
due = []
while due or asked < 300 or signal.SIGUSR2 not in signals:
    if asked + len(due) < 300 or signal.SIGUSR2 not in signals:
        status = random.randrange(256)
        child = os.fork()
        if child == 0:
            os._exit(status)
        due.append((time.monotonic() + random.choice([0, 0.1, 0.25, 0.5 * random.random(), 0.5]), child, status))
    for moment, child, status in sorted(due):
        if moment <= time.monotonic():
            due.remove((moment, child, status))
            asked += 1
            try:
                wrong += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != status
            except ChildProcessError:
                wrong += 1
    time.sleep(0.005)
os.write(1, b"%d %d\\n" % (asked, wrong))
forever()
"""


def test_every_status_arrives_that_is_asked_for_in_time(node):
    """Swept all the time, and its other zombies, which nobody asks for, are collected meanwhile:
    they are two hours old, and min_age is one.
    """
    program = node.container("for _ in range(20): zombie()\n" + ASKS_IN_TIME)
    assert offender_of(node.sweep(remedies="reap", min_age=3600), program)["reason"] == "too_young"
    program.process.send_signal(signal.SIGUSR1)
    collected = [
        sweep(node, later(hours=2), remedies="reap", min_age=3600)["counts"]["cleared_by"]["reap"]
        for _number in range(20)
    ]
    program.process.send_signal(signal.SIGUSR2)
    asked, wrong = map(int, said(program).split())
    assert asked >= 300
    assert wrong == 0
    assert sum(collected) == 20


# The first child exits last: it is the one that wait4 for "any child" would give.
YOUNG_AND_OLD = """
here, there = os.pipe()
young = os.fork()
if young == 0:
    os.read(here, 1)
    os._exit(5)
old = zombie()
def end_the_young(*_):
    os.write(there, b"x")
    os.waitid(os.P_PID, young, os.WEXITED | os.WNOWAIT)
    os.write(1, b"both\\n")
signal.signal(signal.SIGUSR1, end_the_young)
def ask(*_):
    os.write(1, b"status %d\\n" % os.waitstatus_to_exitcode(os.waitpid(young, 0)[1]))
signal.signal(signal.SIGUSR2, ask)
ready()
forever()
"""


def test_only_the_zombie_that_is_old_enough_is_collected(node):
    """The other one has exited meanwhile, and its status is there when it is asked for."""
    program = node.container(YOUNG_AND_OLD)
    assert offender_of(node.sweep(remedies="reap", min_age=3600), program)["reason"] == "too_young"
    program.process.send_signal(signal.SIGUSR1)
    assert said(program) == "both"
    entry = offender_of(sweep(node, later(hours=2), remedies="reap", min_age=3600), program)
    assert (entry["zombies"], entry["due"], entry["cleared"]) == (2, 1, 1)
    assert len(program.zombies()) == 1
    program.process.send_signal(signal.SIGUSR2)
    assert said(program) == "status 5"


# One that waits at once, and one that takes a lost status for 0
COMMONEST = ("bash, `wait $child`", "Python, `subprocess.Popen.wait`")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in COMMONEST else pytest.mark.full)
        for name in exit_statuses.CASES
    ],
)
def test_what_stands_in_the_document(tmp_path, name):
    """For versions of these programs that fail in another way the document has to be written
    again.
    """
    command = exit_statuses.CASES[name][0]
    if not exit_statuses.path_of(command):
        pytest.skip(f"{command} is not installed")
    assert exit_statuses.row(name, tmp_path) in exit_statuses.documented()


def test_the_document_has_no_other_row():
    rows = [
        line for line in exit_statuses.documented() if not line.startswith(("| program", "|---"))
    ]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(exit_statuses.CASES)
