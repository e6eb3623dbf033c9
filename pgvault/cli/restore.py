"""The restore verb: plan, show, confirm, run, start, prove."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.text import size

if TYPE_CHECKING:
    import asyncio

    from pgvault.engine.restore.plan import RestoreRequest
    from pgvault.io.host import Host
    from pgvault.model.restore_plan import RestorePlan, SettingChange
    from pgvault.model.target import Target

HELP = """Restore a cluster, to the end of its archived WAL or to a target before it, here or on another host.

The plan is shown first and nothing is written before it is confirmed. The backup is chosen from the target unless one
is named. With --start the restored server is started and asked whether it arrived.

Example:
  pgvault restore main-db auto --host standby-db --target-time '2026-11-22 20:05:12 Europe/Paris' --start
  pgvault restore main-db latest /srv/copy --target-immediate
  pgvault restore main-db --host standby-db --target-name before-deploy --dry-run
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="the configured server whose backup is restored")
    parser.add_argument("backup", metavar="BACKUP", nargs="?", default="auto",
                        help="an id or a beginning of one, latest, oldest, or auto (default: chosen from the target)")
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default="",
                        help="the new data directory (default: the host's data_directory)")
    parser.add_argument("--host", default="", help="a configured host (default: this machine)")
    _target_arguments(parser)
    parser.add_argument("--partial", action="store_true",
                        help="also use the unfinished last segment of the timeline, as after the loss of the server")
    parser.add_argument("--target-action", choices=["promote", "pause", "shutdown"], default="promote",
                        help="what the server does at the target")
    parser.add_argument("--standby", action="store_true", help="leave it following the original server")
    parser.add_argument("--tablespace", action="append", default=[], metavar="NAME=PATH",
                        help="where a tablespace goes; once for each")
    parser.add_argument("--overwrite", default="", metavar="DIRECTORY",
                        help="this directory is not empty: rename it out of the way first")
    parser.add_argument("--jobs", type=int, metavar="N", help="streams side by side (default: parallel_jobs)")
    parser.add_argument("--bwlimit", metavar="RATE", help="at most this much a second, as in 50MB")
    parser.add_argument("--start", action=argparse.BooleanOptionalAction, default=False,
                        help="start the restored server and wait until it reports that it is at the target")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--detach", action="store_true", help="run in a session of its own and print the job's id")


def _target_arguments(parser: argparse.ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--target-time", metavar="TIME", help="the last commit at or before a time with its zone")
    target.add_argument("--target-lsn", metavar="LSN", help="a WAL position, as in 16/B374D848")
    target.add_argument("--target-xid", metavar="XID", type=int, help="the end of this transaction")
    target.add_argument("--target-name", metavar="NAME", help="a restore point (pg_create_restore_point)")
    target.add_argument("--target-immediate", action="store_true", help="the end of the backup itself")
    target.add_argument("--target-end", action="store_true", help="the end of the archived WAL (the default)")
    parser.add_argument("--exclusive", action="store_true", help="stop just before the target, not just after it")
    parser.add_argument("--target-timeline", type=int, metavar="N", help="where the target is on several timelines")


def restore(args: argparse.Namespace, context: Context) -> int:
    import asyncio

    request = _request(args, context)
    with asyncio.Runner() as runner:  # one event loop, so that the plan's connection to the host serves the restore too
        host = runner.run(_connect(request, context))
        try:
            return _restore(args, request, context, runner, host)
        finally:
            runner.run(host.close())


def _restore(args: argparse.Namespace, request: RestoreRequest, context: Context, runner: asyncio.Runner,
             host: Host) -> int:
    from pgvault.engine.restore.plan import make_plan
    from pgvault.model.errors import Refused

    plan = runner.run(make_plan(request, context.config, host))
    if context.job_id is None or args.dry_run:
        _show(plan, context, as_data=args.dry_run)
    if args.dry_run:
        return Refused.exit_code if plan.failed else 0
    _refuse_if_failed(plan)
    yes = args.yes or context.job_id is not None
    if not context.confirm(f"Restore {plan.server} to {_where(plan)}?", yes=yes):
        context.err.line("Nothing was changed.")
        return 130
    if args.detach:
        return _detach(plan, context)
    return _run(plan, context, runner, host)


def _run(plan: RestorePlan, context: Context, runner: asyncio.Runner, host: Host) -> int:
    from pgvault.cli.running import run_job
    from pgvault.engine.restore.run import run_restore
    from pgvault.model.job import JobKind

    verdict = run_job(context, kind=JobKind.RESTORE, server=plan.server, command=plan.to_argv(), plan=plan,
                      runner=runner,
                      act=lambda emit, job: run_restore(plan, context.config, job=job, emit=emit, host=host))
    if context.json:
        context.out.json({"server": plan.server, "backup": plan.backup, "verdict": str(verdict),
                          "proof": verdict.proof})
        return 0
    context.out.line(f"{str(verdict)[0].upper()}{str(verdict)[1:]}.")
    if plan.settings_changed:
        context.out.line("IMPORTANT: these settings have been modified to prevent data losses")
        for change in plan.settings_changed:
            context.out.line(f"  {_told(change)}")
    context.out.line("Archiving is off in the restored server (archive_mode in postgresql.auto.conf): set it up anew "
                     "before you rely on it.")
    return 0


def _detach(plan: RestorePlan, context: Context) -> int:
    from pgvault.jobs.detach import start_detached

    job = start_detached(context.config.vault.home, [*plan.to_argv(), "--yes"], config=context.config_path)
    if context.json:
        context.out.json({"job": job})
    else:
        context.out.line(f"job {job} runs; watch it: pgvault job watch {job}")
    return 0


async def _connect(request: RestoreRequest, context: Context) -> Host:
    from pgvault.engine.restore.run import connect_host
    from pgvault.model.event import discard

    config = context.config.host(request.host) if request.host else None
    context.config.server(request.server)
    return await connect_host(request.host, config, discard)


def _request(args: argparse.Namespace, context: Context) -> RestoreRequest:
    from pgvault.engine.restore.plan import RestoreRequest
    from pgvault.model.errors import UsageError
    from pgvault.model.rate import parse_rate
    from pgvault.model.target import Immediate, TargetAction

    server = context.config.server(args.server)
    target = _target(args, server.timezone)
    spaces: dict[str, str] = {}
    for given in args.tablespace:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise UsageError(f"not a tablespace and its place: {given!r}", hint="Write --tablespace NAME=PATH.")
        spaces[name] = path
    if args.jobs is not None and args.jobs < 1:
        raise UsageError("--jobs takes a number from 1 on")
    try:
        limit = parse_rate(args.bwlimit) if args.bwlimit else server.bandwidth_limit
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.standby and (not _is_end(args) or args.target_action != "promote"):
        raise UsageError("--standby follows the original server to no end, so it takes no target")
    backup = "latest" if args.backup == "auto" and isinstance(target, Immediate) else args.backup
    return RestoreRequest(
        server=args.server, backup=backup, host=args.host, directory=args.directory, target=target,
        timeline=args.target_timeline, action=TargetAction(args.target_action), standby=args.standby,
        tablespaces=spaces, overwrite=args.overwrite, workers=args.jobs, bandwidth_limit=limit, start=args.start,
        partial=args.partial)


def _is_end(args: argparse.Namespace) -> bool:
    named = (args.target_time, args.target_lsn, args.target_xid, args.target_name)  # empty is not the same as absent
    return not args.target_immediate and all(value is None for value in named)


def _target(args: argparse.Namespace, zone: str | None) -> Target:
    from pgvault.model.errors import UsageError
    from pgvault.model.lsn import Lsn
    from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate
    from pgvault.model.times import parse_time

    inclusive = not args.exclusive
    if args.exclusive and args.target_time is args.target_lsn is args.target_xid is None:
        raise UsageError("--exclusive goes with --target-time, --target-lsn or --target-xid")
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


def _refuse_if_failed(plan: RestorePlan) -> None:
    from pgvault.model.errors import Refused

    if plan.failed:
        first = plan.failed[0]
        raise Refused(f"cannot restore to {_where(plan)}: the condition \"{first.name}\" does not hold",
                      detail=first.detail, hint=first.fix)


def _where(plan: RestorePlan) -> str:
    return f"{plan.host or 'this machine'}:{plan.directory}"


def _show(plan: RestorePlan, context: Context, *, as_data: bool) -> None:
    """The plan: on standard output when it is what was asked for, else as talk beside the job."""
    if context.json:
        if as_data:
            context.out.json(document(plan))
        return
    from pgvault.model.target import describe
    from pgvault.model.times import utc

    out = context.out if as_data else context.err
    path = " -> ".join(map(str, plan.timeline_path))
    stop = f" {'after' if plan.stop_replayed else 'before'} {plan.stop_lsn}" if plan.stop_lsn else ""
    stop += f", {utc(plan.stop_time)}" if plan.stop_time else ""
    out.fields([
        ("Backup", plan.backup),
        ("Destination", _where(plan)),
        ("Target", f"{describe(plan.target)}; recovery stops{stop}"),
        ("Timeline", path),
        ("Then", "follow the original server" if plan.standby else plan.action.value),
        ("WAL", f"{plan.wal.first} to {plan.wal.last}, {plan.wal.count} segments, all present"
                + (", the last one unfinished" if plan.wal.partial else "")),
        ("Sends", f"{size(plan.bytes_to_send)}, writes {size(plan.bytes_to_write)}"),
        *((f"Tablespace {s.name}", s.location) for s in plan.tablespaces),
        *([("Replaces", plan.overwrites)] if plan.overwrites else []),
        ("Command", _command(plan)),
    ], title=f"Restore of server {plan.server}:")
    for condition in plan.preconditions:
        paint = {"ok": "good", "warning": "warn", "failed": "bad"}[condition.outcome.value]
        out.line(f"  {out.paint(condition.outcome.value.upper(), paint)}: {condition.name}"
                 + (f" ({condition.detail})" if condition.detail else ""))
        if condition.fix and condition.outcome.value != "ok":
            out.line(f"      {condition.fix}")
    for change in plan.settings_changed:
        out.line(f"  made safe: {_told(change)}")
    for change in plan.settings_to_look_at:
        out.line(f"  look at: {_told(change)}")


def _told(change: SettingChange) -> str:
    if not change.line:
        return f"{change.file}: {change.action}"
    return f"{change.file} line {change.line}: {change.name} = {change.was} ({change.action})"


def _command(plan: RestorePlan) -> str:
    import shlex

    return shlex.join(plan.to_argv())


def document(plan: RestorePlan) -> dict[str, object]:
    """The plan in the fields of the contract."""
    from pgvault.model.target import describe

    return {
        "plan": "restore", "server": plan.server, "backup": plan.backup,
        "target": {"kind": type(plan.target).__name__, "text": describe(plan.target), "stop_lsn": plan.stop_lsn,
                   "stop_replayed": plan.stop_replayed,
                   "stop_time": plan.stop_time},
        "destination": {"host": plan.host, "directory": plan.directory,
                        "tablespaces": {s.name: s.location for s in plan.tablespaces}},
        "timeline": plan.timeline, "timeline_path": list(plan.timeline_path),
        "wal": {"first": plan.wal.first, "last": plan.wal.last, "segments": plan.wal.count,
                "bytes": plan.wal.bytes, "missing": list(plan.wal.missing), "partial": plan.wal.partial},
        "bytes_to_send": plan.bytes_to_send, "bytes_to_write": plan.bytes_to_write, "estimate_seconds": None,
        "overwrites": plan.overwrites or None,
        "settings_changed": list(plan.settings_changed), "settings_to_look_at": list(plan.settings_to_look_at),
        "preconditions": list(plan.preconditions), "command": _command(plan),
    }


COMMANDS = {"restore": Command(HELP, arguments, restore)}
