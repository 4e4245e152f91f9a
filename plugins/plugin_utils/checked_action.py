# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module of this collection is run on a node: as Ansible runs any module, except that the
collection's own tasks check the variables of the host first.

A task of its own would cost each host as much as a tenth of a ``ping``.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.plugins.loader import lookup_loader

# Set in the tasks of this collection, not in those of others that use its modules
CHECKS = "__zombie_reaper_checks"
# Whether the role has looked at the node (:data:`LOOK`) right before, and may have swept then
AFTER_LOOK, LOOK = "__zombie_reaper_after_look", "__zombie_reaper_node"


class CheckedAction(NormalAction):  # type: ignore[misc]  # ansible-core has no types
    """Fails before the node is reached if a variable of this collection is wrong."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        variables = task_vars or {}
        if variables.get(CHECKS):
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
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result
