"""How pytest-xdist hands out tests: those for which something is made once go to one worker.

It has groups for that (``--dist=loadgroup``), but pytest 9.2 no longer knows the attribute in which
pytest-xdist 3.8 notes them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

from rig.node import CHECKOUT


class ByExpense(LoadScopeScheduling):
    """A unit of work is a test, all tests of a file, or all of a folder. They are begun in the order
    in which they were collected.
    """

    def __init__(self, config, log):
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid):
        return unit_of_work(nodeid)


def unit_of_work(nodeid) -> str:
    """The folder whose conftest.py, or the file that, makes something once for all of its tests; or
    the test.
    """
    file = nodeid.partition("::")[0]
    folder = str(Path(file).parent)
    if makes_something_once(f"{folder}/conftest.py"):
        return folder
    return file if makes_something_once(file) else nodeid


@cache
def makes_something_once(file) -> bool:
    """Whether it is there and has a fixture for all tests of a file."""
    path = CHECKOUT / file
    return path.exists() and 'scope="module"' in path.read_text(encoding="utf-8")
