"""More parents than this process may have descriptors: they are taken in slices, and none is left
out.
"""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import pidfd, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.pidfd import (
    open_pidfd,
    slices,
)
from rig.handmade import container_process
from rig.reaping import PatientNode

PARENTS = 90
MANY_PARENTS = """
there, here = os.pipe()
for _ in range(%d):
    if os.fork() == 0:
        zombie()
        os.write(here, b"x")
        forever()
for _ in range(%d):
    os.read(there, 1)
ready()
forever()
""" % (PARENTS, PARENTS)


@pytest.mark.parametrize(
    "limit, sizes",
    [(1000, [5]), (37, [5]), (36, [4, 1]), (34, [2, 2, 1]), (33, [1] * 5), (10, [1] * 5)],
)
def test_slices(monkeypatch, limit, sizes):
    monkeypatch.setattr(pidfd, "raise_descriptor_limit", lambda wanted: limit)
    monkeypatch.setattr(pidfd.os, "listdir", lambda path: [])
    some = list(range(5))
    parts = list(slices(some))
    assert [len(part) for part in parts] == sizes
    assert sum(parts, []) == some


def test_no_descriptor_is_lost_when_there_is_none_left_to_read_with(monkeypatch):
    def refuse(*_arguments):
        raise OSError(24, "Too many open files")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(procfs.ProcFS, "stat", refuse)
    with pytest.raises(OSError):
        open_pidfd(procfs.ProcFS(), container_process(os.getpid()))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    "remedy, step", [("nudge", "no_effect"), ("reap", "cleared"), ("terminate", "parent_ended")]
)
def test_sweep_with_few_descriptors_reaches_every_parent(tmp_path, remedy, step):
    node = PatientNode(tmp_path)
    try:
        node.program(MANY_PARENTS)
        done = node.run(
            "prlimit",
            "--nofile=64:64",
            *node.agent_command(
                "--json",
                "--scope",
                "all",
                "--min-age",
                "0",
                "--grace",
                "0.3",
                "--remedies",
                remedy,
            ),
        )
    finally:
        node.stop()
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["counts"]["acted_on"] == PARENTS
    assert result["counts"]["parents_ended"] == (PARENTS if step == "parent_ended" else 0)
    assert {each["result"] for offender in result["offenders"] for each in offender["steps"]} == {
        step
    }


def test_one_parent_with_more_zombies_than_descriptors(tmp_path):
    node = PatientNode(tmp_path)
    try:
        program = node.container("for _ in range(200): zombie()\nready()\nforever()\n")
        done = node.run(
            "prlimit",
            "--nofile=64:64",
            *node.agent_command("--json", "--min-age", "0", "--remedies", "reap"),
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["counts"]["cleared_by"] == {"reap": 200}
        assert program.alive
    finally:
        node.stop()
