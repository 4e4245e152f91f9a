"""What the kernel that the tests run on is able to do, and whether it is theirs alone."""

from __future__ import annotations

import os
import re

VERSION = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
# set in a virtual machine (tests/vm)
OWN_MACHINE = "REAPER_MACHINE" in os.environ
# commit 7863dcc72d0f; before that, kernel.pid_max belongs to the whole machine
PID_MAX_OF_A_NAMESPACE = VERSION >= (6, 14)
