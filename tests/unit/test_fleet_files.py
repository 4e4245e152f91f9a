"""The report's CSV and JSON, and how its files are written."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_files
from hypothesis import given
from hypothesis import strategies as st
from rig import fleet as rig

DONE = rig.fleet_of(
    {
        "a": rig.look(rig.offender(), last_sweep=rig.sweep(rig.acted(ended=True))),
        "b": rig.UNREACHABLE,
    },
    {"a": rig.audit(rig.container())},
)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_line_for_each_of_every_kind():
    read = rows(fleet_files.as_csv(DONE))
    assert [(row["kind"], row["host"]) for row in read] == [
        ("node", "b"),
        ("node", "a"),
        ("offender", "a"),
        ("init", "a"),
        ("action", "a"),
    ]
    assert (read[0]["state"], read[0]["why"]) == ("unreachable", rig.UNREACHABLE["msg"])
    assert (read[2]["zombies"], read[2]["tenant"], read[4]["ended"]) == ("3", "shop", "yes")


def test_every_key_of_every_row_is_a_column():
    told = {key for kind in fleet_files.KINDS.values() for row in DONE[kind] for key in row}
    assert told - set(fleet_files.COLUMNS) == {
        "offenders",
        "tenants",
        "short_of_pids",
        "cleared_by",
        "cures",
    }


@pytest.mark.parametrize(
    "name",
    [
        "=1+2",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "＝1",
        "＠x",
        "\r=1",
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://x","y")',
    ],
)
def test_no_cell_of_a_tenant_is_a_formula(name):
    for hostile in ({"a": rig.look(rig.offender(name=name))}, {name: rig.UNREACHABLE}):
        text = fleet_files.as_csv(rig.fleet_of(hostile))
        for row in csv.reader(io.StringIO(text)):
            assert not any(cell.strip().startswith(tuple("=+-@＝＋－＠")) for cell in row)


def test_plain_cells_stay_as_they_are():
    _head, _node, row = csv.reader(
        io.StringIO(
            fleet_files.as_csv(rig.fleet_of({"a": rig.look(rig.offender(name='a;b,"c"\''))}))
        )
    )
    assert 'a;b,"c"\'' in row


@given(st.text(max_size=20))
def test_a_cell_never_becomes_two(name):
    read = rows(fleet_files.as_csv(rig.fleet_of({"a": rig.look(rig.offender(name=name))})))
    assert len(read) == 2 and set(read[1]) == set(fleet_files.COLUMNS)


def test_json_has_it_all():
    read = json.loads(fleet_files.as_json(DONE, [{"tenant": "shop", "leaked": 3}]))
    assert read == {**DONE, "tenants_30_days": [{"tenant": "shop", "leaked": 3}]}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "fleet.html"
    fleet_files.write(str(file), "old")
    before = file.stat().st_ino
    fleet_files.write(str(file), "new\n")
    assert file.read_text() == "new\n" and file.stat().st_ino != before
    with pytest.raises(UnicodeEncodeError):
        fleet_files.write(str(file), "torn \udcff")
    assert file.read_text() == "new\n" and os.listdir(tmp_path) == ["fleet.html"]
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError):
        fleet_files.write(str(tmp_path / "directory"), "x")
    assert sorted(os.listdir(tmp_path)) == ["directory", "fleet.html"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "fleet.html").symlink_to("precious")
    fleet_files.write(str(tmp_path / "fleet.html"), "new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "fleet.html").is_symlink()


@pytest.mark.parametrize("check_mode", [False, True])
def test_directory(tmp_path, check_mode):
    made = fleet_files.make_directory(str(tmp_path / "a" / "b"), check_mode)
    assert made == str(tmp_path / "a" / "b") and os.path.isdir(made) is not check_mode
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError):
            fleet_files.make_directory(str(bad), check_mode)
