"""Pods, told by the cgroups that a kubelet would make and by its log directories: protected namespaces,
cooldown.

There is no kubelet here: the cgroups are real and made by hand, and so are the directories, in the
node's own /var/log.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from rig.agents import WITHOUT_SETTLING, later, sweep
from rig.node import offender_of, wait_until
from rig.pods import HIERARCHIES

pytestmark = pytest.mark.all_cgroups

LEAK = "zombie()\nready()\nforever()"
TOP = f"zombie-reaper-test-pods-{os.getpid()}"
UID = f"8ed3b1b7-3f6e-4b5e-9d1c-{os.getpid():012d}"


class Kubelet:
    """Puts programs into cgroups and makes log directories as a kubelet does."""

    def __init__(self, node):
        self.node = node
        self.made = []
        assert node.run("mkdir", "/var/log/pods").returncode == 0

    def in_cgroup(self, *names):
        """A leaking container of which no runtime knows, in that cgroup. names: of the cgroup and
        of those above it.
        """
        return self._put(self.node.container(LEAK), HIERARCHIES[0].joinpath(*names))

    def _put(self, init, cgroup):
        wait_until(lambda: _made(cgroup))
        self.made.append(cgroup)
        for process in [init.process, *init.process.children()]:
            (cgroup / "cgroup.procs").write_text(str(process.pid))
        return init

    def pod(self, namespace, name, digit, restarts=0, code=LEAK):
        """A leaking container in a pod with log directory and cgroup. restarts: makes its container
        id.
        """
        uid = UID[:-1] + digit
        cgroup = HIERARCHIES[0] / TOP / ("pod" + uid) / (f"{digit}{restarts:063d}")
        self.node.run("mkdir", "-p", f"/var/log/pods/{namespace}_{name}_{uid}")
        return self._put(self.node.container(code), cgroup)

    def stop(self):
        for program in self.node.programs:
            program.stop()
        for cgroup in self.made:
            wait_until(lambda cgroup=cgroup: not (cgroup / "cgroup.procs").read_text())
        above = {
            directory
            for cgroup in self.made
            for directory in (cgroup, *cgroup.parents)
            if HIERARCHIES[0] in directory.parents
        }
        for directory in sorted(above, reverse=True):
            if str(os.getpid()) in str(directory):
                wait_until(lambda directory=directory: _removed(directory))
            else:  # as the machine may have it too
                _removed(directory)


def _made(directory) -> bool:
    """Another test may remove one above it at this moment, which both have."""
    with contextlib.suppress(FileNotFoundError):
        directory.mkdir(parents=True, exist_ok=True)
    return directory.exists()


def _removed(directory) -> bool:
    """A process that is about to end is listed no more, and yet its cgroup is not empty."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def kubelet(node):
    if not HIERARCHIES:
        pytest.skip("no cgroup hierarchy is mounted on this machine where a cgroup could be made")
    started = Kubelet(node)
    yield started
    started.stop()


def test_a_pod_of_kube_system_is_never_touched_by_default(node, kubelet):
    calico, tenant = (
        kubelet.pod("kube-system", "calico-x7x2p", "1"),
        kubelet.pod("lease-1", "web-0", "2"),
    )
    result = node.sweep()
    spared = offender_of(result, calico)
    assert (spared["reason"], spared["workload"]["pod"]) == ("protected_namespace", "calico-x7x2p")
    assert "kube-system" in spared["explanation"]
    assert calico.alive and len(calico.zombies()) == 1
    assert tenant.alive and tenant.zombies() == []
    assert offender_of(result, tenant)["workload"]["namespace"] == "lease-1"
    assert any("of pod lease-1/web-0" in line for line in result["summary"])


def test_namespaces_by_pattern(node, kubelet):
    ceph, tenant = kubelet.pod("rook-ceph", "osd-0", "1"), kubelet.pod("lease-1", "web-0", "2")
    other = kubelet.pod("my-lease-1", "web-0", "3")
    result = node.sweep(protect_namespaces="x,lease-*")
    spared = offender_of(result, tenant)
    assert spared["reason"] == "protected_namespace" and "lease-*" in spared["explanation"]
    assert len(tenant.zombies()) == 1
    assert [each.zombies() for each in (ceph, other)] == [[], []], (
        "lease-* is at the beginning of the name"
    )


def test_namespaces_of_one_s_own_choice(node, kubelet):
    calico, tenant = (
        kubelet.pod("kube-system", "calico-x7x2p", "1"),
        kubelet.pod("lease-1", "web-0", "2"),
    )
    result = node.sweep(protect_namespaces="lease-1,lease-2")
    assert offender_of(result, tenant)["reason"] == "protected_namespace"
    assert tenant.alive and len(tenant.zombies()) == 1
    assert calico.alive and calico.zombies() == []


def test_a_pod_is_not_ended_again_within_its_cooldown(node, kubelet):
    """Its container is started again under another id and PID, and leaks again: reminded, reported,
    not ended.
    """
    first = kubelet.pod("lease-1", "web-0", "1")
    ladder = {"remedies": "nudge,terminate"}
    assert node.sweep(**ladder)["counts"]["parents_ended"] == 1
    assert first.ends()
    second = kubelet.pod("lease-1", "web-0", "1", restarts=1)
    other = kubelet.pod("lease-2", "db-0", "2")
    assert offender_of(node.sweep("--check"), second)["remedies"] == ["reap", "nudge"]
    result = node.sweep(**ladder)
    entry = offender_of(result, second)
    assert (entry["reason"], entry["remedies"]) == ("cooldown", ["nudge"])
    assert second.alive
    assert other.ends()
    assert (
        offender_of(sweep(node, later(hours=2), cooldown=3600, **ladder), second)["outcome"]
        == "cleared"
    )
    assert second.ends()


LADDER = {"remedies": "nudge,terminate"}
LXC = f"lxc.payload.zr-{os.getpid()}"


@pytest.mark.parametrize(
    "first, second, other",
    [
        ("web-7d9fc5b46b-x2x7z", "web-67f8c4d5-bcdfg", "db-7d9fc5b46b-x2x7z"),
        ("job-x2x7z", "job-bcdfg", "job2-x2x7z"),
        ("job-0-x2x7z", "job-1-bcdfg", "job2-0-x2x7z"),
        ("nightly-28473920-x2x7z", "nightly-28473925-bcdfg", "weekly-28473920-x2x7z"),
        ("db-0", "db-1", "web-0"),
    ],
)
def test_the_pods_of_one_owner_share_a_cooldown(node, kubelet, first, second, other):
    """A Job starts another pod for one that has ended, with another name and another UID."""
    ended = kubelet.pod("lease-1", first, "1")
    assert node.sweep(**LADDER)["counts"]["parents_ended"] == 1
    assert ended.ends()
    again, of_another, elsewhere = (
        kubelet.pod("lease-1", second, "2"),
        kubelet.pod("lease-1", other, "3"),
        kubelet.pod("lease-2", first, "4"),
    )
    assert offender_of(node.sweep(**LADDER), again)["reason"] == "cooldown"
    assert again.alive
    assert of_another.ends()
    assert elsewhere.ends()


@pytest.mark.parametrize(
    "first, second, other",
    [
        ([LXC, "init.scope"], [LXC, "x1", "x2"], [LXC + "-other", "init.scope"]),
        (
            ["machine.slice", "machine-" + LXC + ".scope", "a"],
            ["machine.slice", "machine-" + LXC + ".scope", "b"],
            ["machine.slice", "machine-other-" + LXC + ".scope"],
        ),
        (["default", LXC, "x1"], ["default", LXC, "x2"], ["default", LXC + "-other"]),
        (["nomad", LXC + ".task"], ["nomad", LXC + ".task", "x"], ["nomad", LXC + ".other"]),
        ([TOP, "x1"], [TOP, "x2"], [TOP + "-other"]),
    ],
    ids=["lxc", "nspawn", "ctr", "nomad", "runc"],
)
def test_a_container_that_no_runtime_names_has_a_cooldown_by_its_cgroup(
    node, kubelet, first, second, other
):
    """What is below its own cgroup is the tenant's to choose, and gains nothing."""
    ended = kubelet.in_cgroup(*first)
    assert node.sweep(**LADDER)["counts"]["parents_ended"] == 1
    assert ended.ends()
    again, of_another = kubelet.in_cgroup(*second), kubelet.in_cgroup(*other)
    assert offender_of(node.sweep(**LADDER), again)["reason"] == "cooldown"
    assert again.alive
    assert of_another.ends()


INIT_THAT_WILL_NOT_WAIT = """
if os.fork() == 0:
    zombie()
    ready()
    forever()
forever()
"""


def test_a_cooldown_does_not_forbid_to_follow_up(node, kubelet):
    """Within one sweep the adopter, which is of the same pod, may be ended too: a cooldown counts
    from sweep to sweep.
    """
    init = kubelet.pod("lease-1", "web-0", "1", code=INIT_THAT_WILL_NOT_WAIT)
    result = sweep(node, WITHOUT_SETTLING, flags=["--wait"], min_age=1, remedies="nudge,terminate")
    assert result["counts"]["parents_ended"] == 2
    assert init.ends()
