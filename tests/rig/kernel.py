"""What the kernel that the tests run on is able to do."""

from __future__ import annotations

import os
import re

VERSION = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
# commit 7863dcc72d0f; before that, kernel.pid_max belongs to the whole machine
PID_MAX_OF_A_NAMESPACE = VERSION >= (6, 14)
# PR_SET_SYSCALL_USER_DISPATCH is of 5.11, and PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG of 6.4
SHOWS_DISPATCH = VERSION >= (6, 4)
