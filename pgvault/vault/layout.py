"""The layout of a vault: every path is made here, from validated names.

    HOME/vault.toml, README, jobs/<job id>/, locks/
    HOME/<server>/identity.toml
                  backups/<backup id>/backup.toml, manifest.sqlite
                  packs/<pack id>.pack      frames.sqlite (a cache)
                  wal/<16 hex>/<segment>.zst    wal.sqlite (a cache)
                  recoveries/<8 hex>.toml
                  incoming/  streaming/  quarantine/  locks/
"""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pgvault.model.errors import Conflict, NotFound, PgvaultError, Refused
from pgvault.model.names import check_name
from pgvault.store.files import TEMPORARY, make_directory
from pgvault.store.keys import Key, Kind
from pgvault.store.leases import Leases
from pgvault.store.local import LocalStore
from pgvault.store.local_leases import LocalLeases
from pgvault.store.store import Store
from pgvault.vault import mount_guard
from pgvault.vault.local_files import Cache, Spool

FORMAT = 1
_MARK = Key(Kind.VAULT)

README = """\
This directory is a pgvault vault: backups of PostgreSQL clusters and their write-ahead log.
It can be read without pgvault, with sqlite3 and zstd.

  vault.toml                              format version and the vault's id
  jobs/<job id>/                          plan.toml and events.jsonl of each act
  <server>/identity.toml                  which cluster this is (system identifier)
  <server>/backups/<id>/backup.toml       facts and status of one backup
  <server>/backups/<id>/manifest.sqlite   its files, and the frames that make up each
  <server>/packs/<id>.pack                the frames
  <server>/frames.sqlite                  where each frame is (a cache, made again from the packs)
  <server>/wal/<16 hex>/<segment>.zst     archived WAL, zstd
  <server>/wal.sqlite                     its index (a cache)
  <server>/recoveries/<8 hex>.toml        timelines that restores were given, with their history once it is known

A pack is: 8 bytes "PGVPACK1", then frames back to back, each one standard zstd frame, then the
footer, then 24 bytes: footer offset (u64 little endian), number of entries (u64), "PGVPEND1".
The footer has one entry of 52 bytes a frame: SHA-256 of the plain bytes (32), offset (u64),
stored length (u32), plain length (u32), CRC-32C of the stored bytes (u32); and at its end the
SHA-256 of all entries.

To rebuild one file by hand: find it in manifest.sqlite's table `file`, take its rows of `run` in
order; each is up to 1 MiB. A run with a frame is that frame decompressed; with a delta, the delta
frame is a bitmap of 8 KiB pages (bit n of byte n/8: page n), padded to 16 bytes, then those pages,
which replace the frame's; with neither, it is zeros. Runs are concatenated; `size` is the length.

  sqlite3 frames.sqlite "select pack, offset, stored from frame where id = x'...'"
  tail -c +$((offset + 1)) packs/$pack.pack | head -c $stored | zstd -dc

To restore by hand: rebuild every file under an empty directory, put `wal/*/*.zst`, unpacked, where
a restore_command finds them, create recovery.signal, start PostgreSQL of the same major version.
"""


class ServerVault(NamedTuple):
    """One server's part of the vault: its objects in the store, and its files on this machine."""

    name: str
    home: Path
    store: Store

    def key(self, kind: Kind, name: str = "") -> Key:
        return Key(kind, self.name, name)

    def location(self, kind: Kind, name: str = "") -> str:
        """Return the place of an object of this server, for people."""
        return self.store.location(self.key(kind, name))

    @property
    def backups(self) -> Path:
        return self.home / "backups"

    @property
    def packs(self) -> Path:
        return self.home / "packs"

    @property
    def wal(self) -> Path:
        return self.home / "wal"

    @property
    def cache(self) -> Cache:
        return Cache(self.home)

    @property
    def spool(self) -> Spool:
        return Spool(self.home)

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def leases(self) -> Leases:
        return LocalLeases(self.locks)

    @property
    def directories(self) -> tuple[Path, ...]:
        """Return all directories that are written to."""
        return self.backups, self.packs, self.wal, *self.spool.directories, self.locks

    def prepare(self) -> None:
        """Make the directories that do not exist yet."""
        for directory in self.directories:
            make_directory(directory)


def _is_begun(home: Path, name: str) -> bool:
    """Return whether this may be in a directory that becomes a vault: the remains of an interrupted first run, the
    files of one that is running, or an `incoming` that a person made for rsync before the first backup.
    """
    return name in ("lost+found", "jobs", "README") or name.startswith(TEMPORARY) or \
        ((home / name / "incoming").is_dir() and os.listdir(home / name) == ["incoming"])


def refuse_other_owner(home: Path) -> None:
    """Raise Refused for root in another user's vault: the owner could not read what root writes, so backups and
    archiving would fail from then on. Every user may read a vault that cannot be written to, if its files allow it.
    """
    with suppress(FileNotFoundError):
        owner = home.stat().st_uid
        if owner != os.geteuid() and os.access(home, os.W_OK):
            raise Refused(f"the vault in {home} belongs to another user", detail=f"Its owner is {user_name(owner)}.",
                          hint=f"Run pgvault as its owner: sudo -u {user_name(owner)} pgvault ...")


def user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Vault:
    """The repository under one home directory: objects in a store, by default that directory, and its caches, spool,
    jobs and leases, which are always on this machine.
    """

    def __init__(self, home: Path, store: Store | None = None) -> None:
        self.home = home
        self.store = store or LocalStore(home)

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"

    @property
    def leases(self) -> Leases:
        """Return the leases of what concerns no single server, such as the destinations of restores."""
        return LocalLeases(self.home / "locks")

    @property
    def is_there(self) -> bool:
        return self.store.stat(_MARK) is not None

    def server(self, name: str) -> ServerVault:
        return ServerVault(name, self.home / check_name(name, "server"), self.store)

    @classmethod
    def open(cls, home: Path) -> Vault:
        """Open an existing vault for reading and writing. Raises NotFound if there is none, Refused if it is another
        user's, or if this user had one there.
        """
        vault = cls(home)
        refuse_other_owner(home)
        vault.read_id()
        return vault

    @classmethod
    def open_or_create(cls, home: Path) -> Vault:
        """Open the vault, or create it if there is none, unless `writable` raises an error."""
        vault, vault_id = cls(home), cls.writable(home)
        if vault_id is None:
            vault._create()
            vault_id = vault.read_id()
        make_directory(vault.jobs)
        mount_guard.remember(home, vault_id)
        return vault

    @classmethod
    def writable(cls, home: Path) -> str | None:
        """Return the id of the vault that may be written to in `home`; None if one may be created. This creates
        nothing.

        Raises an error if neither is possible: the vault is another user's, another one than before, or gone, or the
        directory has other contents.
        """
        vault = cls(home)
        refuse_other_owner(home)
        if vault.is_there:
            vault_id = vault.read_id()
            mount_guard.refuse_other(home, vault_id)
            return vault_id
        try:
            mount_guard.refuse_missing(home)
            if home.is_dir() and any(not _is_begun(home, name) for name in os.listdir(home)):
                raise PgvaultError(f"{home} is not empty and is no vault",
                                   hint="Point [vault] home at an empty directory, or at an existing vault.")
        except PgvaultError:
            if vault.is_there:  # another process has made it since the first look
                return cls.writable(home)
            raise
        return None

    def refuse_other(self) -> None:
        """Raise Refused if this is not the vault to which this user has written here."""
        mount_guard.refuse_other(self.home, self.read_id())

    def read_id(self) -> str:
        """Return the id that is unique to this vault, wherever it is. Raises NotFound if there is no vault."""
        try:
            facts = tomllib.loads(self.store.read(_MARK).decode())
        except NotFound:
            mount_guard.refuse_missing(self.home)
            raise NotFound(f"there is no vault in {self.home}", detail="It has no vault.toml.",
                           hint="The first backup or archived segment makes it; check [vault] home.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PgvaultError(f"could not read {self.store.location(_MARK)}", detail=str(error)) from None
        if facts.get("format") != FORMAT:
            raise PgvaultError(
                f"the vault in {self.home} has format {facts.get('format')}, this pgvault knows {FORMAT}",
                hint="Use the pgvault that wrote it, or a newer one.")
        return str(facts.get("id"))

    def _create(self) -> None:
        """Create the vault. Of two processes that create it at once one is first, and the other finds its vault: an id
        that was read once does not change.
        """
        import tomli_w  # only for a new vault

        make_directory(self.home)
        with suppress(Conflict):
            self.store.put(Key(Kind.README), README.encode())
        with suppress(Conflict):
            self.store.put(_MARK, tomli_w.dumps({"format": FORMAT, "id": os.urandom(8).hex()}).encode())
