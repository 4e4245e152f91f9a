"""Prometheus, Alertmanager, node_exporter and ansible-rulebook: each in the foreground, on a free
port of 127.0.0.1, with its own directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil
import yaml

from rig.node import CHECKOUT, PYTHON, wait_until

DOCUMENTATION = CHECKOUT / "docs/event-driven.md"
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


PORTS = Path("/run/lock/zombie-reaper-ports")  # a file for each that a test has
LOCKED = []  # descriptors of those files: the locks end with this process


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, that no other test gets as long as this process
    lives, and that no client is given.
    """
    PORTS.mkdir(parents=True, exist_ok=True)
    first_of_clients = int(
        Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0]
    )
    for port in random.sample(
        range(first_of_clients // 2, first_of_clients), first_of_clients // 2
    ):
        fd = os.open(PORTS / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with socket.socket() as probe:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind(("127.0.0.1", port))
            except OSError:
                os.close(fd)
                continue
        LOCKED.append(fd)
        return port
    raise AssertionError("no port of 127.0.0.1 is free")


def ask(port, path, body=None, **headers) -> tuple:
    """(status, text) of an HTTP request: GET, or POST where there is a body, which is sent as
    JSON.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data,
        {"Content-Type": "application/json", **headers},
    )
    try:
        with NO_PROXY.open(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


def answer(port, path):
    """What is answered, as JSON."""
    status, text = ask(port, path)
    assert status == 200, f"{path}: {status} {text}"
    return json.loads(text)


class Daemon:
    """A program that stays until :meth:`stop`, and ends with the test even if that is killed. It
    begins when :meth:`is_ready`.
    """

    def __init__(self, directory):
        self.directory = directory / type(self).__name__.lower()
        self.directory.mkdir()
        self.port = free_port()
        self.said = self.directory / "said"
        command = self.command()
        with open(self.said, "wb") as said:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self.environment(),
                start_new_session=True,
            )
        try:
            wait_until(lambda: self.popen.poll() is not None or self.is_ready(), 180)
            assert self.popen.poll() is None, f"{command[0]} has ended: {self.text()}"
        except BaseException:
            self.stop()
            raise

    def command(self) -> list:
        """What to run; writes what that reads."""
        raise NotImplementedError

    def environment(self) -> dict:
        return dict(os.environ)

    def is_ready(self) -> bool:
        return ask(self.port, "/-/ready")[0] == 200

    def write(self, name, content) -> Path:
        """A YAML file in its directory."""
        path = self.directory / name
        path.write_text(yaml.safe_dump(content))
        return path

    def text(self) -> str:
        """All that it has printed."""
        return self.said.read_text(errors="replace")

    def stop(self):
        """End it and what it has started."""
        started = []
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(self.popen.pid).children(recursive=True)
        self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(20)
        self.popen.kill()
        self.popen.wait()
        for process in started:
            # psutil signals no other that has its PID by now
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class NodeExporter(Daemon):
    """textfiles: the directory that it serves the metrics of; nothing else is collected."""

    def __init__(self, directory, textfiles):
        self.textfiles = textfiles
        super().__init__(directory)

    def command(self):
        return [
            "prometheus-node-exporter",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.textfiles}",
        ]

    def is_ready(self):
        return ask(self.port, "/metrics")[0] == 200


class Alertmanager(Daemon):
    """config: dict of its configuration."""

    def __init__(self, directory, config):
        self.config = config
        super().__init__(directory)

    def command(self):
        return [
            "prometheus-alertmanager",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            f"--storage.path={self.directory / 'data'}",
            f"--config.file={self.write('alertmanager.yml', self.config)}",
        ]

    def alerts(self) -> list:
        """Names of those that fire."""
        return [
            alert["labels"]["alertname"]
            for alert in answer(self.port, "/api/v2/alerts?active=true")
        ]


class Prometheus(Daemon):
    """rules: dict of a file of rules. targets: ``{instance: port}`` of node_exporters.
    alertmanager: its port. labels: of each target. scraping: more of the scrape configuration. It
    looks each second.
    """

    def __init__(self, directory, rules, targets, alertmanager, labels=None, **scraping):
        self.rules, self.targets, self.alertmanager = rules, targets, alertmanager
        self.labels, self.scraping = labels or {}, scraping
        super().__init__(directory)

    def command(self):
        here = "127.0.0.1:%d"
        config = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(self.write("rules.yml", self.rules))],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [here % self.alertmanager]}]}]
            },
            "scrape_configs": [
                {
                    "job_name": "node",
                    "static_configs": [
                        {"targets": [here % port], "labels": {**self.labels, "instance": instance}}
                        for instance, port in self.targets.items()
                    ],
                    **self.scraping,
                }
            ],
        }
        return [
            "prometheus",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--config.file={self.write('prometheus.yml', config)}",
        ]

    def alerts(self) -> list:
        """Names of those that fire."""
        return [
            alert["labels"]["alertname"]
            for alert in answer(self.port, "/api/v1/alerts")["data"]["alerts"]
            if alert["state"] == "firing"
        ]

    def query(self, expression) -> list:
        """The result of an instant query, as the API has it."""
        return answer(self.port, "/api/v1/query?query=" + urllib.parse.quote(expression))["data"][
            "result"
        ]


class Rulebook(Daemon):
    """ansible-rulebook with the rulebook of this collection. hosts: as :func:`inside` makes them.
    token: what it is told; port: of its own.

    groups: ``{group: [host]}`` of the inventory.
    """

    rulebook = "provider.fleet.zombies"

    def __init__(self, directory, hosts, token, groups=None):
        self.hosts, self.token, self.groups = hosts, token, groups or {}
        super().__init__(directory)

    def command(self):
        inventory = {
            "all": {
                "hosts": self.hosts,
                "children": {
                    group: {"hosts": {host: {} for host in members}}
                    for group, members in self.groups.items()
                },
            }
        }
        variables = {
            **documented("zombie_reaper_listen"),
            "zombie_reaper_token": self.token,
            "zombie_reaper_port": self.port,
        }
        return [
            programs() / "ansible-rulebook",
            "--rulebook",
            self.rulebook,
            "--inventory",
            self.write("inventory.yml", inventory),
            "--vars",
            self.write("zombies.yml", variables),
        ]

    def environment(self):
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        return {
            **inherited,
            "PATH": f"{programs()}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "local"),
            "TMPDIR": str(self.directory),
        }

    def is_ready(self):
        return ask(self.port, "/", {})[0] == 401

    def post(self, payload, token=None) -> int:
        """The status of the answer. token: None for the right one."""
        return ask(
            self.port,
            "/alerts",
            payload,
            Authorization="Bearer %s" % (self.token if token is None else token),
        )[0]


def documented(word):
    """The YAML example of docs/event-driven.md that has this word in it."""
    (found,) = [
        text
        for text in re.findall(r"^```yaml\n(.*?)^```$", DOCUMENTATION.read_text(), re.M | re.S)
        if word in text
    ]
    return yaml.safe_load(found)


def programs() -> Path:
    """The directory of ansible-rulebook and of the Ansible that it runs, in a venv of their own."""
    directory = CHECKOUT / ".cache/rulebook"
    command: list[str | Path] = [
        CHECKOUT / "tools/venv",
        directory,
        sys.executable,
        CHECKOUT / "tools/requirements-rulebook.txt",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory / "bin"


def inside(node, directory, name) -> dict:
    """Variables of a host that is this node. What Ansible runs there is written to
    ``directory/name.ran``, a line for each module.

    Its Python is a script that enters the node's namespaces. They are compared with those of the
    node first, so that nothing of the machine itself is ever swept, whoever has the PID by then.
    """
    pid = node.init.process.pid
    python = directory / (name + ".python")
    python.write_text(
        "\n".join(
            (
                "#!/bin/sh",
                '[ "$(readlink /proc/%d/ns/pid)" = "%s" ] || exit 1'
                % (pid, os.readlink(f"/proc/{pid}/ns/pid")),
                f"echo module >>{directory / (name + '.ran')}",
                f'exec {shlex.join(node.enter)} {PYTHON} "$@"',
            )
        )
        + "\n"
    )
    python.chmod(0o755)
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(python),
        "ansible_become": False,
        "ansible_remote_tmp": str(directory / "remote"),
        "zombie_reaper_min_age": 1,
        "zombie_reaper_grace": 0.3,
    }


def modules_run(directory, name) -> int:
    """How many modules Ansible has run on the host that :func:`inside` made."""
    ran = directory / (name + ".ran")
    return len(ran.read_text().splitlines()) if ran.exists() else 0
