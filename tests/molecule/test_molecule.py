"""The role on nodes with systemd: Debian 11, 12 and 13, in containers. See molecule/default/molecule.yml."""

from __future__ import annotations

import pytest


def test_scenario(scenario):
    output = scenario.finish()
    if scenario.process.returncode:
        pytest.fail(f"molecule test ended with {scenario.process.returncode}:\n{output}", pytrace=False)
    assert "missing=0" in output, f"a playbook of the sequence is missing:\n{output}"
    assert scenario.sysctls() == scenario.sysctls_before, "a node has changed the limits of this machine"
