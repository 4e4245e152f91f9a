"""An image for another processor, and qemu-user to run it: registered where no other process sees it.

A user namespace may have a binfmt_misc of its own since Linux 6.7. This machine's is not changed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rig import containerds, packages
from rig.node import wait_until

QEMU = "qemu-aarch64-static"
# The header of an ELF file of 64 bits for EM_AARCH64, executable or shared; F: QEMU is opened now,
# so that it need not be in an image
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
BINFMT = "/proc/sys/fs/binfmt_misc"
REGISTER = f'mount -t binfmt_misc none {BINFMT} || exit 99; printf %s "$0" >{BINFMT}/register'
REGISTERED = ("sh", "-c", REGISTER + ' && exec "$@"')  # the line to register, then a command


def busybox():
    """That of arm64."""
    tree = packages.unpacked(containerds.HERE, "busybox-static", architecture="arm64")
    return packages.program(tree, "busybox")


def running_arm64() -> list:
    """Words before a command, where programs of arm64 run then."""
    own = ["unshare", "--user", "--map-root-user", "--mount", *REGISTERED]
    if subprocess.run([*own, _line(), "true"], capture_output=True, check=False).returncode == 99:
        pytest.skip("this kernel has no binfmt_misc for each user namespace")
    return [*own, _line()]


def run_as_arm64(command, **kwargs) -> subprocess.CompletedProcess:
    """A command that makes a tree with files of many users, where programs of arm64 run. The IDs of
    all are there, and the same as here. kwargs: as of Popen, with ``text=True``.
    """
    waits = ["unshare", "--user", "--mount", "sh", "-c", 'read -r _mapped && exec "$@"', "sh"]
    words = [*waits, *REGISTERED, _line(), *command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, **kwargs) as started:
        own = os.readlink("/proc/self/ns/user")
        wait_until(lambda: os.readlink(f"/proc/{started.pid}/ns/user") != own)
        for kind in ("uid", "gid"):
            Path(f"/proc/{started.pid}/{kind}_map").write_text("0 0 65536\n", encoding="ascii")
        out, err = started.communicate("mapped\n")
    return subprocess.CompletedProcess(words, started.returncode, out, err)


def _line() -> str:
    tree = packages.unpacked(containerds.HERE, "qemu-user-static", only=(QEMU,))
    return f":zr-arm64:M::{MAGIC}:{MASK}:{packages.program(tree, QEMU)}:F"
