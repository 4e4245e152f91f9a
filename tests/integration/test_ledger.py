"""The ledger against the machine: random trees of real processes, counted by it, by each way to find zombies, and by psutil."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import re
import subprocess
import time

import psutil
import pytest
from rig.node import Node, Program, wait_until
from rig.own_cgroup import ROOT, UNIFIED, own_cgroup

from ansible_collections.provider.fleet.plugins.module_utils.reaper import cgroups, zombies
from ansible_collections.provider.fleet.plugins.module_utils.reaper.procfs import ProcFS

TREES = int(os.environ.get("REAPER_TREES", "10"))
QUIET = 50  # looks at which nothing of the machine began or ended, and that yet tell something else than psutil
PATIENCE, IN_ALL = 15, 60  # seconds until such a moment; and with all of these tests
NOISY = []  # seconds for which there was none
PROCFS = ProcFS()

ENTER = """
def enter(folder):
    with open(folder + "/cgroup.procs", "w") as file:
        file.write("0")
"""
# What a tree is made of: code of one process. number: of zombies. own, below: folders of cgroups, where it has some
SHAPES = {
    "classic": "for _ in range({number}): zombie()",
    "children of threads": """
for _ in range({number}):
    keep = threading.Event()
    def work():
        zombie()
        keep.set()
        forever()
    threading.Thread(target=work, daemon=True).start()
    keep.wait()
""",
    "leaders that are dead while threads live": """
for _ in range({number}):
    child = os.fork()
    if child == 0:
        threading.Thread(target=forever).start()
        ctypes.CDLL(None).syscall(60, 0)
    while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
""",
    "adopted": """
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
for _ in range({number}):
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0)
        os.waitid(os.P_PID, grandchild, os.WEXITED | os.WNOWAIT)
        os._exit(0)
    os.waitpid(child, 0)
""",
    "threads that live": """
for _ in range(5): threading.Thread(target=forever, daemon=True).start()
for _ in range({number}): zombie()
""",
    "zombies in a cgroup below": "for _ in range({number}): zombie(lambda: enter({below!r}))",
    "a parent that moved on": """
for _ in range({number}): zombie()
enter({below!r})
""",
    "a cgroup that was removed": """
for _ in range({number}): zombie(lambda: enter({below!r}))
os.rmdir({below!r})
""",
    "a parent that cgroups have nothing of": "for _ in range({number}): zombie(lambda: enter({own!r}))",
}


def remove(group):
    """A process that is about to end is listed no more, and yet its cgroup is not empty."""
    for folder in sorted(group.folder.glob("**/"), reverse=True):
        wait_until(lambda folder=folder: removed(folder), 60)


def removed(folder) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


class Tree:
    """Random processes in random cgroups and PID namespaces, as many as it says; all of one node."""

    def __init__(self, folder, seed, stack):
        self.random = random.Random(seed)
        self.stack = stack
        self.node = Node(folder)
        self.groups = []
        for controller in ("pids", ""):
            with contextlib.suppress(pytest.skip.Exception):
                self.groups.append(stack.enter_context(own_cgroup(controller)))
        for group in self.groups:
            stack.callback(remove, group)
        stack.callback(self.node.stop)
        self.made = [self.grow(number) for number in range(self.random.randint(2, 6))]

    def grow(self, number):
        shape = self.random.choice(list(SHAPES))
        group = self.random.choice(self.groups).below("t%d" % number)
        if "{below" in SHAPES[shape] or self.random.random() < 0.3:
            group.below("b")
        entering = [] if shape == "a parent that cgroups have nothing of" else self.random.choice([group.entering, group.entering, []])
        in_container = self.random.random() < 0.5
        inner = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if in_container else []
        code = ENTER + SHAPES[shape].format(number=self.random.randint(1, 9), own=str(group.folder), below=str(group.folder / "b"))
        program = Program([*self.node.enter, *entering, *inner], code + "\nready()\nforever()", depth=1 + in_container)
        self.node.programs.append(program)
        return "%s%s%s" % (shape, " in a container" * in_container, " in a cgroup of version %d" % group.version if entering else "")


def seen_by_psutil() -> set:
    """(PID, start) of each zombie of the machine."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_ZOMBIE:
                found.add((process.pid, process.create_time()))
    return found


def while_nothing_changes(look, agrees):
    """Fails unless agrees(what look() says, PIDs of all zombies) at a moment at which nothing changes.

    Other processes of the machine come and go: they may make a number too high for once, and then it is tried again. Never too low. On a machine
    that has no quiet moment for very long no more than that is shown. One that is about to end, and gets no CPU, is listed no more and not yet
    a zombie, so not each quiet moment counts.
    """
    began, wrong = time.monotonic(), []
    deadline = began + (PATIENCE if sum(NOISY) < IN_ALL else 1)
    while time.monotonic() < deadline or wrong:
        tasks, before = cgroups.Ledger(str(ROOT), PROCFS).tasks(), seen_by_psutil()
        said = look()
        if before == seen_by_psutil():
            pids = {pid for pid, _start in before}
            if agrees(said, pids):
                return
            if tasks == cgroups.Ledger(str(ROOT), PROCFS).tasks():
                wrong.append((said, len(pids)))
                assert len(wrong) < QUIET or time.monotonic() < deadline, "never as psutil sees it: %r" % wrong
            elif time.monotonic() > deadline:
                break
        elif time.monotonic() > deadline:
            break
        time.sleep(0.02)
    NOISY.append(time.monotonic() - began)
    print("no quiet moment: nothing is shown of %r" % look)


def count_is_right(said, pids) -> bool:
    assert said is None or said >= len(pids), "too low: %r of %d" % (said, len(pids))
    return said == len(pids)


def pids_of(found) -> set:
    return {stat.pid for stat in found.stats}


WAYS = set()


def found_is_right(found, pids) -> bool:
    WAYS.add(found.way)
    return pids_of(found) == pids and not found.more


def same_as_scanned(both, pids) -> bool:
    """Whichever way it took, all that is told of each zombie is the same."""
    found, scanned = both
    return {stat.pid: stat for stat in found.stats} == {stat.pid: stat for stat in scanned} and pids_of(found) == pids


@pytest.mark.parametrize("seed", range(TREES))
def test_a_random_tree_is_counted_and_found_as_psutil_does(tmp_path, seed):
    with contextlib.ExitStack() as stack:
        tree = Tree(tmp_path, seed, stack)
        print(tree.made)
        kept = cgroups.Ledger(str(ROOT), PROCFS, keep=True)
        stack.callback(kept.close)
        for ledger in (cgroups.Ledger(str(ROOT), PROCFS), kept):
            while_nothing_changes(ledger.zombies, count_is_right)
            while_nothing_changes(lambda ledger=ledger: zombies.find(PROCFS, ledger), found_is_right)
        while_nothing_changes(lambda: (zombies.find(PROCFS, kept), PROCFS.zombies()), same_as_scanned)
        for program in tree.node.programs:
            while_one_goes(program, kept)


def while_one_goes(program, ledger):
    """After each that ends, a ledger that was kept open is right again."""
    program.stop()
    while_nothing_changes(ledger.zombies, count_is_right)


def test_both_other_ways_were_taken():
    if not {zombies.SCAN, zombies.CHILDREN} <= WAYS:
        pytest.skip("too few trees, or others of this machine have zombies, or it has no cgroups that count tasks: %s" % sorted(WAYS))


@pytest.mark.parametrize("shape, accounts_for_all", [
    ("classic", True), ("children of threads", True), ("leaders that are dead while threads live", True), ("adopted", True),
    ("zombies in a cgroup below", False), ("a parent that moved on", False)])
def test_children_alone_are_believed_only_where_they_account_for_all(tmp_path, shape, accounts_for_all):
    """The parent is in a cgroup without zombies, which is not looked into: the children that are found are too few."""
    with contextlib.ExitStack() as stack:
        node = Node(tmp_path)
        group = stack.enter_context(own_cgroup("pids"))
        stack.callback(remove, group)
        stack.callback(node.stop)
        group.below("a").below("b")
        group.below("c")
        code = ENTER + SHAPES[shape].format(number=3, own=str(group.folder), below=str(group.folder / ("a/b" if "below" in shape else "c")))
        start = cgroups_entering(group.folder / "a")
        node.programs.append(Program([*node.enter, *start], code + "\nready()\nforever()", depth=1))
        ledger = cgroups.Ledger(str(ROOT), PROCFS)
        ours = {stat.pid for stat in PROCFS.zombies() if stat.ppid == node.programs[0].process.pid}
        assert len(ours) == 3

        if accounts_for_all:  # other zombies of the machine may be of the kind that is not
            wait_until(lambda: dict(ledger.holding() or ()).get(str(group.folder / "a")) == 3)
            children, more = PROCFS.zombie_children(node.programs[0].process.pid, 10)
            assert ({stat.pid for stat in children}, more) == (ours, False)
        else:
            by_children = [zombies._among_children(PROCFS, ledger, ledger.zombies()) for _try in range(20)]
            missing = [found for found in by_children if found and not ours <= pids_of(found)]
            assert len(missing) < 10, "others that begin between two looks may make up for them once in a while, and no more"
            while_nothing_changes(lambda: zombies.find(PROCFS, ledger), lambda found, pids: pids_of(found) == pids and ours <= pids)


def cgroups_entering(folder):
    return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(folder)]


MANY = 10000
THREADS = """
threading.stack_size(32768)
for _ in range(%d):
    threading.Thread(target=forever, daemon=True).start()
for _ in range(7):
    zombie()
ready()
forever()
""" % (MANY - 1)


def test_lists_longer_than_a_page_and_cgroups_that_come_and_go(tmp_path):
    """10,000 tasks in one cgroup. What is kept open is opened anew when a cgroup comes, and closed when one goes."""
    if UNIFIED is None:
        pytest.skip("this machine has no cgroup version 2")
    node = Node(tmp_path)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(own_cgroup(""))
        stack.callback(remove, group)
        pids = stack.enter_context(own_cgroup("pids")) if (ROOT / "pids").exists() else None
        if pids:
            stack.callback(remove, pids)
        stack.callback(node.stop)
        inside = group.below("many")
        both = [*inside.entering, *(pids.entering if pids else [])]
        program = Program([*node.enter, *both], THREADS, depth=1)
        node.programs.append(program)
        kept = cgroups.Ledger(str(ROOT), PROCFS, keep=True)
        stack.callback(kept.close)
        once = cgroups.Ledger(str(ROOT), PROCFS)
        for ledger in (once, kept):
            while_nothing_changes(ledger.zombies, count_is_right)
        if pids:  # the lists of version 1
            wait_until(lambda: dict(once.holding() or ()).get(str(pids.folder)) == 7)
            by_tasks = cgroups.Ledger(str(ROOT), PROCFS, keep=True)
            by_tasks.folder, by_tasks.list_name, by_tasks.keep = str(ROOT / "pids"), "tasks", False
            while_nothing_changes(by_tasks.zombies, count_is_right)
        for turn in range(20):
            added = group.below("comes-%d" % turn)
            mover = node.program("ready()\nforever()")
            added.add(mover.process.pid)
            while_nothing_changes(kept.zombies, count_is_right)
            mover.stop()
            wait_until(lambda added=added: not added.read("cgroup.procs"))
            if turn % 2:
                added.folder.rmdir()
            while_nothing_changes(kept.zombies, count_is_right)
        ours = sorted("%s/cgroup.threads" % folder for folder in [group.folder, *group.folder.iterdir()] if folder.is_dir())
        assert len(ours) == 2 + 10
        wait_until(lambda: kept.zombies() is not None and [path for path in descriptors_of_lists() if path.startswith(str(group.folder))] == ours)
        program.stop()
        while_nothing_changes(kept.zombies, count_is_right)
        kept.close()
        assert descriptors_of_lists() == []


def descriptors_of_lists() -> list:
    """Lists of tasks that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            path = os.readlink("/proc/self/fd/" + fd)
            if path.endswith("/cgroup.threads"):
                found.append(path)
    return sorted(found)


def test_a_list_of_version_1_is_never_one_of_before(tmp_path):
    """Where a list stays open, the kernel may tell it as it was a while ago: a process that has become a zombie since would be hidden."""
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(own_cgroup("pids"))
        stack.callback(remove, group)
        if group.version != 1:
            pytest.skip("this machine has no cgroup version 1")
        node = Node(tmp_path)
        stack.callback(node.stop)
        program = Program([*node.enter, *group.entering], """
child = os.fork()
if child == 0:
    forever()
ready()
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
ready()
forever()
""", depth=1)
        node.programs.append(program)
        fake = tmp_path / "cgroup"
        fake.mkdir()
        (fake / "pids").symlink_to(group.folder)
        ledger = cgroups.Ledger(str(fake), PROCFS, keep=True)
        stack.callback(ledger.close)
        child, = program.process.children()
        wait_until(lambda: ledger._listed() == 2)
        for _look in range(10):  # each keeps a list that stays open as it is for a second more
            assert ledger._listed() == 2
        child.kill()
        assert program.popen.stdout.readline() == b"ready\n"
        assert ledger._listed() == 1


LOOKED_AT = re.compile(r'openat\(AT_FDCWD, "/proc/(\d+)/')


def opened(trace) -> set:
    """PIDs below ``/proc`` that the sweep opened anything of, but for its own."""
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    own = {line.split()[0] for line in lines}
    return {int(pid) for line in lines for pid in LOOKED_AT.findall(line)} - {int(pid) for pid in own}


def traced_sweep(node, trace, *before):
    flags = ("--json", "--remedies", "")
    command = [*before, "strace", "-f", "-q", "-e", "trace=openat,open,fork,vfork,clone,clone3,execve", "-o", str(trace),
               *node.agent_command(*flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# With /proc/loadavg and /sys/fs/cgroup made by hand, in a mount namespace of their own, as a machine without a zombie would have them
FAKED = """
set -e
mount --make-rprivate /
mount -t tmpfs none /sys/fs/cgroup
seq 1 9 >/sys/fs/cgroup/cgroup.threads
echo "0.00 0.00 0.00 1/9 77" >"$0"
mount --bind "$0" /proc/loadavg
exec "$@"
"""


def test_a_sweep_whose_ledger_shows_nothing_reads_no_process_but_itself_and_pid_1(tmp_path):
    node = Node(tmp_path)
    try:
        trace = tmp_path / "trace"
        for _try in range(20):  # a moment at which the machine has no zombie
            result = traced_sweep(node, trace)
            if result["found_by"] == "ledger":
                print("on this machine as it is")
                break
            assert opened(trace), "the trace shows no process, although all were read"
            time.sleep(0.2)
        else:
            print("this machine has zombies all the time: shown with a ledger made by hand")
            result = traced_sweep(node, trace, "unshare", "--mount", "sh", "-c", FAKED, str(tmp_path / "loadavg"))
        assert result["found_by"] == "ledger"
        assert result["zombies"]["count"] == 0
        assert opened(trace) <= {1}
        text = trace.read_text(encoding="utf-8")
        assert len(re.findall(r"\bexecve\(", text)) == 1 and not re.search(r"\b(v?fork|clone3?)\(", text)
    finally:
        node.stop()


def test_the_way_is_said(node):
    node.container("zombie()\nready()\nforever()")
    assert node.sweep("--check")["found_by"] in ("children", "scan")
