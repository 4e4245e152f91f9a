"""Watch under churn: containers come and go, zombies appear at random, the configuration is read again, the lock is contended.

REAPER_SOAK_SECONDS: how long, 180 unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import time

from rig.node import wait_until
from rig.watched import Watch

SECONDS = float(os.environ.get("REAPER_SOAK_SECONDS", "180"))
MIN_AGE = 2
PATIENCE = 30  # seconds beyond that: a look each second, a lock that others hold, and a machine that has other things to do
MOST = 8  # containers at a time
GROWTH = 1024  # KB

LEAKS_WHEN_TOLD = """
def some(*_):
    for _ in range(%d): zombie()
signal.signal(signal.SIGUSR1, some)
"""
KINDS = {
    "leaks": LEAKS_WHEN_TOLD,
    "leaks from a thread": """
told = threading.Semaphore(0)
def work():
    while True:
        told.acquire()
        for _ in range(%d): zombie()
signal.signal(signal.SIGUSR1, lambda *_: told.release())
threading.Thread(target=work, daemon=True).start()
""",
    "has a child that leaks": "signal.signal(signal.SIGUSR1, lambda *_: os.kill(child, signal.SIGUSR1))\nchild = os.fork()\nif child == 0:\n" + "".join(
        "    %s\n" % line for line in LEAKS_WHEN_TOLD.strip().splitlines()) + "    ready()\n    forever()\n",
}
# Ends only if it is ended: seccomp lets no other call be made in it, so no remedy but the last helps
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
        os.waitpid(child, 0)
"""
PROTECTED = "# spare me\nfor _ in range(3): zombie()\nready()\nforever()\n"


def zombies_of(pid):
    """(PID, start) of those of its children, and of theirs, that are zombies."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread), encoding="ascii") as file:
                children = file.read().split()
            for child in children:
                with contextlib.suppress(OSError):
                    with open("/proc/%s/stat" % child, "rb") as stat:
                        fields = stat.read().rpartition(b") ")[2].split()
                    if fields[0] == b"Z":
                        found.append((child, fields[19]))
                    else:
                        found += zombies_of(int(child))
    return found


class Churn:
    """What goes on in the node, one random step after the other; looks after each whether all is as it must be."""

    def __init__(self, node, watch, config):
        self.node = node
        self.watch = watch
        self.config = config
        self.containers = []
        self.to_be_ended = []
        self.first_seen = {}
        self.oldest = 0.0
        self.steps = dict.fromkeys(("come", "go", "leak", "reload", "bad_configuration", "hold_the_lock", "sweep_by_hand", "refuse"), 0)

    def step(self):
        """One thing, at random, and a look."""
        weights = {"come": 3, "go": 2, "leak": 10, "reload": 1, "bad_configuration": 1, "hold_the_lock": 1, "sweep_by_hand": 1, "refuse": 1}
        name = random.choices(list(weights), list(weights.values()))[0]
        getattr(self, name)()
        self.steps[name] += 1
        self.look()
        time.sleep(random.uniform(0, 0.4))

    def come(self):
        if len(self.containers) < MOST:
            code = random.choice(list(KINDS.values())) % random.randint(1, 40)
            self.containers.append(self.node.container(code + "ready()\nforever()\n"))

    def go(self):
        if len(self.containers) > 2:
            gone = self.containers.pop(random.randrange(len(self.containers)))
            assert gone.alive, "it was ended: " + self.watch.text()[-2000:]
            self.forget(gone)

    def forget(self, program):
        program.stop()
        self.node.programs.remove(program)

    def leak(self):
        for container in self.containers:
            if random.random() < 0.5:
                container.process.send_signal(signal.SIGUSR1)

    def configure(self, text):
        new = self.config.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(self.config)
        self.watch.signal(signal.SIGHUP)

    def reload(self):
        self.configure(json.dumps({"min_age": MIN_AGE, "grace": random.choice([0, 0.3]), "protect": ["spare me"], "cooldown": 0}))

    def bad_configuration(self):
        self.configure(random.choice(["", "{", "[]", '{"min_age": -1}', '{"remedies": ["pray"]}']))

    def hold_the_lock(self):
        with open(self.node.run_folder / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            time.sleep(random.uniform(0, 1))

    def sweep_by_hand(self):
        done = self.node.agent("--min-age", str(MIN_AGE), "--remedies", "reap", "--protect", "spare me", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["warnings"] == []

    def refuse(self):
        if not self.to_be_ended:
            container = self.node.container(CANNOT_COLLECT % 3)
            container.process.send_signal(signal.SIGUSR1)
            self.to_be_ended.append((time.monotonic(), container))

    def look(self):
        """Whether a zombie has stayed for too long."""
        now = time.monotonic()
        seen = {}
        for container in self.containers:
            assert container.alive, "it was ended: " + self.watch.text()[-2000:]
            for zombie in zombies_of(container.process.pid):
                seen[zombie] = self.first_seen.get(zombie, now)
        self.first_seen = seen
        self.oldest = max([self.oldest] + [now - since for since in seen.values()])
        assert self.oldest < MIN_AGE + PATIENCE, self.watch.text()[-2000:]
        for since, container in list(self.to_be_ended):
            if not container.alive:
                self.to_be_ended.remove((since, container))
                self.forget(container)
            else:
                assert now - since < MIN_AGE + PATIENCE, "it was not ended: " + self.watch.text()[-2000:]
        assert self.watch.popen.poll() is None, self.watch.text()


def footprint(watch) -> tuple:
    """(KB resident, open files but for those of cgroups, which others make and remove)."""
    with open("/proc/%d/status" % watch.process.pid, encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    assert fields["Threads"].split() == ["1"]
    folder = "/proc/%d/fd" % watch.process.pid
    open_files = []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # a sweep is at work
            open_files.append(os.readlink("%s/%s" % (folder, fd)))
    lasting = [name for name in open_files if "/cgroup" not in name and not name.startswith("/proc") and "pidfd" not in name
               and not name.endswith((".new", "/lock"))]
    assert len(open_files) < 1000
    return int(fields["VmRSS"].split()[0]), sorted(lasting)


def test_churn(node, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"min_age": MIN_AGE, "grace": 0.3, "protect": ["spare me"], "cooldown": 0}), encoding="utf-8")
    seed = random.randrange(1 << 30)
    print("seed %d" % seed)
    random.seed(seed)
    protected = [node.container(PROTECTED), node.program(PROTECTED), node.container(HEALTHY)]
    watch = Watch(node, tmp_path, config=config)
    churn = Churn(node, watch, config)
    footprints = []
    began = time.monotonic()
    try:
        while time.monotonic() < began + SECONDS:
            churn.step()
            assert all(program.alive for program in protected), watch.text()[-2000:]
            if time.monotonic() > began + SECONDS * (len(footprints) + 1) / 20:
                footprints.append(footprint(watch))
        churn.reload()
        wait_until(lambda: not any(zombies_of(container.process.pid) for container in churn.containers), MIN_AGE + PATIENCE)
        wait_until(lambda: not any(container.alive for _since, container in churn.to_be_ended), MIN_AGE + PATIENCE)
        assert [len(zombies_of(program.process.pid)) for program in protected[:2]] == [3, 3]
        told = watch.status()
        print("%d s, %s, %d sweeps, %d zombies cleared, the oldest stayed %.1f s" % (
            SECONDS, churn.steps, told["sweeps"], told["cleared"], churn.oldest))
        print("KB resident: %s" % [resident for resident, _files in footprints])
        third = len(footprints) // 3
        assert max(resident for resident, _files in footprints[third:]) <= footprints[third][0] + GROWTH
        assert footprints[-1][1] == footprints[third][1]
        assert "Traceback" not in watch.text()
        assert watch.end() == 0
    finally:
        watch.stop()
