"""The facts of a backup as text: `backup.toml`, described in docs/vault-format.md.

`Backup` itself declares the facts and their types; msgspec converts them. Facts that may be missing are None then.
"""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.segment import is_segment_size

_SERVER = "server"
"""The fact that is not in the file: the directory names the server."""
_REQUIRED = [field.name for field in fields(Backup) if field.name != _SERVER and field.default is not None]


def format_facts(backup: Backup) -> str:
    import tomli_w

    facts = msgspec.to_builtins(backup, builtin_types=(datetime,), enc_hook=str)
    return tomli_w.dumps({name: value for name, value in facts.items() if name != _SERVER and value is not None})


def with_changes(text: str, **changes: object) -> str:
    """Return the text with these facts changed, or removed where they are None, and with all else that it has: a newer
    pgvault may have written more."""
    import tomli_w

    facts = tomllib.loads(text) | changes
    return tomli_w.dumps({name: value for name, value in facts.items() if value is not None})


def parse_facts(text: str, backup_id: str, server: str) -> Backup:
    """Return the backup. Raises ValueError, with the problem, unless every fact is there and of its type."""
    facts = tomllib.loads(text)
    if missing := next((name for name in _REQUIRED if name not in facts), ""):
        raise ValueError(f"{missing} is missing")
    try:
        backup = msgspec.convert(facts | {_SERVER: server}, Backup, dec_hook=_lsn)
    except msgspec.ValidationError as error:
        reason, _, field = str(error).replace("`", "").partition(" - at $.")
        raise ValueError(f"{field}: {reason[0].lower()}{reason[1:]}") from None
    if backup.id != backup_id:
        raise ValueError(f"it is about backup {backup.id!r}")
    if not is_segment_size(backup.segment_size):
        raise ValueError(f"segment_size cannot be {backup.segment_size}")
    return replace(backup, started_at=_utc("started_at", backup.started_at),
                   finished_at=backup.finished_at and _utc("finished_at", backup.finished_at),
                   ended_at=backup.ended_at and _utc("ended_at", backup.ended_at),
                   deleted_at=backup.deleted_at and _utc("deleted_at", backup.deleted_at))


def _lsn(kind: type, value: Any) -> Lsn:
    assert kind is Lsn
    if not isinstance(value, str):
        raise ValueError(f"expected str, got {type(value).__name__}")
    return Lsn.parse(value)


def _utc(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{name} is no time with a zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} is outside the calendar in UTC") from None
