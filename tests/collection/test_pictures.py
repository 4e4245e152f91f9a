"""The pictures of README and docs are what tools/pictures.py makes of a real fleet."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

MAKE = ("page-dark.webp", "page-light.webp", "terminal-dark.svg", "terminal-light.svg")
MOST_BYTES = 100_000  # of a picture
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def committed(root):
    return root / "docs/pictures"


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    done = subprocess.run(
        [sys.executable, root / "tools/pictures.py", directory],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


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


@pytest.mark.parametrize("name", MAKE)
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
