"""own_files.py COMMAND...: gives the mount namespace that it runs in files of its own, and becomes
that command.

A test, or a benchmark, then neither reads nor writes what the product or a container runtime keeps
on this machine. ``/run`` and ``/var/log`` are empty there; ``/etc``, ``/usr/local``, ``/var/lib``
and ``/var/spool`` begin as copies of the machine's, without what the product may have installed.
Call it below ``unshare --mount``, which sees to it that no mount is seen outside.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

EMPTY = ("/run", "/var/log")
COPIED = ("/etc", "/usr/local", "/var/lib", "/var/spool")
ABOVE = "/run/above"  # where the copies keep what is written in them
# What the role and its modules install, and whatever other file would be taken for this product's
HIDDEN = (
    "/etc/zombie_reaper",
    "/etc/cron.d/kill_zombie_parents",
    "/etc/sysctl.d/99-zombie_reaper.conf",
    "/etc/systemd/system/zombie-reaper.service",
    "/etc/systemd/system/zombie-reaper.timer",
    "/usr/local/lib/zombie_reaper",
    "/usr/local/sbin/zombie-reaper",
    "/usr/local/bin/kill_zombie_parents.sh",
    "/usr/local/share/man/man8/zombie-reaper.8",
    "/usr/local/share/bash-completion/completions/zombie-reaper",
    "/usr/local/share/zsh/site-functions/_zombie-reaper",
    "/var/lib/node_exporter",
    "/var/lib/prometheus/node-exporter",
    "/var/spool/cron/crontabs",
)


def own_files() -> None:
    """Mount all of it. Raises ``OSError``."""
    for place in EMPTY:
        _mount("tmpfs", place, "mode=755")
    for place in COPIED:
        above = ABOVE + place
        os.makedirs(above + "/now")
        os.makedirs(above + "/work")
        for path in HIDDEN:
            if path.startswith(place + "/"):
                whiteout = above + "/now" + path[len(place) :]
                os.makedirs(os.path.dirname(whiteout), exist_ok=True)
                # so an overlay notes that a file was removed
                # (Documentation/filesystems/overlayfs.rst of the kernel)
                os.mknod(whiteout, stat.S_IFCHR, os.makedev(0, 0))
        _mount("overlay", place, f"lowerdir={place},upperdir={above}/now,workdir={above}/work")


def _mount(kind, place, options) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(kind.encode(), place.encode(), kind.encode(), 0, options.encode()):
        raise OSError(
            ctypes.get_errno(),
            f"{kind} cannot be mounted: {os.strerror(ctypes.get_errno())}",
            place,
        )


if __name__ == "__main__":
    own_files()
    os.execvp(sys.argv[1], sys.argv[1:])
