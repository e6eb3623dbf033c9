"""A configuration of one server and its vault, and `check` on it as people and monitoring run it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.account import account
from support.cli import Completed, environment, pgvault, pgvault_argv, pgvault_shell
from support.postgres import Server, wait_until

from pgvault.store.leases import Concern
from pgvault.vault.layout import ServerVault, Vault

NAME = "main-db-server"


class Site:
    """A vault and the configuration of `NAME` beside it; `setting` are lines of its table."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "vault"
        self.config = directory / "pgvault.toml"

    def configure(self, server: Server | None = None, *, conninfo: str = "", vault: str = "", setting: str = "",
                  more: str = "") -> None:
        if server is not None and not conninfo:
            conninfo = f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"
        self.config.write_text(
            f'[vault]\nhome = "{self.home}"\n{vault}\n[servers.{NAME}]\ndescription = "Main DB Server"\n'
            f'conninfo = "{conninfo}"\n{setting}\n{more}\n')

    @property
    def vault(self) -> ServerVault:
        return Vault(self.home).server(NAME)

    def archive_command(self) -> str:
        """What PostgreSQL, which runs as another user, calls for each segment."""
        put = pgvault_shell("put-wal", NAME, "XX", config=self.config, account=account())
        return f"{put.removesuffix('XX')}%f < %p"

    def run(self, *args: str, **options: Any) -> Completed:
        """As the user whose vault it is."""
        theirs = self.home.exists() and self.home.stat().st_uid != os.geteuid()
        return pgvault(*args, config=self.config, **{"account": account() if theirs else None, **options})

    def check(self, *, expect: int | None = None, **options: Any) -> dict[str, dict[str, str]]:
        """The findings by name, as JSON tells them."""
        done = self.run("check", NAME, "--format", "json", check=expect, **options)
        return {finding["name"]: finding for finding in json.loads(done.stdout)["checks"]}

    @contextmanager
    def receiving(self, server: Server) -> Iterator[None]:
        """The receiver itself, connected."""
        process = subprocess.Popen(pgvault_argv("receive-wal", NAME, config=self.config), env=environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: server.sql("select 1 from pg_replication_slots where active"))
            yield
        finally:
            process.terminate()
            process.wait(60)

    @contextmanager
    def receiver(self) -> Iterator[None]:
        """Somebody who holds what the receiver holds."""
        theirs = self.home.exists() and self.home.stat().st_uid != os.geteuid()
        if not theirs:
            Vault.open_or_create(self.home)
        with self.vault.leases.hold(Concern.RECEIVE, job="20261122T200512Z-01"):
            if theirs:
                account().own(self.home)
            yield
