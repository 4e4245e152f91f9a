"""A process table that is full: by the limit of a cgroup, and by that of a PID namespace. The
daemon is inside the same limit.

REAPER_FULL_TABLES: how often in all, a multiple of 10; 20 unless it says otherwise. It is half as
often where PID namespaces have no limit of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig.daemon_node import Daemon
from rig.kernel import PID_MAX_OF_A_NAMESPACE
from rig.node import OLD_SCRIPT, wait_until
from rig.own_cgroup import entering, own_cgroup
from rig.reaping import PatientNode, built

FULL = 200
TIMES = int(os.environ.get("REAPER_FULL_TABLES", "20"))
# for each node, of which there are four and two
ROUNDS = {"reap": TIMES // 5, "terminate": TIMES // 10}
KINDS = ("cgroup", "namespace") if PID_MAX_OF_A_NAMESPACE else ("cgroup",)
NODES = [(kind, remedy) for kind in KINDS for remedy in ("reap", "reap", "terminate")]
# of a machine that may be filled: its own processes have PIDs below that too
PID_MAX = Path("/proc/sys/kernel/pid_max")
FULL_MACHINE = "1500"
LADDER = {"reap": "nudge,reap", "terminate": "nudge,terminate"}
TICKS = 2

# Makes zombies until nothing can be started any more, and nothing could for a while: whatever PID
# is given back in between is taken too
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
FILLS_WHEN_TOLD = (
    FILL
    + """
def told(*_):
    fill()
    os.write(1, b"full\\n")
signal.signal(signal.SIGUSR1, told)
ready()
forever()
"""
)

# Says whether anything can be started, each time that it is asked
TRIES_WHEN_ASKED = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
ready()
while True:
    signal.sigwait([signal.SIGUSR1])
    try:
        pid = os.fork()
    except BlockingIOError:
        os.write(1, b"cannot\\n")
        continue
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    os.write(1, b"can\\n")
"""


def asked(program) -> str:
    """What it says when it gets SIGUSR1."""
    program.process.send_signal(signal.SIGUSR1)
    return program.popen.stdout.readline().decode().strip()


class Limited:
    """A node, of which a part is under a limit. before: words that take a command under that limit.

    The node is alone in its cgroups, so that its agent sweeps for what is in the node, and for
    nothing else of the machine.
    """

    def __init__(self, directory, cgroup, limit=None):
        self.node = PatientNode(directory, cgroup=cgroup)
        self.before = entering(limit.seen_from_there) if limit else []

    def program(self, code):
        return self.node.program(code, self.before)

    def container(self, code):
        return self.node.container(code, self.before)


def limited(kind, directory, stack):
    """A :class:`Limited` of that kind; stack: a contextlib.ExitStack that ends it."""
    directory.mkdir()
    cgroup = stack.enter_context(own_cgroup("pids"))
    below = cgroup.limited_below("limited", "pids") if kind == "cgroup" else None
    limit = Limited(directory, cgroup, below)
    stack.callback(limit.node.stop)
    if below:
        below.write("pids.max", FULL)
    elif kind == "machine":
        stack.callback(PID_MAX.write_text, PID_MAX.read_text())
        PID_MAX.write_text(FULL_MACHINE)
    else:
        if not PID_MAX_OF_A_NAMESPACE:
            pytest.skip("kernel.pid_max belongs to the whole machine before Linux 6.14")
        # 300 to 400 are given again and again
        assert limit.node.run("sh", "-c", "echo 400 >/proc/sys/kernel/pid_max").returncode == 0
    return limit


@pytest.fixture
def stack():
    with contextlib.ExitStack() as entered:
        yield entered


def recoveries(limit, directory, remedy) -> int:
    """Fill it again and again, and see the agent free it each time. Returns how often.

    The agent is stopped while it is filled, or it would now and then have acted before it is full.
    """
    tries = limit.program(TRIES_WHEN_ASKED)
    daemon = Daemon(
        limit.node,
        directory,
        "--min-age",
        "0",
        "--grace",
        "0.3",
        "--remedies",
        LADDER[remedy],
        "--cooldown",
        "0",
        before=limit.before,
    )
    try:
        parent = None
        for number in range(ROUNDS[remedy]):
            parent = parent or limit.container(FILLS_WHEN_TOLD)
            # then it is not stopped in the middle of anything
            wait_until(lambda parent=parent: not parent.zombies())
            daemon.after_ticks(1)
            daemon.suspend_at_rest()
            before = daemon.mark()
            assert asked(parent) == "full"
            assert asked(tries) == "cannot"
            daemon.resume()
            wait_until(
                lambda before=before: (
                    daemon.ticks_after(before) >= TICKS or daemon.popen.poll() is not None
                )
            )
            assert not parent.alive or not parent.zombies(), (
                f"round {number}: not freed: {daemon.text()}"
            )
            assert asked(tries) == "can"
            if remedy == "reap":
                assert parent.alive
            else:
                assert parent.ends()
                parent.popen.wait()
                limit.node.programs.remove(parent)
                parent = None
        assert daemon.end() == 0
        return ROUNDS[remedy]
    finally:
        daemon.stop()


def test_the_daemon_frees_a_full_table_within_two_ticks_each_time(tmp_path, stack):
    limits = [
        limited(kind, tmp_path / (f"node{number}"), stack)
        for number, (kind, _remedy) in enumerate(NODES)
    ]
    with ThreadPoolExecutor(len(NODES)) as pool:
        jobs = [
            pool.submit(recoveries, limit, limit.node.run_directory.parent, remedy)
            for limit, (_kind, remedy) in zip(limits, NODES)
        ]
        assert sum(job.result() for job in jobs) == TIMES * len(KINDS) // 2


@pytest.mark.machine
@pytest.mark.parametrize("remedy", ["reap", "terminate"])
def test_the_daemon_frees_a_machine_whose_table_is_full(tmp_path, stack, remedy):
    limit = limited("machine", tmp_path / "node", stack)
    assert recoveries(limit, tmp_path, remedy) == ROUNDS[remedy]


@pytest.mark.parametrize("kind", ["cgroup", "namespace"])
def test_the_script_cannot_even_run_there(tmp_path, stack, kind):
    limit = limited(kind, tmp_path / kind, stack)
    parent = limit.container(FILL + "fill()\nready()\nforever()")
    held = len(parent.zombies())
    assert held > 50
    # bash tries to fork again and again for half a minute before it gives up; where the namespace
    # is full it is not even started
    done = limit.node.run(
        "timeout", "--signal", "KILL", "3", *limit.before, "bash", str(OLD_SCRIPT)
    )
    assert done.returncode != 0
    assert parent.alive
    wait_until(lambda: len(parent.zombies()) == held)


TRACES_ITS_CHILDREN = (
    """
def zombie():
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
        os._exit(0)
    return pid
"""
    + FILLS_WHEN_TOLD
)
HANDS_THEM_ON = (
    FILL
    + """
def told(*_):
    # Each holds some and ends, so that all come to PID 1 anew, again and again
    while True:
        try:
            if os.fork() == 0:
                for _ in range(20):
                    zombie()
                os._exit(0)
        except BlockingIOError:
            break
    fill()
    os.write(1, b"full\\n")
signal.signal(signal.SIGUSR1, told)
ready()
forever()
"""
)


@pytest.fixture(scope="module")
def evasions(tmp_path_factory):
    """name -> code of a container that makes its table full, in a way that had kept a sweep from
    acting.
    """
    program = built(tmp_path_factory.mktemp("vforks"), "vforks")
    return {
        "its parent traces each": TRACES_ITS_CHILDREN,
        "its parent hands them on": HANDS_THEM_ON,
        "its first thread is in vfork": f"os.execv({program!r}, [{program!r}])",
    }


@pytest.mark.parametrize(
    "evasion",
    ["its parent traces each", "its parent hands them on", "its first thread is in vfork"],
)
def test_a_tenant_cannot_keep_a_full_table_full(tmp_path, stack, evasions, evasion):
    """By the default options, but for the age: how long it takes to grow old depends on the
    machine.
    """
    limit = limited("namespace", tmp_path / "node", stack)
    tries = limit.program(TRIES_WHEN_ASKED)
    daemon = Daemon(
        limit.node,
        tmp_path,
        "--min-age",
        "0",
        "--pressure",
        "0.5",
        "--max-parents",
        "10",
        before=limit.before,
    )
    try:
        program = limit.container(evasions[evasion])
        daemon.after_ticks(1)
        daemon.suspend_at_rest()
        before = daemon.mark()
        assert asked(program) == "full"
        assert asked(tries) == "cannot"
        daemon.resume()
        wait_until(lambda: daemon.ticks_after(before) >= 3 or daemon.popen.poll() is not None)
        assert asked(tries) == "can", daemon.text()
    finally:
        daemon.stop()
