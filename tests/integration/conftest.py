"""One node for each test that asks for one."""

from __future__ import annotations

import pytest
from rig.own_cgroup import own_ledger
from rig.pods import HIERARCHIES, Pods
from rig.reaping import PatientNode


@pytest.fixture
def node(request, tmp_path):
    with own_ledger(
        tmp_path, PatientNode, hides_others=not request.node.get_closest_marker("all_cgroups")
    ) as rigged:
        yield rigged


@pytest.fixture
def pods(node):
    if not HIERARCHIES:
        pytest.skip("no cgroup hierarchy is mounted on this machine where a cgroup could be made")
    started = Pods(node)
    yield started
    started.stop()
