# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers were started by a wrapper. Their monitors call it as long as they live, to stop
and to remove them, so it has to stay until then.
"""

from __future__ import annotations

import glob
import json
import os

from ..reaper.kernel.procfs import ProcFS
from ..reaper.node.monitors import CONMON

# containerd's shim notes in the bundle which program it calls (containerd-shim-runc-v2,
# WriteRuntime)
BUNDLES = "io.containerd.runtime.v2.task/*/*"
STATES = ("/run/containerd", "/run/k3s/containerd", "/run/docker/containerd/daemon")
NAMESPACE, POD = "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"
MAX_SIZE = 1 << 22  # bytes of a config.json


def containers(directory: str, states: tuple[str, ...] = STATES) -> list[str]:
    """Their names, each once: namespace/pod where it is known, else the container's id. Untrusted
    text. directory: of the wrappers.
    """
    inside = directory.encode() + b"/"
    found = set()
    for state in states:
        for bundle in glob.glob(os.path.join(glob.escape(state), BUNDLES)):
            if _read(bundle + "/runtime", 4096).startswith(inside):
                found.add(_name(bundle))
    found.update(_of_conmon(inside))
    return sorted(found)


def _of_conmon(inside: bytes) -> set[str]:
    """Those of CRI-O and Podman: conmon's argument -r is the runtime (conmon(8))."""
    procfs = ProcFS()
    found = set()
    for pid in filter(str.isdigit, os.listdir(procfs.root)):
        if (
            os.path.basename(procfs.executable(int(pid)) or b"").decode("utf-8", "replace")
            != CONMON
        ):
            continue
        status = procfs.status(int(pid))
        words = (procfs.command_line(int(pid)) or b"").split(b"\0")
        if status and status.uid == 0 and any(word.startswith(inside) for word in words):
            at = words.index(b"-c") + 1 if b"-c" in words else len(words)
            found.add(
                words[at].decode("utf-8", "replace")[:64] if at < len(words) else f"PID {pid}"
            )
    return found


def _name(bundle: str) -> str:
    try:
        annotations = json.loads(_read(bundle + "/config.json", MAX_SIZE))["annotations"]
        return f"{annotations[NAMESPACE]}/{annotations[POD]}"[:200]
    except (ValueError, KeyError, TypeError, RecursionError):
        return os.path.basename(bundle)[:64]


def _read(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError:  # the container has ended meanwhile
        return b""
