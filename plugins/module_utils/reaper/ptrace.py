# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop one thread for a moment, let it run system calls of our choice, and put it back exactly as it was.

Source: ptrace(2). How, for readers who never used it:

- PTRACE_SEIZE makes this process the tracer of the thread and does not disturb it; PTRACE_INTERRUPT stops it, unseen by
  anybody: no SIGSTOP, no word to its parent. A system call it slept in is interrupted and restarts later by itself
  (signal(7): a few return EINTR instead, epoll_wait(2) for one, as after any debugger).
- In that stop its registers are ours to read and to set. Resumed by PTRACE_SYSCALL it stops twice at each system call: before it,
  where number and arguments can be exchanged for ours, and after it, the result in a register. No instruction of the
  program runs meanwhile but the one that enters the kernel, and no byte of its memory is written.
- A thread that was interrupted in a system call is set to that very instruction, as the kernel sets it to restart the call, and ours
  takes its place at the entry. A thread that was running is set to such an instruction in the vDSO (vdso(7)).
- These stops raise no signal. A single step would raise SIGTRAP, which resets a handler that the program has for it, and ends
  the program if this process dies at that moment. The signal mask is not touched: a signal for the thread stops it before it is
  delivered. Then the registers are put back, it is released with that signal, and it handles it as if nobody had been there.
- At last the thread is led into one more PTRACE_INTERRUPT stop, the registers are put back, and it is released. From that kind of
  stop it goes on to where the kernel restarts interrupted system calls (arch_do_signal_or_restart in arch/x86/kernel/signal.c).

If this process is killed in between, the kernel releases the thread with whatever registers it has. That cannot be prevented,
only made short and mild. Between two calls an interrupted thread has registers with which it goes on rightly by itself; within one it gets our
result for its own call. The caller blocks its signals, so that only SIGKILL can do that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections import namedtuple

# include/uapi/linux/ptrace.h
PTRACE_CONT, PTRACE_DETACH, PTRACE_SYSCALL = 7, 17, 24
PTRACE_SETOPTIONS, PTRACE_GETREGSET, PTRACE_SETREGSET = 0x4200, 0x4204, 0x4205
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # Linux 3.4
PTRACE_GETSIGMASK = 0x420A  # Linux 3.11
PTRACE_GET_RSEQ_CONFIGURATION = 0x420F  # Linux 5.13
PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211  # Linux 6.4
PTRACE_EVENT_STOP = 128
PTRACE_O_TRACESYSGOOD = 1
PTRACE_O_SUSPEND_SECCOMP = 1 << 21  # Linux 4.3
NT_PRSTATUS = 1  # include/uapi/linux/elf.h: the general registers
SIGTRAP, SIGCHLD, SIGSTOP = 5, 17, 19
FAULTS = (4, 5, 7, 8, 11, 31)  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: what an instruction can raise
STOP_AT_CALL = SIGTRAP | 0x80  # the mark of PTRACE_O_TRACESYSGOOD
WALL = 0x40000000  # __WALL of wait(2): threads and clones too
YAMA_NO_ATTACH = "3"  # Documentation/admin-guide/LSM/Yama.rst
VDSO_BYTES = 16384  # it has about 8 KiB
MINUS_ONE = (1 << 64) - 1
RESTARTBLOCK = -516  # include/linux/errno.h
RESTARTS = (-512, -513, -514, RESTARTBLOCK)  # results of a call that is restarted where no handler runs

UNTIL_STOPPED = 0.25  # seconds a thread gets to stop; it runs or sleeps as it likes meanwhile
LOOKS = 100  # for the next stop before sleeping: it comes within microseconds, being woken takes several times as long
LONGEST_SLEEP = 0.001  # seconds until it looks again, so that what is said of the time it was stopped is not far off
UNTIL_CALLED = 0.01  # seconds for a system call of ours; longer means that its cgroup has used up its CPU time, or was frozen


class Architecture(
    namedtuple(
        "Architecture",
        ("registers", "instruction", "pc", "number", "arguments", "result", "interrupted_call", "waitid", "restart_syscall"))
):
    """What differs between processors: one entry in :data:`ARCHITECTURES` for each that was tested.

    registers: how many 64-bit registers NT_PRSTATUS has. instruction: bytes of the one that enters the kernel.
    Places in the register set: pc (instruction pointer), number (of the system call), arguments (the first five), result,
    interrupted_call (number of the call that it is in, -1 for none: then nothing is restarted). waitid, restart_syscall: numbers
    of those calls.
    """

    __slots__ = ()


ARCHITECTURES = {
    # arch/x86/include/asm/user_64.h, struct user_regs_struct; syscall(2) for the calling convention
    "x86_64": Architecture(
        27, b"\x0f\x05", pc=16, number=10, arguments=(14, 13, 12, 7, 9), result=10, interrupted_call=15, waitid=247, restart_syscall=219),
}


class Refused(Exception):
    """This thread cannot be used, and was left as it was. word: why, for machines. The message says it to people."""

    def __init__(self, word: str, explanation: str) -> None:
        super().__init__(explanation)
        self.word = word


class Ended(Exception):
    """The thread has ended, or another one of its process has called execve(2)."""


class Interrupted(Exception):
    """Something came in between (SIGSTOP, a container frozen or out of CPU time): release it, and do not go on for now."""


def architecture() -> Architecture:
    """Of this machine and this Python; raises :class:`Refused` where it has no entry."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 1 << 32:
        raise Refused("architecture", "not done yet on %s with a %d-bit Python, only on %s" % (
            machine, 64 if sys.maxsize > 1 << 32 else 32, ", ".join(ARCHITECTURES)))
    return ARCHITECTURES[machine]


class Tracee:
    """One thread under ptrace, from :meth:`seize` to :meth:`release`.

    The caller blocks all its signals before seize and until after release. Every method may raise :class:`Ended`.
    """

    def __init__(self, procfs, pid: int, arch: Architecture) -> None:
        import ctypes  # 7 ms of start-up that a sweep with nothing to do does without
        import signal

        self.procfs = procfs
        self.pid = pid
        self.arch = arch
        self.ctypes = ctypes
        self.sigtimedwait = signal.sigtimedwait
        self.libc_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self.libc_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        self.libc_ptrace.restype = ctypes.c_long
        self.registers = (ctypes.c_uint64 * arch.registers)()
        self.iovec = (ctypes.c_size_t * 2)(ctypes.addressof(self.registers), ctypes.sizeof(self.registers))
        self.saved = self.between = None  # bytes of the registers: when it was stopped, and to have between two calls
        self.mask = 0
        self.restarts = False  # whether it was interrupted in a call that the kernel restarts
        self.instruction_at = 0
        self.called = False
        self.pending = 0  # a signal that is being delivered to it while we hold it
        self.intact = True  # whether registers and mask were seen to be back before it was released
        self.last_seen_running = self.stopped_since = 0.0  # CLOCK_MONOTONIC; it stopped at that moment or later
        self.stopped_by_signal = False

    def seize(self) -> None:
        """Become its tracer, without stopping it. Raises :class:`Refused`."""
        try:
            self._ptrace(PTRACE_SEIZE)
        except PermissionError:
            raise self._not_permitted() from None

    def stop(self) -> bool:
        """Stop it. False when it does not stop within :data:`UNTIL_STOPPED`: then :meth:`release_if_stopped` is due until it says so."""
        self.last_seen_running = time.monotonic()
        self._ptrace(PTRACE_INTERRUPT)
        deadline = time.monotonic() + UNTIL_STOPPED
        while True:
            status = self._wait(deadline)
            if status is None:
                return False
            if status >> 16 == PTRACE_EVENT_STOP:
                self.stopped_since = self.last_seen_running
                self.stopped_by_signal = os.WSTOPSIG(status) != SIGTRAP
                return True
            self._ptrace(PTRACE_CONT, 0, os.WSTOPSIG(status))  # a signal of its own comes first

    def prepare(self) -> None:
        """Make sure that the stopped thread can run a call. Raises :class:`Refused`."""
        if self.stopped_by_signal:
            raise Refused("stopped", "it is stopped by a signal")
        if self._read_registers() != self.ctypes.sizeof(self.registers):
            raise Refused("32_bit", "it runs 32-bit code")
        self._set_seccomp_aside()
        self._require_no_syscall_user_dispatch()
        self.instruction_at = self._instruction()
        self.saved = bytes(self.registers)
        self.mask = self._mask()
        self.between = self._between_calls()

    def call(self, number: int, *arguments: int) -> int:
        """Let it run one system call; returns what that returned, ``-errno`` for an error. Raises :class:`Interrupted`."""
        arch, registers = self.arch, self.registers
        if self.restarts:
            if not self.called:
                self._write_registers(self.between)
            self.called = True
            self._to_stop_at_call()  # at the entry to its own call
            self._read_registers()
            registers[arch.interrupted_call] = number
        else:
            self.ctypes.memmove(registers, self.saved, len(self.saved))
            registers[arch.pc] = self.instruction_at
            registers[arch.number] = number
            registers[arch.interrupted_call] = MINUS_ONE
        self.called = True
        for place, value in zip(arch.arguments, arguments):
            registers[place] = value
        self._write_registers(bytes(registers))
        if not self.restarts:
            self._to_stop_at_call()
        self._to_stop_at_call()
        self._read_registers()
        result = self.ctypes.c_int64(registers[arch.result]).value
        self._write_registers(self.between)
        return result

    def release(self) -> None:
        """Put everything back and let it run. Where it has ended meanwhile there is nothing to put back."""
        try:
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)
            if self.called and not self.pending:
                self._ptrace(PTRACE_INTERRUPT)
                self._ptrace(PTRACE_CONT)
                status = self._wait(None)
                if status >> 16 != PTRACE_EVENT_STOP:
                    self.pending = os.WSTOPSIG(status)
            if self.called:
                self._write_registers(self.saved)
                self._read_registers()
                self.intact = bytes(self.registers) == self.saved and self._mask() == self.mask
            self._ptrace(PTRACE_DETACH, 0, self.pending)
        except Ended:
            pass

    def release_if_stopped(self) -> bool:
        """After :meth:`stop` has returned False: whether it has stopped by now and was released, or has ended."""
        try:
            status = self._wait(0)
            if status is None:
                return False
            self.pending = 0 if status >> 16 == PTRACE_EVENT_STOP else os.WSTOPSIG(status)
            self.release()
        except Ended:
            pass
        return True

    def _see_it_end(self) -> None:
        """It is being killed. Its tracer has to wait for it: until then nobody else can, its own parent included (ptrace(2))."""
        with contextlib.suppress(Ended):
            while self._wait(time.monotonic() + UNTIL_STOPPED) is not None:
                pass

    def _not_permitted(self) -> Refused:
        """Why PTRACE_SEIZE was refused (ptrace(2), access mode checking)."""
        status = self.procfs.status(self.pid)
        if status and status.tracer_pid:
            return Refused("traced", "it is traced already, by PID %d" % status.tracer_pid)
        if self.procfs.yama_scope() == YAMA_NO_ATTACH:
            return Refused("yama", "kernel.yama.ptrace_scope is 3: nobody may trace until the node is booted again")
        return Refused("not_permitted", "the kernel does not permit it: the sweep lacks CAP_SYS_PTRACE, or a security module is in the way")

    def _set_seccomp_aside(self) -> None:
        """A filter may answer our call with SIGKILL. It is suspended while the thread is stopped, so no code of the program runs without it.

        That takes CAP_SYS_ADMIN, no filter on the sweep itself, and CONFIG_CHECKPOINT_RESTORE.
        """
        try:
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
        except OSError:
            status = self.procfs.status(self.pid)
            if status is None or status.seccomp:
                raise Refused("seccomp_filter", "its seccomp filter cannot be set aside from here and might kill it") from None
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)

    def _require_no_syscall_user_dispatch(self) -> None:
        """prctl(2), PR_SET_SYSCALL_USER_DISPATCH (Linux 5.11): our call could raise SIGSYS in it. Kernels before 6.4 do not tell."""
        config = (self.ctypes.c_uint64 * 4)()
        if self._supports(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, config) and config[0]:
            raise Refused("syscall_user_dispatch", "it handles its system calls itself, as Wine does")

    def _instruction(self) -> int:
        """Address of an instruction that enters the kernel: the one it is in, else one in its vDSO (vdso(7))."""
        arch, size = self.arch, len(self.arch.instruction)
        if self.registers[arch.interrupted_call] == MINUS_ONE:
            self._require_outside_rseq()
        else:
            address = self.registers[arch.pc] - size
            if self._memory(address, size) == arch.instruction:
                return address
        start = self.procfs.vdso_address(self.pid)
        offset = self._memory(start, VDSO_BYTES).find(arch.instruction) if start else -1
        if offset < 0:
            raise Refused("no_instruction", "no system call instruction was found, neither where it is nor in a vDSO")
        return start + offset

    def _between_calls(self) -> bytes:
        """Registers to leave it with between two calls: ready to restart its own, as the kernel would set it; else as they were."""
        arch, registers = self.arch, self.registers
        own, result = registers[arch.interrupted_call], self.ctypes.c_int64(registers[arch.result]).value
        at_its_own = registers[arch.pc] - len(arch.instruction) == self.instruction_at
        self.restarts = own != MINUS_ONE and result in RESTARTS and at_its_own
        if self.restarts:
            registers[arch.pc] = self.instruction_at
            registers[arch.number] = arch.restart_syscall if result == RESTARTBLOCK else own
            registers[arch.interrupted_call] = MINUS_ONE
        return bytes(registers)

    def _require_outside_rseq(self) -> None:
        """Inside a restartable sequence (rseq(2), Linux 4.18) leaving and coming back unnoticed would corrupt its data.

        No system call is allowed in one, so this is asked only of a thread that was stopped elsewhere.
        """
        config = (self.ctypes.c_uint64 * 3)()
        if not self._supports(PTRACE_GET_RSEQ_CONFIGURATION, config):
            raise Refused("busy", "it is running, and this kernel (before 5.13) does not tell whether in a restartable sequence")
        if config[0] and self._memory(config[0] + 8, 8) != bytes(8):  # rseq_cs of struct rseq
            raise Refused("busy", "it is running, perhaps in a restartable sequence")

    def _to_stop_at_call(self) -> None:
        """On to the next stop, at the entry to a system call or at its exit."""
        self._ptrace(PTRACE_SYSCALL)
        status = self._wait(time.monotonic() + UNTIL_CALLED)
        if status is None:  # frozen with cgroup v2 this wakes it; with v1, or without CPU time, it comes when it can
            self._ptrace(PTRACE_INTERRUPT)
            status = self._wait(None)
        if status >> 8 == STOP_AT_CALL:
            return
        number = os.WSTOPSIG(status)
        if status >> 16 != PTRACE_EVENT_STOP and (self.restarts or number not in FAULTS):  # a fault there is one of our own making
            self.pending = number
        raise Interrupted

    def _wait(self, deadline) -> int | None:
        """The status of wait(2) at its next stop; None when there is none before the deadline (CLOCK_MONOTONIC; None waits for ever)."""
        looks = 0
        while True:
            try:
                pid, status = os.waitpid(self.pid, WALL | os.WNOHANG)
            except ChildProcessError:
                raise Ended from None
            if pid:
                if not os.WIFSTOPPED(status):
                    raise Ended
                return status
            looks += 1
            self.last_seen_running = time.monotonic()
            if deadline is not None and self.last_seen_running >= deadline:
                return None
            if looks < LOOKS:
                os.sched_yield()
            else:
                self.sigtimedwait((SIGCHLD,), LONGEST_SLEEP)

    def _memory(self, address: int, size: int) -> bytes:
        return self.procfs.memory(self.pid, address, size) or b""

    def _read_registers(self) -> int:
        """Into self.registers; returns how many bytes there were. The kernel says in iov_len how many it wrote."""
        size = self.ctypes.sizeof(self.registers)
        self.iovec[1] = size
        self._ptrace(PTRACE_GETREGSET, NT_PRSTATUS, self.ctypes.addressof(self.iovec))
        written, self.iovec[1] = self.iovec[1], size
        return written

    def _write_registers(self, content: bytes) -> None:
        self.ctypes.memmove(self.registers, content, len(content))
        self._ptrace(PTRACE_SETREGSET, NT_PRSTATUS, self.ctypes.addressof(self.iovec))

    def _mask(self) -> int:
        mask = self.ctypes.c_uint64()
        self._ptrace(PTRACE_GETSIGMASK, 8, self.ctypes.addressof(mask))
        return mask.value

    def _supports(self, request: int, config) -> bool:
        """Fill config by a request that only newer kernels have."""
        try:
            self._ptrace(request, self.ctypes.sizeof(config), self.ctypes.addressof(config))
        except OSError:
            return False
        return True

    def _ptrace(self, request: int, address: int = 0, data: int = 0) -> None:
        if self.libc_ptrace(request, self.pid, address, data) == -1:
            error = self.ctypes.get_errno()
            if error == errno.ESRCH:
                self._see_it_end()
                raise Ended
            raise OSError(error, os.strerror(error))
