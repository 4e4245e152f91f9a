# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a sweep: their defaults, what is allowed, their help, and how a configuration file
is read.
"""

from __future__ import annotations

import os
import re
import stat
from collections import namedtuple

from . import pressure
from .errors import OptionError

SCOPES = ("containers", "all")
REMEDIES = ("reap", "nudge", "terminate")
NONE = (  # in place of remedies: a survey of AWX drops an empty choice, and would leave all of them
    "none"
)
MAX_NUMBER = 10**9  # of seconds, zombies or parents in an option
MAX_CONFIG_BYTES = (
    1 << 18
)  # bytes of a configuration; hundreds of long patterns are a tenth of that

# The namespaces of what clusters run for themselves; the tenants of a provider on Akash have names
# that are a hash, without a dash. By their installation guides: Kubernetes, kubeadm, KubeEdge and
# Flannel (kube-*); Akash's providers (akash.network/docs/providers: akash-services, akash-gateway,
# nginx-gateway, ingress-nginx, cert-manager, rook-ceph, nvidia-device-plugin, lens-metrics); Calico
# (calico-*, tigera-operator); Cilium (cilium, cilium-secrets, cilium-spire); NVIDIA (gpu-operator,
# nvidia-gpu-operator, nvidia-network-operator), Node Feature Discovery; MetalLB; Longhorn; OpenEBS;
# kind and k3s (local-path-storage); Rancher (cattle-*); OpenShift (openshift-*); GKE (gke-*,
# gmp-*); Istio; Prometheus (monitoring).
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


# Options of earlier versions, and what took their place. A value of theirs means nothing to the
# successor, so none is taken over.
REMOVED = {"min_usage": "pressure", "act_within": "pressure"}


class Options(
    namedtuple(
        "Options",
        (
            "scope",
            "remedies",
            "min_age",
            "min_zombies",
            "pressure",
            "tolerate",
            "grace",
            "protect",
            "protect_namespaces",
            "max_parents",
            "cooldown",
        ),
        defaults=(
            "containers",
            REMEDIES,
            60,
            1,
            pressure.USUAL,
            1000,
            10,
            (),
            PROTECTED_NAMESPACES,
            10,
            3600,
        ),
    )
):
    """The options of a sweep, as :func:`validate` returns them.

    scope: ``"containers"`` or ``"all"``. remedies: tuple from :data:`REMEDIES`, tried in this
    order; empty only reports.
    min_age: int, seconds. min_zombies: int.
    pressure: float, 0 to 1, the share taken of the limit that binds first. tolerate: int, zombies
    of one parent. grace: float, seconds.
    protect: tuple of str, regular expressions. protect_namespaces: tuple of str, names in which
    ``*`` stands for any text. max_parents: int, 0 for no limit.
    cooldown: int, seconds.
    """

    __slots__ = ()


def validate(given) -> Options:
    """:class:`Options` from a mapping of names to values; what is missing gets its default.

    Raises :class:`OptionError` that lists everything wrong at once.
    """
    return Options(**checked(given, CHECKS))


def checked(given, checks) -> dict:
    """What is given, by name, as its check returns it. checks: of all names there are, functions
    that raise ``ValueError``.
    """
    wrong, values = [], {}
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


def read_config(path: str, must_exist: bool = True) -> dict:
    """The options set in a configuration file, as they stand there; none where there is no such
    file and it need not exist.

    Raises :class:`.errors.OptionError` when it cannot be read, is longer than
    :data:`MAX_CONFIG_BYTES`, or is not a JSON object.
    """
    try:
        text = _config_text(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not must_exist:
            return {}
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} cannot be read: it is not UTF-8 ({error})") from None
    import json  # 7 ms of start-up that a node without a configuration does without

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
        if _is_nested(value):  # what Python can just read it may not be able to show
            raise OptionError(
                f"{path}: the value of {name!r:.100} is nested too deeply; the most that"
                " an option takes is a"
                " list of texts"
            )
    return options


def _is_nested(value) -> bool:
    """Whether there is a list or an object inside this list or object."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(each, (list, dict)) for each in inside)


def _config_text(path) -> str:
    """Of a regular file that is not too long. Opened so that a FIFO holds nobody up (open(2),
    O_NONBLOCK), and no terminal is taken.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OptionError(f"{path} cannot be read: it is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    finally:
        os.close(fd)
    if len(text) > MAX_CONFIG_BYTES:
        raise OptionError(f"{path} cannot be read: it is longer than {MAX_CONFIG_BYTES} bytes")
    return text.decode("utf-8")


def _whole(minimum, unit, maximum=MAX_NUMBER):
    def check(value):
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


def _number(minimum, maximum, what):
    def check(value):
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not minimum <= number <= maximum:
            raise ValueError(f"give {what}")
        return number

    return check


def _list(what, check_item, splits_at_commas=False, word_for_empty=None):
    def check(value):
        if isinstance(value, str) and splits_at_commas:
            value = value.split(",")
        elif isinstance(value, str) and "," in value and "\n" not in value:
            raise ValueError(
                f"a comma may part {what} or belong to one; give a list, or text with each"
                " on a line of"
                " its own"
            )
        elif isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"give a list of {what}")
        # Surveys of AWX: several answers are lines of one text, and an empty answer is ""
        items = tuple(line.strip() for item in value for line in item.split("\n") if line.strip())
        if items == (word_for_empty,):
            return ()
        for item in items:
            check_item(item)
        return items

    return check


def _one_of(allowed):
    def check(value):
        if value not in allowed:
            raise ValueError(f"{value!r} is none of: {', '.join(allowed)}")
        return value

    return check


def _pattern(text):
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


def _namespace(text):
    if not re.fullmatch("[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?", text):
        raise ValueError(
            f"{text!r} is not a name that Kubernetes allows, nor a pattern of names (small letters,"
            " digits, dashes and *)"
        )


HELP = {
    "scope": "containers: only parents inside a container; all: processes of the host too",
    "remedies": (
        f"what may be tried, in order, separated by commas: {', '.join(REMEDIES)}; or"
        f" {NONE}, which only reports"
    ),
    "min_age": "seconds a zombie must have been seen with the same parent before it counts",
    "min_zombies": "zombies that count a parent must hold",
    "pressure": (
        "share taken (0 to 1) of the limit that binds first, from which zombies that a parent may"
        " still ask for are collected too, and parents may be ended; 0 is always"
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

CHECKS = {
    "scope": _one_of(SCOPES),
    "remedies": _list("remedies", _one_of(REMEDIES), splits_at_commas=True, word_for_empty=NONE),
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
