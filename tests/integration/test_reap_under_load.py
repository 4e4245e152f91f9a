"""Servers that answer clients as fast as they can have their zombies collected every second: not
one request fails.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from rig.node import wait_until
from rig.servers import SERVERS

SECONDS = 3  # that load is put on it for at a time, as often as it takes
SWEEPS = 3  # that have a server collect all of them, while it is under load
REQUESTS = 50  # meanwhile, at least; a transaction of postgres is a connection too
ZOMBIES = 20  # each second
PASSING = ("uninterruptible", "busy", "not_stopping")  # left to the next sweep


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__.lower())
def test_no_request_fails_while_zombies_are_collected_every_second(node, tmp_path, kind):
    server = kind(node, tmp_path)
    try:
        measured, collected = [], []
        with ThreadPoolExecutor() as pool:
            while (
                sum(count >= ZOMBIES for count in collected) < SWEEPS
                or sum(each["requests"] for each in measured) <= REQUESTS
            ):
                load = pool.submit(server.load, SECONDS)
                while not load.done():
                    collected.append(fed_and_swept(node, server))
                    wait([load], timeout=1.0)
                measured.append(load.result())
        print(f"{server.process.name}: {measured}, zombies collected: {collected}")
        assert [each["failed"] for each in measured if each["failed"]] == []
        assert server.process.alive and server.answers()
        assert server.process.held_by() == []
    finally:
        server.stop()


def fed_and_swept(node, server) -> int:
    """How many it has collected in one sweep, which is cleared or left to the next one."""
    before = server.process.zombies()
    server.process.feed(ZOMBIES)
    wait_until(lambda: len(set(server.process.zombies()) - set(before)) >= ZOMBIES)
    (entry,) = [
        entry
        for entry in node.sweep(remedies="reap")["offenders"]
        if entry["pid"] == server.process.pid_in_node
    ]
    passing = entry["reason"] == "parent_uninterruptible" or any(
        step["refusal"] in PASSING for step in entry["steps"]
    )
    assert entry["outcome"] == "cleared" or passing, (entry["reason"], entry["steps"])
    return entry["cleared"]
