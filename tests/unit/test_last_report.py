"""What zombie_info tells of the last sweep: read from root's own file and from no other."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper.last_report import (
    MAX_ACTED_ON,
    MAX_REPORT_BYTES,
    last_sweep,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from ansible_collections.provider.fleet.plugins.modules import zombie_info, zombie_reap
from rig import fleet as rig

LAST = {
    **rig.look(rig.acted(5), rig.offender(2, outcome="left_alone")),
    "check_mode": False,
    "duration": 0.25,
    "ended_early": False,
}


@pytest.fixture
def paths(tmp_path):
    return Paths(run=str(tmp_path))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "last.json"
    path.write_text(json.dumps(LAST))
    path.chmod(0o600)
    os.utime(path, (1000, 1000.5))
    return path


def test_what_it_acted_on_and_when(paths, file):
    assert last_sweep(paths) == (
        {
            "at": 1000.5,
            "counts": LAST["counts"],
            "duration": 0.25,
            "ended_early": False,
            "offenders": [LAST["offenders"][0]],
        },
        None,
    )


def test_none_before_the_first(paths):
    assert last_sweep(paths) == (None, None)


def test_it_is_bounded(paths, file):
    file.write_text(json.dumps({**LAST, "offenders": [rig.acted(1)] * 1000}))
    assert len(last_sweep(paths)[0]["offenders"]) == MAX_ACTED_ON


def test_the_documentation_names_every_key(paths, file):
    documented = yaml.safe_load(zombie_info.RETURN)["last_sweep"]["contains"]
    assert set(documented) == set(last_sweep(paths)[0])
    assert set(yaml.safe_load(zombie_reap.RETURN)["counts"]["sample"]) >= {
        "parents_ended",
        "cleared",
    }


def not_a_file_of_root_s(file):
    os.chown(file, 1234, 1234)


def writable_by_others(file):
    file.chmod(0o602)


def a_link(file):
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def a_fifo(file):
    file.unlink()
    os.mkfifo(file, 0o600)


def a_directory(file):
    file.unlink()
    file.mkdir()


def no_json(file):
    file.write_text("{")


def another_version(file):
    file.write_text(json.dumps({**LAST, "schema": 99}))


def something_else(file):
    file.write_text('{"schema": 1, "offenders": [7]}')


def too_deep(file):
    file.write_text("[" * 200000)


def too_big(file):
    with open(file, "a") as out:
        out.write(" " * MAX_REPORT_BYTES + "x")


@pytest.mark.parametrize(
    "spoil",
    [
        not_a_file_of_root_s,
        writable_by_others,
        a_link,
        a_fifo,
        a_directory,
        no_json,
        another_version,
        something_else,
        too_deep,
        too_big,
    ],
    ids=lambda function: function.__name__,
)
def test_anything_else_is_not_read_and_is_told(paths, file, spoil):
    spoil(file)
    told, warning = last_sweep(paths)
    assert told is None
    assert str(file) in warning and " was not read: " in warning
