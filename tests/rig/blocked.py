"""Programs blocked in one system call each while they hold zombies: blocked.c, and what each call
returns afterwards.
"""

from __future__ import annotations

import signal
from collections import namedtuple

from rig.node import wait_until
from rig.running import SLEEP, Program
from rig.system_calls import NUMBERS

Call = namedtuple("Call", ("name", "system_call", "result", "interrupted"), defaults=(False,))

USR1 = 1 << (signal.SIGUSR1 - 1)

# What it returns when its event comes. interrupted: EINTR comes before that, once for each time
# that it was stopped (signal(7): "Interruption of system calls and library functions by stop
# signals").
CALLS = [
    Call("read", "read", "8 0"),
    Call("read_eventfd", "read", "8 0"),
    Call("read_signalfd", "read", "128 0"),
    Call("read_inotify", "read", "32 0"),
    Call("write", "write", "4096 0"),
    Call("open", "open", "1 0"),
    Call("recv", "recvfrom", "8 0"),
    Call("recv_with_timeout", "recvfrom", "8 0", interrupted=True),
    Call("send_with_timeout", "sendto", "4096 0", interrupted=True),
    Call("accept", "accept", "1 0"),
    Call("accept_with_timeout", "accept", "1 0", interrupted=True),
    Call("poll", "poll", "1 0"),
    Call("ppoll", "ppoll", "1 0"),
    Call("ppoll_signal", "ppoll", "-1 EINTR"),
    Call("select", "select", "1 0"),
    Call("pselect", "pselect6", "1 0"),
    Call("pselect_signal", "pselect6", "-1 EINTR"),
    Call("epoll_wait", "epoll_wait", "1 0", interrupted=True),
    Call("epoll_wait_with_timeout", "epoll_wait", "1 0", interrupted=True),
    Call("epoll_pwait", "epoll_pwait", "1 0", interrupted=True),
    Call("futex", "futex", "0 0"),
    Call("futex_with_timeout", "futex", "0 0"),
    Call("sigtimedwait", "rt_sigtimedwait", "10 0", interrupted=True),
    Call("sigwaitinfo", "rt_sigtimedwait", "10 0", interrupted=True),
    Call("sigsuspend", "rt_sigsuspend", "-1 EINTR"),
    Call("pause", "pause", "-1 EINTR"),
    Call("wait4", "wait4", "7 0"),
    Call("waitid", "waitid", "7 0"),
    Call("flock", "flock", "0 0"),
    Call("fcntl_setlkw", "fcntl", "0 0"),
    Call("msgrcv", "msgrcv", "8 0"),
    Call("mq_receive", "mq_timedreceive", "1 0"),
    Call("semop", "semop", "0 0", interrupted=True),
    Call("semtimedop", "semtimedop", "0 0", interrupted=True),
    Call("io_getevents", "io_getevents", "1 0", interrupted=True),
    Call("timed_nanosleep", "nanosleep", "0 0"),
    Call("timed_clock_nanosleep", "clock_nanosleep", "0 0"),
    Call("timed_clock_nanosleep_absolute", "clock_nanosleep", "0 0"),
    Call("timed_poll", "poll", "0 0"),
    Call("timed_select", "select", "0 0"),
    Call("timed_futex", "futex", "-1 ETIMEDOUT"),
    Call("timed_timerfd", "read", "8 0"),
]


def blocked(call) -> Program:
    """The program that is blocked in that call."""
    timed = call.name.startswith("timed_")
    number = NUMBERS[call.system_call]

    def is_in_it(running):
        return running.process.name() == "blocked" and running.system_call() == number

    def is_at_rest(running):
        return running.process.name() == "blocked" and running.system_call() == NUMBERS["read"]

    def completes(running):
        if timed:
            wait_until(lambda: running.out)
        else:
            # it waits again, for the same, those with a relative time in restart_syscall(2)
            wait_until(lambda: running.system_call() in (number, NUMBERS["restart_syscall"]))
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
