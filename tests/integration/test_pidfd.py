"""A pidfd is given only for the very process that was seen."""

from __future__ import annotations

import os

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.pidfd import open_pidfd
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import observe
from rig.node import wait_until


def offender(program, start_ticks):
    fields = dict.fromkeys(observe.Offender._fields)
    return observe.Offender(**{**fields, "pid": program.process.pid, "start_ticks": start_ticks})


@pytest.mark.parametrize("offset", [0, -1, 1])
def test_the_start_time_has_to_match(node, offset):
    program = node.program("ready()\nforever()")
    real = procfs.ProcFS()
    descriptors = len(os.listdir("/proc/self/fd"))
    pidfd = open_pidfd(real, offender(program, real.stat(program.process.pid).start_ticks + offset))
    if offset:
        assert pidfd is None
    else:
        os.close(pidfd)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_process_that_has_ended_has_none(node):
    program = node.program("ready()\nforever()")
    gone = offender(program, procfs.ProcFS().stat(program.process.pid).start_ticks)
    program.stop()
    wait_until(lambda: not program.process.is_running())
    assert open_pidfd(procfs.ProcFS(), gone) is None
