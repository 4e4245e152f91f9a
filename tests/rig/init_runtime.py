"""The runtime that gives containers an init, installed in a directory of its own; and images and
bundles for it, which need no engine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import install

from rig.node import ENGINE, PYTHON

TINI = "/usr/bin/tini-static"
CATATONIT = "/usr/bin/catatonit"
BUSYBOX = "/bin/busybox"
PROGRAMS = ("cat", "echo", "env", "false", "id", "ls", "mkdir", "ps", "sh", "sleep", "stty", "true")
CALLS = "brk clone execve exit_group getpid ioctl kill mprotect read rt_sigaction rt_sigprocmask"
CALLS += " rt_sigtimedwait set_tid_address setpgid signalfd4 wait4 write"


class InitRuntime:
    """directory: root's, and every directory above it may be searched by all."""

    def __init__(self, directory, init=TINI, python=PYTHON):
        self.directory = Path(directory)
        self.python = python
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        shutil.copytree(
            ENGINE / "reaper",
            self.directory / install.PACKAGE,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.init = self.directory / install.INIT
        shutil.copyfile(init, self.init)
        self.init.chmod(0o755)

    def before(self, real, handler="init") -> Path:
        """The wrapper before a runtime."""
        name = f"{handler}/{Path(real).name}"
        texts = install.texts(str(self.directory), self.python, {name: str(real)})
        for path, (text, mode) in texts.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
            Path(path).chmod(mode)
        return self.directory / install.RUNTIMES / name


def make_image(root) -> Path:
    """A root file system with busybox under the names of its programs."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "work"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in PROGRAMS:
        (root / "bin" / name).symlink_to("busybox")
    return root


def script(path, text, interpreter="/bin/sh"):
    path.write_text(f"#!{interpreter}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def configuration(root, *command) -> dict:
    """A config.json as containerd and podman write it, less what does not matter here."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(command),
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(
                ("bounding", "effective", "permitted"), ["CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
            ),
            "noNewPrivileges": True,
        },
        "root": {"path": str(root)},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [
                    {"names": CALLS.replace(" clone", "").split(), "action": "SCMP_ACT_ALLOW"},
                    {
                        "names": ["clone"],
                        "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
                    },
                    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                ],
            },
        },
        "annotations": {"io.kubernetes.cri.container-type": "container"},
    }
