"""playbooks/prevent.yml on the options of Docker: what it merges, what it refuses, and what is left
of a file that it refuses.

Each case is a host of its own to Ansible, with a file of its own; all of them are played at once.
The default path and a restart of the engine are in test_docker.py.
"""

from __future__ import annotations

import json
import os

import pytest
from rig.node import Node
from rig.playbook import Playbook

OLD = {
    "log-opts": {"max-size": "10m", "init": False},
    "bip": "10.9.0.1/24",
    "labels": ["ort=Köln", "<&>"],
    "mtu": 1400,
    "raw-logs": None,
}
INDENTED = '{\n    "mtu": 1400\n}\n'

# name: (the file, None where there is none; the file afterwards). Names that begin with "broken"
# are refused.
CASES = {
    "other_keys": (
        json.dumps(OLD),
        json.dumps({**OLD, "init": True}, indent=4, ensure_ascii=False) + "\n",
    ),
    "off": ('{"init": false, "mtu": 1400}', '{\n    "init": true,\n    "mtu": 1400\n}\n'),
    "right_already": ('{"mtu":1400,\t"init":true}', '{"mtu":1400,\t"init":true}'),
    "link": (INDENTED, '{\n    "mtu": 1400,\n    "init": true\n}\n'),
    "no_file": (None, '{\n    "init": true\n}\n'),
    "no_directory": (None, '{\n    "init": true\n}\n'),
    "broken_no_comma": ('{\n  "debug": true\n  "mtu": 1400\n}\n',) * 2,
    "broken_a_list": ('["init"]',) * 2,
    "broken_twice": ('{"dns": ["10.0.0.1"], "mtu": 1400, "dns": ["10.0.0.2"]}',) * 2,
    "broken_no_utf8": (b'{"labels": ["K\xf6ln"]}',) * 2,
}
WORDS = {
    "broken_no_comma": ["is broken", "line 3 column 3"],
    "broken_a_list": ["not an object"],
    "broken_twice": ["is broken", 'more than one value for "dns"'],
    "broken_no_utf8": ["is broken", "utf-8", "0xf6"],
}
MODES = {
    "other_keys": 0o640,
    "off": 0o600,
    "link": 0o664,
    "broken_twice": 0o600,
    "no_file": 0o644,
    "no_directory": 0o644,
}
OWNER = (1234, 4321)


def as_bytes(text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def unchanging(path) -> tuple:
    """What would tell that somebody wrote the file, or put another in its place."""
    status = path.stat()
    return (
        path.read_bytes(),
        status.st_ino,
        status.st_mtime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
    )


class Hosts:
    """A file for each case, and what playing the playbook did to it. first_look: what ``--check
    --diff`` did.
    """

    def __init__(self, node, directory):
        self.playbook = Playbook(node, directory, "prevent.yml")
        self.files = {name: directory / name / "docker" / "daemon.json" for name in CASES}
        for name, file in self.files.items():
            file.parent.parent.mkdir()
            if name != "no_directory":
                file.parent.mkdir()
            old = CASES[name][0]
            if old is None:
                continue
            if name == "link":
                file.symlink_to("elsewhere.json")
            file.write_bytes(as_bytes(old))
            file.chmod(MODES.get(name, 0o644))
            os.chown(file, *OWNER)
        self.old = {
            name: unchanging(file) if file.exists() else None for name, file in self.files.items()
        }
        self.first_look = self.play("link", "no_directory", "--check", "--diff")
        self.after_first_look = {
            name: unchanging(file) if file.exists() else None for name, file in self.files.items()
        }
        self.played = self.play(*CASES)
        self.taken_back = None

    def take_back_once(self):
        if self.taken_back is None:
            self.taken_back = self.play(
                *(name for name in CASES if not name.startswith("broken")),
                zombie_reaper_state="absent",
            )

    def play(self, *arguments, **variables):
        """Names of cases, and flags."""
        hosts = {
            name: {
                "zombie_reaper_docker_file": str(self.files[name]),
                "zombie_reaper_prefix": "/usr/local/test-" + name,  # each is a node
            }
            for name in arguments
            if name in CASES
        }
        return self.playbook(
            *(flag for flag in arguments if flag not in CASES), hosts=hosts, **variables
        )


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prevent")
    node = Node(directory)
    try:
        yield Hosts(node, directory)
    finally:
        node.stop()


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("broken")])
def test_init_is_turned_on_and_all_else_is_kept(hosts, name):
    """The order of the keys too, and owner and mode of the file."""
    file, (old, new) = hosts.files[name], CASES[name]
    assert file.read_bytes() == as_bytes(new), hosts.played.text
    counts = hosts.played.recap[name]
    assert (counts["failed"], counts["changed"]) == (
        0,
        int(name != "right_already"),
    )
    status = file.stat()
    assert status.st_mode & 0o7777 == MODES.get(name, 0o644)
    assert (status.st_uid, status.st_gid) == ((0, 0) if old is None else OWNER)


@pytest.mark.full
@pytest.mark.parametrize("name", WORDS)
def test_a_broken_file_is_refused_and_left_byte_for_byte(hosts, name):
    """The error names the file, says what is wrong with it and what would be right."""
    counts = hosts.played.recap[name]
    assert (counts["failed"], counts["changed"]) == (1, 0)
    assert unchanging(hosts.files[name]) == hosts.old[name]
    assert os.listdir(hosts.files[name].parent) == ["daemon.json"]
    told = hosts.played.error(name)
    for word in [str(hosts.files[name]), *WORDS[name], '{"init": true}']:
        assert word in told
    assert "Traceback" not in hosts.played.text


@pytest.mark.full
def test_a_link_to_the_file_stays_a_link(hosts):
    assert hosts.files["link"].is_symlink()


@pytest.mark.full
def test_check_mode_shows_the_difference_and_changes_nothing(hosts):
    assert hosts.first_look.succeeded, hosts.first_look.text
    assert '-    "mtu": 1400\n+    "mtu": 1400,\n+    "init": true\n' in hosts.first_look.text
    assert '+{\n+    "init": true\n+}\n' in hosts.first_look.text
    assert [hosts.first_look.recap[name]["changed"] for name in ("link", "no_directory")] == [1, 1]
    assert hosts.after_first_look == hosts.old


@pytest.mark.full
def test_a_second_time_there_is_nothing_to_do(hosts):
    again = hosts.play("other_keys", "off", "no_directory")
    assert again.succeeded, again.text
    assert [counts["changed"] for counts in again.recap.values()] == [0, 0, 0]


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("broken")])
def test_what_was_changed_is_taken_back_byte_for_byte(hosts, name):
    """Owner and mode too. An init that was on before stays on."""
    hosts.take_back_once()
    file, old = hosts.files[name], CASES[name][0]
    assert hosts.taken_back.recap[name]["failed"] == 0, hosts.taken_back.text
    if old is None:
        assert not file.exists()
    else:
        assert file.read_bytes() == as_bytes(old)
        status = file.stat()
        assert status.st_mode & 0o7777 == MODES.get(name, 0o644)
        assert (status.st_uid, status.st_gid) == OWNER


def test_nothing_is_made_where_there_is_no_docker(node, tmp_path):
    """Neither a dockerd in the usual places nor a directory of Docker's: this node's own /etc and
    /usr/local, and programs without dockerd.
    """
    script = "rm -rf /etc/docker /usr/local/bin/dockerd /usr/local/sbin/dockerd"
    for directory in ("/usr/bin", "/usr/sbin"):
        if os.path.lexists(directory + "/dockerd"):
            over = "lowerdir={0},upperdir=/run/a{0},workdir=/run/b{0}".format(directory)
            script += (
                " && mkdir -p /run/a{0} /run/b{0} && mount -t overlay overlay -o {1} {0}".format(
                    directory, over
                )
            )
            script += " && rm {0}/dockerd".format(directory)
    assert node.run("sh", "-c", script).returncode == 0
    played = Playbook(node, tmp_path, "prevent.yml")()
    assert played.succeeded, played.text
    assert played.recap["node1"]["changed"] == 0
    assert "There is no dockerd and no /etc/docker on this node" in played.text
    assert node.run("ls", "/etc/docker").returncode != 0
