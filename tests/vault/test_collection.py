"""Collecting what no backup uses: in two phases, never a frame that is in use, whatever is interrupted or damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import Shelf, at, made_backup

from pgvault.model.backup import Backup
from pgvault.model.errors import Refused
from pgvault.vault import catalog, frames
from pgvault.vault.collection import GRACE, collect, has_remains, read_marks
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader, pack_names

NOW = at(20)
LATER = NOW + GRACE


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "vault", tmp_path / "pgvault.toml")
    shelf.configure()
    return shelf


def content(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


def stored(shelf: Shelf, day: int, *seeds: int) -> Backup:
    """A backup with a file for each seed; what an earlier one has is not stored again."""
    return shelf.with_files(made_backup(at(day), segment=day), {f"base/{seed}": content(seed) for seed in seeds})


def files_of(server: ServerVault, backup: Backup) -> dict[str, bytes]:
    """What a restore would write."""
    with Manifest(server, backup, check=True) as manifest, PackReader(server) as reader:
        return {entry.path: b"".join(reader.plain(*run.frame) for run in manifest.runs(entry) if run.frame)
                for entry in manifest.entries()}


def whole(*seeds: int) -> dict[str, bytes]:
    return {f"base/{seed}": content(seed) for seed in seeds}


def delete(server: ServerVault, *backups: Backup) -> None:
    for backup in backups:
        catalog.delete(server, backup.id, NOW)


def test_what_only_deleted_backups_used_goes_a_day_later(shelf: Shelf) -> None:
    old, new = stored(shelf, 1, 1, 2), stored(shelf, 2, 2, 3)
    third = stored(shelf, 3, 4)
    server = shelf.server()
    delete(server, third)
    first = collect(server, NOW)
    assert (first.purged, first.removed, first.marked) == ((third.id,), 0, 1)
    assert len(pack_names(server)) == 3
    assert not Path(catalog.location(server, third.id)).exists()
    assert collect(server, LATER - timedelta(seconds=1)).removed == 0
    second = collect(server, LATER)
    assert (second.removed, second.freed_bytes, second.marked) == (1, first.marked_bytes, 0)
    assert len(pack_names(server)) == 2
    assert not has_remains(server)
    assert files_of(server, old) == whole(1, 2)
    assert files_of(server, new) == whole(2, 3)


def test_a_marked_pack_that_a_backup_took_up_again_stays(shelf: Shelf) -> None:
    server = shelf.server()
    delete(server, stored(shelf, 1, 1))
    collect(server, NOW)
    assert len(read_marks(server)) == 1
    again = stored(shelf, 2, 1)
    assert len(pack_names(server)) == 1, "its frame was not stored again"
    assert collect(server, LATER).removed == 0
    assert read_marks(server) == {}
    assert files_of(server, again) == whole(1)


def test_a_pack_that_is_mostly_dead_is_written_anew(shelf: Shelf) -> None:
    server = shelf.server()
    old, new = stored(shelf, 1, 1, 2, 3), stored(shelf, 2, 3)
    delete(server, old)
    done = collect(server, NOW)
    assert (done.rewritten, done.marked) == (1, 1)
    assert files_of(server, new) == whole(3), "at once, from the new pack"
    assert collect(server, LATER).removed == 1
    (left,) = pack_names(server)
    assert (server.home / "packs" / f"{left}.pack").stat().st_size < 2 * 20_000
    assert files_of(server, new) == whole(3)
    frames.rebuild_index(server)
    assert files_of(server, new) == whole(3)


def test_a_pack_that_is_mostly_live_stays(shelf: Shelf) -> None:
    server = shelf.server()
    old, new = stored(shelf, 1, 1, 2, 3), stored(shelf, 2, 2, 3)
    delete(server, old)
    done = collect(server, NOW)
    assert (done.rewritten, done.marked) == (0, 0)
    assert files_of(server, new) == whole(2, 3)


def test_nothing_is_collected_while_a_backup_cannot_be_read(shelf: Shelf) -> None:
    server = shelf.server()
    old, new = stored(shelf, 1, 1), stored(shelf, 2, 2)
    delete(server, old)
    facts = Path(catalog.location(server, new.id)) / "backup.toml"
    text = facts.read_text()
    facts.write_text("id = 3")
    with pytest.raises(Refused, match="not all of its backups can be read"):
        collect(server, NOW)
    facts.write_text(text)
    manifest = facts.with_name("manifest.sqlite")
    manifest.write_bytes(manifest.read_bytes()[:-1])
    with pytest.raises(Refused, match="is damaged") as refused:
        collect(server, NOW)
    assert f"pgvault delete main {new.id}" in refused.value.hint
    assert read_marks(server) == {}


def test_an_index_that_lost_a_frame_costs_no_frame(shelf: Shelf) -> None:
    """It is a cache: the footer of a pack has the last word."""
    server = shelf.server()
    backup = stored(shelf, 1, 1)
    with frames.FrameStore(server) as store:
        for pack in pack_names(server):
            for each in store.frames_of(pack):
                store.forget(each.id)
    collect(server, NOW)
    assert collect(server, LATER).removed == 0
    frames.rebuild_index(server)
    assert files_of(server, backup) == whole(1)


def test_a_clock_that_was_ahead_does_not_shorten_the_day(shelf: Shelf) -> None:
    server = shelf.server()
    delete(server, stored(shelf, 1, 1))
    collect(server, NOW + timedelta(days=400))
    collect(server, NOW)
    assert set(read_marks(server).values()) == {NOW}, "else it would stay for a year"
    assert collect(server, LATER).removed == 1


class Stopped(Exception):
    """The process dies here."""


def dying_after(steps: int) -> Callable[[], None]:
    left = iter(range(steps))

    def between() -> None:
        if next(left, None) is None:
            raise Stopped

    return between


@settings(max_examples=25, deadline=None)
@given(backups=st.lists(st.sets(st.integers(1, 6), min_size=1, max_size=4), min_size=2, max_size=4), data=st.data())
def test_what_stays_is_whole_whenever_it_is_interrupted(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject,
                                                        backups: list[set[int]]) -> None:
    home = tmp_path_factory.mktemp("vault")
    shelf = Shelf(home / "vault", home / "pgvault.toml")
    made = [(stored(shelf, day, *sorted(seeds)), seeds) for day, seeds in enumerate(backups, 1)]
    server = shelf.server()
    gone = data.draw(st.sets(st.integers(0, len(made) - 1), min_size=1, max_size=len(made) - 1))
    delete(server, *(made[number][0] for number in gone))
    now = NOW
    for steps in data.draw(st.lists(st.integers(0, 8), max_size=4)):
        with suppress(Stopped):
            collect(server, now, between=dying_after(steps))
        now += data.draw(st.sampled_from([timedelta(hours=1), GRACE]))
    stay = [(backup, seeds) for number, (backup, seeds) in enumerate(made) if number not in gone]
    for _ in range(3):
        collect(server, now)
        now += GRACE
        for backup, seeds in stay:
            assert files_of(server, backup) == whole(*seeds)
    assert not has_remains(server)
    used = {seed for _, seeds in stay for seed in seeds}
    stored_bytes = sum(path.stat().st_size for path in (server.home / "packs").iterdir())
    assert stored_bytes < 2.2 * len(used) * 20_000 + 20_000, "at most half of a pack is dead"
