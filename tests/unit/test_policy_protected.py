"""Namespaces that are protected by pattern, and the programs that run the work of others."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import policy
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import Options, validate
from hypothesis import given
from hypothesis import strategies as st
from rig.handmade import container_process, host_process, workload

ALL = Options(scope="all")


def spared(namespace, options=Options()):
    return policy.spared(
        container_process(workload=workload(pod=(namespace, "web-0"))), options, ()
    )


@pytest.mark.parametrize(
    "namespace",
    [
        "kube-system",
        "kube-public",
        "kube-flannel",
        "akash-services",
        "akash-gateway",
        "ingress-nginx",
        "nginx-gateway",
        "rook-ceph",
        "cert-manager",
        "calico-system",
        "calico-apiserver",
        "tigera-operator",
        "cilium",
        "cilium-spire",
        "gpu-operator",
        "nvidia-device-plugin",
        "nvidia-gpu-operator",
        "lens-metrics",
        "metallb-system",
        "longhorn-system",
        "monitoring",
        "cattle-system",
        "cattle-fleet-system",
    ],
)
def test_what_clusters_run_for_themselves_is_protected_by_default(namespace):
    reason, explanation = spared(namespace)
    assert reason == "protected_namespace" and namespace in explanation


@pytest.mark.parametrize(
    "namespace",
    [
        "default",
        "lease",
        "shop",
        "kube",
        "my-kube-system",
        "rook",
        "rook-ceph-2",
        "monitoring2",
        "nvidia",
        "7v9eb8b7qckaahq8c8kq23j9epi31usnb4e6pate79c7o",
    ],
)
def test_what_tenants_have_is_not(namespace):
    assert spared(namespace) is None


@given(st.text("0123456789abcdefghijklmnopqrstuv", min_size=45, max_size=45))
def test_no_lease_on_akash_has_a_protected_namespace(namespace):
    assert policy.protecting(namespace, Options()) is None


@pytest.mark.parametrize(
    "pattern, namespace, matches",
    [
        ("*", "x", True),
        ("*-system", "kube-system", True),
        ("*-system", "system", False),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*c", "acd", False),
        ("a-b", "a-b", True),
        ("a-b", "a-bc", False),
        ("a-b", "xa-b", False),
        ("**", "x", True),
        ("*", None, False),
    ],
)
def test_a_star_stands_for_any_text(pattern, namespace, matches):
    assert (
        bool(policy.protecting(namespace, validate({"protect_namespaces": [pattern]}))) is matches
    )


@pytest.mark.parametrize(
    "value", ["kube_system", "Kube", "a?", "[a]*", "a.b", "-a", "a-", "a b", "a/*"]
)
def test_what_is_no_pattern_is_an_error_that_says_what_is_allowed(value):
    with pytest.raises(OptionError, match=r"lower-case letters, digits, dashes and \*"):
        validate({"protect_namespaces": [value]})


@pytest.mark.parametrize(
    "name",
    [
        "nomad",
        "buildkitd",
        "buildkit-runc",
        "rootlesskit",
        "rootlesskit-docker-proxy",
        "lxcfs",
        "lxc-start",
        "slurmstepd",
        "slurmd",
        "sshd",
        "sshd-session",
        "sshd-auth",
        "containerd",
        "containerd-shim-runc-v2",
        "containerd-rootless.sh",
        "containerd-rootless-setuptool.sh",
        "dockerd",
        "docker-proxy",
        "conmon",
        "crio",
        "kubelet",
        "k3s-server",
        "podman",
        "fuse-overlayfs",
        "slirp4netns",
        "nvidia-container-runtime",
        "incusd",
        "lxd",
        "starter-suid",
        "condor_starter",
        "dropbear",
        "virtiofsd",
    ],
)
def test_what_runs_the_work_of_others_is_never_touched(name):
    parent = host_process(executable=b"/usr/sbin/" + name.encode())
    assert policy.spared(parent, ALL, ())[0] == "runtime"
    in_a_container = container_process(executable=parent.executable)
    assert policy.spared(in_a_container, ALL, ()) is None, "the name alone protects nobody"


@pytest.mark.parametrize(
    "name",
    [
        "nomadic",
        "sshdx",
        "my-sshd",
        "slurm",
        "python3",
        "cron",
        "podmanx",
        "pastafari",
        "starterkit",
        "ssh",
    ],
)
def test_nearly_the_name_is_another_program(name):
    assert policy.spared(host_process(executable=b"/usr/bin/" + name.encode()), ALL, ()) is None
