"""Mutations mostly wait, for processes and for time to pass: two of them run at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from rig.mutation import assert_goes_red


@pytest.fixture(scope="module")
def mutated(request, tmp_path_factory):
    """Fails the test of the named mutation unless that made its test go red. All that were asked for are begun with the first."""
    names = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]
    pool = ThreadPoolExecutor(2)
    try:
        verdicts = {
            name: pool.submit(assert_goes_red, tmp_path_factory.mktemp("mutation"), *request.module.CHANGES[name]) for name in names}
        yield lambda name: verdicts[name].result()
    finally:
        pool.shutdown(cancel_futures=True)
