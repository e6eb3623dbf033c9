"""The stored plan of a job in words: what it read and wrote, the target, and its options.

A plan may be one of an older pgvault, or damaged: only what it holds is shown, and no part of it is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pgvault.console.fields import Field
from pgvault.jobs.encoding import plain
from pgvault.model.job import JobKind
from pgvault.model.relation import RelationName
from pgvault.model.text import size, span, stamp
from pgvault.model.units import format_rate

Plan = Mapping[str, Any]
_OUTCOMES = {"warning": "warn", "failed": "bad"}


def destination(plan: Plan) -> str:
    """Return `standby-db-server:/srv/pg/17/main`; empty for a plan that restores nothing."""
    directory = plan.get("directory")
    return f"{plan.get('host') or 'this machine'}:{directory}" if directory else ""


def expected(plan: Plan) -> tuple[str, ...]:
    """Return the relations that a restore was made for, as DATABASE.SCHEMA.TABLE."""
    return tuple(str(RelationName(*(str(each.get(part, "")) for part in ("database", "schema", "name"))))
                 for each in _mappings(plan.get("expects")))


def plan_fields(kind: JobKind, plan: Plan) -> Iterator[Field]:
    """Yield each fact with its name."""
    tell = {JobKind.BACKUP: _backup, JobKind.RESTORE: _restore, JobKind.BRING_BACK: _bring_back,
            JobKind.OPEN: _copy, JobKind.THROW_AWAY: _copy}.get(kind)
    facts = list(tell(plan)) if tell and "unreadable" not in plan else []
    yield from [Field(*fact) for fact in facts] or _any(plan)


_Facts = Iterator[tuple[str, str, str]]
"""A name, a text and its style."""


def _backup(plan: Plan) -> _Facts:
    if name := plan.get("name"):
        yield "name", str(name), ""
    if "full" in plan:
        yield "compares", "with no earlier backup: a full one" if plan["full"] else "with the newest backup", ""
    if "immediate_checkpoint" in plan:
        yield "checkpoint", "at once, at full speed" if plan["immediate_checkpoint"] else \
            "spread by the server over some minutes", ""
    yield from _work(plan)
    times, seconds = plan.get("retry_times"), plan.get("retry_seconds")
    if times and isinstance(seconds, int | float):
        yield "tries again", f"up to {times} times, {span(seconds)} apart", ""


def _restore(plan: Plan) -> _Facts:
    if backup := plan.get("backup"):
        source = _mapping(plan.get("source"))
        facts = (f"PostgreSQL {source['server_version']}" if "server_version" in source else "",
                 _size(source.get("size_bytes")))
        yield "backup", ", ".join(filter(None, (str(backup), *facts))), ""
    if place := destination(plan):
        yield "to", place, "bold"
    for space in _mappings(plan.get("tablespaces")):
        yield "", f"tablespace {space.get('name')} to {space.get('location')}", ""
    yield from _stop(plan)
    for each in _mappings(plan.get("prepared")):
        yield "prepared", f"transaction {each.get('gid')!r} of {each.get('owner')}, not ended there", "warn"
    if plan.get("action"):
        yield "then", "follow the original server" if plan.get("standby") else str(plan["action"]), ""
    wal = _mapping(plan.get("wal"))
    if wal.get("first"):
        segments = len(_sequence(wal.get("segments"))) + ("partial" in wal)
        yield "WAL", f"{wal['first']} to {wal.get('last')}, {segments} segment{'s' * (segments != 1)}", ""
    if "bytes_to_send" in plan and "bytes_to_write" in plan:
        yield "amount", f"sends {_size(plan['bytes_to_send'])}, writes {_size(plan['bytes_to_write'])}", ""
    yield "overwrites", str(plan.get("overwrites") or "nothing"), "warn" if plan.get("overwrites") else ""
    yield from _work(plan)
    yield from _conditions(plan)
    for number, each in enumerate(_mappings(plan.get("settings_changed"))):
        yield "" if number else "made safe", f"{each.get('name')} in {each.get('file')}: {each.get('action')}", ""


def _bring_back(plan: Plan) -> _Facts:
    names = [*(f"schema {each.get('name')}" for each in _mappings(plan.get("schemas"))),
             *(f"{each.get('schema')}.{each.get('name')}" for each in _mappings(plan.get("tables")))]
    yield "brings", ", ".join(names) or "-", "bold"
    yield "from", f"{plan.get('place')}, by restore {plan.get('copy')}", ""
    beside = f"schema {plan['beside']}, beside what was there" if plan.get("beside") else "as it was"
    yield "into", f"{plan.get('database')} of {plan.get('server')}, {beside}", ""
    for number, each in enumerate(_sequence(plan.get("left"))):
        yield "" if number else "left out", str(each), ""
    yield from _conditions(plan)


def _copy(plan: Plan) -> _Facts:
    """Yield what is done to the restored server itself."""
    yield "where", destination(plan), "bold"
    for each in _sequence(plan.get("tablespaces")):
        yield "", f"tablespace {each}", ""
    yield from _conditions(plan)


def _conditions(plan: Plan) -> _Facts:
    for number, each in enumerate(_mappings(plan.get("preconditions"))):
        detail = f" ({each['detail']})" if each.get("detail") else ""
        outcome = str(each.get("outcome", ""))
        yield "" if number else "conditions", f"{outcome}: {each.get('name')}{detail}", _OUTCOMES.get(outcome, "")


def _stop(plan: Plan) -> _Facts:
    if not plan.get("stop_lsn"):
        yield "stops", "at the end of the WAL", ""
        return
    when = f", {_text(plan['stop_time'])}" if "stop_time" in plan else ""
    path = " -> ".join(map(str, _sequence(plan.get("timeline_path")))) or str(plan.get("timeline", "?"))
    yield "stops", (f"{'after' if plan.get('stop_replayed') else 'before'} {plan['stop_lsn']}{when}, "
                    f"on timeline {path}"), ""


def _work(plan: Plan) -> _Facts:
    if workers := plan.get("workers"):
        level = f", compression level {plan['compression_level']}" if "compression_level" in plan else ""
        yield "work", f"{workers} at a time{level}", ""
    limit = plan.get("bandwidth_limit")
    if isinstance(limit, int):
        yield "at most", format_rate(limit), ""


def _any(plan: Plan) -> Iterator[Field]:
    """Yield the contents of a plan of an unknown kind, with names of any length."""
    for name, value in plan.items():
        yield Field("", f"{str(name).replace('_', ' ')}: {_text(value)}", "", 1)


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return stamp(value.astimezone(UTC))
        case Mapping():
            return ", ".join(f"{str(name).replace('_', ' ')} {_text(each)}" for name, each in value.items()) or "-"
        case list() | tuple():
            return "; ".join(map(_text, value)) or "-"
    return str(plain(value)) or "-"


def _size(value: object) -> str:
    return size(value) if isinstance(value, int) else ""


def _mapping(value: object) -> Plan:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _mappings(value: object) -> Iterator[Plan]:
    return (each for each in _sequence(value) if isinstance(each, Mapping))
