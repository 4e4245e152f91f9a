# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names without the part that is generated at each start, and keys that fit on one line of a state
file.
"""

from __future__ import annotations

import re

# Kubernetes' random suffixes have no vowels, and none of 0, 1 and 3
# (k8s.io/apimachinery/pkg/util/rand).
RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
SUFFIX = RANDOM + "{5}"
# A pod is named after its owner, with a suffix. A name that only looks generated does no harm: two
# workloads then share a cooldown.
POD_NAMES = (
    "(.+)-[0-9]{8,10}(?:-[0-9]+)?-" + SUFFIX,  # CronJob: minutes since 1970, index if indexed
    "(.+)-" + RANDOM + "{6,10}-" + SUFFIX,  # Deployment: 32-bit hash of its template, ReplicaSet
    "(.+)-[0-9]+-" + SUFFIX,  # indexed Job
    "(.+)-" + SUFFIX,  # Job, DaemonSet, ReplicaSet
    "(.+)-[0-9]+",  # StatefulSet
)
# Where base and suffix are longer than a name may be, the end of the base is cut off, dash included
# (apiserver/pkg/storage/names/generate.go).
MAX_POD_NAME, SUFFIX_LENGTH = 63, 5

# Docker Swarm: SERVICE.SLOT.TASK, or SERVICE.NODE.TASK where the service runs on every node
# (moby/swarmkit, api/naming)
SWARM_TASK = r"(.+)\.(?:[0-9]+|[a-z0-9]{25})\.[a-z0-9]{25}"

MAX_KEY = 200


def owner_of_pod(pod: str) -> str:
    """The name of the pod's owner (``web-7d9fc5b46b-x2x7z`` -> ``web``), or the pod's own name if
    it does not look generated.
    """
    for pattern in POD_NAMES:
        found = re.fullmatch(pattern, pod)
        if found:
            return found.group(1)
    return pod[:-SUFFIX_LENGTH] if len(pod) == MAX_POD_NAME else pod


def service_of_task(container: str) -> str:
    """The name of the Swarm service whose task the container is, or the container's own name if it
    is not a task.
    """
    found = re.fullmatch(SWARM_TASK, container)
    return found.group(1) if found else container


def key(text: str) -> str:
    """One ASCII word of at most :data:`MAX_KEY` characters, different for each text. The name of a
    cgroup may contain anything but newlines and slashes.
    """
    word = re.sub(
        rb"[^A-Za-z0-9_.@:/-]",
        lambda byte: f"%{byte.group()[0]:02X}".encode("ascii"),
        text.encode("utf-8", "surrogateescape"),
    ).decode("ascii")
    if len(word) <= MAX_KEY:
        return word
    from ..sha2 import sha256  # only needed for a path that hardly anyone would choose

    digest = sha256(word.encode("ascii")).hexdigest()
    return f"{word[: MAX_KEY - len(digest) - 1]}~{digest}"
