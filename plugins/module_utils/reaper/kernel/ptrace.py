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
- On x86, a thread that was interrupted in a call that restarts is set to the instruction of that
  call, just as the kernel would do to restart it. Any other thread is set to such an instruction in
  the vDSO (vdso(7)).
- Where that cannot be done, the thread runs on until it enters a call by itself, an interrupted one
  at once, since that restarts: on aarch64 always, on x86 where the kernel does not show whether it
  is in a restartable sequence. :class:`OwnCall` has the details.
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
  calls (arch_do_signal_or_restart in arch/x86/kernel/signal.c). A thread that came to a call by
  itself is led to the entry of that call again and released there.

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
PTRACE_GETSIGINFO, PTRACE_SETSIGINFO = 0x4202, 0x4203
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_LISTEN = 0x4206, 0x4207, 0x4208  # Linux 3.4
PTRACE_GETSIGMASK = 0x420A  # Linux 3.11
PTRACE_GET_SYSCALL_INFO = 0x420E  # Linux 5.3
PTRACE_GET_RSEQ_CONFIGURATION = 0x420F  # Linux 5.13
PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211  # Linux 6.4
PTRACE_EVENT_STOP = 128
PTRACE_SYSCALL_INFO_ENTRY = 1
PTRACE_O_TRACESYSGOOD = 1
PTRACE_O_SUSPEND_SECCOMP = 1 << 21  # Linux 4.3
# include/uapi/linux/elf.h
NT_PRSTATUS = 1  # the general registers
NT_ARM_SYSTEM_CALL = 0x404  # the number of the call that it is in; -1: none
SIGTRAP, SIGCHLD, SIGSTOP = 5, 17, 19
SI_KERNEL = 0x80  # include/uapi/asm-generic/siginfo.h: si_code of a signal that the kernel sends
SIGINFO_BYTES = 128
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
# that may come before it gets to its next system call; with more, somebody sends them all the time
MAX_SIGNALS = 1000
# seconds of CPU time within which a thread that runs as it likes enters a system call by itself,
# or calculates; and how often that is looked at
MAX_CALCULATION = 0.02
CALCULATION_STEP = 0.005


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
    # a call that does nothing and looks at no argument
    sched_yield: int
    # whether the number of the call that it is in has a register set of its own
    # (NT_ARM_SYSTEM_CALL); interrupted_call means nothing then
    number_is_apart: bool = False
    # the instruction that enters the kernel, to be found in the vDSO; None: it is not looked for
    instruction: bytes | None = None
    # bits that the kernel changes as it likes, by position in the register set
    not_its_own: tuple[tuple[int, int], ...] = ()


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
        sched_yield=24,
        instruction=b"\x0f\x05",
    ),
    # arch/arm64/include/uapi/asm/ptrace.h, struct user_pt_regs: x0 to x30, sp, pc, pstate
    "aarch64": Architecture(
        audit=0xC00000B7,
        bits=64,
        registers=34,
        size=4,
        pc=32,
        number=8,
        arguments=(0, 1, 2, 3, 4),
        result=0,
        interrupted_call=-1,
        waitid=95,
        restart_syscall=128,
        sched_yield=124,
        number_is_apart=True,
        not_its_own=(
            (7, 0xFFFFFFFFFFFFFFFF),  # tells entry from exit (report_syscall() of ptrace.c)
            (33, 1 << 12),  # PSR_SSBS_BIT, set when it is scheduled
        ),
    ),
}
# 32-bit programs on those machines, recognized by the size of their register set. Those of aarch64
# are refused
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
        sched_yield=158,
    )
}


class OwnCall(Record):
    """A system call that the thread has entered by itself, and in place of which it runs ours.

    At the entry our call takes its place. At the exit the thread gets the registers back that it
    came with, but for the instruction pointer, which is set back to the instruction that enters the
    kernel. So it enters its own call again, and so on. It is released at such an entry, and has
    lost nothing: it has just begun its call, as the kernel would begin an interrupted one again.

    - On aarch64 that is the only way. In a PTRACE_INTERRUPT stop do_signal() (arch/arm64/kernel/
      signal.c) has set the thread back already and forgotten which call it was in and how that is
      restarted. Besides, nothing else is discarded of the vector registers than its own call
      discards.
    - A signal with a handler that arrives between two calls must not be handled there. pause(2),
      which was interrupted only by us, would begin again after the handler and never return. So it
      is held back, and sent again when the thread is at the entry of its own call (ptrace(2),
      "Signal injection"). Then the kernel decides whether that call fails with EINTR or restarts.
      Its siginfo is put back when it is delivered.
    - Any other signal does to the thread what it does to all of the process, wherever it is.
    """

    number: int
    address: int  # the instruction pointer: behind the instruction that enters the kernel
    registers: bytes
    mask: int  # of signals


class HeldBack(Record):
    """A signal that arrived while the thread was between two calls."""

    number: int
    info: bytes  # siginfo_t


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
        if not arch.instruction:
            return
        start = procfs.vdso_address(tid)
        if start != self.vdso:
            self.vdso, self.instruction = start, None
            mapping = procfs.mapping(tid, start) if start else None
            own = procfs.vdso_address(os.getpid())
            if (
                start
                and own
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
        self.own: OwnCall | None = None  # None: it is not at a call that it has entered by itself
        self.comes_by_itself = False  # it was or is to come to one
        self.at_own_call = False  # it is at the entry of that call now, or of the one after it
        self.held_back: list[HeldBack] = []
        self.sent_again: list[HeldBack] = []  # and not delivered yet
        self.running = False  # it was resumed and is not known to have stopped since
        self.resumes_safely = True  # if it were released right now, without further steps
        self.pending = 0  # a signal that arrived for it while it was held
        self.signals = 0  # that have stopped it
        self.is_init = False  # of a PID namespace
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
        status = self.procfs.status(self.tid)
        self.is_init = status is not None and status.ns_pid[-1] == 1

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
            self._ptrace(PTRACE_CONT, 0, self._signal(status))  # deliver a signal of its own first

    def prepare(self) -> None:
        """Make sure that the stopped thread can run a system call. Raises :class:`Refused`."""
        if self.stopped_by_signal:
            raise Refused("stopped", "it is stopped by a signal")
        self._detect_architecture()
        self._require_suspendable_seccomp()
        self._require_no_syscall_user_dispatch()
        self.saved = bytes(self.registers)
        self.mask = self._mask()
        if not self._choose_entry():
            self._wait_for_own_call()

    def call(self, number: int, *arguments: int) -> int:
        """Make it run one system call and return the result, ``-errno`` for an error. Raises
        :class:`Refused` or :class:`Interrupted`.
        """
        if not (self.restarts and self.called or self.own):
            self._write_registers(self.entering)
        self.called = True
        self._run_to_entry()
        self._exchange_call(number, arguments)
        self._run_to_exit()
        self._read_registers()
        result = self._signed(self.registers[self.arch.result])
        self._set_back()
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
            if self.comes_by_itself:
                return self._release_at_own_call()
            if self.called and not self.pending:
                self._write_registers(self.between)
                self.resumes_safely = True
                self._ptrace(PTRACE_INTERRUPT)
                self._resume(PTRACE_CONT)
                self.pending = self._signal(self._next_stop())
            if self.called:
                self._write_registers(self.saved)
                self._read_registers()
                self.intact = bytes(self.registers) == self.saved and self._mask() == self.mask
            self._detach(self.pending)
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
            if self.comes_by_itself:
                self.at_own_call = status >> 8 == STOP_AT_CALL
                self.stopped_by_signal = (
                    status >> 16 == PTRACE_EVENT_STOP and os.WSTOPSIG(status) != SIGTRAP
                )
                number = os.WSTOPSIG(status)
                is_between = self.own and not (self.at_own_call or self.sent_again)
                if is_between and status >> 16 != PTRACE_EVENT_STOP and self._is_caught(number):
                    self.held_back.append(HeldBack(number, self._siginfo()))
                elif not self.at_own_call:
                    self._keep_signal(status)
            elif status >> 8 == STOP_AT_CALL:
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

    def _choose_entry(self) -> bool:
        """Choose the instruction with which it will enter the kernel, and the registers for before
        and between two calls. False: it has to come to one by itself.

        A thread that was interrupted in a call that restarts goes back to the instruction of that
        call, as the kernel would set it. The instruction is right before the instruction pointer if
        the call was made in the way of this architecture (a 64-bit program can make 32-bit calls).
        For any other thread it is the one in the vDSO, which is never paged out and which the
        kernel maps for everybody.
        """
        arch, registers = self.arch, self.registers
        if arch.number_is_apart:
            return False
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
            return True
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
        if own == -1 and not self._is_outside_rseq():
            return False
        self.between = self.saved
        self.instruction_at = self.space.instruction
        registers[arch.pc] = self.instruction_at
        registers[arch.number] = registers[arch.interrupted_call] = -1
        self.entering = bytes(registers)
        return True

    def _is_outside_rseq(self) -> bool:
        """True, or :class:`Refused` is raised. False: this kernel (before 5.13) does not show it.

        If it left a restartable sequence (rseq(2), Linux 4.18) and came back unnoticed, its data
        would be corrupted.

        No system call is allowed in such a sequence, so this matters only for a thread that was
        stopped elsewhere. Only its memory shows it. That is read only if no file was mapped there a
        moment ago; otherwise a tenant's file system could hold us up here, where not even SIGKILL
        would help.
        """
        config = (self.ctypes.c_uint64 * 3)()
        if not self._supports(PTRACE_GET_RSEQ_CONFIGURATION, config):
            return False
        if not config[0]:
            return True
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
        return True

    def _wait_for_own_call(self) -> None:
        """Let it run until it enters a system call by itself; one that was interrupted in a call
        that restarts does so at once. Until then nothing of it is changed, so its signals are
        delivered as they come.
        """
        self.comes_by_itself = True
        began = self.procfs.cpu_seconds(self.tid)
        deadline = time.monotonic() + STOP_TIMEOUT
        signal, calculated = 0, 0.0
        while True:
            self._resume(PTRACE_SYSCALL, signal)
            status = None
            while status is None and calculated < MAX_CALCULATION and time.monotonic() < deadline:
                status = self._wait(time.monotonic() + CALCULATION_STEP)
                calculated = self.procfs.cpu_seconds(self.tid) - began
            is_over = status is None
            if status is None:
                self._ptrace(PTRACE_INTERRUPT)
                status = self._wait(time.monotonic() + STOP_TIMEOUT)
            if status is None:
                raise Refused(
                    "not_stopping", "it did not stop in time; it is released as soon as it does"
                )
            self.running = False
            self.stopped_since = self.last_seen_running
            if status >> 8 == STOP_AT_CALL:
                break
            if status >> 16 == PTRACE_EVENT_STOP and os.WSTOPSIG(status) != SIGTRAP:
                self.stopped_by_signal = True
                raise Interrupted
            if is_over:
                self._keep_signal(status)
                if calculated < MAX_CALCULATION:
                    raise Refused("busy", "it is to run, and gets hardly any CPU time")
                raise Refused(
                    "no_system_call",
                    "it calculates and makes no system call, and on this kernel or processor only a"
                    " thread that does can be used",
                )
            signal = self._signal(status)
            if self.signals > MAX_SIGNALS:
                self.pending = signal
                raise Interrupted
        self.at_own_call = True
        op, audit, address = self._syscall_info()
        if (op, audit) != (PTRACE_SYSCALL_INFO_ENTRY, self.arch.audit):
            raise Refused("busy", "it is making a system call in another way than usual")
        arch, registers = self.arch, self.registers
        self._read_registers()
        number = self._read_number()
        self.own = OwnCall(number, address, bytes(registers), self._mask())
        registers[arch.pc] = address - arch.size
        if not arch.number_is_apart:
            registers[arch.number] = number
            registers[arch.interrupted_call] = -1
        self.between = bytes(registers)

    def _run_to_own_call(self, own: OwnCall) -> None:
        """Run it to the entry of its own call again. Raises :class:`Interrupted` when a signal
        was held back meanwhile, or has stopped it elsewhere.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        signal = 0
        while not self.at_own_call:
            self._resume(PTRACE_SYSCALL, signal)
            status = self._next_stop()
            if status >> 8 == STOP_AT_CALL:
                self.at_own_call = True
                if (
                    self._syscall_info()
                    != (
                        PTRACE_SYSCALL_INFO_ENTRY,
                        self.arch.audit,
                        own.address,
                    )
                    or self._read_number() != own.number
                ):
                    self.own = None  # this one is the program's own too, and left to its filter
                    raise Refused(
                        "disturbed",
                        "it entered another system call than the one before: another thread has"
                        " changed its code",
                    )
                break
            if status >> 16 == PTRACE_EVENT_STOP and os.WSTOPSIG(status) != SIGTRAP:
                self.stopped_by_signal = True
                raise Interrupted
            signal = self._signal(status)
            if self.signals > MAX_SIGNALS:
                self.pending = signal
                raise Interrupted
            if signal and time.monotonic() < deadline and self._is_caught(signal):
                self.held_back.append(HeldBack(signal, self._siginfo()))
                signal = 0
        if self.held_back:
            raise Interrupted

    def _is_caught(self, number: int) -> bool:
        """Whether its process handles that signal, and it comes from outside: one that an
        instruction raises belongs to that instruction.
        """
        if self._is_of_an_instruction(number):
            return False
        status = self.procfs.status(self.tid)
        return status is not None and bool(status.caught >> number - 1 & 1)

    def _release_at_own_call(self) -> bool:
        """Release it where it goes on as if nobody had been there: see :class:`OwnCall`. The
        result is that of :meth:`release`.
        """
        if not self.resumes_safely:
            self._set_back()
        if self.own and not (self.at_own_call or self.pending or self.stopped_by_signal):
            with contextlib.suppress(Interrupted, Refused):
                self._run_to_own_call(self.own)
            if self.running:
                return False
        if self.own and self.called and self.at_own_call:
            self._read_registers()
            self.intact = (
                self._comparable(bytes(self.registers)) == self._comparable(self.own.registers)
                and self._read_number() == self.own.number
                and self._mask() == self.own.mask
            )
        if self.stopped_by_signal and self.held_back:
            self._resume(PTRACE_LISTEN)  # it stays stopped; its end makes it stop here again
            return False
        if self.held_back or self.sent_again:
            return self._send_again()
        self._detach(self.pending)
        return True

    def _send_again(self) -> bool:
        """At the entry of a system call of its own: send the signals that were held back, one at
        each stop for a call, and release it at the delivery of the last one.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        at_call, signal = self.at_own_call, self.pending
        if signal:
            self._put_siginfo_back(signal)
        while True:
            if at_call and self.held_back:
                self.sent_again.append(self.held_back.pop(0))
                signal = self.sent_again[-1].number
            self.at_own_call, self.pending = False, 0
            if self.held_back:
                self._resume(PTRACE_SYSCALL, signal)
            else:
                self._resume(PTRACE_CONT, signal)
            status = self._wait(deadline)
            if status is None:
                self._ptrace(PTRACE_INTERRUPT)
                status = self._wait(time.monotonic() + STOP_TIMEOUT)
            if status is None:
                return False
            self.running = False
            at_call = status >> 8 == STOP_AT_CALL
            signal = 0
            if at_call:
                continue
            if status >> 16 == PTRACE_EVENT_STOP:
                if not self.held_back and (
                    os.WSTOPSIG(status) != SIGTRAP or time.monotonic() >= deadline
                ):
                    self._detach()  # what was sent again is pending
                    return True
                if os.WSTOPSIG(status) != SIGTRAP:
                    self._resume(PTRACE_LISTEN)
                    return False
                if time.monotonic() >= deadline:
                    self._resume(PTRACE_SYSCALL)
                    return False
            else:
                signal = self._signal(status)
                self._put_siginfo_back(os.WSTOPSIG(status))
                if self.signals > MAX_SIGNALS or not (self.held_back or self.sent_again):
                    self._detach(signal)
                    return True

    def _put_siginfo_back(self, number: int) -> None:
        """If the signal that is about to be delivered is one that was sent again."""
        sender = int.from_bytes(self._siginfo()[8:12], sys.byteorder)
        for held in self.sent_again:
            if held.number == number and sender == SI_KERNEL:
                self.sent_again.remove(held)
                info = (self.ctypes.c_uint64 * (SIGINFO_BYTES // 8)).from_buffer_copy(held.info)
                self._ptrace(PTRACE_SETSIGINFO, 0, self.ctypes.addressof(info))
                return

    def _siginfo(self) -> bytes:
        info = (self.ctypes.c_uint64 * (SIGINFO_BYTES // 8))()
        self._ptrace(PTRACE_GETSIGINFO, 0, self.ctypes.addressof(info))
        return bytes(info)

    def _comparable(self, content: bytes) -> list[int]:
        """The registers without what the kernel changes as it likes."""
        size = self.arch.bits // 8
        values = [
            int.from_bytes(content[at : at + size], sys.byteorder)
            for at in range(0, len(content), size)
        ]
        for position, bits in self.arch.not_its_own:
            values[position] &= ~bits
        return values

    def _run_to_entry(self) -> None:
        """Run it to the entry of the chosen call. If it enters another one, that is skipped, and
        :class:`Refused` raised.
        """
        if self.own:
            self._run_to_own_call(self.own)
            return
        self.resumes_safely = self.restarts
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

    def _exchange_call(self, number: int, arguments: tuple[int, ...]) -> None:
        """At the entry of a call, put another one in its place."""
        arch, registers = self.arch, self.registers
        self._read_registers()
        for place, value in zip(arch.arguments, arguments):
            registers[place] = value
        self.resumes_safely = self.at_own_call = False
        if not arch.number_is_apart:
            registers[arch.interrupted_call] = number
            self._write_registers(bytes(registers))
            return
        # If this process is killed between these steps, neither call runs with the arguments of the
        # other one
        self._write_number(arch.sched_yield)
        self._write_registers(bytes(registers))
        self._write_number(number)

    def _set_back(self) -> None:
        """Give it the registers with which it goes on by itself."""
        self._write_registers(self.between)
        if self.arch.number_is_apart:
            self._write_number(-1)
        self.resumes_safely = True

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

    def _resume(self, request: int, signal: int = 0) -> None:
        self._ptrace(request, 0, signal)
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
        number = self._signal(status)
        is_our_doing = (
            self.called
            and not (self.restarts or self.comes_by_itself)
            and self._is_of_an_instruction(number)
        )
        if number and not is_our_doing:
            self.pending = number

    def _signal(self, status: int) -> int:
        """The signal that is to be delivered to it, if it has stopped for one; else 0.

        The init of a PID namespace gets no SIGSTOP from inside of it: the kernel drops that when it
        is sent, but not while the init is traced (sig_ignored() in kernel/signal.c).
        """
        if status >> 16 == PTRACE_EVENT_STOP:
            return 0
        self.signals += 1
        number = os.WSTOPSIG(status)
        if number == SIGSTOP and self.is_init:
            sender = int.from_bytes(self._siginfo()[16:20], sys.byteorder)
            return 0 if sender else number  # a sender outside has no PID in there
        return number

    def _is_of_an_instruction(self, number: int) -> bool:
        """Whether an instruction has raised the signal for which it has stopped, and nobody has
        sent it.
        """
        if number not in FAULTS:
            return False
        code = int.from_bytes(self._siginfo()[8:12], sys.byteorder, signed=True)
        return code > 0  # si_code

    def _detach(self, signal: int = 0) -> None:
        """Release it where it goes on by itself, with this signal."""
        self.called = self.comes_by_itself = False  # nothing is left to be put back
        while self.is_init and self.signals <= MAX_SIGNALS:
            status = self.procfs.status(self.tid)
            if status is None or not status.pending >> SIGSTOP - 1 & 1:
                break
            self._resume(PTRACE_CONT, signal)  # it may come from inside: see _signal()
            signal = self._signal(self._next_stop())
        self._ptrace(PTRACE_DETACH, 0, signal)

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

    def _read_number(self) -> int:
        """Number of the system call that it is in."""
        if not self.arch.number_is_apart:
            self._read_registers()
            return self._signed(self.registers[self.arch.interrupted_call])
        number, where = self._number_set(0)
        self._ptrace(PTRACE_GETREGSET, NT_ARM_SYSTEM_CALL, self.ctypes.addressof(where))
        return int(number[0])

    def _write_number(self, value: int) -> None:
        _number, where = self._number_set(value)
        self._ptrace(PTRACE_SETREGSET, NT_ARM_SYSTEM_CALL, self.ctypes.addressof(where))

    def _number_set(self, value: int) -> tuple[Any, Any]:
        number = (self.ctypes.c_uint32 * 1)(value)
        size = self.ctypes.sizeof(number)
        return number, (self.ctypes.c_size_t * 2)(self.ctypes.addressof(number), size)

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
