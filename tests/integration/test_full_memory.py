"""The process table is full and there is no memory: agent and leaker are in one cgroup for tasks
and one for memory, both at their limit.
"""

from __future__ import annotations

import contextlib
import re
import signal

import pytest
from rig.daemon_node import Daemon
from rig.node import Node, Program, wait_until
from rig.own_cgroup import entering, own_cgroup

MEMORY = 64 << 20
TASKS = 200
TICKS = 3

FILL_TABLE = """
def fill(*_):
    try:
        while True:
            zombie()
    except BlockingIOError:
        os.write(1, b"full\\n")
signal.signal(signal.SIGUSR1, fill)
ready()
forever()
"""

# Outside the cgroup it does once what it is to do inside, so that it needs no memory of its own
# there. Pages of a file in memory are charged to who writes them; then not one page is left.
FILL_MEMORY = """
import resource
file = os.memfd_create("fill")
page = bytes(4096)
def fill():
    try:
        while True:
            os.write(file, page)
    except OSError:
        pass
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
fill()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ctypes.CDLL(None).mlockall(3)
procs = os.open(%r, os.O_WRONLY)
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
ready()
while not told:
    time.sleep(0.05)
os.write(procs, b"0")
fill()
os.write(1, b"full\\n")
forever()
"""


class Short:
    """A node, and two cgroups in it."""

    def __init__(self, directory, stack):
        self.stack = stack
        # what else there is on the machine is no reason to sweep
        node = stack.enter_context(own_cgroup("pids"))
        self.pids = node.below("full")
        self.memory = stack.enter_context(own_cgroup("memory"))
        self.pids.write("pids.max", TASKS)
        for name in (
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.max",
            "memory.swap.max",
        ):
            if (self.memory.directory / name).exists():
                self.memory.write(name, 0 if "swap" in name else MEMORY)
        self.node = Node(directory, cgroup=node)
        stack.callback(self.node.stop)
        self.before = [*entering(self.pids.seen_from_there), *self.memory.entering]

    def used(self) -> int:
        return int(
            self.memory.read(
                "memory.usage_in_bytes" if self.memory.version == 1 else "memory.current"
            )
        )

    def started(self, command, code, depth) -> Program:
        program = Program([*self.node.enter, *command], code, depth)
        self.node.programs.append(program)
        return program

    def forbid_the_oom_killer(self):
        """Who needs a page waits for it, and who asks the kernel for something that takes one is
        told ENOMEM. Version 1 only.
        """
        self.memory.write("memory.oom_control", 1)
        self.stack.callback(self.memory.write, "memory.oom_control", 0)


@pytest.fixture
def short(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Short(tmp_path, stack)


def child_count(program) -> int:
    """All of them zombies; 0 when it has ended."""
    try:
        with open(
            f"/proc/{program.process.pid}/task/{program.process.pid}/children",
            encoding="ascii",
        ) as file:
            return len(file.read().split())
    except OSError:
        return 0


def freed_in_time(daemon, parent, before) -> bool:
    """Fails when it is not free after three looks. Ticks come first, since this test may be stopped
    between the two.
    """
    ticks = daemon.ticks_after(before)
    free = child_count(parent) < 20
    assert free or ticks <= TICKS, daemon.text()
    return free


def told_to_fill(program):
    program.process.send_signal(signal.SIGUSR1)
    assert program.popen.stdout.readline() == b"full\n"


@pytest.mark.parametrize("remedies", ["nudge,reap", "nudge,terminate"])
@pytest.mark.parametrize("oom_killer", ["takes the hog", "may take nobody"])
def test_it_still_frees_the_table(short, tmp_path, remedies, oom_killer):
    """Stopped while both are filled up, so that it meets both at once."""
    daemon = Daemon(
        short.node,
        tmp_path,
        "--min-age",
        "0",
        "--grace",
        "0.3",
        "--cooldown",
        "0",
        "--remedies",
        remedies,
        before=short.before,
    )
    try:
        hog = short.started(
            ["choom", "-n", "1000", "--"],
            FILL_MEMORY % str(short.memory.directory / "cgroup.procs"),
            1,
        )
        parent = short.started(
            [*short.before, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
            FILL_TABLE,
            2,
        )
        daemon.after_ticks(2)
        daemon.suspend_at_rest()
        told_to_fill(parent)
        assert int(short.pids.read("pids.current")) == TASKS
        assert child_count(parent) > TASKS - 20
        if oom_killer == "may take nobody":
            if short.memory.version != 1:
                pytest.skip("the OOM killer cannot be forbidden in a memory cgroup of version 2")
            short.forbid_the_oom_killer()
            told_to_fill(hog)
            assert short.used() > MEMORY - (256 << 10)
        else:
            hog.process.send_signal(signal.SIGUSR1)
            wait_until(lambda: not hog.alive or short.used() > MEMORY - (1 << 20))
        before = daemon.mark()
        daemon.resume()
        wait_until(lambda: freed_in_time(daemon, parent, before), 120)
        if "reap" in remedies:
            assert parent.alive
        else:
            assert parent.ends()
        daemon.after_ticks(1)
        assert daemon.process.is_running()
        # a sweep each minute, and a file that may not be written yet
        wait_until(lambda: (daemon.status() or {}).get("cleared", 0) > TASKS - 20, 150)
    finally:
        daemon.stop()


def test_the_memory_of_the_agent_is_locked_and_in_reserve(tmp_path):
    """Known before it is needed: 8 MB beyond what it uses are there, and stay there after a
    sweep.
    """
    node = Node(tmp_path)
    daemon = Daemon(node, tmp_path, "--min-age", "0", "--remedies", "reap")
    try:
        locked, resident = lines(daemon, "VmLck", "VmRSS")
        assert locked >= resident - 64 > 0, "but for the few pages that nobody may lock, in KB"
        node.container("for _ in range(1000): zombie()\nready()\nforever()")
        wait_until(lambda: (daemon.status() or {}).get("cleared") == 1000, 120)
        assert lines(daemon, "VmRSS")[0] <= resident + 256, "it had to ask for more, in KB"
        assert {"Size": 1024, "Rss": 1024}.items() <= spare(daemon).items(), (
            "what it can give back, and is joined with nothing, in KB"
        )
    finally:
        daemon.stop()
        node.stop()


def lines(daemon, *names):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return [int(fields[name].split()[0]) for name in names]


def spare(daemon) -> dict:
    """What the kernel tells of the memory that it shares with nobody (proc_pid_smaps(5)); KB."""
    with open(f"/proc/{daemon.process.pid}/smaps", encoding="utf-8") as file:
        shared = re.findall(
            r"^\S+ rw-s \S+ \S+ \d+ +/dev/zero \(deleted\)\n((?:\w+:.*\n)*)",
            file.read(),
            re.MULTILINE,
        )
    assert len(shared) == 1
    return {name: int(number) for name, number in re.findall(r"(\w+): +(\d+) kB", shared[0])}
