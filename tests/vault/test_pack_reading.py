"""Reading frames costs few requests: those that lie next to one another in a pack are one range."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.faulty_store import FaultyStore

from pgvault.model.errors import Corrupt, Unreachable
from pgvault.store.keys import Kind
from pgvault.store.local import LocalStore
from pgvault.vault.compression import compress
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.packs import Location, PackReader, PackWriter, read_footer

FRAMES = [hashlib.sha256(b"%d" % number).digest() * 100 for number in range(60)]


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(LocalStore(tmp_path / "vault"))


@pytest.fixture
def server(tmp_path: Path, store: FaultyStore) -> ServerVault:
    Vault.open_or_create(tmp_path / "vault")
    return Vault(tmp_path / "vault", store).server("main")


def write(server: ServerVault) -> tuple[str, list[Location]]:
    pack = PackWriter(server)
    for frame in FRAMES:
        pack.add(hashlib.sha256(frame).digest(), compress(frame, 3), len(frame))
    pack.publish()
    return pack.name, pack.entries


def requests(store: FaultyStore) -> int:
    return sum(each in ("read", "stat", "stream") for each in store.faults.calls)


def test_neighbours_are_read_at_once(server: ServerVault, store: FaultyStore) -> None:
    pack, places = write(server)
    with PackReader(server) as packs:
        assert [packs.plain(pack, place) for place in places] == FRAMES
    assert requests(store) == 3, "the first frame; and where the second follows it, the pack's size and all the rest"


def test_the_parents_of_deltas_are_read_at_once_too(server: ServerVault, store: FaultyStore) -> None:
    """Of frames and parents in turn, each from its own pack."""
    (older, parents), (newer, deltas) = write(server), write(server)
    with PackReader(server) as packs:
        for parent, delta, frame in zip(parents, deltas, FRAMES, strict=True):
            assert packs.plain(older, parent) == packs.plain(newer, delta) == frame
    assert requests(store) == 6


def test_what_lies_apart_brings_nothing_with_it(server: ServerVault, store: FaultyStore) -> None:
    pack, places = write(server)
    with PackReader(server) as packs:
        for number in (50, 30, 10):
            assert packs.plain(pack, places[number]) == FRAMES[number]
    assert requests(store) == 3
    assert "stat" not in store.faults.calls


def test_a_large_pack_is_read_in_portions(server: ServerVault, store: FaultyStore,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    pack, places = write(server)
    monkeypatch.setattr("pgvault.vault.packs._AHEAD", 10 * places[0].stored)
    with PackReader(server) as packs:
        assert [packs.plain(pack, place) for place in places] == FRAMES
    assert store.faults.calls.count("read") in range(6, 10)


def test_damage_behind_a_frame_does_not_concern_it(server: ServerVault, store: FaultyStore,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    pack, places = write(server)
    read, bad = store.read, places[5].offset

    def of_a_bad_disk(key: object, offset: int = 0, length: int | None = None) -> bytes:
        if length is not None and offset <= bad < offset + length:
            raise Unreachable("a bad sector")
        return read(key, offset, length)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "read", of_a_bad_disk)
    with PackReader(server) as packs:
        assert [packs.plain(pack, place) for place in places[:5]] == FRAMES[:5]
        with pytest.raises(Unreachable):
            packs.plain(pack, places[5])
        assert packs.plain(pack, places[6]) == FRAMES[6]


def test_a_pack_that_is_cut_short_gives_what_it_has(server: ServerVault, store: FaultyStore) -> None:
    pack, places = write(server)
    path = Path(server.location(Kind.PACK, pack))
    with path.open("r+b") as file:
        file.truncate(places[20].offset + 1)
    with PackReader(server) as packs:
        assert [packs.plain(pack, place) for place in places[:20]] == FRAMES[:20]
        with pytest.raises(Corrupt, match="is damaged"):
            packs.plain(pack, places[20])
    path.unlink()
    with PackReader(server) as packs, pytest.raises(Corrupt, match="is missing"):
        packs.plain(pack, places[0])


@pytest.mark.parametrize("tail", [10, 1 << 20])
def test_a_footer_is_read_whole_however_long_it_is(server: ServerVault, tail: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    pack, places = write(server)
    monkeypatch.setattr("pgvault.vault.packs._TAIL", max(tail, 24))
    assert list(read_footer(server, pack)) == places
