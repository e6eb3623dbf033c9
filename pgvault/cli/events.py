"""The verb events: what happened according to the archived WAL, and how to restore the state before it.

With `--format json`, one object per line: docs/cli.md describes it.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.config.schema import ServerConfig
from pgvault.model.errors import UsageError
from pgvault.model.identifier import sql_identifier, sql_literal
from pgvault.model.restore_request import point_options
from pgvault.model.target import AtName

if TYPE_CHECKING:
    from pgvault.engine.events import WalEvent

HELP = """Show the events in the archived WAL: drops, truncations, mass deletions, restore points.

Each event is shown with the options of `pgvault restore` that restore the moment before it. A time without a zone is in
the server's time zone. Names are those of the newest backup before the event.

Example:
  pgvault events main-db --newest-first --limit 10
  pgvault events main-db --since '2026-11-22 18:00' --kind drop --kind truncate
  pgvault events main-db --object public.orders --format json
"""
KINDS = ("drop", "truncate", "drop-database", "delete", "restore-point", "rewrite")
_MOST_NAMES = 5
"""Objects that a line names; further ones are counted."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("--since", metavar="TIME", help="only events at or after this time")
    parser.add_argument("--until", metavar="TIME", help="only events at or before this time")
    parser.add_argument("--kind", action="append", choices=KINDS, metavar="KIND",
                        help=f"only this kind; may be repeated: {', '.join(KINDS)} (default: all but rewrite: "
                             "VACUUM FULL, CLUSTER, REINDEX and similar)")
    parser.add_argument("--object", metavar="NAME", default="",
                        help="only events of this table, index, ... or database: name, schema.name or OID")
    parser.add_argument("--limit", type=_positive, metavar="N", help="no more than N events")
    parser.add_argument("--newest-first", action="store_true", help="show the newest event first (default: the oldest)")
    timelines = parser.add_mutually_exclusive_group()
    timelines.add_argument("--timeline", type=_positive, metavar="N",
                           help="only events on the path to this timeline (default: newest)")
    timelines.add_argument("--all-timelines", action="store_true", help="events of all timelines, one after another")
    parser.add_argument("--rows", type=_positive, metavar="N", default=100,
                        help="minimum rows of a table for a mass deletion or update (default: %(default)s)")
    parser.add_argument("--partial", action="store_true", help="read the unfinished last segment too")


def events(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.render import listener
    from pgvault.engine.events import SHOWN, find_events
    from pgvault.vault.layout import Vault
    from pgvault.wal.accidents import EventKind

    server = context.config.server(args.server)
    kinds = frozenset(map(EventKind, args.kind)) if args.kind else SHOWN
    since, until = (_time(text, server, option) for text, option in ((args.since, "--since"), (args.until, "--until")))
    zone = ZoneInfo(server.timezone or "UTC")
    none = True
    with closing(listener(context.err, as_json=context.json)) as emit:
        found = find_events(
            Vault.open(context.config.vault.home).server(server.name), since=since, until=until, kinds=kinds,
            object=args.object, timeline=args.timeline, everywhere=args.all_timelines, newest_first=args.newest_first,
            limit=args.limit, partial=args.partial, mass=args.rows, emit=emit)
        for event in found:
            none = False
            emit.close()
            if context.json:
                context.out.json_line({"server": server.name, **document(event)})
            else:
                _show(context, event, zone)
            context.out.flush()
    if none:
        context.err.line("no such event in the archived WAL")
    return 0


def document(event: WalEvent) -> dict[str, Any]:
    """Return the JSON object without the server."""
    return {
        "kind": event.kind, "time": event.time, "timeline": event.timeline, "lsn": event.lsn, "end_lsn": event.end_lsn,
        "xid": event.xid, "database": event.database, "objects": event.objects, "rows": event.rows, "name": event.name,
        "partial": event.partial, "prepared": event.prepared,
        "dropped_schema": event.schema, "undo": undo(event)}


def undo(event: WalEvent) -> list[str]:
    """Return the options of `pgvault restore` that restore the state before the event, or at a restore point."""
    target = AtName(event.name) if event.name else event.before
    return point_options(target, event.timeline, partial=event.partial)


def _show(context: Context, event: WalEvent, zone: ZoneInfo) -> None:
    import shlex

    out = context.out
    style = {"restore-point": "accent", "rewrite": "dim"}.get(event.kind.value, "bad")
    time = event.time.astimezone(zone).isoformat(sep=" ", timespec="milliseconds")
    out.line(out.paint(time, "bold"), "  ", out.paint(f"{event.kind.value:<13}", style), "  ", sentence(event))
    doing = "to restore it" if event.name else "to see the state before" if event.kind.value == "rewrite" else "to undo"
    out.line("    ", out.paint(f"{doing}: {shlex.join(undo(event))}", "dim"))


def sentence(event: WalEvent) -> str:
    """Describe the event in words, and whether it was prepared earlier."""
    if event.prepared is None:
        return _sentence(event)
    named = f" {sql_literal(event.prepared)}" if event.prepared else ""
    return f"{_sentence(event)}, prepared earlier and committed by COMMIT PREPARED{named}"


def _sentence(event: WalEvent) -> str:
    kind, where = event.kind.value, f" in database {event.database}"
    if kind == "restore-point":
        return f"restore point {event.name}"
    if kind == "drop-database":
        return f"database {event.database}"
    if kind == "delete":
        return _listed([f"{_rows_of(each.deleted, each.updated)} of {each.title}" for each in event.objects]) + where
    mains = [each for each in event.objects if each.is_main] or event.objects
    schema = f"schema {sql_identifier(event.schema)}: " if event.schema else ""
    return schema + _listed([each.title for each in mains]) + where


def _listed(titles: list[str]) -> str:
    rest = len(titles) - _MOST_NAMES
    return ", ".join(titles[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _rows_of(deleted: int, updated: int) -> str:
    done = " and ".join(f"{word} {number:,}" for number, word in ((deleted, "deleted"), (updated, "updated")) if number)
    return f"{done} row{'' if deleted + updated == 1 else 's'}"


def _time(text: str | None, server: ServerConfig, option: str) -> datetime | None:
    from pgvault.model.times import parse_time

    if text is None:
        return None
    try:
        return parse_time(text, server.timezone)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return number


COMMANDS = {"events": Command(HELP, arguments, events)}
