# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything is on a node: the kernel's files, the runtimes' and the reaper's own."""

from __future__ import annotations

from .record import Record

CONFIG = "/etc/zombie_reaper/config.json"
RUN = "/run/zombie_reaper"
CGROUP = "/sys/fs/cgroup"
PROC = "/proc"

# Files in RUN
LOCK = "lock"  # held by the one sweep that acts
LAST_REPORT = "last.json"
IDLE_NOTE = "idle"  # see idle.py
METRICS_COPY = "metrics"  # copy of the file that node_exporter reads
DAEMON_LOCK = "daemon.lock"
DAEMON_STATUS = "daemon.json"


class Paths(Record):
    """Where a sweep finds the files of the kernel, the kubelet and the runtimes, and keeps its
    own.
    """

    proc: str = PROC
    cgroup: str = CGROUP
    logs: str = "/var/log"  # has the kubelet's pods/ and containers/
    docker: str = "/var/lib/docker"
    docker_config: str = "/etc/docker/daemon.json"
    podman: str = "/var/lib/containers/storage"
    run: str = RUN  # the reaper's own: lock, times, last report
    # where metrics go, as metrics.directory() returns it; None: where the agent of this node wrote
    # them, if it did
    textfiles: str | None = None
    # off, auto or a kubeconfig, as options.kubernetes_events() returns it
    kubernetes_events: str = "off"
    kubelet: str = "/var/lib/kubelet"  # its root directory, with the containers' termination logs
    podman_run: str = "/run/containers/storage"
    passwd: str = "/etc/passwd"
