"""Blocks of ours in files of others: they come out as they went in."""

from __future__ import annotations

import os
import random

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import edits
from ansible_collections.provider.fleet.plugins.module_utils.runtimes.toml import Lines

PIECES = ("a = 1", "# note", "\n", "\n", "\r\n", "\t", "[t]", "\u2028", "\x0c", "x = '''\n'''", "ü")


def test_any_text_comes_back_byte_for_byte():
    drawn = random.Random(3)
    for _case in range(3000):
        text = "".join(drawn.choices(PIECES, k=drawn.randint(0, 12)))
        changed, lines = text, text.count("\n") + bool(text and not text.endswith("\n"))
        if drawn.random() < 0.7:
            first = drawn.randint(0, lines)
            end = drawn.randint(first, lines)
            changed = edits.insert(changed, Lines(first, end), "imports = []\n")
        if drawn.random() < 0.7:
            changed = edits.append(changed, "[ours]\nb = 2\n")
        assert edits.without(changed, "file") == text, repr(text)


def test_a_file_that_was_made_for_the_block_goes_with_it():
    assert edits.without(edits.append("", "a = 1\n", is_new=True), "file") is None
    assert edits.without(edits.append("", "a = 1\n"), "file") == ""
    others = edits.append("", "a = 1\n", is_new=True) + "b = 2\n"
    assert edits.without(others, "file") == "b = 2\n"


def test_what_others_have_added_since_stays():
    text = edits.append("a = 1", "b = 2\n") + "c = 3\n"
    assert edits.without(text, "file") == "a = 1\nc = 3\n"


@pytest.mark.parametrize("lost", [edits.BEGIN, edits.END], ids=["begin", "end"])
def test_half_a_block_is_refused(lost):
    text = edits.append("a = 1\n", "b = 2\n").replace(lost, "")
    with pytest.raises(edits.Refused, match="file: the line .* is missing"):
        edits.without(text, "file")


def test_owner_mode_and_link_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("a")
    os.chown(target, 1234, 4321)
    target.chmod(0o640)
    link.symlink_to("target")
    edits.replace(str(link), "b\r\n")
    info = target.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, 1234, 4321)
    assert link.is_symlink() and target.read_bytes() == b"b\r\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]


def test_what_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xff")
    with pytest.raises(edits.Refused, match="broken"):
        edits.read(str(path))
    path.write_bytes(b"x" * (edits.MAX_SIZE + 1))
    with pytest.raises(edits.Refused, match="longer than"):
        edits.read(str(path))
    assert edits.read(str(tmp_path / "none")) is None
