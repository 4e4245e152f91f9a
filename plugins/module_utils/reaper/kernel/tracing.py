# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this process can trace at all on this node: found once, before anything is done, and
without tracing anybody.

Both functions return a :class:`.ptrace.Refused` (its word is for machines, its text for people), or
None where nothing is in the way. Both take a :class:`.procfs.ProcFS` that shows this process as
``self``, and read a few of its lines.
"""

from __future__ import annotations

import errno
import os

from .ptrace import Refused, architecture

CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21  # include/uapi/linux/capability.h
NO_PIDFD = Refused(
    "kernel", "this kernel or Python has no pidfd_open: Linux 5.3 and Python 3.9 are needed"
)
YAMA_NO_ATTACH = "3"  # Documentation/admin-guide/LSM/Yama.rst


def node_refusal(procfs) -> Refused | None:
    """Why `reap` is impossible for every parent on this node.

    ``architecture``: no entry for this processor, or a 32-bit Python. ``yama``:
    kernel.yama.ptrace_scope is 3. ``not_permitted``: this process lacks CAP_SYS_PTRACE. ``kernel``:
    no pidfd_open(2) (Linux 5.3, which PTRACE_GET_SYSCALL_INFO came with too).
    """
    try:
        architecture()
        os.close(os.pidfd_open(os.getpid()))
    except Refused as refused:
        return refused
    except AttributeError:
        return NO_PIDFD
    except OSError as error:  # another one, such as ENFILE, is a matter of this moment
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return NO_PIDFD
    if procfs.yama_scope() == YAMA_NO_ATTACH:
        return Refused(
            "yama", "kernel.yama.ptrace_scope is 3: nobody may trace until the node is booted again"
        )
    if not procfs.own_rights().capabilities >> CAP_SYS_PTRACE & 1:
        return Refused("not_permitted", "the sweep lacks CAP_SYS_PTRACE")
    return None


def filter_refusal(procfs) -> Refused | None:
    """Why `reap` is impossible on this node for parents that have a seccomp filter (most containers
    do), though not for others.

    ``seccomp_filter``: this process lacks CAP_SYS_ADMIN in the first user namespace, or has a
    filter itself (check_ptrace_options() of kernel/ptrace.c). A kernel without
    CONFIG_CHECKPOINT_RESTORE cannot be told before it is tried.
    """
    rights, before = (
        procfs.own_rights(),
        "a parent's seccomp filter cannot be set aside from here: ",
    )
    if not rights.capabilities >> CAP_SYS_ADMIN & 1:
        return Refused("seccomp_filter", before + "the sweep lacks CAP_SYS_ADMIN")
    if not rights.in_first_user_namespace:
        return Refused("seccomp_filter", before + "the sweep runs in a user namespace")
    if rights.seccomp:
        return Refused("seccomp_filter", before + "the sweep runs under a seccomp filter itself")
    return None
