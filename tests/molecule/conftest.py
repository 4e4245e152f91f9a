"""Molecule mostly waits, for packages and for the next minute: it runs beside the other tests, from the end of collection on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
NODES = ("fleet-debian11", "fleet-debian12", "fleet-debian13", "fleet-watch")
SYSCTLS = ("kernel/pid_max", "kernel/threads-max", "fs/file-max", "fs/nr_open")


class Scenario:
    """``molecule test`` as a process of its own."""

    def __init__(self):
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTEST_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(CHECKOUT / ".cache/home"),
            "CONTAINERS_CONF": str(CHECKOUT / "molecule/containers.conf"),
            "MOLECULE_GLOB": "molecule/*/molecule.yml",  # or it looks in extensions/, as this is a collection
            "NO_COLOR": "1",
            "ANSIBLE_NOCOLOR": "1",
        }
        self.sysctls_before = self.sysctls()
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        # The nodes have fixed names: another checkout on this machine waits here.
        command = ["flock", "/run/lock/provider-fleet-molecule", "molecule", "test"]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
            start_new_session=True)
        # Collected as soon as it ends: other tests ask for a machine without a zombie
        threading.Thread(target=self.process.wait, daemon=True).start()

    @staticmethod
    def sysctls() -> dict[str, str]:
        return {name: Path("/proc/sys", name).read_text() for name in SYSCTLS}

    def finish(self) -> str:
        """Wait for the end; the output."""
        self.process.wait()
        self.output.seek(0)
        return self.output.read()

    def stop(self):
        """End it if it still runs, and remove the nodes, which molecule does itself unless it is interrupted."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()
            subprocess.run(
                ["podman", "rm", "--force", "--ignore", "--time=0", *NODES], env=self.environment, check=False, capture_output=True)


STARTED = pytest.StashKey[Scenario]()


def pytest_collection_finish(session):
    if not session.config.option.collectonly and any(HERE in item.path.parents for item in session.items):
        session.config.stash[STARTED] = Scenario()


def pytest_unconfigure(config):
    if STARTED in config.stash:
        config.stash[STARTED].stop()


@pytest.fixture
def scenario(request):
    return request.config.stash[STARTED]
