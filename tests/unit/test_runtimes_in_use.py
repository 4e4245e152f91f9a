"""Which containers need the programs of the wrappers, by the bundles that containerd leaves."""

from __future__ import annotations

import json

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import in_use

WRAPPERS = "/usr/local/lib/zombie_reaper_init"


@pytest.fixture
def bundle(tmp_path):
    """Makes the bundle of a container."""

    def made(container, runtime, config):
        directory = tmp_path / "io.containerd.runtime.v2.task/k8s.io" / container
        directory.mkdir(parents=True)
        (directory / "runtime").write_text(runtime)
        (directory / "config.json").write_text(config)
        return in_use.containers(WRAPPERS, (str(tmp_path),))

    return made


def test_a_bundle_that_a_wrapper_started(bundle):
    names = {"namespace": "lease-1", "name": "web-0"}
    annotations = {"io.kubernetes.cri.sandbox-" + key: value for key, value in names.items()}
    config = json.dumps({"annotations": annotations})
    assert bundle("a" * 64, WRAPPERS + "/runtimes/init/runc", config) == ["lease-1/web-0"]


@pytest.mark.parametrize("runtime", ["", "runc", WRAPPERS, WRAPPERS + "_2/runtimes/init/runc"])
def test_a_bundle_of_another_runtime(bundle, runtime):
    assert bundle("a" * 64, runtime, "{}") == []


@pytest.mark.parametrize("config", ["", "[]", "null", "{", '{"annotations": 3}', "[" * 100000])
def test_without_a_name_it_is_the_container(bundle, config):
    assert bundle("abc", WRAPPERS + "/runtimes/init/runc", config) == ["abc"]
