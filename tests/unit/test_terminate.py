"""Who gets SIGTERM first, and when a container is said to end with a program: on processes made up
by hand.
"""

from __future__ import annotations

from collections import namedtuple

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import terminate
from rig import handmade

CONTAINER = "/docker/" + "c" * 64
HOST = "/system.slice/docker.service"

Process = namedtuple("Process", ("ppid", "start", "session", "program", "cgroup", "ns_pid"))
SHIM = Process(1, 10, 20, "containerd-shim", HOST, (20,))
TINI = Process(20, 20, 40, "tini", CONTAINER, (40, 1))
PAUSE = Process(20, 20, 30, "pause", "/docker/" + "d" * 64, (30, 1))


class FakeProcFS:
    """/proc of these processes: PID to Process."""

    def __init__(self, **processes):
        self.processes = {int(name.strip("p")): process for name, process in processes.items()}

    def stat(self, pid):
        process = self.processes.get(pid)
        return process and procfs.Stat(
            pid, process.program.encode(), "S", process.ppid, 0, 1, process.start, process.session
        )

    def status(self, pid):
        process = self.processes.get(pid)
        return process and handmade.status(process.ns_pid)

    def executable(self, pid):
        return b"/usr/bin/" + self.processes[pid].program.encode()

    def command_line(self, pid):
        return self.processes[pid].program.encode()

    def cgroup(self, pid):
        return (
            procfs.CgroupLine("", self.processes[pid].cgroup if pid in self.processes else HOST),
        )

    def children(self, pid):
        return [number for number, process in self.processes.items() if process.ppid == pid]


def offender(process, **changes):
    return handmade.container_process(
        status=handmade.status(process.ns_pid), **{"init_pid": 40, **changes}
    )


def child_of_tini(**changes):
    return Process(40, 50, 40, "python3", CONTAINER, (50, 7))._replace(**changes)


DAEMON = child_of_tini(session=45)


@pytest.mark.parametrize(
    "parent, process, sigterm",
    # a leader, but not started by the runtime: it may have become that later
    [
        (TINI, child_of_tini(), False),
        (TINI, child_of_tini(session=50), False),
        (TINI, DAEMON, True),
        (TINI._replace(program="python3"), DAEMON, True),
        (TINI._replace(start=60), child_of_tini(), True),  # it is older than its parent
        # within one clock tick either may be the older
        (TINI._replace(start=50), child_of_tini(), False),
        (TINI._replace(session=0), child_of_tini(session=0), False),
        (TINI._replace(ppid=21), DAEMON, False),
    ],
    ids=str,
)
def test_only_an_adopted_program_gets_sigterm(parent, process, sigterm):
    proc = FakeProcFS(p20=SHIM, p21=SHIM._replace(cgroup=CONTAINER), p40=parent, p50=process)
    assert terminate.gets_sigterm(proc, offender(process)) is sigterm


@pytest.mark.parametrize("name", ["systemd", "init"])
def test_systemd_asks_for_the_status_of_daemons(name):
    assert not terminate.gets_sigterm(
        FakeProcFS(p20=SHIM, p40=TINI._replace(program=name), p50=DAEMON), offender(DAEMON)
    )


def test_one_that_has_ended_or_whose_parent_is_out_of_sight_gets_no_sigterm():
    assert not terminate.gets_sigterm(FakeProcFS(), offender(DAEMON))
    assert not terminate.gets_sigterm(FakeProcFS(p50=DAEMON._replace(ppid=0)), offender(DAEMON))


@pytest.mark.parametrize(
    "process, others, says",
    # docker exec
    [
        (child_of_tini(ns_pid=(50, 1)), {"p40": TINI}, "It is PID 1"),
        (
            child_of_tini(),
            {"p40": TINI},
            "PID 40 (tini) was started to run it, and ends when it does",
        ),
        # adopted later
        (
            child_of_tini(),
            {"p40": TINI, "p51": child_of_tini(start=60)},
            "and ends when it does",
        ),
        (child_of_tini(start=60), {"p40": TINI, "p51": child_of_tini(start=55)}, None),
        (child_of_tini(), {"p40": TINI._replace(program="dumb-init")}, "(dumb-init)"),
        (child_of_tini(), {"p40": TINI._replace(program="docker-init")}, "(docker-init)"),
        (child_of_tini(), {"p40": TINI._replace(program="catatonit")}, "(catatonit)"),
        (child_of_tini(), {"p40": TINI._replace(program="bash")}, None),  # it may
        # not the first program
        (
            child_of_tini(ppid=44),
            {"p40": TINI, "p44": child_of_tini(program="tini", ns_pid=(44, 6))},
            None,
        ),
        (child_of_tini(ppid=20), {"p40": TINI}, None),
    ],
    ids=str,
)
def test_a_container_ends_with_the_program_that_its_init_was_started_for(process, others, says):
    said = terminate.ends_container(FakeProcFS(p20=SHIM, p50=process, **others), offender(process))
    assert says in said if says else said is None


def test_a_container_ends_with_its_first_program_where_pid_1_is_another_container_s():
    process = child_of_tini(ppid=20)
    proc = FakeProcFS(p20=SHIM, p30=PAUSE, p50=process)
    assert "The container runtime started it" in terminate.ends_container(
        proc, offender(process, init_pid=30)
    )
    tini = TINI._replace(ns_pid=(40, 6))
    proc = FakeProcFS(p20=SHIM, p30=PAUSE, p40=tini, p50=child_of_tini())
    assert "(tini)" in terminate.ends_container(proc, offender(child_of_tini(), init_pid=30))


def test_a_process_of_the_host_ends_no_container():
    process = child_of_tini(ppid=1, ns_pid=(50,), cgroup=HOST)
    assert terminate.ends_container(FakeProcFS(p50=process), handmade.host_process()) is None
