"""What docs/cli.md says of each verb's JSON documents, and whether a document is as it says.

A table with the columns field, type and meaning describes the documents of the heading above it. A field is a path: a
dot leads into an object, `[]` into the elements of an array, `*` stands for any name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pgvault.model.lsn import Lsn
from support.installation import REPOSITORY

PAGE = REPOSITORY / "docs" / "cli.md"
_HEADING = re.compile(r"#+ (.*)")
_ROW = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]*)\|")
SCHEMA = "schema"


class Row(NamedTuple):
    type: str
    """Without `or null`, and without what an array is of."""
    of: str
    """The type of an array's elements, where it has no rows for them."""
    is_nullable: bool


@dataclass(eq=False)
class Table:
    """The fields of one document or object, and those that were met in a real one."""

    name: str
    rows: dict[str, Row] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)

    def row(self, path: str) -> str | None:
        """The field that describes this path, one without `*` first."""
        if path in self.rows:
            return path
        return next((each for each in self.rows if _pattern(each).fullmatch(path)), None)

    def children(self, path: str) -> Iterator[str]:
        """The names directly below a path; those of a map are no names."""
        for each in self.rows:
            above, dot, name = each.rpartition(".")
            if (above == path if dot else not path) and name not in ("*", ""):
                yield name
            elif not dot and not path:
                yield each

    @property
    def unmet(self) -> list[str]:
        return [path for path in self.rows if path not in self.met]


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\*", r"[^.\[]+"))


@functools.cache
def tables() -> Mapping[str, Table]:
    """By their heading, without its backticks."""
    found: dict[str, Table] = {}
    heading = ""
    for line in PAGE.read_text().splitlines():
        if match := _HEADING.fullmatch(line):
            heading = match[1].replace("`", "")
        elif match := _ROW.match(line):
            table = found.setdefault(heading, Table(heading))
            assert match[1] not in table.rows, f"{heading}: {match[1]} is there twice"
            table.rows[match[1]] = _row(match[2].strip())
    return found


def _row(text: str) -> Row:
    plain = text.removesuffix(" or null")
    is_nullable = plain != text or text == "null"
    if plain.endswith(" array"):
        return Row("array", plain.removesuffix(" array"), is_nullable)
    return Row(plain, "", is_nullable)


def check(name: str, document: Any) -> list[str]:
    """What is wrong with a document of the table `name`; nothing when it is as described."""
    table = tables()[name]
    shown = dict(document)
    wrong = []
    if name not in JOURNAL and shown.pop(SCHEMA, None) != 1:
        wrong.append(f"{name}: schema is not 1")
    return wrong + list(_object(table, "", shown, name))


JOURNAL = ("JobStarted", "PhaseStarted", "Progressed", "CommandRan", "Checked", "Noted", "JobFinished")


def _object(table: Table, path: str, value: Mapping[str, Any], where: str) -> Iterator[str]:
    for missing in set(table.children(path)) - set(value):
        yield f"{where}: {missing} is described and not there"
    for name, each in value.items():
        below = f"{path}.{name}" if path else name
        described = table.row(below)
        if described is None:
            if not _is_open_map(table, path):
                yield f"{where}: {name} is not described"
            continue
        yield from _value(table, described, each, f"{where}.{name}")


def _is_open_map(table: Table, path: str) -> bool:
    return bool(path) and table.rows[path].type == "map" and f"{path}.*" not in table.rows


def _value(table: Table, described: str, value: Any, where: str) -> Iterator[str]:
    table.met.add(described)
    row = table.rows[described]
    if value is None:
        if not row.is_nullable:
            yield f"{where} is null"
    elif row.type == "array" and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _element(table, described, row, each, f"{where}[{number}]")
    elif row.type in ("object", "map") and isinstance(value, dict):
        yield from _object(table, described, value, where)
    else:
        yield from _typed(row.type, value, where)


def _element(table: Table, described: str, row: Row, value: Any, where: str) -> Iterator[str]:
    if row.of:
        yield from _typed(row.of, value, where)
    else:
        yield from _object(table, f"{described}[]", value, where)


def _typed(type_: str, value: Any, where: str) -> Iterator[str]:
    if type_ in tables() and isinstance(value, dict):
        yield from _object(tables()[type_], "", value, where)
    elif not any(_TYPES.get(each, _never)(value) for each in re.split(", | or ", type_)):
        yield f"{where} is no {type_}: {value!r}"


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None


def _is_lsn(value: Any) -> bool:
    return isinstance(value, str) and str(Lsn.parse(value)) == value


def _never(value: Any) -> bool:
    return False


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str), "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "time": _is_time, "LSN": _is_lsn, "object": _never, "map": _never, "null": _never}
KNOWN_TYPES: Sequence[str] = (*_TYPES, "array")
