"""A web service that is told of ended workloads, on this machine."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading


class Webhook:
    """It keeps what it was sent. status: of its answers; certificate: path of a file with it and
    its key, for https.
    """

    def __init__(self, status=204, headers=(), certificate=None):
        self.received, self.paths, self.types = [], [], []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                hook.paths.append(self.path)
                hook.types.append(self.headers["Content-Type"])
                length = int(self.headers["Content-Length"])
                hook.received.append(json.loads(self.rfile.read(length)))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self):
                hook.paths.append(self.path)
                self.send_error(405)

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/hooks/hunter2?key=hunter2"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def own_certificate(directory):
    """Path of a certificate for 127.0.0.1 that nobody else has signed, and its key."""
    file = directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", directory / "key.pem", "-out", directory / "only.pem"],
        check=True,
        capture_output=True,
    )
    file.write_text((directory / "only.pem").read_text() + (directory / "key.pem").read_text())
    return file
