"""Which cures would help a container, and how that is said: an init against orphans, a fix in the
program against its own children, both where it is not known which they are.
"""

from __future__ import annotations

import re

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import cures, inits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.cures import Kept
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.inits import Evidence
from ansible_collections.provider.fleet.plugins.plugin_utils import tenant_notes

INIT, FIX, EITHER, NONE = (True, False), (False, True), (True, True), (False, False)
CASES = {
    "nothing": (Kept(), NONE),
    "PID 1 collects, and there are no zombies": (Kept(init_collects=True), NONE),
    "orphans of PID 1": (Kept(left_to_init=3), INIT),
    "orphans of PID 1, which collected a canary once": (
        Kept(left_to_init=3, init_collects=True),
        INIT,
    ),
    "PID 1 collects no orphans, and there are none yet": (Kept(init_collects=False), INIT),
    "zombies of PID 1 that may be either": (Kept(of_init=3), EITHER),
    "the same, and it collects no orphans": (Kept(of_init=3, init_collects=False), EITHER),
    "the same, and it collects orphans": (Kept(of_init=3, init_collects=True), FIX),
    "zombies of another program": (Kept(of_others=3), FIX),
    "zombies of another program behind an init": (Kept(of_others=3, init_collects=True), FIX),
    "zombies of another program, and PID 1 collects no orphans": (
        Kept(of_others=3, init_collects=False),
        EITHER,
    ),
    "orphans of a subreaper": (Kept(left_to_others=3), FIX),
    "what a sweep collected may have been either": (Kept(swept=True), EITHER),
    "what a sweep collected from one that collects no orphans": (
        Kept(swept=True, init_collects=False),
        INIT,
    ),
    "what a sweep collected from one that collects orphans": (
        Kept(swept=True, init_collects=True),
        FIX,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", cures.WAYS)
def test_an_init_is_for_orphans_and_a_fix_for_its_own_children(case, place):
    kept, (init, fix) = CASES[case]
    assert (kept.needs_init, kept.needs_fix) == (init, fix)
    found = cures.cures(kept, place)
    assert found == cures.WAYS[place] * init + (cures.FIX,) * fix
    assert set(found) <= set(cures.CURES)
    assert ("an init" in cures.label(found), "a fix" in cures.label(found)) == (init, fix)
    words = cures.in_words(kept, place)
    assert bool(words) == bool(found)
    assert (cures.WAYS_IN_WORDS[place] in words) == init, words
    assert ("wait" in words) == fix, words


@pytest.mark.parametrize("case", CASES)
def test_its_sentences_are_whole_and_have_the_numbers(case):
    kept, _needed = CASES[case]
    for number in (1, 2):
        some = kept._replace(
            **{
                name: number
                for name, value in kept._asdict().items()
                if isinstance(value, int) and not isinstance(value, bool) and value
            }
        )
        words = cures.in_words(some, cures.POD)
        assert words == words.strip() and (not words or words.endswith("."))
        assert not re.search(r"\b1 (were|count)\b|\b2 (was|counts)\b", words), words


def test_an_init_is_named_in_the_way_of_the_place():
    assert cures.place_of(True, "containerd") == cures.place_of(True, None) == cures.POD
    assert cures.place_of(False, "docker") == cures.place_of(False, "podman") == cures.ENGINE
    assert cures.place_of(False, "lxc") == cures.place_of(False, None) == cures.ELSEWHERE
    pod, engine = cures.WAYS_IN_WORDS[cures.POD], cures.WAYS_IN_WORDS[cures.ENGINE]
    for way in ("runtimeClassName: init", "shareProcessNamespace: true"):
        assert way in pod and way not in engine
    assert "--init" in engine and "--init" not in pod


def test_the_legend_explains_what_occurs_and_nothing_else():
    init, fix = Kept(left_to_init=1), Kept(of_others=1)
    assert cures.legend([]) == cures.legend([()]) == []
    for place in cures.WAYS:
        (line,) = cures.legend([cures.cures(init, place), ()])
        assert line.startswith("an init ") and line.endswith(cures.WAYS_IN_WORDS[place])
        assert len(cures.legend([cures.cures(Kept(of_init=1), place)])) == 2
    (line,) = cures.legend([cures.cures(fix, cures.POD)] * 2)
    assert line.startswith("a fix in the program: it has to wait (waitpid(2))")


def test_zombies_of_one_parent():
    assert cures.kept(2, 1, is_init=True) == Kept(left_to_init=2, of_init=1)
    assert cures.kept(2, 1, is_init=False, init_collects=False) == Kept(
        left_to_others=2, of_others=1
    ), "whether PID 1 collects orphans is no matter of this parent"


@pytest.mark.parametrize(
    "evidence, collects",
    [
        ({}, None),
        ({"zombies": "leaks"}, None),
        ({"sweeps": "leaks", "signals": "unknown"}, None),
        ({"zombies": "leaks", "canary": "reaps"}, True),
        ({"zombies": "leaks", "canary": "leaks"}, False),
        ({"canary": "leaks", "name": "reaps"}, False),
        ({"name": "leaks"}, False),
        ({"waiting": "reaps", "name": "leaks"}, True),
    ],
)
def test_zombies_do_not_show_whether_orphans_are_collected(evidence, collects):
    given = [Evidence(by, verdict, "") for by, verdict in evidence.items()]
    assert inits.collects_orphans(given) is collects


def test_a_note_to_a_tenant_names_the_same_ways():
    for way in ('ENTRYPOINT ["/usr/bin/tini", "--"]', "shareProcessNamespace: true"):
        assert way in cures.WAYS_IN_WORDS[cures.POD] and way in tenant_notes.ORPHANS
    assert "`runtimeClassName: init`" in tenant_notes.ORPHANS
