"""Finding jobs: ids that sort by time whatever the clock does, and names that are never taken for paths."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.jobs import registry
from pgvault.jobs.hold import Hold, hold, inherited, is_alive
from pgvault.jobs.registry import create_job, find_job, is_job_id, jobs_directory, list_jobs, next_id, read_job
from pgvault.model.errors import NotFound, UsageError
from pgvault.model.job import JobKind, JobState

START = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)


def made(home: Path) -> Hold:
    return create_job(home, JobKind.BACKUP, "main-db", "pgvault backup main-db")


@given(st.lists(st.integers(min_value=-5, max_value=5), max_size=300))
def test_ids_only_grow_whatever_the_clock_does(seconds: list[int]) -> None:
    """Rule 33: a clock that jumps back makes neither a duplicate nor an earlier id."""
    newest: str | None = None
    for second in seconds:
        following = next_id(newest, START + timedelta(seconds=second))
        assert is_job_id(following)
        assert newest is None or following > newest
        newest = following


def test_more_jobs_in_a_second_than_there_are_numbers() -> None:
    assert next_id("20261122T200512Z-99", START) == "20261122T200513Z-01"
    assert next_id("20261231T235959Z-99", START) == "20270101T000000Z-01"


def test_jobs_that_start_at_once_get_directories_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: made(tmp_path), range(40)))
    assert len({job.directory for job in jobs}) == 40
    assert {job.state for job in list_jobs(tmp_path)} == {JobState.STARTING}
    for job in jobs:
        job.close()
    assert {job.state for job in list_jobs(tmp_path)} == {JobState.LOST}


def test_a_job_is_found_by_a_unique_beginning_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        find_job(tmp_path, "latest")
    for second in (0, 0, 5):
        monkeypatch.setattr(registry, "now", lambda second=second: START + timedelta(seconds=second))
        made(tmp_path).close()
    assert find_job(tmp_path, "20261122T200517").name == "20261122T200517Z-01"
    assert find_job(tmp_path, "latest").name == "20261122T200517Z-01"
    assert find_job(tmp_path, "20261122T200512Z-02").name == "20261122T200512Z-02"
    with pytest.raises(NotFound, match="beginning of 2 job ids"):
        find_job(tmp_path, "20261122T200512Z")


@pytest.mark.parametrize("hostile", ["", "..", "../jobs", "/etc", "20261122T200512Z-01/../x", "*", "\x00"])
def test_a_jobs_name_is_never_a_path(tmp_path: Path, hostile: str) -> None:
    """Rule 31."""
    made(tmp_path).close()
    (tmp_path / "jobs" / "not-a-job").mkdir()
    with pytest.raises(NotFound):
        find_job(tmp_path, hostile)


def test_a_job_lives_as_long_as_it_is_held(tmp_path: Path) -> None:
    held = made(tmp_path)
    assert is_alive(held.directory)
    assert read_job(held.directory).state is JobState.STARTING
    held.close()
    assert not is_alive(held.directory)
    assert read_job(held.directory).state is JobState.LOST
    with pytest.raises(NotFound):
        read_job(held.directory.with_name("20000101T000000Z-01"))


def test_whoever_looks_is_not_taken_for_the_job_by_another_who_looks(tmp_path: Path) -> None:
    held = made(tmp_path)
    held.close()
    with (held.directory / "alive").open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        assert not is_alive(held.directory)


def test_only_the_process_that_was_handed_a_job_runs_it(tmp_path: Path) -> None:
    held, other = made(tmp_path), made(tmp_path)
    for told in (f"{other.descriptor}:{held.directory}", f"999:{held.directory}", "", "3", f"x:{held.directory}"):
        with pytest.raises(UsageError, match="not started as a job"):
            inherited(told)
    assert inherited(str(held)) == held
    for job in (held, other):
        job.close()


def test_what_a_killed_maker_left_is_no_job_and_is_swept_by_the_next(tmp_path: Path) -> None:
    maker = subprocess.Popen([sys.executable, "-c", ""])
    maker.wait()
    left = jobs_directory(tmp_path) / f".tmp-new.{maker.pid}.0123abcd"
    left.mkdir(parents=True)
    (left / "alive").touch()
    elsewhere = left.with_name(f".tmp-new.{maker.pid}.4567abcd")  # of a container, whose process has that number
    elsewhere.mkdir()
    held = hold(elsewhere)
    assert list_jobs(tmp_path) == []
    made(tmp_path).close()
    assert not left.exists()
    assert elsewhere.exists()
    held.close()
