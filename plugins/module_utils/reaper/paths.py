# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lies on a node: the kernel's files, the runtimes' and this program's own."""

from __future__ import annotations

from collections import namedtuple

CONFIG = "/etc/zombie_reaper/config.json"
RUN = "/run/zombie_reaper"
CGROUP = "/sys/fs/cgroup"

# What lies below RUN
LOCK = "lock"  # of the one sweep that acts
LAST_REPORT = "last.json"
IDLE_NOTE = "idle"  # see idle.py
METRICS_COPY = "metrics"  # of what node_exporter reads
DAEMON_LOCK = "daemon.lock"
DAEMON_STATUS = "daemon.json"


class Paths(
    namedtuple(
        "Paths",
        (
            "proc",
            "cgroup",
            "logs",
            "docker",
            "docker_config",
            "podman",
            "run",
            "textfiles",
            "kubelet",
            "podman_run",
            "passwd",
        ),
        defaults=(
            "/proc",
            CGROUP,
            "/var/log",
            "/var/lib/docker",
            "/etc/docker/daemon.json",
            "/var/lib/containers/storage",
            RUN,
            None,
            "/var/lib/kubelet",
            "/run/containers/storage",
            "/etc/passwd",
        ),
    )
):
    """Where the sweep finds the kernel's files, the kubelet's (logs) and the runtimes', and keeps
    its own (run: lock, times, last report).

    kubelet: its root directory, with the termination logs of its containers.
    textfiles: where metrics go, as :func:`.metrics.directory` returns it, or None: where the agent
    of this node had them, if it had any.
    """

    __slots__ = ()
