"""A virtual machine that QEMU emulates (KVM cannot be counted on), with a kernel and a userland of
Debian's, and a folder of this machine in it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tarfile
import time
from pathlib import Path

from rig.daemons import free_port
from rig.node import CHECKOUT

HERE = Path(__file__).parent
QEMU = {
    "amd64": ["qemu-system-x86_64", "-M", "pc"],
    "arm64": ["qemu-system-aarch64", "-M", "virt"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
# The checkout there: on its own disk, where Python may keep what it has compiled
UNPACK = """
set -e
mkdir /checkout
tar -xf /host/checkout.tar -C /checkout --no-same-owner
mkdir -p /checkout/.cache/collections/ansible_collections/provider
ln -s ../../../.. /checkout/.cache/collections/ansible_collections/provider/fleet
cd /checkout
python3 -m compileall -q plugins/module_utils tests/rig
python3 tests/rig/slowness.py
"""
TESTS = """
cd /checkout
export LC_ALL=C.UTF-8 REAPER_MACHINE=1 REAPER_SLOWNESS={slowness} {environment}
timeout --signal INT --kill-after 60 {seconds} python3 -m pytest -p no:cacheprovider --basetemp /tmp/of_pytest \
--tb short --junitxml /host/{name}.xml {arguments}
"""


# Its only network: what QEMU forwards to its port for ssh
SSH = """
set -e
device=$(ls /sys/class/net | grep -vx lo | head -1)
ip address add 10.0.2.15/24 dev "$device"
ip link set "$device" up
mkdir -p -m 700 /root/.ssh
cp /host/vm/key.pub /root/.ssh/authorized_keys
systemctl start ssh
"""
REBOOT = """
nohup sh -c 'sleep 1; exec systemctl reboot' >/dev/null 2>&1 &
"""


class Machine:
    """image: directory that image.sh filled. directory: of its own, for jobs and console. slowness:
    as of tests/rig/slowness.py, measured when it has started. With ssh, ``ssh_port`` of 127.0.0.1
    is its own port 22, for root with the key ``vm/key``, and it can reboot.
    """

    def __init__(self, image, architecture, directory, memory=2048, ssh=False):
        self.image = image
        self.directory = Path(directory)
        self.jobs = self.directory / "jobs"
        self.jobs.mkdir(parents=True)
        (self.directory / "vm").mkdir()
        (self.directory / "vm/jobs.py").write_bytes((HERE / "jobs.py").read_bytes())
        with tarfile.open(self.directory / "checkout.tar", "w") as tar:
            tar.add(CHECKOUT, ".", filter=lambda m: None if _is_left_out(m.name) else m)
        self.numbers = itertools.count()
        # nobody reboots it without ssh: what does then is a panic, which has to end it
        network = ["-no-reboot", "-net", "none"]
        if ssh:
            self.ssh_port = free_port()
            subprocess.run(
                ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", self.key], check=True
            )
            network = [
                "-nic",
                f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
            ]
        words = [
            f"console={CONSOLE[architecture]}",
            "cgroup_no_v1=all",
            "panic=-1",
            "quiet",
            "no_timer_check",  # against the real time, which a busy host does not keep
            "systemd.firstboot=off",
            f"node_init={self.fact('init')}",
        ]
        command = [
            *QEMU[architecture],
            *["-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(memory)],
            "-nographic",
            *network,
            *["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")],
            *["-append", " ".join(words)],
            *["-drive", f"file={image / 'root.ext4'},if=virtio,format=raw,snapshot=on"],
            *["-fsdev", f"local,id=host,path={os.fspath(directory)},security_model=none"],
            *["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"],
        ]
        with (self.directory / "console").open("wb") as console:
            self.qemu = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        try:
            self._until((self.jobs / "ready").exists, 1800)
            self.slowness = float(self.output_of(UNPACK, 1800).split()[-1])
            if ssh:
                self.output_of(SSH, 600)
        except BaseException:
            self.stop()
            raise

    def fact(self, name) -> str:
        """What image.sh noted: ``release`` of the kernel, version of ``python``, ``init``."""
        return (self.image / name).read_text(encoding="utf-8").strip()

    def run(self, script, seconds) -> tuple[int, str]:
        """(exit status, output) of a shell script."""
        name = f"{next(self.numbers):04}"
        part = self.jobs / f"{name}.part"
        part.write_text(script, encoding="utf-8")
        part.rename(self.jobs / f"{name}.sh")
        status = self.jobs / f"{name}.status"
        self._until(status.exists, seconds)
        output = (self.jobs / f"{name}.out").read_text(encoding="utf-8", errors="replace")
        return int(status.read_text(encoding="ascii")), output

    def output_of(self, script, seconds) -> str:
        """Of one that has to succeed."""
        status, said = self.run(script, seconds)
        assert status == 0, said
        return said

    @property
    def key(self) -> Path:
        """The private one for ssh."""
        return self.directory / "vm/key"

    def reboot(self):
        """As an operator does it: systemd ends what runs."""
        before = self.boot_id()
        (self.jobs / "ready").unlink()
        self.output_of(REBOOT, 600)
        self._until((self.jobs / "ready").exists, 1800)
        assert self.boot_id() != before
        self.output_of(SSH, 600)

    def boot_id(self) -> str:
        return self.output_of("cat /proc/sys/kernel/random/boot_id", 600).strip()

    def pytest(self, name, arguments, seconds, environment="") -> str:
        """Its output; NAME.xml in the directory of the machine then has its results. environment:
        ``A=1 B=2``.
        """
        script = TESTS.format(
            name=name,
            arguments=arguments,
            seconds=seconds,
            environment=environment,
            slowness=self.slowness,
        )
        return self.run(script, seconds + 300)[1]

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


def _is_left_out(name) -> bool:
    """What nobody reads there: .git, caches, and what another Python has compiled."""
    return any(part.startswith(".") or part == "__pycache__" for part in Path(name).parts)
