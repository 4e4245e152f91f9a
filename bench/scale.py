"""Many zombies and many processes: what it takes to know, to clear, and what else stands still meanwhile."""

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
HIERARCHIES = [folder for folder in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (
    folder / "cgroup.procs").exists()]
USUAL_TABLE = 30000  # processes that fit into kernel.pid_max as it usually is
BYTES = {"living": 120000, "zombies": 14000}  # of memory for each, with some to spare
PARENTS = 1000
CONTAINERS, IN_EACH = 200, 2
NAMES = {
    "ledger": "ledger, one-shot", "resident": "ledger, resident", "named": "ledger, a parent named", "find": "`zombies.find()`",
    "scan": "`ProcFS.zombies()`, a full scan", "psutil": "psutil.process_iter", "ps": "ps with awk", "bash": "bash loop over /proc"}
SLOW = ["psutil", "bash"]  # left out where the table is full of the zombies of 1,000 parents a million times
MILLION = 1000000
LIVING = "ledger", "resident", "scan", "psutil", "ps", "bash"
ALL = tuple(NAMES)


def measure(counts, living, cleared, storms, plot_file=None) -> list:
    """The tables, as Markdown. counts, living, cleared, storms: sizes. plot_file: where to write the picture of the first."""
    with compiled() as program:
        known, points = _known(program, counts, living)
        if plot_file:
            plot.write(plot_file, "zombies of one parent", "seconds until they and their parent are known", points)
            known += "\n![seconds until known, by number of zombies of one parent](%s)\n" % plot_file.name
        return [known, _cleared(program, cleared), _storms(program, storms), _tick(program)]


def _known(program, counts, living) -> tuple:
    """(table, {way: [(zombies, seconds)]} of one parent)."""
    cases = [("living", count, 0) for count in living] + [("container", count, 1) for count in counts]
    cases += [("parents", count, PARENTS) for count in counts if count >= PARENTS]
    rows, points = [], {}
    for kind, count, parents in cases:
        ways = LIVING if kind == "living" else [way for way in ALL if not (parents > 1 and count >= MILLION and way in SLOW)]
        runs = 7 if count <= 1000 else 3 if count <= 10000 else 1
        title = "%s %s" % (format(count, ","), "living, no zombie" if kind == "living" else "zombies of %s parent%s" % (
            format(parents, ","), "s" * (parents > 1)))
        if not has_memory(kind, count):
            print("%s: not measured, there is too little memory." % title, flush=True)
            continue
        with _crowd(program, kind, count, parents, "keeps") as run:
            figures = run(HERE / "known_once.py", runs, 0 if kind == "living" else count, *ways)
        for way, figure in figures.items():
            _check(way, figure["told"], kind, count, parents)
            rows.append([title, NAMES[way], _seconds(figure["cpu"]), _seconds(figure["seconds"]),
                         _times(figures["ps"]["cpu"] / figure["cpu"]), _times(figures["ps"]["seconds"] / figure["seconds"])])
            if kind == "container" and way not in ("ledger", "resident"):
                points.setdefault(NAMES[way].replace("`", ""), []).append((count, figure["seconds"]))
    return table(
        "Who has them: until zombies and their parent are known",
        "All ways on the same table of processes, in turns. The ledger alone tells how many there are, which is all that is read where there are "
        "none; resident: with its descriptors open. Named: also the cgroups that hold them, and in the list of children of the first parent "
        "there the first zombie. `zombies.find()` is what a sweep does before it acts: it looks at each zombie, of one parent at most 50,000, and "
        "counts the rest. One parent is the PID 1 of a container. ps is `ps -eo pid,ppid,stat,comm`, its awk counts by parent; the bash loop uses "
        "what bash has built in and starts nothing. CPU of the Python ones is without the start of the interpreter.",
        ["processes", "way", "CPU", "seconds", "times less CPU than ps with awk", "times sooner"], rows), points


def _check(way, told, kind, count, parents) -> None:
    """Stop where a way has told something wrong: then its figure means nothing."""
    if kind == "living":
        right = not told
    elif way in ("ledger", "resident"):
        right = told is None
    elif way == "named":
        right = len(told) == 1
    else:
        right = sum(told.values()) == count // parents * parents and len(told) == parents
    if not right:
        raise SystemExit("%s told something wrong of %d %s: %s" % (way, count, kind, str(told)[:200]))


def _cleared(program, counts) -> str:
    rows = []
    for count in counts:
        hows = ("check", "terminate") if count >= MILLION else ("check", "reap", "watch", "terminate")
        for how in hows:
            if how in ("check", hows[1], "watch", "terminate") and not has_memory("zombies", count):
                continue
            with _crowd(program, "container", count, 1, "reaps") as run:
                rows.append([format(count, ","), WHAT[how], *_of_agent(run(HERE / "cleared_once.py", how, 2))])
    return table(
        "Until they are gone, and the memory of the agent",
        "The whole agent, interpreter included, on zombies of the PID 1 of a container, until the last is gone. `reap` by one sweep after the other, "
        "each at most 15 s for one parent, or by the resident agent with an interval of 1 s; `terminate` ends the container, and the kernel "
        "collects what was in it.",
        ["zombies of one parent", "with", "sweeps", "seconds", "CPU", "most memory"], rows)


WHAT = {"check": "a sweep that only reports", "reap": "`reap`, sweeps", "watch": "`reap`, resident", "terminate": "`terminate`"}


def _of_agent(figure) -> list:
    return [figure["runs"], "%.1f" % figure["seconds"], "%.1f s" % figure["cpu"], "%.0f MB" % figure["memory"]]


def _storms(program, counts) -> str:
    rows = []
    for count in counts:
        for how, kind, init, words in STORMS:
            if not has_memory("zombies", count):
                continue
            with _crowd(program, kind, count, 1, init) as run, _meter(program) as outside:
                figure = run(HERE / "storm_once.py", program, how, 2, init)
            rows.append([format(count, ","), words, *("%.0f ms" % (1000 * gap) for gap in (
                figure["calm"], figure["longest"], outside[0])), "%.1f" % figure["seconds"]])
    return table(
        "The storm: for how long nothing can fork",
        "When a parent ends, all its zombies go at once to whoever adopts them, under a lock that every fork needs. A process in the same PID "
        "namespace and one outside of it fork all the time; the longest time from one fork to the next, during one sweep and until the adopter "
        "is done. Calm: the same for 2 s before.",
        ["zombies", "sweep", "calm", "longest, in the namespace", "longest, outside", "seconds until over"], rows)


STORMS = [
    ("reap", "parents", "reaps", "`reap`: they stay with their parent"),
    ("terminate", "container", "reaps", "`terminate` of the PID 1 of a container: they end with it"),
    ("terminate", "parents", "reaps", "`terminate`, PID 1 collects them"),
    ("terminate", "parents", "keeps", "`terminate`, PID 1 never waits"),
]


@contextlib.contextmanager
def _meter(program):
    """A list that has the longest time without a fork in it, afterwards."""
    longest = []
    popen = subprocess.Popen([program, "forks"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        popen.stdout.readline()
        yield longest
    finally:
        popen.terminate()
        longest.append(float(popen.communicate()[0]))


def _tick(program) -> str:
    rows = []
    with contextlib.ExitStack() as until_measured:
        run = until_measured.enter_context(_crowd(program, "living", CONTAINERS * IN_EACH, 0, "keeps"))
        for hierarchy in HIERARCHIES:
            containers = until_measured.enter_context(_cgroups(hierarchy, CONTAINERS))
            figure = run(HERE / "tick_once.py", hierarchy, IN_EACH, *containers)
            rows.append(["2, `cgroup.threads`" if figure["list"] == "cgroup.threads" else "1, `tasks`", figure["cgroups"],
                         "%.2f ms" % (1000 * figure["resident"]), "%.2f ms" % (1000 * figure["afresh"])])
    return table(
        "A tick of the resident agent where nothing is wrong",
        "CPU of one look at the ledger on a node with %d containers of %d processes each, and the cgroups that this machine has otherwise. It is to "
        "stay below 1 ms. Afresh: as a one-shot sweep does it, which opens all lists; with version 1 the resident agent does that too. Where both are "
        "mounted version 2 is taken." % (CONTAINERS, IN_EACH),
        ["cgroup version", "cgroups", "CPU of a tick", "afresh"], rows)


@contextlib.contextmanager
def _crowd(program, kind, count, parents, init):
    """:func:`.crowd.crowd_of` in a cgroup of its own, with room for all."""
    room = room_for_many(count + 50000) if count > USUAL_TABLE else contextlib.nullcontext()
    with room, contextlib.ExitStack() as until_gone:
        cgroups = [until_gone.enter_context(_cgroups(hierarchy, 0))[0] for hierarchy in HIERARCHIES]
        yield until_gone.enter_context(crowd_of([program, kind, count, parents, init], cgroups))


@contextlib.contextmanager
def _cgroups(hierarchy, number):
    """A cgroup in a hierarchy and so many in it; the first of the paths is that of the outer one where number is 0."""
    outer = hierarchy / ("zr-bench-%d-%d" % (os.getpid(), number))
    folders = [outer / str(place) for place in range(number)]
    made = []
    try:
        for folder in [outer, *folders]:
            folder.mkdir()
            made.append(folder)
        yield folders or [outer]
    finally:
        for folder in reversed(made):
            _remove(folder)


def _remove(folder) -> None:
    """Move what is left in it one up, and remove a cgroup. The last of its processes may take a moment to go."""
    for _try in range(100):
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (folder.parent / "cgroup.procs").write_text(pid)
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("%s cannot be removed" % folder)


def has_memory(kind, count) -> bool:
    """Whether so many fit into the memory that is free now, with 2 GB left."""
    return psutil.virtual_memory().available - count * BYTES.get(kind, BYTES["zombies"]) > 2e9


def _seconds(number) -> str:
    return "%.2g ms" % (1000 * number) if number < 0.1 else "%.2f s" % number if number < 10 else "%.0f s" % number


def _times(number) -> str:
    return "%.2f" % number if number < 10 else format(int("%.0f" % float("%.2g" % number)), ",")
