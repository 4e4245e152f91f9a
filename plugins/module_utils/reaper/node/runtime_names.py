# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kubelet, Docker and Podman call their pods and containers, read from the files that they
keep on the node.

The files of root's runtimes are the node's own word. Those of a user's (rootless) are that user's:
they are shown and decide nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections import namedtuple

NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}"  # of containers, with Docker, Podman and Kubernetes
ID = r"[0-9a-f]{64}"
STATE_BYTES = 16 << 20  # of a runtime's file; Podman has one for all its containers
USER_BYTES = 1 << 20  # of a user's file, who could make it cost what they like
PASSWD_BYTES = 1 << 20
# the second has those of --rm (containers/storage, containers.go)
PODMAN_LISTS = ("containers.json", "volatile-containers.json")

# Where a read ends for certain. A user may be the server of a FUSE file system, and a server of NFS
# may be gone.
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


class InPod(namedtuple("InPod", ("name", "pod", "namespace", "uid"))):
    """A container in a pod. name, pod, namespace: str. uid: str, or None where it is not known."""

    __slots__ = ()


def read_pods(logs: str) -> dict:
    """``{pod UID: (namespace, pod name)}`` of the pods on this node, from the names of the
    directories in ``/var/log/pods``.

    The kubelet makes them (Kubernetes 1.14), as ``NAMESPACE_POD_UID``; no name in Kubernetes has an
    underscore. Empty elsewhere.
    """
    parts = (name.split("_") for name in _names_in(logs))
    return {part[2]: (part[0], part[1]) for part in parts if len(part) == 3}


def read_names_in_pods(logs: str) -> dict:
    """``{container id: InPod}`` from the links in ``/var/log/containers``:
    ``POD_NAMESPACE_NAME-ID.log`` (kubelet, legacy log links).

    They are there wherever the kubelet has its log directories (``podLogsDir``). A link's target
    tells the pod's UID: ``NAMESPACE_POD_UID/NAME/0.log``.
    """
    found = {}
    for name in _names_in(logs):
        match = re.fullmatch(rf"([^_]+)_([^_]+)_({NAME})-({ID})\.log", name)
        if match:
            pod, namespace, container, container_id = match.groups()
            try:
                directory = os.readlink(os.path.join(logs, name)).split("/")[-3:-2]
            except OSError:
                directory = []
            uid = (
                "".join(directory)[len(f"{namespace}_{pod}_") :]
                if directory and directory[0].startswith(f"{namespace}_{pod}_")
                else None
            )
            found[container_id] = InPod(
                container,
                pod,
                namespace,
                uid if re.fullmatch("[0-9a-f-]{32,36}", uid or "") else None,
            )
    return found


def parse_kubernetes_name(name: str | None) -> InPod | None:
    """What Kubernetes is the container to whom a runtime gave this name:
    ``k8s_NAME_POD_NAMESPACE_UID_ATTEMPT``; None where it gave it none.

    CRI-O and cri-dockerd name so; the name ``POD`` is that of the pod's sandbox, and of no
    container, since Kubernetes allows small letters only.
    """
    parts = (name or "").split("_")
    if len(parts) != 6 or parts[0] != "k8s" or not all(re.fullmatch(NAME, part) for part in parts):
        return None
    return InPod(parts[1], parts[2], parts[3], parts[4])


def read_docker_name(state: str, config: str, container_id: str) -> str | None:
    """Name of a container of Docker. state: ``/var/lib/docker``; config: ``daemon.json``, which may
    name another (``data-root``).

    With ``userns-remap`` all of its state is in a directory below, which is called ``UID.GID``.
    """
    other = _json(config)
    if isinstance(other, dict) and isinstance(other.get("data-root"), str):
        state = other["data-root"]
    remapped = sorted(name for name in _names_in(state) if re.fullmatch(r"[0-9]+\.[0-9]+", name))
    for directory in ("", *remapped):
        name = docker_name(
            _json(os.path.join(state, directory, "containers", container_id, "config.v2.json"))
        )
        if name:
            return name
    return None


def docker_name(container) -> str | None:
    """Name of a container by its ``config.v2.json``."""
    return _a_name(container.get("Name")) if isinstance(container, dict) else None


def read_podman_names(*states: str) -> dict:
    """``{container id: name}`` of Podman's containers.

    states: ``/var/lib/containers/storage``, and ``/run/containers/storage`` where
    ``transient_store`` has those of ``--rm`` (containers-storage.conf(5)); each with a directory
    for each storage driver.
    """
    found = {}
    for state in states:
        for directory in _names_in(state):
            if directory.endswith("-containers"):
                for name in PODMAN_LISTS:
                    found.update(podman_names(_json(os.path.join(state, directory, name))))
    return found


def podman_names(listed) -> dict:
    """``{container id: name}`` of one list of Podman's."""
    found = {}
    for container in listed if isinstance(listed, list) else ():
        names = container.get("names") if isinstance(container, dict) else None
        if isinstance(names, list) and names and isinstance(container.get("id"), str):
            found[container["id"]] = _a_name(names[0])
    return found


class OfUser:
    """Names of the containers of one user's rootless Docker and Podman."""

    def __init__(self, passwd: str, uid: int, mounts: dict) -> None:
        """passwd: ``/etc/passwd``; other sources of users may ask a server, which may be gone.
        mounts: :meth:`.procfs.ProcFS.mounts` of the sweep.
        """
        home = _home(passwd, uid)
        # with neither XDG_DATA_HOME nor data-root of the user's own
        self.data = os.path.join(home, ".local/share") if home else None
        self.uid, self.mounts = uid, mounts
        self.podman = None

    def name(self, runtime: str | None, container_id: str) -> str | None:
        """What the user's files call it, if they are there and the user's."""
        if self.data is None:
            return None
        if runtime == "docker":
            return docker_name(
                self._json(
                    os.path.join(self.data, "docker/containers", container_id, "config.v2.json")
                )
            )
        if runtime == "podman":
            if self.podman is None:
                self.podman = {}
                for driver in ("overlay", "vfs", "btrfs"):
                    for name in PODMAN_LISTS:
                        self.podman.update(
                            podman_names(
                                self._json(
                                    os.path.join(
                                        self.data,
                                        "containers/storage",
                                        driver + "-containers",
                                        name,
                                    )
                                )
                            )
                        )
            return self.podman.get(container_id)
        return None

    def _json(self, path):
        return _parsed(read_owned(path, self.uid, self.mounts))


def read_owned(path: str, uid: int, mounts: dict) -> bytes | None:
    """At most :data:`USER_BYTES` of a regular file that belongs to this user; None where there is
    none.

    No symbolic link is followed, on the whole way; and it has to lie on a file system that answers
    for certain (:data:`LOCAL`).
    """
    if not _is_local(os.fsencode(path), mounts):
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
        file = os.open(
            name,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
            dir_fd=fd,
        )
        os.close(fd)
        fd = file
        about = os.fstat(fd)
        if about.st_uid != uid or not stat.S_ISREG(about.st_mode):
            return None
        with open(fd, "rb", closefd=False) as opened:
            return opened.read(USER_BYTES)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def _is_local(path, mounts) -> bool:
    """Whether every file system on the way is :data:`LOCAL`."""
    way = [path[:at] for at in range(1, len(path)) if path[at : at + 1] == b"/"]
    kinds = [mounts[directory] for directory in (b"/", *way, path) if directory in mounts]
    return bool(kinds) and all(kind in LOCAL for kind in kinds)


def _home(passwd, uid) -> str | None:
    """The home of a user, from ``/etc/passwd`` (passwd(5)), where that is an absolute path without
    dots.
    """
    try:
        with open(passwd, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(PASSWD_BYTES).split("\n")
    except OSError:
        return None
    homes = [
        fields[5]
        for fields in (line.split(":") for line in lines)
        if len(fields) == 7 and fields[2] == str(uid)
    ]
    return (
        homes[0]
        if homes
        and homes[0].startswith("/")
        and "\0" not in homes[0]
        and not {".", ".."} & set(homes[0].split("/"))
        else None
    )


def _a_name(text) -> str | None:
    found = re.fullmatch(f"/?({NAME})", text) if isinstance(text, str) else None
    return found.group(1) if found else None


def _names_in(directory) -> list:
    try:
        return os.listdir(directory)
    except (OSError, ValueError):
        return []


def _json(path):
    """What a file of the node says; None where it is not there, too long, or not JSON."""
    try:
        with open(path, "rb") as file:
            return _parsed(file.read(STATE_BYTES))
    except (OSError, ValueError):
        return None


def _parsed(data):
    if data is None:
        return None
    import json  # 7 ms of start-up that a sweep with nothing to do does without

    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
