"""Numbers of system calls on this machine's processor (arch/x86/entry/syscalls/syscall_64.tbl,
include/uapi/asm-generic/unistd.h).

aarch64 has no poll, pause, select, open or epoll_wait: there these names stand for the calls that
libc makes instead.
"""

from __future__ import annotations

import os

_NUMBERS = {
    # name: (x86-64, aarch64)
    "accept": (43, 202),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, 22),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "flock": (73, 32),
    "futex": (202, 98),
    "getppid": (110, 173),
    "io_getevents": (208, 4),
    "mq_timedreceive": (243, 183),
    "msgrcv": (70, 188),
    "nanosleep": (35, 101),
    "open": (2, 56),  # openat
    "pause": (34, 73),  # ppoll
    "poll": (7, 73),  # ppoll
    "ppoll": (271, 73),
    "process_vm_readv": (310, 270),
    "pselect6": (270, 72),
    "ptrace": (101, 117),
    "read": (0, 63),
    "recvfrom": (45, 207),
    "restart_syscall": (219, 128),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "select": (23, 72),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "sendto": (44, 206),
    "wait4": (61, 260),
    "waitid": (247, 95),
    "write": (1, 64),
}
MACHINE = os.uname().machine
IS_X86_64 = MACHINE == "x86_64"
NUMBERS = {
    name: numbers[{"x86_64": 0, "aarch64": 1}[MACHINE]] for name, numbers in _NUMBERS.items()
}
