"""The verb restore: plan, show, confirm, run, start, prove."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from pgvault.io.host import Host
    from pgvault.model.restore_plan import RestorePlan
    from pgvault.model.restore_request import RestoreRequest

HELP = """Restore a cluster, to the end of its archived WAL or to a target before it, here or on another host.

The plan is shown first, and nothing is written before you confirm it. The backup is chosen by the target unless you
name one. With --start the restored server is started and queried whether it reached the target and has each --expect
table. If a table is missing, the exit code is 3 and the server runs all the same.

Example:
  pgvault restore main-db auto --host standby-db --target-time '2026-11-22 20:05:12 Europe/Paris' --start
  pgvault restore main-db auto --host standby-db --target-end --start --expect shop.public.orders
  pgvault restore main-db latest /srv/copy --target-immediate --start --port 5433
  pgvault restore main-db --host standby-db --target-name before-deploy --dry-run
  pgvault restore main-db --target-time '2026-11-22 20:05:12 Europe/Paris' --choices
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    from pgvault.model.restore_request import add_options

    add_options(parser)
    parser.add_argument("--choices", action="store_true",
                        help="show where recovery would stop, usable backups and near targets; contacts no host")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def restore(args: argparse.Namespace, context: Context) -> int:
    from pgvault.io import patience

    if args.choices and (args.dry_run or args.detach):
        raise UsageError("--choices cannot be used with --dry-run or --detach")
    request = _read_request(args, context)
    if args.choices:
        return _choices(request, context)
    if args.detach and args.yes and context.json and not args.dry_run:  # no plan is shown: the job makes it
        return _detach(request.server, request.to_argv(), context)
    with patience.runner() as runner:  # the plan's connection to the host serves the restore, too
        host = runner.run(_connect(request, context))
        try:
            return _restore(args, request, context, runner, host)
        finally:
            runner.run(host.close())


def _read_request(args: argparse.Namespace, context: Context) -> RestoreRequest:
    """Return the request, with what the server's configuration adds."""
    from pgvault.model.restore_request import read_options

    server = context.config.server(args.server)
    request = read_options(args, server.timezone)
    return request if args.bwlimit else replace(request, bandwidth_limit=server.bandwidth_limit)


def _choices(request: RestoreRequest, context: Context) -> int:
    from pgvault.cli.render import listener
    from pgvault.cli.restore_choices import document, show
    from pgvault.engine.restore.choices import list_choices

    with closing(listener(context.err, as_json=context.json)) as emit:
        found = list_choices(request, context.config, emit=emit)
    if context.json:
        context.out.json(document(found))
    else:
        show(found, context.out)
    return 0


def _restore(args: argparse.Namespace, request: RestoreRequest, context: Context, runner: asyncio.Runner,
             host: Host) -> int:
    from pgvault.cli.render import listener
    from pgvault.cli.restore_plan import show
    from pgvault.engine.restore.plan import make_plan
    from pgvault.model.errors import Refused

    with closing(listener(context.err, as_json=context.json)) as emit:
        plan = runner.run(make_plan(request, context.config, host, emit=emit))
    _refuse_if_being_restored(plan, context)
    if context.hold is None or args.dry_run:
        show(plan, context, as_data=args.dry_run)
    if args.dry_run:
        return Refused.exit_code if plan.failed else 0
    _refuse_if_failed(plan)
    yes = args.yes or context.hold is not None
    replacing = f", replacing {plan.replaced.overwrites}" if plan.replaced.overwrites else ""
    if not context.confirm(f"Restore {plan.server} to {plan.destination.place}{replacing}?", yes=yes):
        context.err.line("Nothing was changed.")
        return 130
    if args.detach:
        return _detach(plan.server, plan.to_argv(), context)
    return _run(plan, context, runner, host)


def _run(plan: RestorePlan, context: Context, runner: asyncio.Runner, host: Host) -> int:
    from pgvault.cli.restore_plan import describe_change
    from pgvault.cli.running import run_job
    from pgvault.engine.restore.run import run_restore
    from pgvault.model.job import JobKind

    verdict = run_job(context, kind=JobKind.RESTORE, server=plan.server, command=plan.to_argv(), plan=plan.stored(),
                      runner=runner,
                      act=lambda emit, job: run_restore(plan, context.config, job=job, emit=emit, host=host))
    if context.json:
        context.out.json({"server": plan.server, "backup": plan.source.backup.id, "verdict": str(verdict),
                          "proof": verdict.proof})
        return 0
    context.out.line(f"{str(verdict)[0].upper()}{str(verdict)[1:]}.")
    if plan.configuration.settings_changed:
        context.out.line("IMPORTANT: these settings have been modified to prevent data losses")
        for change in plan.configuration.settings_changed:
            context.out.line(f"  {describe_change(change)}")
    context.out.line("Archiving is off in the restored server (archive_mode in postgresql.auto.conf): set it up again "
                         "before you rely on it.")
    return 0


def _detach(server: str, command: list[str], context: Context) -> int:
    from pgvault.cli.running import detach
    from pgvault.model.job import JobKind

    return detach(context, kind=JobKind.RESTORE, server=server, command=command)


async def _connect(request: RestoreRequest, context: Context) -> Host:
    from pgvault.io.hosts import connect_host
    from pgvault.model.event import discard

    config = context.config.host(request.host) if request.host else None
    context.config.server(request.server)
    return await connect_host(request.host, config, discard)


def _refuse_if_being_restored(plan: RestorePlan, context: Context) -> None:
    """Refuse a plan for a directory to which a restore is running, since its files are not the remains of an ended
    one."""
    from pgvault.jobs.hold import is_alive
    from pgvault.jobs.registry import is_job_id, jobs_directory, read_job
    from pgvault.model.errors import Locked

    job_id = (plan.replaced.directory_state and plan.replaced.directory_state.incomplete_restore) or ""
    directory = jobs_directory(context.config.vault.home) / job_id
    if is_job_id(job_id) and is_alive(directory):
        job = read_job(directory)
        raise Locked(f"job {job_id} is restoring to {plan.destination.place} now",
                     detail=f"Held by job {job_id}, process {job.pid} on {job.host} since {job.started_at:%FT%TZ}.",
                     hint=f"pgvault job watch {job_id}; or choose another directory.")


def _refuse_if_failed(plan: RestorePlan) -> None:
    from pgvault.model.restore_plan import refusal

    if plan.failed:
        raise refusal(f"restore to {plan.destination.place}", plan.failed)


COMMANDS = {"restore": Command(HELP, arguments, restore)}
