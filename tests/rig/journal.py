"""What an agent writes to syslog(3), which is /dev/log, caught by the test."""

from __future__ import annotations

import contextlib
import socket
import threading


@contextlib.contextmanager
def journal(directory):
    """A list of what comes to ``directory/log`` meanwhile, as bytes."""
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(str(directory / "log"))
    lines = []

    def listen():
        while lines[-1:] != [b""]:
            lines.append(log.recv(65536))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield lines
    finally:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(directory / "log"))
        listener.join()
        log.close()


def writing_to(directory) -> list:
    """Words before a command: it has a /dev of its own, in which ``log`` is that of
    :func:`journal`.
    """
    script = (
        'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0/log" /dev/log &&'
        ' exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, str(directory)]
