"""Interpreters and servers that hold zombies: see running.py."""

from __future__ import annotations

import subprocess

from rig.node import is_alive, wait_until
from rig.running import SLEEP, Program, answers, ask, tried
from rig.slowness import scaled
from rig.system_calls import NUMBERS

HTTP = b"GET /metrics HTTP/1.0\r\n\r\n"


def serves_http(running):
    ask(running.unix(), HTTP, b"it works")


def serves_http_with_a_new_worker(running):
    """The master, which is the one that held the zombies, has to see that its worker ends and start
    another.
    """
    serves_http(running)
    (worker,) = running.process.children()
    worker.kill()
    wait_until(
        lambda: [
            child for child in running.process.children() if child != worker and is_alive(child)
        ]
    )
    serves_http(running)


def serves_metrics(running):
    ask(running.tcp(9100), HTTP, b"\nnode_load1 ")


def serves_rmi(running):
    """Java's RMI registry acknowledges the protocol (Java RMI specification, 10.2)."""
    assert ask(running.tcp(1099), b"JRMI\0\2\x4b", b"127.0.0.1")[:1] == b"\x4e"


def answers_ping(running):
    ask(running.unix(), b"PING\r\n", b"+PONG")


def stores_and_saves(running):
    """It forks to save and waits for that child."""
    ask(running.unix(), b"SET key value\r\nGET key\r\n", b"$5\r\nvalue\r\n")
    ask(running.unix(), b"BGSAVE\r\n", b"+Background")
    wait_until(
        lambda: (
            b"rdb_bgsave_in_progress:0"
            in ask(running.unix(), b"INFO persistence\r\n", b"aof_enabled")
        )
    )
    ask(running.unix(), b"INFO persistence\r\n", b"rdb_last_bgsave_status:ok")
    assert (running.directory / "dump.rdb").exists()


def answers_sql(running):
    done = subprocess.run(
        ["psql", "-h", running.directory, "-U", "nobody", "-Atc", "select 6 * 7", "postgres"],
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def answers_sql_line(running):
    running.say("select 6 * 7 as answer;")
    wait_until(lambda: 'answer = "42"' in running.out)


def shows_banner(running):
    ask(running.tcp(2222), b"", b"SSH-2.0-OpenSSH")


def slept(running):
    """``time.sleep`` slept to its end, once."""
    line = wait_until(
        lambda: [line for line in running.out.splitlines() if line.startswith("slept ")]
    )[0]
    assert SLEEP <= int(line.split()[1]) < SLEEP + running.head_start


def all_threads_count(running):
    def counts():
        return [int(number) for number in (running.directory / "counts").read_bytes().split()]

    before = counts()
    assert len(before) == 8
    wait_until(lambda: all(now > then for then, now in zip(before, counts(), strict=True)))


def busy_to_the_end(running):
    """It counted on, and its sum is right."""
    with open(running.directory / "busy", "r+b") as file:
        file.write(b"\1")
    count, total = (
        int(word)
        for word in wait_until(
            lambda: running.out.endswith("\n") and running.out.split("done ")[1:]
        )[0].split()
    )
    assert total == count * (count - 1) // 2


def bare_without_vdso(running):
    assert "[vdso]" not in running.proc("maps")
    answers(running)


PYTHON = "/usr/bin/python3 -IS program"

PYTHON_SLEEP = """
import time
print("ready", flush=True)
input()
began = time.monotonic()
time.sleep(10)
print("slept", int((time.monotonic() - began) * 1000), flush=True)
time.sleep(1000)
"""

PYTHON_ASYNCIO = """
import asyncio
async def answer(reader, writer):
    writer.write(b"it works, " + await reader.readline())
    await writer.drain()
    writer.close()
async def main():
    async with await asyncio.start_unix_server(answer, "socket") as server:
        print("ready", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""

PYTHON_THREADS = """
import mmap, threading, time
with open("counts", "wb") as file:
    file.write(b"%9d\\n" % 0 * 8)
file = open("counts", "r+b")
counts = mmap.mmap(file.fileno(), 0)
def count(number):
    for value in range(1, 1 << 29):
        counts[10 * number:10 * number + 9] = b"%9d" % value
        time.sleep(0.02)
threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
"""

PYTHON_BUSY = """
import mmap, time
with open("busy", "wb") as file:
    file.write(bytes(4096))
file = open("busy", "r+b")
stop = mmap.mmap(file.fileno(), 4096)
print("ready", flush=True)
input()
count = total = 0
while not stop[0]:
    total += count
    count += 1
print("done", count, total, flush=True)
time.sleep(1000)
"""

NGINX = """
daemon off; user root; pid nginx.pid; worker_processes 1; %s
events { }
http {
    access_log off;
    server { listen unix:/w/%s/socket; location / { return 200 "it works"; } }
}
"""

HAPROXY = """
defaults
    mode http
    timeout client 60s
frontend here
    bind unix@/w/haproxy/socket
    http-request return status 200 content-type text/plain string "it works"
"""

AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups "
NEW_DATABASE = AS_NOBODY + "/usr/lib/postgresql/*/bin/initdb -N -A trust -D data >/dev/null"
POSTGRES = AS_NOBODY + "/usr/lib/postgresql/*/bin/postgres "


def nginx(name, *, ready, works, lines=""):
    return Program(
        name,
        f"nginx -p . -e stderr -c /w/{name}/program",
        works,
        ready,
        files={"program": NGINX % (lines, name)},
    )


# The JVM ends threads that have nothing to do: of its compilers at once, of RMI after a minute
NO_THREAD_ENDS = (
    "-XX:-UseDynamicNumberOfCompilerThreads -Dsun.rmi.transport.tcp.threadKeepAliveTime=86400000"
)

PROGRAMS = [
    Program(
        "python_busy",
        PYTHON,
        busy_to_the_end,
        files={"program": PYTHON_BUSY},
        begins_when_told=lambda running: running.system_call() == -1,
    ),
    Program(
        "python_sleep",
        PYTHON,
        slept,
        files={"program": PYTHON_SLEEP},
        begins_when_told=lambda running: running.system_call() == NUMBERS["clock_nanosleep"],
    ),
    Program(
        "python_asyncio",
        PYTHON,
        lambda running: ask(running.unix(), b"line\n", b"it works, line\n"),
        files={"program": PYTHON_ASYNCIO},
    ),
    Program("python_threads", PYTHON, all_threads_count, files={"program": PYTHON_THREADS}),
    Program(
        "bash",
        "bash program",
        answers,
        files={
            "program": 'echo ready; while read -r line; do echo "answer $(/bin/echo "$line")"; done'
        },
    ),
    Program(
        "dash",
        "dash program",
        answers,
        files={
            "program": 'echo ready; while read -r line; do echo "answer $(/bin/echo "$line")"; done'
        },
    ),
    Program(
        "perl",
        "perl program",
        answers,
        files={"program": '$| = 1; print "ready\\n"; print "answer $_" while <STDIN>;'},
    ),
    Program(
        "ruby",
        "ruby program",
        answers,
        files={
            "program": (
                'STDOUT.sync = true; puts "ready"; while line = STDIN.gets; puts "answer " +'
                " line; end"
            )
        },
    ),
    Program(
        "tclsh",
        "tclsh program",
        answers,
        files={
            "program": (
                'puts ready; flush stdout; while {[gets stdin line] >= 0} {puts "answer $line";'
                " flush stdout}"
            )
        },
    ),
    Program(
        "node",
        "node program",
        answers,
        threads_may_start=True,
        files={
            "program": (
                'console.log("ready"); process.stdin.on("data", data =>'
                ' process.stdout.write("answer " + data));'
            )
        },
    ),
    Program(
        "java",
        f"java {NO_THREAD_ENDS} -m java.rmi/sun.rmi.registry.RegistryImpl 1099",
        serves_rmi,
        lambda running: tried(lambda: serves_rmi(running)),
        threads_may_start=True,
    ),
    Program(
        "go",
        "prometheus-node-exporter --web.listen-address=127.0.0.1:9100 --collector.disable-defaults"
        " --collector.loadavg",
        serves_metrics,
        lambda running: tried(lambda: serves_metrics(running)),
        threads_may_start=True,
    ),
    nginx(
        "nginx",
        ready=lambda running: tried(lambda: serves_http(running)),
        works=serves_http_with_a_new_worker,
    ),
    nginx(
        "nginx_alone",
        ready=lambda running: tried(lambda: serves_http(running)),
        works=serves_http,
        lines="master_process off;",
    ),
    Program(
        "haproxy",
        "haproxy -db -f program",
        serves_http,
        lambda running: tried(lambda: serves_http(running)),
        files={"program": HAPROXY},
    ),
    Program(
        "redis",
        "redis-server --port 0 --unixsocket socket --save ''",
        stores_and_saves,
        lambda running: tried(lambda: answers_ping(running)),
    ),
    Program(
        "postgres",
        POSTGRES + "-D data -k /w/postgres -c listen_addresses= -c fsync=off",
        answers_sql,
        lambda running: tried(lambda: answers_sql(running)),
        before=NEW_DATABASE,
        unseen=True,
    ),
    Program(
        "postgres_alone",
        POSTGRES + "--single -D data postgres",
        answers_sql_line,
        lambda running: "backend> " in running.out,
        before=NEW_DATABASE,
    ),
    Program(
        "sshd",
        "/usr/sbin/sshd -D -e -f /dev/null -h /w/sshd/key -p 2222",
        shows_banner,
        lambda running: "listening on :: port 2222" in running.out,
        before="ssh-keygen -q -t ed25519 -N '' -f key",
    ),
    Program("bare", "/c/bare", answers, lambda running: running.system_call() == NUMBERS["read"]),
    Program(
        "bare_without_vdso",
        "/c/bare without-vdso",
        bare_without_vdso,
        lambda running: running.system_call() == NUMBERS["read"],
    ),
]
