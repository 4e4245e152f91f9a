"""A stand-in for the API server of Kubernetes: TLS with an authority made for the test, client
certificates, and Events that are posted. It judges what it gets as the real one does
(legacyValidateEvent, pkg/apis/core/validation/events.go).
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
KUBELET = "system:node:rig"


def as_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    """Signs certificates. It is as kubeadm makes it: no Authority Key Identifier."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        self.certificate = self._signed(
            self.name,
            self.key.public_key(),
            x509.BasicConstraints(ca=True, path_length=None),
        )

    def _signed(self, name, public_key, *extensions) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def pair(self, name, address=HOST) -> tuple:
        """Certificate and key in PEM. address: where the certificate is valid."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
        )
        return certificate.public_bytes(serialization.Encoding.PEM), as_pem(key)


def wrong_with(path, event) -> str | None:
    """What the API server has against an event, None if it takes it."""
    found = re.fullmatch("/api/v1/namespaces/([a-z0-9-]{1,63})/events", path)
    if found is None:
        return f"there is no {path}"
    meta, involved = event["metadata"], event["involvedObject"]
    if not meta["namespace"] == involved["namespace"] == found.group(1):
        return "involvedObject.namespace does not match metadata.namespace"
    if len(meta["name"]) > 253 or not re.fullmatch(
        r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", meta["name"]
    ):
        return f"metadata.name {meta['name']} is no DNS subdomain"
    for time in ("firstTimestamp", "lastTimestamp"):
        datetime.datetime.strptime(event[time], "%Y-%m-%dT%H:%M:%SZ")
    if (event["apiVersion"], event["kind"]) != ("v1", "Event"):
        return "it is no Event of core/v1"
    return None


class ApiServer:
    """Takes events until it is stopped.

    answer: (status, body) for each of them in place of 201, or a function that is called with the
    handler of the request. address: for which its certificate is valid.
    """

    def __init__(self, directory, answer=None, address=HOST):
        self.directory = directory
        self.authority = Authority()
        self.events = []
        self.clients = []  # for each event: common name in the client's certificate
        self.connections = 0
        self.arrived = threading.Event()  # a request has come
        self.stopping = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                stand_in.connections += 1
                super().setup()

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                event = json.loads(self.rfile.read(length))
                stand_in.clients.append(common_name(self.connection.getpeercert()))
                stand_in.arrived.set()
                status, body = 201, b"{}"
                if callable(answer):
                    answer(self)
                    return
                if answer:
                    status, body = answer
                elif wrong_with(self.path, event):
                    status, body = 422, wrong_with(self.path, event).encode()
                if status == 201:
                    stand_in.events.append(event)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_arguments: None  # a client that went away
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = self.authority.pair("kube-apiserver", address)
        (directory / "apiserver.pem").write_bytes(certificate + key)
        (directory / "ca.crt").write_bytes(self.authority.pem)
        context.load_cert_chain(directory / "apiserver.pem")
        context.load_verify_locations(directory / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def kubeconfig(self, name="kubelet.conf", **changes):
        """Path of a kubeconfig as kubeadm writes it. changes: as in :func:`kubeconfig`."""
        certificate, key = self.authority.pair(KUBELET)
        return kubeconfig(
            self.directory / name,
            **{
                "server": f"https://{HOST}:{self.port}",
                "authority": self.authority.pem,
                "certificate": certificate,
                "key": key,
                **changes,
            },
        )

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Silent:
    """Takes connections, and never says a word."""

    def __init__(self):
        self.socket = socket.create_server((HOST, 0))
        self.socket.settimeout(60)
        self.port = self.socket.getsockname()[1]

    def accept(self):
        """The next connection."""
        return self.socket.accept()

    def stop(self):
        self.socket.close()


def common_name(certificate) -> str | None:
    subject = dict(pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return subject.get("commonName")


def kubeconfig(path, server, authority, certificate, key):
    """Write a kubeconfig as kubeadm does: the authority in it, certificate and key in one file that
    a link beside it leads to, as the kubelet renews them.
    """
    pki = path.parent / "pki"
    pki.mkdir(exist_ok=True)
    (pki / "kubelet-client-2026.pem").write_bytes(certificate + key)
    current = pki / "kubelet-client-current.pem"
    if not current.is_symlink():
        current.symlink_to("kubelet-client-2026.pem")
    path.write_text(
        f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {base64.b64encode(authority).decode()}
    server: {server}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {{}}
users:
- name: default-auth
  user:
    client-certificate: {current}
    client-key: {current}
"""
    )
    path.chmod(0o600)
    return path
