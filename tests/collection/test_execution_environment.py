"""The execution environment that docs/execution-environments.md shows, as far as ansible-builder
goes without a container registry.
"""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

DIRECTORY = "ansible_collections/provider/fleet"


@pytest.fixture(scope="module")
def context(root, tarball, bin, run, tmp_path_factory):
    """What ansible-builder makes for the container engine."""
    directory = tmp_path_factory.mktemp("environment")
    text = re.search(
        r"^```yaml execution-environment.yml\n(.*?)^```$",
        (root / "docs/execution-environments.md").read_text(encoding="utf-8"),
        re.M | re.S,
    )[1]
    (directory / "execution-environment.yml").write_text(text, encoding="utf-8")
    shutil.copy(tarball, directory)
    run(bin / "ansible-builder", "create", cwd=directory)
    return directory / "context"


def test_the_collection_is_installed_where_the_build_does_it(context, bin, run, tmp_path):
    run(
        bin / "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-r",
        "requirements.yml",
        "--collections-path",
        tmp_path,
        cwd=context / "_build",
    )
    assert (tmp_path / DIRECTORY / "MANIFEST.json").is_file()


def test_the_collection_needs_nothing_there(context, tarball, bin, run, tmp_path):
    run(
        bin / "ansible-galaxy",
        "collection",
        "install",
        "--offline",
        "-p",
        tmp_path,
        tarball,
        cwd=tmp_path,
    )
    introspected = run(bin / "ansible-builder", "introspect", tmp_path).stdout
    assert "provider.fleet" not in introspected
    assert yaml.safe_load(
        (tmp_path / DIRECTORY / "meta/execution-environment.yml").read_text()
    ) == {
        "version": 1,
        "dependencies": {},
    }
