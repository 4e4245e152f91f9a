# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of zombies on the machine from two counters of the kernel, at a cost that does not
depend on how many processes or containers there are.

A task gives its kernel stack back when it dies, not when it is waited for: in do_exit() since Linux
5.17 (exit_task_stack_account(), kernel/exit.c), before that when it is scheduled away for the last
time (release_task_stack(), kernel/fork.c), both with CONFIG_THREAD_INFO_IN_TASK. A zombie still
counts as a task. The idle threads have stacks and are no tasks, one for each possible CPU
(/sys/devices/system/cpu/possible) but the first, whose stack is part of the kernel's image. So

    zombies = tasks - stacks + possible CPUs - 1

with the tasks of proc_loadavg(5) and KernelStack of proc_meminfo(5). The kernel keeps a part of the
latter per CPU; reading /proc/sys/vm/stat_refresh adds that up (vmstat_refresh(), mm/vmstat.c).

What makes it inexact:

- A new task has its stack (dup_task_struct()) before it has a PID (alloc_pid()), and that before it
  counts as a task, all in copy_process().
- One that nobody waits for, such as a thread, no longer counts as a task (release_task()) a moment
  before it gives its stack back.

Both make the number too low, by one for each task on its way through these lines. No order of reads
prevents that, so a count is believed only where nothing was on its way (:func:`settled`). Three
pauses follow each other, each longer than a task is on its way, and no PID is assigned in them:

- a task that began before the stacks were read has got its PID at the end of the third;
- so in the second, no task begins to count, since it would have got its PID in the first;
- so where as many count after the second as before, none has stopped to, and none that has stopped
  earlier still has its stack.

A pause is longer the more tasks wait for a CPU. What remains is a task that is on its way for
longer (held up by a limit of CPU time or for memory, or a fork that copies the page tables of many
gigabytes), and one that fails to fork again and again before it gets a PID (RLIMIT_NPROC). Each may
hide one zombie, until the ledger is read the next time, which the
callers do every few minutes whatever the stacks say.
"""

from __future__ import annotations

import os
import time

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroups import Ledger
    from .procfs import ProcFS

CPUS = "/sys/devices/system/cpu"
PID_NS_INIT_INO = 0xEFFFFFFC  # include/uapi/linux/nsfs.h: the inode of the initial PID namespace
# all of these select CONFIG_THREAD_INFO_IN_TASK; loongarch64, mips and sparc do not
MACHINES = ("x86_64", "aarch64", "ppc64le", "riscv64", "s390x")
STACK_KB = (8, 16, 32, 64)  # THREAD_SIZE; more with KASAN or with pages of 64 KB
ATTEMPTS = 3  # at seeing nothing come and go
COMPARISONS = 3  # with the ledger, until they are believed to disagree
PAUSE = 0.003  # seconds; sched_base_slice of a few CPUs, in which a task on its way gets on
MAX_PAUSE = 0.05
# Of the limit of tasks. Folding the counters takes a kernel worker on each CPU, of which there may
# be none when no task can be started, and a read of stat_refresh waits for it.
MAX_SHARE = 0.5


class Unusable(Exception):
    """Why zombies cannot be counted by stacks on this machine."""


class Counters:
    """The kernel's counters, as files that stay open: once the CPU was idle, to open a file takes
    several times as long as to read it. Raises ``OSError``.

    proc: where procfs is mounted.
    """

    def __init__(self, proc: str) -> None:
        self.loadavg, self.stat_refresh, self.meminfo = (
            _opened(proc + name) for name in ("/loadavg", "/sys/vm/stat_refresh", "/meminfo")
        )

    def running(self) -> tuple[int, str]:
        """(number of tasks that can run, number of all and last PID that was assigned, as text):
        proc_loadavg(5).
        """
        before, _slash, rest = _text(self.loadavg).rpartition("/")
        return int(before.rpartition(" ")[2]), rest

    def stack_kb(self) -> int:
        """KernelStack, of all CPUs."""
        _text(self.stat_refresh)
        _before, found, rest = _text(self.meminfo).partition("\nKernelStack:")
        if not found:
            raise ValueError("meminfo shows no KernelStack")
        return int(rest.split(None, 1)[0])


class Settled(Record):
    """The counters at a moment at which nothing came or went."""

    tasks: int
    last_pid: int  # that was assigned
    stack_kb: int  # KernelStack


class Calibration(Record):
    """What a machine's counters mean."""

    stack_kb: int  # of one task
    cpus: int  # possible ones
    most_tasks: int  # with more, the counters are not read


def zombies(tasks: int, stack_kb: int, calibration: Calibration) -> float:
    """The number of zombies; less, or no whole number, while a task is on its way."""
    return tasks + calibration.cpus - 1 - stack_kb / calibration.stack_kb


def look(counters: Counters, calibration: Calibration) -> int | None:
    """The number of zombies on the machine; None where that is not certain now. Raises ``OSError``
    or ``ValueError`` where the kernel does not show it.
    """
    for _attempt in range(ATTEMPTS):
        found = settled(counters, calibration.cpus, calibration.most_tasks)
        if found:
            count = zombies(found.tasks, found.stack_kb, calibration)
            if count >= 0 and count == int(count):
                return int(count)
    return None


def settled(counters: Counters, cpus: int, most_tasks: int) -> Settled | None:
    """The counters, if nothing was on its way when they were read; else None."""
    running, first = counters.running()
    tasks, last_pid = first.split()
    if int(tasks) > most_tasks:
        return None
    # in which each that can run gets on
    pause = min(MAX_PAUSE, PAUSE * max(1.0, running / cpus))
    time.sleep(pause)
    _running, before = counters.running()
    tasks, last_pid_before = before.split()
    if last_pid_before != last_pid:
        return None
    time.sleep(pause)
    stack_kb = counters.stack_kb()
    time.sleep(pause)
    if counters.running()[1] != before:
        return None
    return Settled(int(tasks), int(last_pid), stack_kb)


def number_of_tasks(proc: str) -> int:
    """All tasks of the machine."""
    return int(read(proc + "/loadavg").rpartition("/")[2].split()[0])


def calibrated(
    procfs: ProcFS, counters: Counters, ledger: Ledger, cpus_directory: str = CPUS
) -> Calibration | None:
    """What the counters mean here; None where tasks come and go all the time or are too many, and
    it has to be tried again. Raises :class:`Unusable`.

    ledger: of the machine, which tells how many tasks are alive.
    """
    try:
        cpus = possible_cpus(read(cpus_directory + "/possible"))
        limit = min(
            int(procfs.read_text(f"sys/kernel/{name}")) for name in ("pid_max", "threads-max")
        )
        most_tasks, wrong = int(MAX_SHARE * limit), ""
        for _comparison in range(COMPARISONS):
            seen = _seen_by_both(counters, cpus, most_tasks, ledger)
            if seen is None:
                return None
            found, count = seen
            stacks = found.tasks - count + cpus - 1
            if found.stack_kb in [stacks * each for each in STACK_KB]:
                return Calibration(found.stack_kb // stacks, cpus, most_tasks)
            wrong = f"{found.stack_kb} KB of kernel stacks for {stacks} tasks and idle threads"
    except (OSError, ValueError) as error:
        raise Unusable(_in_words(error)) from None
    raise Unusable(wrong)


def compare(counters: Counters, calibration: Calibration, ledger: Ledger) -> None:
    """Compare a look with the ledger. Raises :class:`Unusable` where they disagree; does nothing
    where tasks come and go all the time or are too many.
    """
    wrong = ""
    for _comparison in range(COMPARISONS):
        try:
            seen = _seen_by_both(counters, calibration.cpus, calibration.most_tasks, ledger)
        except (OSError, ValueError) as error:
            raise Unusable(_in_words(error)) from None
        if seen is None:
            return
        found, count = seen
        number = zombies(found.tasks, found.stack_kb, calibration)
        if number == count:
            return
        wrong = f"the kernel's stacks showed {number:g} zombies, its cgroups {count}"
    raise Unusable(wrong)


class Look:
    """Counts zombies for a process that stays: calibrated by its ledger, checked against it, and
    switched off for good where they disagree.

    why_not: why it does not count; None when it does.
    """

    def __init__(self, procfs: ProcFS, ledger: Ledger, cpus_directory: str = CPUS) -> None:
        self.procfs = procfs
        self.ledger = ledger
        self.cpus_directory = cpus_directory
        self.counters: Counters | None = None
        self.calibration: Calibration | None = None
        self.is_off = False
        self.why_not: str | None = "not calibrated yet"

    def shows_none(self) -> bool:
        """Whether it is certain that there is no zombie."""
        if self.counters is None or self.calibration is None:
            return False
        try:
            return look(self.counters, self.calibration) == 0
        except (OSError, ValueError) as error:
            self._switch_off(_in_words(error))
            return False

    def check(self) -> None:
        """Calibrate it, or compare it with the ledger."""
        if self.is_off:
            return
        try:
            check_machine(self.procfs, self.ledger, self.cpus_directory)
            if self.counters is None:
                self.counters = Counters(self.procfs.root)
            if self.calibration:
                compare(self.counters, self.calibration, self.ledger)
                return
            self.calibration = calibrated(
                self.procfs, self.counters, self.ledger, self.cpus_directory
            )
        except (Unusable, OSError) as error:
            self._switch_off(_in_words(error))
            return
        self.why_not = (
            None
            if self.calibration
            else "not calibrated yet, as tasks come and go all the time, or take half of the table"
        )

    def _switch_off(self, reason: str) -> None:
        self.calibration, self.is_off, self.why_not = None, True, reason


def possible_cpus(text: str) -> int:
    """The number of CPUs in a list such as ``0-3,8``."""
    number = 0
    for part in text.strip().split(","):
        first, _dash, last = part.partition("-")
        number += int(last or first) - int(first) + 1
    return number


def check_machine(procfs: ProcFS, ledger: Ledger, cpus_directory: str = CPUS) -> None:
    """Raise :class:`Unusable` where the counters mean something else, or where reading them could
    harm.
    """
    if os.uname().machine not in MACHINES:
        raise Unusable(f"a kernel for {os.uname().machine} may keep the stack of a zombie")
    if procfs.pid_namespace(os.getpid()) != PID_NS_INIT_INO:
        raise Unusable("not in the initial PID namespace, and the counters are of the machine")
    if ledger.directory is None or ledger.part is not None:
        raise Unusable("only a part of the machine's cgroups is visible, so nothing checks it")
    # A read of stat_refresh runs on each CPU and waits for that: it would disturb what has a CPU
    # of its own, and never end where that is a real-time task that never sleeps.
    isolated = (
        cpus_directory + "/isolated",
        cpus_directory + "/nohz_full",
        *(
            f"{directory}/cpuset.cpus.isolated"
            for directory in (ledger.directory, ledger.directory.rpartition("/")[0])
        ),
    )
    for path in isolated:
        try:
            cpus = read(path).strip()
        except OSError:
            continue
        if cpus and cpus != "(null)":
            raise Unusable(f"CPUs {cpus} are isolated ({path})")
    if procfs.real_time_may_take_a_cpu():
        raise Unusable("real-time tasks may take a whole CPU (kernel.sched_rt_runtime_us is -1)")


def _seen_by_both(
    counters: Counters, cpus: int, most_tasks: int, ledger: Ledger
) -> tuple[Settled, int] | None:
    """(counters, the ledger's number of zombies) of the same moment; None where tasks come and go
    all the time, or are too many.
    """
    for _attempt in range(ATTEMPTS):
        found = settled(counters, cpus, most_tasks)
        count = ledger.zombies() if found else None
        if found and count is not None and settled(counters, cpus, most_tasks) == found:
            return found, count
    return None


def read(path: str) -> str:
    """The text of a small file; of a longer one, 8 KB."""
    fd = _opened(path)
    try:
        return _text(fd)
    finally:
        os.close(fd)


def _opened(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a third of the time that open() takes


def _text(fd: int) -> str:
    return os.pread(fd, 8192, 0).decode("ascii", "replace")


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'stat_refresh'}: {error.strerror}"
    return str(error)
