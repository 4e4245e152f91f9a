"""The daemon: what it says, what it listens to, and what it must not do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import time

import pytest
from rig.daemon_node import Daemon
from rig.node import AGENT, ENGINE, PYTHON, wait_until
from rig.reaping import DAEMON

LEAK = """
for _ in range(3): zombie()
ready()
forever()
"""
LEAKS_WHEN_TOLD = """
signal.signal(signal.SIGUSR1, lambda *_: zombie())
ready()
forever()
"""


@pytest.fixture
def start_daemon(node, tmp_path):
    """Starts one; the arguments are those of rig.daemon_node.Daemon after the first two."""
    with contextlib.ExitStack() as stack:

        def start(*flags, **kwargs):
            started = Daemon(node, tmp_path, *flags, **kwargs)
            stack.callback(started.stop)
            return started

        yield start


def children(program) -> int:
    with open(
        f"/proc/{program.process.pid}/task/{program.process.pid}/children", encoding="ascii"
    ) as file:
        return len(file.read().split())


def cleared(start_daemon, number):
    def enough():
        status = start_daemon.status() or {}
        return status.get("cleared", 0) >= number and status

    return wait_until(enough, 120)


def test_it_sees_what_comes_and_status_tells(node, start_daemon):
    began = time.time()
    daemon = start_daemon("--min-age", "1", "--remedies", "reap")
    init = node.container(LEAK)
    told = cleared(daemon, 3)
    assert init.alive and children(init) == 0
    done = node.agent("--status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["schema"], status["interval"], status["configuration_error"]) == (1, 1.0, None)
    assert status["cleared"] == 3 and status["sweeps"] >= told["sweeps"] >= 2
    assert began <= status["since"] <= status["last_sweep"] <= time.time()
    line = node.agent("--status").stdout
    assert re.fullmatch(
        (
            rf"PID {status['pid']} has watched this node for \d+ (s|min), every 1 s: \d+"
            " sweeps?, 3 zombies cleared,"
            r" last sweep \d+ (s|min) ago; counts zombies by cgroups only: not in the"
            " initial PID namespace, and the counters are of the machine\n"
        ),
        line,
    )
    assert sum(int(number) for number in re.findall(r"(\d+) cleared", daemon.text())) == 3
    last = json.loads((node.run_directory / "last.json").read_text(encoding="utf-8"))
    assert last["schema"] == 1


def test_status_where_nobody_watches_says_so(node, start_daemon):
    done = node.agent("--status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon runs on this node" in done.stderr
    assert not node.run_directory.exists()
    daemon = start_daemon()
    assert node.agent("--status").returncode == 0
    assert daemon.end() == 0
    assert node.agent("--status").returncode == 1, "what it has left is not taken for a live one"


def test_status_is_not_known_without_root(node, start_daemon):
    """Its files are root's alone, so anybody else would take them for missing. Root asks first:
    what is needed is loaded then, since Python may lie where only root can read.
    """
    start_daemon()
    status = f"reaper.cli.main(['--status', '--run', {str(node.run_directory)!r}])"
    code = (
        f"import os, sys; sys.path.append({str(ENGINE)!r}); import reaper.cli; {status};"
        f" os.setresuid(65534, 65534, 65534); sys.exit({status})"
    )
    done = node.run(PYTHON, "-IS", "-c", code)
    assert done.returncode == 1
    assert re.fullmatch(r"PID \d+ has watched this node .*\n", done.stdout)
    assert "root is needed to see whether a daemon runs; this is UID 65534" in done.stderr
    assert "no daemon runs" not in done.stderr


def test_a_second_one_is_refused_and_the_first_goes_on(node, start_daemon):
    daemon = start_daemon("--remedies", "reap", "--min-age", "0")
    done = node.agent("--daemon", "--interval", "1")
    assert done.returncode != 0
    assert re.search(r"another .*held .*/daemon\.lock", done.stderr), done.stderr
    init = node.container(LEAK)
    cleared(daemon, 3)
    assert init.alive


def configured(path, **options):
    new = path.with_suffix(".new")
    new.write_text(json.dumps(options), encoding="utf-8")
    new.rename(path)


def test_sighup_takes_a_good_configuration_and_keeps_the_old_one_where_it_is_bad(
    node, start_daemon, tmp_path
):
    config = tmp_path / "config.json"
    configured(config, min_age=0, remedies=[])
    daemon = start_daemon(config=config)
    init = node.container(LEAK)
    daemon.after_ticks(3)
    assert children(init) == 3

    config.write_text('{"min_age": 0, "remedies": ["reap"', encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    error = wait_until(lambda: (daemon.status() or {}).get("configuration_error"))
    assert "is not JSON" in error
    daemon.after_ticks(2)
    assert children(init) == 3, "still by the previous configuration"
    assert "still using the previous configuration: " in node.agent("--status").stdout
    assert "the new configuration is invalid" in daemon.text()

    configured(config, min_age=-1)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "min_age" in ((daemon.status() or {}).get("configuration_error") or ""))

    configured(config, min_age=0, remedies=["reap"])
    daemon.signal(signal.SIGHUP)
    told = cleared(daemon, 3)
    daemon.after_ticks(1)
    assert told["configuration_error"] is None
    assert init.alive
    assert "using the previous configuration" not in node.agent("--status").stdout
    said = [message for _when, message in daemon.messages]
    assert sum(message.startswith("RELOADING=1\nMONOTONIC_USEC=") for message in said) == 3
    for place, message in enumerate(said):
        if message.startswith("RELOADING=1"):
            assert said[place + 1].startswith("READY=1")
    assert daemon.end() == 0


def test_what_it_tells_systemd(start_daemon):
    began = time.monotonic()
    daemon = start_daemon()
    daemon.after_ticks(3)
    assert daemon.end() == 0
    assert daemon.ticks() <= time.monotonic() - began, "one look each interval, the first after one"
    wait_until(lambda: daemon.sent("STOPPING=1"))
    said = [message for _when, message in daemon.messages]
    assert said[0].split("\n")[0] == "READY=1"
    assert said[-1] == "STOPPING=1"
    assert all(
        re.match(r"WATCHDOG=1\nSTATUS=\d+ zombies? on this node", message) for message in said[1:-1]
    )


def test_systemd_that_does_not_listen_does_not_stop_it(node, start_daemon):
    """Its socket is full: on a node that is full systemd may be stuck, and that is when this is
    needed.
    """
    daemon = start_daemon("--min-age", "0", "--remedies", "reap", listens=False, interval=2)
    init = node.container(LEAKS_WHEN_TOLD)
    wait_until(lambda: daemon.status() is not None)
    daemon.find()
    for number in range(1, 4):
        init.process.send_signal(signal.SIGUSR1)
        cleared(daemon, number)

    def sleeps_until_there_is_room():
        daemon.signal(signal.SIGHUP)  # of which it tells systemd
        return (daemon.polls() or 2) < 2

    wait_until(sleeps_until_there_is_room)
    assert daemon.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_it_is_idle(start_daemon, number):
    daemon = start_daemon(interval=3600)
    daemon.signal(number)
    assert daemon.popen.wait(60) == 0
    wait_until(lambda: daemon.sent("STOPPING=1"))
    assert [message for _when, message in daemon.messages][-1] == "STOPPING=1"
    assert "Traceback" not in daemon.text()


# PID 1 of a container with a daemon, which says when it is to end, and ends when the test wants it:
# until then a sweep with a long grace is in the middle. SIGUSR1 and SIGUSR2 are passed on to it.
SLOW = (
    DAEMON
    + """
def run():
    signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"told\\n"))
    signal.signal(signal.SIGUSR1, lambda *_: zombie())
    signal.signal(signal.SIGUSR2, lambda *_: os._exit(0))
    ready()
    forever()
daemon(run)
for number in signal.SIGUSR1, signal.SIGUSR2:
    signal.signal(number, lambda number, _frame: os.kill(3, number))
while True:
    try:
        os.wait()
        os._exit(0)
    except ChildProcessError:
        time.sleep(0.02)
"""
)
GRACE = 250


def test_sigterm_during_a_sweep_ends_it_when_that_is_reported(node, start_daemon):
    """It is waiting for a parent to end, half way: it goes on with that, takes up nothing new, and
    says so.
    """
    daemon = start_daemon("--min-age", "0", "--grace", str(GRACE), "--remedies", "terminate")
    init = node.container(SLOW)
    init.process.send_signal(signal.SIGUSR1)
    assert init.popen.stdout.readline() == b"told\n"
    daemon.takes(signal.SIGTERM)
    assert init.alive
    init.process.send_signal(signal.SIGUSR2)
    assert daemon.popen.wait(60) == 0
    assert init.ends()
    assert "asked to end by SIGTERM" in daemon.text()
    assert "Traceback" not in daemon.text()
    last = json.loads((node.run_directory / "last.json").read_text(encoding="utf-8"))
    assert last["ended_early"] and last["counts"]["parents_ended"] == 1


def test_sighup_during_a_sweep_is_taken_up_after_it(node, start_daemon, tmp_path):
    config = tmp_path / "config.json"
    configured(config, min_age=0, grace=GRACE, remedies=["terminate"])
    daemon = start_daemon(config=config)
    init = node.container(SLOW)
    init.process.send_signal(signal.SIGUSR1)
    assert init.popen.stdout.readline() == b"told\n"
    configured(config, min_age=0, remedies=[])
    daemon.takes(signal.SIGHUP)
    assert "the configuration was reloaded" not in daemon.text() and init.alive
    init.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "the configuration was reloaded" in daemon.text())
    assert init.ends()
    other = node.container(LEAK)
    daemon.after_ticks(3)
    assert children(other) == 3


def test_ages_survive_a_restart(node, start_daemon):
    """A zombie that the one before had seen for long enough counts at once; no zombie ever counts
    earlier than that.
    """
    first = start_daemon("--min-age", "3600", "--remedies", "reap")
    init = node.container(LEAK)
    wait_until(lambda: (node.run_directory / "first_seen").exists() and len(ages(node)) == 3)
    seen = ages(node)
    assert first.end() == 0
    assert ages(node) == seen, "it forgets nothing at its end"
    second = start_daemon("--min-age", "3600", "--remedies", "reap")
    second.after_ticks(3)  # so they are two seconds old
    assert ages(node) == seen
    assert second.end() == 0
    third = start_daemon("--min-age", "2", "--remedies", "reap")
    cleared(third, 3)
    wait_until(third.text)
    assert third.text().startswith("3 zombies on this node; 3 cleared, 0 left\n"), (
        "in its first sweep, or that would have told of 3 left"
    )
    assert init.alive and children(init) == 0


def ages(node) -> list:
    return sorted(
        line
        for line in (node.run_directory / "first_seen").read_text(encoding="ascii").splitlines()[1:]
    )


def test_ages_are_kept_in_memory_where_the_file_is_lost(node, start_daemon):
    """Again and again: whoever had only the file would never see a zombie that is older than a
    second.
    """
    daemon = start_daemon("--min-age", "4", "--remedies", "reap")
    init = node.container(LEAK)

    def lost_and_cleared():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(node.run_directory / "first_seen")
        return (daemon.status() or {}).get("cleared") == 3

    wait_until(lost_and_cleared)
    assert init.alive


def test_a_sweep_by_hand_beside_it_takes_turns(node, start_daemon):
    """While a sweep by hand holds the lock the daemon does nothing; then it goes on."""
    daemon = start_daemon("--min-age", "0", "--remedies", "reap")
    daemon.after_ticks(1)
    with open(node.run_directory / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        init = node.container(LEAK)
        wait_until(lambda: waits_for_the_lock(daemon))
        assert children(init) == 3
        assert not daemon.status() or daemon.status()["cleared"] == 0
    cleared(daemon, 3)
    for _turn in range(5):
        assert node.agent("--min-age", "0", "--remedies", "reap").returncode == 0
    other = node.container(LEAK)
    results = [node.sweep(remedies="reap") for _turn in range(3)]
    wait_until(lambda: children(other) == 0)
    by_hand = sum(result["counts"]["cleared"] for result in results)
    wait_until(lambda: daemon.status()["cleared"] + by_hand == 6)
    assert init.alive and other.alive


def waits_for_the_lock(daemon) -> bool:
    return "lock" in [os.path.basename(name) for name in daemon.open_files()]


def test_a_lock_that_somebody_keeps_is_said_and_got_over(node, start_daemon):
    code = AGENT.replace(
        "from reaper.cli", "from reaper import files; files.LOCK_WAIT = 1; from reaper.cli"
    )
    really, node.agent_command = (
        node.agent_command,
        lambda *flags, **kwargs: really(*flags, **{**kwargs, "code": code}),
    )
    daemon = start_daemon("--min-age", "0", "--remedies", "reap")
    daemon.after_ticks(1)
    with open(node.run_directory / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        init = node.container(LEAK)
        wait_until(lambda: "error: another process has held" in daemon.text(), 60)
        assert children(init) == 3
    cleared(daemon, 3)


FULL_RUN = 'mkdir -p "$0" && mount -t tmpfs -o size=64k none "$0" && exec "$@"'


def test_a_full_run_directory_is_said_and_stops_nothing(node, start_daemon):
    """In its own mount namespace: a file system of 64 KB, filled to its last byte, and emptied
    again.
    """
    before = ["unshare", "--mount", "sh", "-c", FULL_RUN, str(node.run_directory)]
    daemon = start_daemon("--min-age", "2", "--remedies", "reap", before=before)
    directory = f"/proc/{daemon.process.pid}/root{node.run_directory}"
    daemon.after_ticks(1)

    def said():
        with open(directory + "/filled", "ab", buffering=0) as filled, contextlib.suppress(OSError):
            while True:  # what it gave back while it wrote is taken too
                filled.write(bytes(512))
        return "cannot be written: No space left on device" in daemon.text()

    said()
    init = node.container("for _ in range(3): zombie()\n" + LEAKS_WHEN_TOLD)
    wait_until(lambda: children(init) == 0)
    assert init.alive
    wait_until(said)
    # half a file, for a moment
    wait_until(lambda: not [name for name in os.listdir(directory) if name.endswith(".new")])
    for name in os.listdir(directory):
        if name.endswith(".json"):
            with open(f"{directory}/{name}", encoding="utf-8") as file:
                json.load(file)
    os.unlink(directory + "/filled")
    init.process.send_signal(signal.SIGUSR1)

    def told():
        with open(directory + "/daemon.json", encoding="utf-8") as file:
            return json.load(file)["cleared"] == 4

    wait_until(told)


def test_no_process_no_thread_and_no_other_program_ever(node, start_daemon, tmp_path):
    """From its first system call on, start-up included; strace notes each such call, and those of
    its children.
    """
    trace = tmp_path / "trace"
    before = [
        "strace",
        "-f",
        "-q",
        "-e",
        "trace=fork,vfork,clone,clone3,execve,execveat",
        "-o",
        str(trace),
    ]
    config = tmp_path / "config.json"
    configured(config, min_age=0, grace=0.3, remedies=["nudge", "reap", "terminate"])
    daemon = start_daemon(config=config, before=before)
    node.container(LEAK)
    cleared(daemon, 3)
    configured(config, min_age=0, grace=0.3, remedies=["terminate"], cooldown=0)
    daemon.find()
    agent = daemon.process.children()[0]
    agent.send_signal(signal.SIGHUP)
    wait_until(lambda: "the configuration was reloaded" in daemon.text())
    init = node.container(LEAKS_WHEN_TOLD)
    init.process.send_signal(signal.SIGUSR1)
    cleared(daemon, 4)
    assert init.ends()
    assert agent.num_threads() == 1 and agent.children() == []
    agent.send_signal(signal.SIGTERM)
    assert daemon.popen.wait(60) == 0
    calls = [line for line in trace.read_text(encoding="utf-8").splitlines() if "(" in line]
    assert len(calls) == 1 and " execve(" in calls[0], calls


def test_descriptors_and_memory_stay_as_they_are(node, start_daemon):
    daemon = start_daemon("--min-age", "0", "--remedies", "nudge,reap")
    init = node.container("""
def more(*_):
    for _ in range(20): zombie()
signal.signal(signal.SIGUSR1, more)
ready()
forever()
""")
    for turn in range(8):
        init.process.send_signal(signal.SIGUSR1)
        cleared(daemon, 20 * (turn + 1))
        if turn == 2:
            resident, descriptors = daemon.at_rest(
                lambda: (resident_kb(daemon), daemon.open_files())
            )
    assert daemon.at_rest(daemon.open_files) == descriptors
    assert resident_kb(daemon) <= resident + 512


def resident_kb(daemon) -> int:
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def test_nothing_that_is_protected_is_ended(node, start_daemon):
    protected = node.container("# spare me\n" + LEAK)
    host_program = node.program(LEAK)
    young = node.container(CREATES_AND_COLLECTS)
    other = node.container(LEAK)
    node.sweep(remedies="")
    seen_at_boot(node, {program.pids[1] for program in (protected, host_program, other)})
    # those are older than that, and of no other will anything ever be
    half_of_its_time = str(int(time.monotonic() / 2))
    daemon = start_daemon(
        "--min-age",
        half_of_its_time,
        "--grace",
        "0.3",
        "--remedies",
        "nudge,terminate",
        "--protect",
        "spare me",
    )
    wait_until(lambda: not other.alive)
    daemon.after_ticks(2)
    assert protected.alive and host_program.alive and young.alive
    assert children(protected) == children(host_program) == 3


CREATES_AND_COLLECTS = """
ready()
while True:
    child = zombie()
    time.sleep(0.5)
    os.waitpid(child, 0)
"""


def seen_at_boot(node, parents) -> None:
    """As if the sweep of before had been that long ago. parents: PIDs of those whose zombies it saw
    then.
    """
    file = node.run_directory / "first_seen"
    boot_id, *lines = file.read_text(encoding="ascii").splitlines()
    words = [line.split() for line in lines]
    assert {int(ppid) for _pid, _start, ppid, _seen in words} >= parents
    lines = [" ".join([*key, "0.500" if int(key[2]) in parents else seen]) for *key, seen in words]
    file.write_text("\n".join([boot_id, *lines, ""]), encoding="ascii")


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--interval", "0.5"], "is not allowed: give seconds, from 1 to 3600"),
        (["--check"], "--daemon does not go with"),
        (["--json"], "--daemon does not go with"),
        (["--status"], "not both"),
    ],
)
def test_flags_that_do_not_go_with_it(node, flags, said):
    done = node.agent("--daemon", *flags)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_bad_configuration_at_its_start_is_refused(node, tmp_path):
    config = tmp_path / "config.json"
    config.write_text("[]", encoding="utf-8")
    done = node.agent("--daemon", config=config)
    assert done.returncode == 2
    assert "must hold one JSON object" in done.stderr
