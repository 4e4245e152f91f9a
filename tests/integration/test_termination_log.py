"""Before a container's init is ended its owner is told why: in the termination log of its container, and in the journal of the node.

The containers here are namespaces made by hand, so that a test can mount what a hostile tenant would; one is podman's. A kubelet
mounts the file in the same way.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import open_pidfd, termination_log
from rig import handmade
from rig.agents import WITHOUT_SETTLING, sweep
from rig.node import PRELUDE, PYTHON, Program, offender_of, wait_until
from rig.podman import Podman, offenders_in

pytestmark = pytest.mark.all_cgroups

SAID = "run by the operator of this node, ended this container: its PID 1 kept 2 exited child processes"
LEAKING = "for _ in range(2): zombie()\nready()\nforever()\n"


@pytest.fixture
def root(tmp_path):
    """The root folder of a container: the node's own programs, and a /dev of its own."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def contained(node, root, make_dev, user=0):
    """A container whose init leaks, with the shell commands of make_dev run before it starts; its /dev is $dev."""
    script = """
        set -e
        mount --rbind / "%(root)s"
        mount -t tmpfs tmpfs "%(root)s/dev"
        dev="%(root)s/dev"
        mknod -m 666 "$dev/null" c 1 3
        target="%(root)s"
        %(make_dev)s
        exec chroot --userspec %(user)d:%(user)d "$target" /usr/bin/python3 -IS -c "$0"
    """ % {"root": root, "make_dev": make_dev, "user": user}
    command = [*node.enter, "unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script, PRELUDE + LEAKING]
    return node._started(Program(command, depth=2))


def ended(node, program):
    """End it in a sweep; the steps that did it."""
    entry = offender_of(node.sweep(remedies="terminate"), program)
    assert entry["outcome"] == "cleared"
    assert program.ends()
    return entry["steps"]


def bound(file):
    return 'touch "$dev/termination-log"; mount --bind "%s" "$dev/termination-log"' % file


@pytest.fixture
def log(tmp_path):
    """The file that the kubelet would make: for everybody to write."""
    file = tmp_path / "log"
    file.write_text("")
    file.chmod(0o666)
    return file


def test_the_owner_of_a_container_is_told(node, root, log):
    (step,) = ended(node, contained(node, root, bound(log)))
    said = log.read_text()
    assert SAID in said
    assert "tini" in said
    assert said.endswith("\n")
    assert said.count("\n") == 1
    assert len(said) <= 1024
    assert "its termination log says why" in step["detail"]


def test_the_owner_of_a_real_container_is_told(node, log):
    """podman's, with the file mounted as the kubelet mounts it."""
    podman = Podman(node, Path(tempfile.mkdtemp(prefix="zr-")))  # it refuses longer names
    try:
        container = podman("run", "--detach", "--network", "none", "--volume", "%s:/dev/termination-log" % log,
                           "busybox", "/bin/sh", "-c", "(exit 3) & (exit 4) & exec sleep 1000")
        wait_until(lambda: [entry["zombies"] for entry in offenders_in(node.sweep("--check"), container)] == [2])
        (entry,) = offenders_in(node.sweep(remedies="terminate"), container)
        assert entry["outcome"] == "cleared"
        assert SAID in log.read_text()
    finally:
        podman.stop()


def test_what_the_program_wrote_itself_stays(node, root, log):
    log.write_text("out of memory\n")
    ended(node, contained(node, root, bound(log)))
    lines = log.read_text().splitlines()
    assert lines[0] == "out of memory"
    assert SAID in lines[1]


def test_a_parent_that_is_no_init_leaves_no_word(node, root, log):
    """Its container lives on: what is in the log would be shown when that ends for another reason."""
    program = contained(node, root, bound(log))
    program.stop()
    log.write_text("")
    inner = node.container("if os.fork() == 0:\n    zombie()\n    ready()\n    forever()\nforever()\n")
    sweep(node, WITHOUT_SETTLING, remedies="terminate")
    inner.stop()
    assert log.read_text() == ""


def test_no_word_without_an_end(node, root, log):
    program = contained(node, root, bound(log))
    assert offender_of(node.sweep("--check", remedies="terminate"), program)["outcome"] == "would_act"
    assert offender_of(node.sweep(remedies="nudge,reap"), program)["outcome"] == "cleared"
    assert program.alive
    assert log.read_text() == ""


HOSTILE = {
    "symlink to a file of the host": 'touch "$dev/x"; ln -s "{victim}" "$dev/termination-log"',
    "symlink that hides the mount": 'touch "$dev/termination-log"; mount --bind "{log}" "$dev/termination-log"; mount -t tmpfs tmpfs "$dev"; '
                                    'ln -s "{victim}" "$dev/termination-log"',
    "fifo": 'mkfifo "$dev/f"; touch "$dev/termination-log"; mount --bind "$dev/f" "$dev/termination-log"',
    "folder": 'mkdir "$dev/termination-log"; mount --bind "{folder}" "$dev/termination-log"',
    "missing": ":",
    "no mount of its own": 'touch "$dev/termination-log"; chmod 666 "$dev/termination-log"',
    "dev is a symlink": 'umount "$dev"; cd "{root}"; mkdir -p "{folder}/base"; mount -t tmpfs tmpfs "{folder}/base"; '
                        'mkdir "{folder}/base/old"; for name in usr bin lib lib64 etc root tmp proc opt; do '
                        'if [ -e "/$name" ]; then mkdir "{folder}/base/$name"; mount --rbind "/$name" "{folder}/base/$name"; fi; done; '
                        'ln -s "{victims_folder}" "{folder}/base/dev"; target="{folder}/base"',
    "device": 'mknod "$dev/d" c 1 5; touch "$dev/termination-log"; mount --bind "$dev/d" "$dev/termination-log"',
    "socket": '{python} -c "import socket; socket.socket(socket.AF_UNIX).bind(\\"$dev/s\\")"; touch "$dev/termination-log"; '
              'mount --bind "$dev/s" "$dev/termination-log"',
    "read-only": 'touch "$dev/termination-log"; mount --bind "{log}" "$dev/termination-log"; mount -o remount,bind,ro "$dev/termination-log"',
    "a file system of its own making": 'touch "$dev/termination-log"; mount -t ramfs ramfs "$dev"; touch "$dev/termination-log"; '
                                       'chmod 666 "$dev/termination-log"; mount --bind "$dev/termination-log" "$dev/termination-log"',
}


ONLY_THE_MOUNTS_TELL = ("no mount of its own", "a file system of its own making")


class ProcFSWithGoodMounts(procfs.ProcFS):
    """Not real: what a mount check that was fooled would see, to try what comes after it."""

    def mounts(self, pid):
        return {b"/": b"ext4", b"/dev": b"tmpfs", termination_log.MOUNT_POINT: b"ext4"}


def tell_without_a_look_at_the_mounts(program):
    pid = program.process.pid
    offender = handmade.container_process(pid, start_ticks=procfs.ProcFS().stat(pid).start_ticks, status=handmade.status((pid, 1)))
    pidfd = open_pidfd(procfs.ProcFS(), offender)
    try:
        return termination_log.tell(ProcFSWithGoodMounts(), offender, pidfd)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_container_gets_nothing_written(node, root, log, tmp_path, trick):
    """And is ended all the same."""
    victims = tmp_path / "host"
    victims.mkdir()
    victim = victims / "termination-log"
    victim.write_text("the host's own\n")
    victim.chmod(0o666)
    folder = tmp_path / "folder"
    folder.mkdir()
    make = HOSTILE[trick].format(
        victim=victim, victims_folder=victims, folder=folder, root=root, log=log, python=PYTHON)
    program = contained(node, root, make)
    if trick not in ONLY_THE_MOUNTS_TELL:
        assert not tell_without_a_look_at_the_mounts(program)
    (step,) = ended(node, program)
    assert "termination log" not in step["detail"]
    assert victim.read_text() == "the host's own\n"
    assert log.read_text() == ""
    assert [path for path in folder.iterdir() if path.name != "base"] == []


def test_a_file_that_the_tenant_may_not_write_is_not_written_for_him(node, root, log):
    """With a user namespace a tenant can mount any file that he sees there, such as one of root's on a shared volume."""
    log.chmod(0o644)
    program = contained(node, root, bound(log), user=12345)
    (step,) = ended(node, program)
    assert "termination log" not in step["detail"]
    assert log.read_text() == ""
    assert stat.S_IMODE(log.stat().st_mode) == 0o644


def test_a_lease_does_not_hold_the_sweep_up(node, root, log):
    """fcntl(2), F_SETLEASE: whoever opens the file for writing waits until the holder gives it up, 45 s by default."""
    holder = subprocess.Popen(
        [PYTHON, "-c", "import fcntl, signal, sys, time; signal.signal(signal.SIGIO, signal.SIG_IGN); file = open(sys.argv[1]);"
         "fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK); print('held', flush=True); time.sleep(600)", str(log)],
        stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        (step,) = ended(node, contained(node, root, bound(log)))
        assert "termination log" not in step["detail"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_the_journal_says_who_was_ended(node, tmp_path):
    """syslog(3) goes to /dev/log; here to a socket of the test, mounted in the agent's own mount namespace."""
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(tmp_path / "log"))
    journal.settimeout(60)
    program = node.container(LEAKING)
    script = 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0/log" /dev/log && exec "$@"'
    agent = node.agent_command("--json", "--min-age", "0", "--remedies", "terminate")
    done = node.run("unshare", "--mount", "/bin/sh", "-c", script, str(tmp_path), *agent)
    assert done.returncode == 0, done.stderr
    assert program.ends()
    line = journal.recv(4096).decode()
    journal.close()
    assert "zombie_reaper" in line
    assert "ended PID %d (" % program.pids[1] in line
    assert "in container" in line
    assert "2 zombies" in line
    assert os.path.exists(tmp_path / "log")
