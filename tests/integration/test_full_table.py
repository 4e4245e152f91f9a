"""A process table that is full: by the limit of a cgroup, and by that of a PID namespace. The resident agent is inside the same limit.

REAPER_FULL_TABLES: how often in all, a multiple of 10; 20 unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig.node import OLD_SCRIPT, Node, wait_until
from rig.own_cgroup import own_cgroup
from rig.watched import Watch

FULL = 200
TIMES = int(os.environ.get("REAPER_FULL_TABLES", "20"))
ROUNDS = {"reap": TIMES // 5, "terminate": TIMES // 10}  # for each node, of which there are four and two
NODES = [(kind, remedy) for kind in ("cgroup", "namespace") for remedy in ("reap", "reap", "terminate")]
LADDER = {"reap": "nudge,reap", "terminate": "nudge,terminate"}
TICKS = 2

# Makes zombies until nothing can be started any more, and nothing could for a while: whatever PID is given back in between is taken too
FILL = """
def fill():
    refused = 0
    while refused < 10:
        try:
            zombie()
            refused = 0
        except BlockingIOError:
            refused += 1
            time.sleep(0.01)
"""
FILLS_WHEN_TOLD = FILL + """
def told(*_):
    fill()
    os.write(1, b"full %f\\n" % time.monotonic())
signal.signal(signal.SIGUSR1, told)
ready()
forever()
"""

# Says when something can be started, and when not any more
TRIES = """
ready()
before = True
while True:
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        can = True
    except BlockingIOError:
        can = False
    if can != before:
        before = can
        os.write(1, b"%s %f\\n" % (b"can" if can else b"cannot", time.monotonic()))
    time.sleep(0.05)
"""


class Lines:
    """What a program writes: (word, seconds on CLOCK_MONOTONIC) each. last: the last of these words, None before the first."""

    def __init__(self, program):
        self.lines = queue.Queue()
        self.last = None
        threading.Thread(target=self._read, args=(program.popen.stdout,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            word, when = line.split()
            self.last = word.decode()
            self.lines.put((self.last, float(when)))
        self.lines.put((None, 0.0))

    def next(self, word, after=0.0) -> float:
        """When it wrote that word next."""
        while True:
            found, when = self.lines.get(timeout=120)
            assert found is not None, "it has ended"
            if found == word and when > after:
                return when


class Limited:
    """A node, of which a part is under a limit. before: words that take a command under that limit."""

    def __init__(self, folder, cgroup=None):
        self.node = Node(folder)
        self.before = cgroup.entering if cgroup else []

    def program(self, code):
        return self.node.program(code, self.before)

    def container(self, code):
        return self.node.container(code, self.before)


def limited(kind, folder, stack):
    """A :class:`Limited` of that kind; stack: a contextlib.ExitStack that ends it."""
    folder.mkdir()
    cgroup = stack.enter_context(own_cgroup("pids")) if kind == "cgroup" else None
    limit = Limited(folder, cgroup)
    stack.callback(limit.node.stop)
    if cgroup:
        cgroup.write("pids.max", FULL)
    else:
        if [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]] < [6, 14]:
            pytest.skip("kernel.pid_max belongs to the whole machine before Linux 6.14")
        assert limit.node.run("sh", "-c", "echo 400 >/proc/sys/kernel/pid_max").returncode == 0  # 300 to 400 are given again and again
    return limit


@pytest.fixture
def stack():
    with contextlib.ExitStack() as entered:
        yield entered


def fill_up(parent, says, tries) -> None:
    """Returns when nothing can be started any more. says, tries: the :class:`Lines` of who fills it and of who tries to start something.

    Who tries gives a PID back each time. Where that took longer than the other one went on, there is one left.
    """
    for _time in range(20):
        parent.process.send_signal(signal.SIGUSR1)
        says.next("full")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: tries.last == "cannot", 3)
            return
    raise AssertionError("it does not get full")


def recoveries(limit, folder, remedy) -> int:
    """Fill it again and again, and see the agent free it each time. Returns how often.

    The agent is stopped while it is filled, or it would now and then have acted before it is full.
    """
    tries = Lines(limit.program(TRIES))
    watch = Watch(limit.node, folder, "--min-age", "0", "--grace", "0.3", "--remedies", LADDER[remedy], "--cooldown", "0", before=limit.before)
    try:
        parent = says = None
        for number in range(ROUNDS[remedy]):
            if parent is None:
                parent = limit.container(FILLS_WHEN_TOLD)
                says = Lines(parent)
            wait_until(lambda parent=parent: not parent.zombies(), 60)  # then it is not stopped in the middle of anything
            watch.after_ticks(1)
            watch.suspend()
            fill_up(parent, says, tries)
            full = time.monotonic()
            watch.resume()
            free = tries.next("can", full)
            ticks = watch.ticks(full, free)
            assert ticks <= TICKS, "round %d: freed %.1f s and %d ticks after it was full: %s" % (number, free - full, ticks, watch.text())
            if remedy == "reap":
                assert parent.alive
            else:
                assert parent.ends()
                parent.popen.wait()  # its output is read to its end
                limit.node.programs.remove(parent)
                parent = None
        assert watch.end() == 0
        return ROUNDS[remedy]
    finally:
        watch.stop()


def test_the_resident_agent_frees_a_full_table_within_two_ticks_each_time(tmp_path, stack):
    limits = [limited(kind, tmp_path / ("node%d" % number), stack) for number, (kind, _remedy) in enumerate(NODES)]
    with ThreadPoolExecutor(len(NODES)) as pool:
        jobs = [pool.submit(recoveries, limit, limit.node.run_folder.parent, remedy) for limit, (_kind, remedy) in zip(limits, NODES)]
        assert sum(job.result() for job in jobs) == TIMES


@pytest.mark.parametrize("kind", ["cgroup", "namespace"])
def test_the_script_cannot_even_run_there(tmp_path, stack, kind):
    limit = limited(kind, tmp_path / kind, stack)
    parent = limit.container(FILL + "fill()\nready()\nforever()")
    held = len(parent.zombies())
    assert held > 50
    # bash tries to fork again and again for half a minute before it gives up; where the namespace is full it is not even started
    done = limit.node.run("timeout", "--signal", "KILL", "3", *limit.before, "bash", str(OLD_SCRIPT))
    assert done.returncode != 0
    assert parent.alive
    wait_until(lambda: len(parent.zombies()) == held)
