# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths in the root file system of a container that is about to start.

An image is a tenant's: nothing leads out of it here. Each component is opened without following it,
and links are resolved by hand, from the root of the image.
"""

from __future__ import annotations

import errno
import os
import stat

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

MOST_LINKS = 40  # as the kernel allows (path_resolution(7))
PATH_MAX = 4096  # limits.h: no system call takes a longer path
MOST_COMPONENTS = PATH_MAX // 2


class Unsure(Exception):
    """Why a container is left as it is: half a sentence."""


class Caller(Record):
    """Who will execute the command."""

    uid: int | None  # as the files of the image have it; None where that is not known
    overrides: bool  # CAP_DAC_OVERRIDE

    def may_execute(self, info: os.stat_result) -> bool:
        """Whatever groups it is in: the first of owner, group and others that it is decides
        (path_resolution(7)).
        """
        if self.uid is None:
            needed = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        elif self.uid == info.st_uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP | stat.S_IXOTH
        return info.st_mode & needed == needed


class File(Record):
    """A regular file in an image."""

    path: str  # without links
    info: os.stat_result
    start: bytes  # its first bytes, as many as asked for


class _Walked(Record):
    """Where a path leads. Its descriptors have to be closed."""

    names: list[str]  # components, without links
    fds: list[int]  # of the root and of each component that exists

    @property
    def exists(self) -> bool:
        return len(self.fds) == len(self.names) + 1

    @property
    def path(self) -> str:
        return "/" + "/".join(self.names)

    def is_below(self, paths: Collection[str]) -> bool:
        """Whether it is one of them, or in one."""
        return any(
            "/" + "/".join(self.names[:length]) in paths for length in range(len(self.names) + 1)
        )

    def start(self, most: int) -> bytes:
        """The first bytes, where it is a regular file that exists."""
        if not self.exists or not stat.S_ISREG(os.fstat(self.fds[-1]).st_mode):
            return b""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(self.names[-1], flags, dir_fd=self.fds[-2]), "rb") as file:
            return file.read(most)

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


class Rootfs:
    """The image below a directory of the node. covered: paths, without links, that will be mounted
    over.
    """

    def __init__(self, directory: str, covered: Collection[str] = ()) -> None:
        self.fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.covered = covered

    def close(self) -> None:
        os.close(self.fd)

    def real(self, path: str) -> str:
        """The path without links. What does not exist stays as it is: a runtime creates it so."""
        walked = self._walk(path)
        walked.close()
        return walked.path

    def program(self, path: str, caller: Caller, most: int) -> File | None:
        """The file that execve(2) would take; None if it would take none. most: bytes to read.

        Raises :class:`Unsure` where that depends on more than is looked at here.
        """
        walked = self._walk(path)
        try:
            if walked.is_below(self.covered):
                raise Unsure(f"{path[:80]!a} is in a volume")
            if not walked.exists:
                return None
            infos = [os.fstat(fd) for fd in walked.fds]
            info = infos[-1]
            if not stat.S_ISREG(info.st_mode) or not info.st_mode & 0o111:
                return None
            if not caller.overrides and not all(map(caller.may_execute, infos)):
                raise Unsure(f"not everybody may execute {path[:80]!a}")
            return File(walked.path, info, walked.start(most))
        finally:
            walked.close()

    def text(self, path: str, most: int) -> bytes:
        """The first bytes of a regular file; empty if there is none, or not in the image. path: any
        word, also a whole script for "sh -c".
        """
        if len(path) >= PATH_MAX:
            return b""
        walked = self._walk(path)
        try:
            return b"" if walked.is_below(self.covered) else walked.start(most)
        finally:
            walked.close()

    def _walk(self, path: str) -> _Walked:
        left = _components(path)
        names: list[str] = []
        fds = [os.dup(self.fd)]
        walked = _Walked(names, fds)
        links = 0
        try:
            while left:
                if len(left) + len(names) > MOST_COMPONENTS:
                    raise Unsure("a path in the image is too long")
                name = left.pop()
                if name == "..":
                    if names:
                        if walked.exists:
                            os.close(fds.pop())
                        names.pop()
                    continue
                fd = self._open(name, fds[-1]) if walked.exists else None
                if fd is not None and stat.S_ISLNK(os.fstat(fd).st_mode):
                    try:
                        target = os.readlink("", dir_fd=fd)
                    finally:
                        os.close(fd)
                    links += 1
                    if links > MOST_LINKS:
                        raise Unsure("a path in the image has too many symbolic links")
                    if target.startswith("/"):
                        names.clear()
                        while len(fds) > 1:
                            os.close(fds.pop())
                    left += _components(target)
                    continue
                names.append(name)
                if fd is not None:
                    fds.append(fd)
        except BaseException:
            walked.close()
            raise
        return walked

    @staticmethod
    def _open(name: str, directory: int) -> int | None:
        try:
            return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                return None
            raise


def _components(path: str) -> list[str]:
    """The last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
