"""Stopped, made to collect, and released, 10,000 times: programs of many kinds never notice. Each
checks its own work all the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time

import pytest
from rig.fed import HERE, Fed, build_worker
from rig.kernel import OWN_MACHINE
from rig.node import ENGINE, PYTHON, wait_until

ROUNDS = int(os.environ.get("REAPER_SOAK_ROUNDS", "10000"))

# Each counts to ``least`` of {progress}; says in {progress}.wrong what was not as it must be, and
# ends.
PYTHON_WORK = """
import os, sys, threading, time
def work(count):
    x = n = 0
    while True:
        for _ in range(500):
            x = (x * 1103515245 + 12345) % 2147483648
        n += 500
        a, c, m, y = 1103515245, 12345, n, 0
        while m:
            if m & 1:
                y = (a * y + c) % 2147483648
            a, c, m = a * a % 2147483648, c * (a + 1) % 2147483648, m >> 1
        before = time.monotonic()
        time.sleep(0.02)
        if x != y or time.monotonic() - before < 0.02:
            open(sys.argv[1] + ".wrong", "w").write("%d is not %d after %d steps" % (x, y, n))
            os._exit(9)
        count(n)
def report(n):
    with open(sys.argv[1], "r+") as file:
        file.write("%020d" % n)
open(sys.argv[1], "w").close()
for _ in range(int(sys.argv[2]) - 1):
    threading.Thread(target=work, args=(lambda n: None,)).start()
work(report)
"""

PERL_WORK = """
use Time::HiRes qw(setitimer ITIMER_REAL sleep);
my ($file, $x, $n, $alarms) = ($ARGV[0], 0, 0, 0);
sub wrong { open(my $out, ">", "$file.wrong"); print $out $_[0]; close $out; exit 9 }
$SIG{ALRM} = sub { $alarms++ };
setitimer(ITIMER_REAL, 0.005, 0.005);
open(my $out, ">", $file);
while (1) {
    for (1 .. 300) { $x = ($x * 1103 + 12345) % 65536; $n++ }
    my ($a, $c, $m, $y) = (1103, 12345, $n, 0);
    while ($m) { $y = ($a * $y + $c) % 65536 if $m & 1; $c = $c * ($a + 1) % 65536; $a = $a * $a % 65536; $m >>= 1 }
    wrong("$x is not $y after $n steps") if $x != $y;
    my $before = $alarms;
    sleep(0.02);
    wrong("no alarm came") if $alarms == $before;
    seek($out, 0, 0); printf $out "%020d", $n; $out->flush();
}
"""

BASH_WORK = """
x=0 n=0
wrong() { echo "$1" > "$0.wrong"; exit 9; }
exec {never}<> <(:)
while :; do
    for i in {1..50}; do x=$(( (x * 1103 + 12345) % 65536 )); done
    n=$((n + 50)) a=1103 c=12345 m=$n y=0
    while ((m)); do
        ((m & 1)) && y=$(( (a * y + c) % 65536 ))
        c=$((c * (a + 1) % 65536)) a=$((a * a % 65536)) m=$((m >> 1))
    done
    [ $x = $y ] || wrong "$x is not $y after $n steps"
    (exit 7)
    [ $? = 7 ] || wrong "a child that exited with 7 was seen as $?"
    [ "$(echo "$n")" = "$n" ] || wrong "what a child printed was lost"
    read -t 0.02 -u "$never" && wrong "something was read where nothing is written"
    printf '%020d\\n' "$n" 1<> "$0"
done
"""

NODE_WORK = """
const fs = require("fs"), file = process.argv[1];
let x = 0, n = 0, handle = fs.openSync(file, "w");
function wrong(what) { fs.writeFileSync(file + ".wrong", what); process.exit(9); }
function work() {
  for (let i = 0; i < 1000; i++) x = (x * 1103 + 12345) % 65536;
  n += 1000;
  let a = 1103, c = 12345, m = n, y = 0;
  while (m) { if (m & 1) y = (a * y + c) % 65536; c = c * (a + 1) % 65536; a = a * a % 65536; m = Math.floor(m / 2); }
  if (x !== y) wrong(x + " is not " + y + " after " + n + " steps");
  fs.writeSync(handle, String(n).padStart(20, "0"), 0);
  const before = process.hrtime.bigint();
  setTimeout(() => {
    if (process.hrtime.bigint() - before < 8000000n) wrong("10 ms were over too soon");
    fs.stat(file, (error) => { if (error) wrong(String(error)); work(); });
  }, 10);
}
work();
"""

WORKERS = [
    ("checksum", 4),
    ("clocks", 1),
    ("calls", 1),
    ("calls", 4),
    ("signals", 1),
    ("nanosleep", 1),
    ("nanosleep", 8),
    ("poll", 1),
    ("epoll_wait", 1),
    ("futex", 4),
    ("read", 1),
    ("accept", 1),
    ("sigtimedwait", 1),
    ("wait4", 1),
]
SCRIPTS = {
    "python": [PYTHON, "-IS", "-c", PYTHON_WORK, "{progress}", "1"],
    "python_threads": [PYTHON, "-IS", "-c", PYTHON_WORK, "{progress}", "8"],
    "perl": ["perl", "-e", PERL_WORK, "{progress}"],
    "bash": ["bash", "-c", BASH_WORK, "{progress}"],
    "node": ["node", "-e", NODE_WORK, "{progress}"],
}


@pytest.fixture
def programs(node, tmp_path):
    """All of them, at work; every other one is PID 1 of a container."""
    missing = {name for name, words in SCRIPTS.items() if not shutil.which(words[0])}
    # virtual machines are kept small
    assert not missing or OWN_MACHINE and missing == {"node"}, missing
    worker = build_worker(tmp_path)
    started = []
    for number, (kind, threads) in enumerate(WORKERS):
        command = [worker, kind, "{progress}", threads]
        started.append(
            Fed(node, tmp_path, f"{kind}-{threads}", command, in_container=number % 2 == 0)
        )
    for number, (name, command) in enumerate(SCRIPTS.items()):
        if name not in missing:
            started.append(Fed(node, tmp_path, name, command, in_container=number % 2 == 0))
    for program in started:
        wait_until(lambda program=program: program.done() or program.complaint())
    return started


def complaints(programs) -> list:
    return [program.complaint() for program in programs if program.complaint()]


class Masks:
    """The signals that each thread blocks: whenever it was looked at, and at least once. In a handler
    its signal is blocked too, and bash blocks SIGCHLD as it waits.
    """

    def __init__(self, programs):
        self.programs = programs
        self.always = {program.name: program.masks() for program in programs}
        self.ever = {name: dict(masks) for name, masks in self.always.items()}

    def look(self):
        time.sleep(0.005)
        for program in self.programs:
            now = program.masks()
            always, ever = self.always[program.name], self.ever[program.name]
            self.always[program.name] = {
                thread: mask & now[thread] for thread, mask in always.items() if thread in now
            }
            ever.update({thread: mask | ever.get(thread, 0) for thread, mask in now.items()})

    def look_for_a_while(self):
        """Sixty times, and until each has done a good deal of work meanwhile."""
        before = {program.name: program.done() for program in self.programs}
        for _look in range(60):
            self.look()
        for _turn in range(5):
            wait_until(
                lambda: (
                    self.look()
                    or all(
                        program.done() > before[program.name]  # noqa: B023
                        or program.complaint()
                        for program in self.programs
                    )
                )
            )
            before = {program.name: program.done() for program in self.programs}

    def changes_since(self, before) -> list[str]:
        """What a thread that lived before, too, blocks for good since then, or no longer blocks."""
        found = []
        for name, masks in self.always.items():
            for thread in masks.keys() & before.always[name].keys():
                more = masks[thread] & ~before.always[name][thread]
                less = before.always[name][thread] & ~self.ever[name][thread]
                if more or less:
                    found.append(f"{name}, thread {thread}: {more:#x} is blocked, {less:#x} is not")
        return found


class Blocks:
    """Stands in for a program: what its only thread blocks, look after look, and then for good."""

    name = "stand-in"

    def __init__(self, *masks):
        self.coming = list(masks)

    def masks(self) -> dict:
        return {1: self.coming.pop(0) if len(self.coming) > 1 else self.coming[0]}


@pytest.mark.parametrize(
    "before, after, changes",
    [
        ((1, 1), (0, 0), ["stand-in, thread 1: 0x0 is blocked, 0x1 is not"]),
        ((0, 0), (2, 2), ["stand-in, thread 1: 0x2 is blocked, 0x0 is not"]),
        ((1, 1), (0, 1), []),  # one that it blocks while it waits
        ((0, 1), (1, 0), []),
    ],
)
def test_a_mask_that_is_another_for_good_is_noticed(before, after, changes):
    masks = [Masks([Blocks(*looks)]) for looks in (before, after)]
    for each in masks:
        each.look()
    assert masks[1].changes_since(masks[0]) == changes


@pytest.mark.full
def test_programs_of_many_kinds_go_on_through_10000_rounds(node, programs):
    assert complaints(programs) == []
    before = Masks(programs)
    before.look_for_a_while()
    pids = [f"{program.fifo}={program.pid_in_node}" for program in programs]
    least = ROUNDS // len(programs) // 4
    done = node.run(
        PYTHON,
        "-IS",
        str(HERE / "soak_driver.py"),
        str(ENGINE),
        str(ROUNDS),
        str(least),
        *pids,
        timeout=300 + ROUNDS / 10,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)

    rounds = {
        program.name: result["rounds"].get(str(program.pid_in_node), 0) for program in programs
    }
    print(
        f"{sum(rounds.values())} rounds in {result['seconds']:.0f} s,"
        f" {result['collected']} zombies; ms stopped: {result['stop_ms']}"
    )
    for program in programs:
        print(
            f"  {program.name!s:<16} {rounds[program.name]:5d} rounds,"
            f" {result['results'].get(str(program.pid_in_node))}"
        )

    assert complaints(programs) == []
    assert sum(rounds.values()) >= ROUNDS
    assert min(rounds.values()) >= least
    assert result["held"] == []
    for program in programs:
        so_far = program.done()
        wait_until(
            lambda program=program, so_far=so_far: program.done() > so_far or program.complaint()
        )
        wait_until(lambda program=program: program.held_by() == [])
    after = Masks(programs)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: after.look() or after.changes_since(before) == [])
    assert after.changes_since(before) == []
    assert complaints(programs) == []
