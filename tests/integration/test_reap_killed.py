"""The sweep is killed, or asked to end, in the middle of making a parent collect zombies: at the
moments that a hook holds it at.

SIGKILL cannot be prepared for. At most moments it harms nobody; what becomes of the parents at
random ones is counted and printed. SIGTERM and its like must harm nobody at any.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest
from rig.agents import lines
from rig.fed import Fed, build_worker
from rig.node import PYTHON, wait_until
from rig.reaping import agent_that, status_of

KILLS = int(os.environ.get("REAPER_KILLS", "104"))
# that a parent has at least when a sweep begins: one stop is for 64, the next for 80 at most
ZOMBIES = 200
# of the ptrace(2) calls of a sweep, one of which it may be held at: it makes 5 at least for each
# zombie
LAST_STEP = 200

# Between two stops, in a stop before the first call, between two calls. "anywhere": before or after
# any ptrace(2) of the sweep
HARMLESS = ("free", "stopped", "called")
MOMENTS = (*HARMLESS, "anywhere")

# A sweep that makes a file at that moment, and goes on when there is another
HELD_AT = """
import os, time
from reaper.kernel import ptrace
from reaper.remedies import reap
passed = {}
def pass_by(moment):
    passed[moment] = passed.get(moment, 0) + 1
    if (moment, passed[moment]) == %r:
        open(%r, "w").close()
        while not os.path.exists(%r):
            time.sleep(0.005)
def wrapped(owner, name, before, after):
    real = getattr(owner, name)
    def wrapper(*words):
        pass_by(before)
        result = real(*words)
        pass_by(after)
        return result
    setattr(owner, name, wrapper)
wrapped(reap._Job, "_hold", "free", None)
wrapped(ptrace.Tracee, "stop", None, "stopped")
wrapped(ptrace.Tracee, "call", None, "called")
wrapped(ptrace.Tracee, "_ptrace", "anywhere", "anywhere")
"""
IN_THE_SECOND_TURN = ("free", 2)

WORKERS = (
    "nanosleep",
    "poll",
    "epoll_wait",
    "futex",
    "read",
    "accept",
    "sigtimedwait",
    "wait4",
    "calls",
    "checksum",
)
SCRIPTS = {
    "sleep": ["sleep", "infinity"],
    "python": [
        PYTHON,
        "-IS",
        "-c",
        """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
n = 0
while True:
    before = time.monotonic()
    time.sleep(0.02)
    n += 1
    if time.monotonic() - before < 0.02:
        open(sys.argv[1] + ".wrong", "w").write("woken too early")
        os._exit(9)
    os.pwrite(file, b"%020d" % n, 0)
""",
        "{progress}",
    ],
    "bash": [
        "bash",
        "-c",
        """
exec {never}<> <(:)
for ((n = 1; ; n++)); do
    read -t 0.02 -u "$never" && { echo "something was read where nothing is written" > "$0.wrong"; exit 9; }
    printf '%020d\\n' "$n" 1<> "$0"
done
""",
        "{progress}",
    ],
}


@pytest.fixture
def start(node, tmp_path):
    """Starts a program of that name, in a container of its own."""
    worker = build_worker(tmp_path)

    def starter(name):
        program = Fed(node, tmp_path, name, SCRIPTS.get(name, [worker, name, "{progress}"]))
        if name != "sleep":
            wait_until(lambda: program.done() or program.complaint())
        assert not program.complaint()
        return program

    return starter


class AtWork:
    """A sweep that has begun to make the program collect, and is held at that moment: (name, how
    often it was passed). agent: psutil's.
    """

    def __init__(self, node, program, moment, directory, **options):
        if program.child_count() < ZOMBIES:
            program.feed(ZOMBIES)
            wait_until(lambda: program.child_count() >= ZOMBIES)
        options = {"remedies": "reap", "min_age": 0, **options}
        flags = [
            word
            for name, value in options.items()
            for word in ("--" + name.replace("_", "-"), str(value))
        ]
        held, self.go = directory / "held", directory / "go"
        for old in (held, self.go):
            old.unlink(missing_ok=True)
        code = agent_that(lines(HELD_AT % (moment, str(held), str(self.go))))
        self.sweep = subprocess.Popen(
            [*node.enter, *node.agent_command("--json", *flags, code=code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: held.exists() or self.sweep.poll() is not None)
        assert self.sweep.poll() is None, self.sweep.communicate()
        self.agent = only_child(self.sweep.pid)

    def goes_on(self) -> tuple:
        """(what it prints, its errors, its exit status)."""
        self.go.touch()
        return *self.sweep.communicate(), self.sweep.returncode


def only_child(pid):
    """Of nsenter: the agent. psutil would look at all processes of the machine for this."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return psutil.Process(int(children.read()))


def moment_of(turn) -> tuple:
    """Where a sweep is held in that turn."""
    name = MOMENTS[turn % len(MOMENTS)]
    return (
        name,
        {
            "free": 2,
            "stopped": 1,
            "called": random.randint(1, 20),
            "anywhere": random.randint(2, 2 * LAST_STEP),
        }[name],
    )


def fate(program, masks) -> str:
    """What became of a parent: it goes on ``well``, or else what is wrong."""
    before = program.done()
    deadline = time.monotonic() + 60
    while (
        program.name != "sleep"
        and program.done() <= before + 1
        and not program.complaint()
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    if program.complaint():
        return (
            "signals stay blocked"
            if "pthread_sigmask" in program.complaint()
            else program.complaint().split(": ", 1)[1]
        )
    if time.monotonic() >= deadline:
        return "it does nothing any more"
    while program.masks() != masks:  # bash blocks some itself, for a moment now and then
        if time.monotonic() > deadline:
            return "signals stay blocked"
        time.sleep(0.001)
    return "well"


@pytest.mark.full
def test_sigkill_of_the_sweep_is_counted(node, start, tmp_path):
    total = Counter()
    for kind in (*WORKERS, *SCRIPTS):
        fates = Counter()
        program = None
        for turn in range(-(-KILLS // len((*WORKERS, *SCRIPTS)))):
            if program is None:
                program = start(kind)
                masks = program.masks()
            moment = moment_of(turn)
            at_work = AtWork(node, program, moment, tmp_path)
            assert bool(program.held_by()) == (moment[0] != "free") or moment[0] == "anywhere"
            at_work.agent.kill()
            at_work.goes_on()
            wait_until(lambda program=program: not program.alive or program.held_by() == [])
            what = fate(program, masks)
            assert what == "well" or moment[0] not in HARMLESS, (kind, moment, what)
            fates[what] += 1
            if what != "well":
                program.stop()
                program = None
        if program:
            program.stop()
        print(f"{kind!s:<14} {dict(fates)}")
        total += fates
    print(f"of {sum(total.values())} parents whose sweep was killed {total['well']} went on well")
    assert sum(total.values()) >= KILLS


@pytest.mark.full
def test_a_signal_that_asks_the_sweep_to_end_harms_nobody(node, start, tmp_path):
    kinds = (*WORKERS, *SCRIPTS)
    for place, kind in enumerate(kinds):
        program = start(kind)
        masks = program.masks()
        for turn in range(-(-KILLS // len(kinds))):
            at_work = AtWork(node, program, moment_of(turn), tmp_path)
            at_work.agent.send_signal(
                (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[(place + turn) % 3]
            )
            report, errors, status = at_work.goes_on()
            assert (errors, status) == ("", 3)
            assert json.loads(report)["ended_early"]
            assert program.held_by() == []
            assert program.child_count() >= ZOMBIES - 64 - 80, "it has collected all the same"
            assert fate(program, masks) == "well", kind
        program.stop()


SECCOMP_STRICT = """
zombie()
never, _ = os.pipe()
ready()
ctypes.CDLL(None).prctl(22, 1)
os.read(never, 1)
"""


def test_no_harder_remedy_follows_once_the_sweep_was_asked_to_end(node, start, tmp_path):
    """Asked while one parent is made to collect, with terminate next for another that cannot be:
    both live, and keep zombies.
    """
    program = start("nanosleep")
    refused = node.container(SECCOMP_STRICT)
    wait_until(lambda: status_of(refused)["Seccomp"] == "1")
    masks = program.masks()
    # They take turns, so the other one has had its turn by then
    at_work = AtWork(
        node, program, IN_THE_SECOND_TURN, tmp_path, remedies="nudge,reap,terminate", grace=0
    )
    at_work.agent.send_signal(signal.SIGTERM)
    report, _errors, status = at_work.goes_on()
    report = json.loads(report)
    assert status == 3
    assert report["ended_early"]
    entries = {entry["pid"]: entry for entry in report["offenders"]}
    assert [step["remedy"] for step in entries[program.pid_in_node]["steps"]] == ["nudge", "reap"]
    assert [step["refusal"] for step in entries[refused.pids[1]]["steps"]] == [
        None,
        "seccomp_strict",
    ]
    assert program.zombies()
    assert refused.alive
    assert fate(program, masks) == "well"
    assert program.held_by() == []
