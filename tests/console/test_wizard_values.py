"""The recovery wizard's values: drafts as text and as command lines, typed points, laid-out text, the steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.console.fields import Field, laid_out, wrapped
from pgvault.console.recovery.accident import accident_of, rows, together
from pgvault.console.recovery.draft import Draft, Point, Then, What, flaw_of_path, flaw_of_port, point_of
from pgvault.console.recovery.drafts import DraftFile, from_document, to_document
from pgvault.console.recovery.search import MASS, Search
from pgvault.console.recovery.steps import Step, after, before, path, shown
from pgvault.console.recovery.typed import Kind, kind_of, read, readings, text_of
from pgvault.engine import events
from pgvault.model.lsn import Lsn
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.restore_request import RestoreRequest, parse, point_options
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target, TargetAction
from pgvault.model.text import width
from pgvault.model.window import instant

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NASTY = st.one_of(TEXTS, st.sampled_from(
    ["x [/data/pg] y", "[red]", "\x1b[31m\n", "表" * 30, "\u202edrop", "a" * 10_000]))
TIMES = st.integers(946_684_800_000_000, 4_102_444_800_000_000).map(lambda at: instant(at))
SIDES = st.booleans()
TARGETS: st.SearchStrategy[Target] = st.one_of(
    st.builds(AtTime, TIMES, SIDES), st.builds(AtLsn, st.integers(0, 2**64 - 1).map(Lsn), SIDES),
    st.builds(AtXid, st.integers(0, 2**64), SIDES), st.builds(AtName, TEXTS), st.just(Immediate()),
    st.just(EndOfWal()))
POINTS = st.builds(Point, TARGETS, st.none() | st.integers(1, 2**31), TEXTS, st.booleans(), st.none() | TIMES)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).map(lambda text: f"/{text}")
SPACE_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0="), min_size=1, max_size=20)
IDENTIFIERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)
RELATIONS = st.builds(RelationName, IDENTIFIERS, IDENTIFIERS, IDENTIFIERS).map(str)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Drafts as the wizard makes them: through `at`, which sees to it that the point and what comes then agree."""
    draft = Draft(
        server=draw(NAMES), step=draw(st.sampled_from(Step)), what=draw(st.none() | st.sampled_from(What)),
        backup=draw(st.sampled_from(["auto", "20261121T120000Z"])), host=draw(st.none() | st.just("") | NAMES),
        port=draw(st.sampled_from(["", "5433"])),
        directory=draw(PATHS), tablespaces=tuple(draw(st.dictionaries(SPACE_NAMES, PATHS, max_size=3)).items()),
        allow_unread=draw(st.booleans()), then=draw(st.sampled_from(Then)), start=draw(st.booleans()),
        overwrite=draw(st.booleans()), job=draw(st.sampled_from(["", "20261122T200512Z-01"])))
    return draft.at(draw(POINTS), expect=draw(st.lists(RELATIONS, max_size=2)))


# Drafts


@given(drafts())
def test_a_saved_draft_comes_back_the_same(draft: Draft) -> None:
    with TemporaryDirectory() as directory:
        kept = DraftFile("main", "0123", "73", {"XDG_STATE_HOME": directory})
        kept.save(draft)
        assert kept.read() == draft
        for others in (("main", "4567", "73"), ("main", "0123", "74"), ("other", "0123", "73")):
            assert DraftFile(*others, {"XDG_STATE_HOME": directory}).read() is None
        kept.remove()
        assert kept.read() is None


@given(drafts())
def test_the_command_says_what_the_draft_says(draft: Draft) -> None:
    assert draft.point
    found = parse(draft.words()[1:])
    target = draft.point.target
    assert replace(found, target=target) == RestoreRequest(
        server=draft.server, backup="latest" if draft.backup == "auto" and target == Immediate() else draft.backup,
        host=draft.host or "", directory=draft.directory, port=int(draft.port) if draft.port else None,
        target=target, timeline=draft.point.timeline,
        action=TargetAction[draft.then.name] if draft.then.needs_target else TargetAction.PROMOTE,
        standby=draft.then is Then.STANDBY, tablespaces=tuple(f"{name}={place}" for name, place in draft.tablespaces),
        overwrite=draft.directory if draft.overwrite else "", start=draft.start,
        allow_unread=draft.allow_unread, partial=draft.point.partial and draft.then is not Then.STANDBY,
        expects=tuple(map(parse_relation, draft.expect)) if draft.is_asked else ())
    assert found.target == (replace(target, typed=found.target.typed) if isinstance(target, AtTime) else target)
    assert draft.question()[3:-1] == point_options(target, draft.point.timeline, partial=draft.point.partial)


@given(POINTS)
def test_a_point_is_read_back_from_its_options(point: Point) -> None:
    assert point_of(point.options, point.label, time=point.time) == point


@given(st.dictionaries(st.sampled_from([*to_document(Draft("x")), "point", "what", "host"]),
                       st.none() | st.integers() | TEXTS | st.just({"options": ["--target-end"], "label": 1})))
def test_what_is_no_draft_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"Expected|Invalid|missing"):
        from_document(told)


@pytest.mark.parametrize("name", ["orders", "", "a.b." + "x" * 64, "a.b.\ud800"])
def test_a_draft_that_expects_what_no_table_is_named_is_refused(name: str) -> None:
    """Every step writes the draft's command, which would have to name it."""
    with pytest.raises(ValueError, match="not a table's name"):
        from_document(to_document(Draft("main")) | {"expect": [name]})


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "9" * 5000])
def test_what_is_no_port_is_left_out_of_the_command(port: str) -> None:
    assert flaw_of_port(port).startswith("a port is a number from 1 to 65,535, not ")
    assert "--port" not in Draft("main", port=port).words()


def test_a_draft_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    kept = DraftFile("main", "0123", "73", {"XDG_STATE_HOME": str(tmp_path)})
    kept.save(Draft("main"))
    kept.path.write_text("""\
server = "main"
step = "WHERE"
backup = "auto"
directory = "/restored"
then = "PAUSE"
start = true
overwrite = false
expect = ["shop.public.orders"]
job = ""
what = "TABLE"
host = ""
[tablespaces]
"fast disk" = "/ssd"
[point]
options = ["--target-lsn", "0/E01ADF0", "--exclusive", "--target-timeline", "2", "--partial"]
label = "just before DROP TABLE"
typed = ""
time = 2026-11-22T20:05:12Z
""")
    point = Point(AtLsn(Lsn(0xE01ADF0), False), 2, "just before DROP TABLE", True,
                  datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC))
    assert kept.read() == Draft("main", Step.WHERE, What.TABLE, point, host="", directory="/restored", then=Then.PAUSE,
                                tablespaces=(("fast disk", "/ssd"),), expect=("shop.public.orders",))


def test_a_draft_that_cannot_be_understood_is_not_offered(tmp_path: Path) -> None:
    kept = DraftFile("main", "0123", "73", {"XDG_STATE_HOME": str(tmp_path)})
    kept.save(Draft("main"))
    kept.path.write_text("step = 'NOWHERE'")
    assert kept.read() is None


def test_what_only_another_point_allows_is_put_back() -> None:
    latest, earlier = Point(EndOfWal()), Point(AtLsn(Lsn(1), False))
    assert replace(Draft("main"), then=Then.PAUSE).at(latest).then is Then.PROMOTE
    assert replace(Draft("main"), then=Then.STANDBY).at(earlier).then is Then.PROMOTE
    assert replace(Draft("main"), then=Then.STANDBY).at(latest).then is Then.STANDBY
    asked = Draft("main").after(What.STANDBY)
    assert asked.at(latest).then is Then.STANDBY
    assert asked.at(earlier).then is Then.PROMOTE
    assert asked.at(earlier).at(latest).then is Then.STANDBY
    assert asked.after(What.COPY).at(latest).then is Then.PROMOTE
    assert replace(Draft("main"), then=Then.PAUSE).at(earlier).then is Then.PAUSE


@pytest.mark.parametrize(("path", "flaw"), [
    ("", "no directory is named"), ("data", "whole path"), ("/", "root directory"), ("//", "root directory"),
    ("/a\nb", "control characters"), ("/srv/pg", "")])
def test_directories(path: str, flaw: str) -> None:
    assert flaw in flaw_of_path(path)
    assert bool(flaw) == bool(flaw_of_path(path))


# Steps


def test_steps_lead_there_and_back() -> None:
    assert [after(step, read_only=False) for step in Step] == [*list(Step)[1:], None]
    assert after(Step.REVIEW, read_only=True) is None
    assert Step.RUN not in path(read_only=True)
    assert [before(step) for step in Step] == [None, Step.WHAT, Step.POINT, Step.WHERE, None, None]


def test_the_line_of_steps_has_the_whole_path() -> None:
    line = "".join(map(str, shown(Step.POINT, read_only=False, arrow="→", columns=80)))
    assert line == " step 2 of 6  what happened → the point → where to → review → run → proof"
    assert "of 4" in "".join(map(str, shown(Step.POINT, read_only=True, arrow="->", columns=80)))


# Points that are typed


@given(st.sampled_from(Kind), NASTY, st.sampled_from([None, "Europe/Paris"]), SIDES)
def test_any_text_is_a_point_or_is_refused(kind: Kind, text: str, zone: str | None, after: bool) -> None:
    try:
        point = read(kind, text, zone, after=after)
    except ValueError:
        return
    assert kind_of(point.target) is kind
    assert read(kind, text_of(point.target), zone, after=after).target == point.target


def test_a_time_without_zone_is_refused_unless_one_is_configured() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        read(Kind.TIME, "2026-11-22 20:05:12", None)
    point = read(Kind.TIME, "2026-11-22 20:05:12", "Europe/Paris")
    assert point.target == AtTime(datetime(2026, 11, 22, 19, 5, 12, tzinfo=UTC), True, "2026-11-22 20:05:12")
    with pytest.raises(ValueError, match="is ambiguous"):
        read(Kind.TIME, "2026-10-25 02:30", "Europe/Paris")


def test_a_time_is_shown_on_both_clocks() -> None:
    moment = datetime(2026, 11, 22, 19, 5, 12, tzinfo=UTC)
    assert readings(moment, "Europe/Paris")[:2] == [
        "2026-11-22 19:05:12+00", "2026-11-22 20:05:12 +01:00 (Europe/Paris)"]


# Accidents


def event(kind: str, database: str, *objects: dict[str, object], **facts: object) -> dict[str, object]:
    return {"kind": kind, "time": "2026-11-22T20:05:12Z", "timeline": 1, "lsn": "0/1A2B3C8", "end_lsn": "0/1A2B4C8",
            "xid": 7, "database": {"oid": 5, "name": database}, "objects": list(objects), "rows": 0, "name": "",
            "partial": False, "undo": ["--target-lsn", "0/1A2B3C8", "--exclusive", "--target-timeline", "1"], **facts}


def table(name: str = "orders", kind: str = "table", **counts: int) -> dict[str, object]:
    return {"kind": kind, "schema": "public" if name else "", "name": name, "oid": 16390, "number": 0, "deleted": 0,
            "updated": 0, **counts}


def test_a_dropped_table_is_named_and_expected() -> None:
    found = accident_of(event("drop", "shop", table(), table("Order items"), table("orders_pkey", "index")))
    assert found.what == "DROP in shop.public: 2 tables"
    assert found.expect == ("shop.public.orders", 'shop.public."Order items"')
    assert found.point == Point(AtLsn(Lsn(0x1A2B3C8), False), 1, "just before DROP in shop.public: 2 tables",
                                time=datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC))


def test_accidents_in_words() -> None:
    assert accident_of(event("drop", "", table(""))).what == "DROP TABLE 16390 in database 5 (name not known)"
    assert accident_of(event("drop", "", table(""))).expect == ()
    assert accident_of(event("drop-database", "shop")).what == "DROP DATABASE shop"
    assert accident_of(event("delete", "shop", table(deleted=1200, updated=3))).what == (
        "DELETE 1,200 rows and UPDATE 3 rows of shop.public.orders")
    assert accident_of(event("drop", "shop")).what == "DROP of something in shop"
    assert accident_of(event("drop", "shop", table(), prepared="it's")).point.label == (
        "just before DROP TABLE shop.public.orders, prepared earlier and done by COMMIT PREPARED 'it''s'")
    assert accident_of(event("drop", "shop", table(), prepared="")).what.endswith("done by COMMIT PREPARED")


def test_what_one_transaction_did_is_one_line_that_opens_into_its_parts() -> None:
    dropped = event("drop", "shop", table("a"), table("b"), table("c", "materialized view"))
    migrated = [event("rewrite", "shop", table("d"), table("e"), xid=8, lsn="0/2000000"),
                event("drop", "shop", table("f"), xid=8, lsn="0/2000000"),
                event("delete", "shop", table("g", deleted=300), xid=8, lsn="0/2000000"),
                event("rewrite", "shop", table("d"), xid=9, time="2026-11-22T21:00:00Z")]
    search = Search("main", ("drop", "delete", "rewrite"))
    for document in (dropped, *migrated):
        search.take(document)
    migration, schema = search.newest_first
    assert migration.what == "transaction 8: dropped 1 table, changed 300 rows of 1 table, rewrote 2 tables, in shop"
    assert migration.kind == "drop"
    assert schema.what == "DROP in shop.public: 2 tables, 1 materialized view"
    assert [part.what for part in schema.parts] == [
        "DROP TABLE shop.public.a", "DROP TABLE shop.public.b", "DROP MATERIALIZED VIEW shop.public.c"]
    part = schema.parts[1]
    assert part.point.target == schema.point.target
    assert (part.expect, part.point.label) == (("shop.public.b",), "just before DROP TABLE shop.public.b")
    assert search.accident(part.key) == part
    assert [row.text[:4] for row in rows(search.newest_first, {schema.key})] == ["+ tr", "- DR", *["    "] * 3]


def test_a_schema_that_went_with_all_in_it_is_named() -> None:
    gone = event("drop", "shop", *(dict(table(name), schema="app3") for name in "ab"),
                 dict(table("v", "view"), schema="app3"), dropped_schema="app3")
    schema = accident_of(gone)
    assert schema.what == "DROP SCHEMA shop.app3: 2 tables, 1 view"
    assert [part.what for part in schema.parts][::2] == ["DROP TABLE shop.app3.a", "DROP VIEW shop.app3.v"]
    assert schema.expect == ("shop.app3.a", "shop.app3.b")
    [both] = together([schema, accident_of(event("truncate", "shop", table("t")))])
    assert both.what == "transaction 7: dropped 2 tables, 1 view, truncated 1 table, in shop"


def test_the_rows_that_make_an_accident_are_those_of_the_verb() -> None:
    assert MASS == events.MASS
    assert "--rows" not in Search("main", ("delete",)).words
    assert Search("main", ("delete",)).with_fewer(10).words[-2:] == ["--rows", "10"]


def test_an_accident_in_the_unfinished_segment_takes_that_along() -> None:
    undo = ["--target-lsn", "0/1A2B3C8", "--exclusive", "--target-timeline", "1", "--partial"]
    assert accident_of(event("drop", "shop", table(), undo=undo)).point.partial


@given(NASTY, NASTY)
def test_any_name_can_be_told(database: str, name: str) -> None:
    found = accident_of(event("drop", database, table(name)))
    assert found.what
    assert Draft("main").at(found.point, expect=found.expect).words()
    if database and name and len(database) < 15 and len(name) < 15:
        assert parse_relation(*found.expect) == RelationName(database, "public", name)


# Text


@given(NASTY, st.integers(2, 100))
def test_wrapped_text_is_whole_and_fits(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_path_that_is_longer_than_a_line_is_broken_between_its_directories() -> None:
    assert wrapped("at standby:/srv/postgresql/18/main", 24) == ["at", "standby:/srv/postgresql/", "18/main"]
    assert wrapped("/a/" + "b" * 10, 8) == ["/a/bbbbb", "bbbbb"], "not where that would leave the line nearly empty"


def _behind_a_word(word: str, text: str) -> Field:
    return Field("name", f"{word:<9}{text}", hang=9)


@given(st.builds(_behind_a_word, st.sampled_from(["OK", "WARNING"]), NASTY), st.sampled_from([30, 76, 116]))
def test_what_stands_behind_a_word_goes_on_behind_it(field: Field, columns: int) -> None:
    first, *others = (str(line[1]) for line in laid_out([field], columns))
    assert first.startswith(field.text[:9].rstrip())
    assert all(line.startswith(" " * 9) for line in others)


@given(st.lists(st.builds(Field, TEXTS.map(lambda text: text[:5]), NASTY, st.just(""), st.just(14), st.just(0))),
       st.sampled_from([30, 76, 116]))
def test_fields_are_never_wider_than_their_place(fields: list[Field], columns: int) -> None:
    for line in laid_out(fields, columns):
        assert sum(width(str(part)) for part in line[1:]) <= columns
