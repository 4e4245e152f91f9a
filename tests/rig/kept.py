"""What takes long to make: made once, and kept below .cache under the key of what it is made of."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from pathlib import Path


def kept(directory: Path, name: str, key: bytes, make) -> Path:
    """The directory of that name, made unless it is there; those of other keys are removed.

    ``make(part, made)`` fills part, which is then renamed to made.
    """
    made = directory / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / f"{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may ask for it at once
        if not made.exists():
            of_name = re.compile(re.escape(name) + r"-[0-9a-f]{12}(\.part)?")
            others = [each for each in directory.iterdir() if of_name.fullmatch(each.name)]
            part = made.with_name(f"{made.name}.part")  # half of it is never taken for the whole
            if part in others:
                shutil.rmtree(part)
            make(part, made)
            part.rename(made)
            for old in others:  # not before: a mirror may no longer have what these are made of
                shutil.rmtree(old, ignore_errors=True)
    return made
