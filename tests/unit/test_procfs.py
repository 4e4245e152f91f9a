"""What the kernel shows of a process, read right whatever the process calls itself."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
from hypothesis import given
from hypothesis import strategies as st
from rig.node import Node, ns_pids, wait_until
from rig.system_calls import NUMBERS as SYSTEM_CALLS

NAME_BYTES = st.binary(max_size=64) | st.lists(
    st.sampled_from([b"(", b")", b" ", b"\n", b") Z 1", b"Z", b"0", b"\xff", b"\\"]), max_size=20
).map(b"".join)
NAMES = NAME_BYTES.map(lambda name: name.replace(b"\0", b"")[:64])
NUMBERS = st.integers(0, 2**32 - 1)
MASKS = st.integers(0, 2**64 - 1)
PATHS = st.text(
    st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=80
).map("/".__add__)


def stat_line(stat):
    """The line that the kernel writes for these values; what the engine does not use is -7."""
    fields = [-7] * 50
    fields[0], fields[1], fields[3], fields[6] = stat.state, stat.ppid, stat.session, stat.flags
    fields[17], fields[19] = stat.num_threads, stat.start_ticks
    return b"%d (%s) %s\n" % (stat.pid, stat.comm, " ".join(map(str, fields)).encode())


def status_text(status, name=b"sh"):
    return (
        b"Name:\t%s\nUmask:\t0022\nTracerPid:\t%d\nUid:\t%d\t7\t7\t7\nNSpid:\t%s\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\nSeccomp:\t%d\n"
        % (
            name,
            status.tracer_pid,
            status.uid,
            b"\t".join(b"%d" % pid for pid in status.ns_pid),
            status.blocked,
            status.ignored,
            status.caught,
            status.seccomp,
        )
    )


STATS = st.builds(
    procfs.Stat,
    NUMBERS,
    NAMES,
    st.sampled_from("RSDZTtXI"),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.integers(0, 2**64 - 1),
    NUMBERS,
)
STATUSES = st.builds(
    procfs.Status,
    NUMBERS,
    NUMBERS,
    st.lists(NUMBERS, min_size=1, max_size=32).map(tuple),
    MASKS,
    MASKS,
    MASKS,
    st.integers(0, 2),
)


@given(STATS)
def test_stat_is_read_back_whatever_the_name(stat):
    assert procfs.parse_stat(stat_line(stat)) == stat


def test_name_cannot_pose_as_the_fields_after_it():
    hostile = procfs.Stat(7, b"x) Z 1 1 1 1 1", "S", 3, 0, 1, 99)
    assert procfs.parse_stat(stat_line(hostile)) == hostile


@given(
    st.binary(max_size=300)
    | STATS.map(stat_line).flatmap(
        lambda line: st.integers(0, len(line)).map(lambda end: line[:end])
    )
)
def test_what_is_no_stat_line_raises_only_value_error(data):
    try:
        procfs.parse_stat(data)
    except ValueError:
        pass


@given(STATUSES)
def test_status_is_read_back(status):
    assert procfs.parse_status(status_text(status)) == status


# The kernel escapes newlines in this one place (string_escape_str in fs/proc/array.c), so the name
# stays on its line.
@given(STATUSES, NAMES.map(lambda name: name.replace(b"\n", b"\\n")))
def test_name_cannot_pose_as_another_field_of_status(status, name):
    assert procfs.parse_status(status_text(status, name + b"Uid:\t4711")) == status


@given(
    st.binary(max_size=300)
    | STATUSES.map(status_text).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
            lambda cut: text[: cut[0]] + text[max(cut) :]
        )
    )
)
def test_what_is_no_status_raises_only_value_error(data):
    try:
        status = procfs.parse_status(data)
    except ValueError:
        return
    assert status.ns_pid, "a process has a PID in at least one namespace"


@pytest.mark.parametrize("field", [b"Uid", b"TracerPid", b"NSpid", b"SigBlk", b"SigIgn", b"SigCgt"])
@pytest.mark.parametrize("what", ["missing", "empty"])
def test_status_without_a_field_is_a_value_error(field, what):
    lines = status_text(procfs.Status(0, 0, (1,), 0, 0, 0, 0)).split(b"\n")
    changed = [line for line in lines if not line.startswith(field)]
    if what == "empty":
        changed.append(field + b":\t")
    with pytest.raises(ValueError):
        procfs.parse_status(b"\n".join(changed))


def test_kernel_without_seccomp_has_no_such_field():
    status = procfs.Status(0, 0, (1,), 0, 0, 0, 2)
    assert procfs.parse_status(
        status_text(status).replace(b"Seccomp:\t2\n", b"")
    ) == status._replace(seccomp=0)


@given(st.binary(max_size=300))
def test_cgroup_never_raises(data):
    procfs.parse_cgroup(data)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "pids", "cpu,cpuacct", "name=systemd"]), PATHS),
        unique_by=lambda line: line[0],
    )
)
def test_cgroup_is_read_back_with_version_2_first(lines):
    text = "".join("%d:%s:%s\n" % (number, *line) for number, line in enumerate(lines))
    read = procfs.parse_cgroup(text.encode())
    assert sorted(read) == sorted((name, path.removesuffix(" (deleted)")) for name, path in lines)
    assert "" not in [line.controllers for line in read[1:]]


def test_cgroup_path_keeps_its_colons_and_bytes_and_loses_the_mark_of_a_removed_cgroup():
    lines = procfs.parse_cgroup(b"3:pids:/a:b:c\n0::/gone\xff (deleted)\n")
    assert lines == (procfs.CgroupLine("", "/gone\udcff"), procfs.CgroupLine("pids", "/a:b:c"))


@contextmanager
def child(run, is_zombie=False):
    """A child process that calls run() and then sleeps, or exits and becomes a zombie."""
    at_work, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os.write(done, b"x")
            if not is_zombie:
                signal.pause()
        finally:
            os._exit(0)
    try:
        assert os.read(at_work, 1) == b"x"
        if is_zombie:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        yield pid
    finally:
        os.close(at_work)
        os.close(done)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def rename(name):
    with open("/proc/self/comm", "wb") as file:
        file.write(name)


@pytest.mark.parametrize(
    "name",
    [
        b"npm start",
        b") Z 1 (",
        b"a\nUid:\t0",
        b"\xff\xfe",
        b"(((",
        b")))",
        b" ",
        b"fifteen bytes !",
        b"\\n",
    ],
)
@pytest.mark.parametrize("is_zombie", [False, True])
def test_real_process_is_read_as_psutil_reads_it(name, is_zombie):
    with child(lambda: rename(name), is_zombie) as pid:
        proc, witness = procfs.ProcFS(), psutil.Process(pid)
        stat, status = proc.stat(pid), proc.status(pid)
        assert stat.pid == pid
        assert stat.comm == name
        assert stat.ppid == witness.ppid() == os.getpid()
        assert (stat.state == "Z") == (witness.status() == psutil.STATUS_ZOMBIE) == is_zombie
        assert stat.num_threads == witness.num_threads()
        ticks = os.sysconf("SC_CLK_TCK")
        assert abs(psutil.boot_time() + stat.start_ticks / ticks - witness.create_time()) < 2
        assert status.uid == witness.uids().real
        assert status.ns_pid == (pid,) and status.in_own_pid_namespace
        assert (pid in [zombie.pid for zombie in proc.zombies()]) == is_zombie
        assert proc.pid_namespace(pid) == os.stat("/proc/self/ns/pid").st_ino
        if is_zombie:
            assert proc.executable(pid) is None
            assert proc.command_line(pid) == b""
        else:
            assert os.fsdecode(proc.executable(pid)) == witness.exe()
            assert proc.command_line(pid).rstrip(b"\0").split(b"\0") == [
                os.fsencode(word) for word in witness.cmdline()
            ]


@pytest.mark.parametrize("is_zombie", [False, True])
def test_process_in_every_group_that_there_can_be_is_still_read(is_zombie):
    # Its groups take 0.7 MB of /proc/PID/status and stand before the fields that the engine needs.
    with child(lambda: os.setgroups(range(2**32 - 2 - 65536, 2**32 - 2)), is_zombie) as pid:
        assert procfs.ProcFS().status(pid).ns_pid == (pid,)


def test_long_command_line_is_read_in_part():
    assert (
        procfs.ProcFS().command_line(os.getpid(), 3)
        == procfs.ProcFS().command_line(os.getpid())[:3]
    )


def test_process_that_is_gone_is_none_or_empty():
    with child(lambda: None) as pid:
        pass
    proc = procfs.ProcFS()
    assert [
        proc.stat(pid),
        proc.status(pid),
        proc.command_line(pid),
        proc.executable(pid),
        proc.pid_namespace(pid),
    ] == [None] * 5
    assert proc.cgroup(pid) == ()


def test_process_that_goes_while_the_table_is_read_is_passed_over(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "8").mkdir()
    (tmp_path / "9").mkdir()
    (tmp_path / "sys").mkdir()
    zombie = procfs.Stat(8, b"sh", "Z", 1, 0, 1, 5)
    (tmp_path / "8/stat").write_bytes(stat_line(zombie))
    (tmp_path / "9/stat").write_bytes(stat_line(zombie._replace(pid=9, state="S")))
    proc = procfs.ProcFS(str(tmp_path))
    assert list(proc.zombies()) == [zombie]
    assert sorted(proc.pids()) == [7, 8, 9]


def test_cgroup_path_that_the_kernel_refuses_to_show_is_no_path(monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.ENAMETOOLONG, "File name too long")

    monkeypatch.setattr(procfs.ProcFS, "_read", refuse)
    assert procfs.ProcFS().cgroup(1) == ()


VDSO_LINE = re.compile(r"^([0-9a-f]+)-[0-9a-f]+ .* \[vdso\]$", re.MULTILINE)


def test_vdso_is_where_the_kernel_s_map_has_it():
    with child(lambda: None) as pid:
        (start,) = VDSO_LINE.findall(Path(f"/proc/{pid}/maps").read_text(encoding="ascii"))
        proc = procfs.ProcFS()
        assert proc.vdso_address(pid) == int(start, 16)
        assert proc.memory(pid, proc.vdso_address(pid), 4) == b"\x7fELF"


@pytest.mark.parametrize(
    "entries, address",
    [
        ([], None),
        ([(6, 4096), (0, 0)], None),
        ([(33, 0)], None),
        ([(6, 4096), (33, 0x7FFF00000000), (0, 0)], 0x7FFF00000000),
    ],
)
def test_vdso_of_a_process_that_has_none(tmp_path, entries, address):
    (tmp_path / "7").mkdir()
    vector = b"".join(number.to_bytes(8, sys.byteorder) for entry in entries for number in entry)
    (tmp_path / "7/auxv").write_bytes(vector)
    assert procfs.ProcFS(str(tmp_path)).vdso_address(7) == address
    (tmp_path / "7/auxv").write_bytes(vector[:-1])
    procfs.ProcFS(str(tmp_path)).vdso_address(7)


def test_memory_is_read_as_far_as_it_goes():
    page, before_the_hole = mmap.PAGESIZE, 5
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    start = libc.mmap(
        None,
        ctypes.c_size_t(2 * page),
        mmap.PROT_READ | mmap.PROT_WRITE,
        mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
        -1,
        0,
    )
    libc.munmap(ctypes.c_void_p(start + page), ctypes.c_size_t(page))
    ctypes.memmove(start + page - before_the_hole, b"12345", before_the_hole)
    with child(lambda: None) as pid:
        proc, address = procfs.ProcFS(), start + page - before_the_hole
        assert proc.memory(pid, address, 3) == b"123"
        assert proc.memory(pid, address, 4096) == b"12345"
        assert proc.memory(pid, start + page, 1) is None
        for nowhere in (0, 2**47, 2**63, 2**64 - 1, 2**64, 2**80):
            assert proc.memory(pid, nowhere, 8) is None
        assert Path(f"/proc/{pid}/maps").exists(), "it lives on"
    libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(page))


def test_zombie_and_process_that_is_gone_have_neither_memory_nor_vdso():
    with child(lambda: None, is_zombie=True) as pid:
        proc = procfs.ProcFS()
        assert proc.vdso_address(pid) is None
        assert not proc.memory(pid, 4096, 8)
    assert (proc.vdso_address(pid), proc.memory(pid, 4096, 8)) == (None, None)


def test_memory_loses_no_descriptor():
    before = os.listdir("/proc/self/fd")
    assert procfs.ProcFS().memory(os.getpid(), 0, 8) is None
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("text, scope", [("3\n", "3"), ("0\n", "0"), (None, None)])
def test_yama_scope(tmp_path, text, scope):
    if text is not None:
        (tmp_path / "sys/kernel/yama").mkdir(parents=True)
        (tmp_path / "sys/kernel/yama/ptrace_scope").write_text(text, encoding="ascii")
    assert procfs.ProcFS(str(tmp_path)).yama_scope() == scope


@contextmanager
def pidfd_of(pid):
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("is_zombie", [False, True])
def test_pidfd_tells_the_pid_in_every_namespace(is_zombie):
    with child(lambda: None, is_zombie) as pid, pidfd_of(pid) as pidfd:
        assert procfs.ProcFS().ns_pid_of(pidfd) == procfs.ProcFS().status(pid).ns_pid == (pid,)


def test_pidfd_tells_the_pid_in_a_namespace_below_too(tmp_path):
    node = Node(tmp_path)
    try:
        process = node.container("ready()\nforever()").process
        with pidfd_of(process.pid) as pidfd:
            ns_pid = procfs.ProcFS().ns_pid_of(pidfd)
            assert list(ns_pid) == ns_pids(process.pid)
            assert (ns_pid[0], ns_pid[-1], len(ns_pid)) == (process.pid, 1, 3)
    finally:
        node.stop()


def test_pidfd_of_a_zombie_that_was_waited_for_tells_none():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    with pidfd_of(pid) as pidfd:
        os.waitpid(pid, 0)
        assert procfs.ProcFS().ns_pid_of(pidfd) == ()


@pytest.mark.parametrize("pid, expected", [(8, (8, 3)), (9, ()), (-1, ())])
def test_pidfd_on_a_kernel_that_tells_its_pid_only(tmp_path, pid, expected):
    """Before Linux 5.5: the rest is in the status of that process, if it is still there."""
    (tmp_path / "self/fdinfo").mkdir(parents=True)
    (tmp_path / "self/fdinfo/5").write_text(
        f"pos:\t0\nflags:\t02000002\nPid:\t{pid}\n", encoding="ascii"
    )
    (tmp_path / "8").mkdir()
    (tmp_path / "8/status").write_bytes(status_text(procfs.Status(0, 0, (8, 3), 0, 0, 0, 0)))
    assert procfs.ProcFS(str(tmp_path)).ns_pid_of(5) == expected


ENVIRON = (
    b"A=1\0MY_AKASH_OWNER=mine\0AKASH_OWNER=first\0AKASH_OWNER=second\0=x\0NOT\0B=b=c\0AKASH=3\0AKASH_OWNERS=4\0LONG="
    + b"x" * 1000
    + b"\0EMPTY=\0\xff=\xfe\0LAST=9"
)


def environment_of(directory, data, *names):
    (directory / "7").mkdir(exist_ok=True)
    (directory / "7/environ").write_bytes(data)
    return procfs.ProcFS(str(directory)).environment(7, names)


@pytest.mark.parametrize(
    "names, expected",
    [
        ([], {}),
        ([b"AKASH_OWNER"], {b"AKASH_OWNER": b"first"}),
        ([b"AKASH"], {b"AKASH": b"3"}),
        ([b"B"], {b"B": b"b=c"}),
        ([b"NOT"], {}),
        ([b"EMPTY", b"LAST", b"NONE"], {b"EMPTY": b"", b"LAST": b"9"}),
        ([b"LONG"], {b"LONG": b"x" * 256}),
        ([b"\xff"], {b"\xff": b"\xfe"}),
    ],
)
def test_only_the_variables_that_were_asked_for_are_returned_and_the_first_counts(
    tmp_path, names, expected
):
    assert environment_of(tmp_path, ENVIRON, *names) == expected


@given(st.binary(max_size=300), st.lists(st.binary(max_size=3), max_size=3))
def test_any_environment_is_read(tmp_path_factory, data, names):
    found = environment_of(tmp_path_factory.getbasetemp(), data, *names)
    assert set(found) <= set(names)


def test_environment_of_a_real_process():
    """As long as an environment may be, in one read."""
    given_ = {"AKASH_OWNER": "akash1x", "LONG": "y" * 100000, "AKASH_PROVIDER": "akash1z"}
    sleeping = subprocess.Popen(["/bin/sleep", "1000"], env=given_)
    try:
        found = wait_until(
            lambda: procfs.ProcFS().environment(sleeping.pid, [b"AKASH_PROVIDER", b"LONG", b"HOME"])
        )
        assert found == {b"AKASH_PROVIDER": b"akash1z", b"LONG": b"y" * 256}
    finally:
        sleeping.kill()
        sleeping.wait()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EPERM, errno.ENOMEM])
def test_environment_that_is_refused_is_none(monkeypatch, number):
    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(procfs.ProcFS, "_read", refuse)
    assert procfs.ProcFS().environment(1, [b"HOME"]) == {}


def test_environment_of_what_has_none():
    real = procfs.ProcFS()
    with child(lambda: None, is_zombie=True) as pid:
        assert real.environment(pid, [b"PATH"]) == {}
    assert real.environment(pid, [b"PATH"]) == {}


@pytest.mark.parametrize("told", [True, False])
def test_children_by_the_kernel_s_own_list_or_by_the_table(monkeypatch, told):
    real = procfs.ProcFS()
    if not told:
        read = real._read
        monkeypatch.setattr(
            real,
            "_read",
            lambda pid, name, *most: None if name.endswith("/children") else read(pid, name, *most),
        )
    with child(lambda: None) as living, child(lambda: None, is_zombie=True) as zombie:
        assert sorted(real.children(os.getpid())) == sorted(
            each.pid for each in psutil.Process().children()
        )
        assert {living, zombie} <= set(real.children(os.getpid()))
        assert real.children(zombie) == real.children(living) == []
    assert {living, zombie} & set(real.children(os.getpid())) == set()
    assert real.children(living) == []


def test_children_that_the_kernel_lists(tmp_path):
    (tmp_path / "7/task/7").mkdir(parents=True)
    for text, expected in ((b"", []), (b"8 ", [8]), (b"8 9 10 ", [8, 9, 10])):
        (tmp_path / "7/task/7/children").write_bytes(text)
        assert procfs.ProcFS(str(tmp_path)).children(7) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "61 0xffffffffffffffff 0x7ffc 0x0 0x0 0x0 0x0 0x7ffc00 0x7fb2\n",
            (61, 2**64 - 1, 0x7FFC, 0, 0, 0, 0),
        ),
        ("0 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffc00 0x7fb2\n", (0, 3, 0, 0, 0, 0, 0)),
        ("running\n", None),
        ("-1 0x7ffc00 0x7fb2\n", None),
        ("", None),
        ("61 0x0\n", None),
        ("a b c d e f g h i\n", None),
        ("61 0x 0 0 0 0 0 0 0\n", None),
    ],
)
def test_system_call(tmp_path, text, expected):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/syscall").write_text(text, encoding="ascii")
    assert procfs.ProcFS(str(tmp_path)).system_call(7) == expected


def test_system_call_of_real_processes(monkeypatch):
    real = procfs.ProcFS()
    with child(lambda: None) as pid:  # in pause(2), or what the kernel has for it
        number, *rest = wait_until(lambda: real.system_call(pid))
        assert number >= 0 and len(rest) == 6
    assert real.system_call(pid) is None
    with child(lambda: None, is_zombie=True) as pid:
        assert real.system_call(pid) is None

    def denied(*_arguments):
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(procfs.ProcFS, "_read", denied)
    assert real.system_call(1) is None


@pytest.mark.parametrize(
    "permitted, bounding, expected",
    [(0, 0, 0), (1, 0, 1), (0, 1 << 19, 1 << 19), (1 << 21, 1 << 19, 1 << 21 | 1 << 19)],
)
def test_capabilities_that_it_has_or_could_come_to_have(permitted, bounding, expected):
    text = status_text(
        procfs.Status(0, 0, (1,), 0, 0, 0, 0)
    ) + b"CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n" % (
        1 << 5,
        permitted,
        1 << 6,
        bounding,
    )
    assert procfs.parse_status(text).capabilities == expected


def test_capabilities_of_a_real_process():
    """As setpriv leaves them: bounding set and permitted set told apart from the whole."""
    for flags, kept in (
        (["--bounding-set=-all", "--inh-caps=-all", "--reuid=1", "--clear-groups"], 0),
        (
            ["--bounding-set=-all,+sys_ptrace", "--inh-caps=-all", "--reuid=1", "--clear-groups"],
            1 << 19,
        ),
        (["--bounding-set=-all,+kill"], 1 << 5),
    ):
        with subprocess.Popen(
            ["setpriv", *flags, "sh", "-c", "echo ready; read end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            found = procfs.ProcFS().status(process.pid).capabilities
            assert found == kept, hex(found)


FIRST_THREAD_EXITS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(10000,)).start()
ctypes.CDLL(None).syscall(%d, 0)  # exit(2) of this thread alone
""" % SYSTEM_CALLS["exit"]


def test_a_process_exits_with_its_last_thread():
    proc = procfs.ProcFS()
    with subprocess.Popen([sys.executable, "-IS", "-c", FIRST_THREAD_EXITS]) as running:
        try:
            wait_until(lambda: proc.stat(running.pid).state == "Z")
            assert not proc.is_exiting(running.pid), "another thread lives"
            assert not proc.is_exiting(os.getpid())
        finally:
            running.kill()
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        assert proc.is_exiting(running.pid), "a zombie"
    assert proc.is_exiting(running.pid), "it has gone"


@pytest.mark.parametrize("kind", ["pid", "net", "user"])
def test_namespaces_are_those_that_the_kernel_names(kind):
    real = procfs.ProcFS()
    with child(lambda: None) as pid:
        inode = int(os.readlink(f"/proc/{pid}/ns/{kind}").partition("[")[2].rstrip("]"))
        opened = real.open_namespace(pid, kind)
        try:
            assert os.fstat(opened).st_ino == inode
        finally:
            os.close(opened)
        assert {"pid": real.pid_namespace, "user": real.user_namespace}.get(
            kind, lambda _pid: inode
        )(pid) == inode
    assert real.user_namespace(pid) is None
    with pytest.raises(OSError):
        real.open_namespace(pid, kind)


def test_threads_are_told_one_by_one(tmp_path):
    """A process with a thread that blocks SIGCHLD and sleeps in select, and a first one that
    catches it and reads.
    """
    code = """
import os, select, signal, threading
signal.signal(signal.SIGCHLD, lambda *_: None)
def sleep():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    os.write(1, b".")
    select.select([], [], [])
threading.Thread(target=sleep, daemon=True).start()
os.read(0, 1)
"""
    program = subprocess.Popen(
        [sys.executable, "-IS", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert program.stdout.read(1) == b"."
        real = procfs.ProcFS()
        chld = 1 << (signal.SIGCHLD - 1)
        first, second = wait_until(
            lambda: (
                all(thread.system_call for thread in real.threads(program.pid, 9))
                and real.threads(program.pid, 9)
            )
        )
        assert first.tid == program.pid and second.tid != program.pid
        assert [thread.blocked & chld for thread in (first, second)] == [0, chld]
        assert [thread.caught & chld for thread in (first, second)] == [chld, chld]
        assert (
            first.system_call == real.system_call(program.pid)
            and first.system_call != second.system_call
        )
        assert real.threads(program.pid, 9) == [first, second], "none of them has run"
        assert real.threads(program.pid, 1) == [first]
        os.kill(program.pid, signal.SIGCHLD)
        wait_until(lambda: real.threads(program.pid, 1)[0].runs != first.runs)
    finally:
        program.kill()
        program.communicate()
    assert real.threads(program.pid, 9) == []


def test_system_calls_of_a_32_bit_program_are_not_taken_for_others(tmp_path):
    """Its stack is below 4 GB; waitpid has the number there that poll has elsewhere."""
    for name, line in (
        ("stat", "7 (x) S" + " 0" * 40),
        ("schedstat", "1 2 3"),
        ("syscall", "7 0xffffffff 0x0 0x0 0x0 0x0 0x0 0xffb1c2d0 0xf7f1a579"),
    ):
        (tmp_path / "7/task/7").mkdir(parents=True, exist_ok=True)
        (tmp_path / "7/task/7" / name).write_text(line + "\n")
    assert procfs.ProcFS(str(tmp_path)).threads(7, 9) == [procfs.Thread(7, 0, 0, 3, None)]
    (tmp_path / "7/task/7/syscall").write_text("running\n")
    (tmp_path / "7/task/7/schedstat").unlink()
    assert procfs.ProcFS(str(tmp_path)).threads(7, 9) == [
        procfs.Thread(7, 0, 0, None, procfs.RUNNING)
    ]
