"""The timeline without a screen: what it promises whatever an archive holds."""

from __future__ import annotations

from array import array
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SECOND, Part, backup, branch, picture, point, steady, us

from pgvault.console.glyphs import ASCII, UNICODE
from pgvault.console.timeline.axis import labels
from pgvault.console.timeline.chart import Chart, Mark, MarkKind, chart_of, next_mark
from pgvault.console.timeline.cursor import Cursor, clocks, cursor_fields, recovery_point
from pgvault.console.timeline.frame import Frame
from pgvault.console.timeline.lane import Slots
from pgvault.console.timeline.reach import reach
from pgvault.console.timeline.rows import HIGHER, ROWS, Exact, axis, draw
from pgvault.model.backup import BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, Immediate
from pgvault.model.wal_picture import NOT_KNOWN

SECONDS = st.integers(0, 10**7).map(float)
INSTANTS = st.integers(-4 * 10**15, 4 * 10**15)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    begin, span = draw(INSTANTS), draw(st.integers(1, 10**16))
    return Frame.over(begin, begin + span, draw(st.integers(1, 250)))


@st.composite
def parts(draw: st.DrawFn) -> Part:
    number = draw(st.integers(0, 60))
    known = draw(st.sampled_from(["unread", "idle", "busy", "no earliest"]))
    accepted = draw(st.one_of(st.just(0.0), SECONDS))
    if known in ("unread", "idle"):
        return Part(number, NOT_KNOWN if known == "unread" else 0, accepted=accepted)
    one, other = sorted((draw(SECONDS), draw(SECONDS)))
    return Part(number, draw(st.integers(0, 1000)), one if known == "busy" else None, other, accepted)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Up to three timelines, gaps, clocks that go back, backups and restore points anywhere."""
    lanes = {}
    for timeline in range(1, draw(st.integers(1, 3)) + 1):
        found = {each.number: each for each in draw(st.lists(parts(), max_size=25))}
        if found:
            lanes[timeline] = [found[number] for number in sorted(found)]
    histories = [branch(timeline, timeline - 1, draw(st.integers(0, 60))) for timeline in (2, 3)]
    histories[1] = histories[1]._replace(ancestors=(*histories[0].ancestors, *histories[1].ancestors)) if (
        histories[1].ancestors[0].switch >= histories[0].ancestors[0].switch) else histories[1]
    where = st.tuples(SECONDS, st.integers(0, 60), st.integers(1, 3))
    statuses = st.sampled_from(list(BackupStatus))
    backups = [backup(seconds, segment, timeline=timeline, status=draw(statuses))
               for seconds, segment, timeline in draw(st.lists(where, max_size=6, unique_by=lambda each: each[0]))]
    points = [point(f"point {number}", seconds, segment, timeline=timeline)
              for number, (seconds, segment, timeline) in enumerate(draw(st.lists(where, max_size=4)))]
    return chart_of(picture(lanes, sorted(backups, key=lambda each: each.id), points=points, histories=histories))


def over(chart: Chart, width: int = 70) -> Frame:
    return Frame.over(chart.begin, chart.until + 1, width)


# Columns and instants


@given(frames(), st.data())
def test_every_instant_of_a_frame_is_in_exactly_one_column(frame: Frame, data: st.DataObject) -> None:
    at = data.draw(st.integers(frame.begin, frame.until - 1))
    column = frame.column(at)
    assert 0 <= column < frame.width
    assert frame.edge(column) <= at < frame.edge(column + 1)
    assert (frame.edge(0), frame.edge(frame.width)) == (frame.begin, frame.until)


@given(frames(), st.data())
def test_the_instant_that_a_column_stands_for_is_in_it(frame: Frame, data: st.DataObject) -> None:
    column = data.draw(st.integers(0, frame.width - 1))
    assert frame.column(frame.middle(column)) == column


@given(frames(), st.data())
def test_what_lies_outside_has_no_column(frame: Frame, data: st.DataObject) -> None:
    assert frame.column(frame.begin - data.draw(st.integers(1, 10**15))) < 0
    assert frame.column(frame.until + data.draw(st.integers(0, 10**15))) >= frame.width


@given(frames(), st.lists(st.booleans(), max_size=60), st.data())
def test_zooming_stays_within_the_whole_and_keeps_the_instant(whole: Frame, outs: list[bool],
                                                              data: st.DataObject) -> None:
    at = data.draw(st.integers(whole.begin, whole.until - 1))
    frame = whole
    for out in outs:
        frame = frame.zoomed(at, whole, out=out)
        assert frame.shows(at)
        assert whole.begin <= frame.begin < frame.until
        assert frame.until <= whole.until or frame.span == frame.width
        assert frame.width == whole.width <= frame.span


@given(frames(), st.data())
def test_the_frame_follows_the_cursor_wherever_it_goes(whole: Frame, data: st.DataObject) -> None:
    begin, at = (data.draw(st.integers(whole.begin, whole.until - 1)) for _ in range(2))
    frame = whole.zoomed(begin, whole).zoomed(begin, whole)
    moved = frame.moved_to(at, whole)
    assert moved.shows(at)
    assert moved.span == frame.span
    assert moved is frame or not frame.shows(at)


@given(frames())
def test_labels_of_the_axis_never_touch_and_name_their_column(frame: Frame) -> None:
    placed = labels(frame)
    for one, other in pairwise(placed):
        assert one.column + 1 + len(one.text) < other.column
    assert all(label.column >= 0 and label.column + 1 + len(label.text) <= frame.width for label in placed)
    assert len(axis(frame, UNICODE)) == frame.width


@pytest.mark.parametrize(("seconds", "expected"), [
    (0.0001, ["2026-11-01 12:00:00.000000", "12:00:00.000050"]),
    (3, ["2026-11-01 12:00:00", "12:00:01", "12:00:02"]),
    (7200, ["2026-11-01 12:00", "12:45", "13:00", "13:15", "13:30", "13:45"]),
    (36 * 3600, ["2026-11-01 12:00", "2026-11-02", "12:00"]),
    (3 * 86400, ["2026-11-02", "2026-11-03", "2026-11-04"]),
    (30 * 86400, ["2026-11-02", "2026-11-09", "2026-11-16", "2026-11-23"]),
    (90 * 86400, ["2026-12", "2027-01"]),
    (1000 * 86400, ["2027-01", "2028-01", "2029-01"]),
])
def test_the_axis_has_round_times_and_says_the_day(seconds: float, expected: list[str]) -> None:
    assert [label.text for label in labels(Frame.over(us(0), us(seconds), 68))] == expected


# What is drawn


@given(charts(), st.integers(1, 120))
@settings(max_examples=200)
def test_every_column_is_accounted_for_in_every_row(chart: Chart, width: int) -> None:
    for lane in chart.lanes:
        for glyphs in (UNICODE, ASCII):
            drawing = draw(lane, over(chart, width), glyphs, receiving_until=chart.until)
            assert tuple(drawing.rows) == ROWS
            for cells in (*drawing.rows.values(), drawing.summary):
                assert len(cells) == width
                assert all(len(cell.glyph) == 1 for cell in cells)
                assert glyphs is UNICODE or all(cell.glyph.isascii() for cell in cells)


@given(charts(), st.integers(1, 120))
@settings(max_examples=200)
def test_a_gap_is_never_drawn_as_covered(chart: Chart, width: int) -> None:
    frame = over(chart, width)
    for lane in chart.lanes:
        wal = draw(lane, frame, UNICODE).rows["wal"]
        for span in lane.gaps:
            first, last = frame.column(span.begin), frame.column(span.until)
            assert all(wal[column].glyph != UNICODE.wal for column in range(max(first, 0), min(last + 1, width)))
            assert any(wal[column].style == "bad" for column in range(first, last + 1) if 0 <= column < width)


@given(charts(), st.integers(1, 120))
@settings(max_examples=200)
def test_slots_follow_each_other_and_only_gaps_lie_between(chart: Chart, width: int) -> None:
    for lane in chart.lanes:
        slots = lane.slots
        assert list(slots.end) == sorted(slots.end)
        for index in range(len(slots.end)):
            assert slots.begin[index] <= slots.busy[index] <= slots.end[index]
            if index and slots.numbers[index] == slots.numbers[index - 1] + 1:
                assert slots.begin[index] == slots.end[index - 1]
            elif index:
                assert any((span.begin, span.until) == (slots.end[index - 1], slots.begin[index])
                           for span in lane.gaps)


@given(charts())
@settings(max_examples=200)
def test_each_segment_is_found_at_its_time(chart: Chart) -> None:
    for place, lane in enumerate(chart.lanes):
        slots: Slots = lane.slots
        for index, number in enumerate(slots.numbers):
            at = slots.end[index]
            if (lane.branch is not None and at < lane.branch) or (index and slots.end[index - 1] == at):
                continue
            found = chart.place(place, at)
            assert found.segment is not None
            assert (found.segment.timeline, found.segment.number) == (lane.timeline, number)
            assert found.lsn is not None
            assert found.lsn // chart.picture.segment_size == number


@given(charts(), st.integers(1, 120))
@settings(max_examples=200)
def test_no_commit_is_lost_or_drawn_twice(chart: Chart, width: int) -> None:
    frame = over(chart, width)
    for lane in chart.lanes:
        edges = [frame.edge(column) for column in range(width + 1)]
        counts = [lane.slots.committed_before(until) - lane.slots.committed_before(begin)
                  for begin, until in pairwise(edges)]
        assert sum(counts) == pytest.approx(lane.slots.commits[-1], abs=1e-3)
        assert all(count >= -1e-6 for count in counts)


@given(charts(), st.integers(1, 120), st.integers(0, 7))
@settings(max_examples=100)
def test_higher_bars_have_no_holes_and_say_what_the_low_ones_say(chart: Chart, width: int, higher: int) -> None:
    frame = over(chart, width)
    for lane in chart.lanes:
        low, high = draw(lane, frame, UNICODE).rows, draw(lane, frame, UNICODE, higher=higher).rows
        rows = [high["commits"], *(high[f"{HIGHER} {row}"] for row in range(1, higher + 1))]
        for column in range(width):
            bar = "".join(row[column].glyph for row in rows)
            assert (bar[0] in UNICODE.density) is (low["commits"][column].glyph in UNICODE.density)
            assert bar.rstrip()[:-1] in ("█" * higher)[:len(bar.rstrip()) - 1], "all but the highest are full"


@given(charts(), st.integers(1, 120), st.lists(st.booleans(), max_size=40), st.data())
@settings(max_examples=200)
def test_a_mark_is_on_the_screen_however_close_one_looks(chart: Chart, width: int, outs: list[bool],
                                                         data: st.DataObject) -> None:
    marks = [(lane, mark) for lane in chart.lanes for mark in lane.marks]
    if not marks:
        return
    lane, mark = data.draw(st.sampled_from(marks))
    whole = frame = over(chart, width)
    for out in outs:
        frame = frame.zoomed(mark.at, whole, out=out)
    column = frame.column(mark.at)
    found = lane.marks_in(frame.edge(column), frame.edge(column + 1))
    assert mark in found
    if mark.kind is not MarkKind.WINDOW_END and mark.kind is not MarkKind.GAP:
        row = draw(lane, frame, UNICODE).rows["backups" if mark.kind.is_backup else "marks"]
        assert row[column].glyph != " "


@given(charts())
@settings(max_examples=100)
def test_going_from_mark_to_mark_comes_past_all_of_them(chart: Chart) -> None:
    for lane in chart.lanes:
        for back in (False, True):
            seen: list[Mark] = []
            at = chart.until + 1 if back else chart.begin - 1
            mark = next_mark(lane.marks, None, at, back=back)
            while mark:
                seen.append(mark)
                mark = next_mark(lane.marks, mark, mark.at, back=back)
            assert seen == (list(reversed(lane.marks)) if back else list(lane.marks))


# What is said


@given(charts(), SECONDS)
@settings(max_examples=200)
def test_what_is_offered_as_nearest_can_be_restored(chart: Chart, seconds: float) -> None:
    for lane in range(len(chart.lanes)):
        found = reach(chart, lane, us(seconds))
        assert (found.backup is None) == bool(found.reason)
        for at in (found.earlier, found.later):
            assert at is None or reach(chart, lane, at).backup or "cannot be read" in reach(chart, lane, at).reason
        windows = chart.lanes[lane].windows
        assert bool(found.backup) == any(span.begin <= us(seconds) <= span.until for span in windows)
        fields = list(cursor_fields(chart, Cursor(chart.lanes[lane].timeline, us(seconds)), 1000, "Europe/Paris"))
        assert len(fields) == 5


def test_an_archive_in_the_words_of_the_screen() -> None:
    """A gap in the middle, no backup behind it."""
    chart = chart_of(picture({1: [*steady(2, 5), *steady(9, 11, begin=420)]}, [backup(90, 3)],
                             points=[point("before release", 200, 5)]))
    [lane] = chart.lanes
    frame = Frame.over(us(0), us(600), 60)
    rows = {name: "".join(cell.glyph for cell in cells) for name, cells in draw(lane, frame, UNICODE).rows.items()}
    assert rows["wal"] == "━━━━━━━━━━━━━━━━━━━━━━━✗    3 missing     ✗━━━━━━━━━━━━━━━━━"
    assert rows["backups"].rstrip() == "         ◆"
    assert rows["window"].rstrip() == "         ├─────────────┤"
    assert rows["marks"].rstrip() == "                    ⚑"
    gap = reach(chart, 0, us(300))
    assert gap.reason == "3 segments missing behind 000000010000000000000005"
    assert (gap.earlier, gap.later) == (us(239), None)
    behind = reach(chart, 0, us(450))
    assert behind.reason == gap.reason
    assert reach(chart, 0, us(10)).reason == "it is before the end of the oldest backup"
    assert reach(chart, 0, us(200)).segments == 3


def test_a_position_counts_more_than_the_time() -> None:
    """Commit times are not in the order of positions."""
    chart = chart_of(picture({1: steady(2, 5)}, [backup(90, 3)]))
    assert reach(chart, 0, us(80), Lsn(4 << 24)).backup
    assert not reach(chart, 0, us(200), Lsn(2 << 24)).backup


def test_what_a_recovery_from_the_cursor_asks_for() -> None:
    chart = chart_of(picture({1: steady(2, 5)}, [backup(90, 3)],
                             points=[point("once", 150, 4), point("twice", 160, 4), point("twice", 200, 5)]))
    [lane] = chart.lanes
    aims = {mark.kind: recovery_point(chart, Cursor(1, mark.at, mark)).target
            for mark in lane.marks if mark.text != "twice"}
    assert aims[MarkKind.BACKUP] == Immediate()
    assert aims[MarkKind.RESTORE_POINT] == AtName("once")
    twice = next(mark for mark in lane.marks if mark.text == "twice")
    assert recovery_point(chart, Cursor(1, twice.at, twice)).target == AtLsn(Lsn(twice.lsn or 0))
    assert isinstance(recovery_point(chart, Cursor(1, us(100))).target, AtTime)
    assert recovery_point(chart, Cursor(1, us(100), None, Lsn(77))).target == AtLsn(Lsn(77), inclusive=False)


def test_a_timeline_that_branched_off_leads_back_to_its_parent() -> None:
    chart = chart_of(picture({1: steady(2, 5), 2: steady(5, 8, begin=230)}, [backup(90, 3)],
                             histories=[branch(2, 1, 5)]))
    one, two = chart.lanes
    assert two.branch == us(209)
    assert two.slots.begin[0] == two.branch
    assert chart.place(1, us(100)).segment == (1, 3)
    assert chart.place(1, us(300)).segment == (2, 6)
    assert [mark.text for mark in two.marks if mark.kind is MarkKind.BRANCH] == ["timeline 2 left timeline 1"]
    assert reach(chart, 1, us(300)).segments == 4
    assert one.branch is None


def test_what_was_read_of_the_wal_counts_more_than_what_is_thought_of_as_evenly_spread() -> None:
    chart = chart_of(picture({1: [Part(2, 100, 0, 100)]}))
    frame = Frame.over(us(0), us(100), 10)
    exact = Exact([us(15), us(16), us(17)], us(0), us(60))
    drawn = "".join(cell.glyph for cell in draw(chart.lanes[0], frame, UNICODE, exact=exact).rows["commits"])
    assert drawn[0] == " "
    assert drawn[1] != " "
    assert drawn[2:6] == "    "
    assert " " not in drawn[6:]


def test_a_backup_that_failed_before_it_began_has_no_timeline_of_its_own() -> None:
    failed = backup(100, 3, timeline=0, status=BackupStatus.FAILED)
    chart = chart_of(picture({1: steady(2, 4), 2: steady(4, 6, begin=120)}, [failed]))
    assert [lane.timeline for lane in chart.lanes] == [1, 2]
    assert [mark.kind for mark in chart.lanes[1].marks if mark.text == failed.id] == [MarkKind.BACKUP_UNUSABLE]


def test_segments_that_were_not_read_are_not_called_idle() -> None:
    chart = chart_of(picture({1: [Part(2, 10, 0, 50), Part(3, accepted=100), Part(4, 0, accepted=150)]}))
    drawn = draw(chart.lanes[0], Frame.over(us(0), us(150), 15), UNICODE).rows["commits"]
    assert "?" in [cell.glyph for cell in drawn]


def test_clocks_of_three_zones() -> None:
    at = us(3600)
    assert list(clocks(at, 0, "Europe/Paris", ZoneInfo("America/New_York"))) == [
        "2026-11-01 13:00:00Z", "14:00:00 Europe/Paris", "08:00:00 here"]
    assert list(clocks(at + 1, 6, None, ZoneInfo("UTC"))) == ["2026-11-01 13:00:00.000001Z"]
    assert list(clocks(at + 3 * 3600 * SECOND, 0, "Asia/Tokyo", ZoneInfo("UTC")))[1] == "11-02 01:00:00 Asia/Tokyo"


class Counted(array):
    """An array that knows how often one of its values was read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(place)


def reads_of_a_frame(segments: int) -> int:
    made = picture({1: [*steady(2, segments // 2, begin=0),
                        *steady(segments // 2 + 10, segments, begin=(segments // 2 + 8) * 60)]},
                   [backup(day * 86400 + 90, 3 + day * 1440) for day in range(segments // 1440)])
    lane = chart_of(made).lanes[0]
    arrays = {each.name: Counted("q", getattr(lane.slots, each.name)) for each in fields(lane.slots)
              if each.name != "timeline"}
    Counted.reads = 0
    draw(replace(lane, slots=replace(lane.slots, **arrays)), over(chart_of(made), 110), UNICODE)
    return Counted.reads


def test_a_frame_of_many_segments_is_as_fluid_as_one_of_few() -> None:
    """It looks for what it draws and does not pass all that there is; benchmarks/console_queries.py has the times."""
    assert 110 < reads_of_a_frame(20_000) < 3 * reads_of_a_frame(200)
