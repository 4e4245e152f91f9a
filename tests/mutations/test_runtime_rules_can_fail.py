"""Break each rule on the configuration of container runtimes in a copy, and see the test of that rule
go red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

CONFIGURATION = "tests/integration/test_runtime_configuration.py::test_"
EDITS = "tests/unit/test_runtimes_edits.py::test_"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "what_would_get_lost_is_not_looked_at": (
        "../runtimes/containerd.py",
        "if _comparable(after) == _comparable(expected):",
        "if True:",
        CONFIGURATION + "a_file_that_is_imported_is_not_overridden",
    ),
    "containerd_1_gets_a_file_too": (
        "../runtimes/containerd.py",
        'merges = before.get("version", 0) >= 3',
        "merges = True",
        CONFIGURATION + "a_file_of_our_own_where_that_replaces_nothing",
    ),
    "somebody_else_s_handler_is_taken_over": (
        "../runtimes/handlers.py",
        "if name in binaries:",
        "if False:",
        CONFIGURATION + "what_cannot_be_added_to_safely_is_refused[another_handler]",
    ),
    "any_template_will_do": (
        "../runtimes/containerd.py",
        "if text is not None and not BASE.search(text):",
        "if False:",
        CONFIGURATION + "a_template_that_cannot_be_added_to_is_refused[its_own]",
    ),
    "tables_without_marks_stay": (
        "../runtimes/containerd.py",
        'if self.directory + "/" in text:',
        "if False:",
        CONFIGURATION + "tables_that_another_program_has_moved_are_refused",
    ),
    "half_a_block_is_a_block": (
        "../runtimes/edits.py",
        "if inside:\n        raise",
        "if False:\n        raise",
        EDITS + "half_a_block_is_refused[end]",
    ),
    "what_a_block_replaced_is_gone": (
        "../runtimes/edits.py",
        "replaced = [WAS + line for line in lines[where.first : where.end]]",
        "replaced = []",
        EDITS + "any_text_comes_back_byte_for_byte",
    ),
    "a_file_gets_another_owner": (
        "../runtimes/edits.py",
        "os.fchown(handle, info.st_uid, info.st_gid)",
        "pass",
        EDITS + "owner_mode_and_link_stay",
    ),
    "a_key_may_have_two_values": (
        "../runtimes/docker.py",
        "if keys.count(key) > 1:",
        "if False:",
        "tests/unit/test_runtimes_docker.py::test_a_key_with_two_values_is_refused",
    ),
    "a_flag_and_an_option_agree": (
        "../runtimes/docker.py",
        "if given:",
        "if False:",
        "tests/unit/test_runtimes_docker.py"
        "::test_options_that_docker_would_not_start_with_are_not_written",
    ),
    "a_default_may_be_gone": (
        "../runtimes/handlers.py",
        "if default in installed(directory) and default not in others:",
        "if False:",
        CONFIGURATION + "a_default_of_somebody_else_s_that_would_be_gone_is_refused",
    ),
    "containers_may_lose_the_wrapper": (
        "../runtimes/in_use.py",
        'if _read(bundle + "/runtime", 4096).startswith(inside):',
        "if False:",
        "tests/unit/test_runtimes_in_use.py::test_a_bundle_that_a_wrapper_started",
    ),
}
CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
