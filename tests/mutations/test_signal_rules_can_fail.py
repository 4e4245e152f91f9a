"""Break each rule of what is signalled, how, and who is told, in a copy of the engine, and see its
test go red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

NUDGE, IN_NUDGE = "remedies/nudge.py", "tests/integration/test_nudge.py::test_"
TERMINATE, IN_TERMINATE = "remedies/terminate.py", "tests/unit/test_terminate.py::test_"
ZOMBIES = "tests/integration/test_zombies.py::test_"
TOLD, LOG = "remedies/termination_log.py", "tests/integration/test_termination_log.py::test_"
STRANGE = LOG + "nothing_is_written_where_the_directory_is_not_as_a_kubelet_makes_it"
CAN_ASK = ZOMBIES + "a_program_for_whose_status_somebody_can_ask_never_exits_with_0"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    "a_signal_names_nobody": (
        NUDGE,
        "SI_TIMER = -2",
        "SI_TIMER = -1",
        IN_NUDGE + "a_handler_that_waits_for_the_child_that_a_signal_is_about_collects_it",
    ),
    "a_signal_names_a_zombie_by_its_pid_on_the_node": (
        NUDGE,
        "return siginfo(ns_pid[level], wait_status)",
        "return siginfo(zombie.pid, wait_status)",
        IN_NUDGE + "a_handler_that_waits_for_the_child_that_a_signal_is_about_collects_it",
    ),
    "a_signal_tells_no_true_status": (
        NUDGE,
        "pid, 0, status)",
        "pid, 0, 0)",
        IN_NUDGE + "a_handler_that_waits_for_the_child_that_a_signal_is_about_collects_it",
    ),
    "a_status_that_may_not_be_seen_is_zero": (
        "kernel/procfs.py",
        "        if self.pid_namespace(pid) is None:\n            return None\n        data",
        "        data",
        IN_NUDGE + "a_wait_status_that_may_not_be_seen_is_not_zero",
    ),
    "signals_go_on_without_effect": (
        NUDGE,
        "                self.may_send = False\n",
        "",
        IN_NUDGE + "one_signal_without_effect_is_the_last",
    ),
    "a_signal_is_sent_while_one_is_pending": (
        NUDGE,
        "if status and status.pending & SIGCHLD_BIT:",
        "if False:",
        IN_NUDGE + "nothing_is_sent_while_one_is_pending",
    ),
    "a_signal_is_sent_to_whoever_blocks_it": (
        NUDGE,
        "if status and status.blocked & SIGCHLD_BIT else None",
        "if False else None",
        IN_NUDGE + "nothing_is_sent_to_whoever_reads_signals_as_data",
    ),
    "a_signal_names_what_a_wait_would_block_for": (
        NUDGE,
        "if zombie.num_threads > 1 or self._is_traced(procfs, zombie):",
        "if self._is_traced(procfs, zombie):",
        IN_NUDGE + "a_zombie_that_a_wait_would_block_for_is_never_named",
    ),
    "a_shortage_of_files_is_a_node_without_reap": (
        "kernel/tracing.py",
        "if error.errno in (errno.ENOSYS, errno.EPERM):",
        "if True:",
        "tests/unit/test_tracing.py::test_a_shortage_of_this_moment_is_none_of_the_node",
    ),
    "pid_1_may_exit_with_0": (
        TERMINATE,
        "    if offender.status.ns_pid[-1] == 1:\n        return False\n",
        "    if offender.status.ns_pid[-1] == 1:\n        return True\n",
        CAN_ASK + "[PID 1]",
    ),
    "a_child_may_exit_with_0": (
        "node/lineage.py",
        "if zombie.session < 0 or parent.session < 0 or zombie.session in (zombie.pid,"
        " parent.session):",
        "if False:",
        CAN_ASK + "[a child]",
    ),
    "a_child_that_made_a_session_counts_as_adopted": (
        "node/lineage.py",
        "zombie.session in (zombie.pid, parent.session)",
        "zombie.session == parent.session",
        CAN_ASK + "[a child that made a session]",
    ),
    "whoever_leads_a_session_has_adopted_all_others": (
        "node/lineage.py",
        "return parent.session != parent.pid or parent.led_from_start",
        "return True",
        CAN_ASK + "[a child of one that leads a session since then]",
    ),
    "systemd_asks_for_no_daemon": (
        TERMINATE,
        "not re.fullmatch(WATCH_DAEMONS, name)",
        "True",
        IN_TERMINATE + "systemd_asks_for_the_status_of_daemons",
    ),
    "a_log_that_is_a_link_is_followed": (
        TOLD,
        "info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)",
        "info = os.stat(name, dir_fd=dir_fd)",
        LOG + "a_link_is_not_followed",
    ),
    "a_directory_that_is_a_link_is_followed": (
        TOLD,
        "os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)",
        "os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)",
        STRANGE + "[a_link_for_the_directory]",
    ),
    "a_directory_is_anybody_s": (
        TOLD,
        "info.st_uid == 0 and",
        "",
        STRANGE + "[a_directory_of_another_user]",
    ),
    "a_directory_is_writable": (
        TOLD,
        "not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)",
        "True",
        STRANGE + "[a_directory_for_others_to_write]",
    ),
    "the_log_is_dated_by_the_tenant": (
        TOLD,
        "info.st_ctime_ns",
        "info.st_mtime_ns",
        LOG + "the_newest_file_is_that_of_the_container_that_runs",
    ),
    "any_name_is_a_directory": (
        TOLD,
        'name == os.path.basename(name) and name not in (".", "..")',
        "True",
        LOG + "a_name_that_is_none_leads_nowhere",
    ),
    "a_lease_holds_the_sweep_up": (
        TOLD,
        "os.O_NONBLOCK | ",
        "",
        LOG + "a_lease_does_not_hold_the_sweep_up",
    ),
    "an_init_cures_everything": (
        "node/cures.py",
        "    if is_init:",
        "    if True:",
        LOG + "the_cure_is_that_for_the_cause",
    ),
    "all_zombies_are_orphans": (
        TOLD,
        "zombie.is_orphan for",
        "True for",
        LOG + "the_cure_is_that_for_the_cause",
    ),
    "an_end_is_no_warning": (
        "log.py",
        "syslog.LOG_WARNING if warning else syslog.LOG_INFO",
        "syslog.LOG_INFO",
        LOG + "the_journal_says_who_was_ended",
    ),
}


CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
