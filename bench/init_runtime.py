"""What the wrapper before an OCI runtime adds to its calls."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tables import table

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # the node's own
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / ".cache/collections")]


SIZES = {"tiny": {"runs": 1}, "usual": {"runs": 21}, "full": {"runs": 31}}


def measure(runs) -> str:
    """Pairs of calls, one of the bare runtime and one of the wrapper, which takes turns at being
    first.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # a container's user has to come to the init
        calls = Calls(directory)
        taken: dict[str, list[tuple[Cost, Cost]]] = {"create": [], "state": []}
        for number in range(runs):
            for each in ("bare", "wrapped") if number % 2 else ("wrapped", "bare"):
                calls.container(each)
            for call, pairs in taken.items():
                pairs.append((calls.costs["bare", call], calls.costs["wrapped", call]))
    rows = []
    for call, pairs in taken.items():
        bare, wrapped = (
            statistics.median(each.seconds for each in column) for column in zip(*pairs)
        )
        more = statistics.median(after.seconds - before.seconds for before, after in pairs)
        cpu = statistics.median(after.cpu - before.cpu for before, after in pairs)
        rows.append(
            [f"`{call}`", *(f"{1e3 * seconds:.1f} ms" for seconds in (bare, wrapped, more, cpu))]
        )
    return table(
        "An init for a container",
        f"Seconds by the clock of {runs} containers of runc and as many behind the wrapper, in"
        " turns. What is more is the median of the differences of the pairs. The aims are 25 ms"
        " for `create`, once for each container, and 2 ms for every other call."
        "\n\n"
        "`bench/run --full --only init_runtime` measures it.",
        ["call", "runc", "behind the wrapper", "more", "CPU more"],
        rows,
    )


class Cost(NamedTuple):
    """Of one call."""

    seconds: float
    cpu: float


class Calls:
    """Containers with both, and what the calls cost last."""

    def __init__(self, directory):
        from rig.init_runtime import InitRuntime, configuration, make_image

        runc = shutil.which("runc")
        assert runc, "runc is not installed"
        self.runtimes = {
            "bare": runc,
            "wrapped": str(InitRuntime(directory / "init", python=PYTHON).before(runc)),
        }
        self.bundle, self.state = directory / "bundle", directory / "state"
        self.config = configuration(make_image(self.bundle / "rootfs"), "/bin/true")
        self.config["linux"].update(resources={}, seccomp=None)
        self.costs = {}

    def container(self, which):
        """Create one, ask for its state, and delete it."""
        (self.bundle / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        name = f"zr-bench-{os.getpid()}"
        try:
            self._call(which, "create", "--bundle", str(self.bundle), name)
            self._call(which, "state", name)
        finally:
            self._call(which, "delete", "--force", name)
        written = json.loads((self.bundle / "config.json").read_text(encoding="utf-8"))
        assert (written != self.config) == (which == "wrapped"), "no container got an init"

    def _call(self, which, call, *arguments):
        before = cpu_of_children()
        begin = time.perf_counter()
        subprocess.run(
            [self.runtimes[which], "--root", str(self.state), call, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - begin
        self.costs[which, call] = Cost(seconds, cpu_of_children() - before)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
