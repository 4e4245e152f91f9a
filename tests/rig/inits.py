"""Programs of many kinds as PID 1 of a PID namespace: what happens to an orphan there, and what the
audit says of each.

All run in one node, so that one audit sees them all. An orphan is a real one: put into the
namespace from outside, it exits when its parent is gone and the init has adopted it.
`tests/integration/test_inits.py` and `bench/inits.py` share this.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from rig.agents import PATIENT_WITH_INITS
from rig.node import ns_pids, wait_until
from rig.podman import Podman
from rig.reaping import PatientNode, agent_that
from rig.system_calls import NUMBERS

# seconds that an init which is asleep gets for its orphan: runsvdir looks every 5 s, supervisord
# every 1 to 2 s
WAITS = 7.0
BUSY = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
EVIDENCE = ("name", "signals", "waiting", "canary")
SLEEP = "/usr/bin/sleep 1000"
HOST = "--volume=/usr:/usr:ro"

# Whatever becomes PID 1 finds an empty /run, no network, signals as at boot, and an input that
# never ends.
BECOME = """
here, there = os.pipe()
os.set_inheritable(there, True)
os.dup2(here, 0)
for ignored_by_python in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored_by_python, signal.SIG_DFL)
ready()
os.dup2(os.open(%r, os.O_WRONLY | os.O_CREAT, 0o644), 1)
os.dup2(1, 2)
os.execvp("unshare", ["unshare", "--net", "sh", "-c", 'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"', "sh", *%r])
"""

# Exits when it is told to, and is an orphan by then. Writes its PID in the namespace.
ORPHAN = """
import os
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        pass
    os.write(1, b"%d\\n" % os.getpid())
    os.read(0, 1)
    os._exit(3)
os._exit(0)
"""

# The pause container of Kubernetes does this, in its own words
PAUSE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void collect(int number) { (void)number; while (waitpid(-1, NULL, WNOHANG) > 0) continue; }
int main(void) { struct sigaction action = {.sa_handler = collect}; sigaction(SIGCHLD, &action, NULL); for (;;) pause(); }
"""

# A handler that collects nothing; that the kernel collects cannot be seen in /proc
NOCLDWAIT = """
#include <signal.h>
#include <unistd.h>
static void nothing(int number) { (void)number; }
int main(void) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &action, NULL); for (;;) pause(); }
"""

SUPERVISORD = (
    """
[supervisord]
nodaemon=true
user=root
logfile=/dev/null
logfile_maxbytes=0
pidfile=/run/supervisord.pid
[program:sleep]
command=%s
stdout_logfile=NONE
stderr_logfile=NONE
"""
    % SLEEP
)

NGINX = """
daemon off; user root; pid /run/nginx.pid; worker_processes 1;
events { }
http { access_log off; server { listen unix:/run/nginx.sock; } }
"""

# What my_init does with children, in its own words: it starts runsvdir and waits for that, and so
# for any other. It has handlers, but none for SIGCHLD
MY_INIT = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
    signal.signal(number, lambda *_: sys.exit(2))
runsvdir = os.spawnl(os.P_NOWAIT, "/usr/bin/runsvdir", "/usr/bin/runsvdir", "-P", %r)
while os.waitpid(-1, 0)[0] != runsvdir:
    pass
"""

OS_WAIT = """
import os, time
if os.fork() == 0:
    time.sleep(1000)
while True:
    os.wait()
"""

# Each waits for something, and not for the exit of any child.
CHILD = "import ctypes, os, threading, time\nif os.fork() == 0: time.sleep(1000)\n"
CLONED = (
    "import ctypes, os, time\nif ctypes.CDLL(None).syscall(%d, 0, 0, 0, 0, 0) == 0:"
    " time.sleep(1000)\n" % NUMBERS["clone"]
)
OF_THIS_THREAD = """
def wait():
    if os.fork() == 0:
        time.sleep(1000)
    os.wait4(-1, 0x20000000)
threading.Thread(target=wait).start()
time.sleep(1000)
"""
THREAD_WAITS = """
def wait():
    while True:
        os.wait()
threading.Thread(target=wait).start()
"""
LEADER_EXITS = f"ctypes.CDLL(None).syscall({NUMBERS['exit']}, 0)\n"


class Case(
    namedtuple(
        "Case",
        ("name", "package", "command", "podman", "misleads", "needs"),
        defaults=((), False, ""),
    )
):
    """package: Debian's, for the version. command: the words of PID 1, with DIRECTORY for the directory
    of its files.

    podman: flags and image where it runs in a container of podman and not in a bare PID namespace.
    misleads: made to be taken for what it is not, and no program that anybody runs. needs: a
    program that has to be installed, where that is not the first word.
    """

    __slots__ = ()

    @property
    def installed(self) -> bool:
        program = self.command[0]
        if self.needs and not shutil.which(self.needs):
            return False
        if self.podman:
            return bool(
                shutil.which("podman") and (HOST not in self.podman or Path(program).exists())
            )
        return program.startswith("DIRECTORY") or bool(shutil.which(program))

    def version(self) -> str:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", self.package],
            capture_output=True,
            text=True,
            check=False,
        )
        return f"{self.package} {done.stdout}" if done.returncode == 0 else self.package


def words(command) -> list:
    return command.split()


def python(code) -> list:
    return ["/usr/bin/python3", "-IS", "-c", code]


CASES = [
    Case("tini", "tini", words("/usr/bin/tini -- " + SLEEP)),
    Case("`tini -g`", "tini", words("/usr/bin/tini -g -- " + SLEEP)),
    # conda-forge's package is the same program; images of Jupyter start it so
    Case(
        "`tini -g`, installed as conda does",
        "tini",
        words("DIRECTORY/conda/bin/tini -g -- " + SLEEP),
        needs="tini",
    ),
    Case("docker-init", "docker.io", words("/usr/bin/docker-init -- " + SLEEP)),
    Case("dumb-init", "dumb-init", words("/usr/bin/dumb-init " + SLEEP)),
    Case(
        "`dumb-init --single-child`",
        "dumb-init",
        words("/usr/bin/dumb-init --single-child " + SLEEP),
    ),
    Case("catatonit", "catatonit", words("/usr/bin/catatonit -- " + SLEEP)),
    Case("`podman run --init`", "podman", words("sleep 1000"), ("--init", "busybox")),
    Case("`catatonit -P`, the pause of Podman's pods", "catatonit", words("/usr/bin/catatonit -P")),
    Case("a pause program as of Kubernetes, in C", "gcc", ["DIRECTORY/pause"]),
    Case("s6-svscan", "s6", words("/usr/bin/s6-svscan DIRECTORY/s6")),
    Case("runsvdir", "runit", words("/usr/bin/runsvdir DIRECTORY/runsvdir")),
    Case(
        "runit", "runit", ["/usr/sbin/runit"], (HOST, "--volume=DIRECTORY/runit:/etc/runit", "host")
    ),
    Case("supervisord", "supervisor", words("/usr/bin/supervisord -c DIRECTORY/supervisord.conf")),
    Case(
        "a script that waits as `my_init` of baseimage-docker",
        "runit",
        words("/usr/bin/python3 -u DIRECTORY/my_init"),
        needs="runsvdir",
    ),
    Case(
        "systemd",
        "systemd",
        words("/usr/lib/systemd/systemd --unit=basic.target"),
        (HOST, "--systemd=always", "host"),
    ),
    Case(
        "busybox init",
        "busybox-static",
        ["/bin/init"],
        ("--volume=/bin/busybox:/bin/init:ro", "busybox"),
    ),
    Case(
        "bash, `wait -n` in a loop",
        "bash",
        ["bash", "-c", "sleep 1000 & while :; do wait -n; done"],
    ),
    Case("bash, `wait -n` at its end", "bash", ["bash", "-c", "sleep 1000 & wait -n"]),
    Case("bash, `wait $child`", "bash", ["bash", "-c", "sleep 1000 & wait $!"]),
    Case("bash, a child in the foreground", "bash", ["bash", "-c", "sleep 1000; exit"]),
    Case("bash, `read`", "bash", ["bash", "-c", "/bin/true; read line"]),
    Case("bash, `exec sleep`", "bash", ["bash", "-c", "exec sleep 1000"]),
    Case("dash, `wait`", "dash", ["dash", "-c", "sleep 1000 & wait"]),
    Case("dash, a child in the foreground", "dash", ["dash", "-c", "sleep 1000; exit"]),
    Case("dash, `read`", "dash", ["dash", "-c", "/bin/true; read line"]),
    Case(
        "busybox sh, a child in the foreground",
        "busybox-static",
        ["/bin/busybox", "sh", "-c", "sleep 1000; exit"],
    ),
    Case(
        "busybox sh, `read`", "busybox-static", ["/bin/busybox", "sh", "-c", "/bin/true; read line"]
    ),
    Case("`sleep infinity`", "coreutils", words("/usr/bin/sleep infinity")),
    Case(
        "`sleep`, SIGCHLD ignored from the start",
        "coreutils",
        words("/usr/bin/env --ignore-signal=CHLD " + SLEEP),
    ),
    Case("`tail -f /dev/null`", "coreutils", words("/usr/bin/tail -f /dev/null")),
    Case("Python, `time.sleep`", "python3", python("import time; time.sleep(1000)")),
    Case("Python, `os.wait` in a loop", "python3", python(OS_WAIT)),
    Case(
        "Python, `os.wait` in a thread",
        "python3",
        python(CHILD + THREAD_WAITS + "time.sleep(1000)"),
    ),
    Case(
        "Python, `subprocess.run`",
        "python3",
        python("import subprocess; subprocess.run(['sleep', '1000'])"),
    ),
    Case(
        "Python, SIGCHLD ignored",
        "python3",
        python(
            "import signal, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN); time.sleep(1000)"
        ),
    ),
    Case(
        "Python, `asyncio`", "python3", python("import asyncio; asyncio.run(asyncio.sleep(1000))")
    ),
    Case("Node.js, idle", "nodejs", ["node", "-e", "setTimeout(() => {}, 1000000)"]),
    Case(
        "Node.js, `spawn`",
        "nodejs",
        ["node", "-e", "require('child_process').spawn('sleep', ['1000'])"],
    ),
    Case("Perl, `sleep`", "perl", ["perl", "-e", "sleep 1000"]),
    Case(
        "Perl, `$SIG{CHLD} = 'IGNORE'`", "perl", ["perl", "-e", "$SIG{CHLD} = 'IGNORE'; sleep 1000"]
    ),
    Case("Ruby, `sleep`", "ruby", ["ruby", "-e", "sleep"]),
    Case(
        "Java, its RMI registry",
        "openjdk-17-jdk-headless",
        words("java -XX:-UsePerfData -m java.rmi/sun.rmi.registry.RegistryImpl 1099"),
    ),
    Case(
        "a Go program, prometheus-node-exporter",
        "prometheus-node-exporter",
        words(
            "prometheus-node-exporter --web.listen-address=127.0.0.1:9100"
            " --collector.disable-defaults --collector.loadavg"
        ),
    ),
    Case(
        "nginx",
        "nginx-light",
        words("/usr/sbin/nginx -p DIRECTORY -e stderr -c DIRECTORY/nginx.conf"),
    ),
    Case(
        "redis",
        "redis-server",
        ["redis-server", "--port", "0", "--unixsocket", "/run/redis.sock", "--save", ""],
    ),
    Case(
        "sshd",
        "openssh-server",
        words("/usr/sbin/sshd -D -e -f /dev/null -h DIRECTORY/key -p 2222"),
    ),
    Case(
        "`sleep` under the name of tini", "coreutils", words("DIRECTORY/tini 1000"), misleads=True
    ),
    Case(
        "`sleep` that calls itself dumb-init",
        "bash",
        ["bash", "-c", "exec -a /usr/bin/dumb-init sleep 1000"],
        misleads=True,
    ),
    Case(
        "a Python script that sleeps, called supervisord",
        "python3",
        words("/usr/bin/python3 -IS DIRECTORY/supervisord"),
        misleads=True,
    ),
    Case(
        "a Python script that sleeps, called my_init",
        "python3",
        words("/usr/bin/python3 -u DIRECTORY/idle/my_init"),
        misleads=True,
    ),
    Case(
        "waits in `waitid` for any child to stop",
        "python3",
        python(CHILD + "os.waitid(os.P_ALL, 0, os.WSTOPPED)"),
        misleads=True,
    ),
    Case(
        "waits in `waitid` for any child, and leaves it (WNOWAIT)",
        "python3",
        python(
            CHILD + "while True:\n    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n   "
            " time.sleep(0.1)"
        ),
        misleads=True,
    ),
    Case(
        "waits in `wait4` for its process group",
        "python3",
        python(CHILD + "os.wait4(0, 0)"),
        misleads=True,
    ),
    Case(
        "waits in `wait4` for clones (`__WCLONE`)",
        "python3",
        python(CLONED + "os.wait4(-1, -0x80000000)"),
        misleads=True,
    ),
    Case(
        "a thread waits for its own children (`__WNOTHREAD`)",
        "python3",
        python(CHILD + OF_THIS_THREAD),
        misleads=True,
    ),
    Case(
        "its first thread has exited, another one waits",
        "python3",
        python(CHILD + THREAD_WAITS + LEADER_EXITS),
        misleads=True,
    ),
    Case(
        "its first thread has exited, another one sleeps",
        "python3",
        python(
            CHILD + "threading.Thread(target=time.sleep, args=(1000,)).start()\n" + LEADER_EXITS
        ),
        misleads=True,
    ),
    Case(
        "a handler that does nothing, SA_NOCLDWAIT", "gcc", ["DIRECTORY/nocldwait"], misleads=True
    ),
]

Row = namedtuple("Row", ("case", "truth", "by", "audit", "probe", "left", "entry"))
Row.__doc__ = """truth: reaps or leaks, as seen. by: evidence to its verdict with the probe; what there is none of is left out.
audit, probe: the verdict without and with the probe. left: zombies that its PID 1 has after that.
entry: what the audit with the probe says, whole."""


class Inits:
    """Those cases as PID 1 each, in one node, at rest."""

    def __init__(self, directory, cases):
        self.directory = directory
        self.processes = {}
        self.node = PatientNode(directory)
        self.podman = None
        try:
            self._lay_out()
            with ThreadPoolExecutor(2) as pool:  # as many as the machine may well have CPUs
                namespaces = pool.submit(
                    lambda: [self._start(case) for case in cases if not case.podman]
                )
                if any(case.podman for case in cases):
                    self._start_in_podman([case for case in cases if case.podman])
                namespaces.result()
            wait_until(lambda: at_rest(self.processes.values()), 180)
        except BaseException:
            self.stop()
            raise

    def _lay_out(self):
        """The files of all cases."""
        for name in ("s6", "runsvdir", "runit/sv", "conda/bin", "idle"):
            (self.directory / name).mkdir(parents=True)
        for stage, line in (("1", ""), ("2", "exec runsvdir /etc/runit/sv"), ("3", "")):
            path = self.directory / "runit" / stage
            path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            path.chmod(0o755)
        for name, text in (
            ("supervisord.conf", SUPERVISORD),
            ("nginx.conf", NGINX),
            ("supervisord", "import time; time.sleep(1000)"),
            ("idle/my_init", "import time; time.sleep(1000)"),
            ("my_init", MY_INIT % str(self.directory / "runsvdir")),
        ):
            (self.directory / name).write_text(text, encoding="utf-8")
        for name, source in (("pause", PAUSE), ("nocldwait", NOCLDWAIT)):
            subprocess.run(
                ["gcc", "-x", "c", "-o", self.directory / name, "-"],
                input=source,
                text=True,
                check=True,
            )
        shutil.copy("/usr/bin/sleep", self.directory / "tini")
        if shutil.which("tini"):
            shutil.copy("/usr/bin/tini", self.directory / "conda/bin/tini")
        if shutil.which("ssh-keygen"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / "key"],
                check=True,
            )

    def _words(self, some) -> list:
        return [word.replace("DIRECTORY", str(self.directory)) for word in some]

    def _start(self, case):
        log = self.directory / (f"{len(self.processes)}.log")
        self.processes[case.name] = self.node.container(
            BECOME % (str(log), self._words(case.command))
        ).process

    def _start_in_podman(self, cases):
        # it refuses a directory with a long name
        self.podman = Podman(self.node, Path(tempfile.mkdtemp(prefix="zr-")))
        self.podman.import_host()
        for case in cases:
            container = self.podman(
                "run", "--detach", "--network", "none", *self._words([*case.podman, *case.command])
            )
            pid = int(self.podman("inspect", "--format", "{{.State.Pid}}", container))
            self.processes[case.name] = process_in(self.node, pid)

    def pid(self, name) -> int:
        """Of its PID 1, as the node counts."""
        return ns_pids(self.processes[name].pid)[1]

    def audit(self, *flags) -> dict:
        """Name to what the audit says of it. Checks what it says of its own canaries."""
        done = self.node.run(
            *self.node.agent_command(
                "--audit", "--json", *flags, code=agent_that(PATIENT_WITH_INITS)
            )
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["counts"]["canaries_left"] == sum(self.zombies().values())
        entries = {entry["init"]["pid"]: entry for entry in result["containers"] if entry["init"]}
        return {name: entries[self.pid(name)] for name in self.processes}

    def truth(self) -> dict:
        """Name to seconds until an orphan was gone, or None where it was still a zombie in the
        end.
        """
        return fates(self.processes)

    def zombies(self) -> dict:
        """Name to the number of zombies that its PID 1 has, as psutil sees them."""
        return {
            name: [child.status() for child in process.children()].count(psutil.STATUS_ZOMBIE)
            for name, process in self.processes.items()
        }

    def stop(self):
        stop(self.node, self.podman)


def stop(node, podman=None):
    """End a node and, before it, its podman, whose cleanup may write into its directory as long as the
    node is there.
    """
    if podman:
        podman.stop()
    node.stop()
    if podman:
        shutil.rmtree(podman.directory, ignore_errors=True)


def process_in(node, pid):
    """The process, as psutil knows it, that has this PID in a node."""
    return next(
        process
        for process in node.init.process.children(recursive=True)
        if pids_of(process)[1:2] == [pid]
    )


def pids_of(process) -> list:
    """Its PIDs in the namespaces from the machine's down to its own; empty when it has ended
    meanwhile.
    """
    try:
        return ns_pids(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return []


def at_rest(processes) -> bool:
    """Whether each, and all that it has started, slept in a system call and used no CPU to speak of
    for a second.
    """
    before = {process: cpu_seconds(process) for process in processes}
    time.sleep(1)
    return all(
        not is_busy(process) and cpu_seconds(process) - before[process] < 0.05 for process in before
    )


def is_busy(process) -> bool:
    """Whether something of it or below it runs, or waits for its turn on a CPU."""
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
            if each.status() in BUSY or any(
                state_of(thread) in "RD" for thread in Path(f"/proc/{each.pid}/task").glob("*/stat")
            ):
                return True
    return False


def state_of(path) -> str:
    """As proc_pid_stat(5) has it; X also for what has gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def cpu_seconds(process) -> float:
    return sum(process.cpu_times()[:2])


def fates(processes, seconds=WAITS) -> dict:
    """name -> PID 1: make an orphan in each; name -> seconds until it was collected, or None.

    As long as an init that has not collected it waits for its turn on a CPU, it gets more than
    those seconds.
    """
    started = {}
    for name, process in processes.items():
        command = [
            "nsenter",
            "--target",
            str(process.pid),
            "--pid",
            sys.executable,
            "-IS",
            "-c",
            ORPHAN,
        ]
        popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert popen.stdout
        number = int(popen.stdout.readline())
        (orphan,) = [child for child in process.children() if pids_of(child)[-1:] == [number]]
        started[name] = (popen, orphan)
    for popen, _orphan in started.values():
        popen.communicate()  # closes its input, which it exits at
    began, found = time.monotonic(), dict.fromkeys(processes)
    time_is_up = False
    while None in found.values() and not time_is_up:
        left = [name for name, moment in found.items() if moment is None]
        time_is_up = time.monotonic() - began > seconds and not any(
            is_busy(processes[name]) for name in left
        )
        for name in left:
            if not started[name][1].is_running():
                found[name] = time.monotonic() - began
        time.sleep(0.05)
    for name, moment in found.items():
        assert moment is not None or started[name][1].status() == psutil.STATUS_ZOMBIE, name
    return found


def rows(directory, cases) -> list:
    """All that is to be known of each case. The truth comes last, so that the audit has not seen
    its orphan.
    """
    inits = Inits(directory, cases)
    try:
        without, with_probe = inits.audit(), inits.audit("--probe")
        left = inits.zombies()
        truth = inits.truth()
    finally:
        inits.stop()
    return [
        Row(
            case,
            "leaks" if truth[case.name] is None else "reaps",
            {piece["by"]: piece["verdict"] for piece in with_probe[case.name]["evidence"]},
            without[case.name]["verdict"],
            with_probe[case.name]["verdict"],
            left[case.name],
            with_probe[case.name],
        )
        for case in cases
    ]
