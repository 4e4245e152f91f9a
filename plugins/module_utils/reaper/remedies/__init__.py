# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to an offender, gentlest first. Each remedy takes offenders and returns outcomes."""

from __future__ import annotations

from collections import namedtuple

# Whose matter a refusal is (the words of :mod:`.reap`). Of the node: see :mod:`..tracing`;
# not_permitted may be a single parent's too, where a security module or a user namespace is in the
# way. Of the moment: nothing harder follows. Of the parent: it will be the same next time.
OF_THE_NODE = ("architecture", "kernel", "yama", "not_permitted")
PASSING = ("traced", "stopped", "uninterruptible", "not_stopping", "busy", "disturbed")
OF_THE_PARENT = (
    "32_bit",
    "seccomp_strict",
    "seccomp_filter",
    "syscall_user_dispatch",
    "no_instruction",
)


class Outcome(
    namedtuple(
        "Outcome",
        (
            "pid",
            "start_ticks",
            "remedy",
            "result",
            "cleared",
            "detail",
            "seconds",
            "refusal",
            "max_stop_ms",
        ),
        defaults=(None, None),
    )
):
    """What one remedy did to one offender.

    result: ``"cleared"`` (none of its zombies is left), ``"partly_cleared"``, ``"no_effect"``,
    ``"unfinished"`` (it was still at it when time was up: nothing harder may follow in this sweep),
    ``"parent_ended"`` (terminate: the parent is gone; where its zombies went is for the sweep to
    find out), ``"survived"`` (not even SIGKILL ended it in time), ``"gone"`` (it had ended, or
    collected its zombies, before anything was done), ``"refused"`` (reap cannot be applied to it:
    see refusal), ``"failed"`` (see detail).
    cleared: int, zombies that the remedy itself saw go; after ``parent_ended`` the sweep counts,
    when adopters had time to wait.
    detail: str, one sentence or empty. seconds: float.
    refusal: str, one of the words in :mod:`.reap`; None unless refused. max_stop_ms: float, the
    longest time for which reap stopped the parent, None where it did not.
    """

    __slots__ = ()

    @property
    def may_yet_help(self) -> bool:
        """Whether the same remedy may do more a little later: then nothing harder follows in this
        sweep.
        """
        return self.result == "unfinished" or self.refusal in PASSING
