"""A virtual machine that QEMU emulates (KVM cannot be counted on), with a kernel and a userland of
Debian's, and folders of this machine in it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
QEMU = {
    "amd64": ["qemu-system-x86_64", "-M", "pc"],
    "arm64": ["qemu-system-aarch64", "-M", "virt"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}


class Machine:
    """image: directory that image.sh filled. directory: of its own, for jobs and console. checkout:
    seen as /checkout, read-only. systemd: whether that is its PID 1.
    """

    def __init__(self, image, architecture, directory, checkout, systemd=False, memory=2048):
        self.directory = Path(directory)
        self.jobs = self.directory / "jobs"
        self.jobs.mkdir(parents=True)
        (self.directory / "vm").mkdir()
        (self.directory / "vm/jobs.py").write_bytes((HERE / "jobs.py").read_bytes())
        self.numbers = itertools.count()
        words = [
            f"console={CONSOLE[architecture]}",
            "cgroup_no_v1=all",
            "panic=-1",
            "quiet",
            "systemd.firstboot=off",
            f"node_init={'/lib/systemd/systemd' if systemd else '/machine_init.sh'}",
        ]
        command = [
            *QEMU[architecture],
            *["-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(memory)],
            *["-nographic", "-no-reboot", "-net", "none"],
            *["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")],
            *["-append", " ".join(words)],
            *["-drive", f"file={image / 'root.ext4'},if=virtio,format=raw,snapshot=on"],
            *_share("host", self.directory),
            *_share("checkout", checkout, ",readonly=on"),
        ]
        with (self.directory / "console").open("wb") as console:
            self.qemu = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        self._until((self.jobs / "ready").exists, 900)

    def run(self, script, seconds=3600.0) -> tuple[int, str]:
        """(exit status, output) of a shell script."""
        name = f"{next(self.numbers):04}"
        part = self.jobs / f"{name}.part"
        part.write_text(script, encoding="utf-8")
        part.rename(self.jobs / f"{name}.sh")
        status = self.jobs / f"{name}.status"
        self._until(status.exists, seconds)
        output = (self.jobs / f"{name}.out").read_text(encoding="utf-8", errors="replace")
        return int(status.read_text(encoding="ascii")), output

    def _until(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            if self.qemu.poll() is not None or time.monotonic() > deadline:
                console = (self.directory / "console").read_text(encoding="utf-8", errors="replace")
                raise AssertionError(f"the machine ended, or did not answer:\n{console[-3000:]}")
            time.sleep(0.2)

    def stop(self):
        self.qemu.kill()
        self.qemu.wait()


def _share(tag, path, more="") -> list[str]:
    return [
        "-fsdev",
        f"local,id={tag},path={os.fspath(path)},security_model=none{more}",
        "-device",
        f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]
