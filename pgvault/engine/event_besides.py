"""What a transaction did besides dropping relations, as far as WAL and the names in backups say it."""

from __future__ import annotations

from collections.abc import Sequence

from pgvault.engine.event_names import NamesAt, WalObject, in_order, named
from pgvault.wal.accidents import FIRST_USER_OID, Finding


def beside_the_dropped(finding: Finding, names: NamesAt) -> tuple[WalObject, ...]:
    """The relations that lost their files and were not dropped: rewritten or truncated, the tables among them; indexes
    where there is no table. A table that is younger than all backups, and was rewritten before, is not known."""
    dropped = set(finding.oids)
    found: dict[int, WalObject] = {}
    for file in finding.files:
        if (name := names.by_number(file.database, file.number)) is None:
            continue
        if name.oid >= FIRST_USER_OID and name.oid not in dropped:
            found[name.oid] = named(name)
    ordered = in_order(each for each in found.values() if not each.kind.startswith("toast"))
    return tuple(each for each in ordered if each.is_main) or ordered


def dropped_schema(finding: Finding, names: NamesAt, objects: Sequence[WalObject]) -> str:
    """The schema that was dropped; empty where that is not known. One was, and all that the backups know in it went."""
    schemas = {each.schema for each in objects if each.is_main}
    if finding.schemas != 1 or len(schemas) != 1 or not all(each.name for each in objects if each.is_main):
        return ""
    [schema] = schemas
    return schema if names.in_schema(finding.database, schema) <= {each.oid for each in objects} else ""
