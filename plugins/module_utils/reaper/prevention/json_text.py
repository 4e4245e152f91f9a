# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON as :mod:`json` reads and writes it, by the functions in C that it uses itself.

Importing json imports regular expressions, which takes longer than all else that is done for a
container.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    encode_basestring: Any
    make_encoder: Any
    make_scanner: Any
else:
    try:
        from _json import encode_basestring, make_encoder, make_scanner
    except ImportError:  # not CPython
        make_scanner = None


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not an integer")


class _Reader:
    """What the scanner asks for. The specification of OCI has no fractions, and they would not stay
    as they are written.
    """

    strict = True
    object_hook = object_pairs_hook = None
    parse_int = int
    parse_float = parse_constant = staticmethod(_refuse)

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


def loads(text: str) -> Any:
    """Raises ``ValueError`` or ``RecursionError``; fractions and NaN are errors."""
    if make_scanner is None:
        import json

        return json.loads(text, parse_float=_refuse, parse_constant=_refuse)
    text = text.strip(" \t\n\r")
    try:
        value, end = make_scanner(_Reader())(text, 0)
    except StopIteration as error:
        raise ValueError(f"no JSON value at character {error.value}") from None
    if end != len(text):
        raise ValueError(f"more than one JSON value, the next at character {end}")
    return value


def dumps(value: Any) -> str:
    """Without spaces, and as UTF-8 has it."""
    if make_scanner is None:
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    encoder = make_encoder({}, None, encode_basestring, None, ":", ",", False, False, False)
    return "".join(encoder(value, 0))
