"""What keeps `reap` harmless and can be read from its source: how little of ptrace(2), libc and
wait(2) the engine uses, and where.
"""

from __future__ import annotations

import ast
import os
import re
import signal

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import ptrace
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import (
    nudge as nudge_module,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import (
    reap as reap_module,
)

from .test_architecture import ENGINE, FILES, attributes, calls, imports, name_of, tree_of

PTRACE, TRACING, REAP, NUDGE, CANARY, WATCH = (
    ENGINE / name
    for name in (
        "kernel/ptrace.py",
        "kernel/tracing.py",
        "remedies/reap.py",
        "remedies/nudge.py",
        "canary.py",
        "daemon.py",
    )
)

# include/uapi/linux/ptrace.h. Not here, and so not to be used: what writes memory (POKETEXT,
# POKEDATA, POKEUSER), what stops by SIGSTOP (ATTACH), what raises SIGTRAP in the program
# (SINGLESTEP), what ends it (KILL, PTRACE_O_EXITKILL).
REQUESTS = {
    "PTRACE_CONT": 7,
    "PTRACE_DETACH": 17,
    "PTRACE_SYSCALL": 24,
    "PTRACE_SETOPTIONS": 0x4200,
    "PTRACE_GETSIGINFO": 0x4202,
    "PTRACE_SETSIGINFO": 0x4203,
    "PTRACE_GETREGSET": 0x4204,
    "PTRACE_SETREGSET": 0x4205,
    "PTRACE_SEIZE": 0x4206,
    "PTRACE_INTERRUPT": 0x4207,
    "PTRACE_LISTEN": 0x4208,
    "PTRACE_GETSIGMASK": 0x420A,
    "PTRACE_GET_SYSCALL_INFO": 0x420E,
    "PTRACE_GET_RSEQ_CONFIGURATION": 0x420F,
    "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG": 0x4211,
}
OTHERS = {
    "PTRACE_EVENT_STOP": 128,
    "PTRACE_SYSCALL_INFO_ENTRY": 1,
    "PTRACE_O_TRACESYSGOOD": 1,
    "PTRACE_O_SUSPEND_SECCOMP": 1 << 21,
}

OF_CTYPES = {
    "CDLL",
    "c_long",
    "c_void_p",
    "c_uint64",
    "c_uint32",
    "c_size_t",
    "addressof",
    "sizeof",
    "memmove",
    "get_errno",
}


def around(path, text):
    """The statements around the only one that has this text, from the outermost to that one
    itself.
    """
    found, inner = [], [tree_of(path)]
    assert ast.unparse(inner).count(text) == 1
    while inner:
        found.append(inner[0])
        inner = [
            part
            for part in ast.walk(inner[0])
            if part is not inner[0] and isinstance(part, ast.stmt) and text in ast.unparse(part)
        ]
    return found


@pytest.mark.parametrize(
    "path", [path for path in FILES if path not in (PTRACE, NUDGE, CANARY, WATCH)], ids=name_of
)
def test_nobody_else_traces_waits_or_calls_libc(path):
    names = [part.id for part in ast.walk(tree_of(path)) if isinstance(part, ast.Name)]
    names += [part.attr for part in ast.walk(tree_of(path)) if isinstance(part, ast.Attribute)]
    assert [
        name
        for name in names
        if name.startswith("PTRACE_")
        or name in ("libc_ptrace", "_ptrace", "CDLL", "PyDLL", "dlopen")
    ] == []
    assert [
        name
        for module in ("os", "posix")
        for name in attributes(path, module)
        if re.fullmatch("wait.*", name)
    ] == []
    if path not in (REAP, TRACING):
        assert "ptrace" not in imports(path)[1]


def test_requests_and_options_are_these_and_have_the_kernel_s_numbers():
    assert {name: value for name, value in vars(ptrace).items() if name.startswith("PTRACE_")} == {
        **REQUESTS,
        **OTHERS,
    }
    named = [
        ast.unparse(call.args[0])
        for name in ("self._ptrace", "self._resume")
        for call in calls(PTRACE, name)
    ]
    assert [name for name in named if name not in REQUESTS and name != "request"] == []
    supports = [ast.unparse(call.args[0]) for call in calls(PTRACE, "self._supports")]
    assert set(supports) == {
        "PTRACE_GET_RSEQ_CONFIGURATION",
        "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG",
    }
    options = {
        ast.unparse(call.args[2])
        for call in calls(PTRACE, "self._ptrace")
        if ast.unparse(call.args[0]) == "PTRACE_SETOPTIONS"
    }
    assert options == {"PTRACE_O_TRACESYSGOOD", "PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP"}


def test_of_libc_there_is_ptrace_and_nothing_else():
    """No kill, no fork, no syscall(2) by way of ctypes, and no memory of its own to write to by
    address but the registers.
    """
    assert (
        set(attributes(PTRACE, "ctypes"))
        | {
            part.attr
            for part in ast.walk(tree_of(PTRACE))
            if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self.ctypes"
        }
        <= OF_CTYPES
    )
    whole = ast.unparse(tree_of(PTRACE))
    assert re.findall(r"CDLL\([^)]*\)[.\w]*", whole) == ["CDLL(None, use_errno=True).ptrace"]
    assert len(calls(PTRACE, "self.libc_ptrace")) == 1
    moved = {ast.unparse(call.args[0]) for call in calls(PTRACE, "self.ctypes.memmove")}
    assert moved <= {"self.registers", "registers"}


def test_only_its_own_tracee_is_waited_for_and_never_without_end():
    """waitpid(-1) would take the exit status of a child of whoever imports the engine, Ansible's
    module for one.
    """
    assert {name for name in attributes(PTRACE, "os") if re.fullmatch("wait.*", name)} == {
        "waitpid"
    }
    assert [ast.unparse(call) for call in calls(PTRACE, "os.waitpid")] == [
        "os.waitpid(self.tid, WALL | os.WNOHANG)"
    ]


def test_the_parent_is_made_to_call_waitid_and_nothing_else():
    """For one child, never for any (-1); it may not block, and with null pointers no memory is
    written.
    """
    assert [
        name_of(path)
        for path in FILES
        for part in ast.walk(tree_of(path))
        if isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and part.func.attr == "call"
    ] == ["remedies.reap"]
    assert [ast.unparse(call) for call in calls(REAP, "tracee.call")] == [
        "tracee.call(tracee.arch.waitid, P_PID, number, 0, WEXITED_WNOHANG_WALL, 0)"
    ]
    assert reap_module.P_PID == os.P_PID
    assert reap_module.WEXITED_WNOHANG_WALL == os.WEXITED | os.WNOHANG | ptrace.WALL
    every = (*ptrace.ARCHITECTURES.values(), *ptrace.COMPATIBLE.values())
    # AUDIT_ARCH_X86_64, _I386 and _AARCH64, and the syscall tables of the kernel
    assert {
        arch.audit: (arch.waitid, arch.restart_syscall, arch.sched_yield) for arch in every
    } == {
        0xC000003E: (247, 219, 24),
        0x40000003: (284, 0, 158),
        0xC00000B7: (95, 128, 124),
    }


def test_the_filter_is_set_aside_in_the_call_that_was_chosen_and_nowhere_else():
    """At an entry that was compared, or whose call was left out; and back at its exit. To try it,
    while the thread is stopped, is the exception.
    """
    functions = {
        part.name: ast.unparse(part)
        for part in ast.walk(tree_of(PTRACE))
        if isinstance(part, ast.FunctionDef)
    }
    assert {name for name, text in functions.items() if "PTRACE_O_SUSPEND_SECCOMP" in text} == {
        "_suspend_seccomp"
    }
    assert {name for name, text in functions.items() if "._suspend_seccomp()" in text} == {
        "_run_to_exit",
        "_require_suspendable_seccomp",
    }
    assert {name for name, text in functions.items() if "._run_to_exit()" in text} == {
        "call",
        "_skip_call",
    }
    call = functions["call"]
    steps = [
        "self._run_to_entry()",
        "self._exchange_call(number, arguments)",
        "self._run_to_exit()",
    ]
    assert [call.count(step) for step in steps] == [1] * 3 and sorted(
        steps, key=call.index
    ) == steps
    tried = functions["_require_suspendable_seccomp"]
    assert (
        "self._resume" not in tried and tried.splitlines()[-1].strip() == "self._restore_seccomp()"
    )


def test_memory_of_a_program_is_read_in_one_place():
    """Eight bytes, where the thread may be in a restartable sequence. What a tenant's file system
    serves may never come.
    """
    assert [ast.unparse(call) for call in calls(PTRACE, "self._memory")] == [
        "self._memory(config[0] + 8, 8)"
    ]
    assert [ast.unparse(call) for call in calls(PTRACE, "self.procfs.memory")] == [
        "self.procfs.memory(self.tid, address, size)"
    ]
    assert [ast.unparse(call) for call in calls(PTRACE, "procfs.memory")] == [
        "procfs.memory(os.getpid(), own, VDSO_BYTES)"
    ]


def test_no_signal_ends_the_sweep_while_a_parent_is_stopped():
    """A tracee is made, seized and released in one function, which is called in one place: where
    signals are blocked.
    """
    assert [name_of(path) for path in FILES if calls(path, "Tracee")] == ["remedies.reap"]
    assert (
        around(REAP, " Tracee(")[-2].name == around(REAP, ".seize(")[-3].name == "_stop_and_collect"
    )
    block = around(REAP, "self._stop_and_collect(")[-2]
    assert isinstance(block, ast.With)
    assert [ast.unparse(item) for item in block.items] == ["_undisturbed()"]
    undisturbed = next(
        part
        for part in tree_of(REAP).body
        if isinstance(part, ast.FunctionDef) and part.name == "_undisturbed"
    )
    assert "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())" in ast.unparse(
        undisturbed
    )


def test_a_parent_is_released_whatever_happens():
    """All that may change it lies between try and finally."""
    block = around(REAP, "tracee.release()")[-2]
    assert isinstance(block, ast.Try)
    assert "if tracee.release():\n    self.late = None" in [
        ast.unparse(part) for part in block.finalbody
    ]
    changing = "".join(ast.unparse(part) for part in block.body)
    assert "tracee.prepare()" in changing and "tracee.call(" in changing


def test_a_canary_waits_for_its_own_processes_and_calls_setns_and_prctl_of_libc():
    assert {ast.unparse(call) for call in calls(CANARY, "os.waitpid")} == {
        "os.waitpid(mother, 0)",
        "os.waitpid(canary, 0)",
        "os.waitpid(joined, os.WNOHANG)",
    }
    assert {name for name in attributes(CANARY, "os") if re.fullmatch("wait.*", name)} == {
        "waitpid"
    }
    assert set(attributes(CANARY, "ctypes")) == {"CDLL"}
    assert [ast.unparse(call) for call in calls(CANARY, "ctypes.CDLL")] == ["ctypes.CDLL(None)"]
    assert set(attributes(CANARY, "libc")) == {"setns", "prctl"}
    assert [
        ast.unparse(call) for name in ("libc.setns", "libc.prctl") for call in calls(CANARY, name)
    ] == ["libc.setns(fd, flag)", "libc.prctl(PR_SET_NAME, NAME)", "libc.prctl(PR_SET_DUMPABLE, 0)"]
    assert "for kind, flag in (('net', CLONE_NEWNET), ('pid', CLONE_NEWPID)):" in ast.unparse(
        tree_of(CANARY)
    )


def test_a_canary_loses_its_rights_before_it_can_be_seen():
    """What a tenant's namespace gets is a child of the process that has lost them: none is forked
    there before.
    """
    joins = next(
        part
        for part in tree_of(CANARY).body
        if isinstance(part, ast.FunctionDef) and part.name == "_join_and_fork"
    )
    order = [
        call
        for call in map(
            ast.unparse, (part.func for part in ast.walk(joins) if isinstance(part, ast.Call))
        )
        if call
        in (
            "os.close",
            "libc.setns",
            "os.chroot",
            "os.chdir",
            "os.setgroups",
            "os.setresgid",
            "os.setresuid",
            "os.fork",
        )
    ]
    source = ast.unparse(joins)
    places = [
        source.index(text)
        for text in (
            "os.close(fd)",
            "libc.setns(",
            "os.chroot(empty_directory)",
            "os.chdir('/')",
            "os.setgroups([])",
            "os.setresgid(NOBODY, NOBODY, NOBODY)",
            "os.setresuid(NOBODY, NOBODY, NOBODY)",
            "os.fork()",
        )
    ]
    assert places == sorted(places)
    assert order.count("os.fork") == 2
    assert source.rstrip().endswith("os._exit(0)")


def test_a_reminder_is_sigchld_by_pidfd_and_no_other_call_of_the_kernel():
    """syscall(2) could be anything: its number and the signal's are constants, and it is called in
    one place.
    """
    assert set(attributes(NUDGE, "ctypes")) == {"CDLL", "c_long", "c_int", "c_char_p", "c_uint"}
    whole = ast.unparse(tree_of(NUDGE))
    assert re.findall(r"CDLL\([^)]*\)[.\w]*", whole) == ["CDLL(None, use_errno=True).syscall"]
    assert [ast.unparse(call) for call in calls(NUDGE, "system_call")] == [
        "system_call(PIDFD_SEND_SIGNAL, pidfd, SIGCHLD, info, 0)"
    ]
    # include/uapi/asm-generic/unistd.h
    assert (nudge_module.PIDFD_SEND_SIGNAL, nudge_module.SIGCHLD) == (424, signal.SIGCHLD)


def test_the_daemon_locks_its_memory_and_calls_nothing_else_of_libc():
    """That, and how its allocator keeps memory: no kill, no fork, no syscall(2). libc goes to the
    one function that tells the allocator.
    """
    assert set(attributes(WATCH, "ctypes")) == {"CDLL"}
    assert [ast.unparse(call) for call in calls(WATCH, "ctypes.CDLL")] == ["ctypes.CDLL(None)"]
    assert ast.unparse(around(WATCH, "ctypes.CDLL")[-1]) == "libc = ctypes.CDLL(None)"
    assert set(attributes(WATCH, "libc")) == {"mlockall", "mallopt"}
    assert [
        ast.unparse(call)
        for name in ("libc.mlockall", "libc.mallopt")
        for call in calls(WATCH, name)
    ] == [
        "libc.mlockall(MCL_CURRENT | MCL_FUTURE)",
        "libc.mallopt(M_MMAP_MAX, 0)",
        "libc.mallopt(M_TRIM_THRESHOLD, 8 * RESERVE_BYTES)",
    ]
    assert whereabouts(WATCH, "libc") == 5, (
        "made, locked by, handed to _reserved, and used there twice"
    )
    assert [ast.unparse(call) for call in calls(WATCH, "_reserved")] == ["_reserved(libc)"]
    assert "ptrace" not in imports(WATCH)[1]


def whereabouts(path, name) -> int:
    """How often a variable of that name is used in a file."""
    return sum(isinstance(part, ast.Name) and part.id == name for part in ast.walk(tree_of(path)))
