# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of provider.fleet: zombies on a node, whose they are, and what is done about them.

Standard library only, Python 3.9 and later. The modules import it; the node's own command is the
same files. From the bottom to the top, each file importing only from those before it: record,
reasons, sha2, kernel.procfs, kernel.affinity, kernel.ptrace, kernel.tracing, kernel.pidfd,
kernel.limits, kernel.cgroups, kernel.stacks, errors, paths, log, files, textfile, kubeconfig, idle,
node.zombies, node.init_names, node.inits, node.stable_names, node.akash_lease, node.runtime_names,
node.foreign_scripts, node.monitors, node.workloads, node.lineage, node.observe, node.stuck,
node.cures, prevention.elf, prevention.rootfs, prevention.json_text, prevention.bundle,
prevention.create, prevention.install, pressure, options, remedies, canary, policy, state,
preflight, report, last_report, metrics, kubernetes_events, statuses, sweep, daemon, audit, explain,
flags, manual, cli, command.
"""

from __future__ import annotations

VERSION = "2.0.0"  # of the collection too: galaxy.yml
DOCS = "https://github.com/provider-fleet/fleet/blob/main/docs/"
