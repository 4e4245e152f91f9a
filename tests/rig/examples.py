"""The examples of docs/fix-your-image.md and docs/supervisors.md, taken from the pages, built with podman from Debian
and run in a node.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import yaml

from rig.inits import process_in
from rig.node import CHECKOUT, ns_pids
from rig.podman import Podman

PAGE = CHECKOUT / "docs/fix-your-image.md"
PAGES = (PAGE, CHECKOUT / "docs/supervisors.md")
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
# what the page shows only once for two
LENDS = {"script-before": "script", "server-before": "server", "runit": "s6"}
BASE = "docker.io/library/debian:12"  # what FROM debian:12 means


def files() -> dict:
    """The code blocks of the pages that are files: path to text."""
    return {path: text for path, text in _blocks() if path}


def commands() -> list:
    """The other blocks, which are for a shell."""
    return [text for path, text in _blocks() if not path]


def _blocks() -> list:
    """``[(path, text), ...]``; the path is empty where the block is no file."""
    return [
        (path, text)
        for page in PAGES
        for _language, path, text in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def lay_out(directory) -> list:
    """A directory for each example, with its Dockerfile and what that copies; their names."""
    own = defaultdict(dict)
    for path, text in files().items():
        if "/" in path:
            name, file = path.split("/")
            own[name][file] = text
    for name in own:
        (directory / name).mkdir()
        for file, text in {**own.get(LENDS.get(name), {}), **own[name]}.items():
            (directory / name / file).write_text(text, encoding="utf-8")
    return list(own)


class DebianPodman(Podman):
    """podman inside a node, with the one image debian:12. It builds, and has the driver and the
    cached image of this machine's podman.
    """

    def __init__(self, node, directory):
        self.node = node
        self.directory = directory
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(CHECKOUT / "roles/zombie_reaper/molecule/containers.conf"),
        }
        image = self._of_machine(str(CHECKOUT / "tests/rig/debian_image.sh"))
        driver, cache = self._of_machine(
            "podman", "info", "--format", "{{.Store.GraphDriverName}} {{.Store.GraphRoot}}"
        ).split()
        self.command = [
            "podman",
            "--storage-driver",
            driver,
            "--storage-opt",
            "additionalimagestore=" + cache,
        ]
        for name in ("root", "runroot", "tmpdir"):
            self.command += ["--" + name, str(directory / name)]
        self("tag", image, BASE)

    def _of_machine(self, *command) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, directory, names):
        """An image of each example, called as it is; two at a time."""

        def one(name):
            self(
                "build",
                "--quiet",
                "--pull=never",
                "--isolation=chroot",
                "--layers=false",
                "--tag",
                name,
                str(directory / name),
            )

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, names))

    def start(self, name, image, *flags) -> str:
        """Run a container of an image; its id."""
        return self("run", "--detach", "--network", "none", "--name", name, *flags, image)

    def play(self, name, pod):
        """Start a pod as its YAML has it, which Kubernetes would do likewise; but for its name."""
        file = self.directory / (name + ".yaml")
        file.write_text(yaml.safe_dump({**pod, "metadata": {"name": name}}), encoding="utf-8")
        self("play", "kube", "--network", "none", str(file))

    def shell(self, text) -> str:
        """What commands of the page print, which has docker in podman's place."""
        docker = f'docker() {{ {" ".join(self.command)} "$@"; }}\n'
        done = self.node.run("sh", "-c", docker + text, env=self.environment)
        assert not done.stderr, done.stderr
        return done.stdout

    def init(self, container):
        """PID 1 of the PID namespace that a container is in; as psutil knows it."""
        inside = process_in(
            self.node, int(self("inspect", "--format", "{{.State.Pid}}", container))
        )
        return inside if ns_pids(inside.pid)[-1] == 1 else self.init(self._infra(container))

    def _infra(self, container) -> str:
        pod = self("inspect", "--format", "{{.Pod}}", container)
        return self("pod", "inspect", "--format", "{{.InfraContainerID}}", pod)

    def id(self, container) -> str:
        return self("inspect", "--format", "{{.Id}}", container)

    def stop(self):
        self("pod", "rm", "--all", "--force", "--time", "0")
        super().stop()
