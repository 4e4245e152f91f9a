"""fetch_collections.py DIRECTORY: puts the collections that the tests need below
DIRECTORY/ansible_collections.

They are taken out of PyPI's ansible wheels, so that the tests need no Galaxy. Those that are there
are not fetched again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

COLLECTIONS = {
    # For Molecule's nodes. 1.21, in this wheel, keeps one podman call per task where 1.18 made six.
    "containers/podman": "ansible==14.5.0",
    # For playbooks/awx.yml. Later wheels are without it.
    "awx/awx": "ansible==12.3.0",
}


def main() -> None:
    directory = Path(sys.argv[1])
    for name, wheel in COLLECTIONS.items():
        prefix = f"ansible_collections/{name}/"
        if not (directory / prefix / "MANIFEST.json").exists():
            fetch(wheel, prefix, directory)


def fetch(wheel, prefix, directory):
    """Unpacks what a wheel has below a prefix."""
    with tempfile.TemporaryDirectory() as temporary:
        # The wheel may ask for a newer Python; only files are taken out, so this Python does not
        # matter.
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--only-binary=:all:", "--python-version=3.12", "--dest", temporary, wheel]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(temporary).glob("ansible-*.whl"))) as archive:
            names = [name for name in archive.namelist() if name.startswith(prefix)]
            # MANIFEST.json last: it says that the rest is there
            archive.extractall(
                directory, sorted(names, key=lambda name: name.endswith("MANIFEST.json"))
            )


main()
