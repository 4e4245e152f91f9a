"""The role, run again and again on one node: what it says of changed options, what its tags leave
out, and the directory that it installs to.
"""

from __future__ import annotations

import json

import pytest
import yaml
from rig.node import Node
from rig.playbook import Playbook

COMMAND = "/usr/local/sbin/zombie-reaper"
CONFIG = "/etc/zombie_reaper/config.json"
CRON_FILE = "/etc/cron.d/kill_zombie_parents"
HARSHER = "Harsher than before: remedies was none, and will be reap, nudge, terminate"
LEAK = "zombie()\nzombie()\nready()\nforever()"
SWEPT = "[provider.fleet.zombie_reaper : Sweep"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


@pytest.fixture
def play(node, tmp_path):
    """play(name, *flags, **variables): that playbook, which succeeds."""

    def play(name, *flags, **variables):
        played = Playbook(node, tmp_path, name)(*flags, **{"zombie_reaper_min_age": 0, **variables})
        assert played.succeeded, played.text
        return played

    return play


def remedies(node):
    return json.loads(node.run("cat", CONFIG).stdout)["remedies"]


def there(node, *paths):
    """Those of the paths that the node has."""
    return node.run("sh", "-c", 'ls -d "$@" 2>/dev/null', "sh", *paths).stdout.split()


def text(played):
    return " ".join(played.text.split())


@pytest.mark.full
def test_an_option_of_the_command_line_is_gone_at_the_next_run_which_says_so_first(node, play):
    """In check mode too. One of the inventory stays."""
    play("site.yml", zombie_reaper_remedies="none", zombie_reaper_every_minutes=30)
    assert remedies(node) == []
    checked = play("site.yml", "--check")
    assert HARSHER in text(checked) and remedies(node) == []
    again = play("site.yml")
    assert remedies(node) == ["reap", "nudge", "terminate"]
    before, said, after = text(again).partition(HARSHER)
    assert said and "TASK [provider.fleet.zombie_reaper : Put the agent on the node]" in after
    assert "changed: [node1]" not in before
    assert "schedule was cron every 30 minutes, and will be cron every 5 minutes" in after
    inventory = {"node1": {"zombie_reaper_remedies": []}}
    for changes in (True, False):
        kept = play("site.yml", hosts=inventory)
        assert ("remedies was reap, nudge, terminate, and will be none" in text(kept)) is changes
        assert "Harsher" not in kept.text and remedies(node) == []


@pytest.mark.parametrize(
    "flags, installed, scheduled, swept",
    [
        pytest.param(["--tags", "install"], True, False, False, marks=pytest.mark.full),
        pytest.param(["--skip-tags", "sweep"], True, True, False, marks=pytest.mark.full),
        (["--tags", "install,schedule"], True, True, False),
        (["--tags", "sweep"], False, False, True),
        pytest.param(["--tags", "limits"], False, False, False, marks=pytest.mark.full),
    ],
)
def test_tags(node, play, flags, installed, scheduled, swept):
    played = play("site.yml", *flags)
    assert there(node, CRON_FILE) == [CRON_FILE] * scheduled
    assert there(node, COMMAND) == [COMMAND] * installed
    assert (SWEPT in played.text) is swept


def test_its_tags_are_listed(root, core, run):
    listed = run(
        core / "ansible-playbook",
        root / "playbooks/site.yml",
        "-i",
        "node1,",
        "--list-tags",
        ANSIBLE_CONFIG=str(root / "ansible.cfg"),
    ).stdout
    assert "TASK TAGS: [always, install, limits, schedule, sweep]" in listed


def test_where_nothing_differs_it_sweeps_with_the_look_but_only_by_its_tag(node, play):
    options = {"zombie_reaper_min_age": 0, "zombie_reaper_pressure": 0}
    play("site.yml", "--skip-tags", "sweep", **options)
    leak = node.container(LEAK)
    zombies = leak.zombies()
    for flags in (("--skip-tags", "sweep"), ("--tags", "install,schedule"), ("--check",)):
        play("site.yml", *flags, **options)
        assert leak.zombies() == zombies != []
    played = play("site.yml", **options)
    assert leak.zombies() == [] and played.recap["node1"]["changed"] == 1


@pytest.mark.parametrize("name", ["sweep.yml", pytest.param("site.yml", marks=pytest.mark.full)])
def test_the_tag_sweep_sweeps_zombies_that_are_too_young_at_first(node, play, name):
    """They are noted, and swept by a second task once they are due."""
    leak = node.container(LEAK)
    options = {"zombie_reaper_min_age": 2, "zombie_reaper_pressure": 0}
    played = play(name, "--tags", "sweep", **options)
    assert played.text.count(SWEPT + "]") == 1
    waiting = ", waiting up to 2 s (min_age) for zombies that are too young]"
    assert played.text.count(SWEPT + waiting) == 1, "what it waits for is on the screen meanwhile"
    assert leak.zombies() == [] and leak.alive


def test_a_misspelt_variable_is_refused_whatever_the_tags(node, tmp_path):
    played = Playbook(node, tmp_path, "site.yml")("--tags", "sweep", zombie_reaper_remedys="none")
    assert not played.succeeded and "did you mean zombie_reaper_remedies?" in played.error("node1")


def test_a_schedule_needs_the_agent(node, tmp_path):
    played = Playbook(node, tmp_path, "site.yml")("--tags", "schedule")
    assert not played.succeeded and there(node, CRON_FILE) == []
    assert "The agent is not installed on this node" in played.error("node1")


READ_ONLY = "mount --bind /usr/local /usr/local && mount -o remount,bind,ro /usr/local"


@pytest.mark.full
def test_where_usr_local_is_read_only_a_prefix_helps(node, tmp_path, play):
    """And is found again by the run that uninstalls, which does not know it."""
    assert node.run("sh", "-ec", READ_ONLY).returncode == 0
    for flags in (["--check"], []):
        refused = Playbook(node, tmp_path, "site.yml")(*flags)
        assert not refused.succeeded and there(node, CONFIG, CRON_FILE) == []
        told = refused.error("node1")
        assert "cannot be written: /usr/local/bin is on a read-only file system" in told, told
        assert "Set zombie_reaper_prefix" in told
    prefix = "/var/lib/reaper/of/this/node"
    play("site.yml", zombie_reaper_prefix=prefix)
    assert prefix in node.run("cat", CRON_FILE).stdout
    done = node.run(f"{prefix}/bin/kill_zombie_parents.sh", "--version")
    assert done.returncode == 0, done.stderr
    again = play("site.yml", zombie_reaper_prefix=prefix)
    assert again.recap["node1"]["changed"] == 0
    play("uninstall.yml")
    assert there(node, prefix, "/etc/zombie_reaper", CRON_FILE) == []


@pytest.mark.full
def test_another_prefix_takes_the_place_of_the_one_before(node, play):
    old = ["/usr/local/lib/zombie_reaper", COMMAND, "/usr/local/bin/kill_zombie_parents.sh"]
    play("site.yml")
    assert sorted(there(node, *old)) == sorted(old)
    play("site.yml", zombie_reaper_prefix="/var/lib/reaper")
    assert there(node, *old) == []
    play("site.yml")
    assert sorted(there(node, *old)) == sorted(old)
    assert there(node, "/var/lib/reaper", "/etc/zombie_reaper/prefix") == []


@pytest.mark.parametrize(
    "prefix, script, words",
    [
        ("reaper", "true", "absolute path"),
        pytest.param("/var/lib/a b", "true", "absolute path", marks=pytest.mark.full),
        pytest.param("/var/lib/../reaper", "true", "absolute path", marks=pytest.mark.full),
        ("/var/lib/theirs/reaper", "mkdir /var/lib/theirs; chown 65534 /var/lib/theirs", "root's"),
        pytest.param(
            "/var/lib/open/reaper", "mkdir -m 1777 /var/lib/open", "root's", marks=pytest.mark.full
        ),
        (
            "/var/lib/tools",
            "mkdir -p /var/lib/tools/sbin; chown 65534 /var/lib/tools/sbin",
            "root's",
        ),
        pytest.param(
            "/var/lib/link",
            "mkdir -m 777 /var/lib/open; ln -s open /var/lib/link",
            "root's",
            marks=pytest.mark.full,
        ),
        (
            "/var/lib/link",
            "mkdir -p /var/lib/theirs/ours; chown 65534 /var/lib/theirs; ln -s theirs/ours /var/lib/link",
            "root's",
        ),
    ],
)
def test_nobody_but_root_may_be_able_to_put_programs_there(node, tmp_path, prefix, script, words):
    assert node.run("sh", "-ec", script).returncode == 0
    refused = Playbook(node, tmp_path, "site.yml")(zombie_reaper_prefix=prefix)
    assert not refused.succeeded and there(node, CONFIG, CRON_FILE) == []
    assert f"'{prefix}' is not allowed" in refused.error("node1").replace("''", "'")
    assert words in refused.error("node1").replace("''", "'")


@pytest.mark.full
def test_what_is_not_ours_stays(node, play):
    """A script of the name that operators know, where the agent never was; directories of others."""
    script = "/usr/local/bin/kill_zombie_parents.sh"
    man = "/usr/local/share/man"
    theirs = ["/var/lib/tools/bin", script, f"{man}/man1", f"{man}/man8"]  # as Red Hat ships man8
    make = f"mkdir -p /var/lib/tools/bin {man}/man1 {man}/man8; echo 'kill 1' >{script}"
    assert node.run("sh", "-ec", make).returncode == 0
    for prefix in ("/usr/local", "/var/lib/tools"):
        play("uninstall.yml", zombie_reaper_prefix=prefix)
        assert sorted(there(node, *theirs)) == sorted(theirs)
    play("site.yml")
    assert there(node, f"{man}/man8/zombie-reaper.8")
    play("uninstall.yml")
    assert there(node, f"{man}/man8/zombie-reaper.8", script) == []
    assert there(node, f"{man}/man8") == [f"{man}/man8"]


@pytest.mark.full
@pytest.mark.parametrize("prefix", ["/", "usr/local", "/var/../usr"])
def test_a_prefix_that_is_none_uninstalls_nothing(node, tmp_path, play, prefix):
    play("site.yml")
    refused = Playbook(node, tmp_path, "uninstall.yml")(zombie_reaper_prefix=prefix)
    assert not refused.succeeded and "is not allowed: give the absolute path" in refused.text
    assert there(node, COMMAND) == [COMMAND]


@pytest.mark.full
def test_cron_that_does_not_run_is_told_where_no_systemd_can_start_it(node, play):
    warning = "no cron daemon runs on this node, so nothing is scheduled"
    for once in (["--check"], [], []):
        said = text(play("site.yml", *once))
        assert warning in said
        assert "no cron runs, so nothing is scheduled on 1 node: node1" in said
    script = "cp /bin/sleep /run/cron; /run/cron 1000 >/dev/null 2>&1 & echo $! >/run/crond.pid"
    assert node.run("sh", "-ec", script).returncode == 0
    said = text(play("site.yml"))
    assert warning not in said and "nothing is scheduled on" not in said


def test_every_platform_of_the_role_meets_the_minimum(root):
    """Linux 5.3 and Python 3.9, in what the distribution itself provides."""
    platforms = yaml.safe_load((root / "roles/zombie_reaper/meta/main.yml").read_text())[
        "galaxy_info"
    ]["platforms"]
    python = {
        "bullseye": 9,
        "bookworm": 11,
        "trixie": 13,
        "jammy": 10,
        "noble": 12,
        "9": 9,
        "10": 12,
    }
    for platform in platforms:
        assert [version for version in platform["versions"] if python.get(version, 0) < 9] == []
