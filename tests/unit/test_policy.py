"""What is decided about a parent, and what an operator may ask for."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy, pressure
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, limits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import PF_KTHREAD
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
    REMEDIES,
    SCOPES,
    Options,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.reasons import REASONS
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.handmade import container_process, host_process, node, orphan, status, workload, zombie

DEFAULTS = Options()
UID = "8ed3b1b7-3f6e-4b5e-9d1c-5a0e7e1b2c3d"
ALL = DEFAULTS._replace(scope="all")
# the options that would touch most
EAGER = ALL._replace(min_age=0, grace=0, pressure=0, max_parents=0)

# PID 1 of the container that the other processes are in
INIT = container_process(40, status=status((40, 1)))

DENIED = {
    "host_init": host_process(1, executable=b"/sbin/tini"),
    "kernel_thread": host_process(flags=PF_KTHREAD),
    "sweep_or_ancestor": host_process(is_ancestor=True),
    "runtime": host_process(executable=b"/usr/bin/containerd-shim-runc-v2"),
    "systemd": host_process(executable=b"/usr/lib/systemd/systemd-udevd"),
    "unknown_executable": host_process(executable=None),
}

CASES = {  # reason -> (snapshot, options); the first offender gets that verdict
    **{reason: (node(offender), EAGER) for reason, offender in DENIED.items()},
    "act": (node(container_process()), DEFAULTS),
    "host_service": (
        node(host_process(workload=workload("host", None, service="web.service"))),
        DEFAULTS,
    ),
    "host_process": (node(host_process()), DEFAULTS),
    "protected": (node(container_process()), DEFAULTS._replace(protect=("^python3 app",))),
    "protected_namespace": (
        node(container_process(workload=workload(pod=("kube-system", "calico-x7x2p")))),
        EAGER,
    ),
    "namespace_unknown": (node(container_process(workload=workload(pod_uid=UID))), EAGER),
    "own_canary": (node(container_process(zombies=(zombie(canary=True),))), EAGER),
    "may_be_waited_for": (node(container_process(), usage=0.4), DEFAULTS),
    "only_reap": (
        node(container_process(zombies=(orphan(),)), usage=0.4),
        DEFAULTS._replace(remedies=("nudge", "terminate")),
    ),
    "reap_impossible": (
        node(container_process(zombies=(orphan(),)), usage=0.4)._replace(
            refusal=("yama", "nobody may trace")
        ),
        DEFAULTS,
    ),
    "older_first": (
        node(
            container_process(),
            container_process(60, zombies=(zombie(60, 60, age=200.0),)),
            usage=0.5,
        ),
        DEFAULTS,
    ),
    "leader_dead_threads_alive": (
        node(container_process(zombies=(zombie(num_threads=2),))),
        DEFAULTS,
    ),
    "traced": (node(container_process(zombies=(zombie(tracer_pid=9),))), DEFAULTS),
    "too_few": (node(container_process()), DEFAULTS._replace(min_zombies=2)),
    "too_young": (node(container_process(zombies=(zombie(age=59.9),))), DEFAULTS),
    "parent_uninterruptible": (node(container_process(state="D")), DEFAULTS),
    "parent_stopped": (node(container_process(state="T")), DEFAULTS),
    "parent_frozen": (node(container_process(frozen=True)), DEFAULTS),
    "report_only": (node(container_process()), DEFAULTS._replace(remedies=())),
    "cooldown": (node(container_process(ended_ago=3599.0)), DEFAULTS),
    "too_many_orphans": (node(container_process(more=policy.MAX_ORPHANS)), DEFAULTS),
    "ends_with_init": (node(container_process(), INIT), DEFAULTS),
    "adopter_does_not_reap": (
        node(container_process(), INIT._replace(command_line=b"keep")),
        DEFAULTS._replace(protect=("keep",)),
    ),
    "max_parents": (node(container_process()), DEFAULTS._replace(max_parents=1)),
}
TERMINATED_BEFORE = {"max_parents": 1}


def verdict_on(offender, options=DEFAULTS):
    return policy.judge(node(offender), options)[0]


@pytest.mark.parametrize("reason", CASES)
def test_reason(reason):
    verdict = policy.judge(*CASES[reason], TERMINATED_BEFORE.get(reason, 0))[0]
    assert verdict.reason == reason
    assert verdict.explanation
    without_terminate = dict.fromkeys(
        ("cooldown", "too_many_orphans", "ends_with_init", "adopter_does_not_reap", "max_parents"),
        ("reap", "nudge"),
    )
    partly = {"act": ("reap", "nudge", "terminate"), **without_terminate}
    assert verdict.remedies == partly.get(reason, ())


def test_the_reasons_above_are_all_there_are():
    assert set(REASONS) == set(CASES)


@pytest.mark.parametrize(
    "executable",
    [
        "containerd",
        "docker-containerd",
        "containerd-shim",
        "containerd-shim-runc-v2",
        "dockerd",
        "dockerd-rootless.sh",
        "cri-dockerd",
        "docker-init",
        "docker-proxy",
        "runc",
        "crun",
        "runsc",
        "youki",
        "conmon",
        "conmonrs",
        "crio",
        "podman",
        "kata-runtime",
        "containerd-shim-kata-v2",
        "lxc-start",
        "lxd",
        "incusd",
        "kubelet",
        "kubelite",
        "hyperkube",
        "k3s",
        "k3s-server",
        "k0s",
        "rke2",
    ],
)
def test_container_runtimes_of_the_host_are_never_touched(executable):
    assert (
        verdict_on(host_process(executable=b"/opt/bin/" + executable.encode()), EAGER).reason
        == "runtime"
    )


@pytest.mark.parametrize(
    "executable", [b"/usr/lib/systemd/systemd", b"/usr/lib/systemd/systemd-logind", b"/sbin/init"]
)
def test_systemd_is_never_touched(executable):
    assert verdict_on(host_process(executable=executable), EAGER).reason == "systemd"


@pytest.mark.parametrize(
    "executable", [b"/usr/bin/kubelet", b"/usr/lib/systemd/systemd", b"/sbin/init", None]
)
def test_names_that_a_tenant_gives_its_programs_protect_nothing(executable):
    assert verdict_on(container_process(executable=executable)).reason == "act"


@pytest.mark.parametrize("reason", DENIED)
@pytest.mark.parametrize(
    "options",
    [
        DEFAULTS,
        ALL,
        EAGER,
        ALL._replace(remedies=()),
        ALL._replace(protect=(".",)),
        ALL._replace(pressure=1.0),
        ALL._replace(min_zombies=9),
    ],
)
def test_deny_list_comes_before_every_option(reason, options):
    verdict = verdict_on(DENIED[reason], options)
    assert (verdict.reason, verdict.remedies) == (reason, ())


@pytest.mark.parametrize("reason", ["kernel_thread", "sweep_or_ancestor"])
def test_deny_list_holds_in_another_pid_namespace_too(reason):
    in_container = DENIED[reason]._replace(status=status((50, 7)), workload=workload())
    assert verdict_on(in_container, EAGER).reason == reason


@pytest.mark.parametrize(
    "first, then",
    [
        ("host_service", "protected"),
        ("host_process", "protected"),
        ("protected", "too_young"),
        ("protected", "report_only"),
        ("protected", "may_be_waited_for"),
        ("traced", "too_few"),
        ("parent_frozen", "parent_stopped"),
        ("too_few", "may_be_waited_for"),
        ("report_only", "may_be_waited_for"),
        ("report_only", "too_young"),
        ("may_be_waited_for", "too_young"),
    ],
)
def test_what_is_said_when_two_reasons_hold(first, then):
    offenders, changes = (
        {
            "host_service": host_process(workload=workload("host", None, service="web.service")),
            "host_process": host_process(),
        },
        {
            "traced": {"zombies": (zombie(tracer_pid=9),)},
            "parent_frozen": {"frozen": True},
            "parent_stopped": {"state": "T"},
            "too_young": {"zombies": (zombie(age=1.0),)},
        },
    )
    options = {
        "protected": {"protect": (".",)},
        "too_few": {"min_zombies": 2},
        "may_be_waited_for": {"pressure": 0.91},
        "report_only": {"remedies": ()},
    }
    offender = offenders.get(first, container_process())._replace(
        **changes.get(first, {}), **changes.get(then, {})
    )
    verdict = verdict_on(
        offender, DEFAULTS._replace(**options.get(first, {}), **options.get(then, {}))
    )
    assert (verdict.reason, verdict.remedies) == (first, ())


def test_service_of_the_node_is_left_alone_in_a_pid_namespace_of_its_own_too():
    assert (
        verdict_on(
            container_process(workload=workload(service="systemd-nspawn@web.service"))
        ).reason
        == "host_service"
    )
    assert (
        verdict_on(host_process(workload=workload("host", None, service="web.service")), ALL).reason
        == "act"
    )


@pytest.mark.parametrize("pattern", ["^/usr/bin/python3$", "app.py$", "^python3 app.py$"])
def test_protect_looks_at_the_executable_and_the_command_line(pattern):
    assert (
        verdict_on(
            container_process(), DEFAULTS._replace(protect=("no such thing", pattern))
        ).reason
        == "protected"
    )


def test_protect_copes_with_what_a_tenant_calls_itself():
    hostile = container_process(executable=b"\xff\xfe/\n", command_line=b"\xff\0\n\0" * 1000)
    assert verdict_on(hostile, DEFAULTS._replace(protect=("app",))).reason == "act"
    assert (
        verdict_on(
            container_process(executable=None, command_line=None), DEFAULTS._replace(protect=("",))
        ).reason
        == "act"
    )


def test_only_zombies_that_count_are_counted_and_acted_on():
    old, young, traced, threads = (
        zombie(1),
        zombie(2, age=1.0),
        zombie(3, tracer_pid=9),
        zombie(4, num_threads=2),
    )
    offender = container_process(zombies=(old, young, traced, threads))
    assert verdict_on(offender).due == (old,)
    assert verdict_on(offender, DEFAULTS._replace(min_zombies=2)).reason == "too_young"
    assert verdict_on(offender, DEFAULTS._replace(min_zombies=3)).reason == "too_few"


def test_zombie_is_ripe_at_min_age():
    assert verdict_on(container_process(zombies=(zombie(age=60.0),))).reason == "act"
    young = verdict_on(container_process(zombies=(zombie(age=59.9),)))
    assert young.reason == "too_young"
    assert round(young.due_in, 1) == 0.1 and young.explanation.endswith("; due in 0 s")


def test_it_is_due_when_min_zombies_of_them_are():
    offender = container_process(zombies=(zombie(1, age=50.0), zombie(2, age=20.0)))
    assert verdict_on(offender, DEFAULTS._replace(min_zombies=2)).due_in == 40.0
    assert verdict_on(offender).due_in == 10.0
    assert verdict_on(container_process()).due_in is None


def test_where_there_is_room_the_first_orphan_says_when():
    offender = container_process(zombies=(orphan(1, age=20.0), zombie(2, age=30.0)))
    verdict = policy.judge(node(offender, usage=0.01), DEFAULTS)[0]
    assert (verdict.reason, verdict.due_in) == ("too_young", 40.0)
    assert verdict.explanation.endswith("less than min_age: 60; due in 40 s")


def test_zombies_whose_tracer_was_not_looked_up_count():
    assert verdict_on(container_process(zombies=(zombie(tracer_pid=None),))).reason == "act"


def test_init_that_keeps_zombies_is_ended_and_those_below_it_are_not():
    below, init = policy.judge(node(container_process(), INIT), DEFAULTS)
    assert (below.reason, below.remedies) == ("ends_with_init", ("reap", "nudge"))
    assert (init.reason, init.remedies) == ("act", ("reap", "nudge", "terminate"))


@pytest.mark.parametrize(
    "init, why",
    [
        (INIT._replace(frozen=True), "parent_frozen"),
        (INIT._replace(state="T"), "parent_stopped"),
        (host_process(1), "host_init"),
        (INIT._replace(is_ancestor=True), "sweep_or_ancestor"),
    ],
)
def test_parent_is_not_ended_in_vain(init, why):
    verdict = policy.judge(node(container_process(init_pid=init.pid), init), DEFAULTS)[0]
    assert (verdict.reason, verdict.remedies) == ("adopter_does_not_reap", ("reap", "nudge"))
    assert why in verdict.explanation


def test_init_whose_zombies_are_young_may_yet_reap():
    young = INIT._replace(zombies=(zombie(7, 40, age=1.0),))
    assert policy.judge(node(container_process(), young), DEFAULTS)[0].reason == "act"


@pytest.mark.parametrize("remedies", [("nudge",), ("reap",), ("reap", "nudge")])
def test_without_terminate_nothing_moves_and_nothing_is_spared(remedies):
    verdict = policy.judge(node(container_process(), INIT), DEFAULTS._replace(remedies=remedies))[0]
    assert (verdict.reason, verdict.remedies) == ("act", remedies)


def test_max_parents_lets_the_first_through_and_counts_those_ended_before():
    snapshot = node(
        *[
            container_process(pid, init_pid=None, workload=workload(container_id=f"{pid:064x}"))
            for pid in (61, 62, 63, 64)
        ]
    )

    def reasons(most, before):
        return [
            verdict.reason
            for verdict in policy.judge(snapshot, DEFAULTS._replace(max_parents=most), before)
        ]

    assert reasons(0, 9) == ["act"] * 4
    assert reasons(3, 0) == ["act"] * 3 + ["max_parents"]
    assert reasons(3, 1) == ["act"] * 2 + ["max_parents"] * 2
    assert reasons(3, 3) == reasons(3, 9) == ["max_parents"] * 4


def test_max_parents_counts_only_those_that_would_be_ended():
    snapshot = node(host_process(61), container_process(62), container_process(63))
    verdicts = policy.judge(snapshot, DEFAULTS._replace(max_parents=1))
    assert [verdict.reason for verdict in verdicts] == ["host_process", "act", "max_parents"]
    assert verdicts[2].remedies == ("reap", "nudge")


ZOMBIES = st.builds(
    zombie,
    pid=st.integers(2, 99),
    age=st.floats(0, 1000) | st.floats(3600, 4000),
    num_threads=st.integers(1, 2),
    tracer_pid=st.sampled_from([0, 0, 9, None]),
    canary=st.sampled_from([False, False, True]),
    claim=st.sampled_from(["orphan", "may_be_waited_for"]),
    known_for=st.none() | st.floats(1000, 5000),
)
FORECASTS = st.builds(limits.Forecast, st.none(), st.none() | st.floats(0, 10000))


def offender_with(make, pid, changes):
    # nothing is known of an init that is not
    unknown = {"init_reaps": None} if changes.get("init_pid", pid) is None else {}
    return make(pid, **{**changes, **unknown})


OFFENDERS = st.builds(
    offender_with,
    st.sampled_from([container_process, host_process]),
    st.sampled_from([1, 40, 50, 60]),
    st.fixed_dictionaries(
        {},
        optional={
            "flags": st.sampled_from([0, PF_KTHREAD]),
            "is_ancestor": st.booleans(),
            "state": st.sampled_from("SRDTtZ"),
            "executable": st.sampled_from(
                [b"/bin/sh", b"/usr/bin/dockerd", b"/usr/lib/systemd/systemd", None, b"\xff"]
            ),
            "command_line": st.none() | st.binary(max_size=20),
            "frozen": st.booleans(),
            "init_pid": st.sampled_from([None, 1, 40, 50]),
            "zombies": st.lists(ZOMBIES, min_size=1, max_size=4).map(tuple),
            "workload": st.builds(
                workload,
                kind=st.sampled_from(["host", "container"]),
                service=st.sampled_from([None, "a.service"]),
                pod=st.sampled_from([(None, None), ("kube-system", "dns")]),
                pod_uid=st.sampled_from([None, UID]),
            ),
            "init_reaps": st.sampled_from([None, True, False]),
            "forecast": FORECASTS,
            "pids": st.sampled_from(
                [
                    None,
                    cgroups.Pids(7, None, "/a"),
                    cgroups.Pids(7, 100, "/a"),
                    cgroups.Pids(96, 100, "/a"),
                ]
            ),
            "ended_ago": st.none() | st.floats(0, 200),
            "collected_ago": st.none() | st.floats(0, 200),
        },
    ),
)
SNAPSHOTS = st.builds(
    lambda offenders, usage, forecast: node(*offenders, usage=usage)._replace(forecast=forecast),
    st.lists(OFFENDERS, max_size=4, unique_by=lambda offender: offender.pid),
    st.floats(0, 1),
    FORECASTS,
)
OPTIONS = st.builds(
    Options,
    st.sampled_from(SCOPES),
    st.lists(st.sampled_from(REMEDIES), unique=True).map(tuple),
    st.integers(0, 500),
    st.integers(1, 4),
    st.floats(0, 1),
    st.sampled_from([0, 1, 1000]),
    st.floats(0, 300),
    st.sampled_from([(), ("sh",), ("^$",)]),
    st.sampled_from([(), ("kube-system",)]),
    st.integers(0, 3),
    st.integers(0, 100),
)


@settings(max_examples=500)
@given(SNAPSHOTS, OPTIONS, st.integers(0, 4))
def test_whatever_the_node_and_the_options(snapshot, options, before):
    verdicts = policy.judge(snapshot, options, before)
    assert verdicts == policy.judge(snapshot, options, before), (
        "the same snapshot and options, the same verdicts"
    )
    assert [verdict.offender for verdict in verdicts] == list(snapshot.offenders)
    ended = [
        verdict
        for verdict in verdicts
        if "terminate" in verdict.remedies and snapshot.limits.usage < 0.95
    ]
    assert not options.max_parents or len(ended) <= max(0, options.max_parents - before)
    for verdict in verdicts:
        if verdict.remedies:
            assert_may_be_touched(verdict, snapshot, options)


def assert_may_be_touched(verdict, snapshot, options):
    """The rules once more, in the words of the documentation and with no word of the engine's."""
    offender = verdict.offender
    assert set(verdict.remedies) <= set(options.remedies)
    taken = [snapshot.limits.usage] + (
        [offender.pids.current / offender.pids.max] if offender.pids and offender.pids.max else []
    )
    forecasts = [snapshot.forecast] + (
        [offender.forecast] if offender.pids and offender.pids.max else []
    )
    # told from a tenth taken
    soon = [
        forecast.seconds_to_full is not None and forecast.seconds_to_full <= 3600
        for forecast in forecasts
    ]
    full, short = max(taken) >= 0.95, max(taken) >= options.pressure or any(soon)
    assert offender.pid != 1 and not offender.flags & PF_KTHREAD and not offender.is_ancestor
    if len(offender.status.ns_pid) == 1:
        assert offender.executable in (b"/usr/bin/python3", b"/bin/sh", b"\xff")
    if options.scope == "containers":
        assert offender.workload.kind == "container" and not offender.workload.service
    if options.protect_namespaces and offender.workload.pod_uid:
        assert offender.workload.namespace
    assert offender.workload.namespace not in options.protect_namespaces
    assert verdict.due and all(
        zombie.num_threads < 2 and not zombie.canary for zombie in verdict.due
    )
    if (
        offender.init_reaps is False
        and offender.pid != offender.init_pid
        and "reap" not in options.remedies
        and not full
    ):
        assert "terminate" not in verdict.remedies
    if "terminate" in verdict.remedies and taken[0] < 0.95:
        assert offender.ended_ago is None or offender.ended_ago >= options.cooldown
    if full:
        assert all(
            max(zombie.age, zombie.known_for or 0) >= options.min_age for zombie in verdict.due
        )
        return
    assert offender.state not in "DTt" and not offender.frozen
    for each in verdict.due:
        # handed on, and its adopter has had time to wait
        keeps_its_age = each.claim == "orphan" and each.age >= 5
        assert (
            not each.tracer_pid
            and max(each.age, keeps_its_age and each.known_for or 0) >= options.min_age
        )
    if not short:
        assert verdict.remedies == ("reap",), "nobody is signalled or ended while there is room"
        old = [zombie for zombie in verdict.due if zombie.claim != "orphan"]
        assert all(zombie.age >= 3600 for zombie in old)
        kept = [
            zombie
            for zombie in offender.zombies
            if zombie.claim != "orphan"
            and zombie.age >= 3600
            and not zombie.canary
            and zombie.num_threads < 2
            and not zombie.tracer_pid
            and zombie not in old
        ]
        assert not old or len(kept) >= options.tolerate


def test_an_init_beyond_the_cap_takes_nobody_with_it():
    """Its children are not to end with an init that stays, and do not say so."""
    worst = container_process(60, init_pid=60, workload=workload(container_id="d" * 64))
    verdicts = policy.judge(
        node(worst, container_process(50), INIT), DEFAULTS._replace(max_parents=1)
    )
    assert [(verdict.offender.pid, verdict.reason) for verdict in verdicts] == [
        (60, "act"),
        (50, "max_parents"),
        (40, "max_parents"),
    ]


@pytest.mark.parametrize(
    "changes, usage, reason",
    [
        ({"more": policy.MAX_ORPHANS - 1}, 0.5, "act"),
        ({"more": policy.MAX_ORPHANS}, 0.5, "too_many_orphans"),
        ({"more": policy.MAX_ORPHANS}, 0.949, "too_many_orphans"),
        ({"more": policy.MAX_ORPHANS}, 0.95, "act"),  # nothing can start as it is
        (
            {"more": policy.MAX_ORPHANS, "pids": cgroups.Pids(94, 100, "/a")},
            0.5,
            "too_many_orphans",
        ),
        ({"more": policy.MAX_ORPHANS, "pids": cgroups.Pids(95, 100, "/a")}, 0.5, "act"),
        # its namespace ends with it
        ({"more": policy.MAX_ORPHANS, "init_pid": 50, "status": status((50, 1))}, 0.5, "act"),
    ],
)
def test_a_storm_of_orphans_is_not_let_loose_while_there_is_room(changes, usage, reason):
    (verdict,) = policy.judge(node(container_process(**changes), usage=usage), DEFAULTS)
    assert (verdict.reason, "terminate" in verdict.remedies) == (reason, reason == "act")


ROOM, SHORT, FULL = 0.499, 0.5, 0.95
OLD = [orphan(1, age=60.0), zombie(2, age=60.0), zombie(3, age=100.0)]


@pytest.mark.parametrize(
    "usage, remedies, due",
    [
        (ROOM, ("reap",), {1}),
        (SHORT, REMEDIES, {1}),
        (0.9, REMEDIES, {1, 2, 3}),
        (FULL, REMEDIES, {1, 2, 3}),
    ],
)
def test_orphans_are_collected_always_and_others_where_room_is_short(usage, remedies, due):
    """At a share of exactly a half one task less is enough, and the orphan is that one."""
    (verdict,) = policy.judge(node(container_process(zombies=tuple(OLD)), usage=usage), DEFAULTS)
    assert (verdict.reason, verdict.remedies, {zombie.pid for zombie in verdict.due}) == (
        "act",
        remedies,
        due,
    )


def test_no_more_are_collected_than_make_room_and_the_oldest_come_first_whoever_holds_them():
    snapshot = node(
        container_process(50, zombies=tuple(zombie(pid, age=60.0 + pid) for pid in range(10))),
        container_process(
            60, zombies=tuple(zombie(pid, 60, age=60.0 + pid) for pid in range(10, 20))
        ),
    )._replace(limits=limits.Limits(1000, 2000, 504, 1000))  # 499 are less than a half
    first, second = policy.judge(snapshot, DEFAULTS)
    assert (first.reason, first.remedies) == ("older_first", ())
    assert sorted(zombie.pid for zombie in second.due) == [15, 16, 17, 18, 19]
    in_vain = {(zombie.pid, zombie.start_ticks) for zombie in second.due}
    first, second = policy.judge(snapshot, DEFAULTS, tried=in_vain)
    assert sorted(zombie.pid for zombie in second.due) == list(range(10, 20)), (
        "those tried in vain, and five in their place"
    )


@pytest.mark.parametrize(
    "age, number, tolerate, due",
    [(3600.0, 5, 5, 0), (3600.0, 6, 5, 1), (3599.0, 6, 5, 0), (3600.0, 6, 0, 6)],
)
def test_what_one_parent_keeps_beyond_measure_is_collected_though_there_is_room(
    age, number, tolerate, due
):
    offender = container_process(zombies=tuple(zombie(pid, age=age + pid) for pid in range(number)))
    (verdict,) = policy.judge(node(offender, usage=ROOM), DEFAULTS._replace(tolerate=tolerate))
    assert verdict.remedies == (("reap",) if due else ())
    if due:
        assert [zombie.pid for zombie in verdict.due] == list(reversed(range(number)))[:due], (
            "the oldest"
        )
    else:
        assert verdict.reason == "may_be_waited_for"


@pytest.mark.parametrize(
    "changes",
    [
        {"frozen": True},
        {"state": "T"},
        {"state": "D"},
        {"ended_ago": 1.0},
        {"more": policy.MAX_ORPHANS},
        {"zombies": (zombie(tracer_pid=50),)},
        {"zombies": (zombie(age=1.0, known_for=60.0),)},
    ],
)
def test_in_a_full_table_no_reason_spares(changes):
    offender = container_process(**changes)
    assert verdict_on(offender).remedies != REMEDIES
    (verdict,) = policy.judge(
        node(offender, usage=FULL),
        DEFAULTS._replace(max_parents=1, min_zombies=5),
        already_terminated=5,
    )
    assert (verdict.reason, verdict.remedies) == ("act", REMEDIES)


@pytest.mark.parametrize(
    "reason",
    [
        *DENIED,
        "protected",
        "protected_namespace",
        "namespace_unknown",
        "host_process",
        "host_service",
        "report_only",
    ],
)
def test_in_a_full_table_deny_list_and_protected_ones_are_spared(reason):
    snapshot, options = CASES[reason]
    full = snapshot._replace(limits=snapshot.limits._replace(tasks=32768))
    assert policy.judge(full, options)[0].reason == reason


def test_of_the_replicas_of_a_workload_one_is_ended():
    pod = {"pod_uid": UID, "pod": ("lease-1", "web-0")}
    replicas = [
        container_process(
            pid, init_pid=None, workload=workload(container_id=f"{pid // 2:064x}", **pod)
        )
        for pid in (60, 61, 62)
    ]
    assert [verdict.reason for verdict in policy.judge(node(*replicas), DEFAULTS)] == [
        "act",
        "act",
        "cooldown",
    ], "the first two are in one container"


@pytest.mark.parametrize(
    "pids, zombies, level",
    [
        (cgroups.Pids(60, 100, "/a"), 9, "room"),
        (cgroups.Pids(60, 100, "/a"), 10, "pressure"),
        (cgroups.Pids(99, 100, "/a"), 9, "room"),
        (cgroups.Pids(99, 100, "/a"), 10, "full"),
        (cgroups.Pids(5, 0, "/a"), 9, "room"),
    ],
)
def test_zombies_are_to_blame_only_where_they_take_a_tenth(pids, zombies, level):
    """A program with many threads would otherwise give up the status of each child that it does not
    ask for at once, and gain nothing.
    """
    parent = container_process(zombies=tuple(zombie(pid) for pid in range(zombies)), pids=pids)
    assert policy.judge(node(parent, usage=0.1), DEFAULTS)[0].room.level == level
    assert (
        policy.judge(node(parent, usage=0.1), DEFAULTS._replace(pressure=0.0))[0].room.level
        != "room"
    )


def test_a_full_cgroup_hides_no_full_node():
    """A tenant may make a cgroup below its own, and fill it with living processes."""
    parent = container_process(pids=cgroups.Pids(990, 1000, "/a"))
    (verdict,) = policy.judge(node(parent, usage=0.97), DEFAULTS)
    assert (verdict.room.level, verdict.room.where, verdict.remedies) == (
        "full",
        "node",
        REMEDIES,
    )


def test_a_full_cgroup_is_no_reason_to_end_more_than_a_few():
    """Its owner's other containers may be just as full."""
    full = {"pids": cgroups.Pids(96, 100, "/a"), "zombies": tuple(zombie(pid) for pid in range(20))}
    (verdict,) = policy.judge(node(container_process(ended_ago=1.0, **full), usage=0.1), DEFAULTS)
    assert (verdict.room.level, verdict.reason) == ("full", "cooldown")
    assert (
        policy.judge(node(container_process(**full), usage=0.1), DEFAULTS, already_terminated=10)[
            0
        ].reason
        == "max_parents"
    )


def test_whoever_leaks_makes_room_before_others():
    leaker = container_process(50, zombies=tuple(zombie(pid) for pid in range(5000)))
    others = container_process(60, zombies=(zombie(6000, 60, age=9000.0),))
    first, second = policy.judge(node(leaker, others, usage=0.55), DEFAULTS)
    assert (second.reason, second.remedies) == ("older_first", ())
    assert len(first.due) == 1640 and first.explanation == "1640 of the oldest, to make room"
    assert (
        policy.judge(node(leaker, others, usage=0.55), DEFAULTS._replace(tolerate=5000))[1].reason
        == "act"
    ), "else the oldest of all is the first"


def test_an_orphan_that_is_handed_on_grows_old_all_the_same():
    handed_on = orphan(age=10.0, known_for=1000.0)
    assert (
        policy.judge(node(container_process(zombies=(handed_on,)), usage=ROOM), DEFAULTS)[0].reason
        == "act"
    )
    just_now = handed_on._replace(age=4.9)
    assert (
        policy.judge(node(container_process(zombies=(just_now,)), usage=ROOM), DEFAULTS)[0].reason
        == "too_young"
    ), "its adopter may be about to wait"


def test_where_only_reap_may_be_tried_and_is_impossible():
    (verdict,) = policy.judge(
        node(container_process())._replace(refusal=("yama", "nobody may trace")),
        DEFAULTS._replace(remedies=("reap",)),
    )
    assert (verdict.reason, verdict.remedies) == ("reap_impossible", ())


def test_pressure_0_is_always():
    (verdict,) = policy.judge(
        node(container_process(), usage=0.001), DEFAULTS._replace(pressure=0.0)
    )
    assert (verdict.reason, verdict.remedies) == ("act", REMEDIES)


def test_without_reap_on_this_node_signals_are_left_where_room_is_short():
    (verdict,) = policy.judge(
        node(container_process())._replace(refusal=("yama", "nobody may trace")), DEFAULTS
    )
    assert (verdict.reason, verdict.remedies) == ("act", ("nudge", "terminate"))


@pytest.mark.parametrize(
    "used, forecast, level",
    [
        (499, None, "room"),
        (500, None, "pressure"),
        (949, None, "pressure"),
        (950, None, "full"),
        (100, 3600.0, "pressure"),
        (100, 3601.0, "room"),
    ],
)
def test_level_of_pressure(used, forecast, level):
    assert pressure.at(used, 1000, limits.Forecast(None, forecast), 0.5).level == level


def test_the_limit_that_binds_first_counts():
    tight = container_process(pids=cgroups.Pids(60, 100, "/a"))
    room = pressure.of(node(tight, usage=0.3), tight, 0.5)
    assert (room.level, room.where, room.too_many(0.5)) == ("pressure", "/a", 11)
    assert pressure.of(node(tight, usage=0.7), tight, 0.5).where == "node"
    unlimited = container_process(
        pids=cgroups.Pids(60, None, "/a"), forecast=limits.Forecast(1.0, 1.0)
    )
    assert pressure.of(node(unlimited, usage=0.3), unlimited, 0.5).level == "room"


@pytest.mark.parametrize(
    "changes, options, reason",
    [
        ({"pod_uid": UID}, DEFAULTS, "namespace_unknown"),
        ({"pod_uid": UID}, DEFAULTS._replace(protect_namespaces=("lease-1",)), "namespace_unknown"),
        ({"pod_uid": UID}, DEFAULTS._replace(protect_namespaces=()), "act"),
        ({"pod_uid": UID, "pod": ("lease-1", "web-0")}, DEFAULTS, "act"),
        # a container of Docker has no namespace that could be protected
        ({"pod_uid": None}, DEFAULTS, "act"),
    ],
)
def test_a_pod_whose_namespace_is_not_known_may_be_a_protected_one(changes, options, reason):
    verdict = verdict_on(container_process(workload=workload(**changes)), options)
    assert verdict.reason == reason
    if reason == "namespace_unknown":
        assert UID in verdict.explanation and "/var/log/pods" in verdict.explanation


CANARY = zombie(900, canary=True)


def test_a_canary_is_no_fault_of_the_parent_however_old_it_is():
    verdict = verdict_on(
        container_process(zombies=(CANARY._replace(age=1e6), CANARY._replace(pid=901))), EAGER
    )
    assert (verdict.reason, verdict.due, verdict.remedies) == ("own_canary", (), ())


def test_a_canary_beside_zombies_of_its_own_is_not_acted_on_and_does_not_count():
    own = zombie(1)
    both = container_process(zombies=(CANARY, own))
    assert verdict_on(both).due == (own,)
    assert verdict_on(both, DEFAULTS._replace(min_zombies=2)).reason == "too_few"
    young = container_process(zombies=(CANARY, own._replace(age=1.0)))
    assert verdict_on(young).reason == "too_young"


@pytest.mark.parametrize(
    "other, reason",
    [({"tracer_pid": 9}, "traced"), ({"num_threads": 2}, "leader_dead_threads_alive")],
)
def test_a_canary_beside_one_that_nobody_can_collect(other, reason):
    for zombies in ((CANARY, zombie(1, **other)), (zombie(1, **other), CANARY)):
        assert verdict_on(container_process(zombies=zombies)).reason == reason


def test_a_canary_does_not_make_its_init_one_that_keeps_zombies():
    """Ending a process there would move its zombies to an init of which all that is known is the
    canary's own word.
    """
    init = INIT._replace(zombies=(CANARY._replace(ppid=40, age=1e6),))
    assert policy.judge(node(container_process(), init), DEFAULTS)[0].remedies == REMEDIES


LEAKING = container_process(init_reaps=False)


@pytest.mark.parametrize("remedies", [("nudge", "terminate"), ("terminate",)])
def test_where_the_adopter_leaks_and_reap_is_not_there_nothing_is_ended_in_vain(remedies):
    verdict = verdict_on(LEAKING, DEFAULTS._replace(remedies=remedies))
    assert (verdict.reason, verdict.remedies) == ("adopter_does_not_reap", remedies[:-1])
    assert "PID 40, the init of its PID namespace" in verdict.explanation


@pytest.mark.parametrize(
    "remedies", [("reap", "nudge", "terminate"), ("reap", "terminate"), ("terminate", "reap")]
)
def test_where_the_adopter_leaks_reap_helps_both(remedies):
    verdict = verdict_on(LEAKING, DEFAULTS._replace(remedies=remedies))
    assert (verdict.reason, verdict.remedies) == ("act", remedies)
    assert "PID 40" in verdict.explanation and "reap is then for that one" in verdict.explanation


@pytest.mark.parametrize("remedies", [("nudge", "terminate"), ("reap", "nudge", "terminate")])
@pytest.mark.parametrize("init_reaps", [True, None])
def test_where_the_adopter_reaps_or_is_not_known_nothing_changes(init_reaps, remedies):
    options = DEFAULTS._replace(remedies=remedies)
    verdict = verdict_on(container_process(init_reaps=init_reaps), options)
    assert verdict == verdict_on(container_process(), options)._replace(offender=verdict.offender)
    assert verdict.remedies == remedies


def test_an_init_that_leaks_is_itself_ended_where_it_is_the_parent():
    """With it ends the whole namespace, and nothing is left that could move."""
    verdict = verdict_on(
        container_process(40, status=status((40, 1)), init_reaps=False),
        DEFAULTS._replace(remedies=("nudge", "terminate")),
    )
    assert (verdict.reason, verdict.remedies) == ("act", ("nudge", "terminate"))


@pytest.mark.parametrize("remedies", [("nudge",), ("reap",), ()])
def test_an_adopter_that_leaks_matters_to_terminate_only(remedies):
    options = DEFAULTS._replace(remedies=remedies)
    assert verdict_on(LEAKING, options) == verdict_on(container_process(), options)._replace(
        offender=LEAKING
    )


def test_in_its_cooldown_the_adopter_is_not_what_keeps_it():
    verdict = verdict_on(
        LEAKING._replace(ended_ago=1.0), DEFAULTS._replace(remedies=("nudge", "terminate"))
    )
    assert (verdict.reason, verdict.remedies) == ("cooldown", ("nudge",))


@pytest.mark.parametrize(
    "reason",
    [
        *DENIED,
        "host_service",
        "host_process",
        "protected",
        "protected_namespace",
        "namespace_unknown",
    ],
)
def test_who_is_spared_is_spared_with_zombies_or_without(reason):
    snapshot, options = CASES[reason]
    without = snapshot.offenders[0]._replace(zombies=())
    assert policy.spared(without, options, policy.compiled(options))[0] == reason
    assert (
        policy.spared(snapshot.offenders[0], options, policy.compiled(options))
        == policy.judge(snapshot, options)[0][3:5]
    )


@pytest.mark.parametrize(
    "reason",
    [
        "act",
        "may_be_waited_for",
        "own_canary",
        "too_young",
        "too_few",
        "parent_stopped",
        "parent_frozen",
        "report_only",
        "cooldown",
    ],
)
def test_who_is_not_spared_for_what_it_is(reason):
    snapshot, options = CASES[reason]
    assert policy.spared(snapshot.offenders[0], options, policy.compiled(options)) is None
