"""fetch_podman_collection.py FOLDER: puts containers.podman below FOLDER/ansible_collections.

Molecule's nodes need it. It is taken out of PyPI's ansible wheel, so that the tests need no
Galaxy. Does nothing when the folder is there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# 1.21, in this wheel, keeps one podman call per task where 1.18 made six.
WHEEL = "ansible==14.5.0"
PREFIX = "ansible_collections/containers/podman/"


def main() -> None:
    folder = Path(sys.argv[1])
    if (folder / PREFIX / "MANIFEST.json").exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        # The wheel asks for Python 3.12; only files are taken out, so this Python does not matter.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version=3.12", "--dest", temporary, WHEEL]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(temporary).glob("ansible-*.whl"))) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(PREFIX)]
            # MANIFEST.json last: it says that the rest is there
            wheel.extractall(folder, sorted(names, key=lambda name: name.endswith("MANIFEST.json")))


main()
