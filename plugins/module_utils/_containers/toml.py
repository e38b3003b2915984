# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading TOML and changing single values in it, with comments, order and layout of the rest kept.

Nodes have Python 3.9 and no TOML library, and the standard library of newer ones only reads.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError

Path = tuple[str, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BLANK_AND_COMMENTS = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_END_OF_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d{2}:[^\s,\]}#]+)?")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9](?:_?\d)*)")
_RADIX_INTEGER = re.compile(r"0x[0-9A-Fa-f_]+|0o[0-7_]+|0b[01_]+")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9](?:_?\d)*)(?:\.\d(?:_?\d)*)?(?:[eE][+-]?\d(?:_?\d)*)?|inf|nan)")
_DATE_OR_TIME = re.compile(r"\d{4}-\d{2}-\d{2}.*|\d{2}:\d{2}.*")
_ESCAPE = re.compile(r'\\(?:([btnfr"\\])|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[ \t]*\r?\n[ \t\r\n]*)')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
#: Delimiter of a string: the pattern of what it holds, its end included.
_STRINGS = {
    '"""': re.compile(r'((?:[^"\\]|\\[\s\S]|"(?!""))*"{0,2})"""'),
    "'''": re.compile(r"((?:[^']|'(?!''))*'{0,2})'''"),
    '"': re.compile(r'((?:[^"\\\r\n]|\\.)*)"'),
    "'": re.compile(r"([^'\r\n]*)'"),
}


class TomlError(BrambleError):
    """Text that is not TOML, or a change that it does not take."""


class Table(NamedTuple):
    """A line ``[path]``."""

    path: Path
    indent: str
    #: Where the line after it begins.
    end: int


class Assignment(NamedTuple):
    """A ``key = value``."""

    path: Path
    #: The table it stands in; what the path has beyond it was written as a dotted key.
    table: Path
    indent: str
    value: Any
    #: Where the value is, and where the line after it begins.
    value_start: int
    value_end: int
    end: int


class Document(NamedTuple):
    """What a text says, and where."""

    tables: list[Table]
    assignments: list[Assignment]

    def values(self) -> dict[Path, Any]:
        """Return every assigned value by its full path; tables inside values are spelled out."""
        found: dict[Path, Any] = {}
        for assignment in self.assignments:
            found.update(_spell_out(path=assignment.path, value=assignment.value))
        return found


def _spell_out(*, path: Path, value: Any) -> dict[Path, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[Path, Any] = {}
    for key, inner in value.items():
        found.update(_spell_out(path=(*path, key), value=inner))
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, message: str) -> NoReturn:
        before = self.text[: self.at]
        line = before.count("\n") + 1
        column = self.at - (before.rfind("\n") + 1) + 1
        raise TomlError(f"line {line}, column {column}: {message}")

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def skip(self, literal: str) -> bool:
        if not self.text.startswith(literal, self.at):
            return False
        self.at += len(literal)
        return True

    def expect(self, literal: str) -> None:
        if not self.skip(literal):
            self.fail(f"expected {literal}")

    def key(self) -> Path:
        parts: list[str] = []
        while True:
            self.take(_BLANK)
            bare = self.take(_BARE_KEY)
            if bare is not None:
                parts.append(bare.group())
            elif self.text[self.at : self.at + 1] in ('"', "'"):
                parts.append(self.string(multiline=False))
            else:
                self.fail("expected a key")
            self.take(_BLANK)
            if not self.skip("."):
                return tuple(parts)

    def string(self, *, multiline: bool) -> str:
        start = self.at
        for delimiter, pattern in _STRINGS.items():
            if len(delimiter) > 1 and not multiline:
                continue
            if self.skip(delimiter):
                match = self.take(pattern)
                if match is None:
                    self.at = start
                    self.fail("a string without end")
                content = match.group(1)
                if len(delimiter) > 1:
                    content = re.sub(r"\A\r?\n", "", content)
                return self.unescape(content, start) if delimiter[0] == '"' else content
        return self.fail("expected a string")

    def unescape(self, content: str, start: int) -> str:
        def replace(match: re.Match[str]) -> str:
            simple, short, long = match.groups()
            if simple:
                return _ESCAPED[simple]
            return chr(int(short or long, 16)) if short or long else ""

        if "\\" in _ESCAPE.sub("", content):
            self.at = start
            self.fail("a string with an unknown escape")
        return _ESCAPE.sub(replace, content)

    def value(self) -> Any:
        first = self.text[self.at : self.at + 1]
        if first in ('"', "'"):
            return self.string(multiline=True)
        if first == "[":
            return self.array()
        if first == "{":
            return self.inline_table()
        match = self.take(_SCALAR)
        if match is None:
            self.fail("expected a value")
        return self.scalar(match)

    def scalar(self, match: re.Match[str]) -> Any:
        word = match.group()
        if word in ("true", "false"):
            return word == "true"
        if _INTEGER.fullmatch(word):
            return int(word)
        if _RADIX_INTEGER.fullmatch(word):
            return int(word, 0)
        if _FLOAT.fullmatch(word):
            return float(word)
        if _DATE_OR_TIME.fullmatch(word):
            return word
        self.at = match.start()
        return self.fail(f"{word} is not a value")

    def array(self) -> list[Any]:
        self.expect("[")
        items: list[Any] = []
        while True:
            self.take(_BLANK_AND_COMMENTS)
            if self.skip("]"):
                return items
            items.append(self.value())
            self.take(_BLANK_AND_COMMENTS)
            if not self.skip(","):
                self.expect("]")
                return items

    def inline_table(self) -> dict[str, Any]:
        self.expect("{")
        table: dict[str, Any] = {}
        self.take(_BLANK)
        if self.skip("}"):
            return table
        while True:
            *outer, last = self.key()
            self.expect("=")
            self.take(_BLANK)
            inner = table
            for part in outer:
                inner = inner.setdefault(part, {})
                if not isinstance(inner, dict):
                    self.fail(f"{part} is set twice")
            inner[last] = self.value()
            self.take(_BLANK)
            if not self.skip(","):
                self.expect("}")
                return table

    def end_of_line(self) -> None:
        if self.take(_END_OF_LINE) is None:
            self.fail("expected the end of the line")

    def document(self) -> Document:
        tables: list[Table] = []
        assignments: list[Assignment] = []
        current: Path = ()
        while True:
            self.take(_BLANK_AND_COMMENTS)
            if self.at == len(self.text):
                return Document(tables, assignments)
            indent = self.text[self.text.rfind("\n", 0, self.at) + 1 : self.at]
            if self.skip("[["):
                # Each [[path]] is an element of its own: given a number, it cannot be mistaken for a table.
                path = self.key()
                current = (*path, str(sum(table.path[:-1] == path for table in tables)))
                self.expect("]]")
                self.end_of_line()
                tables.append(Table(current, indent, self.at))
            elif self.skip("["):
                current = self.key()
                self.expect("]")
                self.end_of_line()
                tables.append(Table(current, indent, self.at))
            else:
                key = self.key()
                self.expect("=")
                self.take(_BLANK)
                start = self.at
                value = self.value()
                value_end = self.at
                self.end_of_line()
                path = (*current, *key)
                assignments.append(Assignment(path, current, indent, value, start, value_end, self.at))


def parse(*, text: str) -> Document:
    """Read TOML."""
    return _Reader(text).document()


def key_text(parts: Path) -> str:
    """Write a key as it stands in a file, quoted where it has to be."""
    return ".".join(
        part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in parts
    )


def _value_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value_text(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = [f"{key_text((key,))} = {_value_text(inner)}" for key, inner in value.items()]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    # Strings, booleans and numbers are written as in JSON.
    return json.dumps(value, ensure_ascii=False)


def _insert_line(*, text: str, at: int, line: str) -> str:
    before, after = text[:at], text[at:]
    if before and not before.endswith("\n"):
        before += "\n"
    return f"{before}{line}\n{after}"


def _put_into(*, table: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value


def set_value(*, text: str, path: Path, value: Any) -> str:
    """Return the text with one value set: in place where the key is, else in its table, else in a new one."""
    document = parse(text=text)
    for found in document.assignments:
        if found.path == path:
            if found.value == value:
                return text
            return text[: found.value_start] + _value_text(value) + text[found.value_end :]
        if found.path == path[: len(found.path)]:
            if not isinstance(found.value, dict):
                raise TomlError(
                    f"{key_text(found.path)} is {_value_text(found.value)}, and a table is expected there "
                    f"to set {key_text(path)}"
                )
            _put_into(table=found.value, path=path[len(found.path) :], value=value)
            return text[: found.value_start] + _value_text(found.value) + text[found.value_end :]
    table_path, last = path[:-1], path[-1:]
    pair = f"{key_text(last)} = {_value_text(value)}"
    if not table_path:
        # Only before the first header does a line belong to no table.
        return _insert_line(text=text, at=0, line=pair)
    for table in document.tables:
        if table.path == table_path:
            return _insert_line(text=text, at=table.end, line=f"{table.indent}  {pair}")
    for found in document.assignments:
        if found.path[:-1] == table_path:
            # The table exists through dotted keys alone, and TOML forbids a header for such a one.
            line = f"{found.indent}{key_text(path[len(found.table) :])} = {_value_text(value)}"
            return _insert_line(text=text, at=found.end, line=line)
    gap = "\n" if text.strip() else ""
    return _insert_line(text=text, at=len(text), line=f"{gap}[{key_text(table_path)}]\n  {pair}")
