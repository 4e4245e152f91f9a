"""Break each rule of workloads, audit and canary once, in a copy of the engine, and see the test of that rule go red.

Not here: the order in which a canary loses its rights, which is read from the source (tests/holds/test_ptrace_is_kept_small.py).
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

POLICY, AUDIT, CANARY, INITS, WORKLOADS, OBSERVE, STATE, CGROUPS, PROCFS, AGENT, EXPLAIN = (
    name + ".py" for name in ("policy", "audit", "canary", "inits", "workloads", "observe", "state", "cgroups", "procfs", "agent", "explain"))
IN_AUDIT = "tests/integration/test_audit.py::test_"
IN_POLICY, IN_INITS, IN_WORKLOADS, IN_STATE, IN_CGROUPS, IN_PROCFS = (
    "tests/unit/test_%s.py::test_" % name for name in ("policy", "inits", "workloads", "state", "cgroups", "procfs"))
NO_CANARY, ENDED = (
    IN_AUDIT + name for name in (
        "who_is_left_alone_gets_no_canary", "an_audit_that_is_ended_leaves_nothing_that_a_sweep_would_blame_on_anybody"))

# what is broken: (file, text that stands there once, what stands there then, the test that has to fail)
MUTATIONS = {
    "a_pod_of_unknown_namespace_is_nobody_s": (
        POLICY, "if workload.pod_uid and workload.namespace is None and options.protect_namespaces:", "if False:",
        IN_POLICY + "reason[namespace_unknown]"),
    "protecting_no_namespace_protects_unknown_ones": (
        POLICY, "workload.namespace is None and options.protect_namespaces:", "workload.namespace is None:",
        IN_POLICY + "a_pod_whose_namespace_is_not_known_may_be_a_protected_one"),
    "a_canary_counts": (
        POLICY, "not zombie.tracer_pid and not zombie.canary", "not zombie.tracer_pid",
        IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep"),
    "a_parent_of_a_canary_is_judged_as_any": (
        POLICY, "if all(zombie.canary for zombie in offender.zombies):", "if False:",
        IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep"),
    "any_zombie_with_the_pid_of_a_canary_is_one": (
        OBSERVE, "canary = (stat.pid, stat.start_ticks) in self.history.left_canaries",
        "canary = stat.pid in [pid for pid, _start in self.history.left_canaries]", IN_AUDIT + "a_zombie_with_the_pid_of_a_canary_is_not_one"),
    "an_adopter_known_to_leak_is_no_reason": (
        POLICY, "leaks = keeps_some or verdict.offender.init_reaps is False", "leaks = keeps_some",
        IN_AUDIT + "where_the_adopter_leaks_its_child_is_not_ended_and_reap_helps"),
    "an_adopter_not_known_to_reap_leaks": (
        POLICY, "verdict.offender.init_reaps is False", "not verdict.offender.init_reaps",
        IN_POLICY + "where_the_adopter_reaps_or_is_not_known_nothing_changes"),
    "reap_is_no_help_where_the_adopter_leaks": (
        POLICY, 'if "reap" in without_terminate:', "if False:", IN_POLICY + "where_the_adopter_leaks_reap_helps_both"),
    "what_is_protected_is_probed": (
        AUDIT, "    if alone:\n        return alone[1]", "    if False:\n        return alone[1]", NO_CANARY + "[protected]"),
    "what_is_in_kube_system_is_probed": (
        POLICY, "if workload.namespace in options.protect_namespaces:", "if False:", NO_CANARY + "[in kube-system]"),
    "what_is_stopped_is_probed": (AUDIT, "    if init.held_up:", "    if init.frozen:", NO_CANARY + "[stopped]"),
    "what_is_paused_is_probed": (AUDIT, "    if init.held_up:", '    if init.state in "Tt":', NO_CANARY + "[paused]"),
    "what_may_trace_is_probed": (
        AUDIT, "capabilities & (CAP_SYS_PTRACE | CAP_PERFMON)", "capabilities & CAP_PERFMON", NO_CANARY + "[may trace]"),
    "what_may_look_into_others_is_probed": (
        AUDIT, "capabilities & (CAP_SYS_PTRACE | CAP_PERFMON)", "capabilities & CAP_SYS_PTRACE", NO_CANARY + "[may look]"),
    "what_may_trace_and_everything_else_is_not_probed": (
        AUDIT, "and not process.status.capabilities & CAP_SYS_ADMIN", "", IN_AUDIT + "verdict_by_looking_and_by_canary[privileged]"),
    "capabilities_in_another_user_namespace_count": (
        AUDIT, "observer.procfs.user_namespace(pid) == own", "True", IN_AUDIT + "in_a_user_namespace_of_its_own_it_may_trace_what_it_likes_there"),
    "a_dry_run_probes": (AGENT, "flags.probe and not flags.check", "flags.probe", IN_AUDIT + "a_dry_run_sends_none_and_writes_nothing"),
    "canaries_are_noted_at_the_end": (AUDIT, "        memory.left_canaries.save()\n", "", ENDED + "[9-all are adopted 1]"),
    "a_mother_leaves_a_canary_that_was_not_noted": (
        CANARY, "elif not os.read(mother_waits, 1):", "elif os.read(mother_waits, 1) == 1:", ENDED + "[9-not yet noted 2]"),
    "what_cannot_be_noted_is_sent": (
        AUDIT, "        memory.left_canaries.save()\n", "        _saved(memory.left_canaries)\n",
        IN_AUDIT + "a_state_folder_that_cannot_be_written_sends_no_canary"),
    "no_lock_while_canaries_are_sent": (
        AUDIT, "    with locked(run):\n        memory.load(", "    if True:\n        memory.load(",
        IN_AUDIT + "while_a_sweep_holds_the_lock_no_canary_is_sent"),
    "an_audit_that_finds_the_lock_taken_leaves_everything": (
        AUDIT, "except CannotSweep as error:", "except FileNotFoundError as error:",
        IN_AUDIT + "a_sweep_that_holds_the_lock_afterwards_keeps_no_canary_where_it_is"),
    "a_canary_is_left_where_it_is": (AUDIT, 'if "reap" in options.remedies:', "if False:", IN_AUDIT + "a_pid_1_is_the_same_as_before[leaks]"),
    "a_canary_is_collected_whatever_the_operator_wants": (
        AUDIT, 'if "reap" in options.remedies:', "if True:", IN_AUDIT + "a_canary_that_stays_is_not_counted_by_any_later_sweep"),
    "what_was_stopped_meanwhile_leaks": (
        AUDIT, "elif now.held_up and not fate.collected:", "elif False:",
        IN_AUDIT + "one_that_is_held_up_or_ends_while_the_canary_waits_is_not_known_to_do_anything[stops-it was stopped or paused meanwhile]"),
    "what_has_ended_reaps": (
        AUDIT, "if now is None or now.start_ticks != start_ticks or observer.procfs.is_exiting(pid):", "if False:",
        IN_AUDIT + "one_that_is_held_up_or_ends_while_the_canary_waits_is_not_known_to_do_anything[ends-it has ended meanwhile]"),
    "one_thread_that_has_exited_is_the_end": (
        PROCFS, "return all(parse_stat(stat).flags & PF_EXITING", "return any(parse_stat(stat).flags & PF_EXITING",
        IN_PROCFS + "a_process_exits_with_its_last_thread"),
    "files_stay_open_in_a_canary": (
        CANARY, "set(open_descriptors()) - {*namespaces", "set(open_descriptors()) - {0, 1, 2, *namespaces",
        IN_AUDIT + "what_a_tenant_could_see_of_a_canary"),
    "a_canary_keeps_its_user": (
        CANARY, "os.setresuid(NOBODY, NOBODY, NOBODY)", "pass", IN_AUDIT + "what_a_tenant_could_see_of_a_canary"),
    "a_canary_of_the_audit_before_is_right": (
        STATE, "_merged = staticmethod(lambda stored, known: stored)", "_merged = staticmethod(max)",
        IN_STATE + "of_two_audits_the_later_one_is_right"),
    "explaining_sweeps": (
        EXPLAIN, "sweep(options, paths, check_mode=True)", "sweep(options, paths)",
        "tests/integration/test_explain.py::test_a_parent_in_a_container"),
    "a_name_is_enough": (
        INITS, "if set(traits) & set(of_that_program):", "if True:", IN_AUDIT + "a_name_is_a_tenant_s_to_choose"),
    "zombies_below_pid_1_are_its_fault": (
        AUDIT, "held.get(init.pid, ())", "sum(held.values(), [])",
        IN_AUDIT + "zombies_of_any_parent_in_the_container_are_counted_but_only_those_of_pid_1_say_something_of_it"),
    "a_name_is_stronger_than_a_canary": (
        INITS, 'STRONGEST_FIRST = ("zombies", "canary", "signals", "waiting", "name")',
        'STRONGEST_FIRST = ("name", "waiting", "signals", "canary", "zombies")',
        IN_INITS + "the_strongest_evidence_decides"),
    "a_wait_for_clones_is_a_wait_for_any": (
        INITS, "and not third & (WNOTHREAD | WCLONE)", "", IN_INITS + "a_wait_for_any_child_that_exits"),
    "a_look_at_a_zombie_collects_it": (
        INITS, "and not fourth & (WNOWAIT | WNOTHREAD | WCLONE)", "", IN_INITS + "a_wait_for_any_child_that_exits"),
    "numbers_are_the_same_on_every_machine": (
        INITS, 'if call and os.uname().machine == "x86_64":', "if call:", IN_INITS + "numbers_of_another_architecture_mean_nothing"),
    "a_lease_is_read_from_any_pid_1": (
        WORKLOADS, "return found if own == workload.container_id else None", "return found", IN_WORKLOADS + "no_lease_where_it_would_be_another_s"),
    "anything_is_a_lease": (
        WORKLOADS, "value if re.fullmatch(shape, value) else None", "value or None", IN_WORKLOADS + "an_owner_that_is_no_address"),
    "any_end_of_a_name_is_that_name": (
        PROCFS, 'before = b"\\0" + name + b"="', 'before = name + b"="',
        IN_PROCFS + "only_the_variables_that_were_asked_for_are_returned_and_the_first_counts"),
    "the_last_variable_of_a_name_counts": (
        PROCFS, "at = data.find(before)", "at = data.rfind(before)",
        IN_PROCFS + "only_the_variables_that_were_asked_for_are_returned_and_the_first_counts"),
    "a_tenant_may_play_the_shim": (
        WORKLOADS, "                if status.in_own_pid_namespace:\n", "                if True:\n",
        IN_WORKLOADS + "no_shim_of_the_node_no_runtime"),
    "any_text_is_a_name": (
        WORKLOADS, "return found.group(1) if found else None", "return text", IN_WORKLOADS + "what_is_no_name_of_docker_s_is_none"),
    "the_innermost_container_counts": (
        WORKLOADS, "            level = place + 1\n            break\n", "            level = place + 1\n",
        IN_WORKLOADS + "nothing_that_a_tenant_makes_below_its_container_changes_whose_it_is"),
    "the_nearest_limit_is_told": (
        CGROUPS, "return min(limited, key=lambda each: each.max - each.current) if limited else", "return limited[0] if limited else",
        IN_CGROUPS + "the_level_with_the_least_room_is_told"),
    "dots_are_names": (CGROUPS, 'if ".." in path.split("/"):', "if False:", IN_CGROUPS + "what_is_not_counted_is_not_told"),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
