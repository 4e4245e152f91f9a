"""What all tests share: the checkout, the two levels, and how tests are handed out to the workers
of pytest-xdist.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

# A shell without job control starts what it puts into the background with these two ignored, and
# whatever a test starts would inherit that: an agent that is to end at SIGINT never would.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# ansible.cfg names no path: where a playbook is not in the checkout, this one has the collection, and
# those that tests need.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(CHECKOUT / ".cache/collections")

# What takes a minute or more, the longest first: begun last, one of these would run alone at the
# end.
LONGEST = (
    "molecule/",
    "vm/",
    "collection/test_sanity.py",
    "integration/test_daemon_soak.py",
    "collection/test_awx_jobs.py",
    "collection/test_fresh_machine.py",
    "collection/test_documented_commands.py",
    "integration/test_reap_killed.py",
    "integration/test_reap_programs.py",
    "integration/test_fix_your_image.py",
    "integration/test_zombies_rulebook.py",
    "integration/test_docker.py",
    "integration/test_cri_pods.py",
    "integration/test_audit.py",
    "collection/test_galaxy_importer.py",
    "integration/test_reap_soak.py",
    "unit/test_bench_smoke.py",
    "integration/test_inits.py",
    "browser/",
    "collection/",
    "mutations/",
    "integration/",
)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return CHECKOUT


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help=(
            "run the tests marked full too, as CI does; without it they only run where their file"
            " is named"
        ),
    )
    parser.addoption(
        "--kernels",
        nargs="?",
        const="all",
        metavar="5.10,6.1/amd64,...",
        help="the kernels, all or some, on which tests/vm runs tests, those marked full",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config) -> int:
    """Tests mostly wait, so there may be more of them at a time than CPUs. Of one file they run one
    after the other, in this process.
    """
    alone = all(Path(argument.partition("::")[0]).suffix == ".py" for argument in config.args)
    return 0 if alone else 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from rig.scheduling import ByExpense  # needs pytest-xdist, which tests/mutations do without

    return ByExpense(config, log)


def pytest_report_header(config) -> str:
    if config.option.full:
        return "level: full"
    return "level: what a contributor needs; --full adds the tests marked full"


def pytest_collection_modifyitems(config, items):
    leave_out(config, items)
    items.sort(key=place_in_line)  # the same in each worker, and of one file as it was


def place_in_line(item) -> int:
    """How early it is begun."""
    path = item.path.relative_to(CHECKOUT / "tests").as_posix()
    return next(
        (place for place, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST)
    )


def leave_out(config, items):
    """Those of the full level, and those for ``--kernels``, unless that is asked for, or their file
    is named; and those that need a machine of their own, unless this is one (tests/vm).
    """
    asked_for = {"kernels": config.option.kernels is not None}
    asked_for["full"] = config.option.full or asked_for["kernels"]
    named = {
        Path(config.invocation_params.dir, argument.partition("::")[0]).resolve()
        for argument in config.args
    }
    left_out = [
        item
        for item in items
        if item.path not in named
        and any(item.get_closest_marker(level) and not asked_for[level] for level in asked_for)
        or item.get_closest_marker("machine")
        and "REAPER_MACHINE" not in os.environ
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
