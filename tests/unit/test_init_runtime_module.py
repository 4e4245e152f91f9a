"""What the module init_runtime puts on a node."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest
from ansible_collections.provider.fleet.plugins.module_utils import engine_sources, reaper
from ansible_collections.provider.fleet.plugins.module_utils.reaper.prevention import install
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import edits
from ansible_collections.provider.fleet.plugins.modules import init_runtime
from rig.init_runtime import TINI


@pytest.fixture
def node(tmp_path):
    directory = tmp_path / "lib/init"
    engine = engine_sources.of(reaper, str(directory / install.PACKAGE))
    programs = {path: (text, 0o644) for path, text in engine.items()}
    programs.update(
        install.texts(str(directory), sys.executable, {"init/runtime": str(tmp_path / "real")})
    )

    def run(words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return types.SimpleNamespace(
        directory=str(directory), programs=programs, edits=edits, python=sys.executable, run=run
    )


def test_containers_find_the_init_whatever_the_umask_is(node, tmp_path):
    before = os.umask(0o077)
    try:
        init_runtime.write_programs(node, TINI)
    finally:
        os.umask(before)
    for path in (tmp_path / "lib", tmp_path / "lib/init"):
        assert path.stat().st_mode & 0o7777 == 0o755
    assert os.stat(node.directory + "/init").st_mode & 0o7777 == 0o755


def test_a_program_that_may_not_be_executed_is_put_right(node):
    """No container of its handler would start."""
    init_runtime.write_programs(node, TINI)
    wrapper = os.path.join(node.directory, install.RUNTIMES, "init/runtime")
    os.chmod(wrapper, 0o644)
    assert not init_runtime.is_right(node, wrapper)
    init_runtime.write_programs(node, None)
    assert init_runtime.is_right(node, wrapper)


def test_no_container_waits_for_python_to_compile(node, tmp_path):
    init_runtime.write_programs(node, TINI)
    there = {str(path) for path in tmp_path.rglob("*")}
    wrapper = os.path.join(node.directory, install.RUNTIMES, "init/runtime")
    subprocess.run([wrapper, "create", "id"], check=False, capture_output=True, cwd=tmp_path)
    assert {str(path) for path in tmp_path.rglob("*")} == there
    assert any(path.endswith(".pyc") and "/create." in path for path in there)


@pytest.mark.parametrize("is_used", [False, True])
def test_directories_that_were_made_go_again_unless_somebody_uses_them(node, tmp_path, is_used):
    """The second time as the first: what somebody has made meanwhile is theirs."""
    node.made, node.kept = str(tmp_path / "made"), ""
    file = tmp_path / "etc/conf.d/ours.toml"
    (tmp_path / "etc").mkdir()
    init_runtime.write_configuration(node, {str(file): "ours"}, lambda: None)
    if is_used:
        (file.parent / "theirs.toml").touch()
    init_runtime.write_configuration(node, {str(file): None}, lambda: None)
    init_runtime.remove_made(node)
    assert file.parent.exists() == is_used
    assert (tmp_path / "etc").exists()
    file.parent.mkdir(exist_ok=True)
    init_runtime.remove_made(node)
    assert file.parent.exists()
