"""ansible-test sanity, every test of it, without an ignore file."""

from __future__ import annotations

import os
from pathlib import Path

# ansible-test would download this script; with it in the cache PyPI is all that is needed.
GET_PIP = """\
import subprocess, sys
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
packages = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "pip", "install", *packages], check=True)
"""


def test_sanity(request, root, scratch, newest, pythons, run, tmp_path):
    """Of tests and tools pylint is left to the full level: it takes two thirds of the time."""
    assert not list(scratch.glob("tests/sanity/ignore*")), "sanity is to pass without ignores"

    home = root / ".cache" / "home"
    for version in ("23_1_2", "24_0", "24_2", "25_2"):  # the pip of ansible-core 2.17 to 2.21
        cached = home / ".ansible" / "test" / "cache" / f"get_pip_{version}.py"
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(GET_PIP)

    # ansible-test drops the environment, and with it what PIP_INDEX_URL and the like say.
    settings = {
        name[4:].lower(): value for name, value in os.environ.items() if name.startswith("PIP_")
    }
    settings["quiet"] = "2"
    (home / ".pip").mkdir(exist_ok=True)
    (home / ".pip" / "pip.conf").write_text(
        "[global]\n"
        + "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items())
    )

    # ansible-test takes the first python3.X on PATH at its word; pyenv's shims break it.
    for version, python in pythons.items():
        (tmp_path / f"python{version[0]}.{version[1]}").symlink_to(python)
    rest = [
        directory for directory in os.environ["PATH"].split(":") if Path(directory).name != "shims"
    ]
    path = ":".join([str(newest), str(tmp_path), *rest])

    command = [newest / "ansible-test", "sanity", "--local", "--color", "no"]
    if request.config.option.full:
        run(*command, cwd=scratch, PATH=path)
    else:
        run(*command, "--skip-test", "pylint", cwd=scratch, PATH=path)
        run(*command, "--test", "pylint", "plugins/", cwd=scratch, PATH=path)
