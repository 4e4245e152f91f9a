"""What a quick pass leaves out: tests of a node that it does not have."""

from __future__ import annotations

import os


def pytest_collection_modifyitems(config, items):
    if "fleet-daemon" in os.environ.get("PROVIDER_FLEET_NODES", "fleet-daemon"):
        return
    left_out = [item for item in items if item.path.name == "test_daemon.py"]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
