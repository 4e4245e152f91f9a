"""Images of virtual machines, made once and kept in .cache/vm."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rig.node import CHECKOUT

HERE = Path(__file__).parent
KEPT = CHECKOUT / ".cache/vm"
MADE_OF = ("image.sh", "initrd_init.sh", "machine_init.sh", "jobs.service", "requirements.txt")


def image(suite, architecture) -> Path:
    """The directory of that image, made unless it is there. What Debian has published since then
    comes in once the directory is removed.
    """
    key = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MADE_OF)).hexdigest()[:12]
    name = f"{suite}-{architecture}"
    made = KEPT / f"{name}-{key}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with open(KEPT / f"{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may ask for it at once
        if not made.exists():
            for old in KEPT.glob(f"{name}-*"):
                shutil.rmtree(old)
            _make(suite, architecture, made)
    return made


def _make(suite, architecture, made) -> None:
    part = made.with_name(f"{made.name}.part")  # half an image is never taken for a whole one
    done = subprocess.run(
        [HERE / "image.sh", suite, architecture, part],
        env={**os.environ, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"no image of {suite} for {architecture}:\n{done.stdout[-3000:]}"
    part.rename(made)
