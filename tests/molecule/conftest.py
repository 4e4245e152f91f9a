"""The images of the nodes take a minute to build: that is begun while the other tests run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
BUILD = pytest.StashKey[subprocess.Popen]()


def pytest_collection_finish(session):
    if not session.config.option.collectonly and any(HERE in item.path.parents for item in session.items):
        inventory = yaml.safe_load((CHECKOUT / "molecule/default/inventory/hosts.yml").read_text(encoding="utf-8"))
        suites = [host["suite"] for host in inventory["all"]["children"]["kube_node"]["hosts"].values()]
        session.config.stash[BUILD] = subprocess.Popen(
            ["nice", CHECKOUT / "molecule/build_images.sh", *suites],
            env={**os.environ, "CONTAINERS_CONF": str(CHECKOUT / "molecule/containers.conf")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def images(request):
    """The images of the nodes, built."""
    output = request.config.stash[BUILD].communicate()[0]
    if request.config.stash[BUILD].returncode:
        pytest.fail("molecule/build_images.sh failed:\n" + output, pytrace=False)


def pytest_unconfigure(config):
    if BUILD in config.stash and config.stash[BUILD].poll() is None:
        config.stash[BUILD].terminate()
        config.stash[BUILD].wait()
