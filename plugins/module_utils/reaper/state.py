# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node remembers from sweep to sweep: small text files below ``/run/zombie_reaper``.

A file that is torn, from another boot or malformed counts as empty. Files are replaced whole or not
at all.
"""

from __future__ import annotations

import os

from .errors import CannotSweep
from .files import write
from .node import observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    from .kernel.procfs import ProcFS
    from .node.workloads import Workload

    Key = TypeVar("Key", bound="tuple[object, ...]")
    Value = TypeVar("Value")
else:  # importing typing would cost each start 2.5 ms
    Key = Value = None

    class Generic:
        """Does nothing with its parameters: they are for the type checker."""

        def __class_getitem__(cls, _parameters):
            return cls


KEEP_ENDED = 7 * 86400  # seconds; the longest cooldown
KEEP_SIZE = 6 * 3600  # seconds after which the size of a workload without zombies is dropped
SIZE_EVERY = 1800  # seconds; growth is measured over one to two of these


class Times(Generic[Key, Value]):
    """When something happened, by key. The file has the boot ID first, then one line for each key.

    Times are seconds on CLOCK_MONOTONIC. It counts from boot and stands still while the node is
    suspended (clock_gettime(2)), as parents do.
    """

    def __init__(self, run: str, name: str, procfs: ProcFS) -> None:
        self.path = os.path.join(run, name)
        self.boot_id = procfs.read_text("sys/kernel/random/boot_id").strip()
        self.times: dict[Key, Value] = {}
        self.stored: dict[Key, Value] = {}  # what the file holds

    def load(self, required: bool) -> None:
        """Merge in what earlier sweeps have noted since the node booted.

        required: raise :class:`.errors.CannotSweep` if the file exists but cannot be read. A file
        that does not parse counts as empty either way.
        """
        self.stored = {}
        try:
            with open(self.path, encoding="ascii") as file:
                text = file.read()
            boot_id, *lines = text[:-1].split("\n")
            if boot_id == self.boot_id and text.endswith("\n"):  # else the last line is torn
                stored = dict(self._parse(line.split()) for line in lines)
                self.stored = {key: value for key, value in stored.items() if self._is_sound(value)}
        except (FileNotFoundError, ValueError):
            pass
        except OSError as error:
            if required:
                raise CannotSweep(f"{self.path} cannot be read: {error.strerror}") from None
        for key, value in self.stored.items():
            self.times[key] = self._merged(value, self.times[key]) if key in self.times else value

    def save(self) -> None:
        """Write the file if anything has changed; ``OSError`` if that fails."""
        if self.times != self.stored:
            lines = [
                f"{' '.join(map(str, key))} {self._as_text(value)}"
                for key, value in self.times.items()
            ]
            write(self.path, "\n".join([self.boot_id, *lines, ""]))
            self.stored = dict(self.times)

    def _parse(self, words: list[str]) -> tuple[Key, Value]:
        """Key and value from the words of a line; ``ValueError`` if they are malformed."""
        raise NotImplementedError

    def _is_sound(self, value: Value) -> bool:
        """Whether the value can be true: neither negative nor NaN."""
        raise NotImplementedError

    def _as_text(self, value: Value) -> str:
        raise NotImplementedError

    def _merged(self, stored: Value, known: Value) -> Value:
        """Which one to keep when the file and this process disagree."""
        raise NotImplementedError


class Moments(Times[Key, float]):
    """One time for each key, the latest one."""

    def _is_sound(self, value: float) -> bool:
        return value >= 0

    def _as_text(self, value: float) -> str:
        return f"{value:.3f}"

    def _merged(self, stored: float, known: float) -> float:
        return max(stored, known)


class FirstSeen(Moments["tuple[int, int, int]"]):
    """When each zombie was first seen with its present parent, by (PID, start time in ticks, PID of
    the parent).

    The parent is part of the key, since an adopter is not to blame for a zombie that it received a
    second ago.
    """

    def __init__(self, run: str, procfs: ProcFS) -> None:
        super().__init__(run, "first_seen", procfs)
        # of zombies whose parent this process has seen suspended
        self.begun_anew: dict[tuple[int, int, int], float] = {}

    def load(self, required: bool) -> None:
        """As for any times, but a clock that this process has restarted is not turned back by what
        an earlier sweep noted.
        """
        super().load(required)
        self.times.update({key: seen for key, seen in self.begun_anew.items() if key in self.times})

    def _parse(self, words: list[str]) -> tuple[tuple[int, int, int], float]:
        pid, start_ticks, ppid, seen = words
        return (int(pid), int(start_ticks), int(ppid)), float(seen)

    def _merged(self, stored: float, known: float) -> float:
        return min(stored, known)

    def note(
        self, snapshot: observe.Snapshot, now: float
    ) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
        """Keep the times of zombies that are still there and forget the rest. Where the parent is
        suspended it could not wait, so the time restarts.

        Returns (moved, restarted), each ``{(pid, start_ticks): seconds}``: zombies that have got
        another parent, with the time they were seen with the former one; and zombies whose time was
        restarted, with the time before.
        """
        times: dict[tuple[int, int, int], float] = {}
        restarted: dict[tuple[int, int], float] = {}
        for offender in snapshot.offenders:
            for zombie in offender.zombies:
                key = (zombie.pid, zombie.start_ticks, zombie.ppid)
                if offender.suspended:
                    self.begun_anew[key] = now
                    restarted.setdefault(key[:2], self.times.get(key, now))
                times[key] = now if offender.suspended else self.times.get(key, now)
        gone = {key[:2]: seen for key, seen in self.times.items() if key not in times}
        self.times = times
        self.begun_anew = {key: seen for key, seen in self.begun_anew.items() if key in times}
        moved = {key[:2]: gone[key[:2]] for key in times if key[:2] in gone}
        return moved, restarted


class ByWord(Moments["tuple[str]"]):
    """A time for each of some words (ASCII, without blanks)."""

    def _parse(self, words: list[str]) -> tuple[tuple[str], float]:
        word, seen = words
        return (word,), float(seen)


class Ended(ByWord):
    """When a parent of a workload was last ended, by the workload's identity, so that it outlives
    restarts of the container.
    """

    def __init__(self, run: str, procfs: ProcFS) -> None:
        super().__init__(run, "ended", procfs)

    def note(self, workload: Workload, now: float) -> None:
        """A parent of this workload has just been ended. Times beyond any cooldown are dropped."""
        self.times = {key: then for key, then in self.times.items() if now - then < KEEP_ENDED}
        if workload.identity:
            self.times[(workload.identity,)] = now


class OfProcesses(Moments["tuple[int, int]"]):
    """A number for each of some living processes or zombies, by (PID, start time in ticks).

    :class:`Memory` says what the number means in each file.
    """

    def __init__(self, run: str, procfs: ProcFS, name: str) -> None:
        super().__init__(run, name, procfs)
        self.procfs = procfs

    def _parse(self, words: list[str]) -> tuple[tuple[int, int], float]:
        pid, start_ticks, number = words
        return (int(pid), int(start_ticks)), float(number)

    def note(self, pid: int, start_ticks: int, number: float) -> None:
        """Set the number of a process."""
        self.times[(pid, start_ticks)] = number

    def forget_ended(self) -> None:
        """Drop processes that no longer exist. Reads each one's ``stat`` once."""
        stats = {key: self.procfs.stat(key[0]) for key in self.times}
        there = {key for key, stat in stats.items() if stat and stat.start_ticks == key[1]}
        self.times = {key: number for key, number in self.times.items() if key in there}


class Canaries(OfProcesses):
    """Whether a PID 1 collected its last canary. Where two audits differ, the later one is
    right.
    """

    def _merged(self, stored: float, known: float) -> float:
        return stored


class Sizes(Times["tuple[str]", "tuple[float, float, float, float]"]):
    """How many tasks the node and its cgroups had at two moments, by :data:`.observe.NODE` or the
    path of the cgroup: (seconds, tasks, seconds, tasks), the older one first.
    """

    def __init__(self, run: str, procfs: ProcFS) -> None:
        super().__init__(run, "sizes", procfs)

    def _parse(self, words: list[str]) -> tuple[tuple[str], tuple[float, float, float, float]]:
        key, *numbers = words
        then, count, later, count_later = (float(number) for number in numbers)
        return (key,), (then, count, later, count_later)

    def _is_sound(self, value: tuple[float, float, float, float]) -> bool:
        return all(number >= 0 for number in value)

    def _as_text(self, value: tuple[float, float, float, float]) -> str:
        then, count, later, count_later = value
        return f"{then:.3f} {int(count)} {later:.3f} {int(count_later)}"

    def _merged(
        self,
        stored: tuple[float, float, float, float],
        known: tuple[float, float, float, float],
    ) -> tuple[float, float, float, float]:
        return max(stored, known)

    def note(self, key: tuple[str], count: int, now: float) -> None:
        """There are that many tasks now. This replaces the older moment once the later one is
        :data:`SIZE_EVERY` old. Sizes that nobody asks for any more are dropped.
        """
        then, before, later, count_later = self.times.get(key, (now, count, now, count))
        if now - later >= SIZE_EVERY:
            then, before, later, count_later = later, count_later, now, count
        self.times[key] = then, before, later, count_later
        self.times = {key: size for key, size in self.times.items() if now - size[2] < KEEP_SIZE}

    def earlier(self) -> dict[tuple[str], tuple[float, float, float, float]]:
        """A copy, for an observation to compare with."""
        return dict(self.times)


class Memory:
    """All that a node remembers. run: the directory."""

    def __init__(self, run: str, procfs: ProcFS) -> None:
        self.first_seen = FirstSeen(run, procfs)
        self.ended = Ended(run, procfs)
        # when a sweep last had a parent collect zombies; any it holds now are newer
        self.collected = OfProcesses(run, procfs, "collected")
        # 1 or 0: whether a PID 1 collected the last canary of an audit
        self.canaries = Canaries(run, procfs, "canaries")
        # when a canary turned out to stay a zombie
        self.left_canaries = OfProcesses(run, procfs, "left_canaries")
        # when a sweep last asked for a zombie in vain
        self.uncollected = OfProcesses(run, procfs, "uncollected")
        # when a zombie that has got another parent was first seen with any
        self.moved = OfProcesses(run, procfs, "moved")
        # when a zombie was first seen whose parent was suspended, so that its age began anew
        self.kept = OfProcesses(run, procfs, "kept")
        self.sizes = Sizes(run, procfs)
        self._of_processes = (
            self.collected,
            self.canaries,
            self.left_canaries,
            self.uncollected,
            self.moved,
            self.kept,
        )
        self._all: tuple[Times[Any, Any], ...] = (
            self.first_seen,
            self.ended,
            *self._of_processes,
            self.sizes,
        )

    def load(self, required: bool) -> None:
        """Load all files. required: as in :meth:`Times.load`."""
        for times in self._all:
            times.load(required)

    def save(self) -> None:
        """Forget processes that have ended, and write what has changed; ``OSError`` if that
        fails.
        """
        for numbers in self._of_processes:
            numbers.forget_ended()
        for times in self._all:
            times.save()

    def note_seen(self, snapshot: observe.Snapshot, now: float) -> None:
        """Note which zombies there are, and with which parents."""
        moved, restarted = self.first_seen.note(snapshot, now)
        for noted, found in ((self.moved, moved), (self.kept, restarted)):
            for (pid, start_ticks), seen in found.items():
                noted.note(pid, start_ticks, min(seen, noted.times.get((pid, start_ticks), seen)))

    def history(self) -> observe.History:
        """What an observation needs to know."""
        return observe.History(
            first_seen=self.first_seen.times,
            ended=self.ended.times,
            collected=self.collected.times,
            canaries={key: bool(collected) for key, collected in self.canaries.times.items()},
            left_canaries=set(self.left_canaries.times),
            sizes=self.sizes.earlier(),
            uncollected=set(self.uncollected.times),
            moved=self.moved.times,
            kept=self.kept.times,
        )
