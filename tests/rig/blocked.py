"""Programs blocked in one system call each while they hold zombies: blocked.c, and what each call
returns afterwards.
"""

from __future__ import annotations

import signal
from collections import namedtuple

from rig.node import wait_until
from rig.running import SLEEP, Program

Call = namedtuple("Call", ("name", "number", "result", "interrupted"), defaults=(False,))

RESTARTED_BY_NUMBER = (
    219  # restart_syscall(2), by which the kernel resumes those with a relative time
)
USR1 = 1 << (signal.SIGUSR1 - 1)

# What it returns when its event comes. interrupted: EINTR comes before that, once for each time
# that it was stopped (signal(7): "Interruption of system calls and library functions by stop
# signals").
CALLS = [
    Call("read", 0, "8 0"),
    Call("read_eventfd", 0, "8 0"),
    Call("read_signalfd", 0, "128 0"),
    Call("read_inotify", 0, "32 0"),
    Call("write", 1, "4096 0"),
    Call("open", 2, "1 0"),
    Call("recv", 45, "8 0"),
    Call("recv_with_timeout", 45, "8 0", interrupted=True),
    Call("send_with_timeout", 44, "4096 0", interrupted=True),
    Call("accept", 43, "1 0"),
    Call("accept_with_timeout", 43, "1 0", interrupted=True),
    Call("poll", 7, "1 0"),
    Call("ppoll", 271, "1 0"),
    Call("ppoll_signal", 271, "-1 EINTR"),
    Call("select", 23, "1 0"),
    Call("pselect", 270, "1 0"),
    Call("pselect_signal", 270, "-1 EINTR"),
    Call("epoll_wait", 232, "1 0", interrupted=True),
    Call("epoll_wait_with_timeout", 232, "1 0", interrupted=True),
    Call("epoll_pwait", 281, "1 0", interrupted=True),
    Call("futex", 202, "0 0"),
    Call("futex_with_timeout", 202, "0 0"),
    Call("sigtimedwait", 128, "10 0", interrupted=True),
    Call("sigwaitinfo", 128, "10 0", interrupted=True),
    Call("sigsuspend", 130, "-1 EINTR"),
    Call("pause", 34, "-1 EINTR"),
    Call("wait4", 61, "7 0"),
    Call("waitid", 247, "7 0"),
    Call("flock", 73, "0 0"),
    Call("fcntl_setlkw", 72, "0 0"),
    Call("msgrcv", 70, "8 0"),
    Call("mq_receive", 243, "1 0"),
    Call("semop", 65, "0 0", interrupted=True),
    Call("semtimedop", 220, "0 0", interrupted=True),
    Call("io_getevents", 208, "1 0", interrupted=True),
    Call("timed_nanosleep", 35, "0 0"),
    Call("timed_clock_nanosleep", 230, "0 0"),
    Call("timed_clock_nanosleep_absolute", 230, "0 0"),
    Call("timed_poll", 7, "0 0"),
    Call("timed_select", 23, "0 0"),
    Call("timed_futex", 202, "-1 ETIMEDOUT"),
    Call("timed_timerfd", 0, "8 0"),
]


def blocked(call) -> Program:
    """The program that is blocked in that call."""
    timed = call.name.startswith("timed_")

    def is_in_it(running):
        return running.process.name() == "blocked" and running.system_call() == call.number

    def is_at_rest(running):
        return running.process.name() == "blocked" and running.system_call() == 0

    def completes(running):
        if timed:
            wait_until(lambda: running.out)
        else:
            # it waits again, for the same
            wait_until(lambda: running.system_call() in (call.number, RESTARTED_BY_NUMBER))
            before = running.out.splitlines()
            assert {line.split(" signals")[0] for line in before} == (
                {"-1 EINTR"} if call.interrupted else set()
            )
            running.say("now")
            wait_until(lambda: len(running.out.splitlines()) > len(before))
        result, signals, mask, milliseconds = running.out.splitlines()[-1].rsplit(None, 3)
        assert result == call.result
        assert signals == f"signals={int(result == '-1 EINTR')}"
        assert mask == "blocked=%x" % (0 if call.name == "pause" else USR1)
        if timed:
            assert SLEEP <= int(milliseconds.split("=")[1]) < SLEEP + running.head_start, (
                "it slept less, or began anew"
            )

    if timed:
        return Program(
            call.name, "/c/blocked " + call.name, completes, is_at_rest, begins_when_told=is_in_it
        )
    return Program(call.name, "/c/blocked " + call.name, completes, is_in_it)
