"""nudge reminds a parent of zombies that it would have collected, had it been told of each; and
hangs nobody.

The signals come from outside the container, as all that a sweep sends does: from another PID
namespace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from rig.node import Program, ns_pids, offender_of, wait_until
from rig.podman import Podman, offenders_in
from rig.reaping import said, said_so_far

pytestmark = pytest.mark.all_cgroups

SERVER = Path(__file__).parents[1] / "rig/sigchld.c"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program = tmp_path_factory.mktemp("nudge") / "sigchld"
    subprocess.run(
        ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SERVER], check=True
    )
    return str(program)


def start(node, server, how, zombies) -> Program:
    """It as PID 1 of a container, which makes it a PID namespace below that of the sweep."""
    command = [
        *node.enter,
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        server,
        how,
        str(zombies),
    ]
    return node._started(Program(command, depth=2))


def nudged(node, program) -> dict:
    (step,) = offender_of(node.sweep(remedies="nudge"), program)["steps"]
    return step


def goes_on(program) -> bool:
    """Whether its main loop still runs: one that hangs in its handler never answers."""
    program.process.send_signal(signal.SIGUSR1)
    return said(program) == "tick"


def test_a_handler_that_waits_for_the_child_that_a_signal_is_about_collects_it(node, server):
    """A signal that names nobody would have it wait for the child that lives on, for ever."""
    program = start(node, server, "si_pid", 3)
    zombies = sorted(ns_pids(pid)[-1] for pid in program.zombies())
    step = nudged(node, program)
    assert (step["result"], step["detail"]) == ("cleared", "SIGCHLD sent 3 times")
    assert said_so_far(program) == [
        f"about {pid} status {status} uid 0"
        for pid, status in zip(zombies, (3, signal.SIGTERM, signal.SIGTERM))
    ]
    assert goes_on(program)
    assert program.zombies() == []


def test_nor_does_it_hang_in_a_real_container(node, server):
    """podman's: as PID 1 it has another seccomp filter and another session, and nothing of that
    matters.
    """
    podman = Podman(node, Path(tempfile.mkdtemp(prefix="zr-")))  # it refuses longer names
    try:
        container = podman(
            "run",
            "--detach",
            "--network",
            "none",
            "--volume",
            server + ":/sigchld",
            "busybox",
            "/sigchld",
            "si_pid",
            "2",
        )
        wait_until(lambda: podman("logs", container) == "ready")
        (entry,) = offenders_in(node.sweep(remedies="nudge"), container)
        assert (entry["zombies"], entry["outcome"]) == (2, "cleared")
        podman("kill", "--signal", "USR1", container)
        wait_until(lambda: podman("logs", container).endswith("tick"))
    finally:
        podman.stop()


def test_a_handler_that_waits_for_any_child_gets_no_signal_more_than_there_are_zombies(
    node, server
):
    program = start(node, server, "any", 20)
    step = nudged(node, program)
    assert len(said_so_far(program)) == 20
    assert goes_on(program)
    assert (step["result"], step["detail"]) == ("cleared", "SIGCHLD sent 20 times")


def test_one_signal_without_effect_is_the_last(node, server):
    program = start(node, server, "deaf", 5)
    step = nudged(node, program)
    assert len(said_so_far(program)) == 1
    assert (step["result"], step["detail"]) == ("no_effect", "SIGCHLD sent once")
    assert len(program.zombies()) == 5


def test_nothing_is_sent_while_one_is_pending(node, server):
    program = start(node, server, "blocked", 5)
    step = nudged(node, program)
    assert (step["result"], step["detail"]) == (
        "no_effect",
        "SIGCHLD not sent: SIGCHLD is pending already",
    )
    assert len(program.zombies()) == 5


def test_nothing_is_sent_to_whoever_reads_signals_as_data(node):
    """A signalfd tells PID 0 of such a signal (the kernel keeps it in another field), and
    waitpid(0) waits for any child of the group.
    """
    program = node.container("""
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
for _ in range(3):
    zombie()
while signal.sigtimedwait([signal.SIGCHLD], 0):
    pass
ready()
forever()
""")
    step = nudged(node, program)
    assert (step["result"], step["detail"]) == ("no_effect", "SIGCHLD not sent: SIGCHLD is blocked")


def test_a_zombie_that_a_wait_would_block_for_is_never_named(node, server):
    """Its first thread has exited, another lives on: the only one that looks like a zombie, and a
    wait for it takes as long as that lives.
    """
    program = node.container("""
def handler(*_):
    os.write(1, b"reminded\\n")
signal.signal(signal.SIGCHLD, handler)
pid = os.fork()
if pid == 0:
    threading.Thread(target=forever).start()
    ctypes.CDLL(None).pthread_exit(None)
while open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
ready()
forever()
""")
    code = """
import sys; sys.path.append(sys.argv.pop(1))
from reaper.node import observe
from reaper.paths import Paths
from reaper.kernel.procfs import ProcFS
from reaper.remedies.nudge import nudge
offenders = observe.snapshot(ProcFS(), Paths(), observe.History(), 0.0).offenders
(offender,) = [each for each in offenders if each.pid == int(sys.argv[1])]
assert [zombie.num_threads for zombie in offender.zombies] == [2]
print(nudge(ProcFS(), [offender])[0].detail)
"""
    done = node.run(*node.agent_command(code=code)[:5], str(program.pids[1]))
    assert (done.stdout, done.stderr) == (
        "SIGCHLD not sent: none of its zombies can be named in the signal\n",
        "",
    )
    assert said_so_far(program) == []


def test_wait_status_is_that_of_the_zombie(node):
    program = node.program("zombie()\nready()\nforever()")
    (zombie,) = program.zombies()
    assert os.waitstatus_to_exitcode(procfs.ProcFS().wait_status(zombie)) == 3
    assert procfs.ProcFS().wait_status(program.process.pid) is None
    program.stop()
    assert wait_until(lambda: procfs.ProcFS().wait_status(zombie) is None)


def test_a_wait_status_that_may_not_be_seen_is_not_zero(node):
    """The kernel shows 0 for it, and a handler would take that child for one that succeeded."""
    program = node.program("zombie()\nready()\nforever()")
    (zombie,) = program.zombies()
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        os.write(there, repr(procfs.ProcFS().wait_status(zombie)).encode())
        os._exit(0)
    os.close(there)
    os.waitpid(pid, 0)
    assert os.read(here, 100) == b"None"
    os.close(here)
