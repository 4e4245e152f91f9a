"""A clean copy of the checkout, the tarball built from it, and the versions of ansible-core to try
them on.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig.node import OWN_FILES

DIRECTORY = "ansible_collections/provider/fleet"


@pytest.fixture(scope="session")
def run(root):
    """run(*command, cwd=, own_files=, **environment): the finished process; its output is the
    message when it failed.

    own_files: whether it runs in a mount namespace where what the product keeps on this machine is
    neither read nor written.
    """
    home = root / ".cache" / "home"  # Ansible's tools fill ~/.ansible
    home.mkdir(parents=True, exist_ok=True)

    def run(*command, cwd=root, own_files=False, **environment):
        program = Path(command[0])
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        path = (  # ansible-lint and others look for ansible there
            f"{program.parent}:{os.environ['PATH']}"
        )
        done = subprocess.run(
            [
                str(part)
                for part in (["unshare", "--mount", *OWN_FILES, *command] if own_files else command)
            ],
            cwd=cwd,
            env={**inherited, "HOME": str(home), "PATH": path, "NO_COLOR": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            pytest.fail(
                f"{program.name} ended with {done.returncode}:\n{done.stdout}", pytrace=False
            )
        return done

    return run


@pytest.fixture(scope="session")
def bin() -> Path:
    """The programs of the environment that pytest itself runs in."""
    return Path(sys.executable).parent


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make): the directory of that name, which all workers of pytest-xdist share.
    make(directory) fills it, in the first that asks.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def once(name, make):
        with open(shared / (name + ".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / name).exists():
                shutil.rmtree(shared / (name + ".new"), ignore_errors=True)  # of one that failed
                (shared / (name + ".new")).mkdir()
                make(shared / (name + ".new"))
                (shared / (name + ".new")).rename(shared / name)
        return shared / name

    return once


@pytest.fixture(scope="session")
def collection(root, once) -> Path:
    """A copy of what git would take, in a directory where ansible-test and ansible-galaxy agree to
    work.
    """
    return (
        once("collections", lambda directory: copy_checkout(root, directory / DIRECTORY))
        / DIRECTORY
    )


@pytest.fixture
def scratch(collection, tmp_path) -> Path:
    """A copy of that for tools which write into it."""
    return Path(shutil.copytree(collection, tmp_path / DIRECTORY, symlinks=True))


def copy_checkout(root, copy) -> None:
    # safe.directory: in a container the checkout may belong to somebody else
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    names = subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if os.path.lexists(root / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)


@pytest.fixture(scope="session")
def tarball(collection, bin, run, once) -> Path:
    """The collection as it is uploaded."""
    directory = once(
        "tarball",
        lambda directory: run(
            bin / "ansible-galaxy", "collection", "build", "--output-path", directory, collection
        ),
    )
    return next(directory.glob("provider-fleet-*.tar.gz"))


@pytest.fixture(scope="session")
def pythons() -> dict[tuple[int, int], Path]:
    """Version -> interpreter, for every Python from 3.9 here that can make a venv; pyenv's are
    asked for by name.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv"))
    directories = [Path(directory) for directory in os.environ["PATH"].split(":")]
    directories += sorted(pyenv.glob("versions/*/bin"))
    found = {}
    for directory in directories:
        # a shim of pyenv stands for a Python that may not be there; a venv's python is none of its
        # own
        if directory == pyenv / "shims" or (directory.parent / "pyvenv.cfg").exists():
            continue
        for path in sorted(directory.glob("python3.*")):
            version = re.fullmatch(r"python3\.(\d+)", path.name)
            if not version or int(version[1]) < 9 or (3, int(version[1])) in found:
                continue
            asked = subprocess.run(
                [path, "-c", "import ensurepip, venv"], capture_output=True, check=False
            )
            if asked.returncode == 0:
                found[3, int(version[1])] = path
    return dict(sorted(found.items()))


@pytest.fixture(scope="session")
def newest(root, pythons, bin, run) -> Path:
    """The programs of the newest ansible-core that a Python of this machine can run."""
    version = max(pythons, default=(0, 0))
    if version <= sys.version_info[:2]:
        return bin
    return _venv(root, run, "newest", pythons[version], "requirements-run.txt")


@pytest.fixture(scope="session")
def floor(root, pythons, run) -> Path:
    """The programs of the oldest ansible-core that meta/runtime.yml admits, on the oldest Python: the
    two of the execution environment of AWX 24.6.1.
    """
    usable = [version for version in pythons if (3, 9) <= version <= (3, 11)]
    if not usable:
        pytest.skip(
            "ansible-core 2.15 needs Python 3.9 to 3.11, none of which is here with ensurepip"
        )
    return _venv(root, run, "floor", pythons[min(usable)], "requirements-floor.txt")


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("floor", marks=pytest.mark.full),
        "own",
        pytest.param("newest", marks=pytest.mark.full),
    ],
)
def core(request, bin) -> Path:
    """The programs of one ansible-core: the oldest, the one that pytest runs with, the newest."""
    if request.param == "own":
        return bin
    found = request.getfixturevalue(request.param)
    if found == bin:
        pytest.skip(
            "the newest ansible-core for the Pythons of this machine is pytest's own, tried already"
        )
    return found


def _venv(root, run, name, python, requirements) -> Path:
    directory = root / ".cache" / name
    run(root / "tools" / "venv", directory, python, root / "tools" / requirements)
    return directory / "bin"
