"""The findings of `pgvault events` in the WAL as a person recognizes them, each with the point just before it.

The changes of one transaction are one accident, however many objects are gone: it is undone as a whole, and it has
parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

from pgvault.console.recovery.draft import Point, point_of
from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.chart import Mark, MarkKind
from pgvault.model.identifier import sql_literal
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.target import AtLsn

_VERBS = {"drop": "DROP", "truncate": "TRUNCATE"}
_DONE = {"drop-database": "dropped", "drop": "dropped", "truncate": "truncated", "rewrite": "rewrote"}
_ORDER = ("drop-database", "drop", "truncate", "delete", "rewrite", "restore-point")
"""The kinds of events, the worst first."""
_TABLES = frozenset({"table", "partitioned table", "materialized view", "relation"})
_COUNTED = _TABLES | {"view", "foreign table"}
_MOST_EXPECTED = 20
"""The most tables of one accident that the proof looks for."""


class Loss(NamedTuple):
    """One object, and what happened to it."""

    kind: str
    """The event's kind, as `pgvault events` names it."""
    title: str
    """A title such as `DROP TABLE shop.public.orders`."""
    noun: str
    """The kind of object, such as `table`."""
    place: str
    """The object's database and schema; empty where they are not known."""
    rows: int = 0
    expect: str = ""
    """The table that exists again before this point; empty if its name is not known."""


@dataclass(frozen=True, slots=True)
class Accident:
    """The changes of one transaction, or a part of them; `key` is unique on the server, and the same on timelines that
    share the accident.
    """

    key: str
    kind: str
    """The worst kind of its events."""
    time: datetime
    database: str
    losses: tuple[Loss, ...]
    point: Point
    """The point just before it."""
    xid: int = 0
    prepared: str | None = None
    """The name under which the transaction was prepared earlier, empty where it is not known; None if it was not
    prepared.
    """
    schema: str = ""
    """The schema that it dropped with everything in it; empty if it dropped none, or the name is not known."""

    @property
    def clock(self) -> str:
        return f"{self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"

    @property
    def what(self) -> str:
        named = f" {sql_literal(self.prepared)}" if self.prepared else ""
        earlier = "" if self.prepared is None else f", prepared earlier and done by COMMIT PREPARED{named}"
        return (self._schema_dropped or _describe_transaction(self.losses, self.database, self.xid)) + earlier

    @property
    def _schema_dropped(self) -> str:
        """Return `DROP SCHEMA shop.app3: 2 tables, 1 view`, if the transaction did nothing else."""
        if not self.schema or any(loss.kind != "drop" for loss in self.losses):
            return ""
        return f"DROP SCHEMA {self.database}.{self.schema}: {_counted(loss.noun for loss in self.losses)}"

    @property
    def expect(self) -> tuple[str, ...]:
        """Return the tables that exist again at the point, as far as their names are known."""
        return tuple(loss.expect for loss in self.losses if loss.expect)[:_MOST_EXPECTED]

    @property
    def parts(self) -> tuple[Accident, ...]:
        """Return each object as an accident of its own, if there are several: the point is the same, and the proof
        looks for one table.
        """
        if len(self.losses) < 2:
            return ()
        return tuple(_pointed(replace(self, key=f"{self.key}/{number}", kind=loss.kind, losses=(loss,), schema=""))
                     for number, loss in enumerate(self.losses))


class Row(NamedTuple):
    """An accident in a list, or below it one of its parts."""

    accident: Accident
    is_part: bool = False
    is_open: bool = False

    @property
    def text(self) -> str:
        sign = "    " if self.is_part else "" if not self.accident.parts else "- " if self.is_open else "+ "
        return sign + self.accident.what


def accident_of(document: Mapping[str, Any]) -> Accident:
    """Return the accident of one line of `pgvault --format json events`; ValueError if it offers no recovery."""
    kind, time = document["kind"], datetime.fromisoformat(document["time"])
    database = document["database"]["name"] or f"database {document['database']['oid']}"
    return _pointed(Accident(f"{document['lsn']}/{document['time']}/{kind}", kind, time, database,
                             tuple(_losses(document)), point_of(document["undo"], "", time=time),
                             int(document.get("xid") or 0), document.get("prepared"),
                             document.get("dropped_schema") or ""))


def together(found: Iterable[Accident]) -> list[Accident]:
    """Return one accident for each transaction, the newest first; a transaction that only rewrote tables is no
    accident.
    """
    def transaction(each: Accident) -> tuple[datetime, int, str]:
        return each.time, each.xid, "" if each.xid else each.key

    ordered = sorted(found, key=transaction, reverse=True)
    groups = ([*group] for _, group in groupby(ordered, key=transaction))
    return [_joined(group) for group in groups if any(each.kind != "rewrite" for each in group)]


def rows(accidents: Iterable[Accident], opened: Collection[str]) -> Iterator[Row]:
    """Yield the rows of a list, with the parts of those whose keys are `opened`."""
    for each in accidents:
        yield Row(each, is_open=each.key in opened)
        if each.key in opened:
            yield from (Row(part, is_part=True) for part in each.parts)


def marks(accidents: Iterable[Accident]) -> list[tuple[int, Mark]]:
    """Return the accidents' marks on the timeline strip, each with its timeline."""
    found = []
    for each in accidents:
        if isinstance(each.point.target, AtLsn):
            mark = Mark(microseconds(each.time), MarkKind.ACCIDENT, each.what, each.point.target.lsn, each.key)
            found.append((each.point.timeline or 1, mark))
    return found


def _joined(group: Sequence[Accident]) -> Accident:
    """Join the findings of one transaction; the point before it is the one before its first trace."""
    if len(group) == 1:
        return group[0]
    worst, *others = sorted(group, key=lambda each: _ORDER.index(each.kind))
    losses = tuple(loss for each in (worst, *others) for loss in each.losses)
    first = min(group, key=lambda each: each.point.target.lsn if isinstance(each.point.target, AtLsn) else 0)
    return _pointed(replace(worst, losses=losses, point=first.point))


def _pointed(accident: Accident) -> Accident:
    """Name the point after the accident that it precedes."""
    return replace(accident, point=replace(accident.point, label=f"just before {accident.what}"))


def _losses(document: Mapping[str, Any]) -> Iterator[Loss]:
    """Yield each object and what happened to it; indexes and the like belong to their tables."""
    kind, database = document["kind"], document["database"]
    where = database["name"] or f"database {database['oid']}"
    objects: Sequence[Mapping[str, Any]] = document["objects"]
    if kind == "restore-point":
        yield Loss(kind, f"restore point {document['name']}", "restore point", "")
    elif kind == "drop-database":
        yield Loss(kind, f"DROP DATABASE {database['name'] or database['oid']}", "database", "")
    elif not objects:
        yield Loss(kind, f"{_VERBS.get(kind, kind)} of something in {where}", "object", where)
    for each in [each for each in objects if each["kind"] in _COUNTED] or objects:
        yield _loss(kind, each, database["name"], where)


def _loss(kind: str, each: Mapping[str, Any], database: str, where: str) -> Loss:
    named = bool(each["name"])
    name = f"{each['schema']}.{each['name']}" if named else f"{each['oid'] or each['number']}"
    place = f"{where}.{name}" if named and database else f"{name} in {where}"
    if not named:
        place += " (name not known)"
    title = f"{_rows(each)} of {place}" if kind == "delete" else \
        f"{_VERBS.get(kind, kind)} {str(each['kind']).upper()} {place}"
    is_table = named and database and each["kind"] in _TABLES and kind != "rewrite"
    return Loss(kind, title, str(each["kind"]), f"{where}.{each['schema']}" if named else "",
                each["deleted"] + each["updated"],
                _expected(RelationName(database, each["schema"], each["name"])) if is_table else "")


def _expected(table: RelationName) -> str:
    """Return the table as `--expect` names it; empty if no table of PostgreSQL can have this name."""
    try:
        return str(parse_relation(str(table)))
    except ValueError:
        return ""


def _rows(each: Mapping[str, Any]) -> str:
    parts = [f"{word} {each[key]:,} rows" for key, word in (("deleted", "DELETE"), ("updated", "UPDATE")) if each[key]]
    return " and ".join(parts) or "changed rows"


def _describe_transaction(losses: Sequence[Loss], database: str, xid: int) -> str:
    """Describe a transaction: one object by its name; several of one schema by their kinds; otherwise by counts."""
    if len(losses) == 1:
        return losses[0].title
    kinds, places = {loss.kind for loss in losses}, {loss.place for loss in losses}
    if len(kinds) == 1 and (verb := _VERBS.get(losses[0].kind)):
        place = losses[0].place if len(places) == 1 else ""
        return f"{verb} in {place or database}: {_counted(loss.noun for loss in losses)}"
    done = []
    for kind in _ORDER:
        nouns = [loss.noun for loss in losses if loss.kind == kind]
        if nouns and kind == "delete":
            done.append(f"changed {sum(loss.rows for loss in losses):,} rows of {_counted(nouns)}")
        elif nouns:
            done.append(f"{_DONE.get(kind, kind)} {_counted(nouns)}")
    return f"transaction {xid}: {', '.join(done)}, in {database}"


def _counted(nouns: Iterable[str]) -> str:
    """Return counts such as `2 tables, 1 materialized view`."""
    plural = {"index": "indexes"}
    return ", ".join(f"{count:,} {noun if count == 1 else plural.get(noun, f'{noun}s')}"
                     for noun, count in Counter(nouns).items())
