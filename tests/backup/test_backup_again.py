"""What the backups after the first store: the pages that changed, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from station import Station, fill, relation
from support.fleet import Fleet, Shape
from support.installation import installation
from support.objects import pack_path
from support.postgres import Server

from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt
from pgvault.vault.manifest import Kind
from pgvault.vault.packs import FRAME_SIZE

PAGE = 8192


@pytest.fixture(scope="module")
def quiet(fleet: Fleet) -> Iterator[Server]:
    """A server that writes no hints behind our back."""
    server = fleet.make(installation(18), Shape(wal_segsize=1)).start()
    yield server
    fleet.remove(server)


@pytest.fixture
def changing(quiet: Server) -> Server:
    """With a table of 8 MiB that no compression makes smaller, anew for each test: rows that another one changed have
    moved, and changing them again would leave their pages as they are."""
    quiet.sql("drop table if exists junk")
    fill(quiet, "junk", 8)
    quiet.sql("vacuum freeze junk")
    quiet.sql("checkpoint")
    return quiet


def spread_change(server: Server, every: int) -> None:
    """Change one row in each n-th page, and have the pages written."""
    server.sql("update junk set n = -n where (ctid::text::point)[0]::bigint %% %s = 0"
               " and (ctid::text::point)[1] = 1", (every,))
    server.sql("checkpoint")


def differing(one: bytes, other: bytes) -> set[int]:
    return {at // PAGE for at in range(0, max(len(one), len(other)), PAGE)
            if one[at:at + PAGE] != other[at:at + PAGE]}


def take(here: Station, server: Server, **plan: object) -> tuple[Backup, bytes]:
    """A backup and the table's file in it, which is the server's."""
    backup = here.take(**plan)
    path = relation(server, "junk")
    content = here.contents(backup).read(path)
    assert content == (server.data / path).read_bytes()
    return backup, content


def test_a_changed_table_costs_its_changed_pages(changing: Server, station: Callable[..., Station]) -> None:
    """Page deltas: what is stored is about what changed, what is read back is right, and older backups stay."""
    here, path = station(changing), relation(changing, "junk")
    first, before = take(here, changing)
    kept = here.contents(first).digest()
    spread_change(changing, 16)
    second, after = take(here, changing)
    pages = differing(before, after)
    assert len(before) // PAGE // 40 < len(pages) < len(before) // PAGE // 4
    assert second.stored_bytes < len(pages) * PAGE * 1.3 + second.size_bytes * 0.02
    deltas = [here.contents(second).run(path, number) for number in range(len(before) // FRAME_SIZE)]
    assert all(run.delta for run in deltas), "each run has changed pages"
    assert all(run.frame == here.contents(first).run(path, number).frame for number, run in enumerate(deltas))
    assert here.contents(first).digest() == kept


def test_a_delta_is_never_taken_against_a_delta(changing: Server, station: Callable[..., Station]) -> None:
    """Depth one: three changes of one run are three deltas of one whole frame, each readable by itself."""
    here, path = station(changing), relation(changing, "junk")
    first, _ = take(here, changing)
    whole = here.contents(first).run(path, 0)
    contents = {}
    for every in (32, 24, 40):
        spread_change(changing, every)
        backup, contents[backup.id] = take(here, changing)
        run = here.contents(backup).run(path, 0)
        assert (run.frame, run.delta is not None) == (whole.frame, True)
    assert len(set(contents.values())) == 3
    assert {b.id: here.contents(b).read(path) for b in here.backups()[1:]} == contents
    unchanged, _ = take(here, changing)
    assert here.contents(unchanged).run(path, 0) == run, "a run that a delta made is recognised"
    assert unchanged.stored_bytes < unchanged.size_bytes * 0.02


def test_more_than_most_of_a_run_is_stored_whole(changing: Server, station: Callable[..., Station]) -> None:
    here, path = station(changing), relation(changing, "junk")
    first, _ = take(here, changing)
    spread_change(changing, 1)
    second, _ = take(here, changing)
    one, other = here.contents(first).run(path, 0), here.contents(second).run(path, 0)
    assert other.delta is None
    assert other.frame != one.frame


def test_full_takes_no_deltas(changing: Server, station: Callable[..., Station]) -> None:
    here, path = station(changing), relation(changing, "junk")
    take(here, changing)
    spread_change(changing, 20)
    backup, _ = take(here, changing, full=True)
    assert here.contents(backup).run(path, 0).delta is None


def test_maps_are_stored_whole(changing: Server, station: Callable[..., Station]) -> None:
    """Rule 7a: visibility maps and free space maps have no deltas, whatever changed in them."""
    here, path = station(changing), relation(changing, "junk")
    changing.sql("vacuum freeze junk")
    changing.sql("checkpoint")
    first, _ = take(here, changing)
    for every in (18, 22):
        spread_change(changing, every)
        changing.sql("vacuum junk")
        changing.sql("checkpoint")
        second, _ = take(here, changing)
    contents, changed = here.contents(second), []
    for fork in ("_vm", "_fsm"):
        assert contents.read(path + fork) == (changing.data / (path + fork)).read_bytes()
        assert contents.run(path + fork, 0).delta is None
        changed.append(contents.read(path + fork) != here.contents(first).read(path + fork))
    assert any(changed)
    maps = [e for e in contents.entries() if e.kind is Kind.FILE and e.size and e.path.endswith(("_vm", "_fsm"))]
    assert len(maps) > 100
    assert not [e.path for e in maps if contents.run(e.path, 0).delta]


def test_a_damaged_pack_does_not_stop_the_next_backup(changing: Server, station: Callable[..., Station]) -> None:
    """Frames that would be a delta's parent and cannot be read any more: what changed is stored whole."""
    here, path = station(changing), relation(changing, "junk")
    take(here, changing)
    for pack in here.vault.packs.glob("*.pack"):
        middle = bytearray(pack.read_bytes())
        middle[1000:-200_000] = bytes(len(middle) - 201_000)
        pack.write_bytes(middle)
    spread_change(changing, 8)
    backup = here.take()
    assert here.contents(backup).run(path, 0).delta is None
    assert here.contents(backup).read_run(path, 0) == (changing.data / path).read_bytes()[:FRAME_SIZE]


def test_a_full_backup_heals_what_is_damaged(changing: Server, station: Callable[..., Station]) -> None:
    """An incremental one trusts what is stored; --full reads it back, and stores anew what does not match its hash."""
    here = station(changing)
    take(here, changing)
    for pack in here.vault.packs.glob("*.pack"):
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0x01
        pack.write_bytes(content)
    with pytest.raises(Corrupt):
        here.contents(here.take()).digest()
    healed = here.take(full=True)
    assert here.contents(healed).digest()
    assert healed.stored_bytes < healed.size_bytes * 0.2, "only what was damaged"


def test_a_lost_pack_is_not_relied_on(changing: Server, station: Callable[..., Station]) -> None:
    """A writer checks that what it reuses still stands: the next backup is whole again, the older ones say they are
    not."""
    here = station(changing)
    take(here, changing)
    spread_change(changing, 12)
    take(here, changing)
    for pack in list(here.vault.packs.glob("*.pack")):
        pack_path(here.vault, pack.stem).unlink()
    backup, _ = take(here, changing)
    assert here.contents(backup).digest()


def test_the_index_is_only_a_cache(changing: Server, station: Callable[..., Station]) -> None:
    here = station(changing)
    take(here, changing)
    for index in here.vault.home.glob("frames.sqlite*"):
        index.unlink()
    again, _ = take(here, changing)
    assert again.stored_bytes < again.size_bytes * 0.02
