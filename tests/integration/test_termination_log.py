"""Before a program in a container is ended the owner is told why: in the termination log of the
container, and in the journal of the node.

The directories of the kubelet are made by hand here, in the node's own /var/lib; test_cri_pods.py has
containers of a real runtime.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import termination_log
from rig import handmade
from rig.journal import journal, writing_to
from rig.node import PRELUDE, PYTHON, Program, ns_pids, offender_of, wait_until
from rig.pods import Kubelet

pytestmark = pytest.mark.all_cgroups

IN_USE = "100.0% of the PIDs of its cgroup"
LEAK = "for _ in range(2): zombie()\nready()\nforever()\n"
IDLE = "ready()\nforever()\n"
INTO_CGROUP = ["sh", "-c", 'echo 0 >"$0" && exec "$@"']
SAID = (
    "run by the operator of this node, ended PID %d of this container: it kept 2 exited child"
    " processes"
)


def python(code) -> list:
    return [PYTHON, "-IS", "-c", PRELUDE + code]


@pytest.fixture
def kubelet(node):
    return Kubelet(node)


def ended(node, program) -> dict:
    """End it, or its only child, in a sweep; the step that did it. Whoever adopts its zombies lives
    on.
    """
    children = [ns_pids(child.pid)[1] for child in program.process.children()]
    result = node.sweep(remedies="terminate", max_parents=1)
    (entry,) = [entry for entry in result["offenders"] if entry["steps"]]
    assert entry["pid"] in [program.pids[1], *children]
    (step,) = entry["steps"]
    assert step["result"] == "parent_ended"
    return step


def test_the_owner_of_a_container_is_told(node, pods, kubelet):
    program = pods.start(1, LEAK)
    step = ended(node, program)
    assert program.ends()
    said = kubelet.log.read_text()
    assert SAID % 1 in said
    assert re.search(r"in use: [0-9.]+% of (the process table|the PIDs of its cgroup)\)", said)
    assert said.endswith("\n")
    assert said.count("\n") == 1
    assert len(said) <= 1024
    assert "its termination log says why" in step["detail"]


def test_the_owner_is_told_of_a_child_of_an_init(node, pods, kubelet):
    ended(node, pods.start_command(1, ["tini", "--", *python(LEAK)]))
    assert re.search(SAID.replace("%d", r"\d+"), kubelet.log.read_text())


def test_the_owner_is_told_where_a_pod_shares_its_pid_namespace(node, pods, kubelet):
    """PID 1 is another container's."""
    other = pods.start(2, IDLE, name="pause")
    enter = ["nsenter", "--target", str(other.pids[1]), "--pid", "--mount"]
    ended(
        node,
        node._started(
            Program(
                [
                    *node.enter,
                    *enter,
                    *INTO_CGROUP,
                    str(pods.cgroup(1) / "cgroup.procs"),
                    *python(LEAK),
                ],
                depth=2,
            )
        ),
    )
    assert re.search(SAID.replace("%d", r"\d+"), kubelet.log.read_text())
    assert other.alive


def test_the_owner_is_told_where_a_pod_has_the_pid_namespace_of_the_node(node, pods, kubelet):
    """hostPID: true"""
    ended(node, node.program(LEAK, before=[*INTO_CGROUP, str(pods.cgroup(1) / "cgroup.procs")]))
    assert re.search(SAID.replace("%d", r"\d+"), kubelet.log.read_text())


def test_the_owner_is_told_where_a_pod_has_a_user_namespace(node, pods, kubelet):
    """Where the container's root is nobody in particular on the node, and could not even see the
    directory.
    """
    user = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    program = Program(
        [*node.enter, *INTO_CGROUP, str(pods.cgroup(1) / "cgroup.procs"), *user, *python(LEAK)],
        depth=2,
    )
    ended(node, node._started(program))
    assert SAID % 1 in kubelet.log.read_text()


def test_what_the_program_wrote_itself_stays(node, pods, kubelet):
    kubelet.log.write_text("out of memory\n")
    ended(node, pods.start(1, LEAK))
    lines = kubelet.log.read_text().splitlines()
    assert lines[0] == "out of memory"
    assert SAID % 1 in lines[1]


def test_the_newest_file_is_that_of_the_container_that_runs(node, pods, kubelet):
    """Whatever time a program in it has set, and whatever the names are."""
    newest = kubelet.start("00000000")
    os.utime(kubelet.log)

    def changes_last():
        os.utime(newest, (1, 1))
        return newest.stat().st_ctime_ns > kubelet.log.stat().st_ctime_ns

    wait_until(changes_last)
    ended(node, pods.start(1, LEAK))
    assert SAID % 1 in newest.read_text()
    assert kubelet.log.read_text() == ""


def test_another_container_of_the_pod_is_told_nothing(node, pods, kubelet):
    other = kubelet.directory.with_name("sidecar")
    other.mkdir(mode=0o750)
    (other / "1a2b3c4d").touch()
    ended(node, pods.start(1, LEAK))
    assert (other / "1a2b3c4d").read_text() == ""


def test_no_word_where_the_name_of_the_container_is_not_known(node, pods, kubelet):
    for link in (kubelet.root / "var/log/containers").iterdir():
        link.unlink()
    assert "termination log" not in ended(node, pods.start(1, LEAK))["detail"]
    assert kubelet.log.read_text() == ""


def test_no_word_without_an_end(node, pods, kubelet):
    program = pods.start(1, LEAK)
    assert (
        offender_of(node.sweep("--check", remedies="terminate"), program)["outcome"] == "would_act"
    )
    assert offender_of(node.sweep(remedies="nudge,reap"), program)["outcome"] == "cleared"
    assert program.alive
    assert kubelet.log.read_text() == ""


def a_link_for_the_file(kubelet, victim):
    kubelet.log.unlink()
    kubelet.log.symlink_to(victim)


def test_a_link_is_not_followed(node, pods, kubelet, tmp_path):
    """Not even looked through: its file is no newer than the kubelet's, and then that is
    written.
    """
    victim = tmp_path / "victim"
    victim.touch()
    (kubelet.directory / "zzzz").symlink_to(victim)

    def changes_last():
        victim.touch()
        return victim.stat().st_ctime_ns > kubelet.log.stat().st_ctime_ns

    wait_until(changes_last)
    ended(node, pods.start(1, LEAK))
    assert victim.read_text() == ""
    assert SAID % 1 in kubelet.log.read_text()


def a_link_for_the_directory(kubelet, victim):
    (victim.parent / "1a2b3c4d").symlink_to(victim.name)
    kubelet.log.unlink()
    kubelet.directory.rmdir()
    kubelet.directory.symlink_to(victim.parent)


def a_fifo(kubelet, _victim):
    kubelet.log.unlink()
    os.mkfifo(kubelet.log)


def a_directory(kubelet, _victim):
    kubelet.log.unlink()
    kubelet.log.mkdir()


def nothing(kubelet, _victim):
    kubelet.log.unlink()


def a_directory_for_others_to_write(kubelet, _victim):
    kubelet.directory.chmod(0o777)


def a_directory_of_another_user(kubelet, _victim):
    os.chown(kubelet.directory.parent, 12345, 12345)


STRANGE = (
    a_link_for_the_file,
    a_link_for_the_directory,
    a_fifo,
    a_directory,
    nothing,
    a_directory_for_others_to_write,
    a_directory_of_another_user,
)


@pytest.mark.parametrize("make", STRANGE, ids=lambda make: make.__name__)
def test_nothing_is_written_where_the_directory_is_not_as_a_kubelet_makes_it(
    node, pods, kubelet, tmp_path, make
):
    """And the program is ended all the same."""
    victim = tmp_path / "host" / "victim"
    victim.parent.mkdir()
    victim.write_text("the host's own\n")
    make(kubelet, victim)
    program = pods.start(1, LEAK)
    assert "termination log" not in ended(node, program)["detail"]
    assert program.ends()
    assert victim.read_text() == "the host's own\n"
    if kubelet.log.is_file():
        assert kubelet.log.read_text() in ("", "the host's own\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"container_name": "../app"},
        {"container_name": ".."},
        {"pod_uid": ".."},
        {"pod_uid": "/"},
        {"pod_uid": None},
        {"container_name": None},
        {"container_name": ""},
    ],
)
def test_a_name_that_is_none_leads_nowhere(tmp_path, changes):
    for directory in ("pods/u/containers/app", "pods/containers/app", "pods/u/app"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "file").touch()
    good = {"pod_uid": "u", "container_name": "app"}
    assert termination_log.append_message(
        str(tmp_path), handmade.container_process(workload=handmade.workload(**good)), IN_USE
    )
    assert not termination_log.append_message(
        str(tmp_path),
        handmade.container_process(workload=handmade.workload(**{**good, **changes})),
        IN_USE,
    )
    assert [file.stat().st_size > 0 for file in sorted(tmp_path.rglob("file"))] == [
        False,
        False,
        True,
    ]


def test_a_lease_does_not_hold_the_sweep_up(node, pods, kubelet):
    """fcntl(2), F_SETLEASE: whoever opens the file for writing waits until the holder gives it up,
    45 s by default.
    """
    holder = subprocess.Popen(
        [
            PYTHON,
            "-c",
            "import fcntl, signal, sys, time; signal.signal(signal.SIGIO, signal.SIG_IGN); file"
            " = open(sys.argv[1]);fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK);"
            " print('held', flush=True); time.sleep(600)",
            str(kubelet.log),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert "termination log" not in ended(node, pods.start(1, LEAK))["detail"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def zombies(orphans, others):
    return tuple(
        handmade.zombie(number)._replace(
            claim="orphan" if number < orphans else "may_be_waited_for"
        )
        for number in range(orphans + others)
    )


@pytest.mark.parametrize(
    "orphans, others, ns_pid, says, says_not",
    [
        (
            3,
            0,
            (50, 1),
            ["3 were started by other programs and left to PID 1; an init", "tini"],
            ["own", "does not"],
        ),
        (
            0,
            3,
            (50, 1),
            [
                "3 may be PID 1's own",
                "an init does not do that for it",
                "If other programs started them",
                "tini",
            ],
            ["3 were"],
        ),
        (
            2,
            3,
            (50, 1),
            [
                "2 were started by other programs",
                "tini",
                "3 may be PID 1's own",
                "an init does not do that",
            ],
            [],
        ),
        (
            0,
            3,
            (50, 7),
            ["3 count as started by", "waitpid(2)", "An init as PID 1 does not help"],
            ["tini"],
        ),
        (3, 0, (50, 7), ["3 were started by other programs", "subreaper"], ["tini"]),
        (100000, 100000, (4194303, 4194303), [], []),
        (100000, 100000, (4194303, 1), [], []),
    ],
)
def test_the_cure_is_that_for_the_cause(orphans, others, ns_pid, says, says_not):
    offender = handmade.container_process(
        zombies=zombies(orphans, others), status=handmade.status(ns_pid)
    )
    said = termination_log.message(offender, IN_USE, 1.8e9)
    assert [words for words in says if words not in said] == []
    assert [words for words in says_not if words in said] == []
    assert said.startswith("2027-01-15T08:00:00Z ")
    assert said.endswith("/docs/why-was-i-ended.md\n")
    assert len(said) <= termination_log.MAX_BYTES


def test_the_journal_says_who_was_ended(node, tmp_path):
    program = node.container(LEAK)
    agent = node.agent_command("--json", "--min-age", "0", "--remedies", "terminate")
    with journal(tmp_path) as lines:
        done = node.run(*writing_to(tmp_path), *agent)
        assert done.returncode == 0, done.stderr
        assert program.ends()
    line = lines[0].decode()
    assert line.startswith("<28>"), "daemon.warning"
    assert "zombie_reaper" in line
    assert f"ended PID {program.pids[1]} (" in line
    assert "in container" in line
    assert "2 zombies" in line
    assert os.path.exists(tmp_path / "log")
