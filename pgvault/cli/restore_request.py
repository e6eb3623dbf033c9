"""Reads the options of `restore` into a request."""

from __future__ import annotations

import argparse

from pgvault.cli.context import Context
from pgvault.engine.restore.request import RestoreRequest
from pgvault.model.errors import UsageError
from pgvault.model.holding import check_holding
from pgvault.model.lsn import Lsn
from pgvault.model.rate import parse_rate
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target, TargetAction
from pgvault.model.times import parse_time


def read_request(args: argparse.Namespace, context: Context) -> RestoreRequest:
    """Return the request; UsageError if the options contradict each other."""
    server = context.config.server(args.server)
    target = _target(args, server.timezone)
    if args.jobs is not None and args.jobs < 1:
        raise UsageError("--jobs must be at least 1")
    if args.port is not None and not 1 <= args.port <= 65535:
        raise UsageError("--port must be from 1 to 65535")
    if args.standby and (not isinstance(target, EndOfWal) or args.target_action != "promote"):
        raise UsageError("--standby cannot be used with a target, as a standby follows the original server")
    if args.choices and (args.dry_run or args.detach):
        raise UsageError("--choices cannot be used with --dry-run or --detach")
    backup = "latest" if args.backup == "auto" and isinstance(target, Immediate) else args.backup
    return RestoreRequest(
        server=args.server, backup=backup, host=args.host, directory=args.directory, target=target,
        timeline=args.target_timeline, action=TargetAction(args.target_action), standby=args.standby,
        tablespaces=_tablespaces(args.tablespace), overwrite=args.overwrite, if_holds=_holding(args.if_holds),
        workers=args.jobs, bandwidth_limit=_rate(args.bwlimit) if args.bwlimit else server.bandwidth_limit,
        start=args.start, partial=args.partial, allow_unread=args.allow_unread_wal,
        expects=tuple(map(_relation, args.expect)), port=args.port)


def _tablespaces(options: list[str]) -> tuple[str, ...]:
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


def _relation(text: str) -> RelationName:
    try:
        return parse_relation(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _rate(text: str) -> int:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


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
