"""How pytest-xdist hands out tests: those of a file that makes something once for all of them go to
one worker.

It has groups for that (``--dist=loadgroup``), but pytest 9.2 no longer knows the attribute in which
pytest-xdist 3.8 notes them.
"""

from __future__ import annotations

from functools import cache

from xdist.scheduler import LoadScopeScheduling

from rig.node import CHECKOUT


class ByExpense(LoadScopeScheduling):
    """A unit of work is a test, or all tests of a file. They are begun in the order in which they
    were collected.
    """

    def __init__(self, config, log):
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return file if makes_something_once(file) else nodeid


@cache
def makes_something_once(file) -> bool:
    """Whether it has a fixture for all of its tests."""
    return 'scope="module"' in (CHECKOUT / file).read_text(encoding="utf-8")
