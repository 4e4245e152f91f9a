"""Each mutation is a test of its own, and costs what the test costs that it turns red."""

from __future__ import annotations

import pytest
from rig.mutation import Forking, assert_goes_red


@pytest.fixture(scope="session")
def forking():
    started = Forking()
    yield started
    started.stop()


@pytest.fixture
def mutated(request, forking, tmp_path):
    """Fails the test of the named mutation unless that makes the test go red which its module
    names.
    """
    return lambda name: assert_goes_red(forking, tmp_path, *request.module.CHANGES[name])
