"""The server verbs: their configuration and their status."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.errors import PgvaultError
from pgvault.model.job import Job, JobState
from pgvault.model.text import Painted, Part, size, span, when

if TYPE_CHECKING:
    from pgvault.engine.check.facts import SqlFacts
    from pgvault.engine.server_status import Described, Status
    from pgvault.model.window import Window

LIST = """List the configured servers with their descriptions.

Example:
  pgvault list-servers
"""
SHOW = """Show every setting of a server, its directories in the vault, and what PostgreSQL reports about itself.

A server that cannot be reached is shown, too, with the reason.

Example:
  pgvault show-server main-db | grep incoming_wals_directory
"""
STATUS = """Show how well a server is protected: backups, recovery window, WAL, receiver, jobs and problems.

Example:
  pgvault status main-db
"""
_INDENT = " " * 8
_RUNNING = (JobState.STARTING, JobState.RUNNING, JobState.CANCELLING)


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: list-servers takes no arguments."""


def server_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server, or all")


def list_servers(args: argparse.Namespace, context: Context) -> int:
    servers = context.servers("all")
    if context.json:
        context.out.json({"servers": [{"name": s.name, "description": s.description} for s in servers]})
        return 0
    for server in servers:
        context.out.line(f"{server.name} - {server.description}" if server.description else server.name)
    if not servers:
        context.err.line(f"no servers are configured; add a table [servers.NAME] to {context.config.path}")
    return 0


def show_server(args: argparse.Namespace, context: Context) -> int:
    from pgvault.engine.server_status import describe

    for server in context.servers(args.server):
        described = describe(server, context.config.vault.home)
        if context.json:
            context.out.json_line(_description(described))
        else:
            _print_description(described, context)
    return 0


def status(args: argparse.Namespace, context: Context) -> int:
    from pgvault.engine.check.run import probe_servers
    from pgvault.engine.server_status import status as status_of
    from pgvault.jobs.registry import list_jobs

    servers, home = context.servers(args.server), context.config.vault.home
    running = [job for job in list_jobs(home) if job.state in _RUNNING]
    for state in probe_servers(servers, home):
        found = status_of(state, home)
        jobs = [job for job in running if job.server == found.server]
        if context.json:
            context.out.json_line(_status(found, jobs))
        else:
            _print_status(found, jobs, context)
    return 0


def _description(described: Described) -> dict[str, object]:
    facts = described.sql
    reachable = not isinstance(facts, PgvaultError)
    return {"server": described.name, "settings": described.settings, "directories": described.directories,
            "reachable": reachable, "error": facts.message if isinstance(facts, PgvaultError) else None,
            "state": None if isinstance(facts, PgvaultError) else dict(_state(facts))}


def _print_description(described: Described, context: Context) -> None:
    facts = described.sql
    values: dict[str, object] = {**described.settings, **described.directories}
    if isinstance(facts, PgvaultError):
        values["reachable"] = f"no: {facts.message}. {facts.detail}".strip()
    else:
        values |= {"reachable": "yes", **{key: value for key, value in _state(facts) if values.get(key) is None}}
    context.out.line(f"Server {described.name}:")
    for key, value in values.items():
        text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        context.out.line(f"{_INDENT}{key}: {text}")


def _state(facts: SqlFacts) -> Iterable[tuple[str, object]]:
    """Return what PostgreSQL reports about itself."""
    server = facts.server
    return (("server_version", server.version), ("system_identifier", server.system_identifier),
            ("data_directory", server.data_directory or None), ("timeline", facts.timeline),
            ("current_lsn", facts.lsn), ("wal_segment_size", server.segment_size),
            ("is_in_recovery", server.in_recovery), *facts.settings.items())


def _status(found: Status, jobs: list[Job]) -> dict[str, object]:
    newest = found.last_backup
    return {
        "server": found.server, "description": found.description, "reachable": not found.unreachable,
        "error": found.unreachable or None, "server_version": found.version or None, "timeline": found.timeline,
        "last_backup": newest and {
            "id": newest.id, "finished_at": newest.finished_at, "size_bytes": newest.size_bytes,
            "stored_bytes": newest.stored_bytes, "age_seconds": _seconds(found)},
        "backups": found.backups, "windows": found.windows,
        "wal": {"newest": found.newest_segment or None, "segments_behind": found.segments_behind},
        "receiver": found.receiver, "receiver_heard_at": found.heard_at,
        "protection": {"state": found.protection, "reasons": found.reasons},
        "jobs": [{"id": job.id, "kind": job.kind, "state": job.state} for job in jobs],
        "outcome": found.outcome, "problems": found.problems}


def _print_status(found: Status, jobs: list[Job], context: Context) -> None:
    server = Painted(f"out of reach: {found.unreachable}", "bad") if found.unreachable else \
        f"{found.version}, timeline {found.timeline}"
    rows: list[tuple[str, Part | None]] = [
        ("Description", found.description or None), ("PostgreSQL", server),
        ("Protection", _protection(found)), ("Last backup", _last_backup(found)),
        ("Backups", ", ".join(f"{number} {what}" for what, number in found.backups.items()))]
    rows += [("Recovery window", _window(window)) for window in found.windows] or \
        [("Recovery window", Painted("none: nothing can be restored", "bad"))]
    rows += [("WAL", _wal(found)), ("Receiver", found.receiver or "not running"),
             ("Running jobs", ", ".join(f"{job.id} ({job.kind.value})" for job in jobs) or "none"),
             ("Problems", str(len(found.problems)) if found.problems else Painted("none", "good"))]
    context.out.fields(rows, title=f"Server {found.server}:")
    for problem in found.problems:
        style = "bad" if problem.outcome.value == "failed" else "warn"
        detail = f" ({problem.detail})" if problem.detail else ""
        context.out.line(_INDENT, f"{problem.name}: ", Painted(problem.outcome.value.upper(), style), detail)
    if found.problems:
        context.out.line(_INDENT, f"To see how to correct them: pgvault check {found.server}")


def _protection(found: Status) -> Part:
    """Describe the protection as the console does."""
    text = f"{found.protection.value.upper()}{': ' * bool(found.reasons)}{'; '.join(found.reasons)}"
    return Painted(text, {"ok": "good", "failed": "bad"}.get(found.protection.value, "warn"))


def _last_backup(found: Status) -> Part:
    newest = found.last_backup
    if newest is None:
        return Painted("none", "bad")
    return f"{newest.id}, {span(_seconds(found))} ago, {size(newest.size_bytes)} ({size(newest.stored_bytes)} stored)"


def _window(window: Window) -> str:
    until = when(window.until_time, exact=True) if window.until_time else f"WAL position {window.until_lsn}"
    return f"{when(window.from_time, exact=True)} to {until} (timeline {window.timeline})"


def _wal(found: Status) -> str:
    if not found.newest_segment:
        return "nothing archived"
    behind = "" if found.segments_behind is None else f", {found.segments_behind} behind"
    return f"newest {found.newest_segment}{behind}"


def _seconds(found: Status) -> float:
    return max(found.last_backup_age.total_seconds(), 0.0) if found.last_backup_age else 0.0


COMMANDS = {"list-servers": Command(LIST, no_arguments, list_servers),
            "show-server": Command(SHOW, server_argument, show_server),
            "status": Command(STATUS, server_argument, status)}
