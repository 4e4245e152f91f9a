"""Options that are not allowed are refused in words that say what is."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
    HELP,
    Options,
    validate,
)
from hypothesis import given
from hypothesis import strategies as st

NAN, INFINITY = float("nan"), float("inf")
BAD = [  # option, value, what the message says is allowed
    *[("scope", value, "containers, all") for value in ("", "host", "ALL", None, 1, ["all"], True)],
    *[
        ("remedies", value, "reap, nudge, terminate")
        for value in (
            "reboot",
            ["nudge", "reboot"],
            "nudge terminate",
            "none,nudge",
            "None",
            "off",
            "[reap, nudge]",
            "[],nudge",
            ["[]", "[]"],
            "[[]]",
            "{}",
            "null",
        )
    ],
    *[
        ("remedies", value, "a list of remedies")
        for value in (None, 5, {"nudge": 1}, [1], [None], [["nudge"]])
    ],
    *[
        ("min_age", value, "a whole number of seconds, from 0 to 1000000000")
        for value in (-1, "-1", 1.5, "1.5", "", "sixty", None, True, [60], NAN, "9" * 5000, 10**400)
    ],
    *[
        ("min_zombies", value, "a whole number of zombies, from 1 to 1000000000")
        for value in (0, "0", -1, "", None, False)
    ],
    *[
        ("max_parents", value, "a whole number of parents, from 0 to 1000000000")
        for value in (-1, "", None, "all", 10**10)
    ],
    *[
        ("tolerate", value, "a whole number of zombies, from 0 to 1000000000")
        for value in (-1, "", None, "some", 1.5, True)
    ],
    *[
        ("pressure", value, "a share from 0 to 1")
        for value in (-0.1, 1.1, 50, "50%", "", None, True, NAN, "nan", [0.5])
    ],
    *[
        ("grace", value, "seconds, from 0 to 300")
        for value in (-1, 301, INFINITY, "inf", "", None, True, "2s", 10**400)
    ],
    *[("protect", value, "a list of regular expressions") for value in (None, 5, [5], {"a": 1})],
    *[
        ("protect_namespaces", value, "not a name that Kubernetes allows")
        for value in ("kube_system", ["ok", "Kube"], "-a", ["a/b"])
    ],
    *[
        ("cooldown", value, "a whole number of seconds, from 0 to 604800")
        for value in (-1, "1h", 604801, None)
    ],
    ("protect", "a,b", "a comma may separate regular expressions or be part of one; give a list"),
    ("protect", "a{1,3}", "each on a line of its own"),
    (
        "protect",
        "a{1,2}",
        "a comma may separate regular expressions or be part of one; give a list",
    ),
    *[
        ("protect", value, "not a regular expression")
        for value in ("(", ["ok", "["], "*", "a{99999999999999999999}", "(" * 5000)
    ],
]


@pytest.mark.parametrize("name, value, allowed", BAD, ids=lambda value: repr(value)[:30])
def test_bad_value_is_refused_with_its_name_its_value_and_what_is_allowed(name, value, allowed):
    with pytest.raises(OptionError) as caught:
        validate({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: {value!r} is not allowed: ")
    assert allowed in message


def test_everything_wrong_is_said_at_once():
    with pytest.raises(OptionError) as caught:
        validate({"scope": "host", "min_age": -1, "grace": "x", "min_agee": 5, "protect": "("})
    message = str(caught.value)
    for name in (
        "scope: 'host'",
        "min_age: -1",
        "grace: 'x'",
        "min_agee: there is no such option",
        "protect: '('",
    ):
        assert name in message


def test_unknown_option_is_refused_with_the_names_there_are():
    with pytest.raises(
        OptionError,
        match=(
            "max_age: there is no such option; allowed are scope, remedies, .*max_parents, cooldown"
        ),
    ):
        validate({"max_age": 5})


@pytest.mark.parametrize("name, successor", [("min_usage", "pressure"), ("act_within", "pressure")])
@pytest.mark.parametrize("value", [0, 0.0, 0.5, "0.5", None, ""])
def test_removed_option_is_refused_with_its_successor(name, successor, value):
    """Whatever its value: the default of old too, since it meant to act always."""
    with pytest.raises(OptionError, match=f"^{name}: this option was removed; use {successor}$"):
        validate({name: value})


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, {}),
        ({"min_age": "5"}, {"min_age": 5}),  # surveys of AWX and extra variables send text
        ({"min_age": " 5 "}, {"min_age": 5}),
        ({"min_zombies": "3", "max_parents": "0"}, {"min_zombies": 3, "max_parents": 0}),
        ({"pressure": "0.25", "grace": "3"}, {"pressure": 0.25, "grace": 3.0}),
        (
            {"pressure": 1, "grace": 0, "tolerate": "0"},
            {"pressure": 1.0, "grace": 0.0, "tolerate": 0},
        ),
        ({"remedies": "nudge, reap"}, {"remedies": ("nudge", "reap")}),
        ({"remedies": "terminate"}, {"remedies": ("terminate",)}),
        ({"remedies": ""}, {"remedies": ()}),  # an empty answer
        ({"remedies": []}, {"remedies": ()}),
        ({"remedies": "none"}, {"remedies": ()}),  # AWX drops an answer that is empty
        ({"remedies": ["none"]}, {"remedies": ()}),
        ({"remedies": "[]"}, {"remedies": ()}),  # -e zombie_reaper_remedies=[]
        ({"remedies": " [ ]\n"}, {"remedies": ()}),
        ({"remedies": ["[]"]}, {"remedies": ()}),  # the same, when Ansible has made it a list
        ({"protect": "[]", "protect_namespaces": "[]"}, {"protect": (), "protect_namespaces": ()}),
        # several answers of a survey
        ({"remedies": "nudge\nreap\n"}, {"remedies": ("nudge", "reap")}),
        ({"remedies": ["nudge\r\nreap"]}, {"remedies": ("nudge", "reap")}),
        (
            {"protect_namespaces": "kube-system\nours, theirs"},
            {"protect_namespaces": ("kube-system", "ours", "theirs")},
        ),
        ({"protect": "^a{1,3}$\n\n  b"}, {"protect": ("^a{1,3}$", "b")}),
        ({"protect": "a{1,3}\n"}, {"protect": ("a{1,3}",)}),
        ({"protect": ""}, {"protect": ()}),
        ({"protect": [""]}, {"protect": ()}),
        ({"protect": ["^/usr/bin/x$", "y"]}, {"protect": ("^/usr/bin/x$", "y")}),
    ],
)
def test_value_as_it_may_be_given(given, expected):
    assert validate(given) == Options()._replace(**expected)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=5) | st.integers())
)


@given(st.dictionaries(st.sampled_from(sorted(HELP)) | st.text(max_size=10), VALUES))
def test_any_configuration_is_refused_or_gives_options_that_are_accepted_again(given_options):
    try:
        options = validate(given_options)
    except OptionError as error:
        assert str(error)
        return
    assert validate(options._asdict()) == options
