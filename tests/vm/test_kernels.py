"""The tests of this project inside virtual machines, with the kernels that nodes have: ``./run-tests
--kernels`` runs all, ``--full`` a part of them.
"""

from __future__ import annotations

import pytest

from vm import kernels, matrix
from vm.images import image
from vm.machine import Machine

pytestmark = pytest.mark.full
REFUSED = """
import sys
sys.path.append("plugins/module_utils")
from reaper.kernel import procfs, tracing
refused = tracing.node_refusal(procfs.ProcFS())
print(refused.word if refused else "")
"""


def pytest_generate_tests(metafunc):
    try:
        cases = kernels.chosen(metafunc.config.option.kernels)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize(
        ("machine", "suite"),
        [((kernel, architecture), suite) for kernel, architecture, suite in cases],
        indirect=["machine"],
        ids=["-".join(case) for case in cases],
        scope="module",
    )


@pytest.fixture(scope="module")
def machine(request, tmp_path_factory):
    """One at a time: an emulated one takes all CPUs that there are."""
    kernel, architecture = request.param
    made = image(kernels.KERNELS[kernel].suite, architecture)
    running = Machine(made, architecture, tmp_path_factory.mktemp("machine"))
    running.name = request.param
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def note(request, machine, suite):
    """Puts what was found into the table; only where ``--kernels`` asks for that. At once, since
    all of them take hours.
    """

    def write(refused="", passed=0, failed=0):
        if request.config.option.kernels is not None:
            release = machine.fact("release")
            matrix.write([matrix.Result(machine.name, release, suite, refused, passed, failed)])

    return write


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
