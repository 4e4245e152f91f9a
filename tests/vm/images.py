"""Images of virtual machines, made once and kept in .cache/vm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rig import emulated
from rig.kept import kept
from rig.node import CHECKOUT

HERE = Path(__file__).parent
KEPT = CHECKOUT / ".cache/vm"
MADE_OF = (
    "image.sh",
    "../rig/unpack.sh",
    "initrd_init.sh",
    "machine_init.sh",
    "jobs.service",
    "requirements.txt",
)


def image(suite, architecture, whole) -> Path:
    """The directory of that image, made unless it is there. What Debian has published since then
    comes in once the directory is removed. whole: with systemd and sshd, which those for amd64 always
    have; for arm64 it takes long.
    """
    key = b"".join((HERE / name).read_bytes() for name in MADE_OF)
    installed = whole or architecture == "amd64"

    def make(part, _made):
        run = subprocess.run if architecture == "amd64" or not whole else emulated.run_as_arm64
        done = run(
            [HERE / "image.sh", suite, architecture, "apt" if installed else "extract", part],
            env={**os.environ, "PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"no image of {suite} for {architecture}:\n{done.stdout[-3000:]}"
        )

    name = f"{suite}-{architecture}" + ("" if installed else "-lean")
    return kept(KEPT, name, key, make)
