"""Rule 13: which segments recovery reads along a timeline, against the definition counted out byte by byte."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History, parse_history

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
