"""docs/platforms.md claims only what a test runs."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from rig import systemd_node

PAGE = "docs/platforms.md"
# of this machine: words of the page -> command whose output has the version
HERE = {
    "containerd, by CRI": ["containerd", "--version"],
    "Docker": ["dockerd", "--version"],
    "Podman with runc": ["podman", "--version"],
}


@pytest.fixture(scope="module")
def rows(root) -> list:
    """The cells of each row of the page's tables."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (root / PAGE).read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not re.match(r"\|-|\| .*\| test \|$", line)
    ]


def test_each_row_names_tests_that_there_are(root, rows):
    assert len(rows) > 12
    for row in rows:
        named = re.findall(r"`(tests/\S+\.py)`", row[-1])
        assert named or row[-1].startswith("all "), row
        assert [path for path in named if not (root / path).exists()] == []


def test_distributions_are_those_of_molecule(root, rows):
    inventory = yaml.safe_load(
        (root / "roles/zombie_reaper/molecule/default/inventory/hosts.yml").read_text()
    )
    nodes = inventory["all"]["children"]["kube_node"]["hosts"].values()
    claimed = {re.search(r"\((\w+)\)", row[0])[1] for row in rows if "molecule" in row[-1]}
    assert claimed == {node["suite"] for node in nodes}
    for row in rows:
        if "test_documented_commands" in row[-1]:
            assert systemd_node.SUITE in row[0]


def test_versions_of_ansible_core_are_those_that_tests_install(root, rows):
    pinned = {}
    for name in ("run", "floor"):
        text = (root / f"tools/requirements-{name}.txt").read_text()
        pinned[name] = re.findall(r"^ansible-core==(\d+\.\d+)", text, re.M)
    claimed = [row[0] for row in rows if re.fullmatch(r"2\.\d+", row[0])]
    assert claimed[0] == pinned["floor"][0]
    assert set(claimed[1:]) <= set(pinned["run"])


def test_versions_of_the_python_packages(root, rows):
    text = "".join(path.read_text() for path in (root / "tools").glob("requirements-*.txt"))
    for name in ("ansible-runner", "ansible-rulebook"):
        (row,) = [row for row in rows if row[0].startswith(name)]
        assert f"\n{name}=={row[1]}." in text, row


@pytest.mark.parametrize("words", HERE)
def test_versions_of_the_runtimes(rows, words):
    """Where the tests run on Debian 12, as in CI."""
    said = subprocess.run(HERE[words], capture_output=True, text=True, check=False).stdout
    if "VERSION_CODENAME=bookworm" not in open("/etc/os-release", encoding="utf-8").read():
        pytest.skip("the page has the versions of Debian 12")
    (row,) = [row for row in rows if row[0].startswith(words)]
    assert re.search(rf"\b{re.escape(row[1])}\.", said), said
