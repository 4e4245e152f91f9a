"""Pods on a node of the rig, by cgroups and directories that are made by hand as a kubelet makes
them.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from rig.node import PRELUDE, PYTHON, Program, wait_until

HIERARCHIES = [
    path
    for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
    if (path / "cgroup.procs").exists()
]
UID, ID = f"8ed3b1b7-3f6e-4b5e-9d1c-{os.getpid():010d}%02d", "%064d"
NUMBERS = itertools.count()  # of nodes that have pods

# Overwrites the environment as the kernel shows it, in the space that it was started with
# (proc_pid_environ(5))
REWRITE = """
def rewrite(data):
    fields = open("/proc/self/stat").read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    assert len(data) < end - start, "too little space"
    ctypes.memmove(start, data + bytes(end - start - len(data)), end - start)
"""


class Pods:
    """Cgroups and log directories as a kubelet makes them, and programs that are in them from their
    start.
    """

    def __init__(self, node):
        self.node = node
        self.top = HIERARCHIES[0] / f"zombie-reaper-pods-{os.getpid()}-{next(NUMBERS)}"

    def cgroup(self, number, namespace="lease-1", name="web") -> Path:
        """Of the container of one pod. namespace: None for a pod that the kubelet has no directory
        of.
        """
        directory = self.top / ("pod" + UID % number) / (ID % number)
        directory.mkdir(parents=True)
        if namespace:
            assert (
                self.node.run(
                    "mkdir",
                    "-p",
                    f"/var/log/pods/{namespace}_{name}-{number}_{UID % number}",
                ).returncode
                == 0
            )
        return directory

    def start(self, number, code, environment=(), **names) -> Program:
        """A container whose PID 1 runs that code, and had that environment when it began."""
        return self.start_command(
            number, ["env", *environment, PYTHON, "-IS", "-c", PRELUDE + REWRITE + code], **names
        )

    def start_command(self, number, command, **names) -> Program:
        enter = 'echo 0 >"$0" && exec "$@"'
        return self.node._started(
            Program(
                [
                    *self.node.enter,
                    "unshare",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount-proc",
                    "sh",
                    "-c",
                    enter,
                    str(self.cgroup(number, **names) / "cgroup.procs"),
                    *command,
                ],
                depth=2,
            )
        )

    def stop(self):
        while self.node.programs:
            self.node.programs.pop().stop()
        for directory, _directories, _files in os.walk(os.fsencode(self.top), topdown=False):
            wait_until(
                lambda directory=directory: (
                    not Path(os.fsdecode(directory), "cgroup.procs").read_text()
                )
            )
            os.rmdir(directory)


class Kubelet:
    """What a kubelet keeps of the container ``app`` of a pod."""

    def __init__(self, node, number=1):
        """number: of the pod, as Pods has it."""
        self.root = Path(f"/proc/{node.init.process.pid}/root")  # as the node sees it
        self.directory = self.root / "var/lib/kubelet/pods" / (UID % number) / "containers/app"
        self.directory.mkdir(parents=True, mode=0o750)
        links = self.root / "var/log/containers"
        links.mkdir(exist_ok=True)
        (links / (f"web-{number}_lease-1_app-{ID % number}.log")).symlink_to("/nowhere")
        self.log = self.start("1a2b3c4d")

    def start(self, name) -> Path:
        """The file of another start of the container."""
        file = self.directory / name
        file.touch()
        file.chmod(0o666)
        return file
