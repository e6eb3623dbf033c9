"""The verb rebuild-index: rebuilds a server's indexes from the stored files."""

from __future__ import annotations

import argparse

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.store.leases import Concern
from pgvault.vault import frames
from pgvault.vault.layout import Vault
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_rebuild import rebuild

HELP = """Rebuild the indexes of a server. They are caches of the stored files.

Example:
  pgvault rebuild-index main-db
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a configured server")


def rebuild_index(args: argparse.Namespace, context: Context) -> int:
    server = context.config.server(args.server)
    vault = Vault.open(context.config.vault.home).server(server.name)
    vault.prepare()
    with vault.leases.hold(Concern.BACKUP):
        packs = frames.rebuild_index(vault)
    wal = rebuild(vault)
    facts = read_facts(vault)
    for name in packs.damaged:
        context.err.line(context.err.paint("error: ", "bad"), f"pack {name} is damaged; its frames are left out")
    for each in wal.damaged:
        context.err.line(context.err.paint("error: ", "bad"), f"{each.name} is damaged: {each.reason}")
    if context.json:
        context.out.json({"server": server.name, "frames": packs.frames, "wal_files": wal.added,
                          "segments_read": facts, "damaged": [*packs.damaged, *(each.name for each in wal.damaged)]})
    else:
        context.out.line(f"rebuilt the indexes of {server.name}: {packs.frames} frames, {wal.added} WAL files, "
                         f"{facts} segments read")
    return 8 if wal.damaged or packs.damaged else 0


COMMANDS = {"rebuild-index": Command(HELP, arguments, rebuild_index)}
