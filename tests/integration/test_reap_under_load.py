"""Servers that answer clients as fast as they can have their zombies collected every second: not one request fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from rig.servers import SERVERS

SECONDS = 6
ZOMBIES = 20  # each second
PASSING = ("uninterruptible", "busy", "not_stopping")  # left to the next sweep


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__.lower())
def test_no_request_fails_while_zombies_are_collected_every_second(node, tmp_path, kind):
    server = kind(node, tmp_path)
    try:
        collected = []
        with ThreadPoolExecutor() as pool:
            load = pool.submit(server.load, SECONDS)
            while not load.done():
                server.process.feed(ZOMBIES)
                wait([load], timeout=1.0)
                (entry,) = [entry for entry in node.sweep(remedies="reap")["offenders"] if entry["pid"] == server.process.pid_in_node]
                passing = entry["reason"] == "parent_uninterruptible" or any(step["refusal"] in PASSING for step in entry["steps"])
                assert entry["outcome"] == "cleared" or passing, (entry["reason"], entry["steps"])
                collected.append(entry["cleared"])
        measured = load.result()
        print("%s: %s, zombies collected: %s" % (server.process.name, measured, collected))
        assert measured["failed"] == []
        assert measured["requests"] > 50  # a transaction of postgres is a connection too, and the machine may be busy
        assert sum(count >= ZOMBIES for count in collected) >= SECONDS // 2, collected
        assert server.process.alive and server.answers()
        assert server.process.held_by() == []
    finally:
        server.stop()
