"""Break each rule of the ledger, of the daemon and of the lock once, in a copy of the
engine, and see its test go red.

Only tests without a race are named: of the source, or of files, clocks and signals made by hand.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

LEDGER, FIND, DAEMON, LOCK, POLICY, STACKS, IDLE = (
    f"tests/unit/test_{name}.py::test_"
    for name in (
        "ledger",
        "find_zombies",
        "daemon_unit",
        "locked",
        "policy",
        "stacks",
        "idle_unit",
    )
)
LIBC = "tests/architecture/test_ptrace_is_kept_small.py::test_the_daemon_locks_its_memory_and_calls_nothing_else_of_libc"
HOUSE = "tests/architecture/test_architecture.py::test_"
BOUNDS = LEDGER + "what_begins_and_ends_meanwhile_never_hides_a_zombie"
REMOVED = LEDGER + "a_cgroup_that_is_removed_while_its_list_is_open_leaves_the_others_as_they_are"
OF_A_PART = LEDGER + "of_a_part_its_own_tasks_count_and_not_those_of_the_machine"
IN_ORDER = LEDGER + "the_tasks_of_a_part_are_counted_after_the_last_pid_and_before_they_are_listed"
PID_FIRST = """        last_pid = self.tasks()[1]
        if self.part is None:
            return self.tasks()[0], last_pid
"""
AT_ONCE = """        tasks, last_pid = self.tasks()
        if self.part is None:
            return tasks, last_pid
"""
COUNTED_FIRST = """        counted = _number(self.part, "pids.current") if self.part else None
        last_pid = self.tasks()[1]
        if self.part:
            return counted, last_pid
        if self.part is None:
            return self.tasks()[0], last_pid
"""
HIDDEN = STACKS + "tasks_that_come_and_go_never_hide_a_zombie[60]"
OFF = STACKS + "where_it_cannot_hold_it_is_off_with_a_reason[%s]"
BY_STACKS = IDLE + "the_ledger_is_read_unless_the_stacks_show_none[%s]"
ACCOUNTED = FIND + "whatever_is_not_accounted_for_is_looked_for_in_the_whole_table"
MILLION = FIND + "of_a_million_each_parent_keeps_some_and_all_are_counted[scan-50]"
MANY = FIND + "of_a_parent_with_very_many_the_rest_is_counted_and_not_looked_at"
ENDS = DAEMON + "each_interval_it_looks_until_it_is_asked_to_end"
BEGUN_AGAIN = DAEMON + "a_sweep_that_fails_is_begun_again_with_the_spare_memory"
STATUS = DAEMON + "status_is_that_of_the_process_that_holds_the_lock"
FREE = LOCK + "it_is_free_again_whatever_happens_to_whoever_held_it"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    # the ledger
    "tasks_that_began_meanwhile_hide_zombies": (
        "kernel/cgroups.py",
        "tasks + new - listed",
        "tasks - listed",
        BOUNDS,
    ),
    "what_had_its_pid_before_hides_zombies": (
        "kernel/cgroups.py",
        "new = max(new, tasks_now - tasks)",
        "pass",
        BOUNDS,
    ),
    "tasks_are_counted_before_the_last_pid": (
        "kernel/cgroups.py",
        PID_FIRST,
        AT_ONCE,
        LEDGER + "the_last_pid_is_read_before_the_tasks_are_counted",
    ),
    "pids_that_began_again_count": ("kernel/cgroups.py", "if new >= 0:", "if True:", BOUNDS),
    "one_look_is_enough": ("kernel/cgroups.py", "MAX_LOOKS = 3 ", "MAX_LOOKS = 1 ", BOUNDS),
    "what_is_listed_is_read_first": (
        "kernel/cgroups.py",
        "tasks, last_pid = self._to_be_listed()\n                listed = self._listed()",
        "listed = self._listed()\n                tasks, last_pid = self._to_be_listed()",
        LEDGER + "a_task_that_ends_between_the_two_numbers_makes_it_too_high_and_not_too_low",
    ),
    "only_the_top_of_a_long_list_is_read": (
        "kernel/cgroups.py",
        "if len(data) < FULL_READ_BYTES:",
        "if True:",
        LEDGER + "a_list_of_any_length_is_read_to_its_end",
    ),
    "a_cgroup_that_was_removed_ends_the_count": (
        "kernel/cgroups.py",
        "except OSError:  # ENODEV: one of them was removed",
        "except FileNotFoundError:",
        REMOVED,
    ),
    "a_cgroup_that_was_removed_stays_open": (
        "kernel/cgroups.py",
        "if error.errno in REMOVED and not at:",
        "if False:",
        REMOVED,
    ),
    "a_list_that_may_not_be_opened_is_empty": (
        "kernel/cgroups.py",
        "if error.errno not in REMOVED:",
        "if False:",
        LEDGER + "a_list_that_cannot_be_opened_is_not_taken_for_an_empty_one",
    ),
    "new_cgroups_are_not_seen": (
        "kernel/cgroups.py",
        "if now is None or now != self.cgroup_stat:",
        "if now is None or self.cgroup_stat is None:",
        LEDGER + "a_cgroup_that_is_new_is_seen",
    ),
    "lists_of_version_1_stay_open": (
        "kernel/cgroups.py",
        'self.keep = keep and self.list_name == "cgroup.threads"',
        "self.keep = keep",
        LEDGER + "of_two_hierarchies_that_of_version_2_is_read_since_its_lists_can_stay_open",
    ),
    "all_descriptors_are_taken": (
        "kernel/cgroups.py",
        "if len(self.descriptors) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:",
        "if False:",
        LEDGER + "where_cgroups_are_too_many_to_stay_open_each_is_opened_when_it_is_read",
    ),
    "cgroups_that_do_not_count_are_relied_on": (
        "kernel/cgroups.py",
        "if directory == self.counted and len(uncounted) > 1 and not counted:",
        "if False:",
        LEDGER + "holding_is_none_where_the_controller_is_not_turned_on_below",
    ),
    "those_below_are_counted_twice": (
        "kernel/cgroups.py",
        "tasks - sum(number for _child, number in counted) - ",
        "tasks - ",
        LEDGER + "holding_tells_the_cgroups_from_the_fullest_down",
    ),
    "a_cgroup_that_is_being_paused_counts_as_running": (
        "kernel/cgroups.py",
        'if any(_any(root, line, level, "cgroup.freeze", "1") for level in _levels(line.path)):',
        "if False:",
        "tests/unit/test_cgroups.py::test_one_that_is_being_paused_is_frozen_already",
    ),
    "what_does_not_count_its_tasks_is_left_out": (
        "kernel/cgroups.py",
        "                            todo.append(child)\n",
        "                            pass\n",
        LEDGER + "a_cgroup_that_does_not_count_its_tasks_counts_with_the_one_above_that_does",
    ),
    "a_part_is_counted_as_the_whole_machine": (
        "kernel/cgroups.py",
        "        if self.part is None:\n",
        "        if True:\n",
        OF_A_PART + "[once-v1]",
    ),
    "a_part_is_held_against_lists_of_the_whole_machine": (
        "kernel/cgroups.py",
        "(self.counted, self.list_of_counted) if is_part else _hierarchy(root)",
        "_hierarchy(root)",
        OF_A_PART + "[once-v1]",
    ),
    "whatever_counts_tasks_is_a_part": (
        "kernel/cgroups.py",
        'self.counted is not None and _number(self.counted, "pids.current") is not None',
        "self.counted is not None",
        LEDGER + "a_cgroup_below_that_counts_makes_no_part_of_the_machine[once-v1]",
    ),
    "a_part_that_begins_with_the_machine_holds_more": (
        "kernel/cgroups.py",
        "[(self.counted, self._to_be_listed()[0])]",
        "[(self.counted, self.tasks()[0])]",
        LEDGER + "holding_of_a_part_begins_with_what_it_counts_itself",
    ),
    "a_part_is_counted_before_the_last_pid": (
        "kernel/cgroups.py",
        PID_FIRST,
        COUNTED_FIRST,
        IN_ORDER + "[begins]",
    ),
    "a_part_is_listed_before_it_is_counted": (
        "kernel/cgroups.py",
        "tasks, last_pid = self._to_be_listed()\n                listed = self._listed()",
        "listed = self._listed()\n                tasks, last_pid = self._to_be_listed()",
        IN_ORDER + "[ends]",
    ),
    # the ways to find them
    "what_the_ledger_cannot_tell_is_nothing": (
        "node/zombies.py",
        "if count is not None and count <= 0:",
        "if not count:",
        ACCOUNTED,
    ),
    "children_are_all_there_is": (
        "node/zombies.py",
        "if unseen <= 0 else None",
        "if True else None",
        ACCOUNTED,
    ),
    "lists_of_children_have_to_be_there": (
        "node/zombies.py",
        "except OSError:",
        "except KeyError:",
        FIND + "without_lists_of_children_the_table_is_read",
    ),
    "each_of_a_million_is_looked_at": (
        "node/zombies.py",
        "pid, MAX_LISTED, listed.add, in_vain",
        "pid, 1 << 40, listed.add, in_vain",
        MANY,
    ),
    "those_not_looked_at_do_not_count": (
        "node/zombies.py",
        "if longest is not None and number > here:",
        "if False:",
        MANY,
    ),
    "each_of_a_million_is_kept_in_memory": (
        "node/zombies.py",
        "while self.number > self.most and self.of_each > 1:",
        "while False:",
        MILLION,
    ),
    "those_that_are_dropped_do_not_count": (
        "node/zombies.py",
        "self.count(ppid, beyond)",
        "pass",
        MILLION,
    ),
    "the_daemon_lists_them_all": (
        "daemon.py",
        "Reused(self.memory, self.ledger, MAX_ZOMBIES)",
        "Reused(self.memory, self.ledger)",
        DAEMON + "a_sweep_of_it_lists_no_more_zombies_than_it_has_memory_for",
    ),
    "it_lists_them_all_before_it_locks_its_memory": (
        "daemon.py",
        "Reused(memory, most_zombies=MAX_ZOMBIES)",
        "Reused(memory)",
        DAEMON + "nor_does_the_one_by_which_it_gets_ready",
    ),
    # what the daemon listens to
    "a_bad_configuration_is_no_reason_not_to_begin": (
        "daemon.py",
        "    options, paths = load()\n",
        "    from .options import Options\n    options = Options()\n",
        DAEMON + "it_does_not_begin_with_a_bad_configuration",
    ),
    "a_bad_configuration_makes_it_forget": (
        "daemon.py",
        "        except OptionError as error:\n",
        "        except OptionError as error:\n            from .options import Options\n            self.options = Options()\n",
        DAEMON + "good_options_are_taken_and_bad_ones_are_not",
    ),
    "a_bad_configuration_is_not_told": (
        "daemon.py",
        "self.configuration_error = report.printable(str(error), 1000)",
        "pass",
        DAEMON + "good_options_are_taken_and_bad_ones_are_not",
    ),
    "sighup_is_not_heard": (
        "daemon.py",
        "if signal.SIGHUP in numbers:",
        "if False:",
        DAEMON + "sighup_has_the_options_read_again_before_the_next_look",
    ),
    "sigterm_is_not_heard": (
        "daemon.py",
        "if signal.SIGTERM in numbers or signal.SIGINT in numbers:",
        "if signal.SIGINT in numbers:",
        ENDS + "[TERM]",
    ),
    "sigint_is_not_heard": (
        "daemon.py",
        "if signal.SIGTERM in numbers or signal.SIGINT in numbers:",
        "if signal.SIGTERM in numbers:",
        ENDS + "[INT]",
    ),
    "sighup_ends_it": (
        "daemon.py",
        "numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)",
        "numbers = (signal.SIGTERM, signal.SIGINT)",
        DAEMON + "a_signal_is_noted_and_not_lost_before_it_waits",
    ),
    "two_watch_a_node": (
        "daemon.py",
        "until_done.enter_context(locked(paths.run, DAEMON_LOCK, wait=LOCK_TIMEOUT))",
        "pass",
        DAEMON + "there_is_only_one_of_a_node",
    ),
    # what may fail around it
    "a_log_that_fails_ends_it": (
        "daemon.py",
        "with contextlib.suppress(OSError):\n            self.write_line(line)",
        "self.write_line(line)",
        DAEMON + "a_log_that_fails_does_not_end_it",
    ),
    "a_run_directory_that_fails_ends_it": (
        "daemon.py",
        "contextlib.suppress(OSError, CannotSweep), locked(self.paths.run)",
        "locked(self.paths.run)",
        DAEMON + "a_run_directory_that_cannot_be_written_does_not_end_it",
    ),
    "systemd_that_fails_ends_it": (
        "daemon.py",
        "with contextlib.suppress(OSError):\n            # unless",
        "if True:\n            # unless",
        DAEMON + "systemd_that_has_gone_does_not_end_it",
    ),
    "without_memory_it_ends": (
        "daemon.py",
        "except (CannotSweep, OSError, MemoryError, ImportError):",
        "except (CannotSweep, OSError, ImportError):",
        BEGUN_AGAIN + "[memory]",
    ),
    "without_files_it_ends": (
        "daemon.py",
        "except (CannotSweep, OSError, MemoryError, ImportError):",
        "except (CannotSweep, MemoryError, ImportError):",
        BEGUN_AGAIN + "[a file]",
    ),
    "the_spare_memory_is_not_used": (
        "daemon.py",
        "            if self.spare is not None:\n                self.spare.close()\n",
        "            pass\n",
        BEGUN_AGAIN + "[memory]",
    ),
    "the_spare_memory_is_there_but_once": (
        "daemon.py",
        "        finally:\n            self.spare = _spare()\n",
        "        finally:\n            pass\n",
        BEGUN_AGAIN + "[memory]",
    ),
    "it_ends_when_two_sweeps_fail": (
        "daemon.py",
        "        except (MemoryError, ImportError):\n",
        "        except KeyError:\n",
        DAEMON + "a_sweep_that_fails_twice_is_said_and_ends_nothing[memory]",
    ),
    "a_node_that_is_busy_is_swept_all_the_same": (
        "daemon.py",
        "        except Busy as error:\n",
        "        except KeyError as error:\n",
        DAEMON + "a_node_that_somebody_else_sweeps_is_left_to_them",
    ),
    "its_memory_is_not_locked": (
        "daemon.py",
        "        libc.mlockall(MCL_CURRENT | MCL_FUTURE)",
        "        pass",
        LIBC,
    ),
    "it_calls_libc_for_more": (
        "daemon.py",
        "        self.reserve = _reserved(libc)\n",
        "        self.reserve = _reserved(libc)\n        libc.kill(1, 0)\n",
        LIBC,
    ),
    "modules_are_loaded_when_the_node_is_full": (
        "daemon.py",
        "import encodings.ascii ",
        "pass ",
        DAEMON + "what_a_sweep_may_need_is_loaded_before_there_is_one",
    ),
    "it_starts_processes": (
        "daemon.py",
        "        gc.freeze()\n",
        "        gc.freeze()\n        os.fork()\n",
        HOUSE + "nothing_is_started_and_no_bare_pid_is_signalled[daemon]",
    ),
    "it_starts_programs": (
        "daemon.py",
        "        gc.freeze()\n",
        '        gc.freeze()\n        os.execv("/bin/true", ["true"])\n',
        HOUSE + "nothing_is_started_and_no_bare_pid_is_signalled[daemon]",
    ),
    "it_starts_threads": (
        "daemon.py",
        "        import gc\n",
        "        import gc\n        import threading\n",
        HOUSE + "nothing_is_started_and_no_bare_pid_is_signalled[daemon]",
    ),
    # the count by the kernel's stacks
    "who_had_a_pid_before_hides_who_has_ended": (
        "kernel/stacks.py",
        "if last_pid_before != last_pid:",
        "if False:",
        HIDDEN,
    ),
    "who_ends_as_the_stacks_are_read_hides_a_zombie": (
        "kernel/stacks.py",
        """    time.sleep(pause)
    stack_kb = counters.stack_kb()
""",
        """    stack_kb = counters.stack_kb()
""",
        HIDDEN,
    ),
    "who_begins_as_the_stacks_are_read_hides_a_zombie": (
        "kernel/stacks.py",
        """    stack_kb = counters.stack_kb()
    time.sleep(pause)
""",
        """    stack_kb = counters.stack_kb()
""",
        HIDDEN,
    ),
    "stacks_of_a_moment_at_which_tasks_came_and_went_count": (
        "kernel/stacks.py",
        "if counters.running()[1] != before:",
        "if False:",
        HIDDEN,
    ),
    "on_a_busy_node_nobody_waits_for_who_is_on_its_way": (
        "kernel/stacks.py",
        "PAUSE * max(1.0, running / cpus)",
        "PAUSE",
        STACKS + "where_more_tasks_want_a_cpu_it_waits_longer_for_them",
    ),
    "fewer_stacks_than_none_are_none": (
        "kernel/stacks.py",
        "if count >= 0 and count == int(count):",
        "if count == int(count):",
        STACKS + "more_stacks_than_tasks_are_no_number_of_zombies",
    ),
    "a_part_of_a_stack_is_none": (
        "kernel/stacks.py",
        "if count >= 0 and count == int(count):",
        "if count >= 0:",
        STACKS + "a_stack_that_is_only_partly_accounted_is_not_believed",
    ),
    "the_stacks_are_read_in_a_full_table": (
        "kernel/stacks.py",
        "if int(tasks) > most_tasks:",
        "if False:",
        STACKS + "the_stacks_are_not_read_where_half_of_the_table_is_taken",
    ),
    "the_stacks_of_a_machine_count_in_a_container": (
        "kernel/stacks.py",
        "if procfs.pid_namespace(os.getpid()) != PID_NS_INIT_INO:",
        "if False:",
        OFF % "not in the initial PID namespace",
    ),
    "the_stacks_count_where_a_zombie_may_keep_its_own": (
        "kernel/stacks.py",
        "if os.uname().machine not in MACHINES:",
        "if False:",
        OFF % "may keep the stack of a zombie",
    ),
    "who_has_a_cpu_of_its_own_is_disturbed": (
        "kernel/stacks.py",
        'if cpus and cpus != "(null)":',
        "if False:",
        OFF % "CPUs 2-3 are isolated",
    ),
    "it_waits_for_a_cpu_that_is_never_free": (
        "kernel/stacks.py",
        "if procfs.real_time_may_take_a_cpu():",
        "if False:",
        OFF % "sched_rt_runtime_us is -1",
    ),
    "a_part_of_the_cgroups_checks_the_machine": (
        "kernel/stacks.py",
        "if ledger.directory is None or ledger.part is not None:",
        "if ledger.directory is None:",
        STACKS + "of_a_part_of_the_cgroups_nothing_is_known",
    ),
    "any_size_of_a_stack_is_believed": (
        "kernel/stacks.py",
        "if found.stack_kb in [stacks * each for each in STACK_KB]:",
        "if True:",
        OFF % "of kernel stacks for 303 tasks",
    ),
    "the_stacks_are_right_where_the_ledger_says_otherwise": (
        "kernel/stacks.py",
        "if number == count:",
        "if True:",
        STACKS + "where_ledger_and_stacks_disagree_the_ledger_is_right_from_then_on",
    ),
    "stacks_that_were_wrong_are_believed_again": (
        "kernel/stacks.py",
        """        if self.is_off:
            return
""",
        "",
        STACKS + "where_ledger_and_stacks_disagree_the_ledger_is_right_from_then_on",
    ),
    "what_the_stacks_do_not_show_is_not_asked_of_the_ledger": (
        "idle.py",
        "if stacks.look(stacks.Counters(proc), known) == 0:",
        "if not stacks.look(stacks.Counters(proc), known):",
        BY_STACKS % "51-49-calibration5-True-False",
    ),
    "the_daemon_never_checks_the_stacks": (
        "daemon.py",
        "            self.stacks.check()\n",
        "            pass\n",
        DAEMON + "the_ledger_checks_the_stacks_at_the_start_and_once_a_minute",
    ),
    "the_daemon_believes_stacks_that_are_not_sure": (
        "daemon.py",
        "if self.stacks.shows_none():",
        "if not self.stacks.shows_none():",
        DAEMON + "where_the_stacks_are_not_sure_the_ledger_decides",
    ),
    # when it sweeps, and what it tells
    "what_cannot_be_counted_waits": (
        "daemon.py",
        "return count is not None and count <= 0",
        "return not count or count <= 0",
        DAEMON + "where_it_shows_something_or_cannot_tell_it_sweeps_at_once[None]",
    ),
    "without_a_zombie_it_never_sweeps": (
        "daemon.py",
        "if now >= self.due_at:",
        "if False:",
        DAEMON + "where_the_ledger_shows_nothing_it_sweeps_once_a_minute[0]",
    ),
    "what_helps_nobody_is_tried_all_the_time": (
        "daemon.py",
        "costs / MAX_CPU_SHARE",
        "0",
        DAEMON + "sweeps_that_help_nobody_take_a_small_share_of_its_time",
    ),
    "to_wait_in_vain_costs_nothing": (
        "daemon.py",
        "took if tried else",
        "took if False else",
        DAEMON + "of_sweeps_that_tried_something_in_vain_the_time_counts",
    ),
    "new_options_wait": (
        "daemon.py",
        "        self.not_before = 0.0\n        self._write_status()",
        "        self._write_status()",
        DAEMON + "new_options_are_tried_at_once",
    ),
    "status_is_told_of_one_that_has_ended": (
        "daemon.py",
        "locked(run, DAEMON_LOCK, wait=0):\n        return None",
        "locked(run, DAEMON_LOCK, wait=0):\n        pass",
        STATUS,
    ),
    "status_that_is_torn_ends_whoever_asks": (
        "daemon.py",
        "except (OSError, ValueError, TypeError):",
        "except (OSError, TypeError):",
        STATUS,
    ),
    # the lock
    "a_lock_is_waited_for_without_end": (
        "files.py",
        "if time.monotonic() > deadline:",
        "if False:",
        LOCK + "it_is_waited_for_so_long_and_no_longer",
    ),
    "nobody_waits_for_a_lock": (
        "files.py",
        "if time.monotonic() > deadline:",
        "if True:",
        LOCK + "whoever_waits_gets_it_when_it_is_free",
    ),
    "two_hold_a_lock": (
        "files.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        LOCK + "it_is_waited_for_so_long_and_no_longer",
    ),
    "whoever_fails_keeps_the_lock": (
        "files.py",
        "__exit__(self, *_error: object) -> None:\n        os.close(self.fd)\n",
        "__exit__(self, *_error: object) -> None:\n        pass\n",
        FREE,
    ),
    # orphans
    "any_number_of_orphans_is_let_loose": (
        "policy.py",
        "offender.zombie_count > MAX_ORPHANS\n",
        "False\n",
        POLICY + "a_storm_of_orphans_is_not_let_loose_while_there_is_room",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
