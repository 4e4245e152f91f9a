# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that cannot end because a process outside holds a zombie of theirs.

A PID 1 that exits kills everything in its PID namespace, collects its own children and then sleeps
until no other process of the namespace is left (zap_pid_ns_processes() of kernel/pid_namespace.c).
A process that was put in from outside (setns(2): ``docker exec``, ``nsenter``) has its parent
outside. If that parent never waits, the process stays a zombie and PID 1 sleeps forever: SIGKILL
does not end it, and its pod stays Terminating. It ends once the parent waits, or exits and leaves
the zombie to an adopter outside.
"""

from __future__ import annotations

from collections.abc import Callable

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .observe import Observer, Offender, Snapshot, Zombie
    from .workloads import Workload

LOOKED_AT = 1000  # zombies of one parent, the oldest, at about 10 us each
LOOKED_AT_IN_ALL = 20_000


class Stuck(Record):
    """A PID 1 that waits for zombies of one parent outside its PID namespace."""

    init: Offender  # without zombies; on cgroup v1 an exiting process shows no cgroup to name it by
    holder: Offender
    zombies: tuple[Zombie, ...]  # those that init waits for, the oldest first; there may be more

    @property
    def age(self) -> float:
        """Seconds since a sweep first saw the oldest of them. Any ``docker exec`` may leave one for
        a moment.
        """
        return max(zombie.age for zombie in self.zombies)


def stuck_namespaces(observer: Observer, snapshot: Snapshot) -> tuple[Stuck, ...]:
    """Every PID 1 that cannot end, once for each parent that holds zombies of its namespace.

    observer: of the same node as the snapshot. Changes nothing. Costs one read for each zombie, up
    to the limits above, and one pass over the process table if any zombie is in another PID
    namespace than its parent.
    """
    waited_for: dict[tuple[int, int], tuple[Offender, list[Zombie]]] = {}
    left = LOOKED_AT_IN_ALL
    for holder in snapshot.offenders:
        looked_at = holder.zombies[: min(LOOKED_AT, left)]
        left -= len(looked_at)
        for zombie in looked_at:
            namespace = observer.procfs.pid_namespace(zombie.pid)
            if namespace is None or holder.workload.pid_namespace is None:
                continue
            if namespace != holder.workload.pid_namespace:
                waited_for.setdefault((namespace, holder.pid), (holder, []))[1].append(zombie)
    found = []
    for (namespace, _holder_pid), (holder, zombies) in waited_for.items():
        init = _dying(observer, observer.inits.of_namespace(namespace))
        if init:
            zombies.sort(key=lambda zombie: (-zombie.age, zombie.start_ticks))
            found.append(Stuck(init, holder, tuple(zombies)))
    return tuple(found)


def _dying(observer: Observer, pid: int | None) -> Offender | None:
    """A PID 1 that is exiting but has not exited; None if it is alive or gone."""
    stat = observer.procfs.stat(pid) if pid else None
    if (
        stat is None
        or (stat.state == "Z" and stat.num_threads <= 1)
        or not observer.procfs.is_exiting(stat.pid)
    ):
        return None
    return observer.offender(stat.pid)


def in_words(
    stuck: Stuck, name: Callable[[bytes], str | None], place: Callable[[Workload], str]
) -> str:
    """The sentence for people. name: makes bytes printable. place: says where a workload is (both:
    :mod:`.report`).
    """
    init, holder, zombie = stuck.init, stuck.holder, stuck.zombies[0]
    others = len(stuck.zombies) - 1
    and_more = f" and {others} more" if others else ""
    return (
        f"PID {init.pid} ({name(init.comm)}), PID 1 {place(init.workload)}, is dying and cannot"
        f" end: it waits for the zombie {zombie.pid} ({name(zombie.comm)}){and_more}, which PID"
        f" {holder.pid} ({name(holder.comm)}) {place(holder.workload)} holds and does not collect."
        " It ends once that process waits for its child, or ends itself"
    )
