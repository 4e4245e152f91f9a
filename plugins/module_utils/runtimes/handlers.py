# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which runtime handlers there will be: for each that is there, one that does the same with an init
in front of each container's command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from .edits import Refused

NAME = "init"
PREFERRED = "runc"  # what the handler NAME does, besides giving an init
# A RuntimeClass and its handler are DNS labels (Kubernetes, RuntimeClass)
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
OPT_OUT = "provider.fleet/*"  # pods' annotations that the wrapper has to see


class Handler(NamedTuple):
    """A handler of ours. wraps: the handler whose settings it has, and whose binary it runs in the
    end; wrapper: what is run in place of that.
    """

    name: str
    wraps: str
    binary: str
    wrapper: str


class Plan(NamedTuple):
    """What there will be. skipped: sentences on handlers that get no counterpart."""

    handlers: tuple[Handler, ...]
    skipped: tuple[str, ...]
    default: str | None  # the handler of ours that does what the default does


def plan(binaries: Mapping[str, str | None], default: str, directory: str) -> Plan:
    """What to add to these handlers.

    binaries: the OCI runtime of each handler; None where it has none that can be wrapped. default:
    the name of the default handler. directory: below which the wrappers are.
    """
    first = PREFERRED if binaries.get(PREFERRED) else default
    handlers, skipped = [], []
    for wraps, binary in sorted(binaries.items(), key=lambda item: (item[0] != first, item[0])):
        name = NAME if wraps == first else f"{NAME}-{wraps}"
        if name in binaries:
            raise Refused(
                f"there is a runtime handler {name!r} already that is not of this collection;"
                " rename it, or remove it, and run this again"
            )
        if not binary:
            skipped.append(f"{wraps} is no runtime like runc, so it gets no init")
        elif not LABEL.fullmatch(name):
            skipped.append(
                f"{name!r} cannot be the name of a RuntimeClass, so {wraps} gets no init"
            )
        else:
            wrapper = os.path.join(directory, "runtimes", name, os.path.basename(binary))
            handlers.append(Handler(name, wraps, binary, wrapper))
    if not handlers:
        raise Refused("there is no runtime handler like runc here: " + "; ".join(skipped))
    names = {handler.wraps: handler.name for handler in handlers}
    return Plan(tuple(handlers), tuple(skipped), names.get(default))


def installed(directory: str) -> list[str]:
    """The handlers of ours that have a wrapper on this node."""
    path = os.path.join(directory, "runtimes")
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def check_default(default: Any, others: Collection[str], directory: str, path: str) -> None:
    """Raises :class:`Refused` if the default of that file would be gone with our handlers.

    others: those that stay.
    """
    if default in installed(directory) and default not in others:
        raise Refused(
            f"{path} names {default} as the default handler, outside of what this collection"
            " manages. It would be gone, and no pod would start. Name another one"
            " (k3s and RKE2: default-runtime in their config.yaml), restart the runtime and run"
            " this again"
        )


def pod_annotations(found: Any) -> list[str]:
    """pod_annotations of the handler that wraps one with these: the wrapper sees a pod's wish to go
    without an init.
    """
    return [*(found or []), *([] if OPT_OUT in (found or []) else [OPT_OUT])]


def without_zeros(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a handler without those that it would have anyway: containerd and CRI-O begin
    with a zero for each. Another version may not know all of them. Tables in it are kept whole.
    """
    return {key: value for key, value in table.items() if value or isinstance(value, dict)}


def runtime_classes(names: list[str]) -> list[dict[str, Any]]:
    """The manifests of the RuntimeClasses."""
    return [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": "provider.fleet"},
            },
            "handler": name,
        }
        for name in names
    ]
