"""One node for each test that asks for one."""

from __future__ import annotations

import pytest
from rig.node import Node


@pytest.fixture
def node(tmp_path):
    rigged = Node(tmp_path)
    yield rigged
    rigged.stop()
