"""Scripts of others that end parents of zombies are told by what they do."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import ProcFS
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node.foreign_scripts import (
    MAX_BYTES,
    ForeignScript,
    ends_parents,
    find,
)
from rig.node import OLD_SCRIPT, TODAYS_SCRIPT

ONE_LINER = "ps -eo ppid,stat | awk '$2 ~ /Z/ {print $1}' | xargs kill -9"
IN_PYTHON = """\
#!/usr/bin/python3
import os, psutil
for process in psutil.process_iter():
    if process.status() == "Z":
        os.kill(process.ppid(), 9)
"""
HARMLESS = {
    "ours": 'exec /usr/local/sbin/zombie-reaper "$@"  # managed by Ansible (kill_zombie_parents)',
    "our cron line": "trap 'exec /usr/local/bin/kill_zombie_parents.sh --syslog' EXIT; sleep 7",
    "a count of zombies": "ps -eo ppid,stat | awk '$2 ~ /Z/' | wc -l",
    "letters and dates": "tr A-Z a-z; date +%T%Z; echo 2026-01-01T00:00:00Z; kill $PPID",
    "an init script": "kill -TERM $(cat /run/daemon.pid)  # of the parent",
}


def put(root, path, text):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


@pytest.fixture
def found(tmp_path):
    """What is found below a directory that stands for the root of a node."""
    return lambda mounts=None: find(mounts or {b"/": b"ext4"}, str(tmp_path))


@pytest.mark.parametrize("script", [OLD_SCRIPT, TODAYS_SCRIPT], ids=lambda path: path.stem)
def test_both_scripts_of_providers(script):
    assert ends_parents(script.read_bytes())


@pytest.mark.parametrize("text", [ONE_LINER, IN_PYTHON, ONE_LINER.replace("/Z/", "/defunct/")])
def test_others_that_do_the_same(text):
    assert ends_parents(text.encode())


@pytest.mark.parametrize("name", HARMLESS)
def test_whatever_does_something_else_is_none(name):
    assert not ends_parents(HARMLESS[name].encode())


def test_a_compiled_program_is_none(tmp_path, found):
    """Programs that a unit or a table starts have such words among their symbols and their code:
    without /usr/sbin/sshd, nobody would get into the node any more.
    """
    program = "\x7fELF\x02\x01\x01\0\0getppid\0kill\0H\x01 Z \0"
    put(tmp_path, "/usr/sbin/sshd", program)
    put(tmp_path, "/usr/local/bin/agent", program)
    put(tmp_path, "/etc/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n")
    put(tmp_path, "/etc/cron.d/agent", "* * * * * root /usr/local/bin/agent\n")
    assert found() == ()


@pytest.mark.parametrize(
    "table, line",
    [
        ("/etc/cron.d/cleanup", "*/5 * * * * root {} | logger -t cleanup\n"),
        ("/etc/crontab", "*/5 * * * * root {}\n"),
        ("/var/spool/cron/crontabs/root", "@hourly bash {}\n"),
        ("/var/spool/cron/root", "0 * * * * {} >/dev/null\n"),
        ("/etc/systemd/system/cleanup.service", "[Service]\nExecStart={}\n"),
    ],
)
def test_under_whatever_name_and_whoever_starts_it(tmp_path, found, table, line):
    put(tmp_path, "/srv/tools/cleanup", TODAYS_SCRIPT.read_text())
    put(tmp_path, table, line.format("/srv/tools/cleanup"))
    assert found() == (ForeignScript("/srv/tools/cleanup", table),)


def test_a_line_that_does_it_all(tmp_path, found):
    put(tmp_path, "/etc/cron.d/zombies", f"* * * * * root {ONE_LINER}\n")
    assert found() == (ForeignScript(None, "/etc/cron.d/zombies"),)


def test_one_that_nothing_starts_and_one_of_run_parts(tmp_path, found):
    put(tmp_path, "/usr/local/bin/zombies.sh", OLD_SCRIPT.read_text())
    put(tmp_path, "/etc/cron.daily/zombies", OLD_SCRIPT.read_text())
    assert found() == (
        ForeignScript("/etc/cron.daily/zombies", "/etc/cron.daily"),
        ForeignScript("/usr/local/bin/zombies.sh", None),
    )


def test_ours_in_their_place_are_none(tmp_path, found):
    put(tmp_path, "/usr/local/bin/kill_zombie_parents.sh", HARMLESS["ours"])
    put(tmp_path, "/etc/cron.d/kill_zombie_parents", HARMLESS["our cron line"])
    put(tmp_path, "/etc/cron.d/off", "#* * * * * root /srv/old.sh\n")
    put(tmp_path, "/srv/old.sh", OLD_SCRIPT.read_text())
    assert found() == ()


def test_what_may_not_answer_or_is_not_root_s_is_not_read(tmp_path, found):
    """A file server that has gone would hold up the sweep; a link may lead anywhere."""
    put(
        tmp_path,
        "/etc/crontab",
        "* * * * * root /mnt/a.sh; /usr/../mnt/a.sh; /srv/link; /srv/fifo\n",
    )
    script = put(tmp_path, "/mnt/a.sh", OLD_SCRIPT.read_text())
    (tmp_path / "srv").mkdir()
    (tmp_path / "usr").mkdir()
    (tmp_path / "srv/link").symlink_to(script)
    os.mkfifo(tmp_path / "srv/fifo")
    assert found() == (ForeignScript("/mnt/a.sh", "/etc/crontab"),)
    gone = {b"/": b"ext4", os.fsencode(tmp_path / "mnt"): b"nfs4"}
    assert found(gone) == ()
    assert find({}, str(tmp_path)) == ()
    os.chown(script, 1234, 1234)
    assert found() == ()


def test_a_directory_that_may_not_answer_is_not_listed(tmp_path, found, monkeypatch):
    put(tmp_path, "/opt/tidy", OLD_SCRIPT.read_text())
    listed = []

    def scandir(path, real=os.scandir):
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found({b"/": b"ext4", os.fsencode(tmp_path / "opt"): b"nfs4"}) == ()
    assert str(tmp_path / "opt") not in listed and str(tmp_path / "usr/local/bin") in listed


def test_no_link_to_a_directory_is_followed(tmp_path, found, monkeypatch):
    """It may lead to a file server that has gone: ``/opt`` on many nodes of clusters."""
    put(tmp_path, "/mnt/nfs/tidy", OLD_SCRIPT.read_text())
    put(tmp_path, "/mnt/nfs/bin/tidy", OLD_SCRIPT.read_text())
    (tmp_path / "opt").symlink_to(tmp_path / "mnt/nfs")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/local").symlink_to(tmp_path / "mnt/nfs")
    listed = []

    def scandir(path, real=os.scandir):
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found({b"/": b"ext4", os.fsencode(tmp_path / "mnt/nfs"): b"nfs4"}) == ()
    assert str(tmp_path / "root") in listed
    assert not {str(tmp_path / "opt"), str(tmp_path / "usr/local/bin")} & set(listed)


def test_nothing_but_regular_files_is_opened(tmp_path, found, monkeypatch):
    """Opening a watchdog starts it. Opening a FIFO lets go who waits for a reader, and closing it
    again ends that program by SIGPIPE.
    """
    put(tmp_path, "/etc/cron.d/tidy", "* * * * * root /srv/tidy >/srv/fifo; /srv/null\n")
    put(tmp_path, "/srv/tidy", OLD_SCRIPT.read_text())
    os.mkfifo(tmp_path / "srv/fifo")
    os.mknod(tmp_path / "srv/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    opened = []

    def spy(path, flags, *arguments, real=os.open, **options):
        if not flags & os.O_PATH:
            opened.append(os.path.basename(path))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", spy)
    assert found() == (ForeignScript("/srv/tidy", "/etc/cron.d/tidy"),)
    assert "tidy" in opened and not {"fifo", "null"} & set(opened)


def test_a_large_file_is_not_read_to_its_end(tmp_path, found):
    put(tmp_path, "/usr/local/bin/large", "#" * MAX_BYTES + "\n" + OLD_SCRIPT.read_text())
    assert found() == ()


def test_on_this_machine_it_ends():
    assert isinstance(find(ProcFS().mounts(os.getpid())), tuple)
