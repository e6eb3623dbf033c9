"""A journal is written by one job that must not die of it, and read by anybody at any time."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.durability import Durability

from pgvault.jobs import journal as journal_module
from pgvault.jobs.encoding import TEXT_LIMIT, decode, encode
from pgvault.jobs.journal import EVENTS, Journal, Tail, follow, read_edges, read_events
from pgvault.jobs.plan import read_plan, write_plan
from pgvault.jobs.reporter import Reporter
from pgvault.model.event import (
    Checked,
    CommandRan,
    Event,
    Failure,
    JobFinished,
    JobStarted,
    Level,
    Noted,
    PhaseStarted,
    Progressed,
)
from pgvault.model.job import JobState
from pgvault.model.lsn import Lsn

AT = datetime(2026, 11, 22, 20, 5, 12, 500, UTC)
STARTED = JobStarted("20261122T200512Z-01", "backup", "main-db", "pgvault backup main-db", AT)
FINISHED = JobFinished(JobState.FAILED, "", Failure("no space left", "It is full.", "Free some.", "no-space", 10), AT)
ALL = [STARTED, PhaseStarted("copying", None, AT), Progressed(7, 1, AT), CommandRan("db1", "tar cf -", 1.5, 2, AT),
       Checked("ssh", "ok", "OpenSSH 9", "", AT), Noted("file \udce9\x1b[2J", Level.WARNING, "odd", AT), FINISHED]


def write(directory: Path, *events: Event) -> Path:
    journal = Journal(directory)
    for event in events:
        journal.emit(event)
    journal.close()
    assert journal.failure is None
    return directory / EVENTS


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, *ALL)
    assert read_events(tmp_path) == ALL
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert lines[0]["event"] == "JobStarted"
    assert lines[0]["at"] == "2026-11-22T20:05:12.000500Z"
    assert lines[-1]["state"] == "failed"
    assert read_edges(tmp_path) == (STARTED, FINISHED)
    assert os.listdir(tmp_path) == [EVENTS]


def test_its_first_and_last_event_survive_a_power_failure(tmp_path: Path, durability: Durability) -> None:
    """That a job began and how it ended; what lies between need not."""
    journal = Journal(tmp_path)
    for event in ALL:
        journal.emit(event)
        if event in (STARTED, FINISHED):
            assert durability.holds(tmp_path / EVENTS, tmp_path)
    journal.close()
    write_plan(tmp_path, {"kind": "backup"})
    assert durability.holds(tmp_path / "plan.toml", tmp_path)
    assert not durability.too_early


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_survives_on_one_line(text: str) -> None:
    line = encode(Noted(text, at=AT))
    assert line.count(b"\n") == 1
    event = decode(line)
    assert isinstance(event, Noted)
    assert event.text == text


@given(st.integers(min_value=0, max_value=10_000))
def test_a_journal_torn_anywhere_gives_its_whole_lines(cut: int) -> None:
    """A crash in the middle of a line loses that line and no other."""
    whole = [encode(event) for event in ALL]
    torn = b"".join(whole)[:cut]
    kept = [decode(line) for line in torn[:torn.rfind(b"\n") + 1].splitlines()]
    assert kept == ALL[:len(kept)]
    assert len(kept) == sum(cut >= len(b"".join(whole[:i + 1])) for i in range(len(whole)))


def test_what_follows_a_torn_line_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, STARTED)
    with open(path, "ab") as file:
        file.write(b'{"event":"Noted","text":"half\n{"event":"FromTheFuture","at":"2030-01-01T00:00:00Z"}\n[]\n7\n')
    write(tmp_path, FINISHED)
    with open(path, "ab") as file:
        file.write(b'{"event":"Not')
    assert read_events(tmp_path) == [STARTED, FINISHED]
    assert read_edges(tmp_path) == (STARTED, FINISHED)


def test_two_readers_each_see_every_event_once_while_it_is_written(tmp_path: Path) -> None:
    first, second = Tail(tmp_path / EVENTS), Tail(tmp_path / EVENTS)
    seen: list[Event] = first.read()
    assert seen == []
    line = b"".join(map(encode, ALL))
    other: list[Event] = []
    for i in range(0, len(line), 37):  # the writer's bytes come in pieces that respect no line
        with open(tmp_path / EVENTS, "ab") as file:
            file.write(line[i:i + 37])
        seen += first.read()
        if i % 5 == 0:
            other += second.read()
    other += second.read()
    assert seen == other == ALL


def test_following_ends_with_the_job(tmp_path: Path) -> None:
    async def collect() -> list[Event]:
        return [event async for event in follow(tmp_path, lambda: False, poll_seconds=0.001)]

    writer = threading.Timer(0.02, write, [tmp_path, *ALL])
    writer.start()
    assert asyncio.run(collect()) == ALL
    writer.join()


def test_following_a_lost_job_gives_what_it_wrote_and_ends(tmp_path: Path) -> None:
    write(tmp_path, STARTED)

    async def collect() -> list[Event]:
        return [event async for event in follow(tmp_path, lambda: True)]

    assert asyncio.run(collect()) == [STARTED]


def test_a_full_disk_does_not_stop_a_job_and_its_end_is_still_told(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 32's other side: the disk is full for the journal too; its reserve is for the last event."""
    journal = Journal(tmp_path)
    reserve = tmp_path / "reserve"
    assert reserve.stat().st_blocks * 512 >= 64 * 1024
    really_write = os.write

    def write_on_full_disk(descriptor: int, data: bytes) -> int:
        return really_write(descriptor, data if not reserve.exists() else data[:5])

    journal.emit(STARTED)
    monkeypatch.setattr(journal_module.os, "write", write_on_full_disk)
    journal.emit(Noted("lost"))
    assert isinstance(journal.failure, OSError)
    journal.emit(FINISHED)
    journal.close()
    assert read_events(tmp_path) == [STARTED, FINISHED]


def test_emitting_never_raises(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    os.close(journal._descriptor)
    journal.emit(STARTED)
    assert isinstance(journal.failure, OSError)


@pytest.mark.parametrize(("told", "kept"), [
    ("host=db password=hunter2 user=x", "host=db password=*** user=x"),
    ("password = 'hunter\\'2 ' port=1", "password = *** port=1"),
    ("PGPASSWORD=hunter2 pg_dump", "PGPASSWORD=*** pg_dump"),
    ("postgresql://me:hunter2@db/x?sslpassword=hunter2", "postgresql://me:***@db/x?sslpassword=***"),
    ("passfile=/home/x/.pgpass", "passfile=/home/x/.pgpass"),
])
def test_secrets_do_not_reach_a_disk(told: str, kept: str) -> None:
    """Rule 31: nor a screen."""
    heard: list[Event] = []
    report = Reporter([heard.append])
    report(Noted(told, at=AT))
    report(JobFinished(JobState.FAILED, error=Failure(told, told, told, "x", 1), at=AT))
    assert heard == [Noted(kept, at=AT), JobFinished(JobState.FAILED, error=Failure(kept, kept, kept, "x", 1), at=AT)]


def test_an_endless_message_is_cut() -> None:
    heard: list[Event] = []
    Reporter([heard.append])(Noted("x" * 10_000_000))
    assert len(encode(heard[0])) < TEXT_LIMIT + 500


def test_progress_is_told_rarely_and_its_last_word_before_anything_else() -> None:
    time, told = [0.0], []
    report = Reporter([told.append], clock=lambda: time[0])
    report(PhaseStarted("copying", at=AT))
    for i in range(1000):
        time[0] = i / 1000
        report(Progressed(i, at=AT))
    report(Noted("in between", at=AT))
    report(PhaseStarted("waiting", at=AT))
    report(FINISHED)
    report(Noted("after the end", at=AT))
    assert [e.done_bytes for e in told if isinstance(e, Progressed)] == [0, 250, 500, 750, 999]
    assert told[-3:] == [Noted("in between", at=AT), PhaseStarted("waiting", at=AT), FINISHED]


def test_a_listener_that_fails_is_dropped_and_the_others_hear_all() -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise OSError(5, "Input/output error")

    report = Reporter([broken, told.append])
    for event in ALL:
        report(event)
    assert told == ALL


def test_events_of_many_threads_are_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    report = Reporter([journal.emit])
    threads = [threading.Thread(target=lambda n=n: [report(Noted(f"{n}/{i}")) for i in range(200)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert len(read_events(tmp_path)) == 800


def test_a_plan_comes_back_in_tomls_types_without_what_is_none(tmp_path: Path) -> None:
    plan = {"server": "main-db", "lsn": Lsn.parse("16/B374D848"), "at": AT, "to": Path("/x"), "state": JobState.LOST,
            "none": None, "runs": (1, 2), "nested": FINISHED, "conninfo": "password=hunter2"}
    write_plan(tmp_path, plan)
    stored = read_plan(tmp_path)
    assert stored["lsn"] == "16/B374D848"
    assert stored["at"] == AT
    assert stored["nested"]["error"]["exit_code"] == 10
    assert stored["conninfo"] == "password=***"
    assert "none" not in stored
