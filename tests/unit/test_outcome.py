"""What one remedy says of one parent, and whether a harder one may follow in the same sweep."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.reasons import MOMENT, REFUSALS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import Outcome

FINAL = ("cleared", "partly_cleared", "no_effect", "parent_ended", "survived", "gone", "failed")


def outcome(result, refusal=None):
    return Outcome(50, 550, "reap", result, 0, "", 0.1, refusal)


def test_remedy_that_was_not_finished_may_yet_help():
    assert outcome("unfinished").may_yet_help


@pytest.mark.parametrize(
    "refusal", [word for word, refusal in REFUSALS.items() if refusal.cause == MOMENT]
)
def test_remedy_that_was_refused_for_the_moment_may_yet_help(refusal):
    assert outcome("refused", refusal).may_yet_help


@pytest.mark.parametrize(
    "refusal", [word for word, refusal in REFUSALS.items() if refusal.cause != MOMENT]
)
def test_remedy_that_was_refused_for_good_may_not(refusal):
    assert not outcome("refused", refusal).may_yet_help


@pytest.mark.parametrize("result", FINAL)
def test_remedy_that_is_done_may_not(result):
    assert not outcome(result).may_yet_help


def test_remedies_that_stop_nobody_and_refuse_nothing_need_not_say_so():
    assert (outcome("cleared").refusal, outcome("cleared").max_stop_ms) == (None, None)
