"""What a person asks of a restore, and how it is spelled on the command line of `pgvault restore`.

Each option is defined here once: `add_options` declares it, `read_options` reads it and `RestoreRequest.to_argv` writes
it, for the command line, for the command of a plan and for the console's wizard.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NoReturn

from pgvault.model.errors import UsageError
from pgvault.model.holding import check_holding
from pgvault.model.lsn import Lsn
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.target import (
    AtLsn,
    AtName,
    AtTime,
    AtXid,
    EndOfWal,
    Immediate,
    Target,
    TargetAction,
    option,
    target_options,
)
from pgvault.model.times import parse_time
from pgvault.model.units import format_size, parse_rate

LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What a person asked for."""

    server: str
    backup: str = "auto"
    host: str = ""
    """A configured host; empty for this machine."""
    directory: str = ""
    """The data directory; empty for the host's data_directory."""
    target: Target = field(default_factory=EndOfWal)
    timeline: int | None = None
    action: TargetAction = TargetAction.PROMOTE
    standby: bool = False
    tablespaces: tuple[str, ...] = ()
    """NAME=PATH each."""
    overwrite: str = ""
    if_holds: str = ""
    """What the directory must hold, as a word of pgvault.model.holding; empty for what it holds now."""
    workers: int | None = None
    bandwidth_limit: int | None = None
    """The limit in bytes per second; None for no limit."""
    start: bool = False
    partial: bool = False
    """Use the unfinished last segment of the timeline too."""
    allow_unread: bool = False
    """Replay WAL that may create tablespaces unnoticed, because pgvault could not read it."""
    expects: tuple[RelationName, ...] = ()
    """The tables that the started server must have."""
    port: int | None = None
    """The port of the restored server; None for the host's, or else the one in its configuration."""

    def check(self) -> None:
        """Raise UsageError if the parts contradict each other.

        PostgreSQL does something else than go on only where it was given a target to stop at.
        """
        if self.expects and (not self.start or self.action is TargetAction.SHUTDOWN):
            raise UsageError("only a server that was started and still runs can be asked for what is expected",
                             hint="--expect goes with --start, and not with --target-action shutdown.")
        if self.standby and (not isinstance(self.target, EndOfWal) or self.action is not TargetAction.PROMOTE):
            raise UsageError("--standby cannot be used with a target, as a standby follows the original server")
        if self.standby and self.partial:
            raise UsageError("a standby gets the newest WAL from the original server, not from an unfinished segment")
        if isinstance(self.target, EndOfWal) and self.action is not TargetAction.PROMOTE:
            raise UsageError(f"the server can only {self.action.value} at a target, and the end of the WAL is none",
                             hint="Name the place as --target-time or --target-lsn; pgvault wal SERVER shows the last.")

    def to_argv(self) -> list[str]:
        """Return the command line that asks for this. `parse` reads the words after `pgvault restore`."""
        argv = ["pgvault", "restore", self.server, self.backup, *([self.directory] if self.directory else [])]
        if self.host:
            argv += ["--host", self.host]
        argv += point_options(self.target, self.timeline, partial=self.partial)
        if self.allow_unread:
            argv.append("--allow-unread-wal")
        if self.action is not TargetAction.PROMOTE:
            argv += ["--target-action", self.action.value]
        for space in self.tablespaces:
            argv += option("--tablespace", space)
        if self.port is not None:
            argv += ["--port", str(self.port)]
        if self.overwrite:
            argv += option("--overwrite", self.overwrite)
        if self.if_holds:
            argv += option("--if-holds", self.if_holds)
        if self.workers is not None:
            argv += ["--jobs", str(self.workers)]
        if self.bandwidth_limit is not None:
            argv += ["--bwlimit", format_size(self.bandwidth_limit)]
        for relation in self.expects:
            argv += option("--expect", str(relation))
        return argv + ["--standby"] * self.standby + ["--start" if self.start else "--no-start"]


def point_options(target: Target, timeline: int | None = None, *, partial: bool = False) -> list[str]:
    """Return the options that name where recovery stops; `parse_point` reads them."""
    branch = [] if timeline is None else ["--target-timeline", str(timeline)]
    return [*target_options(target), *branch, *["--partial"] * partial]


def parse(words: Sequence[str], zone: str | None = None) -> RestoreRequest:
    """Return the request of the words after `pgvault restore`; UsageError says what is wrong.

    A time without a zone is read in `zone`.
    """
    return read_options(_request_parser().parse_args(words), zone)


def parse_point(words: Sequence[str]) -> tuple[Target, int | None, bool]:
    """Return target, timeline and whether the unfinished segment is used; UsageError if the options name no target."""
    args = _point_parser().parse_args(words)
    return _target(args, None), args.target_timeline, args.partial


def read_options(args: argparse.Namespace, zone: str | None) -> RestoreRequest:
    """Return the request of the options that `add_options` declares; UsageError if they contradict each other."""
    if args.jobs is not None and args.jobs < 1:
        raise UsageError("--jobs must be at least 1")
    if args.port is not None and not 1 <= args.port <= LAST_PORT:
        raise UsageError(f"--port must be from 1 to {LAST_PORT}")
    target = _target(args, zone)
    try:
        request = RestoreRequest(
            server=args.server, host=args.host, directory=args.directory, target=target,
            backup="latest" if args.backup == "auto" and isinstance(target, Immediate) else args.backup,
            timeline=args.target_timeline, action=TargetAction(args.target_action), standby=args.standby,
            tablespaces=_tablespaces(args.tablespace), overwrite=args.overwrite, if_holds=_holding(args.if_holds),
            workers=args.jobs, bandwidth_limit=parse_rate(args.bwlimit) if args.bwlimit else None,
            start=args.start, partial=args.partial, allow_unread=args.allow_unread_wal,
            expects=tuple(map(parse_relation, args.expect)), port=args.port)
    except ValueError as error:
        raise UsageError(str(error)) from None
    request.check()
    return request


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare on `parser` the options that `read_options` reads."""
    parser.add_argument("server", metavar="SERVER", help="the configured server whose backup to restore")
    parser.add_argument("backup", metavar="BACKUP", nargs="?", default="auto",
                        help="an id or a beginning of one, latest, oldest, or auto (default: chosen from the target)")
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default="",
                        help="the new data directory (default: the host's data_directory)")
    parser.add_argument("--host", default="", help="a configured host (default: this machine)")
    _add_point_options(parser, is_required=False)
    parser.add_argument("--allow-unread-wal", action="store_true",
                        help="also replay WAL that pgvault cannot read: a tablespace that it creates goes to its "
                        "original path")
    parser.add_argument("--target-action", choices=[each.value for each in TargetAction], default="promote",
                        help="what the server does at the target")
    parser.add_argument("--standby", action="store_true", help="let it follow the original server")
    parser.add_argument("--tablespace", action="append", default=[], metavar="NAME=PATH",
                        help="directory of a tablespace; may be repeated")
    parser.add_argument("--port", type=int, metavar="PORT",
                        help="port of the restored server (default: the host's port, or the one in the "
                        "restored configuration)")
    parser.add_argument("--overwrite", default="", metavar="DIRECTORY",
                        help="rename this non-empty directory out of the way first")
    parser.add_argument("--if-holds", metavar="WHAT",
                        help="refuse if the directory holds anything else than this, as found by the plan: "
                        "nothing, a cluster's system identifier, unknown (a cluster that cannot be read), no-cluster, "
                        "or incomplete:JOB (what that restore left)")
    parser.add_argument("--jobs", type=int, metavar="N", help="parallel streams (default: parallel_jobs)")
    parser.add_argument("--bwlimit", metavar="RATE", help="limit in bytes per second, as in 50MB")
    parser.add_argument("--start", action=argparse.BooleanOptionalAction, default=False,
                        help="start the restored server and wait until it has reached the target")
    parser.add_argument("--expect", action="append", default=[], metavar="DATABASE.SCHEMA.TABLE",
                        help="with --start: require this table, and report its rows; SQL's quoting; may be repeated: "
                        "each")


def _add_point_options(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    target = parser.add_mutually_exclusive_group(required=is_required)
    target.add_argument("--target-time", metavar="TIME", help="the last commit at or before this time, with its zone")
    target.add_argument("--target-lsn", metavar="LSN", help="a WAL position, as in 16/B374D848")
    target.add_argument("--target-xid", metavar="XID", type=int, help="the commit or abort of this transaction")
    target.add_argument("--target-name", metavar="NAME", help="a restore point (pg_create_restore_point)")
    target.add_argument("--target-immediate", action="store_true", help="the end of the backup itself")
    target.add_argument("--target-end", action="store_true", help="the end of the archived WAL (the default)")
    parser.add_argument("--exclusive", action="store_true", help="stop just before the target, not just after it")
    parser.add_argument("--target-timeline", type=int, metavar="N", help="the timeline, if the target is on several")
    parser.add_argument("--partial", action="store_true",
                        help="also use the unfinished last segment of the timeline, as after the loss of the server")


class _Parser(argparse.ArgumentParser):
    def __init__(self) -> None:
        super().__init__(prog="pgvault restore", add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint="pgvault restore --help")


@cache
def _request_parser() -> _Parser:
    parser = _Parser()
    add_options(parser)
    return parser


@cache
def _point_parser() -> _Parser:
    parser = _Parser()
    _add_point_options(parser, is_required=True)
    return parser


def _target(args: argparse.Namespace, zone: str | None) -> Target:
    """Return the target. An option with an empty value counts as given."""
    inclusive = not args.exclusive
    if args.exclusive and args.target_time is args.target_lsn is args.target_xid is None:
        raise UsageError("--exclusive requires --target-time, --target-lsn or --target-xid")
    try:
        if args.target_time is not None:
            return AtTime(parse_time(args.target_time, zone), inclusive, args.target_time)
        if args.target_lsn is not None:
            return AtLsn(Lsn.parse(args.target_lsn), inclusive)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.target_xid is not None:
        return AtXid(args.target_xid, inclusive)
    if args.target_name is not None:
        return AtName(args.target_name)
    return Immediate() if args.target_immediate else EndOfWal()


def _tablespaces(options: Iterable[str]) -> tuple[str, ...]:
    for given in options:
        name, _, path = given.partition("=")
        if not path or not (name or "=/" in path):
            raise UsageError(f"not a tablespace and its directory: {given!r}", hint="Write --tablespace NAME=PATH.")
    return tuple(options)


def _holding(text: str | None) -> str:
    try:
        return "" if text is None else check_holding(text)
    except ValueError as error:
        raise UsageError(str(error), hint="Use nothing, no-cluster, unknown, a system identifier, or incomplete:JOB.") \
            from None
