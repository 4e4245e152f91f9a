"""SIGKILL of the daemon at random moments while it works: the next one starts as if nothing
had been, and no reader meets half a file.

REAPER_WATCH_KILLS: how often, 40 unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rig.daemon_node import Daemon
from rig.fed import Fed, build_worker
from rig.node import Node, wait_until

NODES = 5
KILLS = int(os.environ.get("REAPER_WATCH_KILLS", "40"))
FILES = "last.json", "daemon.json"
# each begins with the boot and ends with a newline
TEXTS = ("first_seen", "collected", "sizes", "ended")
# their PID 1 checks its own work all the time; test_reap_killed.py: these go on whatever happens
KINDS = ("nanosleep", "epoll_wait", "calls")
# of the parents that are held at that very moment go on well, by the standard of
# test_reap_killed.py
AT_LEAST = 0.4
LATEST = 0.25  # seconds after such a moment


class Reader:
    """Reads the files of the run directory again and again, as a monitoring agent would, and notes
    what was not whole.
    """

    def __init__(self, directory):
        self.directory = directory
        self.torn = []
        self.reads = Counter()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while not self.done.is_set():
            for name in (*FILES, *TEXTS):
                with contextlib.suppress(FileNotFoundError):
                    self.look(name)
            time.sleep(0.001)

    def look(self, name):
        text = (self.directory / name).read_text(encoding="utf-8", errors="replace")
        self.reads[name] += 1
        try:
            if name in FILES:
                assert isinstance(json.loads(text), dict)
            else:
                assert text.endswith("\n") and len(text.split("\n")[0]) == 36
        except (ValueError, AssertionError):
            self.torn.append((name, text))

    def stop(self):
        self.done.set()
        self.thread.join()


@pytest.fixture
def parents(node, tmp_path):
    worker = build_worker(tmp_path)
    return {kind: started(node, tmp_path, worker, kind) for kind in KINDS}


def started(node, tmp_path, worker, kind):
    program = Fed(node, tmp_path, kind, [worker, kind, "{progress}"])
    wait_until(lambda: program.done() or program.complaint())
    return program


def when_it_is_ready(daemon):
    """Which it is."""


def when_it_looks(daemon):
    """For the first time, if this test gets its turn as soon."""
    wait_until(lambda: daemon.is_at_rest() or daemon.ticks())
    wait_until(lambda: not daemon.is_at_rest() or daemon.ticks())


def when_it_has_looked(daemon):
    daemon.after_ticks(1)


MOMENTS = (when_it_is_ready, when_it_looks, when_it_has_looked, when_it_looks)


def kill(daemon, moment):
    """At a random time after that moment."""
    moment(daemon)
    time.sleep(random.uniform(0, LATEST))
    daemon.process.kill()
    daemon.popen.wait(60)
    daemon.stop()


def runs_freely(program) -> bool:
    """Or has ended, which may be in the middle of the look."""
    try:
        return not program.alive or program.held_by() == []
    except FileNotFoundError:
        return True


def well(program) -> bool:
    """It goes on with its work, and has found nothing wrong in it."""
    before = program.done()
    deadline = time.monotonic() + 120
    while program.done() <= before + 1 and not program.complaint() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not program.complaint() and program.done() > before + 1


def zombies(program) -> int:
    found = 0
    with (
        contextlib.suppress(OSError),
        open(
            f"/proc/{program.process.pid}/task/{program.process.pid}/children",
            encoding="ascii",
        ) as file,
    ):
        for child in file.read().split():
            with contextlib.suppress(OSError), open(f"/proc/{child}/stat", "rb") as stat:
                found += stat.read().rpartition(b") ")[2].startswith(b"Z")
    return found


def lives_and_deaths(node, directory, worker) -> tuple:
    """Kill the agent of one node again and again; returns how many parents came to harm, and what
    was read meanwhile.
    """
    parents = {kind: started(node, directory, worker, kind) for kind in KINDS[:2]}
    reader = Reader(node.run_directory)
    flags = ("--min-age", "0", "--remedies", "reap")
    harmed = 0
    daemon = None
    try:
        for turn in range(KILLS // NODES):
            for program in parents.values():
                program.feed(60)
            daemon = Daemon(node, directory, *flags)
            kill(daemon, MOMENTS[turn % 4])
            assert "Traceback" not in daemon.text(), daemon.text()
            for kind, program in list(parents.items()):
                wait_until(lambda program=program: runs_freely(program))
                if not well(program):
                    harmed += 1
                    program.stop()
                    parents[kind] = started(node, directory, worker, kind)
        daemon = Daemon(node, directory, *flags)
        for program in parents.values():
            program.feed(5)
        wait_until(
            lambda: (
                (daemon.status() or {}).get("sweeps")
                and not any(zombies(program) for program in parents.values())
            ),
            60,
        )
        assert "warning" not in daemon.text() and "error" not in daemon.text(), daemon.text()
        assert node.agent("--status").returncode == 0
        assert daemon.end() == 0
        assert [
            name for name in os.listdir(node.run_directory) if name.endswith(".json.new")
        ] == [], "half a report is left"
        assert json.loads(node.agent(*flags, "--json").stdout)["warnings"] == []
        assert all(program.alive for program in parents.values())
        # those that no kill can have made short
        wait_until(lambda: all(reader.reads[name] > KILLS for name in FILES))
    finally:
        if daemon:
            daemon.stop()
        reader.stop()
    assert reader.torn == []
    return harmed, reader.reads


@pytest.mark.full
def test_killed_at_random_moments(tmp_path):
    worker = build_worker(tmp_path)
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(NODES) as pool:
        jobs = []
        for number in range(NODES):
            directory = tmp_path / (f"node{number}")
            directory.mkdir()
            node = Node(directory)
            stack.callback(node.stop)
            jobs.append(pool.submit(lives_and_deaths, node, directory, worker))
        results = [job.result() for job in jobs]
    harmed = sum(result[0] for result in results)
    reads = sum((result[1] for result in results), Counter())
    print(
        f"killed {KILLS // NODES * NODES} times, {harmed} parents harmed, files read: {dict(reads)}"
    )
    assert harmed <= (1 - AT_LEAST) * KILLS


@pytest.mark.full
def test_killed_where_reap_is_not_in_the_middle_every_parent_stays_well(node, tmp_path, parents):
    """With zombies that are too young, and with nudge, nobody is ever stopped: whatever the moment,
    it harms nobody.
    """
    reader = Reader(node.run_directory)
    masks = {kind: program.masks() for kind, program in parents.items()}
    try:
        for turn in range(10):
            for program in parents.values():
                program.feed(20)
            flags = ("--min-age", "0", "--remedies", "nudge") if turn % 2 else ("--min-age", "3600")
            kill(Daemon(node, tmp_path, *flags), MOMENTS[1 + turn // 2 % 3])
        for kind, program in parents.items():
            assert well(program) and program.masks() == masks[kind] and program.held_by() == []
    finally:
        reader.stop()
    assert reader.torn == []


LEAKS_WHEN_TOLD = """
def leak(*_):
    for _ in range(20): zombie()
signal.signal(signal.SIGUSR1, leak)
ready()
forever()
"""
ROOM = 64  # KB


def fill(directory, left):
    """But for so many bytes, or pages of them. What was filled before is given back first."""
    (directory / "filled").unlink(missing_ok=True)
    with open(directory / "filled", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(max(0, file.tell() - left))


@pytest.mark.full
def test_killed_while_its_run_directory_is_full(node, tmp_path):
    """A file system of its own, in which there is room for everything, for a part of it, or for
    nothing.
    """
    mounted = node.run(
        "sh",
        "-c",
        f'mkdir -p "$0" && mount -t tmpfs -o size={ROOM}k none "$0"',
        str(node.run_directory),
    )
    assert mounted.returncode == 0, mounted.stderr
    directory = Path(f"/proc/{node.init.process.pid}/root{node.run_directory}")
    parent = node.container(LEAKS_WHEN_TOLD)
    reader = Reader(directory)
    try:
        for turn in range(8):
            fill(directory, (0, 4096, 8192, ROOM << 10)[turn % 4])
            parent.process.send_signal(signal.SIGUSR1)
            kill(
                Daemon(node, tmp_path, "--min-age", "0", "--remedies", "nudge"),
                MOMENTS[1 + turn // 4],
            )
        (directory / "filled").unlink()
        daemon = Daemon(node, tmp_path, "--min-age", "0", "--remedies", "nudge,reap")
        wait_until(lambda: not parent.zombies(), 60)
        daemon.after_ticks(2)
        assert "cannot be written" not in daemon.text() and "Traceback" not in daemon.text(), (
            daemon.text()
        )
        assert node.agent("--status").returncode == 0
        assert daemon.end() == 0
        assert json.loads(node.agent("--json", "--remedies", "reap").stdout)["warnings"] == []
        assert json.loads((directory / "last.json").read_text(encoding="utf-8"))["schema"] == 1
        assert [name for name in os.listdir(directory) if name.endswith(".json.new")] == [], (
            "half a report is left"
        )
        assert parent.alive
    finally:
        reader.stop()
    assert reader.torn == []


def test_ages_of_one_that_was_killed_count_for_the_next(node, tmp_path, parents):
    for program in parents.values():
        program.feed(3)
    daemon = Daemon(node, tmp_path, "--min-age", "3600")
    seen = wait_until(
        lambda: (
            (node.run_directory / "first_seen").exists()
            and len((node.run_directory / "first_seen").read_text(encoding="ascii").splitlines())
            == 10
            and (node.run_directory / "first_seen").read_text(encoding="ascii")
        )
    )
    kill(daemon, when_it_is_ready)
    again = Daemon(node, tmp_path, "--min-age", "3600")
    again.after_ticks(2)
    assert (node.run_directory / "first_seen").read_text(encoding="ascii") == seen
    again.stop()
