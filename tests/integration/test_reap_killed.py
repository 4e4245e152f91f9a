"""The sweep is killed, or asked to end, at random moments while it holds a parent that it makes collect zombies.

SIGKILL cannot be prepared for: what became of the parents is counted and printed. SIGTERM and its like must harm nobody.
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
from rig.fed import Fed, build_worker
from rig.node import PYTHON, wait_until

KILLS = int(os.environ.get("REAPER_KILLS", "104"))
ZOMBIES = 300  # that a parent has at least when a sweep begins: some 100 ms of work
LATEST = 0.06  # seconds after the first stop at which the signal comes

AT_LEAST = 0.4  # of the parents go on well after SIGKILL: it is held half of the time, and not every moment of that is harmful
DONE = "the sweep was done before"

WORKERS = "nanosleep", "poll", "epoll_wait", "futex", "read", "accept", "sigtimedwait", "wait4", "calls", "checksum"
SCRIPTS = {
    "sleep": ["sleep", "infinity"],
    "python": [PYTHON, "-IS", "-c", """
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
""", "{progress}"],
    "bash": ["bash", "-c", """
exec {never}<> <(:)
for ((n = 1; ; n++)); do
    read -t 0.02 -u "$never" && { echo "something was read where nothing is written" > "$0.wrong"; exit 9; }
    printf '%020d\\n' "$n" 1<> "$0"
done
""", "{progress}"],
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


def at_work(node, program, **options):
    """A sweep that has begun to collect zombies of the program, and goes on with it: (Popen, the agent as psutil.Process)."""
    options = {"remedies": "reap", "min_age": 0, **options}
    flags = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))]
    for _try in range(20):
        if program.child_count() < ZOMBIES:
            program.feed(ZOMBIES)
            wait_until(lambda: program.child_count() >= ZOMBIES)
        sweep = subprocess.Popen(
            [*node.enter, *node.agent_command("--json", *flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while sweep.poll() is None:
            if program.held_by():
                return sweep, only_child(sweep.pid)
        sweep.communicate()
    raise AssertionError("no sweep was seen at work")


def only_child(pid):
    """Of nsenter: the agent. psutil would look at all processes of the machine for this."""
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as children:
        return psutil.Process(int(children.read()))


def interrupt(agent, number) -> bool:
    """Send the signal to the agent at a random moment; False when it had ended by itself by then."""
    time.sleep(random.uniform(0, LATEST))
    try:
        agent.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def fate(program, masks) -> str:
    """What became of a parent: it goes on ``well``, or else what is wrong."""
    before = program.done()
    deadline = time.monotonic() + 20
    while program.name != "sleep" and program.done() <= before + 1 and not program.complaint() and time.monotonic() < deadline:
        time.sleep(0.01)
    if program.complaint():
        return "signals stay blocked" if "pthread_sigmask" in program.complaint() else program.complaint().split(": ", 1)[1]
    if time.monotonic() >= deadline:
        return "it does nothing any more"
    while program.masks() != masks:  # bash blocks some itself, for a moment now and then
        if time.monotonic() > deadline:
            return "signals stay blocked"
        time.sleep(0.001)
    return "well"


def test_sigkill_of_the_sweep_is_counted(node, start):
    fates = {}
    kinds = (*WORKERS, *SCRIPTS)
    for kind in kinds:
        fates[kind] = Counter()
        program = None
        for _turn in range(-(-KILLS // len(kinds))):
            if program is None:
                program = start(kind)
                masks = program.masks()
            sweep, agent = at_work(node, program)
            killed = interrupt(agent, signal.SIGKILL)
            sweep.communicate()
            wait_until(lambda program=program: not program.alive or program.held_by() == [])
            what = fate(program, masks) if killed else DONE
            fates[kind][what] += 1
            if what not in ("well", DONE):
                program.stop()
                program = None
        if program:
            program.stop()
        print("%-14s %s" % (kind, dict(fates[kind])))
    total = sum(fates.values(), Counter())
    killed = sum(total.values()) - total[DONE]
    print("of %d parents whose sweep was killed %d went on well" % (killed, total["well"]))
    assert killed >= KILLS / 2, "hardly any was killed in time"
    assert total["well"] >= AT_LEAST * killed


def test_a_signal_that_asks_the_sweep_to_end_harms_nobody(node, start):
    early = Counter()
    kinds = (*WORKERS, *SCRIPTS)
    for place, kind in enumerate(kinds):
        program = start(kind)
        masks = program.masks()
        for turn in range(-(-KILLS // len(kinds))):
            number = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[(place + turn) % 3]
            sweep, agent = at_work(node, program)
            asked = interrupt(agent, number)
            report, errors = sweep.communicate()
            assert program.held_by() == []
            assert fate(program, masks) == "well", kind
            assert errors == ""
            ended_early = json.loads(report)["ended_early"]
            # One that comes when the whole report is out ends what is left of the process: Python taking itself down.
            assert sweep.returncode in ((3,) if ended_early else (0, -number) if asked else (0,))
            early["early" if ended_early else "done before"] += 1
        program.stop()
    print("sweeps that were asked to end: %s" % dict(early))
    assert early["early"] >= KILLS / 4, "hardly any came in time"


SECCOMP_STRICT = """
zombie()
never, _ = os.pipe()
ready()
ctypes.CDLL(None).prctl(22, 1)
os.read(never, 1)
"""


def test_no_harder_remedy_follows_once_the_sweep_was_asked_to_end(node, start):
    """Asked while one parent is made to collect, with terminate next for another that cannot be: both live, and keep zombies."""
    program = start("nanosleep")
    refused = node.container(SECCOMP_STRICT)
    masks = program.masks()
    program.feed(4000)  # so many that the signal comes in time on a busy machine too
    wait_until(lambda: program.child_count() >= 4000)
    sweep, agent = at_work(node, program, remedies="nudge,reap,terminate", grace=0)
    before = program.child_count()
    wait_until(lambda: program.child_count() < before - 50)  # the other one has had its turn by then
    agent.send_signal(signal.SIGTERM)
    report = json.loads(sweep.communicate()[0])
    assert sweep.returncode == 3
    assert report["ended_early"]
    entries = {entry["pid"]: entry for entry in report["offenders"]}
    assert [step["remedy"] for step in entries[program.pid_in_node]["steps"]] == ["nudge", "reap"]
    assert [step["refusal"] for step in entries[refused.pids[1]]["steps"]] == [None, "seccomp_strict"]
    assert program.zombies()
    assert refused.alive
    assert fate(program, masks) == "well"
    assert program.held_by() == []
