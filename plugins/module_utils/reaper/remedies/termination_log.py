# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the owner of a container why it is about to end: a line in its termination log.

The kubelet mounts a file of its own at ``/dev/termination-log`` of each container and shows what is in it as the container's last
message (``kubectl describe pod``). That is the default of ``terminationMessagePath``; where a pod names another, nothing is written.

All of the path below ``/proc/PID/root`` is in the hands of a tenant. So it is walked one component after the other, none of
them a symbolic link (an absolute one would lead into the node's own files), and nothing is opened for writing but a
regular file that the tenant could write itself. Failing to write is never an error.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from . import is_there

MOST_BYTES = 1024
FOLDER, NAME = "dev", "termination-log"
MOUNT_POINT = b"/" + os.fsencode(FOLDER) + b"/" + os.fsencode(NAME)

# The path is walked on these only: a lookup on FUSE waits for a program of whoever mounted it, for ever if that one likes.
LOCAL_FILE_SYSTEMS = frozenset(
    (b"overlay", b"tmpfs", b"devtmpfs", b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"zfs", b"f2fs", b"bcachefs", b"aufs"))


def message(offender, now: float) -> str:
    """One line that says who ended the container, when (now: seconds since the epoch), why, and what cures it.

    Only numbers in it come from the container, so there is nothing to escape.
    """
    return (
        "%s zombie-reaper (provider.fleet), run by the operator of this node, ended this container: its PID 1 kept %d exited child "
        "processes (zombies), each for at least %d s, and never waited for them. They fill the process table of the node. To fix the "
        "image, let PID 1 be an init that reaps: ENTRYPOINT [\"/usr/bin/tini\", \"--\"], docker run --init, or "
        "shareProcessNamespace: true in the pod.\n" % (
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), len(offender.zombies), min(zombie.age for zombie in offender.zombies)))


def tell(procfs, offender, pidfd: int) -> bool:
    """Append the message to the termination log of the container whose PID 1 the offender is. Whether that was done."""
    if offender.status.in_own_pid_namespace or offender.status.ns_pid[-1] != 1:
        return False
    with contextlib.ExitStack() as opened:
        try:
            if not _only_local_file_systems(procfs, offender.pid):
                return False
            root = procfs.open_root(offender.pid)
            opened.callback(os.close, root)
            if not is_there(pidfd):
                return False  # its PID may belong to another process by now, and that folder with it
            folder = os.open(FOLDER, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
            opened.callback(os.close, folder)
            file = os.open(NAME, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            opened.callback(os.close, file)
            if not _is_its_own(os.fstat(file), offender.status.uid):
                return False
            # The very file that was looked at. O_NONBLOCK: somebody may hold a lease on it (fcntl(2), F_SETLEASE).
            written = os.open("/proc/self/fd/%d" % file, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            opened.callback(os.close, written)
            os.write(written, message(offender, time.time()).encode("ascii")[:MOST_BYTES])
            return True
        except OSError:
            return False


def _is_its_own(info, uid: int) -> bool:
    """Whether it is a regular file that a process of that user may write: the kubelet gives it mode 0666."""
    return stat.S_ISREG(info.st_mode) and bool(info.st_mode & stat.S_IWOTH or info.st_uid == uid and info.st_mode & stat.S_IWUSR)


def _only_local_file_systems(procfs, pid: int) -> bool:
    """Whether something is mounted at /dev/termination-log, and that, /dev and / are all of a kind that answers by itself."""
    mounts = procfs.mounts(pid)
    below = mounts.get(b"/dev", mounts.get(b"/"))
    return all(kind in LOCAL_FILE_SYSTEMS for kind in (mounts.get(b"/"), below, mounts.get(MOUNT_POINT)))
