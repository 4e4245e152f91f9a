"""Parents that work, and get zombies whenever a test wants: feeder.py before any program, worker.c
as one that checks its work.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from rig.node import PYTHON, Program

HERE = Path(__file__).resolve().parent
FEEDER = HERE / "feeder.py"


def build_worker(directory) -> Path:
    """The program of worker.c."""
    worker = directory / "worker"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", worker, HERE / "worker.c"],
        check=True,
    )
    return worker


class Fed(Program):
    """A command in a node that can be fed with zombies; in a container of its own as its PID 1, or
    a process of the node.

    Say ``{progress}`` in the command for the file in which it counts what it has done;
    ``that.wrong`` is for what went wrong.
    """

    def __init__(self, node, directory, name, command, in_container=True):
        self.name = name
        self.progress = directory / (name + ".progress")
        self.wrong = directory / (name + ".progress.wrong")
        self.fifo = directory / (name + ".fifo")
        for old in (self.progress, self.wrong, self.fifo):
            old.unlink(missing_ok=True)
        os.mkfifo(self.fifo)
        inner = (
            ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if in_container else []
        )
        words = [str(word).replace("{progress}", str(self.progress)) for word in command]
        super().__init__(
            [*node.enter, *inner, PYTHON, "-IS", str(FEEDER), str(self.fifo), *words],
            depth=2 if in_container else 1,
        )
        node.programs.append(self)
        self.pid_in_node = self.pids[1]
        self.feeding = os.open(self.fifo, os.O_RDWR)

    def feed(self, zombies):
        """Have it get that many more zombies, soon."""
        os.write(self.feeding, struct.pack("I", zombies))

    def child_count(self) -> int:
        """Of zombies and others; fast, for thousands."""
        pid = self.process.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())

    def done(self) -> int:
        """How much it has done so far."""
        try:
            return int(self.progress.read_text(encoding="ascii") or 0)
        except FileNotFoundError:
            return 0

    def complaint(self) -> str:
        """What it found wrong in its own work, or that it has died; empty while all is well."""
        if self.alive:
            return ""
        why = (
            self.wrong.read_text(encoding="utf-8", errors="replace").strip()
            if self.wrong.exists()
            else "it has died"
        )
        return f"{self.name}: {why}"

    def masks(self) -> dict:
        """The signals blocked in each of its threads, by thread id; of those that live now."""
        found = {}
        for task in self._tasks():
            for line in _read(f"/proc/{self.process.pid}/task/{task}/status").splitlines():
                if line.startswith("SigBlk:"):
                    found[int(task)] = int(line.split()[1], 16)
        return found

    def held_by(self) -> list:
        """PIDs of whoever traces one of its threads, or ``stopped``; empty when it runs freely, or
        has ended.
        """
        holding: list[int | str] = []
        for task in self._tasks():
            for line in _read(f"/proc/{self.process.pid}/task/{task}/status").splitlines():
                if line.startswith("TracerPid:") and line.split()[1] != "0":
                    holding.append(int(line.split()[1]))
                if line.startswith("State:") and line.split()[1] in "tT":
                    holding.append("stopped")
        return holding

    def _tasks(self) -> list:
        try:
            return os.listdir(f"/proc/{self.process.pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return []

    def stop(self):
        super().stop()
        if self.feeding is not None:
            os.close(self.feeding)
            self.feeding = None


def _read(path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
