"""What the WAL of real servers says happened."""

from __future__ import annotations

import pytest
from happenings import ODD, Site

from pgvault.model.identifier import sql_identifier
from pgvault.model.segment import Segment
from pgvault.wal.accidents import EventKind as K

QUOTED = sql_identifier(ODD)


@pytest.mark.parametrize(("deed", "kind", "titles"), [
    ("drop", K.DROP, ["table public.plain", "index public.plain_pkey"]),
    ("drop nested", K.DROP, ["table public.nested", "index public.nested_pkey"]),
    ("drop odd", K.DROP, [f"table {QUOTED}.{QUOTED}"]),
    ("truncate", K.TRUNCATE, ["table public.cut"]),
    ("truncate and reload", K.TRUNCATE, ["table public.cut"]),
    ("swap", K.DROP, ["table public.swapped", "index public.swapped_pkey"]),
])
def test_what_relations_lost(lived: Site, deed: str, kind: K, titles: list[str]) -> None:
    [event] = lived.of(deed, lived.events())
    assert event.kind is kind
    assert [each.title for each in event.objects if not each.kind.startswith("toast")] == titles
    assert event.objects[0].title == titles[0]
    assert event.database.name == "shop"
    assert lived.deeds[deed].since <= event.time <= lived.deeds[deed].until
    assert event.before.lsn == event.lsn < event.end_lsn
    assert not event.before.inclusive
    assert (event.timeline, event.rows, event.partial) == (1, 0, False)


def test_drop_schema(lived: Site) -> None:
    [event] = lived.of("drop schema", lived.events())
    assert {each.title for each in event.objects[:2]} == {"table sales.orders", "table sales.lines"}
    assert event.kind is K.DROP


def test_a_schema_is_named_where_all_that_was_in_it_went(lived: Site) -> None:
    """From 15 on, whose WAL names what has no file, too."""
    [event] = lived.of("schema app", lived.events())
    mains = {each.title for each in event.objects if each.is_main}
    assert mains == {"table app.a", "table app.b"} | ({"view app.v"} if lived.server.major >= 15 else set())
    assert event.schema == ("app" if lived.server.major >= 15 else "")
    [beside] = lived.of("schema beside", lived.events())
    assert (beside.schema, beside.objects[0].title) == ("", "table public.gone")


@pytest.mark.parametrize(("deed", "dropped", "kind", "other"), [
    ("migrated", "one_of", K.TRUNCATE, "emptied"), ("migrated by rewriting", "another", K.REWRITE, "widened")])
def test_a_transaction_that_dropped_says_what_else_lost_its_files(lived: Site, deed: str, dropped: str, kind: K,
                                                                  other: str) -> None:
    """From 15 on: before, WAL does not tell which of the files belonged to what was dropped."""
    if lived.server.major < 15:
        pytest.skip("which files belonged to what was dropped is not in this WAL")
    drop, beside = lived.of(deed, lived.events(kinds=set(K)))
    assert (drop.kind, drop.objects[0].title) == (K.DROP, f"table public.{dropped}")
    assert (beside.kind, [each.title for each in beside.objects]) == (kind, [f"table public.{other}"])
    assert (beside.lsn, beside.xid) == (drop.lsn, drop.xid)


def test_a_partitioned_table_goes_with_its_partitions(lived: Site) -> None:
    [event] = lived.of("drop partitions", lived.events())
    titles = [each.title for each in event.objects if each.is_main]
    # It has no file, so that older WAL does not tell it.
    assert titles == ["partitioned table public.parts"] * (lived.server.major >= 15) + ["table public.parts_1"]


@pytest.mark.parametrize("deed", ["dropped and kept", "rolled back", "vacuum full", "cluster", "reindex", "alter",
                                  "refresh", "vacuum catalogs", "made and dropped", "temporary", "delete few"])
def test_what_is_no_accident(lived: Site, deed: str) -> None:
    assert lived.of(deed, lived.events()) == []


@pytest.mark.parametrize("deed", ["vacuum full", "cluster", "reindex", "alter", "refresh"])
def test_rewrites_are_told_when_asked_for(lived: Site, deed: str) -> None:
    [event] = lived.of(deed, lived.events(kinds={K.REWRITE}))
    assert event.objects


def test_catalogs_are_no_bodys_tables(lived: Site) -> None:
    assert lived.of("vacuum catalogs", lived.events(kinds=set(K))) == []


@pytest.mark.parametrize(("deed", "title", "deleted", "updated"), [
    ("delete", "table public.mass", 400, 0),
    ("update", "table public.changed", 0, 500),
    ("delete by parts", "table public.changed", 120, 0),
    ("prepared", "table public.changed", 180, 0),
])
def test_many_rows(lived: Site, deed: str, title: str, deleted: int, updated: int) -> None:
    [event] = lived.of(deed, lived.events())
    [table] = event.objects
    assert event.kind is K.DELETE
    assert (table.title, table.deleted, table.updated, event.rows) == (title, deleted, updated, deleted + updated)
    assert (event.prepared is not None) is (deed == "prepared")


def test_how_many_are_many(lived: Site) -> None:
    [event] = lived.of("delete few", lived.events(mass=50))
    assert event.rows == 50
    assert lived.of("delete by parts", lived.events(mass=121)) == []


def test_a_table_that_is_younger_than_the_backup(lived: Site) -> None:
    [event] = lived.of("young", lived.events())
    [table] = event.objects
    assert (table.name, table.title, event.database.name) == ("", f"table {table.oid}", "shop")
    assert table.oid > 16384


def test_an_index_that_is_younger_than_the_backup(lived: Site) -> None:
    """Its table, which is locked first, is not taken for what was dropped."""
    [event] = lived.of("drop index", lived.events())
    [index] = event.objects
    assert (event.kind, index.title) == (K.DROP, f"relation {index.oid}")


def test_a_restore_point(lived: Site) -> None:
    [event] = lived.of("point", lived.events())
    assert (event.kind, event.name, event.objects, event.xid) == (K.RESTORE_POINT, ODD[:40], (), 0)


def test_drop_database(lived: Site) -> None:
    [event] = lived.of("drop database", lived.events())
    assert (event.kind, event.database.name, event.objects) == (K.DROP_DATABASE, "doomed", ())
    segment = Segment.holding(1, event.lsn, 1 << 20).name(1 << 20)
    assert "INPLACE" in (record := lived.server.waldump("-s", str(event.lsn), "-n", "1", segment))
    assert "1664/0/1262" in record


def test_backwards_is_forwards_backwards(lived: Site) -> None:
    for query in ({}, {"kinds": set(K)}, {"mass": 50}):
        events = lived.events(**query)
        assert lived.events(newest_first=True, **query) == events[::-1]
        assert lived.events(newest_first=True, limit=3, **query) == events[::-1][:3]


def test_between_two_times(lived: Site) -> None:
    deed = lived.deeds["truncate"]
    for newest_first in (False, True):
        found = lived.events(since=deed.since, until=deed.until, newest_first=newest_first)
        assert found == lived.of("truncate", lived.events())
    point = lived.deeds["point"]
    assert lived.events(since=point.since, until=point.until) == lived.of("point", lived.events())
    assert lived.events(until=lived.deeds["drop"].since) == []


@pytest.mark.parametrize("name", ["plain", "public.plain", "doomed", f"{ODD}.{ODD}", f"{QUOTED}.{QUOTED}"])
def test_only_of_one_thing(lived: Site, name: str) -> None:
    found = lived.events(object=name)
    assert len(found) == 1
    assert lived.events(object=name + "x") == []
