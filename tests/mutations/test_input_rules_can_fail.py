"""Break each rule on what may be given, in a copy of the engine, and see the test of that rule go
red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

INPUT = "tests/integration/test_bad_input.py::"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "a_configuration_that_is_not_there_sets_nothing": (
        "options.py",
        "if isinstance(error, FileNotFoundError) and not must_exist:",
        "if isinstance(error, FileNotFoundError):",
        INPUT + "test_a_configuration_that_is_not_there",
    ),
    "anything_is_a_configuration": (
        "options.py",
        "if not stat.S_ISREG(os.fstat(fd).st_mode):",
        "if False:",
        INPUT + "test_a_configuration_that_is_no_file[fifo]",
    ),
    "a_configuration_may_be_as_long_as_it_likes": (
        "options.py",
        "if len(text) > MAX_CONFIG_BYTES:",
        "if False:",
        INPUT + "test_no_configuration_ends_the_daemon",
    ),
    "brackets_end_the_daemon": (
        "options.py",
        "except RecursionError:",
        "except MemoryError:",
        INPUT + "test_no_configuration_ends_the_daemon",
    ),
    "what_cannot_be_shown_is_shown": (
        "options.py",
        "if _is_nested(value):",
        "if False:",
        INPUT + "test_no_configuration_ends_the_daemon",
    ),
    "a_removed_option_is_just_unknown": (
        "options.py",
        "if name in REMOVED:",
        "if False:",
        "tests/unit/test_options.py::test_removed_option_is_refused_with_its_successor",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
