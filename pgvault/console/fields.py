"""Names and values laid out for a width: values are wrapped and never cut, since none of them may be lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pgvault.model.errors import PgvaultError
from pgvault.model.event import Failure
from pgvault.model.text import Painted, Part, visible, width

LABEL = 14
"""The width of the names, in columns."""
_BREAK = re.compile(r"(?<![0-9]) | (?!(?:[KMGT]iB|B|s|min|h|d)(?:/s)?(?![A-Za-z0-9]))")
"""A blank at which a line may be broken: not one between a number and its unit."""
Line = Sequence[Part]


class Field(NamedTuple):
    """One value with its name; without a name it continues the field above, or takes the whole line."""

    name: str
    text: str
    style: str = ""
    indent: int = LABEL
    """The columns before the value."""
    hang: int = 0
    """The width of a prefix of the value, such as a state's word, by which further lines are indented."""


def heading(text: str) -> Field:
    return Field("", text, "title", 1)


def gap() -> Field:
    return Field("", "", "", 0)


def laid_out(fields: Iterable[Field], columns: int) -> list[Line]:
    """Yield the lines, each of at most that many columns."""
    lines: list[Line] = []
    for field in fields:
        indent = min(field.indent, max(0, columns - 20 - field.hang))
        head, rest = field.text[:field.hang], field.text[field.hang:]
        for number, text in enumerate(paragraphs(rest, columns - indent - field.hang - 1)):
            text = f"{head if not number else '':<{field.hang}}{text}"
            name = f" {field.name}" if field.name and not number else ""
            lead = name + " " * max(indent - width(name), 0)
            lines.append([Painted(lead, "dim") if name.strip() else lead,
                          Painted(text, field.style) if field.style else text])
    return lines


def paragraphs(text: str, columns: int) -> list[str]:
    """Wrap each of the text's lines separately, so that they can be pasted; return at least one line."""
    return [line for each in text.split("\n") for line in wrapped(visible(each), columns) or [""]]


def wrapped(text: str, columns: int) -> list[str]:
    """Return the text in lines, broken at blanks where possible, in a long path behind a slash, and never between a
    number and its unit; only blanks are lost at a break.
    """
    columns = max(columns, 2)
    lines: list[str] = []
    line = ""
    for word in _BREAK.split(text):
        if line and width(line) + 1 + width(word) <= columns:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *whole, line = list(_pieces(word, columns)) or [""]
        lines += whole
    return [*lines, line] if line else lines


def _pieces(word: str, columns: int) -> Iterator[str]:
    piece, used = "", 0
    for char in word:
        if used + width(char) > columns and piece:
            end = piece.rfind("/") + 1
            if width(piece[:end]) * 2 < columns:  # too little of the line
                end = len(piece)
            yield piece[:end]
            piece = piece[end:]
            used = width(piece)
        piece += char
        used += width(char)
    if piece:
        yield piece


def describe_failure(lead: str, problem: Failure | PgvaultError) -> str:
    """Return the fields that replace what could not be read: the reason, a line each."""
    return "\n".join(filter(None, (f"{lead}: {problem.message}", problem.detail, problem.hint)))


def failed(failure: Failure | PgvaultError, *, retry: str = "", indent: int = LABEL) -> Iterator[Field]:
    """Yield what failed, why, and what to do next; `retry` names the key that tries again."""
    yield Field("failed", failure.message, "bad", indent)
    if failure.detail:
        yield Field("cause", failure.detail, "", indent)
    if failure.hint:
        yield Field("next step", failure.hint, "bold", indent)
    if retry:
        yield Field("" if failure.hint else "next step", f"{retry} tries it again; esc goes back, and nothing is lost",
                    "", indent)
    yield Field("code", f"{failure.code}: pgvault explain {failure.code}", "dim", indent)
