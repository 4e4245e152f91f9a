# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a container (config.json of the OCI runtime specification), and whether an
init may be put before its command.

That is done only where the container is sure to start and to behave as before. What a tenant can
choose is looked at, and is never a reason to follow it out of the image.
"""

from __future__ import annotations

import posixpath
import stat

from ..node.init_names import needs_no_init
from . import elf
from .rootfs import Caller, File, Rootfs, Unsure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Below /dev, which is a tmpfs made for each container: no file is left in the image, a read-only
# root does not matter, and nothing in the image can turn the path. The kubelet mounts
# /dev/termination-log the same way.
MOUNT = "/dev/zombie-reaper-init"
MOUNT_OPTIONS = ("bind", "ro", "nosuid", "nodev")
OPT_OUT = "provider.fleet/init"  # an annotation
OPTED_OUT = ("false", "no", "off", "0")
SANDBOX = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")

MOST_SCRIPT = 65536  # bytes of a script that are searched for an init
MOST_WORDS = 16  # arguments that are looked up as scripts
LEAST_PIDS = 32  # a limit of so few may not have room for one process more
LEAST_PROCESSES = 1024  # RLIMIT_NPROC counts all processes of that user on the node
STARTERS = ("exec", "busybox", "toybox")  # the next word is a command
CAP_KILL, CAP_SETUID = "CAP_KILL", "CAP_SETUID"

# What tini and catatonit call beside what every program calls, and what a static program of glibc
# calls before main()
CALLS = frozenset(
    (
        "brk",
        "clone",
        "execve",
        "exit_group",
        "getpid",
        "ioctl",
        "kill",
        "mprotect",
        "read",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigtimedwait",
        "set_tid_address",
        "setpgid",
        "signalfd4",
        "wait4",
        "write",
    )
)
ALLOWS = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
# The profiles that runtimes make, which let a container execute any file that it sees
APPARMOR_PROFILES = ("unconfined", "cri-containerd.apparmor.d", "docker-default", "crio-default")
APPARMOR_OF_PODMAN = ("containers-default-", "libpod-default-")  # a version follows
SEPARATORS = str.maketrans(dict.fromkeys(";&|()<>\"'`=$[]{}", " "))


class NotWanted(Exception):
    """An init would be wrong here, or is there already."""


def with_init(config: dict[str, Any], bundle: str, init: str, machine: elf.Elf) -> dict[str, Any]:
    """The configuration with the init of that path on the node before the command.

    bundle: the directory that ``root.path`` is relative to. machine: of the init. Raises
    :class:`NotWanted` or :class:`.rootfs.Unsure`; also what an unexpected form of the configuration
    leads to (``KeyError``, ``TypeError``, ``AttributeError``), and ``OSError``.
    """
    process, linux = config["process"], config["linux"]
    arguments = process["args"]
    _is_wanted(config.get("annotations") or {}, linux["namespaces"])
    if not arguments or not all(isinstance(word, str) for word in arguments):
        raise Unsure("it has no command")
    if needs_no_init(arguments[0], is_command=True) or _has_init(" ".join(arguments)):
        raise NotWanted(f"{arguments[0][:80]!a} is an init, or starts one")
    _room_for_one_more(process, linux)
    _security_allows(process, linux)

    mounts = config.get("mounts") or []
    image = Rootfs(posixpath.join(bundle, config["root"]["path"]))
    try:
        place = _place(image, mounts, linux.get("devices") or [])
        masked = {image.real(path) for path in linux.get("maskedPaths") or []}
        if masked.intersection(("/", "/dev", MOUNT)):
            raise Unsure("its /dev is masked")
        image.covered = masked.union(image.real(mount["destination"]) for mount in mounts)
        _starts(image, process, _caller(process, linux["namespaces"]), machine)
    finally:
        image.close()

    mount = {
        "destination": MOUNT,
        "type": "bind",
        "source": init,
        "options": list(MOUNT_OPTIONS),
    }
    changed = dict(config)
    changed["process"] = dict(process, args=[MOUNT, "--", *arguments])
    changed["mounts"] = [*mounts[:place], mount, *mounts[place:]]
    return changed


def _is_wanted(annotations: Mapping[str, str], namespaces: Sequence[Mapping[str, str]]) -> None:
    if any(annotations.get(key) == "sandbox" for key in SANDBOX):
        raise NotWanted("it is the sandbox of a pod")
    if annotations.get(OPT_OUT, "").lower() in OPTED_OUT:
        raise NotWanted(f"it has the annotation {OPT_OUT}")
    own = [each for each in namespaces if each["type"] == "pid"]
    if len(own) != 1 or own[0].get("path"):
        raise NotWanted("it has no PID namespace of its own")


def _has_init(text: str) -> bool:
    """Whether any word of it, which may be a line of shell, is an init."""
    before = ""
    for word in text.translate(SEPARATORS).split():
        if needs_no_init(word, is_command=before.rpartition("/")[2] in STARTERS):
            return True
        before = word
    return False


def _room_for_one_more(process: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """The init is one process more, and the limits are the tenant's own."""
    pids = ((linux.get("resources") or {}).get("pids") or {}).get("limit") or 0
    if 0 < pids < LEAST_PIDS:
        raise Unsure(f"its limit of {pids} processes may leave no room for an init")
    for limit in process.get("rlimits") or []:
        if limit["type"] == "RLIMIT_NPROC" and limit["soft"] < LEAST_PROCESSES:
            raise Unsure(f"RLIMIT_NPROC of {limit['soft']} may leave no room for an init")
    if process.get("scheduler"):
        raise Unsure("it asks for a scheduling policy, which children may not inherit")
    environment = process.get("env") or []
    if any(text.startswith("LISTEN_PID=") for text in environment):
        raise Unsure("LISTEN_PID is set, which names the process that gets the sockets")
    if any(text.startswith("TINI_") for text in environment):
        raise Unsure("its environment has settings of tini (TINI_), which ours would obey")


def _security_allows(process: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """The init may be executed, may fork, and may signal the command."""
    if process.get("selinuxLabel"):
        raise Unsure("SELinux may not let it execute a file of the node")
    profile = process.get("apparmorProfile") or "unconfined"
    if profile not in APPARMOR_PROFILES and not profile.startswith(APPARMOR_OF_PODMAN):
        raise Unsure(f"the AppArmor profile {profile[:80]!a} may not let it execute an init")
    if linux.get("seccomp"):
        _seccomp_allows(linux["seccomp"])
    capabilities = process.get("capabilities") or {}
    is_root = process["user"].get("uid", 0) == 0
    # what an init has, and what a command can have
    of_init, of_command = ("effective", "bounding") if is_root else ("ambient", "ambient")
    if CAP_KILL not in (capabilities.get(of_init) or []) and CAP_SETUID in (
        capabilities.get(of_command) or []
    ):
        raise Unsure(
            "without CAP_KILL an init cannot pass signals on to a command that changes its user"
        )


def _seccomp_allows(profile: Mapping[str, Any]) -> None:
    default = profile["defaultAction"]
    if default not in (*ALLOWS, "SCMP_ACT_ERRNO"):
        raise Unsure(f"its seccomp profile has the default action {str(default)[:40]!a}")
    allowed = set(CALLS) if default in ALLOWS else set()
    for rule in profile.get("syscalls") or []:
        names = CALLS.intersection(rule["names"])
        arguments = rule.get("args") or []
        # container runtimes allow clone(2) without flags for namespaces
        is_plain = not arguments or (
            names == {"clone"} and all(each["op"] == "SCMP_CMP_MASKED_EQ" for each in arguments)
        )
        if rule["action"] in ALLOWS:
            allowed |= names if is_plain else set()
        elif names and not (
            names == {"clone"} and arguments and rule["action"] == "SCMP_ACT_ERRNO"
        ):
            raise Unsure(f"its seccomp profile has a rule of its own for {sorted(names)[0]}")
    if allowed != CALLS:
        raise Unsure(f"its seccomp profile does not allow {min(CALLS - allowed)}")


def _place(
    image: Rootfs, mounts: Sequence[Mapping[str, Any]], devices: Sequence[Mapping[str, Any]]
) -> int:
    """Where the mount of the init goes: right behind that of /dev, before anything of the tenant's
    could be below it.
    """
    found = None
    for number, mount in enumerate(mounts):
        real = image.real(mount["destination"])
        if real == "/" or real == MOUNT or real.startswith(MOUNT + "/"):
            raise Unsure(f"something else is mounted at {real}")
        if real != "/dev":
            continue
        is_its_own = mount.get("type") == "tmpfs" and "ro" not in (mount.get("options") or [])
        if found is not None or not is_its_own:
            raise Unsure("its /dev is not a tmpfs of its own")
        found = number + 1
    if found is None:
        raise Unsure("its /dev is not a tmpfs of its own")
    if any(posixpath.normpath(device["path"]) == MOUNT for device in devices):
        raise Unsure(f"it has a device {MOUNT}")
    return found


def _caller(process: Mapping[str, Any], namespaces: Sequence[Mapping[str, str]]) -> Caller:
    if any(each["type"] == "user" for each in namespaces):
        return Caller(None, False)  # the owners of the files are others there
    uid = process["user"].get("uid", 0)
    effective = (process.get("capabilities") or {}).get("effective") or []
    return Caller(uid, uid == 0 and "CAP_DAC_OVERRIDE" in effective)


def _starts(image: Rootfs, process: Mapping[str, Any], caller: Caller, machine: elf.Elf) -> None:
    """The command can be executed, as far as the image shows: behind an init it would fail later,
    and with another message.
    """
    directory = process.get("cwd") or "/"
    program = _command(image, process, directory, caller)
    if needs_no_init(program.path, is_command=True):
        raise NotWanted(f"the command is {program.path[:80]!a}, an init")
    if program.start.startswith(b"#!"):
        _no_init_in(program.start)
        interpreter = program.start[2:256].split(b"\n")[0].split()[:1]
        path = interpreter[0].decode("utf-8", "surrogateescape") if interpreter else ""
        if not path.startswith("/"):
            raise Unsure("the interpreter of the command is no absolute path")
        found = image.program(path, caller, elf.NEEDED)
        if found is None:
            raise Unsure(f"the interpreter {path[:80]!a} is not in the image")
        program = found
    if program.info.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise Unsure("the command has set-user-ID, so an init might not be allowed to signal it")
    header = elf.read(program.start)
    if header is None:
        raise Unsure("the command is neither a program nor a script")
    if header.machine != machine.machine:
        raise Unsure("the command is for another processor than the init")
    if header.interpreter and image.program(header.interpreter, caller, 0) is None:
        raise Unsure(f"the dynamic linker {header.interpreter[:80]!a} is not in the image")
    for word in process["args"][1:MOST_WORDS]:
        text = image.text(posixpath.join(directory, word), MOST_SCRIPT)
        if not text.startswith(elf.MAGIC):
            _no_init_in(text)


def _command(image: Rootfs, process: Mapping[str, Any], directory: str, caller: Caller) -> File:
    """What execvp(3) would execute, which is what runtimes look for (Go's exec.LookPath)."""
    name = process["args"][0]
    if "/" in name:
        places = [posixpath.join(directory, name)]
    else:
        paths = [text[5:] for text in process.get("env") or [] if text.startswith("PATH=")]
        if len(paths) != 1:
            raise Unsure("it has no PATH, or two of them")
        directories = paths[0].split(":")
        if not name or not all(each.startswith("/") for each in directories):
            raise Unsure("a directory of its PATH is relative")
        places = [posixpath.join(each, name) for each in directories]
    for place in places:
        found = image.program(place, caller, elf.NEEDED)
        if found is not None:
            return found
    raise Unsure(f"there is no command {name[:80]!a} in the image")


def _no_init_in(script: bytes) -> None:
    """Many images have a script as their command that ends by executing an init."""
    lines = script.decode("utf-8", "replace").splitlines()
    if any(_has_init(line) for line in lines if not line.lstrip().startswith("#")):
        raise Unsure("a script of its command has the name of an init in it")
