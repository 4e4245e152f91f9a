"""The role on nodes with systemd: Debian 11, 12 and 13, in containers. See molecule/default/molecule.yml."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

NODES = ("fleet-debian11", "fleet-debian12", "fleet-debian13")
SYSCTLS = ("kernel/pid_max", "kernel/threads-max", "fs/file-max", "fs/nr_open")


@pytest.fixture
def alone():
    """The nodes have fixed names: another checkout on this machine waits here."""
    with open("/run/lock/provider-fleet-molecule", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def environment(root) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTEST_"))}
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(root / ".cache/home"),
        "CONTAINERS_CONF": str(root / "molecule/containers.conf"),
        "MOLECULE_GLOB": "molecule/*/molecule.yml",  # or it looks in extensions/, as this is a collection
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
    }


def run(*command, root, environment):
    return subprocess.run(
        command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False)


def sysctls() -> dict[str, str]:
    return {name: Path("/proc/sys", name).read_text() for name in SYSCTLS}


def test_scenario(root, environment, alone, images):
    before = sysctls()
    try:
        done = run("molecule", "test", root=root, environment=environment)
    finally:
        # molecule removes them itself, unless it is interrupted
        run("podman", "rm", "--force", "--ignore", "--time=0", *NODES, root=root, environment=environment)
    if done.returncode:
        pytest.fail(f"molecule test ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    assert "missing=0" in done.stdout, f"a playbook of the sequence is missing:\n{done.stdout}"
    assert sysctls() == before, "a node has changed the limits of this machine"
