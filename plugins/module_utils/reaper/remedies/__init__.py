# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done about an offender, gentlest first. Each remedy takes offenders and returns
outcomes.
"""

from __future__ import annotations

from ..record import Record


class Outcome(Record):
    """What one remedy did to one offender."""

    pid: int
    start_ticks: int
    remedy: str
    # "cleared": none of its zombies is left. "partly_cleared". "no_effect".
    # "unfinished": the remedy ran out of time; nothing harder may follow in this sweep.
    # "parent_ended" (terminate only): the sweep finds out where its zombies went.
    # "survived": not even SIGKILL ended it in time.
    # "gone": it had ended, or had collected its zombies, before anything was done.
    # "refused" (reap only): it cannot be applied to this parent; `refusal` says why.
    # "failed": `detail` says why.
    result: str
    # zombies that the remedy itself saw go; after "parent_ended" the sweep counts them, once
    # adopters have had time to wait
    cleared: int
    detail: str  # one sentence, or empty
    seconds: float
    refusal: str | None = None  # a word of :mod:`..reasons`; None unless refused
    max_stop_ms: float | None = None  # longest time that reap stopped the parent, if it did

    @property
    def may_yet_help(self) -> bool:
        """Whether the same remedy may do more a little later. Then nothing harder follows in this
        sweep.
        """
        if self.refusal is None:
            return self.result == "unfinished"
        from ..reasons import MOMENT, REFUSALS  # which a node without a refusal does without

        return REFUSALS[self.refusal].cause == MOMENT
