"""Signals that a parent gets while it is made to collect: each has the effect that it would have
had, and however many there are, the sweep ends.
"""

from __future__ import annotations

import os
import signal

import pytest
from rig.node import wait_until
from rig.reaping import (
    ANSWERS,
    BY_ITSELF,
    ONCE,
    Untouched,
    answer,
    reap_directly,
    said,
    sleeps_or_has_ended,
    status_of,
)
from rig.system_calls import NUMBERS

PAUSE = NUMBERS["pause"]
# signals that an instruction raises as well
FROM_OUTSIDE = ("SIGILL", "SIGTRAP", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS")
CATCHES_THEM = (
    ANSWERS
    + """
for name in %r:
    signal.signal(getattr(signal, name), lambda number, _: os.write(1, b"%%d\\n" %% number))
for _ in range(40): zombie()
ready()
"""
    % (FROM_OUTSIDE,)
)


@pytest.mark.parametrize("name", FROM_OUTSIDE)
def test_a_fault_sent_by_somebody_reaches_a_program_that_calculates(node, name):
    """Somebody sends it by kill(2) while the program is made to collect."""
    program = node.container(CATCHES_THEM + "while True: pass")
    number = getattr(signal, name)
    with Untouched(program):
        code = ONCE % ("called", f"os.kill(PID, {int(number)})") + "once(offender())"
        reap_directly(node, program, code)
    assert said(program) == str(int(number))
    assert answer(program) == "well"


PAUSES = (
    CATCHES_THEM
    + """
while True:
    signal.pause()
    os.write(1, b"paused\\n")
"""
)


@pytest.mark.parametrize("kernel", ["", BY_ITSELF + "\n"], ids=["this", "by_itself"])
@pytest.mark.parametrize("name", FROM_OUTSIDE)
def test_a_fault_sent_by_somebody_ends_a_pause(node, name, kernel):
    program = node.container(PAUSES)
    assert sleeps_or_has_ended(program, PAUSE)
    number = getattr(signal, name)
    with Untouched(program):
        code = kernel + ONCE % ("called", f"os.kill(PID, {int(number)})") + "once(offender())"
        reap_directly(node, program, code)
    assert said(program) == str(int(number))
    assert said(program) == "paused"
    assert answer(program) == "well"


STOPS_ITS_INIT = (
    ANSWERS
    + """
here = os.open(%r, os.O_RDWR)
if os.fork() == 0:
    while True:
        os.read(here, 1)
        os.kill(1, signal.SIGSTOP)
        os.write(1, b"sent\\n")
for _ in range(40): zombie()
ready()
forever()
"""
)


@pytest.mark.parametrize("kernel", ["", BY_ITSELF + "\n"], ids=["this", "by_itself"])
@pytest.mark.parametrize("moment", ["seized", "stopped", "called", "releasing"])
def test_an_init_is_not_stopped_from_inside(node, tmp_path, moment, kernel):
    """The kernel never delivers a SIGSTOP that comes from inside the namespace, unless the init is
    traced.
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = node.container(STOPS_ITS_INIT % str(fifo))
    code = kernel + ONCE % (
        moment,
        f"fd = os.open({str(fifo)!r}, os.O_RDWR); os.write(fd, b'x'); until(lambda:"
        " int(open(f'/proc/{PID}/status').read().split('ShdPnd:')[1].split()[0], 16) or %r)"
        % (moment == "seized"),
    )
    with Untouched(program):
        reap_directly(node, program, code + "once(offender())")
    assert said(program) == "sent"
    assert answer(program) == "well"


SLEEPS = (
    ANSWERS
    + """
signal.signal(signal.SIGUSR2, %s)
for _ in range(40): zombie()
ready()
while True:
    signal.pause()
"""
)
WITHOUT_END = """
resume, sent = ptrace.Tracee._resume, 0
def flooded(*arguments):
    global sent
    sent += 1
    assert sent < 100 * ptrace.MAX_SIGNALS, "without end"
    os.kill(PID, signal.SIGUSR2)
    resume(*arguments)
ptrace.Tracee._resume = flooded
once(offender())
"""


@pytest.mark.parametrize("kernel", ["", BY_ITSELF + "\n"], ids=["this", "by_itself"])
@pytest.mark.parametrize("way", ["signal.SIG_IGN", "lambda *_: None"], ids=["ignored", "caught"])
def test_signals_without_end_hold_no_sweep_up(node, way, kernel):
    """There is another one whenever the parent is resumed."""
    program = node.container(SLEEPS % way)
    reap_directly(node, program, kernel + WITHOUT_END)
    wait_until(lambda: status_of(program)["TracerPid"] == "0")
    assert answer(program) == "well"
