# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_summary
type: aggregate
short_description: One summary of all nodes at the end of a run
version_added: 0.1.0
description:
  - After all plays, shows what M(provider.fleet.zombie_reap), M(provider.fleet.zombie_info) and
    M(provider.fleet.init_audit) found and did on all hosts
    of the run together. Zombies found and cleared, by which remedy, workloads ended, tenants
    concerned, nodes short of PIDs, hosts that
    failed or were not reached, and why.
  - All that each node reported, where there are at most three; of more, a table of those that need
    a look.
  - Runs in which none of these modules took part get no summary.
  - The playbooks of this collection have it without being told. For playbooks of your own, set
    C(callbacks_enabled) as shown.
author:
  - The provider.fleet authors (@provider-fleet)
requirements:
  - For playbooks that are not of this collection, C(callbacks_enabled) in C(ansible.cfg), or
    C(ANSIBLE_CALLBACKS_ENABLED).
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  callbacks_enabled = provider.fleet.fleet_summary
"""

from ansible.plugins.callback import CallbackBase
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_table
from ansible_collections.provider.fleet.plugins.plugin_utils.node_row import (
    FAILED,
    SWEPT,
    UNREACHABLE,
    node_row,
)

NODE_MODULES = "zombie_reap", "zombie_info"


class CallbackModule(CallbackBase):
    """Keeps one small row a host, whatever the size of its results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "provider.fleet.fleet_summary"
    CALLBACK_NEEDS_ENABLED = (
        False  # lies beside the playbooks too, and works there without configuration
    )

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.rows = {}  # host -> NodeRow
        self.errors = {}  # host -> the last result that was an error
        # hosts that were not reached the last time they were to be looked at or swept
        self.unreached = set()
        self.audits = {}  # host -> counts of init_audit
        self.concerned = False

    def v2_runner_on_ok(self, result):
        """A host did a task."""
        module = self._module(result)
        if module in NODE_MODULES:
            self.unreached.discard(result._host.get_name())
        if module in NODE_MODULES and not self._is_looked_at_after_a_sweep(module, result):
            self.rows[result._host.get_name()] = node_row(result._host.get_name(), result._result)
        elif module == "init_audit":
            self.audits[result._host.get_name()] = dict(result._result.get("counts") or {})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """A host failed at a task; whether that stands is known at the end."""
        self._module(result)
        self.errors[result._host.get_name()] = _error_of(result._result)

    def v2_runner_on_unreachable(self, result):
        """A host was not reached; a playbook may go on, as the report does, and let it fail
        later.
        """
        self._module(result)
        self.unreached.add(result._host.get_name())
        self.errors[result._host.get_name()] = _error_of(result._result)

    def v2_playbook_on_stats(self, stats):
        """The end of the run."""
        if not self.concerned or getattr(stats, "provider_fleet_told", False):
            return
        stats.provider_fleet_told = (
            True  # it may be loaded twice, from beside a playbook and by configuration
        )
        rows = dict(self.rows)
        for hosts, state in ((stats.failures, FAILED), (stats.dark, UNREACHABLE)):
            for host in hosts:
                row = node_row(
                    host,
                    {"msg": self.errors.get(host, "")},
                    UNREACHABLE if host in self.unreached else state,
                )
                rows[host] = (
                    rows[host]._replace(state=row.state, why=row.why) if host in rows else row
                )
        lines = fleet_table.as_lines(rows.values()) if rows else []
        if self.audits:
            lines += fleet_table.audits_as_lines(self.audits)
        if lines:
            self._display.banner("ZOMBIES")
            for line in lines:
                self._display.display(line)
            self._display.display("")

    def _module(self, result) -> str:
        name = result._task.action.rpartition(".")[2]
        self.concerned = self.concerned or name in NODE_MODULES + ("init_audit",)
        return name

    def _is_looked_at_after_a_sweep(self, module, result) -> bool:
        row = self.rows.get(result._host.get_name())
        return module == "zombie_info" and row is not None and row.state == SWEPT


def _error_of(result) -> str:
    failed = [
        item.get("msg")
        for item in result.get("results") or ()
        if isinstance(item, dict) and item.get("failed")
    ]
    return str((failed or [None])[0] or result.get("msg") or "")
