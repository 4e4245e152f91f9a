"""Watch under churn: containers come and go, zombies appear at random, the configuration is read
again, the lock is contended.

REAPER_SOAK_SECONDS: how long, 180 unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import signal
import time

import pytest
from rig.daemon_node import Daemon
from rig.node import wait_until
from rig.own_cgroup import ROOT, UNIFIED, own_cgroup
from rig.reaping import agent_that

SECONDS = float(os.environ.get("REAPER_SOAK_SECONDS", "180"))
MIN_AGE = 2
# seconds beyond that: where a sweep helped nobody, the next one comes after twenty times what it
# took; and the machine may be busy
TIMEOUT = 120
MOST = 8  # containers at a time
GROWTH = 1024  # KB

LEAK = """
def leak(*_):
    for _ in range(%d): zombie()
"""
LEAKS_WHEN_TOLD = LEAK + "signal.signal(signal.SIGUSR1, leak)\n"
# What is told to a child waits until that is ready for it: the handler that it has of its parent
# would tell the whole process group
CHILD_LEAKS = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
child = os.fork()
signal.signal(signal.SIGUSR1, leak if child == 0 else lambda *_: os.kill(child, signal.SIGUSR1))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
if child == 0:
    forever()
"""
# A pipe, since a handler may interrupt itself: a lock would then be waited for by who holds it
THREAD_LEAKS = """
reading, writing = os.pipe()
def work():
    while os.read(reading, 1):
        leak()
signal.signal(signal.SIGUSR1, lambda *_: os.write(writing, b"x"))
threading.Thread(target=work, daemon=True).start()
"""
KINDS = {
    "leaks": LEAKS_WHEN_TOLD,
    "leaks from a thread": LEAK + THREAD_LEAKS,
    "has a child that leaks": LEAK + CHILD_LEAKS,
}
# Ends only if it is ended: seccomp lets no other call be made in it, so no remedy but the last
# helps
CANNOT_COLLECT = """
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
never, _ = os.pipe()
ready()
while not told:
    time.sleep(0.05)
for _ in range(%d): zombie()
ctypes.CDLL(None).prctl(22, 1)
os.read(never, 1)
"""
HEALTHY = """
ready()
while True:
    children = [zombie() for _ in range(3)]
    time.sleep(0.5)
    for child in children:
        try:
            os.waitpid(child, 0)
        except ChildProcessError:  # it had no CPU for so long that it was taken for one that forgets them
            pass
"""
PROTECTED = "# spare me\nfor _ in range(3): zombie()\nready()\nforever()\n"


def zombies_of(pid):
    """(PID, start) of those of its children, and of theirs, that are zombies."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                children = file.read().split()
            for child in children:
                with contextlib.suppress(OSError):
                    with open(f"/proc/{child}/stat", "rb") as stat:
                        fields = stat.read().rpartition(b") ")[2].split()
                    if fields[0] == b"Z":
                        found.append((child, fields[19]))
                    else:
                        found += zombies_of(int(child))
    return found


class Churn:
    """What goes on in the node, one random step after the other; looks after each whether all is as
    it must be.
    """

    def __init__(self, node, daemon, config, stack):
        self.node = node
        self.stack = stack
        self.daemon = daemon
        self.config = config
        self.containers = []
        self.to_be_ended = []
        self.may_end = set()  # PIDs, as the node counts
        self.first_seen = {}
        self.oldest = 0.0
        self.steps = dict.fromkeys(
            (
                "come",
                "go",
                "leak",
                "reload",
                "bad_configuration",
                "hold_the_lock",
                "sweep_by_hand",
                "refuse",
            ),
            0,
        )

    def step(self):
        """One thing, at random, and a look."""
        weights = {
            "come": 3,
            "go": 2,
            "leak": 10,
            "reload": 1,
            "bad_configuration": 1,
            "hold_the_lock": 1,
            "sweep_by_hand": 1,
            "refuse": 1,
        }
        unknown = [name for name, times in self.steps.items() if not times]
        name = unknown[0] if unknown else random.choices(list(weights), list(weights.values()))[0]
        getattr(self, name)()
        self.steps[name] += 1
        self.look()
        time.sleep(random.uniform(0, 0.4))

    def come(self):
        if len(self.containers) < MOST:
            kind = random.choice(list(KINDS))
            cgroup = contextlib.ExitStack()
            before = (
                cgroup.enter_context(own_cgroup("")).entering
                if UNIFIED and random.random() < 0.5
                else ()
            )
            container = self.node.container(
                KINDS[kind] % random.randint(1, 40) + "ready()\nforever()\n", before
            )
            container.kind = kind
            container.ended = contextlib.ExitStack()
            container.ended.push(cgroup)
            container.ended.callback(self.forget, container)
            self.stack.push(container.ended)  # closed before, it does nothing
            self.containers.append(container)

    def go(self):
        if len(self.containers) > 2:
            gone = self.containers.pop(random.randrange(len(self.containers)))
            self.require_alive(gone)
            gone.ended.close()

    def forget(self, program):
        program.stop()
        self.node.programs.remove(program)

    def require_alive(self, container):
        """Else tell who ended it: nsenter ends with 1 where its child got SIGKILL or an
        exception.
        """
        if not container.alive:
            raise AssertionError(
                f"PID {container.pids[1]}, which {container.kind}, has ended, and nsenter"
                f" with {container.popen.wait(20)}: {self.daemon.text()[-4000:]}"
            )

    def leak(self):
        for container in self.containers:
            if random.random() < 0.5:
                container.process.send_signal(signal.SIGUSR1)

    def configure(self, text):
        new = self.config.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(self.config)
        self.daemon.signal(signal.SIGHUP)

    def reload(self):
        self.configure(
            json.dumps(
                {
                    "min_age": MIN_AGE,
                    "grace": random.choice([0, 0.3]),
                    "protect": ["spare me"],
                    "cooldown": 0,
                }
            )
        )

    def bad_configuration(self):
        self.configure(random.choice(["", "{", "[]", '{"min_age": -1}', '{"remedies": ["pray"]}']))

    def hold_the_lock(self):
        with open(self.node.run_directory / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            time.sleep(random.uniform(0, 1))

    def sweep_by_hand(self):
        done = self.node.run(
            *self.node.agent_command(  # it waits for its turn however long that takes
                "--min-age",
                str(MIN_AGE),
                "--remedies",
                "reap",
                "--protect",
                "spare me",
                "--json",
                code=agent_that(),
            )
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["warnings"] == []

    def refuse(self):
        if not self.to_be_ended:
            container = self.node.container(CANNOT_COLLECT % 3)
            self.may_end.add(container.pids[1])
            container.process.send_signal(signal.SIGUSR1)
            self.to_be_ended.append((time.monotonic(), container))

    def look(self):
        """Whether a zombie has stayed for too long."""
        now = time.monotonic()
        seen = {}
        for container in self.containers:
            self.require_alive(container)
            for zombie in zombies_of(container.process.pid):
                seen[zombie] = self.first_seen.get(zombie, now)
        self.first_seen = seen
        self.oldest = max([self.oldest] + [now - since for since in seen.values()])
        assert self.oldest < MIN_AGE + TIMEOUT, self.daemon.text()[-2000:]
        for since, container in list(self.to_be_ended):
            if not container.alive:
                self.to_be_ended.remove((since, container))
                self.forget(container)
            else:
                assert now - since < MIN_AGE + TIMEOUT, (
                    "it was not ended: " + self.daemon.text()[-2000:]
                )
        assert self.daemon.popen.poll() is None, self.daemon.text()


def footprint(daemon) -> tuple:
    """(KB resident, number of open files but for those of cgroups: the fewest of three looks, for a
    sweep may be at work).
    """
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    assert fields["Threads"].split() == ["1"]
    looks = [len(kept_open(daemon)) for _look in range(3) if not time.sleep(0.2)]
    return int(fields["VmRSS"].split()[0]), min(looks)


def kept_open(daemon) -> list:
    """Open files but for those of cgroups, which others make and remove, and the lock, which is
    held for a moment at the end of each sweep.
    """
    return sorted(
        name for name in open_files(daemon) if "/cgroup" not in name and not name.endswith("/lock")
    )


def as_at_first(daemon, first) -> bool:
    """It has no more open than it had before the first zombie, but for the one socket to
    syslog(3).
    """
    now = kept_open(daemon)
    return set(now) == set(first) and len(now) <= len(first) + 1


def open_files(daemon) -> list:
    """Those of one moment, in which a sweep may be at work."""
    directory, found = f"/proc/{daemon.process.pid}/fd", []
    for fd in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            found.append(re.sub(r"socket:.*", "socket", os.readlink(f"{directory}/{fd}")))
    return found


def no_more_cgroups_open_than_there_are(daemon) -> bool:
    return sum("/cgroup" in name for name in open_files(daemon)) <= 1 + sum(
        1 for _directory in os.walk(UNIFIED or ROOT)
    )


def ended_by(daemon) -> set:
    """PIDs of all parents that it says it has ended, or tried to, as the node counts."""
    return {
        int(pid)
        for pid in re.findall(
            r"^PID (\d+) .*\bterminate \((?:ended|SIGKILL is pending)",
            daemon.text(),
            re.MULTILINE,
        )
    }


@pytest.mark.full
def test_churn(node, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"min_age": MIN_AGE, "grace": 0.3, "protect": ["spare me"], "cooldown": 0}),
        encoding="utf-8",
    )
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    random.seed(seed)
    with contextlib.ExitStack() as stack:
        protected = [node.container(PROTECTED), node.program(PROTECTED), node.container(HEALTHY)]
        daemon = Daemon(node, tmp_path, config=config)
        stack.callback(daemon.stop)
        churn = Churn(node, daemon, config, stack)
        daemon.after_ticks(2)
        first = daemon.at_rest(lambda: kept_open(daemon))
        footprints = [footprint(daemon)]
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            churn.step()
            assert all(program.alive for program in protected), daemon.text()[-4000:]
            if time.monotonic() > began + SECONDS * (len(footprints) + 1) / 20:
                footprints.append(footprint(daemon))
        churn.reload()
        wait_until(
            lambda: not any(zombies_of(container.process.pid) for container in churn.containers),
            MIN_AGE + TIMEOUT,
        )
        wait_until(
            lambda: not any(container.alive for _since, container in churn.to_be_ended),
            MIN_AGE + TIMEOUT,
        )
        daemon.after_ticks(1)
        assert [len(zombies_of(program.process.pid)) for program in protected[:2]] == [3, 3]
        assert ended_by(daemon) and ended_by(daemon) <= churn.may_end, daemon.text()[-4000:]
        wait_until(lambda: no_more_cgroups_open_than_there_are(daemon))
        wait_until(lambda: as_at_first(daemon, first), MIN_AGE + TIMEOUT)
        told = daemon.status()
        print(
            f"{SECONDS} s, {churn.steps}, {told['sweeps']} sweeps, {told['cleared']}"
            f" zombies cleared, {len(ended_by(daemon))} parents ended, the oldest"
            " zombie stayed"
            f" {churn.oldest:.1f} s"
        )
        print("KB resident: %s" % [resident for resident, _number in footprints])
        print(
            "descriptors but for those of cgroups: %s, at first %d"
            % ([number for _resident, number in footprints], len(first))
        )
        third = len(footprints) // 3
        assert (
            max(resident for resident, _number in footprints[third:])
            <= footprints[third][0] + GROWTH
        )
        assert "Traceback" not in daemon.text()
        assert daemon.end() == 0
