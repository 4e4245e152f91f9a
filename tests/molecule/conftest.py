"""``molecule test`` as a process of its own, and its nodes removed whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NODES = ("fleet-debian11", "fleet-debian12", "fleet-debian13", "fleet-daemon")
# The known script, the oldest Python, and cron, which is switched to the timer and the daemon
QUICK = ("fleet-debian11",)


@pytest.fixture
def molecule(request, tmp_path):
    """molecule(): ``molecule test`` of the default scenario; its exit status and its output. Only
    the full level has all nodes.
    """
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTEST_"))
        },
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(CHECKOUT / ".cache/home"),
        "CONTAINERS_CONF": str(CHECKOUT / "roles/zombie_reaper/molecule/containers.conf"),
        # or it looks in extensions/, as this is a collection
        "MOLECULE_GLOB": "roles/zombie_reaper/molecule/*/molecule.yml",
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        **(
            {}
            if request.config.option.full
            else {
                "PROVIDER_FLEET_NODES": ",".join(QUICK),
                "PROVIDER_FLEET_VERIFIED": ",".join("podman://" + node for node in QUICK),
                "PROVIDER_FLEET_SWITCHED": QUICK[0],
            }
        ),
    }
    output = tmp_path / "output"
    processes = []

    def run():
        # The nodes have fixed names: another checkout on this machine waits here.
        command = ["flock", "/run/lock/provider-fleet-molecule", "molecule", "test"]
        with output.open("wb") as file:
            processes.append(
                subprocess.Popen(
                    command,
                    cwd=CHECKOUT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        return processes[0].wait(), output.read_text(encoding="utf-8", errors="replace")

    yield run
    for process in processes:
        if process.poll() is None:  # interrupted; else molecule has removed its nodes itself
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            subprocess.run(
                ["podman", "rm", "--force", "--ignore", "--time=0", *NODES],
                env=environment,
                check=False,
                capture_output=True,
            )
