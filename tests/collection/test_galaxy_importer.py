"""What Galaxy and Automation Hub check when a collection is uploaded."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

# Warnings that say nothing about the collection.
EXPECTED = ()

CONFIG = """\
[galaxy-importer]
RUN_ANSIBLE_TEST = False
RUN_ANSIBLE_LINT = True
CHECK_REQUIRED_TAGS = True
OFFLINE_ANSIBLE_LINT = True
"""


def test_import_is_clean(tarball, bin, run, tmp_path):
    config = tmp_path / "galaxy-importer.cfg"
    config.write_text(CONFIG)
    done = run(
        bin / "python",
        "-m",
        "galaxy_importer.main",
        tarball,
        cwd=tmp_path,
        GALAXY_IMPORTER_CONFIG=str(config),
    )
    problems = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert [line for line in problems if not any(known in line for known in EXPECTED)] == []
