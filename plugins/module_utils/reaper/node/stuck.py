# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that cannot end, because a process outside holds a zombie of theirs.

A PID 1 that exits kills what is in its PID namespace, collects its own children and then sleeps
until no other process of the namespace is left (zap_pid_ns_processes() of kernel/pid_namespace.c).
A process that was put in from outside (setns(2): ``docker exec``, ``nsenter``) has its parent
outside. Where that does not wait for it, it stays as a zombie, and PID 1 sleeps for ever: SIGKILL
does not end it, and its pod stays Terminating. What helps is that the parent waits, or ends: its
zombies are then given to an adopter outside.
"""

from __future__ import annotations

from collections import namedtuple

LOOKED_AT = 1000  # zombies of one parent, the oldest ones, at about 10 us each
LOOKED_AT_IN_ALL = 20_000


class Stuck(namedtuple("Stuck", ("init", "holder", "zombies"))):
    """A PID 1 that waits for zombies of one parent outside its PID namespace.

    init, holder: :class:`.observe.Offender`, init without zombies. zombies: tuple of
    :class:`.observe.Zombie` of the holder that it waits for, the oldest first; there may be more.
    On cgroup v1 the kernel does not tell the cgroup of a process that exits, so init's workload may
    have no name.
    """

    __slots__ = ()

    @property
    def age(self) -> float:
        """Seconds for which sweeps have seen the oldest of them; for a moment, any ``docker exec``
        may have one.
        """
        return max(zombie.age for zombie in self.zombies)


def stuck_namespaces(observer, snapshot) -> tuple:
    """:class:`Stuck` of every PID 1 that cannot end, one for each parent that holds zombies of its
    namespace.

    observer: :class:`.observe.Observer`. snapshot: :class:`.observe.Snapshot` of the same node.
    Only looks. Costs one read for each zombie up to the limits above, and one search of the table
    where any is in another PID namespace than its parent.
    """
    waited_for, left = {}, LOOKED_AT_IN_ALL
    for holder in snapshot.offenders:
        looked_at = holder.zombies[: min(LOOKED_AT, left)]
        left -= len(looked_at)
        for zombie in looked_at:
            namespace = observer.procfs.pid_namespace(zombie.pid)
            if (
                None not in (namespace, holder.workload.pid_namespace)
                and namespace != holder.workload.pid_namespace
            ):
                waited_for.setdefault((namespace, holder.pid), (holder, []))[1].append(zombie)
    found = []
    for (namespace, _holder_pid), (holder, zombies) in waited_for.items():
        init = _dying(observer, observer.inits.of_namespace(namespace))
        if init:
            found.append(
                Stuck(
                    init,
                    holder,
                    tuple(sorted(zombies, key=lambda zombie: (-zombie.age, zombie.start_ticks))),
                )
            )
    return tuple(found)


def _dying(observer, pid):
    """:class:`.observe.Offender` of a PID 1 that is exiting and has not exited; None where it
    lives, or has gone.
    """
    stat = observer.procfs.stat(pid) if pid else None
    if (
        stat is None
        or (stat.state == "Z" and stat.num_threads <= 1)
        or not observer.procfs.is_exiting(pid)
    ):
        return None
    return observer.offender(pid)


def in_words(stuck, name, place) -> str:
    """The sentence for people. name: makes bytes printable. place: says where a
    :class:`.workloads.Workload` is, in words (both: :mod:`.report`).
    """
    init, holder, zombie = stuck.init, stuck.holder, stuck.zombies[0]
    more = len(stuck.zombies) - 1
    return (
        "PID %d (%s), PID 1 %s, is dying and cannot end: it waits for the zombie %d (%s)%s, which"
        " PID %d (%s) %s holds and does not collect. It ends once that process waits for its child,"
        " or ends itself"
        % (
            init.pid,
            name(init.comm),
            place(init.workload),
            zombie.pid,
            name(zombie.comm),
            f" and {more} more" if more else "",
            holder.pid,
            name(holder.comm),
            place(holder.workload),
        )
    )
