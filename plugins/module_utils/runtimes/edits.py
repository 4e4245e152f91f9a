# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of our own in a text file of somebody else. What a block replaces stands in it as a
comment, so the file can be put back byte for byte, whatever others have changed around it since.
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from .toml import Lines

BEGIN = "# BEGIN zombie-reaper-init (managed by Ansible: provider.fleet.init_runtime)\n"
BEGIN_NEW = "# BEGIN zombie-reaper-init (managed by Ansible, which has created this file)\n"
END = "# END zombie-reaper-init\n"
WAS = "# was: "
# The last line of a file whose last line had no end before
NO_END = "# zombie-reaper-init: the line before had no end of line\n"
MAX_SIZE = 1 << 20  # bytes of a file


class Refused(Exception):
    """A file is not as it can be changed safely, and was left as it is. The message says why, and
    what would be right.
    """


def read(path: str) -> str | None:
    """The text of a file; None if there is none."""
    try:
        with open(path, "rb") as file:
            found = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        return None
    if len(found) > MAX_SIZE:
        raise Refused(f"{path} is longer than {MAX_SIZE} bytes")
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is broken: {error}") from None


def insert(text: str, where: Lines, block: str, is_new: bool = False) -> str:
    """The text with a block in place of the lines ``where``, which become a comment in it. Where
    that is no line, the block comes before the line ``where.first``.

    is_new: the file has been created for the block, and goes with it.
    """
    if text and not text.endswith("\n"):
        text += "\n" + NO_END
    lines = _lines(text)
    replaced = [WAS + line for line in lines[where.first : where.end]]
    begin = BEGIN_NEW if is_new else BEGIN
    return "".join([*lines[: where.first], begin, *replaced, block, END, *lines[where.end :]])


def append(text: str, block: str, is_new: bool = False) -> str:
    """The text with a block at its end."""
    if text and not text.endswith("\n"):
        text += "\n" + NO_END
    count = len(_lines(text))
    return insert(text, Lines(count, count), block, is_new)


def without(text: str | None, path: str, made_of: str = "") -> str | None:
    """The text as it was before there were blocks of ours in it; None where there was no file.

    made_of: what else a file has that was created for a block.
    """
    if text is None:
        return None
    kept: list[str] = []
    inside = is_new = False
    for line in _lines(text):
        if line in (BEGIN, BEGIN_NEW):
            if inside:
                raise Refused(_half_a_block(path, END))
            inside, is_new = True, is_new or line == BEGIN_NEW
        elif line == END:
            if not inside:
                raise Refused(_half_a_block(path, BEGIN))
            inside = False
        elif inside:
            if line.startswith(WAS):
                kept.append(line[len(WAS) :])
        elif line == NO_END and kept:
            kept[-1] = kept[-1].removesuffix("\n")
        else:
            if kept and not kept[-1].endswith("\n"):  # somebody has added lines since
                kept[-1] += "\n"
            kept.append(line)
    if inside:
        raise Refused(_half_a_block(path, END))
    found = "".join(kept)
    return None if is_new and found == made_of else found


def _half_a_block(path: str, missing: str) -> str:
    return (
        f"{path}: the line {missing.strip()!r} is missing, so it is not clear which lines are of"
        " this collection; put it back, or remove these lines by hand"
    )


def _lines(text: str) -> list[str]:
    """Only a newline ends a line: other characters that str.splitlines goes by may be in a
    comment.
    """
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def replace(path: str, text: str | None, mode: int = 0o644) -> None:
    """Write a file, or remove it, whole or not at all. Owner, mode and SELinux label stay; a link
    stays one. mode: of a new file. Raises ``OSError``.
    """
    path = os.path.realpath(path)
    if text is None:
        os.unlink(path)
        return
    handle, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".zombie-reaper-init-")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(path)
                mode = info.st_mode & 0o7777
                os.fchown(handle, info.st_uid, info.st_gid)
                with contextlib.suppress(OSError):  # there is no such label
                    os.setxattr(handle, "security.selinux", os.getxattr(path, "security.selinux"))
            os.fchmod(handle, mode)
            file.flush()
            os.fsync(handle)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
