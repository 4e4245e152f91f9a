# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vocabulary of verdicts: every reason, and every refusal of `reap`, in one place.

The words are for machines and do not change. The sentences here say in general what each word means
and what helps, as ``docs/operations.md`` and ``docs/refusals.md`` do. The sentence of a single
case, with its values, is written where that is found: by :mod:`.policy`, or where ``Refused`` is
raised. In all of them "it" and "its" mean the parent, as in the explanations of :mod:`.policy`.
"""

from __future__ import annotations

from .record import Record

# What a refusal is about
NODE = "node"  # every parent on it gets the same refusal
MOMENT = "moment"  # nothing harder follows in this sweep, and the next one tries again
PARENT = "parent"  # it will get the same refusal next time


class Reason(Record):
    """Why a verdict is what it is: nothing is done, or less than the options allow."""

    word: str
    meaning: str  # one sentence
    advice: str = ""  # what an operator can do about it; empty where nothing is called for


class Refusal(Record):
    """Why `reap` cannot be used on a parent."""

    word: str
    cause: str  # NODE, MOMENT or PARENT
    meaning: str  # one sentence
    advice: str = ""  # as in Reason


REASONS = {
    reason.word: reason
    for reason in (
        Reason(
            "act",
            "Its zombies are due, and nothing is in the way of the remedies.",
        ),
        Reason(
            "may_be_waited_for",
            "It may still ask for its zombies, and there is room: they do no harm.",
            "Nothing has to be done; `--explain PID` shows the details. To have them collected"
            " all the same: `zombie-reaper --pressure 0 --remedies reap`, first with `--check`. A"
            " program that asks late loses the status. Without `--remedies reap`, parents may be"
            " ended too.",
        ),
        Reason(
            "older_first",
            "Room is short, and collecting older zombies is enough.",
        ),
        Reason(
            "only_reap",
            "There is room, so nobody is signalled or ended, and `remedies` has no `reap`.",
            "Add `reap` to `remedies`.",
        ),
        Reason(
            "reap_impossible",
            "Only `reap` may be tried, because there is room or because `remedies` has no other,"
            " and it is impossible on this node.",
            "See the warning in the report.",
        ),
        Reason(
            "too_young",
            "Its zombies have been seen for less than `min_age`.",
            "Wait for the next sweep; by hand, use `zombie-reaper --wait`.",
        ),
        Reason(
            "host_process",
            "It is not in a container.",
            "Restart it yourself; or try `--scope all --check`, and read the result carefully.",
        ),
        Reason(
            "host_service",
            "It belongs to a service of the host, not to a container.",
            "Restart that service; or try `--scope all --check`, and read the result carefully.",
        ),
        Reason(
            "protected",
            "Your `protect` matches it, or a process that would end with it.",
            "The explanation names the pattern.",
        ),
        Reason(
            "protected_namespace",
            "Its pod is in a namespace of `protect_namespaces`.",
            "Restart that pod yourself.",
        ),
        Reason(
            "namespace_unknown",
            "Kubernetes runs it, but the kubelet has neither a directory for it in"
            " `/var/log/pods` nor a link in `/var/log/containers`, so its namespace may be one of"
            " `protect_namespaces`.",
            "Find out why they are missing. `--protect-namespaces ''` drops all protection by"
            " namespace, so look with `--check` first.",
        ),
        Reason(
            "own_canary",
            "All it holds is the canary of an audit, which does no harm and is gone when the"
            " container ends, if not before.",
        ),
        Reason(
            "cooldown",
            "Its pod or container, or another one of the same owner, was ended a short time ago"
            " or is ended in this sweep.",
            "Fix the image; or use `--cooldown 0`.",
        ),
        Reason(
            "too_many_orphans",
            "If it ended, one adopter would get so many zombies at once that the node would"
            " stand still.",
            "Add `reap` to `remedies`; or end its whole container, which takes the zombies with"
            " it. Once a limit is full, this reason no longer counts.",
        ),
        Reason(
            "too_few",
            "It holds fewer zombies that count than `min_zombies`.",
            "Lower that option.",
        ),
        Reason(
            "max_parents",
            "Parents with more zombies were enough for `max_parents` in this sweep.",
            "Wait for the next sweep, or raise that option.",
        ),
        Reason(
            "report_only",
            "No remedies are set (`remedies: none`), so sweeps only report.",
            "Set `remedies`.",
        ),
        Reason(
            "traced",
            "A debugger or strace holds its zombies.",
            "End the tracer.",
        ),
        Reason(
            "leader_dead_threads_alive",
            "The first thread of its child has exited, but others live on: nobody can collect it"
            " before they end.",
        ),
        Reason(
            "parent_frozen",
            "Its container is paused.",
            "Resume the container.",
        ),
        Reason(
            "parent_stopped",
            "A signal or a debugger has stopped it.",
            "Resume it (`kill -CONT PID`), or end the debugger.",
        ),
        Reason(
            "parent_uninterruptible",
            "It is waiting for a device or a file server, and no signal reaches it.",
            "Check the storage.",
        ),
        Reason(
            "ends_with_init",
            "Its container's init is to end, and it ends with it.",
        ),
        Reason(
            "adopter_does_not_reap",
            "If it ended, its zombies would only move to an init that keeps its own, or that"
            " left the canary of an audit uncollected.",
            "Add `reap` to `remedies`; or restart the container yourself.",
        ),
        Reason(
            "runtime",
            "It is a container runtime or a part of one, the kubelet, a batch system or ssh:"
            " never touched, since others depend on it.",
            "Report the leak as a bug of that program.",
        ),
        Reason(
            "systemd",
            "It belongs to systemd: never touched.",
            "Report the leak as a bug of that program.",
        ),
        Reason(
            "host_init",
            "It is PID 1 of the node: never touched.",
            "Report the leak as a bug of that program.",
        ),
        Reason(
            "kernel_thread",
            "It is a kernel thread: never touched.",
            "Report the leak as a bug of the kernel.",
        ),
        Reason(
            "sweep_or_ancestor",
            "It is this sweep or one of its ancestors (its ssh, cron or shell session): never"
            " touched.",
            "Report the leak as a bug of that program.",
        ),
        Reason(
            "unknown_executable",
            "It is a process of the host whose executable cannot be read: never touched, since"
            " the node may depend on it.",
            "Find out what it is, and report the leak as a bug of that program.",
        ),
    )
}

REFUSALS = {
    refusal.word: refusal
    for refusal in (
        Refusal(
            word="architecture",
            cause=NODE,
            meaning="Only 64-bit Python on x86-64 and aarch64 is supported so far.",
        ),
        Refusal(
            word="kernel",
            cause=NODE,
            meaning="The kernel or Python has no pidfd_open: Linux 5.3 and Python 3.9 are needed.",
            advice="Update the kernel, or Python.",
        ),
        Refusal(
            word="yama",
            cause=NODE,
            meaning="`kernel.yama.ptrace_scope` is 3, so nobody may trace.",
            advice="Set a lower value and reboot the node; it cannot be lowered before that.",
        ),
        # found before anything is done where it is the sweep that lacks a right; a single parent's
        # matter where a security module or a user namespace is in the way
        Refusal(
            word="not_permitted",
            cause=NODE,
            meaning=(
                "The sweep may not trace: it lacks CAP_SYS_PTRACE, a security module forbids"
                " it, or that parent is in another user namespace."
            ),
            advice="Give the sweep CAP_SYS_PTRACE.",
        ),
        Refusal(
            word="32_bit",
            cause=PARENT,
            meaning="It runs 32-bit code, and is in no system call that restarts.",
        ),
        Refusal(
            word="seccomp_strict",
            cause=PARENT,
            meaning="Seccomp allows it hardly any system call (`Seccomp: 1`).",
        ),
        Refusal(
            word="seccomp_filter",
            cause=PARENT,
            meaning=(
                "It has a seccomp filter that the sweep cannot set aside, mostly because the"
                " sweep lacks CAP_SYS_ADMIN or has a filter itself."
            ),
            advice="Give the sweep CAP_SYS_ADMIN, and run it without a filter.",
        ),
        Refusal(
            word="syscall_user_dispatch",
            cause=PARENT,
            meaning="It handles its system calls itself, as Wine does.",
        ),
        Refusal(
            word="no_instruction",
            cause=PARENT,
            meaning="It is in no system call that restarts, and has no vDSO that is known.",
        ),
        Refusal(
            word="no_system_call",
            cause=PARENT,
            meaning=(
                "It calculates and makes no system call, and on this node (aarch64, or a kernel"
                " before 5.13) only a thread that makes one can be used."
            ),
        ),
        Refusal(
            word="traced",
            cause=MOMENT,
            meaning="A debugger or strace is attached to it.",
            advice="End the tracer.",
        ),
        Refusal(
            word="stopped",
            cause=MOMENT,
            meaning="A signal has stopped it.",
            advice="Resume it (`kill -CONT PID`).",
        ),
        Refusal(
            word="uninterruptible",
            cause=MOMENT,
            meaning="It is waiting for a device or a file server, and no signal reaches it.",
            advice="Check the storage.",
        ),
        Refusal(
            word="not_stopping",
            cause=MOMENT,
            meaning="It did not stop in time.",
        ),
        Refusal(
            word="busy",
            cause=MOMENT,
            meaning=(
                "It is running, perhaps in a restartable sequence, or has just begun another"
                " program."
            ),
        ),
        Refusal(
            word="disturbed",
            cause=MOMENT,
            meaning=(
                "Another thread changed its code while it was made to collect: no healthy"
                " program does that."
            ),
        ),
    )
}
