"""What an installation says of the options and the schedule that it changes on a node."""

from __future__ import annotations

import json

import pytest
from ansible_collections.provider.fleet.plugins.module_utils import option_changes
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import validate

HARSHER = "Harsher than before: "


@pytest.fixture
def changes(tmp_path):
    """changes(before, after): the sentences; before: what is in the file."""

    def changes(before, after):
        config = tmp_path / "config.json"
        if before is not None:
            text = before if isinstance(before, str) else json.dumps(before)
            config.write_text(text, encoding="utf-8")
        of_agent = {"textfile_directory": "auto", "kubernetes_events": "off"}
        wanted = {**validate(after)._asdict(), **of_agent}
        return option_changes.sentences(str(config), wanted)

    return changes


@pytest.mark.parametrize(
    "before, after, expected",
    [
        (
            {"remedies": ["reap", "nudge"]},
            {},
            "remedies was reap, nudge, and will be reap, nudge, terminate",
        ),
        ({"remedies": []}, {"remedies": ["reap"]}, "remedies was none, and will be reap"),
        # a parent is ended where it was only nudged
        ({}, {"remedies": ["terminate"]}, "remedies was reap, nudge, terminate, and will be"),
        ({"pressure": 0.9}, {}, "pressure was 0.9, and will be 0.5"),
        ({"min_age": 300}, {"min_age": "60"}, "min_age was 300, and will be 60"),
        ({}, {"scope": "all"}, "scope was containers, and will be all"),
        ({"protect": ["a", "b"]}, {"protect": ["b", "c"]}, "protect will be without a and with c"),
        ({}, {"protect_namespaces": ["kube-*"]}, "protect_namespaces will be without akash-serv"),
        ({"max_parents": 1}, {}, "max_parents was 1, and will be 10"),
        ({}, {"max_parents": 0}, "max_parents was 10, and will be 0"),
        ({}, {"tolerate": 0}, "tolerate was 1000, and will be 0"),
        ({}, {"grace": 1}, "grace was 10, and will be 1"),
        ({"cooldown": 7200}, {}, "cooldown was 7200, and will be 3600"),
        ({"min_zombies": 2}, {}, "min_zombies was 2, and will be 1"),
        ({"remedies": ["pray"]}, {}, "remedies was pray, which is not allowed, so no scheduled"),
        ("{", {}, "no scheduled sweep could run on this node, because"),
    ],
)
def test_what_is_harsher_says_so(changes, before, after, expected):
    [told] = changes(before, after)
    assert told.startswith(HARSHER + expected)


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ({}, {"remedies": ["reap"]}, "remedies was reap, nudge, terminate, and will be reap"),
        ({}, {"pressure": 1}, "pressure was 0.5, and will be 1"),
        ({"scope": "all"}, {}, "scope was all, and will be containers"),
        ({}, {"protect": ["x"]}, "protect will be with x"),
        ({"protect": ["a", "b"]}, {"protect": ["b", "a"]}, "protect will be in another order"),
        ({"max_parents": 0}, {}, "max_parents was 0, and will be 10"),
        (
            {"textfile_directory": "/data"},
            {},
            "textfile_directory was /data, and will be auto",
        ),
        ({"min_usage": 0.5}, {}, "min_usage was 0.5; this version has no such option"),
        ({"x\n": "\x1b[31m"}, {}, r"x\x0a was \x1b[31m; this version has no such option"),
    ],
)
def test_what_is_not_harsher_does_not(changes, before, after, expected):
    assert changes(before, after) == [expected]


@pytest.mark.parametrize(
    "before", [None, {}, {"min_age": "60", "remedies": "reap,nudge,terminate"}]
)
def test_the_same_options_are_no_change(changes, before):
    """However they are written; those that are not given have their defaults."""
    assert changes(before, {}) == []


def test_what_is_harsher_comes_first(changes):
    told = changes({"min_age": 10, "remedies": []}, {})
    assert [text.startswith(HARSHER) for text in told] == [True, False]


def test_values_are_bounded(changes):
    """The file is the node's."""
    told = changes(dict.fromkeys(map(str, range(100)), "x" * 1_000), {})
    assert len(told) == option_changes.MAX_UNKNOWN and max(map(len, told)) < 400


CRON = "/etc/cron.d/kill_zombie_parents"
TIMER = "/etc/systemd/system/zombie-reaper.timer"
SERVICE = "/etc/systemd/system/zombie-reaper.service"


@pytest.mark.parametrize(
    "texts, words",
    [
        ({}, "none"),
        ({CRON: "SHELL=/bin/sh\n3-59/5 * * * * root trap 'x' EXIT\n"}, "cron every 5 minutes"),
        ({CRON: "*/10 * * * * root kill_zombie_parents.sh\n"}, "cron every 10 minutes"),
        ({CRON: "@hourly root kill_zombie_parents.sh\n"}, "cron"),
        (
            {SERVICE: "Type=oneshot\n", TIMER: "[Timer]\nOnCalendar=*:0/15\n"},
            "timer every 15 minutes",
        ),
        ({SERVICE: "ExecStart=x --daemon --interval 10 --syslog\n"}, "daemon every 10 seconds"),
        ({CRON: "", SERVICE: "--interval 2"}, "cron and daemon every 2 seconds"),
    ],
)
def test_a_schedule_in_words(texts, words):
    assert option_changes.schedule_in_words(texts) == words
