# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the controller and reaches no node: makes the report of what the tasks before it
registered. Documented in plugins/modules/fleet_report.py.
"""

from __future__ import annotations

import os
import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.provider.fleet.plugins.plugin_utils import (
    fleet_data,
    fleet_files,
    fleet_history,
    fleet_page,
)

ARGUMENTS = {
    "looks": {"type": "str", "required": True},
    "audits": {"type": "str"},
    "dest": {"type": "str", "default": "zombie-reports"},
    "keep_days": {"type": "int", "default": 400},
}
MAX_DAYS = 36500
HISTORY = "history.sqlite"


class ActionModule(ActionBase):
    """``fleet_report``"""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        if not 1 <= options["keep_days"] <= MAX_DAYS:
            raise AnsibleActionFail(
                "keep_days is %d: days from 1 to %d are right" % (options["keep_days"], MAX_DAYS)
            )
        if not options["dest"].strip() or "\0" in options["dest"]:
            raise AnsibleActionFail(
                "dest is %r: the name of a directory on the controller is right" % options["dest"]
            )
        looks = _registered(task_vars, options["looks"])
        audits = _registered(task_vars, options["audits"]) if options["audits"] else None
        at, check_mode = int(time.time()), self._task.check_mode
        fleet = fleet_data.fleet(looks, audits, at)
        try:
            directory = fleet_files.make_directory(options["dest"], check_mode)
            no_trends, written = _written(directory, fleet, at, options["keep_days"], check_mode)
        except OSError as error:
            raise AnsibleActionFail(
                "the report cannot be written to %s: %s: %s. dest names the directory"
                % (options["dest"], error.filename, error.strerror)
            ) from None
        told = "%s of %s: %s" % (
            "would write" if check_mode else "wrote",
            fleet_page.lead(fleet["totals"]).rstrip("."),
            ", ".join(written),
        )
        result.update(
            changed=True,
            failed=bool(no_trends),
            dest=directory,
            files=written,
            totals=fleet["totals"],
            msg="%s, but its trends are missing: %s" % (told, no_trends) if no_trends else told,
        )
        return result


def _registered(task_vars, name) -> dict:
    """``{host: the variable of that name}`` of all hosts of the play, those that failed too; None
    where it has none.
    """
    hostvars = task_vars["hostvars"]
    return {host: hostvars.raw_get(host).get(name) for host in task_vars["ansible_play_hosts_all"]}


def _written(directory, fleet, at, keep_days, check_mode) -> tuple:
    """(why there are no trends, paths). The page does without a history that cannot be used, which
    the task then fails for.
    """
    history, trends, no_trends = os.path.join(directory, HISTORY), fleet_history.NO_TRENDS, ""
    try:
        if not check_mode:
            with fleet_history.History(history) as opened:
                opened.add(fleet, at, keep_days)
                trends = opened.trends(at)
        elif os.path.lexists(history):
            with fleet_history.History(history, read_only=True) as opened:
                opened.check()
    except fleet_history.HistoryError as error:
        no_trends = fleet_data.text(error)
    texts = {
        "fleet.html": fleet_page.page(fleet, trends, at, no_trends),
        "fleet.csv": fleet_files.as_csv(fleet),
        "fleet.json": fleet_files.as_json(fleet, trends.tenants),
    }
    for name in texts:
        if not check_mode:
            fleet_files.write(os.path.join(directory, name), texts[name])
    return no_trends, [os.path.join(directory, name) for name in texts] + (
        [] if no_trends else [history]
    )
