"""The deny list that no option can lift, on real processes, under ``scope: all`` and with
everything else allowed.
"""

from __future__ import annotations

import shutil

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import observe
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import validate
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from rig.node import Node, offender_of, wait_until

LEAK = "zombie()\nready()\nforever()"

# An init that keeps the zombies it forked itself, and collects orphans.
INIT_WITH_A_ZOMBIE = """
kept = zombie()
ready()
while True:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in (1, kept):
            try:
                os.waitpid(int(entry), os.WNOHANG)
            except ChildProcessError:
                pass
    time.sleep(0.05)
"""


def with_a_zombie_execute(directory, name):
    """Code that leaves a zombie and becomes ``sleep`` under another name; waits until it has."""
    executable = directory / name
    shutil.copy(shutil.which("sleep"), executable)
    return """
zombie()
if os.fork() == 0:
    while os.readlink("/proc/%%d/exe" %% os.getppid()) != %r:
        time.sleep(0.01)
    ready()
    forever()
os.execv(%r, [%r, "1000"])
""" % (str(executable), str(executable), name)


def test_pid_1_of_the_node(tmp_path):
    node = Node(tmp_path, INIT_WITH_A_ZOMBIE)
    try:
        result = node.sweep(scope="all")
        assert offender_of(result, node.init)["reason"] == "host_init"
        assert node.init.alive
        assert len(node.init.zombies()) == 1
        assert not result["changed"]
    finally:
        node.stop()


def test_the_sweep_s_ancestors(node):
    """The session that started the sweep holds zombies itself: an ssh or cron session, Ansible's
    own.
    """
    code = """
zombie()
import subprocess
done = subprocess.run(%r, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
os.write(1, b"ready\\n" + done.stdout)
forever()
""" % node.agent_command("--scope", "all", "--min-age", "0")
    session = node.program(code)
    lines = [session.popen.stdout.readline().decode() for _line in range(3)]
    assert "left alone: it is this sweep or started it" in lines[2]
    assert session.alive
    assert len(session.zombies()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "containerd-shim-runc-v2",
        "containerd",
        "dockerd",
        "conmon",
        "crio",
        "kubelet",
        "k3s",
        "runc",
        "systemd",
        "systemd-journald",
    ],
)
def test_a_runtime_its_shim_and_the_kubelet_by_executable(node, tmp_path, name):
    """A real process of the node whose executable is so named, given a zombie before it became
    that.
    """
    daemon = node.program(with_a_zombie_execute(tmp_path, name))
    result = node.sweep(scope="all")
    assert daemon.alive
    assert len(daemon.zombies()) == 1
    assert offender_of(result, daemon)["reason"] in ("runtime", "systemd")


@pytest.mark.parametrize("name", ["containerd-shim-runc-v2", "kubelet", "systemd"])
@pytest.mark.parametrize(
    "remedies, ends", [("nudge,reap,terminate", False), ("nudge,terminate", True)]
)
def test_the_same_name_inside_a_container_protects_nobody(node, tmp_path, name, remedies, ends):
    init = node.container(with_a_zombie_execute(tmp_path, name))
    entry = offender_of(node.sweep(remedies=remedies), init)
    assert (entry["verdict"], entry["outcome"]) == ("act", "cleared")
    assert init.alive != ends
    assert init.zombies() == []


def test_a_name_that_a_process_gives_itself_protects_nobody(node):
    """comm and arguments are the process's own to set: neither spares a tenant nor a host
    process.
    """
    program = node.program("""
open("/proc/self/comm", "w").write("kubelet")
zombie()
ready()
forever()
""")
    entry = offender_of(node.sweep("--check", scope="all"), program)
    assert (entry["name"], entry["verdict"]) == ("kubelet", "act")


def test_a_kernel_thread():
    """No kernel thread here has a zombie, so a real one, kthreadd, is read from /proc and given one
    by hand. Nothing is swept.
    """
    real = procfs.ProcFS()
    stats = filter(None, map(real.stat, real.pids()))
    # others come and go
    kthread = min(stat.pid for stat in stats if stat.flags & procfs.PF_KTHREAD)
    zombie = observe.Zombie(4000000, 1, kthread, b"x", 1, 0, 1e6)
    observer = observe.Observer(real, Paths(), observe.History(), 0.0)
    offender = observer.offender(kthread, (zombie,))
    snapshot = observe.Snapshot((offender,), (), limits.read(real))
    (verdict,) = policy.judge(snapshot, validate({"scope": "all", "min_age": 0}))
    assert (verdict.reason, verdict.remedies) == ("kernel_thread", ())


def test_a_parent_that_matches_protect(node):
    spared, other = node.container("# postgres\n" + LEAK), node.container(LEAK)
    result = node.sweep(protect="post[g]res")
    assert offender_of(result, spared)["reason"] == "protected"
    assert spared.alive and len(spared.zombies()) == 1
    assert other.zombies() == []


def test_an_executable_that_cannot_be_read(node):
    """The leader of a host process has exited, so /proc shows no executable; it may be anything."""
    program = node.program("""
def thread():
    zombie()
    ready()
    forever()
threading.Thread(target=thread).start()
exit_thread()
""")
    wait_until(lambda: program.process.status() == psutil.STATUS_ZOMBIE)
    entry = offender_of(node.sweep(scope="all"), program)
    assert entry["reason"] == "unknown_executable"
    assert program.process.is_running()
    assert len(program.zombies()) == 1


def test_max_parents_ends_those_with_most_zombies(node):
    few, most, some = (
        node.container(f"for _ in range({number}): zombie()\nready()\nforever()")
        for number in (1, 5, 3)
    )
    result = node.sweep(max_parents=2, remedies="nudge,terminate")
    assert few.alive
    assert most.ends() and some.ends()
    assert offender_of(result, few)["reason"] == "max_parents"


def test_max_parents_is_about_ending_them(node):
    """By default none is, so that all are cured at once."""
    three = [node.container(LEAK) for _number in range(3)]
    result = node.sweep(max_parents=1)
    assert result["counts"]["cleared_by"] == {"nudge": 0, "reap": 3, "terminate": 0}
    assert all(init.alive and init.zombies() == [] for init in three)
