"""Finds the line of each key in a TOML document.

`tomllib` returns values without positions, and a person needs the line. The scanner reads a text that `tomllib` has
accepted, so it only has to find where keys and values end (TOML 1.0, https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib

Keys = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')[ \t]*(\.?)""")
_VALUE = re.compile(
    r'''"""(?:\\.|[^\\])*?"""{1,3}|\'\'\'.*?\'\'\'\'{0,2}|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}#\n]+''', re.DOTALL)


def key_lines(text: str) -> dict[Keys, int]:
    """Return the line, from 1, on which each key or table first appears; `text` must be valid TOML."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Keys, int] = {}
        self._line, self._counted = 1, 0

    def document(self) -> None:
        table: Keys = ()
        while self._next():
            brackets = 2 if self.text.startswith("[[", self.at) else 1 if self.text[self.at] == "[" else 0
            if brackets:
                self.at += brackets
                table = self._key(())
                self.at += brackets
            else:
                self._assignment(table)

    def _next(self) -> str:
        """Skip blanks, commas and comments. Return the first character of the next token; empty at the end."""
        self._take(_BLANK)
        return self.text[self.at : self.at + 1]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"not TOML at character {self.at}")
        self.at = match.end()
        return match

    def _key(self, table: Keys) -> Keys:
        """Read the dotted key here, below `table`, and note the line of each of its parts."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        more = True
        while more:
            part, dot = self._take(_KEY_PART).groups()
            name = tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part
            table = (*table, name)
            self.lines.setdefault(table, self._line)
            more = bool(dot)
        return table

    def _assignment(self, table: Keys) -> None:
        key = self._key(table)
        self.at += 1  # the equals sign
        self._value(key)

    def _value(self, key: Keys) -> None:
        start = self._next()
        if start not in ("[", "{"):
            self._take(_VALUE)
            return
        self.at += 1
        closing = "]" if start == "[" else "}"
        while self._next() != closing:
            if start == "[":
                self._value(key)
            else:
                self._assignment(key)
        self.at += 1
