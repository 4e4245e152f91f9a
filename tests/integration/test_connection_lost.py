"""A module whose connection is gone, as when its job is cancelled, ends before its next remedy; no
other kind of standard output ends a sweep.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rig.node import CHECKOUT, ENGINE, PYTHON, wait_until

SLEEPS = "230", "115"  # clock_nanosleep(2) on x86-64, aarch64
LEAK = "zombie()\nready()\nforever()"
# What the module does, as far as the engine goes; a file says that it waits for the age of zombies
SWEEP = """
import json, sys, time
sys.path.append(sys.argv[1])
from reaper import options, paths, report, sweep
real_sleep = time.sleep
def sleep(seconds):
    open(sys.argv[3], "w").close()
    real_sleep(seconds)
sweep.time.sleep = sleep
done = sweep.sweep(
    options.Options(pressure=0, min_age=int(sys.argv[4]), grace=0.3, max_parents=0),
    paths.Paths(run=sys.argv[2]), wait=True, reader=1,
)
sys.stderr.write(report.as_json(done))
"""


def started(node, tmp_path, stdout, min_age=0):
    return subprocess.Popen(
        [
            *node.enter,
            PYTHON,
            "-IS",
            "-c",
            SWEEP,
            str(ENGINE),
            str(node.run_directory),
            str(tmp_path / "waits"),
            str(min_age),
        ],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def swept(node, tmp_path, stdout) -> dict:
    popen = started(node, tmp_path, stdout)
    _nothing, said = popen.communicate()
    assert popen.returncode == 0, said
    return json.loads(said)


def last(node) -> dict:
    return json.loads((node.run_directory / "last.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("make", [os.pipe, socket.socketpair], ids=["pipe", "socket"])
def test_nobody_reads_any_more_so_nothing_is_done(node, tmp_path, make):
    """While it waits for zombies to become old enough, which would be in an hour."""
    init = node.container(LEAK)
    reading, writing = make()
    popen = started(node, tmp_path, writing, min_age=3600)
    close(writing)
    wait_until((tmp_path / "waits").exists)
    assert popen.poll() is None
    close(reading)
    _nothing, said = popen.communicate(timeout=120)
    assert popen.returncode == 0, said
    assert json.loads(said)["ended_early"] and last(node)["ended_early"]
    assert any(
        "whoever started this sweep has gone" in warning for warning in last(node)["warnings"]
    )
    assert init.alive and len(init.zombies()) == 1


def test_a_reader_that_goes_before_the_first_remedy(node, tmp_path):
    """When all zombies are due."""
    init = node.container(LEAK)
    reading, writing = os.pipe()
    os.close(reading)
    result = swept(node, tmp_path, writing)
    os.close(writing)
    assert result["ended_early"] and result["counts"]["cleared"] == 0
    assert init.alive and len(init.zombies()) == 1
    assert node.sweep()["counts"]["cleared"] == 1, "the next sweep does it"


@pytest.fixture
def connection(node, tmp_path):
    """Variables for Ansible: a real sshd, one for each connection and on no port."""
    for name in ("host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    (tmp_path / "sshd_config").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/key.pub\nStrictModes no\n"
        "UsePAM no\nPermitRootLogin yes\nPidFile none\n",
        encoding="ascii",
    )
    node.run("mkdir", "/run/sshd")  # where it gives up its privileges
    sshd = f"/usr/sbin/sshd -i -f {tmp_path}/sshd_config"
    return {
        "ansible_connection": "ssh",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(tmp_path / "key"),
        "ansible_ssh_args": "-o ControlMaster=no -F /dev/null",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        f" -o ProxyCommand='{sshd}'",
        "ansible_python_interpreter": sys.executable,
    }


def waiting_below_sshd(popen) -> bool:
    """Whether the module waits: the one Python below sshd sleeps."""
    for process in psutil.Process(popen.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            above = [each.name() for each in process.parents()]
            asleep = Path(f"/proc/{process.pid}/syscall").read_text().split()[0] in SLEEPS
            if process.name().startswith("python") and "sshd" in above and asleep:
                return True
    return False


def test_a_job_over_ssh_that_is_cancelled(node, tmp_path, connection):
    """As AWX ends one: ansible and its ssh are killed. Without a terminal nobody tells the module."""
    init = node.container(LEAK)
    job = subprocess.Popen(
        [
            *node.enter,
            Path(sys.executable).parent / "ansible",
            "node1",
            "-i",
            "node1,",
            "-e",
            json.dumps(connection),
            "-m",
            "provider.fleet.zombie_reap",
            "-a",
            json.dumps({"min_age": 3600, "pressure": 0}),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: job.poll() is not None or waiting_below_sshd(job), seconds=300)
        assert job.poll() is None, job.stdout.read()
    finally:
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(job.pid).children(recursive=True):
                if process.name() in ("ansible", "ssh"):
                    process.kill()
        job.kill()
        job.wait()
        job.stdout.close()
    report = wait_until(lambda: node.run("cat", "/run/zombie_reaper/last.json").stdout, seconds=120)
    assert json.loads(report)["ended_early"]
    assert init.alive and len(init.zombies()) == 1


def close(end):
    if isinstance(end, int):
        os.close(end)
    else:
        end.close()


def fifo_of_its_own(directory):
    """A FIFO that the sweep could read itself."""
    os.mkfifo(directory / "fifo")
    return None, os.open(directory / "fifo", os.O_RDWR)


def terminal_that_hung_up(_directory):
    """Of which SIGHUP tells those whose terminal it is."""
    master, slave = pty.openpty()
    os.close(master)
    return None, slave


OUTPUTS = {
    "terminal_that_hung_up": terminal_that_hung_up,
    "pipe": lambda directory: os.pipe(),
    "socket": lambda directory: socket.socketpair(),
    "terminal": lambda directory: pty.openpty(),
    "null": lambda directory: (None, os.open(os.devnull, os.O_WRONLY)),
    "file": lambda directory: (None, os.open(directory / "file", os.O_WRONLY | os.O_CREAT)),
    "fifo": fifo_of_its_own,
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_other_output_lets_it_go_on(node, tmp_path, kind):
    init = node.container(LEAK)
    reading, writing = OUTPUTS[kind](tmp_path)
    if kind == "socket":  # of which the module says nothing more: half of it is closed
        reading.shutdown(socket.SHUT_WR)
    result = swept(node, tmp_path, writing)
    for end in (reading, writing):
        if end is not None:
            close(end)
    assert not result["ended_early"] and result["counts"]["cleared"] == 1
    assert init.zombies() == []


def test_a_closed_output_lets_it_go_on(node, tmp_path):
    init = node.container(LEAK)
    done = node.run(
        "sh",
        "-c",
        'exec "$@" >&-',
        "sh",
        PYTHON,
        "-IS",
        "-c",
        SWEEP,
        str(ENGINE),
        str(node.run_directory),
        str(tmp_path / "waits"),
        "0",
    )
    assert done.returncode == 0, done.stderr
    assert not json.loads(done.stderr)["ended_early"] and init.zombies() == []


def test_a_terminal_shows_that_a_sweep_waits_and_a_log_does_not(node):
    init = node.container(LEAK)
    master, slave = pty.openpty()
    command = node.agent_command("--wait", "--min-age", "3600")
    with subprocess.Popen(
        [*node.enter, *command], stdin=slave, stdout=subprocess.PIPE, stderr=slave
    ) as waits:
        os.close(slave)
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(master, 1000)
        assert said.startswith(b"Waiting up to 3600 s: ") and said.count(b"\n") == 1
        (agent,) = psutil.Process(waits.pid).children()  # of nsenter
        agent.kill()
        assert waits.stdout.read() == b""
    os.close(master)
    done = node.agent("--wait", "--min-age", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["counts"]["cleared"] == 1 and init.zombies() == []


@pytest.mark.parametrize("flags", [("--wait", "--min-age", "0"), ("--min-age", "3600")])
def test_a_sweep_that_does_not_wait_does_not_say_so(node, flags):
    node.container(LEAK)
    master, slave = pty.openpty()
    subprocess.run([*node.enter, *node.agent_command(*flags)], stderr=slave, check=True)
    os.write(slave, b"nothing\n")
    assert os.read(master, 1000).strip() == b"nothing"
    for end in (master, slave):
        os.close(end)
