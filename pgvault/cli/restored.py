"""The verbs look, open and throw-away, for restored servers."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context

if TYPE_CHECKING:
    from pgvault.engine.restored.look import Psql
    from pgvault.model.restored import RestoredCopy
    from pgvault.model.throwing_away import ThrowAwayPlan

LOOK = """Open psql on a restored server, from its own installation, on its host, in this terminal.

Without a terminal, or with --dry-run, the command for that host is printed instead.

Example:
  pgvault look latest
  pgvault look 20261122T200512Z-01 --database shop
"""
OPEN = """Open a restored server that is paused at its target: it ends its recovery and accepts writes.

It gets a timeline of its own. Settings that keep it from acting outside stay, and are listed. --lift removes those that
its restore added, with effect from its next restart, even on a server that is already open. Archiving stays off.

Example:
  pgvault open latest
  pgvault open latest --lift
"""
THROW_AWAY = """Stop a restored server and remove its files, tablespaces included. This works for any restore that has
ended: its server may be at the target, astray or not started, and its files may be incomplete.

It is refused for the live server, for one that archives or that a standby follows, and if another restore or another
cluster now uses the directory. To confirm it, name the directory.

Example:
  pgvault throw-away latest --dry-run
  pgvault throw-away 20261122T200512Z-01 --remove /srv/pg/18/copy
"""


def _copy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("copy", metavar="COPY", help="the restored server: the job of its restore, or latest")


def look_arguments(parser: argparse.ArgumentParser) -> None:
    _copy(parser)
    parser.add_argument("--database", "-d", default="", metavar="NAME",
                        help="the database (default: that of the restore's --expect, else of the server's conninfo)")
    parser.add_argument("--dry-run", action="store_true", help="print the command and do nothing")


def look(args: argparse.Namespace, context: Context) -> int:
    from pgvault.config.conninfo import parse_conninfo
    from pgvault.engine.restored.look import look
    from pgvault.io.terminal import is_terminal

    copy = _find(args, context)
    usual = next(iter(copy.databases), parse_conninfo(context.config.server(copy.server).conninfo).get("dbname", ""))
    lends = is_terminal() and not args.dry_run and not context.json
    return asyncio.run(look(copy, args.database or usual or "postgres", context.config,
                            lambda psql: _show_psql(copy, psql, context, lends=lends)))


def _show_psql(copy: RestoredCopy, psql: Psql, context: Context, *, lends: bool) -> bool:
    if psql.locked:
        context.err.prose(f"A transaction that had not ended at the target locks {', '.join(psql.locked)}: "
                          f"a query there waits until the server is opened (pgvault open {copy.job}).")
    if lends:
        context.err.prose(f"{copy.called}, a copy of {copy.server} in {copy.place}; \\q returns")
        context.err.flush()
    elif context.json:
        context.out.json({"copy": copy.job, "host": copy.host or None, "command": shlex.join(psql.argv),
                          "locked": list(psql.locked)})
    else:
        context.err.line(f"on {psql.where}:")
        context.out.line(shlex.join(psql.argv))
    return lends


def open_arguments(parser: argparse.ArgumentParser) -> None:
    _copy(parser)
    parser.add_argument("--lift", action="store_true",
                        help="also remove the settings that its restore added to keep it from acting outside")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def open_it(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.restore_plan import describe_change
    from pgvault.cli.running import detach, run_job
    from pgvault.engine.restored.opening import open_for_use
    from pgvault.model.job import JobKind

    copy = _find(args, context)
    command = ["pgvault", "open", copy.job, *["--lift"] * args.lift]
    yes = args.yes or context.hold is not None
    if not context.confirm(f"Open {copy.called} in {copy.place} for use? It replays no more WAL then.", yes=yes,
                           has_plan=False):
        context.err.line("Nothing was changed.")
        return 130
    if args.detach:
        return detach(context, kind=JobKind.OPEN, server=copy.server, command=command)
    done = run_job(context, kind=JobKind.OPEN, server=copy.server, command=command, plan=copy,
                   act=lambda emit, job: open_for_use(_recheck(copy, context), context.config, emit, lift=args.lift))
    if context.json:
        context.out.json({"server": copy.server, "copy": copy.job, "verdict": str(done), "timeline": done.timeline,
                          "lifted": list(done.lifted), "settings_changed": list(copy.settings_changed)})
        return 0
    context.out.line(f"{str(done)[0].upper()}{str(done)[1:]}.")
    for change in (each for each in copy.settings_changed if each.name not in done.lifted):
        context.out.line(f"  still made safe: {describe_change(change)}")
    return 0


def throw_away_arguments(parser: argparse.ArgumentParser) -> None:
    _copy(parser)
    parser.add_argument("--remove", default="", metavar="DIRECTORY", help="confirm by naming the data directory")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def throw_away(args: argparse.Namespace, context: Context) -> int:
    from pgvault.cli.render import listener
    from pgvault.cli.running import detach, run_job, settle
    from pgvault.engine.restored.throwing_away import plan_throw_away, throw_away
    from pgvault.model.job import JobKind

    copy = _find(args, context, astray=True)
    with closing(listener(context.err, as_json=context.json)) as emit:
        plan = asyncio.run(plan_throw_away(copy, context.config, emit))
    settled = settle(plan, context, lambda as_data: _show(plan, context, as_data=as_data), dry_run=args.dry_run)
    if settled is not None:
        return settled
    _must_be_named(args.remove, copy, plan, context)
    if args.detach:
        return detach(context, kind=JobKind.THROW_AWAY, server=copy.server, command=plan.to_argv())
    done = run_job(context, kind=JobKind.THROW_AWAY, server=copy.server, command=plan.to_argv(), plan=plan,
                   act=lambda emit, job: throw_away(plan, _recheck(copy, context, astray=True), context.config, emit))
    if context.json:
        context.out.json({"server": copy.server, "copy": copy.job, "verdict": str(done), "removed": list(plan.places),
                          "left": list(done.left)})
    else:
        context.out.line(f"{str(done)[0].upper()}{str(done)[1:]}.")
    return 0


def _must_be_named(given: str, copy: RestoredCopy, plan: ThrowAwayPlan, context: Context) -> None:
    """Return the directory, given as an option or typed; UsageError if it is another one."""
    from pgvault.model.errors import UsageError

    if not given and context.stdin_is_terminal:
        context.out.flush()
        context.err.write(f"Type {plan.directory} to {plan.act}: ")
        context.err.flush()
        given = sys.stdin.readline().strip()
    if given.rstrip("/") not in (plan.directory, copy.directory):
        raise UsageError(f"{given} is not the directory to remove" if given else
                         "the directory to remove must be named", detail=f"It is {plan.directory}.",
                         hint=shlex.join(plan.to_argv()))


def _show(plan: ThrowAwayPlan, context: Context, *, as_data: bool) -> None:
    from pgvault.cli.restore_plan import show_conditions
    from pgvault.model.text import size

    if context.json:
        if as_data:
            context.out.json({
                "plan": "throw-away", "server": plan.server, "copy": plan.copy, "host": plan.host or None,
                "removes": list(plan.places), "runs": plan.runs, "bytes": plan.bytes, "act": plan.act,
                "preconditions": list(plan.preconditions), "command": shlex.join(plan.to_argv())})
        return
    out = context.out if as_data else context.err
    out.fields([
        ("Removes", f"{plan.place} ({size(plan.bytes)})"), *(("", f"tablespace {each}") for each in plan.tablespaces),
        ("First", "stop its server" if plan.runs else "its server is not running"),
        ("Command", shlex.join(plan.to_argv()))], title=f"Throw away the copy of {plan.server} by job {plan.copy}:")
    show_conditions(plan.preconditions, out)


def _recheck(copy: RestoredCopy, context: Context, *, astray: bool = False) -> RestoredCopy:
    """Find the copy again before acting on it, which may be long after it was shown. Refused if another restore has
    written there since."""
    from pgvault.jobs.copies import find_copy

    return find_copy(context.config, copy.job, astray=astray)


def _find(args: argparse.Namespace, context: Context, *, astray: bool = False) -> RestoredCopy:
    from pgvault.jobs.copies import find_copy

    copy = find_copy(context.config, args.copy, astray=astray)
    context.config.server(copy.server)
    return copy


COMMANDS = {
    "look": Command(LOOK, look_arguments, look), "open": Command(OPEN, open_arguments, open_it),
    "throw-away": Command(THROW_AWAY, throw_away_arguments, throw_away)}
