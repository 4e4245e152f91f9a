"""A node of these tests has files of its own: whatever the product, cron or a kubelet keeps on this
machine is neither seen nor changed by it.
"""

from __future__ import annotations

import os

PLACES = (
    "/etc/zombie_reaper",
    "/run/zombie_reaper",
    "/usr/local/lib/zombie_reaper",
    "/usr/local/sbin",
    "/etc/cron.d",
    "/var/spool/cron/crontabs",
    "/var/log/pods",
    "/var/log/containers",
    "/var/lib/node_exporter",
    "/var/lib/prometheus/node-exporter",
)
INSTALLED = (
    "/etc/zombie_reaper",
    "/run/zombie_reaper",
    "/usr/local/lib/zombie_reaper",
    "/usr/local/sbin/zombie-reaper",
    "/usr/local/bin/kill_zombie_parents.sh",
    "/usr/local/share/man/man8/zombie-reaper.8",
    "/usr/local/share/bash-completion/completions/zombie-reaper",
    "/usr/local/share/zsh/site-functions/_zombie-reaper",
    "/etc/cron.d/kill_zombie_parents",
    "/var/log/pods",
    "/var/lib/node_exporter",
)


def test_what_is_installed_on_this_machine_is_not_there(node):
    assert (
        node.run(
            "sh", "-c", 'for path; do [ ! -e "$path" ] || echo "$path"; done', "sh", *INSTALLED
        ).stdout
        == ""
    )


def test_what_a_node_writes_is_not_on_this_machine(node):
    name = f"of-node-{node.init.process.pid}"
    done = node.run(
        "sh",
        "-ec",
        'for place; do mkdir -p "$place"; echo of the node >"$place/$0"; done',
        name,
        *PLACES,
    )
    assert done.returncode == 0, done.stderr
    assert [place for place in PLACES if os.path.lexists(os.path.join(place, name))] == []
