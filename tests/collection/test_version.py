"""One version everywhere."""

from __future__ import annotations

import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import cli


def test_engine_collection_and_changelog_have_one_version(root):
    galaxy = yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))
    changelog = yaml.safe_load((root / "changelogs/changelog.yaml").read_text(encoding="utf-8"))
    assert galaxy["version"] == cli.VERSION
    assert (
        max(changelog["releases"], key=lambda text: [int(part) for part in text.split(".")])
        == cli.VERSION
    )
