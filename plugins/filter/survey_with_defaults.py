# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: survey_with_defaults
short_description: Replace the questions of an AWX survey and keep its defaults
version_added: 2.0.0
description:
  - Replaces the questions of a survey, and keeps the answers that AWX takes where nobody answers.
    If you have set the default of the remedies to V(none), you still have that after an upgrade.
  - A question gets the default that the existing survey has for the same variable, unless that is
    empty or the new question does not allow it.
  - Questions that somebody has added stay, at the end. Those for options that were removed from
    this collection go.
positional: _input, existing
options:
  _input:
    description: The new survey, as O(awx.awx.job_template#module:survey_spec) takes it.
    type: dict
    required: true
  existing:
    description: The survey that is there, as AWX's API returns it; empty if there is none.
    type: dict
    required: true
author:
  - The provider.fleet authors (@provider-fleet)
"""

EXAMPLES = r"""
- name: Update the questions
  awx.awx.job_template:
    name: Zombie reaper sweep
    survey_spec: "{{ new_survey | provider.fleet.survey_with_defaults(existing_survey) }}"

- name: Update the questions of a job template that is there already
  awx.awx.job_template:
    name: Zombie reaper sweep
    survey_spec: "{{ new_survey | provider.fleet.survey_with_defaults(existing) }}"
  vars:
    existing: "{{ query('awx.awx.controller_api', 'job_templates/7/survey_spec/') | first }}"

- name: Show the defaults that would be kept
  ansible.builtin.debug:
    msg: "{{ survey.spec | items2dict(key_name='variable', value_name='default') }}"
  vars:
    survey: "{{ new_survey | provider.fleet.survey_with_defaults(existing_survey) }}"
"""

RETURN = r"""
_value:
  description: The new survey with these defaults.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import REMOVED

GONE = {f"zombie_reaper_{name}" for name in REMOVED}


def survey_with_defaults(survey: Any, existing: Any) -> dict[str, Any]:
    """The filter."""
    for given in (survey, existing):
        if not isinstance(given, Mapping):
            raise AnsibleFilterError(f"a survey must be a dictionary, but this is {given!r}")
    there = {question.get("variable"): question for question in existing.get("spec") or ()}
    ours = [dict(question) for question in survey["spec"]]
    for question in ours:
        default = there.get(question["variable"], {}).get("default")
        if _is_allowed(question, default):
            question["default"] = default
    variables = {question["variable"] for question in ours} | GONE
    added = [question for name, question in there.items() if name not in variables]
    return {**survey, "spec": ours + added}


def _is_allowed(question: Mapping[str, Any], default: Any) -> bool:
    if default in ("", None) or isinstance(default, bool):
        return False
    if question["type"] == "multiplechoice":
        return default in question["choices"].split("\n")
    is_number = question["type"] in ("integer", "float")
    if question["type"] == "integer":
        fits = isinstance(default, int)
    else:
        fits = isinstance(default, (int, float) if is_number else str)
    if not fits:
        return False
    size = default if is_number else len(default)
    return bool(question["min"] <= size <= question["max"])


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"survey_with_defaults": survey_with_defaults}
