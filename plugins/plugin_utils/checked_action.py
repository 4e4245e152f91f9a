# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module of this collection is run on a node: as Ansible runs any module, except that the
collection's own tasks check the variables of the host first, and take the options of a sweep from
them.

A task of its own would cost each host as much as a tenth of a ``ping``, and an expression for each
option as much again: every worker compiles it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.plugins.loader import lookup_loader
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMOVED

# Set in the tasks of this collection, not in those of others that use its modules
OWN_TASK = "__zombie_reaper_own_task"
# Whether the role has looked at the node (:data:`LOOK`) right before, and may have swept then
AFTER_LOOK, LOOK = "__zombie_reaper_after_look", "__zombie_reaper_node"
PREFIX = "zombie_reaper_"


class CheckedAction(NormalAction):  # type: ignore[misc]  # ansible-core has no types
    """Fails before the node is reached if a variable of this collection is wrong."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        variables = task_vars or {}
        if variables.get(OWN_TASK):
            lookup = lookup_loader.get(
                "provider.fleet.wrong_variables", loader=self._loader, templar=self._templar
            )
            wrong = lookup.run([], variables=variables)
            if wrong:
                return {"failed": True, "msg": f"Nothing was done. {'; '.join(wrong)}"}
        looked = variables.get(LOOK) if variables.get(AFTER_LOOK) is True else None
        swept = looked.get("sweep") if isinstance(looked, dict) else None
        if isinstance(swept, dict):
            return dict(swept)
        if variables.get(OWN_TASK):
            self._task.args = {**self.arguments(self.options(variables)), **self._task.args}
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result

    def arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the module from the options of a sweep, by name."""
        return options

    def options(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Those for which the host has a variable with a value. Without one they have their
        defaults. Raises ``AnsibleError`` where the value cannot be known.
        """
        options: dict[str, Any] = {}
        for name in sweep_module.argument_spec():
            variable = PREFIX + name
            if name in REMOVED or variable not in variables:
                continue
            try:
                options |= self._templar.template({name: variables[variable]})
            except AnsibleError as error:
                raise AnsibleError(f"{variable}: {error}") from error
        unset = None, variables.get("omit")
        return {name: value for name, value in options.items() if value not in unset}
