"""The rules of the daemon one by one: its clock, its signals, its sweeps and its ledger
are made by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    daemon,
    files,
    report,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import (
    Busy,
    CannotSweep,
    OptionError,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import validate
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import (
    DAEMON_LOCK,
    DAEMON_STATUS,
    Paths,
)
from rig.node import ENGINE, PYTHON, Node

DEFAULTS, OTHERS = validate({}), validate({"min_age": 7})
TERM, INTERRUPT, HANGUP = (
    bytes([number]) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
)


class Clock:
    """now: seconds on every clock. cpu: of this process."""

    def __init__(self):
        self.now, self.cpu = 1000.0, 0.0

    def monotonic(self):
        return self.now

    time = monotonic

    def process_time(self):
        return self.cpu


def wrong():
    raise OptionError("min_age: -1 is not allowed\n")


@pytest.fixture
def paths(tmp_path):
    return Paths(run=str(tmp_path / "run"), cgroup=str(tmp_path / "cgroup"))


@pytest.fixture
def watcher(paths):
    """One with these default options; ``said``: what it logged."""
    said = []
    made = daemon._Daemon(DEFAULTS, paths, procfs.ProcFS(), 10.0, said.append)
    made.spare, made.lines = daemon._spare(), said
    return made


def told(paths) -> dict:
    with open(os.path.join(paths.run, DAEMON_STATUS), encoding="utf-8") as file:
        return json.load(file)


# What it listens to


class Acts:
    """In place of a watcher: notes what it is asked for."""

    def __init__(self, events):
        self.events, self.summary = events, "summary"
        self.ledger = SimpleNamespace(close=lambda: events.append("close"))

    def get_ready(self):
        self.events.append("ready")

    def reload(self, load):
        self.events.append("reload")

    def tick(self):
        self.events.append("tick")


@pytest.fixture
def watched(paths, monkeypatch):
    """Calls watch() with these signals, one text of bytes after each interval; returns what was
    done. ``begun_with``: options.
    """

    def call(*signals, load=lambda: (DEFAULTS, paths)):
        events, coming = [], list(signals)

        def begin(options, *_arguments):
            call.begun_with = options
            return Acts(events)

        def wait(_signals, seconds):
            assert seconds == 10.0
            assert coming, "it went on"
            return coming.pop(0)

        monkeypatch.setattr(daemon, "_Daemon", begin)
        monkeypatch.setattr(daemon, "_wait", wait)
        daemon.run(load, paths, 10.0, events.append)
        assert not coming
        return events

    return call


@pytest.mark.parametrize(
    "last",
    [TERM, INTERRUPT, HANGUP + TERM, TERM + HANGUP],
    ids=["TERM", "INT", "HUP TERM", "TERM HUP"],
)
def test_each_interval_it_looks_until_it_is_asked_to_end(watched, last):
    assert watched(b"", b"", last) == ["ready", "tick", "tick", "close"]


def test_sighup_has_the_options_read_again_before_the_next_look(watched):
    assert watched(b"", HANGUP, b"", TERM) == ["ready", "tick", "reload", "tick", "tick", "close"]


def test_it_does_not_begin_with_a_bad_configuration(watched, paths):
    with pytest.raises(OptionError):
        watched(TERM, load=wrong)
    assert not os.path.exists(paths.run)


def test_there_is_only_one_of_a_node(watched, paths):
    with (
        files.locked(paths.run, DAEMON_LOCK, wait=0),
        pytest.raises(Busy, match=r"daemon\.lock"),
    ):
        watched(TERM)
    assert watched(TERM) == ["ready", "close"], "the one before has ended"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_noted_and_not_lost_before_it_waits(number):
    before = signal.getsignal(number)
    with daemon._signals() as signals:
        assert callable(signal.getsignal(number)) and signal.getsignal(number) != before
        os.kill(os.getpid(), number)
        assert daemon._wait(signals, 60) == bytes([number])
        assert daemon._wait(signals, 0) == b""
    assert signal.getsignal(number) == before


def test_more_signals_than_it_can_note_do_not_stop_it():
    with daemon._signals() as signals:
        assert not os.get_blocking(signals)
        for _number in range(70000):
            os.kill(os.getpid(), signal.SIGHUP)
        assert set(daemon._wait(signals, 60)) == {signal.SIGHUP}


# What it tells systemd


@pytest.fixture
def systemd(monkeypatch):
    """A socket that takes what is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0zombie-reaper-test-{os.getpid()}")
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@zombie-reaper-test-{os.getpid()}")
        yield listening


def test_it_tells_systemd_what_it_does(watched, systemd):
    watched(b"", HANGUP, TERM)
    said = [systemd.recv(1000).decode() for _message in range(6)]
    assert said[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[:2] + said[3:] == [
        "READY=1\nSTATUS=looking every 10 s",
        "WATCHDOG=1\nSTATUS=summary",
        "READY=1",
        "WATCHDOG=1\nSTATUS=summary",
        "STOPPING=1",
    ]


def test_it_does_not_wait_for_systemd(systemd, monkeypatch):
    """Nobody reads: its socket is full after some messages. SIGALRM would end a wait without
    end.
    """
    monkeypatch.setattr(daemon, "NOTIFY_WAIT", 0.01)

    def ring(_number, _frame):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with contextlib.ExitStack() as until_done:
            notify = daemon._notifier(until_done)
            signal.alarm(60)
            for _message in range(20):
                notify("x" * 50000)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_systemd_that_has_gone_does_not_end_it(watched, systemd):
    systemd.close()
    assert watched(b"", TERM) == ["ready", "tick", "close"]


# Its options


def test_good_options_are_taken_and_bad_ones_are_not(watcher, paths):
    watcher.reload(wrong)
    assert watcher.options is DEFAULTS
    assert told(paths)["configuration_error"] == r"min_age: -1 is not allowed\x0a"
    assert "still using the previous one" in watcher.lines[0]
    watcher.reload(lambda: (OTHERS, paths))
    assert watcher.options is OTHERS
    assert told(paths)["configuration_error"] is None
    watcher.reload(wrong)
    assert watcher.options is OTHERS


def test_metrics_go_where_the_new_options_say(watcher, paths):
    elsewhere = paths._replace(textfiles="/somewhere")
    watcher.reload(lambda: (OTHERS, elsewhere))
    assert watcher.paths == elsewhere
    watcher.reload(wrong)
    assert watcher.paths == elsewhere


def test_a_log_that_fails_does_not_end_it(watcher):
    def full(_line):
        raise OSError(28, "No space left on device")

    watcher.write_line = full
    watcher.reload(wrong)
    watcher.reload(lambda: (OTHERS, watcher.paths))
    assert watcher.options is OTHERS


def test_a_run_directory_that_cannot_be_written_does_not_end_it(watcher, paths):
    with open(paths.run, "w", encoding="ascii"):  # a file in its place
        watcher.reload(lambda: (OTHERS, watcher.paths))
    assert watcher.options is OTHERS


# When it sweeps


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ticking(watcher, monkeypatch, clock):
    """Looks every 10 s for 3 minutes; returns the seconds at which it swept. The ledger shows
    ``count``, a sweep takes ``cpu`` and ``wall``.
    """
    monkeypatch.setattr(daemon, "time", clock)
    monkeypatch.setattr(daemon.report, "changed", lambda done: done.changed)

    def call(count, cpu=0.0, wall=0.0, changed=False, tried=False):
        swept = []

        def once():
            swept.append(clock.now - 1000)
            clock.cpu += cpu
            clock.now += wall
            return SimpleNamespace(
                changed=changed, results=[SimpleNamespace(outcomes=["reap"] if tried else [])]
            )

        watcher.ledger = SimpleNamespace(zombies=lambda: count)
        watcher._sweep_once = once
        for turn in range(18):
            clock.now = max(clock.now, 1000.0 + 10 * turn)
            watcher.tick()
        return swept

    return call


@pytest.mark.parametrize("count", [0, -3])
def test_where_the_ledger_shows_nothing_it_sweeps_once_a_minute(ticking, count):
    assert ticking(count) == [0, 60, 120]


class Stacks:
    """In place of the count by the kernel's stacks. checks: when the ledger checked it."""

    is_off, why_not = False, None  # it is used

    def __init__(self, clock, shows_none):
        self.clock, self.none, self.checks = clock, shows_none, []

    def shows_none(self):
        return self.none

    def check(self):
        self.checks.append(self.clock.now - 1000)


def test_where_the_stacks_show_nothing_the_ledger_is_not_read(ticking, watcher, clock):
    watcher.stacks = Stacks(clock, True)
    assert ticking(1) == [0, 60, 120]


def test_where_the_stacks_are_not_sure_the_ledger_decides(ticking, watcher, clock):
    watcher.stacks = Stacks(clock, False)
    assert ticking(0) == [0, 60, 120]
    clock.now = 1000.0
    watcher.due_at = 0.0
    assert ticking(1, changed=True) == [10 * turn for turn in range(18)]


def test_the_ledger_checks_the_stacks_at_the_start_and_once_a_minute(ticking, watcher, clock):
    watcher.stacks = Stacks(clock, True)
    watcher._check_stacks()
    ticking(0)
    assert watcher.stacks.checks == [0, 0, 60, 120]


def test_why_the_stacks_are_not_used_is_logged_once_and_in_the_status(ticking, watcher, clock):
    watcher.stacks = Stacks(clock, True)
    ticking(0)
    assert (watcher.lines, watcher.status.no_stack_count) == ([], None)

    def disagree():
        watcher.stacks.is_off, watcher.stacks.why_not = True, "so\n"

    clock.now, watcher.due_at = 1000.0, 0.0
    watcher.stacks.check = disagree
    ticking(0)
    assert watcher.lines == [r"zombies are counted by cgroups only from now on: so\x0a"]
    assert watcher.status.no_stack_count == r"so\x0a"
    line = report.daemon_in_words(watcher.status, 2000.0)
    assert line.endswith(r"; counts zombies by cgroups only: so\x0a")


@pytest.mark.parametrize("count", [1, 100000, None])
def test_where_it_shows_something_or_cannot_tell_it_sweeps_at_once(ticking, count):
    assert ticking(count, changed=True, cpu=5.0) == [10 * turn for turn in range(18)]


def test_sweeps_that_help_nobody_take_a_small_share_of_its_time(ticking):
    assert ticking(3, cpu=1.0) == [0, 20, 40, 60, 80, 100, 120, 140, 160], (
        "1 s of CPU, then 20 s without"
    )


def test_of_sweeps_that_tried_something_in_vain_the_time_counts(ticking):
    """To wait for a parent that does not end costs no CPU, and keeps it from others."""
    assert ticking(3, wall=1.0, tried=True) == [0, 30, 60, 90, 120, 150], "1 s, then 20 s more"


def test_new_options_are_tried_at_once(ticking, watcher):
    assert ticking(3, cpu=100.0) == [0, 60, 120], (
        "no later than after a minute: last.json would be too old"
    )
    assert watcher.not_before > 0
    watcher.reload(lambda: (OTHERS, watcher.paths))
    assert watcher.not_before == 0.0


# What becomes of a sweep that fails


@pytest.fixture
def sweeping(watcher):
    """Sweeps once, where what is in the list is raised or returned, one after the other; returns
    (report, whether there was a spare each time).
    """

    def call(*effects):
        coming, spare = list(effects), []

        def once():
            spare.append(not watcher.spare.closed)
            effect = coming.pop(0)
            if isinstance(effect, BaseException):
                raise effect
            return effect

        watcher._sweep_once = once
        done = watcher._sweep()
        assert not coming
        return done, spare

    return call


FAILURES = [
    MemoryError(),
    OSError(12, "Cannot allocate memory", "/proc/7/stat"),
    OSError(24, "Too many open files"),
    CannotSweep("why"),
]
KINDS = ["memory", "a file", "descriptors", "something missing"]


@pytest.mark.parametrize("failure", FAILURES, ids=KINDS)
def test_a_sweep_that_fails_is_begun_again_with_the_spare_memory(watcher, sweeping, failure):
    assert sweeping(failure, "done") == ("done", [True, False])
    assert not watcher.spare.closed, "there is one for the next"


@pytest.mark.parametrize(
    "failure, said",
    list(
        zip(
            FAILURES,
            [
                "out of memory",
                "/proc/7/stat: Cannot allocate memory",
                "the node: Too many open files",
                "why",
            ],
        )
    ),
    ids=KINDS,
)
def test_a_sweep_that_fails_twice_is_said_and_ends_nothing(watcher, sweeping, failure, said):
    assert sweeping(failure, failure)[0] is None
    assert watcher.lines == ["error: " + said]
    assert not watcher.spare.closed
    assert sweeping("done") == ("done", [True])


def test_a_node_that_somebody_else_sweeps_is_left_to_them(watcher, sweeping):
    assert sweeping(Busy("another process holds it")) == (None, [True])
    assert watcher.lines == ["error: another process holds it"]


def test_without_any_memory_there_is_no_spare_and_that_ends_nothing(watcher, sweeping, monkeypatch):
    def refuse(*_arguments, **_more):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(daemon.mmap, "mmap", refuse)
    assert sweeping(MemoryError(), "done")[0] == "done"
    assert watcher.spare is None


# What --status tells


def test_status_is_that_of_the_process_that_holds_the_lock(watcher, paths):
    assert daemon.status(paths.run) is None
    assert not os.path.exists(paths.run), "whoever asks leaves nothing"
    with files.locked(paths.run, DAEMON_LOCK, wait=0):
        assert daemon.status(paths.run) == daemon.Status(), "it has just begun"
        watcher._write_status()
        assert daemon.status(paths.run) == watcher.status
        with open(os.path.join(paths.run, DAEMON_STATUS), "w", encoding="ascii") as file:
            file.write('{"pid": 5, "sin')
        assert daemon.status(paths.run) == daemon.Status()
    watcher._write_status()
    assert daemon.status(paths.run) is None, (
        "nobody holds it: what stands there is of one that has ended"
    )


# A process of its own, since what it locks stays locked

BEGIN = """
import json, os, sys
sys.path.append(sys.argv[1])
from reaper import daemon
from reaper.options import validate
from reaper.paths import Paths
from reaper.kernel import procfs
def options(**values):
    return validate({"min_age": 0, "grace": 0.3, "pressure": 0, **values})
paths = Paths(proc=sys.argv[3], run=sys.argv[2], textfiles=os.path.dirname(sys.argv[2]))
watcher = daemon._Daemon(options(remedies=["nudge", "reap"]), paths, procfs.ProcFS(), 1.0, print)
watcher.get_ready()
"""
LOCKED = """
with open("/proc/self/status") as file:
    print(next(line for line in file if line.startswith("VmLck:")).split()[1])
"""
SWEEPS = """
modules = set(sys.modules)
print("ready", flush=True)
for remedies in ["nudge", "reap"], ["terminate"]:
    sys.stdin.readline()
    watcher.options = options(remedies=remedies)
    done = watcher._sweep()
    print(json.dumps([sorted(set(sys.modules) - modules), [[outcome.result for outcome in result.outcomes] for result in done.results]]), flush=True)
"""
MAY_LOCK = 1 << 14  # CAP_IPC_LOCK of include/uapi/linux/capability.h


def test_its_memory_is_locked(tmp_path):
    with open("/proc/self/status", encoding="ascii") as file:
        rights = int(next(line for line in file if line.startswith("CapEff:")).split()[1], 16)
    if not rights & MAY_LOCK:
        pytest.skip("this user may not lock memory")
    done = subprocess.run(
        [PYTHON, "-IS", "-c", BEGIN + LOCKED, ENGINE, tmp_path / "run", "/nonexistent"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout.split()[-1]) * 1024 > daemon.RESERVE_BYTES


def test_what_a_sweep_may_need_is_loaded_before_there_is_one(tmp_path):
    """Also what only a later sweep needs, or one of a node with zombies; here there are none, and
    nothing was noted before.
    """
    needed = [
        "ctypes",
        "encodings.ascii",
        "json",
        "reaper.kernel.ptrace",
        "reaper.reasons",
        "reaper.remedies.reap",
        "reaper.remedies.terminate",
        "syslog",
    ]
    done = subprocess.run(
        [
            PYTHON,
            "-IS",
            "-c",
            BEGIN + f"print([name for name in {needed!r} if name not in sys.modules])",
            ENGINE,
            tmp_path / "run",
            "/nonexistent",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_sweep_that_acts_loads_no_module_that_was_not_there_before(tmp_path):
    node = Node(tmp_path)
    try:
        resident = subprocess.Popen(
            [
                *node.enter,
                PYTHON,
                "-IS",
                "-c",
                BEGIN + SWEEPS,
                str(ENGINE),
                str(tmp_path / "run"),
                "/proc",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with resident:
            while resident.stdout.readline() != "ready\n":
                assert resident.poll() is None
            for result in "cleared", "parent_ended":
                node.container("zombie()\nready()\nforever()")
                resident.stdin.write("\n")
                resident.stdin.flush()
                line = "said"
                while not line.startswith("["):
                    line = resident.stdout.readline()
                    assert line, "it has ended"
                loaded, outcomes = json.loads(line)
                assert loaded == []
                assert (tmp_path / "zombie_reaper.prom").exists()
                assert any(result in each for each in outcomes), outcomes
    finally:
        node.stop()


def test_a_sweep_of_it_lists_no_more_zombies_than_it_has_memory_for(watcher, monkeypatch):
    def sweep(_options, _paths, until_reported, reused):
        assert (reused.memory, reused.ledger) == (watcher.memory, watcher.ledger)
        return reused.most_zombies

    monkeypatch.setattr(daemon, "sweep", sweep)
    monkeypatch.setattr(watcher, "_note", lambda _done: None)
    assert watcher._sweep_once() == daemon.MAX_ZOMBIES


def test_nor_does_the_one_by_which_it_gets_ready(watcher, monkeypatch):
    class Swept(Exception):
        pass

    def sweep(_options, _paths, check_mode, reused):
        assert check_mode and reused.memory is not watcher.memory and reused.ledger is None
        raise Swept(reused.most_zombies)

    monkeypatch.setattr(daemon, "sweep", sweep)
    with pytest.raises(Swept) as swept:
        watcher.get_ready()
    assert swept.value.args == (daemon.MAX_ZOMBIES,)


@pytest.mark.parametrize("has_own", [True, False])
def test_it_does_without_openssl(has_own):
    """Which would be 5 MB more of locked memory. Only a Python without SHA-2 of its own needs it."""
    module = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    code = (
        "import sys; sys.path.append(sys.argv[1])\n"
        f"if not {has_own}: sys.modules['_sha2'] = sys.modules['_sha256'] = None\n"
        "from reaper.sha2 import sha224, sha256\n"
        f"print(sha224(b'a').hexdigest(), sha256(b'b').hexdigest(), {module!r} in sys.modules,"
        " '_hashlib' in sys.modules)"
    )
    told = subprocess.run(
        [PYTHON, "-ISc", code, str(ENGINE)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert told[:2] == [hashlib.sha224(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()]
    if has_own and told[2] == "True":
        assert told[3] == "False"
