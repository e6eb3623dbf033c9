"""What the console knows: the configuration, and the engine's answers about the vault, read in threads.

This module draws nothing and changes nothing.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pgvault.config.load import Config
from pgvault.console.commands import CommandLog, Commands
from pgvault.console.jobbook import JobBook
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.model.secrets import masked
from pgvault.vault.layout import ServerVault, Vault

if TYPE_CHECKING:
    from pgvault.engine.event_neighbours import NearTransaction
    from pgvault.model.catalogue import Catalogue
    from pgvault.model.lsn import Lsn
    from pgvault.model.protection import Protection
    from pgvault.model.wal_picture import WalPicture

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Queries:
    """One vault and its servers."""

    def __init__(self, config: Config, *, config_argument: Path | None = None,
                 clock: Callable[[], datetime] = utc_now) -> None:
        """Open a vault's queries; `config_argument` is the value of --config, which every command gets, too."""
        self.config, self.config_argument, self.now = config, config_argument, clock
        self.log = CommandLog()
        self.commands = Commands(config_argument, self.log)
        self.jobs = JobBook(config.vault.home, self.log)

    @property
    def home(self) -> Path:
        return self.config.vault.home

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the servers in the order of the configuration."""
        return tuple(self.config.servers)

    def vault_of(self, server: str) -> ServerVault:
        return Vault(self.home).server(server)

    # The engine's queries. Each blocks for milliseconds to tenths of a second: call them through `run_query`.

    def protection(self, server: str) -> Protection:
        from pgvault.engine.overview import protection

        return protection(self.config.server(server), self.home, self.now())

    def stamp(self, server: str) -> tuple[object, ...]:
        """Return a value that differs from before if the vault's answers about this server may have changed."""
        from pgvault.engine.overview import stamp

        return stamp(self.config.server(server), self.home)

    def catalogue(self, server: str) -> Catalogue:
        from pgvault.engine.catalogue import read_catalogue

        vault = Vault.open(self.home).server(server)  # a vault that is not there is no empty one
        return read_catalogue(vault, self.config.server(server), self.now())

    def picture(self, server: str) -> WalPicture:
        from pgvault.engine.wal_picture import wal_picture

        return wal_picture(Vault.open(self.home).server(server))

    def transactions(self, server: str, timeline: int, lsn: Lsn, count: int) -> list[NearTransaction]:
        """Return the transactions around a position, as many on either side; the WAL there is read."""
        from pgvault.engine.event_neighbours import transactions_near

        return transactions_near(self.vault_of(server), timeline, lsn, count)


async def run_query(query: Callable[[], T], doing: str = "read the vault") -> T | PgvaultError:
    """Return the answer of a query that blocks, or the error in its place, without secrets: it is drawn."""
    try:
        return await asyncio.to_thread(query)
    except PgvaultError as error:
        error.message, error.detail, error.hint = map(masked, (error.message, error.detail, error.hint))
        return error
    except OSError as error:
        return from_os_error(error, doing)


def operator() -> str:
    """Return user@host: the screen's head and an incident record name the person who worked there."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"
