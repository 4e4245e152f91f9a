"""The audit of real PID 1s: what it says of them, what a canary does to them (nothing that lasts),
and what a sweep makes of it.

Most of it is one audit of many containers of one node, since the patience with those that leak is
real, 6.5 s. Those that collect their canary get as long as a busy machine takes for it; that the
others do not is no matter of time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from rig.agents import lines
from rig.kernel import PID_MAX_OF_A_NAMESPACE
from rig.node import ENGINE, NO_OPTIONS, PYTHON, ns_pids, offender_of, wait_until
from rig.reaping import (
    ANSWERS,
    AS_LONG_AS_IT_TAKES,
    PATIENTLY,
    PatientNode,
    agent_that,
    answer,
    status_of,
)

from .test_modules import Ansible

LEAKS = "ready()\nforever()"
COLLECTS = """
if os.fork() == 0:
    forever()
ready()
while True:
    os.wait()
"""
COLLECTS_EVERY_SECOND = """
ready()
while True:
    time.sleep(1)
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass
"""
IGNORES = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + LEAKS
SECCOMP_STRICT = """
never, _ = os.pipe()
ready()
ctypes.CDLL(None).prctl(22, 1)
os.read(never, 1)
"""
PARENT_BELOW = """
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""

# They take any exit of a child for the end of their work, as process managers do; the first one
# waits for it, the others are told or look. All but the last have a child that works. What they say
# before they end is seen by nobody, but their end is
ENDS = "sys.exit('a child has ended, so I end')\n"
WITH_A_CHILD = "if os.fork() == 0:\n    forever()\n"
ENDS_AFTER_A_WAIT = WITH_A_CHILD + "ready()\nos.wait()\n" + ENDS
ENDS_BY_A_HANDLER = WITH_A_CHILD + "signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))\n" + LEAKS
ENDS_BY_A_HANDLER_ALONE = "signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))\n" + LEAKS
ENDS_AFTER_SIGWAIT = (
    WITH_A_CHILD
    + """
ready()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
signal.sigwaitinfo([signal.SIGCHLD])
"""
    + ENDS
)
ENDS_AFTER_SIGWAIT_IN_A_THREAD = (
    WITH_A_CHILD
    + """
import threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
def wait():
    signal.sigwaitinfo([signal.SIGCHLD])
    os._exit(1)
threading.Thread(target=wait).start()
"""
    + LEAKS
)
ENDS_AFTER_SIGNALFD = (
    WITH_A_CHILD
    + """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
mask = (ctypes.c_uint64 * 1)(1 << 16)
told = ctypes.CDLL(None, use_errno=True).signalfd(-1, mask, 0)
ready()
os.read(told, 128)
"""
    + ENDS
)
ENDS_AFTER_A_LOOK = (
    WITH_A_CHILD
    + """
ready()
while os.waitpid(-1, os.WNOHANG) == (0, 0):
    time.sleep(0.1)
"""
    + ENDS
)
WAITS_FOR_ITS_OWN = (
    WITH_A_CHILD.replace("if os.fork()", "child = os.fork()\nif child")
    + "ready()\nos.waitpid(child, 0)\n"
    + ENDS
)


# Canaries of these inits, PIDs in the node, are let go first and have all the time they need; those
# of all others that many seconds
FIRST_THOSE_THAT_COLLECT = """
from reaper import canary
patience, canary.QUIET = %s, 2.0
def watch(canaries, real=canary.wait_for_fates):
    collecting = [each for each in canaries if each.init_pid in %r]
    canary.INIT_TIMEOUT = %r
    fates = real(collecting)
    canary.INIT_TIMEOUT = patience
    return {**fates, **real([each for each in canaries if each not in collecting])}
canary.wait_for_fates = watch
"""
# Until there is a file
UNTIL_TOLD = """
import os
from reaper import canary
class UntilTold(float):
    def __gt__(self, _seconds):
        return not os.path.exists(%r)
canary.INIT_TIMEOUT = UntilTold(1)
"""


def patient(seconds, collecting=()):
    """Code of an agent whose patience with a canary is another one. collecting: PIDs of inits that
    get as long as it takes.
    """
    return agent_that(
        lines(FIRST_THOSE_THAT_COLLECT % (seconds, list(collecting), AS_LONG_AS_IT_TAKES))
    )


HURRIED = patient(0.4)
# tests/mutations run this often, and are not about patience
REAL = 0.4 if "REAPER_ENGINE" in os.environ else "canary.INIT_TIMEOUT"


def with_capabilities(bounding):
    """Code of a PID 1 that has these and can never have others, as a runtime starts it."""
    return (
        """os.execvp("setpriv", ["setpriv", "--bounding-set=%s", "--inh-caps=-all", sys.executable, "-IS", "-c",
    "import os, time; os.write(1, b'ready\\\\n'); time.sleep(10000)"])"""
        % bounding
    )


# Of Docker without any option; with --cap-add SYS_PTRACE one more
DEFAULT = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,"
    "+audit_write,+setfcap"
)

# name -> code of PID 1; name -> (verdict without and with the canary)
CONTAINERS = {
    "leaks": ANSWERS + LEAKS,
    "has zombies": "zombie()\nzombie()\n" + LEAKS,
    "collects": COLLECTS,
    "every second": COLLECTS_EVERY_SECOND,
    "ignores": IGNORES,
    "parent below": PARENT_BELOW,
    "seccomp strict": SECCOMP_STRICT,
    "all capabilities": LEAKS,
    "default capabilities": with_capabilities(DEFAULT),
    "may trace": with_capabilities(DEFAULT + ",+sys_ptrace"),
    "may look": with_capabilities(DEFAULT + ",+perfmon"),
    "privileged": with_capabilities("+all"),
    "protected": "# postgres\n" + LEAKS,
    "stopped": LEAKS,
    "paused": LEAKS,
    "in kube-system": LEAKS,
    "in a pod of unknown namespace": LEAKS,
    "tenant": LEAKS,
    "ends after a wait": ENDS_AFTER_A_WAIT,
    "ends by a handler": ENDS_BY_A_HANDLER,
    "ends by a handler, without a child": ENDS_BY_A_HANDLER_ALONE,
    "ends after sigwait": ENDS_AFTER_SIGWAIT,
    "ends after sigwait in a thread": ENDS_AFTER_SIGWAIT_IN_A_THREAD,
    "ends after signalfd": ENDS_AFTER_SIGNALFD,
    "ends after a look": ENDS_AFTER_A_LOOK,
    "waits for its own": WAITS_FOR_ITS_OWN,
}
VERDICTS = {
    "leaks": ("unknown", "leaks"),
    "has zombies": ("leaks", "leaks"),
    "collects": ("reaps", "reaps"),
    "every second": ("unknown", "reaps"),
    "ignores": ("reaps", "reaps"),
    "parent below": ("unknown", "leaks"),
    "seccomp strict": ("unknown", "leaks"),
    "all capabilities": ("unknown", "leaks"),
    "default capabilities": ("unknown", "leaks"),
    "privileged": ("unknown", "leaks"),
    "tenant": ("unknown", "leaks"),
    "ends after a wait": ("reaps", "reaps"),
    "waits for its own": ("unknown", "leaks"),
}
TOLD_ALREADY = ("has zombies", "collects", "ignores", "ends after a wait")
LEFT_ALONE = {  # name -> why no canary is sent
    "may trace": "CAP_SYS_PTRACE",
    "may look": "CAP_PERFMON",
    "protected": "protect: post[g]res",
    "stopped": "stopped or paused",
    "paused": "stopped or paused",
    "in kube-system": "kube-system",
    "in a pod of unknown namespace": "namespace of its pod",
    "ends by a handler": "has children and gets SIGCHLD",
    "ends by a handler, without a child": "gets SIGCHLD when a child ends",
    "ends after sigwait": "has children and gets SIGCHLD",
    "ends after sigwait in a thread": "has children and gets SIGCHLD",
    "ends after signalfd": "has children and gets SIGCHLD",
    "ends after a look": "may be looking after them",
}
OPTIONS = ("--min-age", "0", "--protect", "post[g]res")
PODS = {"in kube-system": "kube-system", "in a pod of unknown namespace": None, "tenant": "lease-1"}
UID, CONTAINER_ID = "8ed3b1b7-3f6e-4b5e-9d1c-%012d", "%064d"

V1, V2 = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")
# hierarchy, file, what is written there to freeze and to thaw, the file that tells, what it tells
FREEZERS = [
    (V1.parent / "freezer", "freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"),
    (V2, "cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"),
    (V2 / "unified", "cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"),
]


class Cgroups:
    """Real ones, made for processes of a test and removed after it."""

    def __init__(self):
        self.made, self.members, self.frozen = [], [], []

    def make(self, root, path, process) -> Path:
        directory = root / (f"zombie-reaper-audit-{os.getpid()}")
        for name in ("", *path.split("/")):
            directory = directory / name if name else directory
            if not directory.exists():
                directory.mkdir()
                self.made.append(directory)
        for member in [process, *process.children(recursive=True)]:
            (directory / "cgroup.procs").write_text(str(member.pid), encoding="ascii")
        return directory

    def freeze(self, process) -> bool:
        """Whether there is a freezer on this machine."""
        for root, name, frozen, thawed, tells, told in FREEZERS:
            if (root / "cgroup.procs").exists():
                directory = self.make(root, "paused", process)
                self.frozen.append((directory / name, thawed))
                (directory / name).write_text(frozen, encoding="ascii")
                wait_until(
                    lambda file=directory / tells, told=told: (
                        told in file.read_text(encoding="ascii")
                    )
                )
                return True
        return False

    def thaw(self):
        for file, thawed in self.frozen:
            file.write_text(thawed, encoding="ascii")
        self.frozen = []

    def remove(self):
        """When all that was in them has ended."""
        for directory in reversed(self.made):
            wait_until(
                lambda directory=directory: (
                    not (directory / "cgroup.procs").read_text(encoding="ascii")
                )
            )
            directory.rmdir()


def audit(node, *flags, code=None, config=NO_OPTIONS) -> dict:
    done = node.run(*node.agent_command("--audit", "--json", *flags, code=code, config=config))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def entry_of(result, program) -> dict:
    """Of the container with that PID 1, as the node counts."""
    return next(
        entry
        for entry in result["containers"]
        if entry["init"] and entry["init"]["pid"] == program.pids[1]
    )


def evidence(entry, by) -> tuple:
    """(verdict, detail) of the last piece of that kind."""
    return next(
        (
            (piece["verdict"], piece["detail"])
            for piece in reversed(entry["evidence"])
            if piece["by"] == by
        ),
        (None, None),
    )


def children_of(pid) -> list:
    """Their PIDs; psutil would look at all processes of the machine for this."""
    try:
        return [
            int(child)
            for child in (
                Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            )
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def canaries(node, alive=False) -> list:
    """PIDs of those in the node and its containers, wherever they hang; zombies too unless only
    those alive are asked for.
    """
    found, above = [], [node.init.process.pid, *(program.process.pid for program in node.programs)]
    while above:
        pid = above.pop()
        above += children_of(pid)
        try:
            name, state = (
                Path(f"/proc/{pid}/stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[::2]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.endswith("(zr-canary") and not (alive and state.split()[0] == "Z"):
            found.append(pid)
    return found


class Audited:
    """All those containers in one node, before, while and after they are probed."""

    def __init__(self, directory):
        self.node, self.cgroups = PatientNode(directory), Cgroups()
        try:
            assert self.node.run("mkdir", "/var/log/pods", "/var/log/containers").returncode == 0
            self.programs = {name: self.node.container(code) for name, code in CONTAINERS.items()}
            self.in_pods = self._put_into_pods()
            os.kill(self.programs["stopped"].process.pid, signal.SIGSTOP)
            wait_until(lambda: status_of(self.programs["seccomp strict"])["Seccomp"] == "1")
            self.is_paused = self.cgroups.freeze(self.programs["paused"].process)
            self.before = self._states()
            self.dry = audit(self.node, "--check", "--probe", *OPTIONS)
            self.without = audit(self.node, *OPTIONS)
            self.state_after_looking = self.node.run_directory.exists()
            collecting = [
                self.programs[name].pids[1]
                for name, (_looked, probed) in VERDICTS.items()
                if probed == "reaps"
            ]
            self.probed = audit(self.node, "--probe", *OPTIONS, code=patient(REAL, collecting))
            self.after = self._states()
            self.living_canaries, self.canaries = (
                canaries(self.node, alive=True),
                canaries(self.node),
            )
            self.again = audit(self.node, *OPTIONS)
            self.sweep = self.node.sweep("--check", remedies="nudge,terminate")
            self.sweep_with_reap = self.node.sweep("--check")
        except BaseException:
            self.stop()
            raise

    def _put_into_pods(self) -> bool:
        root = next((root for root in (V1, V2) if (root / "cgroup.procs").exists()), None)
        for number, (name, namespace) in enumerate(PODS.items() if root else ()):
            uid = UID % number
            self.cgroups.make(
                root, f"pod{uid}/{CONTAINER_ID % number}", self.programs[name].process
            )
            if namespace:
                self.node.run("mkdir", f"/var/log/pods/{namespace}_web-0_{uid}")
                self.node.run(
                    "touch",
                    f"/var/log/containers/web-0_{namespace}_app-{CONTAINER_ID % number}.log",
                )
        return root is not None

    def _states(self) -> dict:
        """Of each, once it has come to rest: start time, tracer, state, and its zombies as psutil
        sees them.
        """
        statuses = {name: self._at_rest(name, program) for name, program in self.programs.items()}
        return {
            name: (
                status["start"],
                status["TracerPid"],
                status["State"][0],
                status["SigBlk"],
                sorted(self.programs[name].zombies()),
            )
            for name, status in statuses.items()
        }

    @staticmethod
    def _at_rest(name, program) -> dict:
        states = {"stopped": "T", "paused": "SDT"}.get(name, "S")
        return wait_until(lambda: (status := status_of(program))["State"][0] in states and status)

    def entry(self, result, name) -> dict:
        if name in PODS and not self.in_pods:
            pytest.skip(
                "no cgroup hierarchy is mounted on this machine where a cgroup could be made"
            )
        if name == "paused" and not self.is_paused:
            pytest.skip("this machine has no cgroup freezer")
        return entry_of(result, self.programs[name])

    def stop(self):
        self.cgroups.thaw()
        for program in self.node.programs:
            program.stop()
        self.node.stop()
        self.cgroups.remove()


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    made = Audited(tmp_path_factory.mktemp("audited"))
    yield made
    made.stop()


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_by_looking_and_by_canary(audited, name):
    looked, probed = audited.entry(audited.without, name), audited.entry(audited.probed, name)
    assert (looked["verdict"], probed["verdict"]) == VERDICTS[name]
    assert evidence(looked, "canary") == (None, None)
    collected = probed["seconds"] is not None
    if name in TOLD_ALREADY:
        assert evidence(probed, "canary") == (
            "unknown",
            "not probed: there is enough evidence without a canary",
        )
        assert not collected
        return
    assert evidence(probed, "canary")[0] == ("reaps" if collected else "leaks")
    assert collected == (VERDICTS[name][1] == "reaps")
    if collected:
        assert probed["seconds"] >= 0


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_who_is_left_alone_gets_no_canary(audited, name):
    entry = audited.entry(audited.probed, name)
    verdict, why = evidence(entry, "canary")
    assert (verdict, entry["verdict"], entry["seconds"]) == ("unknown", "unknown", None)
    assert why.startswith("not probed: ") and LEFT_ALONE[name] in why


@pytest.mark.parametrize("name", [*VERDICTS, *LEFT_ALONE])
def test_a_pid_1_is_the_same_as_before(audited, name):
    """The same process, untraced, in the same state, with the zombies it had and no other."""
    if name == "seccomp strict":
        assert audited.after[name][:4] == audited.before[name][:4]
        assert len(audited.after[name][4]) == 1, "nobody could make it collect the canary"
    else:
        assert audited.after[name] == audited.before[name]
    assert audited.programs[name].alive


def test_one_that_was_made_to_collect_its_canary_works_on(audited):
    assert answer(audited.programs["leaks"]) == "well"


def test_nothing_of_a_canary_lives_on(audited):
    assert audited.living_canaries == []
    assert len(audited.canaries) == audited.probed["counts"]["canaries_left"] == 1, (
        "the zombie that could not be collected"
    )


def test_a_dry_run_sends_none_and_writes_nothing(audited):
    assert not audited.state_after_looking
    assert [
        piece
        for entry in audited.dry["containers"]
        for piece in entry["evidence"]
        if piece["by"] == "canary"
    ] == []
    assert audited.dry["counts"] == audited.without["counts"]


def test_totals_agree_with_the_rows(audited):
    for result in (audited.without, audited.probed, audited.again):
        verdicts = [entry["verdict"] for entry in result["containers"]]
        counts = result["counts"]
        assert counts["containers"] == len(verdicts) == len(CONTAINERS)
        assert [counts[word] for word in ("reaps", "leaks", "unknown")] == [
            verdicts.count(word) for word in ("reaps", "leaks", "unknown")
        ]
        assert verdicts == sorted(verdicts, key=["leaks", "unknown", "reaps"].index)
        assert counts["zombies"] == sum(entry["zombies"] for entry in result["containers"])
        assert result["warnings"] == []
    assert audited.without["counts"]["zombies"] == 3
    assert audited.probed["counts"]["canaries_left"] == 1


def test_a_row_tells_what_pid_1_is(audited):
    entry = audited.entry(audited.without, "has zombies")
    assert (
        entry["zombies"],
        entry["workload"]["kind"],
        entry["init"]["uid"],
        entry["init"]["name"],
    ) == (2, "container", 0, "python")
    assert "-IS -c" in entry["init"]["command_line"]
    assert evidence(entry, "zombies") == ("leaks", "it keeps 2 zombies, the first seen 0 s ago")


def test_zombies_of_any_parent_in_the_container_are_counted_but_only_those_of_pid_1_say_something_of_it(
    audited,
):
    entry = audited.entry(audited.without, "parent below")
    assert entry["zombies"] == 1
    assert evidence(entry, "zombies") == (None, None)


def test_a_row_tells_whose_it_is(audited):
    workload = audited.entry(audited.probed, "tenant")["workload"]
    assert (workload["namespace"], workload["pod"], workload["container_name"]) == (
        "lease-1",
        "web-0",
        "app",
    )
    assert (workload["pod_uid"], workload["container_id"]) == (UID % 2, CONTAINER_ID % 2)
    assert audited.entry(audited.probed, "tenant")["pids"]["current"] == 1


def test_a_row_tells_what_would_help(audited):
    """What each kind is: test_what_helps_against_zombies_is_that_for_the_kind_that_was_seen."""
    entry = audited.entry(audited.probed, "tenant")
    assert entry["cures"] == ["init_in_image", "share_process_namespace", "runtime_class"]
    assert "runtimeClassName: init" in entry["advice"]
    for entry in audited.probed["containers"]:
        leaks = entry["verdict"] == "leaks"
        assert bool(entry["cures"]) == (leaks or bool(entry["zombies"])), entry
        assert bool(entry["advice"]) == bool(entry["cures"])


def test_a_table_for_people(audited):
    summary = audited.probed["summary"]
    counts = audited.probed["counts"]
    assert (
        summary[0] == f"{counts['containers']} containers on this node: {counts['reaps']} collect"
        f" orphans, {counts['leaks']} leak, {counts['unknown']} unknown"
    )
    assert summary[1].split() == [
        "verdict",
        "zombies",
        "pids",
        "PID",
        "1",
        "container",
        "what",
        "helps",
        "why",
    ]
    assert len(summary) == len(CONTAINERS) + 6 + bool(counts["unlimited_pods"])
    assert [line.partition(":")[0] for line in summary[len(CONTAINERS) + 2 :][:3]] == [
        "an init in a pod",
        "an init in another container",
        "a fix in the program",
    ]
    assert summary[-1] == "canaries left behind as zombies: 1"
    (line,) = [
        line for line in summary if f" {audited.programs['every second'].pids[1]} python " in line
    ]
    assert line.startswith("reaps ") and "it collected an orphan after " in line


def test_what_a_canary_showed_is_remembered(audited):
    """An audit that only looks, later, says the same."""
    for name, (_looked, probed) in VERDICTS.items():
        entry = audited.entry(audited.again, name)
        assert (entry["verdict"], entry["seconds"]) == (probed, None)
        if name not in TOLD_ALREADY:
            assert "of an earlier audit" in evidence(entry, "canary")[1]
    for name in [*LEFT_ALONE, *TOLD_ALREADY]:
        assert evidence(audited.entry(audited.again, name), "canary") == (None, None)


def test_what_a_canary_showed_feeds_the_sweep(audited):
    """A parent whose adopter leaks is not ended in vain; where reap may be tried, that helps
    whoever has the zombies.
    """
    below = audited.programs["parent below"]
    (child,) = (
        child for child in below.process.children() if child.status() != psutil.STATUS_ZOMBIE
    )
    pid = ns_pids(child.pid)[1]
    without, with_reap = (
        next(entry for entry in result["offenders"] if entry["pid"] == pid)
        for result in (audited.sweep, audited.sweep_with_reap)
    )
    assert (without["reason"], without["remedies"]) == ("adopter_does_not_reap", ["nudge"])
    assert (with_reap["reason"], with_reap["remedies"]) == ("act", ["reap", "nudge", "terminate"])
    for entry in (without, with_reap):
        assert f"PID {below.pids[1]}, the init of its PID namespace" in entry["explanation"]


def test_a_canary_that_stays_is_no_fault_of_the_one_who_could_not_collect_it(audited):
    entry = offender_of(audited.sweep, audited.programs["seccomp strict"])
    assert (entry["reason"], entry["remedies"], entry["due"]) == ("own_canary", [], 0)


# One at a time, and in a hurry


def test_where_the_adopter_leaks_its_child_is_not_ended_and_reap_helps(node):
    below = node.container(PARENT_BELOW)
    audit(node, "--probe", code=HURRIED)
    (child,) = (
        child for child in below.process.children() if child.status() != psutil.STATUS_ZOMBIE
    )
    result = node.sweep(remedies="nudge,terminate")
    (entry,) = (entry for entry in result["offenders"] if entry["zombies"])
    assert (entry["reason"], entry["outcome"]) == ("adopter_does_not_reap", "not_cleared")
    assert child.is_running() and len(child.children()) == 1
    result = node.sweep()
    assert result["counts"]["cleared_by"] == {"nudge": 0, "reap": 1, "terminate": 0}
    assert child.is_running() and child.children() == []
    assert below.alive


def test_a_canary_that_stays_is_not_counted_by_any_later_sweep(node):
    """Neither it nor its parent is touched, not even once it is of age; what the parent keeps
    besides is its own.
    """
    init = node.container(
        """
def one_more(*_):
    zombie()
    os.write(1, b"made\\n")
signal.signal(signal.SIGUSR1, one_more)
"""
        + LEAKS
    )
    result = audit(node, "--probe", "--remedies", "nudge,terminate", code=HURRIED)
    assert result["counts"]["canaries_left"] == 1
    assert result["counts"]["leaks"] == 1
    assert len(init.zombies()) == 1
    for options in (
        {"min_age": 0},
        {"min_age": 1},
        {"min_age": 0, "scope": "all", "protect_namespaces": ""},
    ):
        time.sleep(options["min_age"])
        swept = node.sweep("--wait", remedies="nudge,terminate", **options)
        assert offender_of(swept, init)["reason"] == "own_canary"
        assert (offender_of(swept, init)["due"], swept["changed"], swept["counts"]["cleared"]) == (
            0,
            False,
            0,
        )
    assert node.sweep()["changed"] is False, "not even with reap"
    assert init.alive and len(init.zombies()) == 1
    assert evidence(entry_of(audit(node, "--min-age", "0"), init), "zombies") == (None, None)
    os.kill(init.process.pid, signal.SIGUSR1)
    assert init.popen.stdout.readline() == b"made\n"
    swept = node.sweep(remedies="nudge,reap", min_zombies=2)
    assert (offender_of(swept, init)["reason"], offender_of(swept, init)["zombies"]) == (
        "too_few",
        2,
    )
    swept = node.sweep(remedies="nudge,reap")
    assert (offender_of(swept, init)["due"], swept["counts"]["cleared"]) == (1, 1)
    assert init.alive and len(init.zombies()) == 1, "the canary"


def test_a_zombie_with_the_pid_of_a_canary_is_not_one(node):
    """The start time is compared."""
    init = node.container("zombie()\n" + LEAKS)
    zombie = ns_pids(init.zombies()[0])[1]
    node.sweep("--check")
    node.run_directory.mkdir(mode=0o700)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    (node.run_directory / "left_canaries").write_text(
        f"{boot_id}\n{zombie} 1 0.000\n", encoding="ascii"
    )
    assert offender_of(node.sweep("--check"), init)["reason"] == "act"


IN_PROCESS = (
    """
import json, os, sys
sys.path.append(sys.argv[1])
from reaper import audit, canary
from reaper.options import Options
from reaper.paths import Paths
"""
    + PATIENTLY
    + """
exec(sys.argv[3])
def seen():
    try:
        children = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) or "some live"
    except ChildProcessError:
        children = None
    return sorted(os.listdir("/proc/self/fd")), children, os.getcwd(), os.getuid(), os.readlink("/proc/self/root")
before = seen()
for _turn in range(3):
    done = audit.audit(Options(), Paths(run=sys.argv[2]), probe=True)
print(json.dumps([before == seen(), [each.verdict for each in done.containers]]))
"""
)


def test_an_audit_loses_no_descriptor_and_leaves_no_child(node):
    node.container(LEAKS)
    collecting = node.container(COLLECTS_EVERY_SECOND)
    ended = node.container(LEAKS)
    ended.process.suspend()
    wait_until(lambda: status_of(ended)["State"][0] == "T")
    let_go = FIRST_THOSE_THAT_COLLECT % (0.4, [collecting.pids[1]], AS_LONG_AS_IT_TAKES)
    done = node.run(PYTHON, "-IS", "-c", IN_PROCESS, str(ENGINE), str(node.run_directory), let_go)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [True, ["leaks", "unknown", "reaps"]]
    ended.process.resume()


WHAT_IT_IS = (
    """
import json, os, sys
sys.path.append(sys.argv[1])
from reaper import audit, canary
from reaper.options import Options
from reaper.paths import Paths
"""
    + PATIENTLY
    + """
canary.INIT_TIMEOUT = 0.4
os.environ["SECRET"], secret = "x", open(sys.argv[1] + "/sweep_module.py")
watch = canary.wait_for_fates
def told(pid):
    status = dict(line.split(":\t", 1) for line in open("/proc/%d/status" % pid).read().splitlines())
    link = lambda name: os.readlink("/proc/%d/%s" % (pid, name))
    return {"uids": status["Uid"].split(), "gids": status["Gid"].split(), "groups": status["Groups"].split(),
            "capabilities": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")], "name": status["Name"],
            "files": [link("fd/" + fd).split(":")[0] for fd in os.listdir("/proc/%d/fd" % pid)], "cwd": link("cwd"), "session": os.getsid(pid),
            "owner": os.stat("/proc/%d/environ" % pid).st_uid, "depth": len(status["NSpid"].split())}
def watched(canaries):
    seen.extend(told(each.stat.pid) for each in canaries)
    return watch(canaries)
seen, canary.wait_for_fates = [], watched
audit.audit(Options(), Paths(run=sys.argv[2]), probe=True)
print(json.dumps([seen, os.getsid(0)]))
"""
)


def test_what_a_tenant_could_see_of_a_canary(node):
    """Its copy of the audit has nothing open but the pipes that it and its parent wait for, no
    right, and nobody may look into its memory.
    """
    node.container(LEAKS)
    done = node.run(PYTHON, "-IS", "-c", WHAT_IT_IS, str(ENGINE), str(node.run_directory))
    assert (done.returncode, done.stderr) == (0, "")
    (seen,), session = json.loads(done.stdout)
    nobody = ["2147483646"] * 4
    assert (seen["uids"], seen["gids"], seen["groups"]) == (nobody, nobody, [])
    assert seen["capabilities"] == [0, 0, 0, 0]
    assert (seen["name"], seen["files"], seen["depth"]) == ("zr-canary", ["pipe", "pipe"], 2)
    assert seen["session"] != session
    assert seen["owner"] == 0, "undumpable: its files in /proc are root's, not its own user's"


# An audit that makes a file at that moment in the life of the second of three canaries, and then
# does nothing any more
ENDED_AT = """
import os, time
from reaper import canary
passed = []
def pass_by(moment):
    passed.append(moment)
    if (moment, passed.count(moment)) == %r:
        open(%r, "w").close()
        while True:
            time.sleep(60)
def release(procfs, inits, note, real=canary.release):
    def noted(stat):
        pass_by("not yet noted")
        note(stat)
        pass_by("noted")
    released = real(procfs, inits, noted)
    pass_by("all are adopted")
    return released
def release_one(*words, real=canary._release):
    released = real(*words)
    pass_by("adopted")
    return released
def only_child(procfs, pid, real=canary._only_child):
    found = real(procfs, pid)
    pass_by("found")
    return found
def see_end(*words, real=canary._see_end):
    pass_by("its mother may end")
    real(*words)
def is_there(pidfd, real=canary.is_there):
    pass_by("it exits")
    return real(pidfd)
canary.release, canary._release, canary._only_child, canary._see_end, canary.is_there = release, release_one, only_child, see_end, is_there
"""
MOTHER_FOUND, CANARY_FOUND = ("found", 3), ("found", 4)
# What is left of the three that are sent, as zombies. Of the second one its mother takes care
# unless it was noted and let go of
LEFT = {
    MOTHER_FOUND: 1,
    CANARY_FOUND: 1,
    ("not yet noted", 2): 1,
    ("noted", 2): 1,
    ("its mother may end", 2): 2,
    ("adopted", 2): 2,
    ("all are adopted", 1): 3,
    ("it exits", 2): 3,
}


@pytest.mark.parametrize("moment", LEFT, ids=lambda moment: "%s %d" % moment)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_audit_that_is_ended_leaves_nothing_that_a_sweep_would_blame_on_anybody(
    node, tmp_path, number, moment
):
    """Zombies that it leaves are noted as its own; nothing of it lives on."""
    leaking = [node.container(LEAKS) for _place in range(3)]
    held = tmp_path / "held"
    running, agent = begun(node, agent_that(lines(ENDED_AT % (moment, str(held)))))
    wait_until(held.exists)
    os.kill(agent, number)
    running.wait()
    wait_until(lambda: has_settled(node, leaking))
    result = node.sweep("--check", remedies="nudge,terminate")
    assert {entry["reason"] for entry in result["offenders"]} <= {"own_canary"}
    assert result["zombies"]["count"] == LEFT[moment]
    assert all(init.alive for init in leaking)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_audit_that_is_ended_at_any_moment_leaves_nothing_that_a_sweep_would_blame_on_anybody(
    node, number
):
    """The same at random moments, in audits that do not end by themselves. The first is ended when
    all canaries have exited.
    """
    leaking = [node.container(LEAKS) for _place in range(6)]
    for turn in range(8):
        before = set(canaries(node))
        running, agent = begun(node, patient(3600))
        # all may be sent between two looks
        wait_until(
            lambda agent=agent, before=before: children_of(agent) or set(canaries(node)) - before
        )
        if turn == 0:
            wait_until(lambda: all(init.zombies() for init in leaking))
        else:
            time.sleep(random.uniform(0, 0.12))
        os.kill(agent, number)
        running.wait()
        wait_until(lambda: has_settled(node, leaking))
        result = node.sweep("--check", remedies="nudge,terminate")
        assert {entry["reason"] for entry in result["offenders"]} == {"own_canary"}
        assert result["zombies"]["count"] >= len(leaking)
    assert all(init.alive for init in leaking)


def begun(node, code) -> tuple:
    """An audit that has begun and sends canaries: (Popen of nsenter, PID of the agent)."""
    command = node.agent_command("--audit", "--probe", "--remedies", "nudge,terminate", code=code)
    running = subprocess.Popen(
        [*node.enter, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return running, wait_until(lambda: children_of(running.pid))[0]


def has_settled(node, inits) -> bool:
    """Whether nothing of an audit is left but zombies of these."""
    return not canaries(node, alive=True) and set(canaries(node)) == {
        pid for init in inits for pid in init.zombies()
    }


HARM = "it ended while it was being probed; the canary may have made it end"


@pytest.mark.parametrize(
    "what, words",
    [("stops", "it was stopped or paused during the probe"), ("ends", "it ended during the probe")],
)
def test_one_that_is_held_up_or_ends_while_the_canary_waits_is_not_known_to_do_anything(
    node, tmp_path, what, words
):
    init = node.container(LEAKS)
    told = tmp_path / "told"
    command = node.agent_command(
        "--audit", "--probe", "--json", code=agent_that(lines(UNTIL_TOLD % str(told)))
    )
    running = subprocess.Popen(
        [*node.enter, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(init.zombies)
    os.kill(init.process.pid, signal.SIGSTOP if what == "stops" else signal.SIGKILL)
    if what == "stops":
        wait_until(lambda: status_of(init)["State"][0] == "T")
        told.touch()
    out, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    entry = entry_of(json.loads(out), init)
    assert (entry["verdict"], entry["seconds"]) == ("unknown", None)
    assert evidence(entry, "canary") == ("unknown", words)
    assert entry["harm"] == (HARM if what == "ends" else None)
    if what == "stops":
        os.kill(init.process.pid, signal.SIGCONT)
        wait_until(lambda: status_of(init)["State"][0] == "S")
        assert evidence(entry_of(audit(node), init), "canary") == (None, None), (
            "nothing of it is remembered"
        )
        assert offender_of(node.sweep("--check"), init)["reason"] == "own_canary"


@pytest.fixture
def cgroups():
    if not any((root / "cgroup.procs").exists() for root in (V1, V2)):
        pytest.skip("no cgroup hierarchy is mounted on this machine where a cgroup could be made")
    made = Cgroups()
    yield made
    made.remove()


def put_into_pod(cgroups, process, container=1):
    """With all below it, as one container of a pod."""
    root = next(root for root in (V1, V2) if (root / "cgroup.procs").exists())
    cgroups.make(root, f"pod{UID % 1}/{CONTAINER_ID % container}", process)


def pause_program(directory) -> str:
    program = directory / "pause"
    subprocess.run(
        ["gcc", "-x", "c", "-o", program, "-"],
        input="int pause(void); int main(void) { for (;;) pause(); }",
        text=True,
        check=True,
    )
    return str(program)


@pytest.mark.parametrize(
    "code, in_pod, told",
    [
        ("ready()\nos.execv(PAUSE, ['/pause'])", True, False),
        # nothing says that it keeps anything for a pod
        ("ready()\nos.execv(PAUSE, ['/pause'])", False, True),
        ("zombie()\nready()\nos.execv(PAUSE, ['/pause'])", True, True),
        # it only calls itself so
        ("ready()\nos.execv('/bin/sleep', ['/pause', '1000'])", True, True),
    ],
)
def test_the_pause_program_of_a_pod_is_no_container(cgroups, node, tmp_path, code, in_pod, told):
    init = node.container(code.replace("PAUSE", repr(pause_program(tmp_path))))
    wait_until(lambda: init.process.name() in ("pause", "sleep"))
    if in_pod:
        put_into_pod(cgroups, init.process)
    result = audit(node)
    assert [entry["init"]["pid"] for entry in result["containers"]] == (
        [init.pids[1]] if told else []
    )
    assert result["counts"]["containers"] == len(result["containers"])
    init.stop()


def test_the_pause_program_whose_pid_namespace_is_shared_is_the_init_of_the_other_containers(
    cgroups, node, tmp_path
):
    init = node.container(
        "if os.fork() == 0:\n   "
        f" forever()\nready()\nos.execv({pause_program(tmp_path)!r}, ['/pause'])"
    )
    wait_until(lambda: init.process.name() == "pause")
    put_into_pod(cgroups, init.process)
    put_into_pod(cgroups, *init.process.children(), container=2)
    assert [entry["init"]["pid"] for entry in audit(node)["containers"]] == [init.pids[1]] * 2
    init.stop()


def test_what_a_sweep_had_to_collect_says_that_it_leaks(node):
    """Also when it has no zombie any more. It needs no canary for that."""
    init = node.container("zombie()\n" + LEAKS)
    assert node.sweep(remedies="reap", min_age=0)["counts"]["cleared"] == 1
    entry = entry_of(audit(node, "--probe", code=HURRIED), init)
    assert (entry["verdict"], entry["zombies"]) == ("leaks", 0)
    verdict, why = evidence(entry, "sweeps")
    assert (
        verdict == "leaks"
        and why.startswith("a sweep collected zombies from it ")
        and why.endswith(" s ago")
    )
    assert evidence(entry, "canary") == (
        "unknown",
        "not probed: there is enough evidence without a canary",
    )
    assert init.alive and init.zombies() == []


def test_one_that_looks_after_its_children_now_and_then_goes_on(node):
    init = node.container(ENDS_AFTER_A_LOOK)
    assert (
        "may be looking after them"
        in evidence(entry_of(audit(node, "--probe", code=HURRIED), init), "canary")[1]
    )
    assert init.alive


TAKING_ITS_TIME = agent_that(f"canary.INIT_TIMEOUT, canary.SETTLES = {AS_LONG_AS_IT_TAKES}, 3.0")
WAITS_LATER = """
ready()
while True:
    time.sleep(0.2)
    try:
        os.wait()
        %s
    except ChildProcessError:
        pass
"""


@pytest.mark.parametrize("takes, ends", [("0", True), ("0.3", True), (None, False)])
def test_a_pid_1_that_its_canary_ended_is_told_first_of_all(node, takes, ends):
    """It has no child, and waits for one only now and then, so nothing could be seen. Some take a
    moment to end.
    """
    init = node.container(WAITS_LATER % (f"time.sleep({takes}); sys.exit()" if ends else "pass"))
    result = audit(
        node, "--probe", code=patient(AS_LONG_AS_IT_TAKES) if takes == "0" else TAKING_ITS_TIME
    )
    entry = entry_of(result, init)
    assert init.alive is not ends
    assert (entry["harm"], result["counts"]["harmed"]) == ((HARM, 1) if ends else (None, 0))
    assert (entry["verdict"], evidence(entry, "canary")[0]) == (
        ("unknown", "unknown") if ends else ("reaps", "reaps")
    )
    assert result["summary"][0].startswith(
        "warning: PID 1 (" if ends else "1 container on this node: "
    )
    assert not ends or HARM in result["summary"][0]
    assert result["counts"]["canaries_left"] == 0


def test_one_that_somebody_traces_gets_no_canary(node):
    """Nobody else could have it collected."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    init = node.container(LEAKS)
    tracer = subprocess.Popen(
        [*node.enter, "strace", "-qq", "-o", "/dev/null", "-p", str(init.pids[1])]
    )
    try:
        wait_until(
            lambda: status_of(init)["TracerPid"] != "0" and status_of(init)["State"][0] == "S"
        )
        entry = entry_of(audit(node, "--probe", code=HURRIED), init)
        assert evidence(entry, "canary") == (
            "unknown",
            "not probed: it is being traced, so a canary that it leaves could not be collected",
        )
    finally:
        tracer.terminate()
        tracer.wait()


FULL = (
    """
open("/proc/sys/kernel/pid_max", "w").write("400")  # PIDs below 300 are not used again
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        children.append(pid)
except OSError:
    pass
def one_less(*_):
    os.kill(children[-1], signal.SIGKILL)
    os.waitpid(children.pop(), 0)
    os.write(1, b"free\\n")
signal.signal(signal.SIGUSR1, one_less)
"""
    + LEAKS
)


def test_a_pid_namespace_that_is_full(node):
    """It has room for no process, then for one, which is one too few, then for both that it
    takes.
    """
    if not PID_MAX_OF_A_NAMESPACE:
        pytest.skip("kernel.pid_max belongs to the whole machine before Linux 6.14")
    init = node.container(FULL)
    for free in range(3):
        if free:
            os.kill(init.process.pid, signal.SIGUSR1)
            assert init.popen.stdout.readline() == b"free\n"
        entry = entry_of(audit(node, "--probe", code=HURRIED), init)
        expected = (
            ("leaks", "it did not collect an orphan within 0.4 s")
            if free == 2
            else ("unknown", "no process could be started in its PID namespace")
        )
        assert evidence(entry, "canary") == expected
        assert init.alive and init.zombies() == []
        assert canaries(node, alive=True) == []


def test_a_state_directory_that_cannot_be_written_sends_no_canary(node):
    """What cannot be noted is not sent: a sweep would blame its parent for it."""
    init = node.container(LEAKS)
    node.run_directory.mkdir()
    for command in (
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "tmpfs", str(node.run_directory)],
        [
            "sh",
            "-c",
            f"touch {node.run_directory}/lock && cat /dev/zero >{node.run_directory}/fill"
            " 2>/dev/null; true",
        ],
    ):
        assert node.run(*command).returncode == 0
    result = audit(node, "--probe", code=HURRIED)
    verdict, why = evidence(entry_of(result, init), "canary")
    assert (verdict, why) == ("unknown", "no canary could be sent: No space left on device")
    assert init.zombies() == [] and canaries(node, alive=True) == []


def test_a_state_directory_that_is_read_only_fails_a_probe_with_one_sentence_and_no_look(node):
    init = node.container(LEAKS)
    node.run_directory.mkdir()
    assert (
        node.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(node.run_directory)).returncode
        == 0
    )
    done = node.agent("--audit", "--probe")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "lock cannot be opened: Read-only file system" in line
    assert entry_of(audit(node), init)["verdict"] == "unknown"
    assert init.zombies() == []


IN_NO_MOOD_TO_WAIT = agent_that("canary.INIT_TIMEOUT, files.LOCK_WAIT = 0.4, 0.3")
UNTIL_THE_LOCK_IS_TAKEN = """
import os, time
from reaper import canary
def watch(canaries, real=canary.wait_for_fates):
    open(%r, "w").close()
    while not os.path.exists(%r):
        time.sleep(0.01)
    return real(canaries)
canary.INIT_TIMEOUT, canary.wait_for_fates = 0.4, watch
"""
HOLDS_THE_LOCK = """
import fcntl
held = os.open(%r, os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(held, fcntl.LOCK_EX)
"""


def test_while_a_sweep_holds_the_lock_no_canary_is_sent(node):
    init = node.container(LEAKS)
    node.run_directory.mkdir(mode=0o700)
    node.program(HOLDS_THE_LOCK % str(node.run_directory / "lock") + LEAKS)
    done = node.run(
        *node.agent_command("--audit", "--probe", "--remedies", "nudge", code=IN_NO_MOOD_TO_WAIT)
    )
    assert (done.returncode, done.stdout) == (75, "")
    assert "another process has held" in done.stderr
    assert init.zombies() == [] and canaries(node) == []
    assert entry_of(audit(node), init)["verdict"] == "unknown", "one that only looks needs no lock"


def test_a_sweep_that_holds_the_lock_afterwards_keeps_no_canary_where_it_is(node, tmp_path):
    """What was found out is said, and is not remembered. The lock is taken once all canaries are
    sent.
    """
    init = node.container(LEAKS)
    node.run_directory.mkdir(mode=0o700)
    sent, taken = tmp_path / "sent", tmp_path / "taken"
    node.program(
        """
ready()
while not os.path.exists(%r):
    time.sleep(0.01)
%s
open(%r, "w").close()
forever()
"""
        % (str(sent), HOLDS_THE_LOCK % str(node.run_directory / "lock"), str(taken))
    )
    code = agent_that(
        lines(UNTIL_THE_LOCK_IS_TAKEN % (str(sent), str(taken))), "files.LOCK_WAIT = 0.3"
    )
    result = audit(node, "--probe", code=code)
    assert evidence(entry_of(result, init), "canary")[0] == "leaks"
    (warning,) = result["warnings"]
    assert warning.startswith("what the canaries showed was not saved: another process has held ")
    assert result["counts"]["canaries_left"] == 0 and init.zombies() == []


def test_in_a_user_namespace_of_its_own_it_may_trace_what_it_likes_there(node):
    """Its capabilities do not reach the canary, which is of the node's."""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False)
    if done.returncode:
        pytest.skip("this kernel lets nobody make a user namespace")
    init = node.container("""
os.execvp("unshare", ["unshare", "--user", "--map-root-user", "setpriv", "--bounding-set=-all,+sys_ptrace", "--inh-caps=-all", sys.executable,
    "-IS", "-c", "import os, time; os.write(1, b'ready\\\\n'); time.sleep(10000)"])
""")
    entry = entry_of(audit(node, "--probe", code=HURRIED), init)
    assert evidence(entry, "canary")[0] == "leaks"
    assert init.alive and init.zombies() == []


def test_a_name_is_a_tenant_s_to_choose(node, tmp_path):
    """What is called tini, and is not, is found out by its signals, and by the canary."""
    shutil.copy("/bin/sleep", tmp_path / "tini")
    init = node.container(f"ready()\nos.execv({str(tmp_path / 'tini')!r}, ['/sbin/tini', '1000'])")
    wait_until(lambda: init.process.name() == "tini")
    entry = entry_of(audit(node), init)
    assert evidence(entry, "name") == (
        "unknown",
        "it is called tini, but does not handle signals like tini",
    )
    assert entry["verdict"] == "unknown"
    assert entry_of(audit(node, "--probe", code=HURRIED), init)["verdict"] == "leaks"


# Through Ansible


@pytest.fixture
def ansible(node, tmp_path):
    return Ansible(node, tmp_path)


def test_the_module_looks_and_probes(node, ansible):
    collecting = node.container(COLLECTS_EVERY_SECOND)
    status, result, _shown = ansible("provider.fleet.init_audit", probe=True)
    assert (status, result["changed"], entry_of(result, collecting)["verdict"]) == (
        "SUCCESS",
        False,
        "reaps",
    )
    assert entry_of(result, collecting)["seconds"] is not None
    leaking = node.container(ANSWERS + LEAKS)
    status, result, _shown = ansible("provider.fleet.init_audit", "--check", probe=True)
    assert (status, result["changed"]) == ("SUCCESS", False)
    assert [entry_of(result, init)["verdict"] for init in (leaking, collecting)] == [
        "unknown",
        "reaps",
    ]
    assert leaking.zombies() == []
    status, result, _shown = ansible("provider.fleet.init_audit", probe=True, remedies=["nudge"])
    assert (status, result["changed"], result["counts"]["canaries_left"]) == ("CHANGED", True, 1)
    assert [entry_of(result, init)["verdict"] for init in (leaking, collecting)] == [
        "leaks",
        "reaps",
    ]
    assert len(leaking.zombies()) == 1 and answer(leaking) == "well"


def test_the_module_fails_with_one_sentence(node, ansible):
    """That names all that is wrong."""
    status, result, shown = ansible(
        "provider.fleet.init_audit", min_age=-1, protect=["a(b"], remedies=["explode"]
    )
    assert status == "FAILED!" and "Traceback" not in shown
    assert all(
        word in result["msg"] for word in ("min_age", "-1", "protect", "a(b", "remedies", "explode")
    )


def test_zombie_info_gives_facts_when_asked(node, ansible):
    init = node.container("zombie()\n" + LEAKS)
    status, result, _shown = ansible("provider.fleet.zombie_info", facts=True, min_age=0)
    facts = result["ansible_facts"]["zombies"]
    assert (status, set(facts)) == ("SUCCESS", {"counts", "limits", "offenders"})
    assert facts == {key: result[key] for key in facts}
    assert offender_of(facts, init)["zombies"] == 1


LEFT_BY_ANOTHER = (
    """
child = os.fork()
if child == 0:
    os.setsid()
    os.fork()
    os._exit(0)
os.waitpid(child, 0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
"""
    + LEAKS
)
BEHIND_AN_INIT = """
if os.fork() == 0:
    zombie()
    ready()
    forever()
while True:
    os.wait()
"""
KINDS_OF_ZOMBIES = {  # what is in the container -> what helps
    "orphans of PID 1": (LEFT_BY_ANOTHER, ["init_in_image"]),
    "either": ("zombie()\n" + LEAKS, ["init_in_image", "fix"]),
    "another program's own": (PARENT_BELOW, ["fix"]),
    "another program's own behind an init": (BEHIND_AN_INIT, ["fix"]),
    "none, and PID 1 collects orphans": (COLLECTS, []),
}


def test_what_helps_against_zombies_is_that_for_the_kind_that_was_seen(node):
    programs = {name: node.container(code) for name, (code, _cures) in KINDS_OF_ZOMBIES.items()}
    done = node.agent("--audit", "--json", "--min-age", "0")
    entries = {entry["init"]["pid"]: entry for entry in json.loads(done.stdout)["containers"]}
    for name, (_code, cures) in KINDS_OF_ZOMBIES.items():
        entry = entries[programs[name].pids[1]]
        assert entry["cures"] == cures, (name, entry)
        assert ("an init as PID 1 helps" in (entry["advice"] or "")) == ("init_in_image" in cures)
        assert ("has to wait" in (entry["advice"] or "")) == ("fix" in cures)
    young = json.loads(node.agent("--audit", "--json", "--min-age", "600").stdout)
    assert [entry["cures"] for entry in young["containers"]] == [[]] * len(programs)
