"""Rule 13: which segments recovery reads along a timeline, against the definition counted out byte by byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History, TimelineTree, parse_history

SIZE = 8
"""A segment of few bytes, so that every byte can be looked at; the rule does not depend on it."""


@st.composite
def histories(draw: st.DrawFn) -> History:
    switches = sorted(draw(st.lists(st.integers(1, 80), max_size=5)))
    numbers = sorted(draw(st.sets(st.integers(1, 20), min_size=len(switches) + 1, max_size=len(switches) + 1)))
    return History(numbers[-1], tuple(Ancestor(n, Lsn(at), "") for n, at in zip(numbers, switches, strict=False)))


def newest_begun_by(history: History, number: int) -> int:
    """As XLogFileReadAnyTLI: the newest timeline that had begun when the segment ended."""
    begun = [leg.timeline for leg in history.legs if leg.start // SIZE <= number]
    return max(begun)


@given(histories(), st.integers(0, 100), st.integers(0, 100))
def test_a_path_is_every_segment_from_begin_to_end_under_the_newest_name(history: History, begin: int,
                                                                        length: int) -> None:
    until = begin + length
    numbers = sorted({at // SIZE for at in range(begin, max(until, begin + 1))})
    assert list(history.path(Lsn(begin), Lsn(until), SIZE)) == [
        Segment(newest_begun_by(history, number), number) for number in numbers]


@given(histories(), st.integers(0, 100))
def test_a_position_is_held_by_the_timeline_it_was_written_on(history: History, lsn: int) -> None:
    for timeline in range(1, 22):
        ended = {ancestor.timeline: ancestor.switch for ancestor in history.ancestors}
        expected = timeline == history.timeline or (timeline in ended and lsn <= ended[timeline])
        assert history.holds(timeline, Lsn(lsn)) == expected


@given(histories())
def test_legs_follow_each_other_without_gap_or_overlap(history: History) -> None:
    legs = history.legs
    assert legs[0].start == 0
    assert legs[-1].end is None
    assert all(one.end == other.start for one, other in pairwise(legs))


@given(histories())
def test_a_history_file_says_it_again(history: History) -> None:
    text = "# made by hand\n\n" + "".join(f"{a.timeline}\t{a.switch}\tno recovery target\n" for a in history.ancestors)
    read = parse_history(text, history.timeline)
    assert [(a.timeline, a.switch) for a in read.ancestors] == [(a.timeline, a.switch) for a in history.ancestors]


def test_a_history_as_postgresql_writes_it() -> None:
    text = ("# made by hand\n\n1\t0/3000000\tno recovery target specified\n\n  3\t0/5000060\tbefore 2026-11-22 \n"
            "5 0/5000060\n")
    assert parse_history(text, 7) == History(7, (
        Ancestor(1, Lsn(0x3000000), "no recovery target specified"), Ancestor(3, Lsn(0x5000060), "before 2026-11-22"),
        Ancestor(5, Lsn(0x5000060), "")))
    assert parse_history("", 2) == History(2, ())


@pytest.mark.parametrize(("text", "said"), [
    ("1", "line 1: a timeline and the position where it ended are expected, not '1'"),
    ("\nx 0/1", "line 2: a timeline and the position where it ended are expected, not 'x 0/1'"),
    ("x 0/1 y", "line 1: a timeline and the position where it ended are expected, not 'x 0/1 y'"),
    ("1 0/1\n2 nowhere/timeline", "line 2: "), ("2 0/1\n2 0/2", "line 2: timeline 2 does not follow 2"),
    ("2 0/1\n1 0/2", "line 2: timeline 1 does not follow 2"),
    ("1 0/2\n2 0/1", "line 2: timeline 2 ends before it begins"),
    ("7 0/1", "timeline 7 cannot have timeline 7 as its ancestor"),
    ("1 0/1\n8 0/1", "timeline 7 cannot have timeline 8 as its ancestor")])
def test_a_history_that_cannot_be_right_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="timeline") as failure:
        parse_history(text, 7)
    assert str(failure.value).startswith(said)


def test_the_timelines_on_which_a_position_lies() -> None:
    """Each that branched off behind it, and its own also where no history of it is archived."""
    two = History(2, (Ancestor(1, Lsn(30), ""),))
    three = History(3, (Ancestor(1, Lsn(30), ""), Ancestor(2, Lsn(60), "")))
    four = History(4, (Ancestor(1, Lsn(10), ""),))
    tree = TimelineTree((four, three, two))
    assert tree.history(3) == three
    assert tree.history(9) == History(9, ())
    assert tree.descendants(1, Lsn(20)) == (History(1, ()), two, three)
    assert tree.descendants(1, Lsn(5)) == (History(1, ()), two, three, four)
    assert tree.descendants(2, Lsn(40)) == (two, three)
    assert tree.descendants(2, Lsn(70)) == (two,)
    assert tree.descendants(9, Lsn(70)) == (History(9, ()),)
