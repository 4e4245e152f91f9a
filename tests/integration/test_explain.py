"""``--explain PID``: what it says of real processes, that it agrees with a dry run, and that it
changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import signal

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import explain
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import Options
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from rig.agents import PATIENT_WITH_INITS
from rig.node import Node, ns_pids, offender_of, wait_until
from rig.reaping import agent_that

from .test_never_touched import with_a_zombie_execute

LEAK = "zombie()\nzombie()\nready()\nforever()"
IDLE = "ready()\nforever()"
PARENT_BELOW = """
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""
HURRIED = agent_that("from reaper import canary; canary.INIT_TIMEOUT = 0.1", PATIENT_WITH_INITS)


def explained(node, pid, *flags) -> str:
    """All its sentences. It may not even make the directory of the state."""
    existed = node.run_directory.exists()
    done = node.agent("--explain", str(pid), "--min-age", "0", *flags)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert node.run_directory.exists() == existed
    assert done.stdout.endswith(("\n", ".\n"))
    return done.stdout


def pid_of(program) -> int:
    """As the node counts."""
    return program.pids[1]


def child_of(program):
    (child,) = (
        child for child in program.process.children() if child.status() != psutil.STATUS_ZOMBIE
    )
    return child


def at_any_time(text) -> str:
    """Without the share of the process table that the whole machine takes just then."""
    return re.sub(r"[\d.]+% of ", "", text)


def stop(process):
    process.suspend()
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)


def test_a_parent_in_a_container(node):
    init = node.container(LEAK)
    said = explained(node, pid_of(init))
    assert said.startswith(
        f"PID {pid_of(init)} (python) runs {os.path.realpath(init.process.exe())} as UID 0"
        " in container of PID namespace "
    )
    assert "It is PID 1 of its PID namespace, which keeps zombies." in said
    assert (
        "It holds 2 zombies; the oldest was first seen 0 s ago. All of them count (min_age: 0)."
        in said
    )
    assert (
        "A sweep now would act on it (2 held for 0 s or longer), one remedy after the other until no"
        " zombie is left:" in said
    )
    assert re.findall(r"^  \d\. (\w+): ", said, re.MULTILINE) == ["reap", "nudge", "terminate"]
    assert "SIGCHLD again, for which it has no handler" in said
    assert (
        "terminate: SIGKILL, so that whoever waits for it sees that it failed. It is PID 1 of its"
        " PID namespace: its container ends with it." in said
    )
    assert "2 may still be waited for: nothing shows that another process started them." in said
    assert init.alive and len(init.zombies()) == 2


@pytest.mark.parametrize(
    "flags, words",
    [
        (
            ["--min-age", "600"],
            "A sweep now would leave it alone: none of its zombies reached min_age: 600 s (the"
            " first of them was seen 0 s ago)",
        ),
        (["--pressure", "1"], "There is room: "),
        (
            ["--pressure", "1"],
            "A sweep now would leave it alone: it may still ask for its zombies, and there is"
            " room (",
        ),
        (
            ["--min-zombies", "3"],
            "A sweep now would leave it alone: fewer than min_zombies: 3 (too_few).",
        ),
        (
            ["--remedies", ""],
            "A sweep now would leave it alone: report only: no remedies are set (report_only).",
        ),
        (
            ["--protect", "forever"],
            "A sweep now would leave it alone: it matches protect: forever (protected).",
        ),
        (
            ["--remedies", "nudge,terminate", "--grace", "0.5"],
            "terminate: SIGKILL, so that whoever waits for it sees that it failed.",
        ),
    ],
)
def test_options_are_those_of_a_sweep(node, flags, words):
    init = node.container(LEAK)
    assert words in explained(node, pid_of(init), *flags)
    assert init.alive and len(init.zombies()) == 2


def test_a_parent_that_could_do_something_about_it(node):
    init = node.container(
        "signal.signal(signal.SIGCHLD, lambda *_: None)\nsignal.signal(signal.SIGTERM, lambda *_:"
        " sys.exit())\n" + LEAK
    )
    said = explained(node, pid_of(init))
    assert "SIGCHLD again, for which it has a handler" in said
    assert "terminate: SIGKILL, so that" in said, (
        "whoever waits for its container could take an exit of its own for success"
    )


def test_a_parent_below_pid_1(node):
    init = node.container(PARENT_BELOW)
    child = child_of(init)
    said = explained(node, ns_pids(child.pid)[1])
    assert (
        f"PID {pid_of(init)} (python) is PID 1 of its PID namespace; whether that collects"
        " orphans is not known." in said
    )
    assert (
        "terminate: SIGKILL, so that whoever waits for it sees that it failed; its zombies then go"
        f" to PID {pid_of(init)}"
    ) in said


def test_what_an_audit_found_out_is_said(node):
    init = node.container(PARENT_BELOW)
    child = ns_pids(child_of(init).pid)[1]
    assert node.run(*node.agent_command("--audit", "--probe", code=HURRIED)).returncode == 0
    said = explained(node, child)
    assert (
        f"PID {pid_of(init)} (python) is PID 1 of its PID namespace, which did not collect"
        " the canary of an"
        " audit."
    ) in said
    assert f"if it is ended, its zombies go to PID {pid_of(init)}" in said
    said = explained(node, child, "--remedies", "nudge,terminate")
    assert re.findall(r"^  \d\. (\w+): ", said, re.MULTILINE) == ["nudge"]
    assert f"It would go no further: its zombies would only move to PID {pid_of(init)}" in said
    assert said.rstrip().endswith("(adopter_does_not_reap).")


def test_a_zombie_is_about_its_parent(node):
    init = node.container(LEAK)
    zombie = ns_pids(init.zombies()[0])[1]
    said = explained(node, zombie)
    assert said.startswith(
        f"PID {zombie} (python) is a zombie: it has exited, and its parent has not waited for it."
        " Nothing can be done about it directly."
    )
    about_its_parent = said.split("So this is about its parent:\n")[1]
    assert at_any_time(about_its_parent) == at_any_time(explained(node, pid_of(init)))


def test_a_zombie_whose_parent_is_outside(node):
    """nsenter, outside the node, has not waited for it yet."""
    program = node.program(IDLE)
    stop(psutil.Process(program.popen.pid))
    program.process.kill()
    wait_until(lambda: program.process.status() == psutil.STATUS_ZOMBIE)
    said = explained(node, pid_of(program))
    assert (
        "Its parent is outside this PID namespace or has just ended, so nothing can be done here."
        in said
    )
    os.kill(program.popen.pid, signal.SIGCONT)


def test_a_process_without_zombies(node):
    init = node.container(IDLE)
    assert (
        "It is PID 1 of its PID namespace; whether that collects orphans is not known."
        in explained(node, pid_of(init))
    )
    said = explained(
        node, pid_of(init), "--min-age", "70", "--min-zombies", "5", "--remedies", "nudge,reap"
    )
    assert "It holds no zombies, so a sweep does nothing to it.\n" in said
    assert (
        "If it kept orphans for 70 s (min_age), a sweep would collect them. What it started itself"
        in said
    )
    assert "Where room is short (pressure: 0), a sweep would try nudge, then reap.\n" in said
    assert "a sweep would only report it: no remedies are set." in explained(
        node, pid_of(init), "--remedies", ""
    )
    said = explained(node, pid_of(init), "--protect", "forever")
    assert (
        "If it kept some, it would still be left alone: it matches protect: forever (protected)."
        in said
    )
    assert init.alive


@pytest.mark.parametrize(
    "name, reason",
    [
        ("kubelet", "runtime"),
        ("containerd-shim-runc-v2", "runtime"),
        ("systemd-journald", "systemd"),
    ],
)
def test_what_a_node_cannot_do_without(node, tmp_path, name, reason):
    daemon = node.program(with_a_zombie_execute(tmp_path, name))
    said = explained(node, pid_of(daemon), "--scope", "all")
    assert f"runs {tmp_path / name} as UID 0 on the host." in said
    assert re.search(
        rf"A sweep now would leave it alone: it .* \({name}\) \({reason}\)\.$",
        said,
        re.MULTILINE,
    )
    assert daemon.alive


def test_a_kernel_thread(tmp_path):
    """There is none in a PID namespace, so one of this machine is asked about; nothing is swept."""
    real = procfs.ProcFS()
    stats = filter(None, map(real.stat, real.pids()))
    # kthreadd: others come and go
    kthread = min((stat.pid for stat in stats if stat.flags & procfs.PF_KTHREAD), default=None)
    if kthread is None:
        pytest.skip("no kernel thread is visible here: this is a PID namespace")
    said = explain.explain(kthread, Options(scope="all"), Paths(run=str(tmp_path / "run")))
    assert "runs an executable that cannot be read as UID 0 on the host." in said[0]
    assert (
        said[-1]
        == "If it kept some, it would still be left alone: it is a kernel thread (kernel_thread)."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("scope", ["containers", "all"])
def test_processes_of_the_node(tmp_path, scope):
    """Its PID 1, which holds zombies itself here, a daemon, and the agent that is being asked."""
    node = Node(tmp_path, "zombie()\n" + IDLE)
    try:
        said = explained(node, 1, "--scope", scope)
        assert "on the host" in said and "PID 1 of its PID namespace" not in said
        assert "A sweep now would leave it alone: it is PID 1 of this node (host_init)." in said
        assert node.init.alive and len(node.init.zombies()) == 1
        daemon = node.program(IDLE)
        said = explained(node, pid_of(daemon), "--scope", scope)
        assert ("it would still be left alone: it is a process of the host" in said) == (
            scope == "containers"
        )
        with_zombies = node.program(LEAK)
        said = explained(node, pid_of(with_zombies), "--scope", scope)
        assert ("(host_process)." in said) == (scope == "containers")
        assert with_zombies.alive and len(with_zombies.zombies()) == 2
    finally:
        node.stop()


def test_the_agent_itself(node):
    done = node.run("sh", "-c", 'exec "$@" --explain $$', "sh", *node.agent_command())
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "it would still be left alone: it is this sweep or started it (its ssh, cron or shell"
        " session) (sweep_or_ancestor)." in done.stdout
    )


def test_it_agrees_with_a_dry_run(node):
    """Of every parent the same reason and the same remedies, whatever the options."""
    node.container(LEAK)
    node.container("# postgres\n" + LEAK)
    node.container(PARENT_BELOW)
    node.program(LEAK)
    stopped = node.container(LEAK)
    stop(stopped.process)
    for flags in (
        [],
        ["--remedies", "nudge,terminate"],
        ["--scope", "all"],
        ["--min-zombies", "2"],
        ["--protect", "post[g]res"],
        ["--max-parents", "1"],
    ):
        result = json.loads(node.agent("--check", "--json", "--min-age", "0", *flags).stdout)
        assert len(result["offenders"]) == 5
        for entry in result["offenders"]:
            said = explained(node, entry["pid"], *flags)
            assert re.findall(r"^  \d\. (\w+): ", said, re.MULTILINE) == entry["remedies"]
            assert (f"({entry['reason']})." in said) == (entry["reason"] != "act"), said
            assert entry["explanation"] in said
    os.kill(stopped.process.pid, signal.SIGCONT)


def test_as_json(node):
    init = node.container(LEAK)
    done = node.agent("--explain", str(pid_of(init)), "--min-age", "0", "--json")
    told = json.loads(done.stdout)
    assert (told["schema"], told["pid"]) == (1, pid_of(init))
    lines = "".join(line + "\n" for line in told["explanation"])
    assert at_any_time(lines) == at_any_time(explained(node, pid_of(init)))


def test_hostile_names_stay_harmless(node):
    init = node.container("open('/proc/self/comm', 'wb').write(b'\\x1b[2J\\xff\\n')\n" + LEAK)
    for pid in (pid_of(init), ns_pids(init.zombies()[0])[1]):
        lines = explained(node, pid).splitlines()
        assert all(line.isprintable() for line in lines)
        assert r"\x1b[2J\xff\x0a" in "".join(lines)


def test_a_process_that_is_not_there(node):
    done = node.agent("--explain", "4000000")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "zombie-reaper: --explain: there is no process 4000000 on this node\n",
    )
    assert not node.run_directory.exists()


@pytest.mark.parametrize(
    "given", ["", "0", "-1", "1.5", "0x1", "one", "1 2", "4194305", "9" * 30, "\u0661x", "1\n"]
)
def test_what_is_no_pid(node, given):
    done = node.agent("--explain=" + given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "is no PID: give a whole number from 1 to 4194304" in done.stderr.splitlines()[-1]
    assert not node.run_directory.exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--probe"], "--probe belongs to --audit"),
        (["--probe", "--check"], "--probe belongs to --audit"),
        (["--probe", "--explain", "1"], "--probe belongs to --audit"),
        (["--audit", "--explain", "1"], "--explain or --audit, not both"),
        (["--audit", "--probe", "--explain", "1"], "--explain or --audit, not both"),
    ],
)
def test_flags_that_do_not_go_together(node, flags, words):
    init = node.container(LEAK)
    done = node.agent(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"zombie-reaper: {words} (zombie-reaper --help lists all flags)\n"
    assert not node.run_directory.exists()
    assert init.alive and len(init.zombies()) == 2


def test_an_audit_reports_to_standard_output_line_by_line_and_takes_the_options_of_the_configuration(
    node, tmp_path
):
    init = node.container(LEAK)
    config = tmp_path / "config.json"
    config.write_text('{"min_age": 0}', encoding="ascii")
    lines = node.agent("--audit", config=config).stdout.splitlines()
    assert lines[0] == "1 container on this node: 0 collect orphans, 1 leak, 0 unknown"
    assert lines[2].split()[:5] == ["leaks", "2", "-", str(pid_of(init)), "python"]
    assert lines[2].endswith("it keeps 2 zombies, the first seen 0 s ago")
    lines = node.agent("--audit").stdout.splitlines()
    assert (
        lines[2].startswith("unknown ") and "it holds 2 zombies, none as old as min_age" in lines[2]
    )
    assert not node.run_directory.exists()
    config.write_text('{"min_age": "x"}', encoding="ascii")
    done = node.agent("--audit", config=config)
    assert (done.returncode, done.stdout) == (2, "") and "min_age" in done.stderr
    assert offender_of(node.sweep("--check"), init)["zombies"] == 2
