"""The sweep collects on the CPU of the parent, and goes back; nobody else's CPUs are changed."""

from __future__ import annotations

import json
import os

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import affinity, procfs
from rig.agents import lines, sweep
from rig.node import wait_until

CPUS = sorted(os.sched_getaffinity(0))
PINNED = """
os.sched_setaffinity(0, {%d})
for _ in range(3): zombie()
ready()
forever()
"""
# notes where the agent may run: at first, at each call in the parent, and when it ends
NOTES = """
import atexit, json, os
from reaper.kernel import ptrace
noted, call = [], ptrace.Tracee.call
def note():
    noted.append(sorted(os.sched_getaffinity(0)))
def noting(*arguments):
    note()
    return call(*arguments)
def write():
    note()
    with open(%r, "w") as file:
        json.dump(noted, file)
ptrace.Tracee.call = noting
atexit.register(write)
"""

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="there is one CPU only")


def noted(node, program, path, *first) -> list:
    result = sweep(node, lines("\n".join((*first, NOTES % str(path)))), remedies="reap")
    assert result["counts"]["cleared"] == 3
    assert os.sched_getaffinity(program.process.pid) == {CPUS[-1]}
    return json.loads(path.read_text())


def test_it_collects_on_the_cpu_of_the_parent_and_goes_back(node, tmp_path):
    program = node.container(PINNED % CPUS[-1])
    assert noted(node, program, tmp_path / "noted") == [[CPUS[-1]]] * 3 + [CPUS]


def test_it_stays_on_the_cpus_that_it_may_use(node, tmp_path):
    program = node.container(PINNED % CPUS[-1])
    own = CPUS[:1]
    first = f"import os; os.sched_setaffinity(0, {own})"
    assert noted(node, program, tmp_path / "noted", first) == [own] * 4


def test_it_goes_back_whatever_happens(node):
    program = node.container(PINNED % CPUS[-1])
    with (
        pytest.raises(KeyboardInterrupt),
        affinity.beside(procfs.ProcFS(), program.process.pid),
    ):
        assert os.sched_getaffinity(0) == {CPUS[-1]}
        raise KeyboardInterrupt
    assert sorted(os.sched_getaffinity(0)) == CPUS


def test_it_goes_nowhere_where_the_parent_has_gone(node):
    program = node.container("ready()\nforever()\n")
    program.stop()
    wait_until(lambda: not psutil.pid_exists(program.process.pid))
    with affinity.beside(procfs.ProcFS(), program.process.pid):
        assert sorted(os.sched_getaffinity(0)) == CPUS


def test_it_goes_nowhere_where_real_time_tasks_may_take_a_cpu(node, monkeypatch):
    """It might wait there for ever."""
    program = node.container(PINNED % CPUS[-1])
    real = procfs.ProcFS.read_text
    monkeypatch.setattr(
        procfs.ProcFS,
        "read_text",
        lambda self, name: "-1\n" if name == "sys/kernel/sched_rt_runtime_us" else real(self, name),
    )
    with affinity.beside(procfs.ProcFS(), program.process.pid):
        assert sorted(os.sched_getaffinity(0)) == CPUS
