# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a sweep: defaults, checks, help texts, and how a configuration file is read. Also
whether the agent sends Events, which decides nothing about a sweep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

from .errors import OptionError
from .files import contents
from .paths import CONFIG
from .pressure import USUAL
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Check = Callable[[object], Any]  # returns the value as a sweep uses it, or raises ValueError

SCOPES = ("containers", "all")
REMEDIES = ("reap", "nudge", "terminate")
# stands for an empty list of remedies: AWX surveys drop an empty answer, and the default applies
NONE = "none"
AUTO, OFF = "auto", "off"  # values of kubernetes_events
EMPTY_LIST = "[]"  # as text: what -e NAME=[] and an answer in AWX send
MAX_NUMBER = 10**9  # of seconds, zombies or parents in an option
MAX_CONFIG_BYTES = 1 << 18  # hundreds of long patterns take a tenth of that

# The namespaces of what clusters run for themselves, from the installation guides of Kubernetes,
# kubeadm, KubeEdge and Flannel (kube-*); Akash's providers (akash.network/docs/providers:
# akash-services, akash-gateway, nginx-gateway, ingress-nginx, cert-manager, rook-ceph,
# nvidia-device-plugin, lens-metrics); Calico (calico-*, tigera-operator); Cilium (cilium,
# cilium-secrets, cilium-spire); NVIDIA (gpu-operator, nvidia-gpu-operator,
# nvidia-network-operator); Node Feature Discovery; MetalLB; Longhorn; OpenEBS; kind and k3s
# (local-path-storage); Rancher (cattle-*); OpenShift (openshift-*); GKE (gke-*, gmp-*); Istio;
# Prometheus (monitoring). The namespaces of tenants on Akash are hashes without a dash.
PROTECTED_NAMESPACES = (
    "kube-*",
    "akash-services",
    "akash-gateway",
    "nginx-gateway",
    "ingress-nginx",
    "cert-manager",
    "rook-ceph",
    "lens-metrics",
    "nvidia-*",
    "gpu-operator",
    "node-feature-discovery",
    "calico-*",
    "tigera-operator",
    "cilium*",
    "metallb-system",
    "longhorn-system",
    "openebs",
    "local-path-storage",
    "cattle-*",
    "openshift-*",
    "gke-*",
    "gmp-*",
    "istio-system",
    "monitoring",
)


# Options of earlier versions, and their successors. No value is taken over: it would mean something
# else to the successor.
REMOVED = {"min_usage": "pressure", "act_within": "pressure"}


class Options(Record):
    """The options of a sweep, as :func:`validate` returns them."""

    scope: str = "containers"  # one of SCOPES
    remedies: tuple[str, ...] = REMEDIES  # tried in this order; with none, a sweep only reports
    min_age: int = 60  # seconds
    min_zombies: int = 1
    pressure: float = USUAL  # 0 to 1, the share taken of the limit that is reached first
    tolerate: int = 1000  # zombies of one parent
    grace: float = 10  # seconds
    protect: tuple[str, ...] = ()  # regular expressions
    protect_namespaces: tuple[str, ...] = PROTECTED_NAMESPACES  # "*" stands for any text
    max_parents: int = 10  # 0 for no limit
    cooldown: int = 3600  # seconds


def validate(given: Mapping[str, object]) -> Options:
    """The options from their names and values; what is missing gets its default.

    Raises :class:`OptionError`, which lists everything that is wrong at once.
    """
    return Options(**checked(given, CHECKS))


def checked(given: Mapping[str, object], checks: Mapping[str, Check]) -> dict[str, Any]:
    """The given values, as their checks return them. checks: those of all names that are allowed.

    Raises :class:`OptionError`, which lists everything that is wrong at once.
    """
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for name in given:
        if name in REMOVED:
            wrong.append(f"{name}: this option was removed; use {REMOVED[name]}")
        elif name not in checks:
            wrong.append(f"{name}: there is no such option; allowed are {', '.join(checks)}")
    for name, check in checks.items():
        if name in given:
            try:
                values[name] = check(given[name])
            except ValueError as error:
                wrong.append(f"{name}: {given[name]!r} is not allowed: {error}")
    if wrong:
        raise OptionError("; ".join(wrong))
    return values


def read_config(path: str, must_exist: bool = True) -> dict[str, object]:
    """The options in a configuration file, unchecked; none if the file does not exist and need not.

    Raises :class:`OptionError` if it cannot be read, is longer than :data:`MAX_CONFIG_BYTES`, or is
    not a JSON object.
    """
    try:
        text = contents(path, MAX_CONFIG_BYTES)[0].decode("utf-8")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not must_exist:
            return {}
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f" (without --config, {CONFIG} is read if it exists)"
        raise OptionError(f"{path} cannot be read: {error.strerror}{hint}") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} cannot be read: it is not UTF-8 ({error})") from None
    import json  # here, since it costs a start without a configuration 7 ms

    try:
        options = json.loads(text)
    except ValueError as error:
        raise OptionError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise OptionError(
            f'{path} is nested too deeply; give one JSON object of options, like {{"min_age": 60}}'
        ) from None
    if not isinstance(options, dict):
        raise OptionError(f'{path} must hold one JSON object of options, like {{"min_age": 60}}')
    for name, value in options.items():
        if _is_nested(value):  # Python may be able to read what it cannot print
            raise OptionError(
                f"{path}: the value of {name!r:.100} is nested too deeply; the most that an option"
                " takes is a list of texts"
            )
    return options


def _is_nested(value: object) -> bool:
    """Whether there is a list or an object inside this list or object."""
    inside: Iterable[object] = ()
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    return any(isinstance(each, (list, dict)) for each in inside)


def _whole(minimum: int, unit: str, maximum: int = MAX_NUMBER) -> Check:
    def check(value: object) -> int:
        if (
            isinstance(value, str)
            and value.strip().isdecimal()
            and len(value) <= len(str(MAX_NUMBER))
        ):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"give a whole number of {unit}, from {minimum} to {maximum}")
        return value

    return check


def _number(minimum: float, maximum: float, what: str) -> Check:
    def check(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not minimum <= number <= maximum:
            raise ValueError(f"give {what}")
        return number

    return check


def _list(
    what: str,
    check_item: Callable[[str], object],
    splits_at_commas: bool = False,
    word_for_empty: str | None = None,
) -> Check:
    def check(value: object) -> tuple[str, ...]:
        if isinstance(value, str) and splits_at_commas:
            value = value.split(",")
        elif isinstance(value, str) and "," in value and "\n" not in value:
            raise ValueError(
                f"a comma may separate {what} or be part of one; give a list, or text with each on"
                " a line of its own"
            )
        elif isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"give a list of {what}")
        # AWX surveys send several answers as lines of one text, and an empty answer as ""
        items = tuple(line.strip() for item in value for line in item.split("\n") if line.strip())
        if len(items) == 1 and "".join(items[0].split()) in (EMPTY_LIST, word_for_empty):
            return ()
        for item in items:
            check_item(item)
        return items

    return check


def _one_of(allowed: tuple[str, ...]) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{value!r} is none of: {', '.join(allowed)}")
        return value

    return check


def _remedy(text: str) -> None:
    if text not in REMEDIES:
        raise ValueError(
            f"{text!r} is none of: {', '.join(REMEDIES)}; or give {NONE} alone, which only reports"
        )


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


def _namespace(text: str) -> None:
    if not re.fullmatch("[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?", text):
        raise ValueError(
            f"{text!r} is not a name that Kubernetes allows, nor a pattern of names (lower-case"
            " letters, digits, dashes and *)"
        )


HELP = {
    "scope": "containers: only parents inside a container; all: processes of the host too",
    "remedies": (
        f"what may be tried, in order, separated by commas: {', '.join(REMEDIES)}; or"
        f" {NONE}, which only reports"
    ),
    "min_age": "seconds a zombie must have been seen with the same parent before it counts",
    "min_zombies": "a parent with fewer zombies that count is left alone",
    "pressure": (
        "share taken (0 to 1) of the limit that is reached first; from there on, zombies that a"
        " parent may still ask for are collected too, and parents may be ended; 0 is always"
    ),
    "tolerate": (
        "zombies of one parent, each older than an hour, that are left alone while there is room;"
        " beyond that the oldest are collected"
    ),
    "grace": (
        "seconds that an adopted daemon gets between SIGTERM and SIGKILL; every other parent gets"
        " SIGKILL at once"
    ),
    "protect": (
        "regular expression, searched for in a parent's executable and command line: never touched;"
        " may be given again"
    ),
    "protect_namespaces": (
        "Kubernetes namespaces whose pods are never touched, separated by commas; * stands for any"
        " text (kube-*)"
    ),
    "max_parents": (
        "most parents ended in one sweep of a node, those with most zombies first; 0 for no limit"
    ),
    "cooldown": (
        "seconds before a parent of the same workload (the owner of the pod, else the container)"
        " may be ended again"
    ),
}

CHECKS: dict[str, Check] = {
    "scope": _one_of(SCOPES),
    "remedies": _list("remedies", _remedy, splits_at_commas=True, word_for_empty=NONE),
    "min_age": _whole(0, "seconds"),
    "min_zombies": _whole(1, "zombies"),
    "pressure": _number(0, 1, "a share from 0 to 1"),
    "tolerate": _whole(0, "zombies"),
    "grace": _number(0, 300, "seconds, from 0 to 300"),
    "protect": _list("regular expressions", _pattern),
    "protect_namespaces": _list("namespaces", _namespace, splits_at_commas=True),
    "max_parents": _whole(0, "parents"),
    "cooldown": _whole(0, "seconds", 7 * 86400),
}


def kubernetes_events(value: object) -> str:
    """Check the option ``kubernetes_events``; ``ValueError`` says what is allowed."""
    text = str(value)
    if text.lower() in (OFF, "no", "false"):  # YAML reads the first two as the third
        return OFF
    if text.lower() in (AUTO, "on", "yes", "true"):
        return AUTO
    if not re.fullmatch(r"(/[A-Za-z0-9._+@:,=~-]+)+", text):
        raise ValueError(
            "give off, auto or the absolute path of a kubeconfig that consists of letters, digits"
            " and ._+@:,=~- only"
        )
    return text


AGENT_CHECKS: dict[str, Check] = {"kubernetes_events": kubernetes_events}
AGENT_HELP = {
    "kubernetes_events": (
        "whether the pod gets an Event when a parent in it was ended or is leaking: off (the"
        " default); auto, with the kubelet's own credential; or the path of a kubeconfig"
    )
}


def configured_events(path: str) -> str:
    """``kubernetes_events`` of this node's configuration; off if there is none, or a wrong one."""
    try:
        return kubernetes_events(read_config(path, must_exist=False).get("kubernetes_events", OFF))
    except ValueError:  # OptionError too: whoever asks has options of its own
        return OFF
