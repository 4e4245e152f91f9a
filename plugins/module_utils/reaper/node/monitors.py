# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor of a container: the process above it on the node, containerd's shim, or conmon for
CRI-O and Podman. The runtime passed what it knows to the monitor as arguments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..kernel.procfs import ProcFS, Stat

SHIM = (  # its arguments: -namespace moby -id <id> ... (containerd, runtime/v2)
    r"(docker-)?containerd-shim.*"
)
CONMON = "conmon"  # its arguments: -c <id> -n <name> ... (conmon(8))
DOCKER_NAMESPACE, KUBERNETES_NAMESPACE = "moby", "k8s.io"  # of containerd
MAX_ANCESTORS = 64


class Monitor(Record):
    """What the arguments of a monitor say about its container."""

    runtime: str | None  # "containerd" or "docker"; None for conmon: the cgroup path says which
    namespace: str | None  # containerd's; None for conmon
    # of the container that it was started for; with Kubernetes a shim is started for the pod's
    # sandbox, and monitors the pod's other containers too
    container_id: str | None
    name: str | None  # of conmon's container
    uid: int  # of the monitor; not 0 where that user runs the runtime rootless


def find(procfs: ProcFS, process: Stat, is_of_node: Callable[[int], bool]) -> Monitor | None:
    """The nearest monitor above a process. is_of_node: whether the process with that PID is in no
    container's cgroup, which one of a container with ``hostPID`` is.
    """
    stat: Stat | None = process
    for _step in range(MAX_ANCESTORS):
        stat = procfs.stat(stat.ppid) if stat and stat.ppid else None
        status = procfs.status(stat.pid) if stat else None
        if stat is None or status is None:
            return None
        if not status.in_own_pid_namespace:
            continue
        executable = os.path.basename(procfs.executable(stat.pid) or b"").decode("utf-8", "replace")
        if (executable == CONMON or re.fullmatch(SHIM, executable)) and is_of_node(stat.pid):
            words = (procfs.command_line(stat.pid) or b"").decode("utf-8", "replace").split("\0")
            if executable == CONMON:
                return Monitor(
                    runtime=None,
                    namespace=None,
                    container_id=_after("-c", words),
                    name=_after("-n", words),
                    uid=status.uid,
                )
            namespace = _after("-namespace", words)
            return Monitor(
                runtime="docker" if namespace == DOCKER_NAMESPACE else "containerd",
                namespace=namespace,
                container_id=_after("-id", words),
                name=None,
                uid=status.uid,
            )
    return None


def _after(flag: str, words: Sequence[str]) -> str | None:
    """The word after the first occurrence of a flag."""
    at = words.index(flag) + 1 if flag in words else len(words)
    return words[at] if at < len(words) else None
