"""The collection as its users get it: from the tarball, and from a checkout; on old and new
ansible-core.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


@pytest.mark.full
def test_module_from_the_tarball(installed):
    assert (
        "localhost | SUCCESS"
        in installed("ansible", "localhost", "-m", "provider.fleet.zombie_info").stdout
    )


@pytest.fixture
def checkout(collection, run, tmp_path):
    """A fresh clone of this repository, and nothing done in it."""
    checkout = tmp_path / "fleet"
    shutil.copytree(collection, checkout, symlinks=True)
    git = ["/usr/bin/git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
        run(*git, *command, cwd=checkout)
    return checkout


@pytest.mark.parametrize(
    "name",
    [
        "zombie_reap",
        pytest.param("zombie_info", marks=pytest.mark.full),
        pytest.param("provider.fleet.zombie_info", marks=pytest.mark.full),
    ],
)
def test_module_in_a_checkout(checkout, core, run, name):
    done = run(
        core / "ansible",
        "localhost",
        "-m",
        name,
        "-a",
        "remedies=",
        "--check",
        *HERE,
        cwd=checkout,
        own_files=True,
    )
    assert "localhost | SUCCESS" in done.stdout or "localhost | CHANGED" in done.stdout


def test_playbook_in_a_checkout(checkout, core, run):
    """Role, modules and callback are those of the checkout, wherever it is called from, and nothing
    had to be made first.
    """
    done = run(
        core / "ansible-playbook",
        checkout / "playbooks/sweep.yml",
        "--check",
        *HERE,
        "-e",
        "zombie_reaper_remedies=",
        cwd="/",
        own_files=True,
    )
    assert "failed=0" in done.stdout and "1 node: 1 checked" in done.stdout
    assert "callback" not in done.stdout


def test_the_link_survives_git_and_leads_to_nothing_twice(checkout, run):
    """AWX, editors and archives may follow links; none leads to a directory that it is in."""
    cloned = checkout.parent / "cloned"
    run("/usr/bin/git", "clone", "--quiet", checkout, cloned)
    collection = cloned / "playbooks/collections/ansible_collections/provider/fleet"
    assert {path.name for path in collection.iterdir()} == {
        "galaxy.yml",
        "meta",
        "plugins",
        "roles",
    }
    for path in collection.iterdir():
        assert path.is_symlink() and path.resolve() == cloned / path.name
    walked = [Path(directory).resolve() for directory, *_rest in os.walk(cloned, followlinks=True)]
    assert walked.count(cloned.resolve()) == 1


REQUIREMENTS = """\
collections:
  - name: git+file://{checkout}
    type: git
"""


@pytest.mark.parametrize(
    "way",
    [
        "from git",
        pytest.param("from requirements.yml", marks=pytest.mark.full),
        pytest.param("from the tarball", marks=pytest.mark.full),
    ],
)
def test_install_in_a_checkout(checkout, tarball, core, run, tmp_path, way):
    """It goes where every other collection goes, and the checkout keeps to its own."""
    (tmp_path / "requirements.yml").write_text(REQUIREMENTS.format(checkout=checkout))
    what = {
        "from git": [f"git+file://{checkout}"],
        "from requirements.yml": ["-r", tmp_path / "requirements.yml"],
        "from the tarball": ["--offline", tarball],
    }[way]
    home = tmp_path / "home"
    home.mkdir()

    def play(directory, playbook):
        command = [core / "ansible-playbook", playbook, "--syntax-check", "-i", "localhost,"]
        return run(*command, cwd=directory, HOME=str(home)).stdout

    play(checkout, "playbooks/site.yml")
    run(core / "ansible-galaxy", "collection", "install", *what, cwd=checkout, HOME=str(home))
    installed = home / ".ansible/collections/ansible_collections/provider/fleet"
    assert (installed / "MANIFEST.json").is_file()
    assert not (installed / "playbooks/collections").exists()
    assert run("/usr/bin/git", "status", "--porcelain", cwd=checkout).stdout == ""
    for directory in (checkout, tmp_path):
        play(directory, "provider.fleet.site")

    (installed / "roles/zombie_reaper/tasks/main.yml").write_text("nonsense")
    assert "playbook: playbooks/site.yml" in play(checkout, "playbooks/site.yml")
