"""The tests of this project inside virtual machines, with the kernels that nodes have: ``./run-tests
--kernels`` runs all, ``--full`` a part of them.
"""

from __future__ import annotations

import pytest

from vm import kernels, matrix

pytestmark = pytest.mark.full
RUNS = kernels.SUITES
REFUSED = """
import sys
sys.path.append("plugins/module_utils")
from reaper.kernel import procfs, tracing
refused = tracing.node_refusal(procfs.ProcFS())
print(refused.word if refused else "")
"""


def test_suite(machine, suite, note):
    chosen = kernels.SUITES[suite]
    word = refusal(machine) if chosen.by_reap else ""
    if word:
        note(refused=word)
        pytest.skip(f"reap is refused there: {word}")
    seconds = int(chosen.minutes * 60 * max(1.0, machine.slowness / 30))
    output = machine.pytest(suite, chosen.tests, seconds, chosen.environment)
    done = matrix.read(machine.directory / f"{suite}.xml")
    if done:
        note(passed=done.passed, failed=len(done.failed))
    else:
        note()
    assert done, f"pytest did not come to its end:\n{output[-3000:]}"
    assert not done.failed, "\n\n".join(f"{name}\n{why}" for name, why in done.failed)
    assert done.passed, output[-3000:]


def refusal(machine) -> str:
    """The word with which this node refuses reap, if it does."""
    status, said = machine.run(f"cd /checkout && python3 -c '{REFUSED}'", 600)
    assert status == 0, said
    return said.strip()
