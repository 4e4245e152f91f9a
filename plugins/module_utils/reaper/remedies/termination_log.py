# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the owner of a container why a program in it is about to be ended: one line in the
container's termination log.

For each start of a container the kubelet makes a file, ``pods/UID/containers/NAME/RANDOM`` below
its root directory. It mounts that file at the container's ``terminationMessagePath`` (default
``/dev/termination-log``), and shows the end of it as the container's last message (``kubectl
describe pod``; makeMounts() and getTerminationMessage() of pkg/kubelet/kuberuntime). So the newest
file there belongs to the container that is running now, wherever it is mounted.

No path that a tenant controls is opened. The directories belong to the kubelet, and only root may
be able to write to them; the file alone is mounted in the container, where anybody may write to it.
Docker and Podman have no such file: there the line is in the node's journal only. Failing to write
is never an error.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from .. import DOCS
from ..node import cures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..node.observe import Offender

MAX_BYTES = 1024  # the kubelet shows the last 4096 (MaxPodTerminationMessageLogLength)


def message(offender: Offender, in_use: str, now: float) -> str:
    """One line that says who ended what and when (now: seconds since the epoch), why, and what
    prevents it. in_use: of which process IDs how many were, in words.

    Nothing in it but numbers comes from the container, so there is nothing to escape.
    """
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return f"{when} {ended_in_words(offender, in_use, 'this container')}\n"


def ended_in_words(offender: Offender, in_use: str, container: str) -> str:
    """Who ended it, why, and what prevents it. in_use: as in :func:`message`. container: which one,
    in words.
    """
    count = len(offender.zombies)
    seconds = int(min(zombie.age for zombie in offender.zombies))
    return (
        f"zombie-reaper (provider.fleet), run by the operator of this node, ended PID"
        f" {offender.status.ns_pid[-1]} of {container}: it kept {count}"
        f" {_children(count)}, each for at least {seconds} s, and did not wait for them. Each holds"
        f" a process ID (in use: {in_use}). {_cure(offender)} More: {DOCS}why-was-i-ended.md"
    )


def leaking_in_words(offender: Offender, container: str) -> str:
    """That it goes on making zombies, how fast, and what prevents it. container: as in
    :func:`ended_in_words`.
    """
    count = offender.zombie_count
    return (
        f"PID {offender.status.ns_pid[-1]} of {container} keeps {count} {_children(count)}, about"
        f" {round(offender.leaking_per_hour or 0)} more an hour, and does not wait for them. Each"
        f" holds a process ID. {_cure(offender)} More: {DOCS}fix-your-image.md"
    )


def _children(count: int) -> str:
    return f"exited child {'process' if count == 1 else 'processes'} (zombies)"


def _cure(offender: Offender) -> str:
    """What prevents it."""
    orphans = sum(zombie.is_orphan for zombie in offender.zombies)
    return cures.in_words(
        cures.kept(
            orphans,
            len(offender.zombies) - orphans,
            is_init=offender.status.ns_pid[-1] == 1,
            init_collects=offender.init_reaps,
        ),
        cures.POD,  # nobody else has a termination log, or Events
    )


def append_message(kubelet: str, offender: Offender, in_use: str) -> bool:
    """Append the message to the termination log of the offender's container; returns whether it was
    written.

    kubelet: the kubelet's root directory. in_use: as in :func:`message`.
    """
    workload = offender.workload
    names = []
    for name in (workload.pod_uid, "containers", workload.container_name):
        if not (name and name == os.path.basename(name) and name not in (".", "..")):
            return False
        names.append(name)
    with contextlib.ExitStack() as opened:
        try:
            dir_fd = os.open(
                os.path.join(kubelet, "pods"),
                os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
            )
            opened.callback(os.close, dir_fd)
            for name in names:
                dir_fd = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd
                )
                opened.callback(os.close, dir_fd)
                if not _only_root_writes(os.fstat(dir_fd)):
                    return False
            newest = _newest(dir_fd)
            if newest is None:
                return False
            # O_NONBLOCK: somebody in the container may hold a lease on it (fcntl(2), F_SETLEASE)
            file = os.open(
                newest,
                os.O_WRONLY
                | os.O_APPEND
                | os.O_NOFOLLOW
                | os.O_NONBLOCK
                | os.O_NOCTTY
                | os.O_CLOEXEC,
                dir_fd=dir_fd,
            )
            opened.callback(os.close, file)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return False
            os.write(file, message(offender, in_use, time.time()).encode("ascii")[:MAX_BYTES])
            return True
        except OSError:
            return False


def _only_root_writes(info: os.stat_result) -> bool:
    return info.st_uid == 0 and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _newest(dir_fd: int) -> str | None:
    """Name of the regular file there whose inode changed last (nobody in the container can set that
    time back); None where there is none.
    """
    files = []
    for name in os.listdir(dir_fd):
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                files.append((info.st_ctime_ns, name))
    return max(files)[1] if files else None
