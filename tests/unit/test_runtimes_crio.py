"""Handlers of CRI-O, by the format of its files only: no Debian has CRI-O, so none is run here."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import crio, edits, toml

WRAPPERS = "/usr/local/lib/zombie_reaper_init"
# As the packages of CRI-O 1.31 and later have it, and as nvidia-ctk adds to it
PACKAGED = """\
[crio.image]
signature_policy = "/etc/crio/policy.json"

[crio.runtime]
default_runtime = "crun"

[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = [
    "io.containers.trace-syscall",
]

[crio.runtime.runtimes.runc]
runtime_path = "/usr/libexec/crio/runc"
runtime_root = "/run/runc"
"""
NVIDIA = """\
[crio.runtime.runtimes.nvidia]
runtime_path = "/usr/bin/nvidia-container-runtime"
runtime_type = "oci"
[crio.runtime.runtimes.kata]
runtime_path = "/usr/bin/containerd-shim-kata-v2"
runtime_type = "vm"
"""


@pytest.fixture
def node(tmp_path):
    (tmp_path / "crio.conf.d").mkdir()
    (tmp_path / "crio.conf.d/10-crio.conf").write_text(PACKAGED)
    (tmp_path / "crio.conf.d/99-nvidia.conf").write_text(NVIDIA)

    def made():
        return crio.Crio(WRAPPERS, str(tmp_path / "crio.conf"), str(tmp_path / "crio.conf.d"))

    return made


def test_each_handler_like_runc_gets_one_beside_it_with_the_same_settings(node):
    ours = node()
    change = ours.present(as_default=False)
    assert list(change.files) == [ours.drop_in]
    added = toml.read(change.files[ours.drop_in]).tree["crio"]["runtime"]
    there = toml.read(PACKAGED).tree["crio"]["runtime"]["runtimes"]
    assert added == {
        "runtimes": {
            "init": {**there["runc"], "runtime_path": f"{WRAPPERS}/runtimes/init/runc"},
            "init-crun": {**there["crun"], "runtime_path": f"{WRAPPERS}/runtimes/init-crun/crun"},
            "init-nvidia": {
                "runtime_type": "oci",
                "runtime_path": f"{WRAPPERS}/runtimes/init-nvidia/nvidia-container-runtime",
            },
        }
    }
    assert change.plan.skipped == ("kata is no runtime like runc, so it gets no init",)


def test_the_default_becomes_the_one_that_does_what_the_default_does(node):
    ours = node()
    text = ours.present(as_default=True).files[ours.drop_in]
    assert toml.read(text).tree["crio"]["runtime"]["default_runtime"] == "init-crun"


def test_a_second_time_and_back(node):
    first = node().present(as_default=True)
    for path, text in first.files.items():
        edits.replace(path, text)
    assert node().present(as_default=True) == first
    assert node().absent() == {node().drop_in: None}


@pytest.mark.parametrize(
    "text, said",
    {
        "[crio.runtime\n": "] is missing",
        '[crio.runtime]\ndefault_runtime = "kata"\n': "cannot be given an init",
        "[crio.runtime.runtimes.init]\n": "already that is not of this collection",
    }.items(),
)
def test_what_is_refused(node, tmp_path, text, said):
    path = tmp_path / "crio.conf.d/99-another.conf"
    path.write_text(text)
    with pytest.raises(edits.Refused) as refused:
        node().present(as_default=True)
    assert said in str(refused.value)


def test_a_default_that_comes_after_ours_is_refused(node, tmp_path):
    (tmp_path / "crio.conf.d/99-zz.conf").write_text('[crio.runtime]\ndefault_runtime = "runc"\n')
    with pytest.raises(edits.Refused, match=r"99-zz\.conf, which comes after ours"):
        node().present(as_default=True)
    node().present(as_default=False)


def test_a_default_of_somebody_else_s_that_would_be_gone_is_refused(node, tmp_path):
    """CRI-O would not start without it."""
    installed = tmp_path / "installed"
    (installed / "runtimes/init").mkdir(parents=True)
    for path, text in node().present(as_default=True).files.items():
        edits.replace(path, text)
    ours = crio.Crio(str(installed), str(tmp_path / "crio.conf"), str(tmp_path / "crio.conf.d"))
    assert ours.absent()
    (tmp_path / "crio.conf.d/10-mine.conf").write_text('[crio.runtime]\ndefault_runtime = "init"\n')
    with pytest.raises(edits.Refused, match=r"10-mine\.conf.*init.*the default handler"):
        ours.absent()


def test_built_in_handlers_are_not_guessed(tmp_path):
    with pytest.raises(edits.Refused, match="Write down the one that you use"):
        crio.Crio(WRAPPERS, str(tmp_path / "none"), str(tmp_path / "none.d")).present(False)
