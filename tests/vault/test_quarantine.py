"""What was put aside is kept as it came, with a text beside it that says what it was called, when and why."""

from __future__ import annotations

import errno
import os
import re
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from pgvault.store.keys import Kind
from pgvault.vault import quarantine
from pgvault.vault.layout import ServerVault, Vault

NAME = "000000010000000000000001"
TIME = r"2\d{7}T\d{6}\.\d{6}Z"


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    """Its directory for the quarantine is not there yet."""
    return Vault.open_or_create(tmp_path / "vault").server("main")


@pytest.fixture
def arrived(server: ServerVault) -> Path:
    server.spool.incoming.mkdir(parents=True)
    path = server.spool.incoming / ".rejected"
    path.write_bytes(b"as it came")
    return path


def reason_of(kept: Path) -> list[str]:
    return kept.with_name(kept.name + ".reason").read_text().splitlines()


def test_what_is_set_aside_is_moved_and_explained_in_three_lines(server: ServerVault, arrived: Path) -> None:
    kept = quarantine.set_aside(server, arrived, "not the name of\n  a file that \udcff PostgreSQL archives")
    assert kept.parent == server.spool.quarantine
    assert re.fullmatch(rf"{TIME}\.rejected", kept.name), "it is in sight"
    assert kept.read_bytes() == b"as it came"
    assert not arrived.exists()
    name, when, why = reason_of(kept)
    assert (name, why) == ("name: .rejected", r"why: not the name of a file that \udcff PostgreSQL archives")
    assert re.fullmatch(r"when: 2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", when)
    assert sorted(path.name for path in server.spool.quarantine.iterdir()) == [kept.name, f"{kept.name}.reason"]


def test_from_another_file_system_it_is_copied(
        server: ServerVault, arrived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def other_file_system(old: Path, new: Path) -> None:
        if old == arrived:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(old, new)

    monkeypatch.setattr(os, "rename", other_file_system)
    kept = quarantine.set_aside(server, arrived, "why")
    assert kept.read_bytes() == b"as it came"
    assert not arrived.exists()


def test_what_cannot_be_moved_stays(server: ServerVault, arrived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(PermissionError):
        quarantine.set_aside(server, arrived, "why")
    assert arrived.read_bytes() == b"as it came"


def test_links_and_directories_are_set_aside_as_they_are(server: ServerVault, arrived: Path) -> None:
    link, directory = arrived.with_name("link"), arrived.with_name("directory")
    link.symlink_to("nowhere")
    directory.mkdir()
    assert os.readlink(quarantine.set_aside(server, link, "why")) == "nowhere"
    assert quarantine.set_aside(server, directory, "why").is_dir()


def test_the_same_content_is_kept_once_and_forgotten_with_its_reason(server: ServerVault, arrived: Path) -> None:
    digest = sha256(b"plain").digest()
    kept = quarantine.set_aside_once(server, arrived, NAME, digest, "first")
    assert kept == quarantine.copy_of(server, NAME, digest)
    assert kept == server.spool.quarantine / f"{NAME}.{digest.hex()[:12]}.zst"
    arrived.write_bytes(b"again")
    assert quarantine.set_aside_once(server, arrived, NAME, digest, "second") == kept
    assert kept.read_bytes() == b"as it came"
    assert arrived.exists(), "whoever brought it removes it"
    assert (reason_of(kept)[0], reason_of(kept)[2]) == (f"name: {NAME}", "why: first")
    for _ in range(2):
        quarantine.forget(kept)
        assert list(server.spool.quarantine.iterdir()) == []


def test_of_an_archived_file_a_copy_is_kept(server: ServerVault) -> None:
    """One only where its content is known."""
    key, digest = server.key(Kind.WAL, NAME), sha256(b"plain").digest()
    server.store.put(key, b"stored")
    kept = quarantine.set_aside_stored(server, NAME, "its WAL is damaged", digest)
    assert quarantine.set_aside_stored(server, NAME, "again", digest) == kept
    assert kept == quarantine.copy_of(server, NAME, digest)
    other = quarantine.set_aside_stored(server, NAME, "damaged")
    assert re.fullmatch(rf"{TIME}\.{NAME}\.zst", other.name)
    for each, why in ((kept, "its WAL is damaged"), (other, "damaged")):
        assert each.read_bytes() == server.store.read(key) == b"stored"
        assert (reason_of(each)[0], reason_of(each)[2]) == (f"name: {NAME}", f"why: {why}")
    assert len(list(server.spool.quarantine.iterdir())) == 4


def test_its_name_has_the_time_in_utc(server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    server.store.put(server.key(Kind.WAL, NAME), b"stored")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        kept = quarantine.set_aside_stored(server, NAME, "damaged")
        moment = datetime.strptime(kept.name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - moment) < timedelta(hours=4)
    finally:
        monkeypatch.undo()
        time.tzset()
