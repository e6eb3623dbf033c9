"""A vault whose backups and WAL are written down by hand: the catalogue only reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.cli import Completed, pgvault
from support.objects import backup_directory

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.store.files import make_directory
from pgvault.vault import catalog, wal_index
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter, Run

SIZE = 16 << 20
HEAD = '[vault]\nhome = "{home}"\n'
SERVER = '[servers.{name}]\nconninfo = "host=nowhere"\n{settings}\n'


def at(day: int, hour: int = 12) -> datetime:
    """Noon of a day counted from 1 November 2026."""
    return datetime(2026, 11, 1, hour, tzinfo=UTC) + timedelta(days=day - 1)


def made_backup(started: datetime, *, server: str = "main", segment: int = 2, timeline: int = 1, **facts) -> Backup:
    """A backup that took a minute and lies within one segment."""
    lsn = segment * SIZE
    backup = Backup(
        id=started.strftime("%Y%m%dT%H%M%SZ"), server=server, status=BackupStatus.DONE, method="pg_basebackup",
        started_at=started, finished_at=started + timedelta(minutes=1), system_identifier="7300000000000000001",
        server_version="18.1", segment_size=SIZE, timeline=timeline, data_directory="/var/lib/postgresql/18/main",
        begin_lsn=Lsn(lsn + 0x28), end_lsn=Lsn(lsn + 0xB8), size_bytes=28_206_694, stored_bytes=2_820_669,
        file_count=1210, manifest_sha256="0" * 64, job="20261101T120000Z-01")
    return replace(backup, **facts)


@dataclass
class Shelf:
    """A vault's home, its configuration, and the command line on it."""

    home: Path
    config: Path

    def server(self, name: str = "main") -> ServerVault:
        vault = Vault.open_or_create(self.home).server(name)
        vault.prepare()
        return vault

    def configure(self, settings: str = "", servers: Iterable[str] = ("main",)) -> None:
        tables = "".join(SERVER.format(name=name, settings=settings) for name in servers)
        self.config.write_text(HEAD.format(home=self.home) + tables)

    def put(self, *backups: Backup) -> None:
        for backup in backups:
            server = self.server(backup.server)
            make_directory(backup_directory(server, backup.id))
            catalog.write(server, backup)

    def archive(self, timeline: int, first: int, last: int, *, stored: int = 1000, server: str = "main") -> None:
        """Rows for segments that take `stored` bytes each."""
        with wal_index.writing(self.server(server)) as index:
            for number in range(first, last + 1):
                name = Segment(timeline, number).name(SIZE)
                index.add(wal_index.StoredFile(
                    name, "segment", timeline, number, SIZE, stored, hashlib.sha256(name.encode()).digest(), 0))

    def with_files(self, backup: Backup, files: dict[str, bytes], directories: Iterable[str] = (), *,
                   modified: int = 1_793_534_400) -> Backup:
        """Store the backup with these files, really."""
        server = self.server(backup.server)
        make_directory(backup_directory(server, backup.id))
        manifest = ManifestWriter(server, backup.id)
        with FrameStore(server) as store:
            for path in directories:
                manifest.add(Entry(manifest.next_id(), path, Kind.DIRECTORY, 0, 0o700, modified))
            for path, content in files.items():
                number = manifest.next_id()
                manifest.add(Entry(number, path, Kind.FILE, len(content), 0o600, modified))
                if content:
                    frame = hashlib.sha256(content).digest()
                    store.add(frame, compress(content, 3), len(content))
                    manifest.add_run(number, 0, Run(frame))
            store.flush()
        manifest.index_paths()
        backup = replace(backup, manifest_sha256=manifest.publish(), size_bytes=manifest.size_bytes,
                         file_count=manifest.file_count)
        catalog.write(server, backup)
        return backup

    def run(self, *args: str | Path, check: int | None = 0) -> Completed:
        return pgvault(*args, config=self.config, check=check)

    def json(self, *args: str | Path):
        return self.run("--format", "json", *args).json()
