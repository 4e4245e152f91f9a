"""The virtual machines of the tests that have parameters: one for each kernel that is asked for."""

from __future__ import annotations

import pytest

from vm import kernels, matrix
from vm.images import image
from vm.machine import Machine


def pytest_generate_tests(metafunc):
    """Of what ``--kernels`` asks for, a file runs the suites that its RUNS names."""
    if "suite" not in metafunc.fixturenames:
        return
    try:
        cases = kernels.chosen(metafunc.config.option.kernels)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    cases = [case for case in cases if case[2] in metafunc.module.RUNS]
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
    is_node = kernels.NODE in request.module.RUNS
    made = image(kernels.KERNELS[kernel].suite, architecture, whole=is_node)
    running = Machine(made, architecture, tmp_path_factory.mktemp("machine"), ssh=is_node)
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
