"""README.md and docs/ keep their word: each command in a fenced block is run, or ELSEWHERE says why
not, and each example in another language is read by what would read it.

One node with systemd, and a checkout beside it, as the reader has them. First the commands for the
controller, which install the agent, then those for the node, then what takes it off.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.lookup.wrong_variables import allowed
from rig.documents import SHELLS, Command, blocks, commands
from rig.systemd_node import SystemdNode

# (page or None for all, what the whole command matches, why it is not run here)
ELSEWHERE = (
    ("README.md", r"\./run-tests.*", "it is what runs this test"),
    ("docs/awx.md", r"ansible-galaxy collection install awx\.awx.*", "it needs Galaxy"),
    ("docs/awx.md", r".*\bCONTROLLER_.*", "it needs an AWX; test_awx_setup.py has a stand-in"),
    ("docs/awx.md", r"ansible-playbook playbooks/awx\.yml.*", "the same; test_awx_setup.py plays it"),
    (
        "docs/execution-environments.md",
        r"ansible-builder .*",
        "test_execution_environment.py runs it",
    ),
    ("docs/event-driven.md", r"pip install .*", "it needs PyPI; ./run-tests installs the same"),
    ("docs/event-driven.md", r"ansible-rulebook .*", "it stays; tests/integration/test_closed_loop.py"),
    ("docs/fix-your-image.md", r"docker .*", "tests/integration/test_fix_your_image.py runs it"),
    ("docs/playbooks.md", r"man zombie-reaper.*", "the node has no man; tests/unit/test_manual.py"),
    (None, r"(helm|kubectl) .*", "there is no cluster; tests/monitoring/test_kubernetes.py"),
    (None, r"echo \d+ >/proc/sys/.*", "it changes the kernel that all share"),
    (None, r"systemctl stop zombie-reaper\.timer.*", "the node has another schedule"),
)  # fmt: skip
# whose files are those of another project, as test_awx_jobs.py has it
OF_ANOTHER_PROJECT = ("docs/awx.md", "docs/execution-environments.md")
# in a command: word of the document -> word for the node
STANDS_FOR = {"PID": "1", "4711": "1"}
# exit statuses that say something, other than 0
MEANS = {
    r"zombie-reaper .*--check.*": range(4),  # as plugins of Nagios do
    r"systemctl status .*": (3, 4),  # not all units that it names are there
}
WRONG = re.compile(
    r"unrecognized arguments|invalid choice|expected (one|at least one) argument|is not allowed"
    r"|no such option|command not found|unknown (option|command)|^usage: ",
    re.I | re.M,
)
UNINSTALL = re.compile(r"\buninstall\b")
DAEMON = "./run-site -i my_inventory -e zombie_reaper_schedule=daemon"
CRON_FILE = "/etc/cron.d/kill_zombie_parents"
WITH_DAEMON = 2  # the phase from which the node has that


def reason(command) -> str | None:
    """Why it is not run here."""
    for page, pattern, why in ELSEWHERE:
        if page in (None, command.page) and re.fullmatch(pattern, command.line, re.DOTALL):
            return why
    return None


def phase(command) -> int:
    """When it is run. The node has the schedule cron first, then the daemon."""
    if UNINSTALL.search(command.line):
        return 4
    if command.is_for_the_controller:
        return 0
    if CRON_FILE in command.line:
        return 1
    return 3 if command.line.startswith("systemctl stop") else WITH_DAEMON


# Examples


def dockerfile(text):
    logical = re.sub(r"\\\n", " ", text).splitlines()
    for line in filter(None, (line.strip() for line in logical)):
        assert re.match(r"(#|FROM|RUN|CMD|COPY|ENTRYPOINT|ENV|USER|WORKDIR|ADD|ARG)\b|#", line), (
            line
        )


def promql(text):
    rules = {"groups": [{"name": "one", "rules": [{"record": "one", "expr": text}]}]}
    done = subprocess.run(
        ["promtool", "check", "rules", "/dev/stdin"],
        input=yaml.safe_dump(rules),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def shell(text):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr


READERS = {
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "json": json.loads,
    "ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    "python": ast.parse,
    "dockerfile": dockerfile,
    "promql": promql,
    "text": str,
    "mermaid": str,
    **dict.fromkeys(SHELLS, shell),
}


def test_each_example_is_read():
    for block in blocks():
        assert block.language in READERS, f"{block.page} has a block of {block.language}"
        try:
            READERS[block.language](block.text)
        except Exception as error:
            raise AssertionError(f"{block.page}: {block.text}: {error}") from error


def test_each_variable_that_is_shown_exists():
    """Also in commands that are not run."""
    names = {"zombie_reaper_" + name for name in allowed()}
    shown = {
        (block.page, name)
        for block in blocks()
        if block.language in (*SHELLS, "yaml")
        for name in re.findall(r"(?:^|-e |\s)['\"]?(zombie_reaper_\w+)(?:=|: )", block.text)
    }
    assert shown and {each for each in shown if each[1] not in names} == set()


def test_each_entry_of_the_table_has_a_command():
    for page, pattern, _why in ELSEWHERE:
        assert [
            command
            for command in commands()
            if page in (None, command.page) and re.fullmatch(pattern, command.line)
        ], f"no document has {pattern}"


# Commands


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    rigged = SystemdNode(tmp_path_factory.mktemp("node"))
    # as Debian's node_exporter has it, so that there are metrics
    rigged.run("mkdir -p /var/lib/prometheus/node-exporter")
    yield rigged
    rigged.stop()


@pytest.fixture(scope="module")
def reader(node, root, collection, bin, tmp_path_factory):
    """reader(line): a command of the controller, run in a checkout by somebody with an inventory in
    which node7 is the node, and every host and group that a document limits a run to.
    """
    directory = tmp_path_factory.mktemp("reader")
    checkout = directory / "fleet"
    shutil.copytree(collection, checkout, symlinks=True)
    if (root / ".cache/run").exists():  # else run-site fills it
        (checkout / ".cache").mkdir(exist_ok=True)
        (checkout / ".cache/run").symlink_to((root / ".cache/run").resolve())
    limits = {
        name
        for command in commands()
        for name in re.findall(r"(?:--limit|-l)[ =]'?(\w+)", command.line)
        if name not in ("node7", "all", "kube_node")
    }
    hosts = {"hosts": {"node7": node.variables}}
    group = {"hosts": {"node7": None}}
    inventory = checkout / "my_inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(
        yaml.safe_dump(
            {"all": {**hosts, "children": dict.fromkeys(["kube_node", *sorted(limits)], group)}}
        )
    )
    # what is for this machine is for the node
    here = directory / "here.yml"
    here.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": node.variables}}}))
    for block in blocks():
        if block.page in OF_ANOTHER_PROJECT:
            continue
        if block.language == "yaml" and block.file and not (checkout / block.file).exists():
            (checkout / block.file).parent.mkdir(parents=True, exist_ok=True)
            (checkout / block.file).write_text(block.text)
    (directory / "home").mkdir()
    environment = {
        **{name: value for name, value in node.environment.items() if "ANSIBLE_" not in name},
        "HOME": str(directory / "home"),
        "PATH": f"{bin}:{node.environment['PATH']}",
        "ANSIBLE_NOCOLOR": "1",
    }
    git = ["git", "-c", "user.name=reader", "-c", "user.email=reader@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "fleet"]):
        subprocess.run([*git, *words], cwd=checkout, env=environment, check=True)
    # the address of the documents leads to the checkout
    (directory / "home/.gitconfig").write_text(
        f'[url "file://{checkout}"]\n\tinsteadOf = https://github.com/provider-fleet/fleet.git\n'
        "\tinsteadOf = https://github.com/provider-fleet/fleet\n"
    )

    def run(line):
        if "run-site" in line and not re.search(r" (-i|--inventory)\b", line):
            line = f"{line.partition(' #')[0]} -i {here}"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


def check(command, done) -> None:
    """Fails where it did not do what it is for."""
    text = f"{command.page}: {command.line}: {done.returncode}\n{done.stdout}{done.stderr}"
    meant = [statuses for like, statuses in MEANS.items() if re.fullmatch(like, command.line)]
    assert done.returncode == 0 or meant and done.returncode in meant[0], text
    assert not WRONG.search(done.stderr), text
    if re.match(r"(\w+=\S+ )*(\S+/run-site|ansible-playbook)\b", command.line):
        assert re.search(r"^(node7|localhost) +: ok=.*failed=0", done.stdout, re.M), text
    elif re.match(r"ansible ", command.line):
        assert re.search(r"^(node7|localhost) \| (SUCCESS|CHANGED)", done.stdout, re.M), text


def for_the_node(line) -> str:
    for word, stands_for in STANDS_FOR.items():
        line = re.sub(rf"(?<=--explain ){word}\b", stands_for, line)
    return line


@pytest.mark.full
def test_each_command(node, reader):
    """One after the other, each once. How many hosts Ansible is to play on makes no other command."""
    todo = {}
    for command in commands():
        if not reason(command):
            same = re.sub(r" (--forks|--limit) \w+|\s+#.*", "", command.line)
            todo.setdefault(same, command)
    assert {phase(command) for command in todo.values()} == set(range(5))
    now = 0
    for command in sorted(todo.values(), key=phase):
        if phase(command) != now:
            now = phase(command)
            if now == WITH_DAEMON:
                check(Command("", DAEMON), reader(DAEMON))
            node.run("zombie-reaper")  # so that there is a report
        if command.is_for_the_controller:
            check(command, reader(command.line))
        else:
            check(command, node.run(for_the_node(command.line)))


@pytest.mark.full
def test_a_wrong_command_is_noticed(node, reader):
    """Of each kind. The last succeeds, and reaches nobody."""
    if node.run("command -v zombie-reaper").returncode:
        check(Command("", "./run-site"), reader("./run-site -i my_inventory"))
    for line in (
        "zombie-reaper --chek",
        "zombie-reaper --check --min-age soon",
        "journalctl --identifer zombie_reaper",
    ):
        with pytest.raises(AssertionError, match="zombie"):
            check(Command("", line), node.run(line))
    for line in (
        "./run-site -i my_inventory -e zombie_reaper_min_ages=300",
        "ansible -i my_inventory all -m provider.fleet.zombie_reap -a 'min_ages=120' --check",
        "ansible all -b -m provider.fleet.zombie_info",
    ):
        with pytest.raises(AssertionError, match=re.escape(line)):
            check(Command("", line), reader(line))
