# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runtime wrapper has Python do before it has the real runtime create a container
(:mod:`.install` has the wrapper).

It writes nothing to standard output or error, which belong to the real runtime, and never fails:
whatever happens, the container is created, without an init at worst.
"""

from __future__ import annotations

import os
import stat

from .. import files
from ..log import to_syslog
from . import bundle, elf, json_text
from .rootfs import Unsure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:
    import _signal as signal  # which does not import enum

CONFIG = "config.json"
MOST_CONFIG = 8 << 20  # bytes
SECONDS = 5  # until the container is created as it is

# The flags of runc, crun and youki for create and run, with and without a value. Another one may
# change what the container is, so it gets no init.
WITH_VALUE = ("-b", "--bundle", "--console-socket", "--pid-file")
WITHOUT = ("-d", "--detach", "--no-pivot", "--no-new-keyring", "--no-subreaper", "--keep")


def main(directory: str, arguments: Sequence[str]) -> None:
    """directory: where the init is. arguments: of the runtime, from ``create`` or ``run`` on."""
    _end_in_time()
    container = "?"
    try:
        path, container = bundle_of(arguments)
        give_init(path, os.path.join(directory, "init"))
    except bundle.NotWanted:
        pass
    except Unsure as reason:
        _say(container, str(reason))
    except OSError as error:
        _say(container, f"{error.filename or CONFIG!s:.80}: {error.strerror}")
    except Exception as error:
        _say(container, f"its {CONFIG} is not understood ({type(error).__name__}: {error!s:.80})")


def bundle_of(arguments: Sequence[str]) -> tuple[str, str]:
    """(path of the bundle, id of the container). Raises :class:`.rootfs.Unsure`."""
    if os.environ.get("LISTEN_FDS") or os.environ.get("NOTIFY_SOCKET"):
        raise Unsure("its sockets are passed on to PID 1 of the container")
    path, ids, left = "", [], list(arguments[1:])
    while left:
        word = left.pop(0)
        flag, has_value, value = word.partition("=")
        if not word.startswith("-"):
            ids.append(word)
        elif flag in WITH_VALUE and (has_value or left):
            value = value if has_value else left.pop(0)
            if flag in ("-b", "--bundle"):
                path = value
        elif word not in WITHOUT:
            raise Unsure(f"the runtime has the flag {word[:40]!a}")
    if len(ids) != 1:
        raise Unsure("the runtime was called in a way that is not known")
    if not os.path.isabs(path):
        path = os.path.join(os.getcwd(), path) if path else os.getcwd()
    return path, ids[0]


def give_init(directory: str, init: str) -> None:
    """Put the init before the command of the bundle in that directory.

    Its configuration is replaced whole or not at all, and keeps its owner and mode.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        text, info = files.contents(os.path.join(directory, CONFIG), MOST_CONFIG)
        config = json_text.loads(text.decode("utf-8"))
        changed = bundle.with_init(config, directory, init, header_of(init))
        files.write(
            CONFIG,
            json_text.dumps(changed),
            stat.S_IMODE(info.st_mode),
            dir_fd=fd,
            owner=(info.st_uid, info.st_gid),
        )
    finally:
        os.close(fd)


def header_of(init: str) -> elf.Elf:
    """Of our copy of the init, if a container can execute it. Raises :class:`.rootfs.Unsure`."""
    directory = os.path.dirname(init)
    # in a user namespace root is somebody else on the node
    while directory != "/":
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            raise Unsure(f"not everybody may search {directory}")
        directory = os.path.dirname(directory)
    start, info = files.beginning(init, elf.NEEDED)
    is_right = info.st_uid == 0 and not info.st_mode & 0o022 and info.st_mode & 0o005 == 0o005
    header = elf.read(start)
    if not is_right or header is None or header.interpreter is not None:
        raise Unsure(f"{init} is not a static program of root's that everybody may execute")
    if os.statvfs(init).f_flag & os.ST_NOEXEC:
        raise Unsure(f"{init} is on a file system that is mounted noexec")
    return header


def _end_in_time() -> None:
    """Also in a wait for a file system that does not answer, which only a deadly signal ends."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(SECONDS)


def _say(container: str, why: str) -> None:
    # it may quote what a tenant has written
    why = "".join(each if " " <= each <= "~" else ascii(each)[1:-1] for each in why)
    to_syslog(f"container {container[:64]!a} starts without an init: {why}", warning=True)
