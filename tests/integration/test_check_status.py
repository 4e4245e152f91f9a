"""What ``--check`` says by its exit status and its first line, and how it ends where nobody reads
on.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from rig.node import ENGINE, PYTHON, wait_until

LEAK = "zombie()\nready()\nforever()"
# as on a node with room; the rig's nodes count as short of it
WITH_ROOM = ("--pressure", "0.99")
# of another program, which has ended: nobody will ask for it
ORPHAN = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()  # by which it is seen that the parent did not start it
    if os.fork() == 0:
        os.read(reading, 1)
        os._exit(0)
    os._exit(0)
os.wait()
os.write(writing, b"x")
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
ready()
forever()
"""


def checked(node, *flags):
    """(exit status, first line)."""
    done = node.agent("--check", *flags)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[0]


def test_ok(node):
    assert checked(node, *WITH_ROOM) == (
        0,
        "OK: 0 zombies on this node",
    )


@pytest.mark.parametrize("flags", [("--min-age", "3600"), ("--min-age", "0")])
def test_zombies_that_may_be_waited_for_are_no_reason_for_a_warning(node, flags):
    """Be they young or old, on a node with room."""
    node.container(LEAK)
    assert checked(node, *WITH_ROOM, *flags)[0] == 0


def test_an_orphan_that_counts_is_a_warning(node):
    node.container(ORPHAN)
    assert checked(node, *WITH_ROOM, "--min-age", "3600")[0] == 0
    flags = [*WITH_ROOM, "--min-age", "0"]
    status, line = checked(node, *flags)
    assert status == 1
    assert line == (
        "WARNING: 1 zombie on this node; would act on 1 parent; zombies that count: of 1 parent"
    )
    assert checked(node, *flags, "--exit-zero") == (
        0,
        "1 zombie on this node; would act on 1 parent",
    )
    assert checked(node, *flags, "--remedies", "none")[0] == 1, "what is set to be done is not it"
    done = node.agent("--check", "--json", *flags)
    assert (done.returncode, json.loads(done.stdout)["check_mode"]) == (1, True)


def test_short_room_is_critical(node):
    """Whether or not there are zombies."""
    status, line = checked(node, "--pressure", "0.000001")
    assert status == 2
    assert line.startswith("CRITICAL: 0 zombies") and line.endswith(
        "; room for processes is short on this node"
    )


def test_a_remedy_that_was_in_vain_is_critical(node):
    """Until the zombies have gone: SIGCHLD does not help this program."""
    init = node.container(LEAK)
    node.sweep(remedies="nudge")
    status, line = checked(node, "--min-age", "0")
    assert status == 2
    assert "; the last sweep cleared none of the zombies of 1 parent" in line
    node.sweep(remedies="reap")
    wait_until(lambda: not init.zombies())
    assert checked(node, "--min-age", "0")[0] == 0


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--min-age", "-1"], "min_age"),
        (["--no-such-flag"], "unrecognized arguments"),
        (["--config", "/nowhere.json"], "/nowhere.json cannot be read"),
        (["--interval", "x"], "--interval"),
    ],
)
def test_what_cannot_be_looked_at_is_unknown(node, flags, said):
    for exit_zero, status in (([], 3), (["--exit-zero"], 2)):
        done = node.agent("--check", *flags, *exit_zero)
        assert (done.returncode, done.stdout) == (status, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("zombie-reaper: ") and said in line


def test_without_root_it_is_unknown(node):
    """All is loaded before root is given up: engine and Python may lie where only root reads."""
    code = (
        f"import os, sys; sys.path.append({str(ENGINE)!r}); from reaper import cli;"
        " cli._parse(['--check']); os.setresuid(65534, 65534, 65534);"
        " sys.exit(cli.main(['--check']))"
    )
    done = node.run(PYTHON, "-IS", "-c", code)
    assert (done.returncode, done.stdout) == (3, "")
    assert "root is needed" in done.stderr


@pytest.mark.parametrize(
    "flags", [["--check"], ["--check", "--json"], ["--help"], ["--audit"], ["--version"]]
)
def test_a_reader_that_has_enough_is_no_failure(node, flags):
    """As ``zombie-reaper --check | head -1``, only that the pipe is closed for sure."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*node.enter, *node.agent_command(*flags, *WITH_ROOM)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_standard_output(node):
    done = node.run("sh", "-c", 'exec "$@" >&-', "sh", *node.agent_command("--check", *WITH_ROOM))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_of_the_configuration_names_the_file(node, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"min_age": -1, "scope": "x", "tolerate": "many"}', encoding="ascii")
    done = node.agent("--grace", "x", "--tolerate", "5", config=config)
    assert done.returncode == 2
    assert f"zombie-reaper: {config}: scope: 'x' is not allowed" in done.stderr
    assert "; min_age: -1 is not allowed" in done.stderr and "; grace: 'x'" in done.stderr
    assert "tolerate" not in done.stderr, "the flag is in its place"


def test_a_wrong_flag_is_told_in_one_line(node):
    done = node.agent("--audti")
    assert (done.returncode, done.stderr) == (
        2,
        "zombie-reaper: unrecognized arguments: --audti (zombie-reaper --help lists all flags)\n",
    )


def test_an_idle_look_that_nobody_reads(node):
    """The way of the command that needs no more than the note of the last sweep."""
    code = (
        "import sys; sys.path.append(sys.argv.pop(1)); from reaper import command, idle;"
        " idle.idle_for = lambda *_paths: 5.0; sys.exit(command.main())"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PYTHON, "-IS", "-c", code, node.agent_command()[4]],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
