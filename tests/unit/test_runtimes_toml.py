"""The reader of TOML: it never reads anything else than Python's own reader does, and tells in which
lines it stands.
"""

from __future__ import annotations

import random
import sys

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import toml

TEXT = (
    """\
version = 2
imports = [ # of others
  "/etc/a.toml", 'b',
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause"  # ours
  containerd.default_runtime_name = 'runc'
  [plugins."io.containerd.grpc.v1.cri".more.runtimes.runc]
    privileged = false
    options = {Root = "", n.m = [1, [2, "x"]], SystemdCgroup = true}
[[stream]]
args = []
[[stream]]
[stream.inner]
long = '''
a
  b'''
numbers = [0x1f, 1_000, -3, 1.5e3, 0o7, 0b1]
"""
    + 'quoted = """\\\n  a\\tb"""\n'
)
NOISE = "[]{}\"'\\=.,#\n\r\t ab01_-+eTx:\x00\x7f\u2028"


def test_values_and_their_lines():
    found = toml.read(TEXT)
    cri = ("plugins", "io.containerd.grpc.v1.cri")
    assert toml.get(found.tree, "imports") == ["/etc/a.toml", "b"]
    assert toml.get(found.tree, *cri, "more", "runtimes", "runc", "options", "n", "m") == [
        1,
        [2, "x"],
    ]
    assert toml.get(found.tree, *cri, "nothing", "below") is None
    assert found.values[("imports",)] == (1, 4)
    name = (*cri, "containerd", "default_runtime_name")
    assert found.values[name] == (6, 7)
    assert found.headers[cri] == (4, 5)
    assert toml.read("a = 1\nb = 2").values[("b",)] == (1, 2)


@pytest.mark.parametrize(
    "text, said",
    {
        "a = 1\nb = ": "line 2 column 5",
        "a = 1\na = 2": "a has a value already",
        "[a]\n[a]": "this table is there already",
        "a = {b = 1}\n[a.c]": "cannot be added to",
        "a = 2026-11-30": "not read here",
        "a = " + "[" * 50: "more than 32",
        "[" + ".".join("a" * 40) + "]": "more than 32 parts",
        "# " + "x" * (1 << 20): "longer than",
        'a = "x': "has no end",
        'a = "\\q"': "no such escape",
        'a = "\\ud800"': "no such character",
        "\ufeffversion = 2": "line 1 column 1",
    }.items(),
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_understood_is_refused_with_its_place(text, said):
    with pytest.raises(toml.TomlError) as refused:
        toml.read(text)
    assert said in str(refused.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python has no tomllib")
def test_it_reads_what_python_reads_or_refuses():
    import tomllib

    drawn = random.Random(16)
    assert toml.read(TEXT).tree == tomllib.loads(TEXT)
    read = 0
    for _case in range(5000):
        begin = drawn.randrange(len(TEXT))
        text = TEXT if drawn.random() < 0.5 else TEXT[begin : begin + 150]
        for _change in range(drawn.randint(0, 3)):
            at = drawn.randrange(len(text) + 1)
            if drawn.random() < 0.5:
                text = text[:at] + drawn.choice(NOISE) + text[at:]
            else:
                text = text[:at] + text[at + drawn.randint(1, 4) :]
        try:
            expected = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            expected = None
        try:
            found = toml.read(text).tree
            read += 1
        except toml.TomlError:
            continue
        assert found == expected, text
    assert read > 500


def test_what_is_written_reads_the_same():
    tree = {
        "name": 'a "b" \\ \n\x00\u00fc',
        "yes": True,
        "number": 7,
        "share": 0.5,
        "list": [1, "x", [False]],
        "options": {"BinaryName": "/x", "a.b": "", "deep": {"c": []}},
    }
    text = toml.write(("plugins", "io.containerd.cri.v1.runtime", "x"), tree)
    assert toml.read(text).tree == {"plugins": {"io.containerd.cri.v1.runtime": {"x": tree}}}
