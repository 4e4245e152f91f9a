#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: init_runtime
short_description: Let the container runtimes of a node give each container an init
version_added: 2.0.0
description:
  - Zombies pile up where PID 1 of a container does not collect orphans. Docker and Podman can put
    an init before a container's command, Kubernetes cannot.
  - For every runtime handler like runc of containerd, k3s, RKE2 and CRI-O, this module adds one
    that does the same, but gives each container an init. The handler beside C(runc) is C(init). The
    one beside another handler is C(init-) with the other's name. No handler that is there changes.
  - With containerd 2 and CRI-O, the handlers are in a file of their own. With containerd 1, such a
    file would replace what is configured, so they are in the main file, between two comments. k3s
    and RKE2 have a template for them.
  - containerd shows what it makes of the new files before they are put in place. If anything would
    get lost, nothing changes.
  - On nodes with Docker, C(init) is turned on in C(daemon.json).
  - Nothing is restarted. Runtimes read their configuration when they start.
  - See also L(what changes for programs behind an init,https://github.com/provider-fleet/fleet/blob/main/docs/behind-an-init.md).
author:
  - The provider.fleet authors (@provider-fleet)
options:
  state:
    description:
      - V(absent) puts every file back as it was. It refuses while a container uses one of the
        handlers. The programs that containers are started with stay until the runtime has been
        restarted; run it again after that.
    type: str
    choices: [present, absent]
    default: present
  default_init:
    description: Whether containers get an init also where their pod names no RuntimeClass.
    type: bool
    default: false
  docker_file:
    description: Docker's options.
    type: path
    default: /etc/docker/daemon.json
  prefix:
    description: The directory below which C(lib/zombie_reaper_init/) is. Every directory above it
      must belong to root, and be writable only by its owner and group.
    type: str
    default: /usr/local
attributes:
  check_mode:
    description: Returns what would be written and removed.
    support: full
  diff_mode:
    description: Shows the files of the runtimes before and after.
    support: full
  idempotent:
    description: Files that are already as they should be are not written.
    support: full
requirements:
  - Python 3.9 on the node
  - a static init on the node, such as Debian's tini-static or Docker's docker-init, for all but
    Docker
  - root
seealso:
  - module: provider.fleet.init_audit
"""

EXAMPLES = r"""
- name: Let pods ask for an init by their RuntimeClass
  provider.fleet.init_runtime:
  become: true

- name: Give every new container an init, also where its pod names no RuntimeClass
  provider.fleet.init_runtime:
    default_init: true
  become: true
  register: runtime

- name: Say which runtimes have to be restarted for that
  ansible.builtin.debug:
    var: runtime.restart_due

- name: Take it back
  provider.fleet.init_runtime:
    state: absent
  become: true
"""

RETURN = r"""
files:
  description: Paths of the files that were written or removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
handlers:
  description: The runtime handlers that give containers an init. C(of) is the runtime, C(wraps) the
    handler that it does the same as.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "init", "of": "containerd", "wraps": "runc"}]
runtime_classes:
  description: A manifest for each of these handlers, by which pods can ask for it. With
    O(state=absent), of those that were there.
  returned: success
  type: list
  elements: dict
  sample:
    [{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "init"},
    "handler": "init"}]
restart_due:
  description: The systemd units of the runtimes that have not been started since their
    configuration was changed. Docker is not among them.
  returned: success
  type: list
  elements: str
  sample: [containerd]
docker:
  description: Whether Docker is on the node, whether it has to be started anew for its options, and
    whether its containers would survive that (live-restore).
  returned: success
  type: dict
  sample: {"is_here": true, "restart_due": true, "live_restore": false}
notes:
  description: What is left as it is, and why, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["There is no kubelet on this node, so the handlers of containerd stay as they are"]
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.provider.fleet.plugins.module_utils import (
    engine_sources,
    prefixes,
    sweep_module,
)

DIRECTORY = "/usr/local/lib/zombie_reaper_init"
CHANGED = "changed"  # a file whose time says when the configuration was last changed
MADE = "made"  # a file with the directories that were made for files of the runtimes
KUBELETS = ("/var/lib/kubelet", "/etc/kubernetes")
MAX_NAMED = 10  # containers


def ships_with_the_engine():
    """Never called. Ansible sends along whatever a module imports anywhere in it."""
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import (
        create,
        install,
    )

    return create, install


class Node(object):
    """What is on the node, and what is to be there."""

    def __init__(self, module, directory):
        from ansible_collections.provider.fleet.plugins.module_utils.runtimes import (
            containerd,
            crio,
            docker,
            edits,
            handlers,
            in_use,
        )

        self.containerd, self.crio, self.docker, self.edits = containerd, crio, docker, edits
        self.handlers, self.in_use = handlers, in_use
        self.module, self.directory = module, directory
        self.docker_file = module.params["docker_file"]
        self.kept = os.path.join(directory, docker.BEFORE)
        self.changed_at = os.path.join(directory, CHANGED)
        self.made = os.path.join(directory, MADE)
        self.files = {}  # of the runtimes: text by path
        self.programs = {}  # ours: (text, mode) by path
        self.python = None  # that runs the wrappers' part in Python
        self.found_handlers, self.notes = [], []
        self.services = {}  # names of units by the socket of the runtime

    def containerds(self, removed=False):
        """Each with what its files are. removed: also those whose program is gone."""
        for number, each in enumerate(self.containerd.find(removed)):
            scratch = os.path.join(self.module.tmpdir, "containerd-%d" % number)
            os.mkdir(scratch)
            found = self.containerd.Containerd(each, self.run, scratch, self.directory)
            self.services[found.socket] = each.services
            yield found

    def run(self, words):
        return self.module.run_command(list(words))

    def present(self):
        as_default = self.module.params["default_init"]
        binaries, names = {}, {}
        for each in self.containerds():
            if each.what.template is None and not any(map(os.path.isdir, KUBELETS)):
                self.notes.append(
                    "There is no kubelet on this node, so the handlers of containerd stay as they"
                    " are"
                )
            elif each.without_cri:
                self.notes.append("No kubelet can use containerd, its plugin cri is turned off")
            else:
                change = each.present(as_default)
                self._take(each.what.name, change, binaries)
                names[each] = [handler.name for handler in change.plan.handlers]
        if self.crio.is_here():
            self.services[self.crio.SOCKET] = self.crio.SERVICES
            self._take("CRI-O", self.crio.Crio(self.directory).present(as_default), binaries)
        if self.docker.is_here(self.docker_file):
            self.files.update(self.docker.present(self.docker_file, self.kept))
            if self.docker.flag(self.docker_file):
                self.notes.append(
                    "Docker gives each container an init already: it was started with --init"
                )
        else:
            self.notes.append(
                "There is no dockerd and no %s on this node" % os.path.dirname(self.docker_file)
            )
        init = self._programs(binaries) if binaries else None
        return init, names

    def _take(self, of, change, binaries):
        self.files.update(change.files)
        self.notes += ["%s: %s" % (of, sentence) for sentence in change.plan.skipped]
        for handler in change.plan.handlers:
            self.found_handlers.append(dict(name=handler.name, of=of, wraps=handler.wraps))
            name = "%s/%s" % (handler.name, os.path.basename(handler.wrapper))
            if binaries.setdefault(name, handler.binary) != handler.binary:
                raise self.edits.Refused(
                    "the handler %s of this node stands for both %s and %s: two runtimes have"
                    " handlers of one name that are not the same"
                    % (handler.name, binaries[name], handler.binary)
                )

    def _programs(self, binaries):
        """Note the wrappers and what they need. Returns the path of the init to copy."""
        from ansible_collections.provider.fleet.plugins.module_utils import reaper
        from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import (
            install,
        )

        python = next(
            (each for each in prefixes.PYTHONS if prefixes.runs_the_engine(self.module, each)), None
        )
        if python is None:
            prefixes.require_a_python(self.module)
        self.python = python

        def runs(path):
            return self.run([path, "--version"])[0] == 0

        init, refusals = install.find_init(runs)
        copied = install.find_init(runs, [os.path.join(self.directory, install.INIT)])[0]
        if init is None and copied is None:
            raise self.edits.Refused(
                "there is no static init on this node that containers could be given (%s). Install"
                " one, such as Debian's package tini-static, or catatonit, and run this again"
                % ("; ".join(refusals) or "looked for tini-static, docker-init, catatonit")
            )
        engine = engine_sources.of(reaper, os.path.join(self.directory, install.PACKAGE))
        self.programs = {path: (text, 0o644) for path, text in engine.items()}
        self.programs.update(install.texts(self.directory, python, binaries))
        # containers that are being started find it there; an update of the package changes none
        return None if copied else init

    def absent(self):
        containerds = list(self.containerds(removed=True))
        states = self.in_use.STATES + tuple(each.state for each in containerds if each.state)
        users = self.in_use.containers(self.directory, states)
        if users:
            from ansible_collections.provider.fleet.plugins.module_utils.reaper.report import (
                printable,
            )

            raise self.edits.Refused(
                "%d containers of this node were started with an init, and need its programs until"
                " they end: %s%s. Give their pods another RuntimeClass, or move them to another"
                " node (kubectl drain), and run this again. If it is the default here, first run"
                " prevent.yml without zombie_reaper_default_init and restart the runtime, so that"
                " new containers go without"
                % (
                    len(users),
                    ", ".join(printable(user) for user in users[:MAX_NAMED]),
                    ", ..." if len(users) > MAX_NAMED else "",
                )
            )
        for each in containerds:
            self.files.update(each.absent())
        self.found_handlers = [
            dict(name=name, of="", wraps="") for name in self.handlers.installed(self.directory)
        ]
        self.services[self.crio.SOCKET] = self.crio.SERVICES
        self.files.update(self.crio.Crio(self.directory).absent())
        self.files.update(self.docker.absent(self.kept))

    def restart_due(self, changes):
        """The units of the runtimes that run with a configuration of before."""
        if not os.path.exists(self.changed_at) and not changes:
            return []
        due = []
        for socket, units in sorted(self.services.items()):
            if os.path.exists(socket):
                changed = os.path.getmtime(self.changed_at) if not changes else float("inf")
                if os.path.getmtime(socket) < changed:
                    due += [unit for unit in units if unit not in due]
        return due

    def docker_state(self):
        """What has to be said of Docker, once the files are written."""
        here = self.docker.is_here(self.docker_file)
        if not here:
            return dict(is_here=False, restart_due=False, live_restore=False)
        started = mtime(self.docker.PID_FILE)
        options = self.docker.options(self.docker.read(self.docker_file), self.docker_file)
        due = self.docker_file in self.files or 0 < started < mtime(self.docker_file)
        return dict(is_here=True, restart_due=due, live_restore=options.get("live-restore") is True)


def mtime(path):
    return os.path.getmtime(path) if os.path.exists(path) else 0


def make_directory(path):
    """With those above it. A container has to find the init there, whatever the umask is. Returns
    those that were made, from the top down.
    """
    if os.path.isdir(path):
        return []
    made = make_directory(os.path.dirname(path))
    os.mkdir(path)
    os.chmod(path, 0o755)
    return made + [path]


def remove_empty(directories):
    for directory in reversed(directories):
        if os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)


def is_right(node, path):
    """Whether that program is there as it should be."""
    text, mode = node.programs[path]
    return node.edits.read(path) == text and os.stat(path).st_mode & 0o7777 == mode


def write_programs(node, init):
    """The engine, the init, and the wrappers last, since they need the others."""
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import install

    wrappers = os.path.join(node.directory, install.RUNTIMES) + "/"
    ordered = sorted(node.programs, key=lambda path: (path.startswith(wrappers), path))
    wrong = [path for path in ordered if not is_right(node, path)]
    for path in wrong:
        text, mode = node.programs[path]
        make_directory(os.path.dirname(path))
        node.edits.replace(path, text, mode)
        os.chmod(path, mode)
    if wrong:
        # else the first container would wait for that; it is no matter if it fails
        package = os.path.join(node.directory, install.PACKAGE)
        node.run([node.python, "-IS", "-m", "compileall", "-q", package])
    if init:
        new = os.path.join(node.directory, install.INIT + ".new")
        shutil.copyfile(init, new)
        os.chmod(new, 0o755)
        os.rename(new, os.path.join(node.directory, install.INIT))


def write_configuration(node, changes, check):
    """Write the files of the runtimes, and put them back if that fails or check() refuses them. The
    directories made for them are noted, to be removed with them.
    """
    before = [(path, node.edits.read(path)) for path in changes]
    made = []
    try:
        for path, _text in before:
            made += make_directory(os.path.dirname(path))
            node.edits.replace(path, changes[path], 0o600 if path == node.kept else 0o644)
        check()
        if made:
            text = node.edits.read(node.made) or ""
            node.edits.replace(node.made, text + "".join(path + "\n" for path in made), 0o600)
    except (OSError, node.edits.Refused):
        for path, text in before:
            if node.edits.read(path) != text:
                node.edits.replace(path, text)
        remove_empty(made)
        raise


def remove_made(node):
    """Remove the directories that were made for files, unless somebody uses them now."""
    if os.path.exists(node.made):
        remove_empty(node.edits.read(node.made).splitlines())
        node.edits.replace(node.made, None)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "absent"], default="present"),
            default_init=dict(type="bool", default=False),
            docker_file=dict(type="path", default="/etc/docker/daemon.json"),
            prefix=dict(type="str", default=prefixes.PREFIX),
        ),
        supports_check_mode=True,
    )
    sweep_module.require_python(module)
    prefix = module.params["prefix"].rstrip("/")
    prefixes.check_prefix(module, prefix, (DIRECTORY,))
    node = Node(module, prefixes.below(prefix, DIRECTORY))
    try:
        result = changed_node(node)
    except node.edits.Refused as error:
        module.fail_json(msg="%s. Nothing was changed on this node" % str(error).rstrip("."))
    except OSError as error:
        module.fail_json(
            msg="%s cannot be written: %s. Nothing was changed in the configuration of this node"
            % (error.filename2 or error.filename, error.strerror)
        )
    module.exit_json(**result)


def changed_node(node):
    """Bring the node to the wanted state. Returns the result of the module."""
    module = node.module
    present = module.params["state"] == "present"
    init, names = node.present() if present else (node.absent(), {})
    changes = {path: text for path, text in node.files.items() if node.edits.read(path) != text}
    programs = [path for path in node.programs if not is_right(node, path)]
    diff = [
        dict(
            before_header=path,
            after_header=path,
            before=node.edits.read(path) or "",
            after=changes[path] or "",
        )
        for path in sorted(changes)
        if path != node.kept
    ]
    of_runtimes = [path for path in changes if path not in (node.kept, node.docker_file)]
    due = node.restart_due(of_runtimes)
    gone = not present and not due and os.path.isdir(node.directory)
    files = sorted(set(programs).union(changes, [node.directory] if gone else []))
    if not module.check_mode:
        write_programs(node, init)
        write_configuration(node, changes, lambda: [each.verify(names[each]) for each in names])
        if of_runtimes:
            make_directory(node.directory)
            node.edits.replace(node.changed_at, "")
        if not present:
            remove_made(node)
        if gone:
            shutil.rmtree(node.directory)
        elif not present and os.path.isdir(node.directory):
            node.notes.append(
                "%s stays until these have been restarted: %s; run this again after that"
                % (node.directory, ", ".join(due))
            )
    return dict(
        changed=bool(files) or bool(init),
        files=files,
        diff=diff,
        handlers=node.found_handlers if present else [],
        runtime_classes=node.handlers.runtime_classes(
            sorted({each["name"] for each in node.found_handlers})
        ),
        restart_due=due,
        docker=node.docker_state(),
        notes=node.notes,
    )


if __name__ == "__main__":
    main()
