"""A server on which everything that can go wrong went wrong, with its vault: one story for each major."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from support.account import open_directory, remove_tree
from support.cli import Completed, pgvault
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server

from pgvault.config.load import load
from pgvault.engine.backup.run import run_backup
from pgvault.engine.events import WalEvent, find_events
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.event import Event
from pgvault.model.lsn import Lsn
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import accept

NAME = "main"
ODD = 'say "when" — 名前 [x'
"""A name with everything that a screen or a parser may stumble over."""


@dataclass(frozen=True)
class Deed:
    """One thing that was done, and what the server said of the time around it."""

    begin: Lsn
    end: Lsn
    since: datetime
    until: datetime


class Site:
    """A server, and a vault that has its WAL up to the last `archive`."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server, self.root = server, root
        self.home = root / "vault"
        self.vault: ServerVault = Vault.open_or_create(self.home).server(NAME)
        self.vault.prepare()
        self.config_file = root / "pgvault.toml"
        self.configure()
        self.deeds: dict[str, Deed] = {}
        self.told: list[Event] = []
        self.backups: list[Backup] = []

    def configure(self, **settings: object) -> None:
        wanted = {"conninfo": self.server.conninfo(), "immediate_checkpoint": True, "timezone": "Europe/Paris",
                  **settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in wanted.items()]
        self.config_file.write_text(f'[vault]\nhome = "{self.home}"\n[servers.{NAME}]\n' + "\n".join(lines) + "\n")

    def backup(self) -> Backup:
        plan = BackupPlan(server=NAME, immediate_checkpoint=True, workers=2)
        taking = run_backup(plan, load(self.config_file).server(NAME), self.home, job="test", emit=self.told.append)
        self.backups.append(asyncio.run(taking).backup)
        return self.backups[-1]

    def archive(self) -> str:
        """Close the current segment and take all that are complete; the name of the last."""
        last = self.server.switch_wal()
        for path in sorted(self.server.wal.glob("[0-9A-F]*")):
            if len(path.name) == 24 and path.name <= last:
                accept(self.vault, path.name, BytesIO(path.read_bytes()))
        return last

    @contextmanager
    def deed(self, name: str) -> Iterator[None]:
        begin, since = self._now()
        yield
        end, until = self._now()
        self.deeds[name] = Deed(begin, end, since, until)

    def do(self, name: str, *statements: str, dbname: str = "postgres") -> None:
        """In one session; several statements are one transaction where they say so."""
        with self.deed(name), self.server.connect(dbname) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def events(self, **query: Any) -> list[WalEvent]:
        return list(find_events(self.vault, **query))

    def of(self, name: str, events: list[WalEvent]) -> list[WalEvent]:
        """Those that belong to this deed."""
        deed = self.deeds[name]
        return [each for each in events if deed.begin <= each.lsn < deed.end]

    def cli(self, *args: str, check: int | None = 0) -> Completed:
        return pgvault(*args, config=self.config_file, check=check)

    def _now(self) -> tuple[Lsn, datetime]:
        at, now = self.server.sql("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")[0]
        return Lsn.parse(at), now


@contextmanager
def site(fleet: Fleet, major: int, *, megabytes: int = 1, **settings: object) -> Iterator[Site]:
    root = open_directory(in_memory=True)
    server = fleet.make(installation(major), Shape(None, megabytes), {
        "wal_keep_size": "1GB", "max_prepared_transactions": 4, **settings}).start()
    try:
        yield Site(server, root)
    finally:
        fleet.remove(server)
        remove_tree(root)


def live_through(site: Site) -> None:
    """Everything that may happen, after a backup that knows what there is."""
    server, do = site.server, site.do
    odd = ODD.replace('"', '""')
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE DATABASE doomed")
    server.sql("CREATE TABLE precious AS SELECT generate_series(1, 1001) AS i", dbname="doomed")
    server.sql(f"""
        CREATE SCHEMA sales; CREATE SCHEMA "{odd}";
        CREATE TABLE sales.orders (id int PRIMARY KEY, note text);
        CREATE TABLE sales.lines (id int PRIMARY KEY, note text);
        CREATE TABLE "{odd}"."{odd}" (id int);
        CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, note text); CREATE TABLE app.b (id int);
        CREATE VIEW app.v AS SELECT * FROM app.a; CREATE SCHEMA bare;
        CREATE TABLE parts (id int, note text) PARTITION BY LIST (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
        """, dbname="shop")
    for table in ("plain", "nested", "cut", "kept", "mass", "changed", "swapped", "redone", "gone", "emptied",
                  "widened", "one_of", "another"):
        server.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, note text);"
                   f"INSERT INTO {table} SELECT g, md5(g::text) FROM generate_series(1, 500) g", dbname="shop")
    server.sql("CREATE MATERIALIZED VIEW view AS SELECT * FROM kept", dbname="shop")
    site.backup()
    shop = {"dbname": "shop"}
    do("drop", "DROP TABLE plain", **shop)
    do("drop nested", "BEGIN", "SAVEPOINT a", "SAVEPOINT b", "DROP TABLE nested", "RELEASE b", "RELEASE a", "COMMIT",
       **shop)
    do("dropped and kept", "BEGIN", "SAVEPOINT a", "DROP TABLE kept CASCADE", "ROLLBACK TO a", "COMMIT", **shop)
    do("rolled back", "BEGIN", "DELETE FROM kept", "ROLLBACK", **shop)
    do("drop schema", "DROP SCHEMA sales CASCADE", **shop)
    do("drop odd", f'DROP TABLE "{odd}"."{odd}"', **shop)
    do("drop partitions", "DROP TABLE parts", **shop)
    do("drop index", "CREATE INDEX young ON kept (note)", "DROP INDEX young", **shop)
    do("truncate", "TRUNCATE cut", **shop)
    do("truncate and reload", "BEGIN", "TRUNCATE cut",
       "INSERT INTO cut SELECT g, 'x' FROM generate_series(1, 300) g", "COMMIT", **shop)
    do("vacuum full", "VACUUM FULL kept", **shop)
    do("cluster", "REPACK kept USING INDEX kept_pkey" if server.major >= 19 else "CLUSTER kept USING kept_pkey", **shop)
    do("reindex", "REINDEX TABLE redone", **shop)
    do("alter", "ALTER TABLE redone ALTER note TYPE text USING note || 'x'", **shop)
    do("refresh", "REFRESH MATERIALIZED VIEW view", **shop)
    do("vacuum catalogs", "VACUUM FULL pg_class", "VACUUM FULL pg_attribute", **shop)
    do("made and dropped", "BEGIN", "CREATE TABLE scratch (id int PRIMARY KEY, note text)", "DROP TABLE scratch",
       "COMMIT", **shop)
    do("temporary", "CREATE TEMPORARY TABLE mine (id int)", "DROP TABLE mine", **shop)
    do("swap", "BEGIN", "CREATE TABLE new AS SELECT * FROM swapped", "DROP TABLE swapped",
       "ALTER TABLE new RENAME TO swapped", "COMMIT", **shop)
    do("delete", "DELETE FROM mass WHERE id <= 400", **shop)
    do("delete few", "DELETE FROM mass WHERE id <= 450", **shop)
    do("update", "UPDATE changed SET note = 'all the same'", **shop)
    do("delete by parts", "BEGIN", "DELETE FROM changed WHERE id <= 60", "SAVEPOINT a",
       "DELETE FROM changed WHERE id <= 120", "RELEASE a", "COMMIT", **shop)
    do("prepared", "BEGIN", "DELETE FROM changed WHERE id <= 300", "PREPARE TRANSACTION 'later'",
       "COMMIT PREPARED 'later'", **shop)
    do("young", "CREATE TABLE young (id int)", "DROP TABLE young", **shop)
    do("schema app", "DROP SCHEMA app CASCADE", **shop)
    do("schema beside", "BEGIN", "CREATE TABLE bare.own (id int)", "DROP SCHEMA bare CASCADE", "DROP TABLE gone",
       "COMMIT", **shop)
    do("migrated", "BEGIN", "DROP TABLE one_of", "TRUNCATE emptied", "COMMIT", **shop)
    do("migrated by rewriting", "BEGIN", "DROP TABLE another",
       "ALTER TABLE widened ALTER note TYPE text USING note || 'x'", "COMMIT", **shop)
    do("point", f"SELECT pg_create_restore_point('{ODD[:40]}')")
    do("drop database", "DROP DATABASE doomed")
    site.archive()
