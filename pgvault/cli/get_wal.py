"""The verb get-wal: returns one archived file; PostgreSQL runs it as its restore_command.

Exit code 1 means that the file is proven absent. Every other failure exits 200 (`in_doubt` in the verb's entry), which
stops PostgreSQL instead of letting it promote with data missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.store.files import open_private, replacing
from pgvault.vault.layout import Vault
from pgvault.vault.wal_archive import level_for
from pgvault.vault.wal_fetch import find, read_verified

HELP = """Write one archived WAL file to standard output, or to FILE, completely or not at all.

Exits 0 if the file was written, 1 if it is proven absent, 200 in any doubt.

Example, in a restored server's postgresql.conf:
  restore_command = 'pgvault get-wal main-db %f -o %p'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")
    parser.add_argument("name", metavar="NAME", help="the file's name: PostgreSQL's %%f")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to this file: PostgreSQL's %%p")


def get_wal(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    if not find(vault, args.name, level=level_for(server.compression_level)):
        context.err.line(f"{args.name} is not in the archive of {server.name}")
        return 1
    pieces = read_verified(vault, args.name)
    if args.output is None:
        context.out.bytes.writelines(list(pieces))
        return 0
    with replacing(args.output.absolute()) as temporary, open(open_private(temporary), "wb") as file:
        file.writelines(pieces)
    return 0


COMMANDS = {"get-wal": Command(HELP, arguments, get_wal)}
