"""What programs see that wait for a child later than min_age: while there is room, and where room
is short and a sweep has had the child collected.

``.cache/test/bin/python bench/exit_statuses.py --write`` writes the table into
docs/exit-statuses.md. Root is needed. Each child exits with status 7. The program then calculates,
so that it cannot wait, until a sweep in its own PID namespace has done what it does; and then asks.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from rig import written  # noqa: E402
from rig.inits import state_of  # noqa: E402
from rig.node import wait_until  # noqa: E402
from rig.reaping import PatientNode  # noqa: E402

DOCUMENT = HERE.parent / "docs/exit-statuses.md"
# seconds of CPU that a program has used after its child had exited; then it has done at once
# whatever it does at once
CALCULATES = 0.5
MARKS = written.by("bench/exit_statuses.py")

# name -> (command, its program, what it does). Each prints "ready" when its child has been started,
# calculates until the file GO exists, and prints what it sees of the child in one line.
SHELL = """
(exit 7) &
child=$!
echo ready
while [ ! -e GO ]; do :; done
wait $child
echo "status $?"
"""
PYTHON_HEAD = """
import os, subprocess, sys, time
def late():
    print("ready", flush=True)
    while not os.path.exists("GO"):
        pass
"""
JAVASCRIPT = """
const { spawn } = require('child_process'), fs = require('fs');
const child = spawn('/bin/sh', ['-c', 'exit 7']);
let silence;
child.on('exit', status => { console.log('exit event: ' + status); clearTimeout(silence); });
fs.writeSync(1, 'ready\\n');
while (!fs.existsSync('GO')) ;
silence = setTimeout(() => { console.log('no exit event within 3 s'); process.exit(); }, 3000);
"""
JAVA = """
import java.io.File;
class Late {
    public static void main(String[] words) throws Exception {
        Process child = new ProcessBuilder("/bin/sh", "-c", "exit 7").start();
        System.out.println("ready");
        while (!new File("GO").exists()) ;
        System.out.println("waitFor: " + child.waitFor());
    }
}
"""
PERL = """
$| = 1;
my $child = fork;
exit 7 if $child == 0;
print "ready\\n";
1 until -e 'GO';
my $got = waitpid $child, 0;
print "waitpid: $got, \\$?: $?\\n";
"""
RUBY = """
$stdout.sync = true
child = fork { exit! 7 }
puts 'ready'
nil until File.exist?('GO')
begin
  Process.wait child
  puts "status #{$?.exitstatus}"
rescue SystemCallError => error
  puts error.class
end
"""
TCL = """
fconfigure stdout -buffering line
set pipe [open {|/bin/sh -c {exit 7}}]
puts ready
while {![file exists GO]} {}
catch {close $pipe} message options
puts "error [dict get $options -errorcode]"
"""
POPEN = 'child = subprocess.Popen(["/bin/sh", "-c", "exit 7"])\nlate()\n'

ASYNCIO = (
    PYTHON_HEAD
    + """
import asyncio, logging
logging.disable()
async def main():
    here, there = os.pipe()  # the child ends when the loop is busy, not while it is being started
    child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "read line; exit 7", stdin=here)
    os.close(there)
    late()
    print("returncode", await child.wait())
asyncio.run(main())
"""
)
# the watcher of children is another one
OLD_PYTHON, NEW_PYTHON = ("python3 before 3.12", "python3 from 3.12")

CASES = {
    "bash, `wait $child`": ("bash", ["-c"], SHELL),
    "dash, `wait $child`": ("dash", ["-c"], SHELL),
    "Python, `os.waitpid`": (
        "python3",
        ["-IS", "-c"],
        PYTHON_HEAD
        + """
child = os.fork()
if child == 0:
    os._exit(7)
late()
try:
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
except OSError as error:
    print(type(error).__name__)
""",
    ),
    "Python, `subprocess.Popen.wait`": (
        "python3",
        ["-IS", "-c"],
        PYTHON_HEAD + POPEN + 'print("returncode", child.wait())',
    ),
    "Python, `subprocess.Popen.poll`": (
        "python3",
        ["-IS", "-c"],
        PYTHON_HEAD + POPEN + 'print("returncode", child.poll())',
    ),
    "Python, `multiprocessing.Process.join`": (
        "python3",
        ["-IS", "-c"],
        PYTHON_HEAD
        + """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=os._exit, args=(7,))
child.start()
late()
child.join(3)
print("exitcode", child.exitcode)
""",
    ),
    "Python before 3.12, `asyncio` subprocess, its loop busy": (OLD_PYTHON, ["-IS", "-c"], ASYNCIO),
    "Python from 3.12, `asyncio` subprocess, its loop busy": (NEW_PYTHON, ["-IS", "-c"], ASYNCIO),
    "Perl, `waitpid`": ("perl", ["-e"], PERL),
    "Ruby, `Process.wait`": ("ruby", ["-e"], RUBY),
    "Tcl, `close` of a pipe": ("tclsh", [], TCL),
    "Node.js, `exit` event of `spawn`, its loop busy": ("node", ["-e"], JAVASCRIPT),
    "Java, `Process.waitFor`": ("java", [], JAVA),
}


def seen(name, directory, is_short: bool) -> tuple:
    """(whether there was a zombie to collect, the line that the program prints) of one case.
    is_short: whether room is, for the sweep.
    """
    directory.mkdir()
    program, flags, text = CASES[name]
    go, file = directory / "go", directory / ("Late.java" if program == "java" else "late")
    text = text.replace("GO", str(go))
    file.write_text(text, encoding="utf-8")
    command = [path_of(program), *flags, text if flags else str(file)]
    node = PatientNode(directory)
    try:
        # A container whose init stays, and which has it as an ordinary process
        init = node.container(
            f"if os.fork() == 0:\n    os.execv({command[0]!r}, {command!r})\nforever()"
        )
        (process,) = init.process.children()
        held = holds_a_zombie(process)
        if held:
            result = node.sweep(remedies="reap", pressure=0 if is_short else 0.5)
            assert result["counts"]["cleared_by"]["reap"] == is_short, result["summary"]
        go.touch()
        return held, init.popen.stdout.readline().decode().strip()
    finally:
        node.stop()


def holds_a_zombie(process) -> bool:
    """Whether it leaves its child uncollected, which has exited or is about to. Else it waits at
    once, as a rule by a thread or a handler for SIGCHLD.
    """
    wait_until(
        lambda: all(
            state_of(Path(f"/proc/{child.pid}/stat")) in "ZX" for child in process.children()
        )
    )
    used = sum(process.cpu_times()[:2])
    # The thread that calculates is about to run all the time; another one may have been woken to
    # collect the child
    wait_until(
        lambda: (
            not process.children()
            or sum(process.cpu_times()[:2]) > used + CALCULATES
            and states_of_threads(process).count("R") <= 1
        )
    )
    return bool(process.children())


def states_of_threads(process) -> list:
    return [state_of(path) for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]


def path_of(program) -> str | None:
    """Of a program of this machine; of Python, where one version is asked for, also one that pyenv
    has.
    """
    if program not in (OLD_PYTHON, NEW_PYTHON):
        return shutil.which(program, path="/usr/local/bin:/usr/bin:/bin")
    for path in [
        "/usr/bin/python3",
        *sorted(map(str, Path("/root/.pyenv/versions").glob("3.*/bin/python3")), reverse=True),
    ]:
        if Path(path).exists():
            code = "import sys; sys.exit(sys.version_info < (3, 12))"
            if (subprocess.run([path, "-c", code], check=False).returncode == 0) == (
                program == NEW_PYTHON
            ):
                return path
    return None


def row(name, directory) -> str:
    held, with_room = seen(name, directory / "room", False)
    _held, where_short = seen(name, directory / "short", True)
    return "| %s | %s | `%s` | `%s` |" % (
        name,
        "yes" if held else "no: it waits at once",
        with_room,
        where_short,
    )


def table() -> list:
    """Lines of the table."""
    lines = [
        "| program | its child was a zombie until it asked | what it then sees while there is"
        " room; the child's status is 7 | and where room is short |",
        "|---|---|---|---|",
    ]
    for name, (program, _flags, _text) in CASES.items():
        if not path_of(program):
            # as it was when it was last installed
            lines += [line for line in documented() if line.startswith(f"| {name} |")]
            continue
        with tempfile.TemporaryDirectory(prefix="zr-") as directory:
            lines.append(row(name, Path(directory)))
    return lines


def documented() -> list:
    """The lines of the table that stand in the document."""
    return written.part_of(DOCUMENT.read_text(encoding="utf-8"), MARKS).splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"write the table into {DOCUMENT.name}"
    )
    arguments = parser.parse_args()
    lines = table()
    print("\n".join(lines))
    if arguments.write:
        written.write(DOCUMENT, MARKS, "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
