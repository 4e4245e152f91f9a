# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep a container from gathering zombies: the one rule for the audit, ``--explain``,
the termination log, Events, the report and its notes to tenants.

An init as PID 1 collects orphans and nothing else. A program that does not wait for the children
that it started keeps them behind any init, and so does a subreaper that does not wait for the
orphans left to it (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

# Words for machines
INIT_IN_IMAGE, RUNTIME_CLASS = "init_in_image", "runtime_class"
SHARE_PROCESS_NAMESPACE, INIT_FLAG = "share_process_namespace", "init_flag"
FIX = "fix"
CURES = (INIT_IN_IMAGE, RUNTIME_CLASS, SHARE_PROCESS_NAMESPACE, INIT_FLAG, FIX)

# Where a container runs, and how it gets an init there
POD, ENGINE, ELSEWHERE = "pod", "engine", "elsewhere"
WAYS = {
    POD: (INIT_IN_IMAGE, SHARE_PROCESS_NAMESPACE, RUNTIME_CLASS),
    ENGINE: (INIT_IN_IMAGE, INIT_FLAG),
    ELSEWHERE: (INIT_IN_IMAGE,),
}
WAYS_IN_WORDS = {
    POD: (
        'ENTRYPOINT ["/usr/bin/tini", "--"] in the image; or in the pod shareProcessNamespace: true'
        " or, where the operator offers it, runtimeClassName: init"
    ),
    ENGINE: (
        'ENTRYPOINT ["/usr/bin/tini", "--"] in the image; or --init (docker run, podman run) or'
        " init: true (Compose)"
    ),
    ELSEWHERE: 'ENTRYPOINT ["/usr/bin/tini", "--"] in the image',
}
PLACES_IN_WORDS = {
    POD: "in a pod",
    ENGINE: "with Docker or Podman",
    ELSEWHERE: "in another container",
}
WAITS = "it has to wait (waitpid(2)) for each child that it starts"


class Kept(Record):
    """The zombies of a container, or of one parent in it, by who keeps them."""

    left_to_init: int = 0  # orphans that PID 1 keeps
    of_init: int = 0  # others that PID 1 keeps: its own, or orphans that cannot be told from them
    left_to_others: int = 0  # orphans that another program keeps, as their subreaper
    of_others: int = 0  # others that another program keeps: they count as its own
    # whether PID 1 collects orphans, as a canary or its program shows; None where that is not known
    init_collects: bool | None = None
    swept: bool = False  # whether a sweep had to collect zombies from PID 1

    @property
    def needs_init(self) -> bool:
        """Whether an init helps, or may help where it is not known who started the zombies."""
        if self.left_to_init or self.init_collects is False:
            return True
        return self.init_collects is None and bool(self.of_init or self.swept)

    @property
    def needs_fix(self) -> bool:
        """Whether a fix in the program helps, or may help."""
        if self.of_init or self.left_to_others or self.of_others:
            return True
        return self.swept and self.init_collects is not False


def kept(orphans: int, others: int, is_init: bool, init_collects: bool | None = None) -> Kept:
    """The zombies of one parent. is_init: whether that is PID 1 of its PID namespace."""
    if is_init:
        return Kept(left_to_init=orphans, of_init=others, init_collects=init_collects)
    return Kept(left_to_others=orphans, of_others=others)


def place_of(in_pod: bool, runtime: str | None) -> str:
    """:data:`POD`, :data:`ENGINE` or :data:`ELSEWHERE`. runtime: as in :class:`.Workload`."""
    if in_pod:
        return POD
    return ENGINE if runtime in ("docker", "podman") else ELSEWHERE


def cures(kept: Kept, place: str) -> tuple[str, ...]:
    """Words of :data:`CURES`, for those that help or may help."""
    return (WAYS[place] if kept.needs_init else ()) + ((FIX,) if kept.needs_fix else ())


def label(cures: Sequence[str]) -> str:
    """Those words in a few for people; empty where there is nothing to cure."""
    init = any(cure != FIX for cure in cures)
    return ", ".join(["an init"] * init + ["a fix in the program"] * (FIX in cures))


def legend(found: Collection[Sequence[str]]) -> list[str]:
    """What those words mean, a line for each that occurs. found: from :func:`cures`."""
    occur = {tuple(cure for cure in cures if cure != FIX) for cures in found}
    lines = [
        f"an init {where}: {WAYS_IN_WORDS[place]}"
        for place, where in PLACES_IN_WORDS.items()
        if WAYS[place] in occur
    ]
    if any(FIX in cures for cures in found):
        lines.append(f"a fix in the program: {WAITS}; an init does not do that for it")
    return lines


def in_words(kept: Kept, place: str) -> str:
    """The same in sentences, with the numbers; empty where there is nothing to cure."""
    sentences = [*_of_init(kept, f"an init as PID 1 helps: {WAYS_IN_WORDS[place]}")]
    if kept.left_to_others:
        sentences.append(
            f"{_were(kept.left_to_others)} started by other programs and left to a subreaper"
            " (prctl(2)), which has to wait for them (waitpid(2)); an init as PID 1 does not help."
        )
    if kept.of_others:
        sentences.append(
            f"{_count_as(kept.of_others)} started by the program that keeps them: {WAITS}. An init"
            " as PID 1 does not help against these."
        )
    return " ".join(sentences)


def _of_init(kept: Kept, init: str) -> Iterator[str]:
    """About PID 1. init: that an init helps, and how the container gets one."""
    if kept.left_to_init:
        yield f"{_were(kept.left_to_init)} started by other programs and left to PID 1; {init}."
    if kept.of_init and kept.init_collects:
        yield (
            f"{_count_as(kept.of_init)} started by PID 1 itself, since it collects orphans:"
            f" {WAITS}. An init does not do that for it."
        )
    elif kept.of_init:
        yield (
            f"{kept.of_init} may be PID 1's own: {WAITS}, and an init does not do that for it. If"
            f" other programs started them, {'the same helps' if kept.left_to_init else init}."
        )
    if kept.left_to_init or kept.of_init:
        return
    if kept.init_collects is False:
        yield f"PID 1 does not collect orphans; {init}."
    elif kept.swept and kept.init_collects:
        yield (
            "PID 1 collects orphans, so what a sweep had to collect from it counts as started by"
            f" itself: {WAITS}."
        )
    elif kept.swept:
        yield (
            f"If other programs started what a sweep had to collect from PID 1, {init}. If PID 1"
            f" did, {WAITS}."
        )


def _were(count: int) -> str:
    return f"{count} was" if count == 1 else f"{count} were"


def _count_as(count: int) -> str:
    return f"{count} counts as" if count == 1 else f"{count} count as"
