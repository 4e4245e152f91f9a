"""The count by the kernel's stacks against the process table, on the machine's own kernel, while
tasks come and go.

The counters are of the whole machine, and so is what they are compared with: all of /proc. Whatever
else the machine has and does may raise a count, and must never lower it.
"""

from __future__ import annotations

import os

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, stacks
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from rig.node import wait_until
from rig.own_cgroup import ROOT
from rig.slowness import scaled

LOOKS = int(os.environ.get("REAPER_LOOKS", "30"))
TIMEOUT = 300  # seconds until a busy machine stands still for some milliseconds
PROCFS = ProcFS()
COUNTERS = stacks.Counters("/proc")

# Forks that are waited for, forks that end by themselves, threads, and forks that fail
CHURN = """
import random, resource
def forks():
    while True:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(random.random() * {pause})
def threads():
    while True:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        time.sleep(random.random() * {pause})
for number in range(4):
    if os.fork() == 0:
        forks() if number % 2 else threads()
if os.fork() == 0:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if os.fork() == 0:
            os._exit(0)
        time.sleep(random.random() * {pause})
ready()
forever()
"""
ZOMBIES = """
for _ in range({number}): zombie()
ready()
forever()
"""
DEAD_LEADERS = """
for _ in range({number}):
    child = os.fork()
    if child == 0:
        threading.Thread(target=forever).start()
        ctypes.CDLL(None).syscall({exit}, 0)
    while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
ready()
forever()
""".replace("{exit}", "93" if os.uname().machine == "aarch64" else "60")


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """As many times longer than usual as a task takes to come or to go here."""
    for name in ("PAUSE", "MAX_PAUSE"):
        monkeypatch.setattr(stacks, name, scaled(getattr(stacks, name)))


@pytest.fixture(scope="module")
def ledger():
    """Of this machine. Where its kernel's stacks cannot be counted, there is nothing to test."""
    made = cgroups.Ledger(str(ROOT), PROCFS, keep=True)
    try:
        stacks.check_machine(PROCFS, made)
    except stacks.Unusable as why:
        pytest.skip(str(why))
    return made


@pytest.fixture(scope="module")
def counters(ledger):
    """What this machine's counters mean, by the kernel's own headers: only a machine that stands
    still now and then can be calibrated.
    """
    cpus = stacks.possible_cpus(stacks.read(stacks.CPUS + "/possible"))
    return stacks.Calibration(stack_kb=16, cpus=cpus, most_tasks=1 << 22)


def dead() -> set:
    """(PID, start time) of all zombies of the machine."""
    return {(each.pid, each.start_ticks) for each in PROCFS.zombies()}


def test_no_look_hides_a_zombie_while_tasks_come_and_go(node, counters):
    """How often it is sure depends on the machine. Whenever it is, it is right."""
    node.program(ZOMBIES.format(number=1))
    node.program(DEAD_LEADERS.format(number=1))
    node.program(CHURN.format(pause=0.2))
    for _look in range(LOOKS):
        before = dead()
        count = stacks.look(COUNTERS, counters)
        always = before & dead()
        assert len(always) >= 2
        assert count is None or count >= len(always)


@pytest.mark.parametrize("number", [3, 1000])
def test_no_look_shows_less_than_there_is(node, counters, number):
    begin(node, number)
    for _look in range(LOOKS):
        before = dead()
        count = stacks.look(COUNTERS, counters)
        always = before & dead()
        assert len(always) >= number
        assert count is None or count >= len(always)


@pytest.mark.machine
def test_a_machine_that_stands_still_is_calibrated_and_its_zombies_counted(node, ledger, counters):
    found = []

    def is_known():
        found[:] = [stacks.calibrated(PROCFS, COUNTERS, ledger)]
        return found[0]

    wait_until(is_known, TIMEOUT)
    assert found[0]._replace(most_tasks=0) == counters._replace(most_tasks=0)
    begin(node, 3)

    def agree():
        before = dead()
        count = stacks.look(COUNTERS, found[0])
        return count is not None and count == len(before) == len(before & dead())

    wait_until(agree, TIMEOUT)


def begin(node, number):
    """As many zombies, and threads that are none."""
    node.program(ZOMBIES.format(number=number))
    node.program("for _ in range(20): threading.Thread(target=forever).start()\nready()\nforever()")
