"""What the signals, the system call and the name of a PID 1 say of it, and which of them is
believed.
"""

from __future__ import annotations

import os
import signal

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import inits
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import status

CHLD = 1 << (signal.SIGCHLD - 1)
OTHERS = 0xFFFFFFFFFFFFFFFF & ~CHLD
PLAIN, CAUGHT, BLOCKED, IGNORED = (
    status(),
    status(caught=CHLD),
    status(blocked=CHLD),
    status(ignored=CHLD),
)
ANY, OF_A_GROUP, OF_THAT_GROUP = 2**64 - 1, 0, 2**64 - 4711
WNOHANG, WSTOPPED, WEXITED, WCONTINUED, WNOWAIT = 0x1, 0x2, 0x4, 0x8, 0x1000000  # waitid(2)
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000  # wait(2), Linux notes


def wait4(who, options=0):
    return 61, who, 0x7FFD, options, 0, 0, 0


def waitid(kind, who, options=WEXITED):
    return 247, kind, who, 0x7FFD, options, 0, 0


POLL, SIGTIMEDWAIT, SLEEP = (
    (7, 0, 0, 5000, 0, 0, 0),
    (128, 0, 0, 0, 8, 0, 0),
    (230, 0, 0, 0, 0, 0, 0),
)


@pytest.mark.parametrize(
    "masks, verdict, words",
    [
        ({}, "unknown", "SIGCHLD is neither caught nor blocked"),
        ({"ignored": CHLD}, "reaps", "SIGCHLD is ignored"),
        ({"ignored": OTHERS}, "unknown", "SIGCHLD is neither caught nor blocked"),
        ({"caught": CHLD}, "unknown", "SIGCHLD is caught"),
        ({"blocked": CHLD}, "unknown", "SIGCHLD is blocked"),
        ({"caught": CHLD, "blocked": CHLD}, "unknown", "SIGCHLD is caught and blocked"),
        (
            {"caught": OTHERS, "blocked": OTHERS, "ignored": OTHERS},
            "unknown",
            "SIGCHLD is neither caught nor blocked",
        ),
    ],
)
def test_only_an_ignored_sigchld_tells_something(masks, verdict, words):
    assert inits.by_signals(status(**masks)) == inits.Evidence("signals", verdict, words)


def test_bit_is_that_of_the_signal():
    assert inits.SIGCHLD_BIT == CHLD


def test_options_are_those_of_the_headers():
    assert (inits.WEXITED, inits.WNOWAIT, inits.P_ALL) == (os.WEXITED, os.WNOWAIT, os.P_ALL)
    assert (inits.WNOTHREAD, inits.WCLONE) == (WNOTHREAD, WCLONE)


WAITS = {
    "wait4 for any": wait4(ANY),
    "wait4 for any, as a 32-bit -1": wait4(0xFFFFFFFF),
    "wait4 for any, stopped ones too": wait4(ANY, WSTOPPED | WCONTINUED),
    "wait4 for any, clones too": wait4(ANY, WALL),
    "waitid for any": waitid(inits.P_ALL, 0),
    "waitid for any, whatever the id": waitid(inits.P_ALL, 4711),
    "waitid for any, stopped ones too": waitid(inits.P_ALL, 0, WEXITED | WSTOPPED),
    "waitid for any, clones too": waitid(inits.P_ALL, 0, WEXITED | WALL),
}
WAITS_NOT = {
    "not told": None,
    "sleeps": SLEEP,
    "polls": POLL,
    "wait4 for one": wait4(4711),
    "wait4 for its group": wait4(OF_A_GROUP),
    "wait4 for another group": wait4(OF_THAT_GROUP),
    "wait4 for this thread's only": wait4(ANY, WNOTHREAD),
    "wait4 for clones only": wait4(ANY, WCLONE),
    "wait4 for clones only, sign extended": wait4(ANY, 2**64 - WCLONE),
    "waitid for one": waitid(os.P_PID, 4711),
    "waitid for a group": waitid(os.P_PGID, 0),
    "waitid for any that stops": waitid(inits.P_ALL, 0, WSTOPPED),
    "waitid for any, and leaves it": waitid(inits.P_ALL, 0, WEXITED | WNOWAIT),
    "waitid for this thread's only": waitid(inits.P_ALL, 0, WEXITED | WNOTHREAD),
    "waitid for clones only": waitid(inits.P_ALL, 0, WEXITED | WCLONE),
}


@pytest.mark.parametrize("what", [*WAITS, *WAITS_NOT])
def test_a_wait_for_any_child_that_exits(monkeypatch, what):
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "#1", "x86_64"))
    )
    found = inits.by_waiting({**WAITS, **WAITS_NOT}[what])
    assert (found.by, found.verdict) == ("waiting", "reaps" if what in WAITS else "unknown")
    assert ("is not waiting" in found.detail) == (what in WAITS_NOT)


def test_numbers_of_another_architecture_mean_nothing(monkeypatch):
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "#1", "aarch64"))
    )
    assert {inits.by_waiting(call).verdict for call in WAITS.values()} == {"unknown"}
    assert (
        inits.by_waiting((260, *wait4(ANY)[1:])).verdict
        == inits.by_waiting((95, *waitid(inits.P_ALL, 0)[1:])).verdict
        == "reaps"
    )
    assert inits.by_name(b"/usr/bin/tini", b"", PLAIN, (137, *SIGTIMEDWAIT[1:])).verdict == "reaps"


def test_nothing_is_told_on_an_architecture_whose_numbers_are_not_known(monkeypatch):
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "#1", "riscv64"))
    )
    assert {inits.by_waiting(call).verdict for call in WAITS.values()} == {"unknown"}
    assert misled([thread()], [thread()], has_children=False) == UNSEEN


NAMED = {  # (executable, command line) -> the program that it is
    (b"/usr/bin/tini", b"/usr/bin/tini\0--\0app\0"): "tini",
    (b"/sbin/tini-static", b"x"): "tini-static",
    (b"/usr/bin/python3.11", b"/usr/bin/python3\0/usr/bin/supervisord\0-c\0x\0"): "supervisord",
    (b"/usr/bin/python3", b"python3\0-IS\0-c\0import time\0"): "python3",
    (b"/usr/bin/python3", b"python3\0-u\0/sbin/my_init\0--quiet\0"): "my_init",
    (b"/usr/bin/python3", b"/usr/bin/python3\0-X\0dev\0-Wd\0/sbin/my_init\0"): "my_init",
    (b"/usr/bin/python3", b"python3\0-m\0my_init\0"): "python3",
    (b"/usr/bin/python3", b"python3\0-Ic\0my_init\0"): "python3",
    (b"/usr/bin/python3", b"python3\0-u\0"): "python3",
    (b"/usr/bin/python3", b"python3\0" + b"-u\0" * 9999 + b"my_init\0"): "python3",
    (b"/opt/conda/bin/tini", b"tini\0-g\0--\0start-notebook.sh\0"): "tini",
    (b"/usr/bin/python3", b"python3\0"): "python3",
    (b"/usr/bin/python3", b""): "python3",
    (b"/usr/bin/python3", None): "python3",
    (b"/usr/bin/python3", b"\0\0supervisord\0"): "python3",  # only its first argument counts
    (b"/bin/busybox", b"init\0"): "init",
    (b"/bin/busybox", b"busybox\0init\0"): "init",
    (b"/bin/busybox", b"/bin/busybox\0sh\0-c\0init\0"): "sh",
    (b"/usr/bin/sleep", b"dumb-init\0" + b"1000"): "sleep",
    (b"/opt/\xff\xfe", b"tini\0"): "\ufffd\ufffd",
    (b"", b"tini\0"): None,
    (None, b"tini\0"): None,
    (b"/", b""): None,
}


@pytest.mark.parametrize("executable, command_line", NAMED)
def test_program_is_the_executable_or_what_an_interpreter_was_started_as(executable, command_line):
    assert inits.program(executable, command_line) == NAMED[executable, command_line]


BELIEVED = [  # program, verdict, a status and a system call with which it is believed
    ("tini", "reaps", PLAIN, SIGTIMEDWAIT),
    ("tini-static", "reaps", PLAIN, SIGTIMEDWAIT),
    ("docker-init", "reaps", PLAIN, SIGTIMEDWAIT),
    ("dumb-init", "reaps", CAUGHT, SIGTIMEDWAIT),
    ("openrc-init", "reaps", CAUGHT, None),
    ("bash", "reaps", CAUGHT, SLEEP),
    ("pause", "reaps", CAUGHT, SLEEP),
    ("catatonit", "reaps", BLOCKED, None),
    ("podman-init", "reaps", BLOCKED, None),
    ("s6-svscan", "reaps", BLOCKED, POLL),
    ("runsvdir", "reaps", BLOCKED, POLL),
    ("systemd", "reaps", BLOCKED, None),
    ("init", "reaps", CAUGHT, None),
    ("init", "reaps", BLOCKED, SLEEP),
    ("init", "reaps", PLAIN, SIGTIMEDWAIT),
    ("runit", "reaps", CAUGHT, POLL),
    ("runit-init", "reaps", CAUGHT, POLL),
    ("my_init", "reaps", PLAIN, wait4(ANY)),
    ("sleep", "leaks", PLAIN, SLEEP),
    ("tail", "leaks", PLAIN, None),
    ("cat", "leaks", PLAIN, None),
]


@pytest.mark.parametrize("name, verdict, its_status, call", BELIEVED)
def test_a_name_is_believed_with_the_traits_of_that_program(name, verdict, its_status, call):
    assert inits.by_name(b"/usr/bin/" + name.encode(), b"", its_status, call) == inits.Evidence(
        "name", verdict, f"it is called {name}"
    )


NOT_BELIEVED = [
    ("tini", PLAIN, SLEEP),
    ("tini", CAUGHT, POLL),
    ("tini", PLAIN, None),
    ("docker-init", BLOCKED, wait4(ANY)),
    ("dumb-init", PLAIN, SIGTIMEDWAIT),
    ("dumb-init", BLOCKED, SLEEP),
    ("bash", PLAIN, SLEEP),
    ("pause", PLAIN, None),
    ("catatonit", CAUGHT, None),
    ("s6-svscan", PLAIN, POLL),
    ("systemd", CAUGHT, POLL),
    ("systemd", PLAIN, None),
    ("init", PLAIN, POLL),
    ("runit", CAUGHT, (130, 0, 8, 0, 0, 0, 0)),
    ("runit", CAUGHT, None),
    ("my_init", PLAIN, SLEEP),
    ("my_init", PLAIN, None),
    ("my_init", CAUGHT, wait4(4711)),
    ("sleep", CAUGHT, SLEEP),
    ("sleep", BLOCKED, SLEEP),
    ("cat", CAUGHT, None),
    ("sleep", IGNORED, SLEEP),
    ("tail", IGNORED, None),
]


@pytest.mark.parametrize("name, its_status, call", NOT_BELIEVED)
def test_a_name_is_not_believed_without_them(name, its_status, call):
    found = inits.by_name(b"/usr/bin/" + name.encode(), b"", its_status, call)
    assert found == inits.Evidence(
        "name", "unknown", f"it is called {name}, but does not handle signals like {name}"
    )


@pytest.mark.parametrize(
    "executable",
    [
        b"/usr/bin/redis-server",
        b"/usr/bin/tini2",
        b"/usr/bin/mytini",
        b"/usr/bin/tini\n",
        b"/usr/bin/TINI",
        b"/tini/app",
        b"/bin/sh",
        b"/bin/dash",
        b"\xff",
        b"",
        None,
    ],
)
def test_other_names_say_nothing(executable):
    for its_status in (PLAIN, CAUGHT, BLOCKED, IGNORED):
        assert inits.by_name(executable, b"tini\0", its_status, SIGTIMEDWAIT) == inits.Evidence(
            "name", "unknown", "its name is unknown"
        )


def evidence(**verdicts):
    return tuple(inits.Evidence(by, verdict, "") for by, verdict in verdicts.items())


@pytest.mark.parametrize(
    "given_, verdict",
    [
        ({}, "unknown"),
        ({"name": "unknown", "signals": "unknown", "waiting": "unknown"}, "unknown"),
        ({"name": "reaps"}, "reaps"),
        ({"name": "leaks"}, "leaks"),
        ({"name": "reaps", "zombies": "leaks"}, "leaks"),
        ({"name": "reaps", "canary": "leaks"}, "leaks"),
        ({"name": "leaks", "waiting": "reaps"}, "reaps"),
        ({"waiting": "reaps", "canary": "leaks"}, "leaks"),
        ({"signals": "reaps", "canary": "leaks"}, "leaks"),
        ({"canary": "reaps", "zombies": "leaks"}, "leaks"),
        ({"canary": "reaps", "sweeps": "leaks"}, "leaks"),
        ({"waiting": "reaps", "sweeps": "leaks"}, "leaks"),
        ({"zombies": "unknown", "canary": "unknown", "signals": "reaps", "name": "leaks"}, "reaps"),
    ],
)
def test_the_strongest_evidence_decides(given_, verdict):
    assert inits.conclude(evidence(**given_)) == verdict
    assert inits.conclude(evidence(**dict(reversed(given_.items())))) == verdict


def test_of_two_canaries_the_first_that_says_something_counts():
    told = (
        inits.Evidence("canary", "unknown", "not probed"),
        inits.Evidence("canary", "leaks", "it did not collect an orphan"),
    )
    assert inits.conclude(told) == "leaks"


# To whom a canary may be sent

READ = (0, 3, 0x7FFD, 1, 0, 0, 0)
GO = 0x7FC1FEFD  # of prometheus-node-exporter, started with SIGINT ignored
UNSEEN, TOLD = (
    "what it waits for cannot be seen",
    "it gets SIGCHLD when a child ends, and might exit then",
)
TOLD_WITH_CHILDREN = (
    "it has children and gets SIGCHLD when one ends, so it might mistake an orphan for one of them"
)
LOOKS = (
    "it has children and may be looking after them, so it might mistake an orphan for one of them"
)
WAITING = "it is waiting for any child"
IS_TINI = (inits.Evidence("name", "reaps", ""),)


def thread(tid=30, blocked=0, caught=0, runs=7, call=READ):
    return procfs.Thread(tid, blocked, caught, runs, call)


def misled(before, now, has_children, name="app", evidence=()):
    return inits.misled_by_an_orphan(name, evidence, before, now, has_children)


@pytest.mark.parametrize(
    "now, alone, with_children",
    [
        ([thread()], None, None),
        ([thread(call=procfs.RUNNING)], None, None),
        ([thread(caught=CHLD)], TOLD, TOLD_WITH_CHILDREN),
        ([thread(blocked=CHLD)], TOLD, TOLD_WITH_CHILDREN),
        ([thread(caught=OTHERS & ~GO, blocked=OTHERS)], None, None),
        ([thread(call=SIGTIMEDWAIT)], TOLD, TOLD_WITH_CHILDREN),
        # SIGCHLD is lost in the first one
        ([thread(), thread(31, blocked=CHLD), thread(32, call=SIGTIMEDWAIT)], None, None),
        ([thread(caught=GO), thread(31, caught=GO)], None, TOLD_WITH_CHILDREN),
        ([thread(caught=GO & ~(1 << 22))], TOLD, TOLD_WITH_CHILDREN),
        ([thread(call=wait4(ANY))], WAITING, WAITING),
        ([thread(), thread(31, call=waitid(inits.P_ALL, 0))], WAITING, WAITING),
        ([thread(call=wait4(4711))], None, None),
        ([thread(call=None)], UNSEEN, UNSEEN),
        ([thread(), thread(31, call=None)], UNSEEN, UNSEEN),
        ([thread(runs=None)], None, LOOKS),
        ([], "not all of its threads could be read", "not all of its threads could be read"),
    ],
)
def test_who_might_take_an_orphan_for_one_of_its_own(monkeypatch, now, alone, with_children):
    monkeypatch.setattr(
        os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "#1", "x86_64"))
    )
    assert (misled(now, now, False), misled(now, now, True)) == (alone, with_children)
    assert misled(now, now, True, "tini", IS_TINI) is None


@pytest.mark.parametrize("before", [[thread(runs=6)], [], [thread(31)], [thread(), thread(31)]])
def test_one_that_has_run_may_look_after_its_children(before):
    assert misled(before, [thread()], has_children=True) == LOOKS
    assert misled(before, [thread()], has_children=False) is None


def test_threads_beyond_the_limit_may_do_anything():
    many = [thread(tid) for tid in range(inits.MAX_THREADS)]
    assert misled(many, many, has_children=False) == "not all of its threads could be read"
    assert misled(many[1:], many[1:], has_children=True) is None


@pytest.mark.parametrize("name", ["dash", "sh", "bash", "ash", "ruby", "ruby3.1", "sshd"])
def test_what_always_catches_sigchld_has_nothing_to_wait_for_without_a_child(name):
    assert (
        misled([thread(caught=CHLD)], [thread(caught=CHLD)], has_children=False, name=name) is None
    )
    assert (
        misled([thread(caught=CHLD)], [thread(caught=CHLD)], has_children=True, name=name)
        == TOLD_WITH_CHILDREN
    )


@pytest.mark.parametrize(
    "name, evidence_of_it",
    [
        ("tini", ()),
        ("tini", (inits.Evidence("name", "unknown", ""),)),
        ("bash", IS_TINI),
        ("init", IS_TINI),
        ("nginx", IS_TINI),
        (None, IS_TINI),
        ("mytini", IS_TINI),
        ("tini\n", IS_TINI),
    ],
)
def test_only_what_is_an_init_by_name_and_signals_is_made_for_orphans(name, evidence_of_it):
    assert (
        misled([thread(caught=CHLD)], [thread(caught=CHLD)], True, name, evidence_of_it)
        == TOLD_WITH_CHILDREN
    )


@pytest.mark.parametrize(
    "by, sure",
    [
        ("zombies", True),
        ("sweeps", True),
        ("signals", True),
        ("waiting", True),
        ("canary", False),
        ("name", False),
    ],
)
def test_what_needs_no_canary(by, sure):
    assert (
        inits.is_sure(evidence(**{by: "reaps"})) == inits.is_sure(evidence(**{by: "leaks"})) == sure
    )
    assert not inits.is_sure(evidence(**{by: "unknown"}))


BYTES = (
    st.none()
    | st.binary(max_size=80)
    | st.lists(
        st.sampled_from([b"tini", b"python3", b"busybox", b"\0", b"/", b"\xff", b"\n", b"init"]),
        max_size=8,
    ).map(b"".join)
)
CALLS = (
    st.none()
    | st.tuples(*[st.integers(0, 2**64 - 1)] * 7)
    | st.tuples(st.sampled_from([7, 61, 128, 247]), *[st.integers(0, 2**64 - 1)] * 6)
)


@given(BYTES, BYTES, st.tuples(*[st.integers(0, 2**64 - 1)] * 3), CALLS)
def test_whatever_a_tenant_calls_itself_and_does(executable, command_line, masks, call):
    its_status = status(caught=masks[0], blocked=masks[1], ignored=masks[2])
    found = (
        inits.by_signals(its_status),
        inits.by_waiting(call),
        inits.by_name(executable, command_line, its_status, call),
    )
    assert [each.by for each in found] == ["signals", "waiting", "name"]
    assert {each.verdict for each in found} <= {"reaps", "leaks", "unknown"}
    if its_status.ignored & CHLD:
        assert "leaks" not in [each.verdict for each in found], "its children never become zombies"
    assert inits.conclude(found) in ("reaps", "leaks", "unknown")


def test_this_process_is_looked_at_as_it_is():
    real = procfs.ProcFS()
    found = inits.look_at(real, os.getpid(), real.status(os.getpid()))
    assert [each.by for each in found] == ["signals", "waiting", "name"]
    assert found[1].verdict == "unknown", "it reads /proc, so it waits for nobody"


class Running:
    """A process that runs when it is looked at first, and then waits. name: of its executable."""

    def __init__(self, name, *moments):
        self.name = name
        self.moments = list(moments)  # (status, system call)
        self.looks = 0

    def executable(self, _pid):
        return b"/bin/" + self.name

    def command_line(self, _pid):
        return self.name

    def system_call(self, _pid):
        self.looks += 1
        return self.moments[0][1]

    def status(self, _pid):
        self.moments = self.moments[1:] or self.moments
        return self.moments[0][0]

    def threads(self, _pid, _most):
        return []


@pytest.mark.parametrize(
    "name, moments, verdict, looks",
    [
        (b"init", [(PLAIN, None), (BLOCKED, SLEEP)], "reaps", 2),
        (b"tini", [(PLAIN, None), (PLAIN, SIGTIMEDWAIT)], "reaps", 2),
        (b"tini", [(PLAIN, None), (PLAIN, None), (PLAIN, SIGTIMEDWAIT)], "reaps", 3),
        (b"tini", [(PLAIN, None)], "unknown", 3),  # one that calculates under that name
        (b"tini", [(PLAIN, SLEEP), (PLAIN, SIGTIMEDWAIT)], "unknown", 1),
        (b"catatonit", [(BLOCKED, None)], "reaps", 1),
        (b"anything", [(PLAIN, None), (BLOCKED, SLEEP)], "unknown", 1),
    ],
)
def test_an_init_that_runs_at_this_moment_is_looked_at_again(name, moments, verdict, looks):
    running = Running(name, *moments)
    _signals, _waiting, by_name = inits.look_at(running, 50, moments[0][0])
    assert (by_name.verdict, running.looks) == (verdict, looks)


class Table:
    """A process table made by hand: PID -> (parent, PIDs in its namespaces, inode of its PID
    namespace).
    """

    def __init__(self, processes):
        self.processes = processes
        self.searched = 0

    def pids(self):
        self.searched += 1
        return list(self.processes)

    def stat(self, pid):
        return (
            procfs.Stat(pid, b"x", "S", self.processes[pid][0], 0, 1, 5)
            if pid in self.processes
            else None
        )

    def status(self, pid):
        return status(self.processes[pid][1]) if pid in self.processes else None

    def pid_namespace(self, pid):
        return self.processes[pid][2] if pid in self.processes else None


NODE, POD, NESTED, OTHER = 11, 22, 33, 44
TABLE = {
    1: (0, (1,), NODE),
    20: (1, (20,), NODE),
    30: (20, (30, 1), POD),
    31: (30, (31, 2), POD),
    32: (31, (32, 3), POD),
    40: (20, (40, 9), POD),  # put in from outside: docker exec
    41: (40, (41, 10), POD),
    50: (32, (50, 4, 1), NESTED),
    51: (50, (51, 5, 2), NESTED),
    60: (20, (60, 8), OTHER),  # whose PID 1 has ended
}


def init_of(pid, table, finder=None):
    finder = finder or inits.Inits(table)
    return finder.of(table.stat(pid), table.status(pid), table.pid_namespace(pid))


@pytest.mark.parametrize(
    "pid, init, searched",
    [
        (20, 1, 0),
        (30, 30, 0),
        (31, 30, 0),
        (32, 30, 0),
        (50, 50, 0),
        (51, 50, 0),
        (40, 30, 1),
        (41, 30, 1),
        (60, None, 1),
    ],
)
def test_pid_1_is_found_up_the_line_or_in_the_table(pid, init, searched):
    table = Table(TABLE)
    assert (init_of(pid, table), table.searched) == (init, searched)


def test_the_table_is_searched_once_for_all():
    table = Table(TABLE)
    finder = inits.Inits(table)
    assert [init_of(pid, table, finder) for pid in (60, 40, 41, 60, 51)] == [None, 30, 30, None, 50]
    assert table.searched == 1


def test_a_namespace_that_is_not_told_has_no_pid_1_to_be_found():
    table = Table({**TABLE, 31: (30, (31, 2), None)})
    assert (init_of(31, table), table.searched) == (None, 0)
