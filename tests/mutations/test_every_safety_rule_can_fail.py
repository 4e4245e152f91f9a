"""Break each safety rule once, in a copy of the engine, and see the test of that rule go red."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

FAULTS, NEVER, ZOMBIES = (
    "tests/integration/" + name
    for name in ("test_faults_of_the_script.py", "test_never_touched.py", "test_zombies.py")
)

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "any_age_counts": (
        "policy.py",
        "for zombie in countable if _age(zombie, full) >= options.min_age)",
        "for zombie in countable)",
        FAULTS + "::test_row_3_a_supervisor_that_reaps_now_and_then_survives_100_sweeps",
    ),
    "an_adopter_inherits_the_age": (
        "state.py",
        "else self.times.get(key, now)",
        "else min([seen for old, seen in self.times.items() if old[:2] == key[:2]] or [now])",
        FAULTS + "::test_row_7_an_adopter_gets_its_own_min_age",
    ),
    "sigkill_goes_to_a_bare_pid": (
        "remedies/terminate.py",
        '        for pidfd in asked:\n            send(pidfd, "SIGKILL")',
        "        for offender in offenders:\n            os.kill(offender.pid, 9)",
        FAULTS + "::test_row_4_a_pid_used_again_between_sigterm_and_sigkill_is_not_killed[sweep]",
    ),
    "the_start_time_is_not_compared": (
        "kernel/pidfd.py",
        "stat is not None and stat.start_ticks == process.start_ticks",
        "stat is not None",
        "tests/integration/test_pidfd.py",
    ),
    "the_state_is_the_third_word": (
        "kernel/procfs.py",
        'after_name = data.rfind(b") ") + 2',
        'after_name = data.find(b") ") + 2',
        FAULTS + "::test_row_2_names_do_not_confuse",
    ),
    "host_processes_count": (
        "policy.py",
        'options.scope == "containers" and workload.kind == "host"',
        "False",
        FAULTS + "::test_row_6_a_daemon_of_the_host_whose_child_has_exited_is_left_alone",
    ),
    "ending_in_vain": (
        "policy.py",
        "or not leaks\n",
        "or True\n",
        FAULTS + "::test_row_7_a_kill_that_would_only_move_the_zombies_is_not_done",
    ),
    "what_came_of_age_meanwhile_is_ended_for": (
        "sweep.py",
        "zombie.ppid) in due) for verdict in acting]",
        "zombie.ppid) in due or True) for verdict in acting]",
        ZOMBIES + "::test_nobody_is_ended_for_a_zombie_that_nothing_gentler_was_tried_on",
    ),
    "what_was_inherited_meanwhile_is_ended_for": (
        "sweep.py",
        "(*_key(zombie), zombie.ppid) in due) for verdict",
        "_key(zombie) in {key[:2] for key in due}) for verdict",
        ZOMBIES + "::test_nobody_is_ended_for_a_zombie_that_it_inherited_meanwhile",
    ),
    "nobody_is_followed_up": (
        "sweep.py",
        "            if not adopters or self.must_end():",
        "            if True:",
        FAULTS + "::test_row_7_zombies_that_moved_are_followed_in_the_same_run",
    ),
    "no_lock": (
        "files.py",
        "fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        FAULTS + "::test_row_5_a_sweep_that_waits_too_long_for_the_lock_says_busy_and_does_nothing",
    ),
    "check_mode_acts": (
        "sweep.py",
        "    if check_mode or deferred:\n",
        "    if deferred:\n",
        FAULTS + "::test_row_10_a_dry_run_says_exactly_what_a_run_then_does",
    ),
    "pid_1_is_a_process_like_any": (
        "policy.py",
        "offender.pid == 1",
        "False",
        NEVER + "::test_pid_1_of_the_node",
    ),
    "kernel_threads_are_processes_like_any": (
        "policy.py",
        "offender.flags & PF_KTHREAD",
        "False",
        NEVER + "::test_a_kernel_thread",
    ),
    "ancestors_are_not_known": (
        "policy.py",
        "    if offender.is_ancestor:",
        "    if False:",
        NEVER + "::test_the_sweep_s_ancestors",
    ),
    "runtimes_are_not_known": (
        "policy.py",
        "re.fullmatch(INFRASTRUCTURE, name)",
        "False",
        NEVER + "::test_a_runtime_its_shim_and_the_kubelet_by_executable",
    ),
    "a_name_in_a_container_protects": (
        "policy.py",
        "not offender.status.in_own_pid_namespace:",
        "False:",
        NEVER + "::test_the_same_name_inside_a_container_protects_nobody",
    ),
    "an_unreadable_executable_is_fine": (
        "policy.py",
        "    if not offender.executable:\n        return",
        "    if False:\n        return",
        NEVER + "::test_an_executable_that_cannot_be_read",
    ),
    "protect_is_ignored": (
        "policy.py",
        "any(pattern.search(text) for text in texts)",
        "False",
        NEVER + "::test_a_parent_that_matches_protect",
    ),
    "namespaces_are_not_protected": (
        "policy.py",
        "    pattern = protecting(workload.namespace, options)\n",
        "    pattern = None\n",
        "tests/integration/test_pods.py::test_a_pod_of_kube_system_is_never_touched_by_default",
    ),
    "cooldown_is_ignored": (
        "policy.py",
        "offender.ended_ago < options.cooldown",
        "False",
        "tests/integration/test_pods.py::test_a_pod_is_not_ended_again_within_its_cooldown",
    ),
    "max_parents_is_ignored": (
        "policy.py",
        "if options.max_parents and already_terminated > options.max_parents:",
        "if False:",
        NEVER + "::test_max_parents_ends_those_with_most_zombies",
    ),
    "a_tracer_is_the_parent_s_fault": (
        "policy.py",
        "return not zombie.tracer_pid or full and",
        "return True or full and",
        ZOMBIES + "::test_a_zombie_held_by_a_tracer",
    ),
    "living_threads_are_the_parent_s_fault": (
        "policy.py",
        "if zombie.num_threads > 1 or zombie.canary:",
        "if zombie.canary:",
        ZOMBIES + "::test_a_leader_that_is_dead_while_threads_live",
    ),
    "a_stopped_parent_is_to_blame": (
        "policy.py",
        "    if offender.suspended:",
        "    if False:",
        ZOMBIES + "::test_a_parent_that_is_stopped",
    ),
    "a_paused_parent_is_to_blame": (
        "policy.py",
        "    if offender.frozen:",
        "    if False:",
        ZOMBIES + "::test_a_parent_that_is_paused",
    ),
    "time_in_which_a_parent_was_held_up_counts": (
        "state.py",
        "now if offender.suspended else self.times.get(key, now)",
        "self.times.get(key, now)",
        ZOMBIES + "::test_time_in_which_a_parent_was_held_up_does_not_count",
    ),
    "a_parent_in_uninterruptible_sleep_is_to_blame": (
        "policy.py",
        'offender.state == "D"',
        "False",
        ZOMBIES + "::test_a_parent_in_uninterruptible_sleep",
    ),
    "terminate_follows_a_nudge_that_helps": (
        "sweep.py",
        "targets = targets - self._apply(name, acting)",
        "self._apply(name, acting)",
        ZOMBIES + "::test_a_parent_that_a_reminder_is_curing_is_not_ended_when_time_is_up",
    ),
    "names_are_shown_as_they_are": (
        "report.py",
        "        elif not character.isprintable():",
        "        elif False:",
        ZOMBIES + "::test_hostile_names_and_arguments_stay_harmless",
    ),
}


CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
