# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names without the part that is made anew at each start, and keys that fit into a line of a state
file.
"""

from __future__ import annotations

import re

# What Kubernetes makes random names of: no vowel, and none of 0, 1 and 3
# (k8s.io/apimachinery/pkg/util/rand).
RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
# A pod's name is its owner's and a suffix. What looks like one and is none only makes two workloads
# share a cooldown.
# StatefulSet
OF_PODS = tuple(
    pattern.replace("R", RANDOM)
    for pattern in (
        "(.+)-[0-9]{8,10}(?:-[0-9]+)?-R{5}",  # CronJob: minutes since 1970; an indexed one's index
        # ReplicaSet of a Deployment: hash of its template, a number of 32 bits
        "(.+)-R{6,10}-R{5}",
        "(.+)-[0-9]+-R{5}",  # indexed Job
        "(.+)-R{5}",  # Job, DaemonSet, ReplicaSet
        "(.+)-[0-9]+",
    )
)
# of longer names the front is cut, dash and all (apiserver/pkg/storage/names/generate.go)
MAX_GENERATED_BASE, GENERATED = (63, 5)

# Docker Swarm: SERVICE.SLOT.TASK, or SERVICE.NODE.TASK where the service runs on every node
# (moby/swarmkit, api/naming)
SWARM_TASK = r"(.+)\.(?:[0-9]+|[a-z0-9]{25})\.[a-z0-9]{25}"

MAX_KEY = 200


def owner_of_pod(pod: str) -> str:
    """The name of what made the pod (``web-7d9fc5b46b-x2x7z`` -> ``web``); the pod's own where it
    looks like nobody made it.
    """
    for pattern in OF_PODS:
        found = re.fullmatch(pattern, pod)
        if found:
            return found.group(1)
    return pod[:-GENERATED] if len(pod) == MAX_GENERATED_BASE else pod


def service_of_task(container: str) -> str:
    """The name of the Swarm service whose task the container is; the container's own where it is
    none.
    """
    found = re.fullmatch(SWARM_TASK, container)
    return found.group(1) if found else container


def key(text: str) -> str:
    """One ASCII word of at most :data:`MAX_KEY` characters, another one for each text. Names of
    cgroups may hold anything but a newline and a slash.
    """
    word = re.sub(
        rb"[^A-Za-z0-9_.@:/-]",
        lambda byte: b"%%%02X" % byte.group()[0],
        text.encode("utf-8", "surrogateescape"),
    ).decode("ascii")
    if len(word) <= MAX_KEY:
        return word
    import hashlib  # only for a path that nobody would give

    digest = hashlib.sha256(word.encode("ascii")).hexdigest()
    return f"{word[: MAX_KEY - len(digest) - 1]}~{digest}"
