"""A living parent collects its zombies itself: what is done, what is reported, where it ends."""

from __future__ import annotations

import psutil
import pytest
from rig.agents import later
from rig.node import left_in_node, offender_of, wait_until
from rig.reaping import agent_that, said
from rig.slowness import SLOWNESS

AS_INIT = "for _ in range(3): zombie()\nready()\nforever()\n"
AS_ORDINARY_PROCESS = (
    "if os.fork() == 0:\n    for _ in range(3): zombie()\n    ready()\n    forever()\n"
    + "while True: signal.pause()\n"
)


def step_of(entry, remedy="reap"):
    (step,) = [step for step in entry["steps"] if step["remedy"] == remedy]
    return step


@pytest.mark.parametrize("code", [AS_INIT, AS_ORDINARY_PROCESS], ids=["init", "ordinary process"])
def test_the_parent_collects_them_and_lives_on(node, code):
    program = node.container(code)
    parent = program.process if code is AS_INIT else program.process.children()[0]
    before = asleep(parent)
    result = node.sweep()
    (entry,) = [entry for entry in result["offenders"] if entry["verdict"] == "act"]
    assert entry["outcome"] == "cleared"
    assert entry["remedy"] == "reap"
    assert entry["cleared"] == 3
    assert step_of(entry)["max_stop_ms"] > 0
    assert result["changed"]
    assert result["counts"]["cleared_by"] == {"nudge": 0, "reap": 3, "terminate": 0}
    assert result["counts"]["parents_ended"] == 0
    assert left_in_node(result) == []
    assert parent.children() == []
    assert asleep(parent) == before


def asleep(process) -> dict:
    """What it is once it sleeps, as it does most of the time."""

    def now():
        return psutil.Process(process.pid).as_dict(["create_time", "num_threads", "status"])

    return wait_until(lambda: (told := now())["status"] == psutil.STATUS_SLEEPING and told)


def test_a_dry_run_collects_nothing(node):
    program = node.container(AS_INIT)
    entry = offender_of(node.sweep("--check"), program)
    assert entry["remedies"] == ["reap", "nudge", "terminate"]
    assert len(program.zombies()) == 3


def test_only_those_that_are_due_are_collected(node):
    """A status that the parent is about to ask for is its own. Here the second sweep's clock is an
    hour ahead.
    """
    program = node.container("""
def another(*_):
    zombie()
    os.write(1, b"made\\n")
signal.signal(signal.SIGUSR1, another)
zombie()
ready()
forever()
""")
    node.sweep(min_age=3600)  # notes the first
    (old,) = program.zombies()
    program.process.send_signal(10)
    assert said(program) == "made"
    (young,) = set(program.zombies()) - {old}
    node.code = agent_that(later(hours=1))
    entry = offender_of(node.sweep(min_age=3600, remedies="reap"), program)
    assert (entry["due"], entry["cleared"], entry["outcome"]) == (1, 1, "cleared")
    assert program.zombies() == [young]


def test_a_parent_that_goes_on_making_zombies_is_called_leaking(node):
    """With its rate; and is cleared again, without harm."""
    program = node.container(
        "def leak(*_):\n    zombie()\nsignal.signal(signal.SIGUSR1,"
        " leak)\nzombie()\nready()\nforever()\n"
    )
    first = offender_of(node.sweep(remedies="reap"), program)
    assert first["leaking_per_hour"] is None
    for _round in range(2):
        program.process.send_signal(10)
        wait_until(program.zombies)
        result = node.sweep(remedies="reap")
        entry = offender_of(result, program)
        assert entry["outcome"] == "cleared"
        assert entry["leaking_per_hour"] > 0
        assert any("leaking, about" in line for line in result["summary"])
    assert program.alive
    assert program.zombies() == []


def test_many_zombies_take_several_short_stops(node):
    """On a slow machine, fewer already do."""
    number = max(100, int(600 / SLOWNESS))
    program = node.container(f"for _ in range({number}): zombie()\nready()\nforever()\n")
    entry = offender_of(node.sweep(remedies="reap"), program)
    assert (entry["outcome"], entry["cleared"]) == ("cleared", number), entry
    assert "times" in step_of(entry)["detail"]


def test_what_does_not_fit_into_the_time_is_left_to_the_next_sweep(node):
    """And is reported so, and the parent is not ended for it. The time for one parent is over after
    one stop here, and a stop is for 64.
    """
    program = node.container("for _ in range(200): zombie()\nready()\nforever()\n")
    done = node.run(
        *node.agent_command(
            "--json", "--min-age", "0", code=agent_that("reap.MAX_SECONDS_PER_PARENT = 0")
        )
    )
    assert done.returncode == 0, done.stderr
    assert '"result": "unfinished"' in done.stdout
    assert '"outcome": "partly_cleared"' in done.stdout
    assert program.alive
    assert 200 - 64 <= len(program.zombies()) < 200
    assert offender_of(node.sweep(remedies="reap"), program)["outcome"] == "cleared"
