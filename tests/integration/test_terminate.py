"""What terminate ends in real containers of podman looks failed to podman too, whoever passes its
status on. See test_cri_pods.py for containerd.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from rig.node import wait_until
from rig.podman import Podman, offenders_in

pytestmark = pytest.mark.all_cgroups

PROGRAM = Path(__file__).parents[1] / "rig/pod.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("terminate") / "pod"
    subprocess.run(["gcc", "-static", "-Os", "-o", path, PROGRAM], check=True)
    return str(path)


@pytest.fixture
def podman(node):
    started = Podman(node, Path(tempfile.mkdtemp(prefix="zr-")))  # it refuses longer names
    yield started
    started.stop()


@pytest.mark.parametrize(
    "flags, command",
    [
        ((), ("/pod", "good", "2")),
        (("--init",), ("/pod", "good", "2")),
        ((), ("/bin/sh", "-c", "/pod good 2; exit $?")),
        ((), ("/bin/sh", "-ec", "/pod good 2 && echo done")),
    ],
    ids=[
        "PID 1",
        "a child of podman run --init",
        "a command of a shell",
        "a command with more to come",
    ],
)
def test_a_program_that_exits_with_0_on_sigterm_looks_failed(node, podman, program, flags, command):
    container = podman(
        "run",
        "--detach",
        "--network",
        "none",
        "--volume",
        program + ":/pod",
        *flags,
        "busybox",
        *command,
    )
    wait_until(lambda: podman("logs", container) == "ready")
    (entry,) = offenders_in(node.sweep(remedies="terminate", grace=60), container)
    assert entry["outcome"] == "cleared"
    wait_until(
        lambda: (
            podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container)
            == "exited 137"
        )
    )
    assert podman("logs", container) == "ready"
