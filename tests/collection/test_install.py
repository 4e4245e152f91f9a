"""The collection as its users get it: from the tarball, and from a checkout; on old and new
ansible-core.
"""

from __future__ import annotations

import shutil

import pytest

# This machine is the node, but for its files. Its distribution's Python, and not pytest's, as on
# any node. Nothing is swept: check mode, and no remedies either, so that no sweep waits for zombies
# of containers that other tests run meanwhile.
HERE = ("-i", "localhost,", "-c", "local", "-e", "ansible_python_interpreter=/usr/bin/python3")


@pytest.fixture(scope="module")
def installed(tarball, core, run, tmp_path_factory):
    """run in an empty directory with nothing but the tarball installed."""
    directory = tmp_path_factory.mktemp("installed")
    run(
        core / "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        directory,
        tarball,
        cwd=directory,
    )

    def run_there(program, *arguments):
        return run(
            core / program,
            *arguments,
            *HERE,
            cwd=directory,
            own_files=True,
            ANSIBLE_COLLECTIONS_PATH=str(directory),
        )

    return run_there


def test_playbook_from_the_tarball(installed):
    told = installed(
        "ansible-playbook", "provider.fleet.site", "--check", "-e", "zombie_reaper_remedies="
    ).stdout
    assert "failed=0" in told and "1 node: 1 checked" in told


def test_module_from_the_tarball(installed):
    assert (
        "localhost | SUCCESS"
        in installed("ansible", "localhost", "-m", "provider.fleet.zombie_info").stdout
    )


@pytest.mark.parametrize("module", ["zombie_info", "zombie_reap"])
def test_short_module_name_in_a_checkout(collection, core, run, tmp_path, module):
    checkout = tmp_path / "fleet"
    shutil.copytree(collection, checkout, symlinks=True)
    run("/bin/sh", "-c", "set -eu; root=$PWD; . tools/setup.sh; link_collection", cwd=checkout)
    done = run(
        core / "ansible",
        "localhost",
        "-m",
        module,
        "-a",
        "remedies=",
        "--check",
        *HERE,
        cwd=checkout,
        own_files=True,
    )
    assert "localhost | SUCCESS" in done.stdout or "localhost | CHANGED" in done.stdout


def test_checkout_names_no_other_collection_path(collection, bin, run):
    """Relative paths in ansible.cfg hold wherever ansible is called from."""
    done = run(
        bin / "ansible-config",
        "dump",
        "--only-changed",
        cwd="/",
        ANSIBLE_CONFIG=str(collection / "ansible.cfg"),
    )
    assert f"{collection}/.cache/collections" in done.stdout
    assert f"{collection}/plugins/modules" in done.stdout
