"""What the module zombie_reaper_agent puts on a node."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, in which nothing else has loaded the engine; the module ships what it has loaded itself.
WRITTEN = """
import types
from ansible_collections.provider.fleet.plugins.modules import zombie_reaper_agent as agent

agent.is_right = lambda path, text, mode: False
ansible = types.SimpleNamespace(check_mode=True, run_command=lambda command: (0, "", ""))
print(*agent.present(ansible, {}, "auto")[0], sep="\\n")
"""


def test_the_whole_engine_goes_to_the_node(root):
    """What the command loads only when it is needed too: `command` needs no `agent` where nothing is wrong."""
    done = subprocess.run(
        [sys.executable, "-c", WRITTEN], env={"PYTHONPATH": str(root / ".cache/collections")}, capture_output=True, text=True, check=True)
    engine = root / "plugins/module_utils/reaper"
    written = {path for path in done.stdout.splitlines() if path.startswith("/usr/local/lib/zombie_reaper/")}
    assert written == {"/usr/local/lib/zombie_reaper/%s" % path.relative_to(engine) for path in engine.rglob("*.py")}
