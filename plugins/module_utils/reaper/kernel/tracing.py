# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this process can trace at all on this node. Checked once, before anything is done, and
without tracing anybody.

Both functions return a :class:`.ptrace.Refused` (its word is for machines, its text for people), or
None when nothing is in the way. They need a :class:`.procfs.ProcFS` that shows this process as
``self``, and read only a few lines of it.
"""

from __future__ import annotations

import errno
import os

from .ptrace import Refused, architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .procfs import ProcFS

CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21  # include/uapi/linux/capability.h
NO_PIDFD = Refused(
    "kernel", "this kernel or Python has no pidfd_open: Linux 5.3 and Python 3.9 are needed"
)
YAMA_NO_ATTACH = "3"  # Documentation/admin-guide/LSM/Yama.rst


def node_refusal(procfs: ProcFS) -> Refused | None:
    """Why `reap` is impossible for every parent on this node.

    ``architecture``: this processor is not supported, or Python is a 32-bit one. ``yama``:
    kernel.yama.ptrace_scope is 3. ``not_permitted``: this process lacks CAP_SYS_PTRACE. ``kernel``:
    no pidfd_open(2) (Linux 5.3, which also brought PTRACE_GET_SYSCALL_INFO).
    """
    try:
        architecture()
        os.close(os.pidfd_open(os.getpid()))
    except Refused as refused:
        return refused
    except AttributeError:
        return NO_PIDFD
    except OSError as error:  # any other, such as ENFILE, will pass
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return NO_PIDFD
    if procfs.yama_scope() == YAMA_NO_ATTACH:
        return Refused(
            "yama", "kernel.yama.ptrace_scope is 3: no process may trace until the node reboots"
        )
    if not procfs.own_rights().capabilities >> CAP_SYS_PTRACE & 1:
        return Refused("not_permitted", "the sweep lacks CAP_SYS_PTRACE")
    return None


def filter_refusal(procfs: ProcFS) -> Refused | None:
    """Why `reap` is impossible on this node for parents with a seccomp filter, which most
    containers have, though possible for others.

    ``seccomp_filter``: this process lacks CAP_SYS_ADMIN in the first user namespace, or has a
    filter itself (check_ptrace_options() of kernel/ptrace.c). A kernel without
    CONFIG_CHECKPOINT_RESTORE is only recognized when it is tried.
    """
    rights = procfs.own_rights()
    if not rights.capabilities >> CAP_SYS_ADMIN & 1:
        why = "the sweep lacks CAP_SYS_ADMIN"
    elif not rights.in_first_user_namespace:
        why = "the sweep runs in a user namespace"
    elif rights.seccomp:
        why = "the sweep runs under a seccomp filter itself"
    else:
        return None
    return Refused(
        "seccomp_filter", f"a parent's seccomp filter cannot be suspended from here: {why}"
    )
