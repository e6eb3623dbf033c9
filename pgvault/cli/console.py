"""The console, as a verb: what `pgvault` alone does too."""

from __future__ import annotations

import argparse
import os

from pgvault.cli.command import Command
from pgvault.cli.context import Context

HELP = """Open the console: servers, backups, the WAL timeline, jobs, and the way back, on one terminal.

pgvault without a verb does the same. What is started from it goes on when it is left. On a connection by SSH it sends
little; --ascii is for terminals that cannot draw lines, --no-mouse leaves selecting text to the terminal.

Example:
  pgvault console --read-only
  pgvault --config /etc/pgvault/pgvault.toml --ascii
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--read-only", action="store_true", help="look and plan; nothing that changes anything")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters alone")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument("--animations", action="store_true", help="animate and redraw at the full rate")
    parser.add_argument("--no-check", action="store_true", help="do not check the servers at the start")


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
