# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every file of the engine's own is written with: a lock that keeps others away, and a
rename.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from .errors import Busy, CannotSweep

LOCK_WAIT = (
    20.0  # seconds for another sweep to end; it never sleeps for min_age while it holds the lock
)
NEW = ".new"  # what is added to a name until the file is whole


class _Lock:
    """Held between ``with`` and its end. By hand: contextlib takes longer to load than all that a
    quiet look does with this file.
    """

    def __init__(self, run, name, wait) -> None:
        self.run, self.name, self.wait = run, name, wait
        self.fd = None

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

    def _take(self, path) -> None:
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
                        f"another process holds {path} for longer than {self.wait:g} s:"
                        " nothing was done"
                    ) from None
                time.sleep(0.1)

    def __exit__(self, *_error) -> None:
        os.close(self.fd)


def locked(run: str, name: str = "lock", wait: float | None = None) -> _Lock:
    """Hold the lock of that name in the directory; :class:`Busy` when another process holds it for
    longer than ``wait`` (:data:`LOCK_WAIT`) seconds.
    """
    return _Lock(run, name, LOCK_WAIT if wait is None else wait)


def write(path: str, text: str, mode: int = 0o600, dir_fd: int | None = None) -> None:
    """Replace a file whole or not at all; ``OSError`` where that fails.

    dir_fd: descriptor of the directory that ``path`` is relative to. It may be another user's:
    nothing that lies there is followed or opened.
    """
    new = path + NEW
    _remove(new, dir_fd)  # left by one that was killed
    fd = os.open(
        new,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=dir_fd,
    )
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(fd, mode)
        os.rename(new, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        _remove(new, dir_fd)
        raise


def _remove(name, dir_fd) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except OSError:  # it is not there, or whatever is, nothing can be written in its place
        pass
