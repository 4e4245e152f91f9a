"""Break each rule of the Events once, in a copy of the engine, and see its test go red."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

UNIT = "tests/unit/test_kubernetes_events.py::test_"
CONFIG = "tests/unit/test_kubeconfig.py::test_"
HANGS = "tests/integration/test_kubernetes_events.py::test_a_server_that_hangs_delays_nothing"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    # the server
    "any_server_is_trusted": (
        "kubernetes_events.py",
        "context.sslsocket_class = Bounded",
        "context.sslsocket_class = Bounded; context.check_hostname = False; context.verify_mode ="
        " ssl.CERT_NONE",
        UNIT + "a_server_of_another_authority_gets_nothing",
    ),
    "a_certificate_is_good_for_any_server": (
        "kubernetes_events.py",
        "context.sslsocket_class = Bounded",
        "context.sslsocket_class = Bounded; context.check_hostname = False",
        UNIT + "a_server_with_the_certificate_of_another_gets_nothing",
    ),
    # time
    "the_report_waits_for_the_server": (
        "sweep.py",
        "self._note_sizes(report.after)\n",
        "self._note_sizes(report.after)\n        report = self.announce(report)\n",
        HANGS,
    ),
    "other_sweeps_wait_for_the_server": (
        "kubernetes_events.py",
        "failed = _send(events, path, deadline)",
        "with locked(paths.run):\n        failed = _send(events, path, deadline)",
        HANGS,
    ),
    "each_byte_has_a_deadline_of_its_own": (
        "kubernetes_events.py",
        "def recv_into(self, *arguments: Any) -> int:",
        "def unused(self, *arguments):",
        UNIT + "a_server_that_does_not_finish_is_left[drips]",
    ),
    "a_full_node_waits_for_the_server": (
        "kubernetes_events.py",
        "if events and not full",
        "if events",
        UNIT + "a_node_that_is_still_full_sends_nothing",
    ),
    # how often
    "each_sweep_says_it_again": (
        "kubernetes_events.py",
        "if event.key not in sent.times and len(due)",
        "if len(due)",
        UNIT + "nothing_is_repeated_within_an_hour",
    ),
    "any_number_of_events": (
        "kubernetes_events.py",
        "and len(due) < MAX_EVENTS",
        "",
        UNIT + "pods_of_ended_parents_come_first_and_the_number_is_bounded",
    ),
    "each_failure_is_reported": (
        "kubernetes_events.py",
        "if not is_news:",
        "if False:",
        UNIT + "a_server_that_has_gone_is_reported_once_an_hour",
    ),
    "a_server_that_has_gone_is_asked_by_each_sweep": (
        "kubernetes_events.py",
        "if now - sent.times.get(FAILED, -RETRY_AFTER) < RETRY_AFTER:",
        "if False:",
        UNIT + "a_server_that_has_gone_is_reported_once_an_hour",
    ),
    "what_cannot_be_noted_is_sent": (
        "kubernetes_events.py",
        "return ()\n    failed =",
        "pass\n    failed =",
        UNIT + "what_cannot_be_noted_is_not_sent",
    ),
    # whom
    "any_name_is_put_into_the_path": (
        "kubernetes_events.py",
        'and re.fullmatch(LABEL, workload.namespace or "")',
        "",
        UNIT + "only_what_kubernetes_allows_as_a_name_counts",
    ),
    "a_user_says_which_pod_it_is": (
        "kubernetes_events.py",
        "and workload.user is None",
        "",
        UNIT + "only_what_kubernetes_allows_as_a_name_counts",
    ),
    # the credential
    "others_may_write_the_kubeconfig": (
        "kubeconfig.py",
        "if info.st_uid != 0 or info.st_mode & 0o022:",
        "if False:",
        CONFIG + "what_others_can_write_is_refused",
    ),
    "a_kubeconfig_may_do_without_verification": (
        "kubeconfig.py",
        'if cluster.get("insecure-skip-tls-verify", "false") != "false":',
        "if False:",
        CONFIG + "anything_else_is_refused",
    ),
    "unknown_keys_are_passed_over": (
        "kubeconfig.py",
        "if unknown:",
        "if False:",
        CONFIG + "anything_else_is_refused",
    ),
    "openssl_asks_for_a_password": (
        "kubernetes_events.py",
        ', password="")',
        ', password="s3cret")',
        UNIT + "a_credential_that_is_none_is_refused[encrypted]",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
