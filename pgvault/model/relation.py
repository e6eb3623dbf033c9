"""Names of tables and schemas as people type them: `DATABASE.SCHEMA.TABLE`, `DATABASE.SCHEMA`, of SQL identifiers.

    name       = part "." part [ "." part ]
    part       = plain | quoted
    plain      = (letter | "_" | non-ASCII) (letter | digit | "_" | "$" | non-ASCII)*     folded to lower case
    quoted     = '"' (any character but '"' and NUL | '""')+ '"'                          taken as it is

As in SQL (documentation 4.1.1), `Sales` and `sales` are one name and `"Sales"` is another. A name with a dot, a blank
or a hyphen needs quotes. As in PostgreSQL, only the letters A to Z are folded. Key words need no quotes here. A part of
more than 63 bytes is refused, since PostgreSQL would truncate it to another name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgvault.model.identifier import sql_identifier

_PLAIN = r"[A-Za-z_\u0080-\U0010FFFF][A-Za-z0-9_$\u0080-\U0010FFFF]*"
_PART = re.compile(rf'(?P<plain>{_PLAIN})|"(?P<quoted>(?:[^"\0]|"")+)"')
_WORD = re.compile(r'(?:[^\s"]|"(?:[^"]|"")*"?)+')
"""A blank between double quotes does not end a word."""
_LOWER = str.maketrans({chr(letter): chr(letter + 32) for letter in range(ord("A"), ord("Z") + 1)})
_LONGEST = 63
"""Longest identifier in bytes, NAMEDATALEN - 1."""


@dataclass(frozen=True, slots=True)
class RelationName:
    """A table in its schema and database, spelled as in the catalogue. `parse_relation` reads its `str`."""

    database: str
    schema: str
    name: str

    def __str__(self) -> str:
        return ".".join(map(sql_identifier, (self.database, self.schema, self.name)))


@dataclass(frozen=True, slots=True)
class SchemaName:
    """A schema in its database, spelled as in the catalogue. `parse_object` reads its `str`."""

    database: str
    name: str

    def __str__(self) -> str:
        return f"{sql_identifier(self.database)}.{sql_identifier(self.name)}"


def parse_relation(text: str) -> RelationName:
    """Return the relation that `text` names. ValueError says where the text cannot be read."""
    parts, where = _parts(text)
    if where is not None or len(parts) != 3:
        raise ValueError(f"not a table's name: {text!r}{where or ''}; write DATABASE.SCHEMA.TABLE, {_QUOTING}")
    return RelationName(*parts)


def parse_object(text: str) -> RelationName | SchemaName:
    """Return the relation or the schema that `text` names. ValueError says where the text cannot be read."""
    parts, where = _parts(text)
    if where is not None or len(parts) not in (2, 3):
        raise ValueError(f"not the name of a table or schema: {text!r}{where or ''}; write DATABASE.SCHEMA.TABLE or "
                         f"DATABASE.SCHEMA, {_QUOTING}")
    return RelationName(*parts) if len(parts) == 3 else SchemaName(*parts)


def parse_objects(text: str) -> list[RelationName | SchemaName]:
    """Return the objects that `text` names, separated by blanks; ValueError as in `parse_object`."""
    return [parse_object(word) for word in _WORD.findall(text)]


_QUOTING = 'and in double quotes what has upper case, dots, blanks or hyphens, as in shop.public."Order-Items"'


def _parts(text: str) -> tuple[list[str], str | None]:
    """Return the parts and a description of where the rest cannot be read; None if everything was read."""
    parts: list[str] = []
    place = 0
    while match := _PART.match(text, place):
        parts.append(_read(match))
        place = match.end()
        if not text.startswith(".", place):
            break
        place += 1
    if place < len(text) or text.endswith("."):
        return parts, f" (from {text[place:][:20]!r} on)" if 0 < place < len(text) else ""
    return parts, None


def _read(match: re.Match[str]) -> str:
    plain, quoted = match["plain"], match["quoted"]
    part: str = plain.translate(_LOWER) if plain else quoted.replace('""', '"')
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        raise ValueError(f"not a table's name: {match[0]!r} is not valid UTF-8") from None
    if length > _LONGEST:
        raise ValueError(f"not a table's name: {part[:20]!r}... has {length} bytes, PostgreSQL's names have at most "
                         f"{_LONGEST}")
    return part
