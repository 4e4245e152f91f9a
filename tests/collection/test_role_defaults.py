"""A role's variables have the same names and defaults in defaults/main.yml and in
meta/argument_specs.yml.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = sorted(path.name for path in Path(__file__).resolve().parents[2].glob("roles/*"))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_specs(root, role):
    defaults = yaml.safe_load((root / "roles" / role / "defaults/main.yml").read_text()) or {}
    specs = yaml.safe_load((root / "roles" / role / "meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]

    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    assert defaults == specified
    assert all(name.startswith(f"{role}_") for name in options)


@pytest.mark.parametrize("role", ROLES)
def test_no_option_is_both_required_and_defaulted(root, role):
    specs = yaml.safe_load((root / "roles" / role / "meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    assert [
        name for name, option in options.items() if option.get("required") and "default" in option
    ] == []
