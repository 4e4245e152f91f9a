"""The man page and the completions say what ``--help`` says, and are read by what is to read them:
mandoc, groff, man, bash and zsh.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import cli, flags, manual
from ansible_collections.provider.fleet.plugins.module_utils.reaper.statuses import (
    CHECK_STATUSES,
    STATUSES,
)

NAMES = [flag.name for flag in manual.EVERY_FLAG]
SECONDS = 60


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The man page, where man(1) finds it."""
    path = tmp_path_factory.mktemp("share") / "man/man8/zombie-reaper.8"
    path.parent.mkdir(parents=True)
    path.write_text(manual.man_page(), encoding="ascii")
    return path


def run(*command, **environment):
    return subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def shown(page):
    """What ``man zombie-reaper`` shows, its lines joined."""
    done = run("man", "zombie-reaper", MANPATH=str(page.parents[1]), MANWIDTH="200")
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(done.stdout.split())


def test_the_page_is_well_formed(page):
    linted = run("mandoc", "-Tlint", "-W", "warning", str(page))
    # a page that carried the day would change each day
    assert [line for line in linted.stdout.splitlines() if "missing date" not in line] == [], (
        linted.stdout
    )
    rendered = run("groff", "-man", "-ww", "-Tutf8", str(page))
    assert (rendered.returncode, rendered.stderr) == (0, "")
    assert max(map(len, page.read_text(encoding="ascii").splitlines())) < 100


@pytest.fixture
def helped(capsys):
    """What ``--help`` shows."""
    with pytest.raises(SystemExit):
        cli._parse(["--help"])
    return capsys.readouterr().out


def test_the_page_says_what_help_says(shown, helped):
    helped = re.sub(r"\s", "", helped)  # argparse breaks lines at dashes too
    for flag in manual.EVERY_FLAG:
        text = flags.described(flag)
        assert f"{flag.name} {flag.value + ' ' if flag.value else ''}{text}" in shown
        assert re.sub(r"\s", "", text) in helped
    for status in (*STATUSES, *CHECK_STATUSES):
        assert f"{status.value} {status.meaning}" in shown
        assert re.sub(r"\s", "", f"{status.value}{status.meaning}") in helped


def test_every_flag_of_the_parser_is_in_the_table(helped):
    """And the other way round; removed options are nobody's to complete."""
    usage = helped.partition("\n\n")[0]
    assert set(re.findall(r"(?<=\[)--[a-z-]+", usage)) | {"--help"} == set(NAMES)


def test_exit_statuses_of_the_documentation(root):
    text = (root / "docs/metrics.md").read_text(encoding="utf-8")
    section = text.split("\n## Exit statuses\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip().replace("`", "") for cell in line[1:-1].split("|")]
        for line in section.splitlines()
        if re.match(r"\| \d", line)
    ]
    of_check = {status.value: status.meaning for status in CHECK_STATUSES}
    assert rows == [
        [str(status.value), status.meaning, of_check.get(status.value, "")] for status in STATUSES
    ]


class Shell:
    """An interactive shell on a terminal of its own, in an empty directory."""

    def __init__(self, directory, *command, **environment):
        self.master, slave = pty.openpty()
        self.popen = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern) -> re.Match:
        """Wait until it shows that, from where the last one ended."""
        end = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"{pattern!r} is not in {self.text!r}"
            if select.select([self.master], [], [], 1)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        self.text = self.text[found.end() :]
        return found

    def completed(self, typed, words):
        """Complete what is typed, and see these words on the line that comes of it."""
        self.type(typed + "\t")
        self.until(words)
        self.type("\x15")  # away with the line

    def stop(self):
        self.popen.kill()
        self.popen.wait()
        os.close(self.master)


COMPLETED = {  # typed: what is on the line, or below it, after the tabulator
    "zombie-reaper --aud": r"zombie-reaper --audit",
    "zombie-reaper --exit": r"--exit-zero",
    "zombie-reaper --scope con": r"--scope containers",
    "zombie-reaper --scope=con": r"--scope=containers",
    "zombie-reaper --remedies term": r"--remedies terminate",
    "zombie-reaper --remedies reap,nu": r"--remedies reap,nudge",
    "zombie-reaper --config our": r"--config our\\? ?file\.json",
    "zombie-reaper --run di": r"--run directory/",
    "zombie-reaper --textfile-directory of": r"--textfile-directory off",
    "zombie-reaper --textfile-directory di": r"--textfile-directory directory/",
    "zombie-reaper --check --js": r"--check --json",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    made = tmp_path_factory.mktemp("shell")
    (made / "ourfile.json").write_text("{}", encoding="ascii")
    (made / "directory").mkdir()
    return made


@pytest.fixture(scope="module")
def bash(directory):
    """Which loads it as it does for a user: by the name of the command, when it is needed first."""
    completions = directory / "share/bash-completion/completions"
    completions.mkdir(parents=True)
    (completions / "zombie-reaper").write_text(manual.bash_completion(), encoding="ascii")
    shell = Shell(
        directory,
        "bash",
        "--noprofile",
        "--norc",
        "-i",
        XDG_DATA_DIRS=str(directory / "share"),
    )
    shell.type(
        "bind 'set enable-bracketed-paste off'; PS1='>'; . /usr/share/bash-completion/bash_completion;"
        " echo rea''dy\n"
    )
    shell.until(r"ready\r\n")
    yield shell
    shell.stop()


@pytest.fixture(scope="module")
def zsh(directory):
    functions = directory / "share/zsh/site-functions"
    functions.mkdir(parents=True)
    (functions / "_zombie-reaper").write_text(manual.zsh_completion(), encoding="ascii")
    shell = Shell(directory, "zsh", "-f", "-i")
    shell.type(
        f"unsetopt zle_bracketed_paste; PS1='>'; fpath=({functions} $fpath);"
        f" autoload -U compinit; compinit -u -d {directory}/dump; bindkey '^U' kill-whole-line;"
        " echo rea''dy\n"
    )
    shell.until(r"ready\r\n")
    yield shell
    shell.stop()


@pytest.mark.parametrize("typed", COMPLETED)
def test_bash_completes(bash, typed):
    bash.completed(typed, COMPLETED[typed])


@pytest.mark.parametrize("typed", COMPLETED)
def test_zsh_completes(zsh, typed):
    zsh.completed(typed, COMPLETED[typed])


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_every_flag_is_offered(directory, request, shell):
    started = request.getfixturevalue(shell)
    for name in NAMES:
        started.completed(f"zombie-reaper {name}", re.escape(name) + "[ =]?")
