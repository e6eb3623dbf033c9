"""What a vault says of what is damaged, missing or another's: the message, the evidence and the next step."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from support.objects import facts_path, identity_path, manifest_path, object_path, pack_path
from support.plans import SOURCE
from support.stored import store

from pgvault.model.errors import Corrupt, InDoubt, NotFound, PgvaultError, Refused
from pgvault.store.keys import Kind
from pgvault.vault import catalog, delta
from pgvault.vault.compression import compress, decompress, decompressed
from pgvault.vault.identity import Identity, claim, read_identity
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader, pack_names, read_footer
from pgvault.vault.wal_fetch import find as find_wal

CLUSTER = Identity("7300000000000000001", 1 << 20)
ELSEWHERE = "Restore from another backup, or bring the file back from a copy."
REBUILD = "pgvault rebuild-index main; if that does not help, use another backup."


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = Vault.open_or_create(tmp_path / "vault").server("main")
    server.prepare()
    return server


@pytest.fixture
def backup(server: ServerVault) -> Any:
    return store(server, SOURCE, {"base": None, "base/5": bytes(range(256)) * 64})


def said(kind: type[PgvaultError], act: Callable[[], object]) -> tuple[str, str, str]:
    with pytest.raises(PgvaultError) as failure:
        act()
    assert type(failure.value) is kind
    return failure.value.message, failure.value.detail, failure.value.hint


# Packs


def damaged_pack(server: ServerVault, change: Callable[[bytearray], object]) -> tuple[str, str]:
    """Its name, and where it lies."""
    [name] = pack_names(server)
    path = pack_path(server, name)
    content = bytearray(path.read_bytes())
    change(content)
    path.chmod(0o600)
    path.write_bytes(content)
    return name, str(path)


@pytest.mark.parametrize(("change", "why"), [
    (lambda pack: pack.__setitem__(-1, pack[-1] ^ 1), "Its end is not that of a pack."),
    (lambda pack: pack.__delitem__(slice(-1, None)), "Its end is not that of a pack."),
    (lambda pack: pack.__delitem__(slice(100, 101)), "Its end is not that of a pack."),
    (lambda pack: pack.__setitem__(-60, pack[-60] ^ 1), "Its footer does not match its hash.")])
def test_a_pack_whose_footer_is_damaged(backup: Any, server: ServerVault,
                                        change: Callable[[bytearray], object], why: str) -> None:
    name, path = damaged_pack(server, change)
    assert said(Corrupt, lambda: list(read_footer(server, name))) == (f"pack {path} is damaged", why, "")


def test_a_pack_that_is_cut_short(backup: Any, server: ServerVault) -> None:
    name, path = damaged_pack(server, lambda pack: pack.__delitem__(slice(15, None)))
    assert said(Corrupt, lambda: list(read_footer(server, name))) == (f"pack {path} is cut short", "", "")


def test_a_frame_that_is_damaged_or_whose_pack_is_gone(backup: Any, server: ServerVault) -> None:
    [name] = pack_names(server)
    place = next(iter(read_footer(server, name)))
    with PackReader(server) as reader:
        other = replace(place, id=b"\1" * 32)
        assert said(Corrupt, lambda: reader.plain(name, other)) == (
            f"pack {name} is damaged", f"Frame {'01' * 32} does not match its SHA-256.",
            "Backups that do not use this frame are unaffected: restore from another one.")
    damaged_pack(server, lambda pack: pack.__setitem__(place.offset, pack[place.offset] ^ 1))
    with PackReader(server) as reader:
        assert said(Corrupt, lambda: reader.stored(name, place)) == (
            f"pack {name} is damaged",
            f"The {place.stored} bytes at offset {place.offset} do not match their checksum.",
            "Backups that do not use these bytes are unaffected: restore from another one. If the index of frames "
            "names a wrong place, pgvault rebuild-index main corrects that.")
    pack_path(server, name).unlink()
    with PackReader(server) as reader:
        assert said(Corrupt, lambda: reader.stored(name, place)) == (
            f"pack {name} is missing", f"{pack_path(server, name)} should be it.",
            "Restore from another backup, or bring the pack back from a copy.")


def test_stored_data_that_is_damaged() -> None:
    frame = compress(b"x" * 1000, 3)
    spoilt = bytes((frame[0] ^ 1,)) + frame[1:]
    for length, data in ((999, frame), (1001, frame), (1000, frame[:-1]), (1000, frame + b"!")):
        assert said(Corrupt, lambda length=length, data=data: decompress(data, length)) == (
            "stored data is damaged", f"{length} bytes in one whole frame were expected.", "")
    assert decompress(frame, 1000) == b"".join(decompressed(BytesIO(frame))) == b"x" * 1000
    for read in (lambda: decompress(spoilt, 1000), lambda: list(decompressed(BytesIO(spoilt)))):
        message, detail, _ = said(Corrupt, read)
        assert message == "stored data is damaged"
        assert detail.startswith("zstd says: ")
    assert said(Corrupt, lambda: list(decompressed(BytesIO(frame[:-1])))) == (
        "stored data is damaged", "It ends too early.", "")
    assert said(Corrupt, lambda: list(decompressed(BytesIO(frame + b"!")))) == (
        "stored data is damaged", "Something follows its end.", "")


PAGE = delta.PAGE_SIZE


@pytest.mark.parametrize("bad", [
    b"", bytes(15), bytes(16) + b"!", b"\1" + bytes(15), b"\1" + bytes(15 + PAGE - 1), b"\1" + bytes(15 + PAGE + 1),
    b"\x10" + bytes(15 + PAGE), bytes(15) + b"\x80" + bytes(PAGE)])
def test_a_page_delta_that_does_not_fit(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"^the page delta does not fit its frame$"):
        delta.apply(bytes(4 * PAGE), bad)


@pytest.mark.parametrize(("pages", "changed", "is_delta"), [
    (10, 6, True), (10, 7, False), (5, 3, True), (128, 76, True), (128, 77, False), (1, 0, True), (1, 1, False)])
def test_a_delta_is_worthwhile_up_to_three_pages_of_five(pages: int, changed: int, is_delta: bool) -> None:
    parent, run = bytes(pages * PAGE), b"\1" * (changed * PAGE) + bytes((pages - changed) * PAGE)
    made = delta.make(parent, run)
    assert (made is not None) is is_delta
    if made is not None:
        assert len(made) == 16 + changed * PAGE
        assert delta.apply(parent, made) == run
    assert delta.make(parent, run + b"!") is None
    assert delta.make(parent + b"!", run + b"!") is None


# Manifests


def test_a_manifest_that_is_damaged_or_missing(backup: Any, server: ServerVault) -> None:
    path = manifest_path(server, backup.id)
    with Manifest(server, backup, check=True):
        pass
    other = replace(backup, manifest_sha256="0" * 64)
    assert said(Corrupt, lambda: Manifest(server, other, check=True)) == (
        f"the manifest of backup {SOURCE.id} is damaged", f"{path} does not match its SHA-256.", ELSEWHERE)
    path.chmod(0o600)
    path.write_bytes(b"no database" * 1000)
    with Manifest(server, backup) as manifest:
        message, detail, hint = said(Corrupt, lambda: list(manifest.entries()))
        assert (message, hint) == (f"could not read the manifest of backup {SOURCE.id}", REBUILD)
        assert detail == f"{path}: file is not a database."
    path.unlink()
    assert said(Corrupt, lambda: Manifest(server, backup)) == (
        f"the manifest of backup {SOURCE.id} is missing", f"{path} should be it.", ELSEWHERE)


def test_an_index_of_frames_that_is_missing_or_damaged(
        backup: Any, server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cache.frames.chmod(0o600)
    server.cache.frames.write_bytes(b"no database" * 1000)
    with Manifest(server, backup) as manifest:
        entry = manifest.find("base/5")
        assert entry is not None
        assert said(Corrupt, lambda: list(manifest.runs(entry))) == (
            f"the index {server.cache.frames} cannot be used", "SQLite says: file is not a database.",
            "It is a cache; make it again: pgvault rebuild-index main")
    server.cache.frames.unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Manifest(server, backup) as manifest:
        entry = manifest.find("base/5")
        assert entry is not None
        assert said(NotFound, lambda: list(manifest.runs(entry))) == (
            "the index of main's frames is missing",
            f"There is no {server.cache.frames}, and the vault may not be written to.",
            "Copy that file too, or let it be written.")


def test_a_frame_that_no_pack_has(backup: Any, server: ServerVault) -> None:
    with sqlite3.connect(server.cache.frames) as index:
        index.execute("DELETE FROM frame")
    index.close()
    with Manifest(server, backup) as manifest:
        entry = manifest.find("base/5")
        assert entry is not None
        assert said(Corrupt, lambda: list(manifest.runs(entry))) == (
            f"backup {SOURCE.id} is incomplete", "A frame of base/5 is in no pack.", REBUILD)


# Backups by name


def test_backups_are_found_by_their_names(server: ServerVault) -> None:
    other = replace(SOURCE, id="20261125T110000Z")
    for each in (SOURCE, other):
        catalog.create(server, each)
    hint = "pgvault list-backups main"
    assert catalog.find(server, "20261125") == catalog.find(server, "latest") == other
    assert catalog.find(server, "oldest") == catalog.find(server, SOURCE.id) == SOURCE
    assert said(NotFound, lambda: catalog.find(server, "202611")) == (
        "'202611' is the beginning of 2 backup ids of main", f"{SOURCE.id}, {other.id}.", hint)
    for name in ("2025", ""):
        assert said(NotFound, lambda name=name: catalog.find(server, name)) == (
            f"main has no backup {name!r}", "", hint)
    assert said(NotFound, lambda: catalog.find(server, "last-failed")) == (
        "main has no backup 'last-failed'", "", hint)
    assert said(NotFound, lambda: catalog.find(server, "20300101T000000Z")) == (
        "main has no backup 20300101T000000Z", "", hint)


@pytest.mark.parametrize("content", ["= [", "id = 1", ""])
def test_a_backup_s_facts_that_cannot_be_read(server: ServerVault, content: str) -> None:
    catalog.create(server, SOURCE)
    path = facts_path(server, SOURCE.id)
    path.write_text(content)
    message, detail, hint = said(PgvaultError, lambda: catalog.find(server, SOURCE.id))
    assert (message, hint) == (f"could not read the facts of backup {SOURCE.id}", catalog.FROM_COPY)
    assert detail.startswith(f"{path}: ")
    message, _, _ = said(NotFound, lambda: catalog.find(server, "last-failed"))
    assert message == "main has no backup 'last-failed' that can be read"
    path.unlink()
    manifest_path(server, SOURCE.id).touch()
    assert said(PgvaultError, lambda: catalog.read(server, SOURCE.id))[1] == f"{path}: the file is missing."
    assert catalog.read_all(server) == ((), (catalog.Unreadable(SOURCE.id, f"{path}: the file is missing"),))
    path.mkdir()
    assert said(PgvaultError, lambda: catalog.read(server, SOURCE.id)) == (
        f"could not read the facts of backup {SOURCE.id}", f"{path}: Is a directory.", catalog.FROM_COPY)


# Whose vault it is


def test_another_cluster_is_refused(server: ServerVault) -> None:
    claim(server, CLUSTER)
    claim(server, CLUSTER)
    assert read_identity(server) == CLUSTER
    assert said(Refused, lambda: claim(server, CLUSTER._replace(system_identifier="7"))) == (
        "main is another cluster than the one in the vault",
        "The vault holds system identifier 7300000000000000001, this server has 7.",
        f"Give the new cluster a name of its own in the configuration, or move {server.home} away.")
    assert said(Refused, lambda: claim(server, CLUSTER._replace(segment_size=2 << 20))) == (
        "the WAL segment size of main has changed",
        "The vault holds segments of 1048576 bytes, the server has 2097152.",
        f"Give the cluster a new name in the configuration, or move {server.home} away.")


@pytest.mark.parametrize(("content", "why"), [
    ("= [", ""), ("", "It has no system_identifier."), ("system_identifier = '7'", "It has no segment_size."),
    ("system_identifier = 7\nsegment_size = 1048576", "Its values are not of the right kind."),
    ("system_identifier = '7'\nsegment_size = 3", "Its values are not of the right kind.")])
def test_an_identity_that_cannot_be_read(server: ServerVault, content: str, why: str) -> None:
    claim(server, CLUSTER)
    path = identity_path(server)
    path.write_text(content)
    message, detail, hint = said(PgvaultError, lambda: read_identity(server))
    assert message == f"could not read {path}"
    assert detail == (why or "Invalid statement (at line 1, column 1).")
    assert hint == ("Bring the file back from a copy of the vault; it holds the system_identifier and the segment_size "
                    "of the cluster, which each backup.toml holds too.")


def test_a_home_that_is_no_vault(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    assert said(PgvaultError, lambda: Vault.open_or_create(tmp_path)) == (
        f"{tmp_path} is not empty and is no vault", "",
        "Point [vault] home at an empty directory, or at an existing vault.")
    assert said(NotFound, lambda: Vault.open(tmp_path)) == (
        f"there is no vault in {tmp_path}", "It has no vault.toml.",
        "The first backup or archived segment makes it; check [vault] home.")


@pytest.mark.parametrize(("content", "message", "detail", "hint"), [
    ("format = 99\n", "the vault in {home} has format 99, this pgvault knows 1", "",
     "Use the pgvault that wrote it, or a newer one."),
    ("= [", "could not read {home}/vault.toml", "Invalid statement (at line 1, column 1)", "")])
def test_a_vault_of_another_format(tmp_path: Path, content: str, message: str, detail: str, hint: str) -> None:
    home = tmp_path / "vault"
    Vault.open_or_create(home)
    (home / "vault.toml").write_text(content)
    assert said(PgvaultError, lambda: Vault.open(home)) == (message.format(home=home), detail, hint)


# WAL


def test_an_archive_that_is_not_there_is_in_doubt(server: ServerVault) -> None:
    assert said(InDoubt, lambda: find_wal(server, "000000010000000000000001")) == (
        "the vault has no WAL archive of main", f"{object_path(server, Kind.IDENTITY)} is missing.",
        "Check [vault] home and the server's name.")
    claim(server, CLUSTER)
    assert find_wal(server, "000000010000000000000001") is False


@pytest.mark.parametrize("name", ["lost+found", "jobs/", "README", "main/incoming/"])
def test_a_home_may_hold_what_was_there_before_the_vault(tmp_path: Path, name: str) -> None:
    """A file system's own, another process's beginning, or the directory that rsync sends WAL to."""
    path = tmp_path / name
    path.mkdir(parents=True) if name.endswith("/") else path.touch()
    assert Vault.open_or_create(tmp_path).is_there


@pytest.mark.parametrize("names", [("main/INCOMING/",), ("main/incoming/", "main/other/"), ("main/incoming",),
                                   ("Readme",), ("incoming/",)])
def test_a_home_with_anything_else_is_no_vault(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True) if name.endswith("/") else path.touch()
    with pytest.raises(PgvaultError, match="is not empty and is no vault"):
        Vault.open_or_create(tmp_path)


def test_a_server_s_name_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^'\.\./x' cannot be a server's name: "):
        Vault.open_or_create(tmp_path / "vault").server("../x")
