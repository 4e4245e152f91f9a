# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules share: the options of a sweep as an argument spec, and how a module calls the
engine.

The engine is imported only once the node's Python has been checked, so this file has to parse on
any Python.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import contextlib
import sys

MINIMUM_PYTHON = (3, 9)
STANDARD_OUTPUT = 1  # what Ansible reads the result from, over its connection to the node


def argument_spec():
    """The options of a sweep. options.validate checks the values."""
    return dict(
        scope=dict(type="str", choices=["containers", "all"], default="containers"),
        remedies=dict(type="list", elements="str", default=["reap", "nudge", "terminate"]),
        min_age=dict(type="int", default=60),
        min_zombies=dict(type="int", default=1),
        pressure=dict(type="float", default=0.5),
        tolerate=dict(type="int", default=1000),
        grace=dict(type="float", default=10.0),
        # as a list, Ansible would cut one pattern at its commas
        protect=dict(type="raw", default=[]),
        protect_namespaces=dict(
            type="list",
            elements="str",
            default=[
                "kube-*",
                "akash-services",
                "akash-gateway",
                "nginx-gateway",
                "ingress-nginx",
                "cert-manager",
                "rook-ceph",
                "lens-metrics",
                "nvidia-*",
                "gpu-operator",
                "node-feature-discovery",
                "calico-*",
                "tigera-operator",
                "cilium*",
                "metallb-system",
                "longhorn-system",
                "openebs",
                "local-path-storage",
                "cattle-*",
                "openshift-*",
                "gke-*",
                "gmp-*",
                "istio-system",
                "monitoring",
            ],
        ),
        max_parents=dict(type="int", default=10),
        cooldown=dict(type="int", default=3600),
        # removed; options.validate names the successor, Ansible would only list the known options
        min_usage=dict(type="raw"),
        act_within=dict(type="raw"),
    )


def require_python(module):
    """Fail with one sentence if the node's Python is too old for the engine."""
    if sys.version_info < MINIMUM_PYTHON:
        module.fail_json(
            msg=(
                "Python %d.%d or later is needed on the node; %s is %d.%d.%d (set"
                " ansible_python_interpreter)"
            )
            % (MINIMUM_PYTHON + (sys.executable,) + tuple(sys.version_info[:3]))
        )


def validated(options):
    """The engine's options from those by these names. Options left out have their defaults."""
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import validate

    return validate(given(options))


def own_options(module):
    """The options of a sweep among those of the module, by name."""
    return {name: module.params[name] for name in argument_spec() if name in module.params}


def given(options):
    """The options without those that are null: with ansible-core 2.19 and later that is an answer
    left blank in AWX, which means the default.
    """
    return {name: value for name, value in options.items() if value is not None}


@contextlib.contextmanager
def plain_errors(module):
    """Fail the module with the one sentence of whatever the engine raises on purpose."""
    require_python(module)
    from ansible_collections.provider.fleet.plugins.module_utils import engine_sources, reaper

    engine_sources.use_installed(reaper)
    from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import (
        CannotSweep,
        OptionError,
    )

    try:
        yield
    except (OptionError, CannotSweep) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename or "the node", error.strerror))


def run_sweep(module, options, check_mode, wait=False, defer=False, diff=False):
    """Sweep with the options by these names. Returns the result of zombie_reap, or fails the
    module with one sentence.

    wait, defer: as for sweep.sweep.
    """
    with plain_errors(module):
        from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
            log,
            paths,
            report,
            sweep,
        )
        from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
            configured_events,
        )

        # like metrics, these are for the agent of the node to switch on
        events = configured_events(paths.CONFIG)
        done = sweep.sweep(
            validated(options),
            paths.Paths(kubernetes_events=events),
            check_mode=check_mode,
            wait=wait,
            defer=defer,
            reader=STANDARD_OUTPUT,
        )
        if done.ended_early and not check_mode:  # it may be that nobody reads the result
            for line in report.as_lines(done):
                log.to_syslog(line)
    result = without_warnings(module, report.as_dict(done))
    if module._diff and diff and not done.deferred:
        result["diff"] = report.as_diff(done)
    return result


def audited(module, probe=False):
    """(the audit of the inits, the result of the module), or fails it with one sentence."""
    with plain_errors(module):
        from ansible_collections.provider.fleet.plugins.module_utils.reaper import audit
        from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths

        done = audit.audit(validated(own_options(module)), Paths(), probe)
    return done, without_warnings(module, audit.as_dict(done))


def without_warnings(module, result):
    """The result, with its warnings handed to Ansible."""
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result
