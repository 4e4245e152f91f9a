# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of provider.fleet: zombies on a node, whose they are, and what is done about them.

Standard library only, Python 3.9 and later. The modules import it; the node's own command is the
same files. From the bottom to the top, each file importing only from those before it: procfs,
ptrace, tracing, limits, pressure, cgroups, files, textfile, quiet, zombies, inits, names, lease,
runtime_names, monitors, workloads, lineage, observe, stuck, remedies, canary, policy, state,
report, metrics, sweep, watch, audit, explain, agent, command.
"""

from __future__ import annotations

VERSION = "0.1.0"  # of the collection too: galaxy.yml
CONFIG = "/etc/zombie_reaper/config.json"
RUN = "/run/zombie_reaper"
METRICS = "metrics"  # in there: a copy of what node_exporter reads
CGROUP = "/sys/fs/cgroup"
SYSLOG_TAG = "zombie_reaper"
