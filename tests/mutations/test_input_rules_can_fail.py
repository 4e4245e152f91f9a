"""Break each rule on what may be given, and on what is read of others' scripts, in a copy of the
engine, and see the test of that rule go red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

INPUT = "tests/integration/test_bad_input.py::"
FOREIGN = "tests/unit/test_foreign_scripts.py::test_"

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
        "files.py",
        "if not stat.S_ISREG(info.st_mode):",
        "if False:",
        INPUT + "test_a_configuration_that_is_no_file[fifo]",
    ),
    "a_configuration_may_be_as_long_as_it_likes": (
        "files.py",
        "if len(found) > most:",
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
    "a_full_node_has_to_wait_for_the_others": (
        "sweep.py",
        "is not None for each in verdicts) and not is_urgent",
        "is not None for each in verdicts)",
        "tests/integration/test_modules.py::test_the_engine_does_nothing_but_note_where_it_defers",
    ),
    "a_sweep_that_defers_acts": (
        "sweep.py",
        "if check_mode or deferred:",
        "if check_mode:",
        "tests/integration/test_modules.py::test_the_engine_does_nothing_but_note_where_it_defers",
    ),
    "a_compiled_program_is_a_foreign_script": (
        "node/foreign_scripts.py",
        'if b"\\0" in text:',
        "if False:",
        FOREIGN + "a_compiled_program_is_none",
    ),
    "a_foreign_script_s_path_leads_around_a_mount": (
        "node/foreign_scripts.py",
        'return os.path.normpath("/" + os.fsdecode(path).lstrip("/"))',
        "return os.fsdecode(path)",
        FOREIGN + "what_may_not_answer_or_is_not_root_s_is_not_read",
    ),
    "directories_of_a_file_server_are_listed": (
        "node/foreign_scripts.py",
        "if not is_local(os.fsencode(root + directory), mounts) or any(map(os.path.islink, way)):",
        "if any(map(os.path.islink, way)):",
        FOREIGN + "a_directory_that_may_not_answer_is_not_listed",
    ),
    "links_to_directories_are_followed": (
        "node/foreign_scripts.py",
        " or any(map(os.path.islink, way)):",
        ":",
        FOREIGN + "no_link_to_a_directory_is_followed",
    ),
    "a_fifo_and_a_device_are_opened": (
        "node/runtime_names.py",
        "if not stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):",
        "if False:",
        FOREIGN + "nothing_but_regular_files_is_opened",
    ),
}

LOST = "tests/integration/test_connection_lost.py::"
MUTATIONS.update(
    {
        "a_sweep_that_nobody_waits_for_goes_on": (
            "sweep.py",
            "if not acting or self.must_end():",
            "if not acting or self.stop_requested:",
            LOST + "test_a_reader_that_goes_before_the_first_remedy",
        ),
        "it_waits_on_for_zombies_to_grow_old": (
            "sweep.py",
            "and time.monotonic() < deadline and not self.must_end():",
            "and time.monotonic() < deadline and not self.stop_requested:",
            LOST + "test_nobody_reads_any_more_so_nothing_is_done[pipe]",
        ),
        "a_socket_that_hangs_up_is_fine": (
            "sweep.py",
            "events & (select.POLLERR | select.POLLHUP)",
            "events & select.POLLERR",
            LOST + "test_nobody_reads_any_more_so_nothing_is_done[socket]",
        ),
        "any_kind_of_output_ends_it": (
            "sweep.py",
            "if kind not in (stat.S_IFIFO, stat.S_IFSOCK):",
            "if False:",
            LOST + "test_every_other_output_lets_it_go_on[terminal_that_hung_up]",
        ),
        "text_of_an_empty_list_is_none": (
            "options.py",
            "in (EMPTY_LIST, word_for_empty)",
            "in (word_for_empty,)",
            "tests/unit/test_options.py::test_value_as_it_may_be_given",
        ),
    }
)

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
