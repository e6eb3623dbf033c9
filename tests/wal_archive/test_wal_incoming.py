"""What rsync or cp drops into `incoming/`: taken, told apart, and never in the way of what comes behind it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from making_wal import MIB, names_on_disk, new_vault, put, quarantined, segment
from support.objects import wal_path

from pgvault.engine.incoming import ARRIVING_SECONDS, archive_waiting
from pgvault.model.event import Noted
from pgvault.store.leases import Concern
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_fetch import fetch

ONE, TWO, THREE, FOUR = (f"00000001000000000000000{i}" for i in range(1, 5))
LONG_AGO = time.time() - ARRIVING_SECONDS - 1


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = new_vault(tmp_path / "v")
    put(server, ONE)
    return server


def drop(server: ServerVault, name: str, data: bytes, at: float | None = LONG_AGO) -> Path:
    path = server.spool.incoming / name
    path.write_bytes(data)
    if at is not None:
        os.utime(path, (at, at))
    return path


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_good_and_bad_files_are_told_apart(server: ServerVault) -> None:
    """Case 4, rule 15: the good ones are archived, others are in quarantine with reasons, `.tmp` is not touched."""
    drop(server, TWO, segment(TWO))
    drop(server, f"{THREE}.tmp", segment(THREE))
    drop(server, f".{THREE}.Ab12Cd", segment(THREE)[:1000])
    drop(server, "foo", b"bar")
    drop(server, THREE, segment(THREE)[:5000])
    drop(server, FOUR, segment(FOUR))
    told: list[str] = []
    taken = archive_waiting(server, emit=lambda event: told.append(event.text) if isinstance(event, Noted) else None)
    assert taken.archived == (TWO, FOUR)
    assert taken.rejected == (THREE, "foo")
    assert left(server.spool.incoming) == [f".{THREE}.Ab12Cd", f"{THREE}.tmp"]
    reasons = quarantined(server)
    assert {name.split("Z.", 1)[1] for name in reasons} == {"foo", THREE}
    assert any("fewer" in reason for reason in reasons.values())
    assert any("not the name" in reason for reason in reasons.values())
    assert len(told) == 2
    assert fetch(server, FOUR) == segment(FOUR)


def test_a_file_that_is_being_written_is_waited_for(server: ServerVault) -> None:
    """A short segment may still be growing; only when nothing was written for a minute it is taken for broken."""
    path = drop(server, TWO, segment(TWO)[:5000], at=None)
    assert archive_waiting(server).arriving == (TWO,)
    assert path.exists()
    later = path.stat().st_mtime + ARRIVING_SECONDS
    assert archive_waiting(server, clock=lambda: later).rejected == (TWO,)


def test_a_file_still_arriving_at_first_contact_is_waited_for(tmp_path: Path) -> None:
    server = new_vault(tmp_path / "v")
    server.prepare()
    for whole in (segment(ONE)[:20], segment(ONE)[:-1]):
        drop(server, ONE, whole, at=None)
        assert archive_waiting(server).arriving == (ONE,)
    drop(server, ONE, segment(ONE), at=None)
    assert archive_waiting(server).archived == (ONE,)


def test_a_history_file_goes_first(server: ServerVault) -> None:
    """Case 7: whoever sees the segments of a new timeline can also see where it came from."""
    drop(server, "000000020000000000000002", segment("000000020000000000000002", timeline=1))
    drop(server, "00000002.history", b"1\t0/210000\tpromoted\n")
    assert archive_waiting(server).archived == ("00000002.history", "000000020000000000000002")


def test_a_conflict_is_put_aside_and_the_stored_one_kept(server: ServerVault) -> None:
    """Rule 11 for what nobody waits for: the newcomer is kept whole, with its reason."""
    drop(server, ONE, segment(ONE, seed=1))
    assert archive_waiting(server).rejected == (ONE,)
    [(kept, reason)] = quarantined(server).items()
    assert (server.spool.quarantine / kept).read_bytes() == segment(ONE, seed=1)
    assert "other content" in reason
    assert fetch(server, ONE) == segment(ONE)


def test_links_and_pipes_are_not_followed(server: ServerVault, tmp_path: Path) -> None:
    """Rule 31: what lies there comes from outside."""
    secret = tmp_path / "secret"
    secret.write_bytes(segment(TWO))
    (server.spool.incoming / TWO).symlink_to(secret)
    os.mkfifo(server.spool.incoming / THREE)
    assert archive_waiting(server).rejected == (TWO, THREE)
    assert secret.exists()
    assert not wal_path(server, TWO).exists()


def test_the_source_stays_when_a_step_fails(server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10: it is removed only after the archive has it; the failure is told and the next file is taken."""
    for name in (TWO, THREE):
        drop(server, name, segment(name))
    real = os.link

    def fail_for_two(source: Path, target: Path) -> None:
        if Path(target).name.startswith(TWO):
            raise OSError(5, "Input/output error")
        real(source, target)
    monkeypatch.setattr(os, "link", fail_for_two)
    taken = archive_waiting(server)
    assert (taken.archived, taken.failed) == ((THREE,), (TWO,))
    assert left(server.spool.incoming) == [TWO]
    monkeypatch.undo()
    assert archive_waiting(server).archived == (TWO,)


def test_what_a_receiver_left_complete_is_archived_unless_one_runs(server: ServerVault) -> None:
    (server.spool.streaming / TWO).write_bytes(segment(TWO))
    (server.spool.streaming / f"{THREE}.partial").write_bytes(segment(THREE)[:8192])
    with server.leases.hold(Concern.RECEIVE):
        assert archive_waiting(server).archived == ()
    assert archive_waiting(server).archived == (TWO,)
    assert left(server.spool.streaming) == [f"{THREE}.partial"]


def test_obsolete_segments_are_nothing_special(server: ServerVault) -> None:
    """Case 10: a whole log of segments of 1 MiB beside the one that follows it."""
    names = [f"0000000100000000{i:08X}" for i in (0xFE, 0xFF, 0x100, 0xFFF)] + ["000000010000000100000000"]
    for name in names:
        drop(server, name, segment(name))
    assert archive_waiting(server).archived == tuple(names)
    assert {each.split("/")[0] for each in names_on_disk(server)} == {"0000000100000000", "0000000100000001"}
    assert MIB * 4096 == 1 << 32
