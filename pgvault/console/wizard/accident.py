"""What `pgvault events` found in the WAL, as a person recognizes it, and the point just before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.chart import Mark, MarkKind
from pgvault.console.wizard.draft import Point, point_of
from pgvault.model.relation import RelationName
from pgvault.model.target import AtLsn

_VERBS = {"drop": "DROP", "truncate": "TRUNCATE"}
_TABLES = frozenset({"table", "partitioned table", "materialized view", "relation"})
_MOST_EXPECTED = 20
"""Tables of one accident that the proof looks for."""


@dataclass(frozen=True, slots=True)
class Accident:
    """One event; `key` tells it from all others of its server, and is the same on timelines that share it."""

    key: str
    kind: str
    time: datetime
    title: str
    """`DROP TABLE shop.public.orders`."""
    others: int
    """Further objects that went with it."""
    point: Point
    """Just before it."""
    expect: tuple[str, ...]
    """The tables that are there again then, where their names are known."""
    xid: int = 0

    @property
    def clock(self) -> str:
        return f"{self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"

    @property
    def what(self) -> str:
        return self.title + (f" and {self.others} more" if self.others else "")


def accident_of(document: Mapping[str, Any]) -> Accident:
    """The accident of one line of `pgvault --format json events`; ValueError when it offers no way back."""
    kind, database = document["kind"], document["database"]["name"]
    objects: Sequence[Mapping[str, Any]] = document["objects"]
    tables = [each for each in objects if each["kind"] in _TABLES]
    title, shown = _title(document, tables or objects)
    named = database and kind in ("drop", "truncate", "delete")
    expect = tuple(str(RelationName(database, each["schema"], each["name"]))
                   for each in tables if each["name"]) if named else ()
    time = datetime.fromisoformat(document["time"])
    point = point_of(document["undo"], f"just before {title}", time=time)
    return Accident(f"{document['lsn']}/{document['time']}/{kind}", kind, time, title, max(0, len(tables) - shown),
                    point, expect[:_MOST_EXPECTED], int(document.get("xid") or 0))


def marks(accidents: Iterable[Accident]) -> list[tuple[int, Mark]]:
    """Their places on the line of time, each with the timeline that it is on."""
    found = []
    for each in accidents:
        if isinstance(each.point.target, AtLsn):
            mark = Mark(microseconds(each.time), MarkKind.ACCIDENT, each.what, each.point.target.lsn, each.key)
            found.append((each.point.timeline or 1, mark))
    return found


def _title(document: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """What happened, and how many objects it names."""
    kind, database = document["kind"], document["database"]
    where = database["name"] or f"database {database['oid']}"
    if kind == "restore-point":
        return f"restore point {document['name']}", 0
    if kind == "drop-database":
        return f"DROP DATABASE {database['name'] or database['oid']}", 0
    if not objects:
        return f"{_VERBS.get(kind, kind)} of something in {where}", 0
    main = objects[0]
    name = f"{main['schema']}.{main['name']}" if main["name"] else f"{main['oid'] or main['number']}"
    place = f"{where}.{name}" if main["name"] and database["name"] else f"{name} in {where}"
    if not main["name"]:
        place += " (name not known)"
    if kind == "delete":
        return f"{_rows(main)} of {place}", 1
    return f"{_VERBS.get(kind, kind)} {str(main['kind']).upper()} {place}", 1


def _rows(main: Mapping[str, Any]) -> str:
    parts = [f"{word} {main[key]:,} rows" for key, word in (("deleted", "DELETE"), ("updated", "UPDATE")) if main[key]]
    return " and ".join(parts) or "changed rows"
