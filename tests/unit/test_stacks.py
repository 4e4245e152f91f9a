"""The count by the kernel's stacks, on a machine made by hand: every moment in which tasks may be on
their way in or out, thousands of times.
"""

from __future__ import annotations

import heapq
import os
import random
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import stacks
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS

LOOKS = int(os.environ.get("REAPER_LOOKS", "10000"))
KB, CPUS, LIVING = 16, 4, 300
KNOWN = stacks.Calibration(KB, CPUS, 10000)
STEP = 0.00002  # seconds that a read takes
ON_ITS_WAY = 0.0025  # seconds a task takes at most for each part of its way; less than a pause


class Machine:
    """Its counters. rate: of events of each kind in a second. zombies: that stay all the time."""

    def __init__(self, rate=0.0, zombies=0, seed=0, fails=True):
        self.random = random.Random(seed)
        self.rate, self.zombies, self.fails = rate, zombies, fails
        self.now, self.running = 0.0, 1
        self.tasks, self.last_pid = LIVING + zombies, 5000
        self.stacks = LIVING + CPUS - 1
        self.events, self.order = [], 0
        self.paused = []
        self.kinds = (self.fork, self.autoreaped, self.dies, *((self.failing,) if fails else ()))
        if rate:
            for kind in self.kinds:
                self.later(self.wait(), self.again(kind))

    def wait(self):
        return self.random.expovariate(self.rate)

    def short(self):
        return self.random.random() * ON_ITS_WAY

    def later(self, seconds, do):
        self.order += 1
        heapq.heappush(self.events, (self.now + seconds, self.order, do))

    def again(self, kind):
        def do():
            kind()
            self.later(self.wait(), do)

        return do

    def add(self, tasks=0, stacks=0, last_pid=0):
        self.tasks += tasks
        self.stacks += stacks
        self.last_pid += last_pid

    def fork(self):
        self.add(stacks=1)
        to_pid = self.short()
        self.later(to_pid, lambda: self.add(last_pid=1))
        self.later(to_pid + self.short(), lambda: self.add(tasks=1))

    def autoreaped(self):
        self.add(tasks=-1)
        self.later(self.short(), lambda: self.add(stacks=-1))

    def dies(self):
        """One that is a zombie for a moment."""
        self.add(stacks=-1)
        self.later(self.short(), lambda: self.add(tasks=-1))

    def failing(self):
        """A fork that got a PID, and then had no room in its cgroup."""
        self.add(stacks=1)
        to_pid = self.short()
        self.later(to_pid, lambda: self.add(last_pid=1))
        self.later(to_pid + self.short(), lambda: self.add(stacks=-1))

    def pass_by(self, seconds):
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _order, do = heapq.heappop(self.events)
            do()
        self.now = until

    def sleep(self, seconds):
        self.paused.append(seconds)
        self.pass_by(seconds)

    def read(self, path):
        self.pass_by(STEP)
        return {
            "/proc/loadavg": f"0.1 0.2 0.3 {self.running}/{self.tasks} {self.last_pid}\n",
            "/proc/meminfo": f"MemTotal: 1 kB\nKernelStack:    {KB * self.stacks} kB\nX: 1 kB\n",
            "/proc/sys/vm/stat_refresh": "",
            "/proc/sys/kernel/pid_max": "20000\n",
            "/proc/sys/kernel/threads-max": "30000\n",
            "/sys/devices/system/cpu/possible": f"0-{CPUS - 1}\n",
        }[path]


def show(monkeypatch, read):
    """Has the module read files by this function of a path."""
    monkeypatch.setattr(stacks, "_opened", lambda path: path)
    for name in ("_text", "read"):
        monkeypatch.setattr(stacks, name, read)


@pytest.fixture
def on(monkeypatch):
    """Has the module see this machine."""

    def take(machine):
        show(monkeypatch, machine.read)
        monkeypatch.setattr(stacks.time, "sleep", machine.sleep)
        return machine

    return take


@pytest.mark.parametrize("number", [0, 1, 20000])
def test_at_rest_it_is_the_number_of_zombies(on, number):
    machine = on(Machine(zombies=number))
    assert stacks.look(stacks.Counters("/proc"), KNOWN._replace(most_tasks=30000)) == number
    assert len(machine.paused) == 3


@pytest.mark.parametrize("rate", [5, 20, 60])
def test_tasks_that_come_and_go_never_hide_a_zombie(on, rate):
    machine = on(Machine(rate=rate, zombies=1, seed=rate))
    sure = 0
    for _look in range(LOOKS):
        count = stacks.look(stacks.Counters("/proc"), KNOWN)
        assert count != 0, "hidden"
        sure += count is not None
        machine.pass_by(machine.random.random() / 100)
    assert sure > LOOKS / 20, "it has to be of use"


@pytest.mark.parametrize("rate", [5, 20])
def test_and_it_mostly_knows_that_there_is_none(on, rate):
    machine = on(Machine(rate=rate, seed=rate))
    told = []
    for _look in range(1000):
        told.append(stacks.look(stacks.Counters("/proc"), KNOWN))
        machine.pass_by(0.01)
    assert told.count(0) > 300


def test_where_more_tasks_want_a_cpu_it_waits_longer_for_them(on):
    machine = on(Machine())
    for running, pause in ((1, 0.003), (CPUS, 0.003), (5 * CPUS, 0.015), (1000, 0.05)):
        machine.running, machine.paused = running, []
        stacks.look(stacks.Counters("/proc"), KNOWN)
        assert machine.paused == pytest.approx(3 * [pause])


def test_the_stacks_are_not_read_where_half_of_the_table_is_taken(on, monkeypatch):
    """A read of stat_refresh may need a kernel thread that cannot be started then."""
    machine = on(Machine(zombies=KNOWN.most_tasks))
    monkeypatch.setattr(stacks.Counters, "stack_kb", lambda _self: pytest.fail("read"))
    assert stacks.look(stacks.Counters("/proc"), KNOWN) is None
    assert machine.paused == []


def test_more_stacks_than_tasks_are_no_number_of_zombies(on):
    machine = on(Machine())
    machine.add(stacks=1)
    assert stacks.look(stacks.Counters("/proc"), KNOWN) is None


def test_a_stack_that_is_only_partly_accounted_is_not_believed(on, monkeypatch):
    on(Machine())
    monkeypatch.setattr(stacks.Counters, "stack_kb", lambda _self: KB * (LIVING + CPUS - 1) - 4)
    assert stacks.look(stacks.Counters("/proc"), KNOWN) is None


@pytest.mark.parametrize(
    "text, number", [("0\n", 1), ("0-1\n", 2), ("0-3,8\n", 5), ("0,2-7,16-31\n", 23)]
)
def test_possible_cpus(text, number):
    assert stacks.possible_cpus(text) == number


# Calibration


class Ledger:
    directory, part = "/none/unified", None

    def __init__(self, count):
        self.count = count

    def zombies(self):
        return self.count


@pytest.fixture
def procfs(on, monkeypatch):
    """A machine on which everything is as it should be; its attributes may be changed."""
    machine = on(Machine())
    machine.files = {"/proc/sys/kernel/sched_rt_runtime_us": "950000\n"}
    read = machine.read

    def with_files(path):
        if path in machine.files:
            return machine.files[path]
        if path.startswith("/proc/") or path.endswith("/possible"):
            return read(path)
        raise FileNotFoundError(2, "No such file or directory", path)

    show(monkeypatch, with_files)
    monkeypatch.setattr(
        stacks.os, "uname", lambda: SimpleNamespace(machine=machine.machine), raising=True
    )
    machine.machine, machine.namespace = "x86_64", stacks.PID_NS_INIT_INO
    made = ProcFS("/proc")
    monkeypatch.setattr(made, "pid_namespace", lambda _pid: machine.namespace)
    monkeypatch.setattr(made, "read_text", lambda name: with_files(f"/proc/{name}"))
    made.machine = machine
    return made


def test_the_ledger_tells_how_large_a_stack_is(procfs, monkeypatch):
    for number, size in ((0, 16), (7, 32), (3, 64)):
        machine = procfs.machine
        machine.tasks = LIVING + number
        monkeypatch.setattr(
            stacks.Counters, "stack_kb", lambda _self, size=size: size * (LIVING + CPUS - 1)
        )
        assert stacks.calibrated(
            procfs, stacks.Counters("/proc"), Ledger(number)
        ) == stacks.Calibration(size, CPUS, 10000)


def cgroup_of_isolated(machine):
    machine.files["/none/cpuset.cpus.isolated"] = "3\n"


REASONS = {
    "may keep the stack of a zombie": lambda machine: setattr(machine, "machine", "loongarch64"),
    "not in the initial PID namespace": lambda machine: setattr(machine, "namespace", 4026532000),
    "CPUs 2-3 are isolated": lambda machine: machine.files.update(
        {"/sys/devices/system/cpu/isolated": "2-3\n"}
    ),
    "CPUs 3 are isolated": cgroup_of_isolated,
    "sched_rt_runtime_us is -1": lambda machine: machine.files.update(
        {"/proc/sys/kernel/sched_rt_runtime_us": "-1\n"}
    ),
    "of kernel stacks for 303 tasks": lambda machine: machine.add(stacks=2),
    "no KernelStack": lambda machine: machine.files.update({"/proc/meminfo": "MemTotal: 1 kB\n"}),
}


@pytest.mark.parametrize("reason", REASONS)
def test_where_it_cannot_hold_it_is_off_with_a_reason(procfs, reason):
    look = stacks.Look(procfs, Ledger(0))
    look.check()
    assert (look.why_not, look.shows_none()) == (None, True)
    REASONS[reason](procfs.machine)
    look = stacks.Look(procfs, Ledger(0))
    look.check()
    assert look.is_off
    assert reason in look.why_not
    assert not look.shows_none()


@pytest.mark.parametrize("reason", list(REASONS)[1:5])
def test_what_changes_later_switches_it_off_too(procfs, reason):
    look = stacks.Look(procfs, Ledger(0))
    look.check()
    REASONS[reason](procfs.machine)
    look.check()
    assert look.is_off
    assert reason in look.why_not


def test_of_a_part_of_the_cgroups_nothing_is_known(procfs):
    ledger = Ledger(0)
    ledger.part = "/none"
    look = stacks.Look(procfs, ledger)
    look.check()
    assert look.is_off
    assert "only a part" in look.why_not


@pytest.mark.parametrize("user", ["Permission denied", "No such file or directory"])
def test_whoever_may_not_fold_the_counters_does_not_count_by_them(procfs, monkeypatch, user):
    def refuse(_self):
        raise OSError(13, user, "/proc/sys/vm/stat_refresh")

    look = stacks.Look(procfs, Ledger(0))
    look.check()
    monkeypatch.setattr(stacks.Counters, "stack_kb", refuse)
    assert not look.shows_none()
    assert look.why_not == f"/proc/sys/vm/stat_refresh: {user}"


def test_where_ledger_and_stacks_disagree_the_ledger_is_right_from_then_on(procfs):
    ledger = Ledger(0)
    look = stacks.Look(procfs, ledger)
    look.check()
    assert look.shows_none()
    ledger.count = 1
    look.check()
    assert look.why_not == "the kernel's stacks showed 0 zombies, its cgroups 1"
    ledger.count = 0
    look.check()
    assert look.is_off
    assert not look.shows_none()


def test_that_they_disagree_once_is_no_reason(procfs):
    ledger = Ledger(0)
    look = stacks.Look(procfs, ledger)
    look.check()
    counts = [1, 1, 0]
    ledger.zombies = lambda: counts.pop(0)
    look.check()
    assert (look.why_not, counts) == (None, [])


def test_as_long_as_tasks_come_and_go_it_is_not_calibrated_and_not_off(on, procfs):
    machine = procfs.machine
    for kind in machine.kinds:
        machine.rate = 3000
        machine.later(0, machine.again(kind))
    look = stacks.Look(procfs, Ledger(0))
    look.check()
    assert not look.is_off
    assert "not calibrated yet" in look.why_not
    assert not look.shows_none()
    machine.events.clear()
    machine.tasks, machine.stacks = LIVING, LIVING + CPUS - 1
    look.check()
    assert look.shows_none()
