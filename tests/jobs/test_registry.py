"""Finding jobs: ids that sort by time whatever the clock does, and names that are never taken for paths."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.jobs import registry
from pgvault.jobs.registry import alive, create_job, find_job, is_alive, is_job_id, list_jobs, next_id, read_job
from pgvault.model.errors import NotFound, Refused
from pgvault.model.job import JobState

START = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)


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
        made = list(pool.map(lambda _: create_job(tmp_path), range(40)))
    assert len(set(made)) == 40
    assert all(directory.is_dir() for directory in made)
    assert {job.state for job in list_jobs(tmp_path)} == {JobState.PLANNED}


def test_a_job_is_found_by_a_unique_beginning_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        find_job(tmp_path, "latest")
    for second in (0, 0, 5):
        monkeypatch.setattr(registry, "now", lambda second=second: START + timedelta(seconds=second))
        create_job(tmp_path)
    assert find_job(tmp_path, "20261122T200517").name == "20261122T200517Z-01"
    assert find_job(tmp_path, "latest").name == "20261122T200517Z-01"
    assert find_job(tmp_path, "20261122T200512Z-02").name == "20261122T200512Z-02"
    with pytest.raises(NotFound, match="beginning of 2 job ids"):
        find_job(tmp_path, "20261122T200512Z")


@pytest.mark.parametrize("hostile", ["", "..", "../jobs", "/etc", "20261122T200512Z-01/../x", "*", "\x00"])
def test_a_jobs_name_is_never_a_path(tmp_path: Path, hostile: str) -> None:
    """Rule 31."""
    create_job(tmp_path)
    (tmp_path / "jobs" / "not-a-job").mkdir()
    with pytest.raises(NotFound):
        find_job(tmp_path, hostile)


def test_a_job_runs_once(tmp_path: Path) -> None:
    directory = create_job(tmp_path)
    with alive(directory):
        assert is_alive(directory)
        assert read_job(directory).state is JobState.STARTING
        with pytest.raises(Refused, match="already been started"), alive(directory):
            pass
    assert read_job(directory).state is JobState.LOST
    with pytest.raises(Refused, match="already been started"), alive(directory):
        pass
