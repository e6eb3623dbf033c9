"""`backup.toml` comes back as it was written, and what is wrong with one is named with its field."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.backup import Backup, BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.vault.backup_toml import format_facts, parse_facts

ID = "20261122T200512Z"
AT = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)
BACKUP = Backup(
    ID, "main", BackupStatus.DONE, "stream", AT, "7300000000000000001", "18.1", 1 << 24, 1, "/srv/pg", "before", AT,
    Lsn(0x28), Lsn(0x158), (Tablespace(16406, "fast", "/ssd"),), 1, 2, 3, "0" * 64, "job", "why", ("base/1/2",))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.timedeltas(timedelta(), timedelta(days=50_000)).map(lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since)
LSNS = st.integers(0, (1 << 64) - 1).map(Lsn) | st.none()
BACKUPS = st.builds(
    Backup, st.just(ID), st.just("main"), st.sampled_from(BackupStatus), TEXT, TIMES, TEXT, TEXT,
    st.integers(20, 30).map(lambda bits: 1 << bits), st.integers(0, (1 << 32) - 1), TEXT, TEXT, TIMES | st.none(), LSNS,
    LSNS, st.lists(st.builds(Tablespace, st.integers(0, (1 << 32) - 1), TEXT, TEXT)).map(tuple),
    corrupt_pages=st.lists(TEXT).map(tuple), ended_at=TIMES | st.none())


@given(BACKUPS)
def test_a_backup_comes_back(backup: Backup) -> None:
    assert parse_facts(format_facts(backup), ID, "main") == backup


def test_the_file_has_every_known_fact_and_not_whose_it_is() -> None:
    facts = tomllib.loads(format_facts(BACKUP))
    assert facts["begin_lsn"] == "0/28"
    assert facts["started_at"] == AT
    assert facts["tablespaces"] == [{"oid": 16406, "name": "fast", "location": "/ssd"}]
    assert "server" not in facts
    began = replace(BACKUP, finished_at=None, begin_lsn=None, end_lsn=None)
    assert facts.keys() - tomllib.loads(format_facts(began)).keys() == {"finished_at", "begin_lsn", "end_lsn"}


def test_a_fact_of_a_newer_version_is_passed_over() -> None:
    assert parse_facts(format_facts(BACKUP) + "later = 1\n", ID, "main") == BACKUP


def test_times_are_in_utc() -> None:
    east = replace(BACKUP, started_at=AT.astimezone(timezone(timedelta(hours=5))))
    assert parse_facts(format_facts(east), ID, "main").started_at.tzinfo is UTC


@pytest.mark.parametrize(("written", "instead", "why"), [
    ('method = "stream"\n', "", "method is missing"), ("size_bytes = 1\n", "", "size_bytes is missing"),
    ('corrupt_pages = [\n    "base/1/2",\n]\n', "", "corrupt_pages is missing"),
    ("size_bytes = 1\n", "size_bytes = true\n", "size_bytes: expected int, got bool"),
    ('"base/1/2"', "3", r"corrupt_pages\[0\]: expected str, got int"),
    ("oid = 16406, ", "", r"tablespaces\[0\]: object missing required field oid"),
    ('"DONE"', '"GONE"', "status: invalid enum value 'GONE'"),
    ('"0/28"', '"28"', "begin_lsn: not a WAL position: '28'"),
    ('"0/28"', "28", "begin_lsn: expected str, got int"), (f'"{ID}"', '"20261122T200513Z"', "it is about backup"),
    ("segment_size = 16777216", "segment_size = 3", "segment_size cannot be 3"),
    ("started_at = 2026-11-22 20:05:12+00:00", "started_at = 2026-11-22 20:05:12",
     "started_at is no time with a zone"),
    ("started_at = 2026-11-22 20:05:12+00:00", "started_at = 0001-01-01 00:00:00+05:00",
     "started_at is outside the calendar in UTC")])
def test_what_is_wrong_is_named_with_its_field(written: str, instead: str, why: str) -> None:
    text = format_facts(BACKUP)
    assert written in text
    with pytest.raises(ValueError, match=f"^{why}"):
        parse_facts(text.replace(written, instead), ID, "main")
