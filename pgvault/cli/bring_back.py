"""The verb bring-back: plans, shows, confirms and runs the copy of tables and schemas from a restored into the live
server."""

from __future__ import annotations

import argparse
import shlex
from contextlib import closing
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context

if TYPE_CHECKING:
    from pgvault.engine.restored.plan import BringBackRequest
    from pgvault.model.bring_back import BringBackPlan

HELP = """Copy tables or whole schemas from a restored server back into the live one.

They return to their original place, with types, keys, indexes, privileges and sequences as pg_dump saves them, if
nothing there has their names. Otherwise the tables go into a schema of their own, with columns, keys and rows only. A
table whose schema is gone brings the schema. Everything is one transaction: the rows are counted on both sides before
it commits, and a failure leaves nothing behind.

Example:
  pgvault bring-back latest shop.public.orders
  pgvault bring-back 20261122T200512Z-01 shop.app3 --dry-run
  pgvault bring-back latest 'shop.public."Order-Items"' shop.public.orders --beside found
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("copy", metavar="COPY", help="the restored server: the job of its restore, or latest")
    parser.add_argument("names", metavar="NAME", nargs="+",
                        help="DATABASE.SCHEMA.TABLE or DATABASE.SCHEMA, in SQL's quoting; all of one database")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--beside", default="", metavar="SCHEMA", help="copy columns, keys and rows into this schema")
    place.add_argument("--as-it-was", action="store_true", help="copy to the original place, if the names are free")
    parser.add_argument("--user", default="", metavar="ROLE",
                        help="log in to the live server as this role (default: the one in its conninfo)")
    parser.add_argument("--no-owner", action="store_true", help="the role that logs in owns the objects")
    parser.add_argument("--no-privileges", action="store_true", help="do not copy privileges (GRANT)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--detach", action="store_true", help="run in the background and print the job's id")


def bring_back(args: argparse.Namespace, context: Context) -> int:
    import asyncio

    from pgvault.cli.render import listener
    from pgvault.cli.running import settle
    from pgvault.engine.restored.plan import plan_bring_back

    request = _request(args, context)
    with closing(listener(context.err, as_json=context.json)) as emit:
        plan = asyncio.run(plan_bring_back(request, context.config, emit))
    settled = settle(plan, context, lambda as_data: _show(plan, context, as_data=as_data), dry_run=args.dry_run)
    if settled is not None:
        return settled
    yes = args.yes or context.hold is not None
    if not context.confirm(f"{plan.act[0].upper()}{plan.act[1:]} of {plan.server}?", yes=yes):
        context.err.line("Nothing was changed.")
        return 130
    return _detach(plan, context) if args.detach else _run(plan, request, context)


def _run(plan: BringBackPlan, request: BringBackRequest, context: Context) -> int:
    from pgvault.cli.running import run_job
    from pgvault.engine.restored.bring_back import bring_back
    from pgvault.jobs.copies import find_copy
    from pgvault.model.job import JobKind

    done = run_job(context, kind=JobKind.BRING_BACK, server=plan.server, command=plan.to_argv(), plan=plan,
                   act=lambda emit, job: bring_back(plan, find_copy(context.config, plan.copy), context.config, emit))
    if context.json:
        context.out.json({"server": plan.server, "copy": plan.copy, "database": plan.database, "verdict": str(done),
                          "beside": plan.beside or None, "tables": list(done.tables)})
    else:
        context.out.line(f"{str(done)[0].upper()}{str(done)[1:]}.")
    return 0


def _detach(plan: BringBackPlan, context: Context) -> int:
    from pgvault.cli.running import detach
    from pgvault.model.job import JobKind

    return detach(context, kind=JobKind.BRING_BACK, server=plan.server, command=plan.to_argv())


def _request(args: argparse.Namespace, context: Context) -> BringBackRequest:
    from pgvault.engine.restored.plan import BringBackRequest
    from pgvault.jobs.copies import find_copy
    from pgvault.model.errors import UsageError
    from pgvault.model.relation import RelationName, SchemaName, parse_object

    try:
        names = [parse_object(name) for name in args.names]
    except ValueError as error:
        raise UsageError(str(error)) from None
    if len({each.database for each in names}) > 1:
        raise UsageError("all tables and schemas must be of one database",
                         hint="Run it once for each database: each run is one transaction.")
    copy = find_copy(context.config, args.copy)
    context.config.server(copy.server)
    return BringBackRequest(
        copy, names[0].database, tuple(each for each in names if isinstance(each, SchemaName)),
        tuple(each for each in names if isinstance(each, RelationName)), args.beside, args.as_it_was, args.user,
        not args.no_owner, not args.no_privileges)


def _show(plan: BringBackPlan, context: Context, *, as_data: bool) -> None:
    """Show the plan on standard output if it was requested, else on standard error."""
    from pgvault.cli.restore_plan import show_conditions
    from pgvault.model.bring_back import describe_bring_back

    if context.json:
        if as_data:
            context.out.json(_document(plan))
        return
    out = context.out if as_data else context.err
    out.fields([*describe_bring_back(plan), ("Command", shlex.join(plan.to_argv()))],
               title=f"Bring back into server {plan.server}:")
    show_conditions(plan.preconditions, out)


def _document(plan: BringBackPlan) -> dict[str, object]:
    return {
        "plan": "bring-back", "server": plan.server, "copy": plan.copy, "from": plan.place, "database": plan.database,
        "schemas": [each.name for each in plan.schemas], "tables": [str(each) for each in plan.tables],
        "beside": plan.beside or None, "why": plan.why or None, "act": plan.act,
        "relations": [{"schema": each.schema, "name": each.name, "kind": each.word, "bytes": each.bytes}
                      for each in plan.relations],
        "bytes": plan.bytes, "left": list(plan.left), "preconditions": list(plan.preconditions),
        "command": shlex.join(plan.to_argv())}


COMMANDS = {"bring-back": Command(HELP, arguments, bring_back)}
