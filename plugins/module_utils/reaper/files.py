# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the engine writes its own files (one writer at a time, and each file replaced by a rename),
and reads those of the node's administrator.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from .errors import Busy, CannotSweep
from .paths import LOCK

# seconds to wait for another sweep to end; none sleeps for min_age while it holds the lock
LOCK_WAIT = 20.0
NEW = ".new"  # suffix of a file that is still being written


class _Lock:
    """A context manager that holds a lock file. Written by hand because importing contextlib takes
    longer than everything an idle look does with this file.
    """

    def __init__(self, run: str, name: str, wait: float) -> None:
        self.run, self.name, self.wait = run, name, wait
        self.fd = -1  # of the lock file, while it is held

    def __enter__(self) -> None:
        path = os.path.join(self.run, self.name)
        try:
            os.makedirs(self.run, mode=0o700, exist_ok=True)
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise CannotSweep(f"the lock {path} cannot be opened: {error.strerror}") from None
        try:
            self._take(path)
        except BaseException:
            os.close(self.fd)
            raise

    def _take(self, path: str) -> None:
        deadline = time.monotonic() + self.wait
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise CannotSweep(
                        f"the lock {path} cannot be taken: {error.strerror}"
                    ) from None
                if time.monotonic() > deadline:
                    raise Busy(
                        f"another process has held {path} for more than {self.wait:g} s:"
                        " nothing was done"
                    ) from None
                time.sleep(0.1)

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)


def locked(run: str, name: str = LOCK, wait: float | None = None) -> _Lock:
    """Hold the lock of this name in the directory ``run``.

    Raises :class:`Busy` when another process does not release it within ``wait`` seconds
    (:data:`LOCK_WAIT` by default).
    """
    return _Lock(run, name, LOCK_WAIT if wait is None else wait)


def write(
    path: str,
    text: str,
    mode: int = 0o600,
    dir_fd: int | None = None,
    owner: tuple[int, int] | None = None,
) -> None:
    """Replace a file completely or not at all; raises ``OSError`` when that fails.

    dir_fd: descriptor of the directory that ``path`` is relative to. It may belong to another
    user, so nothing in it is followed or opened. owner: (UID, GID), where not the caller's.
    """
    new = path + NEW
    _remove(new, dir_fd)  # left by a process that was killed
    fd = os.open(
        new,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=dir_fd,
    )
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        os.rename(new, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        _remove(new, dir_fd)
        raise


def contents(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, and whose it is.

    most: bytes. Raises ``OSError``, whose ``strerror`` is half a sentence, also where it is longer
    or not a regular file.
    """
    found, info = beginning(path, most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most} bytes", path)
    return found, info


def beginning(path: str, length: int) -> tuple[bytes, os.stat_result]:
    """As :func:`contents`, of a file of any length no more than its first bytes. Opening a FIFO
    does not block (open(2), O_NONBLOCK), and opening a terminal does not make it the controlling
    one (O_NOCTTY).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        with open(fd, "rb", closefd=False) as file:
            return file.read(length), info
    finally:
        os.close(fd)


def _remove(name: str, dir_fd: int | None) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except OSError:  # it does not exist, or what is there makes the write fail anyway
        pass
