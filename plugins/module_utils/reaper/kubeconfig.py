# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The credential with which the kubelet of this node signs in to the API server, from its
kubeconfig (client-go, tools/clientcmd).

The standard library reads no YAML, so this reads the few forms that kubeadm, k3s, RKE2, MicroK8s
and k0s write: mappings and lists in block style, and values on one line. Anything else is refused,
never guessed. Only a client certificate is understood.
"""

from __future__ import annotations

import os
import re

from .errors import CannotSignIn
from .files import contents
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

# kubeadm and kubespray; k3s and RKE2 (pkg/agent/config/config.go of k3s); k0s; MicroK8s; others
PLACES = (
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    "/var/lib/k0s/kubelet.conf",
    "/var/snap/microk8s/current/credentials/kubelet.config",
    "/var/lib/kubelet/kubeconfig",
)
MAX_BYTES = 1 << 18  # of the kubeconfig and of each file that it names
MAX_DEPTH = 8
OTHER_WAYS_TO_SIGN_IN = frozenset(
    ("exec", "auth-provider", "token", "tokenFile", "username", "password")
)
CLUSTER_KEYS = (
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "tls-server-name",
    "insecure-skip-tls-verify",
)
USER_KEYS = (
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
)
# group 1: indentation, 2: "- " of an item of a list, 3: key, 4: value
LINE = re.compile(r"( *)(- +)?([A-Za-z][A-Za-z0-9.-]*):(?: +(.*))?")
VALUE = re.compile(r'"([^"\\]*)"|\'([^\']*)\'|([A-Za-z0-9/_.+=][A-Za-z0-9/_.+=:@~-]*)|\{\}|\[\]')
HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
SERVER = re.compile(rf"https://({HOST}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?/?")


class Credential(Record):
    """How to reach the API server, and as whom."""

    host: str  # name or address
    port: int
    server_name: str  # for which its certificate has to be valid
    authority: str  # certificates in PEM, one of which has to vouch for the server's
    certificate: bytes  # PEM
    key: bytes  # PEM


class _Line(Record):
    number: int  # in the file, from 1
    is_item: bool  # begins an item of a list
    indent: int  # column of the "-" of an item, else of the key
    column: int  # of the key
    key: str
    value: str | None  # None: what belongs to the key follows on the next lines


def find(setting: str) -> str | None:
    """Path of the kubeconfig. setting: as :func:`.options.kubernetes_events` returns it. None if
    this is no node of Kubernetes.
    """
    return setting if setting.startswith("/") else next(filter(os.path.exists, PLACES), None)


def read(path: str) -> Credential:
    """The credential in a kubeconfig, with the files that it names.

    Raises :class:`.errors.CannotSignIn`. Nothing of a key or a certificate is in its message.
    """
    text = _trusted(path)
    try:
        config = _Reader(text.decode("ascii")).config()
    except UnicodeDecodeError:
        raise CannotSignIn(f"{path} has characters other than ASCII") from None
    except _Malformed as error:
        raise CannotSignIn(f"{path}: {error}") from None
    try:
        context = _entry(config, "contexts", "context", config.get("current-context"))
        cluster = _entry(config, "clusters", "cluster", context.get("cluster"))
        user = _entry(config, "users", "user", context.get("user"))
        _only(cluster, CLUSTER_KEYS, "the cluster")
        _only(user, USER_KEYS, "the user")
        if cluster.get("insecure-skip-tls-verify", "false") != "false":
            raise _Malformed(
                "insecure-skip-tls-verify is set, and the credential is only sent to a server whose"
                " certificate was checked"
            )
        server = SERVER.fullmatch(cluster.get("server", ""))
        if server is None or not 0 < int(server.group(2) or 443) < 65536:
            raise _Malformed("its server is not of the form https://HOST:PORT")
        host = server.group(1).strip("[]")
        return Credential(
            host=host,
            port=int(server.group(2) or 443),
            server_name=cluster.get("tls-server-name") or host,
            authority=_pem(path, cluster, "certificate-authority").decode("ascii", "replace"),
            certificate=_pem(path, user, "client-certificate"),
            key=_pem(path, user, "client-key"),
        )
    except _Malformed as error:
        raise CannotSignIn(f"{path}: {error}") from None


class _Malformed(ValueError):
    """Half a sentence on what cannot be used."""


def _trusted(path: str) -> bytes:
    """A file that only root can have written."""
    try:
        text, info = contents(path, MAX_BYTES)
    except OSError as error:
        raise CannotSignIn(f"{path} cannot be read: {error.strerror}") from None
    if info.st_uid != 0 or info.st_mode & 0o022:
        raise CannotSignIn(
            f"{path} can be written by others than root: it has to belong to root, with mode 0600"
        )
    return text


def _pem(path: str, entry: Mapping[str, str], key: str) -> bytes:
    """What the entry has under ``key``-data, in base64, else in the file ``key``. A relative path
    begins at the kubeconfig (clientcmd, RelativizeClusterLocalPaths).
    """
    data = entry.get(key + "-data")
    if data:
        import binascii

        try:
            return binascii.a2b_base64(data.encode("ascii"))
        except ValueError:
            raise _Malformed(f"{key}-data is not base64") from None
    if not entry.get(key):
        raise _Malformed(f"it has neither {key} nor {key}-data")
    return _trusted(os.path.join(os.path.dirname(path), entry[key]))


def _entry(config: Mapping[str, Any], plural: str, kind: str, name: object) -> dict[str, str]:
    """The mapping below ``kind`` in the one item of a list that has this name."""
    entries = config.get(plural)
    found = [
        entry[kind]
        for entry in (entries if isinstance(entries, list) else ())
        if entry.get("name") == name and name and kind in entry
    ]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise _Malformed(f"{plural} has no single {kind} with the name that is in use")
    return {key: value for key, value in found[0].items() if isinstance(value, str)}


def _only(entry: Mapping[str, str], allowed: Collection[str], what: str) -> None:
    unknown = sorted(set(entry) - set(allowed))
    if unknown:
        raise _Malformed(f"{what} has {unknown[0]}, which is not supported")


class _Reader:
    """Reads the lines of a kubeconfig into dictionaries, lists and texts."""

    def __init__(self, text: str) -> None:
        self.lines = _lines(text)
        self.at = 0

    def config(self) -> dict[str, Any]:
        """The whole file."""
        found = self._mapping(0, MAX_DEPTH)
        if self.at < len(self.lines):
            raise _Malformed(f"line {self.lines[self.at].number} is indented unexpectedly")
        return found

    def _mapping(self, column: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.at < len(self.lines):
            line = self.lines[self.at]
            # the next item of a list begins another mapping
            if line.column != column or line.is_item and found:
                break
            if line.key in found:
                raise _Malformed(f"line {line.number} gives {line.key} a second time")
            self.at += 1
            found[line.key] = self._below(line, depth) if line.value is None else line.value
        return found

    def _below(self, line: _Line, depth: int) -> Any:
        following = self.lines[self.at] if self.at < len(self.lines) else None
        if following is None or depth == 0:
            return ""
        # a list may begin in the column of its key (YAML 1.2.2, 8.2.1)
        if following.is_item and following.indent >= line.column:
            return self._list(following.indent, depth - 1)
        if not following.is_item and following.column > line.column:
            return self._mapping(following.column, depth - 1)
        return ""

    def _list(self, indent: int, depth: int) -> list[dict[str, Any]]:
        found = []
        while (
            self.at < len(self.lines)
            and self.lines[self.at].is_item
            and self.lines[self.at].indent == indent
        ):
            found.append(self._mapping(self.lines[self.at].column, depth))
        return found


def _lines(text: str) -> list[_Line]:
    found: list[_Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip(" \r")
        if not line or line.lstrip(" ").startswith("#") or line == "---" and not found:
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise _Malformed(f"line {number} is not of the form KEY: VALUE")
        indent, item, key, value = match.groups()
        if key in OTHER_WAYS_TO_SIGN_IN:
            raise _Malformed(f"the kubelet signs in by {key}; only a client certificate is usable")
        column = len(indent) + len(item or "")
        found.append(
            _Line(
                number=number,
                is_item=item is not None,
                indent=len(indent),
                column=column,
                key=key,
                value=None if not value else _value(value, number),
            )
        )
    return found


def _value(text: str, number: int) -> str:
    match = VALUE.fullmatch(text)
    if match is None:
        raise _Malformed(f"the value in line {number} is not one plain or quoted word")
    return next((group for group in match.groups() if group is not None), "")
