"""The effects of replay in the WAL index: the facts that a plan needs of the WAL on its recovery path, besides its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    Effect,
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
)

if TYPE_CHECKING:
    import sqlite3

    from pgvault.model.segment import Segment

_KINDS: dict[str, type[Effect]] = {
    "tablespace": TablespaceCreated, "no tablespace": TablespaceDropped, "parameters": ParameterChange,
    "prepared": PreparedTransaction, "ended": PreparedEnded}
_NAMES = {kind: name for name, kind in _KINDS.items()}

_FOUND = """
SELECT number, kind, facts FROM effect WHERE timeline = ? AND number BETWEEN ? AND ? ORDER BY lsn"""


def store(connection: sqlite3.Connection, segment: Segment, effects: Iterable[Effect]) -> None:
    """Replace the effects of this segment, within the caller's transaction."""
    connection.execute("DELETE FROM effect WHERE timeline = ? AND number = ?", segment)
    connection.executemany("INSERT OR REPLACE INTO effect VALUES (?,?,?,?,?)", [
        (segment.timeline, segment.number, each.lsn, _NAMES[type(each)], json.dumps(_facts(each)))
        for each in effects])


def load(connection: sqlite3.Connection, timeline: int, first: int, last: int) -> Iterator[tuple[int, Effect]]:
    """Return the effects of these segments, in order, each with its segment's number."""
    for number, kind, facts in connection.execute(_FOUND, (timeline, first, last)):
        yield number, _effect(kind, json.loads(facts), timeline)


def _facts(effect: Effect) -> dict[str, Any]:
    facts = asdict(effect)
    if isinstance(effect, PreparedTransaction):
        facts["prepared_at"] = effect.prepared_at.isoformat()
    return facts


def _effect(kind: str, facts: dict[str, Any], timeline: int) -> Effect:
    facts["lsn"] = Lsn(facts["lsn"])
    made = _KINDS[kind]
    if made is PreparedTransaction:
        facts["prepared_at"] = datetime.fromisoformat(facts["prepared_at"])
        facts["locks"] = tuple(map(tuple, facts["locks"]))
    elif made is ParameterChange:
        facts["limits"] = Limits(**facts["limits"])
    elif made is TablespaceCreated:
        facts |= {"timeline": timeline, "end_lsn": Lsn(facts["end_lsn"])}
    return made(**facts)
