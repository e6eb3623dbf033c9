"""The backup verb."""

from __future__ import annotations

import argparse
import shlex

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.config.schema import ServerConfig
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan, describe_backup_plan
from pgvault.model.errors import Cancelled, PgvaultError, UsageError
from pgvault.model.names import check_label
from pgvault.model.text import size
from pgvault.model.units import parse_rate
from pgvault.vault import catalog
from pgvault.vault.layout import Vault

HELP = """Take a backup of a whole cluster.

It is complete on its own, but data that an earlier backup stored is not stored again. When it ends, its WAL is in the
archive, or the missing WAL is reported.

Example:
  pgvault backup main-db
  pgvault backup main-db --name before-upgrade --immediate-checkpoint --bwlimit 50MB
  pgvault backup main-db --dry-run
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server, or all")
    parser.add_argument("--name", default="", metavar="TEXT", help="a name for the backup")
    parser.add_argument("--full", action="store_true", help="do not compare with an earlier backup")
    parser.add_argument("--wait-lock", action="store_true", help="wait while another backup of the server runs")
    parser.add_argument("--jobs", type=int, metavar="N", help="number of compressing workers (default: parallel_jobs)")
    parser.add_argument("--bwlimit", metavar="RATE", help="limit in bytes per second, as in 50MB")
    parser.add_argument("--immediate-checkpoint", action=argparse.BooleanOptionalAction, default=None,
                        help="start with a checkpoint at full speed, or with a spread one")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def backup(args: argparse.Namespace, context: Context) -> int:
    failure: PgvaultError | None = None
    for server in context.servers(args.server):
        try:
            _backup_one(args, context, server)
        except Cancelled:
            raise
        except PgvaultError as error:  # continue with the other servers; the job has reported the error
            failure = failure or error
    if failure:
        raise failure
    return 0


def _backup_one(args: argparse.Namespace, context: Context, server: ServerConfig) -> None:
    from pgvault.cli.running import run_job
    from pgvault.engine.backup.run import run_backup
    from pgvault.model.job import JobKind

    plan = _plan(args, server)
    if args.dry_run:
        _show(plan, context)
        return
    if args.detach:
        from pgvault.cli.running import detach

        detach(context, kind=JobKind.BACKUP, server=server.name, command=plan.to_argv())
        return
    home = context.config.vault.home
    verdict = run_job(context, kind=JobKind.BACKUP, server=server.name, command=plan.to_argv(), plan=plan,
                      act=lambda emit, job: run_backup(plan, server, home, job=job, emit=emit))
    _report_done(context, verdict.backup)


def _show(plan: BackupPlan, context: Context) -> None:
    home = context.config.vault.home
    vault = Vault(home)
    last = catalog.newest_copied(vault.server(plan.server)) if vault.is_there else None
    command = shlex.join(plan.to_argv())
    if context.json:
        context.out.json({
            "plan": "backup", "server": plan.server, "name": plan.name or None, "full": plan.full,
            "immediate_checkpoint": plan.immediate_checkpoint, "workers": plan.workers,
            "bandwidth_limit": plan.bandwidth_limit, "expected_bytes": last and last.size_bytes,
            "expected_stored_bytes": last and last.stored_bytes, "expected_seconds": last and last.seconds,
            "command": command})
    else:
        lines = [*describe_backup_plan(plan, last, str(home)), ("command", command)]
        context.out.fields(lines, title=f"Backup of server {plan.server}:")


def _report_done(context: Context, done: Backup) -> None:
    if context.json:
        from pgvault.engine.catalogue import backup_object

        context.out.json(backup_object(context.config, done))
    else:
        context.out.line(f"Backup size: {size(done.size_bytes)}. Actual size on disk: {size(done.stored_bytes)} "
                         f"(-{done.deduplication_ratio:.2%} deduplication ratio).")
        context.out.line(f"Backup completed: {done.id}")


def _plan(args: argparse.Namespace, server: ServerConfig) -> BackupPlan:
    from pgvault.engine.backup.plan import plan_backup

    try:
        limit = parse_rate(args.bwlimit) if args.bwlimit else None
        label = check_label(args.name, "backup's name")
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.jobs is not None and args.jobs < 1:
        raise UsageError("--jobs must be at least 1")
    return plan_backup(server, name=label, full=args.full, immediate_checkpoint=args.immediate_checkpoint,
                       workers=args.jobs, bandwidth_limit=limit, wait_lock=args.wait_lock)


COMMANDS = {"backup": Command(HELP, arguments, backup)}
