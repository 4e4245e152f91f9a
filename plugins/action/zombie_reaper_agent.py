# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module on the node. Documented in plugins/modules/zombie_reaper_agent.py."""

from __future__ import annotations

from typing import Any

from ansible_collections.provider.fleet.plugins.plugin_utils.checked_action import CheckedAction


class ActionModule(CheckedAction):
    """``zombie_reaper_agent``"""

    def arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        """They are those of the sweeps that are scheduled."""
        return {"options": options}
