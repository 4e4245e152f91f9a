"""What is remembered of sizes, canaries and the rest, and how soon something will be full."""

from __future__ import annotations

import os

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import state
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import CannotSweep
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import observe
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import workload, zombie

REAL = procfs.ProcFS()
BOOT_ID = REAL.read_text("sys/kernel/random/boot_id").strip()
POD, OTHER = ("8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d",), ("docker/web",)
EVERY, KEEP = state.SIZE_EVERY, state.KEEP_SIZE


def sizes(directory, *notes):
    """Sizes of one pod, noted one after the other: (tasks, seconds)."""
    made = state.Sizes(str(directory), REAL)
    for count, now in notes:
        made.note(POD, count, now)
    return made


def loaded(kind, directory, *arguments, text=None):
    made = kind(str(directory), REAL, *arguments)
    if text is not None:
        with open(made.path, "w", encoding="ascii") as file:
            file.write(text)
    made.load(required=True)
    return made.times


@pytest.mark.parametrize(
    "notes, earlier",
    [
        ([(10, 100.0)], (100.0, 10)),
        ([(10, 100.0), (20, 100.0 + EVERY - 1)], (100.0, 10)),  # too early to be kept
        # kept as the later of two; the growth is told from the older
        ([(10, 100.0), (20, 100.0 + EVERY)], (100.0, 10)),
        ([(10, 100.0), (20, 100.0 + EVERY), (30, 99.0 + 2 * EVERY)], (100.0, 10)),
        ([(10, 100.0), (20, 100.0 + EVERY), (30, 100.0 + 2 * EVERY)], (100.0 + EVERY, 20)),
        ([(10, 100.0), (20, 100.0 + EVERY), (30, 100.0 + 5 * EVERY)], (100.0 + EVERY, 20)),
        ([(10, 100.0), (20, 100.0 + KEEP)], (100.0, 10)),  # looked at again, so it is still of use
    ],
)
def test_the_older_of_two_moments_moves_on(tmp_path, notes, earlier):
    assert sizes(tmp_path, *notes).earlier()[POD][:2] == earlier


def test_what_is_not_looked_at_any_more_is_forgotten(tmp_path):
    made = sizes(tmp_path, (10, 100.0))
    made.note(OTHER, 7, 99.0 + KEEP)
    assert set(made.times) == {POD, OTHER}
    made.note(OTHER, 7, 100.0 + KEEP)
    assert set(made.times) == {OTHER}


def test_a_growth_is_told_over_that_time_or_up_to_twice_as_long(tmp_path):
    """A sweep every five minutes, each finding one task more."""
    made = state.Sizes(str(tmp_path), REAL)
    for turn in range(50):
        now = 1000.0 + 300 * turn
        earlier = made.earlier().get(POD)
        if turn > EVERY / 300:
            assert EVERY <= now - earlier[0] <= 2 * EVERY
            assert limits.forecast(100 + turn, 1000, earlier, now).growth_per_hour == pytest.approx(
                12
            )
        made.note(POD, 100 + turn, now)


def test_sizes_come_back(tmp_path):
    made = sizes(tmp_path, (10, 100.0), (20, 100.25 + EVERY))
    made.note(OTHER, 7, 500.5)
    made.save()
    assert loaded(state.Sizes, tmp_path) == {
        POD: (100.0, 10, 100.25 + EVERY, 20),
        OTHER: (500.5, 7, 500.5, 7),
    }
    assert (tmp_path / "sizes").stat().st_mode & 0o777 == 0o600
    os.unlink(tmp_path / "sizes")
    made.save()
    assert os.listdir(tmp_path) == [], "nothing has changed, nothing is written"


GOOD = BOOT_ID + "\na 1.000 2 3.000 4\nb 5.000 6 7.000 8\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "a 1 2 3 4\n",
        GOOD.replace(BOOT_ID, "0" * 36),
        GOOD[:-1],
        GOOD + "c 1 2 3\n",
        GOOD + "c 1 2 3 4 5\n",
        GOOD + "c\n",
        GOOD + "\n",
        BOOT_ID + "\na 1 2 3 x\n",
        BOOT_ID + "\na nan 2 3 4\n",
        BOOT_ID + "\na 1 -2 3 4\n",
        BOOT_ID + "\na 1 2 nan 4\n",
    ],
)
def test_a_file_of_sizes_that_is_not_ours_of_this_boot_is_ignored(tmp_path, text):
    assert loaded(state.Sizes, tmp_path, text=text) == {}
    assert loaded(state.Sizes, tmp_path, text=GOOD) == {
        ("a",): (1.0, 2.0, 3.0, 4.0),
        ("b",): (5.0, 6.0, 7.0, 8.0),
    }


def test_a_torn_file_of_sizes_says_nothing_or_the_truth(tmp_path):
    whole = loaded(state.Sizes, tmp_path, text=GOOD)
    for end in range(len(GOOD)):
        for key, seen in loaded(state.Sizes, tmp_path, text=GOOD[:end]).items():
            assert whole[key] == seen


@given(st.text(st.characters(max_codepoint=127), max_size=100))
def test_any_file_of_sizes_is_read_or_ignored(tmp_path_factory, text):
    loaded(state.Sizes, tmp_path_factory.getbasetemp(), text=BOOT_ID + "\n" + text + "\n")


def start_ticks(pid):
    return REAL.stat(pid).start_ticks


def test_of_two_audits_the_later_one_is_right(tmp_path):
    """A sweep that read what the first one noted, and reads again before it acts, does not bring
    that back.
    """
    me = (os.getpid(), start_ticks(os.getpid()))
    for first, then in ((1.0, 0.0), (0.0, 1.0)):
        audit, sweeping = (state.Canaries(str(tmp_path), REAL, "canaries") for _which in range(2))
        audit.note(*me, first)
        audit.save()
        sweeping.load(required=True)
        audit.note(*me, then)
        audit.save()
        sweeping.load(required=True)
        sweeping.save()
        assert sweeping.times == loaded(state.Canaries, tmp_path, "canaries") == {me: then}


def test_a_canary_s_verdict_is_that_of_this_very_process(tmp_path):
    gone, earlier_with_that_pid = (2**22 + 1, 5), (1, start_ticks(1) - 1)
    canaries = state.Canaries(str(tmp_path), REAL, "canaries")
    canaries.times = {gone: 1.0, earlier_with_that_pid: 0.0}
    canaries.note(os.getpid(), start_ticks(os.getpid()), 0.0)
    canaries.forget_ended()
    assert set(canaries.times) == {(os.getpid(), start_ticks(os.getpid()))}


def test_memory_comes_back_as_the_history_of_an_observation(tmp_path):
    me, init = (os.getpid(), start_ticks(os.getpid())), (1, start_ticks(1))
    memory = state.Memory(str(tmp_path), REAL)
    assert memory.history() == observe.History()
    memory.ended.note(workload(pod_uid=POD[0]), 1.5)
    memory.collected.note(*me, 2.5)
    memory.canaries.note(*me, 1.0)
    memory.canaries.note(*init, 0.0)
    memory.left_canaries.note(*me, 3.5)
    memory.sizes.note(POD, 9, 4.5)
    memory.save()
    assert set(os.listdir(tmp_path)) == {
        "ended",
        "collected",
        "canaries",
        "left_canaries",
        "sizes",
    }, "nothing was first seen"
    again = state.Memory(str(tmp_path), REAL)
    again.load(required=True)
    assert again.history() == observe.History(
        {}, {POD: 1.5}, {me: 2.5}, {me: True, init: False}, {me}, {POD: (4.5, 9, 4.5, 9)}
    )
    assert again.history().canaries[init] is False


@pytest.mark.parametrize(
    "name", ["first_seen", "ended", "collected", "canaries", "left_canaries", "sizes"]
)
def test_a_directory_in_the_place_of_any_file_is_said_in_one_sentence(tmp_path, name):
    (tmp_path / name).mkdir()
    memory = state.Memory(str(tmp_path), REAL)
    with pytest.raises(CannotSweep, match=name + " cannot be read: Is a directory"):
        memory.load(required=True)
    memory.load(required=False)


def test_a_zombie_that_was_noted_is_seen_as_a_canary_and_no_other(tmp_path):
    """Not one that has its PID later."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        stat = REAL.stat(pid)
        for noted, expected in (
            ((pid, stat.start_ticks), True),
            ((pid, stat.start_ticks - 1), False),
            ((pid + 1, stat.start_ticks), False),
        ):
            history = observe.History(left_canaries={noted})
            (found,) = observe.Observer(REAL, Paths(), history, 0.0).zombies([stat])
            assert found.canary is expected
    finally:
        os.waitpid(pid, 0)


def test_an_observation_tells_what_the_canary_of_its_init_showed():
    for ticks, expected in ((start_ticks(1), False), (start_ticks(1) + 1, None)):
        history = observe.History(canaries={(1, ticks): False})
        assert (
            observe.Observer(REAL, Paths(), history, 0.0)
            .offender(os.getpid(), (zombie(7, os.getpid()),))
            .init_reaps
            is expected
        )


HOUR = 3600.0


@pytest.mark.parametrize(
    "count, limit, earlier, growth, full",
    [
        (200, 1000, None, None, None),  # never looked before
        (200, 1000, (0.0, 100, 0.0, 100), None, None),  # once
        (200, 1000, (0.0, 100, 1799.0, 150), None, None),  # too short a time
        (200, 1000, (0.0, 100, HOUR - 59, 200), None, None),
        (200, 1000, (0.0, 100, 1800.0, 150), 100, 8 * HOUR),
        (200, 1000, (0.0, 100, 1800.0, 110), 20, 40 * HOUR),  # a burst now
        (200, 1000, (0.0, 100, 1800.0, 190), 20, 40 * HOUR),  # a burst before
        (200, 1000, (0.0, 200, 1800.0, 200), 0, None),
        (100, 1000, (0.0, 200, 1800.0, 150), -100, None),
        (200, None, (0.0, 100, 1800.0, 150), 100, None),  # there is no limit
        (1000, 1000, (0.0, 900, 1800.0, 950), 100, 0),
        (1100, 1000, (0.0, 900, 1800.0, 1000), 200, 0),  # the limit was lowered
        (99, 1000, (0.0, 50, 1800.0, 74.5), 49, None),  # less than a tenth is taken
        (100, 1000, (0.0, 50, 1800.0, 75), 50, 18 * HOUR),
        # a clock that went backwards, which this one does not
        (200, 1000, (2 * HOUR, 100, 3 * HOUR, 100), None, None),
    ],
)
def test_forecast(count, limit, earlier, growth, full):
    found = limits.forecast(count, limit, earlier, HOUR)
    assert found == (
        None if growth is None else pytest.approx(growth),
        None if full is None else pytest.approx(full),
    )


@given(
    st.integers(0, 2**22),
    st.none() | st.integers(0, 2**22),
    st.none() | st.tuples(*[st.floats(0, 1e9), st.integers(0, 2**22)] * 2),
    st.floats(0, 1e9),
)
def test_any_forecast_is_of_the_future(count, limit, earlier, now):
    found = limits.forecast(count, limit, earlier, now)
    assert (
        found.seconds_to_full is None
        or found.seconds_to_full >= 0
        and found.growth_per_hour > 0
        and limit is not None
    )
