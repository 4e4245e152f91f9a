# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop one thread for a moment, let it run system calls of our choice, and put it back exactly as
it was.

Source: ptrace(2). How, for readers who never used it:

- PTRACE_SEIZE makes this process the tracer of the thread and does not disturb it; PTRACE_INTERRUPT
  stops it, unseen by
  anybody: no SIGSTOP, no word to its parent. A system call it slept in is interrupted and restarts
  later by itself (signal(7): a few return EINTR instead, epoll_wait(2) for one, as after any
  debugger).
- In that stop its registers are ours to read and to set. Resumed by PTRACE_SYSCALL it stops twice
  at each system call: before it, where number and arguments can be exchanged for ours, and after
  it, the result in a register. No instruction of the program runs meanwhile but the one that enters
  the kernel, and no byte of its memory is written.
- A thread that was interrupted in a call that restarts is set to that very instruction, as the
  kernel sets it to restart the call. Any other thread is set to such an instruction in the vDSO
  (vdso(7)).
- Another thread of the program can change that instruction, or what is mapped there. So
  PTRACE_GET_SYSCALL_INFO tells at the entry what was entered, and from where. Only where that is
  the call that we chose do our number and all arguments take its place. Anything else is left out:
  a system call of number -1 runs instead, which does nothing.
- From there to the exit of that one call the thread's seccomp filter is set aside
  (PTRACE_O_SUSPEND_SECCOMP), as a filter may answer our call with SIGKILL. At the entry ptrace(2)
  comes first and seccomp(2) second, since Linux 4.8 (syscall_trace_enter in kernel/entry/common.c).
  No instruction of the program runs without its filter.
- Its memory is not read, as that may be served by a file system in the hands of the same tenant,
  who need not answer. The one exception is explained at :meth:`Tracee._require_outside_rseq`.
- These stops raise no signal. A single step would raise SIGTRAP, which resets a handler that the
  program has for it, and ends the program if this process dies at that moment. The signal mask is
  not touched: a signal for the thread stops it before it is delivered. Then the registers are put
  back, it is released with that signal, and it handles it as if nobody had been there.
- At last the thread is led into one more PTRACE_INTERRUPT stop, the registers are put back, and it
  is released. From that kind of stop it goes on to where the kernel restarts interrupted system
  calls (arch_do_signal_or_restart in arch/x86/kernel/signal.c).

If this process is killed in between, the kernel releases the thread with whatever registers it has.
That cannot be prevented, only made short and mild. Between two calls an interrupted thread has
registers with which it goes on rightly by itself; within one it gets our result for its own call.
The caller blocks its signals, so that only SIGKILL can do that. So no wait for a thread lasts for
ever: see :meth:`Tracee._next_stop`.
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
PTRACE_GET_SYSCALL_INFO = 0x420E  # Linux 5.3
PTRACE_GET_RSEQ_CONFIGURATION = 0x420F  # Linux 5.13
PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4211  # Linux 6.4
PTRACE_EVENT_STOP = 128
PTRACE_SYSCALL_INFO_ENTRY = 1
PTRACE_O_TRACESYSGOOD = 1
PTRACE_O_SUSPEND_SECCOMP = 1 << 21  # Linux 4.3
NT_PRSTATUS = 1  # include/uapi/linux/elf.h: the general registers
SIGTRAP, SIGCHLD, SIGSTOP = 5, 17, 19
# SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: what an instruction can raise
FAULTS = (4, 5, 7, 8, 11, 31)
STOP_AT_CALL = SIGTRAP | 0x80  # the mark of PTRACE_O_TRACESYSGOOD
WALL = 0x40000000  # __WALL of wait(2): threads and clones too
VDSO_BYTES = 16384  # it has about 8 KiB
RESTARTBLOCK = -516  # include/linux/errno.h
# results of a call that is restarted where no handler runs
RESTARTS = (-512, -513, -514, RESTARTBLOCK)

STOP_TIMEOUT = 0.25  # seconds a thread gets to stop; it runs or sleeps as it likes meanwhile
# for the next stop before sleeping: it comes within microseconds, being woken takes several times
# as long
LOOKS = 100
# seconds until it looks again, so that what is said of the time it was stopped is not far off
MAX_SLEEP = 0.001
# seconds for a system call of ours; longer means that its cgroup has used up its CPU time, was
# frozen, or that a page is missing
ENTRY_TIMEOUT = 0.01


class Architecture(
    namedtuple(
        "Architecture",
        (
            "audit",
            "bits",
            "registers",
            "size",
            "pc",
            "number",
            "arguments",
            "result",
            "interrupted_call",
            "waitid",
            "restart_syscall",
            "instruction",
        ),
        defaults=(None,),
    )
):
    """What differs between processors: one entry for each that was tested.

    audit: AUDIT_ARCH_* of include/uapi/linux/audit.h. registers: how many NT_PRSTATUS has, of so
    many bits each. size: bytes of the instruction that enters the kernel. Places in the register
    set: pc (instruction pointer), number (of the system call), arguments (the first five), result,
    interrupted_call (number of the call that it is in, -1 for none: then nothing is restarted).
    waitid, restart_syscall: numbers of those calls. instruction: the one that enters the kernel, to
    be looked for in the vDSO; None where that is not done.
    """

    __slots__ = ()


ARCHITECTURES = {
    # arch/x86/include/asm/user_64.h, struct user_regs_struct; syscall(2) for the calling convention
    "x86_64": Architecture(
        0xC000003E,
        64,
        27,
        2,
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
# 32-bit programs on those machines; told by how many bytes of registers they have
COMPATIBLE = {
    # arch/x86/include/asm/user32.h, struct user_regs_struct32. Of the three ways into the kernel
    # each is restarted by an int 0x80: sysenter and syscall return behind one
    # (arch/x86/entry/vdso/vdso32/system_call.S)
    "x86_64": Architecture(
        0x40000003,
        32,
        17,
        2,
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
    """This thread cannot be used, and was left as it was. word: why, for machines. The message says
    it to people.
    """

    def __init__(self, word: str, explanation: str) -> None:
        super().__init__(explanation)
        self.word = word


class Ended(Exception):
    """The thread has ended, or another one of its process has called execve(2)."""


class Interrupted(Exception):
    """Something came in between (SIGSTOP, a container frozen or out of CPU time): release it, and
    do not go on for now.
    """


def architecture() -> Architecture:
    """Of this machine and this Python; raises :class:`Refused` where it has no entry."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 1 << 32:
        raise Refused(
            "architecture",
            "not done yet on %s with a %d-bit Python, only on %s"
            % (machine, 64 if sys.maxsize > 1 << 32 else 32, ", ".join(ARCHITECTURES)),
        )
    return ARCHITECTURES[machine]


class AddressSpace:
    """What has to be known of a process's memory, found out while it runs. None of that memory is
    read.

    instruction: address of an instruction that enters the kernel, in its vDSO; None where that is
    not found. vdso: where the vDSO begins.
    rseq: where the thread that was stopped last has its struct rseq, to be looked at next time;
    None where that was not asked for.
    rseq_is_anonymous: whether no file lies there.
    """

    def __init__(self) -> None:
        self.vdso = self.instruction = self.rseq = None
        self.rseq_is_anonymous = False

    def look(self, procfs, tid: int, arch: Architecture) -> None:
        """Look, before a thread of it is stopped. What was found last time is kept as long as it
        runs the same program.

        The kernel maps the same vDSO into all 64-bit programs, ours included; only the address
        differs. The name ``[vdso]`` is its word: a restored program (CRIU) may have an older one in
        its place, which is not called so.
        """
        start = procfs.vdso_address(tid)
        if start != self.vdso:
            self.vdso, self.instruction = start, None
            mapping = procfs.mapping(tid, start) if start else None
            own = procfs.vdso_address(os.getpid())
            if (
                own
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
    tid: of the thread. space: what is known of its memory.
    """

    def __init__(self, procfs, tid: int, arch: Architecture, space: AddressSpace) -> None:
        import ctypes  # 7 ms of start-up that a sweep with nothing to do does without
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
        self.saved = self.between = self.entering = (
            None  # bytes of the registers: when it was stopped, between two calls, before one
        )
        self.mask = 0
        self.restarts = False  # whether it was interrupted in a call that the kernel restarts
        self.instruction_at = 0
        self.called = False
        self.running = False  # not known to have stopped since it was resumed
        self.goes_on_rightly = True  # should it be released right now, without another word from us
        self.pending = 0  # a signal that is being delivered to it while we hold it
        self.intact = True  # whether registers and mask were seen to be back before it was released
        self.last_seen_running = self.stopped_since = (
            0.0  # CLOCK_MONOTONIC; it stopped at that moment or later
        )
        self.stopped_by_signal = False

    def _set_architecture(self, arch) -> None:
        ctypes = self.ctypes
        self.arch = arch
        self.registers = (
            (ctypes.c_uint64 if arch.bits == 64 else ctypes.c_uint32) * arch.registers
        )()
        self.iovec = (ctypes.c_size_t * 2)(
            ctypes.addressof(self.registers), ctypes.sizeof(self.registers)
        )

    def seize(self) -> None:
        """Become its tracer, without stopping it. Raises :class:`Refused`."""
        try:
            self._ptrace(PTRACE_SEIZE)
        except PermissionError:
            raise self._not_permitted() from None

    def stop(self) -> bool:
        """Stop it. False when it does not stop within :data:`STOP_TIMEOUT`: then
        :meth:`release_if_stopped` is due until it says so.
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
            self._ptrace(PTRACE_CONT, 0, os.WSTOPSIG(status))  # a signal of its own comes first

    def prepare(self) -> None:
        """Make sure that the stopped thread can run a call. Raises :class:`Refused`."""
        if self.stopped_by_signal:
            raise Refused("stopped", "it is stopped by a signal")
        self._tell_architecture()
        self._require_seccomp_can_be_set_aside()
        self._require_no_syscall_user_dispatch()
        self.saved = bytes(self.registers)
        self.mask = self._mask()
        self._choose_way_in()

    def call(self, number: int, *arguments: int) -> int:
        """Let it run one system call; returns what that returned, ``-errno`` for an error. Raises
        :class:`Refused`, :class:`Interrupted`.
        """
        arch, registers = self.arch, self.registers
        if not (self.restarts and self.called):
            self._write_registers(self.entering)
        self.called = True
        self.goes_on_rightly = self.restarts
        self._to_entry()
        self._read_registers()
        registers[arch.interrupted_call] = number
        for place, value in zip(arch.arguments, arguments):
            registers[place] = value
        self._write_registers(bytes(registers))
        self._to_exit()
        self._read_registers()
        result = self._signed(registers[arch.result])
        self._write_registers(self.between)
        self.goes_on_rightly = True
        return result

    def release(self) -> bool:
        """Put everything back and let it run. Where it has ended meanwhile there is nothing to put
        back.

        False when it does not stop for that in time: then :meth:`release_if_stopped` is due until
        it says so.
        """
        try:
            if self.running:
                return False
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)
            if self.called and not self.pending:
                self._write_registers(self.between)
                self.goes_on_rightly = True
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
        """After :meth:`stop` or :meth:`release` has returned False: whether it has stopped by now
        and was released, or has ended.
        """
        try:
            status = self._wait(0)
            if status is None:
                return False
            self.running = False
            if status >> 8 == STOP_AT_CALL:
                with contextlib.suppress(Interrupted):
                    self._leave_out_call()
            else:
                self._keep_signal(status)
            return self.release()
        except (Refused, OSError):
            return False
        except Ended:
            return True

    def follow_execve(self, pid: int) -> bool:
        """It has called execve(2) before it was stopped, and so goes by the PID of its process now.
        Returns what :meth:`release` does.
        """
        self.tid = pid
        try:
            return self.stop() and self.release()
        except Ended:
            return True

    def _see_it_end(self) -> None:
        """It is being killed. Its tracer has to wait for it: until then nobody else can, its own
        parent included (ptrace(2)).
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
            "the kernel does not permit it: a security module is in the way, or its user namespace"
            " is another one",
        )

    def _tell_architecture(self) -> None:
        """Read the registers, and tell by their number whether it runs 64-bit or 32-bit code."""
        written = self._read_registers()
        if written == self.ctypes.sizeof(self.registers):
            return
        arch = COMPATIBLE.get(os.uname().machine)
        if arch is None or written != arch.registers * arch.bits // 8:
            raise Refused("32_bit", "it runs 32-bit code")
        self._set_architecture(arch)
        self._read_registers()

    def _require_seccomp_can_be_set_aside(self) -> None:
        """Try it in a stop, in which nothing of it runs, and take it back at once.

        That takes CAP_SYS_ADMIN, no filter on the sweep itself, and CONFIG_CHECKPOINT_RESTORE.
        """
        if not self._set_seccomp_aside():
            status = self.procfs.status(self.tid)
            if status is None or status.seccomp:
                raise Refused(
                    "seccomp_filter",
                    "its seccomp filter cannot be set aside from here and might kill it",
                )
        self._put_seccomp_back()

    def _set_seccomp_aside(self) -> bool:
        try:
            self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
        except OSError:
            return False
        return True

    def _put_seccomp_back(self) -> None:
        self._ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_TRACESYSGOOD)

    def _require_no_syscall_user_dispatch(self) -> None:
        """prctl(2), PR_SET_SYSCALL_USER_DISPATCH (Linux 5.11): our call could raise SIGSYS in it.
        Kernels before 6.4 do not tell.
        """
        config = (self.ctypes.c_uint64 * 4)()
        if self._supports(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, config) and config[0]:
            raise Refused(
                "syscall_user_dispatch", "it handles its system calls itself, as Wine does"
            )

    def _choose_way_in(self) -> None:
        """Set where it will enter the kernel, and the registers to have before, and between two
        calls.

        A thread that was interrupted in a call that restarts goes back to the instruction of that
        call, as the kernel would set it: it stands before the instruction pointer, if the call was
        made in the way of this architecture (a 64-bit program can make 32-bit calls). The vDSO is
        never paged out, and its instruction is nobody's own.
        """
        arch, registers = self.arch, self.registers
        own, result = (
            self._signed(registers[arch.interrupted_call]),
            self._signed(registers[arch.result]),
        )
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
                "32_bit", "it runs 32-bit code, and is in no system call that would restart"
            )
        if self.space.instruction is None:
            raise Refused(
                "no_instruction",
                "it is in no system call that would restart, and has no vDSO that is known",
            )
        if self.procfs.vdso_address(self.tid) != self.space.vdso:
            raise Refused("busy", "it has begun another program meanwhile")
        if own == -1:
            self._require_outside_rseq()
        self.between = self.saved
        self.instruction_at = self.space.instruction
        registers[arch.pc] = self.instruction_at
        registers[arch.number] = registers[arch.interrupted_call] = -1
        self.entering = bytes(registers)

    def _require_outside_rseq(self) -> None:
        """Inside a restartable sequence (rseq(2), Linux 4.18) leaving and coming back unnoticed
        would corrupt its data.

        No system call is allowed in one, so this is asked only of a thread that was stopped
        elsewhere. Only its memory tells. It is read where no file was mapped a moment ago; else a
        tenant's file system could hold us up here, beyond SIGKILL.
        """
        config = (self.ctypes.c_uint64 * 3)()
        if not self._supports(PTRACE_GET_RSEQ_CONFIGURATION, config):
            raise Refused(
                "busy",
                "it is running, and this kernel (before 5.13) does not tell whether in a"
                " restartable sequence",
            )
        if not config[0]:
            return
        if self.space.rseq != config[0]:
            self.space.rseq = config[0]
            raise Refused(
                "busy",
                "it is running, and what memory tells about restartable sequences is still to be"
                " looked at",
            )
        if not self.space.rseq_is_anonymous:
            raise Refused(
                "busy",
                "it is running, and whether in a restartable sequence is told by a file only, which"
                " is not read",
            )
        if self._memory(config[0] + 8, 8) != bytes(8):  # rseq_cs of struct rseq
            raise Refused("busy", "it is running, perhaps in a restartable sequence")

    def _to_entry(self) -> None:
        """On to the entry of the call that was chosen. Raises :class:`Refused` where it comes to
        another one, which is left out.
        """
        self._resume(PTRACE_SYSCALL)
        self._require_stop_at_call(self._next_stop())
        if self._syscall_info() != (
            PTRACE_SYSCALL_INFO_ENTRY,
            self.arch.audit,
            self.instruction_at + self.arch.size,
        ):
            self._leave_out_call()
            raise Refused(
                "disturbed",
                "it came to another system call than the one that was chosen: another thread has"
                " changed its code",
            )

    def _to_exit(self) -> None:
        """Through the call that it is at the entry of, without its filter, and on to its exit."""
        self._set_seccomp_aside()
        self._resume(PTRACE_SYSCALL)
        # the kernel is at work for us, and waits for nobody
        status = self._next_stop(for_ever=True)
        self._put_seccomp_back()
        self._require_stop_at_call(status)

    def _leave_out_call(self) -> None:
        """At the entry to any call: none takes its place, and no filter is asked about that. At an
        exit there is nothing to do.
        """
        if self._syscall_info()[0] == PTRACE_SYSCALL_INFO_ENTRY:
            self._read_registers()
            self.registers[self.arch.interrupted_call] = -1
            self._write_registers(bytes(self.registers))
            self._to_exit()

    def _syscall_info(self) -> tuple:
        """(PTRACE_SYSCALL_INFO_*, AUDIT_ARCH_*, instruction pointer): the first fields of struct
        ptrace_syscall_info.
        """
        info = (self.ctypes.c_uint64 * 3)()
        self._ptrace(PTRACE_GET_SYSCALL_INFO, self.ctypes.sizeof(info), self.ctypes.addressof(info))
        return info[0] & 0xFF, info[0] >> 32, info[1]

    def _resume(self, request: int) -> None:
        self._ptrace(request)
        self.running = True

    def _next_stop(self, for_ever: bool = False) -> int:
        """The status of wait(2) at the next stop. Raises :class:`Refused` where that does not come:
        it goes on running as it is.

        It may lie in a page fault that a file system does not answer. With cgroup v1 it may be
        frozen; or its cgroup has used up its CPU time. Where the registers that it has now would do
        it harm when it runs on, and it is no page fault, it is waited for.
        """
        status = self._wait(time.monotonic() + ENTRY_TIMEOUT)
        while status is None:
            self._ptrace(PTRACE_INTERRUPT)  # wakes one that is frozen with cgroup v2
            status = self._wait(time.monotonic() + STOP_TIMEOUT)
            if (
                status is None
                and not for_ever
                and (self.goes_on_rightly or self.procfs.waits_for_a_page(self.tid))
            ):
                raise Refused(
                    "not_stopping", "it did not stop in time; it is let go as soon as it does"
                )
        self.running = False
        return status

    def _require_stop_at_call(self, status: int) -> None:
        """Raises :class:`Interrupted` where it has stopped for something else."""
        if status >> 8 != STOP_AT_CALL:
            self._keep_signal(status)
            raise Interrupted

    def _keep_signal(self, status: int) -> None:
        """A signal that it has stopped for is delivered when it is released."""
        number = os.WSTOPSIG(status)
        of_our_own_making = self.called and not self.restarts and number in FAULTS
        if status >> 16 != PTRACE_EVENT_STOP and not of_our_own_making:
            self.pending = number

    def _signed(self, value: int) -> int:
        return value - (1 << self.arch.bits) if value >> self.arch.bits - 1 else value

    def _wait(self, deadline) -> int | None:
        """The status of wait(2) at its next stop; None when there is none before the deadline
        (CLOCK_MONOTONIC; None waits for ever).
        """
        looks = 0
        while True:
            try:
                pid, status = os.waitpid(self.tid, WALL | os.WNOHANG)
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
                self.sigtimedwait((SIGCHLD,), MAX_SLEEP)

    def _memory(self, address: int, size: int) -> bytes:
        return self.procfs.memory(self.tid, address, size) or b""

    def _read_registers(self) -> int:
        """Into self.registers; returns how many bytes there were. The kernel says in iov_len how
        many it wrote.
        """
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
        if self.libc_ptrace(request, self.tid, address, data) == -1:
            error = self.ctypes.get_errno()
            if error == errno.ESRCH:
                self._see_it_end()
                raise Ended
            raise OSError(error, os.strerror(error))
