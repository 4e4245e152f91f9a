"""The rules of the house that a reader of the engine relies on, read from its source."""

from __future__ import annotations

import ast
import re
import sys

import pytest
from rig.floors import (
    DOCUMENT,
    ENGINE,
    FILES,
    MARKS,
    PACKAGES,
    drawn,
    floor_of,
    floors,
    imports,
    name_of,
    tree_of,
)

STARTS_A_PROCESS_OR_SIGNALS_A_PID = re.compile(
    r"fork.*|exec.*|spawn.*|posix_spawn.*|system|popen|startfile|kill|killpg|pthread_kill|clone"
)
FORBIDDEN_MODULES = {
    "subprocess",
    "threading",
    "_thread",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "socket",
    "ctypes",
    "_ctypes",
    "cffi",
    "pty",
    "runpy",
}
ALLOWED_MODULES = {
    "kernel.ptrace": {"ctypes"},
    "canary": {"ctypes"},
    "remedies.nudge": {"ctypes"},
    "daemon": {"ctypes", "socket"},
    "kubernetes_events": {"socket"},
}
# only an audit that was asked to probe comes there (below)
ALLOWED_CALLS = {"canary": ["fork"] * 3}


def attributes(path, module):
    """Names that a file takes from a module."""
    for part in ast.walk(tree_of(path)):
        if (
            isinstance(part, ast.Attribute)
            and isinstance(part.value, ast.Name)
            and part.value.id == module
        ):
            yield part.attr
        elif isinstance(part, ast.ImportFrom) and part.module == module:
            yield from (alias.name for alias in part.names)


def texts(path):
    """Every text in a file that is not documentation."""
    tree = tree_of(path)
    told = {id(part.value) for part in ast.walk(tree) if isinstance(part, ast.Expr)}
    for part in ast.walk(tree):
        if isinstance(part, ast.JoinedStr):
            told.update(id(value) for value in part.values)
            yield "".join(
                value.value if isinstance(value, ast.Constant) else "%s" for value in part.values
            )
        if (
            isinstance(part, ast.Constant)
            and isinstance(part.value, (str, bytes))
            and id(part) not in told
        ):
            yield part.value if isinstance(part.value, str) else part.value.decode("latin-1")


def calls(path, function):
    """The calls of a function, by its dotted name, in the order of the source."""
    return [
        part
        for part in ast.walk(tree_of(path))
        if isinstance(part, ast.Call) and ast.unparse(part.func) == function
    ]


def test_the_drawing_of_the_floors_is_that_of_today():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count(MARKS.begin) == text.count(MARKS.end) == 1
    assert text == drawn(), "run: python3 tests/rig/floors.py --write"


def test_the_list_of_the_files_has_the_order_of_the_floors():
    listed, package = [], ""
    for indent, name in re.findall(
        r"^    ( *)(\w+(?:\.py|/)) ", DOCUMENT.read_text(encoding="utf-8"), re.M
    ):
        if name.endswith("/"):
            package = name[:-1] + "."
        else:
            floor = floor_of((package if indent else "") + name.removesuffix(".py"))
            listed += [floor] if floor not in listed else []
    assert listed == floors()[::-1]


def test_documentation_names_every_floor():
    assert set(floors()) == {floor_of(name_of(path)) for path in FILES} - set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_imports_the_standard_library_and_lower_floors_only(path):
    outside, inside = imports(path)
    # each of these two is in some of the Pythons that a node may have
    assert outside - set(sys.stdlib_module_names) - {"_sha2", "_sha256"} == set()
    own = floor_of(name_of(path))
    if own in PACKAGES:
        assert inside == set()
        return
    below = floors()[: floors().index(own)]
    if own == "remedies":  # none knows of another
        below += ["remedies.termination_log"]
        inside -= {"remedies"}
    else:
        inside = {floor_of(name) for name in inside}
    assert inside - set(below) == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_started_and_no_bare_pid_is_signalled(path):
    assert imports(path)[0] & FORBIDDEN_MODULES == ALLOWED_MODULES.get(name_of(path), set())
    for module in ("os", "posix", "signal", "_signal"):
        taken = [
            name
            for name in attributes(path, module)
            if STARTS_A_PROCESS_OR_SIGNALS_A_PID.fullmatch(name)
        ]
        assert taken == (ALLOWED_CALLS.get(name_of(path), []) if module == "os" else [])


def test_no_sweep_comes_to_where_processes_are_started():
    users = {name_of(path): imports(path)[1] for path in FILES}
    assert [name for name, inside in users.items() if "canary" in inside] == ["audit"]
    assert [name for name, inside in users.items() if "audit" in inside] == ["cli"]
    agent = next(path for path in FILES if path.name == "cli.py").read_text()
    # within a function
    assert re.findall(r".*\bimport .*\baudit\b.*", agent) == [
        "        from .audit import as_dict, as_lines, audit"
    ]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_code_is_made_from_text(path):
    called = {
        part.func.id
        for part in ast.walk(tree_of(path))
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }
    assert (
        called
        & {
            "eval",
            "exec",
            "compile",
            "__import__",
            "globals",
            "getattr",
            "setattr",
            "breakpoint",
        }
        # of the names in its annotations, as collections.namedtuple does
        == ({"eval"} if name_of(path) == "record" else set())
    )


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "procfs.py"], ids=name_of)
def test_only_procfs_reads_a_process(path):
    of_a_process = [
        text
        for text in texts(path)
        if re.search(r"/proc/|%[ds]/%[ds]/|/(stat|status|cgroup|cmdline|exe|environ|ns/\w+)$", text)
    ]
    # Its own descriptors: to know how many more it may open, and to name a file in memory
    allowed = {
        "kernel.pidfd": ["/proc/self/fd"],
        "kubernetes_events": ["/proc/self/fd/%s"],
        "paths": ["/sys/fs/cgroup"],
    }
    allowed = allowed.get(name_of(path), [])
    assert of_a_process == allowed


def test_policy_reads_nothing():
    path = ENGINE / "policy.py"
    assert imports(path)[0] <= {"__future__", "collections", "os", "re"}
    assert set(attributes(path, "os")) <= {"path"}
    used = {
        part.attr
        for part in ast.walk(tree_of(path))
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Attribute)
        and part.value.attr == "path"
    }
    assert used <= {"basename"}
    called = {
        part.func.id
        for part in ast.walk(tree_of(path))
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }
    assert called & {"open", "input", "print"} == set()


def test_there_is_one_way_to_write_a_file_beside_the_termination_log():
    """So procfs, which opens the memory of processes, cannot; and ptrace has no other way to it
    (below).
    """
    writers = [
        name_of(path)
        for path in FILES
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|\bopen\([^)]*\"[wax]b?\+?\"", path.read_text())
    ]
    assert writers == ["files", "remedies.termination_log"]


def test_the_termination_log_follows_no_link_and_makes_no_file():
    path = ENGINE / "remedies/termination_log.py"
    assert {
        name
        for name in attributes(path, "os")
        if name in ("O_CREAT", "O_TRUNC", "O_RDWR", "unlink", "rename", "truncate")
    } == set()
    opened = [ast.unparse(call) for call in calls(path, "os.open")]
    assert opened
    assert [call for call in opened if "O_NOFOLLOW" not in call] == []
    assert [
        call
        for call in opened
        if "dir_fd=dir_fd" not in call
        and not call.startswith("os.open(os.path.join(kubelet, 'pods'), ")
    ] == []
    assert "procfs" not in imports(path)[1]  # no way into a container's own files


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_remembers_between_calls(path):
    assert [
        part for part in ast.walk(tree_of(path)) if isinstance(part, (ast.Global, ast.Nonlocal))
    ] == []
    mutable = [
        target.id
        for part in tree_of(path).body
        if isinstance(part, ast.Assign) and isinstance(part.value, (ast.List, ast.Set))
        for target in part.targets
    ]
    assert mutable == []
