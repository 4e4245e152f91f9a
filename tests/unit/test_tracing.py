"""What is found out once of a node: whether anybody can be traced there, and whether a parent's
seccomp filter can be set aside.
"""

from __future__ import annotations

import errno
import os
import types

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import tracing
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel.procfs import (
    ProcFS,
    Rights,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies.reap import reap

ALL = Rights((1 << 41) - 1, 0, True)


class Node:
    """What both ask of a :class:`ProcFS`."""

    def __init__(self, rights=ALL, yama="1"):
        self.rights, self.yama = rights, yama

    def own_rights(self):
        return self.rights

    def yama_scope(self):
        return self.yama


def without(capability):
    return ALL._replace(capabilities=ALL.capabilities & ~(1 << capability))


@pytest.fixture(autouse=True)
def this_machine(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))


def word_of(refusal):
    return refusal and refusal.word


@pytest.mark.parametrize(
    "node, word",
    [
        (Node(), None),
        (Node(yama=None), None),
        (Node(yama="3"), "yama"),
        (Node(without(19)), "not_permitted"),
        (Node(without(21)), None),
        (Node(ALL._replace(seccomp=2)), None),
        (Node(without(19), "3"), "yama"),
    ],
)
def test_node(node, word):
    assert word_of(tracing.node_refusal(node)) == word


@pytest.mark.parametrize("machine, word", [("aarch64", None), ("riscv64", "architecture")])
def test_processors(monkeypatch, machine, word):
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))
    refusal = tracing.node_refusal(Node())
    assert word_of(refusal) == word
    assert word is None or machine in str(refusal)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_of_this_moment_is_none_of_the_node(monkeypatch, number):
    def pidfd_open(_pid):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    assert tracing.node_refusal(Node()) is None


def test_kernel_without_pidfds(monkeypatch):
    def pidfd_open(_pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    assert word_of(tracing.node_refusal(Node())) == "kernel"


@pytest.mark.parametrize(
    "rights, what",
    [
        (without(21), "CAP_SYS_ADMIN"),
        (ALL._replace(in_first_user_namespace=False), "user namespace"),
        (ALL._replace(seccomp=2), "itself"),
    ],
)
def test_filters_cannot_be_set_aside(rights, what):
    refusal = tracing.filter_refusal(Node(rights))
    assert refusal.word == "seccomp_filter" and what in str(refusal)


def test_filters_can_be_set_aside():
    assert tracing.filter_refusal(Node()) is None


def test_own_rights_are_read():
    with open("/proc/self/status", encoding="ascii") as file:
        effective = next(line.split()[1] for line in file if line.startswith("CapEff"))
    assert ProcFS().own_rights()[:2] == (int(effective, 16), 0)


def test_a_node_s_refusal_is_every_parent_s_at_once():
    """Nobody is looked at: the node here cannot even list processes."""
    offenders = [types.SimpleNamespace(pid=pid, start_ticks=7) for pid in (40, 50)]
    outcomes = reap(Node(yama="3"), offenders)
    assert [(each.pid, each.result, each.refusal, each.may_yet_help) for each in outcomes] == [
        (40, "refused", "yama", False),
        (50, "refused", "yama", False),
    ]
