"""Pods, told by the cgroups that a kubelet would make and by its log folders: protected namespaces, cooldown.

There is no kubelet here: the cgroups are real and made by hand, and so are the folders, in the node's own /var/log.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rig.agents import WITHOUT_SETTLING, later, sweep
from rig.node import offender_of, wait_until

pytestmark = pytest.mark.all_cgroups

LEAK = "zombie()\nready()\nforever()"
HIERARCHIES = [path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if (path / "cgroup.procs").exists()]
TOP = "zombie-reaper-test-pods-%d" % os.getpid()
UID = "8ed3b1b7-3f6e-4b5e-9d1c-%012d" % os.getpid()


class Kubelet:
    """Puts programs into cgroups and makes log folders as a kubelet does."""

    def __init__(self, node):
        self.node = node
        self.made = []
        assert node.run("mkdir", "/var/log/pods").returncode == 0

    def pod(self, namespace, name, digit, restarts=0, code=LEAK):
        """A leaking container in a pod with log folder and cgroup. restarts: makes its container id."""
        uid = UID[:-1] + digit
        cgroup = HIERARCHIES[0] / TOP / ("pod" + uid) / ("%s%063d" % (digit, restarts))
        cgroup.mkdir(parents=True)
        self.made.append(cgroup)
        self.node.run("mkdir", "-p", "/var/log/pods/%s_%s_%s" % (namespace, name, uid))
        init = self.node.container(code)
        for process in [init.process, *init.process.children()]:
            (cgroup / "cgroup.procs").write_text(str(process.pid))
        return init

    def stop(self):
        for program in self.node.programs:
            program.stop()
        for cgroup in self.made:
            wait_until(lambda cgroup=cgroup: not (cgroup / "cgroup.procs").read_text())
            cgroup.rmdir()
        for folder in {cgroup.parent for cgroup in self.made}:
            folder.rmdir()
        (HIERARCHIES[0] / TOP).rmdir()


@pytest.fixture
def kubelet(node):
    if not HIERARCHIES:
        pytest.skip("no cgroup hierarchy is mounted on this machine where a cgroup could be made")
    started = Kubelet(node)
    yield started
    started.stop()


def test_a_pod_of_kube_system_is_never_touched_by_default(node, kubelet):
    calico, tenant = kubelet.pod("kube-system", "calico-x7x2p", "1"), kubelet.pod("lease-1", "web-0", "2")
    result = node.sweep()
    spared = offender_of(result, calico)
    assert (spared["reason"], spared["workload"]["pod"]) == ("protected_namespace", "calico-x7x2p")
    assert "kube-system" in spared["explanation"]
    assert calico.alive and len(calico.zombies()) == 1
    assert tenant.alive and tenant.zombies() == []
    assert offender_of(result, tenant)["workload"]["namespace"] == "lease-1"
    assert any("of pod lease-1/web-0" in line for line in result["summary"])


def test_namespaces_of_one_s_own_choice(node, kubelet):
    calico, tenant = kubelet.pod("kube-system", "calico-x7x2p", "1"), kubelet.pod("lease-1", "web-0", "2")
    result = node.sweep(protect_namespaces="lease-1,lease-2")
    assert offender_of(result, tenant)["reason"] == "protected_namespace"
    assert tenant.alive and len(tenant.zombies()) == 1
    assert calico.alive and calico.zombies() == []


def test_a_pod_is_not_ended_again_within_its_cooldown(node, kubelet):
    """Its container is started again under another id and PID, and leaks again: reminded, reported, not ended."""
    first = kubelet.pod("lease-1", "web-0", "1")
    ladder = {"remedies": "nudge,terminate"}
    assert node.sweep(**ladder)["counts"]["parents_ended"] == 1
    assert first.ends()
    second = kubelet.pod("lease-1", "web-0", "1", restarts=1)
    other = kubelet.pod("lease-2", "db-0", "2")
    assert offender_of(node.sweep("--check"), second)["remedies"] == ["nudge", "reap"]
    result = node.sweep(**ladder)
    entry = offender_of(result, second)
    assert (entry["reason"], entry["remedies"]) == ("cooldown", ["nudge"])
    assert second.alive
    assert other.ends()
    assert offender_of(sweep(node, later(hours=2), cooldown=3600, **ladder), second)["outcome"] == "cleared"
    assert second.ends()


INIT_THAT_WILL_NOT_WAIT = """
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""


def test_a_cooldown_does_not_forbid_to_follow_up(node, kubelet):
    """Within one sweep the adopter, which is of the same pod, may be ended too: a cooldown counts from sweep to sweep."""
    init = kubelet.pod("lease-1", "web-0", "1", code=INIT_THAT_WILL_NOT_WAIT)
    result = sweep(node, WITHOUT_SETTLING, flags=["--wait"], min_age=1, remedies="nudge,terminate")
    assert result["counts"]["parents_ended"] == 2
    assert init.ends()
