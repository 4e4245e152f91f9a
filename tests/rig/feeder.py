"""feeder.py FIFO COMMAND...: becomes COMMAND, and gives it as many zombies as each 32-bit number
read from the FIFO says.

Any program can be the parent, also one that waits for all its children: these exit without SIGCHLD,
and wait(2) without __WALL passes them over ("clone" children). They are made by a sibling of theirs
with CLONE_PARENT (clone(2)).
"""

import ctypes
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from system_calls import NUMBERS  # noqa: E402

CLONE_PARENT, PR_SET_PDEATHSIG, PR_SET_NAME, SIGKILL = 0x8000, 1, 15, 9
libc = ctypes.CDLL(None)


def clone(flags):
    """fork(), with the lowest byte of flags as the signal that the parent gets at the exit: here
    none.
    """
    return libc.syscall(NUMBERS["clone"], flags, 0, 0, 0, 0)


def feed(fifo):
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
    libc.prctl(PR_SET_NAME, b"feeder")
    while True:
        (count,) = struct.unpack("I", os.read(fifo, 4))
        for _child in range(count):
            if clone(CLONE_PARENT) == 0:
                libc._exit(3)


fifo = os.open(sys.argv[1], os.O_RDWR | os.O_CLOEXEC)  # O_RDWR: it never ends
if clone(0) == 0:
    feed(fifo)
os.write(1, b"ready\n")
os.execvp(sys.argv[2], sys.argv[2:])
