"""Break each rule of the metrics once, in a copy of the engine, and see its test go red."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

TEXT, IDLE = (f"tests/unit/test_{name}.py::test_" for name in ("metrics", "idle_unit"))
LINKS = "tests/integration/test_metrics.py::test_"
HOSTILE = TEXT + "whatever_a_tenant_is_called_is_one_line_that_can_be_read"
FAILS = TEXT + "one_that_fails_is_told_and_the_other_figures_stay"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    # the text
    "quotes_end_a_name": ("metrics.py", """.replace('"', '\\\\"')""", "", HOSTILE),
    "backslashes_are_not_escaped": ("metrics.py", r""".replace("\\", "\\\\")""", "", HOSTILE),
    "names_are_told_as_they_are": (
        "metrics.py",
        "numbers: dict[str, int] = {}\n    for offender in offenders:\n        series ="
        " _series(as_workload(offender.workload))",
        (
            "numbers: dict[str, int] = {}\n    for offender in offenders:\n        series ="
            " _series(offender.workload._asdict())"
        ),
        HOSTILE,
    ),
    "any_number_of_series": (
        "metrics.py",
        "dict(workloads[:MAX_WORKLOADS])",
        "dict(workloads)",
        TEXT + "of_many_workloads_those_with_most_have_a_series",
    ),
    "those_with_fewest_have_a_series": (
        "metrics.py",
        "-each[1], each[0]",
        "each[1], each[0]",
        TEXT + "of_many_workloads_those_with_most_have_a_series",
    ),
    "a_series_stands_there_twice": (
        "metrics.py",
        "numbers.get(series, 0) + offender.zombie_count",
        "offender.zombie_count",
        TEXT + "workloads_are_named_as_far_as_they_are_known",
    ),
    # the counters
    "nothing_is_counted_on": (
        "metrics.py",
        "SWEEPS: before[SWEEPS] + 1",
        "SWEEPS: 1",
        TEXT + "each_sweep_adds_to_what_was_there",
    ),
    "a_torn_copy_is_believed": (
        "textfile.py",
        ' and text.endswith("\\n") else (',
        " else (",
        TEXT + "totals_that_are_broken_count_from_zero[torn]",
    ),
    "a_copy_of_another_boot_is_believed": (
        "textfile.py",
        "if boot_id == _boot_id(procfs) and",
        "if",
        TEXT + "totals_that_are_broken_count_from_zero[of another boot]",
    ),
    "a_copy_that_is_no_text_ends_a_sweep": (
        "textfile.py",
        "except (OSError, ValueError):",
        "except OSError:",
        TEXT + "totals_that_are_broken_count_from_zero[no text]",
    ),
    # how it is written
    "what_lies_there_is_written_to": (
        "files.py",
        "os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW",
        "os.O_CLOEXEC",
        TEXT + "a_link_that_is_put_there_at_the_last_moment_is_not_followed",
    ),
    "what_lies_there_is_read": (
        "textfile.py",
        '            boot_id, directory, text = file.read().split("\\n", 2)\n',
        '            boot_id, directory, text = file.read().split("\\n", 2)\n        with'
        " open(os.path.join(directory, NAME), encoding='utf-8') as file:\n            text ="
        " file.read()\n",
        TEXT + "what_its_owner_writes_there_is_not_taken_over",
    ),
    "a_link_leads_to_the_directory": (
        "textfile.py",
        "PART = os.O_PATH | os.O_NOFOLLOW |",
        "PART = os.O_PATH |",
        TEXT + "a_directory_that_a_link_leads_to_is_not_written_to",
    ),
    "a_link_of_others_is_followed": (
        "textfile.py",
        "if not stat.S_ISLNK(info.st_mode) or info.st_uid != 0:",
        "if not stat.S_ISLNK(info.st_mode):",
        LINKS + "a_link_that_others_can_change_is_not_followed[a link of somebody else]",
    ),
    "a_link_in_a_directory_of_others_is_followed": (
        "textfile.py",
        "root_alone = root_alone and info.st_uid == 0 and",
        "root_alone = root_alone and",
        LINKS + "a_link_that_others_can_change_is_not_followed[in a directory of somebody else]",
    ),
    "a_link_where_others_may_write_is_followed": (
        "textfile.py",
        " and not info.st_mode & 0o022\n",
        "\n",
        LINKS
        + "a_link_that_others_can_change_is_not_followed[in a directory that others write to]",
    ),
    "a_link_below_a_directory_of_others_is_followed": (
        "textfile.py",
        "root_alone = root_alone and info",
        "root_alone = info",
        LINKS + "a_link_that_others_can_change_is_not_followed[below a directory of somebody else]",
    ),
    "it_is_written_in_place": (
        "files.py",
        "        os.rename(new, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)\n",
        "        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=directory), 'w')"
        " as file:\n            file.write(text)\n",
        TEXT + "whoever_has_it_open_reads_the_old_one_to_its_end",
    ),
    "half_a_file_is_left": (
        "files.py",
        "        _remove(new, dir_fd)\n        raise",
        "        raise",
        TEXT + "one_that_cannot_be_written_is_a_warning_and_leaves_nothing",
    ),
    "nobody_else_may_read_it": (
        "files.py",
        "os.fchmod(fd, mode)",
        "pass",
        TEXT + "it_is_readable_for_all_and_the_only_thing_there",
    ),
    "a_directory_that_is_gone_ends_the_sweep": (
        "metrics.py",
        "    except OSError as error:\n        why",
        "    except KeyError as error:\n        why",
        TEXT + "a_directory_that_is_not_there_is_a_warning_and_is_not_made",
    ),
    # where it is written
    "off_leaves_it_behind": (
        "metrics.py",
        "if before is not None and before != directory:",
        "if False:",
        TEXT + "off_takes_it_back_and_another_directory_moves_it",
    ),
    "modules_begin_it": (
        "metrics.py",
        "        return before\n",
        "        return before or _directory(AUTO, None)\n",
        TEXT + "modules_go_on_with_what_the_agent_began_and_begin_nothing",
    ),
    # sweeps that fail, and quiet looks
    "a_failure_is_not_told": (
        "sweep.py",
        "            metrics.failed(paths)\n",
        "            pass\n",
        FAILS,
    ),
    "a_failure_is_a_success": ("metrics.py", "textfile.SUCCESS: 0}", "textfile.SUCCESS: 1}", FAILS),
    "a_failure_makes_it_forget": (
        "metrics.py",
        "textfile.with_values(text, values) if text else _written(values)",
        "_written(values)",
        FAILS,
    ),
    "a_failure_moves_it": (
        "metrics.py",
        "directory = before or _directory(paths.textfiles, None)\n            counts",
        "directory = _directory(paths.textfiles, before)\n            counts",
        TEXT + "one_that_fails_moves_nothing",
    ),
    "another_sweep_at_work_is_an_error": (
        "sweep.py",
        "    except Busy:\n        raise\n",
        "",
        TEXT + "one_that_finds_another_at_work_is_no_error",
    ),
    "an_idle_look_does_not_tell_when_it_was": (
        "idle.py",
        "if os.path.exists(os.path.join(run, METRICS_COPY)):",
        "if False:",
        IDLE + "nothing_is_new_and_metrics_say_when_that_was_seen",
    ),
    "an_idle_look_that_cannot_tell_is_enough": (
        "textfile.py",
        "    except (OSError, CannotSweep):\n        return False",
        "    except (OSError, CannotSweep):\n        return True",
        IDLE + "metrics_that_cannot_be_told_need_a_whole_sweep",
    ),
    "an_idle_look_hides_a_failure": (
        "textfile.py",
        'if directory is None or f"\\n{SUCCESS} 1\\n" not in text:',
        "if directory is None:",
        FAILS,
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
