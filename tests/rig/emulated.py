"""An image for another processor, and qemu-user to run it: registered where no other process sees it.

A user namespace may have a binfmt_misc of its own since Linux 6.7. This machine's is not changed.
"""

from __future__ import annotations

import subprocess

import pytest

from rig import containerds, packages

QEMU = "qemu-aarch64-static"
# The header of an ELF file of 64 bits for EM_AARCH64, executable or shared; F: QEMU is opened now,
# so that it need not be in an image
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
BINFMT = "/proc/sys/fs/binfmt_misc"
REGISTER = f'mount -t binfmt_misc none {BINFMT} || exit 99; printf %s "$0" >{BINFMT}/register'


def busybox():
    """That of arm64."""
    tree = packages.unpacked(containerds.HERE, "busybox-static", architecture="arm64")
    return packages.program(tree, "busybox")


def running_arm64() -> list:
    """Words before a command, where programs of arm64 run then."""
    tree = packages.unpacked(containerds.HERE, "qemu-user-static", only=(QEMU,))
    line = f":zr-arm64:M::{MAGIC}:{MASK}:{packages.program(tree, QEMU)}:F"
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*own, REGISTER, line], capture_output=True, check=False).returncode == 99:
        pytest.skip("this kernel has no binfmt_misc for each user namespace")
    return [*own, REGISTER + ' && exec "$@"', line]
