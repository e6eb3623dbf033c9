"""How long a restore will take: by what earlier ones of the vault took, said with what it stands on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.plans import GIB, MIB, NOON, restore_plan

from pgvault.jobs.journal import Journal
from pgvault.jobs.measured import measured_restores
from pgvault.jobs.plan import write_plan
from pgvault.jobs.registry import jobs_directory
from pgvault.model.estimate import Measured, estimate
from pgvault.model.event import Event, JobFinished, JobStarted, PhaseStarted, Progressed
from pgvault.model.job import JobState
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan

SLOW, FAST = Measured("slow", "there", 50.0 * MIB, 20 / GIB), Measured("fast", "elsewhere", 100.0 * MIB, 10 / GIB)


def plan(*, host: str = "there", start: bool = True, limit: int | None = None) -> RestorePlan:
    return restore_plan(host=host, start=start, bandwidth_limit=limit)


def test_with_nothing_measured_nothing_is_guessed() -> None:
    found = estimate(plan(), [])
    assert (found.seconds, found.basis) == (None, "no restore has been measured yet")


def test_the_same_host_is_preferred_and_else_the_newest_is_taken() -> None:
    there = estimate(plan(), [FAST, SLOW])
    assert there.seconds == pytest.approx(10 * 1024 / 50 + 2 * 20)
    assert there.basis == "measured by job slow on there: 50.0 MiB/s copy, 20 s replay a GiB"
    new = estimate(plan(host=""), [FAST, SLOW])
    assert new.seconds == pytest.approx(10 * 1024 / 100 + 2 * 10)
    assert new.basis.startswith("measured by job fast on elsewhere: ")


def test_replay_counts_where_the_server_is_started_and_was_measured() -> None:
    assert estimate(plan(start=False), [SLOW]).seconds == pytest.approx(10 * 1024 / 50)
    only_copied = Measured("copied", "there", 50.0 * MIB, None)
    unknown = estimate(plan(), [only_copied])
    assert unknown.seconds is None
    assert unknown.basis == ("no replay of 16.0 MiB or more has been measured, and 2.0 GiB must be replayed; the "
                             "copy takes about 3 min 25 s, measured by job copied on there: 50.0 MiB/s copy")
    little = estimate(restore_plan(host="there", stop_lsn=Lsn(GIB + 12 * 1024)), [only_copied])
    assert little.seconds == pytest.approx(10 * 1024 / 50)
    assert "the time to replay the little WAL is not included" in little.basis
    mixed = estimate(plan(), [only_copied, FAST])
    assert mixed.seconds == pytest.approx(10 * 1024 / 50 + 2 * 10)
    assert mixed.basis.endswith("50.0 MiB/s copy, 10 s replay a GiB by job fast on elsewhere")


def test_a_limit_that_is_slower_than_the_host_decides() -> None:
    assert estimate(plan(start=False, limit=MIB), [SLOW]).seconds == pytest.approx(5 * 1024)
    assert estimate(plan(start=False, limit=GIB), [SLOW]).seconds == pytest.approx(10 * 1024 / 50)


def record(home: Path, number: int, *events: tuple[float, Event], kind: str = "restore", host: str = "there",
           state: JobState = JobState.SUCCEEDED) -> str:
    """A job in the vault that began at noon; each event so many seconds later."""
    job = f"20261124T120000Z-{number:02}"
    directory = jobs_directory(home) / job
    directory.mkdir(parents=True)
    write_plan(directory, {"host": host})
    journal = Journal(directory)
    journal.emit(JobStarted(job, kind, "main", "pgvault ...", at=NOON))
    for seconds, event in events:
        journal.emit(type(event)(**{**{name: getattr(event, name) for name in event.__slots__},
                                    "at": NOON + timedelta(seconds=seconds)}))
    if state.final:
        journal.emit(JobFinished(state, at=NOON + timedelta(seconds=100)))
    journal.close()
    return job


def test_rates_are_read_from_the_journals(tmp_path: Path) -> None:
    """Copying lasts until all is on the disk, replaying until what follows it; other jobs are passed over. One that
    failed afterwards has copied nevertheless."""
    first = record(tmp_path, 1, (1, PhaseStarted("copy", 300 * MIB)), (2, Progressed(MIB)), (4, PhaseStarted("flush")),
                   (7, PhaseStarted("start")), (8, PhaseStarted("recover", GIB)), (18, PhaseStarted("look")))
    second = record(tmp_path, 2, (50, PhaseStarted("copy", 500 * MIB)), host="")
    record(tmp_path, 3, (1, PhaseStarted("copy", 300 * MIB)), state=JobState.FAILED)
    record(tmp_path, 4, (1, PhaseStarted("copy", 300 * MIB)), state=JobState.RUNNING)
    record(tmp_path, 5, (1, PhaseStarted("copy", 300 * MIB)), kind="backup")
    late = record(tmp_path, 6, (1, PhaseStarted("copy", 300 * MIB)), (4, PhaseStarted("flush")),
                  (11, PhaseStarted("recover", GIB)), state=JobState.FAILED)
    assert measured_restores(tmp_path) == [
        Measured(late, "there", 30.0 * MIB, None), Measured(second, "", 10.0 * MIB, None),
        Measured(first, "there", 50.0 * MIB, 10 / GIB)]


def test_the_start_of_a_server_that_replays_next_to_nothing_is_no_rate(tmp_path: Path) -> None:
    """A second for 12 KiB would be a day for a GiB."""
    job = record(tmp_path, 1, (0, PhaseStarted("copy", 100 * MIB)), (10, PhaseStarted("flush")),
                 (10, PhaseStarted("recover", 12 * 1024)), (11, PhaseStarted("look")))
    assert measured_restores(tmp_path) == [Measured(job, "there", 10.0 * MIB, None)]


def test_a_vault_without_jobs(tmp_path: Path) -> None:
    assert measured_restores(tmp_path) == []
