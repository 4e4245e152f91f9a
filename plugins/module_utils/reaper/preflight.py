# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every sweep needs from the node and from the user it runs as, checked before it acts."""

from __future__ import annotations

import os

from .errors import CannotSweep
from .node import workloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel.procfs import ProcFS


def check_node(procfs: ProcFS) -> None:
    """Raise :class:`.errors.CannotSweep` if the node or the user does not meet these needs."""
    if os.geteuid() != 0:
        raise needs_root("see whose processes these are")
    above = workloads.above_the_sweep(procfs)
    if above:
        raise CannotSweep(above)
    if procfs.stat(os.getpid()) is None:
        raise CannotSweep(
            f"{procfs.root} does not show this process: mount the proc file system there"
        )
    try:
        visible = procfs.stat(1) and procfs.status(1)
    except PermissionError:
        visible = None
    if not visible:
        raise CannotSweep(
            f"{procfs.root} hides other processes from this one (hidepid): remount it with"
            " hidepid=0, or give the sweep CAP_SYS_PTRACE"
        )
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        raise CannotSweep(
            "this kernel or Python has no pidfd_open (Linux 5.3 and Python 3.9 are needed), so a"
            f" signal could reach the wrong process: {error}"
        ) from None


def needs_root(what: str) -> CannotSweep:
    """The error of a user who may not do this, to be raised."""
    return CannotSweep(
        f"root is needed to {what}; this is UID {os.geteuid()} (use become: true, or sudo)"
    )
