"""The remedy reap on real programs, in real containers under the default seccomp profile: none of
them must notice.

Every program is there twice: as PID 1 of a container of its own, and as an ordinary process of a
container that they share. All of them hold zombies when one sweep is made; then every one is looked
at.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from rig.agents import lines
from rig.blocked import CALLS, blocked
from rig.node import CHECKOUT, is_alive, ns_pids, wait_until
from rig.podman import Podman
from rig.programs import PROGRAMS
from rig.reaping import PatientNode, agent_that
from rig.running import ZOMBIES, Running

# With the whole ladder, reminders first, PID 1 of a container each. Those that wait for any child
# when they are reminded need no more than that.
HANDFUL = {
    "bash": "nudge",
    "nginx": "nudge",
    "python_sleep": "reap",
    "python_asyncio": "reap",
    "perl": "reap",
    "node": "reap",
    "redis": "reap",
    "java": "reap",
    "epoll_wait": "reap",
    "timed_nanosleep": "reap",
}
FIRST, ORDINARY = "pid_1", "ordinary"  # where a program is in its container
EVERYTHING = {program.name: program for program in [*PROGRAMS, *map(blocked, CALLS)]}
SECCOMP_FILTER = "2"
AT_A_TIME = 3  # containers to start
# seconds that sleeps last already when the sweep comes: one that began anew would last longer by
# these
HEAD_START = 2
ALL_AT_ONCE = "for start in /w/*/start; do setsid sh $start & done; wait"
# Reminders go on as long as usual, and until these (PIDs) hold no zombie any more: they need CPU
# time to collect them
UNTIL_COLLECTED = """
from reaper.kernel.procfs import ProcFS
from reaper.remedies import nudge
class UntilCollected(float):
    def __gt__(self, seconds):
        return float(self) > seconds or any(procfs.zombie_children(pid, 1)[0] for pid in %r)
procfs = ProcFS("/proc")
nudge.GIVE_UP_AFTER = UntilCollected(nudge.GIVE_UP_AFTER)
"""
C_PROGRAMS = {"blocked": (), "bare": ("-nostdlib", "-fno-stack-protector")}


class Swept:
    """Containers in a node, and what a sweep has done there: everything that the tests look at."""

    def __init__(self, directory, names, positions, **options):
        self.node = PatientNode(directory)
        # podman and sockets refuse a directory with a long name, so it is not below pytest's own
        self.podman = Podman(self.node, Path(tempfile.mkdtemp(prefix="zr-")))
        try:
            self._start([EVERYTHING[name] for name in names], positions)
            self._sweep(options)
        except BaseException:
            self.stop()
            raise

    def _start(self, programs, positions):
        directory = self.podman.directory
        directory.chmod(0o755)  # one program is not root
        self.podman.import_host()
        (directory / "c").mkdir()
        for name, flags in C_PROGRAMS.items():
            subprocess.run(
                [
                    "gcc",
                    "-O1",
                    "-static",
                    *flags,
                    "-o",
                    directory / "c" / name,
                    CHECKOUT / "tests/rig" / (name + ".c"),
                ],
                check=True,
            )
        for position in positions:
            (directory / position).mkdir()
            for program in programs:
                program.lay_out(directory / position / program.name)
        with ThreadPoolExecutor(AT_A_TIME) as executor:
            shared = (
                executor.submit(self._container, ALL_AT_ONCE, ORDINARY, "/w")
                if ORDINARY in positions
                else None
            )
            containers = {(ORDINARY, program.name): shared for program in programs if shared}
            if FIRST in positions:
                for name in (program.name for program in programs):
                    containers[FIRST, name] = executor.submit(
                        self._container,
                        f"exec sh /w/{name}/start",
                        FIRST + "/" + name,
                        "/w/" + name,
                    )
        self.running = {
            (position, name): Running(
                EVERYTHING[name], directory / position / name, container.result()
            )
            for (position, name), container in containers.items()
        }
        places = {
            key: (running.container, running.pid_in_container())
            for key, running in self.running.items()
        }
        processes = self._processes()
        for key, running in self.running.items():
            assert places[key] in processes, f"{key} has ended: {running.out}"
            running.process = psutil.Process(processes[places[key]])

    def _container(self, script, directory, seen_as) -> str:
        return self.podman.run_host(
            script, {self.podman.directory / "c": "/c", self.podman.directory / directory: seen_as}
        )

    def _processes(self) -> dict:
        """(container, PID in it) -> PID on this machine."""
        found = {}
        for process in self.node.init.process.children(recursive=True):
            container = re.search(
                r"libpod-([0-9a-f]{64})$",
                Path(f"/proc/{process.pid}/cgroup").read_text(),
                re.MULTILINE,
            )
            if container:
                found[container[1], ns_pids(process.pid)[-1]] = process.pid
        return found

    def _sweep(self, options):
        everything = self.running.values()
        for running in everything:
            running.get_ready()
        for running in everything:
            running.begin()
        time.sleep(HEAD_START)
        self.zombies = {key: len(running.zombies()) for key, running in self.running.items()}
        self.before = {key: running.seen() for key, running in self.running.items()}
        for running in everything:
            running.head_start = int(1000 * (time.monotonic() - running.began))
        reminded = [
            ns_pids(self.running[FIRST, name].process.pid)[1]
            for name, remedy in HANDFUL.items()
            if remedy == "nudge"
        ]
        self.node.code = agent_that(lines(UNTIL_COLLECTED % reminded))
        self.result = self.node.sweep(**options)
        self.again = self.node.sweep(**options)
        self.after = {
            key: running.seen()
            for key, running in self.running.items()
            if is_alive(running.process)
        }
        self.left = {
            key: len(running.zombies())
            for key, running in self.running.items()
            if is_alive(running.process)
        }
        containers = {running.container for running in everything}
        states = self.podman(
            "inspect", "--format", "{{.Id}} {{.State.Running}} {{.RestartCount}}", *containers
        )
        self.containers = dict(line.split(" ", 1) for line in states.splitlines())

    def stop(self):
        try:
            self.podman.stop()
        finally:
            self.node.stop()

    def entry(self, running) -> dict:
        """What the result says of it."""
        number = ns_pids(running.process.pid)[1]
        return next(entry for entry in self.result["offenders"] if entry["pid"] == number)

    def check(self, key):
        """It is what it was, its zombies are gone, and it does its work."""
        running = self.running[key]
        assert self.zombies[key] == ZOMBIES, (
            "the test is wrong: it did not hold them before the sweep"
        )
        assert is_alive(running.process), running.out
        before, after = self.before[key], self.after[key]
        if running.program.threads_may_start:
            assert after.threads >= before.threads
            after = after._replace(threads=before.threads)
        assert after == before
        assert self.left[key] == 0
        assert (ns_pids(running.process.pid)[-1] == 1) == (key[0] == FIRST)
        assert self.containers[running.container] == "true 0"
        assert running.status("Seccomp") == SECCOMP_FILTER
        assert running.status("TracerPid") == "0"
        # not held; D is a matter of a moment
        wait_until(lambda: running.status("State")[0] in "SR")
        running.program.works(running)
        assert is_alive(running.process)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    made = Swept(
        tmp_path_factory.mktemp("swept"), list(EVERYTHING), (FIRST, ORDINARY), remedies="reap"
    )
    yield made
    made.stop()


@pytest.mark.parametrize("position", [FIRST, ORDINARY])
@pytest.mark.parametrize("name", list(EVERYTHING))
def test_it_goes_on(swept, name, position):
    swept.check((position, name))
    entry = swept.entry(swept.running[position, name])
    assert (entry["outcome"], entry["remedy"], entry["cleared"]) == ("cleared", "reap", ZOMBIES), (
        entry["steps"]
    )


@pytest.fixture(scope="module")
def swept_by_default(tmp_path_factory):
    made = Swept(
        tmp_path_factory.mktemp("by_default"),
        list(HANDFUL),
        (FIRST,),
        remedies="nudge,reap,terminate",
    )
    yield made
    made.stop()


@pytest.mark.parametrize("name", list(HANDFUL))
def test_it_goes_on_with_the_default_ladder(swept_by_default, name):
    swept_by_default.check((FIRST, name))
    entry = swept_by_default.entry(swept_by_default.running[FIRST, name])
    assert (entry["outcome"], entry["remedy"], entry["cleared"]) == (
        "cleared",
        HANDFUL[name],
        ZOMBIES,
    ), entry["steps"]


def test_nobody_was_ended(swept, swept_by_default):
    """And a second sweep finds nothing to do."""
    for made in swept, swept_by_default:
        assert made.result["counts"]["parents_ended"] == 0
        assert not [zombie for zombie in made.again["zombies"]["list"] if zombie["ppid"] != 0]
