"""A module uses the engine that is installed on the node only if it is the very same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

# Prints whether the installed one is used, and where three of its files came from
IMPORTS = """
import os, sys
from ansible_collections.provider.fleet.plugins.module_utils import engine_sources, reaper
print(engine_sources.use_installed(reaper, sys.argv[1]))
from ansible_collections.provider.fleet.plugins.module_utils.reaper import sweep
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import reap
for each in sweep, procfs, reap:
    print(os.path.dirname(each.__file__))
"""


@pytest.fixture
def installed(root, tmp_path):
    directory = tmp_path / "zombie_reaper"
    shutil.copytree(
        root / "plugins/module_utils/reaper",
        directory,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    directory.chmod(0o755)
    return directory


def imported(root, directory) -> list:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, directory],
        env={**os.environ, "PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_same_engine_is_used_and_nothing_written(root, installed):
    assert imported(root, installed) == [
        "True",
        str(installed),
        str(installed / "kernel"),
        str(installed / "remedies"),
    ]
    assert not list(installed.rglob("*.pyc"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda directory: (directory / "kernel/procfs.py").open("a").write("# more\n"),
        lambda directory: (directory / "remedies/reap.py").unlink(),
        lambda directory: directory.chmod(0o777),
        lambda directory: os.chown(directory, 1000, 0),
        lambda directory: (directory / "kernel").chmod(0o777),
        lambda directory: directory.chmod(0o1777),
        lambda directory: os.chown(directory / "remedies/reap.py", 1000, 0),
        lambda directory: (directory / "kernel/procfs.py").chmod(0o664),
        lambda directory: (
            (directory / "kernel/__pycache__").mkdir(mode=0o700)
            or os.chown(directory / "kernel/__pycache__", 1000, 0)
        ),
        lambda directory: directory.parent.chmod(0o775),
        lambda directory: os.chown(directory.parent, 1000, 0),
        shutil.rmtree,
    ],
    ids=[
        "another version",
        "incomplete",
        "others can write",
        "of a user",
        "others can write inside",
        "others can add files",
        "a file is a user's",
        "others can write a file",
        "compiled by a user",
        "others can exchange it",
        "a user can exchange it",
        "none",
    ],
)
def test_any_other_is_not(root, installed, spoil):
    spoil(installed)
    used, *places = imported(root, installed)
    assert used == "False"
    assert not any(str(installed) in place for place in places)


def test_it_may_be_reached_through_a_link_but_contain_none(root, installed, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(installed)
    assert imported(root, link)[:2] == ["True", str(installed)]
    elsewhere = tmp_path / "elsewhere"
    (installed / "kernel").rename(elsewhere)
    (installed / "kernel").symlink_to(elsewhere)
    assert imported(root, installed)[0] == "False"
