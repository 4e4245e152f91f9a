"""Programs that leak nothing, and only ask late for the statuses of their children: with the
default options no sweep makes a difference to them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from rig.agents import later, sweep
from rig.node import CHECKOUT, offender_of, wait_until
from rig.reaping import said, says_nothing

DEFAULTS = {"pressure": 0.5, "max_parents": 10, "min_age": 60, "grace": 10}
EAGER = {**DEFAULTS, "min_age": 1}

# name -> (command of PID 1, what it says when the gate has been opened). It keeps zombies until
# then; the gate is a FIFO, which is read to its end.
SHELL_WAITS = (
    "( echo a; cat %(gate)s; echo b ) | { while read f; do sh -c 'exit 0' & done; wait; echo"
    " done; }"
)
PROGRAMS = {
    "dash": (["dash", "-c", SHELL_WAITS], ["done"]),
    "busybox ash": (["busybox", "ash", "-c", SHELL_WAITS], ["done"]),
    "GNU xargs": (
        [
            "bash",
            "-c",
            "(echo a; cat %(gate)s; echo b; echo c) | xargs -P 4 -n1 echo did; echo status"
            " ${PIPESTATUS[1]}",
        ],
        ["did a", "did b", "did c", "status 0"],
    ),
    "a list of Popen, waited for in order": (
        [
            sys.executable,
            "-c",
            "import subprocess\njobs = [subprocess.Popen(['cat', '%(gate)s']),"
            " subprocess.Popen(['sh', '-c', 'exit 7'])]\nprint('statuses:', [job.wait() for job"
            " in jobs], flush=True)",
        ],
        ["statuses: [0, 7]"],
    ),
    "multiprocessing, asking who is alive": (
        [
            sys.executable,
            "-c",
            "import multiprocessing, time\ndef gate(): open('%(gate)s').read()\ndef fails():"
            " raise SystemExit(5)\nworks ="
            " [multiprocessing.get_context('fork').Process(target=target) for target in (gate,"
            " fails)]\nfor each in works: each.start()\nworks[0].join()\nwhile"
            " any(each.is_alive() for each in works): time.sleep(0.01)\nprint([each.exitcode"
            " for each in works], flush=True)",
        ],
        ["[0, 5]"],
    ),
    "ninja, whose job leaves its output to another": (
        [
            "bash",
            "-c",
            "printf 'rule job\\n command = cat %(gate)s & exit 3\\nbuild done: job\\n'"
            " >%(gate)s.ninja;ninja -f %(gate)s.ninja; echo status $?",
        ],
        [
            "[1/1] cat %(gate)s & exit 3",
            "FAILED: done",
            "cat %(gate)s & exit 3",
            "ninja: build stopped: subcommand failed.",
            "status 1",
        ],
    ),
    "ruby, which ends with the first of its processes, as foreman does": (
        [
            "ruby",
            "-e",
            "$stdout.sync = true; jobs = [spawn('exit 3'), spawn('sleep 3600')];"
            # SIGCHLD interrupts open(2), which Ruby does not begin again
            " begin; File.read('%(gate)s'); rescue Errno::EINTR; retry; end; _pid, status = Process.wait2; puts status.exitstatus;"
            " Process.kill(:TERM, jobs[1]); puts Process.wait2[1].termsig",
        ],
        ["3", "15"],
    ),
    "perl": (
        [
            "perl",
            "-e",
            "$one = fork or exit 4; $two = fork or exit 9; open(G, '<', '%(gate)s'); <G>; $| ="
            " 1;for ($one, $two) { waitpid($_, 0); print $? >> 8, qq(\\n) }",
        ],
        ["4", "9"],
    ),
}


@pytest.fixture
def gate(tmp_path):
    """A FIFO, and a function that opens it for good."""
    path = tmp_path / "gate"
    os.mkfifo(path)

    def opened():
        os.close(os.open(path, os.O_WRONLY))

    return path, opened


def started(node, command, path):
    """That command as PID 1 of a container, once it holds a zombie."""
    words = [word % {"gate": path} if "%(gate)s" in word else word for word in command]
    program = node.container(f"ready()\nos.execvp({words[0]!r}, {words!r})")
    wait_until(lambda: zombies_below(program))
    return program


def zombies_below(program) -> list:
    return [
        child
        for each in [program.process, *program.process.children(recursive=True)]
        for child in each.children()
        if child.status() == "zombie"
    ]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    "options, times",
    [(DEFAULTS, 2), (EAGER, 20)],
    ids=["twice, a minute apart", "20 times in a row"],
)
def test_it_ends_as_it_would_alone(node, gate, name, options, times):
    command, expected = PROGRAMS[name]
    program = started(node, command, gate[0])
    before = len(zombies_below(program))
    for number in range(times):
        result = sweep(node, later(hours=(number + 1) * 61 / 3600), **options)
        assert {entry["reason"] for entry in result["offenders"]} == {"may_be_waited_for"}, result[
            "summary"
        ]
        assert {entry["outcome"] for entry in result["offenders"]} == {"left_alone"}
    assert len(zombies_below(program)) == before, "all are there that were"
    gate[1]()
    expected = [line.replace("%(gate)s", str(gate[0])) for line in expected]
    assert sorted(said(program) for _line in expected) == sorted(expected), (
        "some run at the same time"
    )


class Redis:
    """A server that starts a child to save what it has, and does not look after it as long as a
    script of a client runs.
    """

    def __init__(self, node, directory):
        self.socket = directory / "redis"
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(directory),
            "--save",
            "",
            "--lua-time-limit",
            "1",
        ]
        self.program = node.container(f"ready()\nos.execvp('redis-server', {command!r})")
        wait_until(self.socket.exists)
        self.client = self.connected()
        self.client.sendall(b"PING\r\n")
        # it loads dump.rdb after it has made the socket, and ends if that is a directory
        assert self.client.recv(64) == b"+PONG\r\n"
        (directory / "dump.rdb").mkdir()  # which no file can replace, so the child fails
        # at once, so that it does not look in between
        self.client.sendall(b"BGSAVE\r\nEVAL 'while true do end' 0\r\n")
        wait_until(lambda: zombies_below(self.program))

    def connected(self):
        client = socket.socket(socket.AF_UNIX)
        wait_until(lambda: client.connect_ex(str(self.socket)) == 0)
        return client

    def goes_on(
        self,
        until=lambda found: (
            found["rdb_bgsave_in_progress"] == "0" and found["rdb_last_bgsave_status"]
        ),
    ):
        """What it says of its child in the end."""
        with self.connected() as other, other.makefile("rb") as answers:
            other.sendall(b"SCRIPT KILL\r\n")
            wait_until(lambda: b"BUSY" not in answers.readline())

            def saved():
                other.sendall(b"INFO persistence\r\n")
                answer = answers.readline()
                if answer.startswith(b"-BUSY"):  # the script is to end, and has not yet
                    return None
                length = int(answer[1:])
                found = dict(
                    line.split(":")
                    for line in answers.read(length + 2).decode().splitlines()
                    if ":" in line
                )
                return until(found)

            return wait_until(saved)


@pytest.mark.parametrize(
    "options, times",
    [(DEFAULTS, 2), (EAGER, 20)],
    ids=["twice, a minute apart", "20 times in a row"],
)
def test_redis_learns_that_its_child_failed(node, tmp_path, options, times):
    redis = Redis(node, tmp_path)
    for number in range(times):
        result = sweep(node, later(hours=(number + 1) * 61 / 3600), **options)
        assert offender_of(result, redis.program)["outcome"] == "left_alone"
    assert len(zombies_below(redis.program)) == 1
    assert redis.goes_on() == "err"
    redis.client.close()


# name -> what it says where room is short and a sweep has had its zombies collected, as
# docs/exit-statuses.md has it
SPINS, WAITS = "never returns", "waits for the next"
LOSES = {
    "dash": SPINS,
    "busybox ash": SPINS,
    "GNU xargs": ["did a", "status 1"],
    "ninja, whose job leaves its output to another": ["status 1"],
    "ruby, which ends with the first of its processes, as foreman does": WAITS,
    "a list of Popen, waited for in order": ["statuses: [0, 0]"],
    "perl": ["72057594037927935", "72057594037927935"],
}


def row_of(name) -> str:
    document = (
        (CHECKOUT / "docs/exit-statuses.md")
        .read_text(encoding="utf-8")
        .partition("## Programs that wait for several")[2]
    )
    return next(line for line in document.splitlines() if line.startswith(f"| {name} |"))


@pytest.mark.parametrize("name", LOSES)
def test_what_it_loses_where_room_is_short_stands_in_the_document(node, gate, name):
    program = started(node, PROGRAMS[name][0], gate[0])
    assert sweep(node, **{**DEFAULTS, "pressure": 0, "min_age": 0})["counts"]["cleared"] > 0
    gate[1]()
    if LOSES[name] == SPINS:

        def used():
            return sum(
                sum(each.cpu_times()[:2])
                for each in [program.process, *program.process.children(recursive=True)]
            )

        before = used()
        wait_until(lambda: used() > before + 0.5)
        assert program.alive
    elif LOSES[name] == WAITS:
        wait_until(
            lambda: (
                not has_open(program, gate[0])
                and program.process.status() == psutil.STATUS_SLEEPING
            )
        )
        assert says_nothing(program)
    else:
        assert sorted(said(program) for _line in LOSES[name]) == sorted(LOSES[name])
    assert (LOSES[name][-1] if isinstance(LOSES[name], list) else LOSES[name]) in row_of(name)


def has_open(program, path) -> bool:
    return str(path) in [
        os.readlink(link) for link in Path(f"/proc/{program.process.pid}/fd").iterdir()
    ]


def test_what_redis_loses_where_room_is_short(node, tmp_path):
    redis = Redis(node, tmp_path)
    assert sweep(node, **{**DEFAULTS, "pressure": 0, "min_age": 0})["counts"]["cleared"] == 1
    assert redis.goes_on(until=lambda found: found["rdb_bgsave_in_progress"] == "1")
    redis.client.close()
    assert "in progress for ever" in row_of("redis, while a script runs")


NOTES_SIGNALS = """
noted = []
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR1, signal.SIGUSR2}:
    signal.signal(number, lambda number, _frame: noted.append(number))
signal.signal(signal.SIGUSR1, lambda *_: (noted.clear(), os.write(1, b"noting\\n")))
signal.signal(signal.SIGUSR2, lambda *_: os.write(1, (repr(noted) + chr(10)).encode()))
"""


def test_no_signal_is_sent_while_there_is_room(node):
    program = node.container(NOTES_SIGNALS + ORPHANS + "own = zombie()\nready()\nforever()")
    wait_until(lambda: len(program.zombies()) == 11)
    program.process.send_signal(signal.SIGUSR1)
    assert said(program) == "noting"
    for number in range(3):
        sweep(node, later(hours=number * 61 / 3600), **DEFAULTS)
    assert len(program.zombies()) == 6, "the orphans were collected"
    program.process.send_signal(signal.SIGUSR2)
    assert said(program) == "[]"


ORPHANS = """
for _number in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:  # of a session that its adopter does not lead, and did not begin
                os._exit(0)
            time.sleep(0.2)
            os._exit(0)
        os._exit(0)
    os.wait()
"""


def test_orphans_go_in_the_second_sweep_and_its_own_children_stay(node):
    program = node.container(ORPHANS + "time.sleep(0.5)\nown = zombie()\nready()\nforever()")
    wait_until(lambda: len(program.zombies()) == 11)
    first = offender_of(sweep(node, **DEFAULTS), program)
    result = sweep(node, later(hours=61 / 3600), **DEFAULTS)
    second = offender_of(result, program)
    assert result["counts"]["left_to_parents"] == 6
    assert (
        result["summary"][2]
        == "6 zombies left alone: their parents may still ask for them, and there is room, so no"
        " harm is done"
    )
    assert first["reason"] == "too_young" and first["claims"]["orphan"] == 5
    assert (second["outcome"], second["remedy"], second["cleared"]) == ("cleared", "reap", 5)
    assert len(program.zombies()) == 6 and program.alive
