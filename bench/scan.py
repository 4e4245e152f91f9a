"""CPU of looking for zombies, for each process there is."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path

from crowd import LIVING, ZOMBIES, crowd
from tables import ratio, table

HERE = Path(__file__).resolve().parent
MAX_LIVING = 10000  # a living one takes 30 times the memory of a zombie
RUNS = {1000: 11, 10000: 5}
SIZES = {
    "tiny": {"counts": [20]},
    "usual": {"counts": [1000, 10000]},
    "full": {"counts": [1000, 10000, 100000]},
}
LIMITS = "pid_max", "threads-max"
ROOM = 150000


def measure(counts) -> str:
    rows = []
    for count in counts:
        living = count <= MAX_LIVING
        with (
            nullcontext() if living else room_for_many(),
            crowd(LIVING if living else ZOMBIES, count) as run,
        ):
            cpu = run(HERE / "cpu_of_scans.py", RUNS.get(count, 3))
        for name, seconds in cpu.items():
            rows.append(
                [
                    "%s %s" % (format(count, ","), "living" if living else "zombies"),
                    name,
                    f"{1e6 * seconds / count:.1f} µs",
                    ratio(cpu["ProcFS.zombies()"], seconds),
                ]
            )
    return table(
        "Looking for zombies in the process table",
        "CPU for each process in the table. The engine reads one file of each process. Of a"
        " zombie it keeps all fields, so zombies cost it more than living processes. The aim is"
        " less than 20 µs at 100,000."
        "\n\n"
        "`bench/run --full --only scan` measures it.",
        ["processes", "with", "CPU for each", "ProcFS.zombies() takes"],
        rows,
    )


@contextmanager
def room_for_many(room=ROOM):
    """Limits of the kernel that let so many processes be there, as long as this lasts; then what
    they were.
    """
    before = {name: int(setting(name).read_text()) for name in LIMITS}
    low = [name for name in LIMITS if before[name] < room]
    try:
        for name in low:
            print(
                f"kernel.{name} is raised from {before[name]} to {room} for what comes next.",
                flush=True,
            )
            setting(name).write_text(str(room))
        yield
    finally:
        for name in low:
            setting(name).write_text(str(before[name]))
        for name in low:  # only now, as nobody may be there any more to read it
            print(f"kernel.{name} is {setting(name).read_text().strip()} again.", flush=True)


def setting(name) -> Path:
    return Path("/proc/sys/kernel", name)
