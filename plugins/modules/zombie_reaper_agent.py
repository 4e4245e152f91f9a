#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: zombie_reaper_agent
short_description: Put the zombie reaper's engine, command and configuration on a node
version_added: 0.1.0
description:
  - Installs the engine that this module itself is shipped with, so that the C(zombie-reaper)
    command on the node and the modules of this collection are one implementation.
  - Writes C(/usr/local/lib/zombie_reaper/), C(/usr/local/sbin/zombie-reaper),
    C(/etc/zombie_reaper/config.json) and C(/usr/local/bin/kill_zombie_parents.sh), which only calls
    the command. Any other script of that name is replaced.
  - The command's man page and its completion for bash and zsh go to C(/usr/local/share/).
  - Files of earlier versions are removed. This module sets up no schedule; the role
    P(provider.fleet.zombie_reaper#role) does that.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  state:
    description: Whether the agent is on the node. V(absent) also removes C(/run/zombie_reaper) and
      the metrics.
    type: str
    choices: [present, absent]
    default: present
  options:
    description:
      - The options of the sweep, by the names that M(provider.fleet.zombie_reap) documents. Those
        left out have their defaults.
    type: dict
    default: {}
  schedule_files:
    description:
      - The files that the schedule should consist of, from path to text; empty for no schedule.
        They are compared, not written. RV(scheduled) returns the result.
    type: dict
    default: {}
  textfile_directory:
    description:
      - Where the agent writes C(zombie_reaper.prom), metrics for the textfile collector of
        node_exporter.
      - V(auto) is the first of C(/var/lib/prometheus/node-exporter),
        C(/var/lib/node_exporter/textfile_collector) and C(/var/lib/node_exporter) that exists when
        it sweeps. If none does, there are no metrics.
      - V(off) writes none. Anything else is the absolute path of a directory. It is not created,
        and no part of the path may be a symbolic link.
    type: str
    default: auto
  kubernetes_events:
    description:
      - Whether the pod gets an Event when a parent in it was ended or is leaking. C(kubectl
        describe pod) shows it.
      - V(off) sends none. V(auto) sends them with the kubelet's own credential. Anything else is
        the absolute path of a kubeconfig that has a client certificate.
    type: str
    default: "off"
attributes:
  check_mode:
    description: Returns what would be written and removed.
    support: full
  diff_mode:
    description: Shows the files before and after, the engine's by name only.
    support: full
  idempotent:
    description: Files that are already as they should be are not written.
    support: full
requirements:
  - Python 3.9 on the node
  - root
seealso:
  - module: provider.fleet.zombie_reap
"""

EXAMPLES = r"""
- name: Put the agent on the node
  provider.fleet.zombie_reaper_agent:
    options:
      min_age: 120
      remedies: [reap]
  become: true

- name: Remove it
  provider.fleet.zombie_reaper_agent:
    state: absent
  become: true
"""

RETURN = r"""
files:
  description: Paths of the files that were written or removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/zombie_reaper/config.json]
found:
  description: >-
    What the node offers for a schedule. C(cron) is the path of the cron daemon. C(systemd) is
    whether systemd runs. C(timer) and C(daemon) are whether the timer of this project and its
    daemon are installed as systemd units, and C(daemon_runs) is whether that daemon runs.
  returned: success
  type: dict
  sample: {"cron": "/usr/sbin/cron", "systemd": true, "timer": false, "daemon": true, "daemon_runs":
    true}
scheduled:
  description: >-
    Whether the schedule is exactly that of O(schedule_files), and can run. For that, a cron daemon
    has to be installed, or the systemd unit has to be active and enabled.
  returned: success
  type: bool
limits:
  description: The limits of the process table, as M(provider.fleet.zombie_info) returns them, but
    without a forecast.
  returned: success
  type: dict
  sample:
    {"pid_max": 4194304, "threads_max": 192730, "tasks": 341, "limit": 192730, "usage": 0.001769,
    "bound_by": "threads-max", "pid_max_ceiling": 4194304}
limits_settable:
  description: Which of these limits can be set on this node.
  returned: success
  type: dict
  sample: {"pid_max": true, "threads_max": true}
"""

import json
import os
import shutil
import stat
import sys
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import engine_sources, sweep_module

ENGINE = "/usr/local/lib/zombie_reaper"
COMMAND = "/usr/local/sbin/zombie-reaper"
SCRIPT = "/usr/local/bin/kill_zombie_parents.sh"
MAN_PAGE = "/usr/local/share/man/man8/zombie-reaper.8"
BASH_COMPLETION = "/usr/local/share/bash-completion/completions/zombie-reaper"
ZSH_COMPLETION = "/usr/local/share/zsh/site-functions/_zombie-reaper"
CONFIG = "/etc/zombie_reaper/config.json"
RUN = "/run/zombie_reaper"
CRON_FILE = "/etc/cron.d/kill_zombie_parents"
TIMER = "/etc/systemd/system/zombie-reaper.timer"
SERVICE = "/etc/systemd/system/zombie-reaper.service"
CRON_DAEMONS = ("/usr/sbin/cron", "/usr/sbin/crond")

# Parses on any Python, so that an old one gives the message and not a syntax error. -I and -S: no
# user site, no environment, a third of the start-up time.
COMMAND_TEXT = """\
#!%(python)s -IS
# Managed by Ansible (provider.fleet.zombie_reaper_agent)
import sys
if sys.version_info < (3, 9):
    raise SystemExit("zombie-reaper: Python 3.9 or later is needed; %%s is %%d.%%d" %% ((sys.executable,) + tuple(sys.version_info[:2])))
sys.path.append("%(library)s")
from zombie_reaper.command import main
raise SystemExit(main())
"""  # noqa: E501

SCRIPT_TEXT = """\
#!/bin/sh
exec %(command)s "$@"  # the name that operators know; managed by Ansible (provider.fleet.zombie_reaper_agent)
"""  # noqa: E501


def ships_with_the_engine():
    """Never called. Ansible sends along whatever a module imports anywhere in it."""
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
        audit,
        cli,
        command,
        daemon,
        explain,
        last_report,
        manual,
    )

    return cli, audit, command, daemon, explain, last_report, manual


def command_text(module):
    """The text of the command, for the node's own Python. That of this module comes last: it may be
    in a virtual environment, and go with it.
    """
    for path in ("/usr/bin/python3", "/usr/libexec/platform-python", sys.executable):
        if os.path.exists(path):
            text = COMMAND_TEXT % dict(python=path, library=os.path.dirname(ENGINE))
            code = "import sys; raise SystemExit(sys.version_info < (3, 9))"
            # the text that is there was tested when it was written
            if read(COMMAND) == text or module.run_command([path, "-IS", "-c", code])[0] == 0:
                return text
    module.fail_json(msg="no Python 3.9 or later was found on the node for the agent to run with")


def read(path):
    """Text of a regular file; None if there is none."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def engine_files():
    """Yields the paths of all files in the engine's directory."""
    for directory, _directories, names in os.walk(ENGINE):
        for name in names:
            yield os.path.join(directory, name)


def is_right(path, text, mode):
    return read(path) == text and stat.S_IMODE(os.stat(path).st_mode) == mode


def write(module, path, text, mode):
    """Replace a file whole or not at all."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o755)
    handle, new = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(new, mode)
    module.atomic_move(new, path)
    os.chmod(path, mode)


def metrics_files():
    """Paths of the metrics that this node's agent may have written, complete or not."""
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
        files,
        textfile,
    )
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import procfs
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import read_config

    try:
        configured = read_config(CONFIG, must_exist=False).get("textfile_directory")
    except OptionError:
        configured = None
    found = textfile.DIRECTORIES + (configured, textfile.kept(RUN, procfs.ProcFS())[0])
    directories = {
        directory for directory in found if isinstance(directory, str) and directory.startswith("/")
    }
    return sorted(
        os.path.join(directory, textfile.NAME + end)
        for directory in directories
        for end in ("", files.NEW)
    )


def present(module, options, agent_settings):
    from ansible_collections.provider.fleet.plugins.module_utils import reaper
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import manual, metrics
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
        AGENT_CHECKS,
        checked,
        validate,
    )

    try:
        values = dict(validate(sweep_module.given(options))._asdict())
        values.update(checked(agent_settings, dict(AGENT_CHECKS, **metrics.CHECKS)))
    except OptionError as error:
        module.fail_json(msg=str(error))
    engine = engine_sources.of(reaper, ENGINE)
    wanted = {path: (text, 0o644) for path, text in engine.items()}
    wanted[COMMAND] = (command_text(module), 0o755)
    wanted[SCRIPT] = (SCRIPT_TEXT % dict(command=COMMAND), 0o755)
    wanted[MAN_PAGE] = (manual.man_page(), 0o644)
    wanted[BASH_COMPLETION] = (manual.bash_completion(), 0o644)
    wanted[ZSH_COMPLETION] = (manual.zsh_completion(), 0o644)
    wanted[CONFIG] = (json.dumps(values, indent=2, sort_keys=True) + "\n", 0o644)
    caches = set()
    for path in engine:
        directory, name = os.path.split(path)
        caches.add((os.path.join(directory, "__pycache__"), name[: -len(".py")]))
    removed = [
        path
        for path in engine_files()
        if path not in wanted
        and (os.path.dirname(path), os.path.basename(path).split(".")[0]) not in caches
    ]
    written = [path for path in wanted if not is_right(path, *wanted[path])]
    diff = [
        dict(before_header=path, after_header=path, before=read(path) or "", after=wanted[path][0])
        for path in sorted(written)
        if path not in engine
    ]
    if not module.check_mode:
        for path in sorted(written):
            write(module, path, *wanted[path])
        for path in removed:
            os.unlink(path)
    return sorted(written + removed), diff


def absent(module):
    gone = [
        path
        for path in [ENGINE, COMMAND, SCRIPT, MAN_PAGE, BASH_COMPLETION, ZSH_COMPLETION]
        + metrics_files()
        + [os.path.dirname(CONFIG), RUN]
        if os.path.lexists(path)
    ]
    if not module.check_mode:
        for path in gone:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
            if path in (MAN_PAGE, BASH_COMPLETION, ZSH_COMPLETION):
                remove_empty_directories(path)
    return gone, [
        dict(before_header=path, after_header=path, before=path + "\n", after="") for path in gone
    ]


def remove_empty_directories(path):
    """Remove the two directories that a file below share/ was in, unless others use them, or they
    belong to the system: share/man does.
    """
    directory = os.path.dirname(path)
    for empty in (directory, os.path.dirname(directory)):
        if os.path.basename(empty) == "man" or os.listdir(empty):
            return
        os.rmdir(empty)


def found():
    """What the node offers for a schedule."""
    # the service of the timer is a oneshot; of an earlier version, the daemon's has --watch
    service = read(SERVICE)
    has_daemon = service is not None and "Type=oneshot" not in service
    return dict(
        cron=next((path for path in CRON_DAEMONS if os.path.exists(path)), None),
        systemd=os.path.isdir("/run/systemd/system"),
        timer=os.path.exists(TIMER),
        daemon=has_daemon,
        daemon_runs=has_daemon and daemon_runs(),
    )


def daemon_runs():
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import daemon

    return daemon.status(RUN) is not None


def is_scheduled(module, wanted, found):
    """Whether the files of the schedule are exactly these, and it can run. wanted: {path: text};
    found: from found().
    """
    for path in (CRON_FILE, TIMER, SERVICE):
        if (
            path in wanted
            and not is_right(path, wanted[path], 0o644)
            or path not in wanted
            and os.path.lexists(path)
        ):
            return False
    if CRON_FILE in wanted:
        return found["cron"] is not None
    unit = os.path.basename(TIMER if TIMER in wanted else SERVICE)
    return bool(wanted) and all(
        module.run_command(["systemctl", word, "--quiet", unit])[0] == 0
        for word in ("is-active", "is-enabled")
    )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "absent"], default="present"),
            options=dict(type="dict", default={}),
            schedule_files=dict(type="dict", default={}),
            textfile_directory=dict(type="str", default="auto"),
            kubernetes_events=dict(type="str", default="off"),
        ),
        supports_check_mode=True,
    )
    sweep_module.require_python(module)
    try:
        if module.params["state"] == "absent":
            files, diff = absent(module)
        else:
            settings = {
                name: module.params[name] for name in ("textfile_directory", "kubernetes_events")
            }
            files, diff = present(module, module.params["options"], settings)
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename, error.strerror))
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import report
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs

    proc, here = procfs.ProcFS(), found()
    module.exit_json(
        changed=bool(files),
        files=files,
        found=here,
        diff=diff,
        scheduled=is_scheduled(module, module.params["schedule_files"], here),
        limits=report.as_limits(limits.read(proc)),
        limits_settable={name: limits.settable(proc, name) for name in limits.SYSCTLS},
    )


if __name__ == "__main__":
    main()
