"""The ledger against the kernel: random trees of real processes, counted by it, by each way to find
zombies, and by psutil.

Each node has cgroups of its own, and it is in the node that all of them are asked. So whatever else
the machine has and does shows nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import zombies
from rig.node import ENGINE, Node, Program, wait_until
from rig.own_cgroup import ROOT, UNIFIED, entering, own_cgroup

TREES = int(os.environ.get("REAPER_TREES", "10"))
TIMEOUT = 60  # seconds for what the kernel passes through
PROCFS = ProcFS()

ENTER = """
def enter(directory):
    with open(directory + "/cgroup.procs", "w") as file:
        file.write("0")
"""
# What a tree is made of: code of one process. number: of zombies. own, below: directories of cgroups,
# where it has some
SHAPES = {
    "classic": "for _ in range({number}): zombie()",
    "children of threads": (
        """
for _ in range({number}):
    keep = threading.Event()
    def work():
        zombie()
        keep.set()
        forever()
    threading.Thread(target=work, daemon=True).start()
    keep.wait()
"""
    ),
    "leaders that are dead while threads live": (
        """
for _ in range({number}):
    child = os.fork()
    if child == 0:
        threading.Thread(target=forever).start()
        exit_thread()
    while open("/proc/%d/stat" % child).read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
"""
    ),
    "adopted": (
        """
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
"""
    ),
    "threads that live": (
        """
for _ in range(5): threading.Thread(target=forever, daemon=True).start()
for _ in range({number}): zombie()
"""
    ),
    "zombies in a cgroup below": "for _ in range({number}): zombie(lambda: enter({below!r}))",
    "a parent that moved on": (
        """
for _ in range({number}): zombie()
enter({below!r})
"""
    ),
    "a cgroup that was removed": (
        """
for _ in range({number}): zombie(lambda: enter({below!r}))
os.rmdir({below!r})
"""
    ),
    "a parent that cgroups have nothing of": (
        "for _ in range({number}): zombie(lambda: enter({own!r}))"
    ),
}


# Argument: the engine; then the directory of version 2 where another hierarchy counts. Answers each
# line, the name of a ledger, with a line of JSON
ANSWERS = """
import json, os, sys
import psutil
sys.path.append(sys.argv[1])
from reaper.kernel import cgroups
from reaper.node import zombies
from reaper.kernel.procfs import ProcFS
ROOT, PROCFS = "/sys/fs/cgroup", ProcFS()

def ledger(keep, *by_hand):
    made = cgroups.Ledger(ROOT, PROCFS, keep)
    assert made.part
    if by_hand:
        made.directory, made.list_name, made.keep = *by_hand, keep
    return made

LEDGERS = {"once": ledger(False), "kept": ledger(True)}
for directory in sys.argv[2:]:
    LEDGERS.update({"version 2 once": ledger(False, directory, "cgroup.threads"), "version 2 kept": ledger(True, directory, "cgroup.threads")})

def by_psutil():
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                found.append((process.pid, process.create_time()))
        except psutil.NoSuchProcess:
            pass
    return sorted(found)

def opened():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + fd))
        except FileNotFoundError:
            pass
    return sorted(found)

def told(stats):
    return {stat.pid: repr(stat) for stat in stats}

def look(asked):
    before = by_psutil()
    number = asked.zombies()
    found, scanned = zombies.find(PROCFS, asked), list(PROCFS.zombies())
    among_children = zombies._among_children(PROCFS, asked, number, None) if number else None
    return dict(
        before=before, number=number, found=told(found.stats), more=found.more, found_by=found.found_by, scanned=told(scanned), holding=asked.holding(),
        among_children=among_children and told(among_children.stats), after=by_psutil())

def count(asked):
    return dict(before=by_psutil(), number=asked.zombies(), after=by_psutil(), opened=opened())

print(json.dumps(sorted(LEDGERS)), flush=True)
for line in sys.stdin:
    what, name = line.strip().split(" ", 1)
    print(json.dumps({"look": look, "count": count}[what](LEDGERS[name])), flush=True)
"""


class Count(namedtuple("Count", ("before", "number", "after", "opened"))):
    """What was counted on one node. before, after: its zombies as psutil has them, with their
    starts. opened: files of who counted.
    """

    __slots__ = ()

    @property
    def is_right(self) -> bool:
        """Whether psutil counts as many. It is never too low, even where something began or ended
        meanwhile.
        """
        return self.before == self.after and self.number == len(self.before)

    @property
    def is_too_low(self) -> bool:
        throughout = {tuple(each) for each in self.before} & {tuple(each) for each in self.after}
        return self.number is not None and self.number < len(throughout)


class Look(
    namedtuple(
        "Look",
        (
            "before",
            "number",
            "found",
            "more",
            "found_by",
            "scanned",
            "holding",
            "among_children",
            "after",
        ),
    )
):
    """The same, and what was found by the way that was taken, ``{PID: all that is told of it}``;
    more, found_by: of that.

    scanned, among_children: by those ways alone.
    """

    __slots__ = ()
    is_too_low = Count.is_too_low

    @property
    def is_right(self) -> bool:
        """Whether all of them tell the same."""
        pids = {str(pid) for pid, _start in self.before}
        return (
            Count.is_right.fget(self)  # type: ignore[attr-defined] # of a property
            and self.found == self.scanned
            and set(self.found) == pids
            and not self.more
        )


class OwnNode:
    """A node that is alone in its cgroups, and a process in it that is asked.

    groups: one that counts tasks, and one of version 2 where that is of another hierarchy.
    """

    def __init__(self, directory, stack):
        self.groups = [stack.enter_context(own_cgroup("pids"))]
        self.node = Node(directory, cgroup=self.groups[0])
        stack.callback(self.node.stop)
        if UNIFIED and self.groups[0].version == 1:
            self.groups.append(stack.enter_context(own_cgroup("")))
            stack.callback(self.node.stop)  # before that one has to be empty
            self.groups[1].add(self.node.init.process.pid)
            self.node.enter += self.groups[1].entering
        self.by_tasks = self.groups[0]
        self.by_threads = self.groups[-1]  # whose lists may stay open
        command = [
            *self.node.enter,
            sys.executable,
            "-c",
            ANSWERS,
            str(ENGINE),
            *map(str, [self.there(group) for group in self.groups[1:]]),
        ]
        self.asked = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.asked.stdin.close)  # so it ends
        self.ledgers = json.loads(self.asked.stdout.readline())

    def there(self, group):
        """Where that cgroup is as the node sees it."""
        return group.seen_from_there if group.outermost is self.groups[0] else group.directory

    def started(self, code, *before) -> Program:
        """A process of the node. before: words before its command."""
        return self.node.program(code, before)

    def look(self, ledger) -> Look:
        return Look(**self.answer("look", ledger))

    def count(self, ledger) -> Count:
        """Without a look for them, which takes long where there are thousands of threads."""
        return Count(**self.answer("count", ledger))

    def answer(self, *words) -> dict:
        self.asked.stdin.write(" ".join(words) + "\n")
        self.asked.stdin.flush()
        return json.loads(self.asked.stdout.readline())

    def right(self, ledger, number=None, look=look):
        """The first look, or count, that is, of so many zombies if a number is given.

        A process that ends is listed no more and not a zombie yet, for a moment, or for as long as
        it gets no CPU. Then it is one until it is waited for.
        """
        deadline = time.monotonic() + TIMEOUT
        while True:
            seen = look(self, ledger)
            assert not seen.is_too_low, seen
            if seen.is_right and number in (None, seen.number):
                return seen
            assert time.monotonic() < deadline, f"never {number}, and as psutil sees it: {seen}"
            time.sleep(0.02)

    def counts(self, ledger, number) -> None:
        self.right(ledger, number, OwnNode.count)


@pytest.fixture
def own(tmp_path):
    with contextlib.ExitStack() as stack:
        yield OwnNode(tmp_path, stack)


class Tree:
    """Random processes in random cgroups and PID namespaces, as many as it says; all of one
    node.
    """

    def __init__(self, own, seed):
        self.random = random.Random(seed)
        self.own = own
        self.made = [self.grow(number) for number in range(self.random.randint(2, 6))]

    def grow(self, number):
        shape = self.random.choice(list(SHAPES))
        group = self.random.choice(self.own.groups).below(f"t{number}")
        if "{below" in SHAPES[shape] or self.random.random() < 0.3:
            group.below("b")
        there = self.own.there(group)
        goes_in = shape != "a parent that cgroups have nothing of" and self.random.random() < 0.7
        in_container = self.random.random() < 0.5
        inner = (
            ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if in_container else []
        )
        code = ENTER + SHAPES[shape].format(
            number=self.random.randint(1, 9), own=str(there), below=str(there / "b")
        )
        before = [*(entering(there) if goes_in else []), *inner]
        program = Program(
            [*self.own.node.enter, *before], code + "\nready()\nforever()", depth=1 + in_container
        )
        self.own.node.programs.append(program)
        return "%s%s%s" % (
            shape,
            " in a container" * in_container,
            f" in a cgroup of version {group.version}" if goes_in else "",
        )


@pytest.mark.parametrize("seed", range(TREES))
def test_a_random_tree_is_counted_and_found_as_psutil_does(own, seed):
    print(Tree(own, seed).made)
    for ledger in own.ledgers:
        assert own.right(ledger).found_by != zombies.LEDGER
    for (
        program
    ) in own.node.programs:  # after each that ends, those that are kept open are right again
        program.stop()
        for ledger in own.ledgers:
            own.right(ledger)


@pytest.mark.parametrize(
    "shape, accounts_for_all",
    [
        ("classic", True),
        ("children of threads", True),
        ("leaders that are dead while threads live", True),
        ("adopted", True),
        ("zombies in a cgroup below", False),
        ("a parent that moved on", False),
    ],
)
def test_children_alone_are_believed_only_where_they_account_for_all(own, shape, accounts_for_all):
    """The parent is in a cgroup without zombies, which is not looked into: the children that are
    found are too few.
    """
    group = own.by_tasks.below("a")
    group.below("b")
    own.by_tasks.below("c")
    there = own.there(own.by_tasks)
    code = ENTER + SHAPES[shape].format(
        number=3, own=str(there), below=str(there / ("a/b" if "below" in shape else "c"))
    )
    own.started(code + "\nready()\nforever()", *entering(there / "a"))
    for ledger in own.ledgers:
        look = own.right(ledger, 3)
        # where cgroups have some below that are to count, the kernel lets no process be in them
        if group.version == 2:
            assert (look.holding, look.found_by) == (None, zombies.SCAN)
            continue
        holds = there / ("a/b" if shape == "zombies in a cgroup below" else "a")
        assert look.holding == [[[str(holds)], 3]]
        assert look.found_by == (zombies.CHILDREN if accounts_for_all else zombies.SCAN)
        assert look.among_children == (look.found if accounts_for_all else None)


MANY = 3000  # more would leave less for other tests
THREADS = """
threading.stack_size(32768)
for _ in range(%d):
    threading.Thread(target=forever, daemon=True).start()
for _ in range(7):
    zombie()
ready()
forever()
""" % (MANY - 1)


def test_lists_longer_than_a_page_and_cgroups_that_come_and_go(own):
    """3,000 tasks in one cgroup. What is kept open is opened anew when a cgroup comes, and closed
    when one goes.
    """
    group = own.by_threads
    inside = group.below("many")
    program = own.started(THREADS, *entering(own.there(inside)))
    for ledger in own.ledgers:
        own.counts(ledger, 7)
    if group is not own.by_tasks:
        assert own.right("once", 7).holding == [[[str(own.there(own.by_tasks))], 7]]
    kept = "kept" if group is own.by_tasks else "version 2 kept"
    for turn in range(20):
        added = group.below(f"comes-{turn}")
        mover = own.node.command("sh", "-c", "echo ready; exec sleep 1000000")
        added.add(mover.process.pid)
        own.counts(kept, 7)
        mover.stop()
        wait_until(lambda added=added: not added.read("cgroup.procs"))
        if turn % 2:
            added.remove()
        own.counts(kept, 7)
    directories = [
        own.there(group),
        *(
            own.there(group) / directory.name
            for directory in group.directory.iterdir()
            if directory.is_dir()
        ),
    ]
    assert len(directories) == 2 + 10
    wait_until(
        lambda: (
            lists(own.count(kept))
            == sorted(f"{directory}/cgroup.threads" for directory in directories)
        )
    )
    program.stop()
    own.counts(kept, 0)


def lists(count) -> list:
    """Those of tasks that it has open."""
    return [path for path in count.opened if path.endswith("/cgroup.threads")]


def test_a_ledger_that_is_closed_has_nothing_open(tmp_path):
    if UNIFIED is None:
        pytest.skip("this machine has no cgroup version 2")
    with own_cgroup("") as group:
        group.below("a")
        ledger = cgroups.Ledger(str(tmp_path), PROCFS)
        ledger.directory, ledger.list_name, ledger.keep = (
            str(group.directory),
            "cgroup.threads",
            True,
        )
        before = os.listdir("/proc/self/fd")
        assert ledger._listed() == 0
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
        ledger.close()
        assert os.listdir("/proc/self/fd") == before


def zombies_of_the_machine() -> set:
    """(PID, start) of each."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_ZOMBIE:
                found.add((process.pid, process.create_time()))
    return found


def test_the_ledger_of_the_machine_is_not_too_low(tmp_path):
    """Of that no more can be said on any machine: others begin and end meanwhile, which makes it
    too high.

    What is forked just then may have got its PID and is not counted yet (copy_process() of
    kernel/fork.c): so it is asked again.
    """
    node = Node(tmp_path)
    kept = cgroups.Ledger(str(ROOT), PROCFS, keep=True)
    try:
        container = node.container("for _ in range(9): zombie()\nready()\nforever()")
        ours = {stat.pid for stat in PROCFS.zombies() if stat.ppid == container.process.pid}
        assert len(ours) == 9
        for ledger in (cgroups.Ledger(str(ROOT), PROCFS), kept):
            wait_until(lambda ledger=ledger: counts_those_that_stay(ledger))
            wait_until(
                lambda ledger=ledger: (
                    ours <= {stat.pid for stat in zombies.find(PROCFS, ledger).stats}
                )
            )
    finally:
        kept.close()
        node.stop()


def counts_those_that_stay(ledger) -> bool:
    before = zombies_of_the_machine()
    said = ledger.zombies()
    return said is not None and said >= len(before & zombies_of_the_machine())


def test_a_list_of_version_1_is_never_one_of_before(tmp_path):
    """Where a list stays open, the kernel may tell it as it was a while ago: a process that has
    become a zombie since would be hidden.
    """
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(own_cgroup("pids"))
        if group.version != 1:
            pytest.skip("this machine has no cgroup version 1")
        node = Node(tmp_path)
        stack.callback(node.stop)
        program = Program(
            [*node.enter, *group.entering],
            """
child = os.fork()
if child == 0:
    forever()
ready()
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
ready()
forever()
""",
            depth=1,
        )
        node.programs.append(program)
        fake = tmp_path / "cgroup"
        fake.mkdir()
        (fake / "pids").symlink_to(group.directory)
        ledger = cgroups.Ledger(str(fake), PROCFS, keep=True)
        stack.callback(ledger.close)
        (child,) = program.process.children()
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
    return {int(pid) for line in lines for pid in LOOKED_AT.findall(line)} - {
        int(pid) for pid in own
    }


def traced_sweep(node, trace):
    flags = ("--json", "--remedies", "")
    command = [
        "strace",
        "-f",
        "-q",
        "-e",
        "trace=openat,open,fork,vfork,clone,clone3,execve",
        "-o",
        str(trace),
        *node.agent_command(*flags),
    ]
    done = node.run(*command)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_sweep_whose_ledger_shows_nothing_reads_no_process_but_itself_and_pid_1(own, tmp_path):
    trace = tmp_path / "trace"
    result = traced_sweep(own.node, trace)
    assert result["found_by"] == "ledger"
    assert result["zombies"]["count"] == 0
    assert opened(trace) <= {1}
    text = trace.read_text(encoding="utf-8")
    assert len(re.findall(r"\bexecve\(", text)) == 1 and not re.search(
        r"\b(v?fork|clone3?)\(", text
    )


def test_the_trace_shows_the_processes_where_they_are_read(own, tmp_path):
    """Or the test before would show nothing."""
    container = own.node.container("zombie()\nready()\nforever()")
    trace = tmp_path / "trace"
    assert traced_sweep(own.node, trace)["found_by"] != "ledger"
    assert container.pids[1] in opened(trace)


def test_the_way_is_said(own):
    own.node.container("zombie()\nready()\nforever()")
    own.right("once")
    assert own.node.sweep("--check")["found_by"] == "children"
