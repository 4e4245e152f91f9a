"""Many zombies and many processes: what it takes to know, to clear, and what else stands still
meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import plot
import psutil
from crowd import compiled, crowd_of
from scan import room_for_many
from tables import table

HERE = Path(__file__).resolve().parent
HIERARCHIES = [
    directory
    for directory in (
        Path("/sys/fs/cgroup/pids"),
        Path("/sys/fs/cgroup/unified"),
        Path("/sys/fs/cgroup"),
    )
    if (directory / "cgroup.procs").exists()
]
USUAL_TABLE = 30000  # processes that fit into kernel.pid_max as it usually is
BYTES = {"living": 120000, "zombies": 14000}  # of memory for each, with some to spare
PARENTS = 1000
CONTAINERS, IN_EACH = 200, 2
NAMES = {
    "ledger": "ledger, one-shot",
    "daemon": "ledger, daemon",
    "named": "ledger, a parent named",
    "find": "`zombies.find()`",
    "scan": "`ProcFS.zombies()`, a full scan",
    "psutil": "psutil.process_iter",
    "ps": "ps with awk",
    "bash": "bash loop over /proc",
}
SLOW = ["psutil", "bash"]  # left out at a million, where they take minutes
MILLION = 1000000
WAYS_TO_CLEAR = ("check", "terminate"), ("reap",), ("daemon",)
LIVING = "ledger", "daemon", "scan", "psutil", "ps", "bash"
KNOWN = (
    "All ways on the same processes, in turns. The ledger alone tells how many zombies there are,"
    " and where there are none that is all that is read; daemon: with its files open. Named: also"
    " which cgroups hold them and, from the list of children of the first parent there, one of"
    " them. `zombies.find()` is what a sweep does before it judges: it looks at each zombie, of one"
    " parent at most 50,000, and counts the rest. The one parent is the PID 1 of a container; 1,000"
    " parents are 1,000 processes of a node. ps is `ps -eo pid,ppid,stat,comm`, and awk counts by"
    " parent; the bash loop uses what bash has built in and starts nothing. Those in Python are"
    " without the start of the interpreter. psutil and bash are left out at a million, where they"
    " take minutes."
)
DRAWN = {
    "ledger": "ledger, the number alone",
    "named": "ledger, a parent named",
    "find": "zombies.find()",
    "scan": "ProcFS.zombies(), a full scan",
    "psutil": "psutil.process_iter",
    "ps": "ps with awk",
    "bash": "bash loop over /proc",
}


def measure_known(counts, living, plot_file=None, runs=None) -> str:
    """The table, as Markdown.

    counts: of zombies. living: of processes on a node without any. plot_file: where to write a
    picture of it. runs: of each; the fewer the larger the number where that is None.
    """
    cases = [("living", count, 0) for count in living] + [
        ("container", count, 1) for count in counts
    ]
    cases += [("parents", count, PARENTS) for count in counts if count >= PARENTS]
    rows, points = [], {}
    for kind, count, parents in cases:
        ways = (
            LIVING
            if kind == "living"
            else [way for way in NAMES if not (count >= MILLION and way in SLOW)]
        )
        times = runs or (7 if count <= 1000 else 3 if count <= 10000 else 1)
        title = "%s %s" % (
            format(count, ","),
            (
                "living, no zombie"
                if kind == "living"
                else f"zombies of {format(parents, ',')} parent{'s' * (parents > 1)}"
            ),
        )
        if not has_memory(kind, count):
            rows.append([title, "not measured: too little memory"] + [""] * 4)
            continue
        with _crowd(kind, count, parents, "keeps") as run:
            figures = run(HERE / "known_once.py", times, 0 if kind == "living" else count, *ways)
        for way, figure in figures.items():
            _check(way, figure["told"], kind, count, parents)
            rows.append(
                [
                    title,
                    NAMES[way],
                    _seconds(figure["cpu"]),
                    _seconds(figure["seconds"]),
                    _times(figures["ps"]["cpu"] / figure["cpu"]),
                    _times(figures["ps"]["seconds"] / figure["seconds"]),
                ]
            )
            if kind == "container" and way in DRAWN:
                points.setdefault(DRAWN[way], []).append((count, figure["cpu"]))
    text = KNOWN
    if plot_file:
        plot.write(
            plot_file, "zombies of one parent", "CPU until they and their parent are known", points
        )
        text += "\n\n![%s](%s)" % (
            "CPU until known, by the number of zombies of one parent: the rows below, on two"
            " logarithmic scales",
            plot_file.name,
        )
    return table(
        "Until zombies and their parent are known",
        text,
        ["processes", "way", "CPU", "seconds", "times less CPU than ps with awk", "times sooner"],
        rows,
    )


def _check(way, told, kind, count, parents) -> None:
    """Stop where a way has told something wrong: then its figure means nothing."""
    if kind == "living":
        right = not told
    elif way in ("ledger", "daemon"):
        right = told is None
    elif way == "named":
        right = len(told) == 1
    else:
        right = sum(told.values()) == count // parents * parents and len(told) == parents
    if not right:
        raise SystemExit(f"{way} told something wrong of {count} {kind}: {str(told)[:200]}")


def measure_cleared(counts, ways=WAYS_TO_CLEAR) -> str:
    """The table, as Markdown. ways: those of each tuple have the same zombies, one after the
    other.
    """
    rows = []
    for count in counts:
        if not has_memory("zombies", count):
            rows.append([format(count, ","), "not measured: too little memory"] + [""] * 4)
            continue
        for hows in ways:
            with _crowd("container", count, 1, "reaps") as run:
                rows += [
                    [
                        format(count, ","),
                        WHAT[how],
                        *_of_agent(run(HERE / "cleared_once.py", how, 2)),
                    ]
                    for how in hows
                ]
    return table(
        "Until they are gone, and the memory of the agent",
        "The whole agent, interpreter included, on zombies of the PID 1 of a container, until the"
        " last is gone. `reap` by one sweep after the other, each at most 15 s for one parent, or"
        " by the daemon with an interval of 1 s; `terminate` ends the container, and the"
        " kernel collects what was in it.",
        ["zombies of one parent", "with", "sweeps", "seconds", "CPU", "most memory"],
        rows,
    )


WHAT = {
    "check": "a sweep that only reports",
    "reap": "`reap`, sweeps",
    "daemon": "`reap`, daemon",
    "terminate": "`terminate`",
}


def _of_agent(figure) -> list:
    return [
        figure["runs"],
        f"{figure['seconds']:.1f}",
        f"{figure['cpu']:.1f} s",
        f"{figure['memory']:.0f} MB",
    ]


def measure_storms(counts, calm=2.0, some=slice(None)) -> str:
    """The table, as Markdown. calm: seconds before each storm, and after. some: which of
    :data:`STORMS`.
    """
    rows = []
    for count in counts:
        for how, kind, init, words in STORMS[some]:
            if not has_memory("zombies", count):
                rows.append(
                    [format(count, ","), words, "not measured: too little memory"] + [""] * 3
                )
                continue
            with _crowd(kind, count, 1, init) as run, _meter() as outside:
                figure = run(HERE / "storm_once.py", compiled(), how, 2, init, calm)
            rows.append(
                [
                    format(count, ","),
                    words,
                    *(
                        f"{1000 * gap:.0f} ms"
                        for gap in (figure["calm"], figure["longest"], outside[0])
                    ),
                    f"{figure['seconds']:.1f}",
                ]
            )
    return table(
        "The storm: for how long nothing can fork",
        "When a parent ends, all its zombies go at once to whoever adopts them, under a lock that"
        " every fork needs. A process in the same PID namespace and one outside of it fork all the"
        " time; the longest time from one fork to the next, during one sweep and until the adopter"
        f" is done. Calm: the same for {calm:g} s before. That `terminate` leaves"
        " alone whoever holds too"
        " many is turned off for this.",
        [
            "zombies",
            "sweep",
            "calm",
            "longest, in the namespace",
            "longest, outside",
            "seconds until over",
        ],
        rows,
    )


STORMS = [
    ("reap", "parents", "reaps", "`reap`: they stay with their parent"),
    (
        "terminate",
        "container",
        "reaps",
        "`terminate` of the PID 1 of a container: they end with it",
    ),
    ("terminate", "parents", "reaps", "`terminate`, PID 1 collects them"),
    ("terminate", "parents", "keeps", "`terminate`, PID 1 never waits"),
]


@contextlib.contextmanager
def _meter():
    """A list that has the longest time without a fork in it, afterwards."""
    longest = []
    popen = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", compiled(), "forks"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        popen.stdout.readline()
        yield longest
    finally:
        popen.terminate()
        longest.append(float(popen.communicate()[0]))


def measure_tick(number=CONTAINERS) -> str:
    """The table, as Markdown. number: of containers."""
    rows = []
    with contextlib.ExitStack() as until_measured:
        run = until_measured.enter_context(_crowd("living", number * IN_EACH, 0, "keeps"))
        for hierarchy in HIERARCHIES:
            containers = until_measured.enter_context(_cgroups(hierarchy, number))
            figure = run(HERE / "tick_once.py", hierarchy, IN_EACH, *containers)
            rows.append(
                [
                    "2, `cgroup.threads`" if figure["list"] == "cgroup.threads" else "1, `tasks`",
                    figure["cgroups"],
                    f"{1000 * figure['daemon']:.2f} ms",
                    f"{1000 * figure['afresh']:.2f} ms",
                ]
            )
    return table(
        "A tick of the daemon where nothing is wrong",
        f"CPU of one look at the ledger on a node with {number} containers of"
        f" {IN_EACH} processes each, and the"
        " cgroups that this machine has otherwise. It is to stay below 1 ms. Afresh: as a one-shot"
        " sweep does it, which opens all lists; with version 1 the daemon does that too."
        " Where both are mounted version 2 is taken.",
        ["cgroup version", "cgroups", "CPU of a tick", "afresh"],
        rows,
    )


@contextlib.contextmanager
def _crowd(kind, count, parents, init):
    """What :func:`.crowd.crowd_of` yields, in a cgroup of its own and with room for all."""
    room = room_for_many(count + 50000) if count > USUAL_TABLE else contextlib.nullcontext()
    with room, contextlib.ExitStack() as until_gone:
        cgroups = [until_gone.enter_context(_cgroups(hierarchy, 0))[0] for hierarchy in HIERARCHIES]
        yield until_gone.enter_context(crowd_of([compiled(), kind, count, parents, init], cgroups))


@contextlib.contextmanager
def _cgroups(hierarchy, number):
    """A cgroup in a hierarchy and so many in it; the first of the paths is that of the outer one
    where number is 0.
    """
    outer = hierarchy / (f"zr-bench-{os.getpid()}-{number}")
    directories = [outer / str(place) for place in range(number)]
    try:
        for directory in [outer, *directories]:
            directory.mkdir()
        yield directories or [outer]
    finally:
        for directory in [*directories, outer]:
            _remove(directory)


def _remove(directory) -> None:
    """Move what is left in it one up, and remove a cgroup, if it is there. The last of its
    processes may take a moment to go.
    """
    for _try in range(100):
        if not directory.exists():
            return
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (directory.parent / "cgroup.procs").write_text(pid)
        try:
            directory.rmdir()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{directory} cannot be removed")


def has_memory(kind, count) -> bool:
    """Whether so many fit into the memory that is free now, with 2 GB left."""
    return psutil.virtual_memory().available - count * BYTES.get(kind, BYTES["zombies"]) > 2e9


def _seconds(number) -> str:
    return (
        f"{1000 * number:.2g} ms"
        if number < 0.1
        else f"{number:.2f} s"
        if number < 10
        else f"{number:.0f} s"
    )


def _times(number) -> str:
    return f"{number:.2f}" if number < 10 else format(int("%.0f" % float(f"{number:.2g}")), ",")
