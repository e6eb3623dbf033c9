"""The retention verbs: expire, delete and keep."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.backup import Keep
from pgvault.model.errors import Cancelled, Refused, UsageError
from pgvault.vault import catalog
from pgvault.vault.layout import Vault

if TYPE_CHECKING:
    from pgvault.config.schema import ServerConfig
    from pgvault.engine.retention import Expired
    from pgvault.model.expire_plan import ExpirePlan
    from pgvault.model.retention_policy import RetentionPolicy

EXPIRE = """Delete the backups that the retention policy no longer needs, and the WAL that no backup needs any more.

Each backup is shown with its verdict and the reason. The space of what only deleted backups used is freed by a run at
least a day later. --policy shows what another policy would do, and needs --dry-run.

Example:
  pgvault expire main-db --dry-run
  pgvault expire all
  pgvault expire main-db --dry-run --policy "KEEP 7 DAILY 4 WEEKLY 12 MONTHLY"
"""
DELETE = """Delete one backup, and the WAL that no other backup needs.

It is refused for a backup that is kept, and for one without which too few good backups would be left.

Example:
  pgvault delete main-db 20261122T200512Z --dry-run
  pgvault delete main-db oldest --yes
"""
KEEP = """Keep a backup, whatever the retention policy says, until it is released.

--target full:        keep it with all WAL from its start on, so that every later instant can be restored
--target standalone:  keep it with its own WAL only, so that its end can be restored

Example:
  pgvault keep main-db 20261122T200512Z --target standalone
  pgvault keep main-db 20261122T200512Z --release
"""
_STYLES = {"OBSOLETE": "dim", "NOT_COUNTED": "warn"}


def expire_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server, or all")
    parser.add_argument("--policy", metavar="TEXT", default="", help="with --dry-run: another policy to try")
    parser.add_argument("--if-plan", metavar="DIGEST", default="",
                        help="only if the same backups are deleted as in the plan that gave this")
    parser.add_argument("--trust-clock", action="store_true", help="also if the vault got nothing new for a month")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def expire(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.failure import report_failure
    from pgvault.model.retention_policy import parse_retention_policy

    if args.policy and not args.dry_run:
        raise UsageError("--policy needs --dry-run", hint="To carry it out, write it into the configuration.")
    try:
        policy = parse_retention_policy(args.policy) if args.policy else None
    except ValueError as error:
        raise UsageError(str(error)) from None
    code = 0
    for server in context.servers(args.server):
        try:
            _expire_one(args, context, server, policy)
        except Exception as error:
            if args.server != "all" or isinstance(error, BrokenPipeError | Cancelled):
                raise
            code = max(code, report_failure(error, context, ["expire", server.name], server=server.name))
    return code


def _expire_one(args: argparse.Namespace, context: Context, server: ServerConfig,
                policy: RetentionPolicy | None) -> None:
    from pgvault.cli.running import detach
    from pgvault.engine.retention import plan_expire
    from pgvault.model.job import JobKind

    def make_plan() -> ExpirePlan:
        made = plan_expire(server, context.config.vault.home, datetime.now(UTC), policy=policy,
                           trust_clock=args.trust_clock)
        if args.if_plan not in ("", made.digest):
            raise Refused(f"other backups of {server.name} expire now than in that plan",
                          detail=f"Now: {', '.join(made.goes) or 'none'}.",
                          hint=f"See the plan again: pgvault expire {server.name} --dry-run")
        return made

    plan = make_plan()
    if args.dry_run or (context.hold is None and not plan.is_idle):
        _show(plan, context, as_data=args.dry_run)
    if args.dry_run:
        return
    if context.hold is not None or not (args.detach or plan.is_idle):
        _carry_out(context, server, plan, make_plan)
    elif not plan.is_idle:
        detach(context, kind=JobKind.MAINTENANCE, server=server.name, command=plan.to_argv())
    elif context.json:
        _report(context, plan, None)
    elif context.stdin_is_terminal:  # cron mails any output
        context.err.line(f"{server.name}: nothing expires")


def _carry_out(context: Context, server: ServerConfig, plan: ExpirePlan, replan: Callable[[], ExpirePlan]) -> None:
    from pgvault.cli.running import run_job
    from pgvault.engine.retention import carry_out
    from pgvault.model.job import JobKind

    home = context.config.vault.home
    done = run_job(context, kind=JobKind.MAINTENANCE, server=server.name, command=plan.to_argv(), plan=plan,
                   act=lambda emit, job: carry_out(plan, server, home, job=job, emit=emit, replan=replan))
    _report(context, plan, done)


def _report(context: Context, plan: ExpirePlan, done: Expired | None) -> None:
    if context.json:
        collected = done and done.collected
        context.out.json({
            "server": plan.server, "deleted": list(done.plan.goes) if done else [],
            "wal_files": done.wal_files if done else 0, "wal_bytes": done.wal_bytes if done else 0,
            "freed_bytes": collected.freed_bytes if collected else 0,
            "freed_later_bytes": collected.marked_bytes if collected else None})
    elif done:
        context.out.line(f"{plan.server}: {done}.")


def _show(plan: ExpirePlan, context: Context, *, as_data: bool) -> None:
    command = None if plan.is_idle or plan.is_tried else shlex.join(plan.to_argv())
    if context.json:
        if as_data:
            context.out.json({
                "plan": "delete" if plan.named else "expire", "server": plan.server, "policy": plan.policy or None,
                "backups": [{"id": backup.id, "verdict": verdict.state.value, "reason": verdict.reason,
                             "stored_bytes": backup.stored_bytes, "deleted": backup.id in plan.goes}
                            for backup, verdict in plan.verdicts],
                "unreadable": list(plan.unreadable), "stored_bytes": plan.stored_bytes, "wal_files": plan.wal_files,
                "wal_bytes": plan.wal_bytes, "act": plan.act, "command": command})
        return
    from pgvault.model.text import size

    out = context.out if as_data else context.err
    out.line(f"{plan.server}: {plan.policy or 'no retention policy'}")
    for backup, verdict in plan.verdicts:
        fate = "deleted" if backup.id in plan.goes else verdict.state.value
        reason = "as asked" if plan.named == backup.id else verdict.reason
        out.line(f"  {backup.id}  ", out.paint(fate, _STYLES.get(verdict.state.value, "good")), f"  {reason}")
    for each in plan.unreadable:
        out.line(f"  {each}  ", out.paint("UNREADABLE", "bad"), "  it stays, and so do all WAL and all packs")
    out.line(f"  {plan.act[0].upper()}{plan.act[1:]}"
             + (f": up to {size(plan.stored_bytes)} of backups" if plan.goes else "")
             + (f"{',' if plan.goes else ':'} {size(plan.wal_bytes)} of WAL" if plan.wal_files else "") + ".")
    if as_data and command:
        out.line(f"  Command: {command}")


def delete_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("backup", metavar="BACKUP", help="an id or its beginning, latest, oldest or last-failed")
    parser.add_argument("--force", action="store_true", help="also the last good backup, or below minimum_redundancy")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def delete(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.running import detach
    from pgvault.engine.retention import plan_delete
    from pgvault.model.job import JobKind

    server, home = context.config.server(args.server), context.config.vault.home
    backup_id = catalog.find(Vault.open(home).server(server.name), args.backup).id

    def make_plan() -> ExpirePlan:
        return plan_delete(server, home, datetime.now(UTC), backup_id, force=args.force)

    plan = make_plan()
    if args.dry_run or context.hold is None:
        _show(plan, context, as_data=args.dry_run)
    if args.dry_run:
        return 0
    if not context.confirm(f"Delete backup {backup_id} of {server.name}? It cannot be undone.",
                           yes=args.yes or context.hold is not None):
        context.err.line("Nothing was changed.")
        return 130
    if args.detach:
        return detach(context, kind=JobKind.MAINTENANCE, server=server.name, command=plan.to_argv())
    _carry_out(context, server, plan, make_plan)
    return 0


def keep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("backup", metavar="BACKUP", help="an id or its beginning, latest, oldest or last-failed")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--target", choices=[each.value for each in Keep], default=Keep.FULL.value,
                     help="with which WAL (default: full)")
    how.add_argument("--release", action="store_true", help="keep it no longer: the policy decides again")


def keep(args: argparse.Namespace, context: Context) -> int:
    from pgvault.engine.retention import keep_backup

    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    wanted = None if args.release else Keep(args.target)
    kept = keep_backup(vault, catalog.find(vault, args.backup).id, wanted)
    if context.json:
        context.out.json({"server": server.name, "id": kept.id, "keep": kept.keep.value if kept.keep else None})
    elif kept.keep:
        context.out.line(f"Backup {kept.id} is kept ({kept.keep.value}) until it is released: "
                         f"pgvault keep {server.name} {kept.id} --release")
    else:
        context.out.line(f"Backup {kept.id} is kept as long as the retention policy needs it.")
    return 0


COMMANDS = {"expire": Command(EXPIRE, expire_arguments, expire),
            "delete": Command(DELETE, delete_arguments, delete),
            "keep": Command(KEEP, keep_arguments, keep)}
