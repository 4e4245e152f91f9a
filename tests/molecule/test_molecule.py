"""The role on nodes with systemd: Debian 11, 12 and 13, in containers. See
roles/zombie_reaper/molecule/default/molecule.yml.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SYSCTLS = ("kernel/pid_max", "kernel/threads-max", "fs/file-max", "fs/nr_open")


def sysctls() -> dict:
    return {name: Path("/proc/sys", name).read_text(encoding="ascii") for name in SYSCTLS}


def test_scenario(molecule):
    before = sysctls()
    status, output = molecule()
    if status:
        pytest.fail(f"molecule test ended with {status}:\n{output}", pytrace=False)
    assert "missing=0" in output, f"a playbook of the sequence is missing:\n{output}"
    assert sysctls() == before, "a node of the scenario changed the machine's own"
