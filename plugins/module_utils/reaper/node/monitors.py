# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor of a container, a process of the node above it: containerd's shim, or conmon of CRI-O
and Podman.

What its runtime told it, it was told as arguments.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

SHIM = (  # its arguments: -namespace moby -id <id> ... (containerd, runtime/v2)
    r"(docker-)?containerd-shim.*"
)
CONMON = "conmon"  # its arguments: -c <id> -n <name> ... (conmon(8))
DOCKER_S, KUBERNETES_S = "moby", "k8s.io"  # namespaces of containerd
FAR_UP = 64  # parents that are looked at on the way


class Monitor(namedtuple("Monitor", ("runtime", "namespace", "container_id", "name", "uid"))):
    """runtime: ``"containerd"`` or ``"docker"``, None for conmon, whose cgroup tells. namespace:
    str, containerd's, or None.

    container_id: str, the container that it was started for; a shim of Kubernetes is started for
    the pod's sandbox and has the pod's others too.
    name: str, that of conmon's container, or None. uid: int, its user: not 0 where that runs the
    runtime rootless.
    """

    __slots__ = ()


def find(procfs, stat, is_of_node) -> Monitor | None:
    """The nearest one above a process. is_of_node: function of a PID, whether by its cgroup that is
    the node's own, and no container's with ``hostPID``.
    """
    for _step in range(FAR_UP):
        stat = procfs.stat(stat.ppid) if stat and stat.ppid else None
        status = procfs.status(stat.pid) if stat else None
        if status is None:
            return None
        if not status.in_own_pid_namespace:
            continue
        executable = os.path.basename(procfs.executable(stat.pid) or b"").decode("utf-8", "replace")
        if (executable == CONMON or re.fullmatch(SHIM, executable)) and is_of_node(stat.pid):
            words = (procfs.command_line(stat.pid) or b"").decode("utf-8", "replace").split("\0")
            if executable == CONMON:
                return Monitor(None, None, _after("-c", words), _after("-n", words), status.uid)
            namespace = _after("-namespace", words)
            return Monitor(
                "docker" if namespace == DOCKER_S else "containerd",
                namespace,
                _after("-id", words),
                None,
                status.uid,
            )
    return None


def _after(flag, words) -> str | None:
    """The word after a flag; the first one counts."""
    at = words.index(flag) + 1 if flag in words else len(words)
    return words[at] if at < len(words) else None
