"""playbooks/prevent.yml with containerds that run: 1.6, 1.7 and the newest of Debian, each with runc
and with crun. Pods that run survive the restart, new ones get an init, and all of it goes again.
"""

from __future__ import annotations

import grpc
import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import bundle
from rig import containerds
from rig.cri import started
from rig.cri_service import ServedKubelet
from rig.inits import process_in
from rig.node import wait_until
from rig.playbook import Playbook
from rig.reaping import PatientNode

pytestmark = pytest.mark.full

OURS = "/usr/local/lib/zombie_reaper_init"


@pytest.fixture(params=(None, *containerds.SUITES), ids=["this machine's", *containerds.SUITES])
def kubelet(request, tmp_path):
    def make(node, directory):
        return ServedKubelet(node, directory, request.param)

    with started(PatientNode(tmp_path), make) as kubelet:
        yield kubelet


def init_of(kubelet, pod, container):
    """PID 1 of a container."""
    return process_in(kubelet.node, pod.state(container)[2])


def test_pods_survive_and_new_ones_get_an_init(kubelet, tmp_path):
    play = Playbook(kubelet.node, tmp_path, "prevent.yml")
    config = kubelet.in_node(kubelet.config)
    before = config.read_bytes()
    older = {}
    for handler in ("cgroupfs", "crun"):
        pod = kubelet.pod("lease-1", "older-" + handler, handler=handler)
        container = pod.container("app", "sleep")
        older[handler] = pod, container, init_of(kubelet, pod, container)

    def survive():
        for pod, container, process in older.values():
            assert pod.state(container)[0] == "CONTAINER_RUNNING"
            assert init_of(kubelet, pod, container) == process
            assert process.is_running() and process.cmdline() == ["/pod", "sleep"]
            pod.exec(container, "orphan")

    variables = {"zombie_reaper_kubeconfig": "/none", "zombie_reaper_default_init": True}
    if kubelet.suite is None:  # once is enough
        done = play(**variables)
        assert done.succeeded, done.text
        assert "zombie_reaper_restart_runtime=true" in done.text
        with pytest.raises(grpc.RpcError):  # nobody has restarted it
            kubelet.pod("lease-1", "early", handler="init")
    done = play(**variables, zombie_reaper_restart_runtime=True)
    assert done.succeeded, done.text
    kubelet.wait()
    survive()

    for handler, has_init in {"": True, "init": True, "init-crun": True, "crun": False}.items():
        pod = kubelet.pod("lease-1", "newer", handler=handler)
        container = pod.container("app", "sleep")
        init = init_of(kubelet, pod, container)
        program = ["/pod", "sleep"]
        assert init.cmdline() == ([bundle.MOUNT, "--", *program] if has_init else program)
        pod.exec(container, "orphan")
        left = ["sleeping" if has_init else "zombie"]  # the program, or the orphan
        wait_until(lambda init=init, left=left: [each.status() for each in init.children()] == left)
        pod.stop_container(container, 100 if has_init else 1)  # it does not handle SIGTERM
        assert pod.state(container)[1] == (143 if has_init else 137)
        kubelet.pods.remove(pod)
        pod.remove()

    done = play(
        zombie_reaper_kubeconfig="/none",
        zombie_reaper_state="absent",
        zombie_reaper_restart_runtime=True,
    )
    assert done.succeeded, done.text
    kubelet.wait()
    assert config.read_bytes() == before
    assert list(config.parent.iterdir()) == [config]
    assert not kubelet.in_node(OURS).exists()
    survive()
