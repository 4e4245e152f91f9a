"""nginx, redis-server and postgres in containers of a node, fed with zombies, and the programs that
put load on them.

Each server process that gets the zombies is one that answers clients itself: nginx without workers;
of postgres the postmaster, which takes every connection, so each transaction connects anew. Each
has a network namespace of its own, with nothing but its loopback device.
"""

from __future__ import annotations

import csv
import ctypes
import io
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rig.fed import Fed
from rig.node import PYTHON, wait_until

PORT = 8000
CLONE_NEWNET = 0x40000000
# SIOCSIFFLAGS with IFF_UP (netdevice(7)); then the command is run
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""
# postgres starts anew when a child that it does not know exits with anything but 0; what they print
# goes to a file
ZOMBIES_AT_START = '(exit 0) & (exit 0) & exec "$@" > "$0" 2>&1'
NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events { worker_connections 200; }
http {
    access_log off; keepalive_requests 1000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:%d; location / { return 200 "well\\n"; } }
}
"""


class Server:
    """A server on a port of its own 127.0.0.1, PID 1 of a container."""

    def __init__(self, node, directory):
        # pytest's directories are closed to the user that postgres runs as
        self.directory = Path(tempfile.mkdtemp(prefix="zr-"))
        self.directory.chmod(0o755)
        self.process = None
        try:
            self.prepare()
            alone = ["unshare", "--net", PYTHON, "-IS", "-c", LOOPBACK_UP]
            self.process = Fed(
                node,
                directory,
                type(self).__name__,
                [*alone, "sh", "-c", ZOMBIES_AT_START, self.directory / "log", *self.command()],
            )
            wait_until(self._is_alone)
            wait_until(self.answers)
        except BaseException:
            self.stop()
            raise

    def prepare(self):
        """Write what the server needs."""

    def command(self) -> list:
        """What to run, in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        assert self.process.alive, f"{self.process.name} did not start"
        with ThreadPoolExecutor(1) as executor:  # the network namespace is a property of the thread
            return executor.submit(self._connects).result()

    def load(self, seconds) -> dict:
        """Put load on it for about that long: requests, failed (what the tool complained about),
        p50, p99, max (ms).
        """
        raise NotImplementedError

    def run(self, *command) -> str:
        """What a command says that is run in its network namespace."""
        return _run("nsenter", "--target", str(self.process.process.pid), "--net", *command)

    def stop(self):
        if self.process:
            self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _is_alone(self) -> bool:
        return os.readlink(f"/proc/{self.process.process.pid}/ns/net") != os.readlink(
            "/proc/self/ns/net"
        )

    def _connects(self) -> bool:
        with open(f"/proc/{self.process.process.pid}/ns/net", "rb") as namespace:
            assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", PORT)) == 0


class Nginx(Server):
    def prepare(self):
        (self.directory / "nginx.conf").write_text(NGINX % PORT)

    def command(self):
        return [
            "/usr/sbin/nginx",
            "-p",
            self.directory,
            "-c",
            self.directory / "nginx.conf",
            "-e",
            self.directory / "error.log",
        ]

    def load(self, seconds):
        out = self.run(
            "wrk",
            "--threads",
            "1",
            "--connections",
            "8",
            "--duration",
            f"{seconds}s",
            "--timeout",
            "60s",
            "--latency",
            f"http://127.0.0.1:{PORT}/",
        )
        wrong = [
            line.strip() for line in out.splitlines() if "errors:" in line or "Non-2xx" in line
        ]
        return {
            "requests": int(re.search(r"(\d+) requests in", out).group(1)),
            "failed": wrong,
            # a deviation of 92.50% stands elsewhere
            "p50": _ms(re.search(r"^ +50% +(\S+)", out, re.MULTILINE).group(1)),
            "p99": _ms(re.search(r"^ +99% +(\S+)", out, re.MULTILINE).group(1)),
            "max": _ms(re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", out).group(1)),
        }


class Redis(Server):
    def command(self):
        return [
            "redis-server",
            "--port",
            PORT,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            self.directory,
        ]

    def load(self, seconds):
        began = time.monotonic()
        self._benchmark(5000)
        rate = 5000 / (time.monotonic() - began)
        return self._benchmark(max(5000, int(rate * seconds)))

    def _benchmark(self, requests) -> dict:
        """GET only: its figures are for each command apart."""
        out = self.run(
            "redis-benchmark", "-p", str(PORT), "-c", "8", "-n", str(requests), "-t", "get", "--csv"
        )
        (row,) = csv.DictReader(
            io.StringIO("\n".join(line for line in out.splitlines() if line.startswith('"')))
        )
        wrong = [line for line in out.splitlines() if "rror" in line]
        return {
            "requests": requests,
            "failed": wrong,
            "p50": float(row["p50_latency_ms"]),
            "p99": float(row["p99_latency_ms"]),
            "max": float(row["max_latency_ms"]),
        }


class Postgres(Server):
    def prepare(self):
        self.user = pwd.getpwnam("postgres")
        os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        _run(
            *self._as_user(),
            self._tool("initdb"),
            "--pgdata",
            str(self.directory / "data"),
            "--auth",
            "trust",
            "--no-sync",
        )

    def command(self):
        return [
            *self._as_user(),
            self._tool("postgres"),
            "-D",
            self.directory / "data",
            "-p",
            PORT,
            "-k",
            self.directory,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
        ]

    def answers(self):
        """Not as soon as it takes connections: it may refuse them still."""
        if not super().answers():
            return False
        asked = [
            self._tool("pg_isready"),
            "-q",
            "-h",
            self.directory,
            "-U",
            "postgres",
            "-p",
            str(PORT),
        ]
        return subprocess.run(asked, check=False).returncode == 0

    def load(self, seconds):
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        (self.directory / "one.sql").write_text("SELECT 1;\n")
        out = self.run(
            self._tool("pgbench"),
            "-h",
            "127.0.0.1",
            "-p",
            str(PORT),
            "-U",
            "postgres",
            "-n",
            "-C",
            "-c",
            "4",
            "-T",
            str(seconds),
            "--log",
            "--log-prefix",
            str(logs / "log"),
            "-f",
            str(self.directory / "one.sql"),
            "postgres",
        )
        took = sorted(
            int(line.split()[2]) / 1000
            for log in logs.iterdir()
            for line in log.read_text().splitlines()
        )
        shutil.rmtree(logs)
        failed = int(re.search(r"number of failed transactions: (\d+)", out).group(1))
        return {
            "requests": len(took),
            "failed": [f"{failed} failed transactions"] if failed else [],
            "p50": took[len(took) // 2],
            "p99": took[len(took) * 99 // 100],
            "max": took[-1],
        }

    def _as_user(self):
        return [
            "setpriv",
            "--reuid",
            str(self.user.pw_uid),
            "--regid",
            str(self.user.pw_gid),
            "--clear-groups",
        ]

    @staticmethod
    def _tool(name) -> str:
        """Debian keeps them out of the PATH, in a directory for each version."""
        return str(max(Path("/usr/lib/postgresql").glob("*/bin/" + name)))


SERVERS = (Nginx, Redis, Postgres)


def _run(*command) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, (
        f"{command[0]}: exit status {done.returncode}, {done.stdout}{done.stderr}"
    )
    return done.stdout


def _ms(text) -> float:
    """wrk's 12.34us, 1.23ms, 1.23s as milliseconds."""
    for unit, factor in (("us", 0.001), ("ms", 1), ("s", 1000)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    raise ValueError(text)
