# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options, validated once, and the one place that decides what is done to whom.

:func:`judge` reads nothing: the same snapshot and options always give the same verdicts, each with its reason.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from .procfs import PF_KTHREAD

SCOPES = ("containers", "all")
REMEDIES = ("nudge", "reap", "terminate")
FULL = 0.95  # of a limit; from there on nobody waits for a forecast
MOST_ORPHANS = 300000  # that an adopter is given at once: the most that was measured, 0.35 s in which nothing could fork (bench/run, "The storm")
MOST = 10 ** 9  # of seconds, zombies or parents in an option

# The executables of container runtimes, their shims and monitors, and of the kubelet in its various distributions.
# Not compiled here: that takes 2 ms, and a sweep that finds nothing asks for none of them.
RUNTIMES = (
    r"(docker-)?containerd(-shim.*)?|dockerd(-rootless.*)?|cri-dockerd|docker-(init|proxy|runc)|runc|crun|runsc|youki"
    r"|conmon|conmonrs|crio|podman|kata-.*|containerd-kata.*|firecracker|lxc-(start|monitord)|lxd|incusd"
    r"|kubelet|kubelite|hyperkube|k3s.*|k0s|rke2.*"
)
SYSTEMD = r"systemd(-.*)?|init"


class OptionError(ValueError):
    """An option that is not allowed. The message names the option, its value and what is allowed."""


class Options(
    namedtuple(
        "Options",
        ("scope", "remedies", "min_age", "min_zombies", "min_usage", "act_within", "grace", "protect", "protect_namespaces", "max_parents",
         "cooldown"),
        defaults=("containers", REMEDIES, 60, 1, 0.0, 0, 2, (), ("kube-system",), 0, 3600),
    )
):
    """The options of a sweep, as :func:`validate` returns them.

    scope: ``"containers"`` or ``"all"``. remedies: tuple from :data:`REMEDIES`, tried in this order; empty only reports.
    min_age: int, seconds. min_zombies: int. min_usage: float, 0 to 1. act_within: int, seconds, 0 for whenever.
    grace: float, seconds.
    protect: tuple of str, regular expressions. protect_namespaces: tuple of str. max_parents: int, 0 for no limit.
    cooldown: int, seconds.
    """

    __slots__ = ()


class Verdict(namedtuple("Verdict", ("offender", "ripe", "remedies", "reason", "explanation"))):
    """What is to be done to one offender.

    ripe: tuple of the zombies that count. remedies: tuple of str, what may be tried, in order; empty to leave it alone.
    reason: str, one of the words below, for machines. explanation: str, one sentence for people.

    ``act``, or why not, or not everything: ``host_init``, ``kernel_thread``, ``sweep_or_ancestor``, ``runtime``, ``systemd``,
    ``unknown_executable``, ``host_service``, ``host_process``, ``protected``, ``protected_namespace``, ``namespace_unknown``, ``own_canary``,
    ``leader_dead_threads_alive``, ``traced``, ``too_few``, ``usage_low``, ``not_soon``, ``too_young``, ``parent_uninterruptible``,
    ``parent_stopped``, ``parent_frozen``, ``report_only``, ``cooldown``, ``too_many_orphans``, ``ends_with_init``, ``adopter_does_not_reap``,
    ``max_parents``.
    """

    __slots__ = ()


def validate(given) -> Options:
    """:class:`Options` from a mapping of names to values; what is missing gets its default.

    Raises :class:`OptionError` that lists everything wrong at once.
    """
    return Options(**checked(given, CHECKS))


def checked(given, checks) -> dict:
    """What is given, by name, as its check returns it. checks: of all names there are, functions that raise ``ValueError``."""
    wrong, values = [], {}
    for name in given:
        if name not in checks:
            wrong.append("%s: there is no such option; allowed are %s" % (name, ", ".join(checks)))
    for name, check in checks.items():
        if name in given:
            try:
                values[name] = check(given[name])
            except ValueError as error:
                wrong.append("%s: %r is not allowed: %s" % (name, given[name], error))
    if wrong:
        raise OptionError("; ".join(wrong))
    return values


def judge(snapshot, options: Options, already_terminated: int = 0) -> tuple:
    """One :class:`Verdict` for each offender of the snapshot, in its order (most zombies first).

    already_terminated: int, parents terminated earlier in this sweep; they count towards ``max_parents``.
    """
    protect = compiled(options)
    verdicts = tuple(_judge_alone(offender, snapshot, options, protect) for offender in snapshot.offenders)
    return _cap(_spare_in_vain(verdicts), options, already_terminated)


def compiled(options: Options) -> list:
    """The patterns of ``protect``, for :func:`spared`."""
    return [re.compile(pattern) for pattern in options.protect]


def spared(offender, options: Options, protect) -> tuple | None:
    """Who is left alone for what it is, whatever it holds: (reason, explanation), or None. protect: of :func:`compiled`."""
    workload = offender.workload
    denied = never_touched(offender)
    if denied:
        return denied
    if options.scope == "containers" and workload.service:
        return "host_service", "the parent belongs to the host's service %s" % workload.service
    if options.scope == "containers" and workload.kind == "host":
        return "host_process", "the parent is a process of the host and the scope is containers"
    for pattern in protect:
        for text in (offender.executable, _words(offender.command_line)):
            if text and pattern.search(text.decode("utf-8", "surrogateescape")):
                return "protected", "the parent matches protect: %s" % pattern.pattern
    if workload.namespace in options.protect_namespaces:
        return "protected_namespace", "its pod %s is in the namespace %s (protect_namespaces)" % (workload.pod, workload.namespace)
    if workload.pod_uid and workload.namespace is None and options.protect_namespaces:
        return "namespace_unknown", (
            "the namespace of its pod %s is not known (no folder in /var/log/pods), so it may be one of protect_namespaces" % workload.pod_uid)
    return None


def never_touched(offender) -> tuple | None:
    """The deny list that no option can lift: (reason, explanation), or None.

    Rests on what no tenant can set: PID, kernel flags, PID namespace. A name of an executable counts only in the
    sweep's own PID namespace; the same name inside a container means nothing.
    """
    if offender.pid == 1:
        return "host_init", "the parent is PID 1 of this node"
    if offender.flags & PF_KTHREAD:
        return "kernel_thread", "the parent is a kernel thread"
    if offender.is_ancestor:
        return "sweep_or_ancestor", "the parent is this sweep or started it (its ssh, cron or shell session)"
    if not offender.status.in_own_pid_namespace:
        return None
    if not offender.executable:
        return "unknown_executable", "the executable of this host process cannot be read, so it may be one that must live"
    name = os.path.basename(offender.executable).decode("utf-8", "replace")
    if re.fullmatch(RUNTIMES, name):
        return "runtime", "the parent is a container runtime, its shim or the kubelet (%s)" % name
    if re.fullmatch(SYSTEMD, name):
        return "systemd", "the parent belongs to systemd (%s)" % name
    return None


def _judge_alone(offender, snapshot, options, protect) -> Verdict:
    """The verdict on one offender without regard to the others."""

    def leave(reason, explanation):
        return Verdict(offender, ripe, (), reason, explanation)

    ripe = tuple(zombie for zombie in offender.zombies if _collectable(zombie) and zombie.age >= options.min_age)
    alone = spared(offender, options, protect)
    if alone:
        return leave(*alone)
    if all(zombie.canary for zombie in offender.zombies):
        return leave("own_canary", "all it holds is the canary of an audit, which is no fault of its own")
    if not any(_collectable(zombie) for zombie in offender.zombies):
        if any(zombie.num_threads > 1 for zombie in offender.zombies):
            return leave("leader_dead_threads_alive", "the leader has exited but threads of it live on: nobody can collect it yet")
        tracer = next(zombie.tracer_pid for zombie in offender.zombies if zombie.tracer_pid)  # the rest are canaries
        return leave("traced", "held by its tracer, PID %d, and not by its parent" % tracer)
    if offender.frozen:
        return leave("parent_frozen", "the parent's container is paused: it cannot collect anything before it goes on")
    if offender.held_up:
        return leave("parent_stopped", "the parent is stopped (by a signal or a debugger) and cannot collect anything")
    if offender.state == "D":
        return leave("parent_uninterruptible", "the parent is in uninterruptible sleep: no signal reaches it now")
    if len([zombie for zombie in offender.zombies if _collectable(zombie)]) < options.min_zombies:
        return leave("too_few", "fewer than min_zombies: %d" % options.min_zombies)
    if snapshot.limits.usage < options.min_usage:
        return leave("usage_low", "%.4f of the process table is taken, less than min_usage: %s" % (
            snapshot.limits.usage, options.min_usage))
    if options.act_within and not _full_within(options.act_within, snapshot, offender):
        return leave("not_soon", "neither the node nor its cgroup is known to be full within act_within: %d s" % options.act_within)
    if not options.remedies:
        return leave("report_only", "remedies is empty: nothing is done, only reported")
    if len(ripe) < options.min_zombies:
        return leave("too_young", "seen as a zombie for %.0f s so far, less than min_age: %s; the parent may yet wait for it" % (
            max(zombie.age for zombie in offender.zombies), options.min_age))
    if offender.ended_ago is not None and offender.ended_ago < options.cooldown and "terminate" in options.remedies:
        return Verdict(offender, ripe, _without_terminate(options.remedies), "cooldown", (
            "a parent of this workload was ended %.0f s ago, less than cooldown: %d" % (offender.ended_ago, options.cooldown)))
    if "terminate" in options.remedies and offender.count > MOST_ORPHANS and offender.pid != offender.init_pid and not _is_full(snapshot, offender):
        return Verdict(offender, ripe, _without_terminate(options.remedies), "too_many_orphans", (
            "its end would give %d zombies to one adopter at once, more than %d, and nothing could start for about %.1f s; "
            "there is room left to have it collect them, or to end its whole container" % (offender.count, MOST_ORPHANS, offender.count / 1e6)))
    return Verdict(offender, ripe, options.remedies, "act", "%d held for %.0f s or longer" % (
        len(ripe), min(zombie.age for zombie in ripe)))


def _collectable(zombie) -> bool:
    """Whether it counts, and its parent could collect it: no canary, no tracer holds it, and no thread of it lives on."""
    return zombie.num_threads <= 1 and not zombie.tracer_pid and not zombie.canary


def _full_within(seconds, snapshot, offender) -> bool:
    """Whether the node, or the cgroup of the parent, is full already but for a few, or is so soon if it grows on."""
    left = (snapshot.forecast.seconds_to_full, offender.forecast.seconds_to_full)
    return _is_full(snapshot, offender) or any(each is not None and each <= seconds for each in left)


def _is_full(snapshot, offender) -> bool:
    pids = offender.pids
    return snapshot.limits.usage >= FULL or bool(pids and pids.max and pids.current >= FULL * pids.max)


def _spare_in_vain(verdicts):
    """Take ``terminate`` from those whose end would only move their zombies to an init that does not reap.

    It does not where it has held zombies for min_age and longer: then either its own end clears the namespace, or nothing does. Or where
    it did not collect the canary of an audit: then its zombies are for ``reap``, once it has them.
    """
    by_pid = {verdict.offender.pid: verdict for verdict in verdicts}
    for verdict in verdicts:
        init = by_pid.get(verdict.offender.init_pid)
        keeps_some = init is not None and init.ripe
        leaks = keeps_some or verdict.offender.init_reaps is False
        if "terminate" not in verdict.remedies or verdict.offender.pid == verdict.offender.init_pid or not leaks:
            yield verdict
            continue
        remedies = _without_terminate(verdict.remedies)
        if not keeps_some:
            yield _for_an_adopter_that_leaks(verdict, remedies)
            continue
        if "terminate" in init.remedies:
            yield verdict._replace(remedies=remedies, reason="ends_with_init", explanation=(
                "its PID namespace ends with its init, PID %d, which keeps zombies itself" % init.offender.pid))
        else:
            yield verdict._replace(remedies=remedies, reason="adopter_does_not_reap", explanation=(
                "its zombies would only move to PID %d, which keeps those it has and is left alone (%s)" % (
                    init.offender.pid, init.reason)))


def _for_an_adopter_that_leaks(verdict, without_terminate) -> Verdict:
    adopter = "PID %d, the init of its PID namespace, which did not collect the canary of an audit" % verdict.offender.init_pid
    if "reap" in without_terminate:
        return verdict._replace(explanation="%s; if it is ended, its zombies go to %s: reap is then for that one" % (
            verdict.explanation, adopter))
    return verdict._replace(remedies=without_terminate, reason="adopter_does_not_reap", explanation=(
        "its zombies would only move to %s; reap among the remedies would help, or the end of that container" % adopter))


def _cap(verdicts, options, already_terminated) -> tuple:
    """Take ``terminate`` from those beyond ``max_parents``, worst first, and tell those that were to end with one of them."""
    capped, spared = [], set()
    for verdict in verdicts:
        if "terminate" in verdict.remedies and options.max_parents:
            already_terminated += 1
            if already_terminated > options.max_parents:
                spared.add(verdict.offender.pid)
                verdict = _leave_for_later(verdict, options)
        capped.append(verdict)
    return tuple(
        _leave_for_later(verdict, options) if verdict.reason == "ends_with_init" and verdict.offender.init_pid in spared else verdict
        for verdict in capped)


def _leave_for_later(verdict, options) -> Verdict:
    return verdict._replace(remedies=_without_terminate(verdict.remedies), reason="max_parents", explanation=(
        "parents with more zombies come first in this sweep (max_parents: %d)" % options.max_parents))


def _without_terminate(remedies) -> tuple:
    return tuple(remedy for remedy in remedies if remedy != "terminate")


def _words(command_line) -> bytes | None:
    return command_line.replace(b"\0", b" ").strip() if command_line else None


def _whole(minimum, unit, maximum=MOST):
    def check(value):
        if isinstance(value, str) and value.strip().isdecimal() and len(value) <= len(str(MOST)):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError("give a whole number of %s, from %d to %d" % (unit, minimum, maximum))
        return value
    return check


def _number(minimum, maximum, what):
    def check(value):
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not minimum <= number <= maximum:
            raise ValueError("give %s" % what)
        return number
    return check


def _list(what, check_item, splits_at_commas=False):
    def check(value):
        if isinstance(value, str) and splits_at_commas:
            value = value.split(",")
        elif isinstance(value, str) and "," in value:
            raise ValueError("a comma may part %s or belong to one; give a list" % what)
        elif isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ValueError("give a list of %s" % what)
        items = tuple(item.strip() for item in value if item.strip())  # AWX sends an empty survey answer as ""
        for item in items:
            check_item(item)
        return items
    return check


def _one_of(allowed):
    def check(value):
        if value not in allowed:
            raise ValueError("%r is none of: %s" % (value, ", ".join(allowed)))
        return value
    return check


def _pattern(text):
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError("%r is not a regular expression: %s" % (text, error)) from None


def _namespace(text):
    if not re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", text):
        raise ValueError("%r is not a name that Kubernetes allows (small letters, digits and dashes)" % text)


HELP = {
    "scope": "containers: only parents inside a container; all: processes of the host too",
    "remedies": "what may be tried, in order, separated by commas: %s; empty only reports" % ", ".join(REMEDIES),
    "min_age": "seconds a zombie must have been seen with the same parent before it counts",
    "min_zombies": "zombies that count a parent must hold",
    "min_usage": "act only when this share (0 to 1) of the process table is taken",
    "act_within": "act only when the node or the parent's cgroup is full within so many seconds if it grows on like that; 0 for whenever",
    "grace": "seconds between SIGTERM and SIGKILL, for all parents together",
    "protect": "regular expression on a parent's executable or command line: never touched; may be given again",
    "protect_namespaces": "Kubernetes namespaces whose pods are never touched, separated by commas",
    "max_parents": "most parents ended in one sweep, those with most zombies first; 0 for no limit",
    "cooldown": "seconds before a parent of the same pod, or else container, may be ended again",
}

CHECKS = {
    "scope": _one_of(SCOPES),
    "remedies": _list("remedies", _one_of(REMEDIES), splits_at_commas=True),
    "min_age": _whole(0, "seconds"),
    "min_zombies": _whole(1, "zombies"),
    "min_usage": _number(0, 1, "a share from 0 to 1"),
    "act_within": _whole(0, "seconds"),
    "grace": _number(0, 300, "seconds, from 0 to 300"),
    "protect": _list("regular expressions", _pattern),
    "protect_namespaces": _list("namespaces", _namespace, splits_at_commas=True),
    "max_parents": _whole(0, "parents"),
    "cooldown": _whole(0, "seconds", 7 * 86400),
}
