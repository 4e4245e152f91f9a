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
  - Installs the engine that this module is shipped with, so the C(zombie-reaper) command on the
    node and the modules of this collection are one implementation.
  - Writes C(/usr/local/lib/zombie_reaper/), C(/usr/local/sbin/zombie-reaper),
    C(/etc/zombie_reaper/config.json) and C(/usr/local/bin/kill_zombie_parents.sh), which only calls
    the command. Any other script of that name is replaced. Where C(/usr/local) is read-only,
    O(prefix) names another directory.
  - The command's man page and its completion for bash and zsh go to C(share/) below that directory.
  - Files of earlier versions are removed. This module sets up no schedule; the role
    P(provider.fleet.zombie_reaper#role) does that.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  state:
    description:
      - Whether the agent is on the node. V(absent) also removes C(/run/zombie_reaper) and the
        metrics.
      - V(compared) changes no file, and returns what V(present) would change.
    type: str
    choices: [present, absent, compared]
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
      - V(off) writes none. Anything else is the absolute path of a directory. It is not created. A
        symbolic link on the way is followed only if root owns it, and every directory before it,
        and nobody else can write there.
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
    version_added: 2.0.0
  prefix:
    description:
      - The directory below which C(lib/zombie_reaper/), C(sbin/zombie-reaper) and
        C(bin/kill_zombie_parents.sh) are. It is created if it does not exist. Every directory above
        it must belong to root, and be writable only by its owner and group.
      - Any other than V(/usr/local) is noted in C(/etc/zombie_reaper/prefix), so that it is found
        again. Files that are below an earlier prefix are removed.
    type: str
    default: /usr/local
    version_added: 2.0.0
  least_limits:
    description: With O(state=compared), what limits of the node should be at least. One below that
      is a difference.
    type: dict
    version_added: 2.0.0
    suboptions:
      pid_max:
        description: Of C(kernel.pid_max), or the highest that the kernel allows if that is less.
        type: int
        default: 0
      threads_max:
        description: Of C(kernel.threads-max).
        type: int
        default: 0
  sweep:
    description:
      - With O(state=compared), sweep with O(options) if the node differs in nothing, as
        M(provider.fleet.zombie_reap) does with C(defer). A task of its own would cost as much
        again.
    type: bool
    default: false
    version_added: 2.0.0
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

- name: See which options would change on the node, and which of them are harsher
  provider.fleet.zombie_reaper_agent:
    options:
      min_age: 120
      remedies: [reap, nudge, terminate]
  become: true
  check_mode: true
  register: agent

- name: Put it on a node whose /usr/local is read-only, with metrics in a directory of your own
  provider.fleet.zombie_reaper_agent:
    prefix: /opt/zombie_reaper
    textfile_directory: /srv/node_exporter
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
option_changes:
  description: What changes in the options of a node that the agent is installed on, one sentence
    each. Those that are harsher to programs come first, and say so.
  returned: O(state=present), O(state=compared)
  type: list
  elements: str
  sample: ["Harsher than before: remedies was reap, and will be reap, nudge, terminate"]
differs:
  description: Whether O(state=present) would change a file, the schedule is another or cannot run,
    or a limit is below O(least_limits).
  returned: O(state=compared)
  type: bool
sweep:
  description: What M(provider.fleet.zombie_reap) would have returned.
  returned: O(state=compared), O(sweep) is set, and RV(differs) is false
  type: dict
schedule_change:
  description: The schedule of the node and that of O(schedule_files), if they differ and there is
    one; else empty.
  returned: success
  type: str
  sample: schedule was daemon every 10 seconds, and will be cron every 5 minutes
found:
  description: >-
    What the node offers for a schedule. C(agent) is whether the command is installed. C(cron) is
    the path of the cron daemon, C(cron_unit) the systemd unit that starts it, C(cron_is_masked)
    whether an administrator has ruled that out, and C(cron_runs) whether it runs now and, with
    systemd, at the next boot too. C(systemd) is whether systemd runs. C(timer) and C(daemon) are
    whether the timer of this project and its daemon are installed as systemd units, and
    C(daemon_runs) is whether that daemon runs.
  returned: success
  type: dict
  sample: {"agent": true, "cron": "/usr/sbin/cron", "cron_unit": "cron.service", "cron_is_masked":
    false, "cron_runs": true, "systemd": true, "timer": false, "daemon": true, "daemon_runs": true}
cron_is_stopped:
  description: >-
    Whether the schedule is for cron, and no cron daemon runs that this module could start by
    systemd. There is a warning then.
  returned: success
  type: bool
  sample: false
scheduled:
  description: >-
    Whether the schedule is exactly that of O(schedule_files), and can run. For that, the systemd
    unit (of cron, the timer or the daemon) has to be active and enabled. Where no unit starts cron,
    it has to be installed; there is a warning if it does not run.
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
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import (
    engine_sources,
    prefixes,
    sweep_module,
)
from ansible_collections.provider.fleet.plugins.module_utils.prefixes import PREFIX, below

ENGINE = "/usr/local/lib/zombie_reaper"
COMMAND = "/usr/local/sbin/zombie-reaper"
SCRIPT = "/usr/local/bin/kill_zombie_parents.sh"
MAN_PAGE = "/usr/local/share/man/man8/zombie-reaper.8"
BASH_COMPLETION = "/usr/local/share/bash-completion/completions/zombie-reaper"
ZSH_COMPLETION = "/usr/local/share/zsh/site-functions/_zombie-reaper"
SHARED = (MAN_PAGE, BASH_COMPLETION, ZSH_COMPLETION)
CONFIG = "/etc/zombie_reaper/config.json"
RUN = "/run/zombie_reaper"
CRON_FILE = "/etc/cron.d/kill_zombie_parents"
TIMER = "/etc/systemd/system/zombie-reaper.timer"
SERVICE = "/etc/systemd/system/zombie-reaper.service"
CRON_DAEMONS = ("/usr/sbin/cron", "/usr/sbin/crond")
# of Debian and SUSE, of Red Hat and Fedora, of Arch
CRON_UNITS = ("cron.service", "crond.service", "cronie.service")
CRON_PIDS = ("/run/crond.pid", "/run/cron.pid")  # where there is no systemd to ask

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

OURS = "(provider.fleet.zombie_reaper_agent)"  # in the text of what this module writes
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


def command_text(module, prefix=PREFIX):
    """The text of the command, for the node's own Python."""
    for path in prefixes.PYTHONS:
        if os.path.exists(path):
            text = COMMAND_TEXT % dict(python=path, library=os.path.dirname(below(prefix, ENGINE)))
            # the text that is there was tested when it was written
            if read(below(prefix, COMMAND)) == text or prefixes.runs_the_engine(module, path):
                return text
    return prefixes.require_a_python(module)


def prefix_file():
    return os.path.join(os.path.dirname(CONFIG), "prefix")


def installed_prefix():
    """The prefix of the agent that is on the node."""
    noted = (read(prefix_file()) or PREFIX).strip()
    return noted if prefixes.PREFIXES.fullmatch(noted) else PREFIX


def refuse_read_only(module, paths):
    """Fail before anything is written if one of these files cannot be."""
    for path in paths:
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            module.fail_json(
                msg=(
                    "%s cannot be written: %s is on a read-only file system. Nothing was changed on"
                    " this node. Set zombie_reaper_prefix (prefix of this module), now %s, to a"
                    " directory that can be written, such as /opt/zombie_reaper"
                )
                % (path, directory, module.params["prefix"])
            )


def read(path):
    """Text of a regular file; None if there is none."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def engine_files(prefix):
    """Yields the paths of all files in the engine's directory."""
    for directory, _directories, names in os.walk(below(prefix, ENGINE)):
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


def present(module, options, agent_settings, prefix=PREFIX, writes=False):
    """Returns (files, diff, option changes). writes: False to change nothing."""
    from ansible_collections.provider.fleet.plugins.module_utils import option_changes, reaper
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
    places = (ENGINE, os.path.dirname(COMMAND), os.path.dirname(SCRIPT))
    prefixes.check_prefix(module, prefix, places)
    engine = engine_sources.of(reaper, below(prefix, ENGINE))
    made_from_engine = [below(prefix, path) for path in SHARED]  # long, and no news to anybody
    wanted = {path: (text, 0o644) for path, text in engine.items()}
    wanted[COMMAND] = (command_text(module, prefix), 0o755)
    wanted[SCRIPT] = (SCRIPT_TEXT % dict(command=below(prefix, COMMAND)), 0o755)
    wanted[MAN_PAGE] = (manual.man_page(), 0o644)
    wanted[BASH_COMPLETION] = (manual.bash_completion(), 0o644)
    wanted[ZSH_COMPLETION] = (manual.zsh_completion(), 0o644)
    if prefix != PREFIX:
        wanted[prefix_file()] = (prefix + "\n", 0o644)
    wanted[CONFIG] = (json.dumps(values, indent=2, sort_keys=True) + "\n", 0o644)
    wanted = {below(prefix, path): file for path, file in wanted.items()}
    caches = set()
    for path in engine:
        directory, name = os.path.split(path)
        caches.add((os.path.join(directory, "__pycache__"), name[: -len(".py")]))
    removed = [
        path
        for path in engine_files(prefix)
        if path not in wanted
        and (os.path.dirname(path), os.path.basename(path).split(".")[0]) not in caches
    ]
    before = installed_prefix()
    elsewhere = []
    if before != prefix and os.path.exists(below(before, COMMAND)):
        elsewhere = installed(before)
    if prefix == PREFIX and os.path.lexists(prefix_file()):
        removed.append(prefix_file())
    changes = []
    if any(os.path.lexists(path) for path in (CONFIG, below(before, COMMAND))):
        changes = option_changes.sentences(CONFIG, values)
    written = [path for path in wanted if not is_right(path, *wanted[path])]
    refuse_read_only(module, sorted(written))
    diff = [
        dict(before_header=path, after_header=path, before=read(path) or "", after=wanted[path][0])
        for path in sorted(written)
        if path not in engine and path not in made_from_engine
    ]
    if writes:
        for path in sorted(written):
            write(module, path, *wanted[path])
        for path in removed:
            os.unlink(path)
        remove(elsewhere)
        remove_if_empty(before if before != prefix else PREFIX)
    return sorted(written + removed + elsewhere), diff, changes


def installed(prefix):
    """Paths of what this module has put below that prefix. A script of the same name may be of
    somebody else.
    """
    paths = [below(prefix, path) for path in (ENGINE, COMMAND, SCRIPT, *SHARED)]
    script = below(prefix, SCRIPT)
    return [
        path
        for path in paths
        if os.path.lexists(path) and (path != script or OURS in (read(path) or ""))
    ]


def remove(paths):
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        if path.endswith(tuple(each[len(PREFIX) :] for each in SHARED)):
            remove_empty_directories(path)


def remove_if_empty(prefix):
    """A prefix that was made for this, as /opt/zombie_reaper, and its directories."""
    if prefix != PREFIX and os.path.dirname(prefix) != "/":
        for path in ("lib", "sbin", "bin", "share/man", "share", ""):
            try:
                os.rmdir(os.path.join(prefix, path))
            except OSError:  # it is not there, or others have files in it
                pass


def absent(module, prefix=PREFIX):
    prefixes.check_form(module, prefix)
    files = {each: installed(each) for each in sorted({installed_prefix(), prefix})}
    gone = sum(files.values(), []) + [
        path for path in metrics_files() + [os.path.dirname(CONFIG), RUN] if os.path.lexists(path)
    ]
    if not module.check_mode:
        remove(gone)
        for each in files:
            if files[each]:
                remove_if_empty(each)
    return gone, [
        dict(before_header=path, after_header=path, before=path + "\n", after="") for path in gone
    ]


def remove_empty_directories(path):
    """Remove the two directories that a file below share/ was in, unless others use them, or they
    belong to the system: share/man does, and man8 where it has other sections beside it.
    """
    directory = os.path.dirname(path)
    for empty in (directory, os.path.dirname(directory)):
        above = os.path.dirname(empty)
        if (
            os.path.basename(empty) == "man"
            or os.listdir(empty)
            or os.path.islink(empty)
            or (os.path.basename(above) == "man" and len(os.listdir(above)) > 1)
        ):
            return
        os.rmdir(empty)


def found(module):
    """What the node offers for a schedule."""
    # the service of the timer is a oneshot; of an earlier version, the daemon's has --watch
    service = read(SERVICE)
    has_daemon = service is not None and "Type=oneshot" not in service
    cron = next((path for path in CRON_DAEMONS if os.path.exists(path)), None)
    here = dict(
        agent=os.path.exists(below(installed_prefix(), COMMAND)),
        cron=cron,
        cron_unit=None,
        cron_is_masked=False,
        cron_runs=False,
        systemd=os.path.isdir("/run/systemd/system"),
        timer=os.path.exists(TIMER),
        daemon=has_daemon,
        daemon_runs=has_daemon and daemon_runs(),
    )
    if cron and here["systemd"]:
        here.update(cron_of_systemd(module))
    if here["cron_unit"] is None:
        here["cron_runs"] = any(cron_has(path) for path in CRON_PIDS)
    return here


def cron_of_systemd(module):
    """The unit of the cron daemon, and whether it runs now and after a boot."""
    command = ["systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState"]
    for block in module.run_command(command + list(CRON_UNITS))[1].split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("LoadState") in ("loaded", "masked"):
            return dict(
                cron_unit=unit["Id"],
                cron_is_masked=unit["LoadState"] == "masked",
                cron_runs=(
                    unit["ActiveState"] == "active"
                    and unit["UnitFileState"] not in ("disabled", "masked", "masked-runtime")
                ),
            )
    return {}


def cron_has(path):
    """Whether the process whose PID is in that file is a cron daemon."""
    try:
        with open("/proc/%d/comm" % int(read(path) or ""), encoding="ascii") as file:
            return file.read().startswith("cron")
    except (OSError, ValueError):
        return False


def schedule_change(wanted):
    """One sentence if the node has another schedule than that of these files; else empty."""
    from ansible_collections.provider.fleet.plugins.module_utils import option_changes

    here = {path: text for path in (CRON_FILE, TIMER, SERVICE) for text in [read(path)] if text}
    before, after = (option_changes.schedule_in_words(each) for each in (here, wanted))
    if not here or before == after:
        return ""
    return "schedule was %s, and will be %s" % (before, after)


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
        return found["cron"] is not None and (found["cron_runs"] or not found["cron_unit"])
    unit = os.path.basename(TIMER if TIMER in wanted else SERVICE)
    return bool(wanted) and all(
        module.run_command(["systemctl", word, "--quiet", unit])[0] == 0
        for word in ("is-active", "is-enabled")
    )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "absent", "compared"], default="present"),
            options=dict(type="dict", default={}),
            schedule_files=dict(type="dict", default={}),
            textfile_directory=dict(type="str", default="auto"),
            kubernetes_events=dict(type="str", default="off"),
            prefix=dict(type="str", default=PREFIX),
            least_limits=dict(
                type="dict",
                options=dict(
                    pid_max=dict(type="int", default=0), threads_max=dict(type="int", default=0)
                ),
            ),
            sweep=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )
    sweep_module.require_python(module)
    params, result = module.params, {}
    params["prefix"] = params["prefix"].rstrip("/")
    try:
        if params["state"] == "absent":
            files, diff = absent(module, params["prefix"])
        else:
            settings = {name: params[name] for name in ("textfile_directory", "kubernetes_events")}
            files, diff, result["option_changes"] = present(
                module,
                params["options"],
                settings,
                params["prefix"],
                writes=params["state"] == "present" and not module.check_mode,
            )
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename, error.strerror))
    if params["state"] != "absent" and not files:
        from ansible_collections.provider.fleet.plugins.module_utils import reaper

        engine_sources.use_installed(reaper, below(params["prefix"], ENGINE))
    from ansible_collections.provider.fleet.plugins.module_utils.reaper import report
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import limits, procfs

    proc, here = procfs.ProcFS(), found(module)
    result["cron_is_stopped"] = bool(
        CRON_FILE in params["schedule_files"]
        and here["cron"]
        and not here["cron_runs"]
        and not here["cron_unit"]
    )
    if result["cron_is_stopped"]:
        module.warn(
            "no cron daemon runs on this node, so nothing is scheduled: %s holds no PID of one."
            " Start it, now and at every boot, as with 'service cron start' in what starts the"
            " node; or schedule provider.fleet.sweep on the controller" % " or ".join(CRON_PIDS)
        )
    result.update(
        changed=bool(files),
        files=files,
        found=here,
        diff=diff,
        scheduled=is_scheduled(module, params["schedule_files"], here),
        schedule_change=schedule_change(params["schedule_files"]),
        limits=report.as_limits(limits.read(proc)),
        limits_settable={name: limits.settable(proc, name) for name in limits.SYSCTLS},
    )
    if params["state"] == "compared":
        there, least = result["limits"], dict(params["least_limits"] or {})
        if "pid_max" in least:
            least["pid_max"] = min(least["pid_max"], there["pid_max_ceiling"])
        result["changed"], result["diff"] = False, []
        result["differs"] = (
            bool(files)
            or not result["scheduled"]
            or any(there[name] < least[name] for name in least)
        )
        if params["sweep"] and not result["differs"]:
            result["sweep"] = sweep_module.run_sweep(
                module, params["options"], module.check_mode, not module.check_mode, True, True
            )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
