# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: immutable data with one typed field per line.

A type checker sees :class:`Record` as :class:`typing.NamedTuple`. At run time its annotations
become a :func:`collections.namedtuple`: importing typing would add 2.5 ms to each start of the
command.
"""

from __future__ import annotations

from collections import namedtuple

__all__ = ("Record",)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class _RecordType(type):
        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.pop("__annotations__")
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults)
            for attribute, value in body.items():  # a class below it would cost twice as much
                setattr(made, attribute, value)
            return made

    class Record(metaclass=_RecordType):
        """The base class of every record."""
