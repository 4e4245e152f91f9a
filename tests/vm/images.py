"""Images of virtual machines, made once and kept in .cache/vm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def image(suite, architecture) -> Path:
    """The directory of that image, made unless it is there. What Debian has published since then
    comes in once the directory is removed.
    """
    key = b"".join((HERE / name).read_bytes() for name in MADE_OF)

    def make(part, _made):
        done = subprocess.run(
            [HERE / "image.sh", suite, architecture, part],
            env={**os.environ, "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"no image of {suite} for {architecture}:\n{done.stdout[-3000:]}"
        )

    return kept(KEPT, f"{suite}-{architecture}", key, make)
