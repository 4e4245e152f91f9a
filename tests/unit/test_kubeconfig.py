"""The kubelet's credential is read from the kubeconfigs that there are, and anything else is refused
in a sentence, with nothing secret in it.
"""

from __future__ import annotations

import base64
import os

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper import kubeconfig
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import CannotSignIn
from hypothesis import given
from hypothesis import strategies as st

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DATA = base64.b64encode(PEM).decode()

# kubeadm; kubespray has the same, with a name for its load balancer
KUBEADM = f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {DATA}
    server: https://lb-apiserver.kubernetes.local:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: system:node:node1
  name: system:node:node1@kubernetes
current-context: system:node:node1@kubernetes
kind: Config
preferences: {{}}
users:
- name: system:node:node1
  user:
    client-certificate: DIR/client.pem
    client-key: DIR/client.pem
"""
# k3s and RKE2
K3S = """apiVersion: v1
clusters:
- cluster:
    certificate-authority: DIR/ca.crt
    server: https://127.0.0.1:6444
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    client-certificate: DIR/client.pem
    client-key: DIR/client.pem
"""
# MicroK8s and k0s: all of it in the file; lists indented, quotes, an address of IPv6
INLINE = f"""---
# written by hand
apiVersion: "v1"
kind: Config
current-context: 'c'
contexts:
  - name: c
    context:
      cluster: d
      user: e
clusters:
  - name: other
    cluster:
      server: http://127.0.0.1:8080
  - name: d
    cluster:
      server: "https://[fd00::1]:16443/"
      tls-server-name: kubernetes
      insecure-skip-tls-verify: false
      certificate-authority-data: {DATA}
users:
  - name: e
    user:
      client-certificate-data: {DATA}
      client-key-data: {DATA}
"""


@pytest.fixture
def written(tmp_path):
    """Writes a kubeconfig and the files that it names, and returns its path."""
    for name in ("client.pem", "ca.crt"):
        (tmp_path / name).write_bytes(PEM)

    def write(text):
        path = tmp_path / "kubelet.conf"
        path.write_text(text.replace("DIR", str(tmp_path)), encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "host", "port", "server_name"),
    [
        (KUBEADM, "lb-apiserver.kubernetes.local", 6443, "lb-apiserver.kubernetes.local"),
        (K3S, "127.0.0.1", 6444, "127.0.0.1"),
        (K3S.replace(":6444", ""), "127.0.0.1", 443, "127.0.0.1"),
        (K3S.replace("DIR/", ""), "127.0.0.1", 6444, "127.0.0.1"),  # relative to the file
        (K3S.replace("\n", "\r\n"), "127.0.0.1", 6444, "127.0.0.1"),
        (INLINE, "fd00::1", 16443, "kubernetes"),
    ],
)
def test_what_distributions_write_is_read(written, text, host, port, server_name):
    assert kubeconfig.read(written(text)) == kubeconfig.Credential(
        host=host,
        port=port,
        server_name=server_name,
        authority=PEM.decode(),
        certificate=PEM,
        key=PEM,
    )


@pytest.mark.parametrize("text", [KUBEADM, K3S, INLINE])
def test_it_is_read_as_yaml_is(text):
    text = text.replace(" false", " 'false'")  # the one boolean; it is only compared with text
    assert emptied(kubeconfig._Reader(text).config()) == emptied(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("https:", "http:", "its server is not of the form https://HOST:PORT"),
        ("6444", "66666", "its server is not of the form"),
        ("6444", "6444/prefix", "its server is not of the form"),
        ("https://", "https://me@", "its server is not of the form"),
        (
            "    server:",
            "    insecure-skip-tls-verify: true\n    server:",
            "insecure-skip-tls-verify is set",
        ),
        (
            "    server:",
            "    proxy-url: http://proxy\n    server:",
            "the cluster has proxy-url, which is not supported",
        ),
        ("    certificate-authority: DIR/ca.crt\n", "", "it has neither certificate-authority nor"),
        ("DIR/ca.crt", "DIR/gone", "gone cannot be read: No such file or directory"),
        ("DIR/ca.crt", "DIR", "cannot be read: it is not a regular file"),
        ("client-key: DIR/client.pem", "token: s3cret", "the kubelet signs in by token; only"),
        (
            "client-key: DIR/client.pem",
            "exec:\n      command: aws\n      args:\n        - eks",
            "the kubelet signs in by exec; only a client certificate is usable",
        ),
        ("client-key: DIR", "client-key-data: '%s3cret'\n    x: DIR", "x, which is not supported"),
        (
            "client-key: DIR/client.pem",
            "client-key-data: s3cre",
            "client-key-data is not base64",
        ),
        ("current-context: Default", "current-context: other", "contexts has no single context"),
        ("  name: local", "  name: elsewhere", "clusters has no single cluster"),
        ("- name: user", "- name: nobody", "users has no single user"),
        ("users:", "users: []\nothers:", "users has no single user"),
        ("kind: Config", "kind: Config\nkind: Config", "line 15 gives kind a second time"),
        ("kind: Config", "kind: &anchor Config", "the value in line 14 is not one plain"),
        ("kind: Config", "kind: !!str Config", "the value in line 14 is not one plain"),
        ("kind: Config", "kind: |\n  Config", "the value in line 14 is not one plain"),
        ("kind: Config", "kind: Config # or not", "the value in line 14 is not one plain"),
        ("kind: Config", "kind: {a: b}", "the value in line 14 is not one plain"),
        ("kind: Config", "\tkind: Config", "line 14 is not of the form KEY: VALUE"),
        ("kind: Config", "<<: *other", "line 14 is not of the form KEY: VALUE"),
        ("kind: Config", "kind: Config\n...\nkind: C", "line 15 is not of the form KEY: VALUE"),
        ("kind: Config", "   kind: Config", "line 14 is indented unexpectedly"),
        ("kind: Config", "kind: Cönfig", "has characters other than ASCII"),
    ],
)
def test_anything_else_is_refused(written, old, new, sentence):
    assert old in K3S
    path = written(K3S.replace(old, new, 1))
    with pytest.raises(CannotSignIn) as refused:
        kubeconfig.read(path)
    assert sentence in str(refused.value)
    assert os.path.dirname(path) in str(refused.value)
    assert "s3cre" not in str(refused.value)


@pytest.mark.parametrize("name", ["kubelet.conf", "client.pem", "ca.crt"])
@pytest.mark.parametrize("change", ["owner", "group may write"])
def test_what_others_can_write_is_refused(written, tmp_path, name, change):
    path = written(K3S)
    if change == "owner":
        os.chown(tmp_path / name, 65534, -1)
    else:
        os.chmod(tmp_path / name, 0o620)
    with pytest.raises(CannotSignIn, match=f"{name} can be written by others than root"):
        kubeconfig.read(path)


@pytest.mark.parametrize("kind", ["fifo", "endless", "long"])
def test_a_file_that_never_ends_is_not_read_to_its_end(tmp_path, kind):
    path = tmp_path / "kubelet.conf"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"#" * (kubeconfig.MAX_BYTES + 1))
    with pytest.raises(CannotSignIn, match=r"cannot be read: it is (not a regular|longer than)"):
        kubeconfig.read(str(path))


@given(st.text(alphabet="abc:-# \n\"'{}[]&*|\t", max_size=200))
def test_any_text_is_refused_or_read_as_yaml_does(text):
    try:
        found = kubeconfig._Reader(text).config()
    except kubeconfig._Malformed:
        return
    # empty values are null there, and {} and [] are what they are
    assert emptied(found) == emptied(yaml.safe_load(text) or "")


def emptied(value):
    if not value:
        return ""
    if isinstance(value, dict):
        return {key: emptied(inner) for key, inner in value.items()}
    return [emptied(inner) for inner in value] if isinstance(value, list) else value


def test_depth_is_bounded(written):
    text = "".join(f"{' ' * depth}a{depth}:\n" for depth in range(300))
    with pytest.raises(CannotSignIn, match="is indented unexpectedly"):
        kubeconfig.read(written(text))


def test_it_is_looked_for_where_distributions_have_it(monkeypatch, tmp_path):
    places = [tmp_path / "a", tmp_path / "b"]
    monkeypatch.setattr(kubeconfig, "PLACES", tuple(map(str, places)))
    assert kubeconfig.find("auto") is None
    for place in reversed(places):
        place.touch()
        assert kubeconfig.find("auto") == str(place)
    assert kubeconfig.find("/given") == "/given"
