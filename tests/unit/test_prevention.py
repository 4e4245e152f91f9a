"""Whether a container may get an init, judged by its bundle; and what is changed in it then."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import init_names, inits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import (
    bundle,
    create,
    elf,
    install,
    json_text,
    rootfs,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig import init_runtime
from rig.init_runtime import CATATONIT, TINI, configuration, script
from rig.node import ENGINE

ROOT = rootfs.Caller(0, True)
HERE = elf.read(open(TINI, "rb").read(elf.NEEDED))


@pytest.fixture(scope="module")
def shared_image(tmp_path_factory):
    return init_runtime.make_image(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture
def image(tmp_path):
    return init_runtime.make_image(tmp_path / "rootfs")


def judged(config, bundle_directory="/"):
    return bundle.with_init(config, str(bundle_directory), "/prefix/init", HERE)


def test_the_init_comes_before_the_command_and_nothing_else_changes(shared_image):
    config = configuration(shared_image, "sh", "-c", "exit 7")
    before = copy.deepcopy(config)
    changed = judged(config)
    assert config == before
    assert changed["process"].pop("args") == [bundle.MOUNT, "--", "sh", "-c", "exit 7"]
    mount = changed["mounts"].pop(2)
    assert mount == {
        "destination": "/dev/zombie-reaper-init",
        "type": "bind",
        "source": "/prefix/init",
        "options": ["bind", "ro", "nosuid", "nodev"],
    }
    assert changed["mounts"][1]["destination"] == "/dev"
    del config["process"]["args"]
    assert changed == config


def command(*words):
    return lambda config, _image: config["process"].update(args=list(words))


def process(**values):
    return lambda config, _image: config["process"].update(values)


def linux(**values):
    return lambda config, _image: config["linux"].update(values)


def annotated(key, value):
    return lambda config, _image: config["annotations"].update({key: value})


def pid_namespace(*entries):
    return linux(namespaces=[{"type": "mount"}, *entries])


def mounted(destination, kind="bind", options=()):
    mount = {"destination": destination, "type": kind, "source": "/x", "options": list(options)}
    return lambda config, _image: config["mounts"].append(mount)


def in_image(path, text, interpreter="/bin/sh", *, mode=0o755, run=True):
    """A script in the image, which is the command if it is to run."""

    def change(config, image):
        script(image / path, text, interpreter).chmod(mode)
        if run:
            config["process"]["args"] = ["/" + path]

    return change


def seccomp(rule, default="SCMP_ACT_ERRNO"):
    def change(config, _image):
        config["linux"]["seccomp"]["syscalls"].append(rule)
        config["linux"]["seccomp"]["defaultAction"] = default

    return change


def all_of(*changes):
    def change(config, image):
        for each in changes:
            each(config, image)

    return change


def linked(link, target):
    return lambda _config, image: (image / link).symlink_to(target)


def without(path):
    return lambda _config, image: shutil.rmtree(image / path)


def program(path, content, *, mode=0o755):
    def change(config, image):
        (image / path).write_bytes(content)
        (image / path).chmod(mode)
        config["process"]["args"] = ["/" + path]

    return change


def for_another_processor():
    start = bytearray(open(TINI, "rb").read(4096))
    struct.pack_into("<H", start, 18, 183 if HERE.machine[2] != 183 else 62)
    return bytes(start)


def with_capabilities(change):
    """change: what becomes of the list of a set."""

    def on_all_sets(config, _image):
        sets = config["process"]["capabilities"]
        config["process"]["capabilities"] = {name: change(sets[name]) for name in sets}

    return on_all_sets


def with_capability(name):
    return with_capabilities(lambda names: [*names, name])


def without_capability(name):
    return with_capabilities(lambda names: [each for each in names if each != name])


# What every image and every runtime has somewhere, and what is no reason to leave it alone
FINE = {
    "a shell": command("/bin/sh"),
    "found in PATH": command("true"),
    "through a link": all_of(linked("work/run", "../bin/sh"), command("/work/run")),
    "a link that would lead out": all_of(
        linked("work/run", "../../../../../bin/sh"), command("/work/run")
    ),
    "below the working directory": all_of(
        in_image("work/start", "exit 0"), process(args=["./start"], cwd="/work")
    ),
    "a word of another meaning": command("sh", "-c", "npm init && pause"),
    "a long script": command("sh", "-c", "exit 0; # " + "long " * 60),
    "a longer script": command("sh", "-c", "exit 0; # " + "/long" * 2000),
    "another word of another meaning": command("busybox", "sh", "-c", "init; systemctl; exec true"),
    "a comment": in_image("work/start", "# ends with exec tini -- program\nexec sleep 1000"),
    "a container by its annotation": annotated("io.kubernetes.cri-o.ContainerType", "container"),
    "not opted out": annotated("provider.fleet/init", "true"),
    "its own user namespace": pid_namespace({"type": "pid"}, {"type": "user"}),
    "another user": process(user={"uid": 1000, "gid": 1000}),
    "what root may execute by its capability": all_of(
        in_image("work/a", "", mode=0o700),
        lambda _config, image: os.chown(image / "work/a", 1000, 1000),
        with_capability("CAP_DAC_OVERRIDE"),
    ),
    "a limit with room": linux(resources={"pids": {"limit": 100}}),
    "no limit": linux(resources={"pids": {"limit": -1}}),
    "the profile of containerd": process(apparmorProfile="cri-containerd.apparmor.d"),
    "the profile of podman": process(apparmorProfile="containers-default-0.50.1"),
    "no seccomp": linux(seccomp=None),
    "all system calls": linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW"}),
    "a volume": mounted("/work/volume"),
    "a file in /dev": mounted("/dev/termination-log"),
    "without CAP_KILL, and no other user": all_of(
        without_capability("CAP_KILL"), without_capability("CAP_SETUID")
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_it_gets_an_init(image, name):
    config = configuration(image, "/bin/sleep", "1000")
    FINE[name](config, image)
    assert judged(config)["process"]["args"][:2] == [bundle.MOUNT, "--"]


INITS = [
    "/init",
    "/sbin/init",
    "init",
    "/lib/systemd/systemd",
    "systemd",
    "/usr/bin/tini",
    "tini",
    "/tini-amd64",
    "/opt/conda/bin/tini",
    "/sbin/docker-init",
    "/run/podman-init",
    "dumb-init",
    "catatonit",
    "/sbin/my_init",
    "supervisord",
    "/usr/bin/s6-svscan",
    "runsvdir",
    "/pause",
    "/usr/bin/systemctl",
    "systemctl3.py",
    "/bin/k3s",
    "linuxrc",
    bundle.MOUNT,
]

# Where an init would be wrong: no word in the journal
NOT_WANTED = {
    "a sandbox of containerd": annotated("io.kubernetes.cri.container-type", "sandbox"),
    "a sandbox of CRI-O": annotated("io.kubernetes.cri-o.ContainerType", "sandbox"),
    "the PID namespace of the node": pid_namespace(),
    "the PID namespace of the pod": pid_namespace({"type": "pid", "path": "/proc/1/ns/pid"}),
    "opted out": annotated("provider.fleet/init", "False"),
    **{f"the init {path}": command(path, "--", "sleep") for path in INITS},
    "an init behind its interpreter": command("/bin/sh", "-u", "/sbin/my_init"),
    "an init behind a shell": command("/bin/sh", "-c", "setup; exec /sbin/init"),
    "an init of busybox": command("/bin/busybox", "init"),
    "an init of toybox behind a shell": command("sh", "-c", "setup && exec toybox init"),
    "an init found in PATH behind a shell": command("sh", "-c", "setup; exec init"),
    "a link to an init": all_of(
        linked("work/run", "/usr/sbin/tini"),
        lambda _config, image: (image / "usr/sbin").mkdir(parents=True),
        lambda _config, image: shutil.copy(TINI, image / "usr/sbin/tini"),
        command("/work/run"),
    ),
}


@pytest.mark.parametrize("name", NOT_WANTED)
def test_an_init_would_be_wrong(image, name):
    config = configuration(image, "/bin/sleep", "1000")
    NOT_WANTED[name](config, image)
    with pytest.raises(bundle.NotWanted):
        judged(config)


# Where nobody can be sure: what the journal says then
UNSURE = {
    "no command": (command(), "no command"),
    "a command that is not there": (command("nothere"), "no command 'nothere'"),
    "a path that is not there": (command("/bin/nothere"), "no command"),
    "a directory": (command("/bin"), "no command"),
    "not executable": (in_image("work/a", "", mode=0o644), "no command"),
    "for its owner only": (
        all_of(in_image("work/a", "", mode=0o700), process(user={"uid": 1000, "gid": 0})),
        "not everybody",
    ),
    "for another only": (
        all_of(
            in_image("work/a", "", mode=0o700),
            lambda _config, image: os.chown(image / "work/a", 1000, 1000),
        ),
        "not everybody",
    ),
    "for its owner only, who is mapped": (
        all_of(
            in_image("work/a", "", mode=0o700), pid_namespace({"type": "pid"}, {"type": "user"})
        ),
        "not everybody",
    ),
    "no PATH": (process(args=["sh"], env=[]), "no PATH"),
    "two PATHs": (process(args=["sh"], env=["PATH=/bin", "PATH=/work"]), "two of them"),
    "a relative PATH": (process(args=["sh"], env=["PATH=bin"]), "is relative"),
    "in a volume": (all_of(mounted("/work/v"), command("/work/v/run")), "is in a volume"),
    "in a volume behind a link": (
        all_of(linked("work/l", "/bin"), mounted("/work/l")),
        "is in a volume",
    ),
    "links in a circle": (
        all_of(linked("work/a", "b"), linked("work/b", "a"), command("/work/a")),
        "too many symbolic links",
    ),
    "no interpreter": (
        in_image("work/a", "", "/bin/nothere"),
        "'/bin/nothere' is not in the image",
    ),
    "a script of a script": (
        all_of(in_image("work/a", "", run=False), in_image("work/b", "", "/work/a")),
        "neither a program nor a script",
    ),
    "neither program nor script": (program("work/a", b"exit 0"), "neither a program nor a script"),
    "another processor": (program("work/a", for_another_processor()), "another processor"),
    "no dynamic linker": (
        program("work/a", open("/bin/true", "rb").read()),
        "the dynamic linker",
    ),
    "set-user-ID": (program("work/a", open(TINI, "rb").read(), mode=0o4755), "set-user-ID"),
    "an interpreter that is set-user-ID": (
        all_of(
            program("work/sh", open(TINI, "rb").read(), mode=0o4755),
            in_image("work/a", "", "/work/sh"),
        ),
        "set-user-ID",
    ),
    "for all but its group": (
        all_of(in_image("work/a", "", mode=0o705), process(user={"uid": 1000, "gid": 1000})),
        "not everybody",
    ),
    "for all but its owner": (
        all_of(
            in_image("work/a", "", mode=0o655),
            lambda _config, image: os.chown(image / "work/a", 1000, 1000),
            process(user={"uid": 1000, "gid": 1000}),
        ),
        "not everybody",
    ),
    "a masked /dev": (linux(maskedPaths=["/proc/kcore", "/dev/"]), "/dev is masked"),
    "a masked command": (linux(maskedPaths=["/bin"]), "is in a volume"),
    "settings of tini": (process(env=["PATH=/bin", "TINI_KILL_PROCESS_GROUP=1"]), "TINI_"),
    "another user by its ambient capability": (
        all_of(
            process(user={"uid": 1000, "gid": 1000}),
            lambda config, _image: config["process"]["capabilities"].update(
                ambient=["CAP_SETUID"], effective=["CAP_SETUID"]
            ),
        ),
        "without CAP_KILL",
    ),
    "a script that ends with an init of its own": (
        in_image("work/a", "setup\nexec init"),
        "the name of an init in it",
    ),
    "a script that ends with an init": (
        in_image("work/a", "setup\nexec /sbin/init"),
        "the name of an init in it",
    ),
    "a script given to a shell": (
        all_of(in_image("work/a", "exec tini sleep 1"), command("sh", "/work/a")),
        "the name of an init in it",
    ),
    "a limit without room": (linux(resources={"pids": {"limit": 1}}), "limit of 1 processes"),
    "few processes of its user": (
        process(rlimits=[{"type": "RLIMIT_NPROC", "soft": 10, "hard": 10}]),
        "RLIMIT_NPROC of 10",
    ),
    "a scheduling policy": (process(scheduler={"policy": "SCHED_FIFO"}), "scheduling policy"),
    "sockets for PID 1": (process(env=["PATH=/bin", "LISTEN_PID=1"]), "LISTEN_PID"),
    "SELinux": (process(selinuxLabel="system_u:system_r:container_t:s0"), "SELinux"),
    "a profile of its own": (process(apparmorProfile="only-nginx"), "AppArmor"),
    "seccomp that kills": (linux(seccomp={"defaultAction": "SCMP_ACT_KILL"}), "SCMP_ACT_KILL"),
    "seccomp without fork": (
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}],
            }
        ),
        "does not allow brk",
    ),
    "seccomp against wait4": (
        seccomp({"names": ["wait4"], "action": "SCMP_ACT_KILL"}),
        "a rule of its own for wait4",
    ),
    "seccomp that only lets some signals pass": (
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [
                    {
                        "names": init_runtime.CALLS.replace(" kill", "").split(),
                        "action": "SCMP_ACT_ALLOW",
                    },
                    {
                        "names": ["kill"],
                        "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}],
                    },
                ],
            }
        ),
        "does not allow kill",
    ),
    "without CAP_KILL": (without_capability("CAP_KILL"), "without CAP_KILL"),
    "the node's /dev": (mounted("/dev"), "not a tmpfs of its own"),
    "no /dev": (lambda config, _image: config.update(mounts=[]), "not a tmpfs of its own"),
    "a /dev that is read-only": (
        lambda config, _image: config["mounts"][1]["options"].append("ro"),
        "not a tmpfs of its own",
    ),
    "a /dev that leads elsewhere": (
        all_of(without("dev"), linked("dev", "etc")),
        "not a tmpfs of its own",
    ),
    "a volume that a link leads to /dev": (
        all_of(linked("work/d", "/dev"), mounted("/work/d")),
        "not a tmpfs of its own",
    ),
    "a volume in its place": (mounted(bundle.MOUNT), "something else is mounted"),
    "a volume over all": (mounted("/work/.."), "something else is mounted at /"),
    "a device in its place": (
        linux(devices=[{"path": "/dev/./zombie-reaper-init", "type": "c"}]),
        "it has a device",
    ),
}


@pytest.mark.parametrize("name", UNSURE)
def test_on_any_doubt_nothing_is_changed(image, name):
    config = configuration(image, "/bin/sleep", "1000")
    change, said = UNSURE[name]
    change(config, image)
    with pytest.raises(rootfs.Unsure) as raised:
        judged(config)
    assert said in str(raised.value)
    assert str(raised.value).isascii() and len(str(raised.value)) < 300


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_a_configuration_looks_like_it_is_changed_rightly_or_refused(shared_image, data):
    """Any part of it replaced by anything."""
    config = configuration(shared_image, "/bin/sleep", "1000")
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
    place = config
    while True:
        key = data.draw(
            st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))
        )
        deeper = place[key] and isinstance(place[key], (dict, list))
        if deeper and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(anything)
        break
    before = copy.deepcopy(config)
    try:
        changed = judged(config)
    except (
        bundle.NotWanted,
        rootfs.Unsure,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        OSError,
    ):
        pass
    else:
        assert changed["process"]["args"] == [bundle.MOUNT, "--", *before["process"]["args"]]
        assert [each for each in changed["mounts"] if each["destination"] != bundle.MOUNT] == (
            before["mounts"]
        )
    assert config == before


# paths in an image


def test_no_path_leads_out_of_the_image(image, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    script(outside / "run", "exit 0")
    (image / "work/out").symlink_to(outside)
    (image / "work/up").symlink_to("../../outside")
    walker = rootfs.Rootfs(str(image))
    for path in ("/work/out/run", "/work/up/run", "/../outside/run", str(outside / "run")):
        assert walker.program(path, ROOT, 100) is None
        assert walker.text(path, 100) == b""
    assert walker.real("/work/up/run") == "/outside/run"
    walker.close()


def test_a_fifo_and_a_device_are_no_files(image):
    os.mkfifo(image / "work/fifo", 0o755)
    walker = rootfs.Rootfs(str(image))
    assert walker.program("/work/fifo", ROOT, 100) is None
    assert walker.text("/work/fifo", 100) == b""
    walker.close()


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "l", "up", "abs", "gone", ""]), max_size=8))
@example(["b", "abs"])
@example(["a", "l", "up", "b"])
@settings(max_examples=60, deadline=None)
def test_paths_are_those_of_a_process_in_the_image(links, names):
    """Compared with a process that has the image as its root."""
    path = "/" + "/".join(names)
    walker = rootfs.Rootfs(str(links))
    try:
        found = walker.real(path)
    finally:
        walker.close()
    assert found == in_root(links, path)


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    root = tmp_path_factory.mktemp("links")
    (root / "a/b").mkdir(parents=True)
    (root / "a/l").symlink_to("b")
    (root / "a/b/up").symlink_to("../../..")
    (root / "b").mkdir()
    (root / "b/abs").symlink_to("/a/b")
    return root


def in_root(root, path):
    """os.path.realpath() as that process sees it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chroot(root)
            os.write(writer, os.path.realpath(path).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


# programs


def test_programs_of_this_machine():
    assert elf.read(open(TINI, "rb").read(elf.NEEDED)).interpreter is None
    here = elf.read(open(sys.executable, "rb").read(elf.NEEDED))
    assert here.interpreter.startswith("/lib")
    assert here.machine == HERE.machine


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_are_too_odd_for_a_header(noise, length):
    start = open(TINI, "rb").read(4096)
    elf.read(noise)
    elf.read(elf.MAGIC + noise)
    elf.read(start[:length])
    elf.read(start[:length] + noise + start[length + len(noise) :])


def test_an_init_is_static_of_root_and_runs(tmp_path):
    tried = []

    def runs(path):
        tried.append(path)
        return path != CATATONIT

    mine, dynamic, text = tmp_path / "mine", tmp_path / "dynamic", tmp_path / "text"
    shutil.copy(TINI, mine)
    os.chown(mine, 1000, 1000)
    shutil.copy("/bin/true", dynamic)
    script(text, "exit 0")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(for_another_processor())
    candidates = [*map(str, (tmp_path / "none", mine, dynamic, text, foreign)), CATATONIT, TINI]
    found, refusals = install.find_init(runs, candidates)
    assert found == TINI
    assert tried == [CATATONIT, TINI]
    words = ["others than root", "not static", "no ELF", "another processor", "does not run"]
    assert len(refusals) == len(words)
    assert all(word in said for word, said in zip(words, refusals))
    assert install.find_init(runs, candidates[:-1])[0] is None


def test_the_name_that_containers_see_is_an_init_to_the_audit():
    assert init_names.needs_no_init(bundle.MOUNT)
    name = os.path.basename(bundle.MOUNT)
    assert name in inits.PROGRAMS


# the file


@pytest.fixture
def bundled(image):
    """A directory with a bundle, and a function that gives it an init."""
    directory = image.parent
    os.chmod(directory, 0o755)
    file = directory / "config.json"
    file.write_text(json.dumps(configuration("rootfs", "/bin/sleep", "1000")))
    return file


def test_owner_and_mode_of_the_file_stay(bundled, monkeypatch):
    monkeypatch.setattr(create, "header_of", lambda _init: HERE)
    bundled.chmod(0o640)
    os.chown(bundled, 1234, 4321)
    before = json.loads(bundled.read_text())
    create.give_init(str(bundled.parent), "/prefix/init")
    info = bundled.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, 1234, 4321)
    changed = json.loads(bundled.read_text())
    assert changed == bundle.with_init(before, str(bundled.parent), "/prefix/init", HERE)
    assert sorted(os.listdir(bundled.parent)) == ["config.json", "rootfs"]


@pytest.mark.parametrize(
    "old, new",
    [
        ('"TERM=xterm"', '"A=\\ud800"'),  # no UTF-8 of it could be written
        ('"uid": 0', '"uid": 0.0'),
        ('"uid": 0', '"uid": 1e3'),
        ('"uid": 0', '"uid": NaN'),
        ("{", "[" * 100000),
        ('"process"', '"prozess"'),
    ],
)
def test_what_is_not_understood_stays_byte_for_byte(bundled, monkeypatch, old, new):
    monkeypatch.setattr(create, "header_of", lambda _init: HERE)
    text = bundled.read_text().replace(old, new, 1)
    bundled.write_text(text)
    with pytest.raises((ValueError, RecursionError, KeyError)):
        create.give_init(str(bundled.parent), "/prefix/init")
    assert bundled.read_text() == text
    assert sorted(os.listdir(bundled.parent)) == ["config.json", "rootfs"]


def test_text_and_large_numbers_stay_as_they_are(bundled, monkeypatch):
    monkeypatch.setattr(create, "header_of", lambda _init: HERE)
    config = configuration("rootfs", "/bin/sleep", "1000")
    config["process"]["env"].append('A=Köln "\\\u2028\x7f\x01🐳')
    config["linux"]["resources"]["memory"] = {"limit": 2**63 - 1, "swap": -1}
    config["hostname"] = str(2**64)
    bundled.write_text(json.dumps(config))
    create.give_init(str(bundled.parent), "/prefix/init")
    changed = json.loads(bundled.read_text())
    assert changed["process"]["env"] == config["process"]["env"]
    assert changed["linux"] == config["linux"]


@pytest.mark.parametrize(
    "arguments, found",
    [
        (["create", "--bundle", "/b", "id"], ("/b", "id")),
        (["create", "--bundle=/b", "--pid-file=/p", "id"], ("/b", "id")),
        (["create", "-b", "/b", "--console-socket", "/s", "--no-pivot", "id"], ("/b", "id")),
        (["run", "-d", "id"], (None, "id")),
        (["run", "id"], (None, "id")),
        (["create", "--preserve-fds", "3", "id"], "--preserve-fds"),
        (["create", "--config=/c", "id"], "--config"),
        (["create", "--bundle"], "--bundle"),
        (["create", "--help"], "--help"),
        (["create"], "not known"),
        (["create", "a", "b"], "not known"),
    ],
)
def test_flags_of_the_runtime(arguments, found):
    if isinstance(found, str):
        with pytest.raises(rootfs.Unsure) as raised:
            create.bundle_of(arguments)
        assert found in str(raised.value)
    else:
        assert create.bundle_of(arguments) == (found[0] or os.getcwd(), found[1])


@pytest.mark.parametrize("name", ["LISTEN_FDS", "NOTIFY_SOCKET"])
def test_sockets_for_pid_1_are_not_kept_from_it(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(rootfs.Unsure):
        create.bundle_of(["create", "id"])


def said_of(monkeypatch, arguments):
    said = []
    monkeypatch.setattr(create, "to_syslog", lambda line, warning: said.append(line))
    monkeypatch.setattr(create, "_end_in_time", lambda: None)
    create.main("/prefix", arguments)
    return said


def test_what_a_tenant_writes_cannot_begin_a_line_of_the_journal(bundled, monkeypatch):
    """The kernel's errors name the file, which may be a component of a path in an image."""
    monkeypatch.setattr(create, "header_of", lambda _init: HERE)

    def fail(*_arguments, **_named):
        raise OSError(errno.EIO, "Input/output error", "x\n<29>sshd[1]: Accepted \x1b[2J" * 9)

    monkeypatch.setattr(rootfs.os, "open", fail)
    (line,) = said_of(monkeypatch, ["create", "-b", str(bundled.parent), "id"])
    assert line.isascii() and line.isprintable() and len(line) < 300
    assert "Input/output error" in line and r"x\n<29>sshd" in line


def test_a_working_directory_that_is_gone_matters_only_where_it_is_the_bundle(
    bundled, tmp_path, monkeypatch
):
    monkeypatch.setattr(create, "header_of", lambda _init: HERE)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert said_of(monkeypatch, ["create", "-b", str(bundled.parent), "id"]) == []
    assert json.loads(bundled.read_text())["process"]["args"][0] == bundle.MOUNT
    (line,) = said_of(monkeypatch, ["create", "id"])
    assert "No such file or directory" in line


@pytest.fixture
def copy_of_tini():
    """Where everybody may search: pytest's own directory is its user's alone."""
    with tempfile.TemporaryDirectory(prefix="zr-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        program = Path(directory, "init")
        shutil.copy(TINI, program)
        program.chmod(0o755)
        yield program


def test_our_copy_of_the_init(copy_of_tini):
    assert create.header_of(str(copy_of_tini)) == HERE


@pytest.mark.parametrize(
    "spoil, what",
    [
        (lambda init: init.parent.chmod(0o700), "may search"),
        (lambda init: init.chmod(0o775), "static program"),
        (lambda init: init.chmod(0o750), "static program"),
        (lambda init: os.chown(init, 1234, 0), "static program"),
        (lambda init: init.write_bytes(Path("/bin/sh").read_bytes()), "static program"),
        (lambda init: init.write_bytes(b"#!/bin/sh"), "static program"),
    ],
    ids=["directory", "written by its group", "not by everybody", "owner", "dynamic", "script"],
)
def test_a_copy_of_the_init_that_a_container_could_not_execute(copy_of_tini, spoil, what):
    spoil(copy_of_tini)
    with pytest.raises(rootfs.Unsure) as raised:
        create.header_of(str(copy_of_tini))
    assert what in str(raised.value)


# JSON


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.booleans(),
)
def test_json_is_that_of_python(value, is_ascii):
    text = json.dumps(value, ensure_ascii=is_ascii, indent=2)
    read = json_text.loads(text + "\n")
    assert read == value
    assert json_text.dumps(read) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    "text", ["", "[", "{", "[1.5]", "[1e3]", "NaN", "{} {}", "{'a': 1}", '"\t"']
)
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(ValueError):
        json_text.loads(text)


def test_json_where_python_has_no_scanner_in_c(monkeypatch):
    monkeypatch.setattr(json_text, "make_scanner", None)
    assert json_text.loads('{"a": [1, "\\u00fc"]}') == {"a": [1, "ü"]}
    assert json_text.dumps({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'
    with pytest.raises(ValueError):
        json_text.loads("1.5")


def test_creating_a_container_imports_nothing_slow():
    """Each of these would take longer than all else."""
    code = (
        "import sys; before = set(sys.modules); sys.path.append(sys.argv[1]);"
        " import reaper.prevention.create; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code, ENGINE], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"re", "enum", "json", "collections", "typing", "signal"}
