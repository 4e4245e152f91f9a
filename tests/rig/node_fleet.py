"""A fleet of nodes of the rig, for playbooks that are run on this machine."""

from __future__ import annotations

import contextlib

from rig.daemons import inside
from rig.node import Node
from rig.playbook import Here, Playbook


@contextlib.contextmanager
def node_fleet(directory, size):
    """(play, nodes): plays one of the playbooks on node1, node2 and so on, which are given by
    name.
    """
    with contextlib.ExitStack() as stack:
        nodes, hosts = {}, {}
        for name in [f"node{number + 1}" for number in range(size)]:
            (directory / name).mkdir()
            nodes[name] = Node(directory / name)
            stack.callback(nodes[name].stop)
            hosts[name] = inside(nodes[name], directory, name)

        def play(name, *flags, **variables):
            (directory / name).mkdir(exist_ok=True)
            return Playbook(Here, directory / name, name)(
                *flags, hosts=hosts, ansible_python_interpreter=None, **variables
            )

        yield play, nodes
