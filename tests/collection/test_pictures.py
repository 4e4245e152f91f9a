"""The pictures of README and docs are what tools/pictures.py makes of a real fleet."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

MAKE = ("page-dark.webp", "page-light.webp", "terminal-dark.svg", "terminal-light.svg")
DASHBOARD = ("dashboard-dark.webp", "dashboard-light.webp")
# A node is stale after 45 minutes, no workload is ended by reap, and it takes hours to tell when a
# node will be full
MAY_BE_EMPTY = {"Workloads ended, by node", "Which nodes are stale", "Nodes that are full soonest"}
MOST_BYTES = 100_000  # of a picture
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def committed(root):
    return root / "docs/pictures"


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    run(root / "tools/pictures.py", directory)
    return directory


def run(tool, directory) -> str:
    """What it prints."""
    done = subprocess.run(
        [sys.executable, tool, directory], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def words(picture) -> list:
    """What is written in it, without figures, which differ from machine to machine."""
    texts = ElementTree.parse(picture).getroot().iter(f"{SVG}text")
    said = " ".join("".join(text.itertext()) for text in texts)
    return re.sub(r"\d[\d,.]*", "0", said).split()


@pytest.mark.full
def test_they_are_made_as_they_stand_in_the_repository(committed, made):
    assert sorted(path.name for path in made.iterdir()) == sorted(MAKE)
    for name in MAKE:
        if name.endswith(".svg"):
            assert words(made / name) == words(committed / name)
        else:
            assert (made / name).read_bytes()[8:12] == b"WEBP"


@pytest.mark.full
def test_prometheus_has_an_answer_for_each_panel_of_the_dashboard(root, tmp_path):
    said = run(root / "tools/dashboard_picture.py", tmp_path)
    assert set(re.fullmatch(r"No data in: (.*)\n", said)[1].split("; ")) <= MAY_BE_EMPTY
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(DASHBOARD)
    for name in DASHBOARD:
        assert (tmp_path / name).read_bytes()[8:12] == b"WEBP"


@pytest.mark.parametrize("name", [*MAKE, *DASHBOARD])
def test_each_is_small(committed, name):
    assert (committed / name).stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_terminal_shows_a_look_a_sweep_and_a_look(committed, root, theme):
    picture = committed / f"terminal-{theme}.svg"
    said = " ".join(words(picture))
    assert str(root) not in picture.read_text()
    found = [said.index(f"provider.fleet.{name}") for name in ("look", "sweep")]
    assert found == sorted(found)
    assert "0 cleared (reap 0), 0 left" in said
    assert "no zombies, and enough free PIDs" in said
