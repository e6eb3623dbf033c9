"""Times that a person may type back: none is rounded, and two that differ never look alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import Shelf, at, made_backup

from pgvault.config.load import load
from pgvault.console import backup_facts, server_status
from pgvault.console.recovery.answer import Answer, Near, Reach, Stop
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.pointed import nearest, point_fields
from pgvault.engine.catalogue import read_catalogue
from pgvault.engine.overview import protection
from pgvault.model.catalogue import Catalogue
from pgvault.model.target import AtTime
from pgvault.model.times import exact, parse_time
from pgvault.vault import wal_index

DROP = datetime(2026, 11, 23, 0, 38, 26, 689_000, UTC)
END = DROP.replace(microsecond=355_000)


def said(point: datetime, latest: datetime, stop: datetime | None) -> dict[str, str]:
    draft = Draft("main", point=Point(AtTime(point), label="a time"))
    place = Stop("0/1A000170", True, stop, 1) if stop else None
    answer = Answer(place, "" if stop else "It lies too late.", "20261123T003800Z", 1, (), (),
                    (Reach(1, END, latest, "0/1B000000"),))
    return {field.name: field.text for field in point_fields(draft, answer, None) if field.name}


@given(st.datetimes(datetime(1970, 1, 1), datetime(8999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_what_is_shown_can_be_typed(moment: datetime) -> None:
    assert parse_time(exact(moment)) == moment


def test_what_is_possible_is_told_to_its_fraction() -> None:
    possible = said(DROP, DROP, None)["possible"]
    assert possible == "2026-11-23 00:38:26.355+00 to 2026-11-23 00:38:26.689+00 on timeline 1"


def test_a_point_that_can_be_taken_instead_is_told_to_its_fraction() -> None:
    near = Near("later", END, "the end of the backup", Point(AtTime(END)), "auto")
    assert "2026-11-23 00:38:26.355Z" in nearest(near)


@pytest.mark.parametrize(("latest", "words"), [
    (END, "2026-11-23 00:38:26.355+00, which is the point"),
    (DROP, "2026-11-23 00:38:26.689+00, 0.3 s after the point"),
    (END + timedelta(microseconds=1), "2026-11-23 00:38:26.355001+00, right after the point"),
    (END + timedelta(minutes=2), "2026-11-23 00:40:26.355+00, 2 min 00 s after the point"),
    (END - timedelta(minutes=2), "2026-11-23 00:36:26.355+00, 2 min 00 s before the point"),
])
def test_the_end_of_the_wal_is_where_the_point_is_only_when_it_is(latest: datetime, words: str) -> None:
    assert said(END, latest, END)["WAL reaches"] == f"to its last commit, of {words}"


# Backups on an idle server


@pytest.fixture
def idle(tmp_path: Path) -> Shelf:
    """A commit an hour after the first backup, and none after the second, which ended later."""
    shelf = Shelf(tmp_path / "vault", tmp_path / "pgvault.toml")
    shelf.configure()
    shelf.put(made_backup(at(1), segment=2), made_backup(at(2), segment=4))
    shelf.archive(1, 2, 5)
    with wal_index.writing(shelf.server()) as index:
        moment = int((at(1) + timedelta(hours=1, microseconds=7)).timestamp() * 1e6)
        index.connection.execute(
            "INSERT INTO facts (timeline, number, joined, earliest, latest) VALUES (1, 3, 1, ?, ?)", (moment, moment))
    return shelf


def catalogue_of(shelf: Shelf) -> Catalogue:
    return read_catalogue(shelf.server(), load(shelf.config).server("main"), at(3))


def test_a_backup_behind_the_last_commit_reaches_to_its_own_end(idle: Shelf) -> None:
    """By the contract nothing later than its end: never a time before it."""
    first, second = idle.json("list-backups", "main")["backups"]
    assert first["restorable_until"] == "2026-11-01T13:00:00.000007Z"
    assert (second["restorable_from"], second["restorable_until"]) == ("2026-11-02T12:01:00Z", None)
    assert idle.json("show-backup", "main", "latest")["restorable_until"] is None


def test_the_console_says_what_can_be_restored_from_each(idle: Shelf) -> None:
    newest, oldest = backup_facts.rows(catalogue_of(idle))
    reach = [next(field.text for field in backup_facts.backup_fields(row) if field.name == "restorable")
             for row in (oldest, newest)]
    assert reach == ["2026-11-01 12:01:00Z to 2026-11-01 13:00:00.000007Z",
                     "at its end, 2026-11-02 12:01:00Z; no later commit is archived"]


def test_the_overview_says_both_ends_so_that_they_can_be_typed(idle: Shelf) -> None:
    server = load(idle.config).server("main")
    known = protection(server, idle.home, at(3))
    fields = server_status.status_fields(known, server, None, None, at(3), read_only=False)
    assert next(field.text for field in fields if field.name == "restorable") == \
        "2026-11-01 12:01:00Z to 2026-11-01 13:00:00.000007Z, timeline 1"
