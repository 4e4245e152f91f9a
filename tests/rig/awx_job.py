"""A job as AWX runs it: the directory that its dispatcher writes (awx/main/tasks/jobs.py), played by
ansible-runner.

What differs: no container around it, so the directory is not /runner. Surveys are answered by AWX's
rules (awx/main/models/mixins.py).
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "textarea": str,
    "password": str,
    "multiplechoice": str,
    "multiselect": list,
    "integer": int,
    "float": (int, float),
}


REVISION = "347e44fea036c94d5f60e544de006453ee5c71ad"


class Unsafe(str):
    """Text that Ansible must not take for a template, as AWX marks every answer."""


yaml.SafeDumper.add_representer(
    Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text))
)


def refusal(question, answer) -> str | None:
    """Why AWX refuses an answer, None if it takes it."""
    if not isinstance(answer, TYPES[question["type"]]) or isinstance(answer, bool):
        return f"{answer!r} is not {question['type']}"
    if "choices" in question:
        choices = question["choices"].split("\n")
        strangers = [
            item
            for item in (answer if isinstance(answer, list) else [answer])
            if item not in choices
        ]
        return f"{strangers!r} is no choice" if strangers else None
    size = len(answer) if isinstance(answer, str) else answer
    if not question["min"] <= size <= question["max"]:
        return f"{answer!r} is not from {question['min']} to {question['max']}"
    return None


def answered(survey, **given) -> dict:
    """The extra variables of a launch: the defaults of the survey that AWX accepts, and the
    answers, each of which it has to.
    """
    questions = {question["variable"]: question for question in survey["spec"]}
    variables = {
        name: question["default"]
        for name, question in questions.items()
        if not refusal(question, question["default"])
    }
    for name, answer in given.items():
        wrong = refusal(questions[name], answer)
        assert wrong is None, f"{name}: {wrong}"
    return {**variables, **given}


def inventory(hosts, groups=None, number=1, of=1) -> dict:
    """What AWX gives as inventory. hosts: name to variables; groups: name to names of hosts;
    number, of: of the slice, every of-th host by name.
    """
    names = sorted(hosts)[number - 1 :: of]
    data: dict[str, Any] = {
        name: {"hosts": [host for host in members if host in names]}
        for name, members in (groups or {}).items()
    }
    # what has nothing to say is only named
    data = {name: group for name, group in data.items() if group["hosts"]}
    grouped = {host for group in data.values() for host in group["hosts"]}
    data["all"] = {
        "hosts": [name for name in names if name not in grouped],
        "children": list(groups or {}),
    }
    data["_meta"] = {
        "hostvars": {
            name: {**hosts[name], "remote_tower_enabled": "true", "remote_tower_id": number}
            for number, name in enumerate(names, 1)
        }
    }
    return data


class Ended:
    """What came of a job. status: as AWX shows it; text: its output; counts: of each host, as in
    the recap.
    """

    def __init__(self, done, artifacts):
        self.status = (artifacts / "status").read_text()
        self.text = (artifacts / "stdout").read_text() + done.stderr
        self.events = [json.loads(path.read_text()) for path in artifacts.glob("job_events/*.json")]
        self.counts = {}
        for event in self.events:
            if event["event"] == "playbook_on_stats":
                for kind in ("ok", "changed", "failures", "dark", "skipped"):
                    for host, number in event["event_data"][kind].items():
                        self.counts.setdefault(host, {})[kind] = number

    def result(self, host, module) -> dict:
        """What the last task of a module, by its full name, returned on a host."""
        results = [
            (event["counter"], event["event_data"]["res"])
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable")
            and event["event_data"].get("host") == host
            and event["event_data"].get("task_action") == module
        ]
        return max(results, key=lambda pair: pair[0])[1]


class Jobs:
    """Plays jobs of one project. project: directory as AWX has fetched it; collections: directory that
    its sync installed into.

    bin: the directory of ansible-runner. core: that of ansible-playbook.
    """

    def __init__(self, directory, bin, project, collections, core=None):
        self.directory = directory
        self.bin = bin
        self.core = core or bin
        self.project = project
        self.collections = collections
        self.number = 0

    def __call__(
        self, playbook, hosts, variables=None, check=False, limit=None, diff=False
    ) -> Ended:
        """hosts: from :func:`inventory`; variables: from :func:`answered`, or any."""
        arguments = (
            ["-u", "root"]
            + ["--check"] * check
            + ["--diff"] * diff
            + (["-l", limit] if limit else [])
        )
        return self._play(["--playbook", playbook], hosts, variables or {}, arguments)

    def command(self, module, arguments, hosts) -> Ended:
        """An ad-hoc command, which has no project."""
        return self._play(
            ["--module", module, "--args", arguments, "--hosts", "all"],
            hosts,
            {},
            ["-u", "root"],
            project=None,
        )

    def _play(self, what, hosts, variables, arguments, project=True) -> Ended:
        self.number += 1
        directory = self.directory / (f"job{self.number}")
        (directory / "env").mkdir(parents=True)
        (directory / "inventory").mkdir()
        if project:
            shutil.copytree(self.project, directory / "project", symlinks=True)
        else:
            (directory / "project").mkdir()
        script = directory / "inventory/hosts"
        script.write_text(
            f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(hosts)!r})\n"
        )
        script.chmod(0o700)
        (directory / "env/extravars").write_text(
            yaml.safe_dump(unsafe({**about_the_job(self.number), **variables}))
        )
        (directory / "env/cmdline").write_text(shlex.join(arguments))
        (directory / "env/settings").write_text(
            json.dumps({"job_timeout": 0, "suppress_ansible_output": True})
        )
        (directory / "env/envvars").write_text(yaml.safe_dump(self._environment(directory)))
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                str(self.bin / "ansible-runner"),
                "run",
                str(directory),
                *what,
                "--inventory",
                str(script),
                "--ident",
                "1",
            ],
            env={
                "PATH": f"{self.core}:{os.environ['PATH']}",
                "HOME": str(home),
                "LANG": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=300,
        )
        assert (directory / "artifacts/1/status").exists(), done.stdout + done.stderr
        return Ended(done, directory / "artifacts/1")

    def _environment(self, directory) -> dict:
        """AWX's settings for a job. It overrides the paths of the project's ansible.cfg, and keeps
        what stands there behind its own.
        """
        configured = configparser.ConfigParser(interpolation=None)
        configured.read(self.project / "ansible.cfg")
        paths = [
            str(self.collections),
            configured.get("defaults", "collections_path", fallback=""),
            "~/.ansible/collections",
            "/usr/share/ansible/collections",
        ]
        return {
            # up to ansible-core 2.18 the second is known too, and loses
            "ANSIBLE_COLLECTIONS_PATH": ":".join(filter(None, paths)),
            "ANSIBLE_COLLECTIONS_PATHS": ":".join(
                [
                    str(self.collections),
                    "~/.ansible/collections",
                    "/usr/share/ansible/collections",
                ]
            ),
            "ANSIBLE_ROLES_PATH": (
                f"{directory}/requirements_roles:~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"
            ),
            "ANSIBLE_CALLBACK_PLUGINS": (
                f"{directory}/plugins_path:~/.ansible/plugins:/plugins/callback:/usr/share/ansible/plugins/callback"
            ),
            "ANSIBLE_FORCE_COLOR": "True",
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
            "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.directory / "remote"),
            "AWX_HOST": "https://awx.example.org",
            "AWX_PRIVATE_DATA_DIR": str(directory),
            "PROJECT_REVISION": REVISION,
            "RUNNER_OMIT_EVENTS": "False",
            "RUNNER_ONLY_FAILED_EVENTS": "False",
            "JOB_ID": str(self.number),
            "INVENTORY_ID": "1",
            "MAX_EVENT_RES": "700000",
        }


def about_the_job(number) -> dict:
    """The variables by which AWX tells a job about itself; each comes twice."""
    variables = {
        "job_id": number,
        "job_launch_type": "manual",
        "user_id": 1,
        "user_name": "admin",
        "user_email": "admin@example.org",
        "user_first_name": "",
        "user_last_name": "",
        "inventory_id": 1,
        "inventory_name": "Nodes",
        "project_revision": REVISION,
        "project_scm_branch": "",
        "job_template_id": 7,
        "job_template_name": "Zombie reaper sweep",
        "execution_node": "awx-task-0",
    }
    return {
        prefix + name: value for prefix in ("awx_", "tower_") for name, value in variables.items()
    }


def unsafe(value):
    """Marks all text in a value, names too."""
    if isinstance(value, dict):
        return {unsafe(name): unsafe(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unsafe(item) for item in value]
    return Unsafe(value) if isinstance(value, str) else value


def host(directory, node, python) -> dict:
    """Variables by which Ansible takes a node of the rig for a host: its modules run in there.
    Files that are sent are the machine's.
    """
    interpreter = Path(directory) / (f"python-{node.init.process.pid}")
    interpreter.write_text(f'#!/bin/sh\nexec {shlex.join(node.enter)} {python} "$@"\n')
    interpreter.chmod(0o755)
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(interpreter),
        "ansible_become": False,
    }
