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
    M(provider.fleet.init_audit) found and did on all hosts of the run together.
  - That is zombies found and cleared, by which remedy, workloads ended, tenants affected, and nodes
    short of PIDs. Hosts that failed or were unreachable are listed with the reason, and so are
    hosts whose answer cannot be read.
  - Up to three nodes are shown in full. For more, a table lists those that need attention.
  - Hosts on which M(provider.fleet.zombie_reaper_agent) failed, or that it did not reach, are
    listed too.
  - Runs that use none of these modules get no summary.
  - The playbooks of this collection show it without any configuration. For playbooks of your own,
    set C(callbacks_enabled) as shown.
options:
  webhook_url:
    description:
      - Where to send a small JSON document when the run has ended workloads. It is sent once, at
        the end, by HTTP POST. By default nothing is sent anywhere.
      - The document has C(event) (V(workloads_ended)), C(at), C(text) (one sentence),
        C(workloads_ended) (how many), C(nodes) and C(more_nodes). Each of the at most 100 C(nodes)
        has C(host), C(workloads_ended), C(zombies), C(cleared), C(left) and at most 20 C(tenants)
        that had zombies there.
      - Certificates are verified and redirects are not followed. A service that does not answer
        within 10 seconds, or answers with an error, gets a warning, and the run is not affected.
      - Treat the address as a secret. Messages name its host only.
    type: str
    version_added: 2.0.0
    env:
      - name: ZOMBIE_REAPER_WEBHOOK_URL
    ini:
      - section: callback_fleet_summary
        key: webhook_url
author:
  - The provider.fleet authors (@provider-fleet)
requirements:
  - For playbooks outside this collection, C(callbacks_enabled) in C(ansible.cfg), or
    C(ANSIBLE_CALLBACKS_ENABLED).
"""

EXAMPLES = r"""
# For playbooks of your own, and a web service that is told of workloads that were ended
ansible.cfg: |
  [defaults]
  callbacks_enabled = provider.fleet.fleet_summary

  [callback_fleet_summary]
  webhook_url = https://chat.example.org/hooks/SECRET

# For one run
shell: |
  ANSIBLE_CALLBACKS_ENABLED=provider.fleet.fleet_summary ansible-playbook my_playbook.yml
  ZOMBIE_REAPER_WEBHOOK_URL=https://chat.example.org/hooks/SECRET \
    ansible-playbook -i my_inventory provider.fleet.sweep
"""

import time
from collections.abc import Iterable
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_table
from ansible_collections.provider.fleet.plugins.plugin_utils.node_result import (
    as_dict,
    as_list,
    audit_counts,
    checked,
    error_of,
)
from ansible_collections.provider.fleet.plugins.plugin_utils.node_row import (
    FAILED,
    SWEPT,
    UNREACHABLE,
    NodeRow,
    node_row,
)

NODE_MODULES = ("zombie_reap", "zombie_info")
AUDIT_MODULE = "init_audit"
AGENT_MODULE = "zombie_reaper_agent"  # returns no figures


class CallbackModule(CallbackBase):
    """Keeps one small row for each host, however large its results are."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "provider.fleet.fleet_summary"
    # A link beside the playbooks of the collection loads it for them without configuration
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rows: dict[str, NodeRow] = {}  # by host, like all of these
        self.errors: dict[str, str] = {}  # the last one
        self.unreached: set[str] = set()  # unreachable when last to be checked or swept
        self.audits: dict[str, dict[str, int]] = {}  # counts of init_audit
        self.unread_audits: dict[str, str] = {}  # why its answer cannot be read
        self.controllers: set[str] = set()  # hosts that failed, but that no inventory names
        self.cron_is_stopped: set[str] = set()  # of the hosts that cron is to sweep
        self.is_needed = False  # whether one of our modules ran

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded on a host."""
        host, module = result._host.get_name(), self._module(result)
        if module == AGENT_MODULE:
            is_stopped = as_dict(result._result).get("cron_is_stopped") is True
            (self.cron_is_stopped.add if is_stopped else self.cron_is_stopped.discard)(host)
        if module not in (*NODE_MODULES, AUDIT_MODULE):
            return
        for answer in _answers(result._task, result._result):
            if module == AUDIT_MODULE:
                self._add_audit(host, answer)
            else:
                self.unreached.discard(host)
                if "inits" in as_dict(answer):
                    self._add_audit(host, as_dict(answer)["inits"])
                if not self._is_look_after_sweep(module, host):
                    self.rows[host] = node_row(host, checked(answer))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed on a host. Whether the host has failed is only known at the end."""
        host, module = result._host.get_name(), self._module(result)
        self.errors[host] = error_of(as_dict(result._result))
        if result._host.implicit and module not in (*NODE_MODULES, AUDIT_MODULE):
            self.controllers.add(host)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host was unreachable. A playbook may go on, as report.yml does, and let the host fail
        later.
        """
        self._module(result)
        self.unreached.add(result._host.get_name())
        self.errors[result._host.get_name()] = error_of(as_dict(result._result))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end of the run."""
        # The plugin may be loaded twice, from beside a playbook and by configuration; the two
        # instances share nothing but this object
        if not self.is_needed or getattr(stats, "provider_fleet_summary_shown", False):
            return
        stats.provider_fleet_summary_shown = True
        rows = dict(self.rows)
        for host, why in self.unread_audits.items():
            rows[host] = rows.get(host, node_row(host, {}))._replace(state=FAILED, why=why)
        for hosts, final_state in ((stats.failures, FAILED), (stats.dark, UNREACHABLE)):
            for host in hosts:
                if host in self.controllers and host not in self.rows:
                    continue
                state = UNREACHABLE if host in self.unreached else final_state
                row = node_row(host, {"msg": self.errors.get(host, "")}, state)
                if host in rows:
                    row = rows[host]._replace(state=row.state, why=row.why)
                rows[host] = row
        lines = fleet_table.as_lines(rows.values()) if rows else []
        if self.audits:
            lines += fleet_table.audits_as_lines(self.audits)
        if self.cron_is_stopped:
            lines.append(fleet_table.cron_is_stopped_as_line(self.cron_is_stopped))
        if lines:
            self._display.banner("ZOMBIES")
            for line in lines:
                self._display.display(line)
            self._display.display("")
        self._tell_webhook(rows.values())

    def _tell_webhook(self, rows: Iterable[NodeRow]) -> None:
        url = self.get_option("webhook_url")
        if not url:
            return
        # Costs 0.1 s, which a run without a webhook is spared
        from ansible_collections.provider.fleet.plugins.plugin_utils import webhook

        content = webhook.document(rows, time.time())
        problem = webhook.post(url, content) if content else ""
        if problem:
            self._display.warning(problem)

    def _module(self, result: Any) -> str:
        """The module's short name; notes whether it is one of ours."""
        name: str = result._task.action.rpartition(".")[2]
        self.is_needed = self.is_needed or name in (*NODE_MODULES, AUDIT_MODULE, AGENT_MODULE)
        return name

    def _add_audit(self, host: str, answer: object) -> None:
        counts, why = audit_counts(answer)
        if why:
            self.unread_audits[host] = why
            self.audits.pop(host, None)
        else:
            self.audits[host] = counts
            self.unread_audits.pop(host, None)

    def _is_look_after_sweep(self, module: str, host: str) -> bool:
        row = self.rows.get(host)
        return module == "zombie_info" and row is not None and row.state == SWEPT


def _answers(task: Any, result: object) -> list[object]:
    """What the module returned: nothing yet for a task that goes on in the background, and several
    answers for a loop. The task says which it is: a node could hide behind either by what it
    returns.
    """
    returned = as_dict(result)
    if task.async_val and "ansible_job_id" in returned and not returned.get("finished"):
        return []
    if task.loop is not None and "results" in returned:
        return [item for item in as_list(returned["results"]) if not as_dict(item).get("skipped")]
    return [result]
