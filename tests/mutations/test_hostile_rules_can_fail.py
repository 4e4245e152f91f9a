"""Break each rule that keeps a hostile tenant harmless, in a copy of the engine, and see its test
go red.

Those that test_audit_rules_can_fail.py breaks too are not here again.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

HOSTILE = "tests/integration/test_hostile_tenants.py::test_"
HELD = HOSTILE + "a_canary_that_a_tenant_holds_has_nothing_to_take"
LOOK = HOSTILE + "where_a_tenant_may_look_into_other_processes_no_canary_is_sent"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "a_path_that_is_too_long_stops_every_sweep": (
        "kernel/procfs.py",
        '/exe"))\n        except OSError:',
        '/exe"))\n        except (FileNotFoundError, ProcessLookupError, PermissionError):',
        HOSTILE + "a_path_of_an_executable_that_is_too_long_for_the_kernel_stops_no_sweep",
    ),
    "a_canary_that_was_stopped_stays": (
        "canary.py",
        'send(each.pidfd, "SIGKILL")  # to a zombie',
        "pass  # to a zombie",
        HOSTILE + "a_canary_that_was_stopped_is_killed_and_tells_the_truth_all_the_same",
    ),
    "a_canary_that_was_not_found_stays": (
        "canary.py",
        "        in_vain.callback(_kill_session, procfs, joined)\n",
        "",
        HOSTILE
        + "whoever_stops_or_kills_a_canary_or_its_mother_ends_the_audit_no_later_and_keeps_nothing",
    ),
    "a_canary_shows_the_network_of_the_node": (
        "canary.py",
        '(("net", CLONE_NEWNET), ("pid", CLONE_NEWPID))',
        '(("pid", CLONE_NEWPID),)',
        HELD,
    ),
    "a_canary_is_in_the_session_of_the_audit": ("canary.py", "            os.setsid()\n", "", HELD),
    "a_canary_keeps_its_groups": ("canary.py", "            os.setgroups([])\n", "", HELD),
    "profilers_get_a_canary": (
        "audit.py",
        "(CAP_SYS_PTRACE | CAP_PERFMON)",
        "CAP_SYS_PTRACE",
        LOOK + "[may profile]",
    ),
    "sending_canaries_takes_as_long_as_tenants_like": (
        "canary.py",
        "if time.monotonic() > deadline:\n            fates",
        "if False:\n            fates",
        HOSTILE + "an_audit_whose_time_for_sending_is_up_says_so",
    ),
    "what_was_paused_meanwhile_leaks": (
        "audit.py",
        "elif now.suspended and not fate.collected:",
        "elif False:",
        HOSTILE + "a_container_that_is_paused_during_a_probe_is_not_judged",
    ),
    "any_text_is_a_lease": (
        "node/akash_lease.py",
        "value if re.fullmatch(shape, value) else None",
        "value or None",
        HOSTILE + "a_lease_is_told_as_far_as_it_looks_like_one_and_no_other_variable_ever_is",
    ),
    "a_lease_is_that_of_any_pid_1": (
        "node/observe.py",
        "self.inits.outermost(init_pid))",
        "init_pid)",
        HOSTILE + "only_the_container_s_own_pid_1_tells_its_lease",
    ),
    "the_lowest_container_is_the_true_one": (
        "node/workloads.py",
        "            level = place + 1\n            break",
        "            level = place + 1",
        HOSTILE + "a_cgroup_made_in_a_container_gives_it_nobody_else_s_name_or_protection",
    ),
    "the_lowest_pod_is_the_true_one": (
        "node/workloads.py",
        "if pod and pod_uid is None:",
        "if pod:",
        HOSTILE + "the_topmost_pod_in_a_path_is_the_true_one",
    ),
    "what_is_called_a_canary_is_one": (
        "node/observe.py",
        "canary=key in self.history.left_canaries,",
        'canary=stat.comm == b"zr-canary",',
        HOSTILE + "one_that_collects_canaries_only_deceives_neither_audit_nor_sweep",
    ),
    "a_name_of_an_init_is_enough": (
        "node/inits.py",
        "if traits & set(of_that_program):",
        "if True:",
        HOSTILE
        + "a_name_of_an_init_is_believed_no_further_than_its_signals_and_no_longer_than_until_a_canary",
    ),
    "hostile_names_are_shown_as_they_are": (
        "report.py",
        "        elif not character.isprintable():",
        "        elif False:",
        HOSTILE + "hostile_names_are_harmless_wherever_they_are_shown",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
