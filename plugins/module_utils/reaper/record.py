# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: immutable data with one typed field per line.

To a type checker, :class:`Record` is :class:`typing.NamedTuple`. At run time its annotations make a
class that behaves like one of :func:`collections.namedtuple`. Importing typing would cost each
start of the command some 2.5 ms, collections 1 ms, and a namedtuple takes three times as long to
make as a record: the engine has forty.
"""

from __future__ import annotations

__all__ = ("Record",)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    try:
        from _collections import _tuplegetter as _getter  # the one of namedtuple
    except ImportError:  # not CPython

        def _getter(place, doc):
            return property(lambda record: record[place], doc=doc)

    class _RecordType(type):
        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, (tuple,), body)
            fields = tuple(body.pop("__annotations__"))
            defaults = {field: body.pop(field) for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            arguments = ", ".join(fields)
            # a function with these very parameters, as namedtuple makes it
            new = eval(
                f"lambda _cls, {arguments}: _new(_cls, ({arguments},))", {"_new": tuple.__new__}
            )
            new.__defaults__ = tuple(defaults.values())
            new.__name__, new.__qualname__ = "__new__", f"{name}.__new__"
            body.update((field, _getter(place, None)) for place, field in enumerate(fields))
            body.update(__slots__=(), __new__=new, _fields=fields, _field_defaults=defaults)
            return super().__new__(cls, name, bases, body)

    class Record(metaclass=_RecordType):
        """What a record derives from."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **changes):
            values = [changes.pop(field, value) for field, value in zip(self._fields, self)]
            if changes:
                raise ValueError(f"Got unexpected field names: {list(changes)!r}")
            return self._make(values)

        def _asdict(self):
            return dict(zip(self._fields, self))

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"

        def __getnewargs__(self):
            return tuple(self)
