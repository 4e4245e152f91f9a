"""The lock of a node: how long somebody waits for it, and when it is free again."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import files
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import Busy


class Clock:
    """Moves on only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        assert self.now < 2000, "waiting without end"


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(files, "time", made)
    return made


@pytest.mark.parametrize("wait, seconds", [(None, files.LOCK_WAIT), (0, 0), (3, 3)])
def test_it_is_waited_for_so_long_and_no_longer(tmp_path, clock, wait, seconds):
    with (
        files.locked(str(tmp_path)),
        pytest.raises(Busy, match=f"for more than {seconds:g} s: nothing was done"),
        files.locked(str(tmp_path), wait=wait),
    ):
        raise AssertionError("two hold it")
    assert seconds <= clock.now - 1000 <= seconds + 1


def test_whoever_waits_gets_it_when_it_is_free(tmp_path, clock, monkeypatch):
    first = files.locked(str(tmp_path))
    first.__enter__()

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 1005:
            first.__exit__(None, None, None)

    monkeypatch.setattr(clock, "sleep", sleep)
    with files.locked(str(tmp_path)):
        assert 1005 < clock.now < 1006


def test_it_is_free_again_whatever_happens_to_whoever_held_it(tmp_path):
    with pytest.raises(MemoryError), files.locked(str(tmp_path)):
        raise MemoryError
    with files.locked(str(tmp_path), wait=0):
        pass


def test_each_name_is_a_lock_of_its_own(tmp_path):
    with files.locked(str(tmp_path), "daemon.lock", wait=0), files.locked(str(tmp_path), wait=0):
        pass
