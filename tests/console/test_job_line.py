"""A job on one line, by pure functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import at

from pgvault.console.glyphs import ASCII, UNICODE
from pgvault.console.jobbook import Followed
from pgvault.console.jobline import ended_lines, job_line, silence
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.pace import Progress
from pgvault.model.text import age, ago, visible, width

NOW = at(23)
JOB = Job("20261123T115900Z-01", JobKind.BACKUP, "main-db", JobState.RUNNING, "pgvault backup main-db", 7, "ops1",
          NOW - timedelta(minutes=1), None, "", None)
HALF = Progress("copy", 1 << 30, 2 << 30, 110.0 * (1 << 20))
COPYING = Followed(JOB, "copy", NOW - timedelta(seconds=30), HALF, NOW)


def text(line) -> str:
    return "".join(map(str, line))


def test_what_runs_says_phase_share_rate_and_time_left() -> None:
    assert text(job_line(COPYING, NOW, UNICODE, 78)) == "» backup main-db  copy  50%  1.0 GiB of 2.0 GiB  " \
        "110.0 MiB/s  9 s left"
    assert text(job_line(COPYING, NOW, ASCII, 116)) == "> backup main-db  copy  ###############---------------  50%" \
        "  1.0 GiB of 2.0 GiB  110.0 MiB/s  9 s left"


def test_where_there_is_less_room_the_least_important_goes_whole() -> None:
    assert text(job_line(COPYING, NOW, ASCII, 50)) == "> backup main-db  copy  50%  110.0 MiB/s  9 s left"
    assert "110" not in text(job_line(COPYING, NOW, ASCII, 36))


def test_unmeasured_work_says_how_long_it_takes_and_shows_no_bar() -> None:
    line = text(job_line(replace(COPYING, phase="start backup", progress=None), NOW, UNICODE, 78))
    assert line == "» backup main-db  start backup  for 30 s"


@pytest.mark.parametrize(("seconds", "said"), [(9, ""), (12, "no news for 12 s, waits on: copy")])
def test_after_ten_seconds_without_news_it_says_so(seconds: int, said: str) -> None:
    """R28; what was the rate is not told any more."""
    later = NOW + timedelta(seconds=seconds)
    assert silence(COPYING, later) == said
    assert ("MiB/s" in text(job_line(COPYING, later, UNICODE, 78))) is not bool(said)


def test_what_is_heard_of_and_gets_no_further_has_no_bar_and_no_time_left() -> None:
    """A server that replays nothing more is heard of, and is not some seconds from its end."""
    still = replace(COPYING, phase="recover", heard_at=NOW + timedelta(seconds=39), moved_at=NOW)
    later = NOW + timedelta(seconds=40)
    assert text(job_line(still, later, ASCII, 116)) == \
        "> backup main-db  50%  1.0 GiB of 2.0 GiB  nothing has moved for 40 s  waits on: recover"
    assert silence(replace(still, moved_at=later), later) == ""
    assert silence(replace(still, progress=None), later) == "", "nobody knows how far it is"


def test_silence_is_told_however_little_room_there_is() -> None:
    later = NOW + timedelta(seconds=40)
    assert text(job_line(replace(COPYING, progress=None), later, UNICODE, 45)) == "» backup main-db  no news for 40 s"


def test_a_job_that_is_being_cancelled_says_so() -> None:
    line = text(job_line(replace(COPYING, job=replace(JOB, state=JobState.CANCELLING)), NOW, UNICODE, 78))
    assert "cancelling" in line


@pytest.mark.parametrize(("state", "begin"), [
    (JobState.SUCCEEDED, "✓ backup main-db  succeeded  5m ago  20261123T115900Z"),
    (JobState.FAILED, "✗ backup main-db  failed  5m ago  "), (JobState.LOST, "✗ backup main-db  lost  ")])
def test_how_a_job_ended(state: JobState, begin: str) -> None:
    job = replace(JOB, state=state, finished_at=NOW - timedelta(minutes=5), verdict="20261123T115900Z")
    assert text(ended_lines([job], NOW, UNICODE)[0]).startswith(begin)


def test_jobs_that_ended_stand_in_columns() -> None:
    jobs = [replace(JOB, state=state, server=server, finished_at=NOW - timedelta(minutes=age), verdict="verdict")
            for state, server, age in ((JobState.SUCCEEDED, "main-db", 5), (JobState.LOST, "report", 500))]
    assert list(map(text, ended_lines(jobs, NOW, UNICODE))) == [
        "✓ backup main-db  succeeded  5m ago  verdict",
        "✗ backup report   lost       8h ago  verdict"]


@given(st.text(max_size=40), st.text(max_size=40), st.integers(20, 200), st.integers(0, 1 << 50),
       st.none() | st.integers(0, 1 << 50), st.none() | st.floats(0.1, 1e12), st.integers(0, 100_000))
def test_whatever_a_job_says_fits_but_for_its_name(server: str, phase: str, columns: int, done: int, total: int | None,
                                                   rate: float | None, seconds: int) -> None:
    followed = Followed(replace(JOB, server=server), phase, NOW, Progress(phase, done, total, rate), NOW)
    line = text(job_line(followed, NOW + timedelta(seconds=seconds), UNICODE, columns))
    assert width(visible(line)) <= max(columns, width(visible(f"» backup {server}")))


def test_ages_are_short_and_never_negative() -> None:
    ages = {0: "<1m", 60: "1m", 5940: "99m", 6000: "1h", 172_740: "47h", 172_800: "2d", -5: "<1m"}
    assert {seconds: age(NOW - timedelta(seconds=seconds), NOW) for seconds in ages} == ages
    assert {age(NOW - timedelta(seconds=30), NOW + timedelta(seconds=each)) for each in range(60)} == {"<1m"}, \
        "it grows with the clock's minute, and never before its time"
    assert age(NOW - timedelta(seconds=30), NOW + timedelta(seconds=60)) == "1m"
    assert (age(None, NOW), ago(None, NOW), ago(NOW, NOW)) == ("-", "-", "<1m ago")
