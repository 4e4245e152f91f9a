"""Tenants that lie and hinder: in names, arguments, environment, cgroups, mounts and signals, and
when an audit sends them a canary.

Whatever they try, it reaches nobody but themselves: next to each of them runs a bystander with
zombies of its own, protected, that must stay as it is. The report stays valid JSON and safe to
print, and nobody gets protection, or another's name, for what he says of himself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
from rig.agents import lines
from rig.journal import journal, writing_to
from rig.node import Program, left_in_node, ns_pids, offender_of, wait_until
from rig.podman import Podman
from rig.pods import ID, UID
from rig.reaping import AS_LONG_AS_IT_TAKES, PatientNode, agent_that, sleeps_or_has_ended
from rig.slowness import scaled
from rig.system_calls import NUMBERS

pytestmark = pytest.mark.all_cgroups

HOSTILE = Path(__file__).parents[1] / "rig/hostile"
PROTECT = "# by[s]tander"
LEAK = "zombie()\nready()\nforever()"

PADDING = [f"PADDING{number}={'x' * 130000}" for number in range(9)]
OWNER = "akash1" + "q" * 38

# Seconds that a canary that a tenant has stopped gets to exit
AT_LEAST = 1.0

# The engine's own audit, that is held between sending canaries and letting them exit until there is
# a file. Then it lets go first of those whose inits collect them, and gives these all the time they
# need
GATED = """
import os, time
from reaper import canary
def watch(canaries, real=canary.wait_for_fates):
    open(%r, "w").close()
    while not os.path.exists(%r):
        time.sleep(0.01)
    canary.PROCESS_TIMEOUT = %r
    collecting = [each for each in canaries if each.init_pid in %r]
    canary.INIT_TIMEOUT = %r
    fates = real(collecting)
    canary.INIT_TIMEOUT = 0.4
    return {**fates, **real([each for each in canaries if each not in collecting])}
canary.wait_for_fates = watch
"""

# The engine's own audit, that waits until the hunter in the container has done what it lies in wait
# for
HUNTED = """
import time
from reaper import canary
def release(procfs, init_pid, *words, real=canary._release):
    def only_child(procfs, pid, real=real_only_child):
        deadline = time.monotonic() + 60
        while procfs.stat(init_pid).comm != b"fed" and time.monotonic() < deadline:
            time.sleep(0.01)
        return real(procfs, pid)
    canary._only_child = only_child
    return real(procfs, init_pid, *words)
real_only_child, canary._release = canary._only_child, release
canary.PROCESS_TIMEOUT, canary.INIT_TIMEOUT = 0.7, 60.0
"""


def built(directory, name) -> str:
    program = directory / name
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, HOSTILE / (name + ".c")],
        check=True,
    )
    program.chmod(0o755)
    return str(program)


class Bystander:
    """A container that has done nothing wrong, but for two zombies, which are protected."""

    def __init__(self, node):
        self.program = node.container("# bystander\nzombie()\nzombie()\nready()\nforever()")
        self.before = self._seen()

    def _seen(self) -> list:
        processes = [self.program.process, *self.program.process.children(recursive=True)]
        return [
            (process.pid, process.create_time(), process.status() == psutil.STATUS_ZOMBIE)
            for process in processes
        ]

    def assert_unharmed(self):
        assert self._seen() == self.before
        assert [is_zombie for _pid, _start, is_zombie in self.before] == [False, True, True]


@pytest.fixture
def bystander(node):
    made = Bystander(node)
    yield made
    made.assert_unharmed()


@pytest.fixture
def podman(node):
    """podman refuses a directory with a long name, so it is not below pytest's own."""
    started = Podman(node, Path(tempfile.mkdtemp(prefix="zr-")))
    started.import_host()
    yield started
    started.stop()


def texts_in(value):
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def checked(done, as_json=True):
    """What a run of the agent said, once it is known to be well and safe."""
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    if not as_json:
        return done.stdout
    result = json.loads(done.stdout)
    assert [text for text in texts_in(result) if not text.isprintable()] == []
    return result


def look(node, *flags):
    if "--check" in flags:  # which else says by its status what it found
        flags += ("--exit-zero",)
    return checked(node.agent("--json", "--min-age", "0", "--protect", PROTECT, *flags))


def audit(node, *flags, code=None):
    return checked(
        node.run(
            *node.agent_command(
                "--audit", "--json", "--min-age", "0", "--protect", PROTECT, *flags, code=code
            )
        )
    )


def sweep(node, *flags, **options):
    return look(
        node,
        "--grace",
        "0.3",
        *flags,
        *[word for name, value in options.items() for word in ("--" + name, str(value))],
    )


def row_of(result, program) -> dict:
    return next(
        row for row in result["containers"] if row["init"] and row["init"]["pid"] == program.pids[1]
    )


def canary_of(row) -> dict:
    return next(evidence for evidence in row["evidence"] if evidence["by"] == "canary")


def everything_said(node, directory, pids) -> str:
    """All that a node says to anybody: reports, tables, explanations, the last result, the journal.
    Ends parents in the end.
    """
    said = [json.dumps(look(node, "--check")), json.dumps(audit(node))]
    for flags in (
        ["--check", "--exit-zero"],
        ["--audit"],
        *(["--explain", str(pid)] for pid in pids),
    ):
        said.append(
            checked(node.agent(*flags, "--min-age", "0", "--protect", PROTECT), as_json=False)
        )
    said += [json.dumps(look(node, "--explain", str(pids[0])))]
    with journal(directory) as lines:
        done = node.run(
            *writing_to(directory),
            *node.agent_command(
                "--syslog",
                "--min-age",
                "0",
                "--grace",
                "0.3",
                "--remedies",
                "terminate",
                "--protect",
                PROTECT,
            ),
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    journalled = [line.decode("ascii" if line.isascii() else "utf-8") for line in lines]
    assert any("zombie_reaper" in line and "ended PID" in line for line in journalled)
    last = (node.run_directory / "last.json").read_text(encoding="utf-8")
    assert [text for text in texts_in(json.loads(last)) if not text.isprintable()] == []
    assert all(line.rstrip("\0\n").isprintable() for line in journalled)
    return "\n".join([*said, *journalled, last])


# What they call themselves

NAMES = ("kubelet", "containerd-shim-runc-v2", "tini", "systemd", "dockerd")


def test_an_executable_named_like_one_of_the_node_s_protects_nobody_in_a_container(
    node, podman, bystander
):
    """Real copies in a real container: its PID 1 is called systemd, its leaking children kubelet, a
    shim, and so on.
    """
    copies = "; ".join(f"cp /usr/bin/sleep /tmp/{name}" for name in NAMES)
    children = " ".join(
        f"sh -c '(exit 3) & exec /tmp/{name} 1000' &" for name in NAMES if name != "systemd"
    )
    container = podman.run_host(f"{copies}; {children} exec /tmp/systemd 1000", {})
    wait_until(
        lambda: (
            len(
                [
                    entry
                    for entry in look(node, "--check")["offenders"]
                    if entry["executable"].startswith("/tmp/")
                ]
            )
            == len(NAMES) - 1
        )
    )
    wait_until(lambda: named("systemd", [node.init.process]))
    result = sweep(node)
    entries = [entry for entry in result["offenders"] if entry["reason"] != "protected"]
    assert {entry["workload"]["container_id"] for entry in entries} == {container}
    assert {(entry["verdict"], entry["remedy"], entry["outcome"]) for entry in entries} == {
        ("act", "reap", "cleared")
    }
    (row,) = [
        row for row in audit(node)["containers"] if row["workload"]["container_id"] == container
    ]
    # it does not handle signals as systemd does
    assert (row["init"]["name"], row["verdict"]) == ("systemd", "unknown")
    assert [running["Id"] for running in podman.running()] == [container]


NAME = b"\x1b]0;owned\x07\n)Z1"
WORDS = b"\x1b[2J\x1b]0;owned\x07 \xff\xfe ) Z 1 \xe2\x80\xae\xe2\x80\xa8{{ 1-0 }}\n\r\t\x7f"

HOSTILE_NAMES = """
comm, words, directory = %r, %r, %r
if len(sys.argv) < 2:
    import shutil
    os.makedirs(directory, exist_ok=True)
    os.chdir(directory)
    shutil.copy("/bin/sleep", words)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", sys.orig_argv[3], words, b"y" * 65536])
def become():
    open("/proc/self/comm", "wb").write(comm)
    os.setpgid(0, 0)
become()
zombie(become)
if os.fork() == 0:
    here = os.readlink("/proc/self/exe")
    if os.fork():
        zombie()
        os.execv(words, [words, b"1000"])
    while os.readlink("/proc/%%d/exe" %% os.getppid()) == here:
        time.sleep(0.01)
    ready()
forever()
"""


def test_hostile_names_are_harmless_wherever_they_are_shown(node, pods, bystander, tmp_path):
    """In the name, the path of the executable, 64 KiB of arguments and the cgroup: escapes,
    newlines, `) Z 1`, bytes that are no UTF-8, and characters that turn the reading direction.
    """
    tenant = pods.start(1, HOSTILE_NAMES % (NAME, WORDS, bytes(tmp_path / "bin")))
    child = next(
        process for process in tenant.process.children() if process.status() != psutil.STATUS_ZOMBIE
    )
    below = os.path.join(
        bytes(pods.top), b"pod" + (UID % 1).encode(), (ID % 1).encode(), WORDS.replace(b"\n", b"")
    )
    os.mkdir(below)
    Path(os.fsdecode(below), "cgroup.procs").write_text(str(child.pid))
    result = look(node, "--check")
    entries = [entry for entry in result["offenders"] if entry["workload"]["pod_uid"] == UID % 1]
    assert {entry["workload"]["container_id"] for entry in entries} == {ID % 1}
    assert {entry["verdict"] for entry in entries} == {"act"}
    assert len(entries) == 2
    assert all(len(text) < 600 for entry in entries for text in texts_in(entry))
    said = everything_said(node, tmp_path, [tenant.pids[1], *ns_pids(child.pid)[1:2]])
    assert "owned" in said and "\\\\x1b" in said
    assert tenant.ends()


def test_a_path_of_an_executable_that_is_too_long_for_the_kernel_stops_no_sweep(
    node, bystander, tmp_path
):
    """The link in /proc cannot be read then. One tenant of that kind would have made every sweep of
    the node fail.
    """
    tenant = node.container(
        """
import shutil
os.chdir(%r)
for _level in range(20):
    os.mkdir("d" * 250)
    os.chdir("d" * 250)
shutil.copy("/bin/sleep", "program")
zombie()
if os.fork() == 0:
    while True:
        try:
            os.readlink("/proc/1/exe")
        except OSError:
            ready()
            forever()
os.execv("program", ["program", "1000"])
"""
        % str(tmp_path)
    )
    try:
        assert row_of(audit(node), tenant)["init"]["executable"] is None
        checked(node.agent("--explain", str(tenant.pids[1])), as_json=False)
        entry = offender_of(sweep(node), tenant)
        assert (entry["executable"], entry["outcome"], entry["remedy"]) == (None, "cleared", "reap")
    finally:
        tenant.stop()
        subprocess.run(["rm", "-r", tmp_path / ("d" * 250)], check=True)


# What they have in their environment

SECRET = b"SECRET=hunter2hunter2\0API_KEY=hunter2\0"
ENVIRONMENTS = {  # what PID 1 shows, as an expression of Python -> the lease that is told
    "as Akash sets it": (
        "b'AKASH_OWNER=%s\\0AKASH_DEPLOYMENT_SEQUENCE=7\\0AKASH_GROUP_SEQUENCE=1\\0AKASH_ORDER_SEQUENCE=2\\0AKASH_PROVIDER=%s\\0'"
        " % (OWNER, OWNER)",
        {"owner": OWNER, "dseq": "7", "gseq": "1", "oseq": "2", "provider": OWNER},
    ),
    "1 MB": (
        "b'AKASH_OWNER=akash1' + b'q' * 1000000 + b'\\0AKASH_DEPLOYMENT_SEQUENCE=7\\0'",
        {"dseq": "7"},
    ),
    "more than is read": (
        "b'AKASH_OWNER=' + b'q' * 1100000 + b'\\0AKASH_DEPLOYMENT_SEQUENCE=7\\0'",
        None,
    ),
    "control characters": (
        "b'AKASH_OWNER=%s\\x1b[2J\\0AKASH_PROVIDER=\\n%s\\0' % (OWNER, OWNER)",
        None,
    ),
    "a newline at the end": (
        "b'AKASH_OWNER=%s\\n\\0AKASH_DEPLOYMENT_SEQUENCE=7\\n\\0' % OWNER",
        None,
    ),
    # as getenv(3) has it
    "doubled": ("b'AKASH_DEPLOYMENT_SEQUENCE=7\\0AKASH_DEPLOYMENT_SEQUENCE=8\\0'", {"dseq": "7"}),
    "the wrong shape": (
        "b'AKASH_OWNER=$(reboot)\\0AKASH_DEPLOYMENT_SEQUENCE=-1\\0AKASH_GROUP_SEQUENCE=1e3\\0AKASH_ORDER_SEQUENCE=\\xd9\\xa1\\0AKASH_PROVIDER=\\0'",
        None,
    ),
    "nearly the name": (
        "b'XAKASH_OWNER=%s\\0akash_owner=%s\\0AKASH_OWNER\\0=AKASH_OWNER=%s\\0' % (OWNER,"
        " OWNER, OWNER)",
        None,
    ),
    "no end and no name": ("b'=' * 3000 + b'AKASH_OWNER=' + OWNER", None),
    "a million empty ones": ("bytes(1100000) + b'AKASH_DEPLOYMENT_SEQUENCE=7'", None),
}


def test_a_lease_is_told_as_far_as_it_looks_like_one_and_no_other_variable_ever_is(
    node, pods, bystander, tmp_path
):
    tenants = {
        name: pods.start(
            number,
            f"OWNER = {OWNER.encode()!r}\nrewrite({SECRET!r} + {shown})\n{LEAK}",
            PADDING,
            name="p",
        )
        for number, (name, (shown, _lease)) in enumerate(ENVIRONMENTS.items())
    }
    tenants["128 KiB through execve"] = pods.start(
        50, LEAK, ["SECRET=hunter2", "AKASH_OWNER=" + "q" * 131000, "AKASH_GROUP_SEQUENCE=3"]
    )
    expected = {name: lease for name, (_shown, lease) in ENVIRONMENTS.items()}
    expected["128 KiB through execve"] = {"gseq": "3"}
    result, audited = look(node, "--check"), audit(node)
    for name, tenant in tenants.items():
        told = expected[name] and {
            **dict.fromkeys(("owner", "dseq", "gseq", "oseq", "provider")),
            **expected[name],
            "verified": False,
        }
        assert offender_of(result, tenant)["workload"]["lease"] == told, name
        assert row_of(audited, tenant)["workload"]["lease"] == told, name
    said = everything_said(
        node, tmp_path, [tenant.pids[1] for tenant in list(tenants.values())[:2]]
    )
    assert (
        "hunter2" not in said
        and "SECRET" not in said
        and "API_KEY" not in said
        and "PADDING" not in said
    )
    assert OWNER in said
    assert "q" * 100 not in said


IN_THE_NAMES_OF_OTHERS = (
    """
LEASE = {"AKASH_OWNER": %r, "AKASH_DEPLOYMENT_SEQUENCE": "666"}
LEAK = sys.orig_argv[3].partition("LEASE = ")[0] + "os.dup2(9, 1)\\nzombie()\\nready()\\nforever()"
here, there = os.pipe()
os.dup2(there, 9)
deeper = ["unshare", "--pid", "--fork"]
for levels in range(3):
    if os.fork() == 0:
        command = [*deeper * levels, sys.executable, "-IS", "-c", LEAK]
        os.execvpe(command[0], command, {**os.environ, **LEASE})
    os.read(here, 6)
ready()
forever()
"""
    % OWNER
)


def test_only_the_container_s_own_pid_1_tells_its_lease(node, pods, bystander):
    """Not another process of it, nor PID 1 of a PID namespace that the tenant made in it, nor of
    one in that.
    """
    with_lease = pods.start(1, IN_THE_NAMES_OF_OTHERS, ["AKASH_DEPLOYMENT_SEQUENCE=7"])
    without = pods.start(2, IN_THE_NAMES_OF_OTHERS)
    result = look(node, "--check")
    leases = {
        number: [
            entry["workload"]["lease"]
            for entry in result["offenders"]
            if entry["workload"]["container_id"] == ID % number
        ]
        for number in (1, 2)
    }
    assert [lease["dseq"] for lease in leases[1]] == ["7"] * 3
    assert [lease["owner"] for lease in leases[1]] == [None] * 3
    assert leases[2] == [None] * 3
    assert row_of(audit(node), with_lease)["workload"]["lease"]["dseq"] == "7"
    assert row_of(audit(node), without)["workload"]["lease"] is None


# Where they say they are


def test_a_cgroup_made_in_a_container_gives_it_nobody_else_s_name_or_protection(
    node, pods, bystander
):
    """The tenant moves its leaking children to cgroups below its own that are named like a pod of
    kube-system, a pod that the kubelet does not know, a service of the node, and the container of
    somebody else.
    """
    pods.cgroup(2, namespace="kube-system", name="calico")
    names = [
        f"pod{UID % 2}/{ID % 2}",
        "pod" + UID % 2,
        "pod" + UID % 77,
        "system.slice/kubelet.service",
        "kubelet.service",
        ID % 3,
        f"docker-{ID % 3}.scope",
        f"kubepods.slice/kubepods-pod{UID.replace('-', '_') % 2}.slice/cri-containerd-{ID % 2}.scope",
    ]
    own = str(pods.top / ("pod" + UID % 1) / (ID % 1))
    tenant = pods.start(
        1,
        """
here, there = os.pipe()
out = os.dup(1)
os.dup2(there, 1)
own = %r
for name in %r:
    os.makedirs(os.path.join(own, name), exist_ok=True)
    if os.fork() == 0:
        open(os.path.join(own, name, "cgroup.procs"), "w").write("0")
        zombie()
        ready()
        forever()
    os.read(here, 6)
os.dup2(out, 1)
zombie()
ready()
forever()
"""
        % (own, names),
    )
    result = sweep(node)
    entries = [entry for entry in result["offenders"] if entry["reason"] != "protected"]
    assert len(entries) == len(names) + 1
    for entry in entries:
        workload = entry["workload"]
        assert (workload["container_id"], workload["pod_uid"]) == (ID % 1, UID % 1), workload[
            "cgroup"
        ]
        assert (workload["namespace"], workload["pod"], workload["service"]) == (
            "lease-1",
            "web-1",
            None,
        )
        assert (entry["verdict"], entry["outcome"]) == ("act", "cleared")
    assert tenant.alive
    (row,) = [row for row in audit(node)["containers"] if row["workload"]["container_id"]]
    assert row["workload"]["pod"] == "web-1"


def test_the_topmost_pod_in_a_path_is_the_true_one(node, pods, bystander):
    """A process in a pod's own cgroup, with no container's in between, that makes cgroups there."""
    calico = pods.cgroup(2, namespace="kube-system", name="calico")
    below = pods.cgroup(1).parent / calico.parent.name / calico.name
    below.mkdir(parents=True)
    tenant = node.container(LEAK)
    (below / "cgroup.procs").write_text(str(tenant.process.pid))
    entry = offender_of(sweep(node), tenant)
    assert (entry["workload"]["pod_uid"], entry["workload"]["namespace"], entry["outcome"]) == (
        UID % 1,
        "lease-1",
        "cleared",
    )


# What they mount

MOUNTS = {
    "nothing in /proc": "mount -t tmpfs tmpfs /proc",
    "other files in /proc/1": (
        "for name in stat status cgroup cmdline comm environ; do mount --bind /etc/hostname"
        " /proc/1/$name; done"
    ),
    "another process in /proc/1": "mount --bind /proc/$$ /proc/1",
    "the node's names of itself": (
        f"mount -t tmpfs tmpfs /var/log && mkdir -p /var/log/pods/kube-system_calico_{UID % 1}"
    ),
    "no cgroups": "mount -t tmpfs tmpfs /sys/fs/cgroup",
}


def test_what_a_container_mounts_over_its_files_is_not_what_a_sweep_reads(node, pods, bystander):
    mounting = (
        "zombie()\nimport subprocess\nsubprocess.run(['sh', '-ec', %r],"
        " check=True)\nready()\nforever()"
    )
    tenants = [
        pods.start(number, mounting % command) for number, command in enumerate(MOUNTS.values(), 1)
    ]
    for result in (look(node, "--check"), sweep(node)):
        for number, tenant in enumerate(tenants, 1):
            entry = offender_of(result, tenant)
            workload = entry["workload"]
            assert (
                workload["container_id"],
                workload["pod"],
                entry["zombies"],
                entry["verdict"],
            ) == (ID % number, f"web-{number}", 1, "act")
    assert all(tenant.alive and tenant.zombies() == [] for tenant in tenants)


# What they do to a canary

SNOOP = """
import ctypes, json, os, sys, time
pid, uid = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
if uid:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc.prctl(4, 1)
got = []
def attempt(what, action):
    try:
        found = action()
    except OSError:
        return
    if found:
        got.append(what)
def read(name):
    with open("/proc/%d/%s" % (pid, name), "rb") as file:
        return file.read(4096)
def call(*words):
    if libc.syscall(*words) < 0:
        raise OSError(ctypes.get_errno(), "")
    return True
for name in ("environ", "maps", "auxv", "mem", "io", "stack", "syscall", "smaps", "pagemap", "mountinfo", "mounts"):
    attempt(name, lambda: read(name))
for name in ("root/", "cwd/", "map_files"):
    attempt(name, lambda: os.listdir("/proc/%d/%s" % (pid, name)) or True)
for name in ("exe", "root", "cwd", "ns/net", "ns/mnt", "ns/pid"):
    attempt(name, lambda: os.readlink("/proc/%d/%s" % (pid, name)))
for number in range(64):
    attempt("fd/%d" % number, lambda: os.readlink("/proc/%d/fd/%d" % (pid, number)))
    attempt("pidfd_getfd", lambda: call(438, os.pidfd_open(pid), number, 0))
buffer = ctypes.create_string_buffer(4096)
area = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 4096)
theirs = (ctypes.c_ulong * 2)(0x400000, 4096)
attempt("process_vm_readv", lambda: call(VM_READ, pid, area, 1, theirs, 1, 0))
attempt("PTRACE_ATTACH", lambda: call(PTRACE, 16, pid, 0, 0))
attempt("PTRACE_SEIZE", lambda: call(PTRACE, 0x4206, pid, 0, 0))
attempt("sockets of the node", lambda: len(read("net/unix").splitlines()) > 1)
attempt("signal", lambda: os.kill(pid, 19) or True)
print(json.dumps(got))
""".replace("VM_READ", str(NUMBERS["process_vm_readv"])).replace("PTRACE,", f"{NUMBERS['ptrace']},")

COLLECTS_CANARIES_ONLY = """
zombie(lambda: open("/proc/self/comm", "w").write("other"))
zombie(lambda: open("/proc/self/comm", "w").write("zr-canary"))
kept = {int(pid) for pid in open("/proc/1/task/1/children").read().split()}
ready()
while True:
    for pid in {int(pid) for pid in open("/proc/1/task/1/children").read().split()} - kept:
        if open("/proc/%d/comm" % pid).read() == "zr-canary\\n":
            os.waitpid(pid, os.WNOHANG)
    time.sleep(0.01)
"""
SIGTIMEDWAIT = NUMBERS["rt_sigtimedwait"]


def named(name, above) -> list:
    """PIDs of all with that name below these processes (psutil's)."""
    found = []
    for process in above:
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == name:
                    found.append(child.pid)
    return found


class Visited:
    """A node whose tenants are hostile to a canary: one audit, and what was seen while all canaries
    were there and alive.
    """

    def __init__(self, directory):
        self.node = PatientNode(directory)
        self.share = Path(tempfile.mkdtemp(prefix="zr-"))
        self.podman = Podman(self.node, Path(tempfile.mkdtemp(prefix="zr-")))

    def visit(self, directory):
        self.podman.import_host()
        self.bystander = Bystander(self.node)
        built(self.share, "hunter")
        self.containers = {
            "holds it": self.podman.run_host("exec /share/hunter 2s", {self.share: "/share"}),
            "may trace": self.podman(
                "run",
                "--detach",
                "--network",
                "none",
                "--cap-add",
                "SYS_PTRACE",
                "busybox",
                "sleep",
                "1000",
            ),
            "may profile": self.podman(
                "run",
                "--detach",
                "--network",
                "none",
                "--cap-add",
                "PERFMON",
                "busybox",
                "sleep",
                "1000",
            ),
            "is paused": self.podman(
                "run", "--detach", "--network", "none", "--init", "busybox", "sleep", "1000"
            ),
        }
        self.programs = {
            "calls itself tini": self._run_as("tini", built(directory, "pretender")),
            "called tini, a sleep": self.node.container(
                f"ready()\nos.execv({self._copied('tini-sleep', '/bin/sleep')!r}, ['tini', '1000'])"
            ),
            "collects canaries only": self.node.container(COLLECTS_CANARIES_ONLY),
        }
        assert sleeps_or_has_ended(self.programs["calls itself tini"], SIGTIMEDWAIT)
        wait_until(lambda: self.programs["called tini, a sleep"].process.name() == "tini")
        hunter = self._wait_for_container("hunting")
        self.collecting = [ns_pids(hunter)[1], self.programs["collects canaries only"].pids[1]]
        self._probe(directory)
        self.podman("unpause", self.containers["is paused"])
        self.after = audit(self.node)

    def _copied(self, name, program) -> str:
        directory = self.share / name
        directory.mkdir()
        subprocess.run(["cp", program, directory / "tini"], check=True)
        return str(directory / "tini")

    def _run_as(self, name, program):
        return self.node.container(f"os.execv({self._copied(name, program)!r}, [{name!r}])")

    def _probe(self, directory):
        sent, go = directory / "sent", directory / "go"
        self.before = audit(self.node)
        agent = subprocess.Popen(
            [
                *self.node.enter,
                "setpriv",
                "--groups",
                "4,24",
                *self.node.agent_command(
                    "--audit",
                    "--probe",
                    "--json",
                    "--min-age",
                    "0",
                    "--protect",
                    PROTECT,
                    code=agent_that(
                        lines(
                            GATED
                            % (str(sent), str(go), AT_LEAST, self.collecting, AS_LONG_AS_IT_TAKES)
                        )
                    ),
                ),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(lambda: sent.exists() or agent.poll() is not None)
            self.agent_session = os.getsid(agent.pid)
            self._look_at_canaries()
            self.podman("pause", self.containers["is paused"])
            go.touch()
            said, complaints = agent.communicate(timeout=scaled(240))
        finally:
            agent.kill()
            agent.wait()
        assert (agent.returncode, complaints) == (0, "")
        self.result = checked(subprocess.CompletedProcess([], 0, said, complaints))

    def canaries(self) -> list:
        return named("zr-canary", [self.node.init.process.parent()])

    def _wait_for_container(self, name) -> int:
        """PID of the one process in the node that is called so, once there is one."""
        return wait_until(lambda: named(name, [self.node.init.process]))[0]

    def _look_at_canaries(self):
        init = psutil.Process(self._wait_for_container("fed"))
        (held,) = map(psutil.Process, named("zr-canary", [init]))
        self.held_state = wait_until(
            lambda: held.status() == psutil.STATUS_STOPPED and held.status()
        )
        proc = Path(f"/proc/{held.pid}")
        self.status = dict(
            line.split(":\t", 1) for line in (proc / "status").read_text().splitlines()
        )
        self.descriptors = [os.readlink(link).partition(":")[0] for link in (proc / "fd").iterdir()]
        self.root = [name for name in ("root", "cwd") if self._shows_something(proc / name)]
        self.session = os.getsid(held.pid)
        self.network = (
            os.readlink(proc / "ns/net"),
            os.readlink(f"/proc/{init.pid}/ns/net"),
            os.readlink("/proc/self/ns/net"),
        )
        self.uids = {line.split()[1] for line in self._statuses() if line.startswith("Uid:")}
        self.snooped = {
            (capabilities, uid): self._snoop(init.pid, ns_pids(held.pid)[-1], capabilities, uid)
            for capabilities in ("-sys_ptrace,-perfmon,-sys_admin",)
            for uid in ("0", self.status["Uid"].split()[0])
        }
        self.snooped_with_everything = self._snoop(init.pid, ns_pids(held.pid)[-1], "+all", "0")

    @staticmethod
    def _shows_something(directory) -> bool:
        """Its root is a directory of a process that has ended."""
        try:
            return bool(os.listdir(directory))
        except ProcessLookupError:
            return False

    @staticmethod
    def _statuses():
        """Of all processes but canaries, of whatever test: these have their name before their
        user.
        """
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text(errors="replace")
                if Path(f"/proc/{pid}/comm").read_text(errors="replace") != "zr-canary\n":
                    yield from status.splitlines()

    @staticmethod
    def _snoop(init_pid, pid, capabilities, uid) -> list:
        """What a process of that container with these capabilities gets out of the canary. Its
        program is the test's own.
        """
        done = subprocess.run(
            [
                "nsenter",
                "--target",
                str(init_pid),
                "--pid",
                "unshare",
                "--mount",
                "sh",
                "-c",
                'mount -t proc proc /proc && exec "$@"',
                "sh",
                "setpriv",
                "--bounding-set",
                capabilities,
                "--inh-caps",
                "-all",
                "/usr/bin/python3",
                "-IS",
                "-c",
                SNOOP,
                str(pid),
                uid,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def row(self, name, result=None) -> dict:
        result = result or self.result
        if name in self.programs:
            return row_of(result, self.programs[name])
        return next(
            row
            for row in result["containers"]
            if row["workload"]["container_id"] == self.containers[name]
        )

    def stop(self):
        with contextlib.suppress(AssertionError):
            self.podman("unpause", "--all")
        self.podman.stop()
        self.node.stop()
        subprocess.run(["rm", "-r", self.share], check=True)


@pytest.fixture(scope="module")
def visited(tmp_path_factory):
    directory = tmp_path_factory.mktemp("visited")
    made = Visited(directory)
    try:
        made.visit(directory)
        yield made
    finally:
        made.stop()


def test_a_canary_that_a_tenant_holds_has_nothing_to_take(visited):
    """As seen from the node, while root of a real container keeps it stopped."""
    uid = visited.status["Uid"].split()[0]
    assert visited.status["Uid"].split() == visited.status["Gid"].split() == [uid] * 4
    assert uid not in visited.uids
    assert visited.status["Groups"].strip() == ""
    assert {visited.status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert set(visited.descriptors) == {"pipe"}
    assert visited.root == []
    assert visited.session != visited.agent_session
    of_canary, of_container, of_node = visited.network
    assert of_canary == of_container != of_node


def test_a_tenant_cannot_look_into_a_canary(visited):
    """As root of its container with all capabilities but three, or under the very UID of the
    canary; it may send it signals. With these three it could look.
    """
    assert set(map(tuple, visited.snooped.values())) == {("signal",)}
    assert {"environ", "maps", "root", "PTRACE_ATTACH"} <= set(visited.snooped_with_everything)


# CAP_PERFMON: memory maps and environment, mm_access() of Linux 6.15
@pytest.mark.parametrize("name", ["may trace", "may profile"])
def test_where_a_tenant_may_look_into_other_processes_no_canary_is_sent(visited, name):
    assert "look into others" in canary_of(visited.row(name))["detail"]
    assert visited.row(name)["verdict"] == visited.row(name, visited.before)["verdict"]


def test_a_canary_that_was_stopped_is_killed_and_tells_the_truth_all_the_same(visited):
    row = visited.row("holds it")
    assert (row["verdict"], canary_of(row)["verdict"]) == ("reaps", "reaps")
    assert row["seconds"] >= AT_LEAST


def test_a_container_that_is_paused_during_a_probe_is_not_judged(visited):
    evidence = canary_of(visited.row("is paused"))
    assert evidence["verdict"] == "unknown" and "stopped or paused" in evidence["detail"]
    # goes on, and collects what it missed
    wait_until(lambda: visited.row("is paused", audit(visited.node))["zombies"] == 0)


def test_a_name_of_an_init_is_believed_no_further_than_its_signals_and_no_longer_than_until_a_canary(
    visited,
):
    """What looks like tini in everything that can be seen is taken for it until it is asked; what
    only bears the name is not.
    """
    pretender, sleeper = "calls itself tini", "called tini, a sleep"
    assert visited.row(pretender, visited.before)["verdict"] == "reaps"
    assert visited.row(sleeper, visited.before)["verdict"] == "unknown"
    assert visited.row(pretender)["verdict"] == visited.row(sleeper)["verdict"] == "leaks"
    assert visited.row(pretender, visited.after)["verdict"] == "leaks"  # it is remembered


def test_one_that_collects_canaries_only_deceives_neither_audit_nor_sweep(visited):
    """It is not asked, as its zombies tell. One that bears the name of a canary is as much a zombie
    as any.
    """
    tenant = visited.programs["collects canaries only"]
    assert (
        canary_of(visited.row("collects canaries only"))["detail"]
        == "not probed: there is enough evidence without a canary"
    )
    assert visited.row("collects canaries only")["verdict"] == "leaks"
    entry = offender_of(look(visited.node, "--check", "--remedies", "nudge,terminate"), tenant)
    assert (entry["verdict"], entry["due"], entry["remedies"]) == (
        "act",
        2,
        ["nudge", "terminate"],
    )
    entry = offender_of(sweep(visited.node), tenant)
    assert (entry["outcome"], entry["cleared"]) == ("cleared", 2)
    assert tenant.alive and tenant.zombies() == []


def test_nothing_of_a_hindered_audit_is_left_and_nobody_else_has_noticed(visited):
    assert visited.result["counts"]["canaries_left"] == 1  # of the one that was paused then
    assert visited.result["warnings"] == []
    wait_until(lambda: visited.canaries() == [])
    visited.bystander.assert_unharmed()


HUNTS = {
    "stops the mother": ["1s"],
    "stops the canary, kills the mother": ["2s", "1k", "1w"],
    "kills the canary": ["2k"],
    "kills the mother": ["1k", "1w"],
}


def test_whoever_stops_or_kills_a_canary_or_its_mother_ends_the_audit_no_later_and_keeps_nothing(
    node, bystander, tmp_path
):
    hunter = built(tmp_path, "hunter")
    alone = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "setpriv",
        "--bounding-set",
        "-sys_ptrace,-perfmon,-sys_admin",
        "--inh-caps",
        "-all",
    ]
    tenants = {
        name: node._started(Program([*node.enter, *alone, hunter, *orders], depth=2))
        for name, orders in HUNTS.items()
    }
    result = audit(node, "--probe", code=agent_that(lines(HUNTED)))
    assert all(
        canary_of(row_of(result, tenant))["verdict"] in ("unknown", "reaps")
        for tenant in tenants.values()
    )
    assert result["counts"]["canaries_left"] == 0
    assert {
        name: Path(f"/proc/{tenant.process.pid}/comm").read_text()
        for name, tenant in tenants.items()
    } == dict.fromkeys(HUNTS, "fed\n")
    for tenant in tenants.values():
        assert stopped_below(tenant) == []  # SIGKILL wakes whoever is stopped at once
        wait_until(lambda tenant=tenant: tenant.process.children(recursive=True) == [])
        assert tenant.alive
    assert [
        zombie
        for zombie in left_in_node(look(node, "--check"))
        if zombie["ppid"] != bystander.program.pids[1]
    ] == []


def stopped_below(program) -> list:
    """PIDs of its children that are stopped."""
    found = []
    for child in program.process.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_STOPPED:
                found.append(child.pid)
    return found


def test_an_audit_whose_time_for_sending_is_up_says_so(node, bystander):
    """Tenants can make it slow; a sweep that waits for the lock meanwhile must not be held up for
    long.
    """
    tenant = node.container("ready()\nforever()")
    row = row_of(audit(node, "--probe", code=agent_that("canary.MAX_SECONDS = -1")), tenant)
    assert canary_of(row)["detail"] == "no canary was sent: those before it took too long"


# How many they are


@pytest.mark.parametrize("chains, depth", [pytest.param(60, 40, marks=pytest.mark.full), (200, 1)])
def test_thousands_of_pid_namespaces_nested_and_side_by_side(
    node, pods, bystander, tmp_path, chains, depth
):
    """As deep as the kernel goes, 32 levels from the machine's own, each chain with a zombie at its
    end.
    """
    tenant = pods.start_command(1, [built(tmp_path, "namespaces"), str(chains), str(depth)])
    count, deepest = (int(word) for word in tenant.popen.stdout.readline().split())
    assert deepest == min(depth, 33 - len(tenant.pids)) and count == chains * deepest
    (row,) = [
        row
        for row in audit(node, "--probe", code=agent_that("canary.INIT_TIMEOUT = 0.4"))[
            "containers"
        ]
        if row["workload"]["pod"]
    ]
    assert (row["init"]["pid"], row["zombies"], row["workload"]["pod"]) == (
        tenant.pids[1],
        chains,
        "web-1",
    )
    result = sweep(node)
    entries = [entry for entry in result["offenders"] if entry["reason"] != "protected"]
    assert {
        (entry["workload"]["container_id"], entry["workload"]["pod"], entry["outcome"])
        for entry in entries
    } == {(ID % 1, "web-1", "cleared")}
    # a report has a thousand parents at most, the bystander first
    assert len(entries) == min(chains, 999)
    assert result["counts"]["cleared"] == chains
    assert tenant.alive
    tenant.stop()
    wait_until(
        lambda: not any(entry["workload"]["pod"] for entry in look(node, "--check")["offenders"])
    )
    assert [row for row in audit(node)["containers"] if row["workload"]["pod"]] == []


def test_a_container_that_forks_and_collects_as_fast_as_it_can_disturbs_no_audit(node, bystander):
    tenants = [
        node.container("""
ready()
while True:
    if os.fork() == 0:
        os._exit(3)
    os.wait()
""")
        for _number in range(2)
    ]
    for flags in ([], ["--probe"], [], ["--probe"]):
        result = audit(
            node, "--min-age", "3600", *flags, code=agent_that("canary.INIT_TIMEOUT = 60.0")
        )
        assert result["warnings"] == []
        assert {row_of(result, tenant)["init"]["name"] for tenant in tenants} == {
            row_of(result, tenants[0])["init"]["name"]
        }
        # as it waits at that moment, or does not
        assert {row_of(result, tenant)["verdict"] for tenant in tenants} <= {"reaps", "unknown"}
        assert {row_of(result, tenant)["harm"] for tenant in tenants} == {None}
    assert not sweep(node, **{"min-age": 3600})["changed"]
    assert all(tenant.alive for tenant in tenants)


def test_the_groups_of_zombies_are_not_read(node, tmp_path):
    """/proc/PID/status begins with a name and up to 65,536 groups, at 18 ms a read; a tenant can
    make as many zombies that have them.
    """
    init = node.container(
        "os.setgroups(range(65536))\nfor _ in range(20): zombie()\nready()\nforever()"
    )
    zombies, calls = {ns_pids(pid)[1] for pid in init.zombies()}, tmp_path / "calls"
    done = node.run(
        "strace",
        "-o",
        calls,
        "-e",
        "trace=openat",
        *node.agent_command("--json", "--min-age", "0", "--remedies", "reap"),
    )
    assert done.returncode == 0, done.stderr
    assert offender_of(json.loads(done.stdout), init)["cleared"] == 20
    read = set(map(int, re.findall(r'"/proc/(\d+)/status"', calls.read_text(encoding="utf-8"))))
    assert init.pids[1] in read and len(zombies) == 20
    assert not read & zombies
