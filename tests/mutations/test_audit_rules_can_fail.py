"""Break each rule of workloads, audit and canary once, in a copy of the engine, and see the test of
that rule go red.

Not here: the order in which a canary loses its rights, which is read from the source
(tests/architecture/test_ptrace_is_kept_small.py).
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

POLICY, AUDIT, CANARY, INITS, WORKLOADS, OBSERVE, STATE, CGROUPS, PROCFS, CLI, EXPLAIN, STUCK = (
    name + ".py"
    for name in (
        "policy",
        "audit",
        "canary",
        "node/inits",
        "node/workloads",
        "node/observe",
        "state",
        "kernel/cgroups",
        "kernel/procfs",
        "cli",
        "explain",
        "node/stuck",
    )
)
LEASE, MONITORS, NAMES, RUNTIME_NAMES = (
    name + ".py"
    for name in ("node/akash_lease", "node/monitors", "node/stable_names", "node/runtime_names")
)
IN_AUDIT, IN_STUCK = (f"tests/integration/test_{name}.py::test_" for name in ("audit", "stuck"))
IN_POLICY, IN_INITS, IN_WORKLOADS, IN_STATE, IN_CGROUPS, IN_PROCFS = (
    f"tests/unit/test_{name}.py::test_"
    for name in ("policy", "inits", "workloads", "state", "cgroups", "procfs")
)
IN_PROTECTED = "tests/unit/test_policy_protected.py::test_"
WHO_MIGHT_TAKE_IT = IN_INITS + "who_might_take_an_orphan_for_one_of_its_own"
NO_CANARY, ENDED_BY_ITS_CANARY, PAUSE, ENDED = (
    IN_AUDIT + name
    for name in (
        "who_is_left_alone_gets_no_canary",
        "a_pid_1_that_its_canary_ended_is_told_first_of_all",
        "the_pause_program_of_a_pod_is_no_container",
        "an_audit_that_is_ended_leaves_nothing_that_a_sweep_would_blame_on_anybody",
    )
)

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "a_pod_of_unknown_namespace_is_nobody_s": (
        POLICY,
        "(workload.pod_uid or workload.kubernetes)\n        and workload",
        "False and workload",
        IN_POLICY + "reason[namespace_unknown]",
    ),
    "protecting_no_namespace_protects_unknown_ones": (
        POLICY,
        "workload.namespace is None\n        and options.protect_namespaces",
        "workload.namespace is None",
        IN_POLICY + "a_pod_whose_namespace_is_not_known_may_be_a_protected_one",
    ),
    "zombies_show_that_pid_1_collects_no_orphans": (
        INITS,
        'if each.by not in ("zombies", "sweeps")]',
        "]",
        "tests/unit/test_cures.py::test_zombies_do_not_show_whether_orphans_are_collected",
    ),
    "the_name_of_my_init_alone_decides": (
        INITS,
        "        if by_waiting(call).verdict == REAPS:\n            traits",
        "        if True:\n            traits",
        IN_INITS + "a_name_is_not_believed_without_them",
    ),
    "a_canary_counts": (
        POLICY,
        "if zombie.num_threads > 1 or zombie.canary:",
        "if zombie.num_threads > 1:",
        IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep",
    ),
    "a_parent_of_a_canary_is_judged_as_any": (
        POLICY,
        "if all(zombie.canary for zombie in offender.zombies):",
        "if False:",
        IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep",
    ),
    "any_zombie_with_the_pid_of_a_canary_is_one": (
        OBSERVE,
        "canary=key in self.history.left_canaries,",
        "canary=stat.pid in [pid for pid, _start in self.history.left_canaries],",
        IN_AUDIT + "a_zombie_with_the_pid_of_a_canary_is_not_one",
    ),
    "an_adopter_known_to_leak_is_no_reason": (
        POLICY,
        "leaks = init_with_zombies is not None or offender.init_reaps is False",
        "leaks = init_with_zombies is not None",
        IN_AUDIT + "where_the_adopter_leaks_its_child_is_not_ended_and_reap_helps",
    ),
    "an_adopter_not_known_to_reap_leaks": (
        POLICY,
        "offender.init_reaps is False",
        "not offender.init_reaps",
        IN_POLICY + "where_the_adopter_reaps_or_is_not_known_nothing_changes",
    ),
    "reap_is_no_help_where_the_adopter_leaks": (
        POLICY,
        'if "reap" in gentler:',
        "if False:",
        IN_POLICY + "where_the_adopter_leaks_reap_helps_both",
    ),
    "what_is_protected_is_probed": (
        AUDIT,
        "    if alone:\n        return alone.explanation",
        "    if False:\n        return alone.explanation",
        NO_CANARY + "[protected]",
    ),
    "what_is_in_kube_system_is_probed": (
        POLICY,
        "    pattern = protecting(workload.namespace, options)\n",
        "    pattern = None\n",
        NO_CANARY + "[in kube-system]",
    ),
    "what_is_stopped_is_probed": (
        AUDIT,
        "    if init.suspended:",
        "    if init.frozen:",
        NO_CANARY + "[stopped]",
    ),
    "what_is_paused_is_probed": (
        AUDIT,
        "    if init.suspended:",
        '    if init.state in "Tt":',
        NO_CANARY + "[paused]",
    ),
    "what_may_trace_is_probed": (
        AUDIT,
        "capabilities & (CAP_SYS_PTRACE | CAP_PERFMON)",
        "capabilities & CAP_PERFMON",
        NO_CANARY + "[may trace]",
    ),
    "what_may_look_into_others_is_probed": (
        AUDIT,
        "capabilities & (CAP_SYS_PTRACE | CAP_PERFMON)",
        "capabilities & CAP_SYS_PTRACE",
        NO_CANARY + "[may look]",
    ),
    "what_may_trace_and_everything_else_is_not_probed": (
        AUDIT,
        "and not process.status.capabilities & CAP_SYS_ADMIN",
        "",
        IN_AUDIT + "verdict_by_looking_and_by_canary[privileged]",
    ),
    "capabilities_in_another_user_namespace_count": (
        AUDIT,
        "observer.procfs.user_namespace(pid) == own",
        "True",
        IN_AUDIT + "in_a_user_namespace_of_its_own_it_may_trace_what_it_likes_there",
    ),
    "a_dry_run_probes": (
        CLI,
        "flags.probe and not flags.check",
        "flags.probe",
        IN_AUDIT + "a_dry_run_sends_none_and_writes_nothing",
    ),
    "canaries_are_noted_at_the_end": (
        AUDIT,
        "        memory.left_canaries.save()\n",
        "",
        ENDED + "[9-all are adopted 1]",
    ),
    "a_mother_leaves_a_canary_that_was_not_noted": (
        CANARY,
        "elif not os.read(mother_waits, 1):",
        "elif os.read(mother_waits, 1) == 1:",
        ENDED + "[9-not yet noted 2]",
    ),
    "what_cannot_be_noted_is_sent": (
        AUDIT,
        "        memory.left_canaries.save()\n",
        "        _saved(memory.left_canaries)\n",
        IN_AUDIT + "a_state_directory_that_cannot_be_written_sends_no_canary",
    ),
    "no_lock_while_canaries_are_sent": (
        AUDIT,
        "    with locked(run):\n        memory.load(",
        "    if True:\n        memory.load(",
        IN_AUDIT + "while_a_sweep_holds_the_lock_no_canary_is_sent",
    ),
    "an_audit_that_finds_the_lock_taken_leaves_everything": (
        AUDIT,
        "except CannotSweep as error:",
        "except FileNotFoundError as error:",
        IN_AUDIT + "a_sweep_that_holds_the_lock_afterwards_keeps_no_canary_where_it_is",
    ),
    "a_canary_is_left_where_it_is": (
        AUDIT,
        'if "reap" in options.remedies:',
        "if False:",
        IN_AUDIT + "a_pid_1_is_the_same_as_before[leaks]",
    ),
    "a_canary_is_collected_whatever_the_operator_wants": (
        AUDIT,
        'if "reap" in options.remedies:',
        "if True:",
        IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep",
    ),
    "what_was_stopped_meanwhile_leaks": (
        AUDIT,
        "elif now.suspended and not fate.collected:",
        "elif False:",
        IN_AUDIT
        + "one_that_is_held_up_or_ends_while_the_canary_waits_is_not_known_to_do_anything[stops-it"
        " was stopped or paused during the probe]",
    ),
    "what_has_ended_reaps": (
        AUDIT,
        "if now is None or now.start_ticks != start_ticks or observer.procfs.is_exiting(pid):",
        "if False:",
        IN_AUDIT
        + "one_that_is_held_up_or_ends_while_the_canary_waits_is_not_known_to_do_anything[ends-it"
        " ended during the probe]",
    ),
    "one_thread_that_has_exited_is_the_end": (
        PROCFS,
        "return all(stat.flags & PF_EXITING",
        "return any(stat.flags & PF_EXITING",
        IN_PROCFS + "a_process_exits_with_its_last_thread",
    ),
    "files_stay_open_in_a_canary": (
        CANARY,
        "set(open_descriptors()) - {*namespaces",
        "set(open_descriptors()) - {0, 1, 2, *namespaces",
        IN_AUDIT + "what_a_tenant_could_see_of_a_canary",
    ),
    "a_canary_keeps_its_user": (
        CANARY,
        "os.setresuid(NOBODY, NOBODY, NOBODY)",
        "pass",
        IN_AUDIT + "what_a_tenant_could_see_of_a_canary",
    ),
    "a_canary_of_the_audit_before_is_right": (
        STATE,
        "return stored\n",
        "return max(stored, known)\n",
        IN_STATE + "of_two_audits_the_later_one_is_right",
    ),
    "explaining_sweeps": (
        EXPLAIN,
        "sweep(options, paths, check_mode=True)",
        "sweep(options, paths)",
        "tests/integration/test_explain.py::test_a_parent_in_a_container",
    ),
    "a_name_is_enough": (
        INITS,
        "if traits & set(of_that_program):",
        "if True:",
        IN_AUDIT + "a_name_is_a_tenant_s_to_choose",
    ),
    "zombies_below_pid_1_are_its_fault": (
        AUDIT,
        "held.get(init.pid, ())",
        "sum(held.values(), [])",
        IN_AUDIT
        + "zombies_of_any_parent_in_the_container_are_counted_but_only_those_of_pid_1_say_something_of_it",
    ),
    "a_name_is_stronger_than_a_canary": (
        INITS,
        'STRONGEST_FIRST = ("zombies", "sweeps", "canary", "signals", "waiting", "name")',
        'STRONGEST_FIRST = ("name", "waiting", "signals", "canary", "sweeps", "zombies")',
        IN_INITS + "the_strongest_evidence_decides",
    ),
    "a_wait_for_clones_is_a_wait_for_any": (
        INITS,
        "and not third & (WNOTHREAD | WCLONE)",
        "",
        IN_INITS + "a_wait_for_any_child_that_exits",
    ),
    "a_look_at_a_zombie_collects_it": (
        INITS,
        "and not fourth & (WNOWAIT | WNOTHREAD | WCLONE)",
        "",
        IN_INITS + "a_wait_for_any_child_that_exits",
    ),
    "numbers_are_the_same_on_every_machine": (
        INITS,
        "CALLS.get(os.uname().machine, {})",
        'CALLS["x86_64"]',
        IN_INITS + "numbers_of_another_architecture_mean_nothing",
    ),
    "what_an_unknown_machine_does_is_guessed": (
        INITS,
        "if os.uname().machine not in CALLS or",
        "if",
        IN_INITS + "nothing_is_told_on_an_architecture_whose_numbers_are_not_known",
    ),
    "system_calls_of_32_bit_programs_are_taken_for_others": (
        PROCFS,
        " and int(words[7], 0) >> 32 else None",
        " else None",
        IN_PROCFS + "system_calls_of_a_32_bit_program_are_not_taken_for_others",
    ),
    "a_canary_confirms_what_is_known": (
        AUDIT,
        '"there is enough evidence without a canary" if inits.is_sure(evidence) else None',
        "None",
        IN_AUDIT + "verdict_by_looking_and_by_canary[has zombies]",
    ),
    "a_name_needs_no_canary": (
        INITS,
        'SURE = ("zombies", "sweeps", "signals", "waiting")',
        'SURE = ("zombies", "sweeps", "signals", "waiting", "name")',
        IN_INITS + "what_needs_no_canary",
    ),
    "one_that_waits_gets_a_canary": (
        INITS,
        "    if any(by_waiting(thread.system_call).verdict == REAPS for thread in now):",
        "    if False:",
        WHO_MIGHT_TAKE_IT,
    ),
    "one_that_catches_sigchld_gets_a_canary": (
        INITS,
        "if (adopts.caught | adopts.blocked) & SIGCHLD_BIT",
        "if adopts.blocked & SIGCHLD_BIT",
        WHO_MIGHT_TAKE_IT,
    ),
    "one_that_blocks_sigchld_gets_a_canary": (
        INITS,
        "if (adopts.caught | adopts.blocked) & SIGCHLD_BIT",
        "if adopts.caught & SIGCHLD_BIT",
        WHO_MIGHT_TAKE_IT,
    ),
    "one_in_sigwaitinfo_gets_a_canary": (
        INITS,
        'or _name_of_call(adopts.system_call) == "rt_sigtimedwait":',
        "or False:",
        WHO_MIGHT_TAKE_IT,
    ),
    "any_thread_is_told_of_orphans": (
        INITS,
        "adopts = now[0]",
        "adopts = now[-1]",
        WHO_MIGHT_TAKE_IT,
    ),
    "one_that_always_catches_sigchld_gets_one_with_children": (
        INITS,
        "        if has_children:\n",
        "        if False:\n",
        WHO_MIGHT_TAKE_IT,
    ),
    "one_that_runs_gets_a_canary": (
        INITS,
        "if has_children and _may_have_run(before, now):",
        "if False:",
        IN_INITS + "one_that_has_run_may_look_after_its_children",
    ),
    "where_runs_are_not_counted_nothing_runs": (
        INITS,
        "return None in runs.values() or runs != {",
        "return runs != {",
        WHO_MIGHT_TAKE_IT,
    ),
    "what_cannot_be_seen_gets_a_canary": (
        INITS,
        "or any(thread.system_call is None for thread in now):",
        "or False:",
        WHO_MIGHT_TAKE_IT,
    ),
    "the_rest_of_many_threads_does_nothing": (
        INITS,
        "if len(now) >= MAX_THREADS or not now:",
        "if not now:",
        IN_INITS + "threads_beyond_the_limit_may_do_anything",
    ),
    "a_name_alone_makes_an_init": (
        INITS,
        'and any(each.by == "name" and each.verdict == REAPS for each in evidence):',
        "and True:",
        IN_INITS + "only_what_is_an_init_by_name_and_signals_is_made_for_orphans",
    ),
    "a_look_at_children_is_missed": (
        AUDIT,
        "    if before:\n        time.sleep(canary.QUIET)\n",
        "",
        IN_AUDIT + "one_that_looks_after_its_children_now_and_then_goes_on",
    ),
    "what_is_traced_is_probed": (
        AUDIT,
        "    if init.status.tracer_pid:",
        "    if False:",
        IN_AUDIT + "one_that_somebody_traces_gets_no_canary",
    ),
    "a_harm_is_not_told": (
        AUDIT,
        "            harmed[pid] = ",
        "            _ = ",
        ENDED_BY_ITS_CANARY,
    ),
    "nobody_takes_a_moment_to_end": (
        AUDIT,
        "time.sleep(canary.SETTLES)",
        "pass",
        ENDED_BY_ITS_CANARY + "[0.3-True]",
    ),
    "a_harm_is_told_in_the_end": (
        AUDIT,
        "    lines = harmed + [",
        "    lines = [",
        ENDED_BY_ITS_CANARY,
    ),
    "what_sweeps_collected_says_nothing": (
        AUDIT,
        "        if init.collected_ago is not None:",
        "        if False:",
        IN_AUDIT + "what_a_sweep_had_to_collect_says_that_it_leaks",
    ),
    "any_program_of_its_own_is_a_sandbox": (
        AUDIT,
        ' and os.path.basename(procfs.executable(process.stat.pid) or b"") == b"pause"',
        "",
        PAUSE,
    ),
    "a_pause_program_that_is_an_init_is_a_sandbox": (
        AUDIT,
        "or in_namespace[processes[0].pid_namespace] != 1",
        "or False",
        IN_AUDIT
        + "the_pause_program_whose_pid_namespace_is_shared_is_the_init_of_the_other_containers",
    ),
    "a_pause_program_of_no_pod_is_a_sandbox": (
        AUDIT,
        'kind != "cgroup"\n        or not pod_uid\n        or',
        "",
        PAUSE,
    ),
    "a_pause_program_with_zombies_is_a_sandbox": (AUDIT, "if kept or not (", "if not (", PAUSE),
    "one_that_lives_cannot_end": (
        STUCK,
        "or not observer.procfs.is_exiting(stat.pid)",
        "or False",
        IN_STUCK + "a_dying_pid_1_and_who_holds_its_zombie_are_named",
    ),
    "one_that_has_ended_cannot_end": (
        STUCK,
        '(stat.state == "Z" and stat.num_threads <= 1)',
        "False",
        IN_STUCK + "a_pid_1_that_is_a_zombie_itself_waits_for_nothing",
    ),
    "all_zombies_are_looked_at": (
        STUCK,
        "holder.zombies[: min(LOOKED_AT, left)]",
        "holder.zombies",
        IN_STUCK + "a_look_is_bounded",
    ),
    "the_limit_of_all_is_that_of_each": (
        STUCK,
        "        left -= len(looked_at)\n",
        "",
        IN_STUCK + "a_look_is_bounded",
    ),
    "a_lease_is_read_from_any_pid_1": (
        WORKLOADS,
        "return found if own == workload.container_id else None",
        "return found",
        IN_WORKLOADS + "no_lease_where_it_would_be_another_s",
    ),
    "anything_is_a_lease": (
        LEASE,
        "value if re.fullmatch(shape, value) else None",
        "value or None",
        IN_WORKLOADS + "an_owner_that_is_no_address",
    ),
    "any_end_of_a_name_is_that_name": (
        PROCFS,
        'before = b"\\0" + name + b"="',
        'before = name + b"="',
        IN_PROCFS + "only_the_variables_that_were_asked_for_are_returned_and_the_first_counts",
    ),
    "the_last_variable_of_a_name_counts": (
        PROCFS,
        "at = data.find(before)",
        "at = data.rfind(before)",
        IN_PROCFS + "only_the_variables_that_were_asked_for_are_returned_and_the_first_counts",
    ),
    "a_tenant_may_play_the_shim": (
        MONITORS,
        "        if not status.in_own_pid_namespace:\n",
        "        if False:\n",
        IN_WORKLOADS + "no_shim_of_the_node_no_runtime",
    ),
    "a_tenant_with_hostpid_may_play_the_shim": (
        MONITORS,
        " and is_of_node(stat.pid):",
        ":",
        IN_WORKLOADS + "no_other_shim_makes_it_kubernetes",
    ),
    "a_user_may_play_the_shim": (
        WORKLOADS,
        "if of_kubernetes and workload.user is None:",
        "if of_kubernetes:",
        IN_WORKLOADS + "no_other_shim_makes_it_kubernetes",
    ),
    "any_shim_is_kubernetes": (
        WORKLOADS,
        "of_kubernetes = monitor.namespace == monitors.KUBERNETES_NAMESPACE",
        "of_kubernetes = monitor.namespace is not None",
        IN_WORKLOADS + "no_other_shim_makes_it_kubernetes",
    ),
    "what_a_shim_of_kubernetes_runs_is_nobody_s": (
        POLICY,
        "(workload.pod_uid or workload.kubernetes)\n        and",
        "workload.pod_uid and",
        IN_WORKLOADS
        + "what_a_shim_of_kubernetes_runs_is_kubernetes_and_its_namespace_may_be_unknown",
    ),
    "the_id_of_a_shim_of_kubernetes_is_its_container_s": (
        WORKLOADS,
        "if not of_kubernetes and monitor.namespace and workload.container_id is None:",
        "if monitor.namespace and workload.container_id is None:",
        IN_WORKLOADS
        + "what_a_shim_of_kubernetes_runs_is_kubernetes_and_its_namespace_may_be_unknown",
    ),
    "links_tell_no_pod": (
        WORKLOADS,
        "in_pod = self.names_in_pods.get(workload.container_id)",
        "pass",
        IN_WORKLOADS + "a_link_of_the_kubelet_s_tells_pod_and_namespace_where_nothing_else_does",
    ),
    "anybody_may_have_a_name_of_kubernetes": (
        WORKLOADS,
        "if in_pod is None and workload.kubernetes:",
        "if in_pod is None:",
        IN_WORKLOADS + "a_name_that_looks_like_kubernetes_proves_nothing",
    ),
    "every_container_below_a_shim_is_its_sandbox": (
        WORKLOADS,
        "sandbox=workload.container_id is not None and workload.container_id =="
        " monitor.container_id)",
        "sandbox=True)",
        IN_WORKLOADS + "sandbox_of_a_pod",
    ),
    "a_lease_need_not_fit_its_namespace": (
        LEASE,
        "len(known) == len(LEASE) and namespace_of(known) == namespace",
        "len(known) == len(LEASE)",
        IN_WORKLOADS + "a_lease_is_true_where_its_hash_is_the_pod_s_namespace",
    ),
    "each_pod_of_an_owner_has_a_cooldown_of_its_own": (
        WORKLOADS,
        "names.owner_of_pod(self.pod)",
        "self.pod",
        "tests/integration/test_pods.py::test_the_pods_of_one_owner_share_a_cooldown",
    ),
    "the_cooldown_of_a_pod_is_its_uid_s": (
        WORKLOADS,
        "if self.namespace and self.pod:",
        "if False:",
        "tests/integration/test_pods.py::test_the_pods_of_one_owner_share_a_cooldown",
    ),
    "each_task_of_a_service_has_a_cooldown_of_its_own": (
        WORKLOADS,
        "names.service_of_task(self.container_name)",
        "self.container_name",
        IN_WORKLOADS + "identity_with_names",
    ),
    "a_user_s_name_for_a_container_decides": (
        WORKLOADS,
        "        if self.user is not None:\n            return",
        "        if False:\n            return",
        IN_WORKLOADS + "a_user_s_own_docker_or_podman_is_shown_and_decides_nothing",
    ),
    "the_innermost_cgroup_is_the_identity": (
        WORKLOADS,
        "    end = shared + 1\n",
        "    end = len(segments)\n",
        "tests/integration/test_pods.py::test_a_container_that_no_runtime_names_has_a_cooldown_by_its_cgroup",
    ),
    "the_outermost_segment_is_the_identity": (
        WORKLOADS,
        "while end < len(segments) and (segments[end - 1] in HOLDERS or",
        "while end < len(segments) and (False or",
        "tests/integration/test_pods.py::test_a_container_that_no_runtime_names_has_a_cooldown_by_its_cgroup",
    ),
    "a_machine_below_a_container_counts": (
        WORKLOADS,
        'if found and start + found.group().count("/") > shared:',
        "if found:",
        IN_WORKLOADS + "identity_below_the_sweep_s_own_cgroup",
    ),
    "a_slice_of_a_user_below_a_container_counts": (
        WORKLOADS,
        "range(1, min(shared, len(segments) - 2) + 1)",
        "range(1, len(segments) - 1)",
        IN_WORKLOADS + "what_a_tenant_makes_below_changes_no_identity",
    ),
    "any_text_is_a_key": (
        NAMES,
        'rb"[^A-Za-z0-9_.@:/-]"',
        'rb"[^ -~]"',
        IN_WORKLOADS + "any_key_is_one_ascii_word_that_fits_into_a_file",
    ),
    "a_key_may_be_of_any_length": (
        NAMES,
        "if len(word) <= MAX_KEY:",
        "if True:",
        IN_WORKLOADS + "any_key_is_one_ascii_word_that_fits_into_a_file",
    ),
    "long_keys_are_cut": (
        NAMES,
        'sha256(word.encode("ascii"))',
        'sha256(b"")',
        IN_WORKLOADS + "long_keys_differ",
    ),
    "a_link_of_a_user_s_is_followed": (
        RUNTIME_NAMES,
        "os.open(name, os.O_RDONLY | os.O_NOFOLLOW |",
        "os.open(name, os.O_RDONLY |",
        IN_WORKLOADS + "a_file_that_becomes_a_link_meanwhile_is_not_followed",
    ),
    "a_linked_directory_of_a_user_s_is_followed": (
        RUNTIME_NAMES,
        "os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW |",
        "os.O_PATH | os.O_DIRECTORY |",
        IN_WORKLOADS + "what_is_not_a_plain_file_of_the_user_s_gives_no_name",
    ),
    "a_file_of_anybody_s_is_the_user_s": (
        RUNTIME_NAMES,
        "info.st_uid != uid or ",
        "",
        IN_WORKLOADS + "what_is_not_a_plain_file_of_the_user_s_gives_no_name",
    ),
    "a_user_s_file_may_be_of_any_length": (
        RUNTIME_NAMES,
        "opened.read(most)",
        "opened.read(STATE_BYTES)",
        IN_WORKLOADS + "what_is_not_a_plain_file_of_the_user_s_gives_no_name",
    ),
    "any_file_system_answers": (
        RUNTIME_NAMES,
        "    if not is_local(os.fsencode(path), mounts):",
        "    if False:",
        IN_WORKLOADS + "nothing_is_read_from_a_file_system_that_may_not_answer",
    ),
    "what_podman_removes_has_no_name": (
        RUNTIME_NAMES,
        '("containers.json", "volatile-containers.json")',
        '("containers.json",)',
        IN_WORKLOADS + "podman_s_containers_that_remove_themselves",
    ),
    "docker_never_remaps": (
        RUNTIME_NAMES,
        'for directory in ("", *remapped):',
        'for directory in ("",):',
        IN_WORKLOADS + "docker_with_userns_remap_keeps_its_state_in_a_directory_of_its_own",
    ),
    "a_pattern_matches_anywhere": (
        POLICY,
        "if re.fullmatch(re.escape(pattern)",
        "if re.search(re.escape(pattern)",
        IN_PROTECTED + "a_star_stands_for_any_text",
    ),
    "a_star_is_a_star": (
        POLICY,
        '.replace(r"\\*", ".*"), namespace)',
        ", namespace)",
        IN_PROTECTED + "a_star_stands_for_any_text",
    ),
    "any_text_is_a_pattern": (
        "options.py",
        'if not re.fullmatch("[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?", text):',
        "if not text:",
        IN_PROTECTED + "what_is_no_pattern_is_an_error_that_says_what_is_allowed",
    ),
    "ssh_is_anybody": (
        POLICY,
        '    r"|sshd(-.*)?|dropbear"\n',
        "",
        IN_PROTECTED + "what_runs_the_work_of_others_is_never_touched",
    ),
    "the_cgroups_above_are_not_looked_at": (
        WORKLOADS,
        'line.path == "/.." or line.path.startswith("/../")',
        "False",
        "tests/integration/test_containers.py::test_a_sweep_that_sees_the_cgroups_of_others_from_below_is_told",
    ),
    "any_text_is_a_name": (
        RUNTIME_NAMES,
        "return found.group(1) if found else None\n\n\ndef _names_in",
        "return text\n\n\ndef _names_in",
        IN_WORKLOADS + "what_is_no_name_of_docker_s_is_none",
    ),
    "the_innermost_container_counts": (
        WORKLOADS,
        "            level = place + 1\n            break\n",
        "            level = place + 1\n",
        IN_WORKLOADS + "nothing_that_a_tenant_makes_below_its_container_changes_whose_it_is",
    ),
    "dots_are_names": (
        CGROUPS,
        'if ".." in path.split("/"):',
        "if False:",
        IN_CGROUPS + "what_is_not_counted_is_not_told",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
