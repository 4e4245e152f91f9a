# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the report from what earlier tasks registered. It runs on the controller and contacts no
node. Documented in plugins/modules/fleet_report.py.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.provider.fleet.plugins.plugin_utils import (
    fleet_data,
    fleet_files,
    fleet_history,
    fleet_page,
    node_result,
    tenant_notes,
)

ARGUMENTS = {
    "looks": {"type": "str", "required": True},
    "audits": {"type": "str"},
    "dest": {"type": "str", "default": "zombie-reports"},
    "keep_days": {"type": "int", "default": 400},
    "cluster": {"type": "str", "default": ""},
}
MAX_DAYS = 36500
HISTORY = "history.sqlite"
NOTES = "tenants"  # a directory
CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # it names a directory


class ActionModule(ActionBase):
    """``fleet_report``"""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        if not 1 <= options["keep_days"] <= MAX_DAYS:
            raise AnsibleActionFail(
                f"keep_days is {options['keep_days']}, but must be from 1 to {MAX_DAYS}"
            )
        if not options["dest"].strip() or "\0" in options["dest"]:
            raise AnsibleActionFail(
                f"dest is {options['dest']!r}, but must name a directory on the controller"
            )
        cluster = options["cluster"]
        if cluster and not CLUSTER.fullmatch(cluster):
            raise AnsibleActionFail(
                f"cluster is {node_result.text(cluster)!r}, but must begin with a letter or a"
                " digit and have at most 63 of these and of . _ - in all"
            )
        variables = task_vars or {}
        looks = _registered(variables, options["looks"])
        audits = _registered(variables, options["audits"]) if options["audits"] else None
        at, check_mode = int(time.time()), self._task.check_mode
        limit = str(variables.get("ansible_limit") or "")
        fleet = fleet_data.fleet(looks, audits, at, cluster, limit)
        try:
            directory = fleet_files.make_directory(
                os.path.join(options["dest"], cluster), check_mode
            )
            no_trends, written = _written(directory, fleet, at, options["keep_days"], check_mode)
        except OSError as error:
            # returned and not raised, so that a playbook can let something else fail for it
            result.update(
                failed=True,
                msg=f"the report cannot be written to {options['dest']}: {error.filename}:"
                f" {error.strerror} (as user id {os.geteuid()} on the controller); choose another"
                " directory with dest",
            )
            return result
        verb = "Would write" if check_mode else "Wrote"
        message = f"{fleet_page.lead(fleet)} {verb} {', '.join(written)}"
        if _is_lost_with_the_job(directory):
            message += (
                ". That directory is gone when this job of AWX ends: name one that AWX exposes to"
                " jobs (docs/awx.md)"
            )
        result.update(
            changed=True,
            failed=bool(no_trends),
            dest=directory,
            files=written,
            totals=fleet["totals"],
            unread={
                node["host"]: node["why"] or node["audit_error"]
                for node in fleet["nodes"]
                if node["why"] or node["audit_error"]
            },
            msg=f"{message}. Trends are missing: {no_trends}" if no_trends else message,
        )
        if not no_trends:
            result["complete"] = True
        return result


def _registered(task_vars: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The variable of that name by host, for all hosts of the play, failed ones too; None for hosts
    that do not have it.
    """
    hostvars = task_vars["hostvars"]
    return {host: hostvars.raw_get(host).get(name) for host in task_vars["ansible_play_hosts_all"]}


def _is_lost_with_the_job(directory: str) -> bool:
    """Whether the directory is in the project of a job of AWX, of which the job has a copy."""
    project = os.path.realpath(os.getcwd())
    return "AWX_PRIVATE_DATA_DIR" in os.environ and (
        os.path.commonpath([project, os.path.realpath(directory)]) == project
    )


def _written(
    directory: str, fleet: Mapping[str, Any], at: int, keep_days: int, check_mode: bool
) -> tuple[str, list[str]]:
    """Write the files; in check mode only check the history. Returns (why there are no trends,
    paths).

    If the history cannot be used, the rest is written without trends, and the task then fails.
    """
    history, trends, no_trends = os.path.join(directory, HISTORY), fleet_history.NO_TRENDS, ""
    try:
        if not check_mode:
            with fleet_history.History(history) as opened:
                opened.add(fleet, at, keep_days)
                trends = opened.trends(fleet, at)
        elif os.path.lexists(history):
            with fleet_history.History(history, read_only=True) as opened:
                opened.check()
    except fleet_history.HistoryError as error:
        no_trends = node_result.text(str(error))
    texts = {
        "fleet.html": fleet_page.page(fleet, trends, at, no_trends),
        "fleet.csv": fleet_files.as_csv(fleet),
        "fleet.json": fleet_files.as_json(fleet, trends.tenants),
    }
    notes, notes_directory = tenant_notes.notes(fleet, at), os.path.join(directory, NOTES)
    paths = {os.path.join(directory, name): content for name, content in texts.items()}
    if not check_mode:
        for path, content in paths.items():
            fleet_files.write(path, content)
        fleet_files.replace_all(notes_directory, notes, tenant_notes.OURS)
    written = [*paths, *([] if no_trends else [history]), *([notes_directory] if notes else [])]
    return no_trends, written
