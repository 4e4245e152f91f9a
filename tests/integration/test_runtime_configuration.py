"""The handlers that give containers an init, in the configuration of real containerds: 1.6, 1.7 and
2. Everything that was configured before stays, and it all comes back byte for byte.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import (
    containerd,
    edits,
    handlers,
    toml,
)
from rig import containerds
from rig.containerds import NVIDIA

WRAPPERS = "/usr/local/lib/zombie_reaper_init"
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
TEXTS = {"debian": DEBIAN, "nvidia": NVIDIA, "empty": "version = 2", "none": None}


class Node:
    """One containerd and its configuration. program: its path."""

    def __init__(self, program, directory, text):
        self.directory = directory
        (directory / "scratch").mkdir()
        (directory / "etc").mkdir()
        self.config = directory / "etc/config.toml"
        if text is not None:
            self.config.write_bytes(text.encode())
        self.what = containerd.Installation("containerd", program, str(self.config), (), "")

    def read(self):
        return containerd.Containerd(self.what, self.run, str(self.directory / "scratch"), WRAPPERS)

    def run(self, words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def dump(self):
        words = ["--config", str(self.config), "config", "dump"]
        if not self.config.exists():
            words = ["config", "default"]
        status, out, err = self.run([self.what.binary, *words])
        assert status == 0, err
        return toml.read(out).tree

    def apply(self, files):
        for path, text in files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            edits.replace(path, text)

    def files(self):
        return {
            os.path.join(place, name): open(os.path.join(place, name), "rb").read()
            for place, _places, names in os.walk(self.directory / "etc")
            for name in names
        }


@pytest.fixture(
    params=[None, *(pytest.param(suite, marks=pytest.mark.full) for suite in containerds.SUITES)],
    ids=["this machine's", *containerds.SUITES],
)
def program(request):
    return containerds.path(request.param)


def runtimes(dump):
    for plugin in (containerd.PLUGIN_3, containerd.PLUGIN_2):
        found = toml.get(dump, "plugins", plugin, "containerd")
        if found:
            return found
    raise AssertionError("there is no CRI plugin")


def expected(before, default):
    """What there was, and our handlers."""
    after = copy.deepcopy(before)
    there = runtimes(after)
    for wraps, table in list(there["runtimes"].items()):
        if table["runtime_type"] != "io.containerd.runc.v2":
            continue
        name = "init" if wraps == "runc" else "init-" + wraps
        ours = there["runtimes"][name] = copy.deepcopy(table)
        real = table["options"].get("BinaryName") or "runc"
        ours["options"]["BinaryName"] = f"{WRAPPERS}/runtimes/{name}/{os.path.basename(real)}"
        ours["pod_annotations"] = [*table["pod_annotations"], handlers.OPT_OUT]
        if default and wraps == there["default_runtime_name"]:
            new_default = name
    if default:
        there["default_runtime_name"] = new_default
    return after


def without_imports(dump):
    return {key: value for key, value in dump.items() if key != "imports"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("default", [False, True], ids=["by name", "default"])
def test_all_that_was_configured_stays_and_comes_back(program, tmp_path, name, default):
    node = Node(program, tmp_path, TEXTS[name])
    files, before = node.files(), node.dump()
    change = node.read().present(default)
    assert node.files() == files
    node.apply(change.files)
    assert without_imports(node.dump()) == without_imports(expected(before, default))
    node.read().verify([handler.name for handler in change.plan.handlers])

    assert node.read().present(default).files == change.files  # nothing to do a second time
    node.apply(node.read().present(not default).files)
    node.apply(node.read().absent())
    assert node.files() == files and node.dump() == before


def test_a_file_of_our_own_where_that_replaces_nothing(tmp_path):
    """containerd 2 merges; 1 would drop all else that is set for its plugin."""
    for suite, count in ((None, 1), ("sid", 2)):
        (tmp_path / str(suite)).mkdir()
        node = Node(containerds.path(suite), tmp_path / str(suite), NVIDIA)
        files = node.read().present(False).files
        assert len(files) == count
        if count == 2:
            assert edits.without(files[str(node.config)], "") == NVIDIA
            assert "runtimes" not in files[str(node.config)].replace(NVIDIA, "")


def test_a_directory_that_is_imported_already_gets_the_file(tmp_path):
    node = Node(containerds.path("sid"), tmp_path, 'version = 3\nimports = ["more/*.toml"]\n')
    (tmp_path / "etc/more").mkdir()
    (tmp_path / "etc/more/a.toml").write_text("version = 3\noom_score = -7\n")
    files, before = node.files(), node.dump()
    assert before["oom_score"] == -7
    change = node.read().present(True)
    assert change.files.pop(str(node.config)) == files[str(node.config)].decode()
    assert list(change.files) == [str(tmp_path / "etc/more/zombie-reaper-init.toml")]
    node.apply(change.files)
    assert without_imports(node.dump()) == without_imports(expected(before, True))
    node.apply(node.read().absent())
    assert node.files() == files


OTHERS = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.init]
  runtime_type = "io.containerd.runc.v2"
"""


INLINE = 'version = 2\nplugins = {"io.containerd.grpc.v1.cri" = {sandbox_image = "p"}}\n'
REFUSED = {
    "broken": (DEBIAN + "[plugins", "line 10 column 9: ] is missing"),
    "broken_for_containerd": (
        DEBIAN.replace("version = 2", "version = 2\noom_score = 'none'"),
        "containerd cannot read it",
    ),
    "of_version_1": (DEBIAN.replace("version = 2", "# none"), "version 1"),
    "another_handler": (NVIDIA + "\n" + OTHERS, "already that is not of this collection"),
    "another_default": (NVIDIA.replace('"nvidia" #', '"kata" #'), "kata, cannot be given an init"),
    "half_a_block": (DEBIAN.replace("version = 2", "version = 2\n" + edits.BEGIN), "is missing"),
    "an_inline_table": (INLINE, "Add this to its configuration by hand"),
}


@pytest.mark.parametrize("text, said", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_added_to_safely_is_refused(tmp_path, text, said):
    node = Node(containerds.path(None), tmp_path, text)
    files = node.files()
    with pytest.raises(edits.Refused) as refused:
        node.read().present(True)
    assert said in str(refused.value)
    assert node.files() == files


def test_a_file_that_is_imported_is_not_overridden(tmp_path):
    """With containerd 1, the plugin's table of the imported file is the only one that counts."""
    node = Node(containerds.path(None), tmp_path, 'version = 2\nimports = ["cri.toml"]\n')
    (tmp_path / "etc/cri.toml").write_text(NVIDIA)
    with pytest.raises(edits.Refused, match="by hand") as refused:
        node.read().present(False)
    assert "runtimes.init-nvidia]" in str(refused.value)


def test_tables_that_another_program_has_moved_are_refused(tmp_path):
    """nvidia-ctk, for one, writes the file anew without comments."""
    node = Node(containerds.path(None), tmp_path, NVIDIA)
    node.apply(node.read().present(False).files)
    lines = node.config.read_text().splitlines(keepends=True)
    node.config.write_text("".join(line for line in lines if not line.startswith("#")))
    with pytest.raises(edits.Refused, match="Remove the tables of these handlers by hand"):
        node.read().absent()


DEFAULT = '[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "%s"\n'


def test_a_default_of_somebody_else_s_that_would_be_gone_is_refused(tmp_path):
    """No pod would start. k3s, for one, writes what its default-runtime says."""
    node = Node(containerds.path(None), tmp_path, "version = 2\n" + DEFAULT % "runc")
    change = node.read().present(False)
    node.apply(change.files)
    installed = tmp_path / "installed"
    (installed / "runtimes/init").mkdir(parents=True)
    text = node.config.read_text()

    def absent():
        return containerd.Containerd(
            node.what, node.run, str(tmp_path / "scratch"), str(installed)
        ).absent()

    assert absent()
    node.config.write_text(text.replace('"runc"\n', '"init"\n', 1))
    with pytest.raises(edits.Refused, match=r"the default handler.*no pod would start"):
        absent()


@pytest.mark.parametrize("has_program", [True, False])
def test_what_a_containerd_that_is_gone_has_left_is_found(tmp_path, monkeypatch, has_program):
    """With a handler of ours as its default, no pod would start once it is installed again."""
    node = Node(containerds.path(None), tmp_path, DEBIAN)
    if not has_program:
        node.what = node.what._replace(binary=str(tmp_path / "none"))
    monkeypatch.setattr(containerd, "CANDIDATES", (node.what,))
    assert containerd.find() == ([node.what] if has_program else [])
    assert containerd.find(removed=True) == [node.what]
    node.config.unlink()
    assert containerd.find(removed=True) == ([node.what] if has_program else [])
    node.apply({str(tmp_path / "etc/conf.d" / containerd.DROP_IN): ""})
    assert containerd.find(removed=True) == [node.what]


BLOCKS = (
    '[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "p" # note\n',
    "[plugins.'io.containerd.grpc.v1.cri'.containerd]\n\tdefault_runtime_name = 'crun'\n",
    '[plugins."io.containerd.grpc.v1.cri".containerd]\n',
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]\n'
    'runtime_type = "io.containerd.runc.v2"\noptions = {BinaryName = "/opt/crun"}\n',
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\r\n'
    'runtime_type = "io.containerd.runc.v2"\r\n',
    "[debug]\nlevel = 'info'\n\n\n",
    "# the end",
)


@pytest.mark.full
def test_generated_configurations_come_back_byte_for_byte(program, tmp_path):
    drawn = random.Random(16)
    done = 0
    while done < 12:
        parts = drawn.sample(BLOCKS, drawn.randint(0, len(BLOCKS)))
        if sum("cri'.containerd]" in part or 'cri".containerd]' in part for part in parts) > 1:
            continue
        whole = "".join(parts)
        if ("default_runtime_name" in whole) != ("/opt/crun" in whole):
            continue  # a default that is not there
        done += 1
        text = "version = 2\n" + "".join(sorted(parts, key=lambda part: part == "# the end"))
        (tmp_path / str(done)).mkdir()
        node = Node(program, tmp_path / str(done), text)
        files, before = node.files(), node.dump()
        node.apply(node.read().present(True).files)
        assert without_imports(node.dump()) == without_imports(expected(before, True)), text
        node.apply(node.read().absent())
        assert node.files() == files, text


# k3s and RKE2: what stands in for their containerd is this one, by the path that they have it at


class Rancher(Node):
    """The configuration that k3s wrote, and the template that it will write the next one from."""

    def __init__(self, program, directory, text, template=None, name="config.toml.tmpl"):
        super().__init__(program, directory, text)
        self.what = self.what._replace(name="k3s", template=str(directory / "etc/config"))
        self.template = directory / "etc" / name
        if template is not None:
            self.template.write_text(template)

    def start(self):
        """What k3s does with the template at its start."""
        base = self.base if hasattr(self, "base") else self.config.read_text()
        self.base = base
        text = self.template.read_text() if self.template.exists() else '{{ template "base" . }}'
        self.config.write_text(text.replace('{{ template "base" . }}', base))


@pytest.mark.parametrize("template", [None, '# ours\n{{ template "base" . }}\n[debug]\n'])
def test_the_template_of_k3s(tmp_path, template):
    node = Rancher(containerds.path(None), tmp_path, NVIDIA, template)
    node.start()
    files, before = node.files(), node.dump()
    change = node.read().present(False)
    assert list(change.files) == [str(node.template)]
    node.apply(change.files)
    assert '{{ template "base" . }}' in node.template.read_text()
    node.start()
    assert without_imports(node.dump()) == without_imports(expected(before, False))
    assert node.read().present(False).files == change.files
    node.apply(node.read().absent())
    node.start()
    assert node.files() == files


def test_containerd_2_of_k3s_gets_a_file_where_it_imports_them(tmp_path):
    text = 'version = 3\nimports = ["{}/etc/config-v3.toml.d/*.toml"]\n'.format(tmp_path)
    node = Rancher(containerds.path("sid"), tmp_path, text)
    before = node.dump()
    change = node.read().present(True)
    assert list(change.files) == [str(tmp_path / "etc/config-v3.toml.d/zombie-reaper-init.toml")]
    node.apply(change.files)
    assert without_imports(node.dump()) == without_imports(expected(before, True))


def test_containerd_2_of_k3s_gets_the_template_of_its_version(tmp_path):
    node = Rancher(containerds.path("sid"), tmp_path, "version = 3\n", name="config-v3.toml.tmpl")
    node.start()
    before = node.dump()
    change = node.read().present(False)
    assert list(change.files) == [str(node.template)]
    node.apply(change.files)
    node.start()
    assert without_imports(node.dump()) == without_imports(expected(before, False))


@pytest.mark.parametrize(
    "template, default, said",
    [
        (NVIDIA, False, "does not use the base template"),
        (None, True, "would not keep everything"),
    ],
    ids=["its_own", "as_default"],
)
def test_a_template_that_cannot_be_added_to_is_refused(tmp_path, template, default, said):
    node = Rancher(containerds.path(None), tmp_path, NVIDIA, template)
    files = node.files()
    with pytest.raises(edits.Refused) as refused:
        node.read().present(default)
    assert said in str(refused.value)
    assert "by hand" in str(refused.value) and "runtimes.init-nvidia]" in str(refused.value)
    assert node.files() == files


def test_manifests():
    (manifest,) = handlers.runtime_classes(["init"])
    assert json.loads(json.dumps(manifest))["handler"] == manifest["metadata"]["name"] == "init"
    assert manifest["apiVersion"] == "node.k8s.io/v1"
