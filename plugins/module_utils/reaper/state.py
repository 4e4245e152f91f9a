# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node remembers from sweep to sweep, below ``/run/zombie_reaper``: small text files of what
was when.

A file that is torn, of another boot or not ours counts as none; it is replaced whole or not at all.
"""

from __future__ import annotations

import os

from .errors import CannotSweep
from .files import write
from .node import observe

# seconds for which it is remembered that a workload had a parent ended; the longest cooldown
KEEP_ENDED = 7 * 86400
# seconds for which the size of a workload is kept that is not looked at any more
KEEP_SIZE = 6 * 3600
SIZE_EVERY = 1800  # seconds; a growth is told over that time or up to twice as long


class Times:
    """Times in seconds on CLOCK_MONOTONIC, kept across sweeps in a file: the boot, then a line for
    each, its key first.

    That clock counts from boot and stands still while the node is suspended (clock_gettime(2)), as
    parents do.
    """

    def __init__(self, path, procfs, key_type) -> None:
        self.path = path
        self.boot_id = procfs.read_text("sys/kernel/random/boot_id").strip()
        self.key_type = key_type
        self.times = {}
        self.stored = {}

    def load(self, required: bool) -> None:
        """Add what earlier sweeps noted since the node booted. A file that does not parse counts as
        none.
        """
        self.stored = {}
        try:
            with open(self.path, encoding="ascii") as file:
                text = file.read()
            boot_id, *lines = text[:-1].split("\n")
            if boot_id == self.boot_id and text.endswith("\n"):  # else the last line is torn
                stored = dict(self._parse(line) for line in lines)
                self.stored = {key: seen for key, seen in stored.items() if self._is_sound(seen)}
        except (FileNotFoundError, ValueError):
            pass
        except OSError as error:
            if required:
                raise CannotSweep(f"{self.path} cannot be read: {error.strerror}") from None
        for key, seen in self.stored.items():
            self.times[key] = self._merged(seen, self.times.get(key, seen))

    _merged = staticmethod(max)
    key_length = 1

    def _parse(self, line) -> tuple:
        *key, seen = line.split()
        if len(key) != self.key_length:
            raise ValueError(line)
        return tuple(self.key_type(part) for part in key), float(seen)

    def _is_sound(self, seen) -> bool:
        return seen >= 0  # neither negative nor NaN

    def _line(self, key, seen) -> str:
        return f"{' '.join(map(str, key))} {seen:.3f}"

    def save(self) -> None:
        """Write the times where they have changed; ``OSError`` where that fails."""
        if self.times != self.stored:
            lines = [self._line(key, seen) for key, seen in self.times.items()]
            write(self.path, "\n".join([self.boot_id] + lines + [""]))
            self.stored = dict(self.times)


class FirstSeen(Times):
    """When each zombie was first seen with its present parent: ``{(pid, start_ticks, ppid):
    seconds}``.

    The parent belongs to the key: a zombie that an adopter got a second ago says nothing about the
    adopter.
    """

    _merged = staticmethod(min)
    key_length = 3

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "first_seen"), procfs, int)
        self.begun_anew = {}

    def load(self, required: bool) -> None:
        """As of any times; but what this process saw held up begins anew, whatever an earlier sweep
        noted.
        """
        super().load(required)
        self.times.update({key: seen for key, seen in self.begun_anew.items() if key in self.times})

    def note(self, snapshot, now) -> tuple:
        """Keep the times of what is still there, forget the rest. A parent that is held up could
        not wait: it begins anew.

        Returns two dictionaries ``{(pid, start_ticks): seconds}``: of zombies that have come to
        another parent since, and when they were seen with the former one; and of those whose parent
        is held up, and when they were seen before.
        """
        times, kept = {}, {}
        for offender in snapshot.offenders:
            for zombie in offender.zombies:
                key = (zombie.pid, zombie.start_ticks, zombie.ppid)
                if offender.suspended:
                    self.begun_anew[key] = now
                    kept.setdefault(key[:2], self.times.get(key, now))
                times[key] = now if offender.suspended else self.times.get(key, now)
        gone = {key[:2]: seen for key, seen in self.times.items() if key not in times}
        self.times = times
        self.begun_anew = {key: seen for key, seen in self.begun_anew.items() if key in times}
        return {key[:2]: gone[key[:2]] for key in times if key[:2] in gone} if gone else {}, kept


class Ended(Times):
    """When a parent of a workload was last ended: ``{(workload identity,): seconds}``; survives
    restarts of its container.
    """

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "ended"), procfs, str)

    def note(self, workload, now) -> None:
        """A parent of this workload was ended now. What no cooldown can reach back to is
        forgotten.
        """
        self.times = {key: then for key, then in self.times.items() if now - then < KEEP_ENDED}
        if workload.identity:
            self.times[(workload.identity,)] = now


class OfProcesses(Times):
    """``{(pid, start_ticks): seconds or another number}`` of processes that are still there.

    Six files are of this kind. ``collected``: when a parent last collected zombies in a sweep;
    those it has now, it has made since.
    ``canaries``: whether a PID 1 collected the last canary of an audit, 1 or 0. ``left_canaries``:
    when one was not collected in the end.
    ``uncollected``: when a zombie was last asked for in vain. ``moved``: when one that has come to
    another parent was first seen.
    ``kept``: when one was first seen whose parent is held up, so that its age begins anew.
    """

    key_length = 2

    def __init__(self, run, procfs, name) -> None:
        super().__init__(os.path.join(run, name), procfs, int)
        self.procfs = procfs

    def note(self, pid, start_ticks, number) -> None:
        """This number for that process."""
        self.times[(pid, start_ticks)] = number

    def forget_ended(self) -> None:
        """Processes that have gone are forgotten; one look at each."""
        stats = {key: self.procfs.stat(key[0]) for key in self.times}
        self.times = {
            key: kept
            for key, kept in self.times.items()
            if stats[key] and stats[key].start_ticks == key[1]
        }


class Canaries(OfProcesses):
    """Where two audits differ, the later one is right."""

    _merged = staticmethod(lambda stored, known: stored)


class Sizes(Times):
    """How many tasks there were at two moments, the older one first: ``{(key,): (seconds, tasks,
    seconds, tasks)}``.
    """

    def __init__(self, run, procfs) -> None:
        super().__init__(os.path.join(run, "sizes"), procfs, str)

    def _parse(self, line) -> tuple:
        key, *numbers = line.split()
        then, count, later, count_later = (float(number) for number in numbers)
        return (key,), (then, count, later, count_later)

    def _is_sound(self, seen) -> bool:
        return all(number >= 0 for number in seen)

    def _line(self, key, seen) -> str:
        return "%s %.3f %d %.3f %d" % (*key, *seen)

    def note(self, key, count: int, now) -> None:
        """So many tasks now. Kept where the last ones that were kept are old enough."""
        then, before, later, count_later = self.times.get(key, (now, count, now, count))
        if now - later >= SIZE_EVERY:
            then, before, later, count_later = later, count_later, now, count
        self.times[key] = then, before, later, count_later
        self.times = {key: seen for key, seen in self.times.items() if now - seen[2] < KEEP_SIZE}

    def earlier(self) -> dict:
        """``{key: (seconds, tasks, seconds, tasks)}``, of the older moment first."""
        return dict(self.times)


class Memory:
    """All of it. run: the directory."""

    def __init__(self, run, procfs) -> None:
        self.first_seen = FirstSeen(run, procfs)
        self.ended = Ended(run, procfs)
        self.collected = OfProcesses(run, procfs, "collected")
        self.canaries = Canaries(run, procfs, "canaries")
        self.left_canaries = OfProcesses(run, procfs, "left_canaries")
        self.uncollected = OfProcesses(run, procfs, "uncollected")
        self.moved = OfProcesses(run, procfs, "moved")
        self.kept = OfProcesses(run, procfs, "kept")
        self.sizes = Sizes(run, procfs)
        self._all = (
            self.first_seen,
            self.ended,
            self.collected,
            self.canaries,
            self.left_canaries,
            self.uncollected,
            self.moved,
            self.kept,
            self.sizes,
        )

    def load(self, required: bool) -> None:
        """required: whether a file that is there but cannot be read is an error,
        :class:`CannotSweep`.
        """
        for each in self._all:
            each.load(required)

    def save(self) -> None:
        """Forget what has ended, write what has changed; ``OSError`` where that fails."""
        for each in (
            self.collected,
            self.canaries,
            self.left_canaries,
            self.uncollected,
            self.moved,
            self.kept,
        ):
            each.forget_ended()
        for each in self._all:
            each.save()

    def note_seen(self, snapshot, now) -> None:
        """What zombies there are, with which parents."""
        for found, noted in zip(self.first_seen.note(snapshot, now), (self.moved, self.kept)):
            for key, seen in found.items():
                noted.note(*key, min(seen, noted.times.get(key, seen)))

    def history(self) -> observe.History:
        """What an observation needs of it."""
        canaries = {key: bool(seen) for key, seen in self.canaries.times.items()}
        return observe.History(
            self.first_seen.times,
            self.ended.times,
            self.collected.times,
            canaries,
            set(self.left_canaries.times),
            self.sizes.earlier(),
            set(self.uncollected.times),
            self.moved.times,
            self.kept.times,
        )
