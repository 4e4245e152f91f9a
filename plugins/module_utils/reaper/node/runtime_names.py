# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of pods and containers, from the files that the kubelet, Docker and Podman keep on the
node.

The files of root's runtimes are the node's own, and so reliable. A user's runtimes (rootless) keep
files that belong to the user: these names are shown, and decide nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from ..record import Record

NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}"  # of containers, with Docker, Podman and Kubernetes
ID = r"[0-9a-f]{64}"
STATE_BYTES = 16 << 20  # of a runtime's file; Podman has one for all its containers
USER_BYTES = 1 << 20  # of a user's file, which the user could make as large as they like
PASSWD_BYTES = 1 << 20
# the second lists the containers of --rm (containers/storage, containers.go)
PODMAN_LISTS = ("containers.json", "volatile-containers.json")
PODMAN_DRIVERS = ("overlay", "vfs", "btrfs")

# Reads from these are certain to end. With FUSE a user may be the server, and a server of NFS may
# be gone.
LOCAL = frozenset(
    (
        b"ext2",
        b"ext3",
        b"ext4",
        b"xfs",
        b"btrfs",
        b"zfs",
        b"f2fs",
        b"bcachefs",
        b"tmpfs",
        b"overlay",
    )
)


class InPod(Record):
    """A container in a pod, as Kubernetes names it."""

    name: str
    pod: str
    namespace: str
    uid: str | None  # of the pod


def read_pods(logs: str) -> dict[str, tuple[str, str]]:
    """``{pod UID: (namespace, pod name)}`` of the pods on this node, from the names of the
    directories in ``/var/log/pods``. Empty without Kubernetes.

    The kubelet makes them as ``NAMESPACE_POD_UID`` (Kubernetes 1.14); no name in Kubernetes has an
    underscore.
    """
    parts = (name.split("_") for name in _names_in(logs))
    return {part[2]: (part[0], part[1]) for part in parts if len(part) == 3}


def read_names_in_pods(logs: str) -> dict[str, InPod]:
    """Container id -> names, from the links in ``/var/log/containers``:
    ``POD_NAMESPACE_NAME-ID.log`` (kubelet, legacy log links).

    They are there wherever the kubelet keeps its logs (``podLogsDir``).
    """
    found = {}
    for link in _names_in(logs):
        match = re.fullmatch(rf"([^_]+)_([^_]+)_({NAME})-({ID})\.log", link)
        if match:
            pod, namespace, name, container_id = match.groups()
            uid = _uid_in_target(os.path.join(logs, link), namespace, pod)
            found[container_id] = InPod(name=name, pod=pod, namespace=namespace, uid=uid)
    return found


def _uid_in_target(link: str, namespace: str, pod: str) -> str | None:
    """The pod's UID, from the target of such a link: ``.../NAMESPACE_POD_UID/NAME/0.log``."""
    try:
        target = os.readlink(link).split("/")
    except OSError:
        return None
    parts = target[-3].split("_") if len(target) >= 3 else []
    if len(parts) == 3 and parts[:2] == [namespace, pod]:
        return parts[2] if re.fullmatch("[0-9a-f-]{32,36}", parts[2]) else None
    return None


def parse_kubernetes_name(name: str | None) -> InPod | None:
    """The container that a runtime calls ``k8s_NAME_POD_NAMESPACE_UID_ATTEMPT``, as CRI-O and
    cri-dockerd do; None for any other name.

    The pod's sandbox has the name ``POD``. No container has, since Kubernetes allows lower case
    only.
    """
    parts = (name or "").split("_")
    if len(parts) != 6 or parts[0] != "k8s" or not all(re.fullmatch(NAME, part) for part in parts):
        return None
    return InPod(name=parts[1], pod=parts[2], namespace=parts[3], uid=parts[4])


def read_docker_name(state: str, config: str, container_id: str) -> str | None:
    """Name of a Docker container. state: ``/var/lib/docker``. config: ``daemon.json``, which may
    set another directory (``data-root``).

    With ``userns-remap`` all of Docker's state is in a subdirectory named ``UID.GID``.
    """
    settings = _json(config)
    if isinstance(settings, dict) and isinstance(settings.get("data-root"), str):
        state = settings["data-root"]
    remapped = sorted(name for name in _names_in(state) if re.fullmatch(r"[0-9]+\.[0-9]+", name))
    for directory in ("", *remapped):
        name = docker_name(
            _json(os.path.join(state, directory, "containers", container_id, "config.v2.json"))
        )
        if name:
            return name
    return None


def docker_name(container: object) -> str | None:
    """Name of a container, from its parsed ``config.v2.json``."""
    return _a_name(container.get("Name")) if isinstance(container, dict) else None


def read_podman_names(*states: str) -> dict[str, str | None]:
    """``{container id: name}`` of Podman's containers.

    states: ``/var/lib/containers/storage``, and ``/run/containers/storage``, where
    ``transient_store`` puts those of ``--rm`` (containers-storage.conf(5)). Each has a directory
    for each storage driver.
    """
    found = {}
    for state in states:
        for directory in _names_in(state):
            if directory.endswith("-containers"):
                for name in PODMAN_LISTS:
                    found.update(podman_names(_json(os.path.join(state, directory, name))))
    return found


def podman_names(listed: object) -> dict[str, str | None]:
    """``{container id: name}``, from one of Podman's parsed lists."""
    found = {}
    for container in listed if isinstance(listed, list) else ():
        names = container.get("names") if isinstance(container, dict) else None
        if isinstance(names, list) and names and isinstance(container.get("id"), str):
            found[container["id"]] = _a_name(names[0])
    return found


class OfUser:
    """Names of the containers of one user's rootless Docker and Podman."""

    def __init__(self, passwd: str, uid: int, mounts: Mapping[bytes, bytes]) -> None:
        """passwd: ``/etc/passwd``; other sources of users may need a server, which may be gone.
        mounts: :meth:`.procfs.ProcFS.mounts` of the sweep.
        """
        home = _home(passwd, uid)
        # unless the user has set XDG_DATA_HOME or data-root
        self.data = os.path.join(home, ".local/share") if home else None
        self.uid, self.mounts = uid, mounts
        self.podman: dict[str, str | None] | None = None

    def name(self, runtime: str | None, container_id: str) -> str | None:
        """The container's name in the user's files, if they exist and belong to the user."""
        if self.data is None:
            return None
        if runtime == "docker":
            path = os.path.join(self.data, "docker/containers", container_id, "config.v2.json")
            return docker_name(self._json(path))
        if runtime == "podman":
            if self.podman is None:
                self.podman = self._podman_names(os.path.join(self.data, "containers/storage"))
            return self.podman.get(container_id)
        return None

    def _podman_names(self, storage: str) -> dict[str, str | None]:
        found = {}
        for driver in PODMAN_DRIVERS:
            for name in PODMAN_LISTS:
                path = os.path.join(storage, driver + "-containers", name)
                found.update(podman_names(self._json(path)))
        return found

    def _json(self, path: str) -> object:
        return _parsed(read_owned(path, self.uid, self.mounts))


def read_owned(
    path: str, uid: int, mounts: Mapping[bytes, bytes], most: int = USER_BYTES
) -> bytes | None:
    """At most ``most`` bytes of a regular file that belongs to this user; else None.

    No part of the path may be a symbolic link, and all of it has to lie on file systems that are
    certain to answer (:data:`LOCAL`).
    """
    if not is_local(os.fsencode(path), mounts):
        return None
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *directories, name = path.strip("/").split("/")
        for directory in directories:
            below = os.open(
                directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd
            )
            os.close(fd)
            fd = below
        # before it is opened: that may start a watchdog, and lets go who waits to write to a FIFO
        if not stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            return None
        file = os.open(
            name,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
            dir_fd=fd,
        )
        os.close(fd)
        fd = file
        info = os.fstat(fd)
        if info.st_uid != uid or not stat.S_ISREG(info.st_mode):
            return None
        with open(fd, "rb", closefd=False) as opened:
            return opened.read(most)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def is_local(path: bytes, mounts: Mapping[bytes, bytes]) -> bool:
    """Whether every file system along the path is :data:`LOCAL`."""
    way = [path[:at] for at in range(1, len(path)) if path[at : at + 1] == b"/"]
    kinds = [mounts[directory] for directory in (b"/", *way, path) if directory in mounts]
    return bool(kinds) and all(kind in LOCAL for kind in kinds)


def _home(passwd: str, uid: int) -> str | None:
    """The home directory of a user in ``/etc/passwd`` (passwd(5)), if it is an absolute path
    without dots.
    """
    try:
        with open(passwd, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(PASSWD_BYTES).split("\n")
    except OSError:
        return None
    for fields in (line.split(":") for line in lines):
        if len(fields) == 7 and fields[2] == str(uid):
            home = fields[5]
            has_dots = {".", ".."} & set(home.split("/"))
            return home if home.startswith("/") and "\0" not in home and not has_dots else None
    return None


def _a_name(text: object) -> str | None:
    found = re.fullmatch(f"/?({NAME})", text) if isinstance(text, str) else None
    return found.group(1) if found else None


def _names_in(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (OSError, ValueError):
        return []


def _json(path: str) -> object:
    """A file of the node, parsed; None if it is missing, too long or not JSON."""
    try:
        with open(path, "rb") as file:
            return _parsed(file.read(STATE_BYTES))
    except (OSError, ValueError):
        return None


def _parsed(data: bytes | None) -> object:
    if data is None:
        return None
    import json  # 7 ms of start-up, which a sweep that has nothing to do saves

    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
