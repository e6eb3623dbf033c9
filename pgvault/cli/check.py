"""The verb `check`: everything that backups and archiving need, each failure with its cause and its correction."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.check import Finding, Outcome
from pgvault.model.errors import NotRight, PgvaultError

if TYPE_CHECKING:
    from pgvault.engine.check.run import Report

HELP = """Test everything that backups and archiving of a server need. It changes nothing.

Exits 0 if all checks passed or only warned, 3 if one failed; with --nagios 0, 1 (warning), 2 (critical) or 3 (unknown),
as monitoring expects.

The role needs LOGIN and REPLICATION; a restore in place also needs pg_read_all_settings, and switch-wal needs EXECUTE
on pg_switch_wal() in the database of conninfo.

Example:
  pgvault check main-db
  pgvault check all --nagios
"""
_WORDS = {Outcome.OK: ("OK", "good"), Outcome.WARNING: ("WARNING", "warn"), Outcome.FAILED: ("FAILED", "bad"),
          Outcome.SKIPPED: ("SKIPPED", "dim")}
_NAGIOS = {Outcome.OK: ("OK", 0), Outcome.WARNING: ("WARNING", 1), Outcome.FAILED: ("CRITICAL", 2)}
_UNKNOWN = 3
_INDENT = " " * 8


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server, or all")
    parser.add_argument("--nagios", action="store_true", help="print one line and exit with monitoring's code")


def check(args: argparse.Namespace, context: Context) -> int:
    if args.nagios:
        return _nagios(args.server, context)
    code = 0
    for report in _reports(args.server, context):
        if context.json:
            context.out.json_line({"server": report.server, "outcome": report.outcome, "checks": report.findings})
        else:
            _print(report, context)
        if report.outcome is Outcome.FAILED:
            code = NotRight.exit_code
    return code


def _reports(server: str, context: Context) -> Sequence[Report]:
    from pgvault.engine.check.run import check_servers

    return list(check_servers(context.servers(server), context.config.vault.home))


def _print(report: Report, context: Context) -> None:
    context.out.line(f"Server {report.server}:")
    for finding in report.findings:
        word, style = _WORDS[finding.outcome]
        detail = f" ({finding.detail})" if finding.detail else ""
        context.out.line(_INDENT, f"{finding.name}: ", context.out.paint(word, style), detail)
        if finding.outcome in (Outcome.FAILED, Outcome.WARNING):
            _print_lines("cause", finding.cause, context)
            _print_lines("fix", finding.fix, context)


def _print_lines(name: str, text: str, context: Context) -> None:
    for i, line in enumerate(text.splitlines()):
        lead = f"{name}: " if i == 0 else " " * (len(name) + 2)
        context.out.line(_INDENT * 2, context.out.paint(lead, "dim"), line)


def _nagios(server: str, context: Context) -> int:
    """Print one line, without "|", which monitoring takes for the start of performance data."""
    try:
        reports = _reports(server, context)
    except PgvaultError as error:
        context.out.line(_plain(f"PGVAULT UNKNOWN - {error.message}"))
        return _UNKNOWN
    outcomes = [report.outcome for report in reports]
    worst = next((o for o in (Outcome.FAILED, Outcome.WARNING) if o in outcomes), Outcome.OK)
    word, code = _NAGIOS[worst]
    summary = "; ".join(f"{report.server}: {_summary(report)}" for report in reports if report.outcome is worst)
    context.out.line(_plain(f"PGVAULT {word} - {summary or 'no servers'}"))
    return code


def _summary(report: Report) -> str:
    if not report.problems:
        return f"{sum(f.outcome is Outcome.OK for f in report.findings)} checks passed"
    return ", ".join(_describe(finding) for finding in report.problems)


def _describe(finding: Finding) -> str:
    return f"{finding.name} ({finding.detail})" if finding.detail else finding.name


def _plain(text: str) -> str:
    return text.replace("|", "/")


COMMANDS = {"check": Command(HELP, arguments, check)}
