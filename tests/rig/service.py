"""A service of a node that has no systemd: the door by which the rig and Ansible start it anew."""

from __future__ import annotations

import shlex

SCRIPT = """#!/bin/sh
running() {{ kill -0 "$(cat {pid})"; }}
case "$1" in
    start) setsid {command} </dev/null >>{log} 2>&1 & echo $! >{pid} ;;
    stop) kill "$(cat {pid})"; while running; do sleep 0.1; done ;;
    restart) "$0" stop; "$0" start ;;
    status) running && echo running || exit 3 ;;
esac 2>/dev/null
"""


class Service:
    """It is not started yet. log: what it writes is added to that file."""

    def __init__(self, node, name, command, log):
        self.node, self.name = node, name
        script = SCRIPT.format(
            command=shlex.join(map(str, command)),
            log=shlex.quote(str(log)),
            pid=f"/run/service-{name}.pid",
        )
        words = ["install", "-m", "0755", "/dev/stdin", f"/etc/init.d/{name}"]
        done = node.run(*words, input=script)
        assert done.returncode == 0, done.stderr

    def __call__(self, action):
        """``start``, ``stop`` or ``restart`` it."""
        done = self.node.run("service", self.name, action)
        assert done.returncode == 0, done.stderr
