"""Programs of other releases of Debian, unpacked beside this machine's.

One that needs a newer libc, or a library that is not here, has the dynamic linker and the
libraries of its own release written into it. A script before it that calls the linker would not do:
runtimes and shims start themselves again by /proc/self/exe, which would be the linker.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rig.kept import kept
from rig.node import CHECKOUT

KEPT = CHECKOUT / ".cache/packages"
UNPACK = Path(__file__).with_name("unpack.sh")
UNUSED = ("doc", "i18n", "info", "locale", "man")  # below /usr/share
PROGRAMS = ("bin", "sbin")  # below /usr


def unpacked(suite, *packages, architecture=None, only=()) -> Path:
    """The root of a tree with these packages and what they depend on; the test is skipped where
    they cannot be had. What Debian has published since then comes in once it is removed.

    architecture: another one than this machine's, whose programs are not to be run as they are.
    only: the programs to be kept, where they are large and many; all where it is empty.
    """
    ours = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    architecture = architecture or ours
    names = ",".join((*packages, "patchelf") if architecture == ours else packages)

    def make(part, made):
        done = subprocess.run(
            [UNPACK, suite, architecture, "extract", names, part],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"{names} of {suite} cannot be had: {done.stdout[-300:]}")
        for name in UNUSED:
            subprocess.run(["rm", "-rf", part / "usr/share" / name], check=True)
        for place in PROGRAMS if only else ():
            for file in (part / "usr" / place).iterdir():
                if file.name not in (*only, "patchelf"):
                    file.unlink()
        if architecture == ours:
            _link(part, made)

    # the name of the tree is in the programs
    key = repr((sorted(packages), architecture, only, str(KEPT.resolve()))).encode()
    key += UNPACK.read_bytes() + Path(__file__).read_bytes()
    name = "-".join((suite, architecture, packages[0]))
    return kept(KEPT.resolve(), name, key, make)


def program(root, name) -> Path:
    """Where that program is in the tree."""
    places = [root / "usr" / place / name for place in PROGRAMS]
    return next(path for path in places if path.exists())


def _link(part, made):
    """Write into the programs that do not run here which dynamic linker and libraries to take.

    Into no others: patchelf breaks some that Go has linked at fixed addresses.
    """
    (linker,) = (part / "usr/lib").glob("*/ld-linux-*.so.*")
    libraries = linker.parent
    patchelf = [linker, "--library-path", libraries, part / "usr/bin/patchelf"]
    there = made / libraries.relative_to(part)
    for place in PROGRAMS:
        for file in (part / "usr" / place).iterdir():
            if file.name == "patchelf" or file.is_symlink():
                continue
            needs = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
            if "not found" not in needs.stdout + needs.stderr:
                continue
            flags = [
                "--set-interpreter",
                there / linker.name,
                "--force-rpath",
                "--set-rpath",
                there,
            ]
            subprocess.run([*patchelf, *flags, file], check=True)
