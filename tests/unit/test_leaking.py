"""When a parent last collected zombies in a sweep, and from that how fast it makes new ones."""

from __future__ import annotations

import os

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import state
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import observe
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from rig.handmade import container_process, zombie


def parent(collected_ago, *ages):
    zombies = tuple(zombie(100 + number, age=age) for number, age in enumerate(ages))
    return container_process(collected_ago=collected_ago, zombies=zombies)


@pytest.mark.parametrize(
    "collected_ago, ages, rate",
    [
        (None, (10.0, 20.0), None),  # it never collected any in a sweep
        (0.0, (10.0,), None),  # it has just done so
        (600.0, (), None),
        # those it kept then, too young or not to be collected: not made since
        (600.0, (700.0, 600.0), None),
        (600.0, (10.0,), 6.0),
        (600.0, (10.0, 590.0, 700.0), 12.0),
        (1800.0, (5.0,) * 50, 100.0),
    ],
)
def test_rate_counts_zombies_made_since_it_last_collected_some(collected_ago, ages, rate):
    assert parent(collected_ago, *ages).leaking_per_hour == rate


@pytest.fixture
def collected(tmp_path):
    return state.OfProcesses(str(tmp_path), procfs.ProcFS(), "collected")


def real_parent(pid):
    """A living process as an offender; its zombies do not matter here."""
    return container_process(pid, start_ticks=procfs.ProcFS().stat(pid).start_ticks)


def loaded(directory):
    again = state.OfProcesses(str(directory), procfs.ProcFS(), "collected")
    again.load(required=True)
    return again.times


def test_times_come_back(collected, tmp_path):
    me = real_parent(os.getpid())
    collected.note(me.pid, me.start_ticks, 12.5)
    collected.save()
    assert loaded(tmp_path) == {(me.pid, me.start_ticks): 12.5}
    assert (tmp_path / "collected").stat().st_mode & 0o777 == 0o600


def test_the_last_time_counts(collected, tmp_path):
    me = real_parent(os.getpid())
    collected.note(me.pid, me.start_ticks, 12.5)
    collected.save()
    later = state.OfProcesses(str(tmp_path), procfs.ProcFS(), "collected")
    later.note(me.pid, me.start_ticks, 99.0)
    later.load(required=True)
    assert later.times == {(me.pid, me.start_ticks): 99.0}


def test_parents_that_have_ended_are_forgotten(collected):
    me, alive = real_parent(os.getpid()), real_parent(1)
    ended, earlier_with_that_pid = (2**22 + 1, 5), (alive.pid, alive.start_ticks - 1)
    collected.times = {ended: 1.0, earlier_with_that_pid: 2.0, (alive.pid, alive.start_ticks): 3.0}
    collected.note(me.pid, me.start_ticks, 12.5)
    collected.forget_ended()
    assert collected.times == {(alive.pid, alive.start_ticks): 3.0, (me.pid, me.start_ticks): 12.5}


@pytest.mark.parametrize("line", ["7 12.5", "7 8 9 12.5", "a b 12.5", "7 8 nan", "7 8 -1"])
def test_line_that_is_not_ours_is_ignored(tmp_path, line):
    boot_id = procfs.ProcFS().read_text("sys/kernel/random/boot_id").strip()
    (tmp_path / "collected").write_text(f"{boot_id}\n{line}\n", encoding="ascii")
    assert loaded(tmp_path) == {}


def test_observation_tells_how_long_ago_it_was():
    """For that very process only, not for one that had its PID before."""
    real, me = procfs.ProcFS(), real_parent(os.getpid())
    for start_ticks, ago in ((me.start_ticks, 30.0), (me.start_ticks - 1, None)):
        history = observe.History(collected={(me.pid, start_ticks): 70.0})
        found = observe.Observer(real, Paths(), history, 100.0).offender(
            me.pid, (zombie(7, me.pid, age=5.0),)
        )
        assert found.collected_ago == ago
        assert found.leaking_per_hour == (120.0 if ago else None)
