"""Values in words: sizes, spans, widths, what a directory holds, and a phase's progress in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgvault.model.event import PhaseStarted, Progressed
from pgvault.model.holding import check_holding, describe_holding
from pgvault.model.pace import Pace, Progress
from pgvault.model.text import size, span, visible, when, width

BEGAN = datetime(2026, 11, 22, 20, 5, 12, 345678, tzinfo=UTC)


@pytest.mark.parametrize(("octets", "told"), [
    (None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1024.0 KiB"),
    (1 << 20, "1.0 MiB"), (1 << 30, "1.0 GiB"), (1 << 40, "1.0 TiB"), (5 << 50, "5120.0 TiB"), (-2048, "-2.0 KiB")])
def test_sizes(octets: int | None, told: str) -> None:
    assert size(octets) == told


@pytest.mark.parametrize(("seconds", "told"), [
    (None, "-"), (0, "0 s"), (0.04, "0.0 s"), (9.96, "10.0 s"), (9, "9 s"), (10.0, "10 s"), (59.4, "59 s"),
    (59.6, "1 min 00 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"),
    (7500, "2 h 05 min"), (48 * 3600 - 1, "47 h 59 min"), (48 * 3600, "2 d 0 h"), (76 * 3600, "3 d 4 h")])
def test_spans(seconds: float | None, told: str) -> None:
    assert span(seconds) == told


def test_times_lose_their_fraction_unless_they_may_be_typed_back() -> None:
    assert when(BEGAN) == "2026-11-22 20:05:12+00"
    assert when(BEGAN, exact=True) == "2026-11-22 20:05:12.345678+00"
    assert when(None) == "-"


@pytest.mark.parametrize(("text", "shown"), [
    ("plain äß", "plain äß"), ("a\tb\nc\rd", "a\\tb\\nc\\rd"), ("\x1b[31m", "\\x1b[31m"),
    ("\x00\x7f\x9f", "\\x00\\x7f\\x9f"), ("\u202eabc\u2066", "\\u202eabc\\u2066"), ("\ud800", "\\ud800"),
    ("a\u00a0b", "a\u00a0b")])
def test_what_a_terminal_would_act_upon_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(("text", "columns"), [
    ("", 0), ("abc", 3), ("äöü", 3), ("e\u0301", 1), ("漢字", 4), ("\uff21", 2), ("\u02b0", 1)])
def test_columns_of_a_text(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(("word", "told"), [
    ("nothing", "nothing"), ("no-cluster", "files that are no cluster"),
    ("unknown", "a cluster whose system identifier could not be read"),
    ("incomplete:20261122T200512Z-01", "what the incomplete restore 20261122T200512Z-01 left"),
    ("7300000000000000001", "the cluster of system identifier 7300000000000000001")])
def test_what_a_directory_holds(word: str, told: str) -> None:
    assert check_holding(word) == word
    assert describe_holding(word) == told


@pytest.mark.parametrize("word", ["", "0", "01", "nothing ", "x nothing", "12a", "1\u0661", "no cluster"])
def test_other_words_say_nothing_of_it(word: str) -> None:
    with pytest.raises(ValueError, match="not what a directory can hold"):
        check_holding(word)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    pace.start(PhaseStarted("copy", 1000, at=BEGAN))
    seen = [pace.at(Progressed(done, 0, at=BEGAN + timedelta(seconds=seconds)))
            for seconds, done in ((0.5, 50), (1, 200), (10, 300), (11, 300), (22, 300), (23, 400))]
    assert seen[0] == Progress("copy", 50, 1000, None)
    assert [each.rate for each in seen[1:]] == [200.0, 30.0, 10.0, None, 100.0]
    assert seen[-1].share == 0.4
    assert seen[-1].seconds_left == 6
    pace.start(PhaseStarted("next", None, at=BEGAN))
    assert pace.at(Progressed(7, 0, at=BEGAN)) == Progress("next", 7, None, None)


def test_a_slow_beginning_has_a_rate_too() -> None:
    pace = Pace()
    pace.start(PhaseStarted("copy", None, at=BEGAN))
    assert pace.at(Progressed(10, 0, at=BEGAN + timedelta(seconds=20))).rate == 0.5


@pytest.mark.parametrize(("done", "total", "share", "left"), [
    (5, 10, 0.5, 5.0), (12, 10, 1.0, 0), (0, 10, 0.0, 10.0), (5, None, None, None), (5, 0, None, None)])
def test_share_and_time_left(done: int, total: int | None, share: float | None, left: float | None) -> None:
    progress = Progress("copy", done, total, 1.0)
    assert (progress.share, progress.seconds_left) == (share, left)
    assert Progress("copy", done, total, None).seconds_left is None


def test_progress_in_one_line() -> None:
    progress = Progress("copy", 1 << 20, 2 << 20, float(1 << 19))
    full = "copy  [############------------]   50%  1.0 MiB of 2.0 MiB  512.0 KiB/s  2 s left"
    assert progress.line(len(full)) == progress.line(200) == full
    assert progress.line(len(full) - 16) == full.replace("############------------", "####----")
    assert progress.line(len(full) - 17) == "copy   50%  1.0 MiB of 2.0 MiB  512.0 KiB/s  2 s left"
    assert progress.line(10) == "copy   50%"
    assert progress.line(200, "*", " ").count("*") == 12
    assert Progress("wait", 5, None, None).line(80) == "wait  5 B"
    assert Progress("wait", 5, None, 2.0).line(80) == "wait  5 B  2 B/s"
    assert Progress("wait", 5, None, 2.0).line(8) == "wait  5 "
    assert Progress("copy", 2, 2, None).line(200) == "copy  [########################]  100%  2 B of 2 B"
