"""Encodes events, plans and documents as plain JSON values, and decodes events.

A journal line is one JSON object with the event's class under "event": {"event": "Progressed", "at": "...Z", ...}.
Lines are pure ASCII, so that any byte from a file name or a remote message survives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, cast

from pgvault.model.event import EVENT_TYPES, Event, Progressed
from pgvault.model.secrets import masked
from pgvault.model.times import rfc3339

TEXT_LIMIT = 16 * 1024
"""Characters of one text in an event: an endless remote message must not fill the vault."""

_TYPES: Mapping[str, type[Event]] = {t.__name__: t for t in EVENT_TYPES}
_PLAIN = frozenset((str, int, float, bool, type(None)))


def plain(value: object) -> Any:
    """Convert to JSON's types: times to RFC 3339 UTC, LSNs and paths to text, enums to values, dataclasses to
    objects."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): item if type(item) in _PLAIN else plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    return str(value)


def encode(event: Event) -> bytes:
    """Encode an event as one line of a journal, with its line feed."""
    document = {"event": type(event).__name__, **plain(event)}
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Event | None:
    """Decode the event of one line; None if the line is incomplete or of an unknown kind."""
    import msgspec

    try:
        document = json.loads(line)
        return msgspec.convert(document, _TYPES[document["event"]])
    except (ValueError, KeyError, TypeError, msgspec.ValidationError):
        return None


def guarded(event: Event) -> Event:
    """Return the event with all secrets masked, even if its sender did not, and with texts of bounded length."""
    return event if isinstance(event, Progressed) else cast("Event", _guarded(event))


def _guarded(value: object) -> object:
    if isinstance(value, str):
        return masked(value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + " ... (cut)")
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _guarded(getattr(value, field.name)) for field in fields(value)})
    return value
