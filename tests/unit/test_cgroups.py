"""Limits of tasks and the freezer, read from cgroups of version 1, version 2 and both side by
side.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, procfs
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import CgroupLine
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import workloads
from hypothesis import given
from hypothesis import strategies as st
from rig.own_cgroup import own_cgroup

POD, CONTAINER = "/kubepods/pod1", "/kubepods/pod1/c1"
MOUNTED = {  # layout -> (controllers of the line, directory of the hierarchy)
    "v1": ("pids", "pids"),
    "v1, others mounted with it, under the whole name": ("cpu,pids", "cpu,pids"),
    "v1, others mounted with it, under this name": ("cpu,pids", "pids"),
    "v1, others mounted with it, under the other's name": ("cpu,pids", "cpu"),
    "v2": ("", ""),
    "v2 in hybrid": ("", "unified"),
}
EVERY_LAYOUT = pytest.mark.parametrize("layout", MOUNTED)


class Tree:
    """/sys/fs/cgroup, made by hand."""

    def __init__(self, root, layout):
        self.root = str(root)
        self.controllers, directory = MOUNTED[layout]
        self.hierarchy = root / directory

    def cgroup(self, path, **files):
        directory = self.hierarchy / path.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name.replace("_", ".")).write_text(text, encoding="ascii")

    def pids(self, path):
        return cgroups.pids(self.root, self.controllers, path)


@pytest.fixture
def tree(tmp_path, layout):
    return Tree(tmp_path, layout)


@EVERY_LAYOUT
def test_the_level_of_whose_limit_most_is_taken_is_told(tree):
    tree.cgroup("/kubepods", pids_current="630\n", pids_max="1000\n")
    tree.cgroup(POD, pids_current="30\n", pids_max="100\n")
    tree.cgroup(CONTAINER, pids_current="20\n", pids_max="32\n")
    assert tree.pids(CONTAINER) == cgroups.Pids(630, 1000, "/kubepods")
    tree.cgroup("/kubepods", pids_current="620\n")
    assert tree.pids(CONTAINER) == cgroups.Pids(20, 32, CONTAINER)
    assert tree.pids(POD) == cgroups.Pids(620, 1000, "/kubepods")


@EVERY_LAYOUT
def test_of_what_lies_below_the_container_only_a_limit_is_told(tree):
    tree.cgroup(CONTAINER, pids_current="20\n", pids_max="max\n")
    tree.cgroup(CONTAINER + "/own", pids_current="5\n", pids_max="max\n")
    assert cgroups.pids(tree.root, tree.controllers, CONTAINER + "/own", CONTAINER) == cgroups.Pids(
        20, None, CONTAINER
    )
    tree.cgroup(CONTAINER + "/own", pids_max="10\n")
    assert cgroups.pids(tree.root, tree.controllers, CONTAINER + "/own", CONTAINER) == cgroups.Pids(
        5, 10, CONTAINER + "/own"
    )


@EVERY_LAYOUT
def test_of_levels_with_the_same_room_the_nearest_is_told(tree):
    tree.cgroup(POD, pids_current="50\n", pids_max="100\n")
    tree.cgroup(CONTAINER, pids_current="50\n", pids_max="100\n")
    assert tree.pids(CONTAINER).cgroup == CONTAINER


@EVERY_LAYOUT
def test_the_limit_of_a_pod_is_the_smallest_up_to_its_own_cgroup(tree):
    def limit():
        return cgroups.limit(tree.root, tree.controllers, CONTAINER, POD)

    tree.cgroup("/kubepods", pids_current="30\n", pids_max="1000\n")
    tree.cgroup(POD, pids_current="30\n", pids_max="max\n")
    tree.cgroup(CONTAINER, pids_current="20\n", pids_max="max\n")
    assert limit() is None, "what all pods may have together is no limit of this one"
    tree.cgroup(POD, pids_max="4096\n")
    assert limit() == 4096
    tree.cgroup(CONTAINER, pids_max="1024\n")
    assert limit() == 1024
    tree.cgroup(POD, pids_max="max\n")
    assert limit() == 1024


@EVERY_LAYOUT
def test_no_limit_anywhere(tree):
    tree.cgroup(POD, pids_current="30\n", pids_max="max\n")
    tree.cgroup(CONTAINER, pids_current="20\n", pids_max="max\n")
    assert tree.pids(CONTAINER) == cgroups.Pids(20, None, CONTAINER)


@EVERY_LAYOUT
def test_a_limit_above_one_without(tree):
    tree.cgroup(POD, pids_current="30\n", pids_max="4096\n")
    tree.cgroup(CONTAINER, pids_current="20\n", pids_max="max\n")
    assert tree.pids(CONTAINER) == cgroups.Pids(30, 4096, POD)


@EVERY_LAYOUT
def test_a_limit_that_was_lowered_below_what_is_there(tree):
    tree.cgroup(POD, pids_current="30\n", pids_max="10\n")
    tree.cgroup(CONTAINER, pids_current="30\n", pids_max="30\n")
    assert tree.pids(CONTAINER) == cgroups.Pids(30, 10, POD)


@EVERY_LAYOUT
@pytest.mark.parametrize(
    "path",
    [CONTAINER, "/", "", "/nowhere", "/kubepods/../kubepods/pod1", "/../kubepods/pod1", "/.."],
)
def test_what_is_not_counted_is_not_told(tree, path):
    """No file, or a path that leads out of the sweep's cgroup namespace: there another cgroup may
    be of that name.
    """
    if ".." in path:
        tree.cgroup(POD, pids_current="30\n", pids_max="10\n")
    else:
        tree.cgroup(POD)
    assert tree.pids(path) is None


@EVERY_LAYOUT
@pytest.mark.parametrize("missing", ["pids.max", "pids.current"])
def test_half_of_the_files(tree, missing):
    tree.cgroup(POD, pids_current="30\n", pids_max="1000\n")
    tree.cgroup(CONTAINER, pids_current="30\n", pids_max="31\n")
    (tree.hierarchy / CONTAINER[1:] / missing).unlink()
    assert tree.pids(CONTAINER) == cgroups.Pids(30, 1000, POD)


def test_where_version_1_counts_version_2_is_not_asked(tmp_path):
    for layout, most in (("v1", "10\n"), ("v2 in hybrid", "max\n")):
        Tree(tmp_path, layout).cgroup(POD, pids_current="5\n", pids_max=most)
    lines = (
        CgroupLine("", "/kubepods/pod" + "a" * 32),
        CgroupLine("memory", "/x"),
        CgroupLine("pids", "/kubepods/pod" + "a" * 32 + "/sub"),
    )
    assert workloads.level_with_pids(lines, ()) == ("pids", "/kubepods/pod" + "a" * 32)
    assert cgroups.pids(str(tmp_path), "pids", POD).max == 10


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["", "..", ".", "kubepods", "\udcff"])).map("/".join),
    st.sampled_from(["", "pids", "cpu,pids", ",", "name=systemd"]),
)
def test_any_path_has_an_answer(tmp_path_factory, path, controllers):
    root = str(tmp_path_factory.getbasetemp() / "no tree")
    path = path.replace("\0", "")
    assert cgroups.pids(root, controllers, path) is None
    assert cgroups.is_frozen(root, (CgroupLine(controllers, path),)) is False


FREEZER = {  # layout -> (controllers, directory, file, what it says when thawed, when frozen)
    "v1": ("freezer", "freezer", "freezer.state", "THAWED\n", "FROZEN\n"),
    "v1, on the way there": ("freezer", "freezer", "freezer.state", "THAWED\n", "FREEZING\n"),
    "v1, mounted with another": (
        "cpu,freezer",
        "cpu,freezer",
        "freezer.state",
        "THAWED\n",
        "FROZEN\n",
    ),
    "v1, mounted with another, under its own name": (
        "cpu,freezer",
        "freezer",
        "freezer.state",
        "THAWED\n",
        "FROZEN\n",
    ),
    "v2": ("", "", "cgroup.events", "populated 1\nfrozen 0\n", "populated 1\nfrozen 1\n"),
    "v2 in hybrid": (
        "",
        "unified",
        "cgroup.events",
        "populated 1\nfrozen 0\n",
        "populated 1\nfrozen 1\n",
    ),
}


@pytest.mark.parametrize("layout", FREEZER)
def test_frozen(tmp_path, layout):
    controllers, directory, name, thawed, frozen = FREEZER[layout]
    lines = (CgroupLine(controllers, CONTAINER), CgroupLine("memory", "/elsewhere"))
    assert not cgroups.is_frozen(str(tmp_path), lines), "no such file"
    cgroup = tmp_path / directory / CONTAINER[1:]
    cgroup.mkdir(parents=True)
    for text, expected in ((thawed, False), (frozen, True), ("", False)):
        (cgroup / name).write_text(text, encoding="ascii")
        assert cgroups.is_frozen(str(tmp_path), lines) is expected
    (cgroup / name).write_text(frozen, encoding="ascii")
    assert not cgroups.is_frozen(
        str(tmp_path), (CgroupLine(controllers, "/kubepods/../kubepods/pod1/c1"),)
    )
    assert not cgroups.is_frozen(str(tmp_path), (CgroupLine("memory", CONTAINER),))
    assert not cgroups.is_frozen(str(tmp_path), ())


@pytest.mark.parametrize("directory", ["", "unified"])
@pytest.mark.parametrize("level", [CONTAINER, os.path.dirname(CONTAINER)])
def test_one_that_is_being_paused_is_frozen_already(tmp_path, directory, level):
    """While one of its tasks is in uninterruptible sleep, cgroup.events says ``frozen 0``."""
    cgroup = tmp_path / directory / CONTAINER[1:]
    cgroup.mkdir(parents=True)
    (cgroup / "cgroup.events").write_text("populated 1\nfrozen 0\n", encoding="ascii")
    for above in (cgroup, cgroup.parent):
        (above / "cgroup.freeze").write_text("0\n", encoding="ascii")
    lines = (CgroupLine("", CONTAINER),)
    assert not cgroups.is_frozen(str(tmp_path), lines)
    (tmp_path / directory / level[1:] / "cgroup.freeze").write_text("1\n", encoding="ascii")
    assert cgroups.is_frozen(str(tmp_path), lines)


PARENT_OF_FIVE = """
import os, signal, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
for _ in range(3):
    if os.fork() == 0:
        signal.pause()
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def real_cgroup():
    """A cgroup of this machine that counts tasks, in another one: (controllers of its line, its
    path, its directory).
    """
    with own_cgroup("pids") as outer:
        if outer.version == 2:
            outer.write("cgroup.subtree_control", "+pids")
        inner = outer.below("inner")
        yield (
            "pids" if outer.version == 1 else "",
            f"/{outer.directory.name}/inner",
            inner.directory,
        )


def test_a_real_cgroup(real_cgroup):
    """Three that live, two zombies and their parent, as the kernel counts them and as psutil
    does.
    """
    controllers, path, directory = real_cgroup
    (directory / "pids.max").write_text("17", encoding="ascii")
    (directory.parent / "pids.max").write_text("4000", encoding="ascii")
    parent = subprocess.Popen(
        [sys.executable, "-IS", "-c", PARENT_OF_FIVE, directory],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert parent.stdout.readline() == b"ready\n"
        witness = psutil.Process(parent.pid)
        lines = procfs.ProcFS().cgroup(parent.pid)
        own_path = next(
            line.path
            for line in lines
            if "pids" in line.controllers.split(",") or not controllers and not line.controllers
        )
        assert own_path == path
        found = cgroups.pids("/sys/fs/cgroup", controllers, path)
        assert (
            found
            == cgroups.Pids(1 + len(witness.children()), 17, path)
            == cgroups.Pids(6, 17, path)
        )
        (directory.parent / "pids.max").write_text("7", encoding="ascii")
        assert cgroups.pids("/sys/fs/cgroup", controllers, path) == cgroups.Pids(
            6, 7, os.path.dirname(path)
        )
        (directory.parent / "pids.max").write_text("max", encoding="ascii")
        (directory / "pids.max").write_text("max", encoding="ascii")
        assert cgroups.pids("/sys/fs/cgroup", controllers, path) == cgroups.Pids(6, None, path)
        assert not cgroups.is_frozen("/sys/fs/cgroup", lines)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()
