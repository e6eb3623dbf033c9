"""The WAL verbs for people and cron: wal, switch-wal, archive-wal, receive-wal."""

from __future__ import annotations

import argparse
import signal
from contextlib import closing
from typing import Any

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.config.schema import ServerConfig
from pgvault.engine.wal_status import WalStatus, wal_status
from pgvault.model.text import size as in_bytes
from pgvault.model.text import when
from pgvault.model.window import Gap, Range, TimelineWal, Window
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault

WAL_HELP = """Show the timelines of a server, their archived segments, gaps, and the recovery windows.

Example:
  pgvault wal main-db
"""
SWITCH_HELP = """Close the server's current WAL segment, so that it is archived now.

Example:
  pgvault switch-wal main-db --archive
"""
ARCHIVE_HELP = """Archive the files in incoming, and the complete segments that a receiver left in streaming.

Prints nothing if there was nothing to archive. With all, a server that fails does not stop the others; the exit code is
that of the worst failure.

Example:
  pgvault archive-wal main-db
  pgvault archive-wal all
"""
RECEIVE_HELP = """Stream WAL from the server until stopped with Ctrl-C, SIGTERM or --stop.

SIGHUP is ignored: the receiver continues when its terminal is closed, with the configuration that it started with.

Example:
  pgvault receive-wal main-db
  pgvault receive-wal main-db --stop
"""

LOOK_LIMIT = 200
"""`wal` reads at most this many unread segments before it answers; archive-wal reads all of them."""


def server_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")


def switch_arguments(parser: argparse.ArgumentParser) -> None:
    server_argument(parser)
    parser.add_argument("--archive", action="store_true", help="wait until the segment is in the archive")
    parser.add_argument("--archive-timeout", type=float, metavar="SECONDS", default=30.0,
                        help="how long to wait (default: %(default)s)")


def receive_arguments(parser: argparse.ArgumentParser) -> None:
    server_argument(parser)
    parser.add_argument("--stop", action="store_true", help="stop the running receiver")


def wal(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    status = wal_status(vault, limit=LOOK_LIMIT)
    if context.json:
        context.out.json({"server": server.name, **document(status)})
    else:
        _show(context, server, status)
    return 0


def switch_wal(args: argparse.Namespace, context: Context) -> int:
    from pgvault.engine.switch import switch_wal as switch
    from pgvault.engine.switch import wait_archived

    server = context.config.server(args.server)
    switched = switch(server)
    state = "closed" if switched.changed else "nothing was written since the last switch; the last segment is"
    if args.archive:
        wait_archived(_vault(context, server), server, switched.segment, args.archive_timeout)
    if context.json:
        context.out.json({"server": server.name, "segment": switched.segment, "switched": switched.changed,
                          "archived": True if args.archive else None})
    else:
        context.out.line(f"{state} {switched.segment}", ", which is archived" if args.archive else "")
    return 0


def archive_wal(args: argparse.Namespace, context: Context) -> int:
    """Archive for each server. One that fails does not stop the others; the exit code is that of the worst failure."""
    from pgvault.cli.failure import report_failure

    vault, code = Vault.open_or_create(context.config.vault.home), 0
    for server in context.servers(args.server):
        try:
            code = max(code, _archive_waiting(server, vault.server(server.name), context))
        except Exception as error:
            if args.server != "all" or isinstance(error, BrokenPipeError):
                raise
            code = max(code, report_failure(error, context, ["archive-wal", server.name], server=server.name))
    return code


def _archive_waiting(server: ServerConfig, vault: ServerVault, context: Context) -> int:
    from pgvault.cli.render import listener
    from pgvault.engine.incoming import Taken, archive_waiting
    from pgvault.engine.progress import reading_progress
    from pgvault.engine.wal_status import refresh
    from pgvault.vault.wal_archive import level_for, sweep

    with closing(listener(context.err, as_json=context.json)) as emit:
        taken = archive_waiting(vault, level=level_for(server.compression_level), emit=emit)
        sweep(vault)
        damaged = refresh(vault, on_progress=reading_progress(emit))
    for settled in catalog.settle(vault):
        context.err.line(f"{settled.id} is {settled.status.value}: its WAL has arrived")
    for each in damaged:
        context.err.line(context.err.paint("error: ", "bad"), f"{each.name} is damaged: {each.reason}")
    if context.json:
        context.out.json({"server": server.name, "archived": taken.archived, "rejected": taken.rejected,
                          "arriving": taken.arriving, "failed": taken.failed,
                          "damaged": [each.name for each in damaged]})
    elif taken != Taken():  # cron mails any output
        context.out.line(f"{server.name}: {taken}")
    return int(bool(taken.rejected or taken.failed or damaged))


def receive_wal(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.log import JobLog, open_log
    from pgvault.cli.render import listener
    from pgvault.engine.receive import Stop, receive, stop_running
    from pgvault.model.event import Event

    server = context.config.server(args.server)
    vault = _vault(context, server)
    if args.stop:
        done = stop_running(vault)
        context.err.line(f"stopped the receiver of {server.name}" if done else
                         f"no receiver of {server.name} is running")
        return 0
    listeners = (listener(context.err, as_json=context.json), JobLog(open_log(context)))

    def emit(event: Event) -> None:
        for each in listeners:
            each(event)

    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    receive(server, vault, stop, emit=emit)
    context.err.line(f"stopped receiving WAL of {server.name}")
    return 0


def _vault(context: Context, server: ServerConfig) -> ServerVault:
    vault = Vault.open_or_create(context.config.vault.home).server(server.name)
    vault.prepare()
    return vault


def document(status: WalStatus) -> dict[str, Any]:
    """Return the documented JSON of `wal`, including what could not be read."""
    size = status.segment_size
    return {
        "segment_size": size, "stored_bytes": status.stored_bytes,
        "timelines": [{
            "id": each.timeline, "parent": each.parent, "switch_lsn": each.switch,
            "ranges": [_range(one, size) for one in each.ranges], "gaps": [_gap(one, size) for one in each.gaps],
        } for each in status.survey.timelines],
        "windows": [_window(each) for each in status.survey.windows],
        "broken_backups": [{"backup": each.backup, "missing": each.missing.name(size), "reason": each.described(size)}
                           for each in status.survey.broken],
        "unreadable_backups": [{"backup": each.id, "reason": each.reason} for each in status.unreadable],
        "breaks": [{"segment": each.segment.name(size), "lsn": each.lsn, "reason": each.reason,
                    "harmless": each.harmless} for each in status.survey.breaks],
        "damaged": [{"name": each.name, "reason": each.reason} for each in status.damaged],
        "not_read": [{"segment": each.segment, "reason": each.reason} for each in status.not_read],
        "unread": status.unread, "streaming": status.streaming}


def _range(each: Range, size: int) -> dict[str, Any]:
    return {"first": each.first.name(size), "last": each.last.name(size), "segments": each.segments,
            "from_time": each.from_time, "until_time": each.until_time}


def _gap(each: Gap, size: int) -> dict[str, Any]:
    return {"after": each.after.name(size), "before": each.before.name(size), "missing": each.missing,
            "harmless": each.harmless}


def _window(each: Window) -> dict[str, Any]:
    return {"timeline": each.timeline, "from_time": each.from_time, "until_time": each.until_time,
            "from_lsn": each.from_lsn, "until_lsn": each.until_lsn, "backups": each.backups}


def _show(context: Context, server: ServerConfig, status: WalStatus) -> None:
    out, size, survey = context.out, status.segment_size, status.survey
    out.line(f"{server.name}: {in_bytes(status.stored_bytes)} of WAL archived, segments of {in_bytes(size)}")
    for each in survey.timelines:
        out.line()
        _show_timeline(context, each, size)
    out.line()
    if survey.windows:
        out.line(out.paint("Recovery windows", "bold"))
        out.table(["Timeline", "From", "Until", "From LSN", "Until LSN", "Backups"], [
            [str(w.timeline), when(w.from_time, exact=True), when(w.until_time, exact=True), str(w.from_lsn),
             str(w.until_lsn), str(len(w.backups))] for w in survey.windows], right={0, 5})
    else:
        out.line(out.paint("No recovery window: no backup has all the WAL that it needs.", "warn"))
    for broken in survey.broken:
        out.line(out.paint("broken  ", "bad"), f"backup {broken.backup} cannot be restored: {broken.described(size)}")
    for unreadable in status.unreadable:
        out.line(out.paint("broken  ", "bad"), str(unreadable))
    for each_break in survey.breaks:
        out.line(out.paint("stops   ", "dim" if each_break.harmless else "bad"),
                 f"recovery cannot pass {each_break.lsn} in {each_break.segment.name(size)}: {each_break.reason}",
                 " (harmless: a newer backup begins behind it)" if each_break.harmless else "")
    for damaged in status.damaged:
        out.line(out.paint("damaged ", "bad"), f"{damaged.name}: {damaged.reason}")
    for unknown in status.not_read:
        out.line(out.paint("not read ", "warn"), f"{unknown.segment}: {unknown.reason}")
    if status.unread:
        out.line(out.paint("unread  ", "warn"), f"{status.unread} archived segments were not read yet, so times may "
                 f"reach further than shown: pgvault archive-wal {server.name}")
    for name in status.streaming:
        out.line(out.paint("streaming ", "dim"), f"{name} is being received")


def _show_timeline(context: Context, timeline: TimelineWal, size: int) -> None:
    out = context.out
    origin = f", from timeline {timeline.parent} at {timeline.switch}" if timeline.parent else ""
    out.line(out.paint(f"Timeline {timeline.timeline}", "bold"), origin)
    gaps = {gap.before: gap for gap in timeline.gaps}
    for each in timeline.ranges:
        if gap := gaps.get(each.first):
            out.line("  ", out.paint("gap ", "dim" if gap.harmless else "bad"), f"{gap.missing} segments are missing "
                     f"after {gap.after.name(size)}", " (harmless: a newer backup begins behind it)" if gap.harmless
                     else "; take a backup")
        out.line(f"  {each.first.name(size)} to {each.last.name(size)}  {each.segments} segments, commits from "
                 f"{when(each.from_time, exact=True)} to {when(each.until_time, exact=True)}")


COMMANDS = {
    "wal": Command(WAL_HELP, server_argument, wal),
    "switch-wal": Command(SWITCH_HELP, switch_arguments, switch_wal),
    "archive-wal": Command(ARCHIVE_HELP, server_argument, archive_wal),
    "receive-wal": Command(RECEIVE_HELP, receive_arguments, receive_wal),
}
