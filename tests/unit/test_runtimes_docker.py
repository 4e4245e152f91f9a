"""Docker's options: what is right and what is broken, and how they come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.runtimes import docker, edits
from rig.node import wait_until

# a file, and what is said of it; nothing where it is right
CHECKED = {
    '{"mtu": 1400,}': "line 1",
    '# ours\n{"mtu": 1400}': "line 1 column 1",
    "": "line 1 column 1",
    '{"log-opts": {"max-size": "10m"': "line 1",
    '{"mtu": NaN}': "NaN",
    '{"mtu": {{ 1/0 }}}': "line 1 column 10",
    "[" * 100000: "broken",
    '"init: true"': "not an object",
    "null": "not an object",
    "true": "not an object",
    '{"log-opts": {"max-size": "1m", "max-size": "2m"}, "init": false}': '"max-size"',
    '{"mtu": 1400}'.encode("utf-16"): "utf-8",
    b"\xef\xbb\xbf{}": "BOM",
    '{"log-opts": {"tag": "a"}, "builder": {"tag": "b"}}': "",  # the same key in two objects
    r'{"labels": ["\"a\":", "a\\", "\"a\":"], "x\"y": {"\u00fc": 1}}': "",
    "{}": "",
}


def as_bytes(text) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.mark.parametrize("text, said", CHECKED.items(), ids=[repr(text)[:40] for text in CHECKED])
def test_what_is_right_and_what_is_broken(text, said, tmp_path):
    path = tmp_path / "daemon.json"
    path.write_bytes(as_bytes(text))
    if not said:
        docker.options(edits.read(str(path)), str(path))
        return
    with pytest.raises(edits.Refused) as refused:
        docker.options(edits.read(str(path)), str(path))
    told = str(refused.value)
    assert said in told and str(path) in told
    assert len(told.splitlines()) == 1


def test_a_key_with_two_values_is_refused():
    """Docker takes the last one."""
    with pytest.raises(edits.Refused, match='more than one value for "dns"'):
        docker.options('{"dns": ["10.0.0.1"], "dns": []}', "daemon.json")


def apply(files):
    for path, text in files.items():
        edits.replace(path, text)


def changed(tmp_path, before):
    path, kept = tmp_path / "daemon.json", tmp_path / "kept"
    if before is not None:
        path.write_bytes(before.encode())
    apply(docker.present(str(path), str(kept)))
    assert json.loads(path.read_text())["init"] is True
    return path, kept


@pytest.mark.parametrize("before", [None, "{}", '{"init":false}', '{ "mtu" : 1400 }\r\n'])
def test_it_comes_back_byte_for_byte(tmp_path, before):
    path, kept = changed(tmp_path, before)
    apply(docker.absent(str(kept)))
    assert (path.read_bytes().decode() if path.exists() else None) == before
    assert not kept.exists()


@pytest.mark.parametrize(
    "before, after", [("{}", {}), ('{"init": false}', {"init": False}), (None, {})]
)
def test_only_the_option_is_taken_back_where_somebody_has_changed_the_file_since(
    tmp_path, before, after
):
    path, kept = changed(tmp_path, before)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mtu": 1400}))
    apply(docker.absent(str(kept)))
    assert json.loads(path.read_text()) == {**after, "mtu": 1400}


@pytest.fixture
def started(tmp_path):
    """Runs a process that looks like Docker; the path of its PID file."""
    running = []

    def start(*flags, name="dockerd"):
        words = ["/usr/bin/" + name, "-c", "sleep 1000; :", *flags]
        running.append(subprocess.Popen(words, executable="/bin/sh", start_new_session=True))
        # the kernel closes what exec closes, which Popen waits for, before it sets the arguments
        wait_until(Path(f"/proc/{running[-1].pid}/cmdline").read_bytes)
        file = tmp_path / "docker.pid"
        file.write_text(str(running[-1].pid))
        return str(file)

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    "flags, found",
    [
        ([], None),
        (["--init"], True),
        (["--debug", "--init=1", "-H", "fd://"], True),
        (["--init", "--init=false"], False),
        (["--init-path=/x"], None),
        (["--init", "--config-file", "/another"], None),
        (["--init", "--config-file=/etc/docker/daemon.json"], True),
    ],
)
def test_the_flag_that_docker_runs_with(started, flags, found):
    assert docker.flag("/etc/docker/daemon.json", started(*flags)) is found


def test_only_dockerd_is_docker(started, tmp_path):
    assert docker.flag("/etc/docker/daemon.json", started("--init", name="another")) is None
    assert docker.flag("/etc/docker/daemon.json", str(tmp_path / "none")) is None


def test_options_that_docker_would_not_start_with_are_not_written(started, tmp_path):
    """It refuses a directive that is both a flag and in its file."""
    path, kept = str(tmp_path / "daemon.json"), str(tmp_path / "kept")
    file = "--config-file=" + path
    assert docker.present(path, kept, started("--init", file)) == {}
    with pytest.raises(edits.Refused, match="--init=false"):
        docker.present(path, kept, started("--init=false", file))
    assert path in docker.present(path, kept, started(file))


def test_an_init_of_the_administrator_stays(tmp_path):
    path, kept = tmp_path / "daemon.json", tmp_path / "kept"
    path.write_text('{"init":true}')
    assert docker.present(str(path), str(kept)) == {} == docker.absent(str(kept))


def test_one_node_has_one_file_of_options(tmp_path):
    _path, kept = changed(tmp_path, "{}")
    (tmp_path / "another.json").write_text("{}")
    with pytest.raises(edits.Refused, match="Take that back first"):
        docker.present(str(tmp_path / "another.json"), str(kept))
