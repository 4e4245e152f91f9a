"""What AWX offers as playbooks of a project that is a checkout of this repository."""

from __future__ import annotations

import os
import re

# awx/main/utils/ansible.py: could_be_playbook and skip_directory; some versions take full names too
PLAYBOOK = re.compile(r"^\s*?-?\s*?(?:ansible\.builtin\.)?(?:hosts|include|import_playbook):")
SKIPPED = {"roles", "tasks", "group_vars", "host_vars"}


def offered(project) -> list:
    found = []
    for directory, _directories, names in os.walk(project):
        parts = os.path.relpath(directory, project).split(os.sep)
        if SKIPPED & set(parts) or any(part.startswith(".") and part != "." for part in parts):
            continue
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith((".yml", ".yaml")) and not os.path.islink(path):
                with open(path, encoding="utf-8") as file:
                    if any(PLAYBOOK.match(line) for line in file):
                        found.append(os.path.relpath(path, project))
    return sorted(found)


def test_awx_offers_the_playbooks_and_nothing_else(collection):
    playbooks = {f"playbooks/{path.name}" for path in (collection / "playbooks").glob("*.yml")}
    assert {"playbooks/site.yml", "playbooks/look.yml"} < playbooks
    assert set(offered(collection)) == playbooks


def test_it_would_offer_others(tmp_path):
    for name in ("hosts.yml", "vars/all.yml", "roles/x/tasks/main.yml", ".config/play.yml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("all:\n  hosts:\n", encoding="utf-8")
    assert offered(tmp_path) == ["hosts.yml", "vars/all.yml"]
