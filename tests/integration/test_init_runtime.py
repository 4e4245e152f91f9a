"""The wrapper before an OCI runtime: with stand-ins for the runtime, with runc and crun themselves,
and with Podman. Pods on containerd are in test_init_pods.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import bundle
from rig import containerds, emulated
from rig.docker import Docker
from rig.init_runtime import CATATONIT, TINI, InitRuntime, configuration, make_image, script
from rig.journal import journal, writing_to
from rig.node import wait_until
from rig.own_cgroup import own_cgroup, own_ledger
from rig.podman import Podman
from rig.reaping import PatientNode

RUNC = shutil.which("runc")


@contextlib.contextmanager
def searchable():
    """A directory that a container's user may search; pytest's own are its user's alone."""
    directory = Path(tempfile.mkdtemp(prefix="zr-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


# with a stand-in, which says how it was called


@pytest.fixture
def directory():
    with searchable() as made:
        yield made


@pytest.fixture
def installed(directory):
    return InitRuntime(directory / "init")


@pytest.fixture
def stand_in(directory):
    return script(
        directory / "runtime",
        'printf "<%s>" "$@"; echo; cat; echo said >&2; exit 7',
    )


@pytest.fixture
def config(directory):
    """config.json of a bundle."""
    made = directory / "bundle"
    make_image(made / "rootfs")
    file = made / "config.json"
    file.write_text(json.dumps(configuration("rootfs", "/bin/sleep", "1000")))
    return file


def call(wrapper, *arguments, before=(), **kwargs):
    return subprocess.run(
        [*before, wrapper, *arguments],
        input="stdin",
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


def gets_an_init(config) -> bool:
    return json.loads(config.read_text())["process"]["args"][0] == bundle.MOUNT


CREATES = [
    ["create", "--bundle", "{bundle}", "id"],
    ["--root", "/r", "--log", "/l", "--log-format", "json", "create", "--bundle", "{bundle}", "id"],
    ["--root=/r", "--debug", "--systemd-cgroup", "create", "--bundle={bundle}", "id"],
    ["--cgroup-manager", "create", "run", "-b", "{bundle}", "--detach", "id"],
    ["run", "--bundle", "{bundle}", "--pid-file", "/p q", "id"],
]


@pytest.mark.parametrize("arguments", CREATES)
def test_create_and_run_give_an_init_and_pass_all_on(installed, stand_in, config, arguments):
    words = [word.format(bundle=config.parent) for word in arguments]
    done = call(installed.before(stand_in), *words)
    assert done.stdout == "".join(f"<{word}>" for word in words) + "\nstdin"
    assert (done.returncode, done.stderr) == (7, "said\n")
    assert gets_an_init(config)


@pytest.mark.parametrize(
    "arguments",
    [
        ["start", "id"],
        ["state", "create"],
        ["--root", "create", "delete", "--force", "id"],
        ["--log-format", "json", "exec", "--process", "/create", "id"],
        ["kill", "id", "15"],
        ["--version"],
        ["--unknown", "create", "--bundle", "{bundle}", "id"],
        ["--root"],
        [],
    ],
)
def test_all_else_goes_to_the_real_runtime_without_python(directory, stand_in, config, arguments):
    ran = directory / "ran"
    python = script(directory / "python", f"touch {ran}")
    words = [word.format(bundle=config.parent) for word in arguments]
    done = call(InitRuntime(directory / "init", python=str(python)).before(stand_in), *words)
    expected = call(stand_in, *words)
    assert (done.returncode, done.stdout, done.stderr) == (
        expected.returncode,
        expected.stdout,
        expected.stderr,
    )
    assert not ran.exists()
    assert not gets_an_init(config)


def test_a_runtime_that_is_found_in_path(installed, stand_in, config):
    """As k3s has it, whose directory changes with each release."""
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    wrapper = installed.before("runtime")
    done = call(wrapper, "create", "-b", config.parent, "id", env={**os.environ, "PATH": path})
    assert done.returncode == 7
    assert gets_an_init(config)


def test_given_twice_it_stays_one(installed, stand_in, config):
    wrapper = installed.before(stand_in)
    call(wrapper, "create", "-b", config.parent, "id")
    first = config.read_text()
    call(wrapper, "create", "-b", config.parent, "id")
    assert config.read_text() == first


def no_python(runtime):
    runtime.python = str(runtime.directory / "nothing")


def old_python(runtime):
    script(runtime.directory / "python", "echo SyntaxError >&2; exit 1")
    runtime.python = str(runtime.directory / "python")


def killed_python(runtime):
    script(runtime.directory / "python", "kill -KILL $$")
    runtime.python = str(runtime.directory / "python")


def broken_engine(runtime):
    (runtime.directory / "zombie_reaper/prevention/bundle.py").write_text("}")


def no_engine(runtime):
    shutil.rmtree(runtime.directory / "zombie_reaper")


def no_init(runtime):
    runtime.init.unlink()


def half_an_init(runtime):
    runtime.init.write_bytes(b"\x7fELF")


def dynamic_init(runtime):
    shutil.copy("/bin/true", runtime.init)


def init_of_somebody(runtime):
    os.chown(runtime.init, 1000, 1000)


def init_that_not_all_may_execute(runtime):
    runtime.init.chmod(0o700)


def directory_that_not_all_may_search(runtime):
    runtime.directory.chmod(0o700)


BROKEN = [
    no_python,
    old_python,
    killed_python,
    broken_engine,
    no_engine,
    no_init,
    half_an_init,
    dynamic_init,
    init_of_somebody,
    init_that_not_all_may_execute,
    directory_that_not_all_may_search,
]


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_where_something_of_it_is_broken_the_container_starts_without(
    directory, installed, stand_in, config, breaks
):
    """The shim hears nothing of it; the journal does."""
    breaks(installed)
    before = config.read_bytes()
    wrapper = installed.before(stand_in)
    with journal(directory) as lines:
        done = call(wrapper, "create", "-b", config.parent, "id", before=writing_to(directory))
        wait_until(lambda: lines)
    assert done.stdout == f"<create><-b><{config.parent}><id>\nstdin"
    assert (done.returncode, done.stderr) == (7, "said\n")
    assert config.read_bytes() == before
    assert len([line for line in lines if line]) == 1
    assert b"starts without an init: " in lines[0]


def test_no_journal_is_no_reason_to_fail(installed, stand_in, config, directory):
    no_init(installed)
    done = call(
        installed.before(stand_in),
        "create",
        "-b",
        config.parent,
        "id",
        before=writing_to(directory),
    )
    assert (done.returncode, done.stderr) == (7, "said\n")


def test_a_full_disk(installed, stand_in, config, directory):
    """The bundle stays as it is, byte for byte, and nothing is left beside it."""
    small = directory / "small"
    small.mkdir()
    fill = (
        'mount -t tmpfs -o size=12k tmpfs "$0" && cp "$1" "$0"; shift;'
        ' cat /dev/zero >"$0/filling" 2>/dev/null; "$@"; ls "$0"; cat "$0/config.json"'
    )
    text = config.read_text().replace('"rootfs"', json.dumps(str(config.parent / "rootfs")))
    config.write_text(text)
    done = call(
        installed.before(stand_in),
        "create",
        "-b",
        small,
        "id",
        before=["unshare", "--mount", "sh", "-c", fill, small, config],
    )
    assert done.stdout == f"<create><-b><{small}><id>\nstdinconfig.json\nfilling\n{text}"


SHELLS = {
    name: words
    for name, *words in (
        ("dash", "dash"),
        ("bash", "bash", "--posix"),
        ("busybox", "busybox", "sh"),
    )
    if shutil.which(words[0])
}


@pytest.mark.parametrize("shell", SHELLS)
def test_where_no_process_can_be_started_the_real_runtime_has_its_say(
    directory, installed, config, shell
):
    """A full process table, or a cgroup's: a shell ends there."""
    stand_in = script(directory / "runtime", 'printf "<%s>" "$@"; exit 7')
    wrapper = installed.before(stand_in)
    with own_cgroup("pids") as cgroup:
        cgroup.write("pids.max", 1)
        done = call(wrapper, "create", "-b", "a b", "id", before=[*cgroup.entering, *SHELLS[shell]])
    assert (done.returncode, done.stdout) == (7, "<create><-b><a b><id>")


@pytest.mark.parametrize("shell", SHELLS)
def test_who_ends_the_call_ends_it(directory, config, shell):
    """The container is not created after that."""
    ran = directory / "ran"
    # its parent is a subshell of the wrapper's
    python = script(directory / "python", 'kill -TERM "$(cut -d" " -f4 /proc/$PPID/stat)"')
    stand_in = script(directory / "runtime", f"touch {ran}")
    wrapper = InitRuntime(directory / "init", python=str(python)).before(stand_in)
    done = call(wrapper, "create", "-b", config.parent, "id", before=SHELLS[shell])
    assert done.returncode == -signal.SIGTERM
    assert not ran.exists()


def test_a_file_system_that_does_not_answer(directory, stand_in, config):
    """Python ends itself, however it was started; the container starts."""
    installed = InitRuntime(directory / "init")
    source = installed.directory / "zombie_reaper/prevention/create.py"
    text = source.read_text()
    for old, new in (
        ("SECONDS = 5", "SECONDS = 1"),
        ("path, container = bundle_of(arguments)", "signal.pause()"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    source.write_text(text)
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGALRM, signal.SIG_IGN);"
        " signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]);"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    before = config.read_bytes()
    with journal(directory) as lines:
        done = call(
            installed.before(stand_in),
            "create",
            "-b",
            config.parent,
            "id",
            before=[*writing_to(directory), sys.executable, "-c", ignoring],
        )
        wait_until(lambda: lines)
    assert (done.returncode, done.stderr) == (7, "said\n")
    assert config.read_bytes() == before
    assert b"has failed (142)" in lines[0]


# runc and crun themselves


REALS = {"runc": lambda: RUNC, "crun": containerds.crun}


@pytest.mark.parametrize("init", [TINI, CATATONIT])
@pytest.mark.parametrize("name", REALS)
def test_a_runtime_without_an_engine(directory, name, init):
    real = REALS[name]()
    if not real or not os.path.exists(init):
        pytest.skip("it is not installed")
    made = directory / "bundle"
    root = make_image(made / "rootfs")
    config = configuration(
        root, "sh", "-c", "(false &); sleep 0.3; ps -o pid,args; echo said >&2; exit 7"
    )
    config["linux"]["seccomp"] = None  # the short list of this test is no list for a shell
    config["linux"]["resources"] = {}
    (made / "config.json").write_text(json.dumps(config))
    wrapper = InitRuntime(directory / "init", init).before(real)
    flags = ["--cgroup-manager=disabled"] if name == "crun" else []
    done = call(
        wrapper,
        *flags,
        f"--root={directory / 'state'}",
        "run",
        "--bundle",
        made,
        f"zr-{os.getpid()}-{directory.name}",
    )
    assert (done.returncode, done.stderr) == (7, "said\n"), done
    lines = done.stdout.splitlines()[1:]
    assert lines[0].split(None, 1) == [
        "1",
        f"{bundle.MOUNT} -- {' '.join(config['process']['args'])}",
    ]
    assert not [line for line in lines if "[false]" in line]


@pytest.mark.full
def test_an_image_for_another_processor(directory):
    """Under qemu-user, which runs it as before: the node's init is not for that processor.

    No shell: busybox's executes itself by /proc/self/exe, which is QEMU, and that starts the shell
    again, and again.
    """
    made = directory / "bundle"
    root = make_image(made / "rootfs")
    shutil.copy(emulated.busybox(), root / "bin/busybox")
    (root / "bin/uname").symlink_to("busybox")
    real = containerds.crun()
    before = emulated.running_arm64()
    flags = ["--cgroup-manager=disabled", f"--root={directory / 'state'}", "run", "--bundle", made]
    wrapper = InitRuntime(directory / "init").before(real)
    for command, status, said in ((["/bin/uname", "-m"], 0, "aarch64\n"), (["/bin/false"], 1, "")):
        config = configuration(root, *command)
        config["linux"].update(seccomp=None, resources={})
        text = json.dumps(config)
        (made / "config.json").write_text(text)
        for runtime in (real, wrapper):
            name = f"zr-{os.getpid()}-{directory.name}"
            done = call(runtime, *flags, name, before=before, timeout=60)
            assert (done.returncode, done.stdout, done.stderr) == (status, said, "")
        assert (made / "config.json").read_text() == text


# Podman: each kind of container, with the bare runtime and with the wrapper


class Engine:
    """Podman in a node, with both runtimes."""

    def __init__(self, node, directory):
        self.podman = Podman(node, directory / "podman")
        self.node = node
        self.wrapper = InitRuntime(directory / "init").before(RUNC)
        root = make_image(directory / "image")
        shutil.copy(TINI, root / "bin/tini")
        script(root / "work/start", 'echo "start $*"; exec sh -c "$1"')
        (root / "sbin").mkdir()
        for name in ("sbin/init", "work/systemd"):  # a systemd in name: it runs its arguments
            script(root / name, 'exec sh -c "$1"')
        (root / "work/not").write_text("exit 0\n")
        archive = directory / "image.tar"
        subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
        self.podman("import", "--change", 'ENTRYPOINT ["/work/start"]', str(archive), "entry")
        self.podman("import", str(archive), "image")

    def call(self, runtime, *arguments, **kwargs):
        return self.node.run(
            *self.podman.command,
            "--runtime",
            str(runtime),
            *arguments,
            env=self.podman.environment,
            **kwargs,
        )

    def run(self, runtime, flags, image, command, **kwargs):
        """(exit status, standard output, standard error) of a container, and whether PID 1 was ours:
        a command that knows says so in a line of its own.
        """
        done = self.call(
            runtime, "run", "--rm", "--network", "none", *flags, image, *command, **kwargs
        )
        lines = done.stdout.splitlines()
        marked = [line for line in lines if line.startswith("PID1 ")]
        has_init = bundle.MOUNT in "".join(marked)
        said = done.stderr.replace(str(runtime), "RUNTIME")
        rest = [line for line in lines if line not in marked]
        return (done.returncode, rest, said), has_init

    def start(self, runtime, *command, flags=()):
        """A container in the background; its id."""
        done = self.call(runtime, "run", "--detach", "--network", "none", *flags, "image", *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def logs(self, container):
        done = self.call(RUNC, "logs", container)
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with searchable() as directory:
        node = PatientNode(tmp_path_factory.mktemp("node"))
        try:
            (directory / "podman").mkdir()
            started = Engine(node, directory)
            yield started
            started.podman.stop()
        finally:
            node.stop()


PID1 = "echo PID1 $(cat /proc/1/cmdline | tr '\\0' ' '); "
SAYS = PID1 + "id; echo out; echo err >&2; exit 7"
SH = ("sh", "-c")

# kind: (flags, image, command, what is written to it, whether it gets an init)
KINDS = {
    "plain": ([], "image", [*SH, SAYS], None, True),
    "by its path": ([], "image", ["/bin/sh", "-c", SAYS], None, True),
    "user and group": (["--user=1000:1000"], "image", [*SH, SAYS], None, True),
    "read-only root": (["--read-only"], "image", [*SH, SAYS + " >/x"], None, True),
    "no new privileges": (["--security-opt=no-new-privileges"], "image", [*SH, SAYS], None, True),
    "no capabilities": (["--cap-drop=all"], "image", [*SH, SAYS], None, True),
    "no seccomp": (["--security-opt=seccomp=unconfined"], "image", [*SH, SAYS], None, True),
    "privileged": (["--privileged"], "image", [*SH, SAYS], None, True),
    "terminal": (["--tty"], "image", [*SH, "test -t 0 && test -t 1 && tty; exit 3"], None, None),
    "standard input": (["--interactive"], "image", ["cat"], "in\n" * 1000, None),
    "entrypoint": ([], "entry", [SAYS], None, True),
    "only an entrypoint": ([], "entry", [], None, None),
    "below its directory": (["--workdir=/work"], "image", ["./start", SAYS], None, True),
    "limited memory": (["--memory=64m"], "image", [*SH, SAYS], None, True),
    "a volume": (["--volume=/work/v"], "image", [*SH, SAYS], None, True),
    "its own tmpfs": (["--tmpfs=/work"], "image", [*SH, SAYS], None, True),
    "no command": ([], "image", ["nothere"], None, None),
    "not executable": ([], "image", ["/work/not"], None, None),
    "a directory": ([], "image", ["/work"], None, None),
    "podman's init": (["--init"], "image", [*SH, SAYS], None, False),
    "an init": ([], "image", ["tini", "--", *SH, SAYS], None, False),
    "systemd image": ([], "image", ["/sbin/init", SAYS], None, False),
    "systemd elsewhere": ([], "image", ["/work/systemd", SAYS], None, False),
    "host PID": (["--pid=host"], "image", [*SH, SAYS], None, False),
    "opted out": (["--annotation=provider.fleet/init=false"], "image", [*SH, SAYS], None, False),
    "few PIDs": (["--pids-limit=20"], "image", [*SH, SAYS], None, False),
    "no tmpfs at /dev": (["--volume=/dev:/dev:ro"], "image", [*SH, SAYS], None, False),
    "socket of systemd": (["--env=LISTEN_PID=1"], "image", [*SH, SAYS], None, False),
    "user namespace": (["--uidmap=0:100000:65536"], "image", [*SH, SAYS], None, True),
}


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_container_does_what_it_did(engine, kind):
    flags, image, command, written, gets_one = KINDS[kind]
    bare, has_none = engine.run(RUNC, flags, image, command, input=written)
    wrapped, has_init = engine.run(engine.wrapper, flags, image, command, input=written)
    assert wrapped == bare
    assert not has_none
    if gets_one is not None:
        assert has_init == gets_one


@pytest.mark.full
def test_a_signal_that_the_program_does_not_handle_ends_it(engine):
    """The kernel ignores it where that is PID 1."""
    script = "kill -KILL $$; exit 4"
    bare, _lines = engine.run(RUNC, [], "image", [*SH, script])
    wrapped, _lines = engine.run(engine.wrapper, [], "image", [*SH, script])
    assert (bare[0], wrapped[0]) == (4, 137)


@pytest.mark.full
def test_the_container_can_be_stopped(engine):
    """Before, it had to be killed at the end of its grace period. This one has none."""
    container = engine.start(engine.wrapper, "sleep", "100000", flags=["--stop-timeout=100000"])
    assert engine.call(engine.wrapper, "stop", container).returncode == 0
    assert exit_status(engine, container) == 143


@pytest.mark.full
@pytest.mark.parametrize("signal", ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "RTMIN"])
@pytest.mark.parametrize("which", ["runc", "wrapper"])
def test_signals_reach_the_program(engine, which, signal):
    runtime = RUNC if which == "runc" else engine.wrapper
    number = 34 if signal == "RTMIN" else signal
    script = f"trap 'echo got it; exit 5' {number}; echo ready; while :; do sleep 0.1; done"
    container = engine.start(runtime, *SH, script)
    wait_until(lambda: "ready" in engine.logs(container)[0])
    sent = engine.call(runtime, "kill", "--signal", str(number), container)
    assert sent.returncode == 0, sent.stderr
    assert exit_status(engine, container) == 5
    assert engine.logs(container) == ("ready\ngot it\n", "")


def exit_status(engine, container):
    return int(engine.call(RUNC, "wait", container).stdout)


ORPHANS = "i=0; while [ $i -lt {0} ]; do (true &); i=$((i+1)); done; echo ready; exec sleep 100000"


def stats_in(engine, container) -> str:
    """The states of its processes."""
    done = engine.call(RUNC, "exec", container, "ps", "-o", "stat")
    assert done.returncode == 0, done.stderr
    return "".join(line[0] for line in done.stdout.splitlines()[1:])


# they end when somebody has opened the FIFO to write, by when PID 1 is no shell any more, which would
# collect some
WAITING_ORPHANS = (
    "mkfifo /tmp/end; i=0; while [ $i -lt 20 ]; do (: </tmp/end &); i=$((i+1)); done; echo ready;"
    " exec sleep 100000"
)


@pytest.mark.full
def test_orphans_are_collected(engine):
    """Not so with the bare runtime, which shows that the test would see them."""
    leaking, cured = (engine.start(r, *SH, WAITING_ORPHANS) for r in (RUNC, engine.wrapper))
    for container, zombies in ((leaking, 20), (cured, 0)):
        wait_until(lambda container=container: "ready" in engine.logs(container)[0])
        wait_until(lambda container=container: stats_in(engine, container).count("S") > 20)
        done = engine.call(RUNC, "exec", container, *SH, ": >/tmp/end")
        assert done.returncode == 0, done.stderr
        wait_until(lambda container=container: stats_in(engine, container).count("S") < 5)
        wait_until(
            lambda container=container, zombies=zombies: (
                stats_in(engine, container).count("Z") == zombies
            )
        )
    engine.call(RUNC, "rm", "--force", "--time", "0", leaking, cured)


@pytest.mark.full
def test_exec_into_a_container(engine):
    """Also by a user of its own, with input, and where there is no such command."""
    container = engine.start(engine.wrapper, "sleep", "100000")
    calls = [
        (["exec", container, *SH, "echo out; exit 7"], (7, "out\n")),
        (["exec", "--user=1000:1000", container, "id", "-u"], (0, "1000\n")),
        (["exec", container, "nothere"], (127, "")),
    ]
    for arguments, expected in calls:
        done = engine.call(engine.wrapper, *arguments)
        assert (done.returncode, done.stdout) == expected, done.stderr
    done = engine.call(engine.wrapper, "exec", "-i", container, "cat", input="in")
    assert (done.returncode, done.stdout) == (0, "in")
    engine.call(engine.wrapper, "rm", "--force", "--time", "0", container)


@pytest.mark.full
def test_a_container_that_joins_the_namespace_of_another(engine):
    """As in a pod with shareProcessNamespace: PID 1 there is not its own."""
    first = engine.start(engine.wrapper, "sleep", "100000")
    (status, lines, _said), has_init = engine.run(
        engine.wrapper, [f"--pid=container:{first}"], "image", [*SH, "echo $$; exit 7"]
    )
    assert status == 7
    assert lines != ["1"]
    shown = engine.call(engine.wrapper, "exec", first, "ps", "-o", "args").stdout
    assert shown.count(bundle.MOUNT) == 1
    engine.call(engine.wrapper, "rm", "--force", "--time", "0", first)


@pytest.mark.full
def test_a_container_is_started_again(engine):
    """With the configuration that its engine writes anew, and with a mount of the same place."""
    container = engine.start(engine.wrapper, *SH, "echo ready; exec sleep 100000")
    for count in (1, 2, 3):
        wait_until(lambda count=count: engine.logs(container)[0].count("ready") == count)
        shown = engine.call(engine.wrapper, "exec", container, "ps", "-o", "args").stdout
        assert shown.count(bundle.MOUNT) == 1
        done = engine.call(engine.wrapper, "restart", "--time", "0", container)
        assert done.returncode == 0, done.stderr
    engine.call(engine.wrapper, "rm", "--force", "--time", "0", container)


@pytest.mark.full
def test_nothing_is_left_in_the_image(engine):
    container = engine.start(engine.wrapper, "true")
    exit_status(engine, container)
    changes = engine.call(engine.wrapper, "diff", container).stdout
    assert "zombie" not in changes
    engine.call(engine.wrapper, "rm", container)


@pytest.mark.full
def test_a_thousand_orphans_in_each_of_many_containers(engine):
    """No zombie is left anywhere."""
    containers = [
        engine.start(engine.wrapper, *SH, ORPHANS.format(1000)) for _container in range(50)
    ]
    for container in containers:
        wait_until(lambda container=container: "ready" in engine.logs(container)[0], 300)
        wait_until(lambda container=container: stats_in(engine, container).count("Z") == 0)
    result = engine.node.sweep("--check")
    ours = [
        entry for entry in result["offenders"] if entry["workload"]["container_id"] in containers
    ]
    assert ours == []
    engine.call(RUNC, "rm", "--force", "--time", "0", *containers)


# Docker


@pytest.mark.full
def test_a_runtime_of_docker(tmp_path_factory):
    """As ``docker run --runtime init``, and ``--init`` beside it, which gives only Docker's own."""
    with (
        searchable() as directory,
        own_ledger(tmp_path_factory.mktemp("node"), PatientNode, hides_others=False) as node,
    ):
        wrapper = InitRuntime(directory / "init").before(RUNC)
        options = json.dumps({"runtimes": {"init": {"path": str(wrapper)}}})
        script = "mkdir -p /etc/docker && cat >/etc/docker/daemon.json"
        assert node.run("sh", "-c", script, input=options).returncode == 0
        docker = Docker(node, directory, f"/zombie-reaper-{os.getpid()}")
        try:
            for host, first in (
                ({}, "/bin/sh"),
                ({"Runtime": "init"}, bundle.MOUNT),
                ({"Runtime": "init", "Init": True}, "/sbin/docker-init"),
                ({"Runtime": "init", "PidMode": "host"}, "/bin/sh"),
                ({"Runtime": "init", "ReadonlyRootfs": True}, bundle.MOUNT),
            ):
                container = docker.run("trap 'exit 5' TERM; while :; do sleep 0.1; done", **host)
                pid = docker.state(container)["pid"]
                wait_until(lambda pid=pid, first=first: command_line(node, pid)[0] == first)
            docker.stop()
        finally:
            node.stop()
            docker.remove_cgroups()


def command_line(node, pid) -> list:
    return node.run("cat", f"/proc/{pid}/cmdline").stdout.split("\0")
