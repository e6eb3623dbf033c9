"""The console as a verb; `pgvault` alone opens it, too."""

from __future__ import annotations

import argparse
import os

from pgvault.cli.command import Command
from pgvault.cli.context import Context

HELP = """Open the console: servers, backups, the WAL timeline, jobs, and recovery, in one terminal.

pgvault without a verb does the same. Jobs started from it continue when it is closed. Over SSH it sends little data.
--ascii is for terminals that cannot draw lines; --no-mouse leaves text selection to the terminal.

Example:
  pgvault console --read-only
  pgvault --config /etc/pgvault/pgvault.toml --ascii
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--read-only", action="store_true", help="allow only viewing and planning, and no changes")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.add_argument("--no-mouse", action="store_true", help="do not use the mouse")
    parser.add_argument("--animations", action="store_true", help="animate and redraw at the full rate")
    parser.add_argument("--no-check", action="store_true", help="do not check the servers at startup")


def console(args: argparse.Namespace, context: Context) -> int:
    from pgvault.console.options import Options
    from pgvault.console.start import open_console, refuse_unfit_terminal

    refuse_unfit_terminal(os.environ)
    closed = open_console(context.config, Options(
        config=context.config_path, read_only=args.read_only, ascii_only=args.ascii, mouse=not args.no_mouse,
        animations=args.animations, check_at_start=not args.no_check))
    for line in closed.farewell:
        context.err.line(line)
    return closed.exit_code


COMMANDS = {"console": Command(HELP, arguments, console)}
