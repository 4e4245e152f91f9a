# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the TOML of container runtimes, and says in which lines each value stands. (tomllib is in
Python since 3.11 only, and knows nothing of lines.)

It reads a subset: no dates, no floats but plain ones, no tables in arrays of tables beyond the
first level. What it does not understand it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_LENGTH = 1 << 20  # characters of a file
MAX_DEPTH = 32  # arrays and tables in one another

BARE = re.compile(r"[A-Za-z0-9_-]+")
NUMBER = re.compile(r"[+-]?(0|[1-9](_?[0-9])*)(?![0-9A-Za-z_.:+-])")
FLOAT = re.compile(r"[+-]?(0|[1-9](_?[0-9])*)(\.[0-9](_?[0-9])*)?([eE][+-]?[0-9]+)?(?![\w.:+-])")
PREFIXED = re.compile(
    r"0(x[0-9a-fA-F](_?[0-9a-fA-F])*|o[0-7](_?[0-7])*|b[01](_?[01])*)(?![\w.:+-])"
)
BOOLEAN = re.compile(r"(true|false)(?![\w.:+-])")
BLANK = re.compile(r"[ \t]*")
COMMENT = re.compile(r"#[^\r\n\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")
PLAIN = re.compile(r'[^"\\\n\r\x00-\x08\x0a-\x1f\x7f]+')
LITERAL = re.compile(r"'([^'\n\r\x00-\x08\x0a-\x1f\x7f]*)'")
CONTINUED = re.compile(r"\\[ \t]*\r?\n([ \t]|\r?\n)*")
ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


class TomlError(ValueError):
    """The text is not TOML, or not of the kind that is read here. The message says where."""


class Lines(NamedTuple):
    """Where something stands: from the first line to before the last one, counted from 0."""

    first: int
    end: int


class Document(NamedTuple):
    """A text and what is in it. headers, values: where the header of a table, and a value with its
    key, stand.
    """

    tree: dict[str, Any]
    headers: dict[tuple[str, ...], Lines]
    values: dict[tuple[str, ...], Lines]


def read(text: str) -> Document:
    """Raises :class:`TomlError`."""
    if len(text) > MAX_LENGTH:
        raise TomlError(f"it is longer than {MAX_LENGTH} characters")
    return _Reader(text).document()


def get(tree: Mapping[str, Any], *path: str) -> Any:
    """The value at a path; None if there is none."""
    found: Any = tree
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tree: dict[str, Any] = {}
        self.headers: dict[tuple[str, ...], Lines] = {}
        self.values: dict[tuple[str, ...], Lines] = {}
        # tables that a header or a dotted key made: no header, or key, may make them again
        self.closed: set[tuple[str, ...]] = set()
        self.dotted: set[tuple[str, ...]] = set()

    def document(self) -> Document:
        table, prefix = self.tree, ()  # type: dict[str, Any], tuple[str, ...]
        while self._skip_to_statement():
            first = self._line()
            if self.text.startswith("[", self.at):
                table, prefix = self._header()
                self._end_of_line()
                self.headers.setdefault(prefix, Lines(first, self._line_after(first)))
            else:
                path = self._key()
                self._take("=")
                value = self._value(0)
                self._end_of_line()
                self._assign(table, prefix, path, value)
                self.values[prefix + path] = Lines(first, self._line_after(first))
        return Document(self.tree, self.headers, self.values)

    def _fail(self, message: str, at: int | None = None) -> TomlError:
        at = self.at if at is None else at
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        return TomlError(f"line {self.text.count(chr(10), 0, at) + 1} column {column}: {message}")

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at)

    def _line_after(self, first: int) -> int:
        """The line after the one that a statement has ended in; the last may have no end."""
        return max(
            self._line() if self.text[self.at - 1 : self.at] == "\n" else self._line() + 1,
            first + 1,
        )

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        return found[0]

    def _newline(self) -> bool:
        for end in ("\n", "\r\n"):
            if self.text.startswith(end, self.at):
                self.at += len(end)
                return True
        return False

    def _blanks(self, lines: bool = False) -> None:
        """Skip blanks, and with ``lines`` comments and ends of lines too."""
        while True:
            self._match(BLANK)
            if not lines or not (self._match(COMMENT) or self._newline()):
                return

    def _skip_to_statement(self) -> bool:
        self._blanks(lines=True)
        return self.at < len(self.text)

    def _end_of_line(self) -> None:
        self._blanks()
        self._match(COMMENT)
        if self.at < len(self.text) and not self._newline():
            raise self._fail("the line should end here")

    def _take(self, text: str) -> None:
        self._blanks()
        if not self.text.startswith(text, self.at):
            raise self._fail(f"{text} is missing")
        self.at += len(text)
        self._blanks()

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._blanks()
            if self.text.startswith('"', self.at):
                part: str | None = self._basic()
            elif self.text.startswith("'", self.at):
                part = self._literal()
            else:
                part = self._match(BARE)
            if part is None:
                raise self._fail("a key is missing")
            parts.append(part)
            self._blanks()
            if not self.text.startswith(".", self.at):
                if len(parts) > MAX_DEPTH:
                    raise self._fail(f"a key has more than {MAX_DEPTH} parts")
                return tuple(parts)
            self.at += 1

    def _header(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        start = self.at
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path = self._key()
        closing = "]]" if is_array else "]"
        if not self.text.startswith(closing, self.at):
            raise self._fail(f"{closing} is missing")
        self.at += len(closing)
        table = self.tree
        for count, part in enumerate(path[:-1], 1):
            table = self._below(table, part, start)
            if path[:count] in self.dotted:
                pass  # a header may go on below a table that dotted keys have made
        last = path[-1]
        if is_array:
            entries = table.setdefault(last, [])
            if not isinstance(entries, list) or path in self.closed:
                raise self._fail("this is no array of tables", start)
            entries.append({})
            self.closed = {each for each in self.closed if each[: len(path)] != path}
            return entries[-1], path
        if path in self.closed or path in self.dotted or path in self.values:
            raise self._fail("this table is there already", start)
        self.closed.add(path)
        return self._below(table, last, start, new=True), path

    def _below(
        self, table: dict[str, Any], key: str, start: int, new: bool = False
    ) -> dict[str, Any]:
        found = table.setdefault(key, {})
        if isinstance(found, list) and not isinstance(found, _Array):
            if new or not found:
                raise self._fail("this is an array of tables already", start)
            found = found[-1]
        if not isinstance(found, dict):
            raise self._fail("this is a value already", start)
        if isinstance(found, _Inline):
            raise self._fail("an inline table cannot be added to", start)
        return found

    def _assign(
        self, table: dict[str, Any], prefix: tuple[str, ...], path: tuple[str, ...], value: Any
    ) -> None:
        start = self.at
        for count, part in enumerate(path[:-1], 1):
            here = prefix + path[:count]
            if part in table and here in self.closed:
                raise self._fail("this table has a header of its own", start)
            table = self._below(table, part, start)
            self.dotted.add(here)
        if path[-1] in table:
            raise self._fail(f"{path[-1]} has a value already", start)
        table[path[-1]] = value

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._fail(f"more than {MAX_DEPTH} arrays and tables are in one another")
        for quotes in ('"""', "'''"):
            if self.text.startswith(quotes, self.at):
                return self._long(quotes)
        start = self.text[self.at : self.at + 1]
        if start == '"':
            return self._basic()
        if start == "'":
            return self._literal()
        if start == "[":
            return self._array(depth)
        if start == "{":
            return self._inline(depth)
        for pattern, convert in (
            (BOOLEAN, lambda word: word == "true"),
            (PREFIXED, lambda word: int(word, 0)),
            (NUMBER, int),
            (FLOAT, float),
        ):
            word = self._match(pattern)
            if word is not None:
                return convert(word)
        raise self._fail("a value is missing, or of a kind that is not read here")

    def _literal(self) -> str:
        found = self._match(LITERAL)
        if found is None:
            raise self._fail("this text has no end")
        return found[1:-1]

    def _basic(self) -> str:
        start = self.at
        self.at += 1
        parts = []
        while not self.text.startswith('"', self.at):
            plain = self._match(PLAIN)
            if plain is None and not self.text.startswith("\\", self.at):
                raise self._fail("this text has no end", start)
            parts.append(plain if plain is not None else self._escape())
        self.at += 1
        return "".join(parts)

    def _escape(self) -> str:
        letter = self.text[self.at + 1 : self.at + 2]
        if letter in ESCAPES and letter:
            self.at += 2
            return ESCAPES[letter]
        length = {"u": 4, "U": 8}.get(letter, 0)
        digits = self.text[self.at + 2 : self.at + 2 + length]
        if not length or not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digits):
            raise self._fail("there is no such escape")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self._fail("there is no such character")
        self.at += 2 + length
        return chr(code)

    def _long(self, quotes: str) -> str:
        start = self.at
        self.at += 3
        self._newline()
        parts = []
        while True:
            if self.text.startswith(quotes, self.at):
                self.at += 3
                for _extra in range(2):  # up to two quotes may stand right before the end
                    if self.text.startswith(quotes[0], self.at):
                        self.at += 1
                        parts.append(quotes[0])
                return "".join(parts)
            character = self.text[self.at : self.at + 1]
            if not character:
                raise self._fail("this text has no end", start)
            if character == "\\" and quotes == '"""':
                if self._match(CONTINUED) is None:
                    parts.append(self._escape())
            elif self._newline():
                parts.append("\n")
            elif (ord(character) < 32 and character != "\t") or character == "\x7f":
                raise self._fail("this character is not allowed here")
            else:
                parts.append(character)
                self.at += 1

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        values = _Array()
        while True:
            self._blanks(lines=True)
            if self.text.startswith("]", self.at):
                self.at += 1
                return values
            values.append(self._value(depth + 1))
            self._blanks(lines=True)
            if self.text.startswith(",", self.at):
                self.at += 1
            elif not self.text.startswith("]", self.at):
                raise self._fail(", or ] is missing")

    def _inline(self, depth: int) -> dict[str, Any]:
        self.at += 1
        inner = _Reader("")
        self._blanks()
        if self.text.startswith("}", self.at):
            self.at += 1
            return _Inline()
        while True:
            path = self._key()
            self._take("=")
            value = self._value(depth + 1)
            try:
                inner._assign(inner.tree, (), path, value)
            except TomlError:
                raise self._fail("a key is there twice") from None
            self._blanks()
            if self.text.startswith("}", self.at):
                self.at += 1
                return _Inline(inner.tree)
            self._take(",")


class _Array(list):  # type: ignore[type-arg]
    """An array that is written as a value: no header adds to it."""


class _Inline(dict):  # type: ignore[type-arg]
    """An inline table: nothing adds to it."""


def write(path: tuple[str, ...], table: Mapping[str, Any]) -> str:
    """A table with all that is in it, under headers that begin with ``path``."""
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = ["[" + ".".join(_as_key(part) for part in path) + "]"]
    lines += [f"{_as_key(key)} = {as_value(table[key])}" for key in table if key not in inner]
    text = "\n".join(lines) + "\n"
    return "".join([text, *("\n" + write((*path, key), value) for key, value in inner.items())])


def as_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _as_text(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_value(each) for each in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_as_key(key)} = {as_value(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def _as_key(key: str) -> str:
    return key if BARE.fullmatch(key) else _as_text(key)


def _as_text(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", quoted) + '"'
