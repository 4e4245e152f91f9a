"""What a wrong option, a wrong configuration or a wrong node gets: one sentence, an exit status,
nothing changed.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import sweep
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.preflight import check_node
from rig.daemon_node import Daemon
from rig.node import AGENT, CHECKOUT, ENGINE, PYTHON, offender_of, old_pythons, wait_until

LEAK = "zombie()\nready()\nforever()"


def refused(node, done, status, *words):
    """One line on standard error that holds the words; no traceback, no state, and the leaking
    container lives.
    """
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("zombie-reaper: ")
    for word in words:
        assert word in line
    assert done.stdout == ""
    assert not node.run_directory.exists()


@pytest.mark.parametrize(
    "flag, value, words",
    [
        ("--min-age", "-5", ["min_age", "'-5'", "whole number of seconds, from 0"]),
        ("--min-age", "soon", ["min_age", "'soon'", "whole number"]),
        ("--min-zombies", "0", ["min_zombies", "'0'", "from 1"]),
        ("--pressure", "1.5", ["pressure", "'1.5'", "from 0 to 1"]),
        ("--pressure", "nan", ["pressure", "'nan'", "from 0 to 1"]),
        ("--tolerate", "some", ["tolerate", "'some'", "whole number of zombies"]),
        ("--min-usage", "0.5", ["min_usage: this option was removed; use pressure"]),
        ("--act-within", "0", ["act_within: this option was removed; use pressure"]),
        ("--grace", "-1", ["grace", "'-1'", "from 0 to 300"]),
        ("--remedies", "nudge,explode", ["remedies", "'explode'", "reap, nudge, terminate"]),
        ("--scope", "galaxy", ["scope", "'galaxy'", "containers, all"]),
        ("--protect", "a(b", ["protect", "'a(b'", "not a regular expression"]),
        ("--max-parents", "-1", ["max_parents", "'-1'", "from 0"]),
    ],
)
def test_an_option(node, flag, value, words):
    init = node.container(LEAK)
    refused(node, node.agent("--min-age", "0", flag, value), 2, *words)
    assert init.alive and len(init.zombies()) == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", ["config.json is not JSON"]),
        ("[]", ["config.json must hold one JSON object"]),
        ('{"min_agee": 5}', ["min_agee", "there is no such option", "min_age"]),
        ('{"min_age": null}', ["min_age", "None", "whole number"]),
        ('{"min_age": true}', ["min_age", "True", "whole number"]),
        ('{"remedies": {"a": 1}}', ["remedies", "list"]),
        ('{"min_age": -1, "scope": "x"}', ["min_age", "scope"]),
        ('{"protect": "(a+"}', ["protect", "not a regular expression"]),
        (
            '{"min_usage": 0.0, "act_within": 0}',
            [
                "min_usage: this option was removed; use pressure",
                "act_within: this option was removed; use pressure",
            ],
        ),
        ("[" * 100000 + "]" * 100000, ["config.json is nested too deeply"]),
        ('{"a":' * 40000 + "1" + "}" * 40000, ["config.json is nested too deeply"]),
        # Python reads it
        (
            f'{{"protect": {"[" * 900 + "]" * 900}}}',
            ["config.json: the value of 'protect' is nested too deeply"],
        ),
        # Python 3.11 refuses to read so long a number, 3.9 reads it
        (f'{{"min_age": {"9" * 200000}}}', ["config.json"]),
        (
            f'{{"min_age": 60{" " * (1 << 18)}}}',
            ["config.json cannot be read", "longer than 262144 bytes"],
        ),
    ],
)
def test_a_configuration(node, tmp_path, text, words):
    init = node.container(LEAK)
    config = tmp_path / "config.json"
    config.write_text(text, encoding="utf-8")
    refused(node, node.agent(config=config), 2, *words)
    assert init.alive and len(init.zombies()) == 1


def test_a_configuration_that_is_no_text(node, tmp_path):
    config = tmp_path / "config.json"
    config.write_bytes(b"\xff\xfe\x00")
    refused(node, node.agent(config=config), 2, "config.json cannot be read", "not UTF-8")


def test_a_configuration_that_is_not_there(node, tmp_path):
    """It was asked for by name: a sweep with the defaults instead might end what it was to
    spare.
    """
    init = node.container(LEAK)
    refused(
        node,
        node.agent("--min-age", "0", config=tmp_path / "confg.json"),
        2,
        "confg.json cannot be read: No such file",
    )
    assert init.alive and len(init.zombies()) == 1


@pytest.mark.parametrize(
    "make, words",
    [
        (os.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
        (lambda path: os.symlink(path, path), "Too many levels of symbolic links"),
    ],
    ids=["directory", "fifo", "device", "loop"],
)
def test_a_configuration_that_is_no_file(node, tmp_path, make, words):
    """None of them holds up the sweep: nobody writes to the FIFO, and the device never ends."""
    make(tmp_path / "config.json")
    refused(
        node, node.agent(config=tmp_path / "config.json"), 2, "config.json cannot be read", words
    )


def test_no_configuration_ends_the_daemon(node, tmp_path):
    """What was in force before stays in force, whatever is there at SIGHUP; a good one is taken
    afterwards.
    """
    config = tmp_path / "config.json"
    config.write_text('{"remedies": "none", "min_age": 0}', encoding="ascii")
    watching = Daemon(node, tmp_path, config=config)
    try:
        init = node.container(LEAK)
        open_files = None
        for make, words in (
            (
                lambda: config.write_text("[" * 100000, encoding="ascii"),
                "config.json is nested too deeply",
            ),
            (
                lambda: config.write_text(
                    f'{{"protect": {"[" * 900 + "]" * 900}}}', encoding="ascii"
                ),
                "value of 'protect' is nested too deeply",
            ),
            (lambda: config.write_bytes(b'{"scope": "\xff"}'), "not UTF-8"),
            (lambda: config.write_text(" " * 300000, encoding="ascii"), "longer than 262144 bytes"),
            (lambda: config.unlink() or config.mkdir(), "not a regular file"),
            (config.rmdir, "No such file"),
            (lambda: os.mkfifo(config), "not a regular file"),
        ):
            make()
            said = len(watching.text())
            watching.signal(signal.SIGHUP)
            wait_until(
                lambda said=said: (
                    watching.popen.poll() is not None
                    or "the new configuration is invalid" in watching.text()[said:]
                )
            )
            assert words in watching.text()[said:]
            if open_files is None:
                open_files = watching.at_rest(watching.open_files)
        assert watching.at_rest(watching.open_files) == open_files
        assert words in watching.status()["configuration_error"]
        assert "Traceback" not in watching.text()
        assert init.alive and len(init.zombies()) == 1
        config.unlink()
        config.write_text('{"remedies": "reap", "min_age": 0, "pressure": 0}', encoding="ascii")
        watching.signal(signal.SIGHUP)
        wait_until(lambda: not init.zombies())
        assert watching.end() == 0
    finally:
        watching.stop()


def test_the_default_configuration_need_not_be_there(node):
    """Nobody named it. The modules sweep nodes on which nothing is installed."""
    done = node.run(
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none /etc && exec "$@"',
        "sh",
        *without_config(node.agent_command("--check", "--exit-zero")),
    )
    assert (done.returncode, done.stderr) == (0, "")


def without_config(command) -> list:
    at = command.index("--config")
    return command[:at] + command[at + 2 :]


def test_without_root(node):
    """The checkout may lie where only root can read, so the engine is loaded before root is given
    up.
    """
    code = (
        f"import os, sys; sys.path.append({str(ENGINE)!r}); import reaper.cli;"
        " os.setresuid(65534, 65534,"
        " 65534); "
    )
    done = node.run(PYTHON, "-IS", "-c", code + "sys.exit(reaper.cli.main([]))")
    refused(node, done, 1, "root is needed", "UID 65534")


def in_changed_proc(node, change, *privileges):
    """Run the agent in the node after a change to its /proc, in a mount namespace of its own."""
    return node.run(
        "unshare",
        "--mount",
        "sh",
        "-c",
        change + ' && exec "$@"',
        "sh",
        *privileges,
        *node.agent_command(),
    )


def test_without_proc(node):
    refused(
        node,
        in_changed_proc(node, "mount -t tmpfs none /proc"),
        1,
        "/proc does not show this process",
    )


def test_with_hidepid(node):
    done = in_changed_proc(
        node,
        "mount -t proc -o hidepid=ptraceable proc /proc",
        "setpriv",
        "--bounding-set",
        "-sys_ptrace",
        "--inh-caps",
        "-sys_ptrace",
    )
    refused(node, done, 1, "hides other processes", "hidepid")


def test_without_cap_kill_the_parents_of_other_users_are_reported_and_the_rest_goes_on(node):
    theirs = node.container("zombie()\nos.setresuid(1000, 1000, 1000)\nready()\nforever()")
    ours = node.container("zombie()\nready()\nforever()")
    lacking = node.run(
        "setpriv",
        "--bounding-set",
        "-kill",
        "--inh-caps",
        "-kill",
        *node.agent_command(
            "--json", "--min-age", "0", "--grace", "0", "--remedies", "nudge,terminate"
        ),
    )
    assert (lacking.returncode, lacking.stderr) == (0, "")
    result = json.loads(lacking.stdout)
    entry = offender_of(result, theirs)
    assert [(step["remedy"], step["result"]) for step in entry["steps"]] == [
        ("nudge", "failed"),
        ("terminate", "failed"),
    ]
    assert "it cannot be signalled: Operation not permitted" in entry["steps"][0]["detail"]
    assert entry["outcome"] == "not_cleared" and theirs.alive
    assert offender_of(result, ours)["outcome"] == "cleared" and ours.ends()


@pytest.mark.parametrize("breakage", ["python", "kernel"])
def test_without_pidfd(monkeypatch, breakage):
    """An old kernel or Python cannot be had here: the missing call is simulated."""

    def no_such_call(_pid):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if breakage == "python":
        monkeypatch.delattr(os, "pidfd_open")
    else:
        monkeypatch.setattr(os, "pidfd_open", no_such_call)
    with pytest.raises(sweep.CannotSweep, match="Linux 5.3 and Python 3.9 are needed"):
        check_node(procfs.ProcFS())


def test_a_run_directory_that_cannot_be_made(node):
    init = node.container(LEAK)
    done = node.agent("--run", "/proc/nowhere", "--min-age", "0")
    refused(node, done, 1, "the lock /proc/nowhere/lock cannot be opened")
    assert init.alive and len(init.zombies()) == 1


def test_an_old_python_is_told_so(tmp_path):
    """The installed command, under every Python before 3.9 that is here."""
    pythons = old_pythons()
    if not pythons:
        pytest.skip("this machine has no Python older than 3.9")
    source = (CHECKOUT / "plugins/modules/zombie_reaper_agent.py").read_text(encoding="utf-8")
    text = source.split('COMMAND_TEXT = """\\\n')[1].split('"""')[0]
    command = tmp_path / "zombie-reaper"
    for python, version in pythons:
        command.write_text(text % {"python": python, "library": "/nowhere"}, encoding="utf-8")
        flags = ["-IS"] if version > (3, 3) else []  # -I came with 3.4
        done = subprocess.run(
            [python, *flags, command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "Python 3.9 or later is needed" in line


def test_the_engine_says_so_too(node):
    """Where somebody calls it by another way; `from __future__ import annotations` came with 3.7."""
    pythons = [path for path, version in old_pythons() if version >= (3, 7)]
    if not pythons:
        pytest.skip("this machine has no Python 3.7 or 3.8")
    for python in pythons:
        words = node.agent_command("--check", "--exit-zero", code=AGENT)
        done = node.run(python, *words[1:])
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        line = done.stderr
        assert "Linux 5.3 and Python 3.9 are needed" in line


@pytest.mark.parametrize("arguments", [["--help"], ["--min-age"], ["--no-such-flag"]])
def test_the_command_line(node, arguments):
    done = node.agent(*arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if arguments == ["--help"] else 2)
    assert not node.run_directory.exists()


SLEEPS = "230", "115"  # clock_nanosleep(2) on x86-64, aarch64

# The agent, which gets SIGINT from itself when its report is out, while Python takes itself down:
# no handler of a sweep is there any more.
INTERRUPTED_LATE = AGENT.replace(
    "sys.exit(main())", "import os; status = main(); os.kill(os.getpid(), 2); sys.exit(status)"
)


@pytest.mark.parametrize(
    "code", [AGENT, INTERRUPTED_LATE], ids=["while it waits", "when all is said"]
)
def test_ctrl_c_ends_it_without_a_traceback(node, code):
    """As a shell expects: by that signal, and not a word on standard error."""
    init = node.container(LEAK)
    flags = ("--wait", "--min-age", "3600") if code == AGENT else ("--min-age", "0")
    sweep_at_work = subprocess.Popen(
        # a job in the background has it ignored
        ["env", "--default-signal=INT", *node.enter, *node.agent_command(*flags, code=code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if code == AGENT:
        agent = only_child(sweep_at_work)
        # until the zombie is of age
        wait_until(lambda: Path(f"/proc/{agent}/syscall").read_text().split()[0] in SLEEPS)
        os.kill(agent, signal.SIGINT)
    report, errors = sweep_at_work.communicate()
    assert (sweep_at_work.returncode, errors) == (-signal.SIGINT, "")
    assert bool(report) == (code == INTERRUPTED_LATE)
    assert init.alive


def only_child(popen) -> int:
    """PID of the agent, below nsenter."""

    def child():
        with open(f"/proc/{popen.pid}/task/{popen.pid}/children", encoding="ascii") as children:
            return children.read()

    return int(wait_until(child))
