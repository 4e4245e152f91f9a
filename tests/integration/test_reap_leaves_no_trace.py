"""What a parent could notice of being made to collect: registers, signals, stacks, sequences. All
as before.
"""

from __future__ import annotations

import pytest
from rig.kernel import VERSION
from rig.node import offender_of, wait_until
from rig.reaping import (
    ANSWERS,
    BEFORE_5_13,
    BY_ITSELF,
    Untouched,
    answer,
    built,
    container_of,
    reap_directly,
    said,
    says_nothing,
    sleeps_or_has_ended,
    status_of,
    step_of,
    system_call,
)
from rig.system_calls import IS_X86_64, NUMBERS

ZOMBIES = 40
UNUSABLE = "busy" if VERSION >= (5, 13) else "no_system_call"  # where it runs in a sequence
X86_64_ONLY = pytest.mark.skipif(not IS_X86_64, reason="the program has instructions of x86-64")
WITHOUT_GLIBC_S_RSEQ = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
NANOSLEEP_OF_32_BIT, RESTART_SYSCALL_OF_32_BIT = 162, 0
NANOSLEEP, RESTART_SYSCALL = NUMBERS["nanosleep"], NUMBERS["restart_syscall"]
# time.sleep(), before Python 3.11 the latter
CLOCK_NANOSLEEP, SELECT = NUMBERS["clock_nanosleep"], NUMBERS["select"]
PAUSE, SIGSUSPEND, PPOLL = NUMBERS["pause"], NUMBERS["rt_sigsuspend"], NUMBERS["ppoll"]


KERNELS = {"this": "", "before_5.13": BEFORE_5_13 + "\n", "by_itself": BY_ITSELF + "\n"}
ONE_AT_A_TIME = """
while True:
    then = offender()
    if not then:
        break
    once(then._replace(zombies=then.zombies[:1]))
"""


def swept(node, program):
    """The entry after a sweep that is expected to collect them all without being noticed."""
    with Untouched(program):
        entry = offender_of(node.sweep(remedies="reap"), program)
    assert (entry["outcome"], entry["remedy"]) == ("cleared", "reap"), entry["steps"]
    assert program.zombies() == []
    return entry


@pytest.mark.skipif(VERSION < (5, 13), reason="it makes no system call")
@X86_64_ONLY
def test_registers_of_a_program_that_calculates(node, tmp_path):
    """General, x87, SSE and AVX registers, flags and the red zone, checked by the program itself,
    in 40 stops.
    """
    program = container_of(node, built(tmp_path, "registers"), zombies=ZOMBIES)
    with Untouched(program):
        outcome = reap_directly(
            node,
            program,
            ONE_AT_A_TIME,
        )
    assert outcome["result"] == "cleared"
    assert answer(program) == "well"
    assert says_nothing(program)


@pytest.mark.parametrize("way", ["getppid", "nanosleep"])
@pytest.mark.parametrize("kernel", ["this", "before_5.13", "by_itself"])
def test_registers_of_a_program_that_makes_system_calls(node, tmp_path, way, kernel):
    """All that a call leaves alone: general and vector registers, and the signal mask, checked by
    the program itself after each, in 40 stops.
    """
    program = container_of(node, built(tmp_path, "calls"), way, zombies=ZOMBIES)
    with Untouched(program):
        outcome = reap_directly(node, program, KERNELS[kernel] + ONE_AT_A_TIME)
    assert outcome["result"] == "cleared"
    assert program.zombies() == []
    assert answer(program) == "well"
    assert says_nothing(program)


@X86_64_ONLY
def test_a_64_bit_program_that_sleeps_in_the_32_bit_entry(node, tmp_path):
    """Stopped in int 0x80, which is no instruction for our call; it sleeps on afterwards, and says
    so if woken.
    """
    program = container_of(node, built(tmp_path, "no_vdso", "-DOLD_CALL"), zombies=ZOMBIES)
    asleep = NANOSLEEP_OF_32_BIT, RESTART_SYSCALL_OF_32_BIT
    assert sleeps_or_has_ended(program, *asleep)
    swept(node, program)
    assert sleeps_or_has_ended(program, *asleep)
    assert says_nothing(program)
    assert answer(program) == "well"


def test_a_sleep_goes_on(node):
    """A bare nanosleep(2), which would return early if the kernel had not restarted it."""
    program = node.container(
        ANSWERS
        + """
import struct
libc = ctypes.CDLL(None, use_errno=True)
for _ in range(40):
    zombie()
ready()
while True:
    left = ctypes.create_string_buffer(struct.pack("qq", 1000, 0))
    result = libc.syscall(%d, left, None)
    if (result, ctypes.get_errno()) != (-1, 4):  # EINTR comes of SIGUSR1
        os.write(1, b"slept %%d %%d\\n" %% (result, ctypes.get_errno()))
"""
        % NANOSLEEP
    )
    assert sleeps_or_has_ended(program, NANOSLEEP)
    swept(node, program)
    assert sleeps_or_has_ended(program, NANOSLEEP, RESTART_SYSCALL)
    assert says_nothing(program)
    assert answer(program) == "well"
    assert sleeps_or_has_ended(program, NANOSLEEP)
    assert says_nothing(program)


def test_a_handler_for_sigtrap_stays_and_is_not_called(node):
    program = node.container(
        ANSWERS
        + """
signal.signal(signal.SIGTRAP, lambda *_: os.write(1, b"trapped\\n"))
zombie()
ready()
forever()
"""
    )
    swept(node, program)
    assert sleeps_or_has_ended(program, CLOCK_NANOSLEEP, SELECT)
    assert says_nothing(program)
    assert answer(program) == "well"
    program.process.send_signal(5)
    assert said(program) == "trapped"


def test_sigtrap_stays_ignored(node):
    program = node.container(
        ANSWERS
        + """
signal.signal(signal.SIGTRAP, signal.SIG_IGN)
zombie()
ready()
forever()
"""
    )
    swept(node, program)
    assert int(status_of(program)["SigIgn"], 16) & 1 << 4
    assert answer(program) == "well"


def test_blocked_signals_stay_pending(node):
    """Two of the process and one of the thread; Untouched compares both sets."""
    program = node.container(
        ANSWERS
        + """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2, signal.SIGTRAP])
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTRAP)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
zombie()
ready()
forever()
"""
    )
    before = status_of(program)
    assert int(before["ShdPnd"], 16) and int(before["SigPnd"], 16)
    swept(node, program)
    assert answer(program) == "well"


QUEUES_100 = """
import ctypes
SIGRTMIN = 34
number = 0
def at(moment):
    global number
    if moment in ("seized", "stopped", "prepared", "called", "releasing"):
        queue(1 if moment == "called" else 15)
def queue(more):
    global number
    for number in range(number, min(number + more, 100)):
        assert ctypes.CDLL(None).sigqueue(PID, SIGRTMIN, ctypes.c_void_p(number)) == 0
        number += 1
once(offender())
queue(100)
print(json.dumps({"result": number}))
"""


WAITS_IN = {"pause": PAUSE, "busy": -1, "sigsuspend": SIGSUSPEND, "ppoll": PPOLL, "handler": PAUSE}


@pytest.mark.parametrize("mode", WAITS_IN)
@pytest.mark.parametrize("kernel", ["this", "by_itself"])
def test_signals_queued_while_it_collects_arrive_once_each(node, tmp_path, mode, kernel):
    """Before it stops, in every stop, between the calls and before the end; its mask may be one for
    that call only, or it may be in a handler on an alternate stack. Each signal carries a number of
    its own.
    """
    program = container_of(node, built(tmp_path, "signals"), mode, zombies=ZOMBIES)
    wait_until(lambda: system_call(program) == WAITS_IN[mode])
    with Untouched(program):
        assert reap_directly(node, program, KERNELS[kernel] + QUEUES_100)["result"] == 100
    if mode != "busy" or kernel == "this" and IS_X86_64 and VERSION >= (5, 13):
        assert program.zombies() == []
    assert answer(program) == "well 100"


BETWEEN_CALLS = QUEUES_100.replace(
    '("seized", "stopped", "prepared", "called", "releasing")', '("called",)'
).replace("1 if", "2 if")


@pytest.mark.parametrize("mode", [mode for mode in WAITS_IN if mode != "busy"])
def test_signals_between_two_calls_keep_what_they_carry(node, tmp_path, mode):
    """Two at a time, in front of a call that it makes by itself: they are held back and sent
    again.
    """
    program = container_of(node, built(tmp_path, "signals"), mode, zombies=ZOMBIES)
    wait_until(lambda: system_call(program) == WAITS_IN[mode])
    with Untouched(program):
        code = KERNELS["by_itself"] + BETWEEN_CALLS
        assert reap_directly(node, program, code)["result"] == 100
    assert program.zombies() == []
    assert answer(program) == "well 100"


MORE_MEANWHILE = BETWEEN_CALLS.replace(
    "once(offender())",
    """
put_back = ptrace.Tracee._put_siginfo_back
def one_more(self, number):
    put_back(self, number)
    queue(1)
ptrace.Tracee._put_siginfo_back = one_more
once(offender())
""",
)


@pytest.mark.parametrize("mode", [mode for mode in WAITS_IN if mode != "busy"])
def test_signals_arrive_in_the_order_in_which_they_were_sent(node, tmp_path, mode):
    """Others are sent while those that were held back are sent again."""
    program = container_of(node, built(tmp_path, "signals"), mode, zombies=ZOMBIES)
    wait_until(lambda: system_call(program) == WAITS_IN[mode])
    with Untouched(program):
        code = KERNELS["by_itself"] + MORE_MEANWHILE
        assert reap_directly(node, program, code)["result"] == 100
    assert answer(program) == "well 100"


@X86_64_ONLY
@pytest.mark.parametrize(
    "outside",
    ["0", "3000", "300000"],
    ids=["hardly_ever_outside", "seldom_outside", "often_outside"],
)
def test_restartable_sequences(node, tmp_path, outside):
    """Collected at a moment outside of them, or refused as busy, or where the kernel does not show
    them since it makes no system call; no sequence that was left goes on.
    """
    program = container_of(
        node,
        built(tmp_path, "rseq_loop"),
        "300000",
        outside,
        zombies=20,
        environment=WITHOUT_GLIBC_S_RSEQ,
    )
    for _sweep in range(5):
        with Untouched(program):
            result = node.sweep(remedies="reap")
        if not program.zombies():
            break
        assert step_of(offender_of(result, program))["refusal"] == UNUSABLE
    assert answer(program) == "well"
    assert says_nothing(program)


@X86_64_ONLY
def test_the_parent_is_moved_to_another_processor_while_it_collects(node, tmp_path):
    """That is what a sequence must not survive unnoticed; a program without one does not mind."""
    program = container_of(
        node,
        built(tmp_path, "rseq_loop"),
        "30000",
        "300000",
        zombies=20,
        environment=WITHOUT_GLIBC_S_RSEQ,
    )
    with Untouched(program):
        outcome = reap_directly(
            node,
            program,
            """
processors, turns = sorted(os.sched_getaffinity(0)), 0
def at(moment):
    global turns
    if moment in ("prepared", "called"):
        turns += 1
        os.sched_setaffinity(PID, {processors[turns % len(processors)]})
    elif moment == "released":
        os.sched_setaffinity(PID, processors)
then = offender()
for zombie in then.zombies:
    once(then._replace(zombies=(zombie,)))
""",
        )
    assert outcome["result"] == "cleared" or outcome["refusal"] == UNUSABLE
    assert answer(program) == "well"
    assert says_nothing(program)
