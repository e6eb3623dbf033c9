"""The verb `job`: the jobs of a vault, watched or cancelled from any terminal."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.cli.render import listener
from pgvault.console.plan_facts import plan_fields
from pgvault.jobs.detach import OUTPUT
from pgvault.jobs.encoding import plain
from pgvault.jobs.failures import failure_of
from pgvault.jobs.hold import is_alive
from pgvault.jobs.journal import EVENTS, follow, read_edges, read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import find_job, list_jobs, read_job, request_cancel
from pgvault.model.errors import UsageError
from pgvault.model.event import Emit, Failure, Progressed, discard, now
from pgvault.model.job import Job, JobState
from pgvault.model.text import Painted, Part, span, when

HELP = """List, show, watch or cancel jobs.

A job is one execution of a backup, a restore or maintenance. It does not depend on a terminal: any terminal can watch
it, and it continues when nobody watches. JOB is a job's id, the beginning of one, or latest.

Example:
  pgvault job list
  pgvault job watch latest
  pgvault job cancel 20261122T200512Z-01
"""
_STYLES = {JobState.SUCCEEDED: "good", JobState.RUNNING: "accent", JobState.STARTING: "accent",
           JobState.FAILED: "bad", JobState.LOST: "bad", JobState.CANCELLED: "warn", JobState.CANCELLING: "warn"}


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|watch|cancel")
    listing = actions.add_parser("list", help="list the newest jobs, newest first")
    listing.add_argument("--server", help="only jobs of this server")
    listing.add_argument("--state", choices=[s.value for s in JobState], help="only jobs in this state")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="list at most N jobs; 0: all (default: 20)")
    for name, meaning in (("show", "show one job: its command, plan and events"),
                          ("watch", "follow a job to its end; exits with its exit code"),
                          ("cancel", "ask a job to stop and to undo what it began")):
        action = actions.add_parser(name, help=meaning)
        action.add_argument("job", metavar="JOB")
        if name == "cancel":
            action.add_argument("--wait", action="store_true", help="wait for its end, and exit with its exit code")


def run(args: argparse.Namespace, context: Context) -> int:
    home = context.config.vault.home
    if args.action == "list":
        return _list(args, home, context)
    directory = find_job(home, args.job)
    if args.action == "show":
        return _show(directory, context)
    if args.action == "watch":
        return _watch(directory, context)
    return _cancel(directory, context, wait=args.wait)


def _list(args: argparse.Namespace, home: Path, context: Context) -> int:
    if args.limit < 0:
        raise UsageError("--limit must be a number of jobs, or 0 for all")
    jobs = [job for job in reversed(list_jobs(home))
            if args.server in (None, job.server) and args.state in (None, job.state.value)]
    jobs = jobs[:args.limit or None]
    if context.json:
        context.out.json({"jobs": [_document(job) for job in jobs]})
    elif jobs:
        rows: list[list[Part]] = [
            [job.id, job.kind.value, job.server or "-", _painted(job.state), _took(job), job.verdict] for job in jobs]
        context.out.table(["Job", "Kind", "Server", "State", "Took", "Verdict"], rows, right={4})
    else:
        context.err.line("no jobs")
    return 0


def _show(directory: Path, context: Context) -> int:
    job, plan = read_job(directory), read_plan(directory)
    failure = failure_of(job.state, read_edges(directory)[1])
    if context.json:
        context.out.json({"job": _document(job), "error": failure, "plan": plan, "journal": directory / EVENTS})
        return 0
    context.out.fields([
        ("Kind", job.kind.value), ("Server", job.server or "-"), ("State", _painted(job.state)),
        ("Verdict", job.verdict or "-"), *_more(failure, directory / OUTPUT),
        ("Exit Code", None if job.exit_code is None else str(job.exit_code)),
        ("Started", when(job.started_at)), ("Finished", when(job.finished_at)), ("Took", _took(job)),
        ("Process", f"{job.pid} on {job.host}" if job.pid else "-"), ("Command", job.command or "-"),
        ("Journal", str(directory / EVENTS)), *_planned(job, plan),
    ], title=f"Job {job.id}:")
    for event in read_events(directory):
        if not isinstance(event, Progressed):
            facts = {f.name: plain(getattr(event, f.name)) for f in fields(event) if f.name not in ("at", "error")}
            shown = ", ".join(f"{name} {value}" for name, value in facts.items() if value not in ("", None))
            context.out.line(f"  {when(event.at)}  ", context.out.paint(type(event).__name__, "bold"), f"  {shown}")
    return 0


def _planned(job: Job, plan: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Describe the plan as the console does. Continued fields have an empty name."""
    name = "plan"
    for field in plan_fields(job.kind, plan):
        name = field.name or name
        yield f"Plan: {name}", field.text


def _more(failure: Failure | None, output: Path) -> Iterator[tuple[str, str]]:
    """Explain why a job did not succeed: cause, next step, and the output of a detached one, such as a crash."""
    if failure:
        yield from ((name, text) for name, text in (("Detail", failure.detail), ("Hint", failure.hint)) if text)
        if output.exists() and output.stat().st_size:
            yield "Output", str(output)


def _watch(directory: Path, context: Context) -> int:
    try:
        asyncio.run(_follow(directory, listener(context.err, as_json=context.json)))
    except KeyboardInterrupt:
        context.err.line(f"no longer watching; the job continues: pgvault job watch {directory.name}")
        return 130
    return _end(directory, context)


def _cancel(directory: Path, context: Context, *, wait: bool) -> int:
    request_cancel(directory)
    if wait:
        asyncio.run(_follow(directory, discard))
        return _end(directory, context)
    if context.json:
        context.out.json({"job": _document(read_job(directory))})
    else:
        context.out.line(f"job {directory.name} was asked to stop: pgvault job watch {directory.name}")
    return 0


async def _follow(directory: Path, emit: Emit) -> None:
    async for event in follow(directory, lambda: not is_alive(directory)):
        emit(event)


def _end(directory: Path, context: Context) -> int:
    """Print how the job ended on standard output. Return its exit code."""
    job = read_job(directory)
    if context.json:
        context.out.json({"job": _document(job)})
    else:
        context.out.line(f"job {job.id}: ", _painted(job.state), f" ({job.verdict})" if job.verdict else "")
    return 1 if job.exit_code is None else job.exit_code


def _document(job: Job) -> dict[str, object]:
    return {field.name: getattr(job, field.name) for field in fields(job)}


def _painted(state: JobState) -> Part:
    return Painted(state.value, _STYLES.get(state, "dim"))


def _took(job: Job) -> str:
    if job.state is JobState.LOST:
        return "-"
    return span(((job.finished_at or now()) - job.started_at).total_seconds())


COMMANDS = {"job": Command(HELP, arguments, run)}
