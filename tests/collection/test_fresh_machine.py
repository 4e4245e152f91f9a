"""./run-site on a Debian that has git and Python and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

# How this machine reaches its package index is not what is being tested.
FILES = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs")
VARIABLES = (
    "PIP_CERT",
    "PIP_INDEX_URL",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)

# trixie: its Python takes the newest ansible-core. bookworm: what most nodes have.
SUITES = ("trixie", "bookworm")
BUILD = ("/usr/bin/mmdebstrap", "--quiet", "--variant=apt", "--include=git,python3,ca-certificates")

pytestmark = pytest.mark.full


@pytest.fixture(scope="module", params=SUITES)
def machine(request, collection, run, tmp_path_factory):
    """machine(script): the output of the script as root, with the checkout in /root/fleet."""
    build = (*BUILD, request.param)
    # kept in podman's storage from one run to the next
    tag = hashlib.sha256(" ".join(build).encode()).hexdigest()[:12]
    image = f"localhost/provider-fleet-fresh:{tag}"
    directory = tmp_path_factory.mktemp("machine")
    podman = "/usr/bin/podman"
    name = f"fleet-fresh-{os.getpid()}-{request.param}"

    def run_podman(*arguments):
        return run(
            podman,
            *arguments,
            CONTAINERS_CONF=str(collection / "roles/zombie_reaper/molecule/containers.conf"),
        )

    options = [f"--volume={file}:{file}:ro" for file in FILES if Path(file).exists()]
    options += [
        f"--env={variable}" for variable in os.environ if variable.upper().startswith(VARIABLES)
    ]

    if subprocess.run([podman, "image", "exists", image], check=False).returncode:
        archive = directory / "root.tar"
        run(*build, archive, *filter(None, [os.environ.get("MIRROR")]))
        run_podman("import", "--quiet", archive, image)
        archive.unlink()
    try:
        run_podman(
            "run",
            "--detach",
            "--network=host",
            f"--name={name}",
            *options,
            image,
            "sleep",
            "infinity",
        )
        run_podman("cp", collection, f"{name}:/root/fleet")
        yield lambda script: run_podman("exec", name, "sh", "-c", script).stdout
    finally:
        run_podman("rm", "--force", "--time=0", name)


# What is on the machine, but for the checkout and what is in memory only
LIST = r"""find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o \
    -path /root/fleet \) -prune -o -printf '%p %y %m %u %T@ %s\n' | sort"""


def test_first_answer(machine):
    """The first command after the clone: it ends with the summary, and leaves the machine as it was."""
    before = machine(LIST)
    looked = machine("cd /; /root/fleet/run-site look.yml")
    assert "failed=0" in looked and "1 node: 1 checked" in looked
    assert "Debian packages" not in looked and "WARNING: Location" not in looked
    assert machine(LIST) == before


def test_look_install_repeat_remove(machine):
    """The sequence that run-site itself suggests, each step from another directory and without a
    terminal.
    """
    before = machine(LIST)
    looked = machine("cd /; /root/fleet/run-site --check --diff")
    assert "failed=0" in looked
    assert machine(LIST) == before

    installed = machine("cd /; /root/fleet/run-site 2>&1")
    assert "failed=0" in installed and "WARNING: Module remote_tmp" not in installed
    machine(
        "/usr/local/sbin/zombie-reaper --check --exit-zero && test -s /etc/cron.d/kill_zombie_parents"
    )

    repeated = machine("cd /tmp; /root/fleet/run-site")
    assert "Installs" not in repeated
    assert "changed=0" in repeated and "failed=0" in repeated

    # the sequence in which an installed collection got in the way
    machine("cd /root/fleet; .cache/run/bin/ansible-galaxy collection build --output-path /tmp")
    machine(
        "cd /root/fleet; .cache/run/bin/ansible-galaxy collection install"
        " --offline /tmp/provider-fleet-*.tar.gz"
    )
    # a role from there would be noticed
    machine(
        "echo nonsense >~/.ansible/collections/ansible_collections/provider/fleet/roles/zombie_reaper/tasks/main.yml"
    )
    again = machine("cd /root/fleet; ./run-site")
    assert "changed=0" in again and "failed=0" in again
    machine("rm -r ~/.ansible")

    assert "failed=0" in machine("cd /; /root/fleet/run-site uninstall.yml")
    left = machine(
        "ls -d /usr/local/*/*zombie* /etc/*zombie* /etc/cron.d/kill_zombie_parents 2>/dev/null ||"
        " true"
    )
    assert left == ""


def test_help(machine):
    """It installs nothing, and names each playbook."""
    machine("mv /root/fleet/.cache /tmp/kept 2>/dev/null || true")
    told = machine("/root/fleet/run-site --help")
    assert "./run-site --check --diff" in told and "site.yml sweep.yml" in told
    for word in ("no_such.yml", "no_such"):
        refused = machine(f"! /root/fleet/run-site {word} 2>&1")
        assert f"there is no playbook {word}; those of this checkout are " in refused
        assert len(refused.splitlines()) == 1
    assert machine("ls -d /root/fleet/.cache 2>/dev/null || true") == ""
    machine("mv /tmp/kept /root/fleet/.cache 2>/dev/null || true")


def test_inventory_relative_to_the_caller(machine):
    machine(
        "cd /tmp && echo 'localhost ansible_connection=local' >hosts && /root/fleet/run-site -i"
        " hosts --syntax-check"
    )


def test_a_playbook_by_its_name_alone(machine):
    assert "playbooks/sweep.yml" in machine("cd /; /root/fleet/run-site sweep --syntax-check")


def test_a_playbook_after_other_arguments(machine):
    """From its directory, Ansible would find it, and play it after site.yml."""
    refused = machine("cd /root/fleet/playbooks; ! ../run-site --diff look.yml 2>&1")
    assert refused == "run-site: name the playbook first: ./run-site look.yml ...\n"
    machine("cd /tmp; cp /etc/hostname look.yml; /root/fleet/run-site -i look.yml --syntax-check")


def test_an_inventory_that_is_not_there(machine):
    said = machine("cd /tmp && ! /root/fleet/run-site look.yml -i no_such_file 2>&1")
    assert "No inventory was parsed" in said


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
