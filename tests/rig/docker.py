"""A Docker engine inside a node: Debian's dockerd with a containerd of its own, spoken to by its
API, and restarted as a service.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import tarfile
from pathlib import Path

from rig.node import wait_until
from rig.service import Service

# The flags leave the machine's network alone; the engine has a network namespace of its own
# besides.
# nofile: the default asks for more than the caller may have where CAP_SYS_RESOURCE is missing.
FLAGS = [
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--storage-driver=vfs",
    "--default-ulimit=nofile=20000:20000",
    "--exec-opt=native.cgroupdriver=cgroupfs",
]


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("docker", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Docker:
    """dockerd in a node, with one image, busybox. Its directories are where Docker's are by default,
    which are the node's own.

    directory: short and visible from outside the node, for the socket and the log. parent: the cgroup
    that containers come below.
    """

    def __init__(self, node, directory, parent):
        self.node = node
        self.directory = directory
        self.parent = parent
        self.socket = directory / "docker.sock"
        self.log = directory / "dockerd.log"
        self.cgroups = []
        command = [
            *("unshare", "--net", shutil.which("dockerd")),
            f"--host=unix://{self.socket}",
            "--pidfile=/run/docker.pid",
            "--cgroup-parent=" + parent,
            *FLAGS,
        ]
        self.act = Service(node, "docker", command, self.log)
        self.service("start")
        self._call("POST", "/images/create?fromSrc=-&repo=busybox", busybox())

    def service(self, action):
        """``start``, ``stop`` or ``restart`` the engine; without live-restore its containers end
        with it.
        """
        self.act(action)
        if action != "stop":
            self.wait()

    def wait(self):
        """Until it answers."""

        def answers():
            try:
                return self._call("GET", "/_ping") == b"OK"
            except (OSError, http.client.HTTPException):
                return False

        try:
            wait_until(answers, 120)
        except AssertionError:
            raise AssertionError(
                "dockerd does not answer:\n" + self.log.read_text(errors="replace")
            ) from None

    def api(self, method, path, **fields):
        """A call of Docker's API; what it answers, decoded."""
        answer = self._call(method, path, json.dumps(fields).encode() if fields else None)
        return json.loads(answer) if answer.strip() else None

    def run(self, script, name=None, **host) -> str:
        """Start a container; its full id. host: of HostConfig in the API, as Init=True."""
        parent = host.get("CgroupParent", self.parent)
        self._will_make(parent)
        made = self.api(
            "POST",
            "/containers/create" + ("?name=" + name if name else ""),
            Image="busybox",
            Cmd=["/bin/sh", "-c", script],
            StopTimeout=1,
            HostConfig={"NetworkMode": "none", **host},
        )
        self._will_make(parent + "/" + made["Id"])
        self.api("POST", f"/containers/{made['Id']}/start")
        return made["Id"]

    def state(self, container) -> dict:
        """What Docker says of a container: whether it runs, its PID in the node, how often and when
        it was started.
        """
        told = self.api("GET", f"/containers/{container}/json")
        return {
            "running": told["State"]["Running"],
            "pid": told["State"]["Pid"],
            "restarts": told["RestartCount"],
            "started": told["State"]["StartedAt"],
        }

    def containers(self) -> list:
        """Their ids."""
        return [container["Id"] for container in self.api("GET", "/containers/json?all=true")]

    def remove_containers(self):
        for container in self.containers():
            self.api("DELETE", f"/containers/{container}?force=true")

    def stop(self):
        """Remove its containers and end the engine; what lies in the node goes with the node."""
        self.wait()
        self.remove_containers()
        self.service("stop")

    def remove_cgroups(self):
        """Those that Docker made. Call this when the node has ended, and with it all that was in
        them.

        Where there is another one below, that is not of this engine, which may share its parent
        ``/docker`` with others.
        """
        for directory in sorted(self.cgroups, reverse=True):
            wait_until(
                lambda directory=directory: (
                    not directory.exists() or not (directory / "cgroup.procs").read_text()
                )
            )
            if directory.exists() and not any(each.is_dir() for each in directory.iterdir()):
                directory.rmdir()

    def _will_make(self, cgroup):
        """Note which cgroups there are not yet, in every hierarchy, to remove them in the end.
        Docker makes those above it too.
        """
        parts = cgroup.strip("/").split("/")
        for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
            directories = [root.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
            self.cgroups += [
                directory
                for directory in directories
                if not directory.exists() and directory not in self.cgroups
            ]

    def _call(self, method, path, body=None) -> bytes:
        connection = Connection(self.socket)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        assert response.status < 400, (
            f"{method} {path}: {response.status} {answer.decode(errors='replace')}"
        )
        return answer


def busybox() -> bytes:
    """A tar archive of an image: one static binary, and a link to it for each program."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo("bin/" + name)
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()
