"""./run-site on a Debian that has git and Python and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

# How this machine reaches its package index is not what is being tested.
FILES = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs")
VARIABLES = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

SUITE = "trixie"  # its Python takes the newest ansible-core
BUILD = (
    "/usr/bin/mmdebstrap",
    "--quiet",
    "--variant=apt",
    "--include=git,python3,ca-certificates",
    SUITE,
)
# Kept in podman's storage from one run to the next
IMAGE = (
    "localhost/provider-fleet-fresh:" + hashlib.sha256(" ".join(BUILD).encode()).hexdigest()[:12]
)

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def machine(collection, run, tmp_path_factory):
    """machine(script): the output of the script as root, with the checkout in /root/fleet."""
    directory = tmp_path_factory.mktemp("machine")
    podman = "/usr/bin/podman"
    name = f"fleet-fresh-{os.getpid()}"

    def run_podman(*arguments):
        return run(podman, *arguments, CONTAINERS_CONF=str(collection / "molecule/containers.conf"))

    options = [f"--volume={file}:{file}:ro" for file in FILES if Path(file).exists()]
    options += [
        f"--env={variable}" for variable in os.environ if variable.upper().startswith(VARIABLES)
    ]

    if subprocess.run([podman, "image", "exists", IMAGE], check=False).returncode:
        archive = directory / "root.tar"
        run(*BUILD, archive, *filter(None, [os.environ.get("MIRROR")]))
        run_podman("import", "--quiet", archive, IMAGE)
        archive.unlink()
    try:
        run_podman(
            "run",
            "--detach",
            "--network=host",
            f"--name={name}",
            *options,
            IMAGE,
            "sleep",
            "infinity",
        )
        run_podman("cp", collection, f"{name}:/root/fleet")
        yield lambda script: run_podman("exec", name, "sh", "-c", script).stdout
    finally:
        run_podman("rm", "--force", "--time=0", name)


def test_look_install_repeat_remove(machine):
    """The sequence that run-site itself suggests, each step from another directory and without a
    terminal.
    """
    looked = machine("cd /; /root/fleet/run-site --check --diff")
    assert "Installs these Debian packages: python3-venv" in looked
    assert "failed=0" in looked
    assert (
        machine("ls -d /usr/local/sbin/zombie-reaper /etc/zombie_reaper 2>&1 || true").count(
            "No such file"
        )
        == 2
    )

    assert "failed=0" in machine("cd /; /root/fleet/run-site")
    machine(
        "/usr/local/sbin/zombie-reaper --check --exit-zero && test -s /etc/cron.d/kill_zombie_parents"
    )

    repeated = machine("cd /tmp; /root/fleet/run-site")
    assert "Installs" not in repeated
    assert "changed=0" in repeated and "failed=0" in repeated

    assert "failed=0" in machine("cd /; /root/fleet/run-site playbooks/uninstall.yml")
    left = machine(
        "ls -d /usr/local/*/*zombie* /etc/*zombie* /etc/cron.d/kill_zombie_parents 2>/dev/null ||"
        " true"
    )
    assert left == ""


def test_inventory_relative_to_the_caller(machine):
    machine(
        "cd /tmp && echo 'localhost ansible_connection=local' >hosts && /root/fleet/run-site -i"
        " hosts --syntax-check"
    )


def test_without_root(machine):
    """One sentence, and nothing else."""
    said = machine(
        "cp -r /root/fleet /tmp/fleet && cd /tmp/fleet && setpriv --reuid 65534 --regid 65534"
        " --clear-groups ./run-site 2>&1 || true"
    )
    assert (
        said
        == "run-site: run as root to change this machine, or name other hosts with -i INVENTORY\n"
    )
