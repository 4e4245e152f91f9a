"""Break each rule of the remedy reap once, in a copy of the engine, and see the test of that rule
go red.

Not here, as no behaviour tells the difference; each is a second lock behind one that is here, or a
matter of form:

- ``registers[arch.interrupted_call] = -1`` in `Tracee`. It keeps the kernel from restarting the
  interrupted call in the middle of ours. On x86-64 the number of a call and its result are one
  register, so ours never looks like a call to be restarted.
- The last PTRACE_INTERRUPT stop in `Tracee.release`. Left out, every sleep is still restarted: on
  this kernel PTRACE_DETACH makes the thread look for signals, and so for calls to be restarted,
  wherever it was stopped (kernel/ptrace.c, __ptrace_unlink).
- Taking PTRACE_O_SUSPEND_SECCOMP back before the release. PTRACE_DETACH does so itself, and no
  instruction of the program runs between. That it is set aside at a compared entry only is held by
  ``tests/architecture/test_ptrace_is_kept_small.py``; set aside too early, it would still judge no call
  that is left out.
- The second look at SIGSTOP (`stopped_by_signal`) and the first one (state T in ``/proc``): either
  makes up for the other. Both are taken away together here.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

REAP, PTRACE, REMEDIES, SWEEP = (
    "remedies/reap.py",
    "kernel/ptrace.py",
    "remedies/__init__.py",
    "sweep.py",
)
REFUSALS, TRACE, DISTURBED, STATUSES, HOSTILE, AFFINITY, SIGNALS = (
    f"tests/integration/test_{name}.py::"
    for name in (
        "reap_refusals",
        "reap_leaves_no_trace",
        "reap_disturbed",
        "exit_statuses",
        "reap_hostile",
        "reap_affinity",
        "reap_signals",
    )
)

# what is broken: ([(file, text that stands there once, what stands there then), ...], the test that
# has to fail)
CHANGES = {
    "it_stays_on_the_parent_s_cpu": (
        [("kernel/affinity.py", "        if moved:\n", "        if False:\n")],
        AFFINITY + "test_it_collects_on_the_cpu_of_the_parent_and_goes_back",
    ),
    "it_takes_a_cpu_that_is_not_its_own": (
        [
            (
                "kernel/affinity.py",
                "if cpu in before and len(before) > 1 and",
                "if cpu is not None and",
            )
        ],
        AFFINITY + "test_it_stays_on_the_cpus_that_it_may_use",
    ),
    "it_waits_behind_a_real_time_task": (
        [("kernel/affinity.py", "and not procfs.real_time_may_take_a_cpu():", "and True:")],
        AFFINITY + "test_it_goes_nowhere_where_real_time_tasks_may_take_a_cpu",
    ),
    "any_child_is_asked_for": (
        [
            (
                REAP,
                "tracee.call(tracee.arch.waitid, P_PID, number, 0",
                "tracee.call(tracee.arch.waitid, 0, 0, 0",
            )
        ],
        STATUSES + "test_only_the_zombie_that_is_old_enough_is_collected",
    ),
    "young_zombies_are_collected": (
        [
            (
                SWEEP,
                "offenders = [verdict.offender._replace(zombies=verdict.due) for verdict in"
                " acting]",
                "offenders = [verdict.offender for verdict in acting]",
            )
        ],
        STATUSES + "test_only_the_zombie_that_is_old_enough_is_collected",
    ),
    "a_zombie_s_pid_may_have_passed_on": (
        [(REAP, "if is_there(pidfd):", "if True:")],
        DISTURBED + "test_a_child_that_got_the_pid_of_a_zombie_keeps_its_status",
    ),
    "the_parent_s_pid_may_have_passed_on": (
        [(REAP, "not self._has_ended() and self", "True or self")],
        DISTURBED + "test_a_process_that_got_the_pid_of_the_parent_is_asked_for_nothing",
    ),
    "a_signal_is_swallowed": (
        [
            (
                PTRACE,
                "is_our_doing:\n            self.pending = number\n",
                "is_our_doing:\n            pass\n",
            )
        ],
        DISTURBED + "test_its_own_handler_runs_afterwards[prepared]",
    ),
    "registers_stay_as_they_are": (
        [
            (
                PTRACE,
                "                self._write_registers(self.saved)\n",
                "                pass\n",
            ),
            (PTRACE, "                self._write_registers(self.between)\n", ""),
            (
                PTRACE,
                "        self._write_registers(self.between)\n        if self.arch",
                "        if self.arch",
            ),
        ],
        TRACE + "test_registers_of_a_program_that_calculates",
    ),
    "a_sleep_is_not_begun_again": (
        [
            (
                PTRACE,
                "                self._write_registers(self.saved)\n",
                "                pass\n",
            ),
            (PTRACE, "arch.restart_syscall if result == RESTARTBLOCK else own", "39"),
        ],
        TRACE + "test_a_sleep_goes_on",
    ),
    "a_seccomp_filter_stays_in_force": (
        [
            (
                PTRACE,
                "        self._suspend_seccomp()\n        self._resume",
                "        self._resume",
            )
        ],
        REFUSALS + "test_a_seccomp_filter_that_kills_is_set_aside_and_back_in_force",
    ),
    "a_filter_that_stays_is_fine": (
        [(PTRACE, "if status is None or status.seccomp:", "if status is None:")],
        REFUSALS + "test_a_seccomp_filter_that_cannot_be_set_aside",
    ),
    "strict_seccomp_is_fine": (
        [(REAP, "if status.seccomp == SECCOMP_STRICT:", "if False:")],
        REFUSALS + "test_seccomp_strict",
    ),
    "uninterruptible_sleep_is_fine": (
        [(REAP, 'if stat.state == "D":', "if False:")],
        REFUSALS + "test_a_parent_in_uninterruptible_sleep",
    ),
    "a_stopped_parent_is_fine": (
        [
            (REAP, 'if stat.state == "T":', "if False:"),
            (PTRACE, "if self.stopped_by_signal:", "if False:"),
        ],
        REFUSALS + "test_a_parent_that_is_stopped",
    ),
    "a_call_that_was_not_chosen_is_let_through": (
        [
            (
                PTRACE,
                "            self._skip_call()\n            raise Refused",
                "            self._run_to_exit()\n            raise Refused",
            )
        ],
        HOSTILE + "test_no_forbidden_call_ever_gets_through[restarts-mkdir]",
    ),
    "the_call_that_it_comes_to_is_taken_for_ours": (
        [
            (
                PTRACE,
                "self.arch.audit, self.instruction_at + self.arch.size):",
                "*self._syscall_info()[1:]):",
            )
        ],
        HOSTILE + "test_no_forbidden_call_ever_gets_through[int80-mkdir]",
    ),
    "a_page_is_waited_for_without_end": (
        [(PTRACE, "and not forever\n", "and False\n")],
        HOSTILE + "test_a_page_that_is_never_served_holds_nobody_up",
    ),
    "a_file_is_asked_about_restartable_sequences": (
        [(PTRACE, "if not self.space.rseq_is_anonymous:", "if False:")],
        HOSTILE + "test_a_file_is_not_asked_about_restartable_sequences",
    ),
    "only_the_first_thread_collects": (
        [(REAP, "tids = self.procfs.thread_ids(pid)", "tids = self.procfs.thread_ids(pid)[:1]")],
        HOSTILE + "test_another_thread_collects_where_the_first_has_exited",
    ),
    "a_thread_that_called_execve_is_lost": (
        [(REAP, "            if tracee.tid != pid:", "            if False:")],
        HOSTILE + "test_a_thread_that_calls_execve_before_it_is_stopped[seized]",
    ),
    "a_traced_parent_is_fine": (
        [
            (REAP, "if status.tracer_pid:", "if False:"),
            (PTRACE, "if status and status.tracer_pid:", "if False:"),
        ],
        REFUSALS + "test_a_parent_that_is_traced[strace]",
    ),
    "a_thread_that_has_exited_is_fine": (
        [(REAP, 'if stat is None or stat.state in "ZX":', "if stat is None:")],
        HOSTILE + "test_another_thread_collects_where_the_first_has_exited",
    ),
    "32_bit_code_is_64_bit_code": (
        [(PTRACE, "if written == self.ctypes.sizeof(self.registers):", "if written:")],
        HOSTILE + "test_a_32_bit_program_that_sleeps",
    ),
    "32_bit_code_can_be_led_into_a_64_bit_vdso": (
        [(PTRACE, "if arch.instruction is None:", "if False:")],
        REFUSALS + "test_a_32_bit_program_that_calculates",
    ),
    "own_dispatch_is_fine": (
        [(PTRACE, "config) and config[0]:", "config) and False:")],
        REFUSALS + "test_a_program_that_dispatches_its_system_calls_itself",
    ),
    "restartable_sequences_are_fine": (
        [(PTRACE, "if self._memory(config[0] + 8, 8) != bytes(8):", "if False:")],
        REFUSALS + "test_a_refusal_that_may_pass_is_followed_by_nothing_harder",
    ),
    "any_call_is_made_in_the_same_way": (
        [(PTRACE, "result in RESTARTS and audit == arch.audit", "result in RESTARTS")],
        TRACE + "test_a_64_bit_program_that_sleeps_in_the_32_bit_entry",
    ),
    "the_sweep_can_be_ended_in_the_middle": (
        [
            (
                REAP,
                "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
                "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
            )
        ],
        DISTURBED
        + "test_a_signal_that_ends_the_sweep_waits_until_the_parent_has_its_own_call_back",
    ),
    "a_stop_has_no_end": (
        [(REAP, "tracee.stopped_since < COLLECT_FOR", "tracee.stopped_since < 1000")],
        DISTURBED + "test_slow_calls_are_shared_out_over_many_stops",
    ),
    "all_zombies_at_once": (
        [
            (REAP, "tracee.stopped_since < COLLECT_FOR", "tracee.stopped_since < 1000"),
            (REAP, "islice(self.todo, self.at_a_time)", "islice(self.todo, None)"),
        ],
        DISTURBED + "test_many_zombies_are_shared_out_over_many_stops",
    ),
    "nothing_may_yet_help": (
        [
            (
                REMEDIES,
                "return REFUSALS[self.refusal].cause == MOMENT",
                "return False",
            )
        ],
        REFUSALS + "test_a_refusal_that_may_pass_is_followed_by_nothing_harder",
    ),
    "a_stop_in_the_middle_is_swallowed": (
        [
            (
                PTRACE,
                "is_our_doing:\n            self.pending = number\n",
                "is_our_doing:\n            pass\n",
            )
        ],
        DISTURBED + "test_a_stop_is_not_lost[prepared-sleeps]",
    ),
    "a_release_is_begun_again_inside_of_itself": (
        [(REAP, "while self.again and not self.is_at_work:", "while self.again:")],
        "tests/unit/test_let_go.py::test_one_that_is_being_released_is_not_released_inside_of_that",
    ),
    "nobody_lets_go_of_late_ones": (
        [(REAP, "_let_go_of([job.late for job in jobs if job.late])", "pass")],
        DISTURBED + "test_a_parent_that_does_not_stop_in_time[True]",
    ),
    "the_end_of_a_killed_one_is_not_waited_for": (
        [
            (
                PTRACE,
                "while self._wait(time.monotonic() + STOP_TIMEOUT) is not None:",
                "while False:",
            )
        ],
        DISTURBED + "test_a_kill[stopped]",
    ),
    "the_first_refusal_counts": (
        [(REAP, 'IN_EXECVE = ("not_permitted", "no_instruction", "traced")', "IN_EXECVE = ()")],
        DISTURBED + "test_what_looks_like_a_refusal_for_a_moment_is_asked_again[tracer]",
    ),
    "a_signal_between_two_calls_is_handled_there": (
        [(PTRACE, "and self._is_caught(signal):", "and False:")],
        DISTURBED + "test_a_signal_ends_the_call_that_it_was_sent_to_end[called-by_itself]",
    ),
    "a_signal_that_was_held_back_is_lost": (
        [
            (
                PTRACE,
                "self.held_back.append(HeldBack(signal, self._siginfo()))",
                "pass",
            )
        ],
        DISTURBED + "test_a_signal_ends_the_call_that_it_was_sent_to_end[called-by_itself]",
    ),
    "a_signal_that_was_held_back_loses_what_it_carried": (
        [
            (
                PTRACE,
                "                self._ptrace(PTRACE_SETSIGINFO, 0, self.ctypes.addressof(info))\n",
                "                pass\n",
            )
        ],
        TRACE + "test_signals_between_two_calls_keep_what_they_carry[pause]",
    ),
    "a_fault_sent_by_somebody_is_our_doing": (
        [(PTRACE, "return code > 0  # si_code", "return True")],
        SIGNALS + "test_a_fault_sent_by_somebody_reaches_a_program_that_calculates[SIGSEGV]",
    ),
    "an_init_is_stopped_from_inside": (
        [(PTRACE, "return 0 if sender else number", "return number")],
        SIGNALS + "test_an_init_is_not_stopped_from_inside[called-this]",
    ),
    "a_stop_from_inside_is_left_to_the_kernel": (
        [(PTRACE, "        while self.is_init and self", "        while False and self")],
        SIGNALS + "test_an_init_is_not_stopped_from_inside[releasing-this]",
    ),
    "a_supervised_call_is_interrupted": (
        [(REAP, "if self.procfs.waits_for_a_supervisor(tid):", "if False:")],
        HOSTILE + "test_a_call_that_a_supervisor_makes_is_not_begun_twice",
    ),
    "signals_without_end_are_waited_for": (
        [
            (
                PTRACE,
                "MAX_SIGNALS:\n                self.pending = signal\n                raise"
                " Interrupted\n        self.at",
                "MAX_SIGNALS and False:\n                pass\n        self.at",
            )
        ],
        SIGNALS + "test_signals_without_end_hold_no_sweep_up[ignored-by_itself]",
    ),
    "a_thread_without_cpu_time_calculates": (
        [(PTRACE, "if calculated < MAX_CALCULATION:", "if False:")],
        REFUSALS + "test_a_program_that_makes_no_system_call_for_lack_of_cpu_time",
    ),
    "a_thread_that_calculates_is_as_good_as_another": (
        [(REAP, "in sorted(tids, key=self.calculating.__contains__):", "in tids:")],
        REFUSALS + "test_another_thread_collects_where_the_first_one_calculates",
    ),
    "uninterruptible_sleep_of_a_moment_is_final": (
        [(REAP, 'if word in ("busy", "uninterruptible", NO_SYSTEM_CALL):', 'if word == "busy":')],
        DISTURBED + "test_what_looks_like_a_refusal_for_a_moment_is_asked_again[D]",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
