# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop one thread for a moment, let it run system calls of our choice, and put it back exactly as
it was.

Source: ptrace(2). For readers who have never used it, this is how it works:

- PTRACE_SEIZE makes this process the tracer of the thread without disturbing it. PTRACE_INTERRUPT
  stops the thread, and nobody else notices: no SIGSTOP, no notice to its parent. If it slept in a
  system call, that call is interrupted and later restarts by itself (signal(7): a few return EINTR
  instead, epoll_wait(2) for one, as after any debugger).
- In that stop we can read and set its registers. When PTRACE_SYSCALL resumes it, it stops twice at
  each system call: before it, where number and arguments can be replaced by ours, and after it,
  with the result in a register. Of the program itself, nothing but the instruction that enters the
  kernel runs in the meantime, and not a byte of its memory is written.
- A thread that was interrupted in a call that restarts is set to the instruction of that call, just
  as the kernel would do to restart it. Any other thread is set to such an instruction in the vDSO
  (vdso(7)).
- Another thread of the program can change that instruction, or what is mapped there. So at the
  entry PTRACE_GET_SYSCALL_INFO shows what was entered, and from where. Our number and all arguments
  are only put in if that is the call that we chose. Any other call is skipped: a system call with
  number -1 runs instead, which does nothing.
- From there to the exit of that one call the thread's seccomp filter is suspended
  (PTRACE_O_SUSPEND_SECCOMP), because a filter may answer our call with SIGKILL. At the entry
  ptrace(2) comes before seccomp(2) since Linux 4.8 (syscall_trace_enter in kernel/entry/common.c).
  No instruction of the program runs without its filter.
- Its memory is not read: it may be served by a file system that the same tenant controls and that
  need not answer. :meth:`Tracee._require_outside_rseq` explains the only exception.
- These stops raise no signal. A single step would raise SIGTRAP, which resets the program's handler
  for it, and ends the program if this process dies at that moment. The signal mask is not touched:
  a signal for the thread stops it before it is delivered. Then the registers are put back, and the
  thread is released with that signal and handles it as if nobody had been there.
- Finally the thread is led into one more PTRACE_INTERRUPT stop, its registers are put back, and it
  is released. From that kind of stop it continues where the kernel restarts interrupted system
  calls (arch_do_signal_or_restart in arch/x86/kernel/signal.c).

If this process is killed in between, the kernel releases the thread with whatever registers it has.
That cannot be prevented, only made short and mild. Between two calls, an interrupted thread has
registers with which it continues correctly by itself; within a call, it takes our result for the
result of its own. The caller blocks its signals, so only SIGKILL can have this effect. That is why
no wait for a thread lasts for ever: see :meth:`Tracee._next_stop`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .procfs import ProcFS

# include/uapi/linux/ptrace.h
PTRACE_CONT, PTRACE_DETACH, PTRACE_SYSCALL = 7, 17, 24
PTRACE_SETOPTIONS, PTRACE_GETREGSET, PTRACE_SETREGSET = 0x4200, 0x4204, 0x4205
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # Linux 3.4
PTRACE_GETSIGMASK = 0x420A  # Linux 3.11
PTRACE_GET_SYSCALL_INFO = 0x420E  # Linux 5.3
PTRACE_GET_RSEQ_CONFIGURATION = 0x420F  # Linux 5.13
PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211  # Linux 6.4
PTRACE_EVENT_STOP = 128
PTRACE_SYSCALL_INFO_ENTRY = 1
PTRACE_O_TRACESYSGOOD = 1
PTRACE_O_SUSPEND_SECCOMP = 1 << 21  # Linux 4.3
NT_PRSTATUS = 1  # include/uapi/linux/elf.h: the general registers
SIGTRAP, SIGCHLD, SIGSTOP = 5, 17, 19
# signals that an instruction can raise: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS
FAULTS = (4, 5, 7, 8, 11, 31)
STOP_AT_CALL = SIGTRAP | 0x80  # the mark of PTRACE_O_TRACESYSGOOD
WALL = 0x40000000  # __WALL of wait(2): also threads and clones
VDSO_BYTES = 16384  # its size is about 8 KiB
RESTARTBLOCK = -516  # include/linux/errno.h
# results of a call that is restarted unless a signal handler runs
RESTARTS = (-512, -513, -514, RESTARTBLOCK)

STOP_TIMEOUT = 0.25  # seconds a thread gets to stop; until then it runs or sleeps as it likes
# polls for the next stop before sleeping: it comes within microseconds, and being woken takes
# several times as long
SPINS = 100
# seconds to sleep between two polls: short, so that the reported time of a stop is nearly exact
MAX_SLEEP = 0.001
# seconds for a system call of ours; if it takes longer, its cgroup has used up its CPU time or was
# frozen, or a page is missing
ENTRY_TIMEOUT = 0.01


class Architecture(Record):
    """What differs between processors. There is one for each that was tested."""

    audit: int  # AUDIT_ARCH_* of include/uapi/linux/audit.h
    bits: int  # of each register
    registers: int  # how many NT_PRSTATUS has
    size: int  # bytes of the instruction that enters the kernel
    # positions in the register set
    pc: int  # instruction pointer
    number: int  # of the system call
    arguments: tuple[int, ...]  # the first five
    result: int
    interrupted_call: int  # number of the call that it is in; -1: none, so nothing restarts
    # numbers of system calls
    waitid: int
    restart_syscall: int
    # the instruction that enters the kernel, to be found in the vDSO; None: it is not looked for
    instruction: bytes | None = None


ARCHITECTURES = {
    # arch/x86/include/asm/user_64.h, struct user_regs_struct; syscall(2) for the calling convention
    "x86_64": Architecture(
        audit=0xC000003E,
        bits=64,
        registers=27,
        size=2,
        pc=16,
        number=10,
        arguments=(14, 13, 12, 7, 9),
        result=10,
        interrupted_call=15,
        waitid=247,
        restart_syscall=219,
        instruction=b"\x0f\x05",
    )
}
# 32-bit programs on those machines, recognized by the size of their register set
COMPATIBLE = {
    # arch/x86/include/asm/user32.h, struct user_regs_struct32. There are three ways into the
    # kernel, but each is restarted by an int 0x80: sysenter and syscall return behind one
    # (arch/x86/entry/vdso/vdso32/system_call.S)
    "x86_64": Architecture(
        audit=0x40000003,
        bits=32,
        registers=17,
        size=2,
        pc=12,
        number=6,
        arguments=(0, 1, 2, 3, 4),
        result=6,
        interrupted_call=11,
        waitid=284,
        restart_syscall=0,
    )
}


class Refused(Exception):
    """This thread cannot be used, and was left as it was. word: the reason, for machines. The
    message gives it to people.
    """

    def __init__(self, word: str, explanation: str) -> None:
        super().__init__(explanation)
        self.word = word


class Ended(Exception):
    """The thread has ended, or another thread of its process has called execve(2)."""


class Interrupted(Exception):
    """Something came in between (SIGSTOP, its container was frozen or ran out of CPU time): release
    it, and leave it alone for now.
    """


def architecture() -> Architecture:
    """The architecture of this machine and this Python; raises :class:`Refused` if it is not
    supported.
    """
    machine = os.uname().machine
    bits = 64 if sys.maxsize > 1 << 32 else 32
    if machine not in ARCHITECTURES or bits == 32:
        raise Refused(
            "architecture",
            f"{machine} with a {bits}-bit Python is not supported yet, only a 64-bit one on"
            f" {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[machine]


class AddressSpace:
    """What has to be known about a process's memory. It is found out while the process runs, and
    without reading that memory.
    """

    def __init__(self) -> None:
        self.vdso: int | None = None  # where its vDSO begins
        # address of an instruction in the vDSO that enters the kernel; None: not found
        self.instruction: int | None = None
        # where the thread that was stopped last has its struct rseq; the next look() checks what is
        # mapped there. None: not needed so far
        self.rseq: int | None = None
        self.rseq_is_anonymous = False  # whether no file is mapped there

    def look(self, procfs: ProcFS, tid: int, arch: Architecture) -> None:
        """Look at the process before one of its threads is stopped. What the last look found stays
        valid as long as it runs the same program.

        The kernel maps the same vDSO into all 64-bit programs, ours included, at different
        addresses. The name ``[vdso]`` comes from the kernel; a restored program (CRIU) may have an
        older vDSO instead, which is not called that.
        """
        start = procfs.vdso_address(tid)
        if start != self.vdso:
            self.vdso, self.instruction = start, None
            mapping = procfs.mapping(tid, start) if start else None
            own = procfs.vdso_address(os.getpid())
            if (
                start
                and own
                and arch.instruction
                and mapping
                and (mapping.start, mapping.name, mapping.is_file) == (start, b"[vdso]", False)
            ):
                offset = (procfs.memory(os.getpid(), own, VDSO_BYTES) or b"").find(arch.instruction)
                self.instruction = start + offset if offset >= 0 else None
        if self.rseq is not None:
            mapping = procfs.mapping(tid, self.rseq)
            self.rseq_is_anonymous = mapping is not None and not mapping.is_file


class Tracee:
    """One thread under ptrace, from :meth:`seize` to :meth:`release`.

    The caller blocks all its signals before seize and until after release. Every method may raise
    :class:`Ended`.
    """

    def __init__(self, procfs: ProcFS, tid: int, arch: Architecture, space: AddressSpace) -> None:
        import ctypes  # takes 7 ms, which a sweep with nothing to do saves
        import signal

        self.procfs = procfs
        self.tid = tid
        self.space = space
        self.ctypes = ctypes
        self.sigtimedwait = signal.sigtimedwait
        self.libc_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self.libc_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        self.libc_ptrace.restype = ctypes.c_long
        self._set_architecture(arch)
        # register sets
        self.saved = b""  # when it was stopped
        self.between = b""  # between two calls
        self.entering = b""  # before a call
        self.mask = 0  # its signal mask when it was stopped
        self.restarts = False  # it was interrupted in a call that the kernel restarts
        self.instruction_at = 0  # address of the instruction that enters the kernel
        self.called = False
        self.running = False  # it was resumed and is not known to have stopped since
        self.resumes_safely = True  # if it were released right now, without further steps
        self.pending = 0  # a signal that arrived for it while it was held
        self.intact = True  # registers and mask were seen to be restored before it was released
        # seconds on CLOCK_MONOTONIC
        self.last_seen_running = 0.0
        self.stopped_since = 0.0  # the earliest moment at which it may have stopped; 0: it did not
        self.stopped_by_signal = False

    def _set_architecture(self, arch: Architecture) -> None:
        ctypes = self.ctypes
        self.arch = arch
        register = ctypes.c_uint64 if arch.bits == 64 else ctypes.c_uint32
        self.registers = (register * arch.registers)()
        self.iovec = (ctypes.c_size_t * 2)(
            ctypes.addressof(self.registers), ctypes.sizeof(self.registers)
        )

    def seize(self) -> None:
        """Become its tracer without stopping it. Raises :class:`Refused`."""
        try:
            self._ptrace(PTRACE_SEIZE)
        except PermissionError:
            raise self._not_permitted() from None

    def stop(self) -> bool:
        """Stop it. If it does not stop within :data:`STOP_TIMEOUT`, the result is False, and
        :meth:`release_if_stopped` has to be called until that returns True.
        """
        self.running = True
        self.last_seen_running = time.monotonic()
        self._ptrace(PTRACE_INTERRUPT)
        deadline = time.monotonic() + STOP_TIMEOUT
        while True:
            status = self._wait(deadline)
            if status is None:
                return False
            if status >> 16 == PTRACE_EVENT_STOP:
                self.running = False
                self.stopped_since = self.last_seen_running
                self.stopped_by_signal = os.WSTOPSIG(status) != SIGTRAP
                return True
            self._ptrace(PTRACE_CONT, 0, os.WSTOPSIG(status))  # deliver a signal of its own first

    def prepare(self) -> None:
        """Make sure that the stopped thread can run a system call. Raises :class:`Refused`."""
        if self.stopped_by_signal:
            raise Refused("stopped", "it is stopped by a signal")
        self._detect_architecture()
        self._require_suspendable_seccomp()
        self._require_no_syscall_user_dispatch()
        self.saved = bytes(self.registers)
        self.mask = self._mask()
        self._choose_entry()

    def call(self, number: int, *arguments: int) -> int:
        """Make it run one system call and return the result, ``-errno`` for an error. Raises
        :class:`Refused` or :class:`Interrupted`.
        """
        arch, registers = self.arch, self.registers
        if not (self.restarts and self.called):
            self._write_registers(self.entering)
        self.called = True
        self.resumes_safely = self.restarts
        self._run_to_entry()
        self._read_registers()
        registers[arch.interrupted_call] = number
        for place, value in zip(arch.arguments, arguments):
            registers[place] = value
        self._write_registers(bytes(registers))
        self._run_to_exit()
        self._read_registers()
        result = self._signed(registers[arch.result])
        self._write_registers(self.between)
        self.resumes_safely = True
        return result

    def release(self) -> bool:
        """Put everything back and let it run, unless it has ended meanwhile.

        If it does not stop for that in time, the result is False, and :meth:`release_if_stopped`
        has to be called until that returns True.
        """
        try:
            if self.running:
                return False
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)
            if self.called and not self.pending:
                self._write_registers(self.between)
                self.resumes_safely = True
                self._ptrace(PTRACE_INTERRUPT)
                self._resume(PTRACE_CONT)
                status = self._next_stop()
                if status >> 16 != PTRACE_EVENT_STOP:
                    self.pending = os.WSTOPSIG(status)
            if self.called:
                self._write_registers(self.saved)
                self._read_registers()
                self.intact = bytes(self.registers) == self.saved and self._mask() == self.mask
            self._ptrace(PTRACE_DETACH, 0, self.pending)
        except (Refused, OSError):
            return False
        except Ended:
            pass
        return True

    def release_if_stopped(self) -> bool:
        """Called after :meth:`stop` or :meth:`release` has returned False. True when it has stopped
        since and was released, or has ended.
        """
        try:
            status = self._wait(0)
            if status is None:
                return False
            self.running = False
            if status >> 8 == STOP_AT_CALL:
                with contextlib.suppress(Interrupted):
                    self._skip_call()
            else:
                self._keep_signal(status)
            return self.release()
        except (Refused, OSError):
            return False
        except Ended:
            return True

    def follow_execve(self, pid: int) -> bool:
        """Release it after it called execve(2) before it was stopped: its TID is the PID of its
        process now. The result is that of :meth:`release`.
        """
        self.tid = pid
        try:
            return self.stop() and self.release()
        except Ended:
            return True

    def _wait_for_its_end(self) -> None:
        """It is being killed. Its tracer has to wait for it: until then nobody else can, not even
        its own parent (ptrace(2)).
        """
        with contextlib.suppress(Ended):
            while self._wait(time.monotonic() + STOP_TIMEOUT) is not None:
                pass

    def _not_permitted(self) -> Refused:
        """Why PTRACE_SEIZE was refused (ptrace(2), access mode checking)."""
        status = self.procfs.status(self.tid)
        if status and status.tracer_pid:
            return Refused("traced", f"it is traced already, by PID {status.tracer_pid}")
        return Refused(
            "not_permitted",
            "the kernel does not permit it: a security module forbids it, or the parent is in"
            " another user namespace",
        )

    def _detect_architecture(self) -> None:
        """Read the registers; their size shows whether it runs 64-bit or 32-bit code."""
        written = self._read_registers()
        if written == self.ctypes.sizeof(self.registers):
            return
        arch = COMPATIBLE.get(os.uname().machine)
        if arch is None or written != arch.registers * arch.bits // 8:
            raise Refused("32_bit", "it runs 32-bit code")
        self._set_architecture(arch)
        self._read_registers()

    def _require_suspendable_seccomp(self) -> None:
        """Try it and undo it at once, while the thread is stopped and runs no code.

        It takes CAP_SYS_ADMIN, a sweep without a filter of its own, and CONFIG_CHECKPOINT_RESTORE.
        """
        if not self._suspend_seccomp():
            status = self.procfs.status(self.tid)
            if status is None or status.seccomp:
                raise Refused(
                    "seccomp_filter",
                    "its seccomp filter cannot be suspended from here and might kill it",
                )
        self._restore_seccomp()

    def _suspend_seccomp(self) -> bool:
        try:
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
        except OSError:
            return False
        return True

    def _restore_seccomp(self) -> None:
        self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)

    def _require_no_syscall_user_dispatch(self) -> None:
        """With PR_SET_SYSCALL_USER_DISPATCH (prctl(2), Linux 5.11) our call could raise SIGSYS in
        it. Kernels before 6.4 do not show whether that is set.
        """
        config = (self.ctypes.c_uint64 * 4)()
        if self._supports(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, config) and config[0]:
            raise Refused(
                "syscall_user_dispatch", "it handles its system calls itself, as Wine does"
            )

    def _choose_entry(self) -> None:
        """Choose the instruction with which it will enter the kernel, and the registers for before
        and between two calls.

        A thread that was interrupted in a call that restarts goes back to the instruction of that
        call, as the kernel would set it. The instruction is right before the instruction pointer if
        the call was made in the way of this architecture (a 64-bit program can make 32-bit calls).
        For any other thread it is the one in the vDSO, which is never paged out and which the
        kernel maps for everybody.
        """
        arch, registers = self.arch, self.registers
        own = self._signed(registers[arch.interrupted_call])
        result = self._signed(registers[arch.result])
        _op, audit, _pc = self._syscall_info()
        self.restarts = own != -1 and result in RESTARTS and audit == arch.audit
        if self.restarts:
            self.instruction_at = registers[arch.pc] - arch.size
            registers[arch.pc] = self.instruction_at
            registers[arch.number] = arch.restart_syscall if result == RESTARTBLOCK else own
            registers[arch.interrupted_call] = -1
            self.between = self.entering = bytes(registers)
            return
        if arch.instruction is None:
            raise Refused(
                "32_bit", "it runs 32-bit code and is not in a system call that would restart"
            )
        if self.space.instruction is None:
            raise Refused(
                "no_instruction",
                "it is not in a system call that would restart, and its vDSO is not known",
            )
        if self.procfs.vdso_address(self.tid) != self.space.vdso:
            raise Refused("busy", "it has started another program meanwhile")
        if own == -1:
            self._require_outside_rseq()
        self.between = self.saved
        self.instruction_at = self.space.instruction
        registers[arch.pc] = self.instruction_at
        registers[arch.number] = registers[arch.interrupted_call] = -1
        self.entering = bytes(registers)

    def _require_outside_rseq(self) -> None:
        """If it left a restartable sequence (rseq(2), Linux 4.18) and came back unnoticed, its data
        would be corrupted.

        No system call is allowed in such a sequence, so this matters only for a thread that was
        stopped elsewhere. Only its memory shows it. That is read only if no file was mapped there a
        moment ago; otherwise a tenant's file system could hold us up here, where not even SIGKILL
        would help.
        """
        config = (self.ctypes.c_uint64 * 3)()
        if not self._supports(PTRACE_GET_RSEQ_CONFIGURATION, config):
            raise Refused(
                "busy",
                "it is running, and this kernel (before 5.13) does not show whether it is in a"
                " restartable sequence",
            )
        if not config[0]:
            return
        if self.space.rseq != config[0]:
            self.space.rseq = config[0]
            raise Refused(
                "busy",
                "it is running, and what is mapped at its restartable-sequence area has yet to be"
                " checked",
            )
        if not self.space.rseq_is_anonymous:
            raise Refused(
                "busy",
                "it is running, and only a mapped file, which is not read, shows whether it is in a"
                " restartable sequence",
            )
        if self._memory(config[0] + 8, 8) != bytes(8):  # rseq_cs of struct rseq
            raise Refused("busy", "it is running and may be in a restartable sequence")

    def _run_to_entry(self) -> None:
        """Run it to the entry of the chosen call. If it enters another one, that is skipped, and
        :class:`Refused` raised.
        """
        self._resume(PTRACE_SYSCALL)
        self._require_stop_at_call(self._next_stop())
        if self._syscall_info() != (
            PTRACE_SYSCALL_INFO_ENTRY,
            self.arch.audit,
            self.instruction_at + self.arch.size,
        ):
            self._skip_call()
            raise Refused(
                "disturbed",
                "it entered another system call than the chosen one: another thread has changed its"
                " code",
            )

    def _run_to_exit(self) -> None:
        """Run it from the entry of a call to its exit, without its filter."""
        self._suspend_seccomp()
        self._resume(PTRACE_SYSCALL)
        # the kernel is executing our call, and waits for nobody
        status = self._next_stop(forever=True)
        self._restore_seccomp()
        self._require_stop_at_call(status)

    def _skip_call(self) -> None:
        """At the entry of a call, make it run none instead; no filter gets to see that. At an exit
        there is nothing to do.
        """
        if self._syscall_info()[0] == PTRACE_SYSCALL_INFO_ENTRY:
            self._read_registers()
            self.registers[self.arch.interrupted_call] = -1
            self._write_registers(bytes(self.registers))
            self._run_to_exit()

    def _syscall_info(self) -> tuple[int, int, int]:
        """The first fields of struct ptrace_syscall_info: (PTRACE_SYSCALL_INFO_*, AUDIT_ARCH_*,
        instruction pointer).
        """
        info = (self.ctypes.c_uint64 * 3)()
        self._ptrace(PTRACE_GET_SYSCALL_INFO, self.ctypes.sizeof(info), self.ctypes.addressof(info))
        return info[0] & 0xFF, info[0] >> 32, info[1]

    def _resume(self, request: int) -> None:
        self._ptrace(request)
        self.running = True

    def _next_stop(self, forever: bool = False) -> int:
        """The status of wait(2) at the next stop. Raises :class:`Refused` when that does not come;
        the thread then continues as it is.

        It may be in a page fault that a file system does not answer, frozen by cgroup v1, or out of
        the CPU time of its cgroup. If continuing with its present registers would harm it, and it
        is not in a page fault, it is waited for.
        """
        status = self._wait(time.monotonic() + ENTRY_TIMEOUT)
        while status is None:
            self._ptrace(PTRACE_INTERRUPT)  # wakes one that is frozen with cgroup v2
            status = self._wait(time.monotonic() + STOP_TIMEOUT)
            if (
                status is None
                and not forever
                and (self.resumes_safely or self.procfs.waits_for_a_page(self.tid))
            ):
                raise Refused(
                    "not_stopping", "it did not stop in time; it is let go as soon as it does"
                )
        self.running = False
        return status

    def _require_stop_at_call(self, status: int) -> None:
        """Raise :class:`Interrupted` if it has stopped for anything but a system call."""
        if status >> 8 != STOP_AT_CALL:
            self._keep_signal(status)
            raise Interrupted

    def _keep_signal(self, status: int) -> None:
        """If it has stopped for a signal, keep that to deliver it on release."""
        number = os.WSTOPSIG(status)
        is_our_doing = self.called and not self.restarts and number in FAULTS
        if status >> 16 != PTRACE_EVENT_STOP and not is_our_doing:
            self.pending = number

    def _signed(self, value: int) -> int:
        return value - (1 << self.arch.bits) if value >> self.arch.bits - 1 else value

    def _wait(self, deadline: float) -> int | None:
        """The status of wait(2) at its next stop; None when there is none before the deadline
        (CLOCK_MONOTONIC).
        """
        polls = 0
        while True:
            try:
                pid, status = os.waitpid(self.tid, WALL | os.WNOHANG)
            except ChildProcessError:
                raise Ended from None
            if pid:
                if not os.WIFSTOPPED(status):
                    raise Ended
                return status
            polls += 1
            self.last_seen_running = time.monotonic()
            if self.last_seen_running >= deadline:
                return None
            if polls < SPINS:
                os.sched_yield()
            else:
                self.sigtimedwait((SIGCHLD,), MAX_SLEEP)

    def _memory(self, address: int, size: int) -> bytes:
        return self.procfs.memory(self.tid, address, size) or b""

    def _read_registers(self) -> int:
        """Read the registers and return their size in bytes, which the kernel puts in iov_len."""
        size = self.ctypes.sizeof(self.registers)
        self.iovec[1] = size
        self._ptrace(PTRACE_GETREGSET, NT_PRSTATUS, self.ctypes.addressof(self.iovec))
        written: int = self.iovec[1]
        self.iovec[1] = size
        return written

    def _write_registers(self, content: bytes) -> None:
        self.ctypes.memmove(self.registers, content, len(content))
        self._ptrace(PTRACE_SETREGSET, NT_PRSTATUS, self.ctypes.addressof(self.iovec))

    def _mask(self) -> int:
        mask = self.ctypes.c_uint64()
        self._ptrace(PTRACE_GETSIGMASK, 8, self.ctypes.addressof(mask))
        return mask.value

    def _supports(self, request: int, config: Any) -> bool:
        """Fill config by a request that only newer kernels support; False on older ones."""
        try:
            self._ptrace(request, self.ctypes.sizeof(config), self.ctypes.addressof(config))
        except OSError:
            return False
        return True

    def _ptrace(self, request: int, address: int = 0, data: int = 0) -> None:
        if self.libc_ptrace(request, self.tid, address, data) == -1:
            error = self.ctypes.get_errno()
            if error == errno.ESRCH:
                self._wait_for_its_end()
                raise Ended
            raise OSError(error, os.strerror(error))
