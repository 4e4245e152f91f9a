# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation changes in the options and the schedule of a node, in sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ansible_collections.provider.fleet.plugins.module_utils.reaper import metrics
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
    AGENT_CHECKS,
    CHECKS,
    NONE,
    OFF,
    Options,
    read_config,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import printable

LAST_REMEDY = "terminate"
HARSHER_IF_LOWER = ("min_age", "min_zombies", "pressure", "tolerate", "grace", "cooldown")
MAX_UNKNOWN = 10  # options of other versions to tell of


def sentences(config: str, wanted: Mapping[str, object]) -> list[str]:
    """What changes in the options, those first that are harsher to programs.

    config: the configuration file of the node; without it the defaults hold. wanted: the new
    options, as their checks return them.
    """
    try:
        given = read_config(config, must_exist=False)
    except OptionError as error:
        return [
            "Harsher than before: no scheduled sweep could run on this node, because"
            f" {printable(str(error))}"
        ]
    defaults = {
        **Options()._asdict(),
        "textfile_directory": metrics.AUTO,
        "kubernetes_events": OFF,
    }
    harsher, others = [], []
    for name, check in {**CHECKS, **AGENT_CHECKS, **metrics.CHECKS}.items():
        new = wanted[name]
        try:
            old = check(given[name]) if name in given else defaults[name]
        except ValueError:
            harsher.append(
                f"Harsher than before: {name} was {_in_words(given[name])}, which is not allowed,"
                f" so no scheduled sweep could run; it will be {_in_words(new)}"
            )
            continue
        if old == new:
            continue
        if is_harsher(name, old, new):
            harsher.append(f"Harsher than before: {_change(name, old, new)}")
        else:
            others.append(_change(name, old, new))
    unknown = [name for name in given if name not in wanted]
    for name in unknown[:MAX_UNKNOWN]:
        others.append(
            f"{printable(name)} was {_in_words(given[name])}; this version has no such option"
        )
    return harsher + others


def is_harsher(name: str, old, new) -> bool:
    """Whether the new value lets a sweep do something to a program that the old one did not."""
    if name == "scope":
        return new == "all"
    if name == "remedies":
        return bool(set(new) - set(old)) or (
            LAST_REMEDY in new and bool(_before_the_last(old) - _before_the_last(new))
        )
    if name in ("protect", "protect_namespaces"):
        return bool(set(old) - set(new))
    if name == "max_parents":  # 0 is no limit
        return bool(old) and (not new or new > old)
    return name in HARSHER_IF_LOWER and new < old


def schedule_in_words(texts: Mapping[str, str]) -> str:
    """The schedule that consists of these files. texts: by path."""
    found = []
    for path, text in sorted(texts.items()):
        if path.endswith(".timer"):
            found.append("timer" + _interval(r"^OnCalendar=\S*/(\d+)$", text, "minutes"))
        elif path.endswith(".service"):
            if "Type=oneshot" not in text:  # the service of the timer is one
                found.append("daemon" + _interval(r"--interval (\d+)", text, "seconds"))
        else:
            found.append("cron" + _interval(r"^\S*/(\d+) \* \* \* \* ", text, "minutes"))
    return " and ".join(found) or NONE


def _interval(pattern: str, text: str, unit: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return f" every {found[1][:6]} {unit}" if found else ""


def _before_the_last(remedies) -> set:
    """The gentler remedies that are tried before a parent is ended."""
    return set(remedies[: remedies.index(LAST_REMEDY)])


def _change(name: str, old, new) -> str:
    if name not in ("protect", "protect_namespaces"):
        return f"{name} was {_in_words(old)}, and will be {_in_words(new)}"
    changes = []
    for word, values in (("without", _less(old, new)), ("with", _less(new, old))):
        if values:
            changes.append(f"{word} {_in_words(values)}")
    return f"{name} will be {' and '.join(changes) or 'in another order'}"


def _less(these: Collection, those: Collection) -> tuple:
    return tuple(each for each in these if each not in those)


def _in_words(value) -> str:
    if isinstance(value, (list, tuple)):
        value = ", ".join(str(each) for each in value) or NONE
    elif isinstance(value, float):
        value = f"{value:g}"
    return printable(str(value))
