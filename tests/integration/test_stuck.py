"""A container that cannot end, since somebody outside holds a zombie of it: named, with who holds
it. Real processes, real hanging.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from rig.node import ENGINE, PYTHON, ns_pids, wait_until
from rig.reaping import status_of

# Puts so many children into the PID namespace of that process, which exit at once, and does not
# wait until it is told to
HOLDS = """
libc = ctypes.CDLL(None)
def put_into(pid, number):
    own, other = (os.open("/proc/%%s/ns/pid" %% each, os.O_RDONLY) for each in ("self", pid))
    libc.setns(other, 0x20000000)
    for _ in range(number):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    libc.setns(own, 0x20000000)
def wait(*_):
    while True:
        os.wait()
signal.signal(signal.SIGUSR1, wait)
for pid, number in %r:
    put_into(pid, number)
ready()
forever()
"""
LOOK = """
import json, sys
sys.path.append(sys.argv[1])
from reaper.node import observe, stuck
from reaper.kernel import procfs
from reaper import report
from reaper.paths import Paths
for name, value in json.loads(sys.argv[2]).items():
    setattr(stuck, name, value)
proc, paths = procfs.ProcFS(), Paths()
snapshot = observe.snapshot(proc, paths, observe.History(), 0.0)
found = stuck.stuck_namespaces(observe.Observer(proc, paths, observe.History(), 0.0), snapshot)
place = lambda workload: report.place(report.as_workload(workload))
print(json.dumps([[each.init.pid, each.holder.pid, [zombie.pid for zombie in each.zombies], each.age,
                   stuck.in_words(each, report.printable, place)] for each in found]))
"""
LIVES = "ready()\nforever()"


def look(node, **limits) -> list:
    done = node.run(PYTHON, "-IS", "-c", LOOK, str(ENGINE), json.dumps(limits))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def zombies_of(holder) -> list:
    """PIDs in the node."""
    return sorted(ns_pids(pid)[1] for pid in holder.zombies())


def hangs(init) -> bool:
    try:
        return (
            Path(f"/proc/{init.process.pid}/wchan").read_text(encoding="ascii")
            == "zap_pid_ns_processes"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_dying_pid_1_and_who_holds_its_zombie_are_named(node):
    init = node.container(LIVES)
    holder = node.program(HOLDS % [(init.pids[1], 1)])
    assert look(node) == [], "it lives"
    os.kill(init.process.pid, signal.SIGKILL)
    wait_until(lambda: hangs(init))
    assert status_of(init)["State"][0] in "SD"
    (found,) = look(node)
    (zombie,) = zombies_of(holder)
    namespace = os.stat(f"/proc/{init.process.pid}/ns/pid").st_ino
    assert found == [
        init.pids[1],
        holder.pids[1],
        [zombie],
        0.0,
        f"PID {init.pids[1]} (python), PID 1 in container of PID namespace"
        f" {namespace}, is dying and cannot end: it waits"
        f" for the zombie {zombie} (python), which PID {holder.pids[1]} (python) on"
        " the host holds and does not collect."
        " It ends once that process waits for its child, or ends itself",
    ]
    os.kill(holder.process.pid, signal.SIGUSR1)
    assert init.ends()
    assert look(node) == []


def test_it_ends_when_the_one_that_holds_it_ends(node):
    """The sentence says so."""
    init = node.container(LIVES)
    holder = node.program(HOLDS % [(init.pids[1], 2)])
    os.kill(init.process.pid, signal.SIGKILL)
    wait_until(lambda: hangs(init))
    (found,) = look(node)
    assert found[2] == zombies_of(holder) and " and 1 more, which PID " in found[4]
    os.kill(holder.process.pid, signal.SIGKILL)
    assert init.ends()


def test_each_one_that_holds_a_zombie_is_named_and_those_that_live_are_not(node):
    dying, living = node.container(LIVES), node.container(LIVES)
    holders = [
        node.program(HOLDS % [(dying.pids[1], 1), (living.pids[1], 1)]) for _place in range(2)
    ]
    of_its_own = node.container("zombie()\n" + LIVES)
    os.kill(dying.process.pid, signal.SIGKILL)
    wait_until(lambda: hangs(dying))
    found = look(node)
    assert {(entry[0], entry[1]) for entry in found} == {
        (dying.pids[1], holder.pids[1]) for holder in holders
    }
    assert [len(entry[2]) for entry in found] == [1, 1]
    assert living.alive and of_its_own.alive


def test_one_whose_first_thread_has_exited_is_not_dying(node):
    init = node.container("""
import threading
threading.Thread(target=time.sleep, args=(10000,)).start()
ready()
ctypes.CDLL(None).pthread_exit(None)
""")
    wait_until(lambda: status_of(init)["State"][0] == "Z")
    node.program(HOLDS % [(init.pids[1], 1)])
    assert look(node) == []


def test_a_pid_1_that_is_a_zombie_itself_waits_for_nothing(node):
    """Its parent is outside too, as a shim is."""
    node.program("assert ctypes.CDLL(None).unshare(0x20000000) == 0\nzombie()\nready()\nforever()")
    assert look(node) == []


def test_a_look_is_bounded(node):
    """A parent may hold any number; those that come first are looked at."""
    init = node.container(LIVES)
    holder = node.program(HOLDS % [(init.pids[1], 3)])
    os.kill(init.process.pid, signal.SIGKILL)
    wait_until(lambda: hangs(init))
    assert [len(entry[2]) for entry in look(node)] == [3]
    assert [len(entry[2]) for entry in look(node, LOOKED_AT=2)] == [2]
    assert [len(entry[2]) for entry in look(node, LOOKED_AT_IN_ALL=1)] == [1]
    assert look(node, LOOKED_AT_IN_ALL=0) == []
    assert len(zombies_of(holder)) == 3
    other_init = node.container(LIVES)
    node.program(HOLDS % [(other_init.pids[1], 1)])
    os.kill(other_init.process.pid, signal.SIGKILL)
    wait_until(lambda: hangs(other_init))
    assert [len(entry[2]) for entry in look(node)] == [3, 1]
    assert [len(entry[2]) for entry in look(node, LOOKED_AT_IN_ALL=3)] == [3]
