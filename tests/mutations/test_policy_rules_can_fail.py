"""Break each rule of who is collected, signalled and ended, and when, in a copy of the engine, and
see its test go red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

LINEAGE, PRESSURE, POLICY, OBSERVE, SWEEP, STATE, LIMITS, ZOMBIES, REPORT, CGROUPS = (
    name + ".py"
    for name in (
        "node/lineage",
        "pressure",
        "policy",
        "node/observe",
        "sweep",
        "state",
        "kernel/limits",
        "node/zombies",
        "report",
        "kernel/cgroups",
    )
)
IN_LINEAGE, IN_POLICY, IN_STATE, IN_FIND, IN_CGROUPS, IN_FIRST_SEEN = (
    f"tests/unit/test_{name}.py::test_"
    for name in ("lineage", "policy", "state", "find_zombies", "cgroups", "first_seen")
)
HEALTHY, IN_ZOMBIES = (
    f"tests/integration/test_{name}.py::test_" for name in ("healthy_programs", "zombies")
)
TREES = IN_LINEAGE + "no_child_of_its_own_is_ever_called_an_orphan"
FULL = IN_POLICY + "in_a_full_table_no_reason_spares"
LEVEL = IN_POLICY + "level_of_pressure"
LEAKED = IN_POLICY + "what_one_parent_keeps_beyond_measure_is_collected_though_there_is_room"
ALWAYS = IN_POLICY + "orphans_are_collected_always_and_others_where_room_is_short"
NO_MORE = (
    IN_POLICY + "no_more_are_collected_than_make_room_and_the_oldest_come_first_whoever_holds_them"
)

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    # lineage
    "a_child_of_the_same_tick_is_an_orphan": (
        LINEAGE,
        "zombie.start_ticks < parent.start_ticks",
        "zombie.start_ticks <= parent.start_ticks",
        TREES,
    ),
    "whoever_is_older_is_no_orphan": (
        LINEAGE,
        "if zombie.start_ticks < parent.start_ticks:",
        "if False:",
        IN_LINEAGE + "claim",
    ),
    "a_child_that_made_a_session_is_an_orphan": (
        LINEAGE,
        "zombie.session in (zombie.pid, parent.session)",
        "zombie.session == parent.session",
        TREES,
    ),
    "whoever_leads_a_session_forked_nobody_before": (
        LINEAGE,
        "return parent.session != parent.pid or parent.led_from_start",
        "return True",
        TREES,
    ),
    "a_session_proves_nothing": (
        LINEAGE,
        "if _was_forked_elsewhere(zombie, parent):",
        "if False:",
        IN_LINEAGE + "claim",
    ),
    "a_session_that_could_not_be_read_proves_something": (
        LINEAGE,
        "if zombie.session < 0 or parent",
        "if parent",
        IN_LINEAGE + "claim",
    ),
    "a_former_parent_proves_nothing": (LINEAGE, "if has_moved:", "if False:", IN_LINEAGE + "claim"),
    "a_program_of_that_name_never_waits": (
        LINEAGE,
        'not STANDARD.fullmatch(executable or b"") or',
        "",
        IN_LINEAGE + "programs_that_never_wait",
    ),
    "threads_never_wait": (
        LINEAGE,
        "stat.num_threads != 1 or",
        "",
        IN_LINEAGE + "programs_that_never_wait",
    ),
    "a_handler_never_waits": (
        LINEAGE,
        "if (status.caught | status.blocked | status.ignored) & inits.SIGCHLD_BIT:",
        "if False:",
        IN_LINEAGE + "programs_that_never_wait",
    ),
    # pressure
    "a_burst_is_a_rate": (
        LIMITS,
        "MIN_INTERVAL = 1800.0",
        "MIN_INTERVAL = 60.0",
        IN_STATE + "forecast",
    ),
    "growth_on_an_empty_node_goes_on": (
        LIMITS,
        "and count >= MIN_SHARE * limit",
        "",
        IN_STATE + "forecast",
    ),
    "half_is_room": (PRESSURE, "elif share >= pressure or", "elif share > pressure or", LEVEL),
    "an_hour_is_far": (PRESSURE, "seconds <= SOON", "seconds < SOON", LEVEL),
    "any_growth_is_soon": (
        PRESSURE,
        "seconds is not None and seconds <= SOON",
        "seconds is not None",
        LEVEL,
    ),
    "full_is_pressure": (PRESSURE, "if share >= FULL_SHARE:", "if False:", LEVEL),
    "cgroups_have_no_limits": (
        PRESSURE,
        "if pids and pids.max:  #",
        "if False:  #",
        IN_POLICY + "the_limit_that_binds_first_counts",
    ),
    "one_more_than_needed": (
        PRESSURE,
        "math.ceil(pressure * self.limit) - 1)",
        "math.ceil(pressure * self.limit) - 2)",
        NO_MORE,
    ),
    "the_widest_limit_binds": (
        CGROUPS,
        "return max(limited, key",
        "return min(limited, key",
        IN_CGROUPS + "the_level_of_whose_limit_most_is_taken_is_told",
    ),
    # policy
    "there_is_never_room": (
        POLICY,
        "    if not room.is_short:\n",
        "    if False:\n",
        HEALTHY + "it_ends_as_it_would_alone[twice, a minute apart-dash]",
    ),
    "there_is_always_room": (POLICY, "    if not room.is_short:\n", "    if True:\n", ALWAYS),
    "while_there_is_room_all_remedies_may_be_tried": (
        POLICY,
        'return case.verdict(Why("act", what), ("reap",), due)',
        'return case.verdict(Why("act", what), options.remedies, due)',
        ALWAYS,
    ),
    "while_there_is_room_all_are_collected": (
        POLICY,
        "due = tuple(zombie for zombie in case.old_enough if zombie.is_orphan) +",
        "due = case.old_enough +",
        HEALTHY + "it_ends_as_it_would_alone[20 times in a row-dash]",
    ),
    "what_is_tolerated_is_collected": (
        POLICY,
        "old[: max(0, len(old) - options.tolerate)]",
        "old",
        LEAKED,
    ),
    "what_is_young_is_a_leak": (POLICY, "and zombie.age >= TOLERATED_FOR)", ")", LEAKED),
    "the_youngest_of_a_leak_go": (
        POLICY,
        "zombie.age >= TOLERATED_FOR), key=lambda zombie: -zombie.age)",
        "zombie.age >= TOLERATED_FOR), key=lambda zombie: zombie.age)",
        LEAKED,
    ),
    "all_are_collected_where_room_is_short": (
        POLICY,
        "if zombie.is_orphan or needed > 0 or key in tried:",
        "if True:",
        NO_MORE,
    ),
    "the_youngest_make_room": (
        POLICY,
        "key=lambda zombie: (not zombie.is_orphan, zombie.ppid not in leaking, -zombie.age))",
        "key=lambda zombie: zombie.age)",
        NO_MORE,
    ),
    "none_takes_the_place_of_one_that_was_tried": (
        POLICY,
        "needed -= key not in tried",
        "needed -= 1",
        NO_MORE,
    ),
    "reap_is_tried_where_it_is_impossible": (
        POLICY,
        "    if case.snapshot.refusal:\n",
        "    if False:\n",
        IN_POLICY + "reason[reap_impossible]",
    ),
    "reap_is_among_the_remedies_where_it_is_impossible": (
        POLICY,
        'if remedy != "reap" or not snapshot.refusal)',
        ")",
        IN_POLICY + "without_reap_on_this_node_signals_are_left_where_room_is_short",
    ),
    "who_is_held_up_is_spared_in_a_full_table": (
        POLICY,
        "suspended = None if full else _suspended(offender)",
        "suspended = _suspended(offender)",
        FULL,
    ),
    "who_is_held_up_is_ended": (
        POLICY,
        "suspended = None if full else _suspended(offender)",
        "suspended = None",
        IN_POLICY + "reason",
    ),
    "a_cooldown_spares_in_a_full_table": (POLICY, "if _is_full_node(room) or", "if", FULL),
    "handing_on_makes_young": (
        POLICY,
        "if counts_with_all else zombie.age",
        "if False else zombie.age",
        FULL,
    ),
    "a_tracer_of_its_own_spares": (
        POLICY,
        "or full and zombie.tracer_pid == zombie.ppid",
        "",
        FULL,
    ),
    "few_are_spared_in_a_full_table": (
        POLICY,
        "< options.min_zombies and not full:",
        "< options.min_zombies:",
        FULL,
    ),
    "replicas_end_together": (
        POLICY,
        "workload.container_id\n                and containers",
        "None\n                and containers",
        IN_POLICY + "of_the_replicas_of_a_workload_one_is_ended",
    ),
    "a_full_table_has_a_cap": (
        POLICY,
        '"terminate" in verdict.remedies and not _is_full_node(verdict.room)',
        '"terminate" in verdict.remedies',
        FULL,
    ),
    "a_leaker_has_no_turn_of_its_own": (
        POLICY,
        "(not zombie.is_orphan, zombie.ppid not in leaking, -zombie.age)",
        "(not zombie.is_orphan, -zombie.age)",
        IN_POLICY + "whoever_leaks_makes_room_before_others",
    ),
    "living_processes_cost_others_their_statuses": (
        POLICY,
        "if zombies >= MIN_ZOMBIE_SHARE * room.limit:",
        "if True:",
        IN_POLICY + "zombies_are_to_blame_only_where_they_take_a_tenth",
    ),
    "handing_an_orphan_on_makes_it_young": (
        POLICY,
        "counts_with_all = full or zombie.is_orphan and zombie.age >= SETTLED",
        "counts_with_all = full",
        IN_POLICY + "an_orphan_that_is_handed_on_grows_old_all_the_same",
    ),
    "an_adopter_gets_no_time": (
        POLICY,
        "zombie.is_orphan and zombie.age >= SETTLED",
        "zombie.is_orphan",
        IN_POLICY + "an_orphan_that_is_handed_on_grows_old_all_the_same",
    ),
    "a_parent_in_an_execve_has_a_session": (
        LINEAGE,
        "zombie.session < 0 or parent.session < 0 or",
        "zombie.session < 0 or",
        IN_LINEAGE + "claim",
    ),
    "living_processes_of_a_cgroup_hide_that_the_node_is_full": (
        POLICY,
        "return of_node if of_node.is_short else room._replace",
        "return room._replace",
        IN_POLICY + "a_full_cgroup_hides_no_full_node",
    ),
    "what_a_stopped_parent_holds_is_never_old": (
        STATE,
        "restarted.setdefault(key[:2], self.times.get(key, now))",
        "pass",
        IN_FIRST_SEEN + "what_a_stopped_parent_holds_begins_anew_and_is_known_all_the_same",
    ),
    "a_second_look_makes_it_old_again": (
        STATE,
        "for key, seen in self.begun_anew.items() if key in self.times",
        "for key, seen in self.begun_anew.items() if None",
        IN_FIRST_SEEN + "what_a_stopped_parent_holds_begins_anew_and_is_known_all_the_same",
    ),
    # observation, memory, the sweep
    "former_parents_are_forgotten": (
        STATE,
        "for key in times if key[:2] in gone}",
        "for key in times if False}",
        IN_FIRST_SEEN + "zombie_of_another_parent_is_seen_anew_and_the_former_one_is_remembered",
    ),
    "a_tracer_is_never_looked_up": (
        OBSERVE,
        "if key in self.history.uncollected else None",
        "if False else None",
        IN_ZOMBIES + "a_zombie_held_by_a_tracer",
    ),
    "what_is_inside_a_protected_pid_1_is_not": (
        SWEEP,
        "self.options.protect\n",
        "False\n",
        IN_ZOMBIES + "who_would_end_with_a_pid_1_is_protected_too",
    ),
    "a_scan_lists_all": (
        ZOMBIES,
        "if len(kept) >= self.of_each:",
        "if False:",
        IN_FIND + "of_one_parent_no_more_are_listed_in_a_scan_either",
    ),
    "a_look_may_be_as_long_as_a_tenant_likes": (
        ZOMBIES,
        "if next(reads) > MAX_IN_VAIN:",
        "if False:",
        IN_FIND + "a_tenant_with_many_living_children_does_not_make_a_look_long",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
