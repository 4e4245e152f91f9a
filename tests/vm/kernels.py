"""The kernels that virtual machines boot, and the tests that run there."""

from __future__ import annotations

import os
from typing import NamedTuple


class Kernel(NamedTuple):
    """Of a Debian release. name: as ``--kernels`` takes it."""

    name: str
    suite: str
    debian: str


class Suite(NamedTuple):
    """What one capability rests on. tests: arguments for pytest.

    minutes: an upper bound at the usual slowness of 30, which only guards against hanging. by_reap:
    needs the remedy reap, which not every architecture has.
    """

    capability: str
    tests: str
    environment: str = ""
    by_reap: bool = False
    minutes: int = 40


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("5.10", "bullseye", "Debian 11"),
        Kernel("6.1", "bookworm", "Debian 12"),
        Kernel("6.12", "trixie", "Debian 13"),
        Kernel("newest", "sid", "Debian sid"),
    )
}
ARCHITECTURES = ("amd64", "arm64")
UNIT, REAL = "tests/unit/test_", "tests/integration/test_"
SUITES = {
    "stock": Suite(
        "a stock node",
        f"{REAL}stock_node.py {REAL}stacks.py {REAL}pidfd.py"
        f" {REAL}zombies.py::test_the_classic_producer"
        f" {REAL}zombies.py::test_a_parent_that_is_paused"
        f" {REAL}zombies.py::test_orphans_adopted_by_an_init_that_does_not_wait",
        "REAPER_LOOKS=10",
    ),
    "reap": Suite("`reap`", f"{REAL}reap.py", by_reap=True),
    "full_table": Suite(
        "the daemon on a full table",
        f"{REAL}full_table.py",
        "REAPER_FULL_TABLES=10",
        by_reap=True,
    ),
    "find": Suite(
        "ledger and children",
        f"{UNIT}procfs.py {UNIT}cgroups.py {UNIT}ledger.py {UNIT}descriptors.py {REAL}ledger.py",
        "REAPER_TREES=2",
    ),
    "policy": Suite(
        "whom it leaves alone", f"{UNIT}lineage.py {REAL}zombies.py {REAL}never_touched.py"
    ),
    "remedies": Suite(
        "`nudge`, `terminate`", f"{UNIT}terminate.py {REAL}nudge.py {REAL}faults_of_the_script.py"
    ),
    "reap_hard": Suite(
        "`reap` at close quarters",
        f"{UNIT}tracing.py {REAL}reap_refusals.py {REAL}reap_leaves_no_trace.py"
        f" {REAL}reap_hostile.py",
        by_reap=True,
    ),
    "soak": Suite(
        "`reap`, 1,000 rounds of 18 programs",
        f"{REAL}reap_soak.py",
        f"REAPER_SOAK_ROUNDS={os.environ.get('REAPER_SOAK_ROUNDS', '1000')}",
        by_reap=True,
    ),
    "daemon": Suite("the daemon", f"{REAL}daemon.py"),
    "audit": Suite("audit by canary", f"{REAL}audit.py {REAL}stuck.py", by_reap=True),
    "hostile": Suite("hostile tenants", f"{REAL}hostile_tenants.py", by_reap=True),
}
# Played on the machine, and not run in it: tests/vm/test_node.py
NODE = "node"
CAPABILITIES = {
    **{name: suite.capability for name, suite in SUITES.items()},
    NODE: "`site.yml` by ssh, schedules, reboots",
}
# Where no kernel is asked for: (kernel, architecture, suite)
USUAL = (
    ("6.1", "amd64", "stock"),
    ("6.1", "amd64", "reap"),
    ("6.1", "arm64", "reap"),
    ("6.1", "amd64", NODE),
)


def chosen(option) -> list:
    """(kernel, architecture, suite) of each test. option: as ``--kernels`` has it, such as
    ``5.10,6.1/amd64``, ``all``, or None where it is not given. Raises ValueError.
    """
    if option is None:
        return list(USUAL)
    found = []
    for name in KERNELS if option == "all" else option.split(","):
        kernel, _slash, architecture = name.partition("/")
        if kernel not in KERNELS or architecture not in ("", *ARCHITECTURES):
            raise ValueError(
                f"--kernels: {name!r} is none of {', '.join(KERNELS)}, nor one of these with"
                f" {' or '.join('/' + known for known in ARCHITECTURES)}"
            )
        found += [
            (kernel, each, suite)
            for each in ([architecture] if architecture else ARCHITECTURES)
            for suite in CAPABILITIES
        ]
    return found
