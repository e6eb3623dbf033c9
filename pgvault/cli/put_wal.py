"""The verb put-wal: archives one file from standard input; PostgreSQL runs it as its archive_command."""

from __future__ import annotations

import argparse
import sys

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.io.process import widen
from pgvault.model.errors import UsageError, from_os_error
from pgvault.vault.layout import Vault
from pgvault.vault.wal_archive import accept, level_for

HELP = """Archive one WAL file from standard input. Exits 0 only when the file is safely stored.

Example, in the server's postgresql.conf, through SSH:
  archive_command = 'ssh pgvault@vault pgvault put-wal main-db %f < %p'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("name", metavar="NAME", help="the file's name: PostgreSQL's %%f")


def put_wal(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    if sys.stdin is None or context.stdin_is_terminal:
        raise UsageError("the WAL file is read from standard input", hint=f"pgvault put-wal {server.name} NAME < FILE")
    widen(sys.stdin)
    vault = Vault.open_or_create(context.config.vault.home)
    try:
        accept(vault.server(server.name), args.name, sys.stdin.buffer, level=level_for(server.compression_level),
               comes_again=True)
    except OSError as error:
        raise from_os_error(error, f"archive {args.name}") from error
    return 0


COMMANDS = {"put-wal": Command(HELP, arguments, put_wal)}
