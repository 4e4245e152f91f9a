"""A record against what it stands in for."""

from __future__ import annotations

import copy
import pickle
from collections import namedtuple

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.record import Record


class Zombie(Record):
    """A child."""

    pid: int
    comm: bytes  # as the kernel has it
    canary: bool = False

    @property
    def doubled(self) -> int:
        return 2 * self.pid


Like = namedtuple("Like", ("pid", "comm", "canary"), defaults=(False,))


@pytest.mark.parametrize(
    "values, named",
    [
        ((1, b"a"), {}),
        ((1, b"a", True), {}),
        ((1,), {"comm": b"a"}),
        ((), {"canary": True, "comm": b"a", "pid": 1}),
    ],
)
def test_it_is_made_as_a_namedtuple_is(values, named):
    record, like = Zombie(*values, **named), Like(*values, **named)
    assert record == like and hash(record) == hash(like) and tuple(record) == tuple(like)
    assert repr(record) == repr(like).replace("Like", "Zombie")
    assert record._asdict() == like._asdict()
    assert [record.pid, record.comm, record.canary] == list(like)
    assert (record._fields, record._field_defaults) == (like._fields, like._field_defaults)
    assert record._replace(pid=2).__class__ is Zombie and record._replace(pid=2) == like._replace(
        pid=2
    )
    assert Zombie._make(record) == record
    assert (record.doubled, Zombie.__doc__, Zombie.__module__) == (2, "A child.", __name__)
    pid, *_rest = record
    assert pid == 1


@pytest.mark.parametrize(
    "values, named",
    [((), {}), ((1,), {}), ((1, b"a", True, 4), {}), ((1, b"a"), {"age": 1}), ((1,), {"pid": 1})],
)
def test_it_is_refused_as_a_namedtuple_is(values, named):
    for kind in (Zombie, Like):
        with pytest.raises(TypeError, match=r"__new__\(\)"):
            kind(*values, **named)


def test_nothing_of_it_can_be_changed_or_added():
    record = Zombie(1, b"a")
    for name in ("pid", "age"):
        with pytest.raises(AttributeError):
            setattr(record, name, 5)
    with pytest.raises(ValueError, match="age"):
        record._replace(age=1)


def test_it_can_be_copied():
    record = Zombie(1, b"a", canary=True)
    for other in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert other == record and other.__class__ is Zombie


def test_a_default_before_a_field_without_one_is_an_error():
    with pytest.raises(TypeError, match="without a default"):
        type(Record)("Bad", (Record,), {"__annotations__": {"a": "int", "b": "int"}, "a": 1})
